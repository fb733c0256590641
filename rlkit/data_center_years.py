"""Which years of weather and load a data centre's controllers are evaluated on, and which they may
be tuned on: never the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

import numpy as np

from rlkit_envs.data_center.actions import DEFAULT_LEVELS, ActuatorRanges
from rlkit_envs.data_center.configuration import DataCenterConfig, all_pairs
from rlkit_envs.data_center.psychrometrics import dew_point_degc
from rlkit_envs.data_center.synthetic_weather import CLIMATES, Climate
from rlkit_envs.data_center.weather import Weather, months_of_steps

UNSEEN_SEED = 1000
"""Weather and loads are unseen from this seed on: what is trained or tuned stays below it."""
UNSEEN_CLIMATES = ("hot_dry", "hot_humid", "mixed_humid", "marine", "cold")
"""Evaluated unless others are named."""
TUNING_SEED = 0
"""Of the years that controllers without learning are tuned on."""


def unseen_years(
    site: DataCenterConfig,
    *,
    weather: Sequence[str] = UNSEEN_CLIMATES,
    seed: int = UNSEEN_SEED,
    days: int = 365,
    first_day: int = 0,
    engine: str = "plant",
) -> DataCenterConfig:
    """The site in other years of weather and load, for controllers of every kind.

    site: also gives kinds of load, which the climates get in turn, sensors, rewards and faults.
    weather: as `DataCenterConfig.weather` takes it. seed: of synthetic weather and load,
    UNSEEN_SEED or more. days, first_day: the span of each year, from 0 for 1 January. Actions are
    continuous, their ranges wide enough for all that the site's own reach. Rewards are for what
    happens: `withstood_rise`, which only learning has a use for, is left out.
    Raises ValueError for what does not fit.
    """
    if seed < UNSEEN_SEED:
        raise ValueError(f"seed is {seed}: years that nothing is trained on begin at {UNSEEN_SEED}")
    return replace(
        site,
        weather=tuple(weather),
        weather_seed=seed,
        load_seed=seed,
        pairing="side_by_side",
        episode_days=days,
        start_day=float(first_day),
        discrete=False,
        levels=None,
        ranges=reachable(site),
        reward=replace(site.reward, withstood_rise=0.0),
        engine=engine,
    )


def tuning_years(config: DataCenterConfig) -> tuple[DataCenterConfig, ...]:
    """For each of `years_of`, another year of the same climate and kind of load.

    A place that is no climate by name, whose year is the only one, is tuned on the climate nearest
    to it; a load that is given as an array on itself.
    """
    weathers, loads = _weathers(config), _loads(config)
    return tuple(
        replace(
            config,
            weather=_climate(weather),
            weather_seed=TUNING_SEED,
            load=load,
            load_seed=TUNING_SEED,
            engine="plant",
        )
        for weather, load in ((weathers[w][0], loads[n][0]) for w, n in _pairs(config))
    )


def years_of(config: DataCenterConfig) -> tuple[dict[str, str], ...]:
    """For each pair of weather and load, in order, `climate`, `weather` and `load` by name.

    The climate is short; the load is part of it where it would not tell the years apart.
    """
    weathers, loads = config.weathers(), config.load_names()
    given = [_label(weather, seed, config) for weather, seed in _weathers(config)]
    pairs = _pairs(config)
    unique = len({given[weather] for weather, _ in pairs}) == len(pairs)
    return tuple(
        {
            "climate": given[weather] if unique else f"{given[weather]}, {loads[load]}",
            "weather": weathers[weather].name,
            "load": loads[load],
        }
        for weather, load in pairs
    )


def split_years(config: DataCenterConfig, parts: int) -> list[DataCenterConfig]:
    """`config` with some of its years each, about equally many, in order; `parts` at most.

    Only a config with one seed for all weathers and one for all loads can be split.
    """
    pairs = _pairs(config)
    parts = max(1, min(parts, len(pairs)))
    if parts == 1 or len(_several(config.weather_seed)) > 1 or len(_several(config.load_seed)) > 1:
        return [config]
    weathers, loads = _several(config.weather), _several(config.load)
    ends = [round(number * len(pairs) / parts) for number in range(parts + 1)]
    return [
        replace(
            config,
            weather=tuple(weathers[weather] for weather, _ in pairs[begin:end]),
            load=tuple(loads[load] for _, load in pairs[begin:end]),
            pairing="side_by_side",
        )
        for begin, end in pairwise(ends)
    ]


def seen_years(trained: DataCenterConfig, config: DataCenterConfig) -> list[str]:
    """Years of weather and of load that are both in `trained` and in `config`: none, mostly."""
    kinds = (("weather", _weathers), ("load", _loads))
    return [
        f"{kind} {given}" + (f" {seed}" if seed is not None else "")
        for kind, years in kinds
        for given, seed in years(config)
        if any(_same(given, other) and seed == its for other, its in years(trained))
    ]


def reachable(site: DataCenterConfig) -> ActuatorRanges:
    """Ranges that hold the site's own and, with discrete actions, all its levels."""
    levels = {**DEFAULT_LEVELS, **(site.levels or {})} if site.discrete else {}
    wide = {}
    for name, (least, most) in asdict(site.ranges).items():
        values = [float(level) for level in levels.get(name, ())]
        wide[name] = (min([least, *values]), max([most, *values]))
    return ActuatorRanges(**wide)


def nearest_climate(weather: Weather) -> str:
    """The name of the climate whose monthly means of dry bulb and dew point differ least."""
    months = months_of_steps()
    dew_point = dew_point_degc(weather.humidity_ratio, weather.pressure_pa)
    here = np.array([np.bincount(months, weather.dry_bulb_degc), np.bincount(months, dew_point)])
    here /= np.bincount(months)

    def distance(name: str) -> float:
        climate = CLIMATES[name]
        apart = here - np.array([climate.dry_bulb_degc, climate.dew_point_degc])
        return float((apart * apart).sum())

    return min(CLIMATES, key=distance)


def _climate(given: str | Climate | Weather) -> str | Climate:
    if isinstance(given, Climate) or (isinstance(given, str) and given in CLIMATES):
        return given
    (weather,) = DataCenterConfig(weather=given).weathers()
    return nearest_climate(weather)


def _label(given: str | Climate | Weather, seed: int | None, config: DataCenterConfig) -> str:
    label = given if isinstance(given, str) else getattr(given, "place", None) or given.name  # pyright: ignore[reportAttributeAccessIssue]
    several = len(_several(config.weather_seed)) > 1
    return f"{label} {seed}" if several and seed is not None else label


def _pairs(config: DataCenterConfig) -> list[tuple[int, int]]:
    """Indices of weather and load of each year."""
    return all_pairs(config.pairing, len(_weathers(config)), len(_loads(config)))


def _weathers(config: DataCenterConfig) -> list[tuple[Any, int | None]]:
    """Each year with its seed, None where it has none, in the order of `config.weathers()`."""
    return [
        (given, seed)
        for given in _several(config.weather)
        for seed in (
            _several(config.weather_seed)
            if isinstance(given, Climate) or given in CLIMATES
            else (None,)
        )
    ]


def _loads(config: DataCenterConfig) -> list[tuple[Any, int | None]]:
    """The same of loads."""
    return [
        (given, seed)
        for given in _several(config.load)
        for seed in ((None,) if isinstance(given, np.ndarray) else _several(config.load_seed))
    ]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    return one == other


def _several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
