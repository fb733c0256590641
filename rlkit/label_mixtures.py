"""Orders of labelled rows of which any beginning has a mixture of labels that is known."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def evenly(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Places (count,) of rows, in turn one of every label that there are still rows of.

    labels: (count,). Of one label they keep their order.
    """
    before, _ = _ranks(labels)
    return np.argsort(before, kind="stable")


def proportionally(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Places (count,) of rows, any beginning with labels in the shares that all rows have.

    labels: (count,). Of one label they keep their order.
    """
    before, sizes = _ranks(labels)
    return np.argsort((before + 0.5) / sizes, kind="stable")


def _ranks(labels: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many rows of its label are before each row, and how many there are in all."""
    before, sizes = np.empty(len(labels), np.int64), np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        before[places], sizes[places] = np.arange(len(places)), len(places)
    return before, sizes
