"""Rows of pixels as pictures, many of them on one sheet."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlkit.whole_files import whole_file

SMALLEST_SIDE = 4
"""Pixels of a square row that is taken for a picture; fewer hardly show one."""


def picture_shape(shape: Sequence[int]) -> tuple[int, int] | None:
    """Height and width of what rows of that shape show, the last two axes; None where no picture.

    Flat rows show a square, where they hold so many numbers. More than one picture in a row, such
    as stacked frames, are shown below one another. Axes of one count for nothing.
    """
    shape = [axis for axis in shape if axis > 1] or [1]
    if len(shape) >= 2:
        height, width = math.prod(shape[:-1]), shape[-1]
        return (height, width) if min(shape[-2:]) >= SMALLEST_SIDE else None
    side = math.isqrt(math.prod(shape))
    square = side * side == math.prod(shape) and side >= SMALLEST_SIDE
    return (side, side) if square else None


def sheet(pictures: NDArray[np.floating], across: int | None = None) -> NDArray[np.float32]:
    """Pictures (count, height, width) in rows, a pixel of 0 between two: (height, width) float32.

    across: pictures in a row; None makes a sheet that is about as high as wide.
    Raises ValueError for no picture.
    """
    count, height, width = pictures.shape
    if count < 1:
        raise ValueError("a sheet needs at least one picture")
    across = math.ceil(math.sqrt(count)) if across is None else across
    down = math.ceil(count / across)
    padded = np.zeros((down * across, height + 1, width + 1), np.float32)
    padded[:count, :-1, :-1] = pictures
    grid = padded.reshape(down, across, height + 1, width + 1).swapaxes(1, 2)
    return grid.reshape(down * (height + 1), across * (width + 1))[:-1, :-1].copy()


def stretched(pictures: NDArray[np.floating], symmetric: bool = False) -> NDArray[np.float32]:
    """Numbers (count, ...) of each picture moved to [0, 1]; 0 becomes 0.5 where `symmetric`."""
    axes = tuple(range(1, pictures.ndim))
    low, high = pictures.min(axes, keepdims=True), pictures.max(axes, keepdims=True)
    if symmetric:
        high = np.maximum(-low, high)
        low = -high
    span = np.maximum(high - low, np.finfo(np.float32).tiny)
    return ((pictures - low) / span).astype(np.float32)


def write_png(path: str | os.PathLike[str], grey: NDArray[np.floating]) -> None:
    """Write a picture (height, width) in [0, 1]. Raises OSError where that fails."""
    from PIL import Image

    pixels = np.round(np.clip(grey, 0.0, 1.0) * 255.0).astype(np.uint8)
    with whole_file(Path(path)) as beside:
        Image.fromarray(pixels).save(beside, format="PNG")
