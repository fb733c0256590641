"""The near-oracle: it foresees what the environments do, and no fixed set points beat it."""

import numpy as np
import pytest

from rlkit_envs.data_center.controllers.controller import Observed
from rlkit_envs.data_center.controllers.cross_entropy import CrossEntropy, CrossEntropySettings
from rlkit_envs.data_center.environment import DataCenterEnvs
from rlkit_envs.data_center.plant_state import PlantActions

EVENTFUL = {
    "weather": ("hot_dry", "cold"),
    "load": ("batch", "diurnal"),
    "pairing": "in_turn",
    "reward": {"price_per_kwh": [0.1, 0.3] * 12},
    "faults": [
        {"kind": "coil_fouling", "severity": 0.8, "growth_days": 0.05},
        {"kind": "sensor_bias", "sensor": "supply_air_degc", "severity": -1.0},
    ],
}
QUICK = CrossEntropySettings(candidates=8, elites=4, first_iterations=3)


def begin(rows, settings, *, envs_rows=None, **config):
    envs = DataCenterEnvs(envs_rows or rows, **config)
    observations, _ = envs.reset(seed=0)
    controller = CrossEntropy(envs, slice(0, rows), settings)
    controller.reset(np.ones(rows, bool))
    return envs, controller, observations


def shown(envs, observations):
    return Observed(observations, envs.readings(observations))


def play(envs, controller, observations, steps):
    """Rewards and told actions, (steps, rows) and name -> (steps, rows)."""
    rewards, told = [], []
    for _ in range(steps):
        actions = controller.act(shown(envs, observations))
        told.append(actions)
        observations, reward, *_ = envs.step(envs.actions.from_plant(actions))
        rewards.append(reward)
    columns = (np.array(values) for values in zip(*told, strict=True))
    return np.array(rewards), dict(zip(PlantActions._fields, columns, strict=True))


def test_expects_what_the_environments_then_do():
    """Faults that grow, a thermometer that lies, prices by the hour: all of it is foreseen."""
    settings = CrossEntropySettings(
        horizon_steps=6, heat_price_ratio=0.0, outside_penalty_per_k=0.0, candidates=8, elites=4
    )
    envs, controller, observations = begin(3, settings, start_day=2.45, **EVENTFUL)
    for _ in range(3):
        rewards, _ = play(envs, controller, observations, 6)
        np.testing.assert_allclose(controller.expected_cost, -rewards.sum(axis=0), rtol=1e-5)


def test_coarse_steps_foresee_about_the_same():
    expected = []
    for coarse in (1, 3):
        settings = CrossEntropySettings(
            decision_steps=4, horizon_steps=12, coarse_steps=coarse, heat_price_ratio=0.0
        )
        envs, controller, observations = begin(1, settings, start_day=100.0)
        controller.act(shown(envs, observations))
        expected.append(controller.expected_cost[0])
    assert expected[0] == pytest.approx(expected[1], rel=0.01)


@pytest.mark.parametrize("site", ["chilled_water_hall", "air_economised_hall", "small_room"])
def test_never_loses_to_its_fixed_candidates_over_a_day(site):
    climates = ("hot_humid", "marine", "cold")
    settings = CrossEntropySettings()
    rivals = [(points, mode) for points in settings.fixed for mode in range(3)]
    envs, controller, observations = begin(
        3,
        settings,
        envs_rows=3 * (1 + len(rivals)),
        site=site,
        weather=climates,
        pairing="in_turn",
        start_day=105.0,
        episode_days=2,
    )
    table = np.array([(*points, mode) for points, mode in rivals]).repeat(3, axis=0)
    returns = np.zeros(envs.num_envs)
    counts = {}
    for _ in range(288):
        planned = controller.act(shown(envs, observations))
        both = [np.append(a, b) for a, b in zip(planned, table.T, strict=True)]
        actions = PlantActions(*both[:4], economiser=both[4].astype(np.int64))
        observations, rewards, _, _, info = envs.step(envs.actions.from_plant(actions))
        returns += rewards
        counts = info["episode_counts"]
    best_rival = returns[3:].reshape(-1, 3).max(axis=0)
    assert (returns[:3] > best_rival).all()
    assert (counts["hours_outside_recommended"][:3] <= 0.25).all()
    if site == "chilled_water_hall":  # where every set point matters, by a wide margin
        energy = counts["facility_energy"].reshape(-1, 3)
        it = counts["it_energy"].reshape(-1, 3)
        overhead = energy - it
        safe = counts["hours_outside_recommended"].reshape(-1, 3)[1:] < 0.5
        assert (overhead[0] < 0.9 * np.where(safe, overhead[1:], np.inf).min(axis=0)).all()


