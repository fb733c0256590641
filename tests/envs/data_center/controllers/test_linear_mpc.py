"""Linear MPC: safe inlets at less energy than rules, from sensors alone."""

import dataclasses

import numpy as np
import pytest

from rlkit_envs.data_center.airflow import AirflowDesign
from rlkit_envs.data_center.controllers import linear_mpc
from rlkit_envs.data_center.controllers.controller import Observed
from rlkit_envs.data_center.controllers.convex_programme import solve
from rlkit_envs.data_center.controllers.economiser_rule import EconomiserRule
from rlkit_envs.data_center.controllers.fixed import FixedSetPoints, FixedSettings
from rlkit_envs.data_center.controllers.linear_mpc import LinearMPC, LinearMPCSettings, forecast
from rlkit_envs.data_center.controllers.pid import PID, PIDSettings
from rlkit_envs.data_center.economisers import EconomiserMode
from rlkit_envs.data_center.environment import DataCenterEnvs
from rlkit_envs.data_center.plant_state import PlantActions
from rlkit_envs.data_center.presets import chilled_water_hall

CLIMATES = ("hot_dry", "marine", "cold")


def at_20_degc(_):
    return FixedSetPoints(FixedSettings(20.0))


def by_rules(design):
    return EconomiserRule(PID(PIDSettings.for_design(design)), design)


def seen(envs, observations):
    return Observed(observations, envs.readings(observations))


def test_a_hot_day_is_safe_and_cheaper_than_rules(course):
    def run(make):
        envs = DataCenterEnvs(
            2,
            weather=("hot_dry", "hot_humid"),
            pairing="in_turn",
            start_day=200.3,
            episode_days=1,
        )
        return course(make(envs.design), envs, 144)

    planned, fixed, ruled = run(LinearMPC), run(at_20_degc).counts, run(by_rules).counts
    hottest = planned.quantities["hottest_inlet_degc"]
    assert 18.0 <= hottest.min() <= hottest.max() <= 27.0
    assert (planned.counts["facility_energy"] < 0.98 * fixed["facility_energy"]).all()
    assert (planned.counts["facility_energy"] < ruled["facility_energy"]).all()
    # No exchanger is trusted with all of it in the tropics.
    assert (planned.actions["economiser"][20:, 1] != EconomiserMode.FULL).all()


def test_a_cold_day_is_safe_without_the_chiller_and_cheaper_than_rules(course):
    def run(make):
        envs = DataCenterEnvs(
            2, weather=("cold", "marine"), pairing="in_turn", start_day=15.3, episode_days=1
        )
        return course(make(envs.design), envs, 72)

    planned, ruled = run(LinearMPC), run(by_rules)
    hottest = planned.quantities["hottest_inlet_degc"]
    assert 18.0 <= hottest.min() <= hottest.max() <= 27.0
    assert (planned.quantities["chiller_power_w"][24:, 0] == 0.0).all()
    assert (planned.counts["facility_energy"] < ruled.counts["facility_energy"]).all()


def test_a_room_without_water_is_held_by_what_it_has(course):
    def run(make):
        envs = DataCenterEnvs(
            2, site="small_room", weather=("hot_dry", "cold"), pairing="in_turn", start_day=200.3
        )
        return course(make(envs.design), envs, 96)

    planned, fixed = run(LinearMPC), run(at_20_degc)
    hottest = planned.quantities["hottest_inlet_degc"]
    assert set(planned.actions) == {"supply_air_degc", "air_flow_ratio"}
    assert 18.0 <= hottest[12:].min() <= hottest[12:].max() <= 27.0
    saved = 1.0 - planned.counts["facility_energy"] / fixed.counts["facility_energy"]
    assert (saved > 0.005).all()


