"""The cooling tower against the published correlation, its inverse, its faults and its water."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import root_scalar

from rlkit_envs.data_center.cooling_tower import (
    TowerDesign,
    hold_least_water,
    tower_balance,
    tower_fan_ratio,
    tower_leaving_degc,
    tower_state,
    tower_water,
)
from rlkit_envs.data_center.psychrometrics import (
    density_kg_m3,
    enthalpy_j_kg,
    humidity_ratio_from_relative,
    saturation_humidity_ratio,
    wet_bulb_degc,
)
from rlkit_envs.data_center.york_correlation import york_approach_k

DESIGN = TowerDesign()
FLOW = np.array([DESIGN.water_flow_kg_s])
WET_BULB = st.floats(-30.0, 30.0)
FAN = st.floats(0.0, 1.0)
HEAT = st.floats(0.0, 1.6e6)


def find_root(function, low, high):
    return float(root_scalar(function, bracket=(low, high)).root)


def leaving(wet_bulb, fan, heat, **faults):
    """Before the bypass."""
    state = tower_state(DESIGN, np.array([wet_bulb]), np.array([fan]), FLOW, **faults)
    return tower_balance(state, np.array([heat])).leaving_degc[0]


@pytest.mark.parametrize(
    ("wet_bulb", "range_k", "flow_ratio", "approach"),
    [  # the 27 terms summed in rational numbers
        (25.0, 5.0, 1.0, 3.638655386225554),
        (10.0, 6.0, 2.0, 16.291985096199998),
        (0.0, 4.0, 1.5, 12.898909271451465),
        (20.0, 8.0, 4.0, 27.21400050567875),
    ],
)
def test_york_correlation(wet_bulb, range_k, flow_ratio, approach):
    assert york_approach_k(wet_bulb, range_k, flow_ratio) == pytest.approx(approach, rel=1e-12)


def test_design_point_is_met():
    # 1.2 MW over 5.5556 K; EnergyPlus calibrates the water flow to the approach in the same way.
    assert DESIGN.water_flow_kg_s == pytest.approx(1.2e6 / (4186.0 * 5.5556))
    assert leaving(25.5556, 1.0, 1.2e6) == pytest.approx(25.5556 + 3.8889, abs=1e-9)
    other = TowerDesign(wet_bulb_degc=22.0, approach_k=4.5, range_k=6.0)
    flow = np.array([other.water_flow_kg_s])
    state = tower_state(other, np.array([22.0]), np.array([1.0]), flow)
    assert tower_leaving_degc(other, state, 1.2e6) == pytest.approx(26.5, abs=1e-9)


def test_running_fan_follows_the_correlation_at_the_ratio_of_flows():
    range_k = 0.9e6 / (4186.0 * DESIGN.water_flow_kg_s)
    expected = 18.0 + york_approach_k(18.0, range_k, DESIGN.water_ratio / 0.5)
    assert leaving(18.0, 0.5, 0.9e6) == pytest.approx(float(expected), rel=1e-12)


def test_half_the_water_meets_the_correlation_at_half_the_ratio_of_flows():
    # With 6 K of range at half of the water: the approach at half the ratio, below what was fitted.
    state = tower_state(DESIGN, np.array([18.0]), np.array([0.8]), 0.5 * FLOW)
    water = tower_balance(state, 0.5 * FLOW * 4186.0 * 6.0).leaving_degc[0]
    expected = 18.0 + york_approach_k(18.0, 6.0, 0.5 * DESIGN.water_ratio / 0.8)
    assert water == pytest.approx(float(expected), rel=1e-12)
    fan = tower_fan_ratio(DESIGN, 18.0, water, 0.5 * FLOW * 4186.0 * 6.0, 0.5 * FLOW)
    assert fan == pytest.approx(0.8, abs=1e-9)


def test_free_convection_gives_an_eighth_of_the_range_at_full_air_flow():
    # With the fan off at 200 kW the entering water is what full air flow would cool by 8 x more.
    range_k = 0.2e6 / (4186.0 * DESIGN.water_flow_kg_s)
    entering = leaving(20.0, 0.0, 0.2e6) + range_k

    def surplus(full_range):
        approach = york_approach_k(20.0, full_range, DESIGN.water_ratio)
        return 20.0 + approach + full_range - entering

    assert find_root(surplus, 0.001, 22.0) == pytest.approx(8.0 * range_k, rel=1e-9)


def test_cycling_lies_between_its_two_regimes_and_near_energyplus():
    """EnergyPlus weighs the ranges of fan on and off at one entering temperature."""
    heat = 0.35e6
    off, half, on = (leaving(15.0, fan, heat) for fan in (0.0, 0.1, 0.2))
    assert on < half < off
    range_k = heat / (4186.0 * DESIGN.water_flow_kg_s)

    def cooled(entering, flow_ratio):
        def surplus(r):
            return 15.0 + york_approach_k(15.0, r, flow_ratio) + r - entering

        return find_root(surplus, 0.0, 18.0)

    def missing(entering):
        running = cooled(entering, DESIGN.water_ratio / 0.2)
        still = 0.125 * cooled(entering, DESIGN.water_ratio)
        return 0.5 * running + 0.5 * still - range_k

    energyplus = find_root(missing, on + range_k, off + range_k)
    assert half + range_k == pytest.approx(energyplus, abs=0.3)
    assert off - on > 5.0  # beside which 0.3 K is little


@given(WET_BULB, FAN, HEAT, st.floats(0.0, 10.0), FAN, st.floats(0.0, 4e5))
def test_water_leaves_colder_with_drier_air_more_air_and_less_heat(
    wet_bulb, fan, heat, drier, more_fan, less
):
    reference = leaving(wet_bulb, fan, heat) + 1e-9
    assert leaving(wet_bulb - drier, fan, heat) <= reference
    assert leaving(wet_bulb, max(fan, more_fan), heat) <= reference
    assert leaving(wet_bulb, fan, max(heat - less, 0.0)) <= reference
    assert reference > wet_bulb


@pytest.mark.parametrize("fan", [0.2, 0.25, 0.3, 0.4])
def test_water_does_not_warm_in_ever_colder_air_at_low_fan_speed(fan):
    """Where the correlation as published would let it, by kelvins."""
    bulbs = np.linspace(-34.0, 0.0, 69)
    state = tower_state(DESIGN, bulbs, np.full(69, fan), np.full(69, FLOW[0]))
    water = tower_balance(state, np.full(69, 0.8e6)).leaving_degc
    assert (np.diff(water) >= -1e-9).all()


@given(WET_BULB, FAN, HEAT)
def test_slope_for_solvers_is_the_derivative(wet_bulb, fan, heat):
    heat = heat + 5e4
    state = tower_state(DESIGN, np.array([wet_bulb]), np.array([fan]), FLOW)
    per_kelvin = 4186.0 * FLOW
    left, right = (tower_balance(state, heat + sign * 1e-4 * per_kelvin) for sign in (-1, 1))
    numeric = (right.leaving_degc - left.leaving_degc) / 2e-4
    ends = sorted((left.warming[0], right.warming[0]))  # at a knee the slope jumps
    assert ends[0] - 1e-3 <= numeric <= ends[1] + 1e-3


@given(st.floats(-12.0, 30.0), FAN, st.floats(1e5, 1.4e6))
def test_fan_ratio_inverts_the_tower(wet_bulb, fan, heat):
    wanted = leaving(wet_bulb, fan, heat)
    bulb = np.array([wet_bulb])
    back = tower_fan_ratio(DESIGN, bulb, np.array([wanted]), np.array([heat]), FLOW)
    assert leaving(wet_bulb, back[0], heat) == pytest.approx(wanted, abs=0.05)
    assert back[0] <= fan + 1e-6  # never more fan than it takes


def test_fan_ratio_saturates():
    bulb, heat = np.full(2, 20.0), np.full(2, 0.8e6)
    ratio = tower_fan_ratio(DESIGN, bulb, np.array([20.1, 95.0]), heat, np.full(2, FLOW[0]))
    np.testing.assert_array_equal(ratio, [1.0, 0.0])


def test_bypass_keeps_the_water_from_freezing():
    state = tower_state(DESIGN, np.array([-25.0]), np.array([1.0]), FLOW)
    assert tower_balance(state, 1e5).leaving_degc < 0.0
    assert tower_leaving_degc(DESIGN, state, 1e5) == 5.0


def test_fan_power_follows_the_published_cubic_and_cycles_below_its_least_speed():
    fan = np.array([0.0, 0.1, 0.2, 0.5, 1.0, 7.0])
    power = tower_state(DESIGN, np.full(6, 20.0), fan, np.full(6, FLOW[0])).fan_power_w
    assert DESIGN.fan_power_w == pytest.approx(12_600.0)
    # -0.0093 + 0.0256 - 0.02095 + 0.1302375 at half speed; 0.0059232 at 0.2; 1 at full speed.
    expected = np.array([0.0, 0.0059232 / 2, 0.0059232, 0.1255875, 1.0, 1.0]) * 12_600.0
    np.testing.assert_allclose(power, expected, rtol=1e-6)


def test_a_fan_slows_at_the_least_water_temperature():
    """In cold weather it turns as slowly as holds 5 degC, cycles, or rests; never faster."""
    rows = 6
    bulb = np.array([-4.0, -8.0, -15.0, -25.0, -25.0, 15.0])
    fan = np.array([0.9, 0.9, 0.9, 0.9, 0.001, 0.9])
    heat = np.array([4e5, 4e5, 4e5, 2e5, 4e5, 4e5])
    flow = np.full(rows, FLOW[0])
    told = tower_state(DESIGN, bulb, fan, flow)
    cold = tower_balance(told, heat).leaving_degc < 5.0
    assert cold.tolist() == [True, True, True, True, False, False]
    held = hold_least_water(DESIGN, told, cold, bulb, fan, heat)
    assert (held.fan_power_w[cold] < 0.7 * told.fan_power_w[cold]).all()
    assert (np.diff(held.fan_power_w[:4]) < 0.0).all()
    assert (np.diff(held.air_ratio[:4]) < 0.0).all()
    np.testing.assert_array_equal(held.fan_power_w[4:], told.fan_power_w[4:])
    # At the ratio that the power tells, the tower would just hold its least temperature.
    for row in range(4):
        ratio = find_root(
            lambda ratio, row=row: leaving(bulb[row], ratio, heat[row]) - 5.0, 1e-6, float(fan[row])
        )
        slow = tower_state(DESIGN, bulb[row], ratio, FLOW[0])
        assert held.fan_power_w[row] == pytest.approx(float(slow.fan_power_w), rel=0.02)
        assert held.air_ratio[row] == pytest.approx(float(slow.air_ratio), rel=0.01)
    # Half the air is lost to fouling and wear: the fan turns faster for the same water.
    worn = hold_least_water(
        DESIGN, told, cold, bulb, fan, heat, fan_wear=0.9, fill_fouling=np.full(rows, 0.5)
    )
    assert (worn.fan_power_w[:4] > 1.3 * held.fan_power_w[:4]).all()
    # So cold that free convection is too much.
    deep = tower_state(DESIGN, np.array([-30.0]), np.array([0.5]), FLOW)
    still = hold_least_water(DESIGN, deep, np.array([True]), -30.0, 0.5, 2e4)
    assert still.fan_power_w == 0.0
    assert still.air_ratio == DESIGN.free_convection_ratio


def test_wear_and_fouling_cost_power_and_temperature():
    args = (np.array([20.0]), np.array([0.8]), FLOW)
    sound, worn = tower_state(DESIGN, *args), tower_state(DESIGN, *args, fan_wear=1.0)
    assert worn.fan_power_w / sound.fan_power_w == pytest.approx(1.15)
    assert worn.air_ratio == pytest.approx(0.56)
    early = tower_state(DESIGN, *args, fan_wear=0.6)
    assert early.air_ratio == 0.8
    assert early.fan_power_w > sound.fan_power_w
    warm = [leaving(20.0, 0.8, 1e6, fill_fouling=fouling) for fouling in (0.0, 0.5, 1.0)]
    assert warm == sorted(warm)
    # All of `FOULED_FILL` lost acts like 0.8 * 0.55 of the air.
    assert warm[2] == pytest.approx(leaving(20.0, 0.44, 1e6), rel=1e-9)


@given(st.floats(-10.0, 40.0), st.floats(0.1, 0.95), FAN, st.floats(1e4, 1.4e6))
def test_water_balance(dry_bulb, humidity, fan, heat):
    ratio = humidity_ratio_from_relative(dry_bulb, humidity, 101_325.0)
    bulb = np.minimum(wet_bulb_degc(dry_bulb, ratio, 101_325.0), 29.0)
    state = tower_state(DESIGN, np.array([bulb]), np.array([fan]), FLOW)
    water = tower_water(DESIGN, state, heat, dry_bulb, ratio, 101_325.0)
    # No more than heat and the air's own cooling to its wet bulb, or to 0 degC, can evaporate.
    air = float(state.air_ratio[0]) * DESIGN.air_flow_m3_s * 1.5
    given = heat + air * 1100.0 * max(dry_bulb - bulb, 0.0)
    assert 0.0 <= water.evaporation_kg_s <= given / 2.35e6
    # Cycles of concentration 4: a third of the evaporation leaves as drift and blowdown, at least.
    lost = water.drift_kg_s + water.blowdown_kg_s
    assert lost >= water.evaporation_kg_s / 3.0 - 1e-12
    if water.blowdown_kg_s > 0.0:  # what drifts need not be blown down
        assert lost == pytest.approx(water.evaporation_kg_s / 3.0)
    assert water.drift_kg_s == pytest.approx(0.0005 * FLOW[0] * state.air_ratio[0])


@pytest.mark.parametrize("pressure", [101_325.0, 84_000.0])
@pytest.mark.parametrize(
    ("dry_bulb", "ratio", "heat"),
    [(32.0, 0.016, 1.2e6), (38.0, 0.006, 1.0e6), (20.0, 0.007, 0.8e6), (-15.0, 0.0005, 0.8e6)],
)
def test_evaporation_is_what_saturates_the_air_that_carries_the_heat(
    dry_bulb, ratio, heat, pressure
):
    """As EnergyPlus's saturated exit: solved for the enthalpy of the air that leaves."""
    bulb = wet_bulb_degc(dry_bulb, ratio, pressure)
    state = tower_state(DESIGN, np.array([bulb]), np.array([0.7]), FLOW)
    water = tower_water(DESIGN, state, heat, dry_bulb, ratio, pressure)
    air = 0.7 * DESIGN.air_flow_m3_s * float(density_kg_m3(dry_bulb, ratio, pressure))
    goal = float(enthalpy_j_kg(dry_bulb, ratio)) + heat / air

    def surplus(exit_degc):
        exit_ratio = saturation_humidity_ratio(exit_degc, pressure)
        return float(enthalpy_j_kg(exit_degc, exit_ratio)) - goal

    exit_degc = find_root(surplus, -20.0, 80.0)
    gained = air * (float(saturation_humidity_ratio(exit_degc, pressure)) - ratio)
    assert water.evaporation_kg_s == pytest.approx(gained, rel=0.015)
    idle = tower_water(DESIGN, state, 0.0, dry_bulb, ratio, pressure)
    assert idle.evaporation_kg_s == idle.drift_kg_s == idle.blowdown_kg_s == 0.0


