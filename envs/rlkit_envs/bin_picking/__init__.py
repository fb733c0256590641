"""Bin picking: a magnet on a robot lifts parts, one at a time, out of a disordered pile.

Rays see and draw the bins, so MuJoCo is imported without the OpenGL that MUJOCO_GL names, or that
it would take by itself, where the machine has none.
"""

import os as _os

try:
    import mujoco as _mujoco
except (AttributeError, ImportError, OSError, RuntimeError):
    _asked = _os.environ.get("MUJOCO_GL")
    _os.environ["MUJOCO_GL"] = "disabled"
    try:
        import mujoco as _mujoco  # noqa: F401
    finally:
        del _os.environ["MUJOCO_GL"]
        if _asked is not None:
            _os.environ["MUJOCO_GL"] = _asked
