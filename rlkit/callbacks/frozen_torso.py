"""Keeps a pretrained torso as it is for the first part of a training, then lets it learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rlkit.callbacks.callback import Callback
from rlkit.pretrained import freeze_torso, torso_depth
from rlkit_agents.step import Step

if TYPE_CHECKING:
    from rlkit.recipe import Recipe
    from rlkit.training import Training


class FrozenTorso(Callback):
    """Freezes the torso up to the recipe's `frozen_torso_steps`, and thaws it over its
    `thaw_torso_steps`.

    Both depend on the training's step alone, so that a resumed one goes on alike.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._frozen = 0

    def on_start(self, training: Training) -> None:
        if training.recipe.pretrained_torso is not None:
            self._depth = torso_depth(training.algorithm)
            self._set(training)

    def on_step(self, training: Training, step: Step, metrics: dict[str, Any]) -> None:
        if self._frozen:
            self._set(training)

    def _set(self, training: Training) -> None:
        frozen = frozen_layers(training.recipe, training.steps, self._depth)
        if frozen != self._frozen:
            freeze_torso(training.algorithm, frozen)
            self._frozen = frozen


def frozen_layers(recipe: Recipe, steps: int, depth: int) -> int:
    """How many of a pretrained torso's lowest layers do not learn after so many steps.

    The topmost of `depth` layers learns from the end of the frozen steps on, the lowest from the
    end of the thaw on, the others at equal distances between.
    """
    thawing = steps - recipe.frozen_torso_steps
    if recipe.frozen_torso_steps == -1 or thawing < 0:
        return depth
    if thawing >= recipe.thaw_torso_steps:
        return 0
    return depth - 1 - thawing * (depth - 1) // recipe.thaw_torso_steps
