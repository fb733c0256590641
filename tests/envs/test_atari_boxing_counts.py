"""What `AtariEnvs` counts in Boxing, against the scores in the console's memory."""

import dataclasses
import functools
from typing import NamedTuple

import ale_py
import numpy as np
from ale_py import roms
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from rlkit_envs import AtariEnvs, AtariProtocol
from rlkit_envs.boxing_counts import BoxingCounts

NAMES = ["knock_outs", "hits_landed", "hits_taken", "points_landed", "points_taken"]
EMULATOR_SEED = 0
PROTOCOL = AtariProtocol(sticky_actions=0.0, max_noops=0, frame_stack=1, height=10, width=10)


class Bout(NamedTuple):
    actions: list[int]
    landed: list[int]  # points in each step, read from memory
    taken: list[int]


def points(memory: np.ndarray) -> np.ndarray:
    """Ours and the opponent's: two binary-coded decimal digits; 0xC0 is a knock-out."""
    coded = memory[[0x12, 0x13]].astype(np.int64)
    return np.where(coded == 0xC0, 100, (coded >> 4) * 10 + (coded & 15))


@functools.cache
def scripted_bout() -> Bout:
    """A bout won by knock-out, 100 to 98, by a boxer who steps beside the other one and jabs."""
    console = ale_py.ALEInterface()
    console.setLoggerMode(ale_py.LoggerMode.Error)
    console.setFloat("repeat_action_probability", 0.0)
    console.setInt("random_seed", EMULATOR_SEED)
    console.loadROM(str(roms.get_rom_path("boxing")))
    console.reset_game()
    action_set = console.getMinimalActionSet()
    names = [action.name for action in action_set]
    bout = Bout([], [], [])
    while not console.game_over():
        memory = console.getRAM()
        before = points(memory)
        our_x, other_x, our_y, other_y = (int(byte) for byte in memory[[32, 33, 34, 35]])
        above = our_y - other_y - 20
        vertical = "UP" if above > 3 else "DOWN" if above < -3 else ""
        towards, away = ("RIGHT", "LEFT") if other_x > our_x else ("LEFT", "RIGHT")
        gap = abs(other_x - our_x)
        horizontal = towards if gap > 18 else away if gap < 12 else ""
        fire = "FIRE" if len(bout.actions) % 2 else ""
        action = names.index(vertical + horizontal + fire or "NOOP")
        for _ in range(4):
            console.act(action_set[action])
            if console.game_over():
                break
        landed, taken = points(console.getRAM()) - before
        bout.actions.append(action)
        bout.landed.append(int(landed))
        bout.taken.append(int(taken))
    return bout


def test_counts_of_a_knock_out_equal_the_consoles_score():
    bout = scripted_bout()
    assert sum(bout.landed) == 100
    envs = AtariEnvs(PROTOCOL, num_envs=2)
    envs.reset(seed=np.array([EMULATOR_SEED, 1]))
    idle_landed, idle_taken, info = [], [], {}
    terminated = truncated = np.zeros(2, dtype=bool)
    for action, landed, taken in zip(*bout, strict=True):
        _, rewards, terminated, truncated, info = envs.step(np.array([action, 0]))
        assert rewards[0] == landed - taken
        idle_landed.append(max(rewards[1], 0))
        idle_taken.append(max(-rewards[1], 0))
    assert terminated.tolist() == [True, False]
    assert not truncated.any()

    counts = info["episode_counts"]
    assert list(counts) == NAMES == list(envs.metadata["episode_counts"])
    assert {name: count[0] for name, count in counts.items()} == {
        "knock_outs": 1,
        "hits_landed": np.count_nonzero(bout.landed),
        "hits_taken": np.count_nonzero(bout.taken),
        "points_landed": 100,
        "points_taken": sum(bout.taken),
    }
    assert {name: count[1] for name, count in counts.items()} == {
        "knock_outs": 0,
        "hits_landed": np.count_nonzero(idle_landed),
        "hits_taken": np.count_nonzero(idle_taken),
        "points_landed": sum(idle_landed),
        "points_taken": sum(idle_taken),
    }
    assert sum(idle_taken) > 0

    # The reset step clears what the knock-out left, and nothing of the other bout.
    *_, info = envs.step(np.array([1, 0]))
    assert [info["episode_counts"][name][0] for name in NAMES] == [0, 0, 0, 0, 0]
    assert info["episode_counts"]["points_taken"][1] >= sum(idle_taken)
    assert counts["points_landed"][0] == 100, "counts already given do not change"
    envs.close()


def test_counts_ignore_the_clipping_of_rewards():
    bout = Bout(*(values[:300] for values in scripted_bout()))
    assert max(bout.landed) == 2, "clipping has to matter"
    envs = AtariEnvs(dataclasses.replace(PROTOCOL, clip_rewards=True), num_envs=1)
    envs.reset(seed=np.array([EMULATOR_SEED]))
    info = {}
    for action, landed, taken in zip(*bout, strict=True):
        _, rewards, _, _, info = envs.step(np.array([action]))
        assert rewards.dtype == np.float32
        assert rewards[0] == np.sign(landed - taken)
        assert info["unclipped_rewards"][0] == landed - taken
    assert info["episode_counts"]["points_landed"][0] == sum(bout.landed)
    assert info["episode_counts"]["points_taken"][0] == sum(bout.taken)
    envs.close()


def test_counts_agree_with_gymnasiums_episode_statistics():
    # Truncation ends several episodes, in different environments, and is never a knock-out.
    protocol = AtariProtocol(frame_stack=1, height=10, width=10, max_frames=800)
    envs = AtariEnvs(protocol, num_envs=3)
    recorder = RecordEpisodeStatistics(envs)
    recorder.reset(seed=5)
    random = np.random.default_rng(5)
    episodes = points_scored = 0
    for _ in range(410):
        *_, terminated, truncated, info = recorder.step(random.integers(18, size=3))
        ended = terminated | truncated
        if ended.any():
            counts = info["episode_counts"]
            net = counts["points_landed"] - counts["points_taken"]
            np.testing.assert_array_equal(net[ended], info["episode"]["r"][ended])
            assert not counts["knock_outs"].any()
            episodes += ended.sum()
            points_scored += counts["points_landed"][ended].sum()
    assert episodes == 6
    assert points_scored > 0
    envs.close()


def test_hand_worked_counts():
    counts = BoxingCounts(num_envs=3)
    no, yes = np.zeros(3, dtype=bool), np.ones(3, dtype=bool)
    counts.add(np.array([2, -1, 0], dtype=np.float32), no)
    counts.add(np.array([1, -2, 0], dtype=np.float32), no)
    counts.clear(np.array([False, True, False]))
    result = counts.add(np.array([97, -100, 99], dtype=np.float32), yes)
    assert {name: count.tolist() for name, count in result.items()} == {
        "knock_outs": [1, 0, 0],  # 100, knocked out ourselves, 99
        "hits_landed": [3, 0, 1],
        "hits_taken": [0, 1, 0],
        "points_landed": [100, 0, 99],
        "points_taken": [0, 100, 0],
    }


def test_other_games_count_nothing():
    envs = AtariEnvs("pong", num_envs=1)
    envs.reset(seed=0)
    *_, info = envs.step(np.zeros(1, dtype=np.int64))
    assert info["episode_counts"] == {}
    assert envs.metadata["episode_counts"] == {}
    envs.close()
