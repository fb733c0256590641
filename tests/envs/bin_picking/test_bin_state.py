"""Saved states: the future that follows is the same bit for bit, wherever it is lived."""

import json

import numpy as np
import pytest
from gymnasium.error import ResetNeeded

from rlkit_envs.bin_picking.configuration import BinPickingConfig
from rlkit_envs.bin_picking.environment import BinPickingEnvs
from rlkit_envs.bin_picking.episode import PickingBin
from rlkit_envs.bin_picking.single_environment import BinPickingEnv

TINY = {
    "tier": "walled",
    "parts": 4,
    "pixels": 24,
    "bin_side_m": 0.13,
    "failures_in_a_row": 4,
    "leans": 1,
}
"""Noise, drop-out, shaking, marks and leans: all that a state might forget."""


def some_actions(steps: int, count: int, seed: int = 0) -> np.ndarray:
    """(steps, count) picks somewhere inside, half of them with a leaning tool."""
    random = np.random.default_rng(seed)
    rows, columns = random.integers(6, 18, (2, steps, count))
    return (random.integers(2, size=(steps, count)) * 24 + rows) * 24 + columns


def future(envs, actions) -> list:
    return [envs.step(action) for action in actions]


def assert_same(one, other) -> None:
    """Observations, rewards, ends and all of `info`, bit for bit."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_same(one[name], other[name])
    elif isinstance(one, (list, tuple)):
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def lived():
    """A state in the middle of two episodes, and what came of it in one process."""
    return a_life(TINY)


def a_life(settings: dict) -> tuple[list, np.ndarray, list]:
    """A state of two bins, actions, and the steps that they then lead to."""
    envs = BinPickingEnvs(2, processes=1, **settings)
    envs.reset(seed=4)
    future(envs, some_actions(3, 2))
    state = envs.state()
    actions = some_actions(9, 2, seed=1)
    steps = future(envs, actions)
    envs.close()
    return state, actions, steps


def test_the_state_is_one_worth_saving(lived):
    """Or the tests below would prove less."""
    state, _, steps = lived
    assert all(len(bin_["failed_pixels"]) for bin_ in state)
    assert any(terminated.any() or truncated.any() for _, _, terminated, truncated, _ in steps)
    assert any((info["outcome"] == -1).any() for *_, info in steps)  # new episodes began
    assert len({int(outcome) for *_, info in steps for outcome in info["outcome"]}) > 2


@pytest.mark.parametrize("processes", [1, 2])
def test_a_saved_state_goes_on_bit_for_bit_in_other_processes(lived, processes):
    state, actions, steps = lived
    envs = BinPickingEnvs(2, processes=processes, **TINY)
    observations = envs.set_state(state)
    for row, bin_ in enumerate(state):
        np.testing.assert_array_equal(observations[row], bin_["observation"])
    assert_same(future(envs, actions), steps)
    envs.close()


def test_a_saved_state_of_entangled_parts_goes_on_bit_for_bit():
    settings = {**TINY, "tier": "entangled", "parts": 8}
    state, actions, steps = a_life(settings)
    envs = BinPickingEnvs(2, **settings)
    envs.set_state(state)
    assert_same(future(envs, actions), steps)
    envs.close()


def test_a_state_goes_on_in_an_environment_that_has_done_other_things(lived):
    state, actions, steps = lived
    envs = BinPickingEnvs(2, processes=1, **TINY)
    envs.reset(seed=77)
    future(envs, some_actions(2, 2, seed=5))
    envs.set_state(state)
    assert_same(future(envs, actions), steps)
    envs.close()


def test_bins_may_trade_places(lived):
    state, actions, steps = lived
    envs = BinPickingEnvs(2, processes=1, **TINY)
    envs.set_state(state[::-1])
    for action, (observations, rewards, *_) in zip(actions[:4], steps, strict=False):
        swapped = envs.step(action[::-1])
        np.testing.assert_array_equal(swapped[0], observations[::-1])
        np.testing.assert_array_equal(swapped[1], rewards[::-1])
    envs.close()


def test_a_state_is_made_of_small_plain_arrays(lived):
    """It fits into a checkpoint, and a round trip through lists changes nothing."""
    state, actions, steps = lived
    plain = json.loads(
        json.dumps([{name: value.tolist() for name, value in bin_.items()} for bin_ in state])
    )
    back = [
        {name: np.array(value, bin_[name].dtype) for name, value in row.items()}
        for row, bin_ in zip(plain, state, strict=True)
    ]
    envs = BinPickingEnvs(2, processes=1, **TINY)
    envs.set_state(back)
    assert_same(future(envs, actions[:3]), steps[:3])
    envs.close()


def test_the_same_seed_gives_the_same_episodes_in_any_number_of_processes():
    actions = some_actions(5, 2)
    one = BinPickingEnvs(2, processes=1, **TINY)
    other = BinPickingEnvs(2, processes=2, **TINY)
    assert_same(one.reset(seed=9), other.reset(seed=9))
    assert_same(future(one, actions), future(other, actions))
    one.close()
    other.close()


def test_trying_out_changes_nothing_and_tells_what_would_come():
    bin_ = PickingBin(BinPickingConfig(**TINY), (0,))
    bin_.begin()
    other = PickingBin(BinPickingConfig(**TINY), (0,))
    other.begin()
    for action in some_actions(6, 1).ravel().tolist():
        before = bin_.state()
        told = bin_.try_out(action)
        bin_.try_out(24 * 24 + 300)
        assert_same(bin_.state(), before)
        assert_same(bin_.episode_counts(), other.episode_counts())
        result, expected = bin_.attempt(action), other.attempt(action)
        assert (told.outcome, told.cycle_s) == (result.attempt.outcome, result.attempt.cycle_s)
        np.testing.assert_array_equal(told.out, expected.attempt.out)
        np.testing.assert_array_equal(bin_.observation, other.observation)
        if result.terminated or result.truncated:
            bin_.begin()
            other.begin()


def test_trying_out_a_last_attempt_leaves_the_episode_running():
    envs = BinPickingEnvs(1, **{**TINY, "failures_in_a_row": 1})
    envs.reset(seed=0)
    told = envs.try_out(np.array([0]))
    *_, truncated, info = envs.step(np.array([0]))
    assert truncated[0]
    assert info["outcome"][0] == told[0] >= 0
    assert envs.try_out(np.array([0])).tolist() == [-1]  # over


def test_the_single_environment_saves_its_state_too():
    env, other = BinPickingEnv(**TINY), BinPickingEnv(**TINY)
    env.reset(seed=2)
    env.step(0)
    observation = other.set_state(env.state())
    np.testing.assert_array_equal(observation, env.state()[0]["observation"])
    for action in (300, 0, 0, 0, 0):
        step = env.step(action)
        assert_same(step, other.step(action))
        if step[2] or step[3]:
            break
    ended = BinPickingEnv(**TINY)
    ended.set_state(env.state())
    for over in (env, other, ended):
        with pytest.raises(ResetNeeded, match="the episode is over"):
            over.step(0)
