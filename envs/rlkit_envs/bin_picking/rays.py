"""Rays, by which the camera, the magnet, the controller and photographs see a scene."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.bin_picking.mujoco_import import mujoco
from rlkit_envs.bin_picking.scene import BIN_GROUP, PART_GROUP, Array, Scene

_FAR_M = 1_000.0  # rays start at one point so far above that they are parallel

Seen = NDArray[np.uint8]
"""(6,) 1 for MuJoCo's groups of geoms that rays see."""


def seen(*groups: int) -> Seen:
    """These groups and no others."""
    mask = np.zeros(6, np.uint8)
    mask[list(groups)] = 1
    return mask


PARTS_AND_BIN = seen(PART_GROUP, BIN_GROUP)


def cast(
    model: mujoco.MjModel,
    data: mujoco.MjData,
    start: Array,
    rays: Array,
    sees: Seen = PARTS_AND_BIN,
    *,
    farthest_m: float,
    without_body: int = -1,
    normals: Array | None = None,
) -> tuple[Array, NDArray[np.int32]]:
    """Distances (rays,), in lengths of each ray, to what rays (rays, 3) from `start` (3,) hit.

    Beside them the geoms (rays,), -1 for none, whose distance means nothing. farthest_m: beyond
    it nothing is hit. without_body: one that rays go through. normals: (rays, 3), filled in.
    """
    count = len(rays)
    distances, geoms = np.zeros(count), np.full(count, -1, np.int32)
    if count:
        mujoco.mj_multiRay(
            model,
            data,
            start,
            rays.ravel(),
            sees,
            True,
            without_body,
            geoms,
            distances,
            None if normals is None else normals.reshape(-1),
            count,
            farthest_m,
        )
    return distances, geoms


def look_down(
    scene: Scene,
    points_m: Array,
    offset_m: tuple[float, float] = (0.0, 0.0),
    normals: Array | None = None,
) -> tuple[Array, NDArray[np.int32]]:
    """Heights (points,) in metres above the floor, 0 at least, and what is highest there, or -1.

    points_m: (points, 2) on the floor; seen from far above the middle, `offset_m` beside it.
    normals: (points, 3), filled in.
    """
    rays = np.column_stack([points_m, np.full(len(points_m), -_FAR_M)])
    distances, geoms = cast(
        scene.model,
        scene.data,
        np.array([*offset_m, _FAR_M]),
        rays,
        farthest_m=2.0 * _FAR_M,
        normals=normals,
    )
    # A distance is told in lengths of the ray, which ends on the floor.
    heights = np.where(geoms >= 0, _FAR_M * (1.0 - distances), 0.0)
    return np.maximum(0.0, heights), geoms
