"""Hand-made ways to choose where to pick, from the same observation that an agent gets.

Each is a function from an observation to a score for every pixel; the best is picked, where no
failure is remembered. All of them see heights alone, and one knows how thick discs are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rlkit_envs.bin_picking.magnet import face_patches
from rlkit_envs.bin_picking.scene import Array

ON_PART_MM = 4.0
"""A pixel that is higher than that is taken for one on a part."""
ABOVE_DISCS_MM = 7.5
"""No aluminium disc on the floor is as high, and hardly any part of steel as low."""
_STEP_MM = 6.0  # neighbours that differ more belong to different things


@dataclass(frozen=True)
class View:
    """What a heuristic knows.

    height_mm: (rows, columns). inside: (rows, columns) bool, over the bin's inside, a tool's radius
    away from the walls. pixel_m: side of a pixel. radius_m: of the magnet's face.
    """

    height_mm: Array
    inside: NDArray[np.bool_]
    pixel_m: float
    radius_m: float

    @property
    def on_part(self) -> NDArray[np.bool_]:
        """(rows, columns) bool, where something lies and the tool can go."""
        return self.inside & (self.height_mm > ON_PART_MM)


Score = Callable[[View, np.random.Generator], Array]
"""Gives (rows, columns) the higher the better; -inf where never to pick."""


def choose(scores: Array, marked: NDArray[np.bool_], random: np.random.Generator) -> int:
    """The pixel, counted row by row, with the best score outside what is marked; ties at random."""
    open_ = np.where(marked, -np.inf, scores)
    if np.isneginf(open_).all():
        open_ = np.where(marked, -np.inf, 0.0)
    if np.isneginf(open_).all():
        open_ = np.zeros_like(scores)
    best = np.flatnonzero(open_ == open_.max())
    return int(random.choice(best))


def random_pixel(view: View, random: np.random.Generator) -> Array:
    """Anywhere over the bin."""
    return np.where(view.inside, random.random(view.height_mm.shape), -np.inf)


def random_on_part(view: View, random: np.random.Generator) -> Array:
    """Anywhere where something lies."""
    return np.where(view.on_part, random.random(view.height_mm.shape), -np.inf)


def highest(view: View, random: np.random.Generator) -> Array:
    """Where the pile is highest."""
    return np.where(view.on_part, view.height_mm, -np.inf)


def flattest_high(view: View, random: np.random.Generator) -> Array:
    """Where the surface under the face is flat, and high among such places.

    Flatness is what SuctionNet-1B (Cao et al. 2021) takes for a seal: exp(-c * mean squared
    distance from the best plane), here over the whole face.
    """
    seal = np.exp(-_unevenness(view) / 0.5**2)
    return np.where(view.on_part, seal + 0.004 * view.height_mm, -np.inf)


def segment_centroid(view: View, random: np.random.Generator) -> Array:
    """In the middle of a thing: the deeper inside its outline the better, higher things first.

    Things are told apart by steps in height.
    """
    return _segment_centroid(view, view.on_part)


def segment_centroid_above_discs(view: View, random: np.random.Generator) -> Array:
    """The same by whoever knows the catalogue, and takes nothing for a part that is as low as a
    disc of aluminium."""
    return _segment_centroid(view, view.inside & (view.height_mm > ABOVE_DISCS_MM))


def _segment_centroid(view: View, on_thing: NDArray[np.bool_]) -> Array:
    """Scores of things where `on_thing` (rows, columns); then those of all else on parts."""
    edges = ndimage.morphological_gradient(view.height_mm, size=3) > _STEP_MM
    labels, count = _things(on_thing & ~edges)
    depth = _depth(labels > 0)
    scores = np.full(view.height_mm.shape, -np.inf)
    if count == 0:
        return np.where(view.on_part, depth, scores)
    numbers = np.arange(1, count + 1)
    tops = ndimage.mean(view.height_mm, labels, numbers)
    sizes = ndimage.sum_labels(np.ones_like(depth), labels, numbers)
    for number, (row, column) in enumerate(ndimage.center_of_mass(depth, labels, numbers)):
        if sizes[number] * (1e3 * view.pixel_m) ** 2 < 60.0:  # mm2: a sliver
            continue
        mine = np.argwhere(labels == number + 1)
        nearest = mine[np.argmin(((mine - (row, column)) ** 2).sum(1))]
        scores[tuple(nearest)] = tops[number]
    return np.where(np.isneginf(scores) & view.on_part, depth - 1e3, scores)


def magnet_quality(view: View, random: np.random.Generator) -> Array:
    """The share of the magnet's force that it would have, by the magnet's own law.

    The face comes down until the heightmap stops it; gaps follow, g0 being 1 mm. What lies under
    the shaft beside the face is no obstacle to it, only to the tool.
    """
    quality = _quality(view, gap_mm=1.0)
    return np.where(view.on_part, quality, -np.inf)


def centred_magnet_quality(view: View, random: np.random.Generator) -> Array:
    """The magnet's share of force, weighed by how near the middle of its thing a pixel is."""
    edges = ndimage.morphological_gradient(view.height_mm, size=3) > _STEP_MM
    depth = _depth(view.on_part & ~edges) * 1e3 * view.pixel_m
    lever = np.clip(depth / (1e3 * view.radius_m), 0.0, 1.0)
    return np.where(view.on_part, _quality(view, gap_mm=1.0) * (0.5 + 0.5 * lever), -np.inf)


