"""ONNX Runtime, asked not to report home."""

from __future__ import annotations

import os
from types import ModuleType


def onnx_runtime() -> ModuleType:
    """The package, imported on first use; raises ImportError where it is missing.

    From 1.29 on its builds send telemetry to Microsoft by default, also on Linux (its Privacy.md),
    unless this variable says otherwise before it starts. Whoever set the variable is heeded.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime
