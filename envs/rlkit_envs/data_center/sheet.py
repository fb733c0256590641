"""The paper that an episode is drawn on: where rows lie, axes, legends, and present numbers.

What the rows show stands in `recording`; their curves are painted by `drawing`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rlkit_envs.data_center import charts
from rlkit_envs.data_center.charts import Colour, Plot
from rlkit_envs.data_center.economisers import EconomiserMode
from rlkit_envs.data_center.recording import INK, Kind, Recording, Row, Series
from rlkit_envs.data_center.reward import RECOMMENDED_DEGC
from rlkit_envs.data_center.weather import (
    DAYS_PER_MONTH,
    STEPS_PER_DAY,
    STEPS_PER_HOUR,
    date_of_day,
)

Picture = NDArray[np.uint8]
"""(HEIGHT, WIDTH, 3), RGB."""

WIDTH, HEIGHT = 1280, 720
LEFT, RIGHT = 56, 1064
"""Columns between which curves are drawn."""
VIOLATION: Colour = (209, 0, 28)
"""Of the hottest inlet outside its recommended range; nothing else is red."""
MODES: Mapping[EconomiserMode, Colour] = {
    EconomiserMode.OFF: (228, 231, 236),
    EconomiserMode.PRECOOL: (150, 167, 194),
    EconomiserMode.FULL: (60, 79, 113),
}

_PAGE: Colour = (247, 248, 250)
_PAPER: Colour = (255, 255, 255)
_GRID: Colour = (226, 230, 235)
_FRAME: Colour = (176, 184, 194)
_DIM: Colour = (92, 102, 115)

_SMALL, _MEDIUM, _HEADING, _TITLE = (ImageFont.load_default(size) for size in (11, 12, 13, 18))
_LEGEND, _LEGEND_END = 1080, 1264
_TOP, _BOTTOM, _GAP = 54, 682, 13
_BAND = 18
_SWATCH = 14
_PITCH = 14.5
"""Of lines in a legend."""
_TICKS_APART, _MOST_TICKS = 17, 7
_MOST_TIMES = 12


@dataclass(frozen=True)
class Caption:
    """What an episode's numbers do not tell."""

    site: str
    """Its name."""
    outdoors: str
    """Names of weather and load."""
    start_step: int
    """Step of the year at which the episode begins."""
    allowable_degc: tuple[float, float]
    """Of the servers' inlets."""


class InletRange(NamedTuple):
    """Temperatures where inlets should be."""

    name: str
    least: float
    greatest: float
    within: Colour
    outside: Colour
    """Between the range and a curve outside it."""


class Sheet(NamedTuple):
    """The paper before anything is drawn on it; changes when an axis does."""

    caption: Caption
    rows: tuple[Row, ...]
    plots: tuple[Plot, ...]
    """One a row."""
    blank: Picture


def inlet_ranges(caption: Caption) -> tuple[InletRange, InletRange]:
    """The narrow one first."""
    return (
        InletRange("recommended", *RECOMMENDED_DEGC, (221, 240, 230), (246, 165, 170)),
        InletRange("allowable", *caption.allowable_degc, (250, 243, 224), (222, 62, 76)),
    )


def layout(recording: Recording) -> tuple[Plot, ...]:
    """Where each row's curves lie, and over which values."""
    shares = [row.share for row in recording.rows]
    free = _BOTTOM - _TOP - _GAP * (len(shares) - 1) - _BAND * shares.count(0)
    ends = [round(free * part / sum(shares)) for part in accumulate(shares, initial=0.0)]
    plots, top = [], _TOP
    for number, share in enumerate(shares):
        height = ends[number + 1] - ends[number] if share else _BAND
        axis = recording.axis(number)
        plots.append(Plot(LEFT, top, RIGHT - LEFT, height, recording.steps, *axis))
        top += height + _GAP
    return tuple(plots)


