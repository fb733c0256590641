"""How a fit of many epochs goes: a bar on a terminal, a line for each epoch elsewhere."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class EpochBar:
    """Shows epochs on `console`; use as a context manager."""

    def __init__(self, console: Console, epochs: int) -> None:
        """epochs: how many there are at most."""
        self._console = console
        self._epochs = epochs
        self._progress = Progress(
            TextColumn("epoch {task.completed:.0f} of at most {task.total:.0f}"),
            BarColumn(),
            TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task("", total=epochs, told="")

    def __enter__(self) -> EpochBar:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._console.is_terminal:
            self._progress.stop()

    def show(self, epoch: int, told: str) -> None:
        """Say that `epoch`, from 1, is done, and what it came to."""
        if self._console.is_terminal:
            self._progress.update(self._task, completed=epoch, told=told)
        else:
            line = f"epoch {epoch} of at most {self._epochs}: {told}"
            self._console.print(line, highlight=False, soft_wrap=True)
