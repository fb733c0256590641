"""Keeps a pretrained torso as it is for the first part of a training, then lets it learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rlkit.callbacks.callback import Callback
from rlkit.pretrained import freeze_torso
from rlkit_agents.step import Step

if TYPE_CHECKING:
    from rlkit.training import Training


class FrozenTorso(Callback):
    """Freezes the torso up to the recipe's `frozen_torso_steps`.

    That depends on the training's step alone, so that a resumed one goes on alike.
    """

    def __init__(self) -> None:
        self._frozen = False

    def on_start(self, training: Training) -> None:
        if training.recipe.pretrained_torso is not None:
            self._set(training)

    def on_step(self, training: Training, step: Step, metrics: dict[str, Any]) -> None:
        if self._frozen:
            self._set(training)

    def _set(self, training: Training) -> None:
        until = training.recipe.frozen_torso_steps
        frozen = until == -1 or training.steps < until
        if frozen != self._frozen:
            freeze_torso(training.algorithm, frozen)
            self._frozen = frozen
