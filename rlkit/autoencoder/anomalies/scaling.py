"""What a detector learns of single channels on the normal set, and how gaps are bridged.

A channel is standardised to mean 0 and standard deviation 1 of the normal set. One that never
moved there has no scale of its own: a departure of any size counts as a fixed number of standard
deviations. A missing sample takes the channel's last value for a few steps, then its mean. All of
it looks back only, so that one sample at a time gives what a whole series gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.series import Series

ROUNDING = 2.0**-22
"""Two units in the last place of float32, in which series are stored: no movement of a channel."""


@dataclass(frozen=True)
class ScalingConfig:
    """How samples are standardised and gaps bridged. Raises ValueError for what cannot be."""

    max_hold: int = 5
    """Steps that a channel's last value stands in for missing samples; its mean does thereafter,
    and where there was no value yet. At least 0."""
    constant_departure: float = 10.0
    """What counts, in standard deviations, where a channel leaves the value that it had throughout
    the normal set; above 0."""
    clip: float = 100.0
    """Standardised values are cut off at plus and minus this, above 0: one broken sensor shall not
    drown the others."""

    def __post_init__(self) -> None:
        if self.max_hold < 0:
            raise ValueError(f"max_hold must be at least 0 steps, got {self.max_hold}")
        for name in ("constant_departure", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")


@dataclass(frozen=True)
class Prepared:
    """A series as detectors see it."""

    values: NDArray[np.float64]
    """(time, channels), standardised, without gaps."""
    missing: NDArray[np.bool_]
    """(time, channels), True where the sample was missing and something stands in for it."""


@dataclass(frozen=True)
class ChannelScaling:
    """Means and scales of channels; `learn_scaling` makes one."""

    channels: tuple[str, ...]
    """Names, in the order in which detectors see them."""
    step_seconds: float
    """Between two samples."""
    center: NDArray[np.float64]
    """(channels,), mean of the normal set, or the value of a constant channel."""
    scale: NDArray[np.float64]
    """(channels,), standard deviation of the normal set; 1 for a constant channel."""
    constant: NDArray[np.bool_]
    """(channels,), True where a channel never moved in the normal set."""
    config: ScalingConfig = field(default_factory=ScalingConfig)

    def order_of(self, series: Series) -> NDArray[np.intp]:
        """(channels,): where in `series` each channel of the scaling is.

        Channels are told by their names, so their order does not matter. Raises ValueError where a
        channel is absent or unknown, or where the time between samples differs.
        """
        absent = [name for name in self.channels if name not in series.channels]
        unknown = [name for name in series.channels if name not in self.channels]
        if absent or unknown:
            raise ValueError(
                f"series {series.name!r} does not have the {len(self.channels)} channels of the "
                f"normal set: absent {absent or 'none'}, unknown {unknown or 'none'}"
            )
        if not np.isclose(series.step_seconds, self.step_seconds, rtol=1e-6):
            raise ValueError(
                f"series {series.name!r} has a sample every {series.step_seconds:g} s, but the "
                f"normal set every {self.step_seconds:g} s"
            )
        return np.array([series.channels.index(name) for name in self.channels], np.intp)

    def standardise(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(..., channels) in their units to standard deviations; NaN stays NaN."""
        moved = values - self.center
        standardised = np.clip(moved / self.scale, -self.config.clip, self.config.clip)
        if self.constant.any():
            departed = np.where(
                np.abs(moved) <= ROUNDING * np.abs(self.center),
                0.0,
                self.config.constant_departure * np.sign(moved),
            )
            standardised = np.where(self.constant, departed, standardised)
        return standardised

    def prepare(self, series: Series) -> Prepared:
        """Standardise a series and bridge its gaps; channels come in the order of the scaling.

        Raises ValueError for other channels or another time between samples.
        """
        values = self.standardise(series.values[:, self.order_of(series)])
        missing = np.isnan(values)
        if missing.any():
            steps = np.arange(len(values))[:, None]
            last = np.maximum.accumulate(np.where(missing, -1, steps), axis=0)
            held = np.take_along_axis(values, np.maximum(last, 0), axis=0)
            fresh = (last >= 0) & (steps - last <= self.config.max_hold)
            values = np.where(fresh, held, 0.0)
        return Prepared(values, missing)

    def online(self) -> OnlinePreparation:
        """The same for one sample at a time, from the start of a series."""
        return OnlinePreparation(self)


class OnlinePreparation:
    """Standardises samples and bridges gaps as they come, in constant time and memory."""

    def __init__(self, scaling: ChannelScaling) -> None:
        self._scaling = scaling
        count = len(scaling.channels)
        self._last = np.zeros(count)
        # No value yet is as good as one that is too old.
        self._age = np.full(count, scaling.config.max_hold + 1)

    def update(self, sample: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """One sample in the channels' units, NaN where missing: (channels,).

        Returns standardised values without gaps and what was missing, (channels,) each. Raises
        ValueError for another number of channels or an infinite value.
        """
        sample = np.asarray(sample, np.float64)
        if sample.shape != self._last.shape:
            raise ValueError(
                f"a sample has {len(self._last)} channels, as the normal set, got an array of "
                f"shape {sample.shape}"
            )
        missing = np.isnan(sample)
        infinite = np.flatnonzero(np.isinf(sample))
        if len(infinite):
            name = self._scaling.channels[infinite[0]]
            raise ValueError(f"infinite value in channel {name!r}; NaN means missing")
        values = self._scaling.standardise(sample)
        if not missing.any():
            self._age[:] = 0
            self._last = values
            return values, missing
        self._age = np.where(
            missing, np.minimum(self._age + 1, self._scaling.config.max_hold + 1), 0
        )
        self._last = np.where(missing, self._last, values)
        held = self._age <= self._scaling.config.max_hold
        return np.where(held, self._last, 0.0), missing


def learn_scaling(normal: Sequence[Series], config: ScalingConfig | None = None) -> ChannelScaling:
    """Learn means and scales of channels from series without anomalies.

    The first series tells the order of channels. Raises ValueError where there are no series or no
    samples, channels or times between samples differ, or a channel is always missing.
    """
    if not normal or not any(len(series) for series in normal):
        raise ValueError("the normal set is empty; a detector learns from at least one series")
    first = normal[0]
    count = len(first.channels)
    if not count:
        raise ValueError(f"series {first.name!r} has no channels")
    unscaled = ChannelScaling(
        first.channels,
        first.step_seconds,
        np.zeros(count),
        np.ones(count),
        np.zeros(count, bool),
        config or ScalingConfig(),
    )
    values = np.concatenate([series.values[:, unscaled.order_of(series)] for series in normal])
    never = np.count_nonzero(~np.isnan(values), axis=0) == 0
    if never.any():
        names = [name for name, absent in zip(first.channels, never, strict=True) if absent]
        raise ValueError(f"missing in every sample of the normal set: {names}")
    lowest, highest = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
    constant = highest - lowest <= ROUNDING * np.maximum(np.abs(lowest), np.abs(highest))
    center = np.where(constant, (lowest + highest) / 2, np.nanmean(values, axis=0))
    scale = np.where(constant, 1.0, np.nanstd(values, axis=0))
    return ChannelScaling(
        first.channels, first.step_seconds, center, scale, constant, unscaled.config
    )
