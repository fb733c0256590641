"""Which rows of numbers show a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

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
