"""Channels that made an alarm, and which alarms are alike: worked out by hand, or otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.alarm_map import AlarmMapConfig, cluster_alarms
from rlkit.autoencoder.anomalies.alarms import Alarm
from rlkit.autoencoder.anomalies.detector import WindowDetector
from rlkit.autoencoder.anomalies.explanation import (
    ChannelShare,
    explain,
    name_channels,
    usual_ranges,
)
from rlkit.autoencoder.anomalies.pca_windows import PCAWindows
from rlkit.autoencoder.anomalies.series import Event, Series
from rlkit.autoencoder.anomalies.windows import Alignment, WindowConfig

CHANNELS = ("flow", "power", "heat")


class Told:
    """A detector that says what it is told to say."""

    def __init__(self, contributions: NDArray[np.float64] | None) -> None:
        self._contributions = contributions

    def fit(self, normal: Sequence[Series]) -> Self:
        return self

    def decision_function(self, series: Series) -> NDArray[np.float64]:
        raise AssertionError("scores are given")

    def contributions(self, series: Series) -> NDArray[np.float64] | None:
        return self._contributions

    def online(self) -> Any:
        raise AssertionError("nothing is scored one by one")


class LastSample:
    """A window model that codes a window as its last sample, and scores by how far that lies."""

    def fit(self, windows: NDArray[np.float64]) -> Self:
        return self

    def score_windows(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.square(windows[:, -1]).mean(axis=1)

    def residuals(self, windows: NDArray[np.float64]) -> None:
        return None

    def codes(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
        return windows[:, -1]


def plant(seed: int, faults: Sequence[tuple[int, int, int]] = (), steps: int = 150) -> Series:
    """Noise; faults: start, stop and channel of departures by twelve standard deviations."""
    values = np.random.default_rng(seed).normal(size=(steps, 3))
    for start, stop, channel in faults:
        values[start:stop, channel] += 12.0
    events = tuple(Event(start, stop, f"fault {channel}") for start, stop, channel in faults)
    return Series(values, CHANNELS, 60.0, f"plant-{seed}", events)


def test_an_alarm_is_explained_by_its_channels_peak_and_event() -> None:
    series = Series(np.zeros((8, 3)), CHANNELS, events=(Event(1, 4, "leak", "mild"),))
    scores = np.array([0, 0, 3, 5, 5, 0, 9, 0.0])
    contributions = np.zeros((8, 3))
    contributions[2:5] = [[1, 0, 2], [1, 0, 2], [1, 0, 5]]  # 3, 0 and 9 of 12
    contributions[6] = [0, 4, 0]
    explanation = explain(Told(contributions), [(series, scores)], threshold=2.0)
    first, second = explanation.alarms
    assert first.alarm == Alarm(2, 5)
    assert (first.peak, first.peak_step) == (5.0, 3)
    assert first.channels == (ChannelShare("heat", 0.75), ChannelShare("flow", 0.25))
    assert first.event == series.events[0]
    assert second.alarm == Alarm(6, 7)
    assert second.channels == (ChannelShare("power", 1.0),)
    assert second.event is None
    assert (first.cluster, second.cluster, explanation.usual) == (0, 0, {})


def test_gaps_are_bridged_and_belong_to_the_alarm() -> None:
    series = Series(np.zeros((6, 3)), CHANNELS)
    scores = np.array([0, 3, 0, 4, 0, 0.0])
    contributions = np.tile([0.0, 1.0, 3.0], (6, 1))
    contributions[2] = [4.0, 0.0, 0.0]
    (alarm,) = explain(Told(contributions), [(series, scores)], 2.0, merge_gap=1).alarms
    assert alarm.alarm == Alarm(1, 4)
    assert [(each.channel, round(each.share, 6)) for each in alarm.channels] == [
        ("heat", 0.5),
        ("flow", round(4 / 12, 6)),
        ("power", round(2 / 12, 6)),
    ]


def test_an_alarm_that_was_on_before_an_event_has_not_found_it() -> None:
    series = Series(np.zeros((6, 3)), CHANNELS, events=(Event(2, 5),))
    (alarm,) = explain(Told(None), [(series, np.array([0, 3, 3, 3, 0, 0.0]))], 2.0).alarms
    assert alarm.event is None
    assert alarm.channels == ()


def test_scores_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"of 6 steps has scores of shape \(5,\)"):
        explain(Told(None), [(Series(np.zeros((6, 3)), CHANNELS), np.zeros(5))], 1.0)


def test_only_the_five_largest_channels_are_named() -> None:
    shares = name_channels(np.array([1, 2, 3, 4, 5, 6, 7.0]), "abcdefg")
    assert [each.channel for each in shares] == ["g", "f", "e", "d", "c"]
    assert shares[0].share == 7 / 28


def test_usual_ranges_leave_out_the_rarest_and_the_missing() -> None:
    values = np.full((101, 2), np.nan)
    values[:, 0] = np.random.default_rng(0).permutation(101)
    one, other = Series(values[:40], ("a", "b")), Series(values[40:], ("a", "b"))
    assert usual_ranges([one, other]) == {"a": (1.0, 99.0)}
    assert usual_ranges([]) == {}


@pytest.mark.parametrize("stride", [1, 3])
def test_codes_are_those_of_windows_that_ended_in_alarmed_steps(stride: int) -> None:
    detector = WindowDetector(LastSample(), windows=WindowConfig(6, stride)).fit([plant(0)])
    series = plant(1, [(60, 72, 0), (100, 103, 2)])
    scores = detector.decision_function(series)
    config = AlarmMapConfig(normal_windows=20)
    explanation = explain(detector, [(series, scores)], 20.0, normal=[plant(2)], config=config)
    alarm_map = explanation.alarm_map
    assert alarm_map is not None
    assert len(alarm_map.normal) <= 20
    above = np.flatnonzero(scores > 20.0)
    ends = np.unique(above - (above - 5) % stride)
    samples = detector.fitted.scaling.prepare(series).values[ends]
    # With as many dimensions as channels, the reduction is a rotation: distances stay.
    np.testing.assert_allclose(distances(alarm_map.alarmed), distances(samples), atol=1e-9)
    assert alarm_map.explained.sum() == pytest.approx(1.0)
    assert (np.diff(alarm_map.explained) <= 0).all()
    for number, alarm in enumerate(explanation.alarms):
        inside = alarm_map.alarmed[alarm_map.alarm_of == number]
        np.testing.assert_allclose(alarm_map.centres[number], inside.mean(axis=0))
        assert alarm.cluster == alarm_map.clusters[number]


def distances(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.linalg.norm(points[:, None] - points[None], axis=-1)


@pytest.mark.parametrize("alignment", ["end", "mean"])
def test_alarms_of_one_kind_are_one_cluster(alignment: Alignment) -> None:
    windows = WindowConfig(4, alignment=alignment)
    detector = WindowDetector(LastSample(), windows=windows).fit([plant(0)])
    places = (30, 60, 90, 120)
    given = [
        plant(1, [(start, start + 10, 0) for start in places]),
        plant(2),
        plant(3, [(start, start + 10, 2) for start in places[:3]]),
    ]
    scored = [(series, detector.decision_function(series)) for series in given]
    explanation = explain(detector, scored, 12.0, merge_gap=5)
    clusters = [[alarm.cluster for alarm in each.alarms] for each in explanation.series]
    assert clusters == [[0, 0, 0, 0], [], [1, 1, 1]]
    assert explanation.alarm_map is not None
    assert explanation.alarm_map.cluster_count == 2
    assert explanation.alarm_map.silhouette is not None
    assert explanation.alarm_map.silhouette > 0.5
    # Nothing normal was given: windows that touch no alarm stand in for it.
    assert len(explanation.alarm_map.normal) > 100


def test_windows_are_thinned_evenly_to_so_many() -> None:
    detector = WindowDetector(LastSample(), windows=WindowConfig(4)).fit([plant(0)])
    series = plant(1, [(20, 140, 0)])
    config = AlarmMapConfig(normal_windows=10, windows_per_alarm=7, dimensions=2)
    alarm_map = explain(
        detector,
        [(series, detector.decision_function(series))],
        12.0,
        normal=[plant(2), plant(3)],
        config=config,
    ).alarm_map
    assert alarm_map is not None
    assert alarm_map.alarmed.shape == (7, 2)
    assert alarm_map.normal.shape == (10, 2)


def test_a_detector_without_a_bottleneck_is_explained_by_channels() -> None:
    detector = WindowDetector(PCAWindows(), windows=WindowConfig(4)).fit([plant(0)])
    series = plant(1, [(50, 60, 1)])
    explanation = explain(detector, [(series, detector.decision_function(series))], 1.0)
    assert explanation.alarm_map is not None
    assert explanation.alarm_map.by == "channels"
    alarm = max(explanation.alarms, key=lambda each: each.peak)
    assert alarm.channels[0].channel == "power"
    assert sum(each.share for each in alarm.channels) == pytest.approx(1.0)


def test_alarms_are_mapped_by_the_hellinger_distance_of_their_channels() -> None:
    one = Series(np.zeros((9, 3)), CHANNELS)
    other = Series(np.zeros((9, 3)), CHANNELS[::-1])  # channels are told by name
    scores = np.array([0, 1, 0, 1, 0, 0, 1, 0, 0.0])
    contributions = np.zeros((9, 3))
    contributions[[1, 3, 6]] = [[4, 0, 0], [2, 0, 2], [0, 9, 9]]
    scored = [(one, scores), (other, scores)]
    alarm_map = explain(Told(contributions), scored, 0.5).alarm_map
    assert alarm_map is not None
    assert alarm_map.by == "channels"
    shares = np.array([[1, 0, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    shares = np.concatenate((shares, shares[:, ::-1]))
    np.testing.assert_allclose(distances(alarm_map.centres), distances(np.sqrt(shares)), atol=1e-12)
    np.testing.assert_array_equal(alarm_map.alarmed, alarm_map.centres)
    assert len(alarm_map.normal) == 0


def test_a_bottleneck_can_be_passed_over_for_channels() -> None:
    detector = WindowDetector(LastSample(), windows=WindowConfig(4)).fit([plant(0)])
    series = plant(1, [(50, 60, 1)])
    scored = [(series, detector.decision_function(series))]
    by_codes = explain(detector, scored, 12.0).alarm_map
    assert by_codes is not None
    assert by_codes.by == "codes"
    # This one cannot tell channels, so nothing is left.
    config = AlarmMapConfig(by="channels")
    assert explain(detector, scored, 12.0, config=config).alarm_map is None


def test_nothing_is_clustered_without_alarms() -> None:
    detector = WindowDetector(LastSample(), windows=WindowConfig(4)).fit([plant(0)])
    series = plant(1)
    explanation = explain(detector, [(series, detector.decision_function(series))], 1e9)
    assert (explanation.alarms, explanation.alarm_map) == ((), None)


def test_a_code_of_one_number_is_drawn_on_axes_of_zeros() -> None:
    class FirstOfLast(LastSample):
        def codes(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
            return windows[:, -1, :1]

    detector = WindowDetector(FirstOfLast(), windows=WindowConfig(4)).fit([plant(0)])
    series = plant(1, [(50, 60, 0)])
    scored = [(series, detector.decision_function(series))]
    alarm_map = explain(detector, scored, 12.0, merge_gap=5).alarm_map
    assert alarm_map is not None
    assert alarm_map.alarmed[:, 0].std() > 0
    assert not alarm_map.alarmed[:, 1:].any()
    np.testing.assert_allclose(alarm_map.explained, [1, 0, 0])


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_the_number_of_clusters_is_found(count: int) -> None:
    random = np.random.default_rng(count)
    kinds = np.repeat(np.arange(count), 6 + np.arange(count)[::-1])
    order = random.permutation(len(kinds))
    centres = 30.0 * np.array([[0, 0], [0, 1], [1, 0], [1, 1], [2, 2.0]])
    points = (centres[kinds] + random.uniform(-1, 1, size=(len(kinds), 2)))[order]
    clusters, silhouette = cluster_alarms(points)
    # Kinds were made in the order of falling size.
    np.testing.assert_array_equal(clusters, kinds[order])
    assert silhouette is not None
    assert silhouette > 0.8


@pytest.mark.parametrize("count", [8, 60])
def test_a_cloud_is_not_divided(count: int) -> None:
    points = np.random.default_rng(0).normal(size=(count, 3)) * [2.0, 1.0, 1.0]
    clusters, silhouette = cluster_alarms(points)
    assert silhouette is None
    assert not clusters.any()
    _, taken_for_real = cluster_alarms(points, AlarmMapConfig(references=0))
    assert taken_for_real is not None
    assert taken_for_real > 0.25


@settings(max_examples=25, deadline=None)
@given(
    points=st.lists(st.tuples(*[st.integers(-3, 3)] * 2), min_size=1, max_size=9),
    most=st.integers(1, 4),
)
def test_clusters_are_counted_from_the_largest(points: list[tuple[int, int]], most: int) -> None:
    config = AlarmMapConfig(max_clusters=most, references=1)
    clusters, silhouette = cluster_alarms(np.array(points, float), config)
    sizes = np.bincount(clusters)
    assert len(clusters) == len(points)
    assert len(sizes) <= most
    assert (np.diff(sizes) <= 0).all()
    assert sizes.min() > 0
    assert (silhouette is None) == (len(sizes) == 1)
    if len(points) < 4:
        assert silhouette is None
    for place, cluster in zip(points, clusters, strict=True):
        same = [other for each, other in zip(points, clusters, strict=True) if each == place]
        assert set(same) == {cluster}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"by": "names"}, "by must be 'codes' or 'channels', got 'names'"),
        ({"dimensions": 4}, "dimensions must be 2 or 3, got 4"),
        ({"max_clusters": 0}, "max_clusters must be at least 1, got 0"),
        ({"windows_per_alarm": 0}, "windows_per_alarm must be at least 1"),
        ({"normal_windows": -1}, "normal_windows must be at least 1"),
        ({"references": -1}, "references must be at least 0, got -1"),
    ],
)
def test_a_wrong_number_is_told(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AlarmMapConfig(**changed)


def test_without_scikit_learn_one_line_tells_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn.cluster", None)
    with pytest.raises(ImportError, match=r"clustering alarms needs scikit-learn .*anomalies"):
        cluster_alarms(np.zeros((5, 2)))
