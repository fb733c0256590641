"""Random numbers for sampling units, drawn into buffers that already exist.

NumPy's SFC64 fills a float32 buffer about 1.5 times as fast as PyTorch's own generator.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class Noise:
    """A stream of random numbers; the same seed gives the same stream."""

    def __init__(self, seed: int | np.random.SeedSequence) -> None:
        """seed: non-negative."""
        self.generator = np.random.Generator(np.random.SFC64(seed))

    def uniform_(self, out: Tensor) -> Tensor:
        """Fill a contiguous float32 or float64 tensor from [0, 1)."""
        array = out.numpy()
        self.generator.random(out=array, dtype=array.dtype.type)
        return out

    def normal_(self, out: Tensor) -> Tensor:
        """Fill a contiguous float32 or float64 tensor from N(0, 1)."""
        array = out.numpy()
        self.generator.standard_normal(out=array, dtype=array.dtype.type)
        return out

    def bernoulli(self, chances: Tensor) -> Tensor:
        """Ones with the given chances in [0, 1], zeros otherwise, of the same shape and dtype."""
        return self.bernoulli_into(torch.empty(chances.shape, dtype=chances.dtype), chances)

    def bernoulli_into(self, out: Tensor, chances: Tensor) -> Tensor:
        """The same into `out`, which may not be `chances` itself."""
        return torch.lt(self.uniform_(out), chances, out=out)

    def normal(self, mean: Tensor, deviation: Tensor) -> Tensor:
        """N(mean, deviation**2), of the shape and dtype of `mean`."""
        drawn = self.normal_(torch.empty(mean.shape, dtype=mean.dtype))
        return drawn.mul_(deviation).add_(mean)

    def permutation(self, rows: int) -> Tensor:
        """The numbers below `rows` in random order, int64."""
        return torch.from_numpy(self.generator.permutation(rows))
