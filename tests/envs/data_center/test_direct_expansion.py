"""The direct-expansion coil against its curves, EnergyPlus's dry-coil rule, and conservation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import root_scalar

from rlkit_envs.data_center.direct_expansion import (
    FOULED_CONDENSER_K,
    DirectExpansionDesign,
    direct_expansion,
    direct_expansion_state,
)
from rlkit_envs.data_center.psychrometrics import (
    enthalpy_j_kg,
    humidity_ratio_from_relative,
    saturation_humidity_ratio,
    wet_bulb_degc,
)

DESIGN = DirectExpansionDesign()
SEA = 101_325.0


def find_root(function, low, high):
    return float(root_scalar(function, bracket=(low, high)).root)


def coil(entering, ratio, air=7.0, outdoor=35.0, design=DESIGN, **faults):
    bulb = wet_bulb_degc(entering, ratio, SEA)
    return direct_expansion_state(
        design,
        np.array([entering]),
        np.array([ratio]),
        bulb,
        np.array([air]),
        outdoor,
        SEA,
        **faults,
    )


def humid(entering, bulb):
    """Humidity ratio of air of that dry and wet bulb."""
    return find_root(lambda ratio: float(wet_bulb_degc(entering, ratio, SEA)) - bulb, 1e-4, 0.04)


@pytest.mark.parametrize(
    ("entering", "bulb", "outdoor", "capacity_ratio", "power_ratio"),
    [  # the six terms of each curve summed by hand; wet coils
        (26.67, 19.44, 35.0, 0.9998986, 1.0000629),
        (20.0, 17.0, 25.0, 0.9910804, 0.8002529),
        (25.0, 22.0, 40.0, 1.0513914, 1.0724415),
    ],
)
def test_curves_at_points_worked_out_by_hand(entering, bulb, outdoor, capacity_ratio, power_ratio):
    state = coil(entering, humid(entering, bulb), outdoor=outdoor)
    assert state.condensate_kg_s > 0.0
    assert state.capacity_w == pytest.approx(1e5 * capacity_ratio, rel=1e-6)
    expected = 1e5 * capacity_ratio * power_ratio / 3.5
    assert state.power_w == pytest.approx(expected, rel=1e-6)


def test_flow_changes_capacity_and_power_as_published():
    ratio = humid(26.67, 19.44)
    rated, slow = coil(26.67, ratio), coil(26.67, ratio, air=4.9)
    assert slow.capacity_w / rated.capacity_w == pytest.approx(0.8 + 0.2 * 0.7)
    per_watt = slow.power_w / slow.capacity_w / (rated.power_w / rated.capacity_w)
    assert per_watt == pytest.approx(1.1552 - 0.1808 * 0.7 + 0.0256 * 0.49)


def test_half_load_runs_longer_than_half_the_time():
    state = coil(30.0, 0.006)
    half = direct_expansion(DESIGN, state, 0.5 * state.sensible_capacity_w)
    # Part-load fraction 0.90949556 + 0.049323865 - 0.00204872 = 0.956770705.
    assert half.power_w == pytest.approx(0.5 / 0.956770705 * state.power_w)
    assert half.heat_w == pytest.approx(0.5 * state.capacity_w)


def reference(entering, ratio, air, outdoor):
    """EnergyPlus's balance by root finding: capacity and condensate at full load."""
    flow_ratio = air / 7.0
    touched = 1.0 - 0.1 ** (1.0 / flow_ratio)
    c = DESIGN.capacity_over_temperatures
    y = np.clip(outdoor, 18.0, 46.1)

    def capacity(bulb):
        x = np.clip(bulb, 12.8, 23.9)
        share = c[0] + c[1] * x + c[2] * x * x + c[3] * y + c[4] * y * y + c[5] * x * y
        return 1e5 * (0.8 + 0.2 * np.clip(flow_ratio, 0.5, 1.5)) * share

    def surface(of_ratio):
        bulb = float(wet_bulb_degc(entering, of_ratio, SEA))
        enthalpy = float(enthalpy_j_kg(entering, of_ratio)) - capacity(bulb) / (air * touched)
        return bulb, enthalpy

    def too_moist(of_ratio):
        _, enthalpy = surface(of_ratio)
        degc = (enthalpy - 2_500_940.0 * of_ratio) / (1004.84 + 1858.95 * of_ratio)
        return of_ratio - float(saturation_humidity_ratio(degc, SEA))

    saturated = float(saturation_humidity_ratio(entering, SEA))
    driest = find_root(too_moist, 1e-4, 0.999 * saturated)
    if ratio <= driest:
        return capacity(surface(driest)[0]), 0.0
    bulb, enthalpy = surface(ratio)

    def excess(degc):
        return float(enthalpy_j_kg(degc, saturation_humidity_ratio(degc, SEA))) - enthalpy

    cold = float(saturation_humidity_ratio(find_root(excess, -19.0, entering), SEA))
    return capacity(bulb), (ratio - cold) * touched * air


