"""Says in one line why something failed, for messages that name the rest themselves."""

from __future__ import annotations

import zipfile
import zlib

DAMAGED_ARCHIVE = (
    *(ValueError, KeyError, TypeError, EOFError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What reading a NumPy archive (.npz) raises that is damaged, or none."""


def reason_of(error: BaseException) -> str:
    """What the system says and of which file, or the first line of the message, never empty."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({error.filename})" if error.filename else error.strerror
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
