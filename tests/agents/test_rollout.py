"""A rollout holds what was decided and what came of it, and knows where episodes start."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from rlkit_agents.rollout import Rollout
from rlkit_agents.step import Step

LENGTH = 3


def rollout(**changes: Any) -> Rollout:
    settings: dict[str, Any] = dict(
        length=LENGTH,
        num_envs=2,
        observation=((4,), np.dtype(np.uint8)),
        action=((), np.dtype(np.int64)),
        columns={"values": ((), np.dtype(np.float32))},
    )
    return Rollout(**(settings | changes))


def step(
    terminated: tuple[int, int] = (0, 0),
    truncated: tuple[int, int] = (0, 0),
    valid: tuple[int, int] = (1, 1),
    rewards: tuple[float, float] = (0, 0),
) -> Step:
    return Step(
        np.zeros((2, 4), np.uint8),
        np.array(rewards, np.float32),
        np.array(terminated, bool),
        np.array(truncated, bool),
        np.array(valid, bool),
    )


def decide(kept: Rollout, number: int) -> None:
    """Begin a row whose every entry tells its number."""
    kept.decide(
        np.full((2, 4), number, np.uint8),
        np.array([number, number + 10]),
        values=np.array([number, -number], np.float32),
    )


def test_rows_hold_what_was_decided_and_what_came_of_it():
    kept = rollout()
    for number in range(LENGTH):
        assert (len(kept), kept.full) == (number, False)
        decide(kept, number)
        kept.observe(step(rewards=(number, 2 * number), terminated=(0, int(number == 1))))
    assert kept.full
    np.testing.assert_array_equal(kept.observations, np.arange(3)[:, None, None] * np.ones((2, 4)))
    assert kept.observations.dtype == np.uint8
    assert kept.actions.tolist() == [[0, 10], [1, 11], [2, 12]]
    assert kept.columns["values"].tolist() == [[0, 0], [1, -1], [2, -2]]
    assert kept.rewards.tolist() == [[0, 0], [1, 2], [2, 4]]
    assert kept.terminated.tolist() == [[False, False], [False, True], [False, False]]
    assert kept.valid.all()


def test_what_is_kept_does_not_change_with_what_was_given():
    kept = rollout()
    observations, outcome = np.ones((2, 4), np.uint8), step(rewards=(1, 1))
    kept.decide(observations, np.array([1, 1]), values=np.ones(2, np.float32))
    kept.observe(outcome)
    observations[:] = 9
    outcome.rewards[:] = 9
    assert (kept.observations[0] == 1).all()
    assert (kept.rewards[0] == 1).all()


def test_episodes_start_at_first_and_after_reset_steps():
    kept = rollout(length=4)
    starts = []
    for outcome in (step(truncated=(1, 0)), step(valid=(0, 1)), step(), step(valid=(1, 0))):
        starts.append(kept.next_starts.tolist())
        decide(kept, 0)
        kept.observe(outcome)
    assert starts == [[True, True], [False, False], [True, False], [False, False]]
    assert kept.starts.tolist() == starts
    assert kept.valid.tolist() == [[True, True], [False, True], [True, True], [True, False]]
    kept.clear()
    decide(kept, 0)
    assert kept.starts[0].tolist() == [False, True]


def test_an_episode_ends_once_and_for_one_reason():
    kept = rollout()
    decide(kept, 0)
    kept.observe(step(terminated=(1, 0), truncated=(1, 1)))
    assert kept.terminated[0].tolist() == [True, False]
    assert kept.truncated[0].tolist() == [False, True]
    decide(kept, 1)  # a cut of all environments finds the first being reset
    kept.observe(step(terminated=(1, 0), truncated=(1, 1), valid=(0, 1)))
    assert kept.terminated[1].tolist() == [False, False]
    assert kept.truncated[1].tolist() == [False, True]


def test_a_full_rollout_is_to_be_cleared():
    kept = rollout(length=1)
    decide(kept, 0)
    kept.observe(step())
    with pytest.raises(RuntimeError, match="1 rows are full: learn, then clear it"):
        decide(kept, 1)
    kept.clear()
    decide(kept, 1)
    assert kept.actions.tolist() == [[1, 11]]


def test_a_restored_rollout_goes_on():
    kept = rollout()
    decide(kept, 1)
    kept.observe(step(rewards=(1, 2)))
    decide(kept, 2)
    kept.observe(step(valid=(0, 1)))
    state = kept.state_dict()
    saved = copy.deepcopy(state)
    kept.clear()
    decide(kept, 7)  # which must not change what was saved

    restored = rollout()
    restored.load_state_dict(state)
    assert len(restored) == 2
    assert restored.next_starts.tolist() == [True, False]
    for name, array in saved["arrays"].items():
        np.testing.assert_array_equal(restored.state_dict()["arrays"][name], array, err_msg=name)
    assert {"observations", "actions", "rewards", "valid", "starts", "values"} < saved[
        "arrays"
    ].keys()
    decide(restored, 3)
    restored.observe(step())
    assert restored.actions.tolist() == [[1, 11], [2, 12], [3, 13]]
    assert restored.starts.tolist() == [[True, True], [False, False], [True, False]]


@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        (rollout(length=1), "saved rollout has 2 rows .* this one has 1"),
        (rollout(columns={}), "this one has 3 of .*'valid'"),
        (rollout(num_envs=3), r"saved .* have shape \(2,.*\), not \(3,"),
        (
            rollout(observation=((5,), np.dtype(np.uint8))),
            r"saved observations have shape \(2, 4\), not \(2, 5\)",
        ),
    ],
)
def test_a_state_of_another_rollout_is_refused(other: Rollout, complaint: str):
    kept = rollout()
    for _ in range(2):
        decide(kept, 1)
        kept.observe(step())
    with pytest.raises(ValueError, match=complaint):
        other.load_state_dict(kept.state_dict())


def test_other_columns_are_refused():
    with pytest.raises(ValueError, match=r"columns must be \['values'\], got \[\]"):
        rollout().decide(np.zeros((2, 4), np.uint8), np.zeros(2, np.int64))


@pytest.mark.parametrize("sizes", [{"length": 0}, {"num_envs": 0}])
def test_an_empty_rollout_is_refused(sizes: dict[str, int]):
    with pytest.raises(ValueError, match="a rollout needs rows and environments"):
        rollout(**sizes)
