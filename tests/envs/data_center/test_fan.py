import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlkit_envs.data_center.fan import (
    IDEAL_CUBE,
    INLET_VANES,
    VARIABLE_SPEED,
    FanDesign,
    operate_fan,
)

PRESSURE_PA = 101_325.0
DESIGN = FanDesign(rated_flow_m3_s=70.0)


def test_rated_power_and_its_heat_by_hand() -> None:
    # 70 m3/s x 300 Pa / 0.7; the polynomial is 0.9990 at full flow.
    assert DESIGN.rated_power_w == pytest.approx(30_000.0)
    fan = operate_fan(DESIGN, 1.0, 0.0, PRESSURE_PA)
    assert fan.power_w == pytest.approx(30_000.0 * 0.9990066, rel=1e-6)
    # 1.204152 kg/m3 at 20 degC.
    assert fan.flow_kg_s == pytest.approx(84.2906, rel=1e-5)
    assert fan.rise_k == pytest.approx(29_970.2 / (84.2906 * 1004.84), rel=1e-5)


@pytest.mark.parametrize(
    ("coefficients", "half"),
    [(VARIABLE_SPEED, 0.26674), (INLET_VANES, 0.47862), (IDEAL_CUBE, 1 / 8)],
)
def test_half_the_flow_takes_the_published_share(
    coefficients: tuple[float, float, float, float], half: float
) -> None:
    design = FanDesign(rated_flow_m3_s=70.0, power_coefficients=coefficients)
    assert operate_fan(design, 0.5, 0.0, PRESSURE_PA).power_w == pytest.approx(
        30_000.0 * half, rel=1e-4
    )


@given(st.floats(0.01, 1), st.floats(0, 1), st.floats(0, 0.02))
def test_all_power_heats_the_air(ratio: float, wear: float, humidity: float) -> None:
    fan = operate_fan(DESIGN, ratio, humidity, 90_000.0, wear=wear)
    warmed = fan.flow_kg_s * (1004.84 + 1858.95 * humidity) * fan.rise_k
    assert warmed == pytest.approx(float(fan.power_w), rel=1e-12)


def test_power_rises_with_flow_and_a_stopped_fan_draws_none() -> None:
    ratios = np.linspace(0, 1, 51)
    fan = operate_fan(DESIGN, ratios, 0.008, PRESSURE_PA)
    assert (np.diff(fan.power_w) > 0).all()
    assert fan.power_w[0] == fan.flow_kg_s[0] == fan.rise_k[0] == 0.0


def test_wear_costs_power_and_at_last_flow() -> None:
    wear = np.array([0.0, 0.35, 0.7, 0.85, 1.0])
    fan = operate_fan(DESIGN, 0.8, 0.008, PRESSURE_PA, wear=wear)
    # 0.15 (e^1.05 - 1) / (e^3 - 1) and so on.
    np.testing.assert_allclose(
        fan.power_w / fan.power_w[0], [1.0, 1.0146, 1.0563, 1.0928, 1.15], atol=5e-5
    )
    np.testing.assert_allclose(fan.flow_kg_s / fan.flow_kg_s[0], [1, 1, 1, 0.85, 0.7])


def test_coefficients_that_fall_with_flow_are_refused() -> None:
    with pytest.raises(ValueError, match=r"power_coefficients is \(0.5, -0.5.*must rise"):
        FanDesign(rated_flow_m3_s=70.0, power_coefficients=(0.5, -0.5, 0.0, 0.0))
    with pytest.raises(ValueError, match=r"FanDesign.efficiency is 1.2"):
        FanDesign(rated_flow_m3_s=70.0, efficiency=1.2)
