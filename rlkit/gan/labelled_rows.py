"""Labelled examples in one file: pictures or rows, what their labels are called, what they share.

A NumPy archive without pickles, which `rlkit gan train` reads too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.gan.training_data import checked_labels
from rlkit.observations import ObservationsFileError, array_names, read_array, read_real_rows
from rlkit.whole_files import whole_file


@dataclass(frozen=True)
class LabelledRows:
    """Examples of named classes. Raises ValueError where shapes or labels do not fit."""

    data: NDArray[Any]
    """Pictures (count, channels, height, width) uint8, or rows (count, columns) of floats."""
    labels: NDArray[np.int64]
    """(count,), each the place of a name."""
    names: tuple[str, ...]
    """Of the classes."""
    groups: NDArray[np.int64]
    """(count,), the same number for examples that came about together, such as in one episode: they
    resemble each other more than others do, and belong in one part of a division."""
    about: dict[str, Any] = field(default_factory=dict)
    """How they came about; plain JSON data."""

    def __post_init__(self) -> None:
        count = len(self.data)
        if self.data.ndim not in (2, 4) or not self.data.size:
            raise ValueError(
                "examples are pictures (count, channels, height, width) or rows (count, columns),"
                f" not {self.data.shape}"
            )
        for name in ("labels", "groups"):
            numbers = getattr(self, name)
            if numbers.shape != (count,) or numbers.dtype.kind not in "iu":
                raise ValueError(
                    f"{count} examples need as many {name}, whole numbers, got {numbers.dtype} of"
                    f" shape {numbers.shape}"
                )
            object.__setattr__(self, name, numbers.astype(np.int64))
        if self.labels.min() < 0 or self.labels.max() >= len(self.names):
            raise ValueError(
                f"labels are places of {len(self.names)} names, from 0 on, but these are from"
                f" {self.labels.min()} to {self.labels.max()}"
            )
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"names repeat: {', '.join(self.names)}")

    @property
    def counts(self) -> dict[str, int]:
        """How many examples each class has, by name."""
        counted = np.bincount(self.labels, minlength=len(self.names))
        return dict(zip(self.names, counted.tolist(), strict=True))

    def without(self, names: Sequence[str]) -> LabelledRows:
        """The examples of all other classes. Raises ValueError for names that are not there, and
        where nothing is left."""
        unknown = [name for name in names if name not in self.names]
        if unknown:
            raise ValueError(
                f"no class is called {unknown[0]!r}; there are {', '.join(self.names)}"
            )
        left = [place for place, name in enumerate(self.names) if name not in names]
        kept = np.isin(self.labels, left)
        return LabelledRows(
            self.data[kept],
            np.searchsorted(left, self.labels[kept]),
            tuple(self.names[place] for place in left),
            self.groups[kept],
            self.about,
        )


def write_labelled_rows(path: str | os.PathLike[str], rows: LabelledRows) -> None:
    """Write examples into one archive (.npz). Raises OSError where it cannot be written."""
    arrays: dict[str, NDArray[Any]] = {
        "images" if rows.data.ndim == 4 else "observations": rows.data,
        "labels": rows.labels,
        "names": np.array(rows.names),
        "groups": rows.groups,
        "about": np.array(json.dumps(rows.about)),
    }
    with whole_file(Path(path)) as beside, beside.open("wb") as file:
        np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]


def read_labelled_rows(path: str | os.PathLike[str]) -> LabelledRows:
    """The examples that `write_labelled_rows` wrote, or others with `labels`.

    Of a file of `images` or `observations` and `labels` alone, those labels that occur are called
    by their numbers, and each example came about by itself. What is marked as generated is left
    out.
    Raises ObservationsFileError where the file cannot be read, or holds something else.
    """
    held = array_names(path)
    data = read_real_rows(path, "images" if "images" in held else "observations")
    labels = read_real_rows(path, "labels")
    try:
        if data.ndim == 3:
            data = data[:, np.newaxis]
        if "names" in held:
            names = tuple(read_array(path, "names").astype(str).tolist())
        else:
            classes, places = checked_labels(labels, len(data), least=1)
            names, labels = tuple(map(str, classes.tolist())), places.numpy()
        groups = read_real_rows(path, "groups") if "groups" in held else np.arange(len(data))
        about = _about(path) if "about" in held else {}
        return LabelledRows(data, labels, names, groups, about)
    except ObservationsFileError:
        raise
    except (IndexError, TypeError, ValueError, OverflowError) as error:
        raise ObservationsFileError(f"{path}: {error}") from error


def _about(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        about = json.loads(str(read_array(path, "about")))
    except json.JSONDecodeError as error:
        raise ValueError(f"its array about is no JSON: {error}") from error
    if not isinstance(about, dict):
        raise ValueError("its array about is no JSON object")
    return about
