"""The sum-tree against plain cumulative sums."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlkit_agents.sum_tree import FAN_OUT, SumTree

whole_masses = st.lists(st.integers(0, 50), min_size=1, max_size=3 * FAN_OUT**2)


@given(whole_masses, st.randoms(use_true_random=False))
def test_find_agrees_with_a_search_in_the_cumulative_sum(masses: list[int], random) -> None:
    masses[random.randrange(len(masses))] += 1  # at least one is positive
    tree = SumTree(len(masses))
    tree.set_all(np.array(masses, float))
    assert tree.total == sum(masses)
    # Every whole position, and so every boundary between leaves, and a point inside each unit.
    positions = np.arange(sum(masses), dtype=float)
    expected = np.repeat(np.arange(len(masses)), masses)
    np.testing.assert_array_equal(tree.find(positions), expected)
    np.testing.assert_array_equal(tree.find(positions + 0.5), expected)


@given(
    st.integers(1, 2500),
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 2**32 - 1)), min_size=1, max_size=5),
)
def test_writes_in_any_order_give_the_tree_that_their_leaves_give(
    num_leaves: int, writes: list[tuple[int, int]]
) -> None:
    tree, expected = SumTree(num_leaves), np.zeros(num_leaves)
    for size, seed in writes:
        generator = np.random.default_rng(seed)
        indices, masses = generator.integers(num_leaves, size=size), generator.random(size)
        tree.set(indices, masses)
        for index, mass in zip(indices, masses, strict=True):
            expected[index] = mass  # of a repeated index the last one stays
    np.testing.assert_array_equal(tree.leaves, expected)
    rebuilt = SumTree(num_leaves)
    rebuilt.set_all(expected)
    assert tree.total == rebuilt.total  # bit for bit: a resumed run must draw the same
    np.testing.assert_allclose(tree.total, expected.sum(), rtol=1e-12)


@given(st.integers(0, 2**32 - 1))
def test_a_leaf_without_mass_is_never_found_even_past_the_end(seed: int) -> None:
    generator = np.random.default_rng(seed)
    masses = 10.0 ** generator.uniform(-12, 12, 2000)
    masses[generator.random(2000) < 0.8] = 0.0
    masses[-40:] = 0.0
    tree = SumTree(2000)
    tree.set_all(masses)
    # Ends of leaves, where rounding decides, and positions at and beyond the total.
    positions = np.concatenate([np.cumsum(masses), [tree.total, 2 * tree.total]])
    assert (masses[tree.find(positions)] > 0).all()


def test_masses_that_are_negative_or_not_finite_are_refused() -> None:
    tree = SumTree(10)
    tree.set(np.array([3]), 2.0)
    for wrong in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"finite and not negative, not {wrong}"):
            tree.set(np.array([1, 2]), [1.0, wrong])
    assert tree.total == 2.0


def test_leaves_outside_and_empty_trees_are_refused() -> None:
    tree = SumTree(10)
    for outside in (-1, 10):
        with pytest.raises(IndexError):
            tree.set(np.array([outside]), 1.0)
    with pytest.raises(ValueError, match="positive mass"):
        tree.find(np.zeros(1))
    with pytest.raises(ValueError, match="shape"):
        tree.set_all(np.ones(9))
    with pytest.raises(ValueError, match="at least one leaf"):
        SumTree(0)
