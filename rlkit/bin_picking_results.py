"""What is told of a picker's episodes: success with its interval, outcomes, speed, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlkit.bin_picking_evaluation import Episode
from rlkit.calibration import (
    brier_score,
    expected_calibration_error,
    reliability_table,
    wilson_interval,
)
from rlkit_envs.bin_picking.episode import OUTCOMES

_RESAMPLES = 5_000


def success_interval(
    successes: ArrayLike, attempts: ArrayLike, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Interval of all successes over all attempts: percentile bootstrap over episodes.

    Attempts of one episode are alike, so whole episodes are drawn (Davison & Hinkley 1997, 3.8).
    Where that shows nothing, as there is one episode or all have the same share, it is Wilson's.
    successes, attempts: (episodes,) counts. The same seed gives the same interval.
    Raises ValueError for no attempts.
    """
    good, made = np.asarray(successes), np.asarray(attempts)
    if np.unique(good / np.maximum(made, 1)).size < 2:
        return wilson_interval(int(good.sum()), int(made.sum()), level)
    drawn = np.random.default_rng(seed).integers(len(made), size=(_RESAMPLES, len(made)))
    shares = good[drawn].sum(1) / made[drawn].sum(1)
    low, high = np.quantile(shares, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)


def describe_episodes(episodes: Sequence[Episode]) -> dict[str, Any]:
    """Plain JSON data on the episodes of one picker, at least one.

    `success` (share of all attempts) and `success_ci95`; `outcomes`, name -> share of all attempts;
    `cleared`, share of episodes; `parts_left`, their mean; `picks_per_hour`, all successes over all
    hours of the cycle model; `returns`, `lengths` and `counts` by episode; `calibration`, None
    for pickers that tell no chances, else of the `chosen` pixels and of `random_pixels` on parts.
    """
    outcomes = np.concatenate([episode.outcomes for episode in episodes])
    good = np.array([episode.successes.sum() for episode in episodes])
    made = np.array([len(episode.outcomes) for episode in episodes])
    counts = {
        name: [float(episode.counts[name]) for episode in episodes] for name in episodes[0].counts
    }
    hours = sum(float(episode.cycle_s.sum()) for episode in episodes) / 3600.0
    return {
        "episodes": len(episodes),
        "attempts": len(outcomes),
        "success": float(good.sum() / made.sum()),
        "success_ci95": list(success_interval(good, made)),
        "outcomes": {
            outcome.value: float((outcomes == number).mean())
            for number, outcome in enumerate(OUTCOMES)
        },
        "cleared": float(np.mean(counts["cleared"])),
        "parts_left": float(np.mean(counts["parts_left"])),
        "picks_per_hour": float(good.sum()) / hours if hours > 0.0 else 0.0,
        "returns": good.astype(float).tolist(),
        "lengths": made.tolist(),
        "counts": counts,
        "calibration": _calibration(episodes),
    }


def _calibration(episodes: Sequence[Episode]) -> dict[str, Any] | None:
    chances = np.concatenate([episode.chances for episode in episodes])
    if not len(chances):
        return None
    random = np.concatenate([episode.random_chances for episode in episodes])
    return {
        "chosen": _kept(chances, np.concatenate([e.successes for e in episodes])),
        "random_pixels": _kept(random, np.concatenate([e.random_successes for e in episodes]))
        if len(random)
        else None,
    }


def _kept(chances: NDArray[np.float64], successes: NDArray[np.bool_]) -> dict[str, Any]:
    return {
        "count": len(chances),
        "mean_chance": float(chances.mean()),
        "success": float(successes.mean()),
        "brier": brier_score(chances, successes),
        "ece": expected_calibration_error(chances, successes),
        "reliability": [row.to_json() for row in reliability_table(chances, successes)],
    }
