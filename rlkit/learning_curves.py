"""Draws how runs learn, side by side: their evaluations over environment steps, as SVG.

Seeds of one configuration are one line, their mean, in a band from the worst to the best of them.
Colours are near those of Okabe & Ito (2008), which colour-blind people tell apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlkit.comparison import ComparisonError, RunResult, grouped
from rlkit.environment_ids import BIN_PICKING
from rlkit.picking_charts import EIGHT_HOURS, HUMAN_PROGRAMMED
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

RETURN = "return"
"""Names the mean return among what can be drawn."""

_WIDTH = 900
_LEFT, _RIGHT, _PANEL_HEIGHT = 66, 876, 300
_LEGEND_TOP, _LEGEND_ROW = 62, 22
_GOALS: Mapping[tuple[str, str], tuple[Mapping[str, float], Mapping[str, float]]] = {
    (BIN_PICKING, "success"): (
        {"programmed by people": HUMAN_PROGRAMMED},
        {f"8 hours at {cycle}": attempts for cycle, attempts in EIGHT_HOURS.items()},
    )
}
"""Environment and metric -> what is to be reached, and until when, in steps; each with its name."""

_COLOURS = ("#00548a", "#e08214", "#1b8a5a", "#b5428a", "#7a5c00", "#3b93d0")
_LIGHT = ("#9fd8ff", "#ffb866", "#7fdcb0", "#f0a3d3", "#e3c766", "#bfe3ff")


@dataclass(frozen=True)
class LearningCurve:
    """Evaluations of runs that differ only by their seed.

    steps: (evaluations,) those that all of them have. values: (seeds, evaluations).
    """

    label: str
    steps: Array
    values: Array


def learning_curves(results: Sequence[RunResult], metric: str = RETURN) -> list[LearningCurve]:
    """What the runs' evaluations while training came to, grouped as `comparison.compare` does.

    metric: "return", or one of the names under `metrics` in evaluations.jsonl. Raises
    ComparisonError for a metric that they have not, and for runs without two evaluations.
    """
    curves = []
    for label, group in grouped(results):
        runs = [_values(result, metric) for result in group]
        common = sorted(set.intersection(*(set(run) for run in runs)))
        if len(common) < 2:
            raise ComparisonError(
                f"{group[0].run} has no two evaluations to draw a curve through; name run folders "
                "of trainings with --evaluation.every"
            )
        values = np.array([[run[step] for step in common] for run in runs])
        curves.append(LearningCurve(label, np.array(common, float), values))
    return curves


def _values(result: RunResult, metric: str) -> dict[int, float]:
    """Step -> value. The evaluation of the end is left out where it is not one of the others'."""
    found = {}
    for evaluation in result.history:
        if evaluation["final"] and len(found) > 1:
            continue
        if metric == RETURN:
            value = float(np.mean(evaluation["returns"]))
        elif metric in evaluation["metrics"]:
            value = float(evaluation["metrics"][metric]["mean"])
        else:
            known = ", ".join([RETURN, *evaluation["metrics"]])
            raise ComparisonError(f"{result.run} has no metric {metric!r}; there are {known}")
        found[int(evaluation["step"])] = value
    return found


def draw_learning_curves(
    curves: Sequence[LearningCurve], metric: str, unit: str, protocol: Mapping[str, Any]
) -> str:
    """The picture, as the text of an SVG file.

    unit: of the metric. protocol: that of the evaluations, of which id and episodes are told.
    """
    levels, moments = _GOALS.get((str(protocol["id"]), metric), ({}, {}))
    values = [*(value for each in curves for value in each.values.ravel()), *levels.values()]
    y_ticks = ticks_around(float(min(values)), float(max(values)), 7)
    x_ticks = ticks_around(0.0, max(float(each.steps[-1]) for each in curves), 9)
    top = _LEGEND_TOP + _LEGEND_ROW * len(curves) + 16
    x_range, y_range = (x_ticks[0], x_ticks[-1]), (y_ticks[0], y_ticks[-1])
    panel = Panel(_LEFT, top, _RIGHT - _LEFT, _PANEL_HEIGHT, x_range, y_range)
    named = metric.replace("_", " ")
    told = f"{named} in {unit}, {protocol['episodes']} episodes an evaluation"
    parts = [
        text(_LEFT, 30, f"{protocol['id']}: {named} against environment steps", "heading"),
        text(_LEFT, 50, told, "small"),
        *y_axis(panel, y_ticks),
        x_lines(panel, x_ticks),
        *_goals(panel, levels, moments),
    ]
    for place, each in enumerate(curves):
        parts += _legend(each, place)
        if len(each.values) > 1:
            parts.append(_band(panel, each, _kind("band", place)))
    for place, each in enumerate(curves):
        parts.append(curve(panel, each.steps, each.values.mean(0), _kind("line", place)))
    return page(
        _WIDTH,
        top + _PANEL_HEIGHT + 34,
        f"{named} of {protocol['id']}",
        f"Learning curves of {', '.join(each.label for each in curves)}",
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


def _legend(each: LearningCurve, place: int) -> list[str]:
    y = _LEGEND_TOP + _LEGEND_ROW * place + 12
    seeds = len(each.values)
    told = f"{each.label}, " + (f"mean and range of {seeds} seeds" if seeds > 1 else "one seed")
    return [path(f"M{_LEFT} {y - 4}H{_LEFT + 30}", _kind("line", place)), text(_LEFT + 38, y, told)]


def _band(panel: Panel, each: LearningCurve, kind: str) -> str:
    """From the worst to the best seed."""
    upper = zip(each.steps, each.values.max(0), strict=True)
    lower = zip(each.steps[::-1], each.values.min(0)[::-1], strict=True)
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
