"""What all detectors of anomalies do, and the detector that scores sliding windows.

Scores are higher where a series is less like the normal set. They have no unit and no threshold:
`alarms` sets one by the false alarms that an operator accepts, as labels that hang on a guessed
share of anomalies mislead. What scores a window is a `WindowModel`; everything around it (scaling,
gaps, windows, time stamps, one sample at a time) is in `WindowDetector`, the same for all models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.scaling import ChannelScaling, ScalingConfig, learn_scaling
from rlkit.autoencoder.anomalies.series import Series
from rlkit.autoencoder.anomalies.windows import (
    WindowConfig,
    check_holds_window,
    missing_share,
    spread,
    windows_of,
)

NUMBERS_AT_ONCE = 2_000_000
"""Of windows that are scored together: about 16 MB, whatever the series' length."""


class OnlineScorer(Protocol):
    """Scores a series sample by sample, in constant time and memory, from its start."""

    def update(self, sample: NDArray[np.float64]) -> float:
        """Take one sample, (channels,) in the order of the normal set's first series, NaN where
        missing; give the score of its time stamp.

        Raises ValueError for another number of channels or an infinite value.
        """
        ...


class Detector(Protocol):
    """Finds anomalies after it has seen series without them."""

    def fit(self, normal: Sequence[Series]) -> Self:
        """Learn from series without anomalies.

        Raises ValueError for an empty normal set, a series shorter than a window, channels that
        differ between series, or a channel that is always missing.
        """
        ...

    def decision_function(self, series: Series) -> NDArray[np.float64]:
        """(time,): how anomalous each time stamp is; finite, higher is more anomalous.

        Raises ValueError for other channels than those of the normal set (their order does not
        matter) or a series shorter than a window, RuntimeError before `fit`.
        """
        ...

    def contributions(self, series: Series) -> NDArray[np.float64] | None:
        """(time, channels): how much each channel of `series` speaks for the score, at least 0.

        Those of windows add up to the score; others say how theirs make it. None where the detector
        cannot tell. Raises as `decision_function`.
        """
        ...

    def online(self) -> OnlineScorer:
        """Score one sample at a time; gives what `decision_function` gives.

        Raises ValueError where the detector must look ahead, RuntimeError before `fit`.
        """
        ...


