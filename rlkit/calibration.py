"""Whether predicted chances are kept: Brier score, calibration error, reliability, Wilson interval.

Pure functions on pairs of a chance and what became of it. Brier 1950, "Verification of forecasts
expressed in terms of probability"; Guo et al. 2017, "On calibration of modern neural networks";
Wilson 1927, "Probable inference, the law of succession, and statistical inference".
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 15
"""Of equal width, as Guo et al. 2017 have them."""


@dataclass(frozen=True)
class ReliabilityBin:
    """Predictions whose chances lie above `low` and at or below `high`; the first holds 0 too."""

    low: float
    high: float
    count: int
    """Predictions."""
    mean_chance: float | None
    """Their mean; None without any."""
    share: float | None
    """Of them that came true; None without any."""
    share_ci95: tuple[float, float] | None
    """Wilson interval of that share; None without any."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        interval = None if self.share_ci95 is None else list(self.share_ci95)
        return {**vars(self), "share_ci95": interval}


def brier_score(chances: ArrayLike, successes: ArrayLike) -> float:
    """Mean squared difference between chance and outcome, from 0, the best, to 1 (Brier 1950).

    Half of Brier's own sum over both outcomes, as is usual for two. chances: (predictions,) in
    [0, 1]. successes: (predictions,) bool, or 0 and 1.
    Raises ValueError for no predictions, unlike lengths, and values out of range.
    """
    predicted, true = _checked(chances, successes)
    return float(((predicted - true) ** 2).mean())


def expected_calibration_error(chances: ArrayLike, successes: ArrayLike, bins: int = BINS) -> float:
    """Mean distance between chance and share of successes over bins, by count (Guo 2017, eq. 3).

    Arguments and errors as `brier_score`; bins: at least 1, of equal width.
    """
    table = reliability_table(chances, successes, bins)
    total = sum(row.count for row in table)
    return sum(
        row.count / total * abs(row.mean_chance - row.share)
        for row in table
        if row.mean_chance is not None and row.share is not None
    )


def reliability_table(
    chances: ArrayLike, successes: ArrayLike, bins: int = BINS
) -> tuple[ReliabilityBin, ...]:
    """What became of predictions, bin by bin: a reliability diagram as numbers (Guo 2017, eq. 1).

    Arguments and errors as `expected_calibration_error`.
    """
    predicted, true = _checked(chances, successes)
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    edges = np.linspace(0.0, 1.0, bins + 1)
    number = np.searchsorted(edges[1:-1], predicted)  # a bin holds its upper edge
    counts = np.bincount(number, minlength=bins)
    chance_sums = np.bincount(number, predicted, bins)
    success_sums = np.bincount(number, true, bins)
    return tuple(
        ReliabilityBin(
            float(edges[i]),
            float(edges[i + 1]),
            int(count),
            float(chance_sums[i] / count) if count else None,
            float(success_sums[i] / count) if count else None,
            wilson_interval(int(success_sums[i]), int(count)) if count else None,
        )
        for i, count in enumerate(counts)
    )


def wilson_interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a share of independent trials (Wilson 1927), within [0, 1] and never of no width.

    Raises ValueError for fewer than 1 trial, successes outside 0 to trials, and a level outside
    (0, 1).
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"an interval needs 1 trial or more, got {successes} of {trials}")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    z = NormalDist().inv_cdf(0.5 + level / 2.0)
    share, shrunk = successes / trials, 1.0 + z * z / trials
    middle = (share + z * z / (2.0 * trials)) / shrunk
    half = z / shrunk * np.sqrt(share * (1.0 - share) / trials + (z / (2.0 * trials)) ** 2)
    # Rounding may leave the end that is 0 or 1 a hair inside or outside.
    low = 0.0 if successes == 0 else float(middle - half)
    return low, 1.0 if successes == trials else float(middle + half)


def _checked(
    chances: ArrayLike, successes: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    predicted, true = np.asarray(chances, np.float64), np.asarray(successes, np.float64)
    if predicted.ndim != 1 or predicted.shape != true.shape:
        raise ValueError(
            f"chances and successes must be (predictions,) each, got shapes {predicted.shape} and "
            f"{true.shape}"
        )
    if not len(predicted):
        raise ValueError("calibration needs at least one prediction, got none")
    outside = ~((predicted >= 0.0) & (predicted <= 1.0))
    if outside.any():
        raise ValueError(f"chances must be from 0 to 1, got {predicted[outside][0]}")
    if not np.isin(true, (0.0, 1.0)).all():
        raise ValueError(f"successes must be 0 or 1, got {true[~np.isin(true, (0.0, 1.0))][0]}")
    return predicted, true
