"""The environments: Gymnasium's rules, what a step tells, and bad input."""

import json
from dataclasses import asdict

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import AlreadyPendingCallError, NoAsyncCallError, ResetNeeded
from gymnasium.spaces import Discrete
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3

import rlkit_envs  # noqa: F401 (registers the environment)
from rlkit_envs.bin_picking.bins import KIND_NAMES
from rlkit_envs.bin_picking.configuration import BinPickingConfig
from rlkit_envs.bin_picking.controller import MotionConfig, Outcome
from rlkit_envs.bin_picking.environment import EPISODE_COUNTS, BinPickingEnvs
from rlkit_envs.bin_picking.episode import MARBLE_COLOUR, OUTCOMES, PickingBin
from rlkit_envs.bin_picking.scene import ToolConfig
from rlkit_envs.bin_picking.single_environment import BinPickingEnv

ID = "rlkit/BinPicking-v0"
TINY = {"tier": "mixed", "parts": 3, "pixels": 24, "bin_side_m": 0.12}
PICKED = {"force_n": 30.0, "tier": "single"}


def highest(observation) -> int:
    """Where the pile is highest, away from the walls and marks."""
    inside = np.zeros(observation.shape[1:], bool)
    inside[5:-5, 5:-5] = True
    return int(np.where(inside & (observation[-1] == 0), observation[0], -1.0).argmax())


# It takes every map for a picture of bytes, which ought to be larger.
@pytest.mark.filterwarnings("ignore:It seems that your observation:UserWarning")
@pytest.mark.filterwarnings("ignore:The minimal resolution for an image:UserWarning")
@pytest.mark.parametrize("settings", [{}, {"normals": True, "colour": True, "leans": 2}])
def test_passes_the_checks_of_gymnasium_and_stable_baselines3(settings):
    env = gym.make(ID, **TINY, **settings)
    check_env(env.unwrapped, skip_render_check=True)
    check_env_for_sb3(env, skip_render_check=True)


def test_is_made_natively_vectorised_by_name():
    envs = gym.make_vec(ID, num_envs=2, processes=1, **TINY)
    assert isinstance(envs.unwrapped, BinPickingEnvs)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    envs.close()


@pytest.fixture
def envs():
    envs = BinPickingEnvs(1, **TINY)
    yield envs
    envs.close()


@pytest.mark.parametrize(
    ("settings", "channels"),
    [
        ({}, 2),
        ({"normals": True}, 5),
        ({"colour": True}, 5),
        ({"normals": True, "colour": True}, 8),
    ],
)
def test_observations_lie_in_their_space(settings, channels):
    envs = BinPickingEnvs(1, **TINY, **settings)
    observations, info = envs.reset(seed=0)
    assert info == {}
    assert observations.shape == (1, channels, 24, 24)
    assert observations in envs.observation_space
    for _ in range(3):
        observations, *_ = envs.step(envs.action_space.sample())
        assert observations in envs.observation_space


def test_normals_and_colours_are_those_of_what_is_seen():
    config = BinPickingConfig(**TINY, normals=True, colour=True, noise_m=0.0)
    bins = [PickingBin(config, (seed,)) for seed in range(4)]
    for bin_ in bins:
        bin_.begin()
    # one that holds an aluminium disc
    bin_ = next(bin_ for bin_ in bins if not bin_.ferrous.all())
    coins = np.append(~bin_.ferrous, False)[bin_.picture.part]
    assert coins.any()
    bright = np.isclose(bin_.observation[4:7], np.array(MARBLE_COLOUR)[:, None, None]).all(0)
    np.testing.assert_array_equal(bright, coins)
    np.testing.assert_allclose(np.linalg.norm(bin_.observation[1:4], axis=0), 1.0, atol=1e-5)
    floor = (bin_.picture.part == -1) & (bin_.picture.height_m < 1e-6)
    assert (bin_.observation[3][floor] > 0.999).all()


