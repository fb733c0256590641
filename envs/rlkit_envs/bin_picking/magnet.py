"""The magnet: its pull on whatever lies near its face, and how much a part may weigh to be held.

The face is divided into equal patches. A patch pulls at the ferrous surface in front of it with
F0 / patches * (g0 / (g0 + gap))^2: a magnetic circuit whose iron has the reluctance of an air gap
of g0 gives a flux that falls as 1 / (g0 + gap), and the pull goes with its square (Maxwell's stress
B^2 A / 2 mu0). The pull acts where it arises, so a part that is held off its centre peels off, two
parts share the face, and what is not ferrous covers what lies behind it. Fringing fields around the
rim and saturation of thin sheets are left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.bin_picking.rays import cast
from rlkit_envs.bin_picking.scene import GRAVITY_M_PER_S2, Array, Scene

_RANGE_M = 0.02  # from here on the pull is nothing
_FAR_M = 10.0  # rays start at one point so far behind the face that they are parallel
_RINGS = ((0.0, 1), (0.33, 6), (0.62, 12), (0.9, 18))  # share of the radius, patches there


@dataclass(frozen=True)
class MagnetConfig:
    """How strongly the magnet pulls."""

    force_n: float = 9.0
    """F0: on a thick ferrous plate that covers the whole face."""
    gap_m: float = 0.001
    """g0: the air gap at which a quarter of that is left; 0.6 to 1.2 mm."""

    def __post_init__(self) -> None:
        for name in ("force_n", "gap_m"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0 and finite, got {getattr(self, name)}")


@dataclass(frozen=True)
class Pull:
    """What the magnet pulls at in a moment.

    by_part_n: (parts,) newtons. bin_n: newtons, on floor or walls where they are ferrous.
    """

    by_part_n: Array
    bin_n: float


def patch_pull(gaps_m: Array, config: MagnetConfig, patches: int) -> Array:
    """Newtons with which patches pull across air gaps in metres; one that is infinite has none."""
    return config.force_n / patches * (config.gap_m / (config.gap_m + gaps_m)) ** 2


def heaviest_held_kg(
    force_n: float, offset_m: float, radius_m: float, acceleration_m_per_s2: float = 0.0
) -> float:
    """The mass that a pull holds, when its centre is that far from the middle of the face.

    The part begins to peel off at m (g + a) (1 + e / R) = F: it turns about the far rim of the face
    (moments about a point at distance R from the middle, for a pull through the middle).
    """
    lever = 1.0 + offset_m / radius_m
    return force_n / ((GRAVITY_M_PER_S2 + acceleration_m_per_s2) * lever)


class Magnet:
    """Pulls at a scene's parts while it is on."""

    def __init__(self, scene: Scene, config: MagnetConfig) -> None:
        self.scene = scene
        self.config = config
        self._patches = face_patches(scene.tool.face_radius_m)
        self._rays = np.column_stack([self._patches, np.full(len(self._patches), -_FAR_M)])
        self._touched = np.zeros(0, int)

    def gaps(self) -> tuple[Array, NDArray[np.int32]]:
        """Air gaps (patches,) in metres in front of the face, and the geoms behind them.

        A gap is infinite, and its geom -1, where nothing is within reach.
        """
        scene = self.scene
        data = scene.data
        turn = data.xmat[scene.tip_body].reshape(3, 3)
        start = data.xpos[scene.tip_body] + _FAR_M * turn[:, 2]
        distances, geoms = cast(
            scene.model,
            data,
            start,
            self._rays @ turn.T,
            farthest_m=_FAR_M + 1.0,
            without_body=scene.tip_body,
        )
        # A distance is told in lengths of the ray, which ends on the face.
        gaps = np.maximum(0.0, (distances - 1.0) * _FAR_M)
        nothing = (geoms < 0) | (gaps > _RANGE_M)
        return np.where(nothing, np.inf, gaps), np.where(nothing, -1, geoms)

    def quality(self) -> float:
        """The share of F0 that it would pull with now, from 0 to 1."""
        gaps, geoms = self.gaps()
        forces = patch_pull(gaps, self.config, len(gaps)) * self._attracted(geoms)
        return float(forces.sum()) / self.config.force_n

    def surface_tilt_deg(self) -> float:
        """The angle between the face and the plane that fits best what lies in front of it."""
        gaps, _ = self.gaps()
        near = np.isfinite(gaps)
        if near.sum() < 3:
            return 0.0
        design = np.column_stack([self._patches[near], np.ones(near.sum())])
        solution, *_ = np.linalg.lstsq(design, gaps[near], rcond=None)
        return float(np.rad2deg(np.arctan(np.hypot(*solution[:2]))))

    def pull(self) -> Pull:
        """Apply the present pull to parts and tip, for the steps until the next call."""
        scene = self.scene
        data = scene.data
        self.release()
        gaps, geoms = self.gaps()
        attracted = self._attracted(geoms)
        forces = patch_pull(gaps, self.config, len(gaps)) * attracted
        parts = np.where(attracted, scene.part_of_geom[geoms], -1)
        by_part = np.bincount(parts[parts >= 0], forces[parts >= 0], len(scene.parts)).astype(float)
        turn = data.xmat[scene.tip_body].reshape(3, 3)
        up = turn[:, 2]
        face = data.xpos[scene.tip_body] + self._patches @ turn[:, :2].T
        points = face - np.where(np.isfinite(gaps), gaps, 0.0)[:, None] * up
        for part in np.flatnonzero(by_part):
            mine = parts == part
            body = scene.part_bodies[part]
            self._push(body, forces[mine][:, None] * up, points[mine])
        self._push(scene.tip_body, -forces[:, None] * up, face)
        self._touched = np.append(scene.part_bodies[by_part > 0], scene.tip_body)
        return Pull(by_part, float(forces[attracted & (parts < 0)].sum()))

    def release(self) -> None:
        """Switch it off."""
        self.scene.data.xfrc_applied[self._touched] = 0.0
        self._touched = self._touched[:0]

    def _attracted(self, geoms: NDArray[np.int32]) -> NDArray[np.bool_]:
        return (geoms >= 0) & self.scene.ferrous[geoms]

    def _push(self, body: int, forces: Array, points: Array) -> None:
        """Apply forces (n, 3) to a body at points (n, 3)."""
        data = self.scene.data
        data.xfrc_applied[body, :3] = forces.sum(0)
        data.xfrc_applied[body, 3:] = _cross(points - data.xipos[body], forces).sum(0)


def _cross(left: Array, right: Array) -> Array:
    """Cross products of rows (n, 3), bit for bit NumPy's, whose own function takes twice as long
    for so few."""
    products = np.empty_like(left)
    (x, y, z), (u, v, w) = left.T, right.T
    products[:, 0] = y * w - z * v
    products[:, 1] = z * u - x * w
    products[:, 2] = x * v - y * u
    return products


def face_patches(radius_m: float) -> Array:
    """(37, 2) middles in metres of equal patches that cover a face of that radius."""
    rings = []
    for share, count in _RINGS:
        turns = 2.0 * np.pi * (np.arange(count) + 0.5) / count
        rings.append(share * radius_m * np.column_stack([np.cos(turns), np.sin(turns)]))
    return np.concatenate(rings)
