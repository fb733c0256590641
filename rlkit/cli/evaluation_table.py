"""An evaluation as a small table for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table


def print_evaluation(evaluation: Mapping[str, Any], title: str) -> None:
    """Print an evaluation, as `Evaluation.to_json` describes it, on standard output."""
    episodes = f"{evaluation['protocol']['id']}, {evaluation['episodes']} episodes"
    table = Table()
    table.add_column("per episode")
    table.add_column("mean", justify="right")
    table.add_column("unit or meaning")
    table.add_row("return", number(evaluation["mean"]), "sum of rewards")
    table.add_row(
        "  interquartile mean", number(evaluation["iqm"]), interval(evaluation["iqm_ci95"])
    )
    table.add_row("  worst", number(evaluation["min"]), "")
    table.add_row("  best", number(evaluation["max"]), "")
    if evaluation["human_normalised"] is not None:
        meaning = "0 is random play, 1 a human tester"
        table.add_row("  human-normalised", number(evaluation["human_normalised"]), meaning)
    for name, metric in evaluation["metrics"].items():
        table.add_row(name.replace("_", " "), number(metric["mean"]), metric["unit"])
    console = Console()
    console.print(f"{title}: {episodes}", soft_wrap=True, highlight=False, markup=False)
    console.print(table)


def number(value: float) -> str:
    """Two decimals; more only where they would all be zero."""
    return f"{value:.2f}" if value == 0 or abs(value) >= 0.005 else f"{value:.2g}"


def interval(bounds: tuple[float, float] | list[float] | None) -> str:
    """A 95 % interval in words, or nothing."""
    return "" if bounds is None else f"95 % interval {number(bounds[0])} to {number(bounds[1])}"
