"""Telemetry of a data centre with faults whose beginning, kind and severity are known.

Recorded from `rlkit/DataCenterCooling-v0` while its plain controllers run the plant. Channels are
what a plant's monitoring holds: the readings of its sensors, noise and errors included, and the set
points that the plant was told; nothing tells of a fault but what it does to these. There is no
vibration sensor, as the simulator has none: worn bearings show in power and flow alone.

Beside normal operation and faults there are hard negatives, which look new and are sound: climates
and controllers that the normal series do not hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.plant_faults import (
    FAULTY_PARTS,
    FaultInstance,
    draw_instances,
    place_instances,
    simulated,
)
from rlkit.autoencoder.anomalies.series import Event, Series
from rlkit.autoencoder.anomalies.telemetry_config import TelemetryConfig
from rlkit_envs.data_center.actions import StartingActions
from rlkit_envs.data_center.configuration import DataCenterConfig
from rlkit_envs.data_center.controllers import Observed
from rlkit_envs.data_center.controllers.controller import Controller
from rlkit_envs.data_center.controllers.line_up import LINE_UP, Assignment
from rlkit_envs.data_center.environment import DataCenterEnvs
from rlkit_envs.data_center.plant_state import PlantActions
from rlkit_envs.data_center.sensors import CLOCK_SENSORS, RISE_SENSOR
from rlkit_envs.data_center.synthetic_weather import synthetic
from rlkit_envs.data_center.weather import STEP_S, STEPS_PER_DAY, STEPS_PER_YEAR

ROLES: Mapping[str, str] = MappingProxyType(
    {
        "normal": "normal operation, to fit on",
        "held_out": "normal operation in other years, for thresholds",
        "test": "one fault in each series, in other years again",
        "unseen_weather": "hard negatives: normal operation in other climates",
        "changed_policy": "hard negatives: normal operation under other controllers",
    }
)
"""What series are for, as their `context["role"]` says, in the order in which they are recorded."""

OnStep = Callable[[int, int], None]
"""Takes steps done and steps in all."""

_SETTLING_STEPS = STEPS_PER_DAY // 4
"""Not recorded: controllers start from set points that they did not choose, and water from its
warm-up; loops of the hall settle within two hours."""


@dataclass(frozen=True)
class Telemetry:
    """Series by role; see `ROLES`. All have the same channels and steps."""

    normal: tuple[Series, ...] = ()
    held_out: tuple[Series, ...] = ()
    test: tuple[Series, ...] = ()
    unseen_weather: tuple[Series, ...] = ()
    changed_policy: tuple[Series, ...] = ()

    @classmethod
    def from_series(cls, series: Sequence[Series]) -> Telemetry:
        """Sort series by `context["role"]`, as they come from a file.

        Raises ValueError for a series without a known role.
        """
        by_role: dict[str, list[Series]] = {role: [] for role in ROLES}
        for each in series:
            role = each.context.get("role")
            if role not in by_role:
                raise ValueError(
                    f"series {each.name!r} has the role {role!r}: there are {', '.join(ROLES)}"
                )
            by_role[role].append(each)
        return cls(**{role: tuple(found) for role, found in by_role.items()})

    @property
    def series(self) -> tuple[Series, ...]:
        """All of them, role after role: what `write_series` takes."""
        return tuple(each for role in fields(self) for each in getattr(self, role.name))


@dataclass(frozen=True)
class _Plan:
    """How a role is recorded."""

    role: str
    days: float
    climates: tuple[str, ...]
    policies: tuple[str, ...]
    broken: bool = False
    """Whether each series has a fault."""

    @property
    def steps(self) -> int:
        return round(self.days * STEPS_PER_DAY)


def record_telemetry(
    config: TelemetryConfig | None = None,
    on_step: OnStep | None = None,
) -> Telemetry:
    """Run the plant and record it, all series of a role at once.

    Values are readings in their units, rounded to float32, so that a file gives back the same. Each
    series' `context` names its role, climate, weather seed, load, policy and first day of the
    year, and in the test set the broken part and the strength of its fault.
    """
    config = config or TelemetryConfig()
    home, usual = (config.climate,), config.policies
    plans = (
        _Plan("normal", config.days, home, usual),
        _Plan("held_out", config.days, home, usual),
        _Plan("test", config.test_days, home, usual, broken=config.with_faults),
        _Plan("unseen_weather", config.days, config.unseen_climates, usual),
        _Plan("changed_policy", config.days, home, config.changed_policies),
    )
    plans = tuple(plan for plan in plans if config.counts[plan.role])
    total = sum(plan.steps + _SETTLING_STEPS for plan in plans)
    done = 0
    recorded: dict[str, tuple[Series, ...]] = {}

    def count() -> None:
        nonlocal done
        done += 1
        if on_step is not None:
            on_step(done, total)

    for plan in plans:
        stream = np.random.SeedSequence(config.seed, spawn_key=(list(ROLES).index(plan.role),))
        recorded[plan.role] = _record(config, plan, stream, count)
    return Telemetry(**recorded)


def _record(
    config: TelemetryConfig,
    plan: _Plan,
    stream: np.random.SeedSequence,
    count: Callable[[], None],
) -> tuple[Series, ...]:
    """The series of a role, one a row of the batch."""
    years, order, faults = stream.spawn(3)
    rows = config.counts[plan.role]
    weather_seeds, load_seeds = years.generate_state(2 * config.years).reshape(2, -1).tolist()
    envs = DataCenterEnvs(rows, config=_environment(config, plan, weather_seeds, load_seeds))
    try:
        generator = np.random.default_rng(order)
        _, info = envs.reset(seed=generator.integers(2**31, size=rows))
        started = {name: info[name].tolist() for name in ("weather", "load", "time_step")}
        instances = _instances(config, plan, envs, info, np.random.default_rng(faults))
        observations = _break(envs, instances)
        policy_of = generator.permutation(np.arange(rows) % len(plan.policies))
        operators = _Operators(envs, plan.policies, policy_of)
        channels = _channels(envs)
        values = np.empty((plan.steps, rows, len(channels)), np.float32)
        for step in range(-_SETTLING_STEPS, plan.steps):
            told = operators.act(observations)
            observations, _, _, _, info = envs.step(envs.actions.from_plant(told))
            if step >= 0:
                shown = envs.readings(observations) | _set_points(info["actions"])
                for column, name in enumerate(channels):
                    values[step, :, column] = shown[name]
            count()
    finally:
        envs.close()
    broken = [(instance,) for instance in instances] or [()] * rows
    return tuple(
        Series(
            values[:, row].astype(np.float64),
            channels,
            step_seconds=STEP_S,
            name=f"{plan.role}-{row}",
            events=_events(broken[row]),
            context={
                "role": plan.role,
                "climate": plan.climates[started["weather"][row] % len(plan.climates)],
                "weather_seed": str(weather_seeds[started["weather"][row] // len(plan.climates)]),
                "load": envs.load_names[started["load"][row]],
                "policy": plan.policies[policy_of[row]],
                "first_day": f"{_first_day(started['time_step'][row]):.3f}",
                **_about(broken[row]),
            },
        )
        for row in range(rows)
    )


def _environment(
    config: TelemetryConfig,
    plan: _Plan,
    weather_seeds: Sequence[int],
    load_seeds: Sequence[int],
) -> DataCenterConfig:
    """The plant of a role in that role's years; climates change from series to series."""
    return replace(
        config.environment(),
        weather=tuple(synthetic(each, seed) for seed in weather_seeds for each in plan.climates),
        load_seed=tuple(load_seeds),
        pairing="side_by_side",
        episode_days=math.ceil((plan.steps + _SETTLING_STEPS) / STEPS_PER_DAY),
        faults=simulated(0.5 * config.duration_days[0]),
    )


