"""Judging: agreement and regret by hand, of choices and of continuous actions."""

import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rlkit.edge.body import Body
from rlkit.edge.judge import Judge
from rlkit.edge.latency import take_turns
from rlkit.recording import Recording

SEEN = Recording(np.eye(4, dtype=np.float32), (), {"id": "hand"})


def body_of_scores(scores: list[list[float]]) -> Body:
    """One whose scores of the four observations are the rows."""
    head = nn.Linear(4, len(scores[0]), bias=False)
    with torch.no_grad():
        head.weight.copy_(torch.tensor(scores).T)
    return Body(nn.Sequential(), None, head)


class Copy:
    """A deployed policy that scores as it is told."""

    def __init__(self, scores: list[list[float]], bounds: tuple[list, list] | None = None) -> None:
        self._scores = np.array(scores, np.float32)
        self.continuous = bounds is not None
        self._bounds = bounds

    @property
    def action_range(self) -> np.ndarray:
        assert self._bounds is not None
        return np.array(self._bounds[1]) - np.array(self._bounds[0])

    def scores(self, observations: np.ndarray, state: Any = None) -> tuple[np.ndarray, None]:
        return observations @ self._scores, None

    def actions(self, scores: np.ndarray) -> np.ndarray:
        assert self._bounds is not None
        return np.clip(scores, *self._bounds)


def fidelity(theirs: list[list[float]], ours: list[list[float]], **bounds: Any) -> Any:
    return Judge(body_of_scores(theirs), SEEN).fidelity(Copy(ours, **bounds))  # pyright: ignore


def test_agreement_and_regret_by_hand():
    policy = [[3.0, 1.0, 0.0], [0.0, 2.0, 1.0], [1.0, 0.0, 5.0], [4.0, 3.0, 0.0]]
    copy = [[9.0, 1.0, 0.0], [0.0, 1.0, 2.0], [0.0, 0.0, 1.0], [0.0, 2.0, 1.0]]
    found = fidelity(policy, copy)
    assert found.agreement == pytest.approx(0.5)  # the second and the fourth choose otherwise
    assert found.regret == pytest.approx((0 + 1 + 0 + 1) / 4)
    means = [4 / 3, 1.0, 2.0, 7 / 3]
    assert found.spread == pytest.approx(np.mean([3 - means[0], 1.0, 3.0, 4 - means[3]]))
    assert (found.observations, found.action_error) == (4, None)


def test_a_copy_that_scores_alike_regrets_nothing():
    policy = [[3.0, 1.0], [0.0, 2.0], [1.0, 0.0], [4.0, 3.0]]
    found = fidelity(policy, policy)
    assert (found.agreement, found.regret) == (1.0, 0.0)


def test_continuous_actions_differ_by_a_share_of_their_range():
    policy = [[0.0, 0.0], [1.0, 0.0], [5.0, 0.0], [0.0, 2.0]]  # 5 is clipped to 1
    copy = [[0.5, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    found = fidelity(policy, copy, bounds=([-1.0, 0.0], [1.0, 4.0]))
    assert found.agreement is None
    errors = [0.25, 0, 0, 0, 0, 0, 0, 0.25]
    assert found.action_error == pytest.approx(np.sqrt(np.mean(np.square(errors))))


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(ValueError, match="empty recording"):
        Judge(body_of_scores([[1.0]] * 4), SEEN[:0])
    with pytest.raises(ValueError, match=r"scores of shape \(2,\) is none of a policy with \(1,\)"):
        fidelity([[1.0]] * 4, [[1.0, 2.0]] * 4)


def test_latencies_tell_slow_from_fast():
    found = take_turns(
        {"slow": lambda: time.sleep(0.004), "fast": lambda: None}, seconds=0.02, rounds=3
    )
    assert 4_000 <= found["slow"].p50_us <= found["slow"].p99_us
    assert found["fast"].p50_us < 100
    assert len(found["slow"].medians_us) == 3
    assert found["slow"].calls < found["fast"].calls
    with pytest.raises(ValueError, match="timing needs seconds and rounds, got 0"):
        take_turns({}, seconds=0)
