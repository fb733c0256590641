"""Photographs of a scene as a camera in front of the bin and above it sees it.

MuJoCo casts the rays, one bundle from the camera and one from the lamp, so no graphics library, no
display and no OpenGL are needed: a server draws as well as a desktop. Surfaces are shaded by
Lambert's law with a highlight (Blinn 1977). The bin's front wall is left out, to let one see in.
Only what moved since the last photograph, and its shadow, is cast anew.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from rlkit_envs.bin_picking.drawing import BACKGROUND, Picture
from rlkit_envs.bin_picking.mujoco_import import mujoco
from rlkit_envs.bin_picking.rays import cast, seen
from rlkit_envs.bin_picking.scene import (
    BIN_GROUP,
    GROUND_GROUP,
    PART_GROUP,
    TOOL_GROUP,
    Array,
    Scene,
)

WIDTH, HEIGHT = 640, 480
"""Of a photograph, in pixels."""

_RAYS = (840, 630)  # more than pixels, to smooth edges
_HIDDEN_GROUP = 5
_SEEN = seen(PART_GROUP, BIN_GROUP, TOOL_GROUP, GROUND_GROUP)
_VIEW_DEG = 35.0
_FAR_M = 100.0
_LAMP_CELLS, _LAMP_REACH = 400, 1.2  # a grid over what the lamp sees, and the tangent of its edge
_BEYOND = 10_000  # cells
_NEAR_M = 0.01
_SHAFT_M = 0.4  # of a bin of 0.2 m, so that the shaft's end is never in the picture
_STILL_M = 1e-4  # what moved less since it was cast has not moved: a third of a ray
_SOFTNESS = 5  # rays across which the edge of a shadow fades

_STEEL: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {
        "box": (0.56, 0.60, 0.66),
        "cylinder": (0.66, 0.62, 0.55),
        "capsule": (0.50, 0.59, 0.60),
        "flange": (0.55, 0.62, 0.60),
        "l_bracket": (0.60, 0.57, 0.64),
        "ring": (0.68, 0.60, 0.46),
        "hook": (0.49, 0.56, 0.67),
        "hexagon": (0.64, 0.58, 0.58),
        "cross": (0.55, 0.62, 0.56),
        "stud": (0.62, 0.62, 0.60),
    }
)
_ALUMINIUM = (0.93, 0.95, 0.98)
_BIN, _GROUND = (0.22, 0.35, 0.55), (0.24, 0.26, 0.30)
_SHAFT, _FACE = (0.90, 0.42, 0.20), (0.15, 0.15, 0.17)
_AMBIENT, _LAMP = 0.58, 0.80


@dataclass(frozen=True)
class Pose:
    """Where everything is. qpos: MuJoCo's. lean: (4,) quaternion of the tool's wrist."""

    qpos: Array
    lean: Array

    @staticmethod
    def of(scene: Scene) -> Pose:
        """The present one."""
        return Pose(scene.data.qpos.copy(), scene.model.body_quat[scene.wrist_body].copy())


@dataclass(frozen=True)
class _Eye:
    """A point that looks at another; axes: (3, 3) right, up and ahead as columns."""

    point: Array
    axes: Array

    @staticmethod
    def at(point: tuple[float, float, float], target: tuple[float, float, float]) -> _Eye:
        ahead = np.subtract(target, point)
        ahead /= np.linalg.norm(ahead)
        right = np.cross(ahead, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        return _Eye(np.array(point), np.column_stack([right, np.cross(right, ahead), ahead]))

    def project(self, points: Array) -> Array:
        """(..., 2) tangents to the right and upwards of points (..., 3)."""
        seen = (points - self.point) @ self.axes
        return seen[..., :2] / np.maximum(seen[..., 2:], _NEAR_M)


class Photographer:
    """Takes photographs of one scene; touches neither its model nor its data."""

    def __init__(self, scene: Scene) -> None:
        self._model = copy.copy(scene.model)
        self._data = mujoco.MjData(self._model)
        self._wrist = scene.wrist_body
        self._half_m, self._wall_m = scene.bin.side_m / 2, scene.bin.wall_height_m
        self._is_part = scene.part_of_geom >= 0
        groups = self._model.geom_group
        groups[self._is_part] = PART_GROUP
        groups[(groups == BIN_GROUP) & (self._model.geom_pos[:, 1] < 0)] = _HIDDEN_GROUP
        size = scene.bin.side_m / 0.2
        self._lengthen_shaft(_SHAFT_M * size - scene.tool.shaft_length_m)
        self._colours, self._shine = _materials(scene)
        self._camera = _Eye.at(
            (0.025 * size, -0.36 * size, 0.47 * size), (0.025 * size, 0.0 * size, 0.05 * size)
        )
        self._lamp = _Eye.at((-0.35 * size, -0.25 * size, 0.85 * size), (0.0, 0.0, 0.0))
        across, down = _RAYS
        self._reach = np.tan(np.deg2rad(_VIEW_DEG) / 2) * np.array([across / down, 1.0])
        x = (2 * np.arange(across) + 1 - across) / across * self._reach[0]
        y = (down - 1 - 2 * np.arange(down)) / down * self._reach[1]
        tangents = np.stack([*np.meshgrid(x, y), np.ones((down, across))], -1)
        self._rays: Array = (tangents @ self._camera.axes.T).reshape(-1, 3)
        count = len(self._rays)
        self._geoms = np.full(count, -1, np.int32)
        self._points = np.zeros((count, 3))
        self._normals = np.zeros((count, 3))
        self._lamp_cells = np.zeros(count, np.int32)
        self._lit = np.zeros(count, np.float32)
        self._ambient = np.tile(np.array(BACKGROUND, np.float32), (count, 1))
        self._direct = np.zeros((count, 3), np.float32)
        self._boxes: Array | None = None

    def take(self, pose: Pose) -> Picture:
        """A photograph (HEIGHT, WIDTH, 3)."""
        self._data.qpos[:] = pose.qpos
        self._model.body_quat[self._wrist] = pose.lean
        mujoco.mj_kinematics(self._model, self._data)
        stale, in_shadow = self._what_moved()
        self._see(np.flatnonzero(stale))
        self._light(np.flatnonzero(stale | in_shadow))
        across, down = _RAYS
        soft = cv2.blur(self._lit.reshape(down, across), (_SOFTNESS, _SOFTNESS))
        colours = self._ambient.reshape(down, across, 3) + soft[..., None] * self._direct.reshape(
            down, across, 3
        )
        sharp = np.clip(colours, 0.0, 255.0).astype(np.uint8)
        return cv2.resize(sharp, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).astype(np.uint8)

    def _lengthen_shaft(self, longer_m: float) -> None:
        """Let the shaft go up out of the picture, where a robot would hold it."""
        model = self._model
        shaft = model.geom("shaft").id
        model.geom_pos[shaft, 2] += max(0.0, longer_m) / 2
        model.geom_size[shaft, 1] += max(0.0, longer_m) / 2
        radius, half_length = model.geom_size[shaft, :2]
        model.geom_aabb[shaft] = (0.0, 0.0, 0.0, radius, radius, half_length)
        model.geom_rbound[shaft] = np.hypot(radius, half_length)

    def _what_moved(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """(rays,) each: which may now see something else, and which may now be lit otherwise."""
        across, down = _RAYS
        boxes, before = self._corners(), self._boxes
        if before is None:
            self._boxes = boxes
            return np.ones(down * across, bool), np.zeros(down * across, bool)
        stale = np.zeros((down, across), np.uint8)
        shadow = np.zeros((_LAMP_CELLS, _LAMP_CELLS), np.uint8)
        moved = (np.abs(boxes - before).max((1, 2)) > _STILL_M) & (self._model.geom_bodyid > 0)
        for corners in (*before[moved], *boxes[moved]):
            _cover(stale, self._camera.project(corners) / self._reach)
            _cover(shadow, self._lamp.project(corners) / _LAMP_REACH)
        before[moved] = boxes[moved]
        return stale.ravel() > 0, shadow.ravel()[self._lamp_cells] > 0

    def _corners(self) -> Array:
        """(geoms, 8, 3) of the boxes around geoms, in metres."""
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
        boxes = self._model.geom_aabb
        local = boxes[:, None, :3] + signs * boxes[:, None, 3:]
        turns = self._data.geom_xmat.reshape(-1, 3, 3)
        return local @ turns.transpose(0, 2, 1) + self._data.geom_xpos[:, None]

    def _cast(
        self, start: Array, rays: Array, normals: Array | None = None
    ) -> tuple[Array, NDArray[np.int32]]:
        return cast(self._model, self._data, start, rays, _SEEN, farthest_m=_FAR_M, normals=normals)

    def _see(self, which: NDArray[np.intp]) -> None:
        """Cast these rays from the camera, and shade what they hit."""
        rays = self._rays[which]
        normals = np.zeros((len(which), 3))
        distances, geoms = self._cast(self._camera.point, rays, normals)
        hit = geoms >= 0
        points = self._camera.point + np.where(hit, distances, 0.0)[:, None] * rays
        self._geoms[which], self._points[which] = geoms, points
        self._normals[which] = normals
        x, y = _cells(self._lamp.project(points) / _LAMP_REACH, _LAMP_CELLS, _LAMP_CELLS).T
        self._lamp_cells[which] = np.clip(y, 0, _LAMP_CELLS - 1) * _LAMP_CELLS + np.clip(
            x, 0, _LAMP_CELLS - 1
        )
        albedo = 255.0 * self._colours[geoms]
        to_lamp = _unit(self._lamp.point - points)
        facing = np.maximum(0.0, (normals * to_lamp).sum(1))
        halfway = _unit(to_lamp - _unit(rays))
        highlight = np.maximum(0.0, (normals * halfway).sum(1)) ** 36 * self._shine[geoms]
        ambient = _AMBIENT * (0.72 + 0.28 * normals[:, 2]) * self._openness(points)
        light = ambient[:, None] * albedo
        direct = _LAMP * facing[:, None] * albedo + 255.0 * highlight[:, None]
        # The table fades away into the page.
        on_table = points[:, 2] < -0.039
        far = np.hypot(points[:, 0] - self._half_m / 4, points[:, 1]) / self._half_m
        fades = np.where(on_table, np.clip((far - 1.5) / 2.2, 0.0, 1.0), 0.0)
        fades = np.where(hit, fades * fades * (3 - 2 * fades), 1.0)[:, None]
        self._ambient[which] = light * (1 - fades) + fades * np.array(BACKGROUND)
        self._direct[which] = direct * (1 - fades)

    def _openness(self, points: Array) -> Array:
        """(points,) the share of the sky's light that gets there: less, the deeper in the bin."""
        inside = np.abs(points[:, :2]).max(1) < self._half_m + _STILL_M  # walls belong to it
        depth = np.clip(1.0 - points[:, 2] / self._wall_m, 0.0, 1.0)
        return np.where(inside, 1.0 - 0.45 * depth, 1.0)

    def _light(self, which: NDArray[np.intp]) -> None:
        """Find out which of the points that these rays hit the lamp shines on."""
        rays = self._points[which] - self._lamp.point
        faces = ((self._normals[which] * rays).sum(1) < 0) & (self._geoms[which] >= 0)
        self._lit[which] = 0.0
        which, rays = which[faces], rays[faces]
        distances, geoms = self._cast(self._lamp.point, rays)
        self._lit[which] = (geoms < 0) | (distances > 0.998)


