"""The best setting that never moves, by grid search over training years.

A coarse grid over stretches spread over the year, then grids of half the spacing around the best,
then whole years for the cheapest few, with more and more to spare below the limit. All settings and
stretches of a stage run side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from rlkit_envs.data_center.actions import ECONOMISER, UNITS, ActuatorRanges, actuators
from rlkit_envs.data_center.configuration import DataCenterConfig
from rlkit_envs.data_center.controllers.fixed import FixedSetPoints, FixedSettings
from rlkit_envs.data_center.economisers import EconomiserMode
from rlkit_envs.data_center.environment import DataCenterEnvs, EnvironmentState, select_rows
from rlkit_envs.data_center.plant_state import PlantActions
from rlkit_envs.data_center.psychrometrics import Array
from rlkit_envs.data_center.ranges import check_ranges
from rlkit_envs.data_center.reward import RECOMMENDED_DEGC

_YEAR_DAYS = 365
_CHUNK_DAYS = 5
"""Whole years are run as 73 stretches side by side."""
_LIMIT_DEGC = RECOMMENDED_DEGC[1]
_SPARE_K = (0.0, 0.5, 1.0)
"""Stretches miss the year's hottest hours: finalists whose inlets stay this far below the limit."""
_MOST_ROWS = 2048
"""Rows of a batch; larger ones leave the processor's cache."""


