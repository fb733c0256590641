"""Files that are whole or not there, whatever fails and whenever.

A file is written beside its place, flushed to the disk, and renamed as the last act.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give the path beside `path` to write to; what is there at the end takes the place of `path`.

    An error, also one raised by the writer, removes what was written and leaves the old file. What
    a killed process left beside is overwritten by the next writer, of which there may be only one
    at a time.
    """
    beside = path.with_name(f".{path.name}.partial")
    try:
        yield beside
        flush(beside)
        os.replace(beside, path)
        flush(path.parent)
    except BaseException:
        # Where the folder itself is missing or no folder, that is the error to report.
        with suppress(OSError):
            beside.unlink()
        raise


def flush(path: Path) -> None:
    """Make sure that a file, or the names in a folder, are on the disk before anything refers to
    them."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
