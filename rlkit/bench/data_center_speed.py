"""How fast the NumPy plant and the environments around it step, and whether their memory grows."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import cycle

import numpy as np

from rlkit.bench.resident_memory import resident_bytes
from rlkit_envs.data_center.design import DataCenterDesign
from rlkit_envs.data_center.elementwise import numbers_if_alone
from rlkit_envs.data_center.environment import DataCenterEnvs
from rlkit_envs.data_center.plant import initial_state, step
from rlkit_envs.data_center.plant_state import OutdoorAir, PlantActions
from rlkit_envs.data_center.single_environment import DataCenterEnv

BATCH = 1024
_WARM_UP = 20
_KINDS_OF_ACTIONS = 16


def steps_per_second(design: DataCenterDesign, seconds: float) -> dict[str, float]:
    """Steps of sites a second, each measured for `seconds` on the calling thread.

    `plant_1` and `plant_1024`: the bare plant, one site or 1,024 at a time. `single_environment`
    and `environment_1024`: with weather, sensors, reward and counts, as an agent uses them, random
    actions ready made. A batched step counts as many steps as it has sites.
    """
    return {
        "plant_1": _rate(_plant(design, 1), seconds),
        f"plant_{BATCH}": BATCH * _rate(_plant(design, BATCH), seconds),
        "single_environment": _rate(_acted_on(DataCenterEnv(site=design)), seconds),
        f"environment_{BATCH}": BATCH
        * _rate(_acted_on(DataCenterEnvs(BATCH, site=design)), seconds),
    }


def memory_growth_bytes(design: DataCenterDesign, steps: int) -> int | None:
    """By how much the process grows in `steps` steps of 1,024 sites, after as many of warming up.

    Counted in steps of sites. None where the system does not tell.
    """
    advance = _acted_on(DataCenterEnvs(BATCH, site=design))
    sizes = []
    for _ in ("to warm up", "to measure"):
        for _ in range(steps // BATCH):
            advance()
        sizes.append(resident_bytes())
    before, after = sizes
    return None if before is None or after is None else after - before


def _rate(advance: Callable[[], None], seconds: float) -> float:
    for _ in range(_WARM_UP):
        advance()
    taken, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        advance()
        taken += 1
    return taken / (time.perf_counter() - started)


def _plant(design: DataCenterDesign, batch: int) -> Callable[[], None]:
    random = np.random.default_rng(0)
    actions = PlantActions(
        supply_air_degc=random.uniform(18.0, 26.0, batch),
        air_flow_ratio=random.uniform(0.5, 1.0, batch),
        chilled_water_degc=random.uniform(7.0, 14.0, batch),
        tower_fan_ratio=random.uniform(0.2, 1.0, batch),
        economiser=random.integers(0, 3, batch),
    )
    air = np.ones(batch)
    outdoor = OutdoorAir(12.0 * air, 0.006 * air, 9.0 * air, 100_000.0 * air)
    state, utilisation = initial_state(design, batch), random.uniform(0.2, 0.9, batch)
    # A site alone is computed in numbers, as the environments do.
    state, actions, outdoor = (numbers_if_alone(each) for each in (state, actions, outdoor))
    utilisation = utilisation[0] if batch == 1 else utilisation

    def advance() -> None:
        nonlocal state
        state, _ = step(design, state, actions, outdoor, utilisation)

    return advance


def _acted_on(env: DataCenterEnv | DataCenterEnvs) -> Callable[[], None]:
    """A step of one site, or of a batch of them, by random actions."""
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = cycle([env.action_space.sample() for _ in range(_KINDS_OF_ACTIONS)])
    alone = isinstance(env, DataCenterEnv)  # a batch begins its next episodes by itself

    def advance() -> None:
        truncated = env.step(next(actions))[3]
        if alone and truncated:
            env.reset()

    return advance
