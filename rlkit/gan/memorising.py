"""Are generated rows copies of those that the generator learnt from?

A row is called a copy where it is three times nearer to one training row than to any other (the
criterion of Gu et al. 2023, "On Memorization in Diffusion Models"). How near generated rows are on
the whole is compared with held-out real rows after Meehan et al. 2020, "A Non-Parametric Test to
Detect Data-Copying in Generative Models", without their division into cells.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.neighbours import nearest_distances

_COPY_RATIO = 1 / 3
_MAX_COLUMNS = 512


@dataclass(frozen=True)
class Memorising:
    """Nearness of generated rows to training rows, beside that of real rows held out."""

    copied: float
    """Share of generated rows that are copies of training rows, in [0, 1]."""
    copied_floor: float
    """The same of real rows held out: what recurs by itself."""
    z: float
    """Mann-Whitney statistic of generated against held-out rows' distances to the nearest training
    row, in standard deviations: 0 is expected, far below it generated rows are too near, as copies
    are but also pictures of little variety; far above it they are too far away."""

    def to_json(self) -> dict[str, float]:
        """Plain JSON data."""
        return asdict(self)


def memorising(
    training: NDArray[Any], held_out: NDArray[Any], fake: NDArray[Any], seed: int = 0
) -> Memorising:
    """Compare distances of generated and of held-out rows to their nearest training rows.

    training, held_out, fake: (rows, *shape). Recurring training rows count once. Rows of more than
    512 columns are projected at random, by `seed`, which keeps distances within some percent
    (Johnson & Lindenstrauss 1984).
    Raises ValueError for unlike shapes, no rows, or fewer than two different training rows.
    """
    if not (training.shape[1:] == held_out.shape[1:] == fake.shape[1:]):
        raise ValueError(
            "training, held-out and generated rows must have one shape, got"
            f" {training.shape[1:]}, {held_out.shape[1:]} and {fake.shape[1:]}"
        )
    if not (len(held_out) and len(fake)):
        raise ValueError(
            f"there are {len(held_out)} held-out and {len(fake)} generated rows to compare"
        )
    different = np.unique(training.reshape(len(training), -1), axis=0)
    if len(different) < 2:
        raise ValueError("the nearest training row is told from the next, and there is only one")
    columns = different.shape[1]
    projection = None
    if columns > _MAX_COLUMNS:
        random = np.random.default_rng(seed)
        projection = random.standard_normal((columns, _MAX_COLUMNS)) / math.sqrt(_MAX_COLUMNS)
    flat = [rows.reshape(len(rows), columns).astype(np.float64) for rows in (held_out, fake)]
    different, *flat = (
        rows if projection is None else rows @ projection for rows in (different, *flat)
    )
    of_held_out, of_fake = (nearest_distances(rows, different, 2) for rows in flat)
    return Memorising(
        copied=_copied(of_fake),
        copied_floor=_copied(of_held_out),
        z=_mann_whitney_z(of_fake[:, 0], of_held_out[:, 0]),
    )


def _copied(nearest: NDArray[np.float64]) -> float:
    """Share of rows whose nearest (rows, 2) training row is much nearer than the next."""
    return float((nearest[:, 0] < _COPY_RATIO * nearest[:, 1]).mean())


def _mann_whitney_z(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """How many standard deviations the first values rank above the second; ties share ranks."""
    from scipy.stats import rankdata

    count, others = len(first), len(second)
    both = count + others
    ranks = rankdata(np.concatenate([first, second]))
    _, ties = np.unique(ranks, return_counts=True)
    above = ranks[:count].sum() - count * (count + 1) / 2
    variance = count * others / 12 * (both + 1 - (ties**3 - ties).sum() / (both * (both - 1)))
    if variance <= 0:  # all values are one
        return 0.0
    return float((above - count * others / 2) / math.sqrt(variance))
