"""Mirror symmetries of a world as data augmentation: a mirrored transition is as true as any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Symmetry:
    """A mirroring of image observations, with what it does to the actions."""

    flip_rows: bool
    """Whether up and down change places."""
    flip_columns: bool
    """Whether left and right change places."""
    actions: tuple[int, ...]
    """The mirrored action for each action; mirrored twice, an action is itself again."""
    rows_down: int = 0
    """Rows by which the mirrored picture moves down, where the mirror's axis is not the middle;
    what leaves it below comes in again above."""

    def __post_init__(self) -> None:
        if sorted(self.actions) != list(range(len(self.actions))):
            raise ValueError(f"{self.actions} does not map the actions one to one")
        if any(self.actions[mirrored] != a for a, mirrored in enumerate(self.actions)):
            raise ValueError(f"{self.actions}, applied twice, does not give back every action")

    def check_fits(self, shape: tuple[int, ...], num_actions: int) -> None:
        """Raise ValueError unless observations of `shape` can be mirrored, and every action."""
        if len(shape) != 3:
            raise ValueError(
                f"symmetries mirror observations of shape (stack, height, width), not {shape}"
            )
        if len(self.actions) != num_actions:
            raise ValueError(
                f"a symmetry maps {len(self.actions)} actions, the action space has {num_actions}"
            )

    def observations(self, observations: Tensor) -> Tensor:
        """Observations (batch, ..., height, width) seen in the mirror, as a copy."""
        axes = [-2] * self.flip_rows + [-1] * self.flip_columns
        mirrored = torch.flip(observations, axes)
        return torch.roll(mirrored, self.rows_down, -2) if self.rows_down else mirrored

    def mirrored_actions(self, actions: np.ndarray) -> np.ndarray:
        """What the actions, of any shape, become in the mirror."""
        return np.asarray(self.actions)[actions]


def mirror_shares(
    symmetries: Sequence[Symmetry],
    turn: int,
    observations: Sequence[Tensor],
    actions: np.ndarray,
) -> np.ndarray:
    """Mirror an equal share of a batch by each symmetry, in place, and leave one as it is.

    The shares are interleaved and take turns as `turn` counts up: a prioritised batch lies in the
    order of the replay, and would give a transition the same mirror every time.
    observations: each (batch, ..., height, width). actions: (batch, ...) integers.
    Returns (batch,) bool, what was mirrored.
    """
    shares = len(symmetries) + 1
    mirrored = np.zeros(len(actions), bool)
    for i, symmetry in enumerate(symmetries):
        share = slice((turn + i) % shares, None, shares)
        for pictures in observations:
            pictures[share] = symmetry.observations(pictures[share])
        actions[share] = symmetry.mirrored_actions(actions[share])
        mirrored[share] = True
    return mirrored
