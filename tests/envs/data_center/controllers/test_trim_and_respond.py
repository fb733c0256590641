"""Guideline 36: rates worked by hand, who requests what, and the plant under it."""

import numpy as np
import pytest
from numpy.typing import ArrayLike

from rlkit_envs.data_center.controllers.air_sequence import AirSequence
from rlkit_envs.data_center.controllers.controller import Observed
from rlkit_envs.data_center.controllers.resets import ResetLine
from rlkit_envs.data_center.controllers.trim_and_respond import (
    TrimAndRespond,
    TrimAndRespondSettings,
    trim_and_respond,
)
from rlkit_envs.data_center.environment import DataCenterEnvs

SETTINGS = TrimAndRespondSettings(
    target_degc=25.0,
    request_k=0.5,
    supply_air=ResetLine(0.0, 1.0, 20.0, 20.0),
    sequence=AirSequence(2.0, 4.0, least_flow_ratio=0.25, most_flow_ratio=1.0, flow_span_k=14.0),
    warmest_chilled_degc=17.0,
    coldest_chilled_degc=7.0,
)
"""A demand of 20 K at 100 %, 10 K of chilled water."""


def act(controller, observed) -> dict[str, np.ndarray]:
    """Set points by name."""
    return {name: np.asarray(v) for name, v in controller.act(observed)._asdict().items()}


def observed(hottest: ArrayLike = 20.0, valve=0.5, supply: ArrayLike = 20.0, rows=1):
    values = {
        "hottest_inlet_degc": hottest,
        "valve_ratio": valve,
        "supply_air_degc": supply,
        "outdoor_wet_bulb_degc": 10.0,
        "condenser_water_degc": 16.0,
    }
    columns = {name: np.broadcast_to(np.array(v, float), rows) for name, v in values.items()}
    return Observed(np.empty((rows, 0), np.float32), columns)


def begun(rows=1, settings=SETTINGS):
    controller = TrimAndRespond(settings)
    controller.reset(np.ones(rows, bool))
    return controller


def air_demand(actions, settings=SETTINGS):
    return settings.sequence.demand_k(actions["supply_air_degc"] - 20.0, actions["air_flow_ratio"])


@pytest.mark.parametrize(
    ("requests", "ignored", "change"),
    [(0, 0, -0.02), (1, 0, 0.01), (2, 0, 0.04), (3, 0, 0.05), (2, 2, -0.02), (3, 2, 0.01)],
)
def test_a_step_trims_and_responds_by_the_guidelines_numbers(requests, ignored, change):
    settings = TrimAndRespondSettings(ignored=ignored)
    new = trim_and_respond(settings, np.array([0.5, 0.99, 0.01]), np.full(3, requests))
    np.testing.assert_allclose(new, np.clip(np.array([0.5, 0.99, 0.01]) + change, 0.0, 1.0))


def test_nothing_moves_before_the_delay_and_then_both_loops_trim():
    controller = begun()
    demands, chilled = [], []
    for _ in range(5):
        actions = act(controller, observed())
        demands.append(air_demand(actions)[0])
        chilled.append(actions["chilled_water_degc"][0])
    np.testing.assert_allclose(demands, [10.0, 10.0, 10.0, 9.6, 9.2])
    np.testing.assert_allclose(chilled, [12.0, 12.0, 12.0, 12.2, 12.4])


def test_a_hotter_inlet_sends_more_requests():
    hottest = np.array([24.99, 25.0, 25.49, 25.5, 26.0, 30.0])
    controller = begun(6)
    for _ in range(3):
        act(controller, observed(rows=6))
    demand = air_demand(act(controller, observed(hottest, rows=6)))
    np.testing.assert_allclose(demand, 10.0 + 20.0 * np.array([-2, 1, 1, 4, 5, 5]) / 100)


def test_a_coil_asks_for_colder_water_until_its_valve_has_closed_a_little():
    controller = begun()
    for _ in range(3):
        act(controller, observed())
    valves = [0.90, 0.96, 0.90, 0.86, 0.84, 0.90]
    chilled = [act(controller, observed(valve=v))["chilled_water_degc"][0] for v in valves]
    # No request, then one as long as the valve stays above 0.85, then none.
    np.testing.assert_allclose(chilled, [12.2, 12.1, 12.0, 11.9, 12.1, 12.3])


def test_supply_that_misses_its_set_point_asks_twice_and_three_times():
    for above, change in ((1.9, 0.2), (2.1, -0.4), (3.1, -0.5)):
        controller = begun()
        actions = [act(controller, observed()) for _ in range(3)][-1]
        supply = actions["supply_air_degc"] + above
        chilled = act(controller, observed(supply=supply))["chilled_water_degc"]
        np.testing.assert_allclose(chilled, 12.0 + change)


def test_the_hottest_inlet_hovers_at_its_target(course):
    load = np.full(105_120, 0.6)
    envs = DataCenterEnvs(1, weather="marine", load=load, start_day=150.0, episode_days=1)
    hottest = course(TrimAndRespond(SETTINGS), envs, 288).quantities["hottest_inlet_degc"]
    settled = hottest[144:, 0]
    assert abs(settled.mean() - 25.0) < 0.2
    assert np.abs(settled - 25.0).max() < 0.6


def test_settings_out_of_range_are_named():
    with pytest.raises(ValueError, match=r"trim_ratio is 0\.02"):
        TrimAndRespondSettings(trim_ratio=0.02)
    with pytest.raises(ValueError, match=r"most_respond_ratio is 0\.01"):
        TrimAndRespondSettings(most_respond_ratio=0.01)