def test_dry_and_wet_coils_agree_with_root_finding():
    rng = np.random.default_rng(0)
    wet = 0
    for _ in range(60):
        entering, air, outdoor = rng.uniform(20, 40), rng.uniform(3.6, 9.0), rng.uniform(-10, 45)
        most = 0.9 * float(saturation_humidity_ratio(entering, SEA))
        ratio = min(rng.uniform(0.002, 0.02), most)
        capacity, condensate = reference(entering, ratio, air, outdoor)
        state = coil(entering, ratio, air, outdoor)
        assert state.capacity_w[0] == pytest.approx(capacity, rel=4e-3)
        assert state.condensate_kg_s[0] == pytest.approx(condensate, abs=2e-6)
        wet += condensate > 0.0
    assert 15 < wet < 45


def test_a_dry_coil_does_not_feel_humidity():
    dry, drier = coil(32.0, 0.006), coil(32.0, 0.003)
    assert dry.capacity_w == drier.capacity_w
    assert dry.capacity_w == dry.sensible_capacity_w
    wet = coil(32.0, 0.016)
    assert wet.capacity_w > dry.capacity_w
    assert wet.sensible_capacity_w < dry.sensible_capacity_w


@given(
    st.floats(18.0, 42.0),
    st.floats(0.05, 0.95),
    st.floats(3.5, 10.0),
    st.floats(-30.0, 50.0),
    st.floats(0.0, 2e5),
)
def test_energy_and_water_close(entering, humidity, air, outdoor, wanted):
    ratio = float(humidity_ratio_from_relative(entering, humidity, SEA))
    state = coil(entering, ratio, air, outdoor)
    result = direct_expansion(DESIGN, state, wanted)
    fall = enthalpy_j_kg(entering, ratio)
    fall = fall - enthalpy_j_kg(result.leaving_degc, result.leaving_humidity_ratio)
    assert air * fall == pytest.approx(result.heat_w, abs=1e-4)
    assert air * (ratio - result.leaving_humidity_ratio) == pytest.approx(
        result.condensate_kg_s, abs=1e-12
    )
    assert result.condenser_heat_w == result.heat_w + result.power_w
    assert result.sensible_w == pytest.approx(np.minimum(wanted, state.sensible_capacity_w))
    latent = result.condensate_kg_s * (2_500_940.0 + 1858.95 * entering)
    assert result.heat_w == pytest.approx(result.sensible_w + latent, abs=1e-6)


@given(st.floats(20.0, 40.0), st.floats(-20.0, 45.0), st.floats(0.0, 15.0))
def test_a_hotter_outdoors_costs_capacity_and_power(entering, outdoor, hotter):
    cool, hot = (
        coil(entering, 0.006, outdoor=outdoor),
        coil(entering, 0.006, outdoor=outdoor + hotter),
    )
    assert hot.capacity_w <= cool.capacity_w * (1.0 + 1e-9)
    per_watt = hot.power_w / hot.capacity_w, cool.power_w / cool.capacity_w
    assert per_watt[0] >= per_watt[1] * (1.0 - 2e-3)


