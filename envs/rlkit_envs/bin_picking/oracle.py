"""The best that any policy with an upright tool could do: it tries pixels out in a copy of the bin.

It shows what a bin allows. Where it finds nothing, no pixel of those tried would have worked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.bin_picking.controller import Outcome
from rlkit_envs.bin_picking.episode import PickingBin
from rlkit_envs.bin_picking.heuristics import View, centred_magnet_quality
from rlkit_envs.bin_picking.scene import Array


@dataclass(frozen=True)
class Found:
    """What the oracle found. action: the best. succeeds: whether it works. tried: how many were."""

    action: int
    succeeds: bool
    tried: int


def view_of(bin_: PickingBin) -> View:
    """What a heuristic sees of a bin."""
    return View(
        bin_.observation[0].astype(float),
        inside_of(bin_),
        bin_.camera.config.pixel_m,
        bin_.config.tool.face_radius_m,
    )


def inside_of(bin_: PickingBin) -> NDArray[np.bool_]:
    """(rows, columns) the pixels at which an upright tool clears the walls."""
    return bin_.inside(bin_.config.tool.face_radius_m)


def find_pick(bin_: PickingBin, most: int, random: np.random.Generator) -> Found:
    """Try up to `most` pixels on parts, the most promising first, until one succeeds."""
    candidates = _candidates(bin_, random)[:most]
    for number, action in enumerate(candidates):
        if bin_.try_out(int(action)).outcome is Outcome.OK:
            return Found(int(action), True, number + 1)
    return Found(int(candidates[0]) if len(candidates) else 0, False, len(candidates))


def success_map(bin_: PickingBin, every: int = 1) -> Array:
    """(rows, columns) 1 where an upright pick succeeds, 0 where not, NaN where nothing was tried.

    every: tries each n-th row and column of those on parts.
    """
    outcomes = np.full(bin_.points_m.shape[:2], np.nan)
    tried = view_of(bin_).on_part
    for row, column in np.argwhere(tried):
        if row % every == 0 and column % every == 0:
            done = bin_.try_out(int(row * bin_.config.pixels + column))
            outcomes[row, column] = done.outcome is Outcome.OK
    return outcomes


def _candidates(bin_: PickingBin, random: np.random.Generator) -> NDArray[np.int64]:
    """Pixels on parts: those a heuristic likes, spread out, then the others in any order."""
    view = view_of(bin_)
    marked = bin_.marks()
    scores = np.where(marked, -np.inf, centred_magnet_quality(view, random))
    chosen: list[int] = []
    open_ = scores.copy()
    for _ in range(40):
        best = int(np.argmax(open_))
        if np.isneginf(open_.flat[best]):
            break
        chosen.append(best)
        near = ((bin_.points_m - bin_.points_m.reshape(-1, 2)[best]) ** 2).sum(-1) < 0.006**2
        open_[near] = -np.inf
    others = np.setdiff1d(np.flatnonzero(view.on_part & ~marked), chosen)
    return np.concatenate([np.array(chosen, np.int64), random.permutation(others)])
