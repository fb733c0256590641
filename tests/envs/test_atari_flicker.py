"""Flickering frames: how many, for how long, by which random numbers, and of what world."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rlkit_envs.atari import AtariEnvs, AtariProtocol
from rlkit_envs.atari_flicker import Flicker
from rlkit_envs.atari_watching import WatchableAtari

CLEAR = AtariProtocol("boxing", height=20, width=20, frame_stack=3, max_frames=60)
FLICKERING = replace(CLEAR, flicker=0.5)


def rolled(
    protocol: AtariProtocol, num_envs: int, steps: int, seed: Any = 3
) -> dict[str, NDArray[Any]]:
    """Everything that a fixed sequence of actions leads to, each (steps + 1, num_envs, ...)."""
    envs = AtariEnvs(protocol, num_envs)
    observations, _ = envs.reset(seed=seed)
    never = np.zeros(num_envs, bool)
    rows: list[tuple] = [(observations, np.zeros(num_envs, np.float32), never, never)]
    random = np.random.default_rng(0)
    for _ in range(steps):
        actions = np.full(num_envs, random.integers(18))
        *outcome, _ = envs.step(actions)
        rows.append(tuple(outcome))
    envs.close()
    names = ("observations", "rewards", "terminated", "truncated")
    return {
        name: np.stack(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }


def first_rows(roll: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """(steps + 1, num_envs), True where an observation is the first of an episode."""
    ended = roll["terminated"] | roll["truncated"]
    return np.concatenate([np.ones((1, ended.shape[1]), bool), ended[:-1]])


def blanks(observations: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether the newest frame is all zeros: (steps, num_envs)."""
    return np.logical_not(observations[:, :, -1].any(axis=(2, 3)))


def test_each_new_frame_is_blanked_with_the_probability():
    blank = blanks(rolled(replace(FLICKERING, flicker=0.2), 6, 99)["observations"])
    assert blank.size == 600
    assert blank.mean() == pytest.approx(0.2, abs=0.065)  # four standard deviations
    assert blank.any(axis=0).all(), "all environments flicker"


def test_the_bounds_blank_nothing_and_everything():
    clear = rolled(CLEAR, 2, 40)["observations"]
    np.testing.assert_array_equal(rolled(replace(CLEAR, flicker=0), 2, 40)["observations"], clear)
    assert clear[:, :, -1].any((2, 3)).all()
    assert not rolled(replace(CLEAR, flicker=1), 2, 40)["observations"].any()


@pytest.mark.parametrize(
    "changes",
    [{}, {"grayscale": False}, {"frame_stack": 1}, {"sticky_actions": 0.0, "max_frames": 59}],
    ids=["gray", "colour", "single", "end within a step"],
)
def test_the_game_is_the_same_and_frames_are_whole_or_blank(changes: dict[str, Any]):
    clear = rolled(replace(CLEAR, **changes), 3, 70)
    flickering = rolled(replace(FLICKERING, **changes), 3, 70)
    for name in ("rewards", "terminated", "truncated"):
        np.testing.assert_array_equal(flickering[name], clear[name])
    assert flickering["truncated"].sum() >= 9, "the test has to cross ends of episodes"
    shape = clear["observations"].shape
    frames = flickering["observations"].reshape(*shape[:3], -1)
    whole = (frames == clear["observations"].reshape(*shape[:3], -1)).all(-1)
    blank = ~frames.any(-1)
    assert (whole | blank).all()
    assert 0.3 < (whole & ~blank)[:, :, -1].mean() < 0.7


def test_a_frame_stays_what_it_was_while_it_moves_through_the_stack():
    roll = rolled(FLICKERING, 4, 120)
    observations, first = roll["observations"], first_rows(roll)
    before, after = observations[:-1, :, 1:], observations[1:, :, :-1]
    goes_on = ~first[1:]
    np.testing.assert_array_equal(after[goes_on], before[goes_on])
    assert not observations[first][:, :-1].any(), "a new episode has a single frame"
    assert 0.2 < observations[first][:, -1].any((1, 2)).mean() < 0.8
    assert first.sum() >= 28


