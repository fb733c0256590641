"""Bin picking as vector environment: one pixel a step, one attempt to pick there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from gymnasium.error import AlreadyPendingCallError, NoAsyncCallError, ResetNeeded
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from rlkit_envs.bin_picking.bins import Bins
from rlkit_envs.bin_picking.configuration import BinPickingConfig
from rlkit_envs.bin_picking.sensor import HIGHEST_M
from rlkit_envs.bin_picking.workers import InProcess, Worker, shares

StepResult: TypeAlias = tuple[
    NDArray[np.float32],
    NDArray[np.float32],
    NDArray[np.bool_],
    NDArray[np.bool_],
    dict[str, Any],
]
BinState: TypeAlias = list[dict[str, NDArray[Any]]]

EPISODE_COUNTS: Mapping[str, str] = MappingProxyType(
    {
        "success": "share of attempts that brought out exactly one part",
        "cleared": "1 if nothing that a magnet lifts is left, else 0",
        "parts_left": "parts",
        "picks_per_hour": "parts brought out one by one, an hour of the cycle model",
        "ok": "attempts",
        "miss": "attempts",
        "collision": "attempts",
        "dropped": "attempts",
        "double": "attempts",
        "wall": "attempts",
        "unstable": "attempts",
    }
)
"""Name of each count -> its unit, per episode."""


class BinPickingEnvs(VectorEnv):
    """`num_envs` bins in which a magnet picks parts, in processes side by side.

    A step is one attempt: the tool goes down at a pixel until it touches, the magnet is switched
    on, lifts, carries what it holds out of the bin and lets go. The reward is 1 if exactly one part
    came out, else 0. An episode begins with a full bin; it terminates when nothing is left that a
    magnet lifts, and is truncated after two attempts for each part, after `failures_in_a_row`
    failures, and where the physics broke down.

    Observations: (num_envs, channels, pixels, pixels) float32. The first channel is the height
    above the floor in mm, row 0 being the far side (positive y) and column 0 the left one; then the
    surface's normal and colour, if they are asked for; the last is 1 where
    nothing should be tried: where walls are in the tool's way, and around recent failures until
    things have moved; else 0.
    Actions: (num_envs,) integers, (lean * pixels + row) * pixels + column; lean 0 is the upright
    tool, the others lean round about.
    NEXT_STEP autoreset: the step after an end ignores its action and has reward 0.

    `info`, after a step, holds arrays (num_envs,): `outcome`, its number in `episode.OUTCOMES` (-1
    where an episode begins); `success`; `parts_out`, `parts_left`, `ferrous_parts_left`; of the
    attempt `quality` (share of the magnet's force when it was switched on), `hold_force_n`,
    `weight_n`, `offset_mm` (from the face's middle to the centre of mass), `tilt_deg` (of the
    surface's normal against the tool), `kind` (its number in `bins.KIND_NAMES`, -1 for none),
    `simulated_s` and `cycle_s` (what a robot would take); and `episode_counts`: name ->
    (num_envs,) float64, meaningful where an episode ended.

    While bins are stepped by `send` and `recv`, the caller can compute something else, but ask the
    bins for nothing: all else raises AlreadyPendingCallError, and `recv` alone NoAsyncCallError.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        config: BinPickingConfig | None = None,
        processes: int = 0,
        **settings: Any,
    ) -> None:
        """config, or its fields as `settings`. processes: 0 is one a core, or none for one bin.

        Raises ValueError for settings out of range, TypeError for unknown ones.
        """
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        if processes < 0:
            raise ValueError(f"processes must not be negative, got {processes}")
        self.config = replace(config, **settings) if config else BinPickingConfig(**settings)
        self.num_envs = num_envs
        pixels, channels = self.config.pixels, self.config.channels
        low = np.zeros((channels, pixels, pixels), np.float32)
        high = np.ones_like(low)
        high[0] = 1e3 * HIGHEST_M
        if self.config.normals:
            low[1:4] = -1.0
        self.single_observation_space = Box(low, high, dtype=np.float32)
        self.single_action_space = Discrete(self.config.actions)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.metadata = {
            "autoreset_mode": AutoresetMode.NEXT_STEP,
            "episode_counts": dict(EPISODE_COUNTS),
            "saves_state": True,
        }
        self._shares = shares(num_envs, processes or os.cpu_count() or 1)
        self._ends = np.cumsum(self._shares)
        if len(self._shares) == 1 and processes == 0:
            self._workers: Sequence[InProcess | Worker] = [InProcess(self.config, num_envs)]
        else:
            self._workers = [Worker(self.config, share) for share in self._shares]
        self._ready = False
        self._stepping = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Fill all bins anew.

        seed: 0 or more decides all episodes from here on; None goes on with the next ones. options:
        there are none; ValueError if any are given.
        """
        if options:
            raise ValueError(f"there are no reset options here, got {options!r}")
        self._require_rest("reset")
        super().reset(seed=seed)
        seeds = None
        if seed is not None or not self._ready:
            first = int(self.np_random.integers(2**31))
            seeds = [(first, i) for i in range(self.num_envs)]
        self._ready = True
        return np.concatenate(self._call("reset", self._split(seeds))), {}

    def step(self, actions: NDArray[np.integer]) -> StepResult:
        """Attempt a pick in every bin.

        Raises ResetNeeded before the first reset, ValueError for actions of another shape or type,
        or off the grid.
        """
        self.send(actions)
        return self.recv()

    def send(self, actions: NDArray[np.integer]) -> None:
        """Begin a step; raises as `step` does."""
        actions = self._checked(actions)
        for worker, share in zip(self._workers, self._split(actions), strict=True):
            worker.ask("step", share)
        self._stepping = True

    def _require_reset(self) -> None:
        if not self._ready:
            raise ResetNeeded("call reset() first: nothing is in the bins yet")
        self._require_rest("step")

    def _require_rest(self, name: str) -> None:
        """Raise AlreadyPendingCallError while a step is under way."""
        if self._stepping:
            raise AlreadyPendingCallError("a step is under way: call recv() first", name)

    def _checked(self, actions: NDArray[np.integer]) -> NDArray[np.integer]:
        """(num_envs,) actions on the grid of bins that have been filled; raises as `step` does."""
        self._require_reset()
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,) or not np.issubdtype(actions.dtype, np.integer):
            raise ValueError(
                f"actions must be integers of shape ({self.num_envs},), "
                f"not {actions.dtype} of shape {actions.shape}"
            )
        outside = (actions < 0) | (actions >= self.config.actions)
        if outside.any():
            raise ValueError(
                f"action {actions[outside][0]} is off the grid: actions are from 0 to "
                f"{self.config.actions - 1}"
            )
        return actions

    def recv(self) -> StepResult:
        """Finish the step that `send` began. Raises NoAsyncCallError where none did."""
        if not self._stepping:
            raise NoAsyncCallError("no step is under way: call send() first", "step")
        self._stepping = False
        answers = self._answers()
        observations = np.concatenate([answer[0] for answer in answers])
        values = {
            name: np.concatenate([answer[1][name] for answer in answers]) for name in answers[0][1]
        }
        counts = {
            name.removeprefix("count/"): values.pop(name).astype(np.float64)
            for name in [name for name in values if name.startswith("count/")]
        }
        rewards = values.pop("reward").astype(np.float32)
        terminated, truncated = values.pop("terminated"), values.pop("truncated")
        return observations, rewards, terminated, truncated, {**values, "episode_counts": counts}

    def try_out(self, actions: NDArray[np.integer]) -> NDArray[np.int64]:
        """What attempts would come to, as numbers in `episode.OUTCOMES`; nothing changes.

        -1 where the episode is over. Raises as `step` does.
        """
        return np.concatenate(self._call("try_out", self._split(self._checked(actions))))

    def find_picks(self, most: int = 120, seed: int = 0) -> tuple[NDArray[np.int64], Any]:
        """Actions (num_envs,) of the oracle, which tries up to `most`, and (num_envs,) whether they
        succeed. Raises ResetNeeded before the first reset."""
        self._require_reset()
        for worker in self._workers:
            worker.ask("find_picks", most, seed)
        answers = self._answers()
        return np.concatenate([a for a, _ in answers]), np.concatenate([s for _, s in answers])

    def state(self) -> BinState:
        """What the future of all bins depends on, an entry for each, as small plain arrays.

        Raises ResetNeeded before the first reset.
        """
        self._require_reset()
        for worker in self._workers:
            worker.ask("state")
        return [state for states in self._answers() for state in states]

    def set_state(self, state: BinState) -> NDArray[np.float32]:
        """Go on, bit for bit, where `state` was taken; returns the observations.

        Raises ValueError for a state of other bins, after which a reset is due.
        """
        self._require_rest("set_state")
        if len(state) != self.num_envs:
            raise ValueError(f"a state of {len(state)} bins does not fit {self.num_envs}")
        self._ready = False
        observations = np.concatenate(self._call("set_state", self._split(state)))
        self._ready = True
        return observations

    @property
    def bins_here(self) -> Bins | None:
        """The bins, to be looked at, where they live in this process; else None."""
        first = self._workers[0]
        return first.bins if isinstance(first, InProcess) else None

    def close_extras(self, **kwargs: Any) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.close()

    def _split(self, rows: Any) -> list[Any]:
        """The share of each worker."""
        starts = self._ends - self._shares
        if rows is None:
            return [None] * len(self._shares)
        return [rows[start:end] for start, end in zip(starts, self._ends, strict=True)]

    def _call(self, method: str, arguments: Sequence[Any]) -> list[Any]:
        for worker, argument in zip(self._workers, arguments, strict=True):
            worker.ask(method, argument)
        return self._answers()

    def _answers(self) -> list[Any]:
        """What every worker says; raises the first error once all have been heard."""
        answers: list[Any] = []
        errors: list[Exception] = []
        for worker in self._workers:
            try:
                answers.append(worker.answer())
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return answers
