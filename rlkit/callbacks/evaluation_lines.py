"""Follows a run's `evaluations.jsonl`, for callbacks that show what evaluations found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class EvaluationLines:
    """Hands out each evaluation once, in the order in which they were written.

    The file need not exist yet. `taken` counts those handed out; a resumed training sets it, so
    as to go on behind the evaluations that it knows.
    """

    def __init__(self, path: Path, taken: int = 0) -> None:
        self.path = path
        self.taken = taken
        self._size = -1

    def new(self) -> list[dict[str, Any]]:
        """The evaluations since the last call: `Evaluation.to_json` with step, seconds, final."""
        try:
            size = self.path.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return []
        if size == self._size:
            return []
        self._size = size
        lines = self.path.read_text().splitlines()[self.taken :]
        self.taken += len(lines)
        return [json.loads(line) for line in lines]
