"""Real series that come inside packages on PyPI, each with a normal part to fit on and a test part.

Only files are read: no package is imported, so that none of what it needs has to be there. Nothing
is downloaded. Looked into and left out: river's water flow, whose anomalies are told in words and
not by index, and its shuttle, which has lost its order in time; statsmodels has none.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.runs import runs_of
from rlkit.autoencoder.anomalies.series import Event, Series
from rlkit.autoencoder.anomalies.synthetic_anomalies import with_synthetic_anomalies
from rlkit.extras import installing

INSTALL: Mapping[str, str] = MappingProxyType(
    {
        # aeon 1.6 needs numba < 0.64, which needs numpy < 2.4: with what else it needs, it cannot
        # stand beside rlkit's own versions.
        "aeon": "pip install --no-deps 'aeon>=1.6,<1.7'",
        "pywt": installing("anomalies"),
        "sktime": installing("anomalies"),
    }
)
"""Package, as it is imported, -> what brings it."""


@dataclass(frozen=True)
class RealSeries:
    """A series in two parts.

    `context` of both holds `role` (`normal` or `test`), `source`, `split` and `labels`, the latter
    two `published`, `ours` or `synthetic`.
    """

    normal: Series
    """To fit on; without events."""
    test: Series
    """With events."""


@dataclass(frozen=True)
class _Source:
    """Where a series comes from."""

    package: str
    """As it is imported."""
    origin: str
    """Who recorded or made it, and who published it."""
    load: Callable[[Path], tuple[Series, Series]]
    """Makes both parts from the package's folder."""
    split: str
    labels: str


def load_real_series(name: str) -> RealSeries:
    """A series by its name in `REAL_SERIES`.

    Raises ValueError for other names, ImportError where its package is absent, and
    FileNotFoundError where the package's version has left the series out; one line each.
    """
    if name not in _SOURCES:
        raise ValueError(f"there is no real series {name!r}: there are {', '.join(_SOURCES)}")
    source = _SOURCES[name]
    spec = importlib.util.find_spec(source.package)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(
            f"the series {name!r} comes inside {source.package}, which is absent: "
            f"{INSTALL[source.package]}"
        )
    folder = Path(next(iter(spec.submodule_search_locations)))
    try:
        normal, test = source.load(folder)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"the series {name!r} is not in this version of {source.package}, which has no "
            f"{error.filename}; try another: {INSTALL[source.package]}"
        ) from error
    context = {"source": source.origin, "split": source.split, "labels": source.labels}
    return RealSeries(
        normal=replace(normal, name=f"{name}-normal", context=context | {"role": "normal"}),
        test=replace(test, name=f"{name}-test", context=context | {"role": "test"}),
    )


def _internal_bleeding(folder: Path) -> tuple[Series, Series]:
    data = folder / "datasets/data/KDD-TSAD_135"
    name = "135_UCR_Anomaly_InternalBleeding16"
    training, _ = _table(data / f"{name}_TRAIN.csv", [1], 2)
    # The test file begins with the training part.
    values, labels = _table(data / f"{name}_TEST.csv", [1], 2)
    return _split(_series(values, labels, ("value",)), len(training))


def _gutentag_ecg(folder: Path) -> tuple[Series, Series]:
    data = folder / "datasets/data/UnitTest"
    normal, test = (
        _series(*_table(data / f"ecg-diff-count-3_{part}.csv", [1], 2), ("value",))
        for part in ("TRAIN_NA", "TEST")
    )
    return normal, test


def _gait(folder: Path) -> tuple[Series, Series]:
    values, labels = _table(
        folder / "datasets/data/Daphnet_S06R02E0/S06R02E0.csv", list(range(1, 10)), 10
    )
    channels = tuple(
        f"{place}_{direction}"
        for place in ("ankle", "leg", "trunk")
        for direction in ("forward", "vertical", "lateral")
    )
    normal, test = _split(_series(values, labels, channels, step_seconds=1.0 / 64.0), 3520)
    return normal, with_synthetic_anomalies(test, length=128, seed=0)


