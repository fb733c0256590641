"""What every replay is made of: rows of one transition per environment, in a ring over time.

A row is known by its absolute number, which never changes its meaning, and lies in the ring at
`row % num_rows`. Rows never change until they are overwritten. What is sampled from them, and how,
is left to `replay` and `sequence_replay`; how frames lie in memory to `frame_store`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from rlkit_agents.frame_store import CompressedFrames, FrameStore, PlainFrames

Array = npt.NDArray[Any]


def n_step_windows(
    rewards: Array, terminated: Array, truncated: Array, discount: float
) -> tuple[Array, Array, npt.NDArray[np.uint8]]:
    """n-step returns (Sutton & Barto 2018, eq. 7.1) of windows that stop at the first end.

    rewards (float32), terminated, truncated: (n, ...), the n rows from the window's first on.
    Returns, all (...): the discounted sums of the rewards of m steps; discount ** m, or 0 where the
    window stopped at a termination; and m, from 1 to n, how many rows later to bootstrap.
    """
    shape = rewards.shape[1:]
    total = np.zeros(shape)
    bootstrap = np.ones(shape)
    steps = np.zeros(shape, np.uint8)
    running = np.ones(shape, bool)
    for offset in range(len(rewards)):
        total += np.where(running, discount**offset * rewards[offset], 0.0)
        bootstrap = np.where(running, discount ** (offset + 1), bootstrap)
        bootstrap[running & terminated[offset]] = 0.0
        steps += running
        running &= ~(terminated[offset] | truncated[offset])
    return total, bootstrap, steps


def check_observations(observations: Array, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Raise ValueError unless `observations` have this shape and dtype."""
    if observations.shape != shape or observations.dtype != dtype:
        raise ValueError(
            f"observations must be {dtype} of shape {shape}, "
            f"not {observations.dtype} of shape {observations.shape}"
        )