def test_the_step_after_an_end_ignores_its_action_and_begins_an_episode(envs):
    envs = BinPickingEnvs(1, **{**TINY, "failures_in_a_row": 1})
    first, _ = envs.reset(seed=0)
    _, rewards, terminated, truncated, info = envs.step(np.array([0]))
    assert (rewards[0], terminated[0], truncated[0]) == (0.0, False, True)
    assert info["episode_counts"]["success"][0] == 0.0
    state = envs.state()
    answers = []
    for action in (0, 300):
        envs.set_state(state)
        answers.append(envs.step(np.array([action])))
    for observations, rewards, terminated, truncated, info in answers:
        assert (rewards[0], terminated[0], truncated[0]) == (0.0, False, False)
        assert (info["outcome"][0], info["kind"][0], info["parts_left"][0]) == (-1, -1, 3)
        assert not info["success"][0]
        assert not np.array_equal(observations, first)  # another episode
    np.testing.assert_array_equal(answers[0][0], answers[1][0])


def test_a_success_tells_what_was_picked():
    envs = BinPickingEnvs(1, **{**TINY, **PICKED})
    envs.reset(seed=0)
    actions, succeed = envs.find_picks()
    assert succeed[0]
    _, rewards, _, _, info = envs.step(actions)
    assert rewards[0] == 1.0
    assert rewards.dtype == np.float32
    assert info["success"][0]
    assert OUTCOMES[info["outcome"][0]] is Outcome.OK
    assert info["parts_out"][0] == 1
    assert info["parts_left"][0] == info["ferrous_parts_left"][0] == 2
    assert KIND_NAMES[info["kind"][0]] == "flange"
    assert 0.2 < info["quality"][0] <= 1.0
    assert info["hold_force_n"][0] > info["weight_n"][0] > 0.0
    assert 0.0 <= info["offset_mm"][0] < 20.0
    assert info["cycle_s"][0] > 4.3
    counts = info["episode_counts"]
    assert counts.keys() == EPISODE_COUNTS.keys() == envs.metadata["episode_counts"].keys()
    assert all(values.shape == (1,) and values.dtype == np.float64 for values in counts.values())


def test_a_row_of_a_batch_is_a_bin_of_its_own():
    """Its future does not depend on what the others do."""
    both = BinPickingEnvs(2, processes=1, **TINY)
    one = BinPickingEnvs(2, processes=1, **TINY)
    first, _ = both.reset(seed=5)
    again, _ = one.reset(seed=5)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])
    left = both.step(np.array([0, 250]))[0]
    right = one.step(np.array([330, 250]))[0]
    np.testing.assert_array_equal(left[1], right[1])
    both.close()
    one.close()


def test_the_single_environment_is_the_batch_of_one(envs):
    env = BinPickingEnv(**TINY)
    observation, _ = env.reset(seed=3)
    observations, _ = envs.reset(seed=3)
    for action in (300, 271):
        np.testing.assert_array_equal(observation, observations[0])
        observation, reward, terminated, truncated, info = env.step(action)
        observations, rewards, _, _, infos = envs.step(np.array([action]))
        assert reward == rewards[0]
        assert isinstance(reward, float)
        assert (terminated, truncated) == (False, False)
        assert info["outcome"] == infos["outcome"][0]
        assert info["episode_counts"]["miss"] == infos["episode_counts"]["miss"][0]
    env.close()


def test_the_single_environment_wants_a_reset_first_and_after_an_end():
    env = BinPickingEnv(**{**TINY, "failures_in_a_row": 1})
    with pytest.raises(ResetNeeded, match="first: nothing is in the bins"):
        env.step(0)
    env.reset(seed=0)
    assert env.step(0)[3]
    with pytest.raises(ResetNeeded, match="the episode is over"):
        env.step(0)
    env.reset()
    env.step(0)


def test_seeds_decide_and_a_reset_without_one_goes_on(envs):
    first, _ = envs.reset(seed=1)
    second, _ = envs.reset()
    other, _ = envs.reset(seed=2)
    again, _ = envs.reset(seed=1)
    then, _ = envs.reset()
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(second, then)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_a_part_that_is_too_heavy_is_never_picked():
    """Of 30 g parts a magnet of 0.1 N lifts none."""
    envs = BinPickingEnvs(1, **{**TINY, "tier": "single", "force_n": 0.1})
    observations, _ = envs.reset(seed=0)
    for _ in range(4):
        observations, rewards, _, _, info = envs.step(np.array([highest(observations[0])]))
        assert rewards[0] == 0.0
        assert OUTCOMES[info["outcome"][0]] in (Outcome.MISS, Outcome.DROPPED)
        assert info["parts_left"][0] == 3


