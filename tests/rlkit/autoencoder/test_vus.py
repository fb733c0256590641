"""VUS-PR against its definition, written down slowly, numbers worked out by hand, and those of the
benchmark TSB-AD."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from rlkit.autoencoder.anomalies.vus import vus_pr


def events_of(labels: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last step of each event."""
    events: list[tuple[int, int]] = []
    for step, label in enumerate(labels):
        if label and step and labels[step - 1]:
            events[-1] = (events[-1][0], step)
        elif label:
            events.append((step, step))
    return events


def slow_area(
    labels: NDArray[np.bool_], scores: NDArray[np.float64], buffer: int, thresholds: list[float]
) -> float:
    """The area for one buffer, threshold by threshold and stamp by stamp."""
    half = buffer // 2
    events = events_of(labels)
    weights: list[float] = []
    for step in range(len(labels)):
        weight = 0.0
        for first, last in events:
            distance = max(first - step, step - last, 0)
            if distance == 0:
                weight += 1
            elif distance <= half:
                weight += (1 - distance / buffer) ** 0.5
        weights.append(min(1.0, weight))
    regions: list[list[int]] = []
    for first, last in events:
        if regions and regions[-1][1] >= first - half:
            regions[-1][1] = last + half
        else:
            regions.append([first - half, last + half])
    area = recall_before = 0.0
    for threshold in thresholds:
        above = [step for step in range(len(labels)) if scores[step] >= threshold]
        true_positives = sum(weights[step] for step in above)
        in_buffers = sum(weights[step] for step in above if not labels[step])
        positives = (2 * sum(labels) + in_buffers) / 2
        found = [any(first <= step <= last for step in above) for first, last in regions]
        recall = min(1.0, true_positives / positives) * sum(found) / len(regions)
        area += (recall - recall_before) * true_positives / len(above)
        recall_before = recall
    return area


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_it_agrees_with_the_slow_definition(data: st.DataObject) -> None:
    labels = np.array(data.draw(st.lists(st.booleans(), min_size=2, max_size=35)), bool)
    labels[0], labels[-1] = data.draw(st.sampled_from([(0, 1), (1, 0)]))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    # Rounded scores have ties.
    scores = np.round(random.normal(size=len(labels)) + labels, data.draw(st.integers(0, 3)))
    max_buffer = data.draw(st.integers(0, 12))
    falling = sorted(scores, reverse=True)
    every = [slow_area(labels, scores, buffer, falling) for buffer in range(max_buffer + 1)]
    got = vus_pr(labels, scores, max_buffer=max_buffer, thresholds=None)
    assert got == pytest.approx(np.mean(every), abs=1e-12)
    few = [falling[int(place)] for place in np.linspace(0, len(labels) - 1, 5)]
    some = [slow_area(labels, scores, buffer, few) for buffer in range(max_buffer + 1)]
    got = vus_pr(labels, scores, max_buffer=max_buffer, thresholds=5)
    assert got == pytest.approx(np.mean(some), abs=1e-12)


@pytest.mark.parametrize(
    ("steps", "events", "buffer", "expected"),
    [
        (120, [(40, 55)], 20, 0.7747117276577978),
        (600, [(50, 60), (64, 80), (300, 340), (590, 600)], 24, 0.754780526684973),
        (2000, [(0, 7), (900, 1300), (1310, 1312)], 100, 0.7438791994066517),
    ],
)
def test_it_is_what_the_reference_gives(
    steps: int, events: list[tuple[int, int]], buffer: int, expected: float
) -> None:
    """`generate_curve(labels, scores, buffer, "opt", 250)` of TSB-AD at commit 87630099."""
    labels = np.zeros(steps, bool)
    for start, stop in events:
        labels[start:stop] = True
    waves = np.sin(0.37 * np.arange(steps) ** 2)
    scores = np.round(waves + 0.8 * labels + 0.5 * np.roll(labels, 3), 2)
    assert vus_pr(labels, scores, max_buffer=buffer) == pytest.approx(expected, abs=1e-12)


def test_one_event_without_buffer_has_its_average_precision() -> None:
    random = np.random.default_rng(0)
    labels = np.zeros(300, bool)
    labels[100:140] = True
    scores = random.normal(size=300) + labels
    expected = average_precision_score(labels, scores)
    assert vus_pr(labels, scores, max_buffer=0, thresholds=None) == pytest.approx(expected)


def test_a_late_detection_worked_out_by_hand() -> None:
    # The event is step 2; step 3 alone scores high, then all others together.
    labels = np.array([0, 0, 1, 0, 0], bool)
    scores = np.array([0, 0, 0, 1, 0.0])
    # Buffers of 0 and 1 reach no step beside the event: nothing is found at first, then all is,
    # one step in five being right.
    without = 1 / 5
    # A buffer of 2 reaches one step: steps 1 and 3 weigh sqrt(1 - 1/2).
    near = np.sqrt(0.5)
    first_recall = near / (1 + near / 2)
    # All steps: TP is 1 + 2 near, more than 1 + near, so recall is 1.
    with_buffer = first_recall * near + (1 - first_recall) * (1 + 2 * near) / 5
    got = vus_pr(labels, scores, max_buffer=2, thresholds=None)
    assert got == pytest.approx((2 * without + with_buffer) / 3)


def test_recall_is_cut_by_the_share_of_events_found() -> None:
    # Two events of one step; one scores highest, the other lowest of all.
    labels = np.array([1, 0, 0, 1], bool)
    scores = np.array([4.0, 3, 2, 1])
    # Recall 1/2 by steps times 1/2 by events at precision 1, and the rest at 2/4.
    assert vus_pr(labels, scores, max_buffer=0, thresholds=None) == 0.25 * 1 + 0.75 * 0.5


def test_order_alone_counts() -> None:
    random = np.random.default_rng(1)
    labels = np.zeros(400, bool)
    labels[50:80] = labels[200:220] = True
    scores = random.normal(size=400) + labels
    expected = vus_pr(labels, scores, max_buffer=20)
    assert vus_pr(labels, np.exp(scores), max_buffer=20) == pytest.approx(expected, abs=1e-15)
    assert vus_pr(labels, labels.astype(float), max_buffer=0, thresholds=None) == 1


def test_numbers_out_of_range_are_refused() -> None:
    labels = np.array([0, 1], bool)
    with pytest.raises(ValueError, match="got -1"):
        vus_pr(labels, np.zeros(2), max_buffer=-1)
    with pytest.raises(ValueError, match="got 1"):
        vus_pr(labels, np.zeros(2), thresholds=1)
