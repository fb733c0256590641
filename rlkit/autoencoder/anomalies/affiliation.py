"""Affiliation precision and recall of alarms, Huet et al. 2022.

"Local Evaluation of Time Series Anomaly Detection Algorithms", KDD 2022. Time is cut into one zone
for each event, half-way to its neighbours. Within a zone [a, b] with the event [s, e], X being
uniform over the zone:

    precision = mean over predicted x of P(dist(X, event) > dist(x, event)), 1 within the event
    recall    = mean over y in the event of P(|X - y| > dist(y, predictions in the zone))

so 1 is as near as can be, and what a random point would get is about a half. The figure is lenient:
a prediction of everything has recall 1 and a precision above a half, so read it beside the others.
A step i is the interval [i, i + 1); all integrals are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.runs import runs_of


@dataclass(frozen=True)
class Affiliation:
    """Means over events."""

    precision: float
    """0 to 1, over the events in whose zone something was predicted; NaN where nothing was."""
    recall: float
    """0 to 1, over all events; 0 for one in whose zone nothing was predicted."""

    @property
    def f1(self) -> float:
        """Harmonic mean of both, 0 to 1; 0 where nothing was predicted."""
        if not self.recall > 0:
            return 0.0
        return 2 * self.precision * self.recall / (self.precision + self.recall)


def affiliation(labels: NDArray[np.bool_], predictions: NDArray[np.bool_]) -> Affiliation:
    """Affiliation precision and recall.

    labels: (time,), True within events. predictions: (time,), True where an alarm is on.
    Raises ValueError where shapes differ or there is no event.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.ndim != 1 or labels.shape != predictions.shape:
        raise ValueError(
            f"labels {labels.shape} and predictions {predictions.shape} are not both (time,)"
        )
    if not labels.any():
        raise ValueError("there is no event; affiliation needs at least one")
    starts, stops = runs_of(labels)
    borders = np.concatenate(([0], (stops[:-1] + starts[1:]) / 2, [len(labels)]))
    predicted = [edges.astype(np.float64) for edges in runs_of(predictions)]
    precisions: list[float] = []
    recalls: list[float] = []
    for start, stop, low, high in zip(starts, stops, borders[:-1], borders[1:], strict=True):
        first, last = (np.clip(edge, low, high) for edge in predicted)
        within = last > first
        first, last = first[within], last[within]
        if not len(first):
            recalls.append(0.0)
            continue
        precisions.append(_precision(first, last, start, stop, low, high))
        recalls.append(_recall(first, last, start, stop, low, high))
    precision = float(np.mean(precisions)) if precisions else float("nan")
    return Affiliation(precision, float(np.mean(recalls)))


def _precision(
    first: NDArray[np.float64],
    last: NDArray[np.float64],
    start: float,
    stop: float,
    low: float,
    high: float,
) -> float:
    """Of predicted intervals [first, last) within one zone."""
    inside = np.clip(last, start, stop) - np.clip(first, start, stop)
    before = (start - np.minimum(last, start), start - np.minimum(first, start))
    after = (np.maximum(first, stop) - stop, np.maximum(last, stop) - stop)

    def integral(distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of P(dist(X, event) > d) over d from 0 to `distance`."""
        nearer = (stop - start) * distance
        nearer += _capped(distance, start - low) + _capped(distance, high - stop)
        return distance - nearer / (high - low)

    outside = [integral(far) - integral(near) for near, far in (before, after)]
    total = np.sum([inside, *outside])
    return float(total / np.sum(last - first))


def _capped(distance: NDArray[np.float64], cap: float) -> NDArray[np.float64]:
    """The integral of min(d, cap) over d from 0 to `distance`."""
    below = np.minimum(distance, cap)
    return below**2 / 2 + cap * (distance - below)


def _recall(
    first: NDArray[np.float64],
    last: NDArray[np.float64],
    start: float,
    stop: float,
    low: float,
    high: float,
) -> float:
    """Of one event given predicted intervals [first, last) within its zone.

    The probability is piecewise linear over the event. So trapezoids between all places where it
    may bend are exact: edges of predictions, half-way between them, and where a prediction is as
    far as the zone's border.
    """
    bends = np.concatenate(
        (
            first,
            last,
            (last[:-1] + first[1:]) / 2,
            (low + first) / 2,
            (high + last) / 2,
            [start, stop],
        )
    )
    y = np.unique(np.clip(bends, start, stop))
    newest = np.searchsorted(first, y, side="right") - 1
    since = np.where(newest >= 0, np.maximum(y - last[np.maximum(newest, 0)], 0.0), np.inf)
    following = np.minimum(newest + 1, len(first) - 1)
    until = np.where(newest + 1 < len(first), first[following] - y, np.inf)
    distance = np.minimum(since, until)
    nearer = np.minimum(distance, y - low) + np.minimum(distance, high - y)
    probability = 1.0 - nearer / (high - low)
    return float(np.trapezoid(probability, y) / (stop - start))
