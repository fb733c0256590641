"""Standardising channels and bridging gaps, in series and sample by sample."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlkit.autoencoder.anomalies.scaling import ScalingConfig, learn_scaling
from rlkit.autoencoder.anomalies.series import Series


def series_of(*columns: list[float], step_seconds: float = 1.0, name: str = "s") -> Series:
    names = tuple("abcdefg"[: len(columns)])
    return Series(np.array(columns, np.float64).T, names, step_seconds, name)


def test_channels_are_standardised_over_the_whole_normal_set() -> None:
    scaling = learn_scaling([series_of([1, 2]), series_of([3, 4, 5])])
    assert scaling.center[0] == 3
    assert scaling.scale[0] == pytest.approx(np.sqrt(2))
    prepared = scaling.prepare(series_of([3 + 2 * np.sqrt(2)]))
    assert prepared.values[0, 0] == pytest.approx(2)


def test_missing_samples_do_not_count_in_means() -> None:
    scaling = learn_scaling([series_of([1, np.nan, 3])])
    assert scaling.center[0] == 2
    assert scaling.scale[0] == 1


def test_any_departure_of_a_constant_channel_counts() -> None:
    scaling = learn_scaling([series_of([0, 0, 0], [0.1, 0.1, 0.1], [1e-9, 2e-9, 3e-9])])
    assert scaling.constant.tolist() == [True, True, False]
    small = scaling.standardise(np.array([1e-12, 0.1001, 2e-9]))
    assert small.tolist() == [10, 10, 0]
    below = scaling.standardise(np.array([-5.0, np.float32(0.1), 2e-9]))
    assert below.tolist() == [-10, 0, 0]  # the second differs by the rounding of float32 alone


def test_a_broken_sensor_is_cut_off() -> None:
    scaling = learn_scaling([series_of([-1, 1])], ScalingConfig(clip=8))
    assert scaling.prepare(series_of([1e30, -1e30])).values.ravel().tolist() == [8, -8]


def test_gaps_hold_the_last_value_and_then_take_the_mean() -> None:
    scaling = learn_scaling([series_of([-1, 1])], ScalingConfig(max_hold=2))
    gappy = series_of([np.nan, 0.5, np.nan, np.nan, np.nan, np.nan, 2])
    prepared = scaling.prepare(gappy)
    assert prepared.values.ravel().tolist() == [0, 0.5, 0.5, 0.5, 0, 0, 2]
    assert prepared.missing.ravel().tolist() == [True, False, True, True, True, True, False]


@given(st.integers(0, 999), st.integers(0, 4), st.floats(0, 0.9))
def test_sample_by_sample_is_the_same(seed: int, max_hold: int, missing: float) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(size=(30, 3)) * [1, 100, 0]
    scaling = learn_scaling([Series(values, tuple("abc"))], ScalingConfig(max_hold=max_hold))
    values = values + [0, 0, 1] * (random.random((30, 1)) < 0.1)
    values[random.random((30, 3)) < missing] = np.nan
    prepared = scaling.prepare(Series(values, tuple("abc")))
    online = scaling.online()
    for step in range(30):
        got, gap = online.update(values[step])
        np.testing.assert_array_equal(got, prepared.values[step])
        np.testing.assert_array_equal(gap, prepared.missing[step])


def test_channels_are_told_by_their_names() -> None:
    scaling = learn_scaling([series_of([0, 2], [10, 30])])
    swapped = Series(np.array([[30.0, 0.0]]), ("b", "a"))
    assert scaling.prepare(swapped).values.tolist() == [[-1, 1]]


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        (("a",), r"absent \['b'\], unknown none"),
        (("a", "b", "z"), r"absent none, unknown \['z'\]"),
        (("a", "c"), r"absent \['b'\], unknown \['c'\]"),
    ],
)
def test_other_channels_are_an_error(channels: tuple[str, ...], message: str) -> None:
    scaling = learn_scaling([series_of([0, 2], [10, 30])])
    with pytest.raises(ValueError, match=message):
        scaling.prepare(Series(np.zeros((4, len(channels))), channels))
    with pytest.raises(ValueError, match=r"absent|unknown"):
        learn_scaling([series_of([0, 2], [10, 30]), Series(np.zeros((4, len(channels))), channels)])


def test_another_time_between_samples_is_an_error() -> None:
    scaling = learn_scaling([series_of([0, 2], step_seconds=60)])
    with pytest.raises(ValueError, match="every 300 s, but the normal set every 60 s"):
        scaling.prepare(series_of([0, 2], step_seconds=300))


def test_an_empty_normal_set_is_an_error() -> None:
    for nothing in ([], [Series(np.zeros((0, 2)), ("a", "b"))]):
        with pytest.raises(ValueError, match="the normal set is empty"):
            learn_scaling(nothing)


def test_a_channel_that_was_never_there_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"missing in every sample of the normal set: \['b'\]"):
        learn_scaling([series_of([1, 2], [np.nan, np.nan])])
    with pytest.raises(ValueError, match="has no channels"):
        learn_scaling([Series(np.zeros((3, 0)), ())])


def test_a_sample_must_fit() -> None:
    online = learn_scaling([series_of([0, 2], [10, 30])]).online()
    with pytest.raises(ValueError, match=r"2 channels.*shape \(3,\)"):
        online.update(np.zeros(3))
    with pytest.raises(ValueError, match="infinite value in channel 'b'"):
        online.update(np.array([0, np.inf]))


@pytest.mark.parametrize("arguments", [{"max_hold": -1}, {"constant_departure": 0}, {"clip": -1}])
def test_impossible_settings_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(arguments.values())))):
        ScalingConfig(**arguments)
