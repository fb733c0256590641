"""Alarms one score at a time are those of the whole row, and so are their channels."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlkit.autoencoder.anomalies.alarm_rule import AlarmRule, learn_rule
from rlkit.autoencoder.anomalies.alarms import alarms_of, threshold_for
from rlkit.autoencoder.anomalies.detector import WindowDetector
from rlkit.autoencoder.anomalies.explanation import name_channels
from rlkit.autoencoder.anomalies.online_alarms import (
    AlarmBegan,
    AlarmEnded,
    OnlineAlarms,
    OnlineReasons,
)
from rlkit.autoencoder.anomalies.pca_windows import PCAWindows
from rlkit.autoencoder.anomalies.scaling import ScalingConfig
from rlkit.autoencoder.anomalies.series import Series
from rlkit.autoencoder.anomalies.windows import WindowConfig


@given(scores=st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0]), max_size=40), gap=st.integers(0, 4))
def test_alarms_are_those_of_the_whole_row(scores: list[float], gap: int) -> None:
    rule = AlarmRule(1.5, gap, 1.0, 1.0)
    online = OnlineAlarms(rule)
    began: list[AlarmBegan] = []
    ended: list[AlarmEnded] = []
    for step, score in enumerate(scores):
        change = online.update(score)
        if isinstance(change, AlarmBegan):
            assert change == AlarmBegan(step, score)
            began.append(change)
        elif change is not None:
            assert step == change.stop + gap  # as soon as it can be known
            ended.append(change)
    last = online.finish()
    if last is not None:
        ended.append(last)
    assert online.finish() is None
    expected = alarms_of(np.array(scores), 1.5, merge_gap=gap)
    assert [each.step for each in began] == [each.start for each in expected]
    assert [(each.start, each.stop) for each in ended] == [
        (each.start, each.stop) for each in expected
    ]
    assert [each.peak for each in ended] == [
        max(scores[each.start : each.stop]) for each in expected
    ]


def test_a_score_that_is_no_number_is_refused() -> None:
    online = OnlineAlarms(AlarmRule(1.5, 0, 1.0, 1.0))
    online.update(1.0)
    with pytest.raises(ValueError, match="step 1 is NaN"):
        online.update(float("nan"))


@pytest.mark.parametrize(("stride", "hold"), [(1, 3), (2, 3), (5, 0)])
def test_channels_are_those_of_the_whole_series(stride: int, hold: int) -> None:
    random = np.random.default_rng(0)
    channels = ("a", "b", "c", "d", "e", "f")
    normal = Series(random.normal(size=(200, 6)), channels)
    detector = WindowDetector(
        PCAWindows(),
        windows=WindowConfig(5, stride, max_missing=1.0),
        scaling=ScalingConfig(max_hold=hold),
    ).fit([normal])
    values = random.normal(size=(80, 6))
    values[random.random(values.shape) < 0.3] = np.nan
    contributions = detector.contributions(Series(values, channels))
    assert contributions is not None
    reasons = OnlineReasons(detector)
    size = 0
    for step, sample in enumerate(values):
        reasons.update(sample)
        if step < 4:
            assert reasons.channels() == ()
        elif (step - 4) % stride == 0:
            found, expected = reasons.channels(), name_channels(contributions[step], channels)
            assert [each.channel for each in found] == [each.channel for each in expected]
            np.testing.assert_allclose(
                [each.share for each in found], [each.share for each in expected]
            )
        if step == 20:
            size = len(pickle.dumps(reasons))
    assert len(pickle.dumps(reasons)) == size  # however long the stream


def test_a_rule_holds_its_threshold_and_what_it_was_set_on() -> None:
    random = np.random.default_rng(1)
    scores = [random.normal(size=5_000), random.normal(size=5_000)]
    rule = learn_rule(scores, step_seconds=300.0, alarms_per_week=2.0, merge_gap=3)
    assert rule.threshold == threshold_for(
        scores, step_seconds=300.0, alarms_per_week=2.0, merge_gap=3
    )
    assert rule.normal_weeks == pytest.approx(10_000 * 300 / (7 * 86_400))
    assert (rule.alarms_per_week, rule.merge_gap) == (2.0, 3)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ((float("inf"), 0, 1.0, 1.0), "threshold must be finite"),
        ((1.0, -1, 1.0, 1.0), "merge_gap must be at least 0 steps, got -1"),
        ((1.0, 0, -1.0, 1.0), "alarms_per_week must be at least 0, got -1.0"),
        ((1.0, 0, 1.0, 0.0), "normal_weeks must be above 0, got 0.0"),
    ],
)
def test_an_impossible_rule_is_refused(rule: tuple[float, int, float, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AlarmRule(*rule)
