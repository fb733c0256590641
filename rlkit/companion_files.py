"""Tells which companion wrote a file of weights, so that only that companion reads it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType

from safetensors import SafetensorError, safe_open

from rlkit.reasons import reason_of


def companion_module(path: str | os.PathLike[str], modules: Mapping[str, str]) -> ModuleType | None:
    """The module that reads the file, imported; None where none of them does.

    modules: entry of a safetensors file's metadata -> module that reads such files.
    Raises ValueError where the file cannot be read, or is no safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            keys = set(file.metadata() or {})
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {reason_of(error)}") from error
    except SafetensorError as error:
        raise ValueError(f"{path}: damaged, or no file of weights ({error})") from error
    return next((import_module(module) for key, module in modules.items() if key in keys), None)