class WindowModel(Protocol):
    """Scores windows. All that a detector of its kind must bring; windows are (count, length,
    channels) float64, standardised and without gaps."""

    def fit(self, windows: NDArray[np.float64]) -> object:
        """Learn from windows of the normal set, at least one, in the order of time."""
        ...

    def score_windows(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
        """(count,), finite, higher is more anomalous; of each window by itself, whatever else is
        in the batch."""
        ...

    def residuals(self, windows: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """(count, length, channels), the mean of whose squares over a window is its score; None
        where a model has none."""
        ...


@dataclass(frozen=True)
class FittedWindows:
    """What a `WindowDetector` has learnt, its model apart."""

    scaling: ChannelScaling
    baseline: float
    """Median score of the normal set's windows: the score of stamps that nobody can judge."""


class WindowDetector:
    """A detector that scores sliding windows with a model.

    A window with too many missing samples (`WindowConfig.max_missing`) says nothing: it takes the
    baseline, the median score of the normal set's windows. So do, with the alignment `end`, stamps
    before the first whole window.
    """

    def __init__(
        self,
        model: WindowModel,
        *,
        windows: WindowConfig | None = None,
        scaling: ScalingConfig | None = None,
        fitted: FittedWindows | None = None,
    ) -> None:
        """fitted: what was learnt before, together with a model that has learnt as well."""
        self.model = model
        self.windows = windows or WindowConfig()
        self.scaling = scaling or ScalingConfig()
        self._fitted = fitted

    @property
    def fitted(self) -> FittedWindows:
        """What was learnt. Raises RuntimeError before `fit`."""
        if self._fitted is None:
            raise RuntimeError("the detector has learnt nothing yet: call fit first")
        return self._fitted

    def fit(self, normal: Sequence[Series]) -> Self:
        """Learn channels' scales, the model and the baseline. Raises as `Detector.fit`."""
        scaling = learn_scaling(normal, self.scaling)
        parts = [self._cut(scaling, series) for series in normal]
        total = sum(int(scorable.sum()) for _, scorable in parts)
        if not total:
            raise ValueError(
                f"no window of the normal set has at most {self.windows.max_missing:.0%} of its "
                f"samples missing"
            )
        every = -(-total // self.windows.max_fit_windows)
        self.model.fit(_each_nth(parts, every))
        scores = np.concatenate([self._score(windows)[scorable] for windows, scorable in parts])
        self._fitted = FittedWindows(scaling, float(np.median(scores)))
        return self

    def decision_function(self, series: Series) -> NDArray[np.float64]:
        """(time,), the score of each time stamp. Raises as `Detector.decision_function`."""
        fitted = self.fitted
        windows, scorable = self._cut(fitted.scaling, series)
        scores = self._score(windows)
        scores[~scorable] = fitted.baseline
        return spread(scores, len(series), self.windows, before=fitted.baseline)

    def contributions(self, series: Series) -> NDArray[np.float64] | None:
        """(time, channels) that add up to the score, channels in the order of `series`.

        Zero where a stamp has the baseline. None where the model has no residuals.
        """
        fitted = self.fitted
        windows, scorable = self._cut(fitted.scaling, series)
        parts: list[NDArray[np.float64]] = []
        for batch in _batches(windows):
            residuals = self.model.residuals(batch)
            if residuals is None:
                return None
            parts.append(np.square(residuals).mean(axis=1) / windows.shape[2])
        shares = np.concatenate(parts)
        shares[~scorable] = 0.0
        contributions = np.empty((len(series), windows.shape[2]))
        order = fitted.scaling.order_of(series)
        contributions[:, order] = spread(shares, len(series), self.windows, before=0.0)
        return contributions

    def online(self) -> OnlineWindows:
        """One sample at a time. Raises ValueError for the alignment `mean`, which looks ahead."""
        if self.windows.alignment != "end":
            raise ValueError("only the alignment 'end' can score sample by sample; 'mean' looks on")
        return OnlineWindows(self.model, self.windows, self.fitted)

    def _cut(
        self, scaling: ChannelScaling, series: Series
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The windows of a series, and which of them have samples enough."""
        check_holds_window(series, self.windows)
        prepared = scaling.prepare(series)
        share = missing_share(prepared.missing, self.windows)
        return windows_of(prepared.values, self.windows), share <= self.windows.max_missing

    def _score(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
        if not len(windows):
            return np.empty(0)
        scores = [np.asarray(self.model.score_windows(batch)) for batch in _batches(windows)]
        return np.concatenate(scores).astype(np.float64)


class OnlineWindows:
    """Scores the newest window whenever one is whole, as the alignment `end` does."""

    def __init__(self, model: WindowModel, windows: WindowConfig, fitted: FittedWindows) -> None:
        self._model = model
        self._windows = windows
        self._preparation = fitted.scaling.online()
        self._baseline = fitted.baseline
        self._score = fitted.baseline
        channels = len(fitted.scaling.channels)
        # Each sample is written twice, a window apart, so that the newest window is always one
        # piece of memory and nothing has to move.
        self._samples = np.zeros((2 * windows.length, channels))
        self._missing = np.zeros(windows.length, np.int64)
        self._missing_in_window = 0
        self._seen = 0

    def update(self, sample: NDArray[np.float64]) -> float:
        """The score of this time stamp; see `OnlineScorer.update`."""
        values, missing = self._preparation.update(sample)
        length = self._windows.length
        place = self._seen % length
        self._samples[place] = self._samples[place + length] = values
        absent = int(np.count_nonzero(missing))
        self._missing_in_window += absent - int(self._missing[place])
        self._missing[place] = absent
        self._seen += 1
        late = self._seen - length
        if late >= 0 and late % self._windows.stride == 0:
            share = self._missing_in_window / (length * values.shape[0])
            if share > self._windows.max_missing:
                self._score = self._baseline
            else:
                window = self._samples[place + 1 : place + 1 + length]
                self._score = float(self._model.score_windows(window[None])[0])
        return self._score


def _batches(windows: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    size = max(1, NUMBERS_AT_ONCE // (windows.shape[1] * windows.shape[2]))
    return (windows[start : start + size] for start in range(0, len(windows), size))


def _each_nth(
    parts: Sequence[tuple[NDArray[np.float64], NDArray[np.bool_]]], every: int
) -> NDArray[np.float64]:
    """Every n-th of the windows of all parts that have samples enough, as if in one array."""
    kept: list[NDArray[np.float64]] = []
    passed = 0
    for windows, scorable in parts:
        places = np.flatnonzero(scorable)
        first = -passed % every
        # Windows overlap, so copies take many times their memory: no more than are wanted.
        kept.append(windows[first::every] if scorable.all() else windows[places[first::every]])
        passed += len(places)
    return kept[0] if len(kept) == 1 else np.concatenate(kept)