@pytest.mark.parametrize(
    ("leapt_yesterday", "rise_share", "withstands"),
    [(True, 1.0, True), (True, 0.0, False), (False, 1.0, False)],
)
def test_a_leap_that_the_week_has_seen_is_withstood(leapt_yesterday, rise_share, withstands):
    load = np.full(105_120, 0.4)
    load[10 * 288 + 31 : 11 * 288] = 0.9  # in the midst of a quarter of an hour
    if leapt_yesterday:
        load[9 * 288 : 9 * 288 + 12] = 0.9
    envs = DataCenterEnvs(1, load=load, weather="marine", start_day=10.0)
    controller = LinearMPC(envs.design, settings=LinearMPCSettings(rise_share=rise_share))
    observations, _ = envs.reset(seed=0)
    controller.reset(np.ones(1, bool))
    flows, hottest = [], []
    for _ in range(40):
        actions = controller.act(seen(envs, observations))
        flows.append(np.asarray(actions.air_flow_ratio)[0])
        observations, *_ = envs.step(envs.actions.from_plant(actions))
        hottest.append(envs.readings(observations)["hottest_inlet_degc"][0])
    assert flows[31] == flows[30], "nobody knew"
    assert (max(hottest) < 27.0) == withstands
    assert max(hottest[33:]) < 27.0
    if not withstands:
        assert hottest[31] > 27.0
        at_once = flows[32] - flows[31]
        assert at_once > LinearMPCSettings().move_air_flow_ratio + 0.01, "and more than usual"


def test_margins_hold_inlets_and_leave_energy_as_foreseen(monkeypatch):
    """Of the same readings: what the solver is given without margins, and with each of them."""
    load = np.full(105_120, 0.5)
    load[199 * 288 : 199 * 288 + 12] = 0.8
    envs = DataCenterEnvs(1, load=load, weather="marine", start_day=200.0)
    observations, _ = envs.reset(seed=0)
    given = []

    def spy(cost, response_k, room_k, *rest):
        given.append((cost, room_k))
        return solve(cost, response_k, room_k, *rest)

    monkeypatch.setattr(linear_mpc, "solve", spy)
    nothing = LinearMPCSettings(load_margin=0.0, outdoor_margin_k=0.0, rise_share=0.0)
    margins = {"load_margin": 0.2, "outdoor_margin_k": 3.0, "rise_share": 1.0}
    for margin in ({}, *({name: value} for name, value in margins.items())):
        settings = dataclasses.replace(nothing, **margin)
        controller = LinearMPC(envs.design, settings=settings)
        controller.reset(np.ones(1, bool))
        controller.act(seen(envs, observations))
    (cost, room_k), *others = given
    leap, warm, cold = slice(0, 3), slice(3, 7), slice(7, 11)  # three steps, four stages
    assert room_k.shape == (3, 11)
    # A step in which nothing leaps is the step as foreseen: the third ends the first stage.
    np.testing.assert_allclose(room_k[:, 2], room_k[:, 3], atol=1e-9)
    for name, (its_cost, its_room_k) in zip(margins, others, strict=True):
        np.testing.assert_array_equal(its_cost, cost, name)
        np.testing.assert_array_equal(its_room_k[:, cold], room_k[:, cold], name)
        lost_k = room_k - its_room_k
        held, free = (leap, warm) if name == "rise_share" else (warm, leap)
        # A chiller makes up for warmer weather; the exchanger alone does until water is warm too.
        rows = [EconomiserMode.FULL] if name == "outdoor_margin_k" else [0, 1, 2]
        assert (lost_k[rows, held][..., -1] > 0.1).all(), name
        assert (lost_k >= 0.0).all(), name
        np.testing.assert_array_equal(its_room_k[:, free], room_k[:, free], name)


