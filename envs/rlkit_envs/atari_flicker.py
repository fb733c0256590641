"""Flickering games: some frames, at random, are not seen (Hausknecht & Stone 2015).

In their "Flickering Atari Games" each screen is obscured with probability 0.5, which makes a game
partially observable: a single frame, or a short stack, often does not show what a policy must know.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_STREAM = 1
"""Sets a game's flicker apart from whatever else its seed decides."""

_BLOCK = 256
"""Frames decided at a time: a call of a generator for every frame would cost far more."""


class Flicker:
    """Blanks new frames of `num_envs` games with a probability, each game by a stream of its own.

    A frame is blanked or not when it is new, and stays so in all later stacks.
    """

    def __init__(self, probability: float, num_envs: int, frame_stack: int) -> None:
        """probability: from 0 to 1. frame_stack: frames in an observation, oldest first."""
        self.probability = probability
        self._blanked = np.zeros((num_envs, frame_stack), bool)
        self._upcoming = np.zeros((num_envs, _BLOCK), bool)
        self._used = np.full(num_envs, _BLOCK)
        self._random: list[np.random.Generator] = []
        self._seed(np.random.SeedSequence().spawn(num_envs))

    def seed(self, seeds: Iterable[int]) -> None:
        """Begin each game's stream afresh; seeds: (num_envs,) integers, 0 or more."""
        self._seed(np.random.SeedSequence(int(seed), spawn_key=(_STREAM,)) for seed in seeds)

    def _seed(self, sequences: Iterable[np.random.SeedSequence]) -> None:
        self._random = [np.random.default_rng(sequence) for sequence in sequences]
        self._used[:] = _BLOCK

    def blank(
        self, observations: NDArray[np.uint8], unchanged: NDArray[np.bool_] | None = None
    ) -> None:
        """Blank in place what is not seen of observations (num_envs, frame_stack, ...).

        Each has moved on by one frame since the last call, or begins an episode with one frame
        after zeros; but for those that are `unchanged` (num_envs,) bool, by default none.
        """
        moved = np.ones(len(observations), bool) if unchanged is None else ~unchanged
        for env in np.flatnonzero(moved & (self._used == _BLOCK)):
            self._upcoming[env] = self._random[env].random(_BLOCK) < self.probability
            self._used[env] = 0
        (which,) = np.nonzero(moved)
        self._blanked[which, :-1] = self._blanked[which, 1:]
        self._blanked[which, -1] = self._upcoming[which, self._used[which]]
        self._used[which] += 1
        observations[self._blanked] = 0