def _materials(scene: Scene) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Colours (geoms + 1, 3) and strengths of highlights (geoms + 1,); the last is for nothing."""
    model = scene.model
    colours = np.zeros((model.ngeom + 1, 3), np.float32)
    shine = np.zeros(model.ngeom + 1, np.float32)
    shaft = model.geom("shaft").id
    for geom in range(model.ngeom):
        part = int(scene.part_of_geom[geom])
        if part >= 0:
            kind = scene.parts[part]
            colours[geom] = _STEEL.get(kind.kind, _STEEL["box"]) if kind.ferrous else _ALUMINIUM
            shine[geom] = 0.35
        elif model.geom_bodyid[geom] == scene.tip_body:
            colours[geom] = _SHAFT if geom == shaft else _FACE
            shine[geom] = 0.25
        else:
            ground = model.geom_group[geom] == GROUND_GROUP
            colours[geom] = _GROUND if ground else _BIN
            shine[geom] = 0.0 if ground else 0.06
    return colours, shine


def _cells(seen: Array, across: int, down: int) -> NDArray[np.int32]:
    """(..., 2) column and row of a grid of the square from -1 to 1, of points (..., 2) in it."""
    cells = (seen * (1.0, -1.0) + 1.0) / 2.0 * (across, down)
    return np.clip(np.floor(cells), -_BEYOND, _BEYOND).astype(np.int32)


def _cover(grid: NDArray[np.uint8], seen: Array) -> None:
    """Mark all cells that a convex thing with corners (n, 2), from -1 to 1, may touch."""
    hull = cv2.convexHull(_cells(seen, grid.shape[1], grid.shape[0]))
    cv2.fillConvexPoly(grid, hull, (1,))
    cv2.polylines(grid, [hull], True, (1,), thickness=3)  # what lies on its rim


def _unit(vectors: Array) -> Array:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
