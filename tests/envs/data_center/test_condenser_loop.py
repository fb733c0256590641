"""The condenser water against its own differential equation, root finders and conservation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from rlkit_envs.data_center.condenser_loop import (
    CondenserWaterDesign,
    forecast_condenser,
    settle_condenser,
)
from rlkit_envs.data_center.cooling_tower import TowerDesign, tower_leaving_degc, tower_state

WATER, TOWER = CondenserWaterDesign(volume_m3=12.0), TowerDesign()
FLOW = TOWER.water_flow_kg_s


def advance(water, heat, expected=None, wet_bulb=18.0, fan=0.6, flow=FLOW, step_s=300.0):
    water, heat = np.atleast_1d(water).astype(float), np.atleast_1d(heat).astype(float)
    expected = heat if expected is None else np.atleast_1d(expected).astype(float)
    tower = tower_state(TOWER, np.full_like(water, wet_bulb), fan, np.full_like(water, flow))
    forecast = forecast_condenser(WATER, TOWER, tower, water, expected, step_s)
    return forecast, settle_condenser(forecast, heat), tower


def test_water_follows_the_tower_through_a_step():
    """Against the tower's own curve, integrated: the linear relaxation must stay near it."""
    heat, start = 9e5, 31.0
    _, result, tower = advance(start, heat)

    def cooling(range_k):
        return float(tower_leaving_degc(TOWER, tower, np.array([range_k * FLOW * 4186.0]))[0])

    def change(_, water):
        entering = water[0] + heat / (FLOW * 4186.0)
        range_k = brentq(lambda r: cooling(r) + r - entering, 1e-3, 20.0)
        return [FLOW / (12.0 * 998.0) * (entering - range_k - water[0])]

    exact = solve_ivp(change, (0.0, 300.0), [start], rtol=1e-8).y[0, -1]
    assert start - exact > 1.0
    assert result.end_degc[0] == pytest.approx(exact, abs=0.15)


def test_steady_state_is_the_towers():
    _, result, tower = advance(30.0, 8e5, 2e5)
    for _ in range(60):
        _, result, tower = advance(result.end_degc, 8e5)
    water = result.end_degc
    leaving = tower_leaving_degc(TOWER, tower, np.array([8e5]))
    assert water == pytest.approx(leaving, abs=1e-9)
    assert result.rejected_w == pytest.approx(8e5, rel=1e-9)
    assert result.tower_entering_degc == pytest.approx(leaving + 8e5 / (FLOW * 4186.0))


@given(
    st.floats(5.0, 45.0),
    st.floats(0.0, 1.4e6),
    st.floats(0.0, 1.4e6),
    st.floats(-25.0, 29.0),
    st.floats(0.0, 1.0),
    st.sampled_from((0.0, 0.5, 1.0)),
)
def test_stored_heat_is_what_came_less_what_was_rejected(
    water, heat, expected, wet_bulb, fan, share
):
    _, result, _ = advance(water, heat * share, expected * share, wet_bulb, fan, FLOW * share)
    stored = WATER.volume_m3 * 998.0 * 4186.0 * (result.end_degc[0] - water) / 300.0
    assert heat * share - result.rejected_w[0] == pytest.approx(stored, abs=1e-5)
    assert result.end_degc[0] >= min(water, TOWER.minimum_leaving_degc) - 1e-9
    if share == 0.0:
        assert result.end_degc[0] == pytest.approx(water, abs=1e-4)


def test_forecast_meets_the_mean_where_the_heat_stays():
    """The mean between both ends of many short steps."""
    forecast, _, _ = advance(28.0, 9e5)
    means, water = [], np.array([28.0])
    for _ in range(3000):
        _, result, _ = advance(water, 9e5, step_s=0.1)
        means.append(0.5 * (water[0] + result.end_degc[0]))
        water = result.end_degc
    assert forecast.mean_degc[0] == pytest.approx(np.mean(means), abs=1e-5)


def test_more_water_is_slower():
    slow = CondenserWaterDesign(volume_m3=40.0)
    tower = tower_state(TOWER, np.array([18.0]), 0.6, np.array([FLOW]))
    arguments = (TOWER, tower, np.array([30.0]), np.array([6e5]), 300.0)
    fast_end = settle_condenser(forecast_condenser(WATER, *arguments), 6e5).end_degc
    slow_end = settle_condenser(forecast_condenser(slow, *arguments), 6e5).end_degc
    assert fast_end < slow_end < 30.0


def test_a_loop_needs_water():
    with pytest.raises(ValueError, match="volume_m3 is 0"):
        CondenserWaterDesign(volume_m3=0.0)
