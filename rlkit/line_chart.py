"""Draws lines with bands, one for each thing that was measured with several seeds, as SVG.

Colours are near those of Okabe & Ito (2008), which colour-blind people tell apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rlkit.svg_chart import (
    Array,
    Panel,
    curve,
    frame,
    labels,
    number,
    page,
    path,
    text,
    ticks_around,
    x_labels,
    x_lines,
    y_axis,
)

_WIDTH = 900
_LEFT, _RIGHT, _PANEL_HEIGHT = 66, 876, 300
_LEGEND_TOP, _LEGEND_ROW = 62, 22
_COLOURS = ("#00548a", "#e08214", "#1b8a5a", "#b5428a", "#7a5c00", "#3b93d0")
_LIGHT = ("#9fd8ff", "#ffb866", "#7fdcb0", "#f0a3d3", "#e3c766", "#bfe3ff")


@dataclass(frozen=True)
class Line:
    """What was measured of one thing.

    x: (points,), rising. values: (seeds, points), finite.
    """

    label: str
    x: Array
    values: Array


def draw_lines(
    lines: Sequence[Line],
    *,
    title: str,
    told: str,
    levels: Mapping[str, float] | None = None,
    moments: Mapping[str, float] | None = None,
    x_from: float = 0.0,
) -> str:
    """The mean of each over its seeds, in a band from the least to the most, as an SVG file's text.

    told: stands below the title, such as what is drawn and its unit. levels, moments: broken lines
    across and down, by their names. x_from: where the axis begins, at or below the least x.
    """
    levels, moments = levels or {}, moments or {}
    values = [*(value for each in lines for value in each.values.ravel()), *levels.values()]
    y_ticks = ticks_around(float(min(values)), float(max(values)), 7)
    x_ticks = ticks_around(x_from, max(float(each.x[-1]) for each in lines), 9)
    top = _LEGEND_TOP + _LEGEND_ROW * len(lines) + 16
    x_range, y_range = (x_ticks[0], x_ticks[-1]), (y_ticks[0], y_ticks[-1])
    panel = Panel(_LEFT, top, _RIGHT - _LEFT, _PANEL_HEIGHT, x_range, y_range)
    parts = [
        text(_LEFT, 30, title, "heading"),
        text(_LEFT, 50, told, "small"),
        *y_axis(panel, y_ticks),
        x_lines(panel, x_ticks),
        *_goals(panel, levels, moments),
    ]
    for place, each in enumerate(lines):
        parts += _legend(each, place)
        if len(each.values) > 1:
            parts.append(_band(panel, each, _kind("band", place)))
    for place, each in enumerate(lines):
        parts.append(curve(panel, each.x, each.values.mean(0), _kind("line", place)))
    return page(
        _WIDTH,
        top + _PANEL_HEIGHT + 34,
        title,
        f"{told}: {', '.join(each.label for each in lines)}",
        [*parts, frame(panel), *x_labels(panel, x_ticks, labels(x_ticks))],
        _style(_COLOURS),
        _style(_LIGHT),
    )


def _kind(what: str, place: int) -> str:
    return f"{what} {what}-{place % len(_COLOURS)}"


def _style(colours: Sequence[str]) -> str:
    rules = ["    .line { fill: none; stroke-width: 2.4; stroke-linejoin: round }"]
    rules.append("    .band { opacity: .2 }")
    for place, colour in enumerate(colours):
        rules.append(f"    .line-{place} {{ stroke: {colour} }} .band-{place} {{ fill: {colour} }}")
    return "\n".join(rules) + "\n"


def _legend(each: Line, place: int) -> list[str]:
    y = _LEGEND_TOP + _LEGEND_ROW * place + 12
    seeds = len(each.values)
    told = f"{each.label}, " + (f"mean and range of {seeds} seeds" if seeds > 1 else "one seed")
    return [path(f"M{_LEFT} {y - 4}H{_LEFT + 30}", _kind("line", place)), text(_LEFT + 38, y, told)]


def _band(panel: Panel, each: Line, kind: str) -> str:
    """From the least to the most of the seeds."""
    upper = zip(each.x, each.values.max(0), strict=True)
    lower = zip(each.x[::-1], each.values.min(0)[::-1], strict=True)
    corners = (f"{number(panel.x(x))} {number(panel.y(y))}" for x, y in (*upper, *lower))
    return path("M" + "L".join(corners) + "Z", kind)


def _goals(
    panel: Panel, levels: Mapping[str, float], moments: Mapping[str, float]
) -> Iterator[str]:
    """Broken lines, with their names."""
    for name, level in levels.items():
        y = panel.y(level)
        yield path(f"M{number(panel.left)} {number(y)}H{number(panel.right)}", "goal")
        yield text(panel.left + 8, y - 7, name, "small")
    for place, (name, moment) in enumerate(moments.items()):
        if moment < panel.x_range[1]:
            x = panel.x(moment)
            yield path(f"M{number(x)} {number(panel.top)}V{number(panel.bottom)}", "goal")
            yield text(x + 6, panel.bottom - 10 - 18 * place, name, "small")
