"""Why a detector alarmed: the channels that made each alarm, and which alarms are alike.

Channels come from `Detector.contributions`, summed over the alarm; `alarm_map` tells which alarms
are alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.alarm_map import (
    Alarmed,
    AlarmMap,
    AlarmMapConfig,
    map_alarms,
)
from rlkit.autoencoder.anomalies.alarms import Alarm, alarms_of, check_scores, event_of
from rlkit.autoencoder.anomalies.detector import Detector
from rlkit.autoencoder.anomalies.series import Event, Series

NAMED_CHANNELS = 5
"""Channels named for an alarm at most."""
USUAL = (0.01, 0.99)
"""Quantiles of the normal set between which a channel is as usual."""


@dataclass(frozen=True)
class ChannelShare:
    """What a channel did for an alarm."""

    channel: str
    share: float
    """Of all channels' contributions, 0 to 1."""


@dataclass(frozen=True)
class ExplainedAlarm:
    """An alarm and its reasons."""

    alarm: Alarm
    peak: float
    """Highest score."""
    peak_step: int
    """Where it is, the first of equals."""
    channels: tuple[ChannelShare, ...]
    """Those that did most, first the most; empty where the detector cannot tell."""
    event: Event | None
    """In which it starts, and which it has thereby found."""
    cluster: int | None = None
    """Alike alarms have the same, 0 being the largest; None where there is no map."""


@dataclass(frozen=True)
class ExplainedSeries:
    """A series, its scores (time,), and its alarms in order."""

    series: Series
    scores: NDArray[np.float64]
    alarms: tuple[ExplainedAlarm, ...]


@dataclass(frozen=True)
class Explanation:
    """What is known of all alarms."""

    series: tuple[ExplainedSeries, ...]
    alarm_map: AlarmMap | None
    """None where there was no alarm, or the detector has neither a bottleneck nor channels."""
    usual: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Range of each channel in normal series, in its unit; see `USUAL`."""

    @property
    def alarms(self) -> tuple[ExplainedAlarm, ...]:
        """Of all series, in their order."""
        return tuple(alarm for each in self.series for alarm in each.alarms)


def explain(
    detector: Detector,
    scored: Sequence[tuple[Series, NDArray[np.float64]]],
    threshold: float,
    *,
    merge_gap: int = 0,
    normal: Sequence[Series] = (),
    config: AlarmMapConfig | None = None,
) -> Explanation:
    """Find the alarms of scored series, and their reasons.

    scored: series with the scores that the fitted detector gave them, (time,). threshold,
    merge_gap: as in `alarms_of`. normal: series without anomalies, to compare with; where there are
    none, codes are compared with those of steps without an alarm, and nothing is usual.
    Raises ValueError where scores do not fit their series, ImportError without scikit-learn where
    there are alarms to map, and as `Detector.contributions`.
    """
    explained: list[ExplainedSeries] = []
    shares: list[NDArray[np.float64]] = []
    order = sorted(scored[0][0].channels) if scored else []
    for series, scores in scored:
        check_scores(series, scores)
        alarms = alarms_of(scores, threshold, merge_gap=merge_gap)
        contributions = detector.contributions(series) if alarms else None
        reasons: list[ExplainedAlarm] = []
        for alarm in alarms:
            sums = None
            if contributions is not None:
                sums = contributions[alarm.start : alarm.stop].sum(axis=0)
                in_order = sums[[series.channels.index(name) for name in order]]
                shares.append(in_order / (sums.sum() or 1.0))
            reasons.append(_explained(alarm, series, scores, sums))
        explained.append(ExplainedSeries(series, scores, tuple(reasons)))
    alarm_map = map_alarms(
        detector,
        [Alarmed(each.series, each.scores, _alarms_of(each)) for each in explained],
        threshold,
        shares=np.stack(shares) if shares else None,
        normal=normal,
        config=config,
    )
    if alarm_map is not None:
        explained = _with_clusters(explained, alarm_map.clusters)
    return Explanation(tuple(explained), alarm_map, usual_ranges(normal))


def usual_ranges(normal: Sequence[Series]) -> dict[str, tuple[float, float]]:
    """The range of each channel that is in all series, between the quantiles `USUAL`.

    Channels that are always missing are left out, as are all where there are no series.
    """
    ranges: dict[str, tuple[float, float]] = {}
    for name in normal[0].channels if normal else ():
        if all(name in series.channels for series in normal):
            columns = [series.values[:, series.channels.index(name)] for series in normal]
            values = np.concatenate(columns)
            values = values[~np.isnan(values)]
            if len(values):
                low, high = np.quantile(values, USUAL)
                ranges[name] = float(low), float(high)
    return ranges


def name_channels(
    contributions: NDArray[np.float64], channels: Sequence[str]
) -> tuple[ChannelShare, ...]:
    """The channels that contribute most, first the most, with their shares of all.

    contributions: (channels,), at least 0. At most `NAMED_CHANNELS`, none that contributes nothing.
    """
    most = np.argsort(-contributions, kind="stable")[:NAMED_CHANNELS]
    total = contributions.sum()
    return tuple(
        ChannelShare(channels[place], float(contributions[place] / total))
        for place in map(int, most)
        if contributions[place] > 0
    )


def _explained(
    alarm: Alarm,
    series: Series,
    scores: NDArray[np.float64],
    contributions: NDArray[np.float64] | None,
) -> ExplainedAlarm:
    """contributions: (channels,), sums over the alarm."""
    peak_step = alarm.start + int(np.argmax(scores[alarm.start : alarm.stop]))
    event = event_of(alarm, series.events)
    shares = () if contributions is None else name_channels(contributions, series.channels)
    return ExplainedAlarm(alarm, float(scores[peak_step]), peak_step, shares, event)


def _alarms_of(explained: ExplainedSeries) -> tuple[Alarm, ...]:
    return tuple(each.alarm for each in explained.alarms)


def _with_clusters(
    explained: Sequence[ExplainedSeries], clusters: NDArray[np.int64]
) -> list[ExplainedSeries]:
    following = iter(clusters.tolist())
    return [
        replace(
            each, alarms=tuple(replace(alarm, cluster=next(following)) for alarm in each.alarms)
        )
        for each in explained
    ]
