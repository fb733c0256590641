"""Anti-aliased curves and areas over the steps of an episode, painted into arrays of pixels.

How a column of pixels looks follows from the values near it alone, whatever else is painted in the
same call: a picture that grows column by column equals one that is painted at once.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Colour = tuple[int, int, int]

SUBCOLUMNS = 4
"""Curves are followed at this many places in a column; along rows, coverage is exact."""
MARGIN = 4
"""A value changes columns up to this many pixels before the value ahead of it and behind itself."""
_WIDEST = 4.0


class Plot(NamedTuple):
    """A rectangle of pixels that shows values over the steps 0 to `steps`."""

    left: int
    top: int
    width: int
    height: int
    steps: int
    lowest: float
    """Value at the lower edge."""
    highest: float
    """Value at the upper edge."""

    @property
    def right(self) -> int:
        """The column behind the last."""
        return self.left + self.width

    @property
    def bottom(self) -> int:
        """The row below the last."""
        return self.top + self.height

    def x(self, step: float) -> float:
        """Where a step lies, in pixels."""
        return self.left + self.width * step / self.steps

    def y(self, values: ArrayLike) -> Array:
        """Where values lie, in pixels."""
        share = (self.highest - np.asarray(values, np.float64)) / (self.highest - self.lowest)
        return self.top + self.height * share


class Extent(NamedTuple):
    """The least and the greatest value that a curve takes in each subcolumn, (subcolumns,) each.

    Where there is no curve, inf and -inf.
    """

    least: Array
    greatest: Array

    @property
    def middle(self) -> Array:
        """Between both; NaN where there is no curve."""
        with np.errstate(invalid="ignore"):
            return 0.5 * (self.least + self.greatest)


def extent(
    plot: Plot, values: Array, first: int, stop: int, *, held: bool = False, beside: int = 0
) -> Extent:
    """What a curve does in the pixel columns `first` to `stop`, and `beside` subcolumns around.

    values: (steps + 1,) at steps 0, 1, ..., joined by straight lines; NaN for what is not known.
    held: values hold for the whole step that ends with them, joined by upright lines.
    """
    places = np.arange(-beside, SUBCOLUMNS * (stop - first) + beside + 1) / SUBCOLUMNS
    edges = (places + (first - plot.left)) * (plot.steps / plot.width)
    which = steps_near(plot, first, stop, beside)
    steps, near = np.arange(which.start, which.stop, dtype=np.float64), values[which]
    if held:
        steps = (steps[:, np.newaxis] + (-1.0, 0.0)).ravel()
        near = np.repeat(near, 2)
    if len(steps) == 0:
        return Extent(np.full(len(edges) - 1, np.inf), np.full(len(edges) - 1, -np.inf))
    at_edges = np.interp(edges, steps, near, left=np.nan, right=np.nan)
    least = np.fmin(at_edges[:-1], at_edges[1:])
    greatest = np.fmax(at_edges[:-1], at_edges[1:])
    column = np.searchsorted(edges, steps, side="right") - 1
    inside = (column >= 0) & (column < len(least))
    np.fmin.at(least, column[inside], near[inside])
    np.fmax.at(greatest, column[inside], near[inside])
    nothing = np.isnan(least)
    least[nothing], greatest[nothing] = np.inf, -np.inf
    return Extent(least, greatest)


def steps_near(plot: Plot, first: int, stop: int, beside: int = 0) -> slice:
    """Steps whose values decide the columns, arguments as `extent`."""
    per_pixel, around = plot.steps / plot.width, beside / SUBCOLUMNS
    start = math.floor((first - plot.left - around) * per_pixel) - 1
    end = math.ceil((stop - plot.left + around) * per_pixel) + 2
    return slice(max(start, 0), min(end, plot.steps + 1))


def line(
    plot: Plot, values: Array, first: int, stop: int, width: float, *, held: bool = False
) -> Array:
    """(height, stop - first) from 0 to 1: how much of each pixel a round pen covers.

    width: of the pen, in pixels, above 0 to 4. Arguments otherwise as `extent`.
    """
    radius = 0.5 * min(width, _WIDEST)
    reach = int(radius * SUBCOLUMNS)
    drawn = extent(plot, values, first, stop, held=held, beside=reach)
    over, under = plot.y(drawn.greatest), plot.y(drawn.least)
    count = SUBCOLUMNS * (stop - first)
    top, bottom = np.full(count, np.inf), np.full(count, -np.inf)
    for shift in range(2 * reach + 1):
        half = math.sqrt(radius**2 - ((shift - reach) / SUBCOLUMNS) ** 2)
        np.minimum(top, over[shift : shift + count] - half, out=top)
        np.maximum(bottom, under[shift : shift + count] + half, out=bottom)
    return _coverage(plot, top, bottom)


def area(plot: Plot, values: Array, first: int, stop: int, *, base: float) -> Array:
    """(height, stop - first) from 0 to 1: how much of each pixel lies above `base` and below the
    curve. Arguments otherwise as `extent`."""
    top = plot.y(extent(plot, values, first, stop).middle)
    top = np.where(np.isnan(top), np.inf, top)
    return _coverage(plot, top, np.full(len(top), float(plot.y(base))))


def hanging_area(plot: Plot, values: Array, first: int, stop: int, *, base: float) -> Array:
    """The same, below `base` and above the curve."""
    bottom = plot.y(extent(plot, values, first, stop).middle)
    bottom = np.where(np.isnan(bottom), -np.inf, bottom)
    return _coverage(plot, np.full(len(bottom), float(plot.y(base))), bottom)


def paint(pixels: Array, colour: ArrayLike, cover: Array) -> None:
    """Lay a colour over `pixels` (rows, columns, 3), as far as `cover` (rows, columns) says.

    colour: (3,), or (rows, 1, 3) or (1, columns, 3) where it changes.
    """
    cover = cover[:, :, np.newaxis]
    pixels += cover * (np.asarray(colour, np.float64) - pixels)


def round_ticks(lowest: float, highest: float, most: int) -> list[float]:
    """At most `most` values (2 or more) between both, 1, 2 or 5 times a power of ten apart."""
    least_apart = 10.0 ** math.floor(math.log10((highest - lowest) / most))
    for factor in (1.0, 2.0, 5.0):
        ticks = _multiples(factor * least_apart, lowest, highest)
        if len(ticks) <= most:
            return ticks
    return _multiples(10.0 * least_apart, lowest, highest)


def _multiples(of: float, lowest: float, highest: float) -> list[float]:
    numbers = range(math.ceil(lowest / of - 1e-9), math.floor(highest / of + 1e-9) + 1)
    return [number * of for number in numbers]


def _coverage(plot: Plot, top: Array, bottom: Array) -> Array:
    """top, bottom: (subcolumns,) in pixels, between which there is colour."""
    rows = np.arange(plot.top, plot.bottom, dtype=np.float64)[:, np.newaxis]
    share = np.clip(np.minimum(bottom, rows + 1.0) - np.maximum(top, rows), 0.0, 1.0)
    return share.reshape(plot.height, -1, SUBCOLUMNS).mean(axis=-1)
