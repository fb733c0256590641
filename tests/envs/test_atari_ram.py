"""Games seen as bits of memory: the same games as on frames, in an order of bits that is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import ale_py
import gymnasium
import numpy as np
import pytest
from ale_py import roms
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode

from rlkit_envs.atari import AtariEnvs, AtariProtocol
from rlkit_envs.atari_ram import ram_bits
from rlkit_envs.atari_watching import WatchableAtari

FRAMES = AtariProtocol("boxing", height=10, width=10, frame_stack=1)
RAM = replace(FRAMES, observation="ram_bits")
PLAIN = replace(RAM, sticky_actions=0.0, max_noops=0)


@pytest.fixture(scope="module")
def pair() -> Iterator[AtariEnvs]:
    """Two games for several tests: loading one takes a tenth of a second."""
    envs = AtariEnvs(RAM, 2)
    yield envs
    envs.close()


def as_bytes(bits: np.ndarray) -> np.ndarray:
    """(..., 1024) bits back to (..., 128) bytes, by adding powers of two."""
    return (bits.reshape(*bits.shape[:-1], 128, 8).astype(np.int64) << np.arange(8)).sum(-1)


def test_bit_b_of_byte_n_is_column_8_n_plus_b():
    ram = np.zeros(128, np.uint8)
    ram[0], ram[1], ram[127] = 1, 0b0000_0110, 0b1000_0000
    bits = ram_bits(ram)
    assert (bits.shape, bits.dtype) == ((1024,), np.int8)
    assert np.flatnonzero(bits).tolist() == [0, 8 + 1, 8 + 2, 8 * 127 + 7]
    assert set(bits.tolist()) == {0, 1}
    random = np.random.default_rng(0).integers(256, size=(3, 2, 128), dtype=np.uint8)
    np.testing.assert_array_equal(as_bytes(ram_bits(random)), random)


def test_spaces_and_metadata_tell_of_bits_and_of_the_same_rules(pair: AtariEnvs):
    assert pair.single_observation_space == Box(0, 1, (1024,), np.int8)
    assert pair.observation_space == Box(0, 1, (2, 1024), np.int8)
    assert pair.single_action_space == Discrete(18)
    assert pair.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert set(pair.metadata["episode_counts"]) >= {"knock_outs", "hits_landed"}
    observations, _ = pair.reset(seed=1)
    assert observations in pair.observation_space
    observations, *_ = pair.step(np.array([1, 2]))
    assert observations in pair.observation_space


@pytest.mark.parametrize(
    ("changes", "num_envs", "steps"),
    [
        ({"sticky_actions": 0.0, "max_noops": 0, "max_frames": 402}, 1, 140),
        ({"max_frames": 301}, 2, 110),
        ({"game": "breakout", "full_action_space": False}, 1, 280),
        ({"game": "pong", "frame_skip": 3, "max_noops": 7, "max_frames": 400}, 1, 160),
        ({"frame_skip": 1, "max_noops": 50, "max_frames": 60, "clip_rewards": True}, 2, 130),
    ],
    ids=["plain", "boxing", "breakout", "pong", "every frame"],
)
def test_the_game_is_the_one_that_is_played_on_frames(
    changes: dict[str, Any], num_envs: int, steps: int
):
    """Sticky actions, no-ops and all: whoever plays by frames can be watched by memory."""
    on_frames = AtariEnvs(replace(FRAMES, **changes), num_envs, threads=1)
    on_ram = AtariEnvs(replace(RAM, **changes), num_envs)
    assert on_ram.action_space == on_frames.action_space
    _, expected_info = on_frames.reset(seed=3)
    _, info = on_ram.reset(seed=3)
    np.testing.assert_equal(info, expected_info)
    on_frames.action_space.seed(0)
    scored, ends = 0, 0
    for _ in range(steps):
        actions = on_frames.action_space.sample()
        _, *expected, expected_info = on_frames.step(actions)
        _, *outcome, info = on_ram.step(actions)
        for ours, theirs in zip(outcome, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
            assert ours.dtype == theirs.dtype
        np.testing.assert_equal(info, expected_info)
        scored += np.count_nonzero(info["unclipped_rewards"])
        ends += np.count_nonzero(np.logical_or(*expected[1:]))
    assert ends >= num_envs, "the test has to cross the end of an episode"
    assert scored or changes.get("frame_skip"), "the test has to see points"
    on_frames.close()
    on_ram.close()


def test_the_bits_are_those_of_the_emulator_that_plays_the_same_actions():
    emulator = ale_py.ALEInterface()
    emulator.setFloat("repeat_action_probability", 0.0)
    emulator.loadROM(str(roms.get_rom_path("boxing")))
    emulator.reset_game()
    envs = AtariEnvs(PLAIN, 1)
    observations, _ = envs.reset(seed=0)
    random = np.random.default_rng(1)
    changed = np.zeros(128, bool)
    for _ in range(60):
        ram = emulator.getRAM()
        np.testing.assert_array_equal(as_bytes(observations[0]), ram)
        action = int(random.integers(18))
        for _ in range(4):
            emulator.act(action)
        changed |= emulator.getRAM() != ram
        observations, *_ = envs.step(np.array([action]))
    assert changed.sum() > 10
    envs.close()


def test_stacks_hold_the_last_memories_oldest_first_after_zeros():
    single = AtariEnvs(replace(PLAIN, max_frames=24), 1)
    stacked = AtariEnvs(replace(PLAIN, max_frames=24, frame_stack=3), 1)
    assert stacked.single_observation_space == Box(0, 1, (3, 1024), np.int8)
    nothing = np.zeros(1024, np.int8)
    newest = single.reset(seed=0)[0][0]
    expected = [nothing, nothing, newest]
    np.testing.assert_array_equal(stacked.reset(seed=0)[0][0], expected)
    for step in range(1, 16):  # an episode has 6 steps; then comes the reset step
        actions = np.array([step])
        newest = single.step(actions)[0][0]
        expected = [nothing, nothing, newest] if step % 7 == 0 else [*expected[1:], newest]
        np.testing.assert_array_equal(stacked.step(actions)[0][0], expected)
    single.close()
    stacked.close()


def test_resetting_some_leaves_the_others_and_starts_new_episodes(pair: AtariEnvs):
    before, _ = pair.reset(seed=2)
    for _ in range(10):
        before, *_ = pair.step(np.array([3, 4]))
    after, info = pair.reset(options={"reset_mask": np.array([True, False])})
    np.testing.assert_array_equal(after[1], before[1])
    assert not np.array_equal(after[0], before[0])
    started, goes_on = info["episode_frame_number"]
    assert started <= 30 < 40 <= goes_on
    with pytest.raises(ValueError, match="reset_mask"):
        pair.reset(options={"reset_mask": np.array([True])})


def rolled(envs: AtariEnvs, seed: Any) -> np.ndarray:
    record = [envs.reset(seed=seed)[0]]
    record += [envs.step(np.array([step % 18, step % 18]))[0] for step in range(15)]
    return np.stack(record)


def test_the_seed_decides_and_each_game_has_its_own(pair: AtariEnvs):
    first = rolled(pair, 5)
    np.testing.assert_array_equal(rolled(pair, 5), first)
    assert not np.array_equal(rolled(pair, 6), first)
    assert not np.array_equal(first[:, 0], first[:, 1])
    alike = rolled(pair, np.array([9, 9]))
    np.testing.assert_array_equal(alike[:, 0], alike[:, 1])
    unseeded = AtariEnvs(replace(RAM, max_noops=200), 2)
    _, info = unseeded.reset()
    assert info["episode_frame_number"][0] != info["episode_frame_number"][1]
    unseeded.close()


def test_arrays_given_out_never_change(pair: AtariEnvs):
    observations, _ = pair.reset(seed=0)
    given: list[np.ndarray] = [observations]
    copies = [observations.copy()]
    for _ in range(10):
        pair.send(actions := np.array([1, 2]))
        actions[:] = 99  # what was sent no longer depends on the caller's array
        observations, rewards, terminated, truncated, info = pair.recv()
        arrays = [observations, rewards, terminated, truncated, info["lives"]]
        assert not any(np.shares_memory(a, b) for a in arrays for b in given)
        given += arrays
        copies += [array.copy() for array in arrays]
    for array, copy in zip(given, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_a_watched_game_plays_a_seed_as_a_batch_of_one_and_shows_the_screen():
    protocol = replace(RAM, max_frames=120, frame_stack=2, clip_rewards=True)
    env, envs = WatchableAtari(protocol), AtariEnvs(protocol, 1)
    assert env.observation_space == envs.single_observation_space
    assert env.action_space == envs.single_action_space
    assert env.action_meanings[:3] == ["NOOP", "FIRE", "UP"]
    observation, _ = env.reset(seed=11)
    observations, _ = envs.reset(seed=11)
    for step in range(45):
        np.testing.assert_array_equal(observation, observations[0])
        action = (7 * step) % 18
        observation, reward, terminated, truncated, info = env.step(action)
        observations, rewards, *ends, batch_info = envs.step(np.array([action]))
        assert (reward, terminated, truncated) == (rewards[0], ends[0][0], ends[1][0])
        counts = {name: values[0] for name, values in batch_info["episode_counts"].items()}
        assert info["episode_counts"] == counts
        if terminated or truncated:
            observation, _ = env.reset()
            observations, *_ = envs.step(np.array([0]))
    picture = env.render()
    assert isinstance(picture, np.ndarray)
    assert (picture.shape, picture.dtype) == ((210, 160, 3), np.uint8)
    reference = gymnasium.make("ALE/Boxing-v5", render_mode="rgb_array")
    reference.reset(seed=0)
    colours = np.unique(np.asarray(reference.render()).reshape(-1, 3), axis=0)
    shown = np.unique(picture.reshape(-1, 3), axis=0)
    assert {*map(tuple, shown)} == {*map(tuple, colours)}
    env.close()
    envs.close()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"observation": "ram"}, "observation must be frames or ram_bits, not 'ram'"),
        ({"observation": 5}, "observation must be frames or ram_bits, not 5"),
        ({"observation": "ram_bits", "flicker": 0.5}, "flicker .* must be 0, not 0.5"),
    ],
)
def test_protocols_that_make_no_sense_are_refused(changes: dict[str, Any], complaint: str):
    with pytest.raises(ValueError, match=complaint):
        AtariProtocol("boxing", **changes)
