"""Shows how picking is learnt: success against attempts, kinds of failure, and calibration.

Works for whatever learns in bins, and does nothing elsewhere; chances and pictures are those of a
`Pick`. Everything counts attempts, as a robot would, with those that explore at random;
TensorBoard's horizontal axis is environment steps, which also count those that begin an episode.
"""

from __future__ import annotations

from collections import deque
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rlkit.calibration import brier_score, expected_calibration_error, reliability_table
from rlkit.callbacks.callback import Callback
from rlkit.callbacks.tensorboard import TensorBoard
from rlkit.picking_charts import (
    EIGHT_HOURS,
    HUMAN_PROGRAMMED,
    reliability_diagram,
    success_chart,
)
from rlkit_agents.pick import Attempts, Pick
from rlkit_agents.step import Step

if TYPE_CHECKING:
    from rlkit.training import Training
    from rlkit_agents.algorithm import Algorithm

WINDOW = 200
"""Latest attempts whose success is shown."""
JUDGED = 1_000
"""Latest attempts among which those that the policy chose show how well its chances are kept."""
FEWEST_JUDGED = 100
"""Chosen attempts below which nothing is said of that."""

_SUCCESS = f"picking/success_last_{WINDOW}"
_HUMAN = "picking/human_programmed"
_HOURS = {f"picking/eight_hours_at_{c.replace(' ', '_')}": n for c, n in EIGHT_HOURS.items()}
_CHARTS = {
    "Picking": {
        f"success of the last {WINDOW} attempts": [_SUCCESS, _HUMAN, *_HOURS],
        f"outcomes of the last {WINDOW} attempts": ["picking/outcomes/.*"],
        "calibration of chosen attempts": ["picking/brier", "picking/ece"],
    }
}
_NOTE = f"""
`{_SUCCESS}` is the share of the last {WINDOW} attempts that brought out exactly one part; attempts
that explore at random count as well, so the policy is better than its curve as long as it explores.

Two marks are to be beaten, both of the robot that taught itself to pick in 2015 (Fanuc and
Preferred Networks): `{_HUMAN}`, {100 * HUMAN_PROGRAMMED:.0f} %, which was also what people reached
who programmed the picking; and its **eight hours**, that is
{" or ".join(f"{n:,} attempts at {cycle} each" for cycle, n in EIGHT_HOURS.items())}:
{" and ".join(f"`{tag}`" for tag in _HOURS)} jump from 0 to 1 there.

All of these are curves of one chart on the page *Custom Scalars*; the image `picking/curve` shows
them on a logarithmic axis. TensorBoard's own axis is environment steps, which also count the steps
that fill a bin; `picking/attempts` tells attempts.

`picking/brier`, `picking/ece` and the image `picking/reliability` compare the chances that the
network gave beforehand to the attempts that it chose itself, of the last {JUDGED:,}, with what came
of them. Its weights are the latest, as always while exploring.
"""