@dataclass(frozen=True)
class StaticSearchSettings:
    """The grid, and how the search narrows. A site ignores actuators that it lacks."""

    supply_air_degc: tuple[float, ...] = (18.0, 20.0, 22.0, 24.0)
    """First levels, one or more, rising."""
    air_flow_ratio: tuple[float, ...] = (0.4, 0.5, 0.6, 0.75, 1.0)
    """First levels."""
    chilled_water_degc: tuple[float, ...] = (8.0, 11.0, 14.0, 17.0)
    """First levels."""
    tower_fan_ratio: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8)
    """First levels."""
    economiser: tuple[str, ...] = ("precool", "full")
    """Modes; these are not refined. PRECOOL costs nothing where it does not help."""
    stretches: int = 12
    """Stretches of each training year in the first stages, evenly spread, 1 to 73."""
    stretch_days: int = 2
    """Days of each, 1 to 5."""
    refinements: int = 2
    """Times that the spacing is halved around the best, 0 to 5."""
    finalists: int = 6
    """Cheapest settings that are run through whole years, 0 to 100: so many of those allowed, and
    of those whose inlets never leave the range, by 0, 0.5 and 1 K; 0 leaves whole years out."""
    most_outside_ratio: float = 0.001
    """Most of the time that the hottest inlet may lie outside the recommended range, 0 to 1."""

    def __post_init__(self) -> None:
        for name in UNITS:
            levels = tuple(getattr(self, name))
            object.__setattr__(self, name, levels)
            if not levels or len(set(levels)) != len(levels):
                raise ValueError(
                    f"StaticSearchSettings.{name} is {levels!r}: one or more levels, each once"
                )
            for level in levels:
                FixedSettings(**{name: level})
        check_ranges(
            self,
            stretches=(1, _YEAR_DAYS // _CHUNK_DAYS),
            stretch_days=(1, _CHUNK_DAYS),
            refinements=(0, 5),
            finalists=(0, 100),
            most_outside_ratio=(0.0, 1.0),
        )


class StaticSearch(NamedTuple):
    """What a search found."""

    best: FixedSettings
    """The cheapest allowed setting, or where none is allowed the one with least time outside."""
    facility_power_w: float
    """Of the best, mean over all of the last stage."""
    outside_ratio: float
    """Of the best, share of the time."""
    allowed: bool
    """Whether the best keeps to `most_outside_ratio`."""
    table: Mapping[str, Array]
    """All that was run, in order: `stage`, each actuator's setting (the economiser's as
    `EconomiserMode`), `facility_power_w`, `outside_ratio` and `hottest_inlet_degc`, the highest."""

    def controller(self, name: str = "best static") -> FixedSetPoints:
        """The best setting at work."""
        return FixedSetPoints(self.best, name)


def search_static(
    config: DataCenterConfig,
    settings: StaticSearchSettings = StaticSearchSettings(),
) -> StaticSearch:
    """The setting with least facility energy among those that keep inlets where they belong.

    config: site, and the years to be tuned on, all pairs of weather and load; when and how long
    episodes are, and which engine runs them, does not matter. Levels beyond `config.ranges` are
    moved into them.
    """
    config = replace(config, engine="plant", discrete=False, levels=None, pairing="in_turn")
    names = actuators(config.design())
    grid = {name: _levels(name, getattr(settings, name), config.ranges) for name in names}
    gap = _YEAR_DAYS / settings.stretches
    starts = [round(gap * (number + 0.5)) - 1 for number in range(settings.stretches)]

    found = _Found(names)
    found.add(0, list(product(*grid.values())), config, starts, settings.stretch_days)
    for stage in range(1, settings.refinements + 1):
        best = found.settings[found.order(settings.most_outside_ratio)[0]]
        grid = {
            name: (value,)
            if name == ECONOMISER
            else _around(value, grid[name], name, config.ranges)
            for (name, value) in zip(names, best, strict=True)
        }
        found.add(stage, list(product(*grid.values())), config, starts, settings.stretch_days)

    best = found.order(settings.most_outside_ratio)[0]
    if settings.finalists:
        tried = len(found.settings)
        finalists = found.finalists(settings.most_outside_ratio, settings.finalists)
        year = range(0, _YEAR_DAYS, _CHUNK_DAYS)
        found.add(settings.refinements + 1, finalists, config, year, _CHUNK_DAYS)
        best = found.order(settings.most_outside_ratio, since=tried)[0]
    return StaticSearch(
        best=found.fixed(best),
        facility_power_w=found.facility_power_w[best],
        outside_ratio=found.outside_ratio[best],
        allowed=found.outside_ratio[best] <= settings.most_outside_ratio,
        table=found.table(),
    )


class _Found:
    """What has been run so far."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.settings: list[tuple[float, ...]] = []
        self.stages: list[int] = []
        self.facility_power_w: list[float] = []
        self.outside_ratio: list[float] = []
        self.hottest_inlet_degc: list[float] = []

    def add(
        self,
        stage: int,
        settings: Sequence[tuple[float, ...]],
        config: DataCenterConfig,
        starts: Sequence[int],
        days: int,
    ) -> None:
        """Run settings, each once in all stretches of `days` from the days `starts` on."""
        columns = {
            name: np.array(column)
            for name, column in zip(self.names, zip(*settings, strict=True), strict=True)
        }
        power_w, outside_ratio, hottest_degc = run_settings(config, columns, starts, days)
        self.settings += settings
        self.stages += [stage] * len(settings)
        self.facility_power_w += power_w.tolist()
        self.outside_ratio += outside_ratio.tolist()
        self.hottest_inlet_degc += hottest_degc.tolist()

    def order(self, most_outside_ratio: float, since: int = 0) -> list[int]:
        """Best first, of those from `since` on: allowed ones by power, then others by time."""
        outside = np.array(self.outside_ratio[since:])
        forbidden = outside > most_outside_ratio
        power = np.array(self.facility_power_w[since:])
        return (np.lexsort((power, np.where(forbidden, outside, 0.0))) + since).tolist()

    def finalists(self, most_outside_ratio: float, each: int) -> list[tuple[float, ...]]:
        """The cheapest `each` allowed, and of those with something to spare; each setting once."""
        chosen: dict[tuple[float, ...], None] = {}
        order = self.order(most_outside_ratio)
        hottest = np.array(self.hottest_inlet_degc)[order]
        for fits in (
            np.ones(len(order), np.bool_),
            *(hottest <= _LIMIT_DEGC - k for k in _SPARE_K),
        ):
            fitting = [self.settings[i] for i, fit in zip(order, fits, strict=True) if fit]
            chosen |= dict.fromkeys(list(dict.fromkeys(fitting))[:each])
        return list(chosen)

    def fixed(self, number: int) -> FixedSettings:
        """One setting as a controller takes it."""
        chosen = zip(self.names, self.settings[number], strict=True)
        values: dict[str, Any] = {name: float(value) for name, value in chosen}
        if ECONOMISER in values:
            values[ECONOMISER] = EconomiserMode(int(values[ECONOMISER])).name.lower()
        return FixedSettings(**values)

    def table(self) -> dict[str, Array]:
        """As `StaticSearch.table`."""
        columns = dict(zip(self.names, np.array(self.settings).T, strict=True))
        return {
            "stage": np.array(self.stages),
            **columns,
            "facility_power_w": np.array(self.facility_power_w),
            "outside_ratio": np.array(self.outside_ratio),
            "hottest_inlet_degc": np.array(self.hottest_inlet_degc),
        }


def run_settings(
    config: DataCenterConfig, settings: Mapping[str, Array], starts: Sequence[int], days: int
) -> tuple[Array, Array, Array]:
    """(settings,) facility power, W; share of time outside the recommended; hottest inlet, degC.

    settings: actuator -> (settings,) values, held from the days `starts` of the year on for `days`,
    in all pairs of weather and load of `config`: means over all of that, and the highest inlet.
    """
    count = len(next(iter(settings.values())))
    states = [_state_at(config, start, days) for start in starts]
    begun = {
        name: states[0][name]
        if name == "shared"
        else np.concatenate([state[name] for state in states], axis=-1)
        for name in states[0]
    }
    stretches = begun["time"].shape[-1]
    most = max(1, _MOST_ROWS // stretches)
    parts = []
    for first in range(0, count, most):
        values = {name: column[first : first + most] for name, column in settings.items()}
        number = min(most, count - first)
        envs = DataCenterEnvs(number * stretches, config=replace(config, episode_days=days))
        envs.set_state(select_rows(begun, np.tile(np.arange(stretches), number).tolist()))
        held = {name: np.repeat(values[name], stretches) for name in envs.actions.names}
        missing = {name: 0.0 for name in UNITS if name not in held}
        actions = envs.actions.from_plant(PlantActions(**held, **missing))
        info: dict[str, Any] = {}
        for _ in range(envs.episode_steps):
            *_, info = envs.step(actions)
        counts = info["episode_counts"]
        power_w = counts["facility_energy"] * (1e3 / (24.0 * days))
        outside = counts["hours_outside_recommended"] / (24.0 * days)
        parts.append(
            (
                power_w.reshape(number, stretches).mean(axis=1),
                outside.reshape(number, stretches).mean(axis=1),
                counts["hottest_inlet"].reshape(number, stretches).max(axis=1),
            )
        )
    power_w, outside, hottest = (np.concatenate(part) for part in zip(*parts, strict=True))
    return power_w, outside, hottest


def _state_at(config: DataCenterConfig, day: int, days: int) -> EnvironmentState:
    """Environments of all pairs of weather and load, as they begin on a day."""
    pairs = len(config.weathers()) * len(config.loads())
    envs = DataCenterEnvs(pairs, config=replace(config, start_day=float(day), episode_days=days))
    envs.reset(seed=0)
    return envs.state()


def _levels(name: str, levels: Sequence[float | str], ranges: ActuatorRanges) -> tuple[float, ...]:
    """Rising, within the ranges of the actions, each once."""
    if name == ECONOMISER:
        return tuple(float(EconomiserMode[str(level).upper()]) for level in levels)
    return tuple(np.unique(np.clip(np.array(levels, dtype=np.float64), *getattr(ranges, name))))


def _around(
    value: float, levels: Sequence[float], name: str, ranges: ActuatorRanges
) -> tuple[float, ...]:
    """A level between the halves of its gaps; where it is the outermost, as far outwards."""
    if len(levels) == 1:
        return (value,)
    at = levels.index(value)
    below = levels[at] - levels[at - 1] if at > 0 else levels[1] - levels[0]
    above = levels[at + 1] - levels[at] if at + 1 < len(levels) else levels[-1] - levels[-2]
    return _levels(name, (value - 0.5 * below, value, value + 0.5 * above), ranges)
