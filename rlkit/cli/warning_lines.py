"""Warnings of long work, as lines on the console in place of Python's own way."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


@contextmanager
def told_warnings(console: Console) -> Iterator[list[str]]:
    """Show warnings of the work within as lines, and give them, instead of Python's own way."""
    told: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield told
    told.extend(str(each.message) for each in caught if issubclass(each.category, UserWarning))
    for line in told:
        console.print(f"warning: {line}", style="yellow", highlight=False, soft_wrap=True)
