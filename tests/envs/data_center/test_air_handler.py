from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlkit_envs.data_center.air_handler import (
    AirHandlerDesign,
    AirHandlerOperation,
    operate_air_handler,
    settle_air_handler,
)
from rlkit_envs.data_center.chilled_water_coil import size_coil
from rlkit_envs.data_center.fan import FanDesign
from rlkit_envs.data_center.psychrometrics import enthalpy_j_kg, specific_heat_j_kg_k

DESIGN = AirHandlerDesign(
    fan=FanDesign(rated_flow_m3_s=80.0),
    coil=size_coil(
        air_kg_s=96.0, entering_degc=35.0, leaving_degc=19.5, water_kg_s=54.0, water_degc=14.0
    ),
)


def operate(**changes: Any) -> AirHandlerOperation:
    conditions: dict[str, Any] = {
        "flow_ratio": 0.8,
        "entering_degc": 32.0,
        "entering_humidity_ratio": 0.006,
        "pressure_pa": 101_325.0,
        "supply_setpoint_degc": 20.0,
        "water_degc": 12.0,
    }
    return operate_air_handler(DESIGN, **conditions | changes)


def test_the_coil_makes_up_for_the_fan() -> None:
    handler = operate(entering_humidity_ratio=0.0)
    assert handler.supply_degc == pytest.approx(20.0, abs=1e-12)
    # 80 m3/s x 0.8 x 1.204152 kg/m3 = 77.0657 kg/s; 34286 W x 0.655643 of fan.
    assert handler.supply_kg_s == pytest.approx(77.0657, rel=1e-5)
    fan = 34_285.71 * (0.00153 + 0.0052081 * 0.8 + 1.1086242 * 0.64 - 0.1163556 * 0.512)
    assert handler.fan_power_w == pytest.approx(fan, rel=1e-6)
    assert handler.coil_heat_w == pytest.approx(77.0657 * 1004.84 * 12.0 + fan, rel=1e-5)
    assert handler.supply_slope == 0.0
    assert handler.supply_intercept_degc == pytest.approx(20.0, abs=1e-12)


@given(
    st.floats(0, 1),
    st.floats(15, 45),
    st.floats(0.002, 0.009),
    st.floats(8, 30),
    st.floats(4, 22),
    st.floats(0, 1),
)
def test_energy_and_moisture_balance(
    flow: float, entering: float, humidity: float, setpoint: float, water: float, wear: float
) -> None:
    handler = operate(
        flow_ratio=flow,
        entering_degc=entering,
        entering_humidity_ratio=humidity,
        supply_setpoint_degc=setpoint,
        water_degc=water,
        fan_wear=wear,
    )
    supply = enthalpy_j_kg(handler.supply_degc, handler.supply_humidity_ratio)
    lost = handler.supply_kg_s * (enthalpy_j_kg(entering, humidity) - supply)
    condensate = handler.condensate_kg_s * 4186.0 * handler.condensate_degc
    # Vapour leaves the coil before the fan warms what is left: the difference is the vapour's.
    warmed_less = (
        handler.condensate_kg_s
        * 1858.95
        * (handler.fan_power_w / max(handler.supply_kg_s * specific_heat_j_kg_k(humidity), 1e-9))
    )
    assert lost + handler.fan_power_w == pytest.approx(
        handler.coil_heat_w + condensate + warmed_less, rel=1e-9, abs=1e-3
    )
    line = handler.supply_intercept_degc + handler.supply_slope * entering
    assert line == pytest.approx(float(handler.supply_degc), abs=1e-12)
    line = handler.humidity_intercept + handler.humidity_slope * humidity
    assert line == pytest.approx(float(handler.supply_humidity_ratio), abs=1e-15)


def test_a_setpoint_above_the_entering_air_leaves_the_fan_alone() -> None:
    handler = operate(supply_setpoint_degc=40.0)
    assert handler.coil_heat_w == 0.0
    assert handler.supply_slope == 1.0
    assert handler.supply_degc == pytest.approx(32.0 + handler.supply_intercept_degc, abs=1e-12)
    assert handler.supply_intercept_degc > 0.2
    # Between the fan's rise and the entering air the coil still works.
    assert operate(supply_setpoint_degc=32.1).coil_heat_w > 0.0


def test_water_too_warm_saturates() -> None:
    handler = operate(water_degc=18.5)
    assert handler.saturated
    assert handler.supply_degc > 20.0
    assert handler.water_ratio == 1.0
    assert 0.0 < handler.supply_slope < 1.0
    assert handler.water_slope_w_k > 0.0


def test_a_stopped_fan_supplies_nothing() -> None:
    handler = operate(flow_ratio=np.array([0.0, 0.8]))
    for values in (handler.supply_kg_s, handler.fan_power_w, handler.coil_heat_w):
        assert values[0] == 0.0 < values[1]
    assert handler.supply_degc[0] == 32.0


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"supply_setpoint_degc": 12.0},
        {"supply_setpoint_degc": 45.0},
        {"stuck_valve_ratio": 0.4},
        {"entering_humidity_ratio": 0.015, "water_degc": 6.0, "supply_setpoint_degc": 16.0},
        {"flow_ratio": 0.0},
    ],
)
def test_settling_where_it_was_changes_nothing(changes: dict[str, float]) -> None:
    handler = operate(**changes)
    humidity = changes.get("entering_humidity_ratio", 0.006)
    conductance = handler.supply_kg_s * specific_heat_j_kg_k(humidity)
    settled = settle_air_handler(
        handler,
        supply_conductance_w_k=conductance,
        entering_degc=32.0,
        entering_humidity_ratio=humidity,
        condensate_kg_s=handler.condensate_kg_s,
    )
    for name, before, after in zip(handler._fields, handler, settled, strict=True):
        assert after == pytest.approx(before, rel=1e-9, abs=1e-6), name


def test_settling_follows_the_slopes() -> None:
    handler = operate(supply_setpoint_degc=12.0)
    conductance = handler.supply_kg_s * specific_heat_j_kg_k(0.006)
    settled = settle_air_handler(
        handler,
        supply_conductance_w_k=conductance,
        entering_degc=34.0,
        entering_humidity_ratio=0.006,
        condensate_kg_s=0.0,
    )
    warmer = operate(supply_setpoint_degc=12.0, entering_degc=34.0)
    assert settled.supply_degc == pytest.approx(warmer.supply_degc, rel=1e-9)
    assert settled.coil_heat_w == pytest.approx(warmer.coil_heat_w, rel=1e-9)
    assert settled.water_return_degc == pytest.approx(warmer.water_return_degc, rel=1e-9)
    # Held at its set point, all that more heat goes into the water.
    held = operate()
    settled = settle_air_handler(
        held,
        supply_conductance_w_k=conductance,
        entering_degc=33.0,
        entering_humidity_ratio=0.006,
        condensate_kg_s=0.0,
    )
    assert settled.supply_degc == held.supply_degc
    assert settled.coil_heat_w - held.coil_heat_w == pytest.approx(conductance, rel=1e-6)
