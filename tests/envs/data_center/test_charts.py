"""Curves, areas and ticks: how much of each pixel is covered, worked out independently."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlkit_envs.data_center.charts import (
    SUBCOLUMNS,
    Plot,
    area,
    extent,
    hanging_area,
    line,
    paint,
    round_ticks,
)

PLOT = Plot(left=10, top=20, width=24, height=16, steps=12, lowest=0.0, highest=16.0)
"""Two columns a step, a row for each 1 of value."""
NAN = float("nan")


def whole(painter, values, *, plot: Plot = PLOT, **settings: Any):
    return painter(plot, np.asarray(values, float), plot.left, plot.right, **settings)


def pen(plot, corners, width, fine=16):
    """The same as `line`, from the distance of fine points to every piece of the curve."""
    grid = (np.arange(fine) + 0.5) / fine
    x = (np.arange(plot.left, plot.right)[:, None] + grid).ravel()
    y = (np.arange(plot.top, plot.bottom)[:, None] + grid).ravel()
    points = np.stack(np.meshgrid(x, y), axis=-1)
    near = np.full(points.shape[:2], np.inf)
    for start, end in pairwise(corners):
        along = np.subtract(end, start)
        share = ((points - start) @ along) / max(along @ along, 1e-12)
        nearest = start + np.clip(share, 0.0, 1.0)[..., None] * along
        near = np.minimum(near, np.linalg.norm(points - nearest, axis=-1))
    covered = near <= width / 2
    return covered.reshape(plot.height, fine, plot.width, fine).mean(axis=(1, 3))


def test_a_level_line_covers_the_rows_that_its_width_reaches():
    cover = whole(line, np.full(13, 6.25), width=2.0)  # y from 20 + 9.75 - 1 to + 1
    column = cover[:, 12]
    assert column[[8, 9, 10]] == pytest.approx([0.25, 1.0, 0.75])
    assert column.sum() == pytest.approx(2.0)
    np.testing.assert_allclose(cover[:, 1:-1], column[:, None].repeat(22, axis=1), atol=1e-12)


@pytest.mark.parametrize("width", [1.2, 1.6, 2.2])
def test_a_crooked_line_covers_what_a_round_pen_would(width):
    values = np.random.default_rng(1).uniform(3.0, 13.0, 13)
    corners = [(PLOT.x(step), float(PLOT.y(value))) for step, value in enumerate(values)]
    expected = pen(PLOT, corners, width)
    cover = whole(line, values, width=width)
    # Steep flanks are followed in subcolumns, which makes them up to a quarter of a pixel wider.
    assert np.abs(cover - expected).max() < 0.26
    assert np.abs(cover - expected).mean() < 0.03


def test_values_that_are_held_rise_upright_where_their_step_begins():
    values = np.array([NAN, 4.0, 4.0, 12.0, *[NAN] * 9])
    cover = whole(line, values, width=2.0, held=True)
    corners = [(10, 32), (10 + 4, 32), (10 + 4, 24), (10 + 6, 24)]
    expected = pen(PLOT, corners, 2.0)
    assert np.abs(cover - expected).max() < 0.26
    least, greatest = extent(PLOT, values, 10, 34, held=True)
    assert (least[:16] == 4.0).all()
    assert (greatest[16:24] == 12.0).all()
    assert np.isinf(least[25:]).all()


def test_what_is_not_known_is_not_drawn():
    values = np.full(13, 8.0)
    values[5:8] = NAN
    cover = whole(line, values, width=1.0)
    assert (cover[:, 9:13] == 0.0).all()  # between steps 4 and 8, but for the pen's round ends
    assert (cover[:, :8].sum(axis=0) > 0.9).all()
    assert whole(line, np.full(13, NAN), width=2.0).sum() == 0.0
    assert whole(area, np.full(13, NAN), base=0.0).sum() == 0.0
    assert whole(hanging_area, np.full(13, NAN), base=16.0).sum() == 0.0
    alone = np.full(13, NAN)
    alone[6] = 8.0
    assert whole(line, alone, width=2.0).sum() == pytest.approx(np.pi, rel=0.15)  # a dot


def test_areas_cover_what_lies_between_curve_and_base():
    rising = np.arange(13.0)  # half a row a column
    above = whole(area, rising, base=0.0)
    np.testing.assert_allclose(above.sum(axis=0), 0.25 + 0.5 * np.arange(24))
    from_six = whole(area, rising, base=6.0)
    np.testing.assert_allclose(from_six.sum(axis=0), np.maximum(0.5 * np.arange(24) - 5.75, 0.0))
    below = whole(hanging_area, rising, base=6.0)
    np.testing.assert_allclose(below.sum(axis=0), np.maximum(5.75 - 0.5 * np.arange(24), 0.0))
    assert from_six[10].sum() == 0.0  # the row below 6


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.one_of(st.just(NAN), st.floats(-5.0, 20.0)), min_size=13, max_size=13),
    st.integers(11, 33),
    st.booleans(),
)
def test_columns_do_not_depend_on_what_else_is_painted(values, cut, held):
    values = np.array(values)
    painters: list[tuple[Any, dict[str, Any]]] = [
        (line, {"width": 1.6, "held": held}),
        (area, {"base": 2.0}),
        (hanging_area, {"base": 2.0}),
    ]
    for painter, given_settings in painters:
        parts = [
            painter(PLOT, values, first, stop, **given_settings)
            for first, stop in ((10, cut), (cut, 34))
        ]
        np.testing.assert_array_equal(
            np.concatenate(parts, axis=1), whole(painter, values, **given_settings)
        )


def test_many_steps_in_a_column_show_their_least_and_their_greatest():
    plot = PLOT._replace(steps=2400)
    values = np.full(2401, 8.0)
    values[1204], values[1206] = 15.0, 1.0
    least, greatest = extent(plot, values, plot.left, plot.right)
    assert (least.min(), greatest.max()) == (1.0, 15.0)
    assert np.flatnonzero(greatest > 8.0).tolist() == [12 * SUBCOLUMNS]
    cover = whole(line, values, plot=plot, width=1.0)
    assert cover[2:14, 12].min() > 0.2


def test_paint_lays_colour_over_as_far_as_it_covers():
    pixels = np.full((1, 3, 3), 100.0)
    paint(pixels, (200, 0, 100), np.array([[0.0, 0.25, 1.0]]))
    assert pixels[0].tolist() == [[100, 100, 100], [125, 75, 100], [200, 0, 100]]


@pytest.mark.parametrize(
    ("lowest", "highest", "most", "expected"),
    [
        (0.0, 100.0, 3, [0, 50, 100]),
        (15.0, 30.0, 4, [15, 20, 25, 30]),
        (1.0, 1.3, 4, [1.0, 1.1, 1.2, 1.3]),
        (-10.0, 35.0, 4, [0, 20]),
        (0.0, 550.0, 9, [0, 100, 200, 300, 400, 500]),
    ],
)
def test_ticks_are_round(lowest, highest, most, expected):
    assert round_ticks(lowest, highest, most) == pytest.approx(expected)


@given(st.floats(-100, 100), st.floats(0.01, 1e4), st.integers(2, 12))
def test_ticks_lie_on_the_axis_and_are_not_too_many(lowest, span, most):
    ticks = round_ticks(lowest, lowest + span, most)
    assert len(ticks) <= most
    slack = 1e-6 * max(abs(lowest), span)
    assert all(lowest - slack <= tick <= lowest + span + slack for tick in ticks)
    assert len(ticks) >= most // 5
