"""Alarms: the threshold by the false alarms that an operator accepts, and what alarms have found.

An alarm is a maximal run of scores above the threshold; runs with few steps between them are one.
It speaks of the event in which it starts, and of no other: an alarm that was on before an event
began has not found it. So neither a detector that always alarms nor one that flickers looks good.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.runs import runs_of
from rlkit.autoencoder.anomalies.series import Event, Series

SECONDS_PER_WEEK = 7 * 24 * 3600


@dataclass(frozen=True)
class Alarm:
    """On from step start (included) to stop (excluded)."""

    start: int
    stop: int


@dataclass(frozen=True)
class Detection:
    """What became of an event."""

    event: Event
    delay: int | None
    """Steps from the event's start to that of the first alarm within it; None where it was
    missed."""


@dataclass(frozen=True)
class DelaySummary:
    """Of the events of one severity."""

    events: int
    missed: int
    median_delay_seconds: float | None
    """Of those found; None where all were missed."""

    @property
    def recall(self) -> float:
        """Share of events found."""
        return 1 - self.missed / self.events


@dataclass(frozen=True)
class AlarmReport:
    """How alarms at one threshold did on labelled series."""

    threshold: float
    events: int
    found: int
    false_alarms: int
    """Alarms that started outside of events."""
    normal_weeks: float
    """Time outside of events, in weeks."""
    by_severity: dict[str, DelaySummary]
    """Of the events of each severity, in the order in which they are met."""

    @property
    def event_recall(self) -> float:
        """Share of events found, 0 to 1; NaN without events."""
        return self.found / self.events if self.events else math.nan

    @property
    def false_alarms_per_week(self) -> float:
        """Of time outside of events; NaN without such time."""
        return self.false_alarms / self.normal_weeks if self.normal_weeks else math.nan


def alarms_of(
    scores: NDArray[np.float64], threshold: float, *, merge_gap: int = 0
) -> tuple[Alarm, ...]:
    """The alarms in a row of scores, (time,), in order.

    threshold: an alarm is on where a score is above it. merge_gap: runs with at most so many steps
    between them are one alarm, at least 0. Raises ValueError for a negative merge_gap, scores of
    another shape or NaN.
    """
    scores = _checked(scores, merge_gap)
    starts, stops = runs_of(scores > threshold)
    apart = starts[1:] - stops[:-1] > merge_gap
    first = starts[np.concatenate(([True], apart))] if len(starts) else starts
    last = stops[np.concatenate((apart, [True]))] if len(stops) else stops
    return tuple(Alarm(int(start), int(stop)) for start, stop in zip(first, last, strict=True))


def alarmed(
    scores: NDArray[np.float64], threshold: float, *, merge_gap: int = 0
) -> NDArray[np.bool_]:
    """(time,), True where one of `alarms_of` is on, the gaps within it included."""
    on = np.zeros(len(scores), bool)
    for alarm in alarms_of(scores, threshold, merge_gap=merge_gap):
        on[alarm.start : alarm.stop] = True
    return on


def threshold_for(
    normal_scores: Sequence[NDArray[np.float64]],
    *,
    step_seconds: float,
    alarms_per_week: float,
    merge_gap: int = 0,
) -> float:
    """The lowest threshold at and above which normal series have no more alarms than wanted.

    normal_scores: of series without anomalies, (time,) each, best of such as the detector was not
    fitted to. step_seconds: between two samples. alarms_per_week: wanted at most, at least 0; the
    count over all series is rounded down, so less normal time than one alarm takes gives the
    highest normal score: a threshold can be no surer than the data it is set on. merge_gap: as in
    `alarms_of`.

    Above the returned threshold every other has no more alarms than wanted either. Below it the
    count may fall again as alarms grow together; that is no reason to go there. For the same
    reason the threshold is never below the median of all normal scores.

    Raises ValueError where there is no score, a score is NaN, or a number is out of its range.
    """
    if not step_seconds > 0:
        raise ValueError(f"step_seconds must be above 0, got {step_seconds}")
    if not 0 <= alarms_per_week < math.inf:
        raise ValueError(f"alarms_per_week must be at least 0, got {alarms_per_week}")
    parts = [_checked(scores, merge_gap) for scores in normal_scores]
    steps = sum(map(len, parts))
    if not steps:
        raise ValueError("a threshold needs scores of normal series, and there are none")
    wanted = math.floor(alarms_per_week * steps * step_seconds / SECONDS_PER_WEEK + 1e-9)
    scores = np.concatenate(parts)
    floor = float(np.median(scores))
    falling = np.argsort(-scores, kind="stable")
    falling = falling[scores[falling] > floor]
    places = _places_in_one_row(parts, merge_gap)[falling]
    counts = _alarm_counts(places.tolist(), merge_gap)
    # Equal scores go on together: the last of them tells the count.
    levels = scores[falling]
    last = np.flatnonzero(np.diff(levels, append=-np.inf) < 0)
    too_many = last[counts[last] > wanted]
    return float(levels[too_many[0]]) if len(too_many) else floor


def _places_in_one_row(parts: Sequence[NDArray[np.float64]], merge_gap: int) -> NDArray[np.int64]:
    """Where each score is when series follow one another, too far apart to share an alarm."""
    starts = np.cumsum([0, *(len(part) + merge_gap + 1 for part in parts[:-1])])
    return np.concatenate(
        [start + np.arange(len(part)) for start, part in zip(starts, parts, strict=True)]
    )


def _alarm_counts(places: Sequence[int], merge_gap: int) -> NDArray[np.int64]:
    """How many alarms there are when steps go on one after the other: (places,)."""
    reach = merge_gap + 1
    on = bytearray(max(places, default=0) + 2 * reach + 1)
    counts = np.zeros(len(places), np.int64)
    alarms = 0
    for i, place in enumerate(places):
        here = place + reach
        left = on.rfind(1, here - reach, here)
        right = on.find(1, here + 1, here + 1 + reach)
        alarms += 1 - (left >= 0) - (right >= 0)
        # Both were one alarm already.
        alarms += left >= 0 and right >= 0 and right - left <= reach
        on[here] = 1
        counts[i] = alarms
    return counts


def detections(alarms: Sequence[Alarm], events: Iterable[Event]) -> tuple[Detection, ...]:
    """What became of each event: found by the first alarm that starts within it, or missed."""
    starts = np.array([alarm.start for alarm in alarms], np.int64)
    found: list[Detection] = []
    for event in events:
        within = starts[(starts >= event.start) & (starts < event.stop)]
        found.append(Detection(event, int(within.min()) - event.start if len(within) else None))
    return tuple(found)


def false_alarms(alarms: Iterable[Alarm], events: Sequence[Event]) -> tuple[Alarm, ...]:
    """The alarms that start outside of all events."""
    return tuple(alarm for alarm in alarms if event_of(alarm, events) is None)


def event_of(alarm: Alarm, events: Iterable[Event]) -> Event | None:
    """The event in which an alarm starts, and which it has thereby found, if any."""
    return next((each for each in events if each.start <= alarm.start < each.stop), None)


def check_scores(series: Series, scores: NDArray[np.float64]) -> None:
    """Raise ValueError unless scores are (time,) of their series."""
    if np.shape(scores) != (len(series),):
        raise ValueError(
            f"series {series.name!r} of {len(series)} steps has scores of shape {np.shape(scores)}"
        )


def delays_by_severity(
    found: Iterable[Detection], *, step_seconds: float
) -> dict[str, DelaySummary]:
    """Events, misses and the median delay of each severity, in the order in which they are met.

    Misses are counted apart: a median over found events alone does not know of them.
    """
    delays: dict[str, list[int | None]] = {}
    for each in found:
        delays.setdefault(each.event.severity, []).append(each.delay)
    summaries: dict[str, DelaySummary] = {}
    for severity, all_delays in delays.items():
        known = [delay for delay in all_delays if delay is not None]
        median = float(np.median(known)) * step_seconds if known else None
        summaries[severity] = DelaySummary(len(all_delays), len(all_delays) - len(known), median)
    return summaries


def judge_alarms(
    scored: Sequence[tuple[Series, NDArray[np.float64]]], threshold: float, *, merge_gap: int = 0
) -> AlarmReport:
    """How alarms at `threshold` do on labelled series.

    scored: series with their scores, (time,). With a threshold of `threshold_for` the report's
    event_recall is that at a fixed number of false alarms a week; how many there were in these
    series stands beside it. Raises ValueError where scores do not fit their series, or series have
    different times between samples.
    """
    if len({series.step_seconds for series, _ in scored}) > 1:
        raise ValueError("the series have different times between samples")
    found: list[Detection] = []
    wrong = 0
    normal_seconds = 0.0
    for series, scores in scored:
        check_scores(series, scores)
        alarms = alarms_of(scores, threshold, merge_gap=merge_gap)
        found.extend(detections(alarms, series.events))
        wrong += len(false_alarms(alarms, series.events))
        normal_seconds += np.count_nonzero(~series.labels) * series.step_seconds
    step_seconds = scored[0][0].step_seconds if scored else 1.0
    return AlarmReport(
        threshold,
        events=len(found),
        found=sum(each.delay is not None for each in found),
        false_alarms=wrong,
        normal_weeks=normal_seconds / SECONDS_PER_WEEK,
        by_severity=delays_by_severity(found, step_seconds=step_seconds),
    )


def _checked(scores: NDArray[np.float64], merge_gap: int) -> NDArray[np.float64]:
    if merge_gap < 0:
        raise ValueError(f"merge_gap must be at least 0 steps, got {merge_gap}")
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 1:
        raise ValueError(f"scores of shape {scores.shape} are not (time,)")
    if np.isnan(scores).any():
        raise ValueError(f"the score of step {int(np.flatnonzero(np.isnan(scores))[0])} is NaN")
    return scores
