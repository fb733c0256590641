"""Which alarms are alike: a map of few dimensions, and clusters on it.

Two kinds of map. By `codes`: what the bottleneck of an autoencoder makes of the windows that made
alarms, together with codes of normal windows, reduced by PCA; an alarm is the mean of its windows
there. It tells in what state the plant was. By `channels`: the shares that channels have in each
alarm, their square roots reduced by PCA, so that distances are those of Hellinger; this tells what
was wrong, and any detector that knows channels has it.

Alarms are clustered on the map by k-means. The number of clusters is that with the highest mean
silhouette (Rousseeuw 1987). A cloud without any clusters can be divided too, into so many with a
silhouette of a third to a half; so a division counts only where its silhouette is higher than the
best of each of 19 sets of as many points that were drawn from one normal distribution with the same
covariance, which chance alone does once in 20 times. Else, or where alarms are few, all are one
cluster. The comparison with points drawn from a distribution without clusters is that of
Tibshirani, Walther and Hastie 2001 (the gap statistic).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.alarms import Alarm
from rlkit.autoencoder.anomalies.detector import Detector, WindowDetector
from rlkit.autoencoder.anomalies.optional_packages import needs
from rlkit.autoencoder.anomalies.series import Series
from rlkit.autoencoder.anomalies.windows import missing_share, windows_of

MapKind = Literal["codes", "channels"]

FEWEST_ALARMS = 4
"""That can be two clusters of more than one alarm each."""
REFERENCE_POINTS = 300
"""Of a set to compare with at most, as the time of silhouettes grows with their square."""


@runtime_checkable
class BottleneckModel(Protocol):
    """A `WindowModel` that squeezes windows through a bottleneck."""

    def codes(self, windows: NDArray[np.float64]) -> NDArray[np.floating]:
        """(count, length, channels) -> (count, latents)."""
        ...


@dataclass(frozen=True)
class AlarmMapConfig:
    """How alarms are mapped and clustered. Raises ValueError for what cannot be."""

    by: MapKind = "codes"
    """`codes` of the bottleneck, or shares of `channels`; see the module. Detectors without a
    bottleneck are mapped by channels."""
    dimensions: Literal[2, 3] = 3
    """Of the map."""
    max_clusters: int = 6
    """Clusters of alarms at most, at least 1."""
    references: int = 19
    """Sets of points without clusters that a division is compared with, at least 0; 0 takes every
    division for real. See the module."""
    normal_windows: int = 1_000
    """Normal windows that are compared with, evenly spaced, at least 1."""
    windows_per_alarm: int = 100
    """Windows of an alarm that are looked at, evenly spaced, at least 1."""
    seed: int = 0
    """Of the first centres of clusters, and of points to compare with."""

    def __post_init__(self) -> None:
        if self.by not in ("codes", "channels"):
            raise ValueError(f"by must be 'codes' or 'channels', got {self.by!r}")
        for name in ("max_clusters", "normal_windows", "windows_per_alarm"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.dimensions not in (2, 3):
            raise ValueError(f"dimensions must be 2 or 3, got {self.dimensions}")
        if self.references < 0:
            raise ValueError(f"references must be at least 0, got {self.references}")


@dataclass(frozen=True)
class AlarmMap:
    """Points of few dimensions; alarms are counted over all series, in their order."""

    by: MapKind
    """Of what."""
    normal: NDArray[np.float64]
    """(normal windows, dimensions); none by channels."""
    alarmed: NDArray[np.float64]
    """(alarmed windows, dimensions); by channels, of each alarm as a whole."""
    alarm_of: NDArray[np.int64]
    """(alarmed windows,), the alarm that each belongs to."""
    centres: NDArray[np.float64]
    """(alarms, dimensions), means of each alarm's windows."""
    clusters: NDArray[np.int64]
    """(alarms,), from 0, the largest cluster first."""
    explained: NDArray[np.float64]
    """(dimensions,), share of the variance of what is mapped."""
    silhouette: float | None
    """Mean over alarms, -1 to 1; None where all are one cluster."""

    @property
    def cluster_count(self) -> int:
        """At least 1."""
        return int(self.clusters.max()) + 1


