"""Plate exchanger, outdoor air and evaporative cooler: published points, limits, conservation."""

from math import exp

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlkit_envs.data_center.economisers import (
    AirEconomiserDesign,
    EconomiserMode,
    EvaporativeCoolerDesign,
    PlateExchangerDesign,
    evaporative_cooler,
    evaporative_cooler_water_kg_s,
    mix_air,
    outdoor_air_ratio,
    plate_exchanger_w_k,
    water_economiser_ready,
)
from rlkit_envs.data_center.psychrometrics import (
    enthalpy_j_kg,
    humidity_ratio_from_dew_point,
    relative_humidity,
    specific_heat_j_kg_k,
    wet_bulb_degc,
)

PLATES = PlateExchangerDesign()
AIR = AirEconomiserDesign()
SEA = 101_325.0


def test_design_flows_give_the_design_effectiveness():
    conductance = plate_exchanger_w_k(PLATES, EconomiserMode.PRECOOL, 36.0, 51.6)
    assert conductance == pytest.approx(0.8 * 36.0 * 4186.0)
    swapped = PlateExchangerDesign(chilled_flow_kg_s=51.6, condenser_flow_kg_s=36.0)
    assert swapped.conductance_w_k == PLATES.conductance_w_k


def test_counterflow_at_other_flows():
    # Equal flows: effectiveness N / (1 + N); the design has N = 4 at 0.8.
    equal = PlateExchangerDesign(chilled_flow_kg_s=40.0, condenser_flow_kg_s=40.0)
    assert equal.conductance_w_k == pytest.approx(4.0 * 40.0 * 4186.0)
    # Half of both flows: N = 8, effectiveness 8 / 9.
    half = plate_exchanger_w_k(equal, 2, 20.0, 20.0)
    assert half == pytest.approx(8.0 / 9.0 * 20.0 * 4186.0)
    # Half of one: N = 8, ratio 1/2: (1 - e^-4) / (1 - e^-4 / 2).
    unequal = plate_exchanger_w_k(equal, 2, 20.0, 40.0)
    expected = (1.0 - exp(-4.0)) / (1.0 - 0.5 * exp(-4.0))
    assert unequal == pytest.approx(expected * 20.0 * 4186.0)
    # No jump where the flows cross.
    near = plate_exchanger_w_k(equal, 2, 40.0, np.array([40.0 - 1e-5, 40.0, 40.0 + 1e-5]))
    np.testing.assert_allclose(near, 0.8 * 40.0 * 4186.0, rtol=1e-6)


def test_mode_off_no_flow_and_fouling():
    modes = np.array([EconomiserMode.OFF, EconomiserMode.PRECOOL, EconomiserMode.FULL])
    by_mode = plate_exchanger_w_k(PLATES, modes, np.full(3, 30.0), np.full(3, 50.0))
    assert by_mode[0] == 0.0 < by_mode[1] == by_mode[2]
    assert plate_exchanger_w_k(PLATES, 1, np.array([0.0, 30.0]), np.array([50.0, 0.0])).max() == 0.0
    fouled = plate_exchanger_w_k(PLATES, 1, 36.0, 51.6, fouling=1.0)
    units = 0.55 * PLATES.conductance_w_k / (36.0 * 4186.0)
    ratio = 36.0 / 51.6
    falling = exp(-units * (1.0 - ratio))
    expected = (1.0 - falling) / (1.0 - ratio * falling)
    assert fouled == pytest.approx(expected * 36.0 * 4186.0)


def test_readiness_is_wet_bulb_plus_approaches():
    ready = water_economiser_ready(PLATES, np.array([5.9, 6.1]), 12.0)
    np.testing.assert_array_equal(ready, [True, False])


@given(
    st.floats(-25.0, 40.0),
    st.floats(0.1, 0.95),
    st.floats(20.0, 45.0),
    st.floats(14.0, 30.0),
)
def test_mixture_meets_the_wanted_temperature_or_a_limit(outdoor, humidity, returned, wanted):
    from rlkit_envs.data_center.psychrometrics import humidity_ratio_from_relative

    design = AirEconomiserDesign(minimum_outdoor_ratio=0.05, maximum_outdoor_ratio=0.9)
    ratio = float(humidity_ratio_from_relative(outdoor, humidity, SEA))
    share = outdoor_air_ratio(design, outdoor, ratio, SEA, returned, 0.009, wanted)
    mixed = mix_air(share, outdoor, ratio, returned, 0.009)
    assert 0.05 <= share <= 0.9
    moist = ratio > humidity_ratio_from_dew_point(13.5, SEA)
    if outdoor > 23.0 or moist or outdoor >= returned or wanted >= returned:
        assert share == 0.05
    elif 0.05 < share < 0.9:
        assert mixed.mixed_degc == pytest.approx(wanted, abs=1e-9)
    elif share == 0.9:
        assert mixed.mixed_degc >= wanted - 1e-9
    else:
        assert mixed.mixed_degc <= wanted + 1e-9
    # Conservation of water and enthalpy.
    kept = share * ratio + (1.0 - share) * 0.009
    assert mixed.mixed_humidity_ratio == pytest.approx(kept, rel=1e-12)
    energy = share * enthalpy_j_kg(outdoor, ratio) + (1.0 - share) * enthalpy_j_kg(returned, 0.009)
    assert enthalpy_j_kg(mixed.mixed_degc, mixed.mixed_humidity_ratio) == pytest.approx(energy)


