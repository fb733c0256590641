"""Precision, recall, density and coverage against loops over all pairs, and known answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rlkit import neighbours
from rlkit.gan.manifold import ManifoldQuality, manifold_quality

Rows = NDArray[np.float64]


def slow_quality(real: Rows, fake: Rows, neighbours: int) -> ManifoldQuality:
    """As the papers write it, pair by pair."""

    def distance(x: Rows, y: Rows) -> float:
        return sum((a - b) ** 2 for a, b in zip(x.tolist(), y.tolist(), strict=True))

    def radius(rows: Rows, i: int) -> float:
        return sorted(distance(rows[i], rows[j]) for j in range(len(rows)) if j != i)[
            neighbours - 1
        ]

    real_radii = [radius(real, i) for i in range(len(real))]
    fake_radii = [radius(fake, j) for j in range(len(fake))]
    inside = [[distance(x, y) <= r for x, r in zip(real, real_radii, strict=True)] for y in fake]
    reached = [
        any(distance(x, y) <= r for y, r in zip(fake, fake_radii, strict=True)) for x in real
    ]
    return ManifoldQuality(
        precision=sum(any(row) for row in inside) / len(fake),
        recall=sum(reached) / len(real),
        density=sum(map(sum, inside)) / (neighbours * len(fake)),
        coverage=sum(map(any, zip(*inside, strict=True))) / len(real),
    )


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_it_agrees_with_all_pairs(data: st.DataObject) -> None:
    random = np.random.default_rng(data.draw(st.integers(0, 999)))
    features = data.draw(st.integers(1, 3))
    real = random.normal(size=(data.draw(st.integers(4, 14)), features))
    fake = random.normal(size=(data.draw(st.integers(4, 14)), features)) + random.normal()
    if data.draw(st.booleans()):  # whole numbers recur and lie on the surfaces of balls
        real, fake = np.round(real), np.round(fake)
    neighbours = data.draw(st.integers(1, 3))
    got = manifold_quality(real, fake, neighbours)
    assert got.to_json() == pytest.approx(slow_quality(real, fake, neighbours).to_json())


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    real, fake = random.normal(size=(50, 4)), random.normal(size=(47, 4))
    whole = manifold_quality(real, fake)
    monkeypatch.setattr(neighbours, "_BLOCK", 7)
    assert manifold_quality(real, fake) == whole


def expected_coverage(rows: int, neighbours: int = 5) -> float:
    """Of as many real rows by others of the same distribution (Naeem et al. 2020, eq. 6).

    None of the other rows lies in a ball if the k nearest of all 2 * rows - 1 are a row's own.
    """
    own = np.arange(rows - 1, rows - 1 - neighbours, -1)
    return float(1 - np.prod(own / (own + rows)))


def test_one_distribution_gives_what_theory_says() -> None:
    random = np.random.default_rng(1)
    rows = random.normal(size=(2, 800, 2))
    got = manifold_quality(*rows)
    assert got.density == pytest.approx(1, abs=0.06)
    assert got.coverage == pytest.approx(expected_coverage(800), abs=0.025)
    assert got.precision > 0.95
    assert got.recall > 0.95


def test_expected_coverage_worked_out_by_hand() -> None:
    # Three rows each, one neighbour: of the five others, the nearest is one of three generated.
    assert expected_coverage(3, 1) == pytest.approx(3 / 5)
    # Naeem et al.: 1 - 1 / 2^k for many rows.
    assert expected_coverage(10**6, 5) == pytest.approx(1 - 1 / 32, abs=1e-5)


def test_equal_sets_cover_each_other() -> None:
    rows = np.random.default_rng(2).normal(size=(60, 5))
    # A ball holds its own row, which lies in no count of neighbours, and k others.
    assert manifold_quality(rows, rows, 5) == ManifoldQuality(1.0, 1.0, 6 / 5, 1.0)


def test_recurring_rows_cover_each_other() -> None:
    rows = np.repeat(np.array([[0.1], [0.7]]), 8, axis=0)
    assert manifold_quality(rows, rows).coverage == 1.0
    assert manifold_quality(rows, rows + 1e-6) == ManifoldQuality(0.0, 0.0, 0.0, 0.0)


def test_sets_apart_have_nothing() -> None:
    rows = np.random.default_rng(3).normal(size=(60, 5))
    assert manifold_quality(rows, rows + 100) == ManifoldQuality(0.0, 0.0, 0.0, 0.0)


def test_a_dropped_mode_shows_in_diversity_alone() -> None:
    random = np.random.default_rng(4)
    modes = random.integers(0, 4, (2, 600))
    real, fake = random.normal(size=(2, 600, 2)) + 50 * modes[..., None]
    fake = fake[modes[1] > 0]
    got = manifold_quality(real, fake)
    kept = float((modes[0] > 0).mean())
    assert got.coverage == pytest.approx(kept, abs=0.03)
    assert got.recall == pytest.approx(kept, abs=0.05)
    assert got.precision > 0.95


def test_numbers_of_neighbours_out_of_range_are_refused() -> None:
    rows = np.zeros((5, 1))
    with pytest.raises(ValueError, match=r"from 1 to 4.*got 5"):
        manifold_quality(rows, rows, 5)
    with pytest.raises(ValueError, match="got 0"):
        manifold_quality(rows, rows, 0)