def make_sheet(caption: Caption, recording: Recording, plots: tuple[Plot, ...]) -> Sheet:
    """Everything that is there before the first number."""
    image = Image.new("RGB", (WIDTH, HEIGHT), _PAGE)
    draw = ImageDraw.Draw(image)
    site = _fitted(caption.site, 320, _TITLE)
    draw.text((LEFT, 24), site, INK, _TITLE, "lm")
    left = LEFT + _TITLE.getlength(site) + 14
    text = _fitted(caption.outdoors, RIGHT - 340 - left, _MEDIUM)
    draw.text((left, 25), text, _DIM, _MEDIUM, "lm")
    marks = [(plots[0].x(step), text) for step, text in times(caption.start_step, recording.steps)]
    for row, plot in zip(recording.rows, plots, strict=True):
        _draw_axis(draw, caption, row, plot, [x for x, _ in marks])
        _draw_legend(draw, caption, row, plot)
    for x, text in marks:
        draw.line((x, plots[-1].bottom, x, plots[-1].bottom + 4), _FRAME)
        draw.text((x, plots[-1].bottom + 14), text, _DIM, _MEDIUM, "mm")
    return Sheet(caption, recording.rows, plots, np.array(image))


def with_numbers(canvas: Picture, sheet: Sheet, recording: Recording) -> Picture:
    """A copy with the present time and the present numbers."""
    image = Image.fromarray(canvas)
    draw = ImageDraw.Draw(image)
    age, counts = recording.age, recording.counts
    time = sheet.caption.start_step + age
    draw.text(
        (_LEGEND, 24), f"{date_of_day(time // STEPS_PER_DAY)}, {_clock(time)}", INK, _HEADING, "lm"
    )
    day = min(age, recording.steps - 1) // STEPS_PER_DAY + 1
    text = f"day {day} of {recording.steps // STEPS_PER_DAY}"
    draw.text((_LEGEND_END, 24), text, _DIM, _MEDIUM, "rm")
    if recording.faults:
        text = ", ".join(f"{name} {severity:.2g}" for name, severity in recording.faults.items())
        text = _fitted(f"fault: {text.replace('_', ' ')}", 330, _MEDIUM)
        draw.text((RIGHT, 24), text, VIOLATION, _MEDIUM, "rm")
    elif counts:
        text = "facility {facility_energy:,.0f} kWh, cooling {cooling_energy:,.0f} kWh so far"
        draw.text((RIGHT, 24), text.format_map(counts), _DIM, _MEDIUM, "rm")
    x = sheet.plots[0].x(age)
    for number, (row, plot) in enumerate(zip(sheet.rows, sheet.plots, strict=True)):
        if x < RIGHT - 1:
            draw.line((x, plot.top, x, plot.bottom - 1), _DIM)
        if row.kind is not Kind.MODES:
            values = recording.of_row(number)[:, age].tolist()
            _write_values(draw, sheet.caption, row, plot, values, counts)
    return np.array(image)