@pytest.mark.parametrize("method", ["step", "try_out", "find_picks", "state"])
def test_nothing_can_be_asked_before_a_reset(envs, method):
    arguments = (np.array([0]),) if method in ("step", "try_out") else ()
    with pytest.raises(ResetNeeded, match=r"call reset\(\) first"):
        getattr(envs, method)(*arguments)


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([576], "action 576 is off the grid: actions are from 0 to 575"),
        ([-1], "action -1 is off the grid"),
        ([0, 1], r"integers of shape \(1,\), not int64 of shape \(2,\)"),
        ([1.0], r"not float64 of shape \(1,\)"),
        ([True], "not bool"),
    ],
)
def test_actions_off_the_grid_are_refused_and_change_nothing(envs, actions, message):
    envs.reset(seed=0)
    before = envs.state()[0]
    for method in (envs.step, envs.try_out):
        with pytest.raises(ValueError, match=message):
            method(np.array(actions))
    assert envs.state()[0]["attempts"] == before["attempts"] == 0
    envs.step(np.array([575]))


def test_leans_widen_the_grid():
    envs = BinPickingEnvs(1, **TINY, leans=3)
    assert envs.single_action_space == Discrete(4 * 24 * 24)
    envs.reset(seed=0)
    envs.step(np.array([4 * 24 * 24 - 1]))
    with pytest.raises(ValueError, match="off the grid"):
        envs.step(np.array([4 * 24 * 24]))


def test_reset_options_and_other_states_are_refused(envs):
    with pytest.raises(ValueError, match="there are no reset options here"):
        envs.reset(options={"parts": 2})
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="a state of 2 bins does not fit 1"):
        envs.set_state(envs.state() * 2)
    others = {"pixels": 32, "parts": 4}
    for (name, value), message in zip(
        others.items(), ("pictures of .2, 32, 32.", "a state of 4 parts does not fit"), strict=True
    ):
        other = BinPickingEnvs(1, **{**TINY, name: value})
        other.reset(seed=3)
        with pytest.raises(ValueError, match=message):
            envs.set_state(other.state())
        with pytest.raises(ResetNeeded):
            envs.step(np.array([0]))
    envs.reset(seed=0)
    envs.step(np.array([300]))


def test_heights_stay_in_their_space_however_noisy():
    envs = BinPickingEnvs(1, **TINY, noise_m=1.0)
    observation, _ = envs.reset(seed=0)
    assert envs.observation_space.contains(observation)
    assert observation[0, 0].max() == 1000.0


def test_a_configuration_comes_back_from_json():
    config = BinPickingConfig(tool=ToolConfig(stroke_m=0.015), motion=MotionConfig(dwell_s=0.1))
    told = json.loads(json.dumps(asdict(config)))
    assert BinPickingConfig(**told) == config


@pytest.mark.usefixtures("broken_physics")
def test_physics_that_break_down_end_an_episode_and_are_reported():
    envs = BinPickingEnvs(1, **TINY)
    before, _ = envs.reset(seed=0)
    bins = envs.bins_here
    assert bins is not None
    scene = bins.bins[0].scene

    def break_down() -> None:
        scene.data.qvel[scene.model.body_dofadr[scene.part_bodies]] = np.nan

    bins.on_moment = break_down
    observations, rewards, terminated, truncated, info = envs.step(np.array([300]))
    np.testing.assert_array_equal(observations, before)
    assert (rewards[0], terminated[0], truncated[0]) == (0.0, False, True)
    assert OUTCOMES[info["outcome"][0]] is Outcome.UNSTABLE
    assert (info["parts_out"][0], info["parts_left"][0]) == (0, 3)
    assert info["episode_counts"]["unstable"][0] == 1.0
    bins.on_moment = lambda: None
    observations, *_, info = envs.step(np.array([300]))
    assert info["outcome"][0] == -1  # the next episode
    assert not np.array_equal(observations, before)
    *_, truncated, info = envs.step(np.array([300]))
    assert OUTCOMES[info["outcome"][0]] is not Outcome.UNSTABLE
    assert not truncated[0]
    envs.close()


