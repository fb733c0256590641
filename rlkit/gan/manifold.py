"""How much of the generated lies where the real lies, and how much of the real is reached.

Precision and recall after Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric for
Assessing Generative Models"; density and coverage after Naeem et al. 2020, "Reliable Fidelity and
Diversity Metrics for Generative Models". Both take balls around rows, as wide as the distance to
the row's k-th nearest neighbour among its own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from rlkit.gan.distances import check_features
from rlkit.neighbours import blocks, neighbour_distances


@dataclass(frozen=True)
class ManifoldQuality:
    """Fidelity and diversity of generated rows, by nearest neighbours in the space of features."""

    precision: float
    """Share of generated rows within a ball of some real row, in [0, 1]."""
    recall: float
    """Share of real rows within a ball of some generated row, in [0, 1]."""
    density: float
    """Real balls that a generated row lies in, over k: 1 is expected of equal distributions, and
    rows that crowd where the real are dense have more."""
    coverage: float
    """Share of real rows with a generated row in their ball, in [0, 1]."""

    def to_json(self) -> dict[str, float]:
        """Plain JSON data."""
        return asdict(self)


def manifold_quality(
    real: NDArray[np.floating], fake: NDArray[np.floating], neighbours: int = 5
) -> ManifoldQuality:
    """Precision, recall, density and coverage of generated rows.

    real, fake: (rows, features), as many rows of each for recall to be fair. neighbours: k; 5 as
    Naeem et al. take it (Kynkäänniemi et al. take 3 for precision and recall). A row on the surface
    of a ball is in it, so that recurring rows, whose balls have no width, still cover one another.
    Raises ValueError for other shapes, numbers that are not finite, and too few rows for k.
    """
    check_features(real, fake)
    if not 1 <= neighbours < min(len(real), len(fake)):
        raise ValueError(
            f"neighbours must be from 1 to {min(len(real), len(fake)) - 1}, one less than the"
            f" rows, got {neighbours}"
        )
    real_radii = neighbour_distances(real, neighbours)
    fake_radii = neighbour_distances(fake, neighbours)
    in_real_balls = np.zeros(len(fake), np.int64)
    covered = np.zeros(len(real), bool)
    recalled = np.zeros(len(real), bool)
    # By differences: whether rows that recur are in a ball of no width must not hang on rounding.
    for rows, squares in blocks(real, fake):
        in_balls = squares <= real_radii[rows, None]
        in_real_balls += in_balls.sum(0)
        covered[rows] = in_balls.any(1)
        recalled[rows] = (squares <= fake_radii).any(1)
    return ManifoldQuality(
        precision=float((in_real_balls > 0).mean()),
        recall=float(recalled.mean()),
        density=float(in_real_balls.mean() / neighbours),
        coverage=float(covered.mean()),
    )
