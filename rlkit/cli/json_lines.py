"""Files of JSON lines that a long measurement writes as it goes, and is gone on with from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlkit.cli.mistakes import Mistake


def read_lines(file: Path | None) -> list[dict[str, Any]]:
    """What a broken-off measurement wrote; nothing where there is no file. Raises Mistake for a
    file that holds something else."""
    if file is None or not file.exists():
        return []
    try:
        return [json.loads(line) for line in file.read_text().splitlines()]
    except ValueError as error:
        raise Mistake(f"{file} does not hold measurements in JSON lines: {error}") from error


def append_line(file: Path | None, row: Mapping[str, Any]) -> None:
    """Write a measurement at the end of the file, if there is to be one."""
    if file is not None:
        with file.open("a") as lines:
            lines.write(json.dumps(row) + "\n")
