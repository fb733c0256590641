"""Volume under the surface of precision and recall (VUS-PR), Paparrizos et al. 2022.

"Volume Under the Surface: A New Accuracy Evaluation Measure for Time-Series Anomaly Detection",
VLDB 15(11), in the form in which the benchmark TSB-AD computes it (Liu and Paparrizos 2024). Around
every event lies a buffer in which a stamp counts as partly anomalous, so that a detection slightly
early or late is not simply wrong. The area under precision over recall is averaged over all buffer
lengths from 0 on, which frees the figure from the choice of one.

For a buffer length l, a stamp d steps from an event, 1 <= d <= floor(l / 2), weighs sqrt(1 - d / l)
(those of several events add up to at most 1). At a threshold, with TP the weight of stamps at or
above it, B the part of TP that lies in buffers, A the count of anomalous stamps and E the share of
events, merged where buffers meet, with a stamp at or above it within the event or its buffer:

    recall = min(1, TP / (A + B / 2)) * E,    precision = TP / stamps at or above the threshold

and the area is the sum of precision times the increments of recall, thresholds falling.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.metrics import check_labels_and_scores
from rlkit.autoencoder.anomalies.runs import runs_of


def vus_pr(
    labels: NDArray[np.bool_],
    scores: NDArray[np.float64],
    *,
    max_buffer: int = 100,
    thresholds: int | None = 250,
) -> float:
    """VUS-PR, 0 to 1: mean of the area under precision over recall over buffers of 0 to max_buffer.

    labels: (time,), True within events. scores: (time,), higher is more anomalous. max_buffer: in
    steps, at least 0; about the length of the pattern that detectors look at. thresholds: so many
    scores, evenly spaced among the sorted ones, at least 2 (250 in TSB-AD); None takes all, which
    is finer where anomalies are rare.

    Raises ValueError for a bad max_buffer or thresholds, and as `check_labels_and_scores`.
    """
    labels, scores = check_labels_and_scores(labels, scores)
    if max_buffer < 0:
        raise ValueError(f"max_buffer must be at least 0 steps, got {max_buffer}")
    if thresholds is not None and thresholds < 2:
        raise ValueError(f"thresholds must be at least 2, or None for all, got {thresholds}")
    rank, at_or_above = _ranks(scores, thresholds)
    areas = [_area(labels, rank, at_or_above, buffer) for buffer in range(max_buffer + 1)]
    return float(np.mean(areas))


def _ranks(
    scores: NDArray[np.float64], thresholds: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first threshold, of falling ones, that each stamp reaches: (time,); and how many stamps
    are at or above each threshold: (thresholds,)."""
    falling = np.sort(scores)[::-1]
    if thresholds is not None:
        # TSB-AD cuts the places off, and so takes the same scores.
        falling = falling[np.linspace(0, len(scores) - 1, thresholds).astype(np.int64)]
    levels = -np.unique(-falling)
    rank = np.searchsorted(-levels, -scores, side="left")
    return rank, np.cumsum(np.bincount(rank, minlength=len(levels)))


def _area(
    labels: NDArray[np.bool_],
    rank: NDArray[np.int64],
    at_or_above: NDArray[np.int64],
    buffer: int,
) -> float:
    """Area under precision over recall for one buffer length."""
    starts, stops = runs_of(labels)
    steps, levels = len(labels), len(at_or_above)
    in_buffer, weights = _buffer_weights(starts, stops, steps, buffer, labels)
    anomalous = np.count_nonzero(labels)
    certain = np.cumsum(np.bincount(rank[labels], minlength=levels))
    partial = np.cumsum(np.bincount(rank[in_buffer], weights=weights, minlength=levels))
    true_positives = certain + partial
    first_found = _first_found(rank, starts, stops, buffer // 2)
    found = np.cumsum(np.bincount(first_found, minlength=levels)) / len(first_found)
    recall = np.minimum(true_positives / (anomalous + partial / 2), 1.0) * found
    return float(np.sum(np.diff(recall, prepend=0.0) * true_positives / at_or_above))


def _buffer_weights(
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    steps: int,
    buffer: int,
    labels: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Stamps in buffers, without those in events, and what they weigh."""
    distances = np.arange(1, buffer // 2 + 1)
    weight = np.sqrt(1.0 - distances / max(buffer, 1))
    before = starts[:, None] - distances
    after = stops[:, None] - 1 + distances
    stamps = np.concatenate((before, after)).ravel()
    weights = np.tile(weight, 2 * len(starts))
    inside = (stamps >= 0) & (stamps < steps)
    inside[inside] = ~labels[stamps[inside]]
    unique, place = np.unique(stamps[inside], return_inverse=True)
    total = np.bincount(place, weights=weights[inside], minlength=len(unique))
    return unique, np.minimum(total, 1.0)


def _first_found(
    rank: NDArray[np.int64], starts: NDArray[np.int64], stops: NDArray[np.int64], half: int
) -> NDArray[np.int64]:
    """(events,) after those whose buffers share a stamp are merged: the first threshold at which
    some stamp of event or buffer is found."""
    apart = stops[:-1] - 1 + half < starts[1:] - half
    first = np.maximum(starts[np.concatenate(([True], apart))] - half, 0)
    last = np.minimum(stops[np.concatenate((apart, [True]))] - 1 + half, len(rank) - 1)
    # reduceat takes from each index to the next: every second piece is a region.
    padded = np.append(rank, np.iinfo(np.int64).max)
    edges = np.stack((first, last + 1), axis=1).ravel()
    return np.minimum.reduceat(padded, edges)[::2]
