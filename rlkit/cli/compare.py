"""`rlkit compare`: sets the evaluations of runs side by side."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import FlagCreatePairsOff, Positional

from rlkit.cli.mistakes import Mistake
from rlkit.cli.options import parse

if TYPE_CHECKING:
    from rlkit.comparison import Comparison, RunResult


@dataclass(frozen=True)
class CompareOptions:
    """Set the evaluations of runs side by side; seeds of one configuration share a row.

    Runs whose evaluations followed different protocols are refused.
    """

    runs: Positional[tuple[Path, ...]]
    """Run folders, and files into which `rlkit evaluate --json` wrote."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


def run(arguments: Sequence[str]) -> int:
    """Compare as `arguments` say."""
    options = parse(CompareOptions, arguments, "compare")
    if not options.runs:
        raise Mistake("name the run folders to compare: rlkit compare RUN RUN ...")
    from rlkit.comparison import compare

    comparison = compare([_result(path) for path in options.runs])
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


def _print(comparison: Comparison) -> None:
    from rich.console import Console
    from rich.table import Table

    from rlkit.cli.evaluation_table import number

    episodes = comparison.protocol["episodes"]
    table = Table(title=f"{comparison.protocol['id']}, {episodes} episodes a run")
    table.title_justify = "left"
    table.add_column("recipe", overflow="fold")
    for name in ("seeds", "steps", "IQM", "95 % interval", "mean", "worst", "best"):
        table.add_column(name, justify="right", no_wrap=name != "seeds")
    metrics = list(dict.fromkeys(name for row in comparison.rows for name in row.metrics))
    for name in metrics:
        table.add_column(name.replace("_", " "), justify="right")
    for row in comparison.rows:
        low_high = row.summary.iqm_ci95
        table.add_row(
            row.label.replace(" (", "\n(") + ("" if row.final else "\nnot finished"),
            ", ".join(map(str, row.seeds)),
            f"{sum(row.steps) / len(row.steps):,.0f}",
            number(row.summary.iqm),
            "" if low_high is None else f"{number(low_high[0])} to {number(low_high[1])}",
            number(row.summary.mean),
            number(row.summary.minimum),
            number(row.summary.maximum),
            *(number(row.metrics[n]["mean"]) if n in row.metrics else "" for n in metrics),
        )
    Console().print(table)