def test_where_every_set_point_is_too_warm_it_takes_the_coldest_within_reach():
    envs = DataCenterEnvs(1, load=np.full(105_120, 0.9), weather="hot_humid", start_day=200.0)
    controller = LinearMPC(envs.design)
    observations, _ = envs.reset(seed=0)
    controller.reset(np.ones(1, bool))
    warm = PlantActions(*(np.full(1, value) for value in (29.0, 0.45, 14.0, 0.8, 0)))
    for _ in range(6):
        observations, *_ = envs.step(envs.actions.from_plant(warm))
    assert envs.readings(observations)["hottest_inlet_degc"][0] > 33.0
    controller.track(warm)
    told = controller.act(seen(envs, observations))
    settings = LinearMPCSettings()
    supply = 29.0 - settings.rescue * settings.move_supply_air_k
    flow = 0.45 + settings.rescue * settings.move_air_flow_ratio
    assert np.asarray(told.supply_air_degc)[0] == pytest.approx(supply)
    assert np.asarray(told.air_flow_ratio)[0] == pytest.approx(flow)
    for _ in range(12):
        observations, *_ = envs.step(envs.actions.from_plant(told))
        told = controller.act(seen(envs, observations))
    assert envs.readings(observations)["hottest_inlet_degc"][0] < 27.0


def test_set_points_move_by_steps_and_are_held_for_a_quarter_of_an_hour(course):
    settings = LinearMPCSettings()
    envs = DataCenterEnvs(3, weather=CLIMATES, pairing="in_turn", start_day=105.0)
    actions = course(LinearMPC(envs.design, settings=settings), envs, 45).actions
    moves = {
        "supply_air_degc": settings.move_supply_air_k,
        "air_flow_ratio": settings.move_air_flow_ratio,
        "chilled_water_degc": settings.move_chilled_water_k,
        "tower_fan_ratio": settings.move_tower_fan_ratio,
    }
    same_mode = np.diff(actions["economiser"], axis=0) == 0
    for name, most in moves.items():
        change = np.abs(np.diff(actions[name], axis=0)) * same_mode
        assert change.max() <= most * (1.0 + 1e-4)
        assert change.max() > 0.5 * most
        held = np.arange(1, 45) % 3 != 0
        assert not change[held].any()


def test_a_site_that_leaks_more_than_its_design_says_is_held_all_the_same(course):
    def run(bias_correction):
        leaky = AirflowDesign(recirculation_ratio=0.1, leakage_ratio=0.08, hottest_rack_spread=2.5)
        site = dataclasses.replace(chilled_water_hall(), airflow=leaky)
        envs = DataCenterEnvs(1, site=site, weather="marine", start_day=200.3)
        settings = LinearMPCSettings(bias_correction=bias_correction, correction=0.3)
        controller = LinearMPC(chilled_water_hall(), settings=settings)
        return course(controller, envs, 60).quantities["hottest_inlet_degc"][24:]

    assert (run(0.3) > 27.0).mean() < 0.02
    assert (run(0.0) > 27.0).mean() > 0.2


def test_it_goes_on_from_set_points_that_someone_else_chose():
    envs = DataCenterEnvs(2, weather="marine", start_day=105.0)
    controller = LinearMPC(envs.design)
    observations, _ = envs.reset(seed=0)
    controller.reset(np.ones(2, bool))
    first = controller.act(seen(envs, observations))
    other = PlantActions(*(np.full(2, value) for value in (24.0, 0.6, 14.0, 0.7, 1)))
    controller.track(other, np.array([False, True]))
    second = controller.act(seen(envs, observations))
    assert np.asarray(second.supply_air_degc)[0] == np.asarray(first.supply_air_degc)[0]
    assert abs(np.asarray(second.supply_air_degc)[1] - 24.0) <= 1.5
    assert abs(np.asarray(second.air_flow_ratio)[1] - 0.6) <= 0.08
    moved = [
        np.asarray(new)[1] != np.asarray(old)[1] for new, old in zip(second, other, strict=True)
    ]
    assert any(moved), "it decides anew at once"


