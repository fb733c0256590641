"""Plain JSON data as every reader of JSON takes it: without NaN and infinities (RFC 8259, 6)."""

from __future__ import annotations

import math
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
