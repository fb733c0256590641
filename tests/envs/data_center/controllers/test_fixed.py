"""Fixed set points hold, in every row by itself."""

import numpy as np
import pytest

from rlkit_envs.data_center.controllers.controller import Observed
from rlkit_envs.data_center.controllers.fixed import FixedSetPoints, FixedSettings
from rlkit_envs.data_center.environment import DataCenterEnvs

NOTHING = Observed(np.empty((2, 0), np.float32), {})


def act(controller, observed) -> dict[str, np.ndarray]:
    """Set points by name."""
    return {name: np.asarray(v) for name, v in controller.act(observed)._asdict().items()}


def test_set_points_hold_whatever_happens(course):
    settings = FixedSettings(23.0, 0.7, 12.0, 0.6, "precool")
    envs = DataCenterEnvs(2, weather=("hot_dry", "cold"), pairing="in_turn", episode_days=1)
    run = course(FixedSetPoints(settings), envs, 300)  # past the end of the first episode
    ordinary = np.arange(300) != 288  # the step that begins an episode ignores its action
    for name, value in (
        ("supply_air_degc", 23.0),
        ("air_flow_ratio", 0.7),
        ("chilled_water_degc", 12.0),
        ("tower_fan_ratio", 0.6),
        ("economiser", 1),
    ):
        np.testing.assert_allclose(run.actions[name][ordinary], value, atol=1e-5)


def test_rows_may_differ_and_the_name_tells_the_supply():
    controller = FixedSetPoints((FixedSettings(20.0), FixedSettings(27.0, economiser="full")))
    controller.reset(np.ones(2, bool))
    actions = act(controller, NOTHING)
    assert actions["supply_air_degc"].tolist() == [20.0, 27.0]
    assert actions["economiser"].tolist() == [0, 2]
    assert actions["economiser"].dtype == np.int64
    assert FixedSetPoints(FixedSettings(22.5)).name == "fixed 22.5 degC"


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match=r"economiser is 'on': there are off, precool, full"):
        FixedSettings(economiser="on")
    with pytest.raises(ValueError, match=r"supply_air_degc is 4\.0"):
        FixedSettings(supply_air_degc=4.0)
    with pytest.raises(ValueError, match="no settings"):
        FixedSetPoints(())
    with pytest.raises(ValueError, match="3 settings for 2 rows"):
        FixedSetPoints((FixedSettings(),) * 3).reset(np.ones(2, bool))
