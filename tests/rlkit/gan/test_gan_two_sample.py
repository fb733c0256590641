"""The two-sample test guesses where it must, tells what can be told, and its p-value is one."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
import torch

from rlkit.gan.two_sample import two_sample_test


def test_one_distribution_leaves_it_guessing() -> None:
    random = np.random.default_rng(0)
    tests = [
        two_sample_test(*random.normal(size=(2, 300, 4)), seed=seed)  # type: ignore[misc]
        for seed in range(8)
    ]
    assert np.mean([test.accuracy for test in tests]) == pytest.approx(0.5, abs=0.05)
    assert min(test.p_value for test in tests) > 0.001
    assert max(test.p_value for test in tests) > 0.2


def test_what_is_apart_is_told_apart() -> None:
    random = np.random.default_rng(1)
    test = two_sample_test(random.normal(size=(200, 3)), random.normal(size=(200, 3)) + 8)
    assert test.accuracy > 0.99
    assert test.p_value < 1e-9


def test_equal_moments_do_not_hide_a_difference() -> None:
    # A ring and a disc whose every direction has mean 0 and the same variance.
    random = np.random.default_rng(2)
    disc = random.normal(size=(600, 2))
    angles = random.uniform(0, 2 * np.pi, 600)
    ring = np.sqrt(2) * np.stack([np.cos(angles), np.sin(angles)], 1)
    assert two_sample_test(disc, ring).accuracy > 0.75


def test_p_value_is_the_tail_of_fair_coins() -> None:
    random = np.random.default_rng(3)
    test = two_sample_test(random.normal(size=(40, 2)), random.normal(size=(40, 2)) + 0.8)
    right = round(test.accuracy * test.held_out)
    tail = sum(comb(test.held_out, k) for k in range(right, test.held_out + 1)) / 2**test.held_out
    assert test.held_out == 40
    assert test.p_value == pytest.approx(tail)


def test_seeds_repeat_it_and_unlike_sizes_are_evened_out() -> None:
    random = np.random.default_rng(4)
    real, fake = random.normal(size=(90, 2)), random.normal(size=(31, 2))
    before = torch.get_rng_state()
    test = two_sample_test(real, fake, seed=5)
    assert test == two_sample_test(real, fake, seed=5)
    assert test.held_out == 32
    assert torch.equal(before, torch.get_rng_state())


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="four rows of each kind, got 3"):
        two_sample_test(np.zeros((9, 1)), np.zeros((3, 1)))
