"""The picture of both engines: which weeks and months it shows, and that it shows their values."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from rlkit.bench.data_center_plot import (
    ComparedSpan,
    draw_comparison,
    monthly_bias_percent,
    weeks_of,
)
from rlkit_envs.data_center.energyplus.comparison import QUANTITIES

SVG = "{http://www.w3.org/2000/svg}"


def span(first_day: int, days: int, **theirs) -> ComparedSpan:
    """Days that get 1 K warmer each, beginning at 0 degC; the plant exceeds EnergyPlus by 2 %."""
    day = np.repeat(np.arange(float(days)), 288)
    of_theirs = {name: 1e5 + 1e3 * (day % 7.0) for name in QUANTITIES} | theirs
    ours = {name: 1.02 * values for name, values in of_theirs.items()}
    return ComparedSpan("a hall & its weather", first_day, day, ours, of_theirs)


def words(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def curves(svg: str, kind: str) -> list[list[tuple[float, float]]]:
    """Points of every path of a class, in the drawing's units."""
    return [
        [(float(x), float(y)) for x, y in re.findall(r"([-\d.]+) ([-\d.]+)", path.get("d", ""))]
        for path in ElementTree.fromstring(svg).iter(f"{SVG}path")
        if path.get("class") == kind and "H" not in path.get("d", "")
    ]


def test_weeks_are_the_coldest_and_the_warmest():
    warming = span(10, 25)  # three whole weeks, and four days more, which are the warmest
    coldest, warmest = weeks_of(warming)
    assert (coldest.first, coldest.days) == (0, 7)
    assert (warmest.first, warmest.days) == (14, 7)
    assert warmest.title == "Warmest week, 25 Jan to 31 Jan, outdoors 17 °C"


@pytest.mark.parametrize(("days", "shown"), [(1, 1), (6, 6), (13, 7)])
def test_shorter_spans_show_one_week_at_most(days, shown):
    (week,) = weeks_of(span(0, days))
    assert (week.first, week.days) == (0, shown)


def test_a_span_goes_on_in_the_next_year():
    (week,) = weeks_of(span(363, 3))
    assert week.title == "30 Dec to 1 Jan"
    assert list(monthly_bias_percent(span(363, 3), "total_power")) == [0, 11]


def test_biases_are_those_of_each_month():
    # Ours is 2 % more everywhere; in February EnergyPlus takes nothing.
    day = np.repeat(np.arange(61), 288)
    chiller = np.where((day >= 31) & (day < 59), 0.0, 1e5)
    of_months = monthly_bias_percent(span(0, 61, chiller_power=chiller), "chiller_power")
    assert of_months == pytest.approx({0: 2.0, 2: 2.0})


def test_both_engines_are_drawn_hour_by_hour():
    drawn = draw_comparison(span(0, 28))
    ours, theirs = curves(drawn, "ours"), curves(drawn, "theirs")
    assert len(ours) == len(theirs) == 8  # four quantities in two weeks
    assert [len(points) for points in ours] == [168] * 8
    # Total power is 100 to 106 kW there, ours 102 to 108.1: ticks 100, 105, 110, and the axis
    # has a twentieth more at each end.
    height = 118 - 22 - 10
    bottom, unit = 122 + height, height / 11.0
    for points, scale in ((theirs[0], 1.0), (ours[0], 1.02)):
        for hour in (0, 30, 167):
            power = scale * (100.0 + hour // 24)
            assert points[hour][1] == pytest.approx(bottom - (power - 99.5) * unit, abs=0.06)
    across = np.diff([x for x, _ in ours[0]])
    np.testing.assert_allclose(across, (984 - 62 - 28) / 2 / 168, atol=0.11)


def test_an_hour_of_more_power_lies_above_the_diagonal():
    (diagonal,) = curves(draw_comparison(span(0, 7)), "goal")
    (dots,) = curves(draw_comparison(span(0, 7)), "hour few")
    (left, low), (right, high) = diagonal
    for x, y in dots:
        assert y < low + (x - left) * (high - low) / (right - left)


def test_bars_stand_on_zero_or_hang_from_it():
    of_theirs = {name: np.full(31 * 288, 1e5) for name in QUANTITIES}
    chiller, fan = 0.96e5 * np.ones(31 * 288), 1.03e5 * np.ones(31 * 288)
    ours = of_theirs | {"chiller_power": chiller, "tower_fan_power": fan}
    drawn = draw_comparison(ComparedSpan("", 0, np.zeros(31 * 288), ours, of_theirs))
    rectangles = list(ElementTree.fromstring(drawn).iter(f"{SVG}rect"))

    def placed(kind: str) -> tuple[float, float]:
        """Top and bottom of the first of a class, which is not the legend's."""
        bar = next(found for found in rectangles if found.get("class") == kind)
        return float(bar.get("y", "")), float(bar.get("y", "")) + float(bar.get("height", ""))

    goal_top, goal_bottom = placed("band")  # 5 % above 0 and below
    zero, percent = (goal_top + goal_bottom) / 2, (goal_bottom - goal_top) / 10
    assert placed("bar-1") == pytest.approx((zero, zero + 4.0 * percent), abs=0.11)
    assert placed("bar-2") == pytest.approx((zero - 3.0 * percent, zero), abs=0.11)


def test_words_tell_what_is_drawn_and_how_far_apart():
    found = words(draw_comparison(span(181, 14)))
    for text in (
        "a hall & its weather",
        "EnergyPlus",
        "rlkit's plant",
        "Total power, kW",
        "Hottest inlet, °C",
        "1 Jul",
        "14 Jul",
        "336 hours",
    ):
        assert text in found, text
    assert found.count("NMBE +2.00 %, CV(RMSE) 2.0 %") == 4  # two powers in two weeks


def test_engines_that_use_nothing_are_drawn():
    # A cold week without the chiller: no share of a mean of 0, and an axis of its own.
    idle = span(0, 7, chiller_power=np.zeros(7 * 288))
    assert "RMS difference 0.00 kW" in words(draw_comparison(idle))
    assert "nan" not in draw_comparison(idle).lower()


def test_a_year_is_small_enough_for_a_page():
    random = np.random.default_rng(0)
    noise = {name: 1e5 * random.random(365 * 288) for name in QUANTITIES}
    drawn = draw_comparison(span(0, 365, **noise))
    assert len(drawn.encode()) < 300_000


@pytest.mark.parametrize("steps", [0, 287, 366 * 288])
def test_parts_of_days_are_refused(steps):
    values = {name: np.ones(steps) for name in QUANTITIES}
    with pytest.raises(ValueError, match=f"{steps} steps are not 1 to 365 whole days"):
        ComparedSpan("", 0, np.ones(steps), values, values)


def test_spans_of_two_lengths_are_refused():
    values = {name: np.ones(288) for name in QUANTITIES}
    with pytest.raises(ValueError, match=r"total_power has \(288, 576\) steps"):
        ComparedSpan("", 0, np.ones(288), values, values | {"total_power": np.ones(576)})
