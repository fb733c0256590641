"""Axes and curves as SVG text: ticks, coordinates and labels, worked out by hand."""

import math
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlkit import svg_chart
from rlkit.svg_chart import Panel, labels, ticks_around

# 100 wide and 50 high; 0..10 across, -1..1 upwards.
PANEL = Panel(20.0, 30.0, 100.0, 50.0, (0.0, 10.0), (-1.0, 1.0))


@pytest.mark.parametrize(
    ("lowest", "highest", "most", "ticks"),
    [
        (612.0, 1180.0, 5, [600.0, 800.0, 1000.0, 1200.0]),
        (18.1, 25.9, 5, [18.0, 20.0, 22.0, 24.0, 26.0]),
        (0.1, 0.3, 4, [0.1, 0.2, 0.3]),
        (-5.0, 10.5, 7, [-5.0, 0.0, 5.0, 10.0, 15.0]),
        (0.0, 0.0, 3, [0.0, 0.5, 1.0]),
    ],
)
def test_ticks_are_round(lowest, highest, most, ticks):
    assert ticks_around(lowest, highest, most) == pytest.approx(ticks)


@given(
    st.floats(-1e6, 1e6).map(lambda value: round(value, 6)),
    st.floats(1e-3, 1e6),
    st.integers(3, 12),
)
def test_ticks_enclose_the_range_closely(lowest, span, most):
    ticks = ticks_around(lowest, lowest + span, most)
    assert 2 <= len(ticks) <= most
    step = ticks[1] - ticks[0]
    np.testing.assert_allclose(np.diff(ticks), step, rtol=1e-6)
    slack = 1e-6 * step
    assert lowest - step - slack <= ticks[0] <= lowest + slack
    assert lowest + span - slack <= ticks[-1] <= lowest + span + step + slack
    assert len(set(labels(ticks))) == len(ticks)


@pytest.mark.parametrize(("lowest", "highest"), [(1.0, 0.0), (math.nan, 1.0), (0.0, math.inf)])
def test_ranges_without_ticks_are_refused(lowest, highest):
    with pytest.raises(ValueError, match="ticks need a finite range"):
        ticks_around(lowest, highest, 5)


def test_labels_have_the_digits_that_they_need():
    assert labels([600.0, 800.0, 1000.0]) == ["600", "800", "1,000"]
    assert labels([-0.5, 0.0, 0.5]) == ["\N{MINUS SIGN}0.5", "0.0", "0.5"]
    assert labels([-0.0, 1.0]) == ["0", "1"]


def test_points_lie_where_their_values_are():
    drawn = svg_chart.curve(PANEL, np.array([0.0, 5.0, 10.0]), np.array([-1.0, 0.0, 0.9]), "line")
    assert drawn == '<path class="line" d="M20 80L70 55L120 32.5"/>'
    assert svg_chart.x_lines(PANEL, [2.5]) == '<path class="grid" d="M45 30V80"/>'
    lines, low, high = svg_chart.y_axis(PANEL, [-1.0, 0.0])
    assert lines == '<path class="grid" d="M20 80H120M20 55H120"/>'
    assert ElementTree.fromstring(low).attrib == {"class": "tick end", "x": "13", "y": "84"}
    assert ElementTree.fromstring(high).text == "0"


def test_dots_on_one_place_are_drawn_once():
    # A unit across is 10 wide, so that 0.01 is the same half unit, and 0.1 is another.
    x, y = np.array([5.0, 5.01, 5.1]), np.zeros(3)
    assert svg_chart.dots(PANEL, x, y, "dot") == '<path class="dot" d="M70 55h0M71 55h0"/>'


def test_words_are_escaped():
    assert ElementTree.fromstring(svg_chart.text(1, 2, "a < b & c")).text == "a < b & c"
    assert svg_chart.number(-0.04) == "0"
    assert svg_chart.number(-3.06) == "-3.1"
