"""An evaluation of bin picking as tables for a terminal: a block a tier, one line a picker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlkit.bin_picking_evaluation import HELD_OUT
from rlkit.bin_picking_pickers import AGENT, ORACLE
from rlkit_envs.bin_picking.controller import Outcome
from rlkit_envs.bin_picking.tiers import TIERS

_OUTCOMES = (
    Outcome.MISS,
    Outcome.COLLISION,
    Outcome.DROPPED,
    Outcome.DOUBLE,
    Outcome.WALL,
)
"""The failures that have a column."""
_BEST: Mapping[str, Callable[..., float]] = {
    "success": max,
    "cleared": max,
    "parts_left": min,
    "picks_per_hour": max,
}
"""What is better, more or less; the oracle, which looks at the answers, does not compete."""


def print_tables(evaluation: Mapping[str, Any], policy: str | None) -> None:
    """Print what `rlkit evaluate --json` gives for bin picking on standard output.

    policy: what the agent is, or None without one.
    """
    console = Console()
    console = Console(width=max(console.width, 100))  # a number must never be cut short
    protocol = evaluation["protocol"]
    for line in _heading(protocol, policy):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    for tier, rows in evaluation["tiers"].items():
        console.print()
        console.print(_table(tier, rows))
        for line in _notes(rows):
            console.print(line, soft_wrap=True, highlight=False, markup=False)


def _heading(protocol: Mapping[str, Any], policy: str | None) -> list[str]:
    oracle = protocol["episodes_of"].get(ORACLE)
    bins = f"{protocol['episodes']} bins a tier, the same for all, of seed {protocol['seed']}"
    if oracle is not None:
        bins += f"; the oracle, which tries picks out, the first {oracle}"
    fixed = protocol["config"]["motion"]["fixed_s"]
    lines = [
        bins,
        "shares in % of attempts (cleared: of bins), with a 95 % interval over bins; picks an hour "
        f"by the cycle model, {fixed:g} s of a cycle being fixed",
    ]
    return lines if policy is None else [f"agent: {policy}", *lines]


def _table(tier: str, rows: Mapping[str, Any]) -> Table:
    summary = "shapes that no training sees" if tier == HELD_OUT else TIERS[tier].summary
    table = Table(
        title=f"{tier}: {summary}",
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        padding=0,
        show_edge=False,
    )
    heads = ("tries", "top-1 success", *(outcome.value for outcome in _OUTCOMES))
    table.add_column("picker", min_width=22)
    for head in (*heads, "cleared", "left", "picks/h"):
        table.add_column(head, justify="right", width=_WIDTHS.get(head, len(head)))
    best_of_all = _best(rows)
    for name, row in rows.items():
        best = {} if name == ORACLE else best_of_all
        low, high = (_percent(share) for share in row["success_ci95"])
        success = _cell(row, "success", _percent, best)
        table.add_row(
            name,
            f"{row['attempts']:,}",
            success.append(f" {f'{low}–{high}':>9}", style="dim"),
            *(_percent(row["outcomes"][outcome.value]) for outcome in _OUTCOMES),
            _cell(row, "cleared", _percent, best),
            _cell(row, "parts_left", lambda parts: f"{parts:.1f}", best),
            _cell(row, "picks_per_hour", lambda picks: f"{picks:.0f}", best),
        )
    return table


_WIDTHS = {"top-1 success": 14, "miss": 4, "wall": 4, "left": 4}


def _best(rows: Mapping[str, Any]) -> dict[str, float]:
    """The best number in each column in which one is better; none where nobody competes."""
    compete = [row for name, row in rows.items() if name != ORACLE]
    if len(compete) < 2:
        return {}
    return {name: best(row[name] for row in compete) for name, best in _BEST.items()}


def _cell(
    row: Mapping[str, Any], name: str, shown: Callable[[float], str], best: Mapping[str, float]
) -> Text:
    """A number, bold where it is the best or reads the same."""
    is_best = name in best and shown(row[name]) == shown(best[name])
    # Its own span, so that what is appended is not bold too.
    return Text().append(shown(row[name]), style="bold" if is_best else None)


def _percent(share: float) -> str:
    """Four characters at most."""
    return "100" if share == 1.0 else f"{min(100.0 * share, 99.9):.1f}"


def _notes(rows: Mapping[str, Any]) -> list[str]:
    """How the agent's chances were kept, and where the physics broke down."""
    lines = []
    calibration = rows.get(AGENT, {}).get("calibration")
    if calibration is not None:
        of = {"chosen pixels": "chosen", "random pixels on parts": "random_pixels"}
        parts = [
            f"on {what} Brier {found['brier']:.3f}, ECE {found['ece']:.3f} ({found['count']:,})"
            for what, found in ((what, calibration[key]) for what, key in of.items())
            if found is not None
        ]
        lines.append(f"the agent's chances: {'; '.join(parts)}")
    for name, row in rows.items():
        broken = round(row["outcomes"][Outcome.UNSTABLE.value] * row["attempts"])
        if broken:
            lines.append(f"{name}: in {broken} attempts the physics broke down, which ends a bin")
    return lines
