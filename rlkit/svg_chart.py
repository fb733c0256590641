"""Pages, axes, ticks and curves as SVG text, in a drawing's own units, for light and dark screens.

Colours and pens come from classes: those of paper, words, axes and ticks are here, those of what is
drawn in the callers' style sheets. What is drawn, and where, is left to them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_ROUND_STEPS = (1.0, 2.0, 5.0, 10.0)
_STYLE = """
    .paper { fill: #ffffff }
    text { fill: #1d2730; font-size: 13px }
    .heading { font-size: 17px; font-weight: 600 }
    .name { font-weight: 600 }
    .small, .tick { fill: #51606d; font-size: 12px }
    .middle { text-anchor: middle }
    .end { text-anchor: end }
    .frame { fill: none; stroke: #9aa5b0 }
    .grid { fill: none; stroke: #e3e7ec }
    .goal { fill: none; stroke: #51606d; stroke-dasharray: 5 4 }
"""
_DARK_STYLE = """
      .paper { fill: #14191e }
      text { fill: #e6ebef }
      .small, .tick { fill: #a9b6c1 }
      .frame { stroke: #5b6873 }
      .grid { stroke: #29323a }
      .goal { stroke: #a9b6c1 }
"""


def page(
    width: float,
    height: float,
    title: str,
    description: str,
    parts: Iterable[str],
    style: str = "",
    dark_style: str = "",
) -> str:
    """A whole drawing, as the text of an SVG file.

    title, description: for who cannot see it. style, dark_style: rules for classes of the caller's
    own, the latter where the page around is dark.
    """
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {number(width)} '
            f'{number(height)}" role="img" aria-labelledby="title description" '
            "font-family=\"system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif\">",
            f'  <title id="title">{escape(title, quote=False)}</title>',
            f'  <desc id="description">{escape(description, quote=False)}</desc>',
            f"  <style>{_STYLE}{style.lstrip(chr(10))}    @media (prefers-color-scheme: dark) "
            f"{{{_DARK_STYLE}{dark_style.lstrip(chr(10))}    }}\n  </style>",
            f'  <rect class="paper" width="{number(width)}" height="{number(height)}" rx="12"/>',
            *(f"  {part}" for part in parts),
            "</svg>\n",
        )
    )


class Panel(NamedTuple):
    """A rectangle that shows x and y within their ranges, y upwards."""

    left: float
    top: float
    width: float
    height: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    @property
    def right(self) -> float:
        """The right edge."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.top + self.height

    def x(self, value: float) -> float:
        """Where a value lies across."""
        low, high = self.x_range
        return self.left + self.width * (value - low) / (high - low)

    def y(self, value: float) -> float:
        """Where a value lies down the drawing."""
        low, high = self.y_range
        return self.bottom - self.height * (value - low) / (high - low)


def ticks_around(lowest: float, highest: float, most: int) -> list[float]:
    """At most `most` (3 or more) multiples of 1, 2 or 5 times a power of ten around the range.

    The first is at or below `lowest` and the last at or above `highest`; a single value begins an
    axis. Raises ValueError where they are not finite or in the wrong order.
    """
    if not (math.isfinite(lowest) and math.isfinite(highest) and lowest <= highest):
        raise ValueError(f"ticks need a finite range, not {lowest} to {highest}")
    if most < 3:
        raise ValueError(f"most is {most}: a range across a tick needs 3")
    if lowest == highest:
        highest += max(abs(highest), 1.0)
    power = 10.0 ** math.floor(math.log10((highest - lowest) / most))
    for step in (scale * share for scale in (power, 10.0 * power) for share in _ROUND_STEPS):
        # A little less than a tick is the tick: 0.3 / 0.1 is not 3.
        first, last = math.floor(lowest / step + 1e-9), math.ceil(highest / step - 1e-9)
        if last - first < most:
            return [round(number * step, 12) for number in range(first, last + 1)]
    raise AssertionError("a step of ten times the span always fits")


def number(value: float) -> str:
    """A coordinate, short."""
    return f"{value:.1f}".removesuffix(".0").replace("-0", "0" if value > -0.05 else "-0")


def labels(values: Sequence[float]) -> list[str]:
    """Ticks as text, all with as many digits as their distance needs, and true minus signs."""
    step = min(abs(b - a) for a, b in pairwise(values))
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return [f"{value + 0.0:,.{digits}f}".replace("-", "\N{MINUS SIGN}") for value in values]


def text(x: float, y: float, content: str, kind: str = "") -> str:
    """Words at a place, of the style sheet's class `kind`."""
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{number(x)}" y="{number(y)}">{escape(content, quote=False)}</text>'


def rectangle(left: float, top: float, width: float, height: float, kind: str) -> str:
    """A rectangle of the class `kind`."""
    return (
        f'<rect class="{kind}" x="{number(left)}" y="{number(top)}" '
        f'width="{number(width)}" height="{number(height)}"/>'
    )


def path(commands: str, kind: str) -> str:
    """A path of the class `kind`."""
    return f'<path class="{kind}" d="{commands}"/>'


def curve(panel: Panel, x: Array, y: Array, kind: str) -> str:
    """Straight lines from point to point. x, y: (points,) each, finite."""
    places = (f"{number(panel.x(a))} {number(panel.y(b))}" for a, b in zip(x, y, strict=True))
    return path("M" + "L".join(places), kind)


def dots(panel: Panel, x: Array, y: Array, kind: str) -> str:
    """A dot for each point, once for those that fall on the same place, half a unit fine.

    x, y: (points,) each, finite. The class's pen needs round caps, and its width is the dot's.
    """
    halves = np.array(
        [(round(2.0 * panel.x(a)), round(2.0 * panel.y(b))) for a, b in zip(x, y, strict=True)]
    )
    places = np.unique(halves, axis=0) / 2.0
    return path("".join(f"M{number(a)} {number(b)}h0" for a, b in places.tolist()), kind)


def frame(panel: Panel) -> str:
    """The panel's edge."""
    return rectangle(panel.left, panel.top, panel.width, panel.height, "frame")


def y_axis(panel: Panel, values: Sequence[float], *, named: bool = True) -> list[str]:
    """Lines across at the ticks, and unless `named` is false the ticks' numbers on the left."""
    lines = "".join(
        f"M{number(panel.left)} {number(panel.y(value))}H{number(panel.right)}" for value in values
    )
    written = [
        text(panel.left - 7.0, panel.y(value) + 4.0, label, "tick end")
        for value, label in zip(values, labels(values), strict=True)
    ]
    return [path(lines, "grid"), *(written if named else ())]


def x_lines(panel: Panel, values: Sequence[float]) -> str:
    """Upright lines at the ticks."""
    return path(
        "".join(
            f"M{number(panel.x(value))} {number(panel.top)}V{number(panel.bottom)}"
            for value in values
        ),
        "grid",
    )


def x_labels(panel: Panel, values: Sequence[float], names: Sequence[str]) -> list[str]:
    """Names below the panel, each under its value."""
    return [
        text(panel.x(value), panel.bottom + 17.0, name, "tick middle")
        for value, name in zip(values, names, strict=True)
    ]
