"""The library's replay in checkpoints: its rows come back, and none leads across a cut."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer

from rlkit.sb3.replay_rows import ReplayRows

SEEN, MOVES = gym.spaces.Box(0, 1_000, (1,), np.float32), gym.spaces.Discrete(5)
ENVS = 2


def rows(kind: type[ReplayBuffer] = ReplayBuffer, size: int = 8, **settings: Any) -> ReplayRows:
    buffer = kind(size * ENVS, SEEN, MOVES, device="cpu", n_envs=ENVS, **settings)
    return ReplayRows(buffer)


def add(replay: ReplayRows, first: int, steps: int, ends: tuple[int, ...] = ()) -> None:
    """Steps of environment `env` from observation `time + 100 * env` to the next, reward 1."""
    for time in range(first, first + steps):
        now = np.array([[time], [100 + time]], np.float32)
        done = np.full(ENVS, time in ends)
        replay.buffer.add(now, now + 1, np.array([time % 5, 4]), np.ones(ENVS), done, [{}] * ENVS)
        replay.rows_written += 1


def sampled(replay: ReplayRows) -> dict[int, tuple[float, float, float]]:
    """Observation of the first environment -> what a learner is told: next one, done, reward."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    batch = replay.buffer.sample(600)
    parts = (batch.observations, batch.next_observations, batch.dones, batch.rewards)
    told = zip(*(part.flatten().tolist() for part in parts), strict=True)
    return {int(seen): tuple(others) for seen, *others in told if seen < 100}  # pyright: ignore


@pytest.mark.parametrize("written", [0, 5, 8, 21])
@pytest.mark.parametrize("saving", [False, True])
def test_rows_come_back_from_what_was_exported_a_part_at_a_time(written: int, saving: bool):
    settings: dict[str, Any] = {
        "optimize_memory_usage": saving,
        "handle_timeout_termination": not saving,
    }
    whole, again = rows(**settings), rows(**settings)
    parts: list[tuple[int, dict[str, np.ndarray]]] = []
    for time in range(written):
        add(whole, time, 1, ends=(3, 11))
        parts.append((time, whole.export_rows(time, time + 1)))
    # Half of the oldest row is overwritten one step early where observations are kept once.
    assert whole.first_row == max(0, written - (7 if saving else 8))
    whole.cut()
    if written:  # only now is its newest row what it stays
        parts[-1] = (written - 1, whole.export_rows(written - 1, written))
    for start, arrays in parts[whole.first_row :]:
        again.import_rows(start, arrays)
    again.load_state_dict(whole.state_dict())
    assert (again.buffer.pos, again.buffer.full) == (whole.buffer.pos, whole.buffer.full)
    assert len(again) == len(whole) == min(written, 8) * ENVS
    if written and not saving:
        assert sampled(again) == sampled(whole)
    for replay in (whole, again):  # both go on with a new episode
        add(replay, 50, 3)
    assert sampled(again) == sampled(whole)


def test_an_n_step_return_ends_at_a_cut_and_goes_on_from_what_was_seen_there():
    replay = rows(NStepReplayBuffer, n_steps=3, gamma=0.5)
    add(replay, 0, 4)
    replay.cut()
    add(replay, 50, 4)
    told = sampled(replay)
    assert told[0] == (3, 0, 1.75)
    assert told[2] == (4, 0, 1.5)  # two rewards, then the value of observation 4, not of 51
    assert told[3] == (4, 0, 1.0)
    assert told[50] == (53, 0, 1.75)


def test_a_transition_whose_end_is_overwritten_at_a_cut_is_taken_for_terminal():
    replay = rows(optimize_memory_usage=True, handle_timeout_termination=False)
    add(replay, 0, 4)
    replay.cut()
    add(replay, 50, 4)
    told = sampled(replay)
    assert told[2] == (3, 0, 1)
    assert told[3][1:] == (1, 1)
    assert told[51] == (52, 0, 1)


def test_an_episode_that_ended_with_the_cut_has_ended():
    replay = rows()
    add(replay, 0, 4, ends=(3,))
    replay.cut()
    assert sampled(replay)[3] == (4, 1, 1)
    assert sampled(replay)[2] == (3, 0, 1)


def test_rows_of_another_replay_are_refused():
    replay = rows()
    add(replay, 0, 3)
    arrays = replay.export_rows(0, 3)
    wider = {**arrays, "rewards": np.ones((3, 5), np.float32)}
    with pytest.raises(ValueError, match=r"replay rows hold rewards of float32 \(5,\), not"):
        replay.import_rows(0, wider)
    with pytest.raises(ValueError, match="the replay held 8 rows, now 4"):
        rows(size=4).load_state_dict(replay.state_dict())
