"""Saves a checkpoint at every cut of the step stream."""

from __future__ import annotations

from typing import Any

from rlkit.callbacks.callback import Callback
from rlkit.training import Training
from rlkit_agents.step import Step


class Checkpointing(Callback):
    """Keeps the training resumable; must come last, so that it saves what the others just did."""

    def on_step(self, training: Training, step: Step, metrics: dict[str, Any]) -> None:
        if training.checkpoints.failed:
            training.checkpoints.wait()
        if training.stepper.at_cut:
            training.save_checkpoint()
        if training.algorithm.replay is not None:
            training.checkpoints.wait_for_rows(training.algorithm.replay)

    def on_end(self, training: Training) -> None:
        training.checkpoints.wait()
