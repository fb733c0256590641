"""The tower's fan loop: worked steps, limits, and a real tower at its set point."""

import numpy as np
import pytest

from rlkit_envs.data_center.controllers.condenser_water import (
    CondenserWaterLoop,
    CondenserWaterSettings,
)
from rlkit_envs.data_center.controllers.resets import Resets, ResetSettings
from rlkit_envs.data_center.environment import DataCenterEnvs

SETTINGS = CondenserWaterSettings(approach_k=6.0, least_degc=10.0, gain_per_k=0.02)


def readings(condenser, wet_bulb):
    return {
        "condenser_water_degc": np.array(condenser),
        "outdoor_wet_bulb_degc": np.array(wet_bulb),
    }


def test_the_fan_integrates_what_the_water_is_above_wet_bulb_and_approach():
    loop = CondenserWaterLoop(SETTINGS)
    loop.reset(np.ones(3, bool))
    # 2 K above 20 + 6; 1 K below; 3 K above the least set point, though 13 above the wet bulb + 6.
    fan = loop.act(readings([28.0, 25.0, 13.0], [20.0, 20.0, -6.0]))
    np.testing.assert_allclose(fan, [0.54, 0.48, 0.56])
    fan = loop.act(readings([28.0, 26.0, 13.0], [20.0, 20.0, -6.0]))
    np.testing.assert_allclose(fan, [0.58, 0.48, 0.62])
    np.testing.assert_allclose(loop.act(readings([15.0] * 3, [20.0] * 3), 14.0), fan + 0.02)


def test_the_fan_stays_within_its_limits_and_leaves_them_at_once():
    loop = CondenserWaterLoop(SETTINGS)
    loop.reset(np.ones(2, bool))
    fan = [loop.act(readings([40.0, 5.0], [20.0, 20.0])) for _ in range(50)][-1]
    assert fan.tolist() == [1.0, 0.2]
    np.testing.assert_allclose(loop.act(readings([24.0, 28.0], [20.0, 20.0])), [0.96, 0.24])


def test_only_rows_that_begin_or_are_tracked_are_set():
    loop = CondenserWaterLoop(SETTINGS)
    loop.reset(np.ones(3, bool))
    loop.track(np.array([0.9, 0.0, 0.7]), np.array([True, True, False]))
    still = readings([26.0] * 3, [20.0] * 3)
    np.testing.assert_allclose(loop.act(still), [0.9, 0.2, 0.5])
    loop.reset(np.array([True, False, False]))
    np.testing.assert_allclose(loop.act(still), [0.5, 0.2, 0.5])
    assert loop.act({}).tolist() == [0.5, 0.2, 0.5]  # a site without a tower


@pytest.mark.parametrize("site", ["chilled_water_hall", "air_economised_hall"])
def test_a_real_towers_water_comes_to_its_approach(site, course):
    settings = ResetSettings(condenser=CondenserWaterSettings(approach_k=5.0))
    envs = DataCenterEnvs(2, site=site, weather="hot_humid", start_day=200.0, episode_days=1)
    run = course(Resets(settings), envs, 144)
    approach = run.quantities["condenser_water_degc"] - run.quantities["outdoor_wet_bulb_degc"]
    assert np.abs(approach[36:] - 5.0).max() < 0.6
