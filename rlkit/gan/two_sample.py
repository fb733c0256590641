"""Can a classifier tell generated rows from real ones? (Lopez-Paz & Oquab 2017, ICLR).

"Revisiting Classifier Two-Sample Tests": a small network learns to tell half of the rows apart; its
accuracy on the other half is 1/2 where both sets have one distribution.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from rlkit.gan.distances import check_features

_HIDDEN = 20
"""Rectified units, as in the paper's experiments."""
_STEPS = 200
_LEARNING_RATE = 0.01
_WEIGHT_DECAY = 1e-3


@dataclass(frozen=True)
class TwoSampleTest:
    """How well real and generated rows were told apart."""

    accuracy: float
    """Share of held-out rows whose origin was told, in [0, 1]: 1/2 is guessing, 1 is bad."""
    p_value: float
    """Chance of such an accuracy or a higher one if both sets had one distribution."""
    held_out: int
    """Rows that the accuracy was measured on, half of them real."""

    def to_json(self) -> dict[str, float]:
        """Plain JSON data."""
        return asdict(self)


def two_sample_test(
    real: NDArray[np.floating], fake: NDArray[np.floating], seed: int = 0
) -> TwoSampleTest:
    """Learn to tell real from generated rows on half of them, and test it on the rest.

    real, fake: (rows, features); where one has more rows, as many as the other has are drawn from
    it. seed: of the division and of the network.
    Raises ValueError for other shapes, numbers that are not finite, or fewer than four rows.
    """
    from scipy.stats import binom

    check_features(real, fake)
    rows = min(len(real), len(fake))
    if rows < 4:
        raise ValueError(f"a classifier needs at least four rows of each kind, got {rows}")
    random = np.random.default_rng(seed)
    chosen = [rows_of[random.permutation(len(rows_of))[:rows]] for rows_of in (real, fake)]
    learnt_from = rows // 2
    learning = torch.from_numpy(np.concatenate([each[:learnt_from] for each in chosen])).float()
    testing = torch.from_numpy(np.concatenate([each[learnt_from:] for each in chosen])).float()
    deviation, mean = torch.std_mean(learning, dim=0, correction=0)
    deviation = torch.where(deviation > 0, deviation, 1.0)
    classifier = _learn_origins((learning - mean) / deviation, seed)
    with torch.inference_mode():
        told_fake = classifier((testing - mean) / deviation)[:, 0] > 0
    held_out = len(testing)
    right = int((told_fake == (torch.arange(held_out) >= held_out // 2)).sum())
    return TwoSampleTest(right / held_out, float(binom.sf(right - 1, held_out, 0.5)), held_out)


def _learn_origins(rows: Tensor, seed: int) -> nn.Module:
    """A network whose output is positive for the second half of the rows (count, features)."""
    origins = (torch.arange(len(rows)) >= len(rows) // 2).float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(rows.shape[1], _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, 1))
    optimizer = torch.optim.Adam(
        network.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY, fused=True
    )
    for _ in range(_STEPS):
        loss = functional.binary_cross_entropy_with_logits(network(rows)[:, 0], origins)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network