HEURISTICS: Mapping[str, Score] = MappingProxyType(
    {
        "random": random_pixel,
        "random on part": random_on_part,
        "highest": highest,
        "flattest-high": flattest_high,
        "segment centroid": segment_centroid,
        "segment centroid above discs": segment_centroid_above_discs,
        "magnet quality": magnet_quality,
        "centred magnet quality": centred_magnet_quality,
    }
)
"""Name -> what scores the pixels."""


def _things(on_thing: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """Numbers from 1 (rows, columns) of what hangs together, 0 elsewhere, and how many."""
    labels = np.zeros(on_thing.shape, np.int32)
    ndimage.label(on_thing, output=labels)
    return labels, int(labels.max())


def _depth(inside: NDArray[np.bool_]) -> Array:
    """(rows, columns) how many pixels it is to the nearest one that is not inside."""
    return np.asarray(ndimage.distance_transform_edt(inside), float)


def _face_offsets(view: View) -> NDArray[np.int64]:
    """(patches, 2) rows and columns of the face's patches, to the nearest pixel."""
    return np.rint(face_patches(view.radius_m)[:, ::-1] / view.pixel_m).astype(np.int64)


def _under_face(view: View) -> Array:
    """(patches, rows, columns) heights in mm under each patch of a face over each pixel."""
    size = view.height_mm.shape
    offsets = _face_offsets(view)
    margin = int(np.abs(offsets).max())
    padded = np.pad(view.height_mm, margin, mode="edge")
    return np.stack(
        [
            padded[margin + r : margin + r + size[0], margin + c : margin + c + size[1]]
            for r, c in offsets
        ]
    )


def _quality(view: View, gap_mm: float) -> Array:
    under = _under_face(view)
    gaps = under.max(0) - under
    return ((gap_mm / (gap_mm + gaps)) ** 2).mean(0)


def _unevenness(view: View) -> Array:
    """(rows, columns) mean square distance in mm2 of what is under a face from its best plane."""
    under = _under_face(view)
    at = _face_offsets(view) * 1e3 * view.pixel_m
    design = np.column_stack([at[:, 1], at[:, 0], np.ones(len(at))])
    flat = under.reshape(len(at), -1)
    solution, *_ = np.linalg.lstsq(design, flat, rcond=None)
    return ((design @ solution - flat) ** 2).mean(0).reshape(view.height_mm.shape)
