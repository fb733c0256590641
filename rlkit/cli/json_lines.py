"""Files of JSON lines that a long measurement writes as it goes, and is gone on with from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlkit.cli.mistakes import Mistake


def read_lines(file: Path | None) -> list[dict[str, Any]]:
    """What a broken-off measurement wrote; nothing where there is no file.

    A last line that was not written to its end is taken out of the file: it is measured again.
    Raises Mistake for a file that holds something else.
    """
    if file is None or not file.exists():
        return []
    written = file.read_bytes()
    whole = written[: written.rfind(b"\n") + 1]
    try:
        rows = [json.loads(line) for line in whole.decode().splitlines()]
    except ValueError as error:
        raise Mistake(f"{file} does not hold measurements in JSON lines: {error}") from error
    if not all(isinstance(row, dict) for row in rows) or (written and not written.startswith(b"{")):
        raise Mistake(f"{file} does not hold measurements in JSON lines: an object in each")
    if len(whole) < len(written):
        with file.open("r+b") as lines:
            lines.truncate(len(whole))
    return rows


def append_line(file: Path | None, row: Mapping[str, Any]) -> None:
    """Write a measurement at the end of the file, if there is to be one."""
    if file is not None:
        with file.open("a") as lines:
            lines.write(json.dumps(row) + "\n")
