"""What of an episode is drawn: rows of curves, how their numbers are read, and the recorded ones.

Everything is read from `info`, so that any engine of the environment is drawn alike. Colours are
those of Okabe & Ito (2008), which colour-blind people tell apart; red is left to violations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise
from typing import Any

import numpy as np

from rlkit_envs.data_center.actions import ECONOMISER, actuators
from rlkit_envs.data_center.charts import Array, Colour
from rlkit_envs.data_center.design import ChilledWaterPlantDesign, DataCenterDesign

INK: Colour = (31, 41, 51)
_BLUE: Colour = (0, 114, 178)
_SKY: Colour = (86, 180, 233)
_GREEN: Colour = (0, 158, 115)
_ORANGE: Colour = (230, 159, 0)
_PURPLE: Colour = (204, 121, 167)
_YELLOW: Colour = (240, 228, 66)
_GREY: Colour = (122, 130, 140)
_PALE: Colour = (196, 201, 208)

Numbers = Mapping[str, float]
Reader = Callable[[Numbers, Numbers], float]
"""From `info["quantities"]` and `info["actions"]` to a number in the row's unit."""


class Kind(Enum):
    """How a row shows its series."""

    LINES = auto()
    STACK = auto()
    """Areas on top of one another, the first lowest; the last series is the number of their sum."""
    MODES = auto()
    """A band in the colour of `MODES`' entry that the one series names."""


@dataclass(frozen=True)
class Series:
    """One curve."""

    label: str
    colour: Colour
    read: Reader
    width: float = 1.6
    """Of the pen, pixels; 0 for a number that is written and not drawn."""
    digits: int = 1
    """Behind the decimal point."""


@dataclass(frozen=True)
class Row:
    """Series over one axis."""

    title: str
    """With the unit."""
    series: tuple[Series, ...]
    share: float
    """Of the picture's height, against other rows; 0 for a narrow band."""
    axis: tuple[float, float]
    """Least and greatest value that the axis shows at least."""
    quantum: float
    """The axis grows in steps of this; 0 where it stays as it is."""
    kind: Kind = Kind.LINES
    held: bool = False
    """Whether values are constant over a step, as set points are."""
    so_far: str = ""
    """Episode count that is written below the present numbers."""
    inlet: bool = False
    """Whether the first series is the hottest inlet, drawn with ASHRAE's ranges."""


def rows_of(design: DataCenterDesign) -> tuple[Row, ...]:
    """What is drawn of a site, from top to bottom: only what the site has."""
    rated_kw = design.servers.rated_power_w / 1e3
    kw_digits = 0 if rated_kw >= 500.0 else 1
    kw_step = _round_number(0.05 * rated_kw)
    names = actuators(design)
    inlets = (
        Series("hottest inlet", INK, _quantity("hottest_inlet_degc"), width=2.2),
        Series("return air", _ORANGE, _quantity("return_air_degc")),
        Series("supply air", _BLUE, _quantity("supply_air_degc")),
    )
    water = Series("chilled water", _SKY, _quantity("chilled_water_degc"))
    watered = isinstance(design.cooling, ChilledWaterPlantDesign)
    together = Series("together", INK, _besides_computing_kw, 0, kw_digits)
    ratio = Series("now", INK, _pue_of(rated_kw), digits=3)
    set_points = {
        "supply_air_degc": Series("supply air", _BLUE, _action("supply_air_degc")),
        "chilled_water_degc": Series("chilled water", _SKY, _action("chilled_water_degc")),
    }
    flows = {
        "air_flow_ratio": Series(
            "air handlers", _GREEN, _action("air_flow_ratio", 100.0), digits=0
        ),
        "tower_fan_ratio": Series(
            "cooling tower", _PURPLE, _action("tower_fan_ratio", 100.0), digits=0
        ),
    }
    modes = Series("mode", INK, _action(ECONOMISER))
    weather = (
        Series("dry bulb", _ORANGE, _quantity("outdoor_dry_bulb_degc")),
        Series("wet bulb", _BLUE, _quantity("outdoor_wet_bulb_degc")),
    )
    load = (
        Series("utilisation", _GREY, _quantity("utilisation", 100.0), digits=0),
        Series("servers, kW", INK, _quantity("it_power_w", 1e-3), 0, kw_digits),
        Series("facility, kW", INK, _quantity("facility_power_w", 1e-3), 0, kw_digits),
    )

    def told(series: Mapping[str, Series]) -> tuple[Series, ...]:
        return tuple(one for name, one in series.items() if name in names)

    powers = (*_powers(design, kw_digits), together)
    rows = [
        Row("Temperatures, °C", (*inlets, *[water] * watered), 160, (15, 35), 5, inlet=True),
        Row("Power besides computing, kW", powers, 140, (0, 3 * kw_step), kw_step, Kind.STACK),
        Row("PUE", (ratio,), 46, (1.0, 1.3), 0.1, so_far="pue"),
        Row("Set points, °C", told(set_points), 56, (15, 30), 5, held=True),
        Row("Flow, % of rated", told(flows), 50, (0, 100), 0, held=True),
        Row("Economiser", (modes,), 0, (0, 2), 0, Kind.MODES, held=True),
        Row("Outdoor air, °C", weather, 56, (10, 20), 5),
        Row("Load, %", load, 46, (0, 100), 0),
    ]
    if ECONOMISER not in names:
        rows = [row for row in rows if row.kind is not Kind.MODES]
    return tuple(rows)