def _instances(
    config: TelemetryConfig,
    plan: _Plan,
    envs: DataCenterEnvs,
    info: Mapping[str, NDArray[np.int64]],
    generator: np.random.Generator,
) -> list[FaultInstance]:
    """The fault of each row; none at all where there are to be none."""
    if not plan.broken:
        return []
    drawn = draw_instances(
        config.faults_of_each, config.onset_days, config.duration_days, generator
    )
    year = envs.outdoors.wet_bulb_degc.reshape(len(envs.weather_names), -1)
    ahead = np.arange(_SETTLING_STEPS + plan.steps)[:, np.newaxis]
    warmth = year[info["weather"], (info["time_step"] + ahead) % year.shape[1]].mean(axis=0)
    return place_instances(drawn, warmth, generator)


def _break(envs: DataCenterEnvs, instances: Sequence[FaultInstance]) -> NDArray[np.float32]:
    """Give each row its own fault and no other, laid out as by `faults.draw_faults`."""
    state = envs.state()
    drawn = np.zeros_like(state["drawn"])
    for row, instance in enumerate(instances):
        drawn[:, FAULTY_PARTS.index(instance.part), row] = (
            1.0 if instance.part.is_position else instance.strength,
            _SETTLING_STEPS + instance.start,
            _SETTLING_STEPS + instance.stop,
            instance.strength if instance.part.is_position else 0.0,
        )
    return envs.set_state({**state, "drawn": drawn})


