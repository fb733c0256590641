"""The data centre's plant beside EnergyPlus as a picture: SVG that fits light and dark pages.

Hourly means of both engines in the coldest and the warmest week of what was run, the chiller's
power of every hour over EnergyPlus's, and the bias of each month. EnergyPlus is a wide pale line
and the plant a thin one upon it, so that both show where they agree. Colours are near those of
Okabe & Ito (2008), which colour-blind people tell apart, and differ in brightness as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlkit.svg_chart import (
    Panel,
    curve,
    dots,
    frame,
    labels,
    page,
    path,
    rectangle,
    text,
    ticks_around,
    x_labels,
    x_lines,
    y_axis,
)
from rlkit_envs.data_center.energyplus.comparison import difference, hourly_means
from rlkit_envs.data_center.weather import (
    MONTHS,
    STEPS_PER_DAY,
    STEPS_PER_YEAR,
    date_of_day,
    months_of_steps,
)

Array = NDArray[np.float64]

_WIDTH, _HEIGHT = 1000, 930
_LEFT, _RIGHT, _GUTTER = 62, 984, 28
_ROWS_TOP, _ROW, _ROW_TITLE = 100, 118, 22
_LOWER_TOP, _LOWER_HEIGHT = 642, 240
_MARGIN = 0.05
"""Of an axis, beyond its ticks, so that curves keep off the frame."""
_FEW_HOURS = 1500
"""Up to so many, dots are larger."""
_DAYS_PER_WEEK = 7
_HOURS_PER_DAY = 24
_GOAL_PERCENT = 5.0
"""Of a bias, half of what ASHRAE Guideline 14 asks of an hourly model."""

_STYLE = """
    .band { fill: #eef1f4 }
    .theirs, .ours { fill: none; stroke-linejoin: round }
    .theirs { stroke: #f2b134; stroke-width: 5 }
    .ours { stroke: #00548a; stroke-width: 1.5 }
    .hour { fill: none; stroke: #00548a; stroke-width: 2.6; stroke-linecap: round; opacity: .55 }
    .few { stroke-width: 5 }
    .bar-0 { fill: #1d2730 } .bar-1 { fill: #3b93d0 } .bar-2 { fill: #e08214 }
"""
_DARK_STYLE = """
      .band { fill: #1f272e }
      .theirs { stroke: #a66a00 }
      .ours { stroke: #9fd8ff }
      .hour { stroke: #9fd8ff }
      .bar-0 { fill: #e6ebef }
"""


class _Row(NamedTuple):
    """A quantity that is drawn over time."""

    title: str
    name: str
    """In `comparison.QUANTITIES`."""
    unit: str
    scale: float
    """From the quantity's unit."""


_ROWS = (
    _Row("Total power, kW", "total_power", "kW", 1e-3),
    _Row("Chiller's power, kW", "chiller_power", "kW", 1e-3),
    _Row("Supply air, °C", "supply_temperature", "degC", 1.0),
    _Row("Hottest inlet, °C", "hottest_inlet_temperature", "degC", 1.0),
)
_BIASED = {
    "total": "total_power",
    "chiller": "chiller_power",
    "tower's fan": "tower_fan_power",
}


@dataclass(frozen=True)
class ComparedSpan:
    """What both engines gave over whole days of a year."""

    heading: str
    """What was run, in a line."""
    first_day: int
    """0 for 1 January."""
    outdoor_degc: Array
    """(steps,), which tells the coldest and the warmest week."""
    ours: Mapping[str, Array]
    """(steps,) each, by the names of `comparison.QUANTITIES`."""
    theirs: Mapping[str, Array]
    """The same of EnergyPlus."""

    def __post_init__(self) -> None:
        steps = len(self.outdoor_degc)
        if steps == 0 or steps % STEPS_PER_DAY or steps > STEPS_PER_YEAR:
            raise ValueError(f"{steps} steps are not 1 to 365 whole days of {STEPS_PER_DAY}")
        for name in {row.name for row in _ROWS} | set(_BIASED.values()):
            found = len(self.ours[name]), len(self.theirs[name])
            if found != (steps, steps):
                raise ValueError(f"{name} has {found} steps, but the outdoor air {steps}")

    @property
    def days(self) -> int:
        """How many there are."""
        return len(self.outdoor_degc) // STEPS_PER_DAY


class Week(NamedTuple):
    """Days of a span that are drawn hour by hour."""

    title: str
    first: int
    """Day of the span."""
    days: int


def weeks_of(span: ComparedSpan) -> tuple[Week, ...]:
    """The coldest and the warmest week, counted from the span's first day, by outdoor dry bulb.

    Of less than two weeks the first seven days at most.
    """
    whole = span.days // _DAYS_PER_WEEK
    if whole < 2:
        shown = min(span.days, _DAYS_PER_WEEK)
        return (Week(_dates(span.first_day, shown), 0, shown),)
    steps = whole * _DAYS_PER_WEEK * STEPS_PER_DAY
    mean_degc = span.outdoor_degc[:steps].reshape(whole, -1).mean(axis=1)
    chosen = {"Coldest week": int(mean_degc.argmin()), "Warmest week": int(mean_degc.argmax())}
    return tuple(
        Week(
            f"{name}, {_dates(span.first_day + _DAYS_PER_WEEK * week, _DAYS_PER_WEEK)}, "
            f"outdoors {labels([mean_degc[week], mean_degc[week] + 1.0])[0]} °C",
            _DAYS_PER_WEEK * week,
            _DAYS_PER_WEEK,
        )
        for name, week in chosen.items()
    )


def monthly_bias_percent(span: ComparedSpan, name: str) -> dict[int, float]:
    """NMBE of a quantity in each month that the span touches, by 0 for January to 11.

    Months in which EnergyPlus's mean is 0 are left out.
    """
    months = np.roll(months_of_steps(), -span.first_day * STEPS_PER_DAY)[: len(span.outdoor_degc)]
    found = {}
    for month in range(12):
        within = months == month
        if within.any() and span.theirs[name][within].any():
            of_month = difference("", span.ours[name][within], span.theirs[name][within])
            found[month] = 100.0 * of_month.nmbe
    return found


def draw_comparison(span: ComparedSpan) -> str:
    """The picture, as the text of an SVG file."""
    weeks = weeks_of(span)
    parts = [
        text(_LEFT, 32, "The NumPy plant beside EnergyPlus, hour by hour", "heading"),
        text(_LEFT, 53, span.heading, "small"),
        *_legend(),
        *_rows(span, weeks),
        *_every_hour(span, Panel(_LEFT, _LOWER_TOP, 260, _LOWER_HEIGHT, (0, 1), (0, 1))),
        *_biases(span, Panel(_LEFT + 340, _LOWER_TOP, 582, _LOWER_HEIGHT, (-0.5, 11.5), (0, 1))),
    ]
    return page(
        _WIDTH,
        _HEIGHT,
        "The NumPy plant beside EnergyPlus",
        "Hourly total power, chiller power, supply air and hottest inlet of both engines in chosen "
        "weeks; the chiller's power of every hour in one over the other; the bias of each month.",
        parts,
        _STYLE,
        _DARK_STYLE,
    )


def _legend() -> list[str]:
    return [
        path("M724 28H756", "theirs"),
        text(763, 32, "EnergyPlus"),
        path("M852 28H884", "ours"),
        text(891, 32, "rlkit's plant"),
    ]


def _rows(span: ComparedSpan, weeks: tuple[Week, ...]) -> list[str]:
    """Both engines over time: a row for each quantity, a column for each week."""
    width = (_RIGHT - _LEFT - _GUTTER * (len(weeks) - 1)) / len(weeks)
    parts = []
    for column, week in enumerate(weeks):
        parts.append(text(_LEFT + column * (width + _GUTTER), 84, week.title, "name"))
    for number, row in enumerate(_ROWS):
        drawn = [_week_of(span, row, week) for week in weeks]
        least = min(float(values.min()) for pair in drawn for values in pair)
        greatest = max(float(values.max()) for pair in drawn for values in pair)
        ticks = ticks_around(least, greatest, 5)
        margin = _MARGIN * (ticks[-1] - ticks[0])
        for column, (week, (ours, theirs)) in enumerate(zip(weeks, drawn, strict=True)):
            panel = Panel(
                left=_LEFT + column * (width + _GUTTER),
                top=_ROWS_TOP + number * _ROW + _ROW_TITLE,
                width=width,
                height=_ROW - _ROW_TITLE - 10,
                x_range=(0.0, float(week.days)),
                y_range=(ticks[0] - margin, ticks[-1] + margin),
            )
            days = range(week.days)
            hours = (np.arange(len(ours)) + 0.5) / _HOURS_PER_DAY
            parts += [
                *([text(panel.left, panel.top - 7, row.title)] if column == 0 else ()),
                text(panel.right, panel.top - 7, _found(span, row, week), "small end"),
                *y_axis(panel, ticks, named=column == 0),
                x_lines(panel, days),
                curve(panel, hours, theirs, "theirs"),
                curve(panel, hours, ours, "ours"),
                frame(panel),
            ]
            if number == len(_ROWS) - 1:
                names = [date_of_day(span.first_day + week.first + day) for day in days]
                parts += x_labels(panel, [day + 0.5 for day in days], names)
    return parts


def _every_hour(span: ComparedSpan, panel: Panel) -> list[str]:
    """The chiller's power of each hour, ours upwards and EnergyPlus's across."""
    ours, theirs = (
        1e-3 * hourly_means(values["chiller_power"]) for values in (span.ours, span.theirs)
    )
    ticks = ticks_around(0.0, float(max(ours.max(), theirs.max())), 6)
    ends = ticks[0], ticks[-1]
    panel = panel._replace(x_range=ends, y_range=ends)
    corners = np.array(ends)
    return [
        text(panel.left, panel.top - 10, "Chiller's power, kW", "name"),
        text(panel.right, panel.top - 10, f"{len(ours):,} hours", "small end"),
        *y_axis(panel, ticks),
        x_lines(panel, ticks),
        curve(panel, corners, corners, "goal"),
        dots(panel, theirs, ours, "hour few" if len(ours) <= _FEW_HOURS else "hour"),
        frame(panel),
        *x_labels(panel, ticks, labels(ticks)),
        text(panel.left + panel.width / 2, panel.bottom + 36, "EnergyPlus", "small middle"),
        text(panel.left + 10, panel.top + 18, "rlkit's plant", "small"),
    ]


def _biases(span: ComparedSpan, panel: Panel) -> list[str]:
    """Bars for each month, beside the band of the goal."""
    biases = {label: monthly_bias_percent(span, name) for label, name in _BIASED.items()}
    values = [value for of_months in biases.values() for value in of_months.values()]
    least, greatest = min((*values, -_GOAL_PERCENT)), max((*values, _GOAL_PERCENT))
    ticks = ticks_around(least, greatest, 7)
    panel = panel._replace(y_range=(ticks[0], ticks[-1]))
    top, zero, bottom = (panel.y(value) for value in (_GOAL_PERCENT, 0.0, -_GOAL_PERCENT))
    parts = [
        text(panel.left, panel.top - 10, "Bias (NMBE) of each month's power, %", "name"),
        rectangle(panel.left, top, panel.width, bottom - top, "band"),
        *y_axis(panel, ticks),
        path(f"M{panel.left:g} {zero:.1f}H{panel.right:g}", "frame"),
    ]
    width = panel.width / 12 * 0.26
    for place, (label, of_months) in enumerate(biases.items()):
        for month, value in of_months.items():
            left = panel.x(month) + (place - 1.5) * width
            upper, lower = panel.y(max(value, 0.0)), panel.y(min(value, 0.0))
            # A bias of nothing shows as a line.
            parts.append(rectangle(left, upper, width, max(lower - upper, 0.6), f"bar-{place}"))
        at = panel.right - 216 + 62 * place + (6 if place == 2 else 0)
        parts += [
            rectangle(at, panel.top - 20, 11, 11, f"bar-{place}"),
            text(at + 16, panel.top - 10, label, "small"),
        ]
    parts.append(text(panel.right - 6, bottom - 7, f"within {_GOAL_PERCENT:g} %", "small end"))
    return [*parts, frame(panel), *x_labels(panel, range(12), MONTHS)]


def _week_of(span: ComparedSpan, row: _Row, week: Week) -> tuple[Array, Array]:
    """Hourly means of both engines, in the row's unit."""
    within = _steps(week)
    ours, theirs = (
        row.scale * hourly_means(values[row.name][within]) for values in (span.ours, span.theirs)
    )
    return ours, theirs


def _found(span: ComparedSpan, row: _Row, week: Week) -> str:
    """How far the engines are apart in a week, in words."""
    within = _steps(week)
    found = difference(row.unit, span.ours[row.name][within], span.theirs[row.name][within])
    if row.unit == "degC":
        return f"RMS difference {found.rmse:.2f} K"
    if found.theirs == 0.0:
        return f"RMS difference {row.scale * found.rmse:.2f} {row.unit}"
    nmbe, cv_rmse = 100.0 * found.nmbe, 100.0 * found.cv_rmse
    return f"NMBE {nmbe:+.2f} %, CV(RMSE) {cv_rmse:.1f} %".replace("-", "\N{MINUS SIGN}")


def _steps(week: Week) -> slice:
    return slice(week.first * STEPS_PER_DAY, (week.first + week.days) * STEPS_PER_DAY)


def _dates(first: int, days: int) -> str:
    return (
        date_of_day(first)
        if days == 1
        else f"{date_of_day(first)} to {date_of_day(first + days - 1)}"
    )
