"""Series and their files."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from rlkit.autoencoder.anomalies.series import (
    Event,
    Series,
    SeriesFileError,
    read_series,
    write_series,
)


def test_labels_are_true_within_events_alone() -> None:
    series = Series(np.zeros((7, 1)), ("a",), events=(Event(1, 3), Event(5, 7, "leak", "small")))
    assert series.labels.tolist() == [False, True, True, False, False, True, True]
    assert len(series) == 7


@pytest.mark.parametrize(("start", "stop"), [(3, 3), (4, 2), (-1, 2)])
def test_an_event_has_a_start_before_its_stop(start: int, stop: int) -> None:
    with pytest.raises(ValueError, match=f"got {start} and {stop}"):
        Event(start, stop)


def test_values_must_fit_the_channels() -> None:
    with pytest.raises(ValueError, match=r"\(5, 3\) are not \(time, 2\)"):
        Series(np.zeros((5, 3)), ("a", "b"))
    with pytest.raises(ValueError, match="names repeat"):
        Series(np.zeros((5, 2)), ("a", "a"))


def test_missing_is_nan_and_infinite_is_an_error() -> None:
    assert np.isnan(Series(np.array([[np.nan]]), ("a",)).values).all()
    with pytest.raises(ValueError, match="infinite"):
        Series(np.array([[np.inf]]), ("a",))


@pytest.mark.parametrize(
    "events", [(Event(3, 5), Event(0, 2)), (Event(0, 4), Event(3, 5)), (Event(8, 11),)]
)
def test_events_are_in_order_apart_and_within(events: tuple[Event, ...]) -> None:
    with pytest.raises(ValueError, match="events must be in order"):
        Series(np.zeros((10, 1)), ("a",), events=events)


def test_time_between_samples_is_positive() -> None:
    with pytest.raises(ValueError, match="step_seconds must be above 0, got 0"):
        Series(np.zeros((2, 1)), ("a",), step_seconds=0)


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(50, 3))
    values[4, 1] = np.nan
    first = Series(
        values, ("a_degc", "b_w", "c"), 60.0, "hot-1", (Event(3, 9, "fouling", "low"),), {"k": "v"}
    )
    second = Series(np.zeros((2, 1)), ("only",))
    path = tmp_path / "some.npz"
    write_series(path, (first, second))
    read = read_series(path)
    np.testing.assert_array_equal(read[0].values, values.astype(np.float32))
    for got, gave in zip(read, (first, second), strict=True):
        assert (got.channels, got.step_seconds, got.name) == (
            gave.channels,
            gave.step_seconds,
            gave.name,
        )
        assert (got.events, got.context) == (gave.events, gave.context)


def test_files_that_cannot_be_used_are_named_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "series.npz"
    with pytest.raises(SeriesFileError, match="cannot be read"):
        read_series(path)
    path.write_bytes(b"not an archive")
    with pytest.raises(SeriesFileError, match="damaged") as caught:
        read_series(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    np.savez(path, values_0=np.zeros((2, 1)))
    with pytest.raises(SeriesFileError, match="damaged"):
        read_series(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(SeriesFileError, match="damaged"):
        read_series(path)


def test_a_flipped_bit_is_read_or_told(tmp_path: Path) -> None:
    path = tmp_path / "series.npz"
    write_series(path, [Series(np.arange(12.0).reshape(6, 2), ("a", "b"), 60.0)])
    whole = path.read_bytes()
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        with suppress(SeriesFileError):
            read_series(path)


def test_a_file_of_pickles_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "series.npz"
    np.savez(path, header=np.array([{"format_version": 1}], dtype=object))
    with pytest.raises(SeriesFileError, match="damaged"):
        read_series(path)


def test_a_file_of_another_version_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "series.npz"
    np.savez(path, header=np.array('{"format_version": 99, "series": []}'))
    with pytest.raises(SeriesFileError, match="another version"):
        read_series(path)
