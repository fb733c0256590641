"""Plain JSON data as every reader of JSON takes it: without NaN and infinities (RFC 8259, 6)."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def finite(value: Any) -> Any:
    """The same data with None for numbers that are not finite; tuples become lists.

    value: dicts, lists and tuples of whatever JSON knows, at any depth.
    """
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_finite(path: str | os.PathLike[str], data: Mapping[str, Any]) -> dict[str, Any]:
    """Write what `finite` makes of the data, and give it. Raises OSError where that fails."""
    plain = finite(dict(data))
    Path(path).write_text(json.dumps(plain, indent=1) + "\n")
    return plain
