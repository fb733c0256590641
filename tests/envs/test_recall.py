"""The recall task: what it shows, what it pays, and that it cannot be solved without memory."""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3

import rlkit_envs
from rlkit_envs.recall import RecallEnv, RecallEnvs

assert rlkit_envs, "importing it registers the worlds"

Seen = tuple[float, ...]


def episode(envs: RecallEnvs, act: Callable[[list[Seen]], int]) -> tuple[list[Seen], float]:
    """What the first environment shows from its start on, and what it pays; leaves `envs` alone.

    act: an action from all that was seen so far.
    """
    seen = [tuple(first(envs).tolist())]
    envs = copy.deepcopy(envs)
    total, ended = 0.0, False
    while not ended:
        observations, rewards, terminated, truncated, _ = envs.step(np.array([act(seen)]))
        assert not truncated[0]
        seen.append(tuple(observations[0].tolist()))
        total += float(rewards[0])
        ended = bool(terminated[0])
    return seen, total


def first(envs: RecallEnvs) -> np.ndarray:
    """The cue that a fresh episode shows, brought back from the environment's own state."""
    return np.eye(envs.cues + 1, dtype=np.float32)[envs._cue[0]]


def all_beginnings(cues: int, min_delay: int, max_delay: int) -> dict[tuple[int, int], RecallEnvs]:
    """Every way in which an episode can begin, by cue and delay, found by trying seeds."""
    found: dict[tuple[int, int], RecallEnvs] = {}
    for seed in range(200):
        envs = RecallEnvs(1, cues=cues, min_delay=min_delay, max_delay=max_delay)
        observations, _ = envs.reset(seed=seed)
        np.testing.assert_array_equal(observations[0], first(envs))
        seen, _ = episode(envs, lambda seen: 0)
        found[int(observations[0].argmax()), len(seen) - 3] = envs
    return found


def test_no_policy_without_memory_is_better_or_worse_than_guessing():
    beginnings = all_beginnings(cues=3, min_delay=0, max_delay=1)
    assert sorted(beginnings) == list(itertools.product(range(3), range(2)))
    everything = sorted({o for e in beginnings.values() for o in episode(e, lambda seen: 0)[0]})
    assert len(everything) == 3 + 2  # cues, blank and question
    for actions in itertools.product(range(3), repeat=len(everything)):
        policy = dict(zip(everything, actions, strict=True))
        returns = [episode(e, lambda seen, p=policy: p[seen[-1]])[1] for e in beginnings.values()]
        # All beginnings are equally likely: see below.
        assert np.mean(returns) == pytest.approx(1 / 3)


def test_who_remembers_the_cue_is_always_right():
    beginnings = all_beginnings(cues=4, min_delay=1, max_delay=3)
    assert len(beginnings) == 4 * 3
    for envs in beginnings.values():
        assert episode(envs, lambda seen: int(np.argmax(seen[0])))[1] == 1
        assert episode(envs, lambda seen: int(np.argmax(seen[0]) + 1) % 4)[1] == 0


def test_after_the_cue_everything_looks_alike_and_ends_by_the_delay_alone():
    beginnings = all_beginnings(cues=3, min_delay=0, max_delay=2)
    blank, question = (0, 0, 0, 0), (0, 0, 0, 1)
    for (cue, delay), envs in beginnings.items():
        for always in range(3):
            seen, _ = episode(envs, lambda seen, action=always: action)
            assert seen[0] == tuple(np.eye(4)[cue])
            assert seen[1:] == [blank] * delay + [question, blank]


def test_cues_and_delays_are_drawn_evenly_and_apart():
    envs = RecallEnvs(300, cues=3, min_delay=1, max_delay=2)
    observations, _ = envs.reset(seed=0)
    drawn: Counter[tuple[int, int]] = Counter()
    cue = observations.argmax(1)
    for _ in range(200):
        observations, _, terminated, _, info = envs.step(np.zeros(300, np.int64))
        drawn.update(
            zip(
                cue[terminated].tolist(),
                info["episode_counts"]["delay"][terminated].tolist(),
                strict=True,
            )
        )
        shows = observations[:, :-1].any(1)
        cue[shows] = observations[shows].argmax(1)
    assert set(drawn) == set(itertools.product(range(3), (1, 2)))
    # About 13,300 episodes, a sixth each: four standard deviations are 0.013.
    shares = np.array(list(drawn.values())) / drawn.total()
    np.testing.assert_allclose(shares, 1 / 6, atol=0.013)


