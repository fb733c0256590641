"""Variable-speed pumps: design power, part load, heat, bad designs."""

import numpy as np
import pytest

from rlkit_envs.data_center.pumps import PumpDesign, pump


def test_design_power_is_flow_times_head_over_efficiencies():
    # 99.8 kg/s = 0.1 m3/s against 160 kPa: 16 kW hydraulic; / 0.8 = 20 kW shaft; / 0.9 electric.
    design = PumpDesign(
        flow_kg_s=99.8, head_pa=160e3, impeller_efficiency=0.8, motor_efficiency=0.9
    )
    assert design.power_w == pytest.approx(16_000 / 0.72)
    assert pump(design, np.array([1.0])).power_w == pytest.approx(1.0059 * 16_000 / 0.72)


def test_power_at_half_flow_follows_the_published_cubic():
    design = PumpDesign()
    half = pump(design, np.array([0.5]))
    # 0.0205 / 2 + 0.4101 / 4 + 0.5753 / 8
    assert half.power_w == pytest.approx(0.1846875 * design.power_w)
    assert half.flow_kg_s == pytest.approx(18.0)


def test_shaft_power_and_only_its_share_of_motor_loss_reaches_the_water():
    flow = np.array([0.3, 1.0])
    plain = pump(PumpDesign(motor_efficiency=0.9), flow)
    np.testing.assert_allclose(plain.heat_w, 0.9 * plain.power_w)
    wet = pump(PumpDesign(motor_efficiency=0.9, motor_loss_to_water=1.0), flow)
    np.testing.assert_allclose(wet.heat_w, wet.power_w)


def test_a_pump_stops_at_zero_and_runs_within_its_drive_otherwise():
    design = PumpDesign(
        minimum_flow_ratio=0.2, power_coefficients=(0.1, 0.0, 0.0, 0.9), flow_kg_s=10.0
    )
    result = pump(design, np.array([-1.0, 0.0, 0.05, 0.2, 1.0, 3.0]))
    np.testing.assert_allclose(result.flow_kg_s, [0.0, 0.0, 2.0, 2.0, 10.0, 10.0])
    assert (result.power_w[:2] == 0.0).all()
    assert result.power_w[2] == result.power_w[3] > 0.0


def test_power_rises_with_flow_and_with_wear():
    design = PumpDesign()
    assert (np.diff(pump(design, np.linspace(0.1, 1.0, 50)).power_w) > 0.0).all()
    ratio = pump(design, 0.7, wear=1.0).power_w / pump(design, 0.7).power_w
    assert ratio == pytest.approx(1.15)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flow_kg_s": 0.0}, "flow_kg_s is 0.0"),
        ({"head_pa": 160.0}, "head_pa is 160.0"),
        ({"motor_efficiency": 1.2}, "motor_efficiency is 1.2"),
        ({"impeller_efficiency": float("nan")}, "impeller_efficiency is nan"),
        ({"motor_loss_to_water": -0.1}, "motor_loss_to_water is -0.1"),
        ({"power_coefficients": (0.0, 1.0, 1.0, 0.0)}, "sum to 2"),
    ],
)
def test_bad_designs_name_the_value(change, message):
    with pytest.raises(ValueError, match=message):
        PumpDesign(**change)
