"""MuJoCo, also where the OpenGL that MUJOCO_GL names, or that it takes by itself, is missing.

It imports OpenGL with itself and fails where that does. Rays see and draw the bins, so they go on
without.
"""

from __future__ import annotations

import os

try:
    import mujoco
except (AttributeError, ImportError, OSError, RuntimeError):
    _asked = os.environ.get("MUJOCO_GL")
    os.environ["MUJOCO_GL"] = "disabled"
    try:
        import mujoco
    finally:
        del os.environ["MUJOCO_GL"]
        if _asked is not None:
            os.environ["MUJOCO_GL"] = _asked

__all__ = ["mujoco"]
