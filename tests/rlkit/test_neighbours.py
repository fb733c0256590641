"""Distances to neighbours against loops over all pairs, whatever the way and the blocks."""

import numpy as np
import pytest

from rlkit import neighbours
from rlkit.neighbours import (
    Squares,
    nearest_distances,
    neighbour_distances,
    squares_by_differences,
    squares_by_products,
)


@pytest.mark.parametrize("squares", [squares_by_differences, squares_by_products])
def test_neighbours_are_those_of_all_pairs(squares: Squares, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(neighbours, "_BLOCK", 7)
    rows = np.random.default_rng(0).integers(0, 3, (23, 4)).astype(np.float64)
    for k in (1, 3, 22):
        slow = [
            sorted(float(((row - other) ** 2).sum()) for j, other in enumerate(rows) if j != i)
            for i, row in enumerate(rows)
        ]
        assert neighbour_distances(rows, k, squares).tolist() == [near[k - 1] for near in slow]


def test_the_nearest_rise_and_are_not_squared(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(neighbours, "_BLOCK", 2)
    rows = np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0], [0.0, 1.0]])
    queries = np.array([[0.0, 0.0], [6.0, 8.0], [3.0, 4.0]])
    root = np.hypot(6.0, 7.0)
    expected = [[0.0, 1.0, 5.0], [0.0, 5.0, root], [0.0, np.hypot(3.0, 3.0), 5.0]]
    np.testing.assert_allclose(nearest_distances(queries, rows, 3), expected)


def test_rows_that_recur_are_no_distance_apart_by_differences():
    rows = np.random.default_rng(0).normal(1e3, 1.0, (40, 30))
    assert (np.diag(squares_by_differences(rows, rows.copy())) == 0.0).all()
    by_products = squares_by_products(rows, rows.copy())
    assert (by_products >= 0.0).all()
    np.testing.assert_allclose(by_products, squares_by_differences(rows, rows), atol=1e-6)
