"""Draws how picking is learnt: success against attempts, and whether chances come true.

In the colours of `rlkit.drawing`. What is counted, and when, is left to the callers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from PIL import Image, ImageDraw, ImageFont

from rlkit.calibration import ReliabilityBin
from rlkit.drawing import BACKGROUND, BAR, CHOSEN, DIM, TEXT, TRACK, Colour

HUMAN_PROGRAMMED = 0.9
"""Share of picks that succeed where people programmed them; a robot taught itself as much within
eight hours (Fanuc and Preferred Networks, 2015)."""
EIGHT_HOURS = {"10 s": 2_880, "6 s": 4_800}
"""Attempts that a robot makes in eight hours, by how long one takes."""

SIZE = (560, 384)
"""(width, height) of every chart: legible where TensorBoard shows it at half of that."""
_DETAIL = 2  # drawn so much larger, so that lines come out smooth
_LEFT, _TOP, _RIGHT, _BOTTOM = 58, 68, 534, 330
_STRIP = 40  # height of the highest bar
_FIRST_ATTEMPT, _LAST_ATTEMPT = 100, 10_000
_MANY = 20  # predictions in a bin that is worth a look
_LEVEL: Colour = (111, 207, 133)
_FAINT: Colour = (126, 101, 62)


def success_chart(curve: Sequence[tuple[float, float]], window: int) -> Image.Image:
    """Success against attempts, with the level and the hours that are to be beaten.

    curve: (attempts, share of the last `window` that succeeded), attempts rising from 1 or more; at
    least one point.
    """
    (begin, _), (last, share) = curve[0], curve[-1]
    above = (x for x, y in curve if x >= window and y >= HUMAN_PROGRAMMED)
    first = next(above, None)
    reached = "" if first is None else f", {100 * HUMAN_PROGRAMMED:.0f} % first at {first:,.0f}"
    chart = _Chart((min(_FIRST_ATTEMPT, begin), max(_LAST_ATTEMPT, last)), logarithmic=True)
    chart.heading(
        "success against attempts",
        f"{100 * share:.0f} % of the last {min(window, round(last))}, "
        f"{last:,.0f} attempts made{reached}",
    )
    chart.levels((0.0, 0.2, 0.4, 0.6, 0.8, 1.0), [f"{20 * i} %" for i in range(6)])
    ticks = list(_decades(chart.x_range))
    chart.ticks(ticks, [f"{tick:,}" for tick in ticks])
    chart.note("attempts, exploration included", chart.x_range[1], 0.0, (0, 44), anchor="rs")
    sides = zip(EIGHT_HOURS.items(), ("rs", "ls"), strict=True)
    for (cycle, attempts), anchor in sides:
        chart.dashes((attempts, 0.0), (attempts, 1.0), DIM)
        shift = -7 if anchor == "rs" else 7
        chart.note("8 hours", attempts, 0.0, (shift, -30), anchor=anchor)
        chart.note(f"at {cycle} each", attempts, 0.0, (shift, -12), anchor=anchor)
    chart.dashes((chart.x_range[0], HUMAN_PROGRAMMED), (chart.x_range[1], HUMAN_PROGRAMMED), _LEVEL)
    told = f"programmed by people, {100 * HUMAN_PROGRAMMED:.0f} %"
    chart.note(told, chart.x_range[0], HUMAN_PROGRAMMED, (8, -7), _LEVEL, "ls")
    chart.curve(curve, CHOSEN)
    chart.dot(last, share, CHOSEN, 4)
    return chart.image()


def reliability_diagram(
    table: Iterable[ReliabilityBin], brier: float, calibration_error: float
) -> Image.Image:
    """Whether what was expected came true, and how often what was expected.

    table: as `rlkit.calibration.reliability_table` gives it; bins of few predictions are drawn
    faintly. Upright lines are 95 % intervals. brier, calibration_error: for the heading.
    """
    bins = list(table)
    count = sum(each.count for each in bins)
    chart = _Chart((0.0, 1.0))
    chart.heading(
        "do chances come true?",
        f"Brier score {brier:.3f}    calibration error {calibration_error:.3f}",
    )
    fifths = [i / 5 for i in range(6)]
    percents = [f"{20 * i} %" for i in range(6)]
    chart.levels(fifths, percents)
    chart.ticks(fifths, percents)
    chart.note("share that succeeded", 0.0, 1.0, (8, 18))
    told = f"chance given beforehand to {count:,} attempts, bars: how many"
    chart.note(told, 1.0, 0.0, (0, 44), anchor="rs")
    most = max((each.count for each in bins), default=0)
    for each in bins:
        if each.count:
            chart.bar(each.low, each.high, _STRIP * each.count / most, f"{each.count}")
    chart.dashes((0.0, 0.0), (1.0, 1.0), DIM)
    for each in sorted(bins, key=lambda each: each.count):  # what counts most lies on top
        if each.mean_chance is None or each.share is None or each.share_ci95 is None:
            continue
        strong = each.count >= _MANY
        low, high = each.share_ci95
        line = [(each.mean_chance, low), (each.mean_chance, high)]
        chart.curve(line, CHOSEN if strong else _FAINT, 2 if strong else 1)
        chart.dot(each.mean_chance, each.share, CHOSEN if strong else _FAINT, 5 if strong else 3)
    return chart.image()


def _decades(limits: tuple[float, float]) -> Iterable[int]:
    """1, 2 and 5 times powers of ten within limits; where these are far apart, powers alone."""
    multiples = (1, 2, 5) if limits[1] <= 1_000 * limits[0] else (1,)
    power = 10 ** math.floor(math.log10(limits[0]))
    while power <= limits[1]:
        yield from (n * power for n in multiples if limits[0] <= n * power <= limits[1])
        power *= 10


class _Chart:
    """Axes, and what is drawn on them in their units; y is a share from 0 to 1."""

    def __init__(self, x_range: tuple[float, float], logarithmic: bool = False) -> None:
        self.x_range = x_range
        self._logarithmic = logarithmic
        width, height = SIZE
        self._image = Image.new("RGB", (_DETAIL * width, _DETAIL * height), BACKGROUND)
        self._draw = ImageDraw.Draw(self._image)

    def image(self) -> Image.Image:
        """What was drawn, of `SIZE`."""
        return self._image.resize(SIZE, Image.Resampling.LANCZOS)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where it lies in the image that is drawn, in pixels; beyond the axes at their ends."""
        low, high = self.x_range
        if self._logarithmic:
            x, low, high = math.log(x), math.log(low), math.log(high)
        across = min(1.0, max(0.0, (x - low) / (high - low)))
        down = 1.0 - min(1.0, max(0.0, y))
        return (
            _DETAIL * (_LEFT + across * (_RIGHT - _LEFT)),
            _DETAIL * (_TOP + down * (_BOTTOM - _TOP)),
        )

    def heading(self, title: str, line: str) -> None:
        """Above the axes."""
        self._draw.text((_DETAIL * _LEFT, _DETAIL * 12), title, TEXT, _font(18), "lt")
        self._draw.text((_DETAIL * _LEFT, _DETAIL * 39), line, CHOSEN, _font(15), "lt")

    def levels(self, values: Sequence[float], names: Sequence[str]) -> None:
        """Lines across, named at the left."""
        for value, name in zip(values, names, strict=True):
            (left, y), (right, _) = self.at(self.x_range[0], value), self.at(self.x_range[1], value)
            self._draw.line((left, y, right, y), TRACK, _DETAIL)
            self._draw.text((left - _DETAIL * 8, y), name, DIM, _font(14), "rm")

    def ticks(self, values: Sequence[float], names: Sequence[str]) -> None:
        """Names below the lower axis."""
        for value, name in zip(values, names, strict=True):
            x, y = self.at(value, 0.0)
            self._draw.line((x, y, x, y + _DETAIL * 4), DIM, _DETAIL)
            self._draw.text((x, y + _DETAIL * 8), name, DIM, _font(14), "mt")

    def note(
        self,
        text: str,
        x: float,
        y: float,
        shift: tuple[int, int],
        colour: Colour = DIM,
        anchor: str = "ls",
    ) -> None:
        """Words so many pixels right of and below a point."""
        left, top = self.at(x, y)
        place = (left + _DETAIL * shift[0], top + _DETAIL * shift[1])
        self._draw.text(place, text, colour, _font(14), anchor)

    def curve(
        self, points: Sequence[tuple[float, float]], colour: Colour, width: float = 2
    ) -> None:
        """A line through points."""
        if len(points) > 1:
            line = [self.at(*point) for point in points]
            self._draw.line(line, colour, round(_DETAIL * width), joint="curve")

    def dashes(self, start: tuple[float, float], end: tuple[float, float], colour: Colour) -> None:
        """A broken straight line."""
        (x, y), (x_end, y_end) = self.at(*start), self.at(*end)
        length = math.hypot(x_end - x, y_end - y)
        dash = _DETAIL * 5
        for begin in range(0, int(length), 2 * dash):
            shares = (begin / length, min(length, begin + dash) / length)
            line = [(x + share * (x_end - x), y + share * (y_end - y)) for share in shares]
            self._draw.line(line, colour, _DETAIL)

    def dot(self, x: float, y: float, colour: Colour, radius: int) -> None:
        """A filled circle."""
        self._draw.circle(self.at(x, y), _DETAIL * radius, colour)

    def bar(self, left: float, right: float, pixels: float, name: str) -> None:
        """From the lower axis up, named above."""
        (start, bottom), (end, _) = self.at(left, 0.0), self.at(right, 0.0)
        top = bottom - max(_DETAIL, _DETAIL * pixels)
        self._draw.rectangle((start + 2 * _DETAIL, top, end - 2 * _DETAIL, bottom), BAR)
        place = ((start + end) / 2, top - 3 * _DETAIL)
        self._draw.text(place, name, DIM, _font(11), "ms")


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_DETAIL * size)