def _arrhythmia(folder: Path) -> tuple[Series, Series]:
    values, labels = _table(folder / "datasets/data/mitdb/mitdb.csv", [0], 1)
    return _split(_series(values, labels, ("ecg",), step_seconds=1.0 / 360.0), 3000)


def _web_traffic(folder: Path) -> tuple[Series, Series]:
    values, labels = _table(folder / "datasets/data/yahoo/yahoo.csv", [0], 1)
    return _split(_series(values, labels, ("value",)), 400)


def _ecg(folder: Path) -> tuple[Series, Series]:
    with np.load(folder / "data/ecg.npz", allow_pickle=False) as archive:
        values = archive["data"].astype(np.float64)[:, np.newaxis]
    normal, test = _split(_series(values, np.zeros(len(values)), ("value",)), 512)
    return normal, with_synthetic_anomalies(test, length=32, seed=0)


_SOURCES: Mapping[str, _Source] = MappingProxyType(
    {
        "internal_bleeding": _Source(
            "aeon",
            "UCR Anomaly Archive 135, InternalBleeding16 (Keogh et al. 2021, SIGKDD competition)",
            _internal_bleeding,
            split="published",
            labels="published",
        ),
        "gutentag_ecg": _Source(
            "aeon",
            "ecg-diff-count-3, not real but an ECG made up by GutenTAG, of TimeEval",
            _gutentag_ecg,
            split="published",
            labels="published",
        ),
        "gait_with_synthetic_anomalies": _Source(
            "aeon",
            "Daphnet S06R02E0, an excerpt without freezing of gait (Roggen et al. 2013, UCI)",
            _gait,
            split="ours",
            labels="synthetic",
        ),
        "arrhythmia": _Source(
            "sktime",
            "MIT-BIH Arrhythmia Database (Moody & Mark 1992), an excerpt by TSB-UAD",
            _arrhythmia,
            split="ours",
            labels="published",
        ),
        "web_traffic": _Source(
            "sktime",
            "Yahoo S5 (Laptev et al. 2015; for research), an excerpt by TSB-UAD",
            _web_traffic,
            split="ours",
            labels="published",
        ),
        "ecg_with_synthetic_anomalies": _Source(
            "pywt",
            "1,024 points of an ECG of unknown origin in PyWavelets",
            _ecg,
            split="ours",
            labels="synthetic",
        ),
    }
)

REAL_SERIES: Mapping[str, str] = MappingProxyType(
    {name: source.origin for name, source in _SOURCES.items()}
)
"""Name of each series -> where it comes from. Steps whose length nobody tells count as 1 s."""


def _table(
    path: Path, columns: list[int], label: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(time, columns) values and (time,) labels of a comma-separated file with one line of names.

    Raises FileNotFoundError with the file's name.
    """
    if not path.is_file():
        raise FileNotFoundError(2, "no such file", str(path))
    table = np.loadtxt(path, delimiter=",", skiprows=1, usecols=[*columns, label], ndmin=2)
    return table[:, :-1], table[:, -1]


def _series(
    values: NDArray[np.float64],
    labels: NDArray[np.float64],
    channels: tuple[str, ...],
    step_seconds: float = 1.0,
) -> Series:
    runs = (ends.tolist() for ends in runs_of(labels > 0.0))
    events = tuple(Event(start, stop) for start, stop in zip(*runs, strict=True))
    return Series(values, channels, step_seconds, events=events)


def _split(series: Series, at: int) -> tuple[Series, Series]:
    """The steps before `at`, which hold no event, and those from there on."""
    if any(event.start < at for event in series.events):
        raise ValueError(f"an event begins before step {at}: the first part is not normal")
    later = tuple(
        replace(event, start=event.start - at, stop=event.stop - at) for event in series.events
    )
    return (
        replace(series, values=series.values[:at], events=()),
        replace(series, values=series.values[at:], events=later),
    )