class Recording:
    """The numbers of an episode up to now, of every series of `rows`."""

    def __init__(self, rows: Sequence[Row], steps: int) -> None:
        """steps: of the episode."""
        self.rows = tuple(rows)
        self.steps = steps
        self._series = [series for row in rows for series in row.series]
        starts = np.cumsum([0, *(len(row.series) for row in rows)]).tolist()
        self._of_row = [slice(*ends) for ends in pairwise(starts)]
        self.restart(0)

    def restart(self, age: int) -> None:
        """Forget everything. age: steps of the episode that nothing will be known of."""
        self.values = np.full((len(self._series), self.steps + 1), np.nan)
        """(series, steps + 1), NaN for what is not known."""
        self.age = age
        """Steps of the episode that are done."""
        self.least = np.full(len(self._series), np.nan)
        """(series,) up to now, as `greatest`."""
        self.greatest = self.least.copy()
        self.counts: Mapping[str, float] = {}
        """`info["episode_counts"]` of the last step; empty before the first."""
        self.faults: Mapping[str, float] = {}
        """Label -> severity, of what is broken now."""

    def add(self, age: int, info: Mapping[str, Any]) -> None:
        """Take down what `info` of one environment tells after `age` steps of the episode."""
        actions = info.get("actions", _NO_ACTIONS)
        quantities = info["quantities"]
        now = np.array([series.read(quantities, actions) for series in self._series])
        self.age = age
        self.values[:, age] = now
        self.least = np.fmin(self.least, now)
        self.greatest = np.fmax(self.greatest, now)
        self.counts = info.get("episode_counts", {})
        self.faults = {name: severity for name, severity in info["faults"].items() if severity}

    def of_row(self, number: int) -> Array:
        """(series of the row, steps + 1)."""
        return self.values[self._of_row[number]]

    def axis(self, number: int) -> tuple[float, float]:
        """Least and greatest value on a row's axis: it grows with what has been seen."""
        row, which = self.rows[number], self._of_row[number]
        lowest, highest = row.axis
        if row.quantum > 0.0:
            # A hair past the edge is no reason for another step.
            least = np.fmin.reduce(self.least[which], initial=lowest) / row.quantum
            greatest = np.fmax.reduce(self.greatest[which], initial=highest) / row.quantum
            lowest = min(lowest, row.quantum * float(np.floor(least + 0.02)))
            highest = max(highest, row.quantum * float(np.ceil(greatest - 0.02)))
        return float(lowest), float(highest)


class _Unknown(dict[str, float]):
    def __missing__(self, name: str) -> float:
        return np.nan


_NO_ACTIONS = _Unknown()


def _quantity(name: str, factor: float = 1.0) -> Reader:
    return lambda quantities, actions: factor * quantities[name]


def _action(name: str, factor: float = 1.0) -> Reader:
    return lambda quantities, actions: factor * actions[name]


def _powers(design: DataCenterDesign, digits: int) -> tuple[Series, ...]:
    metered = {"air_handler_fan_power_w": ("air-handler fans", _GREEN)}
    if isinstance(design.cooling, ChilledWaterPlantDesign):
        metered |= {
            "chiller_power_w": ("chiller", _BLUE),
            "pump_power_w": ("pumps", _SKY),
            "tower_fan_power_w": ("tower fan", _PURPLE),
        }
    else:
        metered["direct_expansion_power_w"] = ("direct expansion", _BLUE)

    moistens = design.humidity.humidifier_kg_s > 0.0 or design.evaporative_cooler is not None

    def moistening_kw(quantities: Numbers, actions: Numbers) -> float:
        parts = sum(quantities[name] for name in metered)
        return max(1e-3 * (quantities["mechanical_power_w"] - parts), 0.0)

    def loss_kw(quantities: Numbers, actions: Numbers) -> float:
        used = quantities["it_power_w"] + quantities["mechanical_power_w"]
        return 1e-3 * (quantities["facility_power_w"] - used)

    return (
        Series("server fans", _GREY, _quantity("server_fan_power_w", 1e-3), digits=digits),
        *(
            Series(label, c, _quantity(name, 1e-3), digits=digits)
            for name, (label, c) in metered.items()
        ),
        *([Series("humidification", _YELLOW, moistening_kw, digits=digits)] if moistens else []),
        Series("UPS, transformers", _PALE, loss_kw, digits=digits),
    )


def _besides_computing_kw(quantities: Numbers, actions: Numbers) -> float:
    computing_w = quantities["it_power_w"] - quantities["server_fan_power_w"]
    return 1e-3 * (quantities["facility_power_w"] - computing_w)


def _pue_of(rated_kw: float) -> Reader:
    """NaN below a fifth of the rated power: most servers are off, and the ratio says nothing."""

    def pue(quantities: Numbers, actions: Numbers) -> float:
        it_w = quantities["it_power_w"]
        return quantities["facility_power_w"] / it_w if it_w > 200.0 * rated_kw else np.nan

    return pue


def _round_number(value: float) -> float:
    """The nearest of 1, 2 and 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(min((1.0, 2.0, 5.0, 10.0), key=lambda factor: abs(factor * power - value)) * power)
