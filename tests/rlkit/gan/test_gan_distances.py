"""Fréchet and kernel distances against closed forms and slow definitions."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import sqrtm

from rlkit.gan.distances import frechet_distance, kernel_distance

Rows = NDArray[np.float64]


def with_moments(rows: Rows, mean: Rows, deviation: Rows) -> Rows:
    """Rows moved and scaled to exactly these sample moments, without correlation."""
    centred = rows - rows.mean(0)
    values, vectors = np.linalg.eigh(np.cov(centred.T))
    return centred @ vectors / np.sqrt(values) * deviation + mean


def slow_kernel_distance(real: Rows, fake: Rows) -> float:
    """Pair by pair."""

    def kernel(x: Rows, y: Rows) -> float:
        return float((x @ y / len(x) + 1) ** 3)

    count = len(real)
    own = sum(
        kernel(rows[i], rows[j])
        for rows in (real, fake)
        for i in range(count)
        for j in range(count)
        if i != j
    )
    across = sum(kernel(x, y) for x in real for y in fake)
    return own / (count * (count - 1)) - 2 * across / count**2


def test_frechet_distance_of_known_moments() -> None:
    random = np.random.default_rng(0)
    first = with_moments(random.normal(size=(100, 3)), np.zeros(3), np.array([1.0, 2, 3]))
    second = with_moments(
        random.normal(size=(80, 3)), np.array([1.0, 0, -2]), np.array([4.0, 2, 1])
    )
    # Means are sqrt(5) apart; deviations that share their axes add their squared differences.
    assert frechet_distance(first, second) == pytest.approx(5 + 9 + 0 + 4, abs=1e-8)


def test_frechet_distance_of_samples_nears_the_closed_form() -> None:
    random = np.random.default_rng(1)
    real = random.normal(size=(20_000, 4))
    fake = random.normal(size=(20_000, 4)) * 2 + 1
    # Means 1 apart and deviations 1 apart on each of four axes; the standard error is about 0.08.
    assert frechet_distance(real, fake) == pytest.approx(8, abs=0.3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 6))
def test_frechet_distance_agrees_with_the_matrix_root(seed: int, features: int) -> None:
    random = np.random.default_rng(seed)
    real = random.normal(size=(40, features)) @ random.normal(size=(features, features))
    fake = random.normal(size=(30, features)) @ random.normal(size=(features, features)) + 0.5
    first, second = (np.atleast_2d(np.cov(rows.T)) for rows in (real, fake))
    expected = (
        np.square(real.mean(0) - fake.mean(0)).sum()
        + np.trace(first + second)
        - 2 * np.trace(np.real(sqrtm(first @ second)))
    )
    assert frechet_distance(real, fake) == pytest.approx(expected, abs=1e-5, rel=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 12), st.integers(1, 5))
def test_kernel_distance_agrees_with_all_pairs(seed: int, rows: int, features: int) -> None:
    random = np.random.default_rng(seed)
    real = random.normal(size=(rows, features))
    fake = random.normal(size=(rows, features)) + random.normal()
    assert kernel_distance(real, fake) == pytest.approx(slow_kernel_distance(real, fake), rel=1e-9)


def test_kernel_distance_worked_out_by_hand() -> None:
    # Two rows of 0 and two of 1, one feature: k(0, 0) = k(0, 1) = 1 and k(1, 1) = 8.
    assert kernel_distance(np.zeros((2, 1)), np.ones((2, 1))) == pytest.approx(1 + 8 - 2 * 1)


def test_kernel_distance_of_normals_has_its_expectation() -> None:
    # One feature, N(0, 1) against N(1, 1): E k = E (xy + 1)^3 = m3 n3 + 3 m2 n2 + 3 m1 n1 + 1 with
    # the raw moments 0, 1, 0 and 1, 2, 4 of the two: 4, 16 + 12 + 3 + 1 and 0 + 6 + 0 + 1.
    expected = 4 + 32 - 2 * 7
    random = np.random.default_rng(2)
    values = [
        kernel_distance(random.normal(size=(200, 1)), random.normal(size=(200, 1)) + 1)
        for _ in range(60)
    ]
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values) - expected) < 4 * error


def test_kernel_distance_has_no_bias_where_frechet_distance_has() -> None:
    random = np.random.default_rng(3)
    pairs = [random.normal(size=(2, 30, 8)) for _ in range(100)]
    values = [kernel_distance(real, fake) for real, fake in pairs]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0
    assert min(frechet_distance(real, fake) for real, fake in pairs) > 0.5


def test_sets_of_unlike_size_are_compared_by_seed_without_touching_torchs_own() -> None:
    random = np.random.default_rng(4)
    real, fake = random.normal(size=(50, 2)), random.normal(size=(20, 2))
    before = torch.get_rng_state()
    assert kernel_distance(real, fake, seed=1) == kernel_distance(real, fake, seed=1)
    assert kernel_distance(real, fake, seed=1) != kernel_distance(real, fake, seed=2)
    assert torch.equal(before, torch.get_rng_state())


def test_what_cannot_be_compared_is_refused() -> None:
    rows = np.random.default_rng(5).normal(size=(9, 3))
    with pytest.raises(ValueError, match=r"got \(9, 3\) and \(9, 2\)"):
        frechet_distance(rows, rows[:, :2])
    with pytest.raises(ValueError, match="3 features needs more than 3 rows"):
        frechet_distance(rows, rows[:3])
    with pytest.raises(ValueError, match="two rows, got 1"):
        kernel_distance(rows, rows[:1])
    with pytest.raises(ValueError, match="no generated rows"):
        kernel_distance(rows, rows[:0])
    broken = rows.copy()
    broken[4, 1] = np.nan
    with pytest.raises(ValueError, match="generated row 4 is not finite"):
        frechet_distance(rows, broken)


def test_a_missing_torchmetrics_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics.image.fid", None)
    with pytest.raises(ImportError, match=r"pip install -e '.\[gan\]'"):
        frechet_distance(np.eye(3)[:, :1], np.eye(3)[:, :1])
