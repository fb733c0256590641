"""Ends a training cleanly on Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any

from rlkit.callbacks.callback import Callback
from rlkit.training import Training
from rlkit_agents.step import Step


class StopOnSignal(Callback):
    """The first signal makes the training save a checkpoint and end; a second one leaves at once.

    The second one raises KeyboardInterrupt where the program stands. Works in the main thread
    only, as Python's signal handlers do (ValueError elsewhere).
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        """The first signal that came."""
        self._announced = False
        self._training: Training | None = None
        self._handlers: dict[signal.Signals, Any] = {}

    def on_start(self, training: Training) -> None:
        self._training = training
        self._handlers = {number: signal.signal(number, self._receive) for number in self.SIGNALS}

    def on_step(self, training: Training, step: Step, metrics: dict[str, Any]) -> None:
        if self.received is not None and not self._announced:
            # Not from the handler: it may have come in the midst of another print.
            self._announced = True
            print("saving a checkpoint before leaving; once more leaves at once", file=sys.stderr)

    def close(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
        if self._training is not None:
            self._training.stop()
