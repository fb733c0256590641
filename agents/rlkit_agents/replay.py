"""Experience replay that stores each frame once: uniform or prioritised, with n-step returns.

n-step returns after Sutton & Barto 2018, eq. 7.1; prioritised replay after Schaul et al. 2016
("Prioritized Experience Replay"). How frames lie in memory is left to `frame_store`, what is drawn
to `replay_sampling`.

The replay is a ring over time, rows of one transition per environment. A transition is addressed by
`row * num_envs + environment` with the absolute row number, so that an index never changes its
meaning: where a row has been overwritten since, the index is known to be stale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rlkit_agents.frame_store import CompressedFrames, FrameStore, PlainFrames
from rlkit_agents.replay_sampling import PrioritisedSampler, Sampler, UniformSampler

Array = npt.NDArray[Any]


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
        compress: keep frames compressed with LZ4 (`pip install rlkit[lz4]`).
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
        self.frame_dtype = np.dtype(frame_dtype)
        self.n_step = n_step
        self.discount = discount
        self.priority_exponent = priority_exponent
        self._num_rows = rows
        self._num_slots = rows * num_envs
        make_store = CompressedFrames if compress else PlainFrames
        self._frames: FrameStore = make_store(rows, num_envs, self.frame_shape, self.frame_dtype)
        shape = (rows, num_envs)
        self._actions = np.zeros(shape, np.int64)
        self._rewards = np.zeros(shape, np.float32)
        self._terminated = np.zeros(shape, bool)
        self._truncated = np.zeros(shape, bool)
        self._valid = np.zeros(shape, bool)
        # Earlier frames of the same episode in the row's stack, at most frame_stack - 1.
        self._history = np.zeros(shape, np.uint8)
        # Filled once the n-step window of a row is there.
        self._returns = np.zeros(shape, np.float32)
        self._bootstrap_discounts = np.zeros(shape, np.float32)
        self._steps = np.zeros(shape, np.uint8)
        self._sampler: Sampler = (
            PrioritisedSampler(self._num_slots, priority_exponent)
            if priority_exponent > 0
            else UniformSampler(self._num_slots)
        )
        self._first_row = 0
        self._rows_written = 0
        # Rows imported so far (first, past the last) while a saved state is put back, else None.
        self._imported: tuple[int, int] | None = None
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
        return self._rows_written

    @property
    def first_row(self) -> int:
        """Absolute number of the oldest row that is still there."""
        return self._first_row

    @property
    def rows_capacity(self) -> int:
        """Rows that fit in; then each new row overwrites the oldest one."""
        return self._num_rows

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the replay takes when all pages of its arrays are in use."""
        derived = (self._returns, self._bootstrap_discounts, self._steps)
        arrays = sum(array.nbytes for array in (*self._columns().values(), *derived))
        return arrays + self._frames.nbytes + self._sampler.nbytes

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
        self._require_all_rows()
        stack_shape = () if self.frame_stack == 1 else (self.frame_stack,)
        expected = (self.num_envs, *stack_shape, *self.frame_shape)
        if observations.shape != expected or observations.dtype != self.frame_dtype:
            raise ValueError(
                f"observations must be {self.frame_dtype} of shape {expected}, "
                f"not {observations.dtype} of shape {observations.shape}"
            )
        columns = {
            "actions": actions,
            "rewards": rewards,
            "terminated": terminated,
            "truncated": truncated,
            "valid": valid,
        }
        for name, column in columns.items():
            if np.shape(column) != (self.num_envs,):
                raise ValueError(
                    f"{name} must have shape ({self.num_envs},), not {np.shape(column)}"
                )
        valid = np.asarray(valid, bool)
        if np.asarray(actions).dtype.kind not in "iu":
            raise ValueError(f"actions must be integers, not {np.asarray(actions).dtype}")
        if not np.isfinite(rewards).all():
            raise ValueError(f"rewards must be finite, not {rewards}")
        row = self._rows_written
        slot = row % self._num_rows
        if row == 0:
            history = np.zeros(self.num_envs, np.uint8)
        else:
            before = (row - 1) % self._num_rows
            was_valid = self._valid[before]
            ended = self._terminated[before] | self._truncated[before]
            if (wrong := was_valid & (ended == valid)).any():
                raise ValueError(
                    "a reset step (valid = False) must follow each end and nothing else; "
                    f"environment {int(np.argmax(wrong))} breaks this at row {row}"
                )
            longer = self._history[before].astype(np.int64) + 1
            history = np.where(was_valid, np.minimum(longer, self.frame_stack - 1), 0)

        # Given up first, so that no reader takes the row for whole while it is replaced.
        self._first_row = max(0, row + 1 - self._num_rows)
        self._frames.write(slot, observations if self.frame_stack == 1 else observations[:, -1])
        self._actions[slot] = actions
        self._rewards[slot] = rewards
        self._terminated[slot] = terminated & valid
        self._truncated[slot] = truncated & valid
        self._valid[slot] = valid
        self._history[slot] = history
        self._rows_written = row + 1
        self._retire_rows()
        self._admit_row(row - self.n_step)

    def _retire_rows(self) -> None:
        """Take out of play the oldest rows, whose stacks have lost a frame to the newest row."""
        if self._first_row > 0:
            rows = self._first_row - 1 + np.arange(self.frame_stack)
            self._sampler.retire(self._slots(rows, ~self._is_whole(rows)))

    def _admit_row(self, row: int) -> None:
        """Bring into play a row that now has n rows behind it."""
        if row >= self._first_row:
            rows = np.array([row])
            self._sum_windows(rows)
            self._sampler.admit(self._slots(rows, self._is_sampleable(rows)))

    def _slots(self, rows: Array, which: Array) -> npt.NDArray[np.int64]:
        """Slots of those transitions in `rows` where `which` (len(rows), num_envs) is True."""
        position, environment = np.nonzero(which)
        return rows[position] % self._num_rows * self.num_envs + environment

    def _is_sampleable(self, rows: Array) -> Array:
        """(len(rows), num_envs) bool, for rows that have n rows behind them."""
        return self._valid[rows % self._num_rows] & self._is_whole(rows)

    def _is_whole(self, rows: Array) -> Array:
        """(len(rows), num_envs) bool, whether all frames of the rows' stacks are still there."""
        history = self._history[rows % self._num_rows]
        return rows[:, None] - history >= self._first_row

    def _sum_windows(self, rows: Array) -> None:
        """Work out the n-step windows that start in `rows`, all of whose rows are there."""
        shape = (len(rows), self.num_envs)
        total = np.zeros(shape)
        bootstrap = np.ones(shape)
        steps = np.zeros(shape, np.uint8)
        running = np.ones(shape, bool)
        for offset in range(self.n_step):
            slots = (rows + offset) % self._num_rows
            total += np.where(running, self.discount**offset * self._rewards[slots], 0.0)
            bootstrap = np.where(running, self.discount ** (offset + 1), bootstrap)
            bootstrap[running & self._terminated[slots]] = 0.0
            steps += running
            running &= ~(self._terminated[slots] | self._truncated[slots])
        slots = rows % self._num_rows
        self._returns[slots] = total
        self._bootstrap_discounts[slots] = bootstrap
        self._steps[slots] = steps

    def sample(self, batch_size: int, importance_exponent: float = 0.0) -> Batch:
        """Draw transitions, with replacement; `replay_sampling` says how.

        importance_exponent: beta of Schaul et al. in [0, 1], 0 for no correction; it has no effect
            on uniform sampling.
        Raises ValueError if fewer than `batch_size` transitions can be sampled.
        """
        self._require_all_rows()
        if batch_size < 1 or not self.can_sample(batch_size):
            raise ValueError(f"cannot sample {batch_size} transitions, the replay has {len(self)}")
        if not 0.0 <= importance_exponent <= 1.0:
            raise ValueError(
                f"importance_exponent must be between 0 and 1, not {importance_exponent}"
            )
        slots, weights = self._sampler.draw(batch_size, importance_exponent, self._generator)
        steps = self._steps.reshape(-1)[slots].astype(np.int64)
        later = (slots + steps * self.num_envs) % self._num_slots
        observations, next_observations = self._stacks(np.stack([slots, later]))
        return Batch(
            observations=observations,
            actions=self._actions.reshape(-1)[slots],
            returns=self._returns.reshape(-1)[slots],
            bootstrap_discounts=self._bootstrap_discounts.reshape(-1)[slots],
            next_observations=next_observations,
            weights=weights,
            indices=self._absolute(slots),
        )

    def _stacks(self, slots: npt.NDArray[np.int64]) -> Array:
        """(*slots.shape, frame_stack, *frame_shape), the observations that end in `slots`."""
        if self.frame_stack == 1:
            return self._frames.gather(slots)
        back = np.arange(self.frame_stack - 1, -1, -1)  # oldest first
        frame_slots = (slots[..., None] - back * self.num_envs) % self._num_slots
        stacks = self._frames.gather(frame_slots)
        before_episode = back > self._history.reshape(-1)[slots][..., None]
        if before_episode.any():
            stacks[before_episode] = 0
        return stacks

    def _absolute(self, slots: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Absolute indices of slots that hold rows first_row .. rows_written - 1."""
        first = self._first_row * self.num_envs
        return first + (slots - first) % self._num_slots

    def update_priorities(self, indices: Array, priorities: Array) -> None:
        """Give sampled transitions a priority, commonly the absolute error of their value.

        indices: (batch,) as in `Batch.indices`; those overwritten since are passed over, and of a
            repeated one the last priority stays.
        priorities: (batch,), finite and not negative.
        Raises ValueError for other priorities, other shapes, and a replay that samples uniformly.
        """
        if not isinstance(self._sampler, PrioritisedSampler):
            raise ValueError("this replay samples uniformly (priority_exponent is 0)")
        indices = np.asarray(indices, np.int64)
        priorities = np.asarray(priorities, np.float64)
        if indices.ndim != 1 or priorities.shape != indices.shape:
            raise ValueError(
                f"indices and priorities must have one shape (batch,), "
                f"not {indices.shape} and {priorities.shape}"
            )
        never = (indices < 0) | (indices >= self._rows_written * self.num_envs)
        if never.any():
            raise ValueError(f"there has never been a transition {indices[never][0]}")
        # What was overwritten since must not pass its priority on to what took its place.
        present = indices >= self._first_row * self.num_envs
        self._sampler.update(indices[present] % self._num_slots, priorities[present])

    # Saving. Rows are saved in bulk by their absolute number, so that a checkpoint needs to write
    # only the rows that are new; all the rest is small and goes through the state dictionary.

    def export_rows(self, start: int, stop: int) -> dict[str, Array]:
        """Copies of rows start .. stop - 1, all with the row as first axis.

        Rows never change until they are overwritten: another thread may export them during `add`.
        Raises ValueError for rows that are not there, or were overwritten meanwhile.
        """
        if not self._first_row <= start <= stop <= self._rows_written:
            raise ValueError(
                f"rows {start}..{stop} are not all there; "
                f"the replay has {self._first_row}..{self._rows_written}"
            )
        slots = np.arange(start, stop) % self._num_rows
        exported = self._frames.export_rows(slots)
        for name, column in self._columns().items():
            exported[name] = column[slots]
        if start < stop and start < self._first_row:
            raise ValueError(f"row {start} was overwritten while it was exported")
        return exported

    def import_rows(self, start: int, arrays: Mapping[str, Array]) -> None:
        """Put back what `export_rows(start, ...)` gave, in ascending order and without gaps.

        Together with `load_state_dict`, before or after it; until both are done, and all rows of
        the saved replay are there, nothing can be added or sampled. Earlier rows do no harm.
        Raises ValueError for arrays of another shape.
        """
        columns = self._columns()
        rows = np.arange(start, start + len(arrays["valid"]))
        for name in columns:
            expected = (len(rows), self.num_envs)
            if arrays[name].shape != expected:
                raise ValueError(f"{name} must have shape {expected}, not {arrays[name].shape}")
        if len(rows) == 0:
            return
        slots = rows % self._num_rows
        self._frames.import_rows(slots, arrays)
        for name, column in columns.items():
            column[slots] = arrays[name]
        first, stop = self._imported or (start, start)
        # After a gap the rows before it cannot belong to the saved replay.
        self._imported = (first if start == stop else start, start + len(rows))
        self._finish_import()

    def _finish_import(self) -> None:
        """Work out what follows from the rows, once state and rows fit together."""
        first, stop = self._imported or (0, 0)
        saved = self._saved_sampler
        if saved is None or first > self._first_row or stop != self._rows_written:
            return
        rows = np.arange(self._first_row, self._rows_written - self.n_step)
        self._sum_windows(rows)
        sampleable = np.zeros(self._num_slots, bool)
        sampleable[self._slots(rows, self._is_sampleable(rows))] = True
        self._sampler.load_state_dict(saved, sampleable)
        self._imported = self._saved_sampler = None

    def _columns(self) -> dict[str, Array]:
        return {
            "actions": self._actions,
            "rewards": self._rewards,
            "terminated": self._terminated,
            "truncated": self._truncated,
            "valid": self._valid,
            "history": self._history,
        }

    def _settings(self) -> dict[str, Any]:
        return {
            "num_rows": self._num_rows,
            "num_envs": self.num_envs,
            "frame_shape": list(self.frame_shape),
            "frame_dtype": self.frame_dtype.str,
            "frame_stack": self.frame_stack,
            "n_step": self.n_step,
            "discount": self.discount,
            "priority_exponent": self.priority_exponent,
            "compress": not isinstance(self._frames, PlainFrames),
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything but the rows: settings, counters, random state, and copies of priorities."""
        return {
            "settings": self._settings(),
            "rows_written": self._rows_written,
            "generator": self._generator.bit_generator.state,
            "frames": self._frames.state_dict(),
            "sampler": self._sampler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state; `import_rows` brings its rows.

        Raises ValueError if the state is of a replay with other settings.
        """
        for name, value in self._settings().items():
            if (saved := state["settings"].get(name)) != value:
                raise ValueError(f"the saved replay has {name} = {saved}, this one {value}")
        self._rows_written = int(state["rows_written"])
        self._first_row = max(0, self._rows_written - self._num_rows)
        self._generator.bit_generator.state = state["generator"]
        self._frames.load_state_dict(state["frames"])
        self._saved_sampler = state["sampler"]
        self._imported = self._imported or (self._first_row, self._first_row)
        self._finish_import()

    def _require_all_rows(self) -> None:
        if self._imported is not None:
            raise RuntimeError(
                f"a saved replay is not whole yet: rows {self._imported} were imported, "
                f"{(self._first_row, self._rows_written)} are needed"
            )
