"""The economiser's mode at worked conditions, its patience, its way back, and what it saves."""

import numpy as np
import pytest

from rlkit_envs.data_center.controllers.controller import Observed, TrackingController
from rlkit_envs.data_center.controllers.economiser_rule import EconomiserRule, EconomiserSettings
from rlkit_envs.data_center.controllers.fixed import FixedSetPoints, FixedSettings
from rlkit_envs.data_center.controllers.pid import PID
from rlkit_envs.data_center.environment import DataCenterEnvs
from rlkit_envs.data_center.plant_state import PlantActions
from rlkit_envs.data_center.presets import PRESETS

WATER = PRESETS["chilled_water_hall"]()
AIR = PRESETS["air_economised_hall"]()
BASE = FixedSettings(supply_air_degc=22.0, chilled_water_degc=15.0, tower_fan_ratio=0.7)
SETTINGS = EconomiserSettings(approach_k=5.0, hysteresis_k=1.0, hold_steps=4)
OFF, PRECOOL, FULL = 0, 1, 2


def act(controller, observed) -> dict[str, np.ndarray]:
    """Set points by name."""
    return {name: np.asarray(v) for name, v in controller.act(observed)._asdict().items()}


def begun(design, rows, settings=SETTINGS, base=None):
    controller = EconomiserRule(base or FixedSetPoints(BASE), design, settings)
    controller.reset(np.ones(rows, bool))
    return controller


def outdoors(dry_bulb, wet_bulb, **others):
    usual = {
        "chilled_return_degc": 22.0,
        "chilled_water_degc": 15.0,
        "condenser_water_degc": 14.0,
        "supply_air_degc": 22.0,
        "return_air_degc": 34.0,
        "hottest_inlet_degc": 25.5,
    }
    usual |= {"outdoor_dry_bulb_degc": dry_bulb, "outdoor_wet_bulb_degc": wet_bulb, **others}
    columns = np.broadcast_arrays(*(np.array(value, float) for value in usual.values()))
    rows = columns[0].shape or (1,)
    readings = {n: np.array(np.broadcast_to(c, rows)) for n, c in zip(usual, columns, strict=True)}
    return Observed(np.empty((*rows, 0), np.float32), readings)


@pytest.mark.parametrize(
    ("wet_bulb", "returned", "mode"),
    [
        (5.0, 22.0, FULL),  # 5 + 5 + 1 of hysteresis <= 15
        (9.0, 22.0, FULL),  # just
        (9.1, 22.0, PRECOOL),
        (16.0, 22.0, PRECOOL),  # 16 + 5 + 1 <= 22, just
        (16.1, 22.0, OFF),
        (12.0, 18.0, PRECOOL),
        (12.1, 18.0, OFF),
    ],
)
def test_an_exchanger_serves_as_far_as_the_wet_bulb_lets_it(wet_bulb, returned, mode):
    controller = begun(WATER, 1)
    actions = act(controller, outdoors(30.0, wet_bulb, chilled_return_degc=returned))
    assert actions["economiser"].tolist() == [mode]
    assert actions["economiser"].dtype == np.int64


def test_a_mode_is_left_later_than_it_is_entered_and_kept_for_twenty_minutes():
    controller = begun(WATER, 1)
    # Entered at 9; left above 10, once four steps have passed; entered again only at 9, as patient.
    wet_bulbs = [9.0, 10.0, 10.1, 10.1, 10.1, 10.1, 9.5, 8.0, 8.0, 8.0]
    modes = [act(controller, outdoors(20.0, t))["economiser"][0] for t in wet_bulbs]
    assert modes == [2, 2, 2, 2, 1, 1, 1, 1, 2, 2]


def test_warm_water_or_air_brings_the_chiller_back_at_once():
    for design, cold, sensor in (
        (WATER, outdoors(5.0, 3.0), "chilled_water_degc"),
        (AIR, outdoors(5.0, 3.0), "supply_air_degc"),
    ):
        controller = begun(design, 1)
        assert act(controller, cold)["economiser"][0] == FULL
        setpoint = 15.0 if design is WATER else 22.0
        warm = {sensor: setpoint + 0.9}
        assert act(controller, outdoors(5.0, 3.0, **warm))["economiser"][0] == FULL
        warm = {sensor: setpoint + 1.1}
        assert act(controller, outdoors(5.0, 3.0, **warm))["economiser"][0] == PRECOOL
        modes = [act(controller, cold)["economiser"][0] for _ in range(5)]
        assert modes == [1, 1, 1, 2, 2]  # and is let go again after 20 minutes


