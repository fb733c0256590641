"""Windows of a plant's telemetry as rows: how far each channel is from what the others foretell.

Raw readings follow weather and load, which hide a fault. So each channel is regressed on all others
over normal operation, and what the regression leaves, in standard deviations, is kept: in the
inverse P of the covariance of standardised channels z, channel i is off by (P z)_i / sqrt(P_ii)
(Lauritzen 1996, "Graphical Models", section 5.1.1: the conditional distribution of one Gaussian
variable given the others). A row is the inverse hyperbolic sine of their means over short spans,
which leaves small ones as they are and tames what a broken sensor makes of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rlkit.gan.labelled_rows import LabelledRows

NORMAL = "normal"
"""Name of the class without a fault."""

_RIDGE = 1e-3
"""Added to the variance of each standardised channel, as some are sums of others."""


class Stretch(Protocol):
    """When a series is not normal, as `rlkit.autoencoder.anomalies.series.Event`."""

    @property
    def start(self) -> int:
        """First step."""
        ...

    @property
    def stop(self) -> int:
        """Step after the last."""
        ...

    @property
    def kind(self) -> str:
        """What it is."""
        ...


class Telemetry(Protocol):
    """A series, as `rlkit.autoencoder.anomalies.series.Series`."""

    @property
    def values(self) -> NDArray[np.float64]:
        """(time, channels), finite."""
        ...

    @property
    def events(self) -> Sequence[Stretch]:
        """In order, without overlap."""
        ...


@dataclass(frozen=True)
class WindowConfig:
    """How windows are cut. Raises ValueError for what does not fit."""

    samples: int = 4
    """In a row, of each channel, 1 or more."""
    steps: int = 6
    """Of the telemetry, 1 or more, whose mean is a sample."""
    grown: float = 0.5
    """Share of a fault's duration that is left out at its beginning, in [0, 1), while it grows."""
    most_of_series: int = 24
    """Windows of a class from one series, at most, spread over it."""

    def __post_init__(self) -> None:
        for name in ("samples", "steps", "most_of_series"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0.0 <= self.grown < 1.0:
            raise ValueError(f"grown must be in [0, 1), got {self.grown}")

    @property
    def length(self) -> int:
        """Steps of a window."""
        return self.samples * self.steps


@dataclass(frozen=True)
class ChannelResiduals:
    """What the other channels do not foretell of each, learnt from normal operation."""

    center: NDArray[np.float64]
    """(channels,), means."""
    weights: NDArray[np.float64]
    """(channels, channels): deviations from the means times this are residuals."""

    @classmethod
    def learn(cls, normal: Sequence[Telemetry]) -> ChannelResiduals:
        """From series of normal operation. Channels that never move there tell nothing and give 0.

        Raises ValueError for no series.
        """
        if not normal:
            raise ValueError("residuals are learnt from normal operation, and there is none")
        values = np.concatenate([series.values for series in normal])
        center, deviation = values.mean(0), values.std(0)
        moves = deviation > 1e-6 * np.maximum(1.0, np.abs(center))
        scale = np.where(moves, 1.0 / np.where(moves, deviation, 1.0), 0.0)
        standardised = (values - center) * scale
        covariance = standardised.T @ standardised / len(values)
        precision = np.linalg.inv(covariance + _RIDGE * np.eye(len(center)))
        weights = scale[:, np.newaxis] * precision / np.sqrt(np.diag(precision))
        return cls(center, weights)

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Residuals (time, channels), about 1 in normal operation, of values (time, channels)."""
        return (values - self.center) @ self.weights


def fault_windows(
    normal: Sequence[Telemetry],
    others: Sequence[Telemetry],
    config: WindowConfig,
    about: dict[str, Any] | None = None,
) -> LabelledRows:
    """Windows of series, as rows (count, samples * channels) float32.

    normal: series of normal operation that residuals are learnt from; no window is cut from them.
    others: series that windows are cut from: normal ones before their first event, or throughout
    without one, and faulty ones while an event lasts, but for its beginning. A row holds all
    channels of the first sample, then of the second. Classes are `NORMAL` and the kinds of events;
    groups are series.
    Raises ValueError where there is nothing to learn from or to cut.
    """
    residuals = ChannelResiduals.learn(normal)
    names = (NORMAL, *sorted({event.kind for series in others for event in series.events}))
    cut: list[NDArray[np.float64]] = []
    labels: list[int] = []
    groups: list[int] = []
    for number, series in enumerate(others):
        kept = residuals(series.values)
        first = series.events[0].start if series.events else len(kept)
        stretches = [(0, first, NORMAL)]
        for event in series.events:
            grown = event.start + round(config.grown * (event.stop - event.start))
            stretches.append((grown, event.stop, event.kind))
        for start, stop, kind in stretches:
            for begin in _begins(start, stop, config):
                cut.append(kept[begin : begin + config.length])
                labels.append(names.index(kind))
                groups.append(number)
    if not cut:
        raise ValueError(f"no stretch of the series lasts {config.length} steps, as a window does")
    windows = np.stack(cut).reshape(len(cut), config.samples, config.steps, -1).mean(2)
    return LabelledRows(
        np.arcsinh(windows).reshape(len(cut), -1).astype(np.float32),
        np.array(labels, np.int64),
        names,
        np.array(groups, np.int64),
        about or {},
    )


def _begins(start: int, stop: int, config: WindowConfig) -> NDArray[np.int64]:
    """Where windows begin that do not overlap, spread evenly from start to stop."""
    room = (stop - start) // config.length
    if room < 1:
        return np.zeros(0, np.int64)
    count = min(room, config.most_of_series)
    return np.linspace(start, stop - config.length, count).astype(np.int64)
