"""Affiliation against its definition on a fine grid, numbers worked out by hand, and those of its
authors' own package."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.affiliation import affiliation


def flags(text: str) -> NDArray[np.bool_]:
    return np.array([letter == "1" for letter in text], bool)


def slow_affiliation(
    labels: NDArray[np.bool_], predictions: NDArray[np.bool_], cells: int
) -> tuple[float, float]:
    """Every step cut into `cells`, the probabilities counted over their middles."""
    starts = [i for i in range(len(labels)) if labels[i] and (i == 0 or not labels[i - 1])]
    stops = [i + 1 for i in range(len(labels)) if labels[i] and not labels[i + 1 : i + 2].any()]
    middles = (np.arange(cells * len(labels)) + 0.5) / cells
    predicted = middles[np.repeat(predictions, cells)]
    precisions: list[float] = []
    recalls: list[float] = []
    for k, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        low = (stops[k - 1] + start) / 2 if k else 0
        high = (stop + starts[k + 1]) / 2 if k + 1 < len(starts) else len(labels)
        zone = middles[(low < middles) & (middles < high)]
        near = predicted[(low < predicted) & (predicted < high)]
        if not len(near):
            recalls.append(0.0)
            continue

        def from_event(x: NDArray[np.float64], start: int = start, stop: int = stop):
            return np.maximum(np.maximum(start - x, x - stop), 0)

        random_distances = from_event(zone)
        precision: list[float] = []
        for distance in from_event(near):
            farther = np.mean(random_distances > distance)
            precision.append(1.0 if distance == 0 else float(farther))
        precisions.append(float(np.mean(precision)))
        recall: list[float] = []
        for y in middles[(start < middles) & (middles < stop)]:
            # From the middles of cells, a cell's half away from their edges.
            distance = max(np.abs(near - y).min() - 0.5 / cells, 0)
            recall.append(float(np.mean(np.abs(zone - y) > distance)))
        recalls.append(float(np.mean(recall)))
    return float(np.mean(precisions)) if precisions else math.nan, float(np.mean(recalls))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_it_agrees_with_the_definition_on_a_grid(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 14))
    row = st.lists(st.booleans(), min_size=size, max_size=size)
    labels, predictions = np.array(data.draw(row)), np.array(data.draw(row))
    labels[data.draw(st.integers(0, size - 1))] = True
    got = affiliation(labels, predictions)
    precision, recall = slow_affiliation(labels, predictions, cells=60)
    assert got.recall == pytest.approx(recall, abs=0.03)
    assert got.precision == pytest.approx(precision, abs=0.03, nan_ok=True)


@pytest.mark.parametrize(
    ("steps", "events", "level", "precision", "recall"),
    [
        (120, [(40, 55)], 0.98, 0.5523148148148148, 0.9738888888888889),
        (
            600,
            [(50, 60), (64, 80), (300, 340), (590, 600)],
            0.99,
            0.5125700282393831,
            0.907692613270431,
        ),
        (
            2000,
            [(0, 7), (900, 1300), (1310, 1312)],
            0.995,
            0.5254176839094179,
            0.9679342125253475,
        ),
    ],
)
def test_it_is_what_the_reference_gives(
    steps: int,
    events: list[tuple[int, int]],
    level: float,
    precision: float,
    recall: float,
) -> None:
    """`pr_from_events` of affiliation-metrics-py at commit 8d844985."""
    labels = np.zeros(steps, bool)
    for start, stop in events:
        labels[start:stop] = True
    got = affiliation(labels, np.round(np.sin(0.37 * np.arange(steps) ** 2), 2) > level)
    assert got.precision == pytest.approx(precision, abs=1e-12)
    assert got.recall == pytest.approx(recall, abs=1e-12)


def test_a_prediction_beside_the_event_worked_out_by_hand() -> None:
    # One event [2, 4) in the zone [0, 6); predicted is [4, 5).
    got = affiliation(flags("001100"), flags("000010"))
    # x in [4, 5) is d = x - 4 away; P(dist(X) > d) = (2 - d + 2 - d) / 6, whose mean is 1/2.
    assert got.precision == pytest.approx(1 / 2)
    # y in [2, 4) is 4 - y away; P(|X - y| > 4 - y) = 1 - 2 (4 - y) / 6, whose mean is 2/3, as 4 - y
    # never is more than y.
    assert got.recall == pytest.approx(2 / 3)
    assert got.f1 == pytest.approx(2 * (1 / 2) * (2 / 3) / (1 / 2 + 2 / 3))


def test_zones_part_half_way_between_events() -> None:
    # Events [0, 1) and [5, 6) part at 3. The prediction [2, 4) is half in either zone.
    got = affiliation(flags("100001"), flags("001100"))
    # In [0, 3) with the event [0, 1): x is d = x - 1 in [1, 2) away, P(dist(X) > d) = (2 - d) / 3,
    # mean 1/6; the other zone mirrors it.
    assert got.precision == pytest.approx(1 / 6)
    # y in [0, 1) is 2 - y away from [2, 3); of [0, 3), y itself lies on the left, so
    # P(|X - y| > 2 - y) = 1 - (min(2 - y, y) + (2 - y)) / 3 = 1 - 2 / 3.
    assert got.recall == pytest.approx(1 / 3)


def test_perfect_and_absent_predictions() -> None:
    labels = flags("0110001000")
    perfect = affiliation(labels, labels)
    assert (perfect.precision, perfect.recall, perfect.f1) == (1, 1, 1)
    nothing = affiliation(labels, np.zeros(10, bool))
    assert math.isnan(nothing.precision)
    assert (nothing.recall, nothing.f1) == (0, 0)
    # A zone without predictions counts in recall alone.
    half = affiliation(labels, flags("0110000000"))
    assert (half.precision, half.recall) == (1, 0.5)


def test_predicting_everything_has_full_recall_and_more_than_half_precision() -> None:
    got = affiliation(flags("0000110000"), np.ones(10, bool))
    assert got.recall == 1
    # 2 of 10 within the event at 1; else (8 - 2 d) / 10 over d in [0, 4), mean 4/10.
    assert got.precision == pytest.approx(0.2 + 0.8 * 0.4)


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no event"):
        affiliation(flags("000"), flags("010"))
    with pytest.raises(ValueError, match=r"labels \(3,\) and predictions \(2,\)"):
        affiliation(flags("010"), flags("01"))