@dataclass(frozen=True)
class Alarmed:
    """A series, its scores (time,), and its alarms in order."""

    series: Series
    scores: NDArray[np.float64]
    alarms: tuple[Alarm, ...]


def map_alarms(
    detector: Detector,
    alarmed: Sequence[Alarmed],
    threshold: float,
    *,
    shares: NDArray[np.float64] | None = None,
    normal: Sequence[Series] = (),
    config: AlarmMapConfig | None = None,
) -> AlarmMap | None:
    """Map and cluster the alarms of a fitted detector.

    alarmed: series with the alarms at `threshold`. shares: (alarms, channels), of each channel in
    each alarm, at least 0, where the detector can tell. normal: series to compare codes with; where
    there are none, windows that touch no alarm. Returns None where there is no alarm, or a detector
    has neither a bottleneck nor shares. Raises ImportError without scikit-learn, and as
    `decision_function`.
    """
    config = config or AlarmMapConfig()
    if not any(each.alarms for each in alarmed):
        return None
    if config.by == "codes" and isinstance(detector, WindowDetector):
        model = detector.model
        if isinstance(model, BottleneckModel):
            return _map_codes(detector, model, alarmed, threshold, normal, config)
    if shares is None:
        return None
    points, explained = _reduced(np.sqrt(shares), config.dimensions)
    clusters, silhouette = cluster_alarms(points, config)
    places = np.arange(len(points))
    return AlarmMap("channels", points[:0], points, places, points, clusters, explained, silhouette)


def cluster_alarms(
    centres: NDArray[np.float64], config: AlarmMapConfig | None = None
) -> tuple[NDArray[np.int64], float | None]:
    """Clusters of points (alarms, dimensions), as the module says.

    Returns (alarms,) from 0, the largest cluster first, and the mean silhouette, None where all are
    one cluster. Raises ImportError without scikit-learn.
    """
    config = config or AlarmMapConfig()
    if len(centres) < FEWEST_ALARMS:
        return np.zeros(len(centres), np.int64), None
    labels, silhouette = _best_division(centres, config)
    if silhouette is not None and config.references:
        random = np.random.default_rng(config.seed)
        covariance = np.cov(centres, rowvar=False)
        size = min(len(centres), REFERENCE_POINTS)
        for _ in range(config.references):
            points = random.multivariate_normal(np.zeros(centres.shape[1]), covariance, size)
            _, by_chance = _best_division(points, config)
            if by_chance is not None and by_chance >= silhouette:
                return np.zeros(len(centres), np.int64), None
    found, first, sizes = np.unique(labels, return_index=True, return_counts=True)
    rank = np.empty(len(found), np.int64)
    rank[np.lexsort((first, -sizes))] = np.arange(len(found))
    return rank[np.searchsorted(found, labels)], silhouette


def _best_division(
    points: NDArray[np.float64], config: AlarmMapConfig
) -> tuple[NDArray[np.int64], float | None]:
    """Labels (points,) of the division into two or more clusters with the highest mean silhouette,
    and that; zeros and None where points cannot be divided."""
    with needs("clustering alarms", "scikit-learn"):
        from sklearn.cluster import KMeans
        from sklearn.metrics import silhouette_score
    starts: Any = 5  # its annotation lacks integers
    best: tuple[NDArray[np.int64], float | None] = (np.zeros(len(points), np.int64), None)
    most = min(config.max_clusters, len(points) - 1, len(np.unique(points, axis=0)))
    for count in range(2, most + 1):
        labels = KMeans(count, n_init=starts, random_state=config.seed).fit_predict(points)
        silhouette = float(silhouette_score(points, labels))
        if best[1] is None or silhouette > best[1]:
            best = labels.astype(np.int64), silhouette
    return best