def times(start_step: int, steps: int) -> Iterator[tuple[int, str]]:
    """Steps of an episode to be marked on the axis, and what to write there."""
    hours = (1, 3, 6, 12, 24, 48, 168)
    apart = next((h for h in hours if steps <= _MOST_TIMES * h * STEPS_PER_HOUR), None)
    if apart is None:
        for day in accumulate(DAYS_PER_MONTH * 2, initial=0):
            step = day * STEPS_PER_DAY - start_step
            if 0 <= step <= steps:
                yield step, date_of_day((start_step + step) // STEPS_PER_DAY)
        return
    apart *= STEPS_PER_HOUR
    for step in range(-start_step % apart, steps + 1, apart):
        time = start_step + step
        yield step, _clock(time) if time % STEPS_PER_DAY else date_of_day(time // STEPS_PER_DAY)


def _draw_axis(
    draw: ImageDraw.ImageDraw, caption: Caption, row: Row, plot: Plot, marked: Sequence[float]
) -> None:
    right, bottom = plot.right - 1, plot.bottom - 1
    draw.rectangle((plot.left, plot.top, right, bottom), _PAPER)
    if row.inlet:
        for band in reversed(inlet_ranges(caption)):
            top = round(float(plot.y(min(band.greatest, plot.highest))))
            end = round(float(plot.y(max(band.least, plot.lowest))))
            draw.rectangle((plot.left, top, right, end - 1), band.within)
    for x in marked:
        draw.line((x, plot.top, x, bottom), _GRID)
    if row.kind is not Kind.MODES:
        most = min(plot.height // _TICKS_APART + 1, _MOST_TICKS)
        ticks = charts.round_ticks(plot.lowest, plot.highest, most)
        digits = 0 if all(float(tick).is_integer() for tick in ticks) else 1
        for tick in ticks:
            y = min(round(float(plot.y(tick))), bottom)
            draw.line((plot.left, y, right, y), _GRID)
            draw.text((plot.left - 7, y), f"{tick:,.{digits}f}", _DIM, _SMALL, "rm")
    draw.rectangle((plot.left - 1, plot.top - 1, plot.right, plot.bottom), outline=_FRAME)


def _draw_legend(draw: ImageDraw.ImageDraw, caption: Caption, row: Row, plot: Plot) -> None:
    lines = _lines(plot)
    draw.text((_LEGEND, next(lines)), row.title, INK, _HEADING, "lm")
    if row.kind is Kind.MODES:
        y, x = next(lines), float(_LEGEND)
        for mode, colour in MODES.items():
            text = mode.name.lower()
            draw.rectangle((x, y - 4, x + 10, y + 4), colour, _FRAME)
            draw.text((x + 15, y), text, _DIM, _MEDIUM, "lm")
            x += 15 + _MEDIUM.getlength(text) + 14
        return

    def entry(label: str, colour: Colour | None = None, frame: Colour | None = None) -> float:
        y = next(lines)
        if colour is not None:
            draw.rectangle((_LEGEND, y - 4, _LEGEND + _SWATCH, y + 4), colour, frame)
        draw.text((_LEGEND + _SWATCH + 7, y), label, _DIM, _MEDIUM, "lm")
        return y

    for series in _in_legend(row):
        if row.kind is Kind.STACK and series is not row.series[-1]:
            entry(series.label, series.colour)
            continue
        y = entry(series.label)
        if series.width:
            draw.line((_LEGEND, y, _LEGEND + _SWATCH, y), series.colour, round(series.width))
    for band in inlet_ranges(caption) if row.inlet else ():
        y = entry(band.name, band.within, _FRAME)
        draw.text((_LEGEND_END, y), f"{band.least:g} to {band.greatest:g}", _DIM, _MEDIUM, "rm")
        entry("outside it", band.outside)
    if row.so_far:
        entry("so far")


def _write_values(
    draw: ImageDraw.ImageDraw,
    caption: Caption,
    row: Row,
    plot: Plot,
    values: Sequence[float],
    counts: Mapping[str, float],
) -> None:
    """Beside the entries of the legend, whose order this follows."""
    lines = _lines(plot)
    next(lines)

    def write(text: str, colour: Colour = INK) -> None:
        draw.text((_LEGEND_END, next(lines)), text, colour, _MEDIUM, "rm")

    recommended, _ = inlet_ranges(caption)
    now = dict(zip(row.series, values, strict=True))
    for series in _in_legend(row):
        value = now[series]
        outside = value < recommended.least or value > recommended.greatest
        hottest = row.inlet and series is row.series[0]
        write(_number(value, series.digits), VIOLATION if hottest and outside else INK)
    for band in inlet_ranges(caption) if row.inlet else ():
        next(lines)
        hours = counts.get(f"hours_outside_{band.name}", 0.0)
        write(f"{hours:,.1f} h", VIOLATION if hours else _DIM)
    if row.so_far:
        write(_number(counts.get(row.so_far, np.nan), row.series[0].digits))


def _in_legend(row: Row) -> Sequence[Series]:
    """Areas are listed as they lie, the sum first."""
    return row.series[::-1] if row.kind is Kind.STACK else row.series


def _lines(plot: Plot) -> Iterator[float]:
    """Middles of the lines of text beside a plot."""
    return count(plot.top + (0.0 if plot.height == _BAND else 5.0), _PITCH)


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}" if np.isfinite(value) else "-"


def _fitted(text: str, width: float, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """`text`, its end replaced by dots where it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}\u2026") > width:
        text = text[:-1]
    return f"{text}\u2026"


def _clock(step: int) -> str:
    hours, rest = divmod(step % STEPS_PER_DAY, STEPS_PER_HOUR)
    return f"{hours:02}:{rest * 60 // STEPS_PER_HOUR:02}"
