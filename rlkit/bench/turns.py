"""Contestants of a benchmark taking turns, window by window: only interleaved timings compare."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from rich.table import Table

Report = Callable[[str], None]


class Contestant(Protocol):
    """What can be run for a window at a time, and stands still between windows."""

    def warm_up(self) -> None:
        """Get ready for the first window."""
        ...

    def window(self, seconds: float) -> float:
        """Go on for about `seconds`; returns environment steps a second."""
        ...


@dataclass(frozen=True)
class Entry:
    """A contestant, and what is said about it."""

    name: str
    contestant: Contestant
    settings: dict[str, Any]
    """What it is run with, as plain JSON data."""


def take_turns(
    entries: Mapping[str, Entry], window_seconds: float, repeats: int, report: Report
) -> dict[str, dict[str, Any]]:
    """Warm all of them up, then measure each in turn, `repeats` times over.

    Returns a row for each key: `name`, `steps_per_second` (the median of `windows`), `windows` and
    `settings`. Raises ValueError where there is no window, or none that lasts.
    """
    for name, value in (("window_seconds", window_seconds), ("repeats", repeats)):
        if value <= 0:
            raise ValueError(f"{name} must be more than 0, got {value}")
    for entry in entries.values():
        report(f"warming up: {entry.name}")
        entry.contestant.warm_up()
    windows: dict[str, list[float]] = {key: [] for key in entries}
    for number in range(1, repeats + 1):
        for key, entry in entries.items():
            windows[key].append(entry.contestant.window(window_seconds))
            rate = windows[key][-1]
            report(f"round {number} of {repeats}: {entry.name}, {rate:,.0f} steps/s")
    return {
        key: {
            "name": entry.name,
            "steps_per_second": statistics.median(windows[key]),
            "windows": windows[key],
            "settings": entry.settings,
        }
        for key, entry in entries.items()
    }


def speed_table(title: str, result: dict[str, Any]) -> Table:
    """The rows of a benchmark with what `take_turns` measured, and the `machine` that ran it."""
    caption = f"{result['machine']['processor']}, {result['machine']['cores']} cores"
    table = Table(title=f"{title}: steps a second, median of windows", caption=caption)
    table.add_column("what")
    for column in ("steps/s", "lowest", "highest"):
        table.add_column(column, justify="right")
    for row in result["rows"]:
        rates = (row["steps_per_second"], min(row["windows"]), max(row["windows"]))
        table.add_row(row["name"], *(f"{rate:,.0f}" for rate in rates))
    return table
