"""Thresholds by false alarms a week, and what alarms find."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.alarms import (
    SECONDS_PER_WEEK,
    Alarm,
    alarmed,
    alarms_of,
    delays_by_severity,
    detections,
    false_alarms,
    judge_alarms,
    threshold_for,
)
from rlkit.autoencoder.anomalies.series import Event, Series

DAY = 24 * 3600.0


def row(text: str) -> NDArray[np.float64]:
    return np.array([float(digit) for digit in text])


def test_runs_above_the_threshold_are_alarms() -> None:
    assert alarms_of(row("0230420"), 1) == (Alarm(1, 3), Alarm(4, 6))
    assert alarms_of(row("0230420"), 3) == (Alarm(4, 5),)  # at the threshold is not above it
    assert alarms_of(row("0230420"), 9) == ()


def test_runs_with_few_steps_between_are_one_alarm() -> None:
    scores = row("1001000100")
    assert alarms_of(scores, 0, merge_gap=1) == (Alarm(0, 1), Alarm(3, 4), Alarm(7, 8))
    assert alarms_of(scores, 0, merge_gap=2) == (Alarm(0, 4), Alarm(7, 8))
    assert alarms_of(scores, 0, merge_gap=3) == (Alarm(0, 8),)


def test_steps_between_merged_runs_count_as_alarmed() -> None:
    scores = np.array([0, 2, 0, 2, 0, 0, 0, 2.0])
    told = alarmed(scores, 1.0, merge_gap=1)
    assert told.tolist() == [False, True, True, True, False, False, False, True]
    assert not alarmed(scores, 2.0).any()


def test_a_threshold_worked_out_by_hand() -> None:
    # Two weeks in days: peaks of 9, 7 and 5 over a floor of 1.
    scores = [row("1911711511"), row("1111")]
    wanted = {0: 9.0, 0.5: 7.0, 1: 5.0, 1.4: 5.0, 1.5: 1.0}
    for alarms_per_week, threshold in wanted.items():
        got = threshold_for(scores, step_seconds=DAY, alarms_per_week=alarms_per_week)
        assert got == threshold
        found = sum(len(alarms_of(each, got)) for each in scores)
        assert found == math.floor(2 * alarms_per_week)


def test_an_alarm_does_not_reach_from_one_series_to_the_next() -> None:
    scores = [row("0009"), row("8000")]
    weekly = 2 * 7 / 8 / 2  # one alarm in eight days
    assert threshold_for(scores, step_seconds=DAY, alarms_per_week=weekly, merge_gap=1) == 8
    joined = [np.concatenate(scores)]
    assert threshold_for(joined, step_seconds=DAY, alarms_per_week=weekly, merge_gap=1) == 0


def test_alarms_that_grow_together_lower_no_threshold() -> None:
    # Above 5 there are two alarms, above 4 one long one.
    scores = [row("0006560000")[:7], row("0000000")]
    got = threshold_for(scores, step_seconds=DAY, alarms_per_week=0.5)
    assert got == 6
    # Nor does one that is on for half of the time count as no more than one.
    assert threshold_for([row("33332222")], step_seconds=DAY, alarms_per_week=1) == 2.5
    assert threshold_for([np.ones(14)], step_seconds=DAY, alarms_per_week=1) == 1


@given(st.data())
def test_thresholds_agree_with_trying_all(data: st.DataObject) -> None:
    random = np.random.default_rng(data.draw(st.integers(0, 999)))
    scores = [
        np.round(random.normal(size=size), data.draw(st.integers(0, 1)))
        for size in data.draw(st.lists(st.integers(1, 25), min_size=1, max_size=3))
    ]
    merge_gap = data.draw(st.integers(0, 4))
    wanted = data.draw(st.integers(0, 4))
    every = np.concatenate(scores)
    weekly = wanted * SECONDS_PER_WEEK / len(every)
    floor = float(np.median(every))
    tried = math.nan
    for threshold in sorted({floor, *every[every >= floor].tolist()}, reverse=True):
        if sum(len(alarms_of(each, threshold, merge_gap=merge_gap)) for each in scores) > wanted:
            break
        tried = threshold
    got = threshold_for(scores, step_seconds=1, alarms_per_week=weekly, merge_gap=merge_gap)
    assert got == tried


def test_an_event_is_found_by_the_first_alarm_that_starts_within_it() -> None:
    events = (Event(10, 20), Event(30, 40), Event(50, 60))
    alarms = (Alarm(5, 15), Alarm(12, 14), Alarm(18, 35), Alarm(60, 61))
    assert [each.delay for each in detections(alarms, events)] == [2, None, None]
    # One was on before its event, and one started right after the last.
    assert false_alarms(alarms, events) == (Alarm(5, 15), Alarm(60, 61))


def test_an_alarm_that_is_always_on_finds_nothing() -> None:
    events = (Event(10, 20), Event(30, 40))
    alarms = alarms_of(np.ones(50), 0.5)
    assert [each.delay for each in detections(alarms, events)] == [None, None]
    assert len(false_alarms(alarms, events)) == 1


def test_delays_are_medians_by_severity_with_misses_apart() -> None:
    events = tuple(
        Event(100 * k, 100 * k + 50, severity=severity)
        for k, severity in enumerate(("low", "high", "high", "high", "high"))
    )
    alarms = (Alarm(104, 105), Alarm(210, 300), Alarm(340, 341))
    summaries = delays_by_severity(detections(alarms, events), step_seconds=60)
    assert list(summaries) == ["low", "high"]
    assert (summaries["low"].events, summaries["low"].missed) == (1, 1)
    assert summaries["low"].median_delay_seconds is None
    assert (summaries["high"].events, summaries["high"].missed) == (4, 1)
    assert summaries["high"].median_delay_seconds == 600
    assert summaries["high"].recall == 0.75


def test_a_report_counts_over_series() -> None:
    # Seven days with an event of three, then eleven normal ones: 15 normal days.
    first = Series(np.zeros((7, 1)), ("a",), DAY, events=(Event(2, 5, severity="low"),))
    second = Series(np.zeros((11, 1)), ("a",), DAY)
    scored = [(first, row("0001100")), (second, row("01010000000"))]
    report = judge_alarms(scored, 0.5)
    assert (report.events, report.found, report.false_alarms) == (1, 1, 2)
    assert report.event_recall == 1
    assert report.false_alarms_per_week == pytest.approx(2 / (15 / 7))
    assert report.by_severity["low"].median_delay_seconds == DAY
    assert judge_alarms(scored, 0.5, merge_gap=1).false_alarms == 1
    nothing = judge_alarms([], 0.5)
    assert math.isnan(nothing.event_recall)
    assert math.isnan(nothing.false_alarms_per_week)


def test_impossible_arguments_are_refused() -> None:
    scores = [np.zeros(3)]
    with pytest.raises(ValueError, match="step_seconds must be above 0, got 0"):
        threshold_for(scores, step_seconds=0, alarms_per_week=1)
    with pytest.raises(ValueError, match="alarms_per_week must be at least 0, got -1"):
        threshold_for(scores, step_seconds=1, alarms_per_week=-1)
    with pytest.raises(ValueError, match="there are none"):
        threshold_for([], step_seconds=1, alarms_per_week=1)
    with pytest.raises(ValueError, match="score of step 1 is NaN"):
        threshold_for([np.array([0, np.nan])], step_seconds=1, alarms_per_week=1)
    with pytest.raises(ValueError, match="merge_gap must be at least 0 steps, got -1"):
        alarms_of(scores[0], 0, merge_gap=-1)
    with pytest.raises(ValueError, match=r"\(3, 1\) are not \(time,\)"):
        alarms_of(np.zeros((3, 1)), 0)
    series = Series(np.zeros((4, 1)), ("a",))
    with pytest.raises(ValueError, match=r"of 4 steps has scores of shape \(3,\)"):
        judge_alarms([(series, scores[0])], 0)
    slower = Series(np.zeros((4, 1)), ("a",), 2.0)
    with pytest.raises(ValueError, match="different times between samples"):
        judge_alarms([(series, np.zeros(4)), (slower, np.zeros(4))], 0)
