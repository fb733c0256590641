"""Judges a deployed copy of a policy by what it does: whether it acts as the policy, and what it
loses where it does not.

The policy's own scores decide what an action is worth, so no environment is needed. What remains of
its return takes whole episodes (`rlkit.evaluation`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.edge.body import Body, outputs_of
from rlkit.edge.runtime import EdgePolicy
from rlkit.recording import Recording


@dataclass(frozen=True)
class Fidelity:
    """How alike a copy acts, over recorded observations.

    Choices among actions have `agreement`, `regret` and `spread`, continuous actions have
    `action_error`; the others are None.
    """

    observations: int
    """Judged on."""
    agreement: float | None = None
    """Share of observations in which both choose the same action."""
    regret: float | None = None
    """By how much the policy values its own choice above the copy's, on average, in its own scores:
    expected returns, chances, or logarithms of probabilities. 0 where both choose alike."""
    spread: float | None = None
    """By how much it values its choice above the mean of all actions: what a random action loses
    on average."""
    action_error: float | None = None
    """Root mean square difference of continuous actions, as a share of their range."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return asdict(self)


class Judge:
    """Compares copies with one policy, on one recording that none of them has learnt from."""

    def __init__(self, body: Body, recording: Recording) -> None:
        """body: of the policy. Raises ValueError for an empty recording."""
        if not len(recording):
            raise ValueError("nothing can be judged on an empty recording")
        self.recording = recording
        self._scores: NDArray[np.float32] = outputs_of(body, recording)[0].numpy()

    def fidelity(self, copy: EdgePolicy) -> Fidelity:
        """What the copy makes of it. Raises ValueError where the recording does not fit it."""
        parts = [
            copy.scores(batch.observations, batch.state or None)[0]
            for batch in self.recording.batches()
        ]
        scores, wanted = np.concatenate(parts), self._scores
        if scores.shape != wanted.shape:
            raise ValueError(
                f"a copy with scores of shape {scores.shape[1:]} is none of a policy with "
                f"{wanted.shape[1:]}"
            )
        if copy.continuous:
            range_ = copy.action_range
            error = (copy.actions(scores) - copy.actions(wanted)) / range_
            return Fidelity(len(wanted), action_error=float(np.sqrt(np.mean(np.square(error)))))
        chosen, best = scores.argmax(1)[:, None], wanted.argmax(1)[:, None]
        worth = np.take_along_axis(wanted, best, 1)
        return Fidelity(
            len(wanted),
            agreement=float((chosen == best).mean()),
            regret=float((worth - np.take_along_axis(wanted, chosen, 1)).mean()),
            spread=float((worth - wanted.mean(1, keepdims=True)).mean()),
        )
