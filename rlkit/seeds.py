"""One seed, spawned into independent streams for everything in a training that is random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Seeds:
    """Independent `numpy.random.SeedSequence` streams of one training."""

    environment: np.random.SeedSequence
    exploration: np.random.SeedSequence
    replay: np.random.SeedSequence
    initialisation: np.random.SeedSequence
    evaluation: np.random.SeedSequence

    @classmethod
    def spawn(cls, seed: int) -> Seeds:
        """The streams that belong to `seed` (non-negative; a negative one raises ValueError)."""
        return cls(*np.random.SeedSequence(seed).spawn(5))


def integer_seed(stream: np.random.SeedSequence, *key: int) -> int:
    """A seed in [0, 2**31 - 2**16) for libraries that take a plain integer.

    Different keys give independent seeds; room is left above it because vector environments
    count upwards from the seed that they are given.
    """
    child = np.random.SeedSequence(stream.entropy, spawn_key=(*stream.spawn_key, *key))
    return int(child.generate_state(1, np.uint64)[0] % (2**31 - 2**16))
