"""Many pictures on one sheet, numbers as what can be shown, and the file of a picture."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rlkit.whole_files import whole_file

Number = TypeVar("Number", bound=np.generic)


def sheet(pictures: NDArray[Number], across: int | None = None, gap: int = 0) -> NDArray[Number]:
    """Pictures (count, channels, height, width) in rows: (channels, sheet height, sheet width).

    across: pictures in a row; None makes a sheet that is about as high as wide. gap: pixels of 0
    between two pictures; places without a picture are 0 as well.
    Raises ValueError for no picture.
    """
    count, channels, height, width = pictures.shape
    if count < 1:
        raise ValueError("a sheet needs at least one picture")
    across = math.ceil(math.sqrt(count)) if across is None else across
    down = math.ceil(count / across)
    high, wide = height + gap, width + gap
    padded = np.zeros((down * across, channels, high, wide), pictures.dtype)
    padded[:count, :, :height, :width] = pictures
    grid = padded.reshape(down, across, channels, high, wide).transpose(2, 0, 3, 1, 4)
    laid = grid.reshape(channels, down * high, across * wide)
    return laid[:, : down * high - gap, : across * wide - gap].copy()


def stretched(
    pictures: NDArray[np.floating], *, symmetric: bool = False, alike: bool = False
) -> NDArray[np.float32]:
    """Numbers (count, ...) moved to [0, 1], those of each picture by its own least and greatest.

    symmetric: 0 becomes 0.5. alike: all pictures by one scale, so that what differs shows.
    """
    axes = tuple(range(0 if alike else 1, pictures.ndim))
    low, high = pictures.min(axes, keepdims=True), pictures.max(axes, keepdims=True)
    if symmetric:
        high = np.maximum(-low, high)
        low = -high
    span = np.maximum(high - low, np.finfo(np.float32).tiny)
    return ((pictures - low) / span).astype(np.float32)


def write_png(path: str | os.PathLike[str], picture: NDArray[Any]) -> None:
    """Write a picture (1 or 3, height, width), of bytes or of numbers in [0, 1].

    Numbers beyond are cut off. Raises OSError where that fails.
    """
    from PIL import Image

    if picture.dtype != np.uint8:
        picture = np.round(np.clip(picture, 0.0, 1.0) * 255.0).astype(np.uint8)
    image = Image.fromarray(picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0))
    with whole_file(Path(path)) as beside:
        image.save(beside, format="PNG")
