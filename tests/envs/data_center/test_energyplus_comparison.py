"""The NumPy plant beside EnergyPlus: what the differences count, and that they are small."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from rlkit_envs.data_center.economisers import EconomiserMode
from rlkit_envs.data_center.energyplus import comparison
from rlkit_envs.data_center.humidity import HumidityDesign
from rlkit_envs.data_center.load_traces import make_load
from rlkit_envs.data_center.presets import chilled_water_hall
from rlkit_envs.data_center.synthetic_weather import synthetic

DESIGN = replace(chilled_water_hall(), humidity=HumidityDesign(humidifier_kg_s=0.0))


def test_differences_are_those_of_hourly_means():
    # Hours of ours 12, 8 and 11 beside 10, 10 and 10: misses 2, -2 and 1, whatever lies within.
    within = np.tile([-3.0, 3.0], 6)
    ours = np.concatenate([12.0 + within, 8.0 - within, 11.0 + within])
    found = comparison.difference("W", ours, np.full(36, 10.0))
    assert (found.ours, found.theirs) == pytest.approx((31.0 / 3.0, 10.0))
    assert found.nmbe == pytest.approx(1.0 / 30.0)
    assert found.rmse == pytest.approx(3.0**0.5)
    assert found.cv_rmse == pytest.approx(3.0**0.5 / 10.0)


@pytest.fixture(scope="module")
def weather():
    return synthetic("mixed_humid", seed=3)


@pytest.fixture(scope="module")
def load():
    return make_load("diurnal", seed=3)


def test_days_side_by_side_are_days_in_a_row(weather, load):
    actions = comparison.varied_set_points(weather, seed=3)
    both = comparison.run_plant(DESIGN, weather, load, actions, first_day=100, days=2)
    second = comparison.run_plant(DESIGN, weather, load, actions, first_day=101, days=1)
    for name, values in both.values.items():
        np.testing.assert_array_equal(values[288:], second.values[name])
    # The second day goes on where the first ended, though begun by itself.
    hall = both.values["metal_temperature"]
    assert abs(hall[288] - hall[287]) < np.abs(np.diff(hall)).max()


def test_set_points_leave_the_exchanger_alone_only_in_the_cold(weather, load):
    for actions in (
        comparison.steady_set_points(weather, load),
        comparison.varied_set_points(weather, seed=3),
    ):
        alone = np.asarray(actions.economiser) == EconomiserMode.FULL
        chilled = np.broadcast_to(actions.chilled_water_degc, alone.shape)
        assert alone.any()
        assert (weather.wet_bulb_degc[alone] + 6.0 <= chilled[alone]).all()
        assert set(np.unique(actions.economiser)) == {0, 1, 2}


@pytest.mark.skipif(
    importlib.util.find_spec("pyenergyplus") is None, reason="needs the extra energyplus"
)
@pytest.mark.parametrize("first_day", [20, 105, 200])
def test_two_days_of_changing_set_points_are_the_same_in_energyplus(weather, load, first_day):
    actions = comparison.varied_set_points(weather, seed=3)
    ours = comparison.run_plant(DESIGN, weather, load, actions, first_day=first_day, days=2)
    theirs = comparison.run_energyplus(DESIGN, weather, load, actions, first_day=first_day, days=2)
    found = comparison.differences(ours, theirs)
    for name in ("total_power", "chiller_power", "air_handler_fan_power", "server_fan_power"):
        # In winter the chiller only helps where set points jump.
        if name != "chiller_power" or found[name].theirs > 5e4:
            assert abs(found[name].nmbe) < 0.05, name
            assert found[name].cv_rmse < 0.15, name
    for name in ("supply_temperature", "inlet_temperature", "hottest_inlet_temperature"):
        assert found[name].rmse < 1.0, name
