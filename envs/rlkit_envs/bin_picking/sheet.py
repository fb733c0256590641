"""The paper that a bin is shown on: its photograph, its height map, and how the episode stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from rlkit_envs.bin_picking.drawing import (
    BACKGROUND,
    BAD,
    CHOSEN,
    DIM,
    GOOD,
    HEIGHT_COLOURS,
    LARGE,
    LEGEND_BASELINE,
    OUTCOME_WORDS,
    SMALL,
    TEXT,
    TRACK,
    Picture,
    legend,
    map_picture,
    ring,
)

WIDTH, HEIGHT = 1000, 576
"""Of a sheet, in pixels."""

_MARGIN = 10
_GAP = 20
_PHOTOGRAPH = (640, 480)
_MAP = 320
_CAPTION = 22
_LEGEND = 36
_ROW = 19
_NAME, _NUMBER = 74, 34


@dataclass(frozen=True)
class Standing:
    """How an episode stands. attempt: its number, from 1; 0 before the first. outcome: of that
    attempt, None while it lasts. shaken: whether the bin was, after it. counts: outcome -> how
    often. ferrous_left, others_left: parts in the bin."""

    attempt: int
    most_attempts: int
    outcome: str | None
    shaken: bool
    counts: Mapping[str, int]
    ferrous_left: int
    others_left: int


def draw_sheet(
    photograph: Picture,
    heights_mm: NDArray[np.floating],
    marked: NDArray[np.bool_],
    tallest_mm: float,
    pixel: int | None,
    standing: Standing,
) -> Picture:
    """(HEIGHT, WIDTH, 3); photograph: (480, 640, 3). heights_mm, marked: (rows, columns), the
    latter where failures are remembered. tallest_mm: the top of the scale of heights. pixel: the
    one chosen, counted row by row, or None.
    """
    image = Image.new("RGB", (WIDTH, HEIGHT), BACKGROUND)
    image.paste(Image.fromarray(photograph), (_MARGIN, _MARGIN))
    draw = ImageDraw.Draw(image)
    left = _MARGIN + _PHOTOGRAPH[0] + _GAP
    top = _MARGIN + _CAPTION
    draw.text((left, _MARGIN + 12), "height map, as the sensor sees it", DIM, SMALL, "ls")
    size = (_MAP, _MAP)
    shown = map_picture(heights_mm / tallest_mm, HEIGHT_COLOURS, size, marked)
    image.paste(Image.fromarray(shown), (left, top))
    if pixel is not None:
        row, column = divmod(pixel, heights_mm.shape[1])
        ring(draw, (left, top), size, heights_mm.shape, row, column)
    ends = ("0", f"{tallest_mm:.0f} mm")
    legend(draw, (left, top + _MAP + 6, left + _MAP), HEIGHT_COLOURS, *ends)
    if marked.any():
        middle = left + _MAP // 2
        baseline = top + _MAP + 6 + LEGEND_BASELINE
        draw.text((middle, baseline), "hatched: not to pick", DIM, SMALL, "ms")
    _draw_outcomes(draw, left, top + _MAP + _LEGEND + 12, standing)
    _draw_standing(draw, _MARGIN + _PHOTOGRAPH[1] + 18, standing)
    return np.asarray(image)


def _draw_outcomes(draw: ImageDraw.ImageDraw, left: int, top: int, standing: Standing) -> None:
    """A bar for each outcome."""
    draw.text((left, top + 12), "attempts by outcome", DIM, SMALL, "ls")
    top += _CAPTION
    start, end = left + _NAME, left + _MAP - _NUMBER
    most = max(10, *standing.counts.values())
    for number, (outcome, count) in enumerate(standing.counts.items()):
        middle = top + number * _ROW + _ROW // 2
        colour = GOOD if outcome == "ok" else BAD
        now = outcome == standing.outcome
        draw.text((left, middle), outcome, colour if now else DIM, SMALL, "lm")
        draw.rectangle((start, middle - 4, end, middle + 4), fill=TRACK)
        if count:
            length = count / most * (end - start)
            draw.rectangle((start, middle - 4, start + length, middle + 4), fill=colour)
        draw.text((left + _MAP, middle), f"{count}", TEXT if count else DIM, SMALL, "rm")


def _draw_standing(draw: ImageDraw.ImageDraw, top: int, standing: Standing) -> None:
    """The last outcome or the present attempt, and numbers of the episode."""
    outcome = standing.outcome
    if outcome is not None:
        words = OUTCOME_WORDS[outcome] + "; the bin is shaken" * standing.shaken
        said, colour = outcome, GOOD if outcome == "ok" else BAD
    elif standing.attempt:
        said, colour = f"attempt {standing.attempt}", CHOSEN
        words = f"of at most {standing.most_attempts}"
    else:
        said, colour, words = "a full bin", TEXT, f"at most {standing.most_attempts} attempts"
    draw.text((_MARGIN, top + 22), said, colour, LARGE, "ls")
    draw.text((_MARGIN, top + 48), words, DIM, SMALL, "ls")
    made, picked = sum(standing.counts.values()), standing.counts["ok"]
    numbers = [
        ("picked", f"{picked}"),
        ("success", f"{picked / made:.0%}" if made else "-"),
        ("steel left", f"{standing.ferrous_left}"),
    ]
    if standing.others_left:
        numbers.append(("aluminium", f"{standing.others_left}"))
    right = _MARGIN + _PHOTOGRAPH[0]
    for name, number in reversed(numbers):
        draw.text((right, top + 22), number, TEXT, LARGE, "rs")
        draw.text((right, top + 48), name, DIM, SMALL, "rs")
        right -= 84
