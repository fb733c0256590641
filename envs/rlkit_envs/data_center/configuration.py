"""What a data-centre environment is made of, by name or by object, and the years that result.

Every field takes what JSON can hold, so that a recipe or `gymnasium.make` can give it: names,
numbers, lists, and mappings of a settings class's fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from rlkit_envs.data_center.actions import ActuatorRanges, StartingActions
from rlkit_envs.data_center.design import DataCenterDesign
from rlkit_envs.data_center.faults import SENSOR_KINDS, Fault
from rlkit_envs.data_center.load_traces import LOADS, Load, make_load
from rlkit_envs.data_center.plant_state import OutdoorAir
from rlkit_envs.data_center.presets import PRESETS
from rlkit_envs.data_center.psychrometrics import Array
from rlkit_envs.data_center.reward import RewardSettings
from rlkit_envs.data_center.sensors import SensorSettings
from rlkit_envs.data_center.synthetic_weather import CLIMATES, Climate, synthetic
from rlkit_envs.data_center.weather import STEPS_PER_DAY, STEPS_PER_YEAR, Weather
from rlkit_envs.data_center.weather_files import read_epw, tmy3

PAIRINGS = ("random", "in_turn", "side_by_side")
ENGINES = ("plant", "energyplus")

_LOAD_STREAM = 1
"""Keeps the random numbers of load and weather apart where both have the same seed."""


@dataclass(frozen=True)
class DataCenterConfig:
    """A site, its outdoors and load, and what an agent sees, sets and is paid for."""

    site: str | DataCenterDesign = "chilled_water_hall"
    """A name in `presets.PRESETS`, or a design."""
    engine: str = "plant"
    """What computes the site: `plant`, which is ours, or `energyplus`, one process of about 200 MB
    an environment (needs the extra `energyplus`). EnergyPlus takes sites with chilled water and a
    plate exchanger, no faults but those of sensors, and air flows from 0.05; nobody can save its
    state."""
    weather: str | Climate | Weather | tuple[str | Climate | Weather, ...] = "mixed_humid"
    """One or several years: a climate's name or statistics (synthetic), `tmy3:` with a place's name
    (needs the extra `energyplus`), the path of an .epw file, or a `Weather`."""
    weather_seed: int | tuple[int, ...] = 0
    """Of synthetic weather; with several, every climate has a year for each."""
    load: str | Load | Array | tuple[str | Load | Array, ...] = "diurnal"
    """One or several years of utilisation: a name in `load_traces.LOADS`, its parameters, or an
    array (105120,) of values from 0 to 1."""
    load_seed: int | tuple[int, ...] = 0
    """Of made-up loads; with several, every load has a year for each."""
    pairing: str = "random"
    """Which weather and load an episode gets: `random` draws both, `in_turn` gives environment i
    the i-th pair, loads changing fastest, and starts over after the last; `side_by_side` pairs the
    first weather with the first load, and so on, the shorter list starting over, and then does the
    same."""
    episode_days: int = 7
    """Length of an episode, 1 to 365 days of 288 steps."""
    start_day: float | None = None
    """When an episode begins, days since 1 January, 0 to below 365; None draws a step of the year,
    and is 1 January for an episode of a whole year."""
    discrete: bool = False
    """Number the combinations of `levels`, in place of numbers from -1 to 1."""
    levels: Mapping[str, tuple[float | str, ...]] | None = None
    """Levels by actuator, with `discrete`; None and those left out are `actions.DEFAULT_LEVELS`."""
    ranges: ActuatorRanges = field(default_factory=ActuatorRanges)
    """What -1 and 1 mean, without `discrete`."""
    start: StartingActions = field(default_factory=StartingActions)
    """How the site was run before an episode."""
    sensors: SensorSettings = field(default_factory=SensorSettings)
    """Noise, delay, forecast."""
    reward: RewardSettings = field(default_factory=RewardSettings)
    """Prices and penalties."""
    faults: tuple[Fault, ...] = ()
    """What breaks, when, and how badly."""

    def __post_init__(self) -> None:
        if isinstance(self.site, str) and self.site not in PRESETS:
            raise ValueError(f"no site {self.site!r}; there are {', '.join(PRESETS)}")
        for name, settings in (
            ("ranges", ActuatorRanges),
            ("start", StartingActions),
            ("sensors", SensorSettings),
            ("reward", RewardSettings),
        ):
            object.__setattr__(self, name, _made(settings, getattr(self, name), name))
        faults = [self.faults] if isinstance(self.faults, Fault | Mapping) else self.faults
        made = tuple(_made(Fault, fault, "faults") for fault in faults)
        object.__setattr__(self, "faults", made)
        for name in ("weather", "weather_seed", "load", "load_seed"):
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
            if len(_several(getattr(self, name))) == 0:
                raise ValueError(f"DataCenterConfig.{name} is empty: name one or more")
        for name in ("weather_seed", "load_seed"):
            for seed in _several(getattr(self, name)):
                if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
                    raise ValueError(f"DataCenterConfig.{name} {seed!r} must be a number from 0 on")
        for name, choice in (("pairing", PAIRINGS), ("engine", ENGINES)):
            if getattr(self, name) not in choice:
                raise ValueError(
                    f"DataCenterConfig.{name} is {getattr(self, name)!r}: "
                    f"there are {', '.join(choice)}"
                )
        days = self.episode_days
        if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= 365:
            raise ValueError(f"DataCenterConfig.episode_days is {days!r}: 1 to 365 would fit")
        if self.start_day is not None and not 0.0 <= self.start_day < 365.0:
            raise ValueError(
                f"DataCenterConfig.start_day is {self.start_day!r}: 0 to below 365 would fit"
            )
        if self.levels is not None and not self.discrete:
            raise ValueError("DataCenterConfig.levels are given, but discrete is False")
        if self.engine == "energyplus":
            self._check_energyplus()

    def design(self) -> DataCenterDesign:
        """The site."""
        return PRESETS[self.site]() if isinstance(self.site, str) else self.site

    def weathers(self) -> tuple[Weather, ...]:
        """All years of weather. Raises ValueError for unknown names and damaged files."""
        years: list[Weather] = []
        for given in _several(self.weather):
            if isinstance(given, Weather):
                years.append(given)
            elif isinstance(given, str) and given not in CLIMATES:
                years.append(_named_weather(given))
            else:
                years += [_synthetic(given, seed) for seed in _several(self.weather_seed)]
        return tuple(years)

    def loads(self) -> tuple[Array, ...]:
        """All years of utilisation, (105120,) each. Raises ValueError for what is no load."""
        years: list[Array] = []
        for given in _several(self.load):
            if isinstance(given, np.ndarray):
                years.append(_checked_load(given))
                continue
            for seed in _several(self.load_seed):
                stream = np.random.SeedSequence(seed, spawn_key=(_LOAD_STREAM,))
                years.append(make_load(given, stream))
        return tuple(years)

    def load_names(self) -> tuple[str, ...]:
        """A name for each of `loads`, such as `diurnal 0`."""
        names: list[str] = []
        for number, given in enumerate(_several(self.load)):
            if isinstance(given, np.ndarray):
                names.append(f"trace {number}")
                continue
            kind = given if isinstance(given, str) else type(given).__name__
            names += [f"{kind} {seed}" for seed in _several(self.load_seed)]
        return tuple(names)

    def _check_energyplus(self) -> None:
        # Only now, so that the plant's users wait for no second engine.
        from rlkit_envs.data_center.energyplus.signals import LEAST_AIR_FLOW_RATIO

        for fault in self.faults:
            if fault.kind not in SENSOR_KINDS:
                raise ValueError(
                    f"the fault {fault.kind!r} needs engine='plant': EnergyPlus has none but "
                    f"{' and '.join(SENSOR_KINDS)}"
                )
        if self.reward.withstood_rise > 0.0:
            raise ValueError(
                f"RewardSettings.withstood_rise is {self.reward.withstood_rise:g}, which needs "
                "engine='plant': EnergyPlus cannot try a step; 0 would fit"
            )
        flows = {"start.air_flow_ratio": self.start.air_flow_ratio}
        if not self.discrete:
            flows["ranges.air_flow_ratio"] = self.ranges.air_flow_ratio[0]
        elif self.levels is not None and self.levels.get("air_flow_ratio"):
            flows["levels of air_flow_ratio"] = min(map(float, self.levels["air_flow_ratio"]))
        for name, least in flows.items():
            if least < LEAST_AIR_FLOW_RATIO:
                raise ValueError(
                    f"DataCenterConfig.{name}: {least:g} is less than EnergyPlus's fans take, "
                    f"which is {LEAST_AIR_FLOW_RATIO:g}; raise it, or take engine='plant'"
                )


def all_pairs(pairing: str, weathers: int, loads: int) -> list[tuple[int, int]]:
    """Indices of weather and load of each pair that there is, in order. See `pairing`."""
    if pairing == "side_by_side":
        return [(number % weathers, number % loads) for number in range(max(weathers, loads))]
    return [divmod(number, loads) for number in range(weathers * loads)]


class Outdoors:
    """Years of weather and load, laid end to end, so that one index finds a step of any of them.

    Environments share the arrays. `index` is (num_envs,), or (hours, num_envs) for a forecast.
    """

    def __init__(self, weathers: Sequence[Weather], loads: Sequence[Array]) -> None:
        self.dry_bulb_degc = _end_to_end([weather.dry_bulb_degc for weather in weathers])
        self._humidity_ratio = _end_to_end([weather.humidity_ratio for weather in weathers])
        self.wet_bulb_degc = _end_to_end([weather.wet_bulb_degc for weather in weathers])
        self._pressure_pa = _end_to_end([weather.pressure_pa for weather in weathers])
        self.utilisation = _end_to_end(loads)
        self.sharpest_rise = _end_to_end([_sharpest_rise(load) for load in loads])
        """Largest rise from one step to the next in the seven days before each step."""

    def air(self, index: NDArray[np.int64]) -> OutdoorAir:
        """Outdoor air at `index`."""
        return OutdoorAir(
            self.dry_bulb_degc.take(index),
            self._humidity_ratio.take(index),
            self.wet_bulb_degc.take(index),
            self._pressure_pa.take(index),
        )


def _named_weather(name: str) -> Weather:
    if name.startswith("tmy3:"):
        return tmy3(name.removeprefix("tmy3:"))
    if name.lower().endswith(".epw"):
        return read_epw(name)
    raise ValueError(
        f"no weather {name!r}: there are {', '.join(CLIMATES)}, tmy3:PLACE, and paths of .epw files"
    )


@lru_cache(maxsize=64)
def _synthetic(climate: str | Climate, seed: int) -> Weather:
    return synthetic(climate, seed)


def _checked_load(load: Array) -> Array:
    values = np.array(load, dtype=np.float64)
    if values.shape != (STEPS_PER_YEAR,):
        raise ValueError(
            f"a load has shape {values.shape}: a year is ({STEPS_PER_YEAR},), one value every five "
            f"minutes; or name one of {', '.join(LOADS)}"
        )
    wrong = np.flatnonzero(~((values >= 0.0) & (values <= 1.0)))
    if wrong.size:
        raise ValueError(f"load[{wrong[0]}] is {values[wrong[0]]:g}: it must be from 0 to 1")
    return values


def _sharpest_rise(load: Array) -> Array:
    """Largest rise in the week before each step; the year's end comes before its beginning."""
    rises = np.maximum(load - np.roll(load, 1), 0.0)
    week = 7 * STEPS_PER_DAY
    return np.roll(maximum_filter1d(rises, week, mode="wrap", origin=(week - 1) // 2), 1)


def _end_to_end(years: Sequence[Array]) -> Array:
    return years[0] if len(years) == 1 else np.concatenate(years)


def _several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _made(settings: type, value: Any, name: str) -> Any:
    """`value` itself, or made of a mapping of its fields."""
    if isinstance(value, settings):
        return value
    if not isinstance(value, Mapping):
        raise TypeError(
            f"DataCenterConfig.{name} takes {settings.__name__} or a mapping of its fields, "
            f"not {value!r}"
        )
    try:
        return settings(**value)
    except TypeError as error:
        raise TypeError(f"DataCenterConfig.{name}: {error}") from error
