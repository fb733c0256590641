"""Matrix profile against the normal set, to compare with. Yeh et al. 2016, through stumpy.

The score of a window is its distance to the nearest window of the normal set (an AB-join), channel
by channel, and the mean over channels. A whole series takes time in proportion to channels x steps
x normal steps; stumpy compiles its kernels when first used, which takes a minute on a slow core.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.optional_packages import needs
from rlkit.autoencoder.anomalies.scaling import ChannelScaling, ScalingConfig, learn_scaling
from rlkit.autoencoder.anomalies.series import Series
from rlkit.autoencoder.anomalies.windows import (
    WindowConfig,
    check_holds_window,
    missing_share,
    spread,
)

BASELINE_WINDOWS = 32
"""Of the normal set, whose median distance to the rest of it is the baseline."""


@dataclass(frozen=True)
class _Fitted:
    scaling: ChannelScaling
    normal: NDArray[np.float64]
    """(steps, channels): all normal series, standardised, one after the other, NaN between them
    and where samples are missing, so that no window spans either."""
    baseline: float


class MatrixProfile:
    """A `Detector` by distance to the nearest normal window.

    Windows that cannot be judged are treated as `WindowDetector` does. Windows are standardised by
    themselves where `normalize` is set, as usual for a matrix profile: then shape alone counts, and
    neither a shift of a channel nor a larger swing. Online it goes through all of the normal set
    for every sample: time and memory do not grow with the stream, but a sample takes milliseconds
    for each channel.
    """

    def __init__(
        self,
        *,
        windows: WindowConfig | None = None,
        scaling: ScalingConfig | None = None,
        normalize: bool = True,
    ) -> None:
        """Raises ValueError for windows of under 3 steps, which stumpy does not take."""
        self.windows = windows or WindowConfig()
        self.scaling = scaling or ScalingConfig()
        self.normalize = normalize
        if self.windows.length < 3:
            raise ValueError(
                f"a matrix profile needs windows of at least 3 steps, got {self.windows.length}"
            )
        self._fitted: _Fitted | None = None

    def fit(self, normal: Sequence[Series]) -> Self:
        """Keep the normal set. Raises as `Detector.fit`, ImportError without stumpy, and ValueError
        where a channel has no window without missing samples."""
        scaling = learn_scaling(normal, self.scaling)
        parts: list[NDArray[np.float64]] = []
        between = np.full((1, len(scaling.channels)), np.nan)
        for series in normal:
            check_holds_window(series, self.windows)
            prepared = scaling.prepare(series)
            parts += [np.where(prepared.missing, np.nan, prepared.values), between]
        kept = np.concatenate(parts[:-1])
        self._fitted = _Fitted(scaling, kept, self._baseline(scaling, kept))
        return self

    def decision_function(self, series: Series) -> NDArray[np.float64]:
        """(time,), the score of each time stamp. Raises as `Detector.decision_function`."""
        fitted = self._learnt()
        distances = self._distances(fitted, series)
        return spread(
            self._judged(distances.mean(axis=1), fitted, series, fitted.baseline),
            len(series),
            self.windows,
            before=fitted.baseline,
        )

    def contributions(self, series: Series) -> NDArray[np.float64]:
        """(time, channels) that add up to the score; zero where a stamp has the baseline."""
        fitted = self._learnt()
        distances = self._distances(fitted, series)
        shares = self._judged(distances / distances.shape[1], fitted, series, 0.0)
        contributions = np.empty((len(series), distances.shape[1]))
        contributions[:, fitted.scaling.order_of(series)] = spread(
            shares, len(series), self.windows, before=0.0
        )
        return contributions

    def online(self) -> OnlineMatrixProfile:
        """One sample at a time. Raises ValueError for the alignment `mean`, which looks ahead."""
        if self.windows.alignment != "end":
            raise ValueError("only the alignment 'end' can score sample by sample; 'mean' looks on")
        return OnlineMatrixProfile(self, self._learnt())

    def _learnt(self) -> _Fitted:
        if self._fitted is None:
            raise RuntimeError("the detector has learnt nothing yet: call fit first")
        return self._fitted

    def _distances(self, fitted: _Fitted, series: Series) -> NDArray[np.float64]:
        """(count, channels), of each window to the nearest normal one."""
        check_holds_window(series, self.windows)
        values = fitted.scaling.prepare(series).values
        join, length = _stumpy().stump, self.windows.length
        profiles: list[NDArray[np.float64]] = []
        with warnings.catch_warnings():
            # It takes a series scored against itself for a mistake; here it is asked for.
            warnings.filterwarnings("ignore", message="Arrays T_A, T_B are equal")
            warnings.filterwarnings("ignore", message="A large number of values in `P`")
            for channel in range(values.shape[1]):
                profile = join(
                    np.ascontiguousarray(values[:, channel]),
                    length,
                    np.ascontiguousarray(fitted.normal[:, channel]),
                    ignore_trivial=False,
                    normalize=self.normalize,
                )
                profiles.append(profile[:, 0].astype(np.float64))
        return np.stack(profiles, axis=1)[:: self.windows.stride]

    def _judged(
        self,
        scores: NDArray[np.float64],
        fitted: _Fitted,
        series: Series,
        instead: float,
    ) -> NDArray[np.float64]:
        """Scores of windows, with `instead` where too many samples are missing."""
        share = missing_share(fitted.scaling.prepare(series).missing, self.windows)
        scores[share > self.windows.max_missing] = instead
        return scores

    def _to_all(
        self, window: NDArray[np.float64], normal: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """(normal windows, channels): distances of one window, infinite where normal has gaps."""
        mass = _stumpy().mass
        columns = [
            mass(
                np.ascontiguousarray(window[:, channel]),
                np.ascontiguousarray(normal[:, channel]),
                normalize=self.normalize,
            )
            for channel in range(window.shape[1])
        ]
        return np.stack(columns, axis=1)

    def _baseline(self, scaling: ChannelScaling, normal: NDArray[np.float64]) -> float:
        """Median distance of some normal windows to those that do not overlap half of them."""
        length = self.windows.length
        gaps = np.cumsum(np.vstack((np.zeros(normal.shape[1]), np.isnan(normal))), axis=0)
        whole = gaps[length:] == gaps[:-length]
        if not whole.any(axis=0).all():
            name = scaling.channels[int(np.argmin(whole.any(axis=0)))]
            raise ValueError(
                f"channel {name!r} has no window of {length} steps without missing samples"
            )
        starts = np.flatnonzero(whole.all(axis=1))
        distances: list[float] = []
        for start in starts[:: max(1, len(starts) // BASELINE_WINDOWS)]:
            to_all = self._to_all(normal[start : start + length], normal)
            to_all[max(0, start - length // 2) : start + length // 2 + 1] = np.inf
            distances.append(float(to_all.min(axis=0).mean()))
        known = [distance for distance in distances if np.isfinite(distance)]
        return float(np.median(known)) if known else 0.0


class OnlineMatrixProfile:
    """Compares the newest window with all normal ones whenever one is whole."""

    def __init__(self, detector: MatrixProfile, fitted: _Fitted) -> None:
        self._detector = detector
        self._fitted = fitted
        self._preparation = fitted.scaling.online()
        shape = (detector.windows.length, len(fitted.scaling.channels))
        self._samples = np.zeros(shape)
        self._missing = np.zeros(shape, bool)
        self._seen = 0
        self._score = fitted.baseline

    def update(self, sample: NDArray[np.float64]) -> float:
        """The score of this time stamp; see `OnlineScorer.update`."""
        values, missing = self._preparation.update(sample)
        windows = self._detector.windows
        for kept, newest in ((self._samples, values), (self._missing, missing)):
            kept[:-1] = kept[1:]
            kept[-1] = newest
        self._seen += 1
        late = self._seen - windows.length
        if late >= 0 and late % windows.stride == 0:
            if self._missing.mean() > windows.max_missing:
                self._score = self._fitted.baseline
            else:
                distances = self._detector._to_all(self._samples, self._fitted.normal)
                self._score = float(distances.min(axis=0).mean())
        return self._score


def _stumpy() -> Any:
    with needs("MatrixProfile", "stumpy"):
        import stumpy
    return stumpy
