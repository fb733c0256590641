"""How much memory this process has at present."""

from __future__ import annotations

import os
from pathlib import Path


def resident_bytes() -> int | None:
    """Physical memory of this process in bytes; None where the system does not tell."""
    file = Path("/proc/self/statm")
    if not file.is_file():
        return None
    return int(file.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
