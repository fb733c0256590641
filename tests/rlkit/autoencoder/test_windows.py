"""Cutting series into windows and spreading their scores, against slow references."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.windows import (
    WindowConfig,
    missing_share,
    spread,
    window_count,
    windows_of,
)


def test_windows_start_with_the_series_and_go_on_by_the_stride() -> None:
    values = np.arange(14, dtype=np.float64).reshape(7, 2)
    windows = windows_of(values, WindowConfig(length=3, stride=2))
    assert windows.shape == (3, 3, 2)
    np.testing.assert_array_equal(windows[1], values[2:5])
    np.testing.assert_array_equal(windows[2], values[4:7])
    assert np.shares_memory(windows, values)


def test_end_gives_a_stamp_the_newest_window_that_has_ended() -> None:
    # Windows [0, 3), [2, 5), [4, 7) of 8 steps end with steps 2, 4 and 6.
    scores = spread(np.array([1.0, 2.0, 3.0]), 8, WindowConfig(3, 2), before=0.5)
    assert scores.tolist() == [0.5, 0.5, 1, 1, 2, 2, 3, 3]


def test_mean_gives_a_stamp_the_mean_of_its_windows() -> None:
    # Windows [0, 3), [2, 5), [4, 7): steps 2 and 4 are in two, step 7 in none.
    config = WindowConfig(3, 2, alignment="mean")
    scores = spread(np.array([1.0, 2.0, 3.0]), 8, config, before=0.5)
    assert scores.tolist() == [1, 1, 1.5, 2, 2.5, 3, 3, 3]


def slow_spread(
    scores: NDArray[np.float64], steps: int, config: WindowConfig, before: float
) -> list[float]:
    spans = [(k * config.stride, k * config.stride + config.length) for k in range(len(scores))]
    spread_scores: list[float] = []
    for step in range(steps):
        if config.alignment == "end":
            ended = [
                score for score, (_, stop) in zip(scores, spans, strict=True) if stop <= step + 1
            ]
            spread_scores.append(ended[-1] if ended else before)
        else:
            around = [
                score
                for score, (start, stop) in zip(scores, spans, strict=True)
                if start <= step < stop
            ]
            spread_scores.append(sum(around) / len(around) if around else scores[-1])
    return spread_scores


@given(st.data())
def test_spreading_agrees_with_a_slow_reference(data: st.DataObject) -> None:
    length = data.draw(st.integers(1, 9))
    stride = data.draw(st.integers(1, length))
    alignment: Literal["end", "mean"] = data.draw(st.sampled_from(("end", "mean")))
    config = WindowConfig(length, stride, alignment)
    steps = data.draw(st.integers(length, 40))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    scores = random.exponential(size=window_count(steps, config))
    got = spread(scores, steps, config, before=-1.0)
    np.testing.assert_allclose(got, slow_spread(scores, steps, config, -1.0), rtol=1e-12)
    # Scores by channel are spread as each channel would be.
    columns = np.stack((scores, 2 * scores), axis=1)
    np.testing.assert_allclose(spread(columns, steps, config, -1.0)[:, 0], got)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_missing_share_counts_samples_of_a_window(length: int, stride: int, seed: int) -> None:
    config = WindowConfig(length, min(stride, length))
    missing = np.random.default_rng(seed).random((15, 3)) < 0.3
    expected = [window.mean() for window in windows_of(missing.astype(float), config)]
    np.testing.assert_allclose(missing_share(missing, config), expected)


def test_a_window_longer_than_the_series_is_an_error() -> None:
    for call in (
        lambda: windows_of(np.zeros((4, 2)), WindowConfig(5)),
        lambda: window_count(4, WindowConfig(5)),
    ):
        with pytest.raises(ValueError, match="5 steps is longer than the series of 4 steps"):
            call()


def test_scores_must_be_those_of_the_windows() -> None:
    with pytest.raises(ValueError, match="have 3 windows, but there are 2 scores"):
        spread(np.zeros(2), 5, WindowConfig(3), before=0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 0}, "got 0"),
        ({"length": 4, "stride": 5}, "got 5"),
        ({"length": 4, "stride": 0}, "got 0"),
        ({"alignment": "start"}, "'start'"),
        ({"max_missing": 1.5}, "1.5"),
        ({"max_fit_windows": 0}, "got 0"),
    ],
)
def test_impossible_windows_are_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WindowConfig(**arguments)  # pyright: ignore[reportArgumentType]
