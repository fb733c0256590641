"""`rlkit compare`: sets the evaluations of runs side by side."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import FlagCreatePairsOff, Positional

from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.cli.options import check_writable, is_named, parse

if TYPE_CHECKING:
    from rlkit.comparison import Comparison, Row, RunResult


@dataclass(frozen=True)
class CompareOptions:
    """Set the evaluations of runs side by side; seeds of one configuration share a row.

    Runs whose evaluations followed different protocols are refused.
    """

    runs: Positional[tuple[Path, ...]]
    """Run folders, and files into which `rlkit evaluate --json` wrote."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""
    plot: Path | None = None
    """An SVG file to draw the runs' learning curves into."""
    metric: str = "return"
    """What is drawn: the return, or one of what evaluations count, such as knock_outs."""


def run(arguments: Sequence[str]) -> int:
    """Compare as `arguments` say."""
    options = parse(CompareOptions, arguments, "compare")
    if not options.runs:
        raise Mistake("name the run folders to compare: rlkit compare RUN RUN ...")
    if options.plot is None and is_named("--metric", arguments):
        raise Mistake("--metric says what is drawn: name a file for it too, --plot FILE.svg")
    check_writable("--plot", options.plot, ".svg")
    from rlkit.comparison import compare

    results = [_result(path) for path in options.runs]
    comparison = compare(results)
    if options.plot is not None:
        _draw(results, options.metric, options.plot)
    if options.json:
        print(json.dumps(comparison.to_json()))
    else:
        _print(comparison)
    return 0


def _result(path: Path) -> RunResult:
    from rlkit.comparison import RunResult
    from rlkit.run_folder import Run

    if path.suffix == ".json":
        return RunResult.of_evaluation(path)
    if path.is_file():
        trusting = " --trust --on ENVIRONMENT" if path.suffix == ".zip" else ""
        file, evaluation = (shlex.quote(str(each)) for each in (path, path.with_suffix(".json")))
        raise Mistake(
            f"{path} is no run folder; evaluate it, and compare what comes out: "
            f"rlkit evaluate {file}{trusting} --json > {evaluation}"
        )
    return RunResult.of(Run.open(path))


def _draw(results: Sequence[RunResult], metric: str, file: Path) -> None:
    from rlkit.learning_curves import draw_learning_curves, learning_curves

    curves = learning_curves(results, metric)
    first = results[0].history[0]
    unit = first["metrics"].get(metric, {"unit": "points"})["unit"]
    drawn = draw_learning_curves(curves, metric, unit, first["protocol"])
    with blaming_user(OSError):
        file.write_text(drawn)


def _print(comparison: Comparison) -> None:
    from rich.console import Console
    from rich.table import Table

    from rlkit.cli.evaluation_table import number

    episodes = comparison.protocol["episodes"]
    table = Table(title=f"{comparison.protocol['id']}, {episodes} episodes a run")
    table.title_justify = "left"
    table.add_column("recipe", overflow="fold", min_width=12)
    for name in ("seeds", "steps", "IQM", "95 % interval", "mean", "worst", "best"):
        table.add_column(name, justify="right", no_wrap=name not in ("seeds", "95 % interval"))
    for row in comparison.rows:
        low_high = row.summary.iqm_ci95
        table.add_row(
            _name(row),
            ", ".join(map(str, row.seeds)),
            f"{sum(row.steps) / len(row.steps):,.0f}",
            number(row.summary.iqm),
            "" if low_high is None else f"{number(low_high[0])} to {number(low_high[1])}",
            number(row.summary.mean),
            number(row.summary.minimum),
            number(row.summary.maximum),
        )
    console = Console()
    console.print(table)
    names = list(dict.fromkeys(name for row in comparison.rows for name in row.metrics))
    if not names:
        return
    counted = Table(title="means of what an episode counts", title_justify="left")
    counted.add_column("")
    for row in comparison.rows:
        counted.add_column(_name(row), justify="right", overflow="fold")
    for name in names:
        found = [row.metrics.get(name) for row in comparison.rows]
        values = ["" if metric is None else number(metric["mean"]) for metric in found]
        counted.add_row(name.replace("_", " "), *values)
    console.print(counted)


def _name(row: Row) -> str:
    return row.label.replace(" (", "\n(") + ("" if row.final else "\nnot finished")
