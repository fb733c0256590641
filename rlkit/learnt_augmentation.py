"""Agents that learn from observations which a companion's file changes.

A companion that learns such changes has a file of its own, and a module with a function
`augmentation(path, device)` that gives an `rlkit_agents.augmentation.Augmentation`, and refuses a
file that has not passed the companion's own tests.
"""

from __future__ import annotations

import os

from rlkit.companion_files import companion_module
from rlkit_agents.algorithm import Algorithm
from rlkit_agents.augmentation import Augmenter

_SOURCES = {"rlkit-gan": "rlkit.gan.translation"}
"""Entry of a safetensors file's metadata -> module whose `augmentation` reads it."""


def augment_from(algorithm: Algorithm, path: str | os.PathLike[str], share: float) -> None:
    """Let what the algorithm learns from go through a companion's file first.

    share: of every batch, at most, in (0, 1]; chosen at random, and measured as `augmented_share`.
    Raises ValueError where the file cannot be read, holds no augmentation, one that may not be
    used, or one of other observations, and for an algorithm without augmentations.
    """
    augmenter = getattr(algorithm, "augmenter", None)
    if not isinstance(augmenter, Augmenter):
        raise ValueError(f"{type(algorithm).__name__} learns from no augmented observations")
    module = companion_module(path, _SOURCES)
    if module is None:
        raise ValueError(f"{path}: holds nothing that changes observations")
    augmenter.put_first(module.augmentation(path, algorithm.device), share)