def test_the_towers_fan_serves_the_exchanger_while_it_runs_and_else_the_controller():
    controller = begun(WATER, 2)
    # The water of the tower is held 1 K below 15 degC; row 1 has no use for the exchanger.
    fans = [
        act(controller, outdoors([10.0, 30.0], [5.0, 25.0], condenser_water_degc=15.0))
        for _ in range(3)
    ]
    np.testing.assert_allclose([f["tower_fan_ratio"][0] for f in fans], [0.52, 0.54, 0.56])
    assert [f["tower_fan_ratio"][1] for f in fans] == [0.7] * 3
    warm = outdoors(10.0, 5.0, condenser_water_degc=[20.0, 20.0])
    actions = [act(controller, warm) for _ in range(99)][-1]
    assert actions["tower_fan_ratio"].tolist() == [0.9, 0.9]


def test_the_towers_fan_goes_on_from_where_the_controller_had_it():
    controller = begun(WATER, 1)
    for _ in range(20):
        act(controller, outdoors(30.0, 25.0, condenser_water_degc=30.0))
    cold = act(controller, outdoors(10.0, 5.0, condenser_water_degc=16.0))
    np.testing.assert_allclose(cold["tower_fan_ratio"], 0.7 + 0.02 * 2.0)


@pytest.mark.parametrize(
    ("dry_bulb", "wet_bulb", "mode"),
    [
        (10.0, 8.0, FULL),
        (20.0, 12.0, FULL),  # dew point near 5 degC, and colder than the supply's 22
        (21.0, 12.0, PRECOOL),  # wetted down to 21.5 less nothing: not colder by the hysteresis
        (26.0, 14.0, PRECOOL),  # wetted from 26 to 21.5: dew point near 10
        (26.0, 19.0, OFF),  # a dew point near 17: beyond 15
        (40.0, 16.0, PRECOOL),  # hot and dry: wetted by 80 % of 24 K to 21.5, dew point near 13
        (40.0, 21.0, OFF),
        (24.0, 23.0, OFF),
    ],
)
def test_outdoor_air_serves_where_it_is_cool_and_dry_behind_the_cooler(dry_bulb, wet_bulb, mode):
    assert act(begun(AIR, 1), outdoors(dry_bulb, wet_bulb))["economiser"].tolist() == [mode]


def test_outdoor_air_stands_alone_only_well_within_the_limits_of_its_dampers():
    # At 18 degC these wet bulbs are dew points near 16.5, 13.6 and 9; the limit is 15.
    for wet_bulb, mode in ((17.0, OFF), (15.3, PRECOOL), (13.0, FULL)):
        assert act(begun(AIR, 1), outdoors(18.0, wet_bulb))["economiser"][0] == mode


def test_a_site_without_economiser_is_left_to_its_controller():
    controller = begun(PRESETS["small_room"](), 1)
    actions = act(controller, outdoors(-10.0, -11.0))
    assert actions["economiser"].tolist() == [OFF]
    assert actions["tower_fan_ratio"].tolist() == [0.7]
    assert controller.name == "fixed 22 degC + economiser"


def test_it_takes_over_with_the_mode_that_it_finds_unless_that_is_wrong():
    controller = begun(WATER, 2, base=PID())
    assert isinstance(controller, TrackingController)
    act(controller, outdoors([10.0] * 2, 20.0))
    given = PlantActions(
        np.full(2, 21.0), np.full(2, 0.6), np.full(2, 16.5), np.full(2, 0.33), np.array([2, 2])
    )
    controller.track(given)
    actions = act(controller, outdoors([10.0] * 2, [11.0, 20.0], condenser_water_degc=15.9))
    assert actions["economiser"].tolist() == [FULL, OFF]
    np.testing.assert_allclose(actions["supply_air_degc"], 21.0)
    np.testing.assert_allclose(actions["tower_fan_ratio"][0], 0.33, atol=0.02)
    with pytest.raises(TypeError, match="fixed 22 degC cannot go on"):
        begun(WATER, 2).track(given)


@pytest.mark.parametrize("site", ["chilled_water_hall", "air_economised_hall"])
def test_it_spares_the_chiller_in_cold_weather_and_lets_it_work_in_humid(site, course):
    def run(climate, day, economised):
        envs = DataCenterEnvs(1, site=site, weather=climate, start_day=day, episode_days=1)
        controller = FixedSetPoints(BASE)
        if economised:
            controller = EconomiserRule(controller, envs.design)
        return course(controller, envs, 144)

    alone, economised = (run("very_cold", 20.0, flag) for flag in (False, True))
    spared = economised.counts["compressor_energy"] / alone.counts["compressor_energy"]
    assert spared[0] < 0.03
    assert economised.counts["hours_supply_missed"][0] < 0.5
    assert not run("hot_humid", 200.0, True).actions["economiser"].any()