def test_fixed_set_points_are_taken_where_they_are_best():
    settings = CrossEntropySettings(
        fixed=((20.0, 0.57, 8.0, 0.6), (40.0, 0.1, 25.0, 0.0)),  # the second is out of range
        candidates=4,
        elites=2,
        deviation=1e-6,
        first_iterations=1,
    )
    envs, controller, observations = begin(1, settings, start_day=15.0)
    told = [np.asarray(value) for value in controller.act(shown(envs, observations))]
    np.testing.assert_allclose(np.ravel(told[:4]), (20.0, 0.57, 8.0, 0.6))


def test_a_seed_decides_the_plans():
    runs = []
    for seed in (0, 0, 1):
        settings = CrossEntropySettings(candidates=8, elites=4, first_iterations=3, seed=seed)
        envs, controller, observations = begin(2, settings, **EVENTFUL)
        runs.append(np.stack(list(play(envs, controller, observations, 13)[1].values())))
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_an_episode_is_planned_as_if_there_had_been_none_before():
    envs, controller, observations = begin(2, QUICK, **EVENTFUL)
    _, once = play(envs, controller, observations, 7)
    observations, _ = envs.reset(seed=0)
    controller.reset(np.ones(2, bool))
    _, again = play(envs, controller, observations, 7)
    for name, plans in once.items():
        np.testing.assert_array_equal(plans, again[name], name)


def test_equal_rows_have_equal_plans_and_no_row_disturbs_another():
    config = {"weather": ("hot_dry", "hot_dry", "cold"), "pairing": "in_turn", "start_day": 80.0}
    envs, controller, observations = begin(3, QUICK, **config)
    _, together = play(envs, controller, observations, 13)
    envs, controller, observations = begin(1, QUICK, **config)
    _, alone = play(envs, controller, observations, 13)
    for name, plans in together.items():
        np.testing.assert_array_equal(plans[:, 0], plans[:, 1], name)
        np.testing.assert_array_equal(plans[:, 0], alone[name][:, 0], name)
    supply = together["supply_air_degc"]
    assert not np.array_equal(supply[:, 0], supply[:, 2])


def test_set_points_are_held_until_the_next_decision_or_episode():
    envs, controller, observations = begin(2, QUICK, start_day=80.0)
    _, told = play(envs, controller, observations, 8)
    supply = told["supply_air_degc"]
    assert (supply[:6] == supply[0]).all()
    assert (supply[6:] == supply[6]).all()
    assert (supply[6] != supply[5]).all()
    first, _ = envs.reset(options={"reset_mask": np.array([False, True])})
    controller.reset(np.array([False, True]))
    later = play(envs, controller, first, 5)[1]["supply_air_degc"]
    assert (later[:4, 0] == supply[7, 0]).all()
    assert later[4, 0] != supply[7, 0]
    assert (later[:, 1] == later[0, 1]).all()
    assert later[0, 1] != supply[7, 1]


def test_the_price_of_heat_left_keeps_plans_from_ending_warm():
    ends = []
    for price in (0.0, 1.0):
        settings = CrossEntropySettings(horizon_steps=6, heat_price_ratio=price)
        envs, controller, observations = begin(1, settings, start_day=200.0)
        play(envs, controller, observations, 6)
        ends.append(envs.state()["plant_metal_degc"][0])
    assert ends[1] < ends[0] - 0.5


def test_the_extra_charge_keeps_inlets_within_the_margin():
    hottest = []
    for charge in (0.0, 1.0):
        settings = CrossEntropySettings(outside_penalty_per_k=charge, inlet_margin_k=3.0)
        envs, controller, observations = begin(1, settings, start_day=200.5)
        play(envs, controller, observations, 18)
        assert envs.plant_step is not None
        hottest.append(envs.plant_step.hottest_inlet_degc[0])
    assert hottest[0] > 25.2
    assert 22.5 < hottest[1] < 24.1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"decision_steps": 0}, "decision_steps is 0"),
        ({"decision_steps": 6, "horizon_steps": 3}, "horizon_steps is 3"),
        ({"elites": 100}, "elites is 100"),
        ({"heat_price_ratio": -0.1}, "heat_price_ratio is -0.1"),
    ],
)
def test_settings_that_do_not_fit_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        CrossEntropySettings(**wrong)
    with pytest.raises(TypeError, match=r"coarse_steps must be whole, but is 1\.5"):
        CrossEntropySettings(coarse_steps=1.5)  # pyright: ignore[reportArgumentType]
