"""What is counted in a round of Boxing: hits, points and knock-outs, from unclipped rewards.

The reward of a step is our points minus the opponent's points scored in it (ale-py,
`games/supported/Boxing.cpp`), so points that both score within one step cancel. At frame skip 4
that is rare enough not to matter: a punch takes longer than a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

KNOCK_OUT_POINTS = 100
"""Points at which a round ends by knock-out (ale-py, `games/supported/Boxing.cpp`)."""


class BoxingCounts:
    """Running counts of the current round in each of `num_envs` environments."""

    UNITS: Mapping[str, str] = MappingProxyType(
        {
            "knock_outs": "1 if our points reached 100, else 0",
            "hits_landed": "steps with a positive reward",
            "hits_taken": "steps with a negative reward",
            "points_landed": "points",
            "points_taken": "points",
        }
    )
    """Name of each count -> its unit, per round."""

    def __init__(self, num_envs: int) -> None:
        # Rows: hits landed, hits taken, points landed, points taken.
        self._totals = np.zeros((4, num_envs))

    def clear(self, starting: NDArray[np.bool_]) -> None:
        """Start a new round where `starting` (num_envs,) is True."""
        self._totals[:, starting] = 0.0

    def add(
        self, rewards: NDArray[np.float32], terminated: NDArray[np.bool_]
    ) -> dict[str, NDArray[np.float64]]:
        """Count one step and return the counts of the rounds so far.

        rewards: (num_envs,) unclipped, in points. terminated: (num_envs,).
        Returns name -> (num_envs,) float64, arrays that later steps do not change.
        """
        landed = np.maximum(rewards, 0.0)
        taken = np.maximum(-rewards, 0.0)
        self._totals += np.stack((landed > 0.0, taken > 0.0, landed, taken))
        hits_landed, hits_taken, points_landed, points_taken = self._totals.copy()
        knock_outs = terminated & (points_landed >= KNOCK_OUT_POINTS)
        return {
            "knock_outs": knock_outs.astype(np.float64),
            "hits_landed": hits_landed,
            "hits_taken": hits_taken,
            "points_landed": points_landed,
            "points_taken": points_taken,
        }