class _Operators:
    """Controllers, each of which runs some rows of the batch."""

    def __init__(
        self, envs: DataCenterEnvs, policies: Sequence[str], policy_of: NDArray[np.int64]
    ) -> None:
        """policy_of: (rows,), index of the policy that runs each row."""
        self._envs = envs
        self._told = StartingActions().plant_actions(envs.num_envs)
        self._each: list[tuple[Controller, NDArray[np.int64]]] = []
        for number, name in enumerate(policies):
            rows = np.flatnonzero(policy_of == number)
            if len(rows) == 0:
                continue
            controller = LINE_UP[name](Assignment(envs, slice(0, len(rows)), (), _silent))
            controller.reset(np.ones(len(rows), bool))
            self._each.append((controller, rows))

    def act(self, observations: NDArray[np.float32]) -> PlantActions:
        """Set points of the step to come, (rows,) each."""
        readings = self._envs.readings(observations)
        for controller, rows in self._each:
            seen = {sensor: values[rows] for sensor, values in readings.items()}
            actions = controller.act(Observed(observations[rows], seen))
            for whole, part in zip(self._told, actions, strict=True):
                whole[rows] = part  # pyright: ignore[reportIndexIssue]
        return self._told


def _channels(envs: DataCenterEnvs) -> tuple[str, ...]:
    """Sensors of plant and outdoor air, then set points; the economiser's mode is both."""
    unseen = {*(sensor.name for sensor in CLOCK_SENSORS), RISE_SENSOR.name}
    sensors = [sensor.name for sensor in envs.sensors if sensor.name not in unseen]
    return (*sensors, *_set_points(dict.fromkeys(envs.actions.names)))


def _set_points(actions: Mapping[str, Any]) -> dict[str, Any]:
    return {f"set_{name}": value for name, value in actions.items() if name != "economiser"}


def _events(instances: Sequence[FaultInstance]) -> tuple[Event, ...]:
    return tuple(
        Event(instance.start, instance.stop, instance.part.kind, instance.severity)
        for instance in instances
    )


def _about(instances: Sequence[FaultInstance]) -> dict[str, str]:
    """What of a fault an event has no room for."""
    about: dict[str, str] = {}
    for instance in instances:
        about["fault"] = instance.part.label
        about["position" if instance.part.is_position else "strength"] = f"{instance.strength:.3f}"
    return about


def _first_day(time_step: int) -> float:
    """Days since 1 January at the first recorded step."""
    return (time_step + _SETTLING_STEPS) % STEPS_PER_YEAR / STEPS_PER_DAY


def _silent(_: str) -> None:
    """None of these controllers is searched for, so that there is nothing to report."""
