"""When callbacks that act every so many environment steps are due."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlkit.training import Training


def crossed(training: Training, every: int) -> bool:
    """Whether the latest batched step reached or passed a multiple of `every` environment steps."""
    return training.steps // every > (training.steps - training.stepper.num_envs) // every
