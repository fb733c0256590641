"""Makes pairs of pictures: one as a simulator gives it, one as it may look outside.

Heights of bins go through a depth camera with noise, drop-out and shadows; frames of games get
another look. Nothing moves, so that what holds for a picture holds for the changed one, and no look
is of a family that robustness is measured by (`rlkit.corruptions.HELD_OUT`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rlkit.corruptions import HELD_OUT
from rlkit_agents.augmentation import KINDS, augmentation_named
from rlkit_agents.augmentation_moves import Move
from rlkit_envs.bin_picking.sensor import Camera, CameraConfig

_MM_PER_LEVEL = 1.0
_BATCH = 256


@dataclass(frozen=True)
class DepthSensorConfig:
    """How badly a depth camera sees. Raises ValueError for numbers out of range."""

    noise_mm: float = 1.5
    """Standard deviation of a height, drawn anew for every pixel and picture."""
    drop_out: float = 0.03
    """Share of pixels that tell nothing and read 0, in [0, 1)."""
    shadow: float = 0.15
    """How long shadows are, which read 0 as well, over how high what throws them stands out: the
    projector hangs so far to the left of the camera, over its distance. 0 throws none."""

    def __post_init__(self) -> None:
        for name in ("noise_mm", "shadow"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not 0 <= self.drop_out < 1:
            raise ValueError(f"drop_out must be in [0, 1), got {self.drop_out}")
        if not (self.noise_mm or self.drop_out or self.shadow):
            raise ValueError("noise_mm, drop_out and shadow are all 0: nothing would change")


def in_shadow(
    heights_mm: NDArray[np.floating], pixel_mm: float, shadow: float
) -> NDArray[np.bool_]:
    """Which pixels light from the left does not reach, (count, height, width).

    Depth cameras that triangulate see nothing there. The projector is far off, so that its light
    falls along parallel lines, which come down by 1 / shadow mm for each mm to the right.

    heights_mm: (count, height, width) above the floor. pixel_mm: side of a pixel.
    """
    dark = np.zeros(heights_mm.shape, bool)
    if shadow == 0.0:
        return dark
    fall_mm = pixel_mm / shadow
    reach = int((heights_mm.max() - heights_mm.min()) / fall_mm) if heights_mm.size else 0
    for pixels in range(1, min(reach, heights_mm.shape[2] - 1) + 1):
        behind, before = heights_mm[:, :, pixels:], heights_mm[:, :, :-pixels]
        dark[:, :, pixels:] |= before > behind + pixels * fall_mm
    return dark


def depth_pairs(
    heights_mm: NDArray[np.floating], config: DepthSensorConfig, *, pixel_mm: float, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Clean heights and the same through a depth camera, each (count, 1, height, width) bytes.

    A level is a millimetre; heights are cut off at 255. Noise and drop-out are those of the
    simulator's camera (`rlkit_envs.bin_picking.sensor`).

    heights_mm: (count, 1, height, width), at least 0, without noise. pixel_mm: side of a pixel.
    Raises ValueError for other shapes, and for heights below 0 or that are not finite.
    """
    heights = np.asarray(heights_mm, float)
    if heights.ndim != 4 or heights.shape[1] != 1:
        raise ValueError(f"heights must be (count, 1, height, width), got {heights.shape}")
    if not (np.isfinite(heights) & (heights >= 0)).all():
        raise ValueError("heights must be finite numbers of at least 0")
    camera = Camera(CameraConfig(noise_m=1e-3 * config.noise_mm, drop_out=config.drop_out))
    seen_mm = 1e3 * camera.look_badly(1e-3 * heights, np.random.default_rng(seed))
    dark = in_shadow(heights[:, 0], pixel_mm, config.shadow)[:, None]
    return height_levels(heights), height_levels(np.where(dark, 0.0, seen_mm))


def look_pairs(
    frames: NDArray[np.uint8], names: Sequence[str], seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Frames (count, channels, height, width) and the same in another look, drawn for each.

    names: augmentations (`rlkit_agents.augmentation.KINDS`), one after the other.
    Raises ValueError for names that `check_looks` refuses and frames that do not fit them.
    """
    check_looks(names)
    changed = torch.from_numpy(np.ascontiguousarray(frames))
    random = torch.Generator().manual_seed(seed)
    for name in names:
        look = augmentation_named(name)
        changed = torch.cat([look(part, random=random) for part in changed.split(_BATCH)])
    return frames, changed.numpy()


def check_looks(names: Sequence[str]) -> None:
    """Raise ValueError for no names, names of no augmentation, moves, and held-out families."""
    if not names:
        raise ValueError(f"name looks, such as brightness:40; there are {', '.join(looks())}")
    for name in names:
        augmentation_named(name)
        if name.partition(":")[0] not in looks():
            held_out = name.partition(":")[0] in _HELD_OUT
            why = "is kept for measuring robustness" if held_out else "moves what pictures show"
            raise ValueError(f"{name} {why}; there are {', '.join(looks())}")


def looks() -> tuple[str, ...]:
    """Families of augmentations that pairs may be made of, by name."""
    return tuple(
        name
        for name, kind in KINDS.items()
        if name not in _HELD_OUT
        and not (isinstance(kind.make, type) and issubclass(kind.make, Move))
    )


_HELD_OUT = frozenset(name.partition(":")[0] for name in HELD_OUT)


def height_levels(heights_mm: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Heights in bytes: a level is a millimetre, and what is higher than 255 is cut off."""
    return np.rint(heights_mm / _MM_PER_LEVEL).clip(0, 255).astype(np.uint8)
