"""Classical augmentation of rows of numbers: noise and scaling in each column's own unit.

What Um et al. (2017), "Data augmentation of wearable sensor data for Parkinson's disease monitoring
using convolutional neural networks", call jittering and scaling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RowJitter:
    """Adds noise to every number, and stretches every row about the mean, by a factor of its own.

    Raises ValueError for numbers out of range.
    """

    mean: Tensor
    """Of each column, (columns,)."""
    deviation: Tensor
    """Standard deviation of each column, (columns,)."""
    noise: float = 0.3
    """Standard deviation of what is added, in standard deviations of the column; at least 0."""
    scaling: float = 0.1
    """Standard deviation of the factors, whose mean is 1; at least 0."""

    def __post_init__(self) -> None:
        for name in ("noise", "scaling"):
            value = getattr(self, name)
            if not 0.0 <= value < math.inf:
                raise ValueError(f"{name} must be finite and not negative, got {value}")

    @classmethod
    def of(cls, rows: Tensor, *, noise: float = 0.3, scaling: float = 0.1) -> RowJitter:
        """By the columns of rows (count, columns) of floats."""
        deviation, mean = torch.std_mean(rows.float(), dim=0, correction=0)
        return cls(mean, deviation, noise, scaling)

    def __call__(
        self, batch: Tensor, labels: Tensor | None = None, *, random: torch.Generator
    ) -> Tensor:
        """As `rlkit_agents.augmentation.Augmentation`, for rows (batch, columns) of floats.

        Raises ValueError for rows of other columns.
        """
        if batch.shape[1:] != self.mean.shape or not batch.is_floating_point():
            raise ValueError(
                f"rows of {len(self.mean)} floats are changed, not {batch.dtype} of shape"
                f" {tuple(batch.shape[1:])}"
            )
        drawn = torch.randn((len(batch), 1 + batch.shape[1]), generator=random)
        factors, added = drawn.to(batch).split([1, batch.shape[1]], dim=1)
        mean, deviation = self.mean.to(batch), self.deviation.to(batch)
        stretched = mean + (1.0 + self.scaling * factors) * (batch - mean)
        return stretched + self.noise * deviation * added
