"""Windows of means: some steps in a row become one before a model sees them.

A sensor's noise differs from sample to sample, a fault stays. Means over two hours show a small
shift that no sample of five minutes does, and they make windows short for any model.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.detector import WindowModel


class PooledWindows:
    """A `WindowModel` that gives another one the means of `pool` steps in a row.

    Windows are a multiple of `pool` long. Raises ValueError for a pool below 1.
    """

    def __init__(self, model: WindowModel, pool: int) -> None:
        if pool < 1:
            raise ValueError(f"pool must be at least 1 step, got {pool}")
        self.model = model
        self.pool = pool

    def fit(self, windows: NDArray[np.float64]) -> Self:
        """Learn from means. Raises ValueError for windows that are no multiple of `pool` long."""
        self.model.fit(self.pooled(windows))
        return self

    def score_windows(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
        """(count,), as the model scores the means."""
        return self.model.score_windows(self.pooled(windows))

    def residuals(self, windows: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """(count, length, channels): each step has the residual of the mean that it went into."""
        residuals = self.model.residuals(self.pooled(windows))
        return None if residuals is None else np.repeat(residuals, self.pool, axis=1)

    def pooled(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
        """The means of windows; see `means_of`."""
        return means_of(windows, self.pool)


def means_of(windows: NDArray[np.float64], pool: int) -> NDArray[np.float64]:
    """Means of `pool` steps in a row, (count, length / pool, channels), of windows.

    Raises ValueError for windows that are no multiple of `pool` long.
    """
    count, length, channels = windows.shape
    if length % pool:
        raise ValueError(f"windows of {length} steps cannot be pooled by {pool}")
    return windows.reshape(count, length // pool, pool, channels).mean(2)
