"""Linear programmes with answers known by hand, and costs made convex."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rlkit_envs.data_center.controllers.convex_programme import convex_pieces, solve

OPEN = np.ones((1, 2), bool)


def one(cost, response_k, room_k, excess_cost, open_=OPEN):
    solved = solve(
        np.array([cost], float),
        np.array([response_k], float),
        np.array([room_k], float),
        excess_cost,
        open_,
    )
    return solved.share[0].tolist(), solved.cost[0]


def test_the_cheapest_pieces_make_the_room_that_is_lacking():
    """1.5 K must go: all of the piece at 1, half of that at 3."""
    share, cost = one([1, 3], [[-1, -1]], [-1.5], 10.0)
    assert share == pytest.approx([1.0, 0.5])
    assert cost == pytest.approx(2.5)


def test_what_no_piece_can_undo_is_charged():
    """3 K must go, the pieces undo 2: one kelvin at 10 remains."""
    share, cost = one([1, 3], [[-1, -1]], [-3.0], 10.0)
    assert share == pytest.approx([1.0, 1.0])
    assert cost == pytest.approx(14.0)


def test_excess_is_borne_where_it_costs_less_than_undoing_it():
    share, cost = one([1, 3], [[-1, -1]], [-1.5], 2.0)
    assert share == pytest.approx([1.0, 0.0])
    assert cost == pytest.approx(2.0)


def test_a_piece_that_saves_is_used_as_far_as_its_tightest_limit_allows():
    share, cost = one([-4, 0.5], [[2, 0], [1, 0]], [3.0, 0.25], 100.0)
    assert share == pytest.approx([0.25, 0.0])
    assert cost == pytest.approx(-1.0)


def test_a_closed_piece_stays():
    share, cost = one([-4, 1], [[0, -1]], [-0.5], 10.0, np.array([[False, True]]))
    assert share == pytest.approx([0.0, 0.5])
    assert cost == pytest.approx(0.5)


def test_programmes_side_by_side_do_not_touch_each_other():
    generator = np.random.default_rng(0)
    cost = generator.normal(size=(6, 5))
    response = generator.normal(size=(6, 3, 5))
    room = generator.normal(size=(6, 3))
    open_ = generator.random((6, 5)) < 0.8
    together = solve(cost, response, room, 3.0, open_)
    for row in range(6):
        each = slice(row, row + 1)
        alone = solve(cost[each], response[each], room[each], 3.0, open_[each])
        np.testing.assert_allclose(together.share[row], alone.share[0], atol=1e-7)
        excess = np.maximum(response[row] @ together.share[row] - room[row], 0.0).sum()
        total = cost[row] @ together.share[row] + 3.0 * excess
        assert together.cost[row] == pytest.approx(total, abs=1e-6)
        assert together.cost[row] == pytest.approx(alone.cost[0], abs=1e-6)


def test_a_programme_without_answer_is_an_error():
    with pytest.raises((RuntimeError, ValueError)):
        one([np.nan, 1], [[-1, -1]], [-1.5], 10.0)


def test_pieces_of_a_parabola_are_left_as_they_are():
    """x^2 around 1, at 0, 0.5, 1.5 and 2: -0.75, -0.25 downwards, +1.25, +1.75 upwards."""
    change = np.array([0.0 - 0.25, 0.25 - 1.0, 2.25 - 1.0, 4.0 - 2.25])
    np.testing.assert_allclose(convex_pieces(change, np.full(4, 0.5)), change)


def test_pieces_of_a_hill_become_its_mean_slope():
    """-|x| around 0 falls both ways by 1: no slope is left, and none outwards."""
    pieces = convex_pieces(np.array([-1.0, -1.0, -1.0, -1.0]), np.ones(4))
    np.testing.assert_allclose(pieces, 0.0)


def test_at_the_end_of_a_range_only_the_other_side_counts():
    """Width 0 upwards: the slopes downwards are not mixed with it."""
    pieces = convex_pieces(np.array([-3.0, -2.0, 0.0, 0.0]), np.array([1.0, 1.0, 0.0, 0.0]))
    np.testing.assert_allclose(pieces, [-2.0, -2.0, 0.0, 0.0])


@given(
    arrays.arrays(np.float64, 4, elements=st.floats(-10, 10)),
    arrays.arrays(np.float64, 4, elements=st.floats(0.1, 10)),
)
def test_slopes_rise_from_the_lowest_piece_to_the_highest(change, width):
    pieces = convex_pieces(change, width)
    slopes = pieces / width * np.array([-1.0, -1.0, 1.0, 1.0])
    assert (np.diff(slopes) >= -1e-9).all()
    again = convex_pieces(pieces, width)
    np.testing.assert_allclose(again, pieces, atol=1e-9)
