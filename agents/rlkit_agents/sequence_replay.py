"""Experience replay of sequences, for recurrent agents: overlapping, prioritised, with states.

After R2D2 (Kapturowski et al. 2019): a sequence begins every `trace_period` rows, with the
recurrent state that the acting network had there; its first `burn_in` rows only bring that state up
to date, the `trace_length` rows after them are learnt from. The rows themselves are left to
`transition_rows`, what is drawn to `replay_sampling`.

Departures: the `n_step` rows after the trace are read as well, so that its last rows bootstrap like
all others (Acme shortens their windows); a sequence may hold several episodes, where the paper pads
the last sequence of an episode.

A sequence is addressed by `number * num_envs + environment`, where it begins at the absolute row
`number * trace_period`, so that an index never changes its meaning.
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
class SequenceBatch:
    """Sampled sequences, time first; length = burn_in + trace_length + n_step.

    observations: (length, batch, *observation_shape).
    starts: (length, batch) bool, where an episode starts and the recurrent state is to be cleared
        before the observation; never at time 0, whose state is clear already if one starts there.
    states: (batch, *state_shape) float32, the recurrent state before the first observation.
    actions: (trace_length, batch) int64; this and all that follows begin after the burn-in.
    returns: (trace_length, batch) float32, the discounted sum of the rewards of up to n steps.
    bootstrap_discounts: (trace_length, batch) float32, discount ** m after m steps, 0 after a
        termination.
    steps: (trace_length, batch) int64, m, from 1 to n: how much later the observation is from
        which to bootstrap. After a truncation that is the final one, seen in the old episode.
    valid: (trace_length, batch) bool, False for a reset step, from which nothing is to be learnt.
    weights: (batch,) float32, importance weights, the largest of the batch being 1.
    indices: (batch,) int64, for `SequenceReplay.update_priorities`.
    """

    observations: Array
    starts: npt.NDArray[np.bool_]
    states: npt.NDArray[np.float32]
    actions: npt.NDArray[np.int64]
    returns: npt.NDArray[np.float32]
    bootstrap_discounts: npt.NDArray[np.float32]
    steps: npt.NDArray[np.int64]
    valid: npt.NDArray[np.bool_]
    weights: npt.NDArray[np.float32]
    indices: npt.NDArray[np.int64]


class SequenceReplay:
    """A ring of `capacity // num_envs` rows, from which whole sequences are sampled.

    A sequence can be sampled once all its rows are there, and unless its trace is nothing but
    reset steps. Windows of n steps stop at the first end: after a termination nothing is
    bootstrapped, after a truncation the final observation is.

    Each observation is kept once, and whole: stacked frames are better left to the memory.
    """

    def __init__(
        self,
        *,
        capacity: int,
        num_envs: int,
        observation_shape: tuple[int, ...],
        observation_dtype: npt.DTypeLike,
        state_shape: tuple[int, ...],
        burn_in: int,
        trace_length: int,
        trace_period: int,
        n_step: int,
        discount: float,
        priority_exponent: float = 0.0,
        compress: bool = False,
        seed: np.random.SeedSequence | int,
    ) -> None:
        """
        capacity: transitions over all environments, rounded down to whole rows.
        observation_shape, observation_dtype: of one observation.
        state_shape: of the recurrent state of one environment.
        burn_in, trace_length: rows of a sequence, see above; burn_in may be 0.
        trace_period: rows from one sequence to the next, at most trace_length, so that none is
            left out.
        n_step: rewards summed before bootstrapping, 1 to 255.
        discount: of one step, in [0, 1].
        priority_exponent: alpha of Schaul et al. 2016 in [0, 1]; 0 samples uniformly.
        compress: keep observations compressed with LZ4 (the extra `lz4`).
        Raises ValueError for a value out of range, ImportError if `compress` lacks its package.
        """
        for name, value, low, high in (
            ("num_envs", num_envs, 1, math.inf),
            ("burn_in", burn_in, 0, math.inf),
            ("trace_length", trace_length, 1, math.inf),
            ("trace_period", trace_period, 1, trace_length),
            ("n_step", n_step, 1, 255),
            ("discount", discount, 0.0, 1.0),
            ("priority_exponent", priority_exponent, 0.0, 1.0),
        ):
            if not low <= value <= high:
                raise ValueError(f"{name} must be between {low} and {high}, not {value}")
        self.num_envs = num_envs
        self.observation_shape = tuple(observation_shape)
        self.state_shape = tuple(state_shape)
        self.burn_in = burn_in
        self.trace_length = trace_length
        self.trace_period = trace_period
        self.n_step = n_step
        self.discount = discount
        self.priority_exponent = priority_exponent
        num_rows = int(capacity // num_envs)
        if num_rows < self.length:
            raise ValueError(
                f"capacity must be at least (burn_in + trace_length + n_step) * num_envs = "
                f"{self.length * num_envs}, not {capacity}"
            )
        # A state belongs to the first of trace_period rows, and is kept in as many shares, one in
        # each of these rows: all rows are alike, and none is wider than it must be.
        self._state_size = math.prod(self.state_shape)
        share = -(-self._state_size // trace_period)
        self._open_state = np.zeros((trace_period, num_envs, share), np.float32)
        self._rows = TransitionRows(
            num_rows,
            num_envs,
            observation_shape,
            observation_dtype,
            compress=compress,
            columns={"state_shares": ((share,), np.float32)},
        )
        self._num_slots = -(-num_rows // trace_period) * num_envs
        self._sampler: Sampler = make_sampler(self._num_slots, priority_exponent)
        self._saved_sampler: Mapping[str, Any] | None = None
        self._generator = np.random.default_rng(seed)

    def __len__(self) -> int:
        """Number of sequences that can be sampled."""
        return len(self._sampler)

    def can_sample(self, batch_size: int) -> bool:
        """Whether at least `batch_size` sequences can be sampled."""
        return len(self._sampler) >= batch_size

    @property
    def length(self) -> int:
        """Rows that a sequence reads."""
        return self.burn_in + self.trace_length + self.n_step

    @property
    def size(self) -> int:
        """Transitions that are there, reset steps included."""
        return (self.rows_written - self.first_row) * self.num_envs

    @property
    def begins_sequences(self) -> bool:
        """Whether sequences begin at the next row, which then needs a recurrent state."""
        return self.rows_written % self.trace_period == 0

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
        return self._rows.nbytes + self._open_state.nbytes + self._sampler.nbytes

    def add(
        self,
        observations: Array,
        actions: Array,
        rewards: Array,
        terminated: Array,
        truncated: Array,
        valid: Array,
        states: Array | None = None,
    ) -> None:
        """Append a row: what was observed, what was done there, and what came of it.

        observations: (num_envs, *observation_shape).
        actions, rewards, terminated, truncated, valid: (num_envs,); `valid` is False for a reset
            step, whose observation is the final one of the episode before.
        states: (num_envs, *state_shape), the recurrent state before the observations, clear where
            they are the first of an episode; needed where `begins_sequences`, else not looked at.
        Raises ValueError for a wrong shape or dtype, rewards that are not finite, and an end
            without a reset step after it or the other way round.
        """
        rows, row = self._rows, self._rows.rows_written
        shape = (self.num_envs, *self.observation_shape)
        check_observations(observations, shape, rows.frame_dtype)
        shares = self._open_state
        if self.begins_sequences:
            expected = (self.num_envs, *self.state_shape)
            if states is None or states.shape != expected:
                given = "none" if states is None else states.shape
                raise ValueError(f"row {row} needs states of shape {expected}, not {given}")
            shares = self._shared_out(states)
        rows.append(
            observations,
            actions,
            rewards,
            terminated,
            truncated,
            valid,
            state_shares=shares[row % self.trace_period],
        )
        self._open_state = shares
        self._retire()
        self._admit()

    def _shared_out(self, states: Array) -> npt.NDArray[np.float32]:
        """States (num_envs, *state_shape) in shares (trace_period, num_envs, share)."""
        padded = np.zeros((self.num_envs, self._open_state[:, 0].size), np.float32)
        padded[:, : self._state_size] = states.reshape(self.num_envs, -1)
        shares = padded.reshape(self.num_envs, self.trace_period, -1)
        return np.ascontiguousarray(shares.swapaxes(0, 1))

    def _retire(self) -> None:
        """Take out of play the sequences whose first row has just been overwritten."""
        number, offset = divmod(self.first_row - 1, self.trace_period)
        if offset == 0 and number >= 0:
            self._sampler.retire(self._slots(number, np.ones(self.num_envs, bool)))

    def _admit(self) -> None:
        """Bring into play the sequences whose last row has just been written."""
        number, offset = divmod(self.rows_written - self.length, self.trace_period)
        if offset == 0 and number >= 0:
            self._sampler.admit(self._slots(number, self._has_something_to_learn(number)))

    def _slots(self, number: int, which: Array) -> npt.NDArray[np.int64]:
        """Slots of the sequences with a number in those environments where `which` is True."""
        return (number * self.num_envs + np.flatnonzero(which)) % self._num_slots

    def _has_something_to_learn(self, number: int) -> Array:
        """(num_envs,) whether the trace of a sequence that is there has any valid row."""
        first = number * self.trace_period + self.burn_in
        trace = self._rows.slots(np.arange(first, first + self.trace_length))
        return np.any(self._rows.valid[trace], axis=0)

    def sample(self, batch_size: int, importance_exponent: float = 0.0) -> SequenceBatch:
        """Draw sequences, with replacement; `replay_sampling` says how.

        importance_exponent: beta of Schaul et al. in [0, 1], 0 for no correction; it has no effect
            on uniform sampling.
        Raises ValueError if fewer than `batch_size` sequences can be sampled.
        """
        rows = self._rows
        rows.require_whole()
        if batch_size < 1 or not self.can_sample(batch_size):
            raise ValueError(f"cannot sample {batch_size} sequences, the replay has {len(self)}")
        if not 0.0 <= importance_exponent <= 1.0:
            raise ValueError(
                f"importance_exponent must be between 0 and 1, not {importance_exponent}"
            )
        slots, weights = self._sampler.draw(batch_size, importance_exponent, self._generator)
        present = self._present()
        indices = present.start + (slots - present.start) % self._num_slots
        numbers, environments = np.divmod(indices, self.num_envs)
        times = numbers * self.trace_period + np.arange(self.length)[:, None]
        flat = rows.slots(times) * self.num_envs + environments  # (length, batch)
        valid = rows.valid.reshape(-1)[flat]
        starts = np.zeros_like(valid)
        starts[1:] = ~valid[:-1]  # a reset step leads to the first observation of an episode
        trace = flat[self.burn_in : self.burn_in + self.trace_length]
        later = np.arange(self.n_step)[:, None, None] * self.num_envs
        windows = (trace + later) % rows.num_slots  # (n, trace_length, batch)
        returns, bootstrap_discounts, steps = n_step_windows(
            rows.rewards.reshape(-1)[windows],
            rows.terminated.reshape(-1)[windows],
            rows.truncated.reshape(-1)[windows],
            self.discount,
        )
        return SequenceBatch(
            observations=rows.frames.gather(flat),
            starts=starts,
            states=self._states(flat[: self.trace_period]),
            actions=rows.actions.reshape(-1)[trace],
            returns=returns.astype(np.float32),
            bootstrap_discounts=bootstrap_discounts.astype(np.float32),
            steps=steps.astype(np.int64),
            valid=valid[self.burn_in : self.burn_in + self.trace_length],
            weights=weights,
            indices=indices,
        )

    def _states(self, flat: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """(batch, *state_shape) from the shares in flat slots (trace_period, batch)."""
        column = self._rows.columns["state_shares"]
        shares = column.reshape(-1, column.shape[-1])[flat.T]
        states = shares.reshape(len(shares), -1)[:, : self._state_size]
        return np.ascontiguousarray(states).reshape(-1, *self.state_shape)

    def _present(self) -> range:
        """Absolute indices whose first row is there."""
        first, stop = (
            -(-row // self.trace_period) * self.num_envs
            for row in (self.first_row, self.rows_written)
        )
        return range(first, stop)

    def update_priorities(self, indices: Array, priorities: Array) -> None:
        """Give sampled sequences a priority, commonly the absolute errors of their values, mixed.

        indices: (batch,) as in `SequenceBatch.indices`; those overwritten since are passed over,
            and of a repeated one the last priority stays.
        priorities: (batch,), finite and not negative.
        Raises ValueError for other priorities, other shapes, and a replay that samples uniformly.
        """
        change_priorities(self._sampler, self._num_slots, self._present(), indices, priorities)

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
        """Work out which sequences are in play, once state and rows fit together."""
        if self._saved_sampler is None or not self._rows.all_imported:
            return
        sampleable = np.zeros(self._num_slots, bool)
        first = self._present().start // self.num_envs
        whole = (self.rows_written - self.length) // self.trace_period
        for number in range(first, whole + 1):
            sampleable[self._slots(number, self._has_something_to_learn(number))] = True
        self._sampler.load_state_dict(self._saved_sampler, sampleable)
        self._saved_sampler = None
        self._rows.end_import()

    def _settings(self) -> dict[str, Any]:
        return {
            **self._rows.settings(),
            "state_shape": list(self.state_shape),
            "burn_in": self.burn_in,
            "trace_length": self.trace_length,
            "trace_period": self.trace_period,
            "n_step": self.n_step,
            "discount": self.discount,
            "priority_exponent": self.priority_exponent,
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything but the rows: settings, counters, random state, and copies of priorities."""
        return {
            "settings": self._settings(),
            **self._rows.state_dict(),
            "open_state": self._open_state.copy(),
            "generator": self._generator.bit_generator.state,
            "sampler": self._sampler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state; `import_rows` brings its rows.

        Raises ValueError if the state is of a replay with other settings.
        """
        check_settings(state["settings"], self._settings())
        self._rows.load_state_dict(state)
        self._open_state = np.array(state["open_state"], np.float32)
        self._generator.bit_generator.state = state["generator"]
        self._saved_sampler = state["sampler"]
        self._finish_import()
