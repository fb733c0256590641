from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from rlkit_envs.data_center.humidity import (
    HallHumidity,
    HumidityDesign,
    advance_humidity,
    operate_humidifier,
)

STEP_S = 300.0
NO_HUMIDIFIER = HumidityDesign(humidifier_kg_s=0.0)


def advance(design: HumidityDesign, humidity: float, **changes: Any) -> HallHumidity:
    conditions: dict[str, Any] = {
        "air_kg": 2400.0,
        "supply_kg_s": 70.0,
        "coil_intercept": 0.0,
        "coil_slope": 1.0,
        "outdoor_kg_s": 0.12,
        "outdoor_humidity_ratio": 0.002,
        "minimum_humidity_ratio": 0.0,
        "step_s": STEP_S,
    }
    return advance_humidity(design, np.array([humidity]), **conditions | changes)


def test_infiltration_dries_the_hall_by_hand() -> None:
    hall = advance(NO_HUMIDIFIER, 0.008)
    # 0.12 kg/s for 300 s renew 1.5 % of 2400 kg: exp(-0.015) of the difference is left.
    assert hall.humidity_ratio[0] == pytest.approx(0.002 + 0.006 * np.exp(-0.015), rel=1e-12)
    mean = 0.002 + 0.006 * (1 - np.exp(-0.015)) / 0.015
    assert hall.mean_humidity_ratio[0] == pytest.approx(mean, rel=1e-12)
    assert hall.steam_kg_s[0] == 0.0


@given(
    st.floats(0.001, 0.02),
    st.floats(0, 100),
    st.floats(0, 0.004),
    st.floats(0, 1),
    st.floats(0, 5),
    st.floats(0.0005, 0.02),
    st.floats(0, 0.012),
    st.sampled_from([0.0, 0.4, 1.0]),
)
def test_stored_water_is_what_flowed_in(
    humidity: float,
    supply: float,
    intercept: float,
    slope: float,
    outdoor: float,
    outdoor_ratio: float,
    minimum: float,
    share: float,
) -> None:
    design = HumidityDesign()
    hall = advance(
        design,
        humidity,
        supply_kg_s=supply,
        entering_intercept=share * outdoor_ratio,
        entering_slope=1.0 - share,
        coil_intercept=intercept,
        coil_slope=slope,
        outdoor_kg_s=outdoor,
        outdoor_humidity_ratio=outdoor_ratio,
        minimum_humidity_ratio=minimum,
    )
    entering = share * outdoor_ratio + (1 - share) * hall.mean_humidity_ratio
    assert hall.entering_humidity_ratio == pytest.approx(entering, rel=1e-12)
    condensate = supply * (entering - intercept - slope * entering)
    if hall.condensate_kg_s[0] == 0.0:  # a dry coil, or one that would moisten the air
        assert condensate[0] <= 1e-12 or slope == 1.0
    else:
        assert hall.condensate_kg_s == pytest.approx(condensate, rel=1e-12)
    inflow = supply * (entering - hall.mean_humidity_ratio) - hall.condensate_kg_s
    inflow += hall.steam_kg_s
    inflow += outdoor * (outdoor_ratio - hall.mean_humidity_ratio)
    stored = 2400.0 * (hall.humidity_ratio - humidity)
    assert stored[0] == pytest.approx(STEP_S * inflow[0], rel=1e-9, abs=1e-11)
    assert hall.humidity_ratio[0] >= 0.0
    assert 0.0 <= hall.steam_kg_s[0] <= design.humidifier_kg_s
    if hall.steam_kg_s[0] == 0.0:
        assert hall.humidity_ratio[0] >= minimum - 1e-12
    elif hall.steam_kg_s[0] < design.humidifier_kg_s:
        assert hall.humidity_ratio[0] == pytest.approx(minimum, rel=1e-9)
    else:
        assert hall.humidity_ratio[0] <= minimum + 1e-12


def test_a_wet_coil_agrees_with_a_numerical_solution() -> None:
    flows = {"coil_intercept": 0.004, "coil_slope": 0.3, "outdoor_humidity_ratio": 0.015}
    hall = advance(NO_HUMIDIFIER, 0.012, **flows)

    def change(_: float, state: np.ndarray) -> list[float]:
        ratio = state[0]
        flow = 70.0 * (0.004 + 0.3 * ratio - ratio) + 0.12 * (0.015 - ratio)
        return [flow / 2400.0, ratio / STEP_S]

    solution = solve_ivp(change, (0.0, STEP_S), [0.012, 0.0], rtol=1e-10, atol=1e-14)
    assert hall.humidity_ratio[0] == pytest.approx(solution.y[0, -1], rel=1e-8)
    assert hall.mean_humidity_ratio[0] == pytest.approx(solution.y[1, -1], rel=1e-8)


def test_a_coil_never_moistens_a_hall_that_dries_out() -> None:
    # It condenses at first, but soon the hall would be drier than air in touch with the coil.
    flows = {"coil_intercept": 0.0049, "coil_slope": 0.3, "outdoor_humidity_ratio": 0.001}
    hall = advance(NO_HUMIDIFIER, 0.00701, outdoor_kg_s=3.0, **flows)
    dry = advance(NO_HUMIDIFIER, 0.00701, outdoor_kg_s=3.0, outdoor_humidity_ratio=0.001)
    assert hall.condensate_kg_s[0] == 0.0
    assert hall.humidity_ratio[0] == dry.humidity_ratio[0]
    moist = advance(NO_HUMIDIFIER, 0.014, outdoor_kg_s=0.1, **flows)
    assert moist.condensate_kg_s[0] > 0.01


def test_the_humidifier_holds_the_minimum_with_the_water_that_leaves() -> None:
    design = HumidityDesign(humidifier_kg_s=0.01)
    hall = advance(design, 0.005, minimum_humidity_ratio=0.005)
    # What infiltration dilutes: 0.12 kg/s x 3 g/kg.
    assert hall.steam_kg_s[0] == pytest.approx(0.12 * 0.003, rel=1e-12)
    assert hall.humidity_ratio[0] == pytest.approx(0.005, rel=1e-13)
    # Too dry by far: it gives all that it can, and that is not enough.
    dry = advance(design, 0.003, minimum_humidity_ratio=0.009)
    assert dry.steam_kg_s[0] == 0.01
    assert dry.humidity_ratio[0] < 0.009
    assert advance(NO_HUMIDIFIER, 0.003, minimum_humidity_ratio=0.009).steam_kg_s[0] == 0.0


def test_power_of_steam_by_hand() -> None:
    humidifier = operate_humidifier(HumidityDesign(), 0.01, 25.0)
    # Vapour of 100 degC over water of 15 degC: 2500940 + 185895 - 62790 = 2624045 J/kg.
    assert humidifier.power_w == pytest.approx(26_240.45 / 0.9, rel=1e-9)
    # A tenth of the power is lost into the hall; steam cools by 75 K.
    assert humidifier.sensible_heat_w == pytest.approx(2_915.606 + 1_394.213, rel=1e-6)
    # The rest arrives as vapour of the hall's temperature.
    latent = 0.01 * (2_500_940 + 1858.95 * 25 - 4186 * 15)
    assert humidifier.power_w - humidifier.sensible_heat_w == pytest.approx(latent, rel=1e-12)


def test_designs_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"HumidityDesign.boiler_efficiency is 1.5"):
        HumidityDesign(boiler_efficiency=1.5)
    with pytest.raises(ValueError, match=r"humidifier_kg_s is -0.1, but must be 0 or more"):
        HumidityDesign(humidifier_kg_s=-0.1)
