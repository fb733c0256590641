"""The environment: Gymnasium's rules, rows of a batch, seeds, resets, saved states, counts."""

from copy import deepcopy

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3

import rlkit_envs  # noqa: F401 (registers the environment)
from rlkit_envs.data_center.environment import DataCenterEnvs, select_rows
from rlkit_envs.data_center.presets import PRESETS
from rlkit_envs.data_center.single_environment import DataCenterEnv

ID = "rlkit/DataCenterCooling-v0"
KWH = 300.0 / 3.6e6
EVENTFUL = {
    "weather": ["hot_dry", "cold"],
    "load": ["diurnal", "batch"],
    "sensors": {"noise": 1.0, "delay_steps": 2},
    "reward": {"price_per_kwh": [0.1] * 12 + [0.2] * 12},
    "faults": [
        {"kind": "coil_fouling", "severity": [0.2, 0.9], "onset_day": [0.0, 0.02]},
        {"kind": "sensor_drift", "sensor": "supply_air_degc", "probability": 0.5},
    ],
}
"""Several climates and loads, noise, delay, prices and faults, as JSON would have them."""


def random_actions(envs, steps, seed=0):
    generator = np.random.default_rng(seed)
    shape = (steps, envs.num_envs, *envs.single_action_space.shape)
    return generator.uniform(-1.0, 1.0, shape).astype(np.float32)


def play(envs, actions):
    return [envs.step(action) for action in actions]


def assert_same_info(first, second, row=None):
    assert first.keys() == second.keys()
    for name, value in first.items():
        if isinstance(value, dict):
            assert_same_info(value, second[name], row)
        else:
            np.testing.assert_array_equal(value if row is None else value[row], second[name], name)


@pytest.mark.parametrize("site", PRESETS)
@pytest.mark.parametrize("discrete", [False, True])
def test_passes_the_checks_of_gymnasium_and_stable_baselines3(site, discrete):
    env = gym.make(ID, site=site, discrete=discrete)
    check_env(env.unwrapped)
    check_env_for_sb3(env)


def test_is_made_natively_vectorised_by_name():
    envs = gym.make_vec(ID, num_envs=3, site="small_room", episode_days=2)
    assert isinstance(envs.unwrapped, DataCenterEnvs)
    observations, _ = envs.reset(seed=1)
    assert envs.observation_space.contains(observations)
    info = envs.step(np.zeros((3, 2), np.float32))[4]
    assert info["episode_counts"].keys() == envs.metadata["episode_counts"].keys()


def test_a_row_of_a_batch_is_the_single_environment_of_its_seed():
    envs = DataCenterEnvs(3, **EVENTFUL)
    seeds = [7, 8, 9]
    first, first_info = envs.reset(seed=seeds)
    actions = random_actions(envs, 6)
    steps = play(envs, actions)
    assert len(set(first_info["weather"].tolist())) == 2  # or the rows would prove less
    for row, seed in enumerate(seeds):
        env = DataCenterEnv(**EVENTFUL)
        observation, info = env.reset(seed=seed)
        np.testing.assert_array_equal(first[row], observation)
        assert_same_info(first_info, info, row)
        for action, (observations, rewards, _, _, infos) in zip(actions, steps, strict=True):
            observation, reward, _, _, info = env.step(action[row])
            np.testing.assert_array_equal(observations[row], observation)
            assert rewards[row] == reward
            assert_same_info(infos, info, row)


@pytest.mark.parametrize("site", PRESETS)
def test_a_site_alone_goes_as_in_a_batch_through_all_weathers(site):
    years = {"weather": ["hot_humid", "cold"], "pairing": "in_turn", "episode_days": 365}
    envs = DataCenterEnvs(2, site=site, **years)
    first, _ = envs.reset(seed=[3, 4])
    alone = DataCenterEnvs(1, site=site, **years)
    np.testing.assert_array_equal(alone.reset(seed=[3])[0][0], first[0])
    for time in (0, 30_000, 52_000, 80_000):  # of the year
        for each in (envs, alone):
            state = each.state()
            state["time"][:] = time
            each.set_state(state)
        for action in random_actions(envs, 60, seed=time):
            observations, rewards, _, _, info = envs.step(action)
            observation, reward, _, _, told = alone.step(action[:1])
            np.testing.assert_array_equal(observations[0], observation[0])
            assert rewards[0] == reward[0]
            for name, value in info["quantities"].items():
                assert value[0] == told["quantities"][name][0]


