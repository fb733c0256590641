"""When a detector alarms: its threshold, and what the threshold was set for and on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.alarms import SECONDS_PER_WEEK, threshold_for


@dataclass(frozen=True)
class AlarmRule:
    """A threshold with its origin. Raises ValueError for what cannot be."""

    threshold: float
    """An alarm is on where a score is above it."""
    merge_gap: int
    """Stretches with at most so many steps between them are one alarm, at least 0."""
    alarms_per_week: float
    """False alarms that were accepted, at least 0."""
    normal_weeks: float
    """Length of the normal series on which the threshold was set, above 0."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.threshold):
            raise ValueError(f"threshold must be finite, got {self.threshold}")
        if self.merge_gap < 0:
            raise ValueError(f"merge_gap must be at least 0 steps, got {self.merge_gap}")
        if not 0 <= self.alarms_per_week < math.inf:
            raise ValueError(f"alarms_per_week must be at least 0, got {self.alarms_per_week}")
        if not 0 < self.normal_weeks < math.inf:
            raise ValueError(f"normal_weeks must be above 0, got {self.normal_weeks}")


def learn_rule(
    normal_scores: Sequence[NDArray[np.float64]],
    *,
    step_seconds: float,
    alarms_per_week: float,
    merge_gap: int,
) -> AlarmRule:
    """The rule at whose threshold normal series have no more alarms than wanted.

    Arguments and errors as `threshold_for`; normal_scores: (time,) each.
    """
    threshold = threshold_for(
        normal_scores,
        step_seconds=step_seconds,
        alarms_per_week=alarms_per_week,
        merge_gap=merge_gap,
    )
    weeks = sum(map(len, normal_scores)) * step_seconds / SECONDS_PER_WEEK
    return AlarmRule(threshold, merge_gap, alarms_per_week, weeks)
