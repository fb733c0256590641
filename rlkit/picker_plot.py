"""Draws an evaluation of bin picking: who succeeds how often in each tier, and calibration, as SVG.

Colours are near those of Okabe & Ito (2008), which colour-blind people tell apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rlkit.bin_picking_pickers import AGENT, ORACLE
from rlkit.calibration import wilson_interval
from rlkit.svg_chart import (
    Panel,
    curve,
    frame,
    number,
    page,
    path,
    text,
    x_labels,
    x_lines,
    y_axis,
)

_WIDTH = 1000
_LEFT, _RIGHT, _TOP, _ROW = 96, 606, 106, 44
_SQUARE = 290
_PERCENT = (0.0, 20.0, 40.0, 60.0, 80.0, 100.0)
_STYLE = """
    .agent, .oracle, .other { fill: none; stroke-linecap: round }
    .agent { stroke: #00548a } .oracle { stroke: #1b8a5a } .other { stroke: #9aa5b0 }
    .dot { stroke-width: 10 } .small-dot { stroke-width: 7 } .ring { stroke-width: 17 }
    .interval { stroke-width: 2.5 }
    .random { stroke: #e08214; fill: none; stroke-linecap: round }
"""
_DARK_STYLE = """
      .agent { stroke: #9fd8ff } .oracle { stroke: #7fdcb0 } .other { stroke: #6b7985 }
      .random { stroke: #ffb866 }
"""

_Row = Mapping[str, Any]


def draw_pickers(evaluation: Mapping[str, Any]) -> str:
    """The picture, as the text of an SVG file.

    evaluation: what `rlkit evaluate --json` tells of bin picking, with an agent or without one.
    """
    tiers: Mapping[str, Mapping[str, _Row]] = evaluation["tiers"]
    episodes = evaluation["protocol"]["episodes"]
    few = evaluation["protocol"]["episodes_of"].get(ORACLE, episodes)
    oracles = ", the same for all" if few == episodes else f", {few} of them for the oracle"
    bottom = _TOP + max(_ROW * len(tiers), _SQUARE)
    kept = [row for of in tiers.values() if (row := of.get(AGENT)) and row["calibration"]]
    panel = Panel(
        *(_LEFT, _TOP, _RIGHT - _LEFT, _ROW * len(tiers)), (0.0, 100.0), (len(tiers), 0.0)
    )
    parts = [
        text(24, 34, "Picking from bins: attempts that bring out exactly one part", "heading"),
        text(
            24,
            55,
            f"{episodes} bins in each tier{oracles}; lines: 95 % intervals",
            "small",
        ),
        *_legend(AGENT in next(iter(tiers.values()))),
        x_lines(panel, _PERCENT),
        *(part for place, of in enumerate(tiers.items()) for part in _tier(panel, place, *of)),
        frame(panel),
        *x_labels(panel, _PERCENT, [f"{value:.0f} %" for value in _PERCENT]),
    ]
    if kept:
        ends = (0.0, 100.0)
        square = Panel(_WIDTH - 24 - _SQUARE, _TOP, _SQUARE, _SQUARE, ends, ends)
        parts += _reliability(square, [row["calibration"] for row in kept])
    return page(
        _WIDTH if kept else _RIGHT + 24,
        bottom + 54,
        "Bin picking, by tier and picker",
        "Share of attempts that succeed, of the agent, each heuristic and the oracle in each tier; "
        "and how often picks succeed, by the chance that the agent gave them",
        parts,
        _STYLE,
        _DARK_STYLE,
    )


def _legend(with_agent: bool) -> Iterator[str]:
    left = _LEFT
    for kind, name, width in (
        *((("agent dot", "agent", 86),) if with_agent else ()),
        ("oracle ring", "oracle, which tries picks out", 224),
        ("other small-dot", "heuristics; the best is named", 0),
    ):
        yield path(f"M{left} {_TOP - 20}h0", kind)
        yield text(left + 12, _TOP - 16, name)
        left += width


def _tier(panel: Panel, place: int, name: str, rows: Mapping[str, _Row]) -> Iterator[str]:
    """A line for each of the tier's pickers; the best heuristic is named."""
    y = panel.y(place + 0.5)
    yield text(panel.left - 10, y + 4, name, "end")
    heuristics = {of: row["success"] for of, row in rows.items() if of not in (AGENT, ORACLE)}
    for success in heuristics.values():
        yield path(f"M{number(panel.x(100 * success))} {number(y)}h0", "other small-dot")
    if heuristics:
        best = max(heuristics, key=lambda of: heuristics[of])
        yield text(panel.x(100 * heuristics[best]), y + 17, best, "small end")
    if ORACLE in rows:
        yield path(
            f"M{number(panel.x(100 * rows[ORACLE]['success']))} {number(y)}h0", "oracle ring"
        )
    if AGENT in rows:
        low, high = (number(panel.x(100 * value)) for value in rows[AGENT]["success_ci95"])
        yield path(f"M{low} {number(y)}H{high}", "agent interval")
        yield path(f"M{number(panel.x(100 * rows[AGENT]['success']))} {number(y)}h0", "agent dot")


def _reliability(panel: Panel, kept: list[Mapping[str, Any]]) -> Iterator[str]:
    """How often picks succeeded against the chance given to them, all tiers together."""
    yield text(panel.left, panel.top - 38, "Do chances of pixels come true?", "name")
    yield from y_axis(panel, _PERCENT)
    yield x_lines(panel, _PERCENT)
    yield curve(panel, np.array([0.0, 100.0]), np.array([0.0, 100.0]), "goal")
    told = (("random_pixels", "random", "random"), ("chosen", "agent", "chosen"))
    for place, (which, kind, name) in enumerate(told):
        bins = [row for of in kept if of[which] for row in of[which]["reliability"]]
        count, error = 0, 0.0
        for low in sorted({row["low"] for row in bins if row["count"]}):
            same = [row for row in bins if row["low"] == low and row["count"]]
            in_bin = sum(row["count"] for row in same)
            chance = sum(row["count"] * row["mean_chance"] for row in same) / in_bin
            share = sum(row["count"] * row["share"] for row in same) / in_bin
            interval = wilson_interval(round(share * in_bin), in_bin)
            x, y = panel.x(100 * chance), panel.y(100 * share)
            ends = (number(panel.y(100 * end)) for end in interval)
            yield path(f"M{number(x)} {'V'.join(ends)}", kind)
            yield path(f"M{number(x)} {number(y)}h0", f"{kind} small-dot")
            count, error = count + in_bin, error + in_bin * abs(chance - share)
        if count:
            left = panel.left + 145 * (1 - place)
            yield path(f"M{number(left + 5)} {number(panel.top - 20)}h0", f"{kind} small-dot")
            said = f"{name}: ECE {error / count:.3f}"
            yield text(left + 14, panel.top - 16, said, "small")
    yield frame(panel)
    yield from x_labels(panel, _PERCENT, [f"{value:.0f}" for value in _PERCENT])
    yield text(panel.left + panel.width / 2, panel.bottom + 36, "chance, %", "small middle")
    yield text(panel.left + 8, panel.top + 18, "succeeded, %", "small")
