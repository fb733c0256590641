"""What evaluations share in which a policy runs beside others: names, options, results, bars."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from rlkit.cli.mistakes import Mistake
from rlkit.cli.options import is_named

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from rlkit.environments import Environment
    from rlkit.policies import LoadedPolicy


def refuse_options(
    options: type, only_for: str, arguments: Sequence[str], environment: str
) -> None:
    """Raise Mistake where `arguments` name a field of `options`, in another environment."""
    for field in fields(options):
        flag = f"--{field.name.replace('_', '-')}"
        if is_named(flag, arguments):
            raise Mistake(f"{flag} is only for {only_for}, and this is {environment}")


def environment_of(loaded: LoadedPolicy | None, on: str | None, default: str) -> Environment:
    """Where to evaluate: as for any policy, `loaded` has it; without one `on` or the default.

    Raises ValueError where no environment is called so.
    """
    if loaded is not None:
        return loaded.environment
    from rlkit.policies import find_environment

    return find_environment(on or default)


def find_names(names: Iterable[str], known: Iterable[str], what: str) -> list[str]:
    """Those of `known` that the user means, who types neither capitals nor spaces into a shell.

    what: such as "picker". Raises Mistake for a name that is not known, with the nearest that is.
    """
    typed = {_typed(one): one for one in known}
    found = []
    for name in names:
        if _typed(name) not in typed:
            near = difflib.get_close_matches(_typed(name), typed, n=1, cutoff=0.4) or typed
            raise Mistake(f"no {what} {name!r}; did you mean {' or '.join(near)}?")
        found.append(typed[_typed(name)])
    return found


def _typed(name: str) -> str:
    return name.lower().replace(" ", "-").replace("_", "-")


def describe_as_any_policy(
    loaded: LoadedPolicy,
    returns: ArrayLike,
    metrics: Mapping[str, tuple[float, str]],
    lengths: Sequence[int],
    counts: Mapping[str, Sequence[float]],
    protocol: Mapping[str, Any],
) -> dict[str, Any]:
    """Plain JSON data that an evaluation tells of every policy, of whatever world.

    returns, lengths and each of counts: (episodes,). metrics: name -> mean and unit.
    """
    from rlkit.environments import describe
    from rlkit.statistics import summarise_returns

    length = float(np.mean(lengths))
    told = {**metrics, "length": (length, "steps per episode")}
    return {
        **summarise_returns(returns).to_json(),
        "metrics": {name: {"mean": mean, "unit": unit} for name, (mean, unit) in told.items()},
        "lengths": list(lengths),
        "counts": {name: list(values) for name, values in counts.items()},
        "protocol": {**describe(loaded.environment), **protocol},
        "policy": loaded.describe(),
    }


Move = Callable[[int, int], None]
"""Takes what is done and how much there is in all."""
Report = Callable[[str], None]
"""Takes a line to print above the bar."""


@contextmanager
def progress_bar(what: str) -> Iterator[tuple[Move, Report]]:
    """A bar on standard error that counts `what`, such as "episodes"."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        *(TextColumn(what), BarColumn(), MofNCompleteColumn()),
        *(TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()),
    )
    # Where there is no terminal, even a bar that vanishes would leave an empty line.
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task, last = bar.add_task("", total=None), -1

        def move(done: int, of: int) -> None:
            nonlocal last
            if done != last:
                last = done
                bar.update(task, completed=done, total=of)

        yield move, lambda line: console.print(line, highlight=False, markup=False)