@pytest.mark.parametrize("processes", [0, 1])
def test_while_a_step_is_under_way_nothing_else_is_asked(processes):
    envs = BinPickingEnvs(1, processes=processes, **TINY)
    envs.reset(seed=0)
    with pytest.raises(NoAsyncCallError, match="call send"):
        envs.recv()
    state = envs.state()
    envs.send(np.array([300]))
    for ask in (
        envs.reset,
        envs.state,
        envs.find_picks,
        lambda: envs.set_state(state),
        lambda: envs.send(np.array([300])),
        lambda: envs.try_out(np.array([300])),
    ):
        with pytest.raises(AlreadyPendingCallError, match=r"call recv\(\) first"):
            ask()
    envs.recv()
    assert envs.state()[0]["attempts"] == 1
    envs.close()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tier": "easy"}, "no tier is called 'easy'"),
        ({"shapes": "all"}, "shapes must be 'training' or 'held_out', not 'all'"),
        ({"parts": 0}, "at least one part, got parts=0"),
        ({"force_n": 0.0}, "force_n must be above 0 and finite, got 0.0"),
        ({"force_n": float("nan")}, "force_n must be above 0 and finite, got nan"),
        ({"force_n": float("inf")}, "force_n must be above 0 and finite, got inf"),
        ({"parts": 2.5}, "parts must be a whole number, got 2.5"),
        ({"pixels": "64"}, "pixels must be a whole number, got '64'"),
        ({"noise_m": float("inf")}, "noise_m must be at least 0 and finite, got inf"),
        ({"tool": {"friction": -1.0}}, "friction must be at least 0 and finite, got -1.0"),
        ({"tool": {"stroke_m": float("inf")}}, "stroke_m must be above 0 and finite, got inf"),
        ({"motion": {"descent_m_per_s": 0.0}}, "descent_m_per_s must be above 0 and finite"),
        ({"motion": {"relax_m_per_s": -0.1}}, "relax_m_per_s must be above 0 and finite"),
        ({"motion": {"carry_m_per_s2": 0.0}}, "carry_m_per_s2 must be above 0 and finite"),
        ({"motion": {"travel_m_per_s": float("nan")}}, "travel_m_per_s must be above 0 and"),
        ({"motion": {"fixed_s": -100.0}}, "fixed_s must be at least 0 and finite, got -100.0"),
        ({"bin_side_m": 0.02}, "a bin of 20 mm is too small for a tool of 20 mm"),
        ({"bin_side_m": -1.0}, "bin_side_m must be above 0 and finite, got -1.0"),
        ({"bin_side_m": float("inf")}, "bin_side_m must be above 0 and finite, got inf"),
        ({"tier": ["mixed"]}, r"tier is a name, such as 'mixed', not \['mixed'\]"),
        ({"motion": {"press_m": 0.05}}, "press_m of the motion must be below the stroke_m of"),
        ({"pixels": 4}, "at least 8 pixels a side, got 4"),
        ({"noise_m": -1.0}, "noise_m must be at least 0 and finite, got -1.0"),
        ({"drop_out": 2.0}, r"drop_out must be in \[0, 1\), got 2.0"),
        ({"leans": -1}, "leans must not be negative, got -1"),
        ({"lean_deg": 45.0}, "lean_deg must be above 0 and below 45, got 45.0"),
        ({"failure_radius_m": -0.1}, "failure_radius_m must be at least 0, got -0.1"),
        ({"shake_after": -1}, "shake_after must not be negative, got -1"),
        ({"failures_in_a_row": 0}, "failures_in_a_row must be at least 1, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        BinPickingEnvs(1, **settings)


def test_other_bad_arguments_are_refused():
    with pytest.raises(TypeError, match="colours"):
        BinPickingEnvs(1, colours=True)
    with pytest.raises(ValueError, match="num_envs must be at least 1, got 0"):
        BinPickingEnvs(0)
    with pytest.raises(ValueError, match="processes must not be negative, got -1"):
        BinPickingEnvs(1, processes=-1)
    with pytest.raises(ValueError, match="render_mode must be 'rgb_array' or None, not 'human'"):
        BinPickingEnv(render_mode="human")


def test_a_bin_smaller_than_its_parts_may_be_is_refused():
    """Before the first one is drawn that is too large."""
    with pytest.raises(ValueError, match=r"a flange of tier 'single' .* fit into a bin of 55 mm"):
        BinPickingEnvs(1, tier="single", bin_side_m=0.055)
    with pytest.raises(ValueError, match="a hook of tier 'entangled' may be"):
        BinPickingEnvs(1, tier="all", bin_side_m=0.08)
    BinPickingEnvs(1, tier="all", shapes="held_out", bin_side_m=0.08).close()
