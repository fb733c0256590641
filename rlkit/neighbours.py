"""Squared distances between rows, a block at a time, and those to nearest neighbours.

By differences they are exact where rows recur, and cost much time where columns are many. By
products of rows they take a tenth of it at a thousand columns, and leave rounding errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.floating]
"""(count, columns)."""
Squares = Callable[[Rows, Rows], NDArray[np.floating]]
"""Squared distances (first, second) between first and second rows."""

_BLOCK = 512
"""Rows whose distances to all others are held at once."""


def squares_by_differences(first: Rows, second: Rows) -> NDArray[np.floating]:
    """Differences are taken first and squared then, so that rows that recur are 0 apart."""
    from scipy.spatial.distance import cdist

    return cdist(first, second, "sqeuclidean")


def squares_by_products(first: Rows, second: Rows) -> NDArray[np.floating]:
    """The same by |x|² + |y|² - 2 x·y, at least 0; exact where all are whole numbers."""
    products = first @ second.T
    lengths = np.square(first).sum(axis=1)[:, None] + np.square(second).sum(axis=1)
    return np.maximum(lengths - 2.0 * products, 0.0)


def blocks(
    first: Rows, second: Rows, squares: Squares = squares_by_differences
) -> Iterator[tuple[slice, NDArray[np.floating]]]:
    """Blocks of the first rows with their squared distances (block, second)."""
    for start in range(0, len(first), _BLOCK):
        block = slice(start, min(start + _BLOCK, len(first)))
        yield block, squares(first[block], second)


def neighbour_distances(
    rows: Rows, neighbours: int, squares: Squares = squares_by_differences
) -> NDArray[np.float64]:
    """Squared distance (count,) of each row to its k-th nearest other row.

    neighbours: k, from 1 to one less than the rows.
    """
    distances = np.empty(len(rows))
    for block, squared in blocks(rows, rows, squares):
        squared[np.arange(len(squared)), np.arange(block.start, block.stop)] = np.inf
        distances[block] = np.partition(squared, neighbours - 1, axis=1)[:, neighbours - 1]
    return distances


def nearest_distances(queries: Rows, rows: Rows, count: int) -> NDArray[np.float64]:
    """Distances (queries, count) to the nearest of the rows, rising, not squared."""
    nearest = np.empty((len(queries), count))
    for block, squared in blocks(queries, rows):
        nearest[block] = np.sort(np.partition(squared, count - 1, axis=1)[:, :count], axis=1)
    return np.sqrt(nearest)
