"""Experience replay that stores each frame once: uniform or prioritised, with n-step returns.

n-step returns after Sutton & Barto 2018, eq. 7.1; prioritised replay after Schaul et al. 2016
("Prioritized Experience Replay"). The rows themselves are left to `transition_rows`, what is drawn
to `replay_sampling`.

A transition is addressed by `row * num_envs + environment` with the absolute row number, so that an
index never changes its meaning: where a row has been overwritten since, the index is known to be
stale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rlkit_agents.replay_sampling import Sampler, change_priorities, make_sampler
from rlkit_agents.transition_rows import (
    Array,
    TransitionRows,
    check_observations,
    check_settings,
    n_step_windows,
)


@dataclass(frozen=True, slots=True)
class Batch:
    """Sampled transitions; k is the frame stack, and falls away where it is 1.

    observations: (batch, k, *frame_shape), oldest frame first.
    actions: (batch,) int64.
    returns: (batch,) float32, the discounted sum of the rewards of up to n steps.
    bootstrap_discounts: (batch,) float32, discount ** m after m steps, 0 after a termination.
    next_observations: (batch, k, *frame_shape), the observations m steps later.
    weights: (batch,) float32, importance weights, the largest of the batch being 1.
    indices: (batch,) int64, for `Replay.update_priorities`.
    """

    observations: Array
    actions: npt.NDArray[np.int64]
    returns: npt.NDArray[np.float32]
    bootstrap_discounts: npt.NDArray[np.float32]
    next_observations: Array
    weights: npt.NDArray[np.float32]
    indices: npt.NDArray[np.int64]


class Replay:
    """A ring of `capacity // num_envs` rows.

    A transition can be sampled once n further rows are there, as long as all frames of its stack
    are, and unless it is a reset step. Its window stops at the first end: after a termination
    nothing is bootstrapped, after a truncation the final observation is. Stacks that reach back
    past the start of an episode are filled with zeros, as ale-py's `AtariVectorEnv` does.
    """

    def __init__(
        self,
        *,
        capacity: int,
        num_envs: int,
        frame_shape: tuple[int, ...],
        frame_dtype: npt.DTypeLike,
        frame_stack: int,
        n_step: int,
        discount: float,
        priority_exponent: float = 0.0,
        compress: bool = False,
        seed: np.random.SeedSequence | int,
    ) -> None:
        """
        capacity: transitions over all environments, rounded down to whole rows.
        frame_shape, frame_dtype: of one frame; of a whole observation if frame_stack is 1.
        frame_stack: frames in an observation, 1 to 255; with 1 observations have no stack axis.
        n_step: rewards summed before bootstrapping, 1 to 255.
        discount: of one step, in [0, 1].
        priority_exponent: alpha of Schaul et al. in [0, 1]; 0 samples uniformly.
        compress: keep frames compressed with LZ4 (the extra `lz4`).
        Raises ValueError for a value out of range, ImportError if `compress` lacks its package.
        """
        for name, value, low, high in (
            ("num_envs", num_envs, 1, math.inf),
            ("frame_stack", frame_stack, 1, 255),
            ("n_step", n_step, 1, 255),
            ("discount", discount, 0.0, 1.0),
            ("priority_exponent", priority_exponent, 0.0, 1.0),
        ):
            if not low <= value <= high:
                raise ValueError(f"{name} must be between {low} and {high}, not {value}")
        rows = int(capacity // num_envs)
        if rows < n_step + frame_stack:
            raise ValueError(
                f"capacity must be at least (n_step + frame_stack) * num_envs = "
                f"{(n_step + frame_stack) * num_envs}, not {capacity}"
            )
        self.num_envs = num_envs
        self.frame_stack = frame_stack
        self.frame_shape = tuple(frame_shape)
        self.n_step = n_step
        self.discount = discount
        self.priority_exponent = priority_exponent
        self._rows = TransitionRows(
            rows,
            num_envs,
            frame_shape,
            frame_dtype,
            compress=compress,
            # Earlier frames of the same episode in the row's stack, at most frame_stack - 1.
            columns={"history": ((), np.uint8)},
        )
        self._history = self._rows.columns["history"]
        # Filled once the n-step window of a row is there.
        shape = (rows, num_envs)
        self._returns = np.zeros(shape, np.float32)
        self._bootstrap_discounts = np.zeros(shape, np.float32)
        self._steps = np.zeros(shape, np.uint8)
        self._sampler: Sampler = make_sampler(self._rows.num_slots, priority_exponent)
        self._saved_sampler: Mapping[str, Any] | None = None
        self._generator = np.random.default_rng(seed)

    def __len__(self) -> int:
        """Number of transitions that can be sampled."""
        return len(self._sampler)

    def can_sample(self, batch_size: int) -> bool:
        """Whether at least `batch_size` transitions can be sampled."""
        return len(self._sampler) >= batch_size

    @property
    def rows_written(self) -> int:
        """Rows ever added; the next row gets this number."""
        return self._rows.rows_written

    @property
    def first_row(self) -> int:
        """Absolute number of the oldest row that is still there."""
        return self._rows.first_row

    @property
    def rows_capacity(self) -> int:
        """Rows that fit in; then each new row overwrites the oldest one."""
        return self._rows.num_rows

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the replay takes when all pages of its arrays are in use."""
        derived = (self._returns, self._bootstrap_discounts, self._steps)
        return sum(a.nbytes for a in derived) + self._rows.nbytes + self._sampler.nbytes

    def add(
        self,
        observations: Array,
        actions: Array,
        rewards: Array,
        terminated: Array,
        truncated: Array,
        valid: Array,
    ) -> None:
        """Append a row: what was observed, what was done there, and what came of it.

        observations: (num_envs, frame_stack, *frame_shape), from which the newest frame is kept.
        actions, rewards, terminated, truncated, valid: (num_envs,); `valid` is False for a reset
            step, whose observation is the final one of the episode before.
        Raises ValueError for a wrong shape or dtype, rewards that are not finite, and an end
            without a reset step after it or the other way round.
        """
        rows, row = self._rows, self._rows.rows_written
        stack_shape = () if self.frame_stack == 1 else (self.frame_stack,)
        shape = (self.num_envs, *stack_shape, *self.frame_shape)
        check_observations(observations, shape, rows.frame_dtype)
        if row == 0:
            history = np.zeros(self.num_envs, np.uint8)
        else:
            before = (row - 1) % rows.num_rows
            longer = self._history[before].astype(np.int64) + 1
            history = np.where(rows.valid[before], np.minimum(longer, self.frame_stack - 1), 0)
        rows.append(
            observations if self.frame_stack == 1 else observations[:, -1],
            actions,
            rewards,
            terminated,
            truncated,
            valid,
            history=history,
        )
        self._retire_rows()
        self._admit_row(row - self.n_step)

    def _retire_rows(self) -> None:
        """Take out of play the oldest rows, whose stacks have lost a frame to the newest row."""
        if self.first_row > 0:
            rows = self.first_row - 1 + np.arange(self.frame_stack)
            self._sampler.retire(self._slots(rows, ~self._is_whole(rows)))

    def _admit_row(self, row: int) -> None:
        """Bring into play a row that now has n rows behind it."""
        if row >= self.first_row:
            rows = np.array([row])
            self._sum_windows(rows)
            self._sampler.admit(self._slots(rows, self._is_sampleable(rows)))

    def _slots(self, rows: Array, which: Array) -> npt.NDArray[np.int64]:
        """Slots of those transitions in `rows` where `which` (len(rows), num_envs) is True."""
        position, environment = np.nonzero(which)
        return self._rows.slots(rows[position]) * self.num_envs + environment

    def _is_sampleable(self, rows: Array) -> Array:
        """(len(rows), num_envs) bool, for rows that have n rows behind them."""
        return self._rows.valid[self._rows.slots(rows)] & self._is_whole(rows)

    def _is_whole(self, rows: Array) -> Array:
        """(len(rows), num_envs) bool, whether all frames of the rows' stacks are still there."""
        history = self._history[self._rows.slots(rows)]
        return rows[:, None] - history >= self.first_row

    def _sum_windows(self, rows: Array) -> None:
        """Work out the n-step windows that start in `rows`, all of whose rows are there."""
        windows = self._rows.slots(rows + np.arange(self.n_step)[:, None])
        total, bootstrap, steps = n_step_windows(
            self._rows.rewards[windows],
            self._rows.terminated[windows],
            self._rows.truncated[windows],
            self.discount,
        )
        slots = self._rows.slots(rows)
        self._returns[slots] = total
        self._bootstrap_discounts[slots] = bootstrap
        self._steps[slots] = steps

    def sample(self, batch_size: int, importance_exponent: float = 0.0) -> Batch:
        """Draw transitions, with replacement; `replay_sampling` says how.

        importance_exponent: beta of Schaul et al. in [0, 1], 0 for no correction; it has no effect
            on uniform sampling.
        Raises ValueError if fewer than `batch_size` transitions can be sampled.
        """
        self._rows.require_whole()
        if batch_size < 1 or not self.can_sample(batch_size):
            raise ValueError(f"cannot sample {batch_size} transitions, the replay has {len(self)}")
        if not 0.0 <= importance_exponent <= 1.0:
            raise ValueError(
                f"importance_exponent must be between 0 and 1, not {importance_exponent}"
            )
        slots, weights = self._sampler.draw(batch_size, importance_exponent, self._generator)
        steps = self._steps.reshape(-1)[slots].astype(np.int64)
        later = (slots + steps * self.num_envs) % self._rows.num_slots
        observations, next_observations = self._stacks(np.stack([slots, later]))
        return Batch(
            observations=observations,
            actions=self._rows.actions.reshape(-1)[slots],
            returns=self._returns.reshape(-1)[slots],
            bootstrap_discounts=self._bootstrap_discounts.reshape(-1)[slots],
            next_observations=next_observations,
            weights=weights,
            indices=self._absolute(slots),
        )

    def _stacks(self, slots: npt.NDArray[np.int64]) -> Array:
        """(*slots.shape, frame_stack, *frame_shape), the observations that end in `slots`."""
        if self.frame_stack == 1:
            return self._rows.frames.gather(slots)
        back = np.arange(self.frame_stack - 1, -1, -1)  # oldest first
        frame_slots = (slots[..., None] - back * self.num_envs) % self._rows.num_slots
        stacks = self._rows.frames.gather(frame_slots)
        before_episode = back > self._history.reshape(-1)[slots][..., None]
        if before_episode.any():
            stacks[before_episode] = 0
        return stacks

    def _absolute(self, slots: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Absolute indices of slots that hold rows first_row .. rows_written - 1."""
        first = self.first_row * self.num_envs
        return first + (slots - first) % self._rows.num_slots

    def update_priorities(self, indices: Array, priorities: Array) -> None:
        """Give sampled transitions a priority, commonly the absolute error of their value.

        indices: (batch,) as in `Batch.indices`; those overwritten since are passed over, and of a
            repeated one the last priority stays.
        priorities: (batch,), finite and not negative.
        Raises ValueError for other priorities, other shapes, and a replay that samples uniformly.
        """
        num_envs = self.num_envs
        present = range(self.first_row * num_envs, self.rows_written * num_envs)
        change_priorities(self._sampler, self._rows.num_slots, present, indices, priorities)

    # Saving: the rows in bulk, all the rest through the state dictionary.

    def export_rows(self, start: int, stop: int) -> dict[str, Array]:
        """Copies of rows start .. stop - 1, all with the row as first axis.

        Rows never change until they are overwritten: another thread may export them during `add`.
        Raises ValueError for rows that are not there, or were overwritten meanwhile.
        """
        return self._rows.export_rows(start, stop)

    def import_rows(self, start: int, arrays: Mapping[str, Array]) -> None:
        """Put back what `export_rows(start, ...)` gave, in ascending order and without gaps.

        Together with `load_state_dict`, before or after it; until both are done, and all rows of
        the saved replay are there, nothing can be added or sampled. Earlier rows do no harm.
        Raises ValueError for arrays of another shape.
        """
        self._rows.import_rows(start, arrays)
        self._finish_import()

    def _finish_import(self) -> None:
        """Work out what follows from the rows, once state and rows fit together."""
        if self._saved_sampler is None or not self._rows.all_imported:
            return
        rows = np.arange(self.first_row, self.rows_written - self.n_step)
        self._sum_windows(rows)
        sampleable = np.zeros(self._rows.num_slots, bool)
        sampleable[self._slots(rows, self._is_sampleable(rows))] = True
        self._sampler.load_state_dict(self._saved_sampler, sampleable)
        self._saved_sampler = None
        self._rows.end_import()

    def _settings(self) -> dict[str, Any]:
        return {
            **self._rows.settings(),
            "frame_stack": self.frame_stack,
            "n_step": self.n_step,
            "discount": self.discount,
            "priority_exponent": self.priority_exponent,
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything but the rows: settings, counters, random state, and copies of priorities."""
        return {
            "settings": self._settings(),
            **self._rows.state_dict(),
            "generator": self._generator.bit_generator.state,
            "sampler": self._sampler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state; `import_rows` brings its rows.

        Raises ValueError if the state is of a replay with other settings.
        """
        check_settings(state["settings"], self._settings())
        self._rows.load_state_dict(state)
        self._generator.bit_generator.state = state["generator"]
        self._saved_sampler = state["sampler"]
        self._finish_import()
