"""Several bins of one configuration, stepped one after the other: what a process works on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.bin_picking.configuration import BinPickingConfig
from rlkit_envs.bin_picking.controller import Attempt, OnMoment, Outcome
from rlkit_envs.bin_picking.episode import OUTCOMES, PickingBin, Result
from rlkit_envs.bin_picking.oracle import find_pick
from rlkit_envs.bin_picking.parts import KINDS

KIND_NAMES = tuple(KINDS)
"""In the order of the numbers that stand for them in `info`."""

Arrays = dict[str, NDArray[Any]]


class Bins:
    """`count` bins; each method works on all of them and gives one row a bin."""

    def __init__(self, config: BinPickingConfig, count: int) -> None:
        self.bins = [PickingBin(config, (i,)) for i in range(count)]
        self._ended = np.zeros(count, bool)
        self.on_moment: OnMoment = lambda: None
        """Called after every time step of an attempt in `step`, for whoever films it."""

    def reset(self, seeds: Sequence[tuple[int, ...]] | None) -> NDArray[np.float32]:
        """Start a new episode everywhere, of a new sequence of episodes where there are seeds."""
        for i, bin_ in enumerate(self.bins):
            if seeds is not None:
                bin_.seed, bin_.episode = seeds[i], -1
            bin_.begin()
        self._ended[:] = False
        return self._observations()

    def step(self, actions: NDArray[np.int64]) -> tuple[NDArray[np.float32], Arrays]:
        """Attempt a pick in each bin, but start a new episode where one ended in the last step.

        Gives observations, and by name one value a bin: reward, terminated, truncated, and `info`.
        """
        rows = []
        for i, bin_ in enumerate(self.bins):
            if self._ended[i]:
                bin_.begin()
                rows.append(_row(bin_, None))
            else:
                rows.append(_row(bin_, bin_.attempt(int(actions[i]), self.on_moment)))
            self._ended[i] = rows[i]["terminated"] or rows[i]["truncated"]
        return self._observations(), _stacked(rows)

    def try_out(self, actions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Numbers of the outcomes that attempts would have; -1 where the episode is over."""
        return np.array(
            [
                -1 if over else OUTCOMES.index(bin_.try_out(int(action)).outcome)
                for bin_, action, over in zip(self.bins, actions, self._ended, strict=True)
            ]
        )

    def find_picks(self, most: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The oracle's actions, and whether they succeed; see `oracle.find_pick`."""
        actions = np.zeros(len(self.bins), np.int64)
        succeed = np.zeros(len(self.bins), bool)
        for i, bin_ in enumerate(self.bins):
            if not self._ended[i]:
                found = find_pick(bin_, most, np.random.default_rng([seed, *bin_.seed]))
                actions[i], succeed[i] = found.action, found.succeeds
        return actions, succeed

    def state(self) -> list[Arrays]:
        """What `set_state` takes."""
        return [
            {**bin_.state(), "ended": np.array(over)}
            for bin_, over in zip(self.bins, self._ended, strict=True)
        ]

    def set_state(self, states: Sequence[Mapping[str, NDArray[Any]]]) -> NDArray[np.float32]:
        """Go on from there; gives the observations."""
        for i, (bin_, state) in enumerate(zip(self.bins, states, strict=True)):
            bin_.set_state(state)
            self._ended[i] = bool(state["ended"])
        return self._observations()

    def _observations(self) -> NDArray[np.float32]:
        return np.stack([bin_.observation for bin_ in self.bins])


def _row(bin_: PickingBin, result: Result | None) -> dict[str, Any]:
    """All that is told of a step; of one that began an episode, with None for an attempt."""
    attempt = _NOTHING if result is None else result.attempt
    left = bin_.scene.present
    row: dict[str, Any] = {
        "reward": 0.0 if result is None else result.reward,
        "terminated": result is not None and result.terminated,
        "truncated": result is not None and result.truncated,
        "success": attempt.outcome is Outcome.OK and result is not None,
        "outcome": -1 if result is None else OUTCOMES.index(attempt.outcome),
        "parts_out": int(attempt.out.sum()),
        "parts_left": int(left.sum()),
        "ferrous_parts_left": int((left & bin_.ferrous).sum()),
        "quality": attempt.quality,
        "hold_force_n": attempt.hold_force_n,
        "weight_n": attempt.weight_n,
        "offset_mm": 1e3 * attempt.offset_m,
        "tilt_deg": attempt.tilt_deg,
        "kind": -1 if attempt.part < 0 else KIND_NAMES.index(bin_.parts[attempt.part].kind),
        "simulated_s": attempt.simulated_s,
        "cycle_s": attempt.cycle_s,
    }
    for name, value in bin_.episode_counts().items():
        row[f"count/{name}"] = value
    return row


_NOTHING = Attempt.nothing(0)


def _stacked(rows: Sequence[Mapping[str, Any]]) -> Arrays:
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}