class TransitionRows:
    """A ring of `num_rows` rows, of which `first_row` to `rows_written - 1` are there.

    columns: name to array (num_rows, num_envs, ...). Always there are actions (int64), rewards
    (float32), terminated, truncated and valid (bool), which are attributes as well. Where `valid`
    is False, the row is a reset step: its frame is the final one of the episode before.
    """

    def __init__(
        self,
        num_rows: int,
        num_envs: int,
        frame_shape: tuple[int, ...],
        frame_dtype: npt.DTypeLike,
        *,
        compress: bool = False,
        columns: Mapping[str, tuple[tuple[int, ...], npt.DTypeLike]] | None = None,
    ) -> None:
        """columns: further ones, by name the shape for one environment, and the dtype.

        Raises ImportError if `compress` lacks its package.
        """
        self.num_rows = num_rows
        self.num_envs = num_envs
        self.num_slots = num_rows * num_envs
        self.frame_shape = tuple(frame_shape)
        self.frame_dtype = np.dtype(frame_dtype)
        make_store = CompressedFrames if compress else PlainFrames
        self.frames: FrameStore = make_store(num_rows, num_envs, self.frame_shape, self.frame_dtype)
        shape = (num_rows, num_envs)
        self.actions = np.zeros(shape, np.int64)
        self.rewards = np.zeros(shape, np.float32)
        self.terminated = np.zeros(shape, bool)
        self.truncated = np.zeros(shape, bool)
        self.valid = np.zeros(shape, bool)
        self.columns: dict[str, Array] = {
            "actions": self.actions,
            "rewards": self.rewards,
            "terminated": self.terminated,
            "truncated": self.truncated,
            "valid": self.valid,
        }
        for name, (each, dtype) in (columns or {}).items():
            self.columns[name] = np.zeros((*shape, *each), dtype)
        self.first_row = 0
        self.rows_written = 0
        # Rows imported so far (first, past the last) while saved rows are put back, else None.
        self._imported: tuple[int, int] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of memory for all rows, with all pages of arrays in use."""
        return sum(column.nbytes for column in self.columns.values()) + self.frames.nbytes

    def append(
        self,
        frames: Array,
        actions: Array,
        rewards: Array,
        terminated: Array,
        truncated: Array,
        valid: Array,
        **further: Array,
    ) -> None:
        """Write the next row, over the oldest one if the ring is full.

        frames: (num_envs, *frame_shape). actions, rewards, terminated, truncated, valid:
        (num_envs,). further: the other columns, (num_envs, ...).
        Raises ValueError, before anything is written, for a wrong shape or dtype, rewards that are
        not finite, and an end without a reset step after it or the other way round.
        """
        self.require_whole()
        for name, column in (
            ("actions", actions),
            ("rewards", rewards),
            ("terminated", terminated),
            ("truncated", truncated),
            ("valid", valid),
        ):
            if np.shape(column) != (self.num_envs,):
                raise ValueError(
                    f"{name} must have shape ({self.num_envs},), not {np.shape(column)}"
                )
        valid = np.asarray(valid, bool)
        if np.asarray(actions).dtype.kind not in "iu":
            raise ValueError(f"actions must be integers, not {np.asarray(actions).dtype}")
        if not np.isfinite(rewards).all():
            raise ValueError(f"rewards must be finite, not {rewards}")
        row = self.rows_written
        if row > 0:
            before = (row - 1) % self.num_rows
            ended = self.terminated[before] | self.truncated[before]
            if (wrong := self.valid[before] & (ended == valid)).any():
                raise ValueError(
                    "a reset step (valid = False) must follow each end and nothing else; "
                    f"environment {int(np.argmax(wrong))} breaks this at row {row}"
                )
        slot = row % self.num_rows
        # Given up first, so that no reader takes the row for whole while it is replaced.
        self.first_row = max(0, row + 1 - self.num_rows)
        self.frames.write(slot, frames)
        self.actions[slot] = actions
        self.rewards[slot] = rewards
        self.terminated[slot] = terminated & valid
        self.truncated[slot] = truncated & valid
        self.valid[slot] = valid
        for name, values in further.items():
            self.columns[name][slot] = values
        self.rows_written = row + 1

    def slots(self, rows: Array) -> Array:
        """Where `rows` (any,) lie in the ring."""
        return rows % self.num_rows

    # Saving. Rows are saved in bulk by their absolute number, so that a checkpoint needs to write
    # only the rows that are new; all the rest is small and goes through the state dictionary.

    def export_rows(self, start: int, stop: int) -> dict[str, Array]:
        """Copies of rows start .. stop - 1, all with the row as first axis.

        Rows never change until they are overwritten: another thread may export them during
        `append`. Raises ValueError for rows that are not there, or were overwritten meanwhile.
        """
        if not self.first_row <= start <= stop <= self.rows_written:
            raise ValueError(
                f"rows {start}..{stop} are not all there; "
                f"the replay has {self.first_row}..{self.rows_written}"
            )
        slots = self.slots(np.arange(start, stop))
        exported = self.frames.export_rows(slots)
        for name, column in self.columns.items():
            exported[name] = column[slots]
        if start < stop and start < self.first_row:
            raise ValueError(f"row {start} was overwritten while it was exported")
        return exported

    def import_rows(self, start: int, arrays: Mapping[str, Array]) -> None:
        """Put back what `export_rows(start, ...)` gave, in ascending order and without gaps.

        Together with `load_state_dict`, before or after it. Earlier rows do no harm.
        Raises ValueError for arrays of another shape.
        """
        rows = np.arange(start, start + len(arrays["valid"]))
        for name, column in self.columns.items():
            expected = (len(rows), *column.shape[1:])
            if arrays[name].shape != expected:
                raise ValueError(f"{name} must have shape {expected}, not {arrays[name].shape}")
        if len(rows) == 0:
            return
        slots = self.slots(rows)
        self.frames.import_rows(slots, arrays)
        for name, column in self.columns.items():
            column[slots] = arrays[name]
        first, stop = self._imported or (start, start)
        # After a gap the rows before it cannot belong to the saved replay.
        self._imported = (first if start == stop else start, start + len(rows))

    @property
    def all_imported(self) -> bool:
        """Whether every row that the state names is there."""
        first, stop = self._imported or (0, 0)
        return first <= self.first_row and stop == self.rows_written

    def end_import(self) -> None:
        """Go on from `all_imported` rows."""
        self._imported = None

    def require_whole(self) -> None:
        """Raise RuntimeError between the beginning of an import and its end."""
        if self._imported is not None:
            raise RuntimeError(
                f"a saved replay is not whole yet: rows {self._imported} were imported, "
                f"{(self.first_row, self.rows_written)} are needed"
            )

    def settings(self) -> dict[str, Any]:
        """What two rings must share for one to take over the rows of the other."""
        return {
            "num_rows": self.num_rows,
            "num_envs": self.num_envs,
            "frame_shape": list(self.frame_shape),
            "frame_dtype": self.frame_dtype.str,
            "compress": not isinstance(self.frames, PlainFrames),
        }

    def state_dict(self) -> dict[str, Any]:
        """What is needed beside the rows."""
        return {"rows_written": self.rows_written, "frames": self.frames.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state, whose rows `import_rows` brings before or after."""
        self.rows_written = int(state["rows_written"])
        self.first_row = max(0, self.rows_written - self.num_rows)
        self.frames.load_state_dict(state["frames"])
        self._imported = self._imported or (self.first_row, self.first_row)


def check_settings(saved: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Raise ValueError, naming the first difference, unless a saved replay's settings are `own`."""
    for name, value in own.items():
        if saved.get(name) != value:
            raise ValueError(f"the saved replay has {name} = {saved.get(name)}, this one {value}")
