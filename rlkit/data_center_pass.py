"""One pass of a data centre's controllers through the same years: one batch holds them all.

Every controller has a slice of the rows, one row for each year, and acts on nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.actions import StartingActions
from rlkit_envs.data_center.configuration import DataCenterConfig
from rlkit_envs.data_center.controllers.controller import Controller, Observed
from rlkit_envs.data_center.controllers.line_up import Assignment, Build
from rlkit_envs.data_center.controllers.supervision_log import SupervisionLog
from rlkit_envs.data_center.controllers.supervisor import Supervisor
from rlkit_envs.data_center.environment import DataCenterEnvs
from rlkit_envs.data_center.plant_state import PlantActions

Array = NDArray[np.float64]
OnStep = Callable[[int, int], None]
"""Called with the steps done and those in all."""
Report = Callable[[str], None]
"""Takes lines on what takes long."""

EXTRA_UNITS: Mapping[str, str] = {
    "overhead_energy": "kWh of the facility less IT",
    "hottest_inlet_p999": "degC that the hottest inlet exceeds in a thousandth of the time",
}
"""Counts of an episode that the environment does not give."""


class ControllerError(ValueError):
    """A controller that gave no possible action, or that the engine cannot do with."""


@dataclass(frozen=True)
class Pass:
    """What the years came to.

    counts: controller -> name -> (years,), as the environment counts, and those of `EXTRA_UNITS`.
    returns: controller -> (years,) sums of rewards. units: of the counts. settings: controller ->
    plain JSON data, a list of (years,) where they may differ. supervision: supervised controller ->
    for each year the bill of each party and the intervals between changes of hands. seconds: spent
    in preparation, environment and each controller.
    """

    counts: dict[str, dict[str, Array]]
    returns: dict[str, Array]
    units: dict[str, str]
    settings: dict[str, Any]
    supervision: dict[str, list[dict[str, Any]]]
    seconds: dict[str, float]


def run_through(
    controllers: Mapping[str, Build],
    config: DataCenterConfig,
    tuning: tuple[DataCenterConfig, ...],
    seeds: NDArray[np.int64],
    *,
    on_step: OnStep,
    report: Report,
) -> Pass:
    """One episode of each controller in each pair of weather and load of `config`.

    tuning: for each pair, years that controllers may be tuned on. seeds: (pairs,), of sensor noise
    and faults, which are the same for all controllers.
    Raises ControllerError, naming the controller, for actions that cannot be.
    """
    envs = DataCenterEnvs(len(tuning) * len(controllers), config=config)
    try:
        run = _Run(envs, controllers, tuning, report)
        run.through(np.tile(seeds, len(controllers)), on_step)
    finally:
        envs.close()
    return Pass(
        counts={name: run.counts_of(name) for name in controllers},
        returns={name: run.returns[rows] for name, rows in run.rows.items()},
        units={**envs.metadata["episode_counts"], **EXTRA_UNITS},
        settings={name: _settings(made, len(tuning)) for name, made in run.controllers.items()},
        supervision={
            name: _supervision(made.log)
            for name, made in run.controllers.items()
            if isinstance(made, Supervisor)
        },
        seconds=run.seconds,
    )


class _Run:
    """One pass of all controllers through their years."""

    def __init__(
        self,
        envs: DataCenterEnvs,
        controllers: Mapping[str, Build],
        tuning: tuple[DataCenterConfig, ...],
        report: Callable[[str], None],
    ) -> None:
        self._envs = envs
        self.rows = {
            name: slice(number * len(tuning), (number + 1) * len(tuning))
            for number, name in enumerate(controllers)
        }
        self.seconds = dict.fromkeys(("preparation", "environment", *controllers), 0.0)
        self.returns = np.zeros(envs.num_envs)
        self.controllers: dict[str, Controller] = {}
        for name, build in controllers.items():
            started = time.perf_counter()
            self.controllers[name] = build(Assignment(envs, self.rows[name], tuning, report))
            self.seconds["preparation"] += time.perf_counter() - started
        self._hottest = np.empty((envs.episode_steps, envs.num_envs), np.float32)
        self._totals: dict[str, Array] = {}

    def through(self, seeds: NDArray[np.int64], on_step: Callable[[int, int], None]) -> None:
        """One episode everywhere. seeds: (rows,)."""
        envs, steps = self._envs, self._envs.episode_steps
        observations, _ = envs.reset(seed=seeds)
        for name, controller in self.controllers.items():
            count = self.rows[name].stop - self.rows[name].start
            controller.reset(np.ones(count, bool))
        told = StartingActions().plant_actions(envs.num_envs)
        info: dict[str, Any] = {}
        for done in range(steps):
            self._ask(observations, told)
            started = time.perf_counter()
            observations, rewards, _, _, info = envs.step(self._sent(told))
            self.seconds["environment"] += time.perf_counter() - started
            self.returns += rewards
            self._hottest[done] = info["quantities"]["hottest_inlet_degc"]
            on_step(done + 1, steps)
        self._totals = info["episode_counts"]
        readings = envs.readings(observations)
        for name, controller in self.controllers.items():
            if isinstance(controller, Supervisor):
                controller.settle(self._seen(name, observations, readings))

    def counts_of(self, name: str) -> dict[str, Array]:
        """Name of each count -> (years,)."""
        rows = self.rows[name]
        counts = {count: values[rows].copy() for count, values in self._totals.items()}
        hottest = np.percentile(self._hottest[:, rows].astype(np.float64), 99.9, axis=0)
        overhead = counts["facility_energy"] - counts["it_energy"]
        return {**counts, **dict(zip(EXTRA_UNITS, (overhead, hottest), strict=True))}

    def _ask(self, observations: NDArray[np.float32], told: PlantActions) -> None:
        """Fill `told` with what each controller sets."""
        readings = self._envs.readings(observations)
        for name, controller in self.controllers.items():
            started = time.perf_counter()
            rows = self.rows[name]
            try:
                actions = controller.act(self._seen(name, observations, readings))
            except ValueError as error:
                raise ControllerError(f"controller {name!r}: {error}") from error
            for whole, part in zip(told, actions, strict=True):
                whole[rows] = part  # pyright: ignore[reportIndexIssue]
            self.seconds[name] += time.perf_counter() - started

    def _seen(
        self, name: str, observations: NDArray[np.float32], readings: Mapping[str, Array]
    ) -> Observed:
        rows = self.rows[name]
        seen = {sensor: values[rows] for sensor, values in readings.items()}
        return Observed(observations[rows], seen)

    def _sent(self, told: PlantActions) -> NDArray[Any]:
        from_plant = self._envs.actions.from_plant
        try:
            return from_plant(told)
        except ValueError:
            for name, rows in self.rows.items():
                try:
                    from_plant(PlantActions(*(np.asarray(values)[rows] for values in told)))
                except ValueError as error:
                    raise ControllerError(f"controller {name!r}: {error}") from error
            raise


def _supervision(log: SupervisionLog) -> list[dict[str, Any]]:
    told = log.to_json()
    return [
        {
            "bills": bills,
            "intervals": [interval for interval in told["intervals"] if interval["row"] == row],
        }
        for row, bills in enumerate(told["totals_by_row"])
    ]


def _settings(controller: Controller, years: int) -> Any:
    """Plain JSON data on how a controller is set, as far as it tells; what it goes around too."""
    settings = getattr(controller, "settings", None)
    if isinstance(settings, tuple):
        each = settings * years if len(settings) == 1 else settings
        return [asdict(of_year) for of_year in each]
    told = asdict(settings) if is_dataclass(settings) and not isinstance(settings, type) else {}
    inner = getattr(controller, "controller", None)
    return told if inner is None else {**told, "controller": _settings(inner, years)}