def test_a_seed_decides_everything_even_in_the_midst_of_an_episode():
    envs = DataCenterEnvs(2, **EVENTFUL)
    first, _ = envs.reset(seed=3)
    actions = random_actions(envs, 3)
    steps = play(envs, actions)
    other, _ = envs.reset(seed=4)
    again, _ = envs.reset(seed=3)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first[0], first[1])
    for before, after in zip(steps, play(envs, actions), strict=True):
        np.testing.assert_array_equal(before[0], after[0])
        np.testing.assert_array_equal(before[1], after[1])
    unseeded, _ = envs.reset()
    assert not np.array_equal(first, unseeded)  # the next episode
    envs.reset(seed=3)
    np.testing.assert_array_equal(unseeded, envs.reset()[0])


def test_an_episode_is_truncated_and_the_next_begins_in_a_step_that_ignores_its_action():
    envs = DataCenterEnvs(2, site="small_room", episode_days=1)
    envs.reset(seed=0)
    action = np.zeros((2, 2), np.float32)
    mask = np.array([True, False])
    play(envs, [action] * 10)
    envs.reset(options={"reset_mask": mask})  # so that the rows end ten steps apart
    ends = []
    for number in range(1, 289):
        if number == 279:  # the second row begins anew here, the first does not
            action = np.array([[0.0, 0.0], [np.nan, 5.0]], np.float32)
        _, rewards, terminated, truncated, info = envs.step(action)
        if number == 279:
            assert rewards[1] == 0.0
            assert rewards[0] < 0.0
            assert info["episode_counts"]["facility_energy"][0] > 0.0
            action = np.zeros((2, 2), np.float32)
        assert not terminated.any()
        ends += [(number, row) for row in np.flatnonzero(truncated).tolist()]
    assert ends == [(278, 1), (288, 0)]
    observations, rewards, _, truncated, _ = envs.step(np.array([[np.nan, 9.0], [0.0, 0.0]]))
    assert rewards[0] == 0.0
    assert not truncated.any()
    fresh = DataCenterEnvs(2, site="small_room", episode_days=1)
    fresh.reset(seed=0)
    fresh.reset()
    third, _ = fresh.reset()
    np.testing.assert_array_equal(observations[0], third[0])
    _, _, _, _, info = envs.step(np.zeros((2, 2)))
    energy = info["quantities"]["facility_power_w"][0] * KWH
    assert info["episode_counts"]["facility_energy"][0] == pytest.approx(energy, rel=1e-12)


def test_a_mask_leaves_the_other_environments_as_they_are():
    envs, undisturbed = DataCenterEnvs(3, **EVENTFUL), DataCenterEnvs(3, **EVENTFUL)
    for each in (envs, undisturbed):
        each.reset(seed=5)
    actions = random_actions(envs, 4)
    seen = [play(each, actions[:2])[-1][0] for each in (envs, undisturbed)]
    after, _ = envs.reset(options={"reset_mask": np.array([False, True, False])})
    np.testing.assert_array_equal(after[[0, 2]], seen[1][[0, 2]])
    assert not np.array_equal(after[1], seen[1][1])
    ours, theirs = (play(each, actions[2:])[-1] for each in (envs, undisturbed))
    np.testing.assert_array_equal(ours[0][[0, 2]], theirs[0][[0, 2]])
    np.testing.assert_array_equal(ours[1][[0, 2]], theirs[1][[0, 2]])


def test_a_saved_state_goes_on_exactly_elsewhere_and_in_copies_of_a_row():
    envs = DataCenterEnvs(2, **EVENTFUL)
    envs.reset(seed=11)
    actions = random_actions(envs, 6)
    seen = play(envs, actions[:3])[-1][0]
    state = envs.state()
    expected = play(envs, actions[3:])

    other = DataCenterEnvs(2, **EVENTFUL)
    np.testing.assert_array_equal(other.set_state(state), seen)
    for ours, theirs in zip(play(other, actions[3:]), expected, strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])
        assert_same_info(ours[4], theirs[4])

    copies = DataCenterEnvs(3, **EVENTFUL)
    copies.set_state(select_rows(state, [1, 1, 1]))
    for action, theirs in zip(actions[3:], expected, strict=True):
        observations, rewards, *_ = copies.step(np.repeat(action[1:], 3, axis=0))
        np.testing.assert_array_equal(observations, np.repeat(theirs[0][1:], 3, axis=0))
        np.testing.assert_array_equal(rewards, np.repeat(theirs[1][1:], 3))


def test_a_state_of_other_environments_is_refused_and_changes_nothing():
    envs = DataCenterEnvs(2)
    with pytest.raises(ResetNeeded):
        envs.state()
    envs.reset(seed=0)
    before = envs.state()
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        envs.set_state(select_rows(before, [0, 1, 1]))
    with pytest.raises(ValueError, match="plant_hall_degc"):
        envs.set_state({name: v for name, v in before.items() if name != "plant_hall_degc"})
    for name, value in envs.state().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("num_envs", [1, 2])