def test_a_hand_played_batch():
    envs = RecallEnvs(2, cues=2, min_delay=1, max_delay=1)
    observations, info = envs.reset(seed=3)
    assert info == {}
    cue = observations.argmax(1)
    right, wrong = cue, 1 - cue
    blank, question = np.zeros((2, 3)), np.array([[0, 0, 1]] * 2)

    def check(outcome: tuple, seen: np.ndarray, rewards: list[int], ended: bool) -> dict[str, Any]:
        np.testing.assert_array_equal(outcome[0], seen)
        assert outcome[1].tolist() == rewards
        assert outcome[2].tolist() == [ended] * 2
        assert not outcome[3].any()
        return outcome[4]["episode_counts"]

    check(envs.step(right), blank, [0, 0], False)
    check(envs.step(right), question, [0, 0], False)
    counts = check(envs.step(np.array([right[0], wrong[1]])), blank, [1, 0], True)
    assert {name: values.tolist() for name, values in counts.items()} == {
        "correct": [1, 0],
        "delay": [1, 1],
    }
    assert list(counts) == list(envs.metadata["episode_counts"])
    observations, *rest = envs.step(right)  # the reset step
    assert (observations.sum(1) == 1).all()
    assert not observations[:, -1].any()
    check((observations, *rest), observations, [0, 0], False)
    check(envs.step(right), blank, [0, 0], False)


def test_spaces_and_metadata():
    envs = RecallEnvs(5, cues=3)
    assert envs.single_observation_space == Box(0, 1, (4,), np.float32)
    assert envs.observation_space == Box(0, 1, (5, 4), np.float32)
    assert envs.single_action_space == Discrete(3)
    assert envs.action_space == MultiDiscrete([3] * 5)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    observations, _ = envs.reset(seed=0)
    assert observations in envs.observation_space
    observations, rewards, terminated, truncated, _ = envs.step(envs.action_space.sample())
    assert observations in envs.observation_space
    assert (rewards.dtype, terminated.dtype, truncated.dtype) == (np.float32, bool, bool)


def roll(envs: RecallEnvs, seed: int | None, steps: int = 60) -> list[np.ndarray]:
    record = [envs.reset(seed=seed)[0]]
    random = np.random.default_rng(0)
    for _ in range(steps):
        outcome = envs.step(random.integers(envs.cues, size=envs.num_envs))
        record += [*outcome[:3], outcome[4]["episode_counts"]["correct"]]
    return record


