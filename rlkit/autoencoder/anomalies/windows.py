"""Sliding windows over a multivariate series, and their scores spread over its time stamps.

Two alignments. `end` is causal: a stamp has the score of the newest window that has ended by then,
which is what scoring sample by sample gives. `mean` is for looking back: a stamp has the mean over
all windows that contain it, as the benchmark TSB-AD does (Liu and Paparrizos 2024).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.series import Series

Alignment = Literal["end", "mean"]


@dataclass(frozen=True)
class WindowConfig:
    """How a series is cut into windows. Raises ValueError for what cannot be."""

    length: int = 64
    """Steps of a window, at least 1."""
    stride: int = 1
    """Steps from one window to the next, 1 to `length`, so that no sample is passed over."""
    alignment: Alignment = "end"
    """How scores of windows become scores of time stamps; see the module."""
    max_missing: float = 0.5
    """A window with a larger share of missing samples than this, 0 to 1, is not scored."""
    max_fit_windows: int = 20_000
    """A detector learns from at most so many windows of the normal set, evenly spaced."""

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"a window needs at least one step, got {self.length}")
        if not 1 <= self.stride <= self.length:
            raise ValueError(f"stride must be 1 to {self.length} (length), got {self.stride}")
        if self.alignment not in ("end", "mean"):
            raise ValueError(f"alignment must be 'end' or 'mean', got {self.alignment!r}")
        if not 0 <= self.max_missing <= 1:
            raise ValueError(f"max_missing is a share, 0 to 1, got {self.max_missing}")
        if self.max_fit_windows < 1:
            raise ValueError(f"max_fit_windows must be at least 1, got {self.max_fit_windows}")


def window_count(steps: int, config: WindowConfig) -> int:
    """Whole windows in a series of `steps`; the first starts with it, steps left over have none.

    Raises ValueError where not even one fits.
    """
    if steps < config.length:
        raise ValueError(
            f"a window of {config.length} steps is longer than the series of {steps} steps"
        )
    return (steps - config.length) // config.stride + 1


def check_holds_window(series: Series, config: WindowConfig) -> None:
    """Raise ValueError, by its name, where a series is shorter than a window."""
    try:
        window_count(len(series), config)
    except ValueError as error:
        raise ValueError(f"series {series.name!r}: {error}") from error


def windows_of(values: NDArray[np.float64], config: WindowConfig) -> NDArray[np.float64]:
    """The windows of a series: (steps, channels) to (count, length, channels).

    A read-only view: nothing is copied. Raises ValueError where not even one fits.
    """
    window_count(len(values), config)
    windows = sliding_window_view(values, config.length, axis=0)[:: config.stride]
    return np.moveaxis(windows, -1, 1)


def missing_share(missing: NDArray[np.bool_], config: WindowConfig) -> NDArray[np.float64]:
    """Share of missing samples in each window: (steps, channels) to (count,), 0 to 1."""
    count = window_count(len(missing), config)
    until = np.concatenate(([0], np.cumsum(missing.sum(axis=1))))
    starts = config.stride * np.arange(count)
    return (until[starts + config.length] - until[starts]) / (config.length * missing.shape[1])


def spread(
    scores: NDArray[np.float64], steps: int, config: WindowConfig, before: float
) -> NDArray[np.float64]:
    """Scores of windows to scores of time stamps, by the configured alignment.

    scores: (count, ...), of the windows of a series of `steps`. before: the score of stamps at
    which no window has ended yet (`end` only). Stamps behind the last window have its score.
    Returns (steps, ...). Raises ValueError where count is not that of the windows.
    """
    count = window_count(steps, config)
    if len(scores) != count:
        raise ValueError(f"{steps} steps have {count} windows, but there are {len(scores)} scores")
    if config.alignment == "end":
        newest = (np.arange(steps) - (config.length - 1)) // config.stride
        spread_scores = scores[np.clip(newest, 0, count - 1)].astype(np.float64)
        spread_scores[: config.length - 1] = before
        return spread_scores
    total = np.zeros((steps, *scores.shape[1:]))
    windows = np.zeros(steps)
    reach = config.stride * (count - 1) + 1
    # One addition for each place in a window: exact where a running sum would cancel.
    for offset in range(config.length):
        total[offset : offset + reach : config.stride] += scores
        windows[offset : offset + reach : config.stride] += 1
    covered = reach + config.length - 1
    total[:covered] /= windows[:covered].reshape(-1, *[1] * (scores.ndim - 1))
    total[covered:] = scores[-1]
    return total
