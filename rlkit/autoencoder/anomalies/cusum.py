"""Cumulative sums of what a channel does beyond what the other channels explain.

Page 1954, "Continuous inspection schemes", in its tabular form with two sides (Montgomery 2013,
"Introduction to Statistical Quality Control", section 9.1), on residuals of a regression as Hawkins
1991, "Multivariate quality control based on regression-adjusted variables", advises: a plant's
sensors move together, so a fault shows in what the others do not explain. It finds small lasting
shifts that no single sample shows, and it needs no windows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.scaling import (
    ChannelScaling,
    Prepared,
    ScalingConfig,
    learn_scaling,
)
from rlkit.autoencoder.anomalies.series import Series

DECISION_INTERVAL = 5.0
"""Standard deviations of residuals, the usual limit of a sum with a slack of a half (Montgomery
2013): the least that a channel's sums are measured against."""
EXACT = 1e-3
"""Residuals below this share of a channel's standard deviation are rounding: an exact relation."""


@dataclass(frozen=True)
class CUSUMConfig:
    """What is explained by what, and which shifts matter. Raises ValueError for what cannot be."""

    exogenous: tuple[str, ...] = ()
    """Channels that act on the plant and are not watched, such as weather, load and commands: all
    others are explained by them. Empty: each channel is explained by all others."""
    lags: int = 0
    """Steps back that explaining channels are looked at as well, at least 0."""
    slack: float = 0.5
    """Taken off each step, in standard deviations of residuals, at least 0: half the shift that
    shall be found fastest."""
    ceiling: float = 2.0
    """Sums stop at so many times the highest value that they had in the normal set, above 1, so
    that they come down soon after an anomaly has ended; infinity lets them grow."""
    ridge: float = 1e-3
    """Penalty of the regression beside unit variances, above 0; channels that repeat each other
    share their weight."""

    def __post_init__(self) -> None:
        if self.lags < 0:
            raise ValueError(f"lags must be at least 0 steps, got {self.lags}")
        if not 0 <= self.slack < math.inf:
            raise ValueError(f"slack must be at least 0, got {self.slack}")
        if not self.ceiling > 1:
            raise ValueError(f"ceiling must be above 1, got {self.ceiling}")
        if not 0 < self.ridge < math.inf:
            raise ValueError(f"ridge must be above 0, got {self.ridge}")


@dataclass(frozen=True)
class _Fitted:
    scaling: ChannelScaling
    weights: NDArray[np.float64]
    """((1 + lags) x channels, channels): what explains each channel; 0 where it may not."""
    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    """(channels,), of the residuals; spread is infinite for channels that are not watched."""
    peak: NDArray[np.float64]
    """(channels,), highest sum in the normal set, at least the decision interval."""


