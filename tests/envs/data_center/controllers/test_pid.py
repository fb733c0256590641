"""PID: worked steps, no offset, no wind-up, and taking over without a jump."""

import numpy as np
import pytest

from rlkit_envs.data_center.controllers.air_sequence import AirSequence
from rlkit_envs.data_center.controllers.controller import Observed, TrackingController
from rlkit_envs.data_center.controllers.pid import PID, PIDSettings
from rlkit_envs.data_center.controllers.resets import ResetLine
from rlkit_envs.data_center.environment import DataCenterEnvs
from rlkit_envs.data_center.plant_state import PlantActions
from rlkit_envs.data_center.presets import PRESETS

SETTINGS = PIDSettings(
    target_degc=25.0,
    proportional=0.5,
    integral=0.25,
    supply_air=ResetLine(0.0, 1.0, 20.0, 20.0),
    chilled_water=ResetLine(0.0, 1.0, 14.0, 14.0),
    sequence=AirSequence(2.0, 4.0, least_flow_ratio=0.36, most_flow_ratio=1.0, flow_span_k=8.0),
)


def act(controller, observed) -> dict[str, np.ndarray]:
    """Set points by name."""
    return {name: np.asarray(v) for name, v in controller.act(observed)._asdict().items()}


def observed(hottest):
    hottest = np.array(hottest, dtype=float)
    columns = {
        "hottest_inlet_degc": hottest,
        "outdoor_wet_bulb_degc": np.full(hottest.shape, 10.0),
        "condenser_water_degc": np.full(hottest.shape, 16.0),
    }
    return Observed(np.empty((len(hottest), 0), np.float32), columns)


def begun(settings=SETTINGS, rows=1):
    controller = PID(settings)
    controller.reset(np.ones(rows, bool))
    return controller


def demand(actions):
    return SETTINGS.sequence.demand_k(actions["supply_air_degc"] - 20.0, actions["air_flow_ratio"])


def test_proportional_integral_and_derivative_add_up_as_worked_by_hand():
    settings = PIDSettings(**{**vars(SETTINGS), "derivative": 0.1})
    controller = begun(settings)
    found = [demand(act(controller, observed([t])))[0] for t in (27.0, 28.0, 26.0, 26.0)]
    # From 2 + 8 / 2 on. Errors 2, 3, 1, 1; they change by 0, 1, -2, 0; and that by 0, 1, -3, 2.
    steps = [0.5, 0.75 + 0.5 + 0.1, 0.25 - 1.0 - 0.3, 0.25 + 0.2]
    np.testing.assert_allclose(found, 6.0 + np.cumsum(steps))


@pytest.mark.parametrize("site", PRESETS)
@pytest.mark.parametrize("utilisation", [0.3, 0.9])
def test_the_hottest_inlet_settles_at_its_target_without_offset(site, utilisation, course):
    load = np.full(105_120, utilisation)
    envs = DataCenterEnvs(2, site=site, weather=("hot_humid", "cold"), load=load, start_day=150.0)
    controller = PID(PIDSettings.for_design(envs.design))
    run = course(controller, envs, 120)
    np.testing.assert_allclose(run.quantities["hottest_inlet_degc"][-24:], 25.5, atol=0.1)
    assert np.ptp(run.actions["air_flow_ratio"][-24:], axis=0).max() < 0.02  # it does not hunt


def test_nothing_winds_up_while_air_and_supply_are_at_their_ends():
    controller = begun(rows=2)
    actions = [act(controller, observed([40.0, 10.0])) for _ in range(200)][-1]
    np.testing.assert_allclose(actions["air_flow_ratio"], [1.0, 0.36])
    np.testing.assert_allclose(actions["supply_air_degc"], [16.0, 22.0])
    actions = act(controller, observed([24.0, 26.0]))
    # The error falls by 16 K and rises by 16: far from the ends in one step.
    np.testing.assert_allclose(demand(actions), [14.0 - 8.0 - 0.25, 8.0 + 0.25])


def test_it_goes_on_from_someone_elses_set_points_and_lets_them_fade():
    controller = begun(rows=3)
    assert isinstance(controller, TrackingController)
    own = [act(controller, observed([27.0, 27.0, 27.0])) for _ in range(3)][-1]
    given = PlantActions(
        np.array([24.0, 26.0, 0.0]),
        np.array([0.5, 0.4, 0.0]),
        np.array([9.0, 18.0, 0.0]),
        np.array([0.9, 0.3, 0.0]),
        np.array([2, 0, 0]),
    )
    controller.track(given, np.array([True, True, False]))
    actions = act(controller, observed([25.0, 25.0, 27.0]))
    for name in ("supply_air_degc", "air_flow_ratio", "chilled_water_degc", "tower_fan_ratio"):
        np.testing.assert_allclose(actions[name][:2], getattr(given, name)[:2], atol=1e-9)
    assert demand(actions)[2] == pytest.approx(demand(own)[2] + 0.5)  # untouched
    actions = act(controller, observed([25.0, 25.0, 25.0]))
    np.testing.assert_allclose(actions["supply_air_degc"][0], 20.0 + 0.9 * 4.0)
    for _ in range(100):
        actions = act(controller, observed([25.0, 25.0, 25.0]))
    np.testing.assert_allclose(actions["supply_air_degc"][0], 20.0, atol=1e-3)
    np.testing.assert_allclose(actions["air_flow_ratio"][:2], [0.5, 0.4], atol=1e-3)
    np.testing.assert_allclose(actions["chilled_water_degc"], 14.0, atol=1e-3)


def test_what_is_taken_over_stays_within_the_limits_of_actions():
    # Warm supply that should warm further, cold supply that should cool further.
    controller = begun(rows=2)
    controller.track(PlantActions(np.array([31.9, 15.1]), np.array([0.37, 0.99]), 6.1, 1.0, 0))
    supplies = [act(controller, observed([15.0, 35.0]))["supply_air_degc"] for _ in range(30)]
    assert np.max(supplies) == 32.0
    assert np.min(supplies) == 15.0


def test_settings_out_of_range_are_named():
    with pytest.raises(ValueError, match=r"integral is 0\.0"):
        PIDSettings(integral=0.0)
