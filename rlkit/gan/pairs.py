"""Pairs of pictures that `ImageToImage` learns from: their file, and how far they are apart."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlkit.gan.training_data import checked_pictures
from rlkit.observations import ObservationsFileError, read_array
from rlkit.whole_files import whole_file


def mean_error(pictures: NDArray[np.uint8], targets: NDArray[np.uint8]) -> float:
    """Mean absolute difference of pictures of one shape, in levels of 255."""
    return float(np.abs(pictures.astype(np.int16) - targets).mean())


def write_pairs(
    path: str | os.PathLike[str], images: NDArray[np.uint8], targets: NDArray[np.uint8]
) -> None:
    """Write pairs into one archive (.npz) as `images` and `targets`.

    Raises OSError where it cannot be written.
    """
    with whole_file(Path(path)) as beside, beside.open("wb") as file:
        np.savez_compressed(file, images=images, targets=targets)


def read_pairs(path: str | os.PathLike[str]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The `images` and `targets` of an archive, each (count, channels, height, width).

    Raises ObservationsFileError where it cannot be read, or they are no pairs of pictures.
    """
    images, targets = (read_array(path, name) for name in ("images", "targets"))
    try:
        pictures, wanted = checked_pictures(images).numpy(), checked_pictures(targets).numpy()
    except ValueError as error:
        raise ObservationsFileError(f"{path}: {error}") from error
    if len(pictures) != len(wanted) or pictures.shape[2:] != wanted.shape[2:]:
        raise ObservationsFileError(
            f"{path}: images and targets must be as many and of one height and width, got"
            f" {pictures.shape} and {wanted.shape}"
        )
    return pictures, wanted
