"""Tower, exchanger and chiller together: balance, energy, modes, faults."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import root_scalar

from rlkit_envs.data_center.chilled_water import ChilledWaterDesign, chilled_water_step
from rlkit_envs.data_center.chiller import ChillerDesign, chiller, chiller_state
from rlkit_envs.data_center.condenser_loop import balance_condenser
from rlkit_envs.data_center.cooling_tower import TowerDesign, tower_leaving_degc, tower_state
from rlkit_envs.data_center.economisers import (
    EconomiserMode,
    PlateExchangerDesign,
    plate_exchanger_w_k,
)

CHILLER, TOWER = ChillerDesign(), TowerDesign()
WATER, PLATES = ChilledWaterDesign(), PlateExchangerDesign()
CHILLED_W_K = 36.0 * 4186.0
TOWER_W_K = TOWER.water_flow_kg_s * 4186.0


def find_root(function, low, high):
    return float(root_scalar(function, bracket=(low, high)).root)


def plant(wet_bulb, fan, load, setpoint, mode, water=None, iterations=2, **faults):
    """One step of a plant with the load held by valves; all arguments arrays of one shape."""
    wet_bulb, fan, load, setpoint = map(np.atleast_1d, (wet_bulb, fan, load, setpoint))
    water = setpoint if water is None else np.atleast_1d(water)
    flow = np.full_like(wet_bulb, TOWER.water_flow_kg_s)
    tower = tower_state(TOWER, wet_bulb, fan, flow)
    exchanger = plate_exchanger_w_k(PLATES, np.atleast_1d(mode), np.full_like(flow, 36.0), flow)
    step = chilled_water_step(WATER, water, setpoint, load, 300.0, removed_slope_w_k=exchanger)
    result = balance_condenser(
        CHILLER,
        TOWER,
        tower,
        step,
        setpoint_degc=setpoint,
        chiller_running=np.atleast_1d(mode) != EconomiserMode.FULL,
        exchanger_w_k=exchanger,
        return_degc=water + load / CHILLED_W_K,
        pump_heat_w=5000.0,
        iterations=iterations,
        **faults,
    )
    return result, tower


def test_mechanical_cooling_agrees_with_a_root_finder():
    result, tower = plant(18.0, 0.6, 8e5, 10.0, EconomiserMode.OFF)

    def missing(condenser):
        work = chiller(CHILLER, chiller_state(CHILLER, 10.0, condenser), np.array([8e5]))
        leaving = tower_leaving_degc(TOWER, tower, work.condenser_heat_w + 5000.0)
        return float(leaving[0]) - condenser

    condenser = find_root(missing, 18.0, 60.0)
    assert result.tower_leaving_degc == pytest.approx(condenser, abs=1e-4)
    work = chiller(CHILLER, chiller_state(CHILLER, 10.0, condenser), np.array([8e5]))
    assert result.chiller.power_w == pytest.approx(work.power_w, rel=1e-6)


def test_full_free_cooling_agrees_with_a_root_finder():
    """Held water in steady state: the exchanger alone, at its effectiveness of 0.8."""
    result, tower = plant(4.0, 0.5, 4e5, 18.0, EconomiserMode.FULL, iterations=4)
    # More than enough: modulated to the load, the water held.
    assert result.water.exchanger_w == pytest.approx(4e5)
    assert result.water.end_degc == pytest.approx(18.0)
    assert result.chiller.power_w == 0.0
    leaving = tower_leaving_degc(TOWER, tower, 4.05e5)
    assert result.tower_leaving_degc == pytest.approx(leaving, abs=1e-6)
    # Not enough: the water warms to where load and exchanger meet.
    water = 14.0
    for _ in range(60):
        result, tower = plant(9.0, 0.5, 6e5, 10.0, EconomiserMode.FULL, water)
        water = result.water.end_degc[0]
    leaving = tower_leaving_degc(TOWER, tower, 6.05e5)[0]
    assert water + 6e5 / CHILLED_W_K - leaving == pytest.approx(6e5 / (0.8 * CHILLED_W_K), abs=1e-3)


def test_precooling_shares_the_load_in_steady_state():
    result, _ = plant(6.0, 0.5, 7e5, 18.0, EconomiserMode.PRECOOL)
    returned = 18.0 + 7e5 / CHILLED_W_K
    expected = 0.8 * CHILLED_W_K * (returned - result.tower_leaving_degc)
    assert 1e5 < expected < 6e5
    assert result.water.exchanger_w == pytest.approx(expected, rel=1e-5)
    assert result.chiller.heat_w == pytest.approx(7e5 - expected, rel=1e-5)
    # The condenser stands beside the exchanger: its water is not warmed by it.
    state = chiller_state(CHILLER, 18.0, result.tower_leaving_degc)
    alone = chiller(CHILLER, state, result.water.chiller_w)
    assert result.chiller.power_w == pytest.approx(alone.power_w, rel=1e-9)
    mechanical, _ = plant(6.0, 0.5, 7e5, 18.0, EconomiserMode.OFF)
    assert result.chiller.power_w < 0.7 * mechanical.chiller.power_w


def test_exchanger_is_shut_where_the_tower_is_warmer_than_the_return():
    result, _ = plant(24.0, 0.5, 7e5, 10.0, EconomiserMode.PRECOOL)
    mechanical, _ = plant(24.0, 0.5, 7e5, 10.0, EconomiserMode.OFF)
    assert result.water.exchanger_w == 0.0
    assert result.chiller.power_w == pytest.approx(mechanical.chiller.power_w, rel=1e-6)


@given(
    st.floats(-25.0, 29.0),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.2e6),
    st.floats(6.0, 22.0),
    st.sampled_from(list(EconomiserMode)),
    st.floats(-6.0, 6.0),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
)
def test_energy_closes_from_load_to_tower(wet_bulb, fan, load, setpoint, mode, off, leak, fouling):
    result, _ = plant(
        wet_bulb,
        fan,
        load,
        setpoint,
        mode,
        setpoint + off,
        refrigerant_loss=leak,
        condenser_fouling=fouling,
    )
    water, work = result.water, result.chiller
    stored = WATER.heat_capacity_j_k * (water.end_degc - (setpoint + off)) / 300.0
    assert water.load_w - water.exchanger_w - water.chiller_w == pytest.approx(stored, abs=1e-3)
    assert work.heat_w == pytest.approx(water.chiller_w, abs=1e-6)
    rejected = water.exchanger_w + work.heat_w + work.power_w + 5000.0
    assert result.rejected_w == pytest.approx(rejected, rel=1e-12)
    range_k = result.tower_entering_degc - result.tower_leaving_degc
    assert range_k * TOWER_W_K == pytest.approx(result.rejected_w, abs=1e-3)
    assert water.exchanger_w >= 0.0
    if mode is EconomiserMode.FULL:
        assert work.power_w == 0.0


def test_residual_is_as_small_as_promised():
    rng = np.random.default_rng(0)
    many = 20_000
    wet_bulb, setpoint = rng.uniform(-20, 28, many), rng.uniform(7, 20, many)
    load, fan = rng.uniform(1e5, 9.5e5, many), rng.uniform(0.2, 1.0, many)
    mode = rng.integers(0, 3, many)
    water = setpoint + rng.uniform(-1, 1, many)
    result, tower = plant(wet_bulb, fan, load, setpoint, mode, water)
    residual = np.abs(result.residual_k)
    assert np.median(residual) < 1e-4
    assert residual.max() < 0.1
    # What the residual is of: the range that the tower would give.
    leaving = tower_leaving_degc(TOWER, tower, result.rejected_w)
    assert np.abs(leaving - result.tower_leaving_degc).max() < 1.0
    slow = plant(wet_bulb, fan * 0.0, load, setpoint, mode, water)[0]
    assert np.quantile(np.abs(slow.residual_k), 0.99) < 0.2


def test_more_fan_and_drier_air_save_compressor_power():
    fan = np.linspace(0.2, 1.0, 30)
    many = np.ones(30)
    faster, _ = plant(20.0 * many, fan, 7e5 * many, 9.0 * many, np.zeros(30, int))
    assert (np.diff(faster.chiller.power_w) < 0.0).all()
    drier, _ = plant(np.linspace(28, 2, 30), 0.6 * many, 7e5 * many, 9.0 * many, np.zeros(30, int))
    assert (np.diff(drier.chiller.power_w) < 0.0).all()


def test_without_condenser_flow_the_chiller_stops():
    tower = tower_state(TOWER, np.array([20.0]), np.array([0.5]), np.array([0.0]))
    step = chilled_water_step(WATER, np.array([10.0]), 10.0, 5e5, 300.0)
    result = balance_condenser(CHILLER, TOWER, tower, step, setpoint_degc=10.0)
    assert result.chiller.power_w == 0.0
    assert result.rejected_w == 0.0
    assert result.water.end_degc > 12.0
    assert np.isfinite(result.tower_leaving_degc).all()


def test_a_row_alone_equals_the_row_of_a_batch():
    rng = np.random.default_rng(1)
    arguments = (
        rng.uniform(-20, 28, 29),
        rng.uniform(0, 1, 29),
        rng.uniform(0, 1.1e6, 29),
        rng.uniform(6, 20, 29),
        rng.integers(0, 3, 29),
    )
    batch, _ = plant(*arguments)
    for row in range(29):
        alone, _ = plant(*(values[row] for values in arguments))
        assert alone.chiller.power_w[0] == batch.chiller.power_w[row]
        assert alone.tower_leaving_degc[0] == batch.tower_leaving_degc[row]
        assert alone.water.end_degc[0] == batch.water.end_degc[row]
