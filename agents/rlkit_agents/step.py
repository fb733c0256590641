"""What one step of a batch of environments tells a learner: all that crosses from acting to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Step:
    """The outcome of one batched environment step, under Gymnasium's NEXT_STEP autoreset.

    observations: (num_envs, *observation_shape), the observations after the step.
    rewards: (num_envs,) float32.
    terminated: (num_envs,) bool, the episode ended in a terminal state: nothing follows.
    truncated: (num_envs,) bool, the episode was cut short: its last observation still has a value.
    valid: (num_envs,) bool, False for a reset step. A reset step follows an end: its action was
        ignored, its reward is 0, and its observation is the first of a new episode.
    """

    observations: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    valid: np.ndarray

    @property
    def ended(self) -> np.ndarray:
        """(num_envs,) bool, whether the episode is over for either reason."""
        return self.terminated | self.truncated
