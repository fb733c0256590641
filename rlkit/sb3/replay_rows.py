"""The library's replay as rows for checkpoints, which save only those that are new."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.buffers import ReplayBuffer

_PARTS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


class ReplayRows:
    """A `RowHistory` over a replay; row number r lies at r modulo the capacity.

    In its memory-saving form, which keeps each observation once, a replay writes a row's next
    observation into the oldest row before that is overwritten, so one row less is safe.
    """

    def __init__(self, buffer: ReplayBuffer) -> None:
        self.buffer = buffer
        self.rows_written = 0
        """To be kept up to date by who lets the library add rows."""

    @property
    def rows_capacity(self) -> int:
        return self.buffer.buffer_size - int(self.buffer.optimize_memory_usage)

    @property
    def first_row(self) -> int:
        return max(0, self.rows_written - self.rows_capacity)

    def __len__(self) -> int:
        """Transitions that can be sampled."""
        return self.buffer.size() * self.buffer.n_envs

    def export_rows(self, start: int, stop: int) -> dict[str, np.ndarray]:
        places = np.arange(start, stop) % self.buffer.buffer_size
        return {name: part[places] for name, part in self._parts().items()}

    def import_rows(self, start: int, arrays: dict[str, np.ndarray]) -> None:
        """Raises KeyError or ValueError where the rows are those of another replay."""
        for name, part in self._parts().items():
            rows = arrays[name]
            if rows.shape[1:] != part.shape[1:] or rows.dtype != part.dtype:
                raise ValueError(
                    f"replay rows hold {name} of {rows.dtype} {rows.shape[1:]}, "
                    f"not {part.dtype} {part.shape[1:]}"
                )
            part[np.arange(start, start + len(rows)) % self.buffer.buffer_size] = rows

    def cut(self) -> None:
        """Mark the newest row as truncated where its episode goes on: nothing follows on it."""
        if self.rows_written == 0:
            return
        newest = (self.buffer.pos - 1) % self.buffer.buffer_size
        if self.buffer.handle_timeout_termination:
            self.buffer.timeouts[newest][self.buffer.dones[newest] == 0] = 1
        self.buffer.dones[newest] = 1

    def state_dict(self) -> dict[str, Any]:
        return {"rows_written": self.rows_written, "rows_capacity": self.rows_capacity}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ValueError for a replay of another size."""
        if state["rows_capacity"] != self.rows_capacity:
            raise ValueError(
                f"the replay held {state['rows_capacity']} rows, now {self.rows_capacity}"
            )
        self.rows_written = int(state["rows_written"])
        self.buffer.pos = self.rows_written % self.buffer.buffer_size
        self.buffer.full = self.rows_written >= self.buffer.buffer_size

    def _parts(self) -> dict[str, np.ndarray]:
        return {name: getattr(self.buffer, name) for name in _PARTS if hasattr(self.buffer, name)}
