"""How tests break work off: a training that is killed at a step, a disk that is full."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rlkit.callbacks.callback import Callback
from rlkit.training import Training
from rlkit_agents.step import Step


class Killed(Exception):
    """Ends a training as a crash would."""


class At(Callback):
    """Calls `act` once, when `steps` are reached."""

    def __init__(self, steps: int, act: Callable[[Training], None]) -> None:
        self.steps, self.act = steps, act

    def on_step(self, training: Training, step: Step, metrics: dict[str, Any]) -> None:
        if training.steps >= self.steps:
            self.steps = 2**62
            self.act(training)


def kill(training: Training) -> None:
    raise Killed


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Writing past `size` bytes fails, as on a full disk; Python ignores the signal for it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