def test_the_seed_decides_what_is_blanked():
    one, same, other = (rolled(FLICKERING, 3, 60, seed)["observations"] for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(blanks(one), blanks(other))
    assert not np.array_equal(blanks(one)[:, 0], blanks(one)[:, 1])


def test_a_game_flickers_by_its_own_seed():
    together = rolled(FLICKERING, 3, 60, np.array([7, 7, 8]))["observations"]
    np.testing.assert_array_equal(together[:, 0], together[:, 1])
    blank = blanks(together)
    assert not np.array_equal(blank[:, 0], blank[:, 2])
    alone = rolled(FLICKERING, 1, 60, np.array([8]))["observations"]
    np.testing.assert_array_equal(together[:, 2], alone[:, 0])


def test_a_reset_without_a_seed_goes_on_and_one_with_a_seed_begins_afresh():
    envs = AtariEnvs(replace(FLICKERING, frame_stack=1), 2)

    def begun(seed: int | None) -> list[list[bool]]:
        observations = [envs.reset(seed=seed)[0]]
        observations += [envs.step(np.zeros(2, np.int64))[0] for _ in range(10)]
        return blanks(np.stack(observations)).tolist()

    first, second = begun(5), begun(None)
    assert first != second
    assert begun(5) == first
    assert begun(None) == second
    envs.close()


def test_resetting_some_leaves_what_the_others_see():
    envs = AtariEnvs(replace(FLICKERING, max_frames=400), 6)
    envs.reset(seed=0)
    mask = np.array([True, False] * 3)
    seen = set()
    for _ in range(12):
        before, *_ = envs.step(np.zeros(6, np.int64))
        after, _ = envs.reset(options={"reset_mask": mask})
        np.testing.assert_array_equal(after[~mask], before[~mask])
        assert not after[mask][:, :-1].any()
        seen.update(np.any(after[mask][:, -1], axis=(1, 2)).tolist())
        moved, *_ = envs.step(np.zeros(6, np.int64))
        np.testing.assert_array_equal(moved[:, :-1], after[:, 1:])
    assert seen == {True, False}
    envs.close()


def test_unseeded_games_flicker_differently_each_time():
    flickered = []
    for _ in range(2):
        flicker = Flicker(0.5, 2, 1)
        frames = np.ones((60, 2, 1, 1), np.uint8)
        for frame in frames:
            flicker.blank(frame)
        flickered.append(frames.ravel())
    assert not np.array_equal(*flickered)


def test_streams_outlast_a_block():
    def blanked(steps: int, pause: bool) -> np.ndarray:
        flicker = Flicker(0.3, 2, 1)
        flicker.seed([4, 9])
        frames = []
        for step in range(steps):
            frame = np.ones((2, 1, 1), np.uint8)
            if pause and step == 5:  # the streams of the two are no longer in step
                unchanged = np.array([False, True])
                flicker.blank(frame.copy(), unchanged=unchanged)
            flicker.blank(frame)
            frames.append(frame.ravel())
        return np.stack(frames)

    steady, paused = blanked(900, pause=False), blanked(900, pause=True)
    np.testing.assert_array_equal(paused[:, 1], steady[:, 1])
    np.testing.assert_array_equal(paused[5:-1, 0], steady[6:, 0])
    for env, seed in enumerate((4, 9)):
        numbers = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,))).random(900)
        np.testing.assert_array_equal(steady[:, env] == 0, numbers < 0.3)


@pytest.mark.parametrize("grayscale", [True, False])
def test_watched_games_flicker_like_those_of_the_vector_environment(grayscale: bool):
    protocol = replace(FLICKERING, max_noops=0, grayscale=grayscale)
    seed = next(s for s in range(20) if np.random.SeedSequence(s).generate_state(2)[1] < 2**31)
    env, envs = WatchableAtari(protocol), AtariEnvs(protocol, 1)
    observation, _ = env.reset(seed=seed)
    emulator_seed = np.random.SeedSequence(seed).generate_state(2)[1].astype(np.int64)
    observations, _ = envs.reset(seed=np.array([emulator_seed]))
    blank = []
    for _ in range(40):
        np.testing.assert_array_equal(observation, observations[0])
        blank.append(not observation[-1].any())
        observation, _, terminated, truncated, _ = env.step(2)
        observations, *_ = envs.step(np.array([2]))
        if terminated or truncated:
            np.testing.assert_array_equal(observation, observations[0])
            observation, _ = env.reset()
            observations, *_ = envs.step(np.array([2]))
    assert 0.2 < np.mean(blank) < 0.8
    picture = env.render()
    assert isinstance(picture, np.ndarray)
    assert picture.any()
    env.close()
    envs.close()


@pytest.mark.parametrize(
    ("value", "error"), [(1.5, ValueError), (-0.1, ValueError), ("often", TypeError)]
)
def test_a_probability_out_of_range_is_named(value: Any, error: type[Exception]):
    with pytest.raises(error, match=f"flicker must be .* not '?{value}"):
        AtariProtocol(flicker=value)
