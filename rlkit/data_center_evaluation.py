"""Every controller of a data centre, agents too, measured on the same unseen years.

All controllers meet the same weather, load, sensor noise and faults (`data_center_pass`). Which
years these are says `data_center_years`, what counts as a saving `data_center_savings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rlkit.data_center_pass import Array, ControllerError, OnStep, Pass, Report, run_through
from rlkit.data_center_processes import run_in_processes
from rlkit.data_center_savings import mean_year, savings
from rlkit.data_center_years import split_years, tuning_years, years_of
from rlkit.environment_ids import DATA_CENTER
from rlkit.environments import Environment, environment_configuration
from rlkit_envs.data_center.configuration import DataCenterConfig
from rlkit_envs.data_center.controllers.line_up import NEEDS_PLANT, Build


@dataclass(frozen=True)
class DataCenterEvaluation:
    """What every controller's years came to.

    measured: by controller. years: of each, the climate, weather and load. protocol: plain JSON
    data on how it was evaluated.
    """

    measured: Pass
    years: tuple[dict[str, str], ...]
    protocol: dict[str, Any]

    @property
    def counts(self) -> dict[str, dict[str, Array]]:
        """Controller -> name -> (years,)."""
        return self.measured.counts

    @property
    def returns(self) -> dict[str, Array]:
        """Controller -> (years,) sums of rewards."""
        return self.measured.returns

    def mean_years(self) -> dict[str, dict[str, float]]:
        """Controller -> each count as one number over all years (`data_center_savings`)."""
        return {name: mean_year(counts) for name, counts in self.counts.items()}

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data: everything, with the savings over all years and in each."""
        seconds, means = dict(self.measured.seconds), self.mean_years()
        over_all = savings(means)
        of_years = [
            savings({n: {c: float(v[at]) for c, v in of.items()} for n, of in self.counts.items()})
            for at in range(len(self.years))
        ]
        return {
            "protocol": {**self.protocol, "years": list(self.years)},
            "units": self.measured.units,
            "controllers": {
                name: {
                    "mean_year": means[name],
                    "counts": {count: values.tolist() for count, values in counts.items()},
                    "returns": self.returns[name].tolist(),
                    "savings": [saving.to_json() for saving in over_all[name]],
                    "savings_by_year": [
                        [saving.to_json() for saving in year[name]] for year in of_years
                    ],
                    "settings": self.measured.settings[name],
                    "supervision": self.measured.supervision.get(name),
                    "seconds": seconds.pop(name),
                }
                for name, counts in self.counts.items()
            },
            "seconds": seconds,
        }


def site_of(environment: Environment) -> DataCenterConfig:
    """The configuration of a recipe's, run's or policy's environment.

    Raises ValueError for another environment than the data centre, and for arguments that do not
    fit it.
    """
    return environment_configuration(environment, DATA_CENTER, DataCenterConfig)


def evaluate_data_center(
    controllers: Mapping[str, Build],
    config: DataCenterConfig,
    *,
    seed: int = 0,
    processes: int = 1,
    on_step: OnStep = lambda done, steps: None,
    report: Report = lambda line: None,
) -> DataCenterEvaluation:
    """Run each controller through every year of `config`.

    controllers: name -> how it is made (`controllers.line_up`, `policy_controller`). config: one of
    `data_center_years.unseen_years`. seed: of sensor noise and faults. processes: among which the
    years are shared out, with the same results; more than one needs controllers that can be
    pickled, and a script that starts under `if __name__ == "__main__"`.
    on_step: called with the steps done and those in all. report: takes lines on what takes long.
    Raises ControllerError for actions out of range, naming the controller, and for one that the
    engine cannot do with; what a controller raises when it is made.
    """
    if not controllers:
        raise ValueError("an evaluation needs at least one controller")
    for name in NEEDS_PLANT & controllers.keys():
        if config.engine != "plant":
            raise ControllerError(
                f"{name} looks into the NumPy plant: it cannot run on engine {config.engine!r}"
            )
    if config.pairing == "random":
        raise ValueError("an evaluation's years are not drawn: pair them side_by_side or in_turn")
    years, tuning = years_of(config), tuning_years(config)
    if config.engine == "energyplus":
        report(f"EnergyPlus runs in {len(years) * len(controllers)} processes of about 200 MB")
    parts: list[tuple[Any, ...]] = []
    begun = 0
    for part in split_years(config, processes):
        count = len(years_of(part))
        seeds = seed + begun + np.arange(count)
        parts.append((controllers, part, tuning[begun : begun + count], seeds))
        begun += count
    if len(parts) == 1:
        passes = [run_through(*parts[0], on_step=on_step, report=report)]
    else:
        passes = run_in_processes(run_through, parts, on_step, report)
    return DataCenterEvaluation(_joined(passes), years, _protocol(config, seed, tuning))


def _joined(passes: list[Pass]) -> Pass:
    """Passes of the same controllers through different years as one."""
    first = passes[0]
    return Pass(
        counts={
            name: {
                count: np.concatenate([done.counts[name][count] for done in passes])
                for count in counts
            }
            for name, counts in first.counts.items()
        },
        returns={
            name: np.concatenate([done.returns[name] for done in passes]) for name in first.returns
        },
        units=first.units,
        settings={
            name: [each for done in passes for each in done.settings[name]]
            if isinstance(settings, list)
            else settings
            for name, settings in first.settings.items()
        },
        supervision={
            name: [of_year for done in passes for of_year in done.supervision[name]]
            for name in first.supervision
        },
        seconds={name: sum(done.seconds[name] for done in passes) for name in first.seconds},
    )


def _protocol(
    config: DataCenterConfig, seed: int, tuning: tuple[DataCenterConfig, ...]
) -> dict[str, Any]:
    """Plain JSON data on how it was evaluated, but for the years."""
    return {
        "id": DATA_CENTER,
        "site": config.design().name,
        "engine": config.engine,
        "days": config.episode_days,
        "first_day": config.start_day,
        "weather_seed": config.weather_seed,
        "load_seed": config.load_seed,
        "seed": seed,
        "sensors": asdict(config.sensors),
        "reward": asdict(config.reward),
        "faults": [asdict(fault) for fault in config.faults],
        "start": asdict(config.start),
        "ranges": asdict(config.ranges),
        "tuning_years": [year["weather"] for years in tuning for year in years_of(years)],
    }
