"""The chilled-water mass: exact steps, balances, set point reached or missed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from rlkit_envs.data_center.chilled_water import (
    ChilledWaterDesign,
    chilled_water_removal,
    chilled_water_step,
    chiller_wanted_w,
)

DESIGN = ChilledWaterDesign()
SLOPE = st.one_of(st.just(0.0), st.floats(1e-6, 3e5))


def advance(water, setpoint, load, exchanger, capacity, **slopes):
    step = chilled_water_step(DESIGN, np.array([water]), setpoint, load, 300.0, **slopes)
    return chilled_water_removal(step, exchanger, capacity)


def test_heat_capacity():
    assert DESIGN.heat_capacity_j_k == pytest.approx(12.0 * 998.0 * 4186.0)


def test_set_point_is_reached_at_the_end_of_the_step():
    # Held water: what comes in goes out. Water 1 K too warm: 50.13 MJ more over 300 s.
    held = advance(10.0, 10.0, 5e5, 0.0, 1e6)
    assert (held.chiller_w, held.end_degc) == (5e5, 10.0)
    down = advance(11.0, 10.0, 5e5, 0.0, 1e6)
    assert down.chiller_w == pytest.approx(5e5 + 12 * 998 * 4186 / 300)
    assert down.end_degc == pytest.approx(10.0)
    assert down.mean_degc == pytest.approx(10.5)


def test_short_capacity_and_a_trip_warm_the_water():
    short = advance(10.0, 10.0, 5e5, 0.0, 4e5)
    assert short.chiller_w == 4e5
    assert short.end_degc == pytest.approx(10.0 + 300 * 1e5 / (12 * 998 * 4186))
    trip = advance(10.0, 10.0, 5e5, 0.0, 0.0)
    assert trip.end_degc == pytest.approx(10.0 + 300 * 5e5 / (12 * 998 * 4186))
    # A set point far above lets the water warm by its load alone.
    idle = advance(8.0, 18.0, 3e5, 0.0, 1e6)
    assert idle.chiller_w == 0.0
    assert idle.end_degc < 18.0


def test_exchanger_goes_first_and_not_further_than_the_set_point():
    both = advance(12.0, 12.0, 8e5, 3e5, 1e6)
    assert both.exchanger_w == pytest.approx(3e5)
    assert both.chiller_w == pytest.approx(5e5)
    plenty = advance(12.0, 12.0, 8e5, 9e5, 1e6)
    assert (plenty.exchanger_w, plenty.chiller_w) == (8e5, 0.0)
    assert plenty.end_degc == 12.0
    shut = advance(12.0, 12.0, 8e5, -2e5, 1e6)
    assert (shut.exchanger_w, shut.chiller_w) == (0.0, 8e5)


def test_exchanger_counts_with_its_mean_over_the_step():
    """Warming water opens an exchanger that was too warm at first; cooling water shuts one."""
    opened = advance(12.0, 5.0, 1.2e6, -1e4, 0.0, removed_slope_w_k=1e5)
    assert opened.exchanger_w > 1e5
    shut = advance(12.0, 6.0, 0.0, 1e4, 1.2e6, removed_slope_w_k=1e5)
    assert shut.exchanger_w == 0.0
    assert shut.chiller_w > 0.0


@given(
    st.floats(5.0, 25.0),
    st.floats(5.0, 25.0),
    st.floats(0.0, 1.2e6),
    st.floats(-5e5, 1.5e6),
    SLOPE,
    SLOPE,
)
def test_a_chiller_is_wanted_for_what_one_without_limits_would_do(
    water, setpoint, load, exchanger, load_slope, removed_slope
):
    slopes = {"load_slope_w_k": load_slope, "removed_slope_w_k": removed_slope}
    step = chilled_water_step(DESIGN, np.array([water]), setpoint, load, 300.0, **slopes)
    boundless = chilled_water_removal(step, exchanger, 1e12)
    assert chiller_wanted_w(step, exchanger) == boundless.chiller_w


@given(
    st.floats(5.0, 25.0),
    st.floats(5.0, 25.0),
    st.floats(0.0, 1.2e6),
    st.floats(-5e5, 1.5e6),
    st.floats(0.0, 1.2e6),
    SLOPE,
    SLOPE,
)
def test_what_is_stored_came_in_and_did_not_go_out(
    water, setpoint, load, exchanger, capacity, load_slope, removed_slope
):
    result = advance(
        water,
        setpoint,
        load,
        exchanger,
        capacity,
        load_slope_w_k=load_slope,
        removed_slope_w_k=removed_slope,
    )
    stored = DESIGN.heat_capacity_j_k * (result.end_degc - water) / 300.0
    surplus = result.load_w - result.exchanger_w - result.chiller_w
    assert surplus == pytest.approx(stored, abs=1e-6 * 1e3)
    assert result.exchanger_w >= 0.0
    assert 0.0 <= result.chiller_w <= capacity
    if result.chiller_w > 0.0:  # it never cools below the set point
        assert result.end_degc >= setpoint - 1e-9
    if setpoint - 1e-9 > result.end_degc:
        assert result.chiller_w == 0.0


@given(st.floats(1e3, 2e5), st.floats(0.0, 2e5), st.floats(0.0, 5e5))
def test_floating_water_follows_its_differential_equation(load_slope, removed_slope, capacity):
    load, exchanger, water = 1.1e6, 2e5, 14.0
    result = advance(
        water,
        6.0,
        load,
        exchanger,
        capacity,
        load_slope_w_k=load_slope,
        removed_slope_w_k=removed_slope,
    )
    if result.end_degc < 6.0 + 1e-6:
        return

    def slope(_, state):
        warming = state[0] - water
        coming = load - load_slope * warming
        going = exchanger + removed_slope * warming + capacity
        return [(coming - going) / DESIGN.heat_capacity_j_k, state[0] / 300.0]

    solution = solve_ivp(slope, (0.0, 300.0), [water, 0.0], rtol=1e-9, atol=1e-9)
    assert result.end_degc == pytest.approx(solution.y[0, -1], abs=1e-5)
    assert result.mean_degc == pytest.approx(solution.y[1, -1], abs=1e-5)


def test_small_water_is_stable_in_a_long_step():
    """A litre per kilowatt: an explicit step would overshoot the air that warms the water."""
    tiny = ChilledWaterDesign(volume_m3=0.1)
    step = chilled_water_step(
        tiny, np.array([10.0]), 7.0, 1e6, 300.0, load_slope_w_k=5e4
    )  # heated by air at 30 degC
    result = chilled_water_removal(step, 0.0, 0.0)
    assert 29.0 < result.end_degc <= 30.0


def test_bad_designs_name_the_value():
    with pytest.raises(ValueError, match="volume_m3 is 0"):
        ChilledWaterDesign(volume_m3=0.0)
