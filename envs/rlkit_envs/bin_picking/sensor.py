"""The camera: what a scene looks like from straight above, as a heightmap on a grid of pixels.

Rays are cast by MuJoCo without any graphics. Row 0 is the side of positive y, column 0 that of
negative x, so that a picture of the map has x to the right and y upwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.bin_picking.rays import look_down
from rlkit_envs.bin_picking.scene import Array, Scene

HIGHEST_M = 1.0
"""What a camera tells is never higher."""


@dataclass(frozen=True)
class CameraConfig:
    """What the camera sees, and how badly."""

    pixels: int = 64
    """Rows and columns of the map."""
    field_m: float = 0.224
    """Side of the square that it sees: with 64 pixels, 3.5 mm each."""
    normals: bool = False
    """Also tell the surface's normal in three channels."""
    colour: bool = False
    """Also tell the surface's colour in three channels, from 0 to 1: aluminium is brighter."""
    noise_m: float = 0.0
    """Standard deviation of a height, drawn anew for every pixel and picture."""
    drop_out: float = 0.0
    """Share of pixels whose height reads 0; normals and colours have neither noise nor holes."""

    def __post_init__(self) -> None:
        if self.pixels < 8:
            raise ValueError(f"a camera needs at least 8 pixels a side, got {self.pixels}")
        if not self.field_m > 0:
            raise ValueError(f"field_m must be above 0, got {self.field_m}")
        if not 0 <= self.noise_m < math.inf:
            raise ValueError(f"noise_m must be at least 0 and finite, got {self.noise_m}")
        if not 0 <= self.drop_out < 1:
            raise ValueError(f"drop_out must be in [0, 1), got {self.drop_out}")

    @property
    def pixel_m(self) -> float:
        """Side of a pixel."""
        return self.field_m / self.pixels

    def points(self) -> Array:
        """(pixels, pixels, 2) x and y in metres of the middle of every pixel."""
        along = (np.arange(self.pixels, dtype=float) + 0.5) * self.pixel_m - self.field_m / 2
        x, y = np.meshgrid(along, along[::-1])
        return np.stack([x, y], -1)


@dataclass(frozen=True)
class Picture:
    """What the camera saw, without noise.

    height_m: (pixels, pixels) above the floor. normals: (pixels, pixels, 3), unit vectors.
    part: (pixels, pixels) the part seen there, -1 for the bin.
    """

    height_m: Array
    normals: Array
    part: NDArray[np.int64]


class Camera:
    """Takes pictures of scenes."""

    def __init__(self, config: CameraConfig) -> None:
        self.config = config
        self._points = config.points().reshape(-1, 2)

    def look(self, scene: Scene, offset_m: tuple[float, float] = (0.0, 0.0)) -> Picture:
        """A picture; the camera may hang off the middle by (x, y) in metres."""
        normals = np.zeros((len(self._points), 3))
        heights, geoms = look_down(scene, self._points, offset_m, normals)
        shape = (self.config.pixels, self.config.pixels)
        part = np.where(geoms >= 0, scene.part_of_geom[geoms], -1)
        return Picture(heights.reshape(shape), normals.reshape(*shape, 3), part.reshape(shape))

    def look_badly(self, heights_m: Array, random: np.random.Generator) -> Array:
        """Heights with the camera's noise and drop-out, from 0 to `HIGHEST_M`."""
        config = self.config
        if config.noise_m == 0.0 and config.drop_out == 0.0:
            return heights_m
        seen = heights_m + config.noise_m * random.normal(size=heights_m.shape)
        seen = np.clip(seen, 0.0, HIGHEST_M)
        return np.where(random.random(heights_m.shape) < config.drop_out, 0.0, seen)
