"""Multivariate series with equal steps, what happened in them, and the files that hold them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlkit.reasons import DAMAGED_ARCHIVE, reason_of
from rlkit.whole_files import whole_file

FORMAT_VERSION = 1


class SeriesFileError(ValueError):
    """A file of series that cannot be used. The message is one line and starts with the path."""


@dataclass(frozen=True)
class Event:
    """A stretch of a series that is not normal: steps start (included) to stop (excluded)."""

    start: int
    stop: int
    kind: str = "anomaly"
    """What it is, such as `coil_fouling`."""
    severity: str = ""
    """How bad, such as `medium`; empty where nobody knows."""

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop:
            raise ValueError(f"an event needs 0 <= start < stop, got {self.start} and {self.stop}")


@dataclass(frozen=True)
class Series:
    """Channels over time.

    Raises ValueError where the shapes do not fit, names repeat, a value is infinite, or an event
    ends after the series.
    """

    values: NDArray[np.float64]
    """(time, channels); NaN where a sample is missing."""
    channels: tuple[str, ...]
    """Their names, with units where there are any."""
    step_seconds: float = 1.0
    """Between two samples."""
    name: str = "series"
    """What it is, such as `bursty-3`."""
    events: tuple[Event, ...] = ()
    """What is known not to be normal, in order, without overlap."""
    context: dict[str, str] = field(default_factory=dict)
    """How it came about, such as its weather."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", np.asarray(self.values, np.float64))
        if self.values.ndim != 2 or self.values.shape[1] != len(self.channels):
            raise ValueError(
                f"series {self.name!r}: values of shape {self.values.shape} are not (time, "
                f"{len(self.channels)}) for its {len(self.channels)} channels"
            )
        if len(set(self.channels)) < len(self.channels):
            raise ValueError(f"series {self.name!r}: channel names repeat: {self.channels}")
        if np.isinf(self.values).any():
            raise ValueError(f"series {self.name!r} has infinite values; NaN means missing")
        if not self.step_seconds > 0:
            raise ValueError(f"step_seconds must be above 0, got {self.step_seconds}")
        previous = 0
        for event in self.events:
            if event.start < previous or event.stop > len(self):
                raise ValueError(
                    f"series {self.name!r} of {len(self)} steps: events must be in order, apart "
                    f"from each other and within it, but one lasts from {event.start} to "
                    f"{event.stop}"
                )
            previous = event.stop

    def __len__(self) -> int:
        """Steps."""
        return len(self.values)

    @property
    def labels(self) -> NDArray[np.bool_]:
        """(time,), True within events."""
        labels = np.zeros(len(self), bool)
        for event in self.events:
            labels[event.start : event.stop] = True
        return labels


def write_series(path: str | os.PathLike[str], series: Sequence[Series]) -> None:
    """Write series into one NumPy archive (.npz), in float32, without pickles.

    Raises OSError where the file cannot be written.
    """
    path = Path(path)
    arrays = {f"values_{i}": each.values.astype(np.float32) for i, each in enumerate(series)}
    headers = [
        {
            "channels": list(each.channels),
            "step_seconds": each.step_seconds,
            "name": each.name,
            "events": [asdict(event) for event in each.events],
            "context": each.context,
        }
        for each in series
    ]
    header = json.dumps({"format_version": FORMAT_VERSION, "series": headers})
    with whole_file(path) as beside, beside.open("wb") as file:
        np.savez_compressed(file, header=np.array(header), **arrays)  # pyright: ignore[reportArgumentType]


def read_series(path: str | os.PathLike[str]) -> tuple[Series, ...]:
    """The series that `write_series` wrote.

    Raises SeriesFileError where the file cannot be read, is damaged or something else.
    """
    path = Path(path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            header = json.loads(str(archive["header"]))
            if header["format_version"] != FORMAT_VERSION:
                raise SeriesFileError(f"{path}: written by another version of rlkit")
            return tuple(
                Series(
                    archive[f"values_{i}"],
                    tuple(each["channels"]),
                    float(each["step_seconds"]),
                    each["name"],
                    tuple(Event(**event) for event in each["events"]),
                    each["context"],
                )
                for i, each in enumerate(header["series"])
            )
    except SeriesFileError:
        raise
    except OSError as error:
        raise SeriesFileError(f"{path}: cannot be read: {reason_of(error)}") from error
    except DAMAGED_ARCHIVE as error:
        reason = reason_of(error)
        raise SeriesFileError(f"{path}: damaged, or no file of series ({reason})") from error