def test_faults():
    moist = humid(25.0, 21.0)
    sound, leaked = coil(25.0, moist), coil(25.0, moist, refrigerant_loss=1.0)
    assert leaked.condensate_kg_s > 0.0
    assert leaked.capacity_w / sound.capacity_w == pytest.approx(0.7)
    per_watt = [state.power_w / state.capacity_w for state in (sound, leaked)]
    assert per_watt[1] / per_watt[0] == pytest.approx(1.25)
    # A dry one has a warmer surface, is evaluated at a higher wet bulb, and so loses less.
    sound, leaked = coil(30.0, 0.006), coil(30.0, 0.006, refrigerant_loss=1.0)
    assert 0.7 < leaked.capacity_w / sound.capacity_w < 0.8
    load = 4e4
    power = [direct_expansion(DESIGN, state, load).power_w for state in (sound, leaked)]
    assert 1.1 < power[1] / power[0] < 1.25
    fouled = coil(30.0, 0.006, outdoor=30.0, condenser_fouling=1.0)
    assert fouled.power_w == coil(30.0, 0.006, outdoor=30.0 + FOULED_CONDENSER_K).power_w
    off = direct_expansion(DESIGN, coil(30.0, 0.006, running=False), load)
    assert off.heat_w == off.power_w == off.condensate_kg_s == 0.0
    assert off.leaving_degc == pytest.approx(30.0)


def test_no_air_no_cooling():
    off = direct_expansion(DESIGN, coil(30.0, 0.006, air=0.0), 5e4)
    assert off.heat_w == off.power_w == 0.0
    assert off.leaving_degc == pytest.approx(30.0)


def test_rated_sensible_heat_ratio():
    # 14.286 kJ/kg over 0.9 leads from 55.1 to 39.2 kJ/kg: saturated at 14.2 degC, 10.1 g/kg, where
    # the rated 11.1 g/kg lose 1.0 g/kg * 2.55 MJ/kg of the 15.87 kJ/kg.
    assert DESIGN.rated_sensible_heat_ratio == pytest.approx(0.82, abs=0.02)
    state = coil(26.67, humid(26.67, 19.44))
    share = state.sensible_capacity_w / state.capacity_w
    assert DESIGN.rated_sensible_heat_ratio == pytest.approx(share[0], abs=1e-3)


def test_a_row_alone_equals_the_row_of_a_batch():
    rng = np.random.default_rng(0)
    entering, ratio = rng.uniform(20, 38, 31), rng.uniform(0.003, 0.014, 31)
    air, outdoor = rng.uniform(3.5, 8, 31), rng.uniform(-20, 44, 31)
    bulb = wet_bulb_degc(entering, ratio, SEA)
    state = direct_expansion_state(DESIGN, entering, ratio, bulb, air, outdoor, SEA)
    batch = direct_expansion(DESIGN, state, 6e4)
    for row in range(31):
        one = slice(row, row + 1)
        alone = direct_expansion_state(
            DESIGN, entering[one], ratio[one], bulb[one], air[one], outdoor[one], SEA
        )
        single = direct_expansion(DESIGN, alone, 6e4)
        assert all(left[0] == right[row] for left, right in zip(single, batch, strict=True))
        # In numbers, and with the wet bulb left to the coil.
        numbers = (entering[row], ratio[row], None, air[row], outdoor[row], SEA)
        single = direct_expansion(DESIGN, direct_expansion_state(DESIGN, *numbers), 6e4)
        assert all(left == right[row] for left, right in zip(single, batch, strict=True))
    assert 0 < (batch.condensate_kg_s > 0.0).sum() < 31
    unasked = direct_expansion_state(DESIGN, entering, ratio, None, air, outdoor, SEA)
    for left, right in zip(unasked, state, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"capacity_w": 0.0}, "capacity_w is 0.0"),
        ({"cop": 12.0}, "cop is 12.0"),
        ({"air_flow_kg_s": 70.0}, "air_flow_kg_s is 70.0"),
        ({"bypass_factor": 0.9}, "bypass_factor is 0.9"),
        ({"outdoor_range_degc": (40.0, 20.0)}, "outdoor_range_degc is"),
        ({"capacity_over_temperatures": (1.0, 0.0, 0.0, 0.01, 0.0, 0.0)}, "fall as the outdoor"),
        ({"power_over_temperatures": (1.0, 0.0, 0.0, -0.01, 0.0, 0.0)}, "rise as the outdoor"),
    ],
)
def test_bad_designs_name_the_value(change, message):
    with pytest.raises(ValueError, match=message):
        DirectExpansionDesign(**change)
