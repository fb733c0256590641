"""Which rows of a benchmark that was broken off count: those of the same settings and data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any


def settings_digest(settings: Mapping[str, Any], *data: str) -> str:
    """A short checksum of settings, as plain JSON data, and the digests of the data that they are
    for, by which rows are known to be of the same benchmark."""
    told = json.dumps([settings, data], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def rows_that_count(
    done: Iterable[Mapping[str, Any]], settings: str, **asked: Collection[Any]
) -> list[Mapping[str, Any]]:
    """Those of `done` with these `settings`, and with what was asked for in each field named."""
    return [
        row
        for row in done
        if row.get("settings") == settings
        and all(row[name] in among for name, among in asked.items())
    ]
