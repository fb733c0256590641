"""Draws maps over a bin: heights, chances of success, the chosen pixel, and where not to pick.

Needs no graphics library, no MuJoCo and no torch. The bin itself is drawn by `photography`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]
"""(height, width, 3), RGB."""
Colour = tuple[int, int, int]

BACKGROUND: Colour = (17, 19, 24)
TEXT: Colour = (236, 238, 241)
TRACK: Colour = (34, 38, 47)
DIM: Colour = (160, 167, 180)
CHOSEN: Colour = (255, 184, 77)
GOOD: Colour = (111, 207, 133)
BAD: Colour = (240, 113, 103)
UNKNOWN: Colour = (120, 124, 132)
"""Of pixels without a number."""
SMALL, MEDIUM, LARGE = (ImageFont.load_default(size) for size in (13, 15, 22))


def _colours(scale: int) -> Picture:
    """(256, 3) one of OpenCV's scales."""
    steps = np.arange(256, dtype=np.uint8)[:, None]
    return cv2.applyColorMap(steps, scale)[:, 0, ::-1].astype(np.uint8)


HEIGHT_COLOURS = _colours(cv2.COLORMAP_BONE)
"""(256, 3) from low to high."""
CHANCE_COLOURS = _colours(cv2.COLORMAP_VIRIDIS)
"""(256, 3) from 0 to 1."""

OUTCOME_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "ok": "one part is out",
        "miss": "nothing was lifted",
        "collision": "the tool hit something beside its face",
        "dropped": "a part was lifted and fell",
        "double": "more than one part is out",
        "wall": "the magnet stuck to the bin",
        "unstable": "the physics broke down",
    }
)
"""Value of an `Outcome` -> what it says."""

LEGEND_BASELINE = 23
"""Of a legend's text, below the top of its bar."""

_GAP = 14
_MAP = 256
_CAPTION = 22
_LEGEND = 34
_BAR = 8


def attempt_picture(
    height_mm: ArrayLike,
    chances: ArrayLike,
    pixel: int,
    outcome: str,
    *,
    marked: ArrayLike | None = None,
) -> Picture:
    """What was seen, what was expected and what came of it, side by side.

    height_mm: (rows, columns). chances: (rows, columns) or (stances, rows, columns) of success;
    NaN where none is known. pixel: the action taken, (stance * rows + row) * columns + column.
    outcome: the value of an `Outcome`, such as "ok". marked: (rows, columns) where not to
    pick.
    Raises ValueError for shapes that do not fit each other, a pixel off the grid, and an unknown
    outcome.
    """
    heights = np.asarray(height_mm, np.float64)
    if heights.ndim != 2:
        raise ValueError(f"a height map has rows and columns, got the shape {heights.shape}")
    likely = np.asarray(chances, np.float64)
    likely = likely[None] if likely.ndim == 2 else likely
    if likely.ndim != 3 or likely.shape[1:] != heights.shape:
        raise ValueError(
            f"chances of the shape {likely.shape} do not fit a height map of {heights.shape}"
        )
    if not 0 <= pixel < likely.size:
        raise ValueError(f"pixel {pixel} is off the grid: there are {likely.size}")
    if outcome not in OUTCOME_WORDS:
        raise ValueError(f"no outcome is called {outcome!r}; there are {', '.join(OUTCOME_WORDS)}")
    stance, row, column = (int(i) for i in np.unravel_index(pixel, likely.shape))
    width = 2 * _MAP + 3 * _GAP
    height = _CAPTION + _MAP + _LEGEND + 2 * _GAP + 44
    image = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(image)
    size = (_MAP, _MAP)
    tallest = greatest_mm(heights)
    left, top = _GAP, _GAP + _CAPTION
    for caption, numbers, colours, ends in (
        ("height", heights / tallest, HEIGHT_COLOURS, ("0", f"{tallest:.0f} mm")),
        ("chance of success", likely[stance], CHANCE_COLOURS, ("0", "100 %")),
    ):
        draw.text((left, _GAP + 12), caption, DIM, SMALL, "ls")
        image.paste(Image.fromarray(map_picture(numbers, colours, size, marked)), (left, top))
        ring(draw, (left, top), size, heights.shape, row, column)
        legend(draw, (left, top + _MAP + 6, left + _MAP), colours, *ends)
        left += _MAP + _GAP
    chance = likely[stance, row, column]
    bottom = height - _GAP
    colour = GOOD if outcome == "ok" else BAD
    draw.text((_GAP, bottom - 30), outcome, colour, LARGE, "lm")
    draw.text((_GAP, bottom), OUTCOME_WORDS[outcome], DIM, SMALL, "lb")
    told = "no chance known" if np.isnan(chance) else f"chance {chance:.0%}"
    draw.text((width - _GAP, bottom - 30), told, CHOSEN, MEDIUM, "rm")
    return np.asarray(image)