def test_half_and_half_and_lockouts():
    # 10 and 30 degC at one humidity mix to 20 degC half and half.
    args = (0.006, SEA, 30.0, 0.006, 20.0)
    assert outdoor_air_ratio(AIR, 10.0, *args) == pytest.approx(0.5)
    assert outdoor_air_ratio(AIR, 10.0, *args, enabled=False) == 0.0
    assert outdoor_air_ratio(AIR, 22.9, *args) == 1.0
    assert outdoor_air_ratio(AIR, 23.1, *args) == 0.0
    limit = float(humidity_ratio_from_dew_point(13.5, SEA))
    near = [
        outdoor_air_ratio(AIR, 18.0, limit + sign * 1e-6, SEA, 30.0, 0.006, 20.0)
        for sign in (-1, 1)
    ]
    assert near[0] > 0.8
    assert near[1] == 0.0


def test_evaporative_cooler_at_a_point_worked_out_by_hand():
    design = EvaporativeCoolerDesign()
    bulb = wet_bulb_degc(35.0, 0.008, SEA)  # 19.7 degC: a dry afternoon
    result = evaporative_cooler(design, 35.0, 0.008, bulb, -99.0)
    assert result.leaving_degc == pytest.approx(35.0 - 0.7 * (35.0 - bulb))
    # 10.7 K times 1.02 kJ/(kg K) over 2.45 MJ/kg: 4.5 g/kg.
    gained = result.leaving_humidity_ratio - 0.008
    cooled = specific_heat_j_kg_k(0.008) * (35.0 - result.leaving_degc)
    assert gained == pytest.approx(cooled / 2.46e6, rel=0.01)
    assert (result.wet_ratio, result.power_w) == (1.0, 500.0)
    water = evaporative_cooler_water_kg_s(design, 10.0, 0.008, result.leaving_humidity_ratio)
    assert water == pytest.approx(10.0 * gained * 4.0 / 3.0)


@given(st.floats(-10.0, 45.0), st.floats(0.05, 1.0), st.floats(5.0, 30.0))
def test_evaporative_cooling_keeps_enthalpy_and_stays_below_saturation(dry_bulb, humidity, wanted):
    from rlkit_envs.data_center.psychrometrics import humidity_ratio_from_relative

    ratio = humidity_ratio_from_relative(dry_bulb, humidity, SEA)
    bulb = wet_bulb_degc(dry_bulb, ratio, SEA)
    result = evaporative_cooler(EvaporativeCoolerDesign(), dry_bulb, ratio, bulb, wanted)
    gained = result.leaving_humidity_ratio - ratio
    after = enthalpy_j_kg(result.leaving_degc, result.leaving_humidity_ratio)
    supplied = gained * 4186.0 * bulb
    assert after == pytest.approx(enthalpy_j_kg(dry_bulb, ratio) + supplied, abs=1e-6)
    assert result.leaving_degc <= dry_bulb
    assert result.leaving_degc >= min(wanted, dry_bulb) - 1e-9
    assert 0.0 <= result.wet_ratio <= 1.0
    if bulb > 0.0:
        humid = relative_humidity(result.leaving_degc, result.leaving_humidity_ratio, SEA)
        assert humid <= 1.0 + 1e-6


def test_a_disabled_cooler_passes_the_air():
    result = evaporative_cooler(EvaporativeCoolerDesign(), 35.0, 0.008, 19.7, 10.0, enabled=False)
    assert result.leaving_degc == 35.0
    assert result.leaving_humidity_ratio == pytest.approx(0.008, rel=1e-12)
    assert result.power_w == 0.0


@pytest.mark.parametrize(
    ("design", "change", "message"),
    [
        (PlateExchangerDesign, {"effectiveness": 1.0}, "effectiveness is 1.0"),
        (PlateExchangerDesign, {"chilled_flow_kg_s": 0.0}, "chilled_flow_kg_s is 0.0"),
        (PlateExchangerDesign, {"approach_k": -1.0}, "approach_k is -1.0"),
        (AirEconomiserDesign, {"minimum_outdoor_ratio": 1.5}, "minimum_outdoor_ratio 1.5"),
        (AirEconomiserDesign, {"dry_bulb_limit_degc": 80.0}, "dry_bulb_limit_degc is 80.0"),
        (AirEconomiserDesign, {"dew_point_limit_degc": 40.0}, "dew_point_limit_degc is 40.0"),
        (EvaporativeCoolerDesign, {"effectiveness": 0.1}, "effectiveness is 0.1"),
        (EvaporativeCoolerDesign, {"pump_power_w": -1.0}, "pump_power_w is -1.0"),
        (EvaporativeCoolerDesign, {"cycles_of_concentration": 1.0}, "concentration is 1.0"),
    ],
)
def test_bad_designs_name_the_value(design, change, message):
    with pytest.raises(ValueError, match=message):
        design(**change)
