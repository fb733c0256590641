"""Linear programmes side by side, with costs in convex pieces, solved as one by HiGHS.

Pieces: Boyd & Vandenberghe 2004, Convex Optimization, section 4.3.1. Solver: HiGHS (Huangfu & Hall
2018) through scipy.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csc_array

from rlkit_envs.data_center.psychrometrics import Array


class Solved(NamedTuple):
    """Of programmes side by side."""

    share: Array
    """(programmes, pieces), 0 to 1 of each piece."""
    cost: Array
    """(programmes,) of pieces and excess."""


def solve(
    cost: Array, response_k: Array, room_k: Array, excess_cost: float, open_: NDArray[np.bool_]
) -> Solved:
    """Cheapest shares of pieces, with what exceeds the room charged; all programmes as one LP.

    Each minimises sum(cost * share) + excess_cost * sum(excess) over shares from 0 to 1, where
    excess >= response_k @ share - room_k, and 0 or more.
    cost, open_: (programmes, pieces); a piece that is not open stays at 0. response_k: (programmes,
    limits, pieces). room_k: (programmes, limits). Raises RuntimeError where HiGHS finds no answer.
    """
    programmes, limits, pieces = response_k.shape
    # Columns: each programme's pieces, then its excesses. Rows: each programme's limits.
    columns = pieces + limits
    row = np.arange(programmes * limits)
    first = np.repeat(np.arange(programmes) * columns, limits)
    rows = np.concatenate([np.repeat(row, pieces), row])
    of_pieces = (first[:, np.newaxis] + np.arange(pieces)).ravel()
    of_excess = first + pieces + np.tile(np.arange(limits), programmes)
    values = np.concatenate([response_k.ravel(), np.full(len(row), -1.0)])
    matrix = csc_array(
        (values, (rows, np.concatenate([of_pieces, of_excess]))),
        shape=(len(row), programmes * columns),
    )
    costs = np.full((programmes, columns), excess_cost)
    costs[:, :pieces] = cost
    most = np.full((programmes, columns), np.inf)
    most[:, :pieces] = open_
    scale = excess_cost  # so that the solver's tolerances mean the same whatever the unit
    answer = linprog(
        costs.ravel() / scale,
        A_ub=matrix,
        b_ub=room_k.ravel(),
        bounds=np.stack([np.zeros(most.size), most.ravel()], axis=1),
        method="highs",
    )
    if answer.status != 0:
        raise RuntimeError(f"HiGHS found no set points: {answer.message}")
    found = answer.x.reshape(programmes, columns)
    return Solved(np.clip(found[:, :pieces], 0.0, 1.0), (costs * found).sum(axis=1))


def convex_pieces(change: Array, width: Array) -> Array:
    """Changes over pieces (..., 4), made convex: from the outermost below to that above.

    change: of the two pieces downwards and the two upwards, each over its width, seen from the
    middle outwards. width: the same shape, 0 or more. Where the slope falls across the middle its
    mean is taken on both sides; outwards it may not fall back.
    """
    slope = np.divide(change, width, out=np.zeros_like(change), where=width > 0.0)
    slope[..., :2] *= -1.0  # as the set point rises
    far_below, below, above, far_above = np.moveaxis(slope, -1, 0)
    weight = width[..., 1:3]
    mean = (weight * slope[..., 1:3]).sum(axis=-1) / np.maximum(weight.sum(axis=-1), 1e-12)
    falls = (below > above) & (weight > 0.0).all(axis=-1)
    below, above = np.where(falls, mean, below), np.where(falls, mean, above)
    rising = [np.minimum(far_below, below), below, above, np.maximum(above, far_above)]
    return np.stack([-rising[0], -rising[1], rising[2], rising[3]], axis=-1) * width