def test_a_row_alone_equals_the_row_of_a_batch():
    rng = np.random.default_rng(0)
    bulb, fan, heat = rng.uniform(-25, 29, 41), rng.uniform(0, 1, 41), rng.uniform(0, 1.3e6, 41)
    state = tower_state(DESIGN, bulb, fan, np.full(41, FLOW[0]))
    batch = tower_balance(state, heat).leaving_degc
    ratio = tower_fan_ratio(DESIGN, bulb, bulb + 6.0, heat, np.full(41, FLOW[0]))
    for row in range(41):
        assert leaving(bulb[row], fan[row], heat[row]) == batch[row]
        one = slice(row, row + 1)
        alone = tower_fan_ratio(DESIGN, bulb[one], bulb[one] + 6.0, heat[one], FLOW)
        assert alone[0] == ratio[row]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heat_w": 0.0}, "heat_w is 0.0"),
        ({"range_k": 50.0}, "range_k is 50.0"),
        ({"minimum_fan_ratio": 0.05}, "minimum_fan_ratio is 0.05"),
        ({"cycles_of_concentration": 1.0}, "cycles_of_concentration is 1.0"),
        ({"fan_coefficients": (0.0, 0.0, 0.0, 2.0)}, "sum to 2"),
        ({"approach_k": 2.0}, "needs 0.6.* times the water flow"),
        ({"free_convection_ratio": float("nan")}, "free_convection_ratio is nan"),
    ],
)
def test_bad_designs_name_the_value(change, message):
    with pytest.raises(ValueError, match=message):
        TowerDesign(**change)
