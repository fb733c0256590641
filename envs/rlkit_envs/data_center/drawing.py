"""Draws an episode of a data centre: temperatures, powers, set points, weather and load over time.

`EpisodePicture` keeps what is painted and adds what is new, so that a step costs little; the result
is what `draw_episode` draws at once. Axes, legends and numbers are left to `sheet`, what the rows
show to `recording`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center import charts
from rlkit_envs.data_center.charts import MARGIN, SUBCOLUMNS, Array, Plot
from rlkit_envs.data_center.design import DataCenterDesign
from rlkit_envs.data_center.recording import INK, Kind, Recording, Row, rows_of
from rlkit_envs.data_center.sheet import (
    LEFT,
    MODES,
    RIGHT,
    VIOLATION,
    Caption,
    InletRange,
    Picture,
    Sheet,
    inlet_ranges,
    layout,
    make_sheet,
    with_numbers,
)

_MARKS = 7
"""Height of what marks violations, pixels."""


class EpisodePicture:
    """A picture that grows with its episode."""

    def __init__(self, design: DataCenterDesign, steps: int) -> None:
        """steps: of an episode."""
        self._recording = Recording(rows_of(design), steps)
        self._caption: Caption | None = None
        self._sheet: Sheet | None = None
        self._canvas = np.empty((0, 0, 3), np.uint8)
        self._painted = 0

    def restart(self, caption: Caption, age: int = 0) -> None:
        """Begin an episode, of whose first `age` steps nothing is known."""
        self._caption, self._sheet = caption, None
        self._recording.restart(age)

    def add(self, age: int, info: Mapping[str, Any]) -> None:
        """Take down what `info` of one environment tells after `age` steps of the episode."""
        self._recording.add(age, info)

    def draw(self) -> Picture:
        """The episode up to now. Raises ValueError before the first `restart`."""
        caption, recording = self._caption, self._recording
        if caption is None:
            raise ValueError("restart() comes before draw()")
        plots = layout(recording)
        if self._sheet is None or self._sheet.plots != plots:
            self._sheet = make_sheet(caption, recording, plots)
            self._canvas = self._sheet.blank.copy()
            first, stop = LEFT, RIGHT
        else:
            first = max(int(plots[0].x(self._painted)) - MARGIN, LEFT)
            stop = min(int(plots[0].x(recording.age)) + MARGIN + 1, RIGHT)
        _paint(self._canvas, self._sheet, recording, first, stop)
        self._painted = recording.age
        return with_numbers(self._canvas, self._sheet, recording)


def draw_episode(caption: Caption, recording: Recording) -> Picture:
    """What has been recorded up to now."""
    sheet = make_sheet(caption, recording, layout(recording))
    canvas = sheet.blank.copy()
    _paint(canvas, sheet, recording, LEFT, RIGHT)
    return with_numbers(canvas, sheet, recording)


def _paint(canvas: Picture, sheet: Sheet, recording: Recording, first: int, stop: int) -> None:
    """Paint the pixel columns `first` to `stop` anew."""
    columns = slice(first, stop)
    canvas[:, columns] = sheet.blank[:, columns]
    bands = inlet_ranges(sheet.caption)
    for number, (row, plot) in enumerate(zip(sheet.rows, sheet.plots, strict=True)):
        values = recording.of_row(number)
        rows = slice(plot.top, plot.bottom)
        pixels = canvas[rows, columns].astype(np.float64)
        if row.kind is Kind.MODES:
            _paint_modes(pixels, plot, values[0], first, stop)
        elif row.kind is Kind.STACK:
            _paint_stack(pixels, row, plot, values, first, stop)
        else:
            if row.inlet:
                marks = canvas[plot.top - _MARKS - 2 : plot.top - 2, columns]
                for band in bands:
                    marks[:, _is_left(band, plot, values[0], first, stop)] = band.outside
                    _paint_excursions(pixels, band, plot, values[0], first, stop)
            _paint_lines(pixels, row, plot, values, bands[0], first, stop)
        canvas[rows, columns] = np.rint(pixels).astype(np.uint8)


def _paint_lines(
    pixels: Array,
    row: Row,
    plot: Plot,
    values: Array,
    recommended: InletRange,
    first: int,
    stop: int,
) -> None:
    # The first series lies over the others.
    for series, curve in reversed(list(zip(row.series, values, strict=True))):
        if series.width:
            cover = charts.line(plot, curve, first, stop, series.width, held=row.held)
            hottest = row.inlet and series is row.series[0]
            reach = 0.5 * series.width + 0.5
            colour = _by_height(plot, recommended, reach) if hottest else series.colour
            charts.paint(pixels, colour, cover)


def _paint_stack(pixels: Array, row: Row, plot: Plot, values: Array, first: int, stop: int) -> None:
    near = charts.steps_near(plot, first, stop)
    tops = np.full_like(values[:-1], np.nan)
    tops[:, near] = np.cumsum(values[:-1, near], axis=0)
    # From the uppermost down, each over the one before, so that no seams show.
    for series, top in reversed(list(zip(row.series[:-1], tops, strict=True))):
        charts.paint(pixels, series.colour, charts.area(plot, top, first, stop, base=plot.lowest))


def _paint_modes(pixels: Array, plot: Plot, modes: Array, first: int, stop: int) -> None:
    shown = charts.extent(plot, modes, first, stop, held=True).greatest
    here = np.array([shown == mode for mode in MODES], np.float64)
    shares = here.reshape(len(MODES), -1, SUBCOLUMNS).mean(axis=-1)
    known = shares.sum(axis=0)
    colours = shares.T @ np.array(list(MODES.values()), np.float64)
    colours /= np.maximum(known, 1e-9)[:, np.newaxis]
    charts.paint(pixels, colours, np.broadcast_to(known, pixels.shape[:2]))


def _paint_excursions(
    pixels: Array, band: InletRange, plot: Plot, inlet: Array, first: int, stop: int
) -> None:
    above = charts.area(plot, inlet, first, stop, base=band.greatest)
    below = charts.hanging_area(plot, inlet, first, stop, base=band.least)
    charts.paint(pixels, band.outside, above + below)


def _is_left(
    band: InletRange, plot: Plot, inlet: Array, first: int, stop: int
) -> NDArray[np.bool_]:
    """(stop - first,) whether inlets leave the range, however shortly, while a column lasts."""
    seen = charts.extent(plot, inlet, first, stop, held=True)
    outside = (seen.greatest > band.greatest) | (seen.least < band.least)
    return np.asarray(outside.reshape(-1, SUBCOLUMNS).any(axis=1))


def _by_height(plot: Plot, recommended: InletRange, reach: float) -> Array:
    """(height, 1, 3) the hottest inlet's colour in each row of pixels.

    reach: of the pen, to the middle of the last pixels; a curve that follows a limit is not red.
    """
    rows = np.arange(plot.top, plot.bottom) + 0.5
    within = rows > plot.y(recommended.greatest) - reach
    within &= rows < plot.y(recommended.least) + reach
    return np.where(within[:, np.newaxis, np.newaxis], INK, VIOLATION).astype(np.float64)