def equal(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_seed_decides_the_episodes():
    one, other = RecallEnvs(7), RecallEnvs(7)
    rolled = roll(one, 5)
    assert equal(rolled, roll(other, 5))
    assert equal(rolled, roll(one, 5)), "a used environment starts afresh"
    went_on = roll(one, None)
    assert equal(went_on, roll(other, None))
    assert not equal(rolled, went_on)
    assert not equal(rolled, roll(one, 6))


def test_arrays_given_out_never_change():
    envs = RecallEnvs(6, min_delay=0, max_delay=2)
    given = roll(envs, 1, steps=20)
    copies = copy.deepcopy(given)
    roll(envs, None, steps=20)
    assert equal(given, copies)


# As Gymnasium knows it


def test_gymnasium_makes_one_or_many():
    env = gymnasium.make("rlkit/Recall-v0", cues=3, max_delay=4)
    assert isinstance(env.unwrapped, RecallEnv)
    assert env.observation_space == Box(0, 1, (4,), np.float32)
    envs = gymnasium.make_vec("rlkit/Recall-v0", num_envs=6, cues=3, max_delay=4)
    assert isinstance(envs, RecallEnvs)
    assert (envs.num_envs, envs.cues, envs.max_delay) == (6, 3, 4)
    envs.close()


@pytest.mark.parametrize("check", [check_env, check_env_for_sb3])
def test_the_checkers_find_no_fault(check: Callable[[gymnasium.Env], None]):
    check(gymnasium.make("rlkit/Recall-v0", render_mode="rgb_array").unwrapped)


def test_one_environment_is_a_batch_of_one():
    env, envs = RecallEnv(min_delay=0, max_delay=3), RecallEnvs(1, min_delay=0, max_delay=3)
    observation, _ = env.reset(seed=11)
    observations, _ = envs.reset(seed=11)
    random = np.random.default_rng(0)
    answers = set()
    for _ in range(80):
        np.testing.assert_array_equal(observation, observations[0])
        action = int(random.integers(4))
        observation, reward, *ends, info = env.step(action)
        observations, rewards, *all_ends, infos = envs.step(np.array([action]))
        assert (reward, *ends) == (rewards[0], all_ends[0][0], all_ends[1][0])
        counts = infos["episode_counts"]
        assert info["episode_counts"] == {name: counts[name][0] for name in counts}
        if ends[0]:
            answers.add(reward)
            observation, _ = env.reset()
            observations, *_ = envs.step(np.array([action]))
    assert answers == {0, 1}


def test_the_picture_shows_cue_question_and_answer():
    env = RecallEnv(cues=2, min_delay=1, max_delay=1, render_mode="rgb_array")
    assert env.metadata["render_fps"] > 0
    for right in (True, False):
        cue = int(env.reset(seed=0)[0].argmax())
        pictures = [env.render()]
        for _ in range(3):
            env.step(cue if right else 1 - cue)
            pictures.append(env.render())
        shown = np.stack([p for p in pictures if p is not None])
        assert (shown.shape, shown.dtype) == ((4, 64, 128, 3), np.uint8)
        squares = shown[:, 32, [32, 96]]  # the middle of each symbol's square
        cue_square, other_square = squares[:, cue], squares[:, 1 - cue]
        grey, yellow = other_square[0], cue_square[0]
        assert (yellow[:2] > 150).all()
        assert yellow[2] < 100
        assert (squares[1:3] == grey).all()
        assert shown[:, 0, 0].any(-1).tolist() == [False, False, True, False]  # the frame
        answered, untouched = cue_square[3], other_square[3]
        if not right:
            answered, untouched = untouched, answered
        assert (untouched == grey).all()
        assert (answered[1] > answered[0]) == right  # green or red
    assert RecallEnv().render() is None


# What goes wrong


@pytest.mark.parametrize(
    ("arguments", "error", "complaint"),
    [
        ({"cues": 1}, ValueError, "cues must be 2 or more, not 1"),
        ({"num_envs": 0}, ValueError, "num_envs must be 1 or more, not 0"),
        ({"min_delay": -1}, ValueError, "min_delay must be 0 or more, not -1"),
        ({"min_delay": 5, "max_delay": 4}, ValueError, "min_delay 5 must not be above max_delay 4"),
        ({"max_delay": 2.5}, TypeError, "max_delay must be a whole number, not 2.5"),
        ({"cues": True}, TypeError, "cues must be a whole number, not True"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], error: type[Exception], complaint: str):
    with pytest.raises(error, match=complaint):
        RecallEnvs(**arguments)


@pytest.mark.parametrize(
    ("actions", "complaint"),
    [
        (np.array([0, 4]), "not 4"),
        (np.array([-1, 0]), "not -1"),
        (np.array([0]), r"shape \(1,\)"),
        (np.array([0.0, 1.0]), "float64"),
    ],
)
def test_bad_actions_are_named(actions: np.ndarray, complaint: str):
    envs = RecallEnvs(2)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=complaint):
        envs.step(actions)


def test_order_of_calls_is_checked():
    with pytest.raises(ResetNeeded):
        RecallEnvs(2).step(np.zeros(2, np.int64))
    env = RecallEnv(min_delay=0, max_delay=0)
    with pytest.raises(ResetNeeded):
        env.step(0)
    env.reset(seed=0)
    env.step(0)
    env.step(0)
    with pytest.raises(ResetNeeded, match="over"):
        env.step(0)
    with pytest.raises(ValueError, match="colour"):
        env.reset(options={"colour": 1})
    with pytest.raises(ValueError, match="human"):
        RecallEnv(render_mode="human")
