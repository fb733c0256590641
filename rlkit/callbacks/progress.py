"""Shows how a training goes: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rlkit.callbacks.callback import Callback
from rlkit.callbacks.evaluation_lines import EvaluationLines
from rlkit_agents.step import Step

if TYPE_CHECKING:
    from rlkit.stepping import Episode
    from rlkit.training import Training

_EPISODES = 100
_COUNTS_SHOWN = 3
_SPEED_WINDOW_SECONDS = 60.0
_LIVE_SECONDS = 1.0


class Progress(Callback):
    """Budget spent, time left, score, last evaluation and speed, on standard error.

    score: mean return of the last 100 episodes, which explore; with it the first few things that
    the environment counts, and what other callbacks have to remark. On a terminal a bar moves on
    the last two lines, which also tell what the training waits for, such as an evaluation; warnings
    of rlkit appear above it. Elsewhere a line is printed every `line_seconds`.
    """

    def __init__(self, console: Console | None = None, line_seconds: float = 30.0) -> None:
        self.console = Console(stderr=True) if console is None else console
        self.line_seconds = line_seconds
        self._live: Live | None = None
        self._handler = _AboveTheBar(self.console)
        self._training: Training | None = None
        self._episodes: deque[Episode] = deque(maxlen=_EPISODES)
        self._evaluations: EvaluationLines | None = None
        self._evaluated: dict[str, Any] | None = None
        self._pace: deque[tuple[float, int, float]] = deque()
        self._shown = 0.0
        self._first_line = Table.grid()
        self._second_line = ""

    def on_start(self, training: Training) -> None:
        self._training = training
        self._evaluations = EvaluationLines(training.run.evaluations_file)
        self._pace.clear()
        self._pace.append((training.seconds, training.steps, training.progress))
        self._shown = time.monotonic()
        logging.getLogger("rlkit").addHandler(self._handler)
        if self.console.is_terminal:
            self._prepare_bar(training)
            self._live = Live(
                get_renderable=lambda: self._bar(training),
                console=self.console,
                refresh_per_second=1 / _LIVE_SECONDS,
            )
            self._live.start(refresh=True)

    def on_step(self, training: Training, step: Step, metrics: dict[str, Any]) -> None:
        self._episodes.extend(training.stepper.finished)
        now = time.monotonic()
        if now - self._shown >= (self.line_seconds if self._live is None else _LIVE_SECONDS):
            self._shown = now
            self._show(training)

    def close(self) -> None:
        # Here and not in on_end, where the last evaluation may still be ahead.
        logging.getLogger("rlkit").removeHandler(self._handler)
        if self._training is not None:
            self._show(self._training)
        if self._live is not None:
            self._live.stop()
        self._live = self._training = None

    def _show(self, training: Training) -> None:
        self._pace.append((training.seconds, training.steps, training.progress))
        while training.seconds - self._pace[0][0] > _SPEED_WINDOW_SECONDS and len(self._pace) > 2:
            self._pace.popleft()
        assert self._evaluations is not None
        evaluations = self._evaluations.new()
        if evaluations:
            self._evaluated = evaluations[-1]
        if self._live is not None:
            self._prepare_bar(training)
        else:
            line = f"{training.recipe.name} {self._share(training)}  {self._numbers(training)}"
            self.console.print(line, soft_wrap=True, markup=False, highlight=False)

    def _bar(self, training: Training) -> Group:
        """What stands on the terminal; drawn by a thread that goes on while the training waits."""
        waiting_for = (callback.activity for callback in training.callbacks)
        parts = [*filter(None, waiting_for), self._second_line]
        text = Text("  ".join(parts), no_wrap=True, overflow="ellipsis")
        return Group(self._first_line, text)

    def _prepare_bar(self, training: Training) -> None:
        """Put together what changes with each step, out of reach of the thread that draws."""
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column()
        table.add_column(ratio=1)
        table.add_column(justify="right")
        bar = ProgressBar(total=1.0, completed=training.progress)
        table.add_row(Text(training.recipe.name, style="bold"), bar, Text(self._share(training)))
        self._first_line, self._second_line = table, self._numbers(training)

    def _share(self, training: Training) -> str:
        share = f"{training.progress:.0%}"
        left = self._seconds_left(training)
        return share if left is None else f"{share}  {_duration(left)} left"

    def _numbers(self, training: Training) -> str:
        parts = []
        if self._episodes:
            parts.append(f"score {_mean(e.episode_return for e in self._episodes)}")
        if self._evaluated is not None:
            parts.append(f"evaluated {self._evaluated['mean']:.4g}")
        if self._episodes:
            for name in list(self._episodes[-1].counts)[:_COUNTS_SHOWN]:
                mean = _mean(episode.counts[name] for episode in self._episodes)
                parts.append(f"{name.replace('_', ' ')} {mean}")
        parts += [callback.remark for callback in training.callbacks if callback.remark]
        parts.append(f"step {training.steps:,}")
        (seconds, steps, _), (seconds_now, steps_now, _) = self._pace[0], self._pace[-1]
        if steps_now > steps and seconds_now > seconds:
            parts.append(f"{(steps_now - steps) / (seconds_now - seconds):,.0f} steps/s")
        return "  ".join(parts)

    def _seconds_left(self, training: Training) -> float | None:
        """From the pace at which the budget was spent lately; None while nothing is known."""
        (seconds, _, share), (seconds_now, _, share_now) = self._pace[0], self._pace[-1]
        if share_now <= share or seconds_now <= seconds:
            return None
        return (1 - share_now) * (seconds_now - seconds) / (share_now - share)


class _AboveTheBar(logging.Handler):
    """Prints log records on the console, which moves the bar out of their way."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        text = Text(f"{record.levelname.lower()}: {record.getMessage()}", style="yellow")
        self._console.print(text, soft_wrap=not self._console.is_terminal)


def _mean(values: Any) -> str:
    return f"{np.mean(list(values)):.4g}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