def greatest_mm(height_mm: NDArray[np.floating]) -> float:
    """The top of a colour scale for heights, full tens: parts fit below it, walls need not."""
    rows, columns = height_mm.shape
    inner = height_mm[rows // 10 : rows - rows // 10, columns // 10 : columns - columns // 10]
    return max(20.0, 10.0 * float(np.ceil(np.percentile(inner, 99.5) / 10.0)))


def map_picture(
    shares: NDArray[np.floating],
    colours: Picture,
    size: tuple[int, int],
    marked: ArrayLike | None = None,
) -> Picture:
    """(height, width, 3) a map in colours, every pixel of it a rectangle.

    shares: (rows, columns) from 0 to 1, what is beyond is drawn as the end; NaN has a colour of its
    own. size: (width, height). marked: (rows, columns) what is greyed and hatched.
    """
    known = np.isfinite(shares)
    steps = np.rint(255.0 * np.clip(np.where(known, shares, 0.0), 0.0, 1.0)).astype(np.uint8)
    picture = np.where(known[..., None], colours[steps], np.array(UNKNOWN, np.uint8))
    large = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.NEAREST))
    if marked is None or not np.any(marked):
        return large
    mask = Image.fromarray(255 * np.asarray(marked, bool).astype(np.uint8))
    covered = np.asarray(mask.resize(size, Image.Resampling.NEAREST)) > 0
    y, x = np.indices(covered.shape)
    stripes = (x + y) % 8 < 2
    greyed = 0.45 * large + 0.55 * 96.0
    greyed[stripes] = 190.0
    return np.where(covered[..., None], greyed, large).astype(np.uint8)


def ring(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    size: tuple[int, int],
    shape: tuple[int, ...],
    row: int,
    column: int,
) -> None:
    """Mark a pixel of a map of `shape`, drawn in `size` with its upper left at `corner`."""
    x = corner[0] + (column + 0.5) * size[0] / shape[1]
    y = corner[1] + (row + 0.5) * size[1] / shape[0]
    for radius, colour, width in ((9.5, (0, 0, 0), 4), (8.5, CHOSEN, 2)):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), None, colour, width)
    draw.rectangle((x - 1.5, y - 1.5, x + 1.5, y + 1.5), CHOSEN, (0, 0, 0))


def legend(
    draw: ImageDraw.ImageDraw,
    area: tuple[int, int, int],
    colours: Picture,
    least: str,
    greatest: str,
) -> None:
    """A bar of colours with its ends below; area: left, top, right."""
    left, top, right = area
    for x in range(left, right):
        step = round(255 * (x - left) / max(1, right - left - 1))
        red, green, blue = colours[step].tolist()
        draw.line((x, top, x, top + _BAR - 1), (red, green, blue))
    draw.text((left, top + LEGEND_BASELINE), least, DIM, SMALL, "ls")
    draw.text((right, top + LEGEND_BASELINE), greatest, DIM, SMALL, "rs")