def _map_codes(
    detector: WindowDetector,
    model: BottleneckModel,
    alarmed: Sequence[Alarmed],
    threshold: float,
    normal: Sequence[Series],
    config: AlarmMapConfig,
) -> AlarmMap:
    parts: list[NDArray[np.float64]] = []
    counts: list[int] = []
    for each in alarmed:
        if each.alarms:
            places = [_windows_of(detector, each, alarm, threshold) for alarm in each.alarms]
            places = [_thinned(some, config.windows_per_alarm) for some in places]
            counts += map(len, places)
            parts.append(_codes(detector, model, each.series, np.concatenate(places)))
    usual = [
        _codes(detector, model, series, places)
        for series, places in _normal_windows(detector, alarmed, normal, config.normal_windows)
    ]
    points, explained = _reduced(np.concatenate((*usual, *parts)), config.dimensions)
    points, points_alarmed = np.split(points, [sum(map(len, usual))])
    alarm_of = np.repeat(np.arange(len(counts)), counts)
    sums = np.zeros((len(counts), config.dimensions))
    np.add.at(sums, alarm_of, points_alarmed)
    centres = sums / np.array(counts)[:, None]
    clusters, silhouette = cluster_alarms(centres, config)
    return AlarmMap(
        "codes", points, points_alarmed, alarm_of, centres, clusters, explained, silhouette
    )


def _windows_of(
    detector: WindowDetector, alarmed: Alarmed, alarm: Alarm, threshold: float
) -> NDArray[np.int64]:
    """Windows that made an alarm: those that were the newest at steps above the threshold, or with
    the alignment `mean` those around such steps."""
    steps = alarm.start + np.flatnonzero(alarmed.scores[alarm.start : alarm.stop] > threshold)
    windows = detector.windows
    behind = windows.length - 1 if windows.alignment == "end" else windows.length // 2
    last = (len(alarmed.series) - windows.length) // windows.stride
    return np.unique(np.clip((steps - behind) // windows.stride, 0, last))


def _normal_windows(
    detector: WindowDetector, alarmed: Sequence[Alarmed], normal: Sequence[Series], most: int
) -> list[tuple[Series, NDArray[np.int64]]]:
    """At most so many windows, evenly from all series; see `map_alarms`."""
    windows = detector.windows
    candidates: list[tuple[Series, NDArray[np.int64]]] = []
    for series in normal:
        if len(series) >= windows.length:
            share = missing_share(np.isnan(series.values), windows)
            candidates.append((series, np.flatnonzero(share <= windows.max_missing)))
    for each in () if normal else alarmed:
        on = np.zeros((len(each.series), 1), bool)
        for alarm in each.alarms:
            on[alarm.start : alarm.stop] = True
        candidates.append((each.series, np.flatnonzero(missing_share(on, windows) == 0)))
    every = max(1, -(-sum(len(places) for _, places in candidates) // most))
    chosen: list[tuple[Series, NDArray[np.int64]]] = []
    passed = 0
    for series, places in candidates:
        some = places[-passed % every :: every]
        passed += len(places)
        if len(some):
            chosen.append((series, some))
    return chosen


def _codes(
    detector: WindowDetector, model: BottleneckModel, series: Series, places: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(places, latents), of the windows at `places` in a series."""
    values = detector.fitted.scaling.prepare(series).values
    windows = windows_of(values, detector.windows)
    return np.asarray(model.codes(windows[places]), np.float64)


def _thinned(places: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many, evenly spaced, the first among them."""
    return places[:: -(-len(places) // most)]


def _reduced(
    codes: NDArray[np.float64], dimensions: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(points, dimensions) by PCA, and the share of variance of each dimension.

    Dimensions beyond those that points have are zero.
    """
    with needs("mapping alarms", "scikit-learn"):
        from sklearn.decomposition import PCA
    points, shares = np.zeros((len(codes), dimensions)), np.zeros(dimensions)
    if np.ptp(codes, axis=0).any():
        pca = PCA(min(dimensions, *codes.shape), svd_solver="full")
        reduced = pca.fit_transform(codes)
        points[:, : reduced.shape[1]] = reduced
        shares[: reduced.shape[1]] = pca.explained_variance_ratio_
    return points, shares
