"""Knows rows again that a generator learnt from, so that it is not judged by them."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def fingerprints(*columns: NDArray[Any]) -> NDArray[np.int64]:
    """(count,) numbers that are the same for the same rows, and else differ for all that matters.

    columns: arrays (count, ...) whose rows belong together, such as inputs and targets.
    """
    whole = [np.ascontiguousarray(column) for column in columns]
    found = np.empty(len(whole[0]), np.int64)
    for place in range(len(found)):
        told = hashlib.blake2b(digest_size=8)
        for column in whole:
            told.update(column[place].tobytes())
        found[place] = np.frombuffer(told.digest(), np.int64)[0]
    return found