class CUSUM:
    """A `Detector` by cumulative sums of residuals.

    The score is the highest of all channels' sums, upward and downward, each over the highest that
    it had in the normal set: beyond 1 lies what the normal set never had. A sample that is missing
    leaves its channel's sums as they are. Contributions are the channels' own sums, so the score is
    their maximum.
    """

    def __init__(
        self, config: CUSUMConfig | None = None, *, scaling: ScalingConfig | None = None
    ) -> None:
        self.config = config or CUSUMConfig()
        self.scaling = scaling or ScalingConfig()
        self._fitted: _Fitted | None = None

    def fit(self, normal: Sequence[Series]) -> Self:
        """Learn scales, regressions and the height of normal sums. Raises as `Detector.fit`, and
        ValueError where an exogenous channel is unknown or none is left to watch."""
        scaling = learn_scaling(normal, self.scaling)
        absent = [name for name in self.config.exogenous if name not in scaling.channels]
        if absent:
            raise ValueError(f"exogenous channels that the normal set lacks: {absent}")
        exogenous = np.isin(scaling.channels, self.config.exogenous)
        if exogenous.all():
            raise ValueError("all channels are exogenous; none is left to watch")
        prepared = [scaling.prepare(series) for series in normal]
        weights = self._regress(prepared, exogenous)
        residuals = [_residuals(each.values, weights, self.config.lags) for each in prepared]
        watched = np.concatenate(
            [
                np.where(each.missing, np.nan, part)
                for each, part in zip(prepared, residuals, strict=True)
            ]
        )
        mean = np.nanmean(watched, axis=0)
        spread = np.maximum(np.nanstd(watched, axis=0), EXACT)
        spread[exogenous] = math.inf
        uncut = _Fitted(scaling, weights, mean, spread, np.full(len(mean), math.inf))
        peaks = [self._sums(uncut, each).max(axis=(0, 1)) for each in prepared if len(each.values)]
        peak = np.maximum(np.max(peaks, axis=0), DECISION_INTERVAL)
        self._fitted = _Fitted(scaling, weights, mean, spread, peak)
        return self

    def decision_function(self, series: Series) -> NDArray[np.float64]:
        """(time,), the highest sum over its normal peak. Raises as `Detector.decision_function`."""
        fitted = self._learnt()
        sums = self._sums(fitted, fitted.scaling.prepare(series))
        return (sums / fitted.peak).max(axis=(1, 2))

    def contributions(self, series: Series) -> NDArray[np.float64]:
        """(time, channels), each channel's higher sum over its normal peak; 0 if exogenous."""
        fitted = self._learnt()
        sums = self._sums(fitted, fitted.scaling.prepare(series))
        contributions = np.empty(series.values.shape)
        contributions[:, fitted.scaling.order_of(series)] = (sums / fitted.peak).max(axis=1)
        return contributions

    def online(self) -> OnlineCUSUM:
        """One sample at a time. Raises RuntimeError before `fit`."""
        return OnlineCUSUM(self.config, self._learnt())

    def _learnt(self) -> _Fitted:
        if self._fitted is None:
            raise RuntimeError("the detector has learnt nothing yet: call fit first")
        return self._fitted

    def _regress(
        self, prepared: Sequence[Prepared], exogenous: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Ridge regression of each watched channel on what may explain it."""
        lags = self.config.lags
        explaining = np.concatenate([_lagged(each.values, lags) for each in prepared])
        channels = len(exogenous)
        values = explaining[:, :channels]
        products = explaining.T @ explaining / len(explaining)
        products[np.diag_indices_from(products)] += self.config.ridge
        targets = explaining.T @ values / len(explaining)
        weights = np.zeros((explaining.shape[1], channels))
        for channel in np.flatnonzero(~exogenous):
            may = exogenous if exogenous.any() else np.arange(channels) != channel
            rows = np.flatnonzero(np.tile(may, lags + 1))
            if len(rows):
                block = products[np.ix_(rows, rows)]
                weights[rows, channel] = np.linalg.solve(block, targets[rows, channel])
        return weights

    def _sums(self, fitted: _Fitted, prepared: Prepared) -> NDArray[np.float64]:
        """(time, 2, channels): upward and downward sums."""
        residuals = _residuals(prepared.values, fitted.weights, self.config.lags)
        shifts = (residuals - fitted.mean) / fitted.spread
        sums = np.zeros((len(shifts) + 1, 2, shifts.shape[1]))
        cap = self.config.ceiling * fitted.peak
        for step, (shift, missing) in enumerate(zip(shifts, prepared.missing, strict=True)):
            sums[step + 1] = _accumulate(sums[step], shift, missing, self.config.slack, cap)
        return sums[1:]


class OnlineCUSUM:
    """Sums that go on sample by sample."""

    def __init__(self, config: CUSUMConfig, fitted: _Fitted) -> None:
        self._config = config
        self._fitted = fitted
        self._preparation = fitted.scaling.online()
        self._recent = np.zeros((config.lags + 1, len(fitted.mean)))
        self._sums = np.zeros((2, len(fitted.mean)))
        self._cap = config.ceiling * fitted.peak

    def update(self, sample: NDArray[np.float64]) -> float:
        """The score of this time stamp; see `OnlineScorer.update`."""
        values, missing = self._preparation.update(sample)
        self._recent[1:] = self._recent[:-1]
        self._recent[0] = values
        residual = values - self._recent.ravel() @ self._fitted.weights
        shift = (residual - self._fitted.mean) / self._fitted.spread
        self._sums = _accumulate(self._sums, shift, missing, self._config.slack, self._cap)
        return float((self._sums / self._fitted.peak).max())


def _accumulate(
    sums: NDArray[np.float64],
    shift: NDArray[np.float64],
    missing: NDArray[np.bool_],
    slack: float,
    cap: NDArray[np.float64],
) -> NDArray[np.float64]:
    """One step of both sides: S = min(cap, max(0, S +- shift - slack)), (2, channels)."""
    moved = np.minimum(np.maximum(sums + np.stack((shift, -shift)) - slack, 0.0), cap)
    return np.where(missing, sums, moved)


def _lagged(values: NDArray[np.float64], lags: int) -> NDArray[np.float64]:
    """(time, (1 + lags) x channels): each step with those before it, zeros before the first."""
    padded = np.concatenate((np.zeros((lags, values.shape[1])), values))
    parts = [padded[lags - lag : lags - lag + len(values)] for lag in range(lags + 1)]
    return np.concatenate(parts, axis=1)


def _residuals(
    values: NDArray[np.float64], weights: NDArray[np.float64], lags: int
) -> NDArray[np.float64]:
    return values - _lagged(values, lags) @ weights