def test_what_was_told_of_a_step_is_not_changed_by_later_ones(num_envs):
    envs = DataCenterEnvs(np.int64(num_envs), **EVENTFUL)
    observations, info = envs.reset(seed=1)
    told = [(observations, 0.0, None, None, info), *play(envs, random_actions(envs, 3))]
    kept = deepcopy(told)
    play(envs, random_actions(envs, 5, seed=1))
    for (observations, rewards, _, _, info), before in zip(told, kept, strict=True):
        np.testing.assert_array_equal(observations, before[0])
        np.testing.assert_array_equal(rewards, before[1])
        assert_same_info(info, before[4])


@pytest.mark.parametrize("num_envs", [1, 2])
def test_all_of_a_step_is_told_in_arrays(num_envs):
    envs = DataCenterEnvs(num_envs, site="small_room")
    envs.reset(seed=0)
    info = envs.step(np.zeros((num_envs, 2)))[4]
    step = envs.plant_step
    assert step is not None
    assert {np.atleast_2d(part).shape[1] for part in step} == {num_envs}  # of each component
    np.testing.assert_array_equal(step.inlet_degc, info["quantities"]["inlet_degc"])
    assert {value.shape for value in info["limits"].values()} == {(num_envs,)}
    assert {value.dtype.kind for value in info["limits"].values()} == {"b"}
    assert {value.shape for value in envs.state().values()} >= {(num_envs,)}


def test_counts_are_sums_of_what_was_told_step_by_step():
    envs = DataCenterEnvs(2, weather="hot_dry", site="chilled_water_hall")
    envs.reset(seed=2)
    infos = [step[4] for step in play(envs, random_actions(envs, 20))]
    counts = infos[-1]["episode_counts"]
    for count, quantity in (
        ("facility_energy", "facility_power_w"),
        ("it_energy", "it_power_w"),
        ("server_fan_energy", "server_fan_power_w"),
        ("cooling_energy", "mechanical_power_w"),
        ("compressor_energy", "chiller_power_w"),
    ):
        expected = KWH * sum(info["quantities"][quantity] for info in infos)
        np.testing.assert_allclose(counts[count], expected, rtol=1e-12)
    parts = ("air_handler_fan", "compressor", "chilled_pump", "condenser_pump", "tower_fan")
    parts = [counts[f"{part}_energy"] for part in (*parts, "humidifier", "evaporative_pump")]
    np.testing.assert_allclose(counts["cooling_energy"], sum(parts), rtol=1e-12)
    whole = counts["it_energy"] + counts["cooling_energy"] + counts["power_chain_loss"]
    np.testing.assert_allclose(counts["facility_energy"], whole, rtol=1e-12)
    np.testing.assert_allclose(counts["pue"], whole / counts["it_energy"], rtol=1e-12)
    water = 300.0 * sum(info["quantities"]["water_kg_s"] for info in infos)
    np.testing.assert_allclose(counts["wue"], water / counts["it_energy"], rtol=1e-12)
    np.testing.assert_allclose(counts["cost"], 0.10 * whole, rtol=1e-12)

    hottest = np.array([info["quantities"]["hottest_inlet_degc"] for info in infos])
    over = np.maximum(np.maximum(hottest - 27.0, 18.0 - hottest), 0.0)
    assert over.any()
    np.testing.assert_allclose(counts["hours_outside_recommended"], (over > 0.0).sum(0) / 12.0)
    np.testing.assert_allclose(counts["degree_hours_outside_recommended"], over.sum(0) / 12.0)
    np.testing.assert_array_equal(counts["hottest_inlet"], hottest.max(0))
    windows = [hottest[max(0, end - 12) : end + 1] for end in range(len(hottest))]
    ramps = np.array([window.max(0) - window.min(0) for window in windows])
    assert (ramps > 5.0).any()
    np.testing.assert_allclose(counts["tape_ramp_hours"], (ramps > 5.0).sum(0) / 12.0)

    supply = np.array([info["actions"]["supply_air_degc"] for info in infos])
    travel = np.abs(np.diff(supply, axis=0)).sum(0)
    np.testing.assert_allclose(counts["supply_air_degc_travel"], travel, rtol=1e-12)
    modes = np.array([info["actions"]["economiser"] for info in infos])
    changes = (np.diff(modes, axis=0) != 0).sum(0)
    np.testing.assert_array_equal(counts["economiser_travel"], changes)


