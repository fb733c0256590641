"""A stretch of consecutive steps of all environments, which an on-policy algorithm learns from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from rlkit_agents.step import Step

Array = npt.NDArray[Any]


class Rollout:
    """`length` rows of one transition per environment, filled in turns of `decide` and `observe`.

    observations: (length, num_envs, *observation_shape). actions: (length, num_envs, ...).
    rewards: (length, num_envs) float32. terminated, truncated, valid: (length, num_envs) bool, as
    in `Step`. starts: (length, num_envs) bool, True where the observation is the first of its
    episode. columns: what the algorithm keeps beside, each (length, num_envs, ...).

    Where a row is not `valid` the environment was reset: its observation is the last of the episode
    before, and nothing is to be learnt from it.
    """

    def __init__(
        self,
        length: int,
        num_envs: int,
        observation: tuple[tuple[int, ...], np.dtype],
        action: tuple[tuple[int, ...], np.dtype],
        columns: Mapping[str, tuple[tuple[int, ...], np.dtype]] | None = None,
    ) -> None:
        """observation, action, columns: shape and dtype for one environment.

        Raises ValueError for a length or a number of environments below 1.
        """
        if length < 1 or num_envs < 1:
            raise ValueError(f"a rollout needs rows and environments, got {length} and {num_envs}")
        self.length = length
        self.num_envs = num_envs
        rows = (length, num_envs)
        self.observations = np.zeros((*rows, *observation[0]), observation[1])
        self.actions = np.zeros((*rows, *action[0]), action[1])
        self.rewards = np.zeros(rows, np.float32)
        self.terminated = np.zeros(rows, bool)
        self.truncated = np.zeros(rows, bool)
        self.valid = np.zeros(rows, bool)
        self.starts = np.zeros(rows, bool)
        self.columns: dict[str, Array] = {
            name: np.zeros((*rows, *shape), dtype)
            for name, (shape, dtype) in (columns or {}).items()
        }
        self._rows = 0
        self._next_starts = np.ones(num_envs, bool)

    def __len__(self) -> int:
        """Rows that are complete."""
        return self._rows

    @property
    def full(self) -> bool:
        """Whether all rows are complete; `clear` then makes room."""
        return self._rows == self.length

    @property
    def next_starts(self) -> npt.NDArray[np.bool_]:
        """(num_envs,) bool, whether the observations to act on next are first ones of episodes."""
        return self._next_starts

    def decide(self, observations: Array, actions: Array, **columns: Array) -> None:
        """Begin a row: what is observed, and what is done about it, all (num_envs, ...).

        Raises RuntimeError when full, ValueError for columns that are not those of the rollout.
        """
        if self.full:
            raise RuntimeError(f"the rollout's {self.length} rows are full: learn, then clear it")
        if columns.keys() != self.columns.keys():
            raise ValueError(f"columns must be {list(self.columns)}, got {list(columns)}")
        row = self._rows
        self.observations[row] = observations
        self.actions[row] = actions
        self.starts[row] = self._next_starts
        for name, values in columns.items():
            self.columns[name][row] = values

    def observe(self, step: Step) -> None:
        """Complete the row that `decide` began with what came of it."""
        row = self._rows
        self.rewards[row] = step.rewards
        self.terminated[row] = step.terminated & step.valid
        self.truncated[row] = step.truncated & ~step.terminated & step.valid
        self.valid[row] = step.valid
        self._next_starts = ~step.valid
        self._rows = row + 1

    def clear(self) -> None:
        """Make room for a new stretch that goes on where this one ends."""
        self._rows = 0

    def state_dict(self) -> dict[str, Any]:
        """Copies of the complete rows, and what is needed to go on after them."""
        arrays = {name: array[: self._rows].copy() for name, array in self._arrays().items()}
        return {"arrays": arrays, "rows": self._rows, "next_starts": self._next_starts.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken. Raises ValueError where it is of another rollout."""
        arrays = self._arrays()
        rows = int(state["rows"])
        if state["arrays"].keys() != arrays.keys() or rows > self.length:
            raise ValueError(
                f"the saved rollout has {rows} rows of {sorted(state['arrays'])}; this one has "
                f"{self.length} of {sorted(arrays)}"
            )
        for name, array in arrays.items():
            saved = state["arrays"][name]
            if saved.shape[1:] != array.shape[1:]:
                wanted = array.shape[1:]
                raise ValueError(f"the saved {name} have shape {saved.shape[1:]}, not {wanted}")
            array[:rows] = saved
        self._rows = rows
        self._next_starts = np.array(state["next_starts"], bool)

    def _arrays(self) -> dict[str, Array]:
        names = (
            "observations",
            "actions",
            "rewards",
            "terminated",
            "truncated",
            "valid",
            "starts",
        )
        return {name: getattr(self, name) for name in names} | self.columns
