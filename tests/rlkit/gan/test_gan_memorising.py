"""Copies of training rows are found, and what merely resembles them is not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, norm

from rlkit.gan.memorising import _mann_whitney_z, memorising


def test_copies_and_near_copies_are_flagged() -> None:
    random = np.random.default_rng(0)
    training, held_out, others = random.normal(size=(3, 300, 20))
    fake = np.concatenate([training[:100], training[100:150] + 1e-3, others[:150]])
    got = memorising(training, held_out, fake)
    assert got.copied == pytest.approx(150 / 300)
    assert got.copied_floor == 0.0
    assert got.z < -10


def test_held_out_rows_are_no_copies() -> None:
    training, held_out, fake = np.random.default_rng(1).normal(size=(3, 300, 20))
    got = memorising(training, held_out, fake)
    assert got.copied == 0.0
    assert abs(got.z) < 3


def test_what_recurs_by_itself_is_in_the_floor() -> None:
    random = np.random.default_rng(2)
    known = random.integers(0, 255, (40, 1, 6, 6), dtype=np.uint8)
    training = np.concatenate([known, known])  # every row twice: its twin is no other row
    held_out = np.concatenate([known[:10], random.integers(0, 255, (10, 1, 6, 6), dtype=np.uint8)])
    got = memorising(training, held_out, held_out)
    assert got.copied == got.copied_floor == 0.5
    assert got.z == 0.0


def test_means_of_training_rows_are_near_but_no_copies() -> None:
    random = np.random.default_rng(3)
    training, held_out = random.normal(size=(2, 200, 20))
    means = training[random.integers(0, 200, (200, 5))].mean(1)
    got = memorising(training, held_out, means)
    assert got.copied == 0.0
    assert got.z < -10


def test_wide_rows_are_projected() -> None:
    random = np.random.default_rng(4)
    training = random.integers(0, 255, (50, 3, 20, 20), dtype=np.uint8)
    held_out, new = random.integers(0, 255, (2, 50, 3, 20, 20), dtype=np.uint8)
    fake = np.concatenate([training[:25], new[:25]])
    got = memorising(training, held_out, fake)
    assert got.copied == 0.5
    assert got == memorising(training, held_out, fake)


def test_the_statistic_is_that_of_scipy() -> None:
    random = np.random.default_rng(5)
    first, second = random.integers(0, 6, 30).astype(float), random.integers(0, 8, 40).astype(float)
    below = mannwhitneyu(
        first, second, alternative="less", method="asymptotic", use_continuity=False
    ).pvalue
    assert _mann_whitney_z(first, second) == pytest.approx(norm.ppf(below))


def test_what_cannot_be_compared_is_refused() -> None:
    rows = np.zeros((4, 3))
    with pytest.raises(ValueError, match=r"\(3,\), \(2,\) and \(3,\)"):
        memorising(rows, rows[:, :2], rows)
    with pytest.raises(ValueError, match="only one"):
        memorising(rows, rows, rows)
    with pytest.raises(ValueError, match="4 held-out and 0 generated"):
        memorising(np.eye(3), np.zeros((4, 3)), rows[:0])