def test_weeks_begin_anywhere_and_years_in_january():
    weeks = DataCenterEnvs(64, site="small_room").reset(seed=0)[1]["time_step"]
    assert len(set((weeks // 8_760).tolist())) == 12  # every month, and not on the same steps
    assert len(set(weeks.tolist())) > 60
    year = DataCenterEnvs(2, site="small_room", episode_days=365)
    assert year.episode_steps == 105_120
    assert year.reset(seed=0)[1]["time_step"].tolist() == [0, 0]
    fixed = DataCenterEnvs(2, site="small_room", start_day=1.5)
    assert fixed.reset(seed=0)[1]["time_step"].tolist() == [432, 432]


@pytest.mark.parametrize(
    ("weathers", "loads", "pairs"),
    [
        (3, 2, [(0, 0), (1, 1), (2, 0), (0, 0), (1, 1), (2, 0), (0, 0)]),
        (1, 2, [(0, 0), (0, 1), (0, 0), (0, 1), (0, 0), (0, 1), (0, 0)]),
    ],
)
def test_pairs_side_by_side_start_over_together(
    weathers: int, loads: int, pairs: list[tuple[int, int]]
):
    envs = DataCenterEnvs(
        7,
        pairing="side_by_side",
        weather=("marine", "cold", "hot_dry")[:weathers],
        load=("step", "batch")[:loads],
    )
    _, info = envs.reset(seed=0)
    assert list(zip(info["weather"].tolist(), info["load"].tolist(), strict=True)) == pairs


def test_pairs_in_turn_go_through_all_climates_and_loads():
    settings = {"weather": ["cold", "marine"], "load": ["diurnal", "step"], "site": "small_room"}
    envs = DataCenterEnvs(5, pairing="in_turn", **settings)
    info = envs.reset(seed=0)[1]
    assert info["weather"].tolist() == [0, 0, 1, 1, 0]
    assert info["load"].tolist() == [0, 1, 0, 1, 0]
    assert envs.weather_names[1].startswith("synthetic marine")
    assert envs.load_names == ("diurnal 0", "step 0")
    air = envs.config.weathers()[1].dry_bulb_degc[info["time_step"][2]]
    assert info["quantities"]["outdoor_dry_bulb_degc"][2] == air


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"site": "moon"}, "no site 'moon'; there are small_room"),
        ({"weather": "moon"}, "no weather 'moon': there are hot_dry"),
        ({"load": "none"}, "no load 'none'"),
        ({"load": np.full(105_120, 1.5)}, r"load\[0\] is 1.5"),
        ({"load": np.zeros(12)}, r"\(12,\)"),
        ({"episode_days": 0}, "episode_days is 0"),
        ({"start_day": 365.0}, "start_day is 365"),
        ({"weather": []}, "weather is empty"),
        ({"weather_seed": -1}, "-1"),
        ({"pairing": "both"}, "'both': there are random, in_turn"),
        ({"levels": {}}, "discrete is False"),
        ({"sensors": {"delay_steps": 13}}, "delay_steps is 13"),
        ({"render_mode": "human"}, "render_mode"),
        ({"num_envs": 0}, "num_envs must be 1 or more, not 0"),
        ({"num_envs": True}, "num_envs must be 1 or more, not True"),
        ({"num_envs": 2.0}, "num_envs must be 1 or more, not 2.0"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        DataCenterEnvs(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"colour": 1}, "colour"), ({"sensors": {"hue": 1}}, "sensors: .*hue"), ({"reward": 1}, "1")],
)
def test_settings_that_do_not_exist_are_named(settings, message):
    with pytest.raises(TypeError, match=message):
        DataCenterEnvs(**settings)


def test_seeds_masks_and_steps_out_of_turn_are_refused():
    envs = DataCenterEnvs(2, site="small_room")
    with pytest.raises(ResetNeeded):
        envs.step(np.zeros((2, 2)))
    with pytest.raises(ResetNeeded):
        envs.reset(options={"reset_mask": np.array([True, False])})
    for seed in (-1, [1], [1, -2], 0.5):
        with pytest.raises(ValueError, match="seed must be"):
            envs.reset(seed=seed)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="somewhere True"):
        envs.reset(options={"reset_mask": np.zeros(2, bool)})
    with pytest.raises(ValueError, match="only reset option"):
        envs.reset(options={"day": 3})
    with pytest.raises(ValueError, match="got seed 1"):
        envs.reset(seed=1, options={"reset_mask": np.ones(2, bool)})
    with pytest.raises(ValueError, match=r"shape \(3, 2\): there are 2"):
        envs.step(np.zeros((3, 2)))
    env = DataCenterEnv(site="small_room", episode_days=1)
    env.reset(seed=0)
    state = env.state()
    state["age"][:] = 287
    env.set_state(state)
    assert env.step(np.zeros(2, np.float32))[3]
    with pytest.raises(ResetNeeded):
        env.step(np.zeros(2, np.float32))
