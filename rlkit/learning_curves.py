"""Draws how runs learn, side by side: their evaluations over environment steps, as SVG.

Seeds of one configuration are one line, their mean, in a band from the worst to the best of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlkit.comparison import ComparisonError, RunResult, grouped
from rlkit.environment_ids import BIN_PICKING
from rlkit.line_chart import Line, draw_lines
from rlkit.picking_charts import EIGHT_HOURS, HUMAN_PROGRAMMED

RETURN = "return"
"""Names the mean return among what can be drawn."""

_GOALS: Mapping[tuple[str, str], tuple[Mapping[str, float], Mapping[str, float]]] = {
    (BIN_PICKING, "success"): (
        {"programmed by people": HUMAN_PROGRAMMED},
        {f"8 hours at {cycle}": attempts for cycle, attempts in EIGHT_HOURS.items()},
    )
}
"""Environment and metric -> what is to be reached, and until when, in steps; each with its name."""


def learning_curves(results: Sequence[RunResult], metric: str = RETURN) -> list[Line]:
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
        curves.append(Line(label, np.array(common, float), values))
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
    curves: Sequence[Line], metric: str, unit: str, protocol: Mapping[str, Any]
) -> str:
    """The picture, as the text of an SVG file.

    unit: of the metric. protocol: that of the evaluations, of which id and episodes are told.
    """
    levels, moments = _GOALS.get((str(protocol["id"]), metric), ({}, {}))
    named = metric.replace("_", " ")
    return draw_lines(
        curves,
        title=f"{protocol['id']}: {named} against environment steps",
        told=f"{named} in {unit}, {protocol['episodes']} episodes an evaluation",
        levels=levels,
        moments=moments,
    )