@pytest.mark.parametrize("revisit", [4, 96])
def test_a_mode_is_tried_from_the_set_points_that_it_last_had(revisit):
    """From where its other modes took it, the way back is more than one move long."""
    envs = DataCenterEnvs(1, weather="marine", start_day=15.0)
    controller = LinearMPC(envs.design, settings=LinearMPCSettings(revisit=revisit))
    observations, _ = envs.reset(seed=0)
    controller.reset(np.ones(1, bool))
    told = controller.act(seen(envs, observations))
    for _ in range(11):
        observations, *_ = envs.step(envs.actions.from_plant(told))
        told = controller.act(seen(envs, observations))
    observations, *_ = envs.step(envs.actions.from_plant(told))
    assert told.economiser == EconomiserMode.FULL
    away = PlantActions(*(np.full(1, value) for value in (16.0, 0.9, 7.0, 1.0, 0)))
    controller._told = PlantActions(*(value.copy() for value in away))
    controller._held[:] = 0
    then = controller.act(seen(envs, observations))
    runs = {"last": told, "away": away, "then": then}
    supply, flow = (
        {when: float(np.asarray(actions[at])[0]) for when, actions in runs.items()} for at in (0, 1)
    )
    begun = "last" if revisit == 4 else "away"
    assert abs(supply["last"] - supply["away"]) > 3.0
    assert abs(flow["last"] - flow["away"]) > 0.3
    assert abs(supply["then"] - supply[begun]) < 1.501
    assert abs(flow["then"] - flow[begun]) < 0.0801


def test_rows_are_run_as_if_alone_and_an_episode_forgets_the_one_before(course):
    def run(climates, controller=None):
        envs = DataCenterEnvs(
            len(climates),
            weather=climates,
            load=("step", "bursty", "diurnal")[: len(climates)],
            pairing="side_by_side",
            start_day=105.0,
        )
        controller = controller or LinearMPC(envs.design)
        return controller, course(controller, envs, 13).actions

    controller, first = run(CLIMATES)
    _, again = run(CLIMATES, controller)
    _, alone = run(CLIMATES[:1])
    _, two = run(CLIMATES[:2])
    for name, told in first.items():
        np.testing.assert_array_equal(told, again[name], name)
        np.testing.assert_allclose(told[:, :1], alone[name], atol=1e-6, err_msg=name)
        np.testing.assert_allclose(told[:, :2], two[name], atol=1e-6, err_msg=name)
    assert not np.allclose(first["supply_air_degc"][:, 0], first["supply_air_degc"][:, 2])


def test_forecasts_are_read_between_their_hours():
    readings = {
        "outdoor_dry_bulb_degc": np.array([10.0, 0.0]),
        "outdoor_wet_bulb_degc": np.array([8.0, -1.0]),
    }
    dry, wet = forecast(readings, 2.0)
    np.testing.assert_array_equal(dry, [10.0, 0.0])
    np.testing.assert_array_equal(wet, [8.0, -1.0])
    readings |= {
        "forecast_dry_bulb_3h_degc": np.array([8.0, 4.0]),
        "forecast_wet_bulb_3h_degc": np.array([7.0, 3.0]),
        "forecast_dry_bulb_0.5h_degc": np.array([14.0, 2.0]),
        "forecast_wet_bulb_0.5h_degc": np.array([9.0, 1.0]),
    }
    for hours, expected in ((0.0, 10.0), (0.25, 12.0), (0.5, 14.0), (1.75, 11.0), (9.0, 8.0)):
        assert forecast(readings, hours)[0][0] == pytest.approx(expected)
    assert forecast(readings, 1.75)[1][1] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"stages": 1}, "stages is 1"),
        ({"stages": 4.5}, r"stages must be whole, but is 4\.5"),
        ({"revisit": 0}, "revisit is 0"),
        ({"move_air_flow_ratio": 0.0}, r"move_air_flow_ratio is 0\.0"),
        ({"rise_share": -0.5}, r"rise_share is -0\.5"),
        ({"pressure_pa": 101.3}, r"pressure_pa is 101\.3"),
    ],
)
def test_settings_that_do_not_fit_are_named(wrong, message):
    with pytest.raises((ValueError, TypeError), match=message):
        LinearMPCSettings(**wrong)
