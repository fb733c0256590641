"""Runs of True in a row of flags, as half-open intervals of steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def runs_of(flags: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Starts (included) and stops (excluded) of the maximal runs of True in (time,), in order."""
    padded = np.concatenate(([False], np.asarray(flags, bool), [False]))
    changes = np.flatnonzero(padded[1:] != padded[:-1])
    return changes[::2], changes[1::2]
