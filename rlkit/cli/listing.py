"""`rlkit list`: shows what there is to train, to train in, to train with, and what was trained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from rlkit.cli.options import parse

Subject = Literal["everything", "recipes", "environments", "algorithms", "runs"]


@dataclass(frozen=True)
class ListOptions:
    """Show recipes, environments, algorithms or runs."""

    what: Positional[Subject] = "everything"
    """What to show."""
    runs: Path = Path("runs")
    """Folder to look for runs in."""


def run(arguments: Sequence[str]) -> int:
    """List as `arguments` say."""
    options = parse(ListOptions, arguments, "list")
    shows = {
        "recipes": _show_recipes,
        "environments": _show_environments,
        "algorithms": _show_algorithms,
        "runs": lambda: _show_runs(options.runs),
    }
    for show in shows.values() if options.what == "everything" else [shows[options.what]]:
        show()
    return 0


def _show_recipes() -> None:
    from rlkit.environments import environment_id
    from rlkit.policies import find_policy
    from rlkit.recipes import RECIPES

    rows = []
    for recipe in RECIPES.values():
        steps = None if recipe.steps is None else f"{recipe.steps:,} steps"
        minutes = None if recipe.minutes is None else f"{recipe.minutes:g} minutes"
        try:
            find_policy(recipe.name)
            ships = "yes"
        except ValueError:
            ships = "no"
        budget = " or ".join(filter(None, (steps, minutes)))
        rows.append((recipe.name, environment_id(recipe.environment), budget, ships))
    _print_table("Recipes", ("recipe", "environment", "trains for", "policy ships"), rows)


def _show_environments() -> None:
    import ale_py
    import gymnasium
    from rich.columns import Columns
    from rich.console import Console

    gymnasium.register_envs(ale_py)
    newest: dict[str, str] = {}
    for name, spec in sorted(gymnasium.registry.items(), key=lambda item: item[1].version or 0):
        is_atari = str(spec.entry_point).startswith("ale_py")
        if name.startswith("ALE/") or not is_atari:  # older names of Atari games are left out
            newest[name.rsplit("-v", 1)[0]] = name
    console = Console()
    console.print(f"Environments ({len(newest)})", style="italic")
    console.print(Columns(sorted(newest.values()), padding=(0, 2)))


def _show_algorithms() -> None:
    from rlkit.algorithms import ALGORITHMS, LIBRARY_ALGORITHMS

    rows = [(name, algorithm.summary) for name, algorithm in ALGORITHMS.items()]
    rows += LIBRARY_ALGORITHMS.items()
    _print_table("Algorithms: rlkit train RECIPE --algorithm NAME", ("name", "algorithm"), rows)
    parts = (
        ("double Q-learning", "--algorithm.double"),
        ("dueling network", "--algorithm.network.dueling"),
        ("n-step returns", "--algorithm.n-step N"),
        ("prioritised replay", "--algorithm.priority-exponent 0.5"),
        ("noisy layers", "--algorithm.network.noisy"),
        ("quantile regression (QR-DQN)", "--algorithm.head.kind quantile"),
        ("categorical values (C51)", "--algorithm.head.kind categorical"),
        ("Munchausen targets", "--algorithm.munchausen"),
    )
    _print_table("Parts of dqn, which switch on separately", ("part", "flag"), parts)


def _show_runs(folder: Path) -> None:
    from rlkit.run_folder import Run, RunError

    rows = []
    for config in sorted(folder.glob("*/*/config.json")):
        run = Run(config.parent)
        try:
            run.recipe()
            evaluations = run.evaluations()
        except RunError:
            rows.append((str(run.path), "damaged", "", ""))
            continue
        if not evaluations:
            rows.append((str(run.path), "begun", "", ""))
            continue
        latest = evaluations[-1]
        state = "finished" if latest["final"] else "begun"
        rows.append((str(run.path), state, f"{latest['step']:,}", f"{latest['mean']:.1f}"))
    columns = ("run", "state", "at step", "mean return")
    _print_table(f"Runs in {folder}", columns, rows)


def _print_table(title: str, columns: Iterable[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table if rows else f"{title}: none")