class Picking(Callback):
    """Writes numbers every `every` attempts, pictures every `pictures_every`.

    Goes through the `TensorBoard` callback, if there is one; belongs before it.

    ==========================  ===================================================================
    picking/success_last_200    share of the last 200 attempts that succeeded
    picking/human_programmed    what people reached who programmed picking, to compare with
    picking/eight_hours_at_...  from 0 to 1 where a robot would have worked for eight hours
    picking/outcomes/...        shares of the last 200 attempts: ok, miss, collision, ...
    picking/brier, picking/ece  of the chances given beforehand to attempts that the policy chose,
                                among the last 1,000; as a picture picking/reliability
    picking/attempts            attempts made
    picking/curve               a chart: success against attempts, on a logarithmic axis
    picking/attempt             what was seen and expected at one attempt, and what came of it
    ==========================  ===================================================================
    """

    def __init__(self, every: int = 100, pictures_every: int = 250) -> None:
        if every < 1 or pictures_every < 1:
            raise ValueError(f"intervals must be positive, got {every} and {pictures_every}")
        self.every = every
        self.pictures_every = pictures_every
        self.attempts = 0
        """Made since the training began."""
        self._outcomes: deque[int] = deque(maxlen=JUDGED)
        self._chances: deque[float] = deque(maxlen=JUDGED)  # NaN where the policy did not choose
        self._curve: list[tuple[int, float]] = []
        self._introduced = False
        self._tensorboard: TensorBoard | None = None

    def on_start(self, training: Training) -> None:
        found = [callback for callback in training.callbacks if isinstance(callback, TensorBoard)]
        self._tensorboard = found[0] if found else None
        self._introduced = training.steps > 0

    def on_step(self, training: Training, step: Step, metrics: dict[str, Any]) -> None:
        algorithm, steps = training.algorithm, training.steps
        attempts = algorithm.attempts if isinstance(algorithm, Pick) else None
        outcomes = training.stepper.info.get("outcome")
        if outcomes is None:  # these are no bins, or they start afresh after a cut
            return
        self._introduce()
        before = self.attempts
        self.attempts += int(step.valid.sum())
        self._outcomes.extend(outcomes[step.valid].tolist())
        self._chances.extend(_given_chances(algorithm, len(outcomes))[step.valid].tolist())
        shares = self._shares()
        self.remark = f"picked {100 * shares['ok']:.0f} % of the last {min(WINDOW, self.attempts)}"
        due = self.attempts // self.every > before // self.every
        for tag, mark in _HOURS.items():
            if before < mark <= self.attempts:
                due = True
                self._add({tag: 0.0}, steps - training.stepper.num_envs)  # the curve jumps
        if due:
            self._curve.append((self.attempts, shares["ok"]))
            self._add(self._scalars(shares), steps)
        if self.attempts // self.pictures_every > before // self.pictures_every:
            self._draw(attempts, outcomes, step.valid, steps)

    def state_dict(self) -> dict[str, Any]:
        if self.attempts == 0:
            return {}
        return {
            "attempts": self.attempts,
            "outcomes": np.array(self._outcomes, np.int64),
            "chances": np.array(self._chances, np.float64),
            "curve": np.array(self._curve, np.float64).reshape(-1, 2),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if not state:
            return
        self.attempts = int(state["attempts"])
        self._outcomes = deque(np.asarray(state["outcomes"]).tolist(), JUDGED)
        self._chances = deque(np.asarray(state["chances"]).tolist(), JUDGED)
        self._curve = [(int(x), float(y)) for x, y in np.asarray(state["curve"]).tolist()]

    def _introduce(self) -> None:
        """Arrange the charts and tell what they show, at the first step of a training.

        Not at its start, when TensorBoard, which comes after this callback, is not there yet.
        """
        if self._tensorboard is not None and not self._introduced:
            self._tensorboard.add_charts(_CHARTS)
            self._tensorboard.add_text("picking/about", _NOTE, 0)
        self._introduced = True

    def _shares(self) -> dict[str, float]:
        """Of the last `WINDOW` attempts, by outcome; all 0 before the first."""
        latest = np.array(self._outcomes, np.int64)[-WINDOW:]
        return {
            name: float((latest == number).sum()) / max(1, len(latest))
            for number, name in enumerate(_outcome_names())
        }

    def _judged(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Chances given to attempts that the policy chose, and whether they succeeded."""
        chances, outcomes = np.array(self._chances), np.array(self._outcomes)
        chosen = ~np.isnan(chances)
        return chances[chosen], outcomes[chosen] == _outcome_names().index("ok")

    def _scalars(self, shares: dict[str, float]) -> dict[str, float]:
        scalars = {_SUCCESS: shares["ok"], _HUMAN: HUMAN_PROGRAMMED}
        scalars |= {tag: float(self.attempts >= mark) for tag, mark in _HOURS.items()}
        scalars["picking/attempts"] = float(self.attempts)
        scalars |= {f"picking/outcomes/{name}": share for name, share in shares.items()}
        chances, successes = self._judged()
        if len(chances) >= FEWEST_JUDGED:
            scalars["picking/brier"] = brier_score(chances, successes)
            scalars["picking/ece"] = expected_calibration_error(chances, successes)
        return scalars

    def _draw(
        self,
        attempts: Attempts | None,
        outcomes: NDArray[np.int64],
        valid: NDArray[np.bool_],
        steps: int,
    ) -> None:
        if self._tensorboard is None:
            return
        pictures: dict[str, NDArray[np.uint8]] = {}
        if attempts is not None:
            pictures["picking/attempt"] = _attempt_picture(attempts, outcomes, valid)
        if self._curve:
            pictures["picking/curve"] = np.asarray(success_chart(self._curve, WINDOW))
        chances, successes = self._judged()
        if len(chances) >= FEWEST_JUDGED:
            diagram = reliability_diagram(
                reliability_table(chances, successes),
                brier_score(chances, successes),
                expected_calibration_error(chances, successes),
            )
            pictures["picking/reliability"] = np.asarray(diagram)
        for tag, picture in pictures.items():
            self._tensorboard.add_image(tag, picture, steps)

    def _add(self, scalars: dict[str, float], steps: int) -> None:
        if self._tensorboard is not None:
            self._tensorboard.add_scalars(scalars, steps)


def _given_chances(algorithm: Algorithm, num_envs: int) -> NDArray[np.float64]:
    """(num_envs,) what the policy expected of its choices; NaN where it did not choose.

    With a discount, values of the pile that is left are mixed in, which are no chances.
    """
    given = np.full(num_envs, np.nan)
    if not isinstance(algorithm, Pick) or algorithm.policy.discount > 0:
        return given
    attempts = algorithm.attempts
    if attempts is not None and attempts.chances is not None:
        rows = np.flatnonzero(~attempts.random)
        given[rows] = attempts.chances[rows, attempts.actions[rows]]
    return given


def _attempt_picture(
    attempts: Attempts, outcomes: NDArray[np.int64], valid: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """One of the latest attempts, rather one that the policy chose."""
    from rlkit_envs.bin_picking.drawing import attempt_picture

    env = max(np.flatnonzero(valid), key=lambda env: not attempts.random[env])
    picture = attempts.pictures[env]
    unknown = np.full(picture.shape[1:], np.nan)
    chances = unknown if attempts.chances is None else attempts.chances[env]
    return attempt_picture(
        picture[0],
        chances.reshape(-1, *unknown.shape),
        int(attempts.actions[env]),
        _outcome_names()[outcomes[env]],
        marked=picture[-1],
    )


@cache
def _outcome_names() -> list[str]:
    """What the numbers of outcomes mean."""
    from rlkit_envs.bin_picking.episode import OUTCOMES

    return [outcome.value for outcome in OUTCOMES]
