"""Days of steady weather beside EnergyPlus, each for a part of the plant that it works hard."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from rlkit_envs.data_center.economisers import EconomiserMode
from rlkit_envs.data_center.energyplus.comparison import (
    Difference,
    differences,
    run_energyplus,
    run_plant,
)
from rlkit_envs.data_center.humidity import HumidityDesign
from rlkit_envs.data_center.plant_state import PlantActions
from rlkit_envs.data_center.presets import chilled_water_hall
from rlkit_envs.data_center.psychrometrics import (
    humidity_ratio_from_relative,
    standard_pressure_pa,
    wet_bulb_degc,
)
from rlkit_envs.data_center.weather import STEPS_PER_DAY, STEPS_PER_YEAR, Weather

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pyenergyplus") is None, reason="needs the extra energyplus"
)
DESIGN = replace(chilled_water_hall(), humidity=HumidityDesign(humidifier_kg_s=0.0))


def compared(
    dry_bulb_degc: float, relative_humidity: float, mode: EconomiserMode, chilled_degc: float
) -> dict[str, Difference]:
    """A day of weather that does not change, with a load that does."""
    dry_bulb = np.full(STEPS_PER_YEAR, dry_bulb_degc)
    pressure = np.full(STEPS_PER_YEAR, float(standard_pressure_pa(200.0)))
    ratio = humidity_ratio_from_relative(dry_bulb, relative_humidity, pressure)
    wet_bulb = wet_bulb_degc(dry_bulb, ratio, pressure)
    weather = Weather("steady", 42.0, -88.0, 200.0, dry_bulb, ratio, wet_bulb, pressure)
    hour = np.arange(STEPS_PER_YEAR) * (2.0 * np.pi / STEPS_PER_DAY)
    load = 0.6 - 0.2 * np.cos(hour)
    actions = PlantActions(
        supply_air_degc=np.full(STEPS_PER_YEAR, 21.0),
        air_flow_ratio=0.4 + 0.45 * load,
        chilled_water_degc=np.full(STEPS_PER_YEAR, chilled_degc),
        tower_fan_ratio=np.full(STEPS_PER_YEAR, 0.7),
        economiser=np.full(STEPS_PER_YEAR, int(mode), dtype=np.int64),
    )
    span = {"first_day": 3, "days": 1}
    ours = run_plant(DESIGN, weather, load, actions, **span)
    theirs = run_energyplus(DESIGN, weather, load, actions, **span)
    found = differences(ours, theirs)
    assert abs(found["total_power"].nmbe) < 0.005
    assert found["total_power"].cv_rmse < 0.01
    return found


def check(found: dict[str, Difference], quantity: str, bias: float, scatter: float) -> None:
    difference = found[quantity]
    assert difference.theirs > 0.0
    assert abs(difference.nmbe) < bias, (quantity, difference)
    assert difference.cv_rmse < scatter, (quantity, difference)


def test_a_humid_summer_day() -> None:
    """Coils wet at their cold end alone; an exchanger that could only warm, and takes no water."""
    found = compared(28.0, 0.7, EconomiserMode.PRECOOL, 10.0)
    check(found, "hall_humidity_ratio", 0.04, 0.05)
    check(found, "condenser_pump_power", 0.02, 0.05)
    check(found, "tower_water", 0.05, 0.06)
    check(found, "chiller_power", 0.02, 0.04)


def test_a_frosty_day() -> None:
    """A tower that its fan, as told, would chill below its least water."""
    found = compared(-12.0, 0.7, EconomiserMode.FULL, 13.0)
    check(found, "tower_fan_power", 0.05, 0.15)
    check(found, "tower_water", 0.05, 0.15)
    assert found["condenser_water_temperature"].ours < 6.0


def test_a_mild_day() -> None:
    """The exchanger helps, and both take condenser water."""
    found = compared(12.0, 0.6, EconomiserMode.PRECOOL, 9.0)
    check(found, "condenser_pump_power", 0.02, 0.05)
    check(found, "exchanger_heat", 0.03, 0.05)
    check(found, "tower_water", 0.05, 0.08)
    check(found, "chiller_power", 0.05, 0.10)
