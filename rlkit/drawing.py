"""Draws what an agent sees, does and expects: a game's picture beside a panel of numbers.

Knows no environment and no policy; `rlkit.video` feeds it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

_BACKGROUND: Colour = (17, 19, 24)
_TRACK: Colour = (34, 38, 47)
_TEXT: Colour = (236, 238, 241)
_DIM: Colour = (160, 167, 180)
_BAR: Colour = (74, 115, 176)
_CHOSEN: Colour = (255, 184, 77)

_MARGIN = 16
_PANEL_WIDTH = 320
_HEADER = 116
_CURVE = 62
_CAPTION = 30
_ROW = 22
_LARGEST_PICTURE = 720
_MOST_ROWS = 24
_LABEL_WIDTH = 118
_NUMBER_WIDTH = 56


@dataclass(frozen=True, slots=True)
class Moment:
    """One step of an episode, as it is drawn.

    picture: (height, width, 3) uint8, RGB. score: sum of rewards so far. step: from 0.
    q_values: (actions,) expected returns, or None for a policy that has none.
    action: index of the action taken here, None after the last.
    """

    picture: np.ndarray
    score: float
    step: int
    q_values: np.ndarray | None = None
    action: int | None = None


class Scene:
    """Draws the moments of episodes, all in one size with even sides, as video codecs want them.

    Bars show how much better than the worst action each one is, at a scale that follows the
    largest difference of late: values themselves lie so close together that bars from zero would
    all look alike. The numbers beside the bars are the values. The curve is the value of the
    action taken, over the last steps.
    """

    def __init__(
        self,
        title: str,
        picture_shape: Sequence[int],
        action_names: Sequence[str],
        seconds_per_step: float,
    ) -> None:
        """
        title: drawn at the top. picture_shape: (height, width, ...) of every moment's picture.
        action_names: one an action; empty leaves the bars out.
        seconds_per_step: of the environment's own time, for the clock.
        """
        height, width = picture_shape[:2]
        scale = max(1.0, 630 // height) if height <= _LARGEST_PICTURE else _LARGEST_PICTURE / height
        self._picture_size = (round(width * scale), round(height * scale))
        self._resampling = (
            Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
        )  # whole factors keep pixels crisp
        self._names = list(action_names)
        self._rows = min(len(self._names), _MOST_ROWS)
        self._seconds_per_step = seconds_per_step
        panel = _HEADER + (_CURVE + _CAPTION + self._rows * _ROW if self._rows else 0)
        inner = max(self._picture_size[1], panel)
        left = self._picture_size[0] + 2 * _MARGIN + 4
        self.size = (_even(left + _PANEL_WIDTH + _MARGIN), _even(inner + 2 * _MARGIN))
        """(width, height) of the drawn images."""
        self._left, self._right = left, left + _PANEL_WIDTH
        self._top = _MARGIN
        self._picture_at = (_MARGIN, _MARGIN + (inner - self._picture_size[1]) // 2)
        self._small, self._medium, self._large = (
            ImageFont.load_default(size) for size in (13, 15, 44)
        )
        self._empty = self._draw_empty(title)
        self._values: deque[float] = deque(maxlen=_PANEL_WIDTH // 2)
        self._spread = 0.0

    def restart(self) -> None:
        """Forget the episode so far."""
        self._values.clear()
        self._spread = 0.0

    def draw(self, moment: Moment) -> Image.Image:
        """The moment's image, of `size`, in RGB."""
        image = self._empty.copy()
        picture = Image.fromarray(moment.picture).resize(self._picture_size, self._resampling)
        image.paste(picture, self._picture_at)
        draw = ImageDraw.Draw(image)
        score_top = self._top + 24
        draw.text((self._left, score_top), f"{moment.score:g}", _TEXT, self._large, anchor="lt")
        seconds = moment.step * self._seconds_per_step
        clock = f"{int(seconds // 60)}:{seconds % 60:04.1f}"
        draw.text((self._right, score_top + 4), f"step {moment.step:,}", _TEXT, self._medium, "rt")
        draw.text((self._right, score_top + 25), clock, _DIM, self._medium, "rt")
        if self._rows and moment.q_values is not None:
            if moment.action is not None:
                self._values.append(float(moment.q_values[moment.action]))
            self._draw_curve(draw)
            self._draw_bars(draw, moment.q_values, moment.action)
        return image

    def _draw_empty(self, title: str) -> Image.Image:
        image = Image.new("RGB", self.size, _BACKGROUND)
        draw = ImageDraw.Draw(image)
        draw.text((self._left, self._top), title, _DIM, self._medium, anchor="lt")
        draw.text((self._left, self._top + 67), "score", _DIM, self._small, anchor="lt")
        return image

    def _draw_curve(self, draw: ImageDraw.ImageDraw) -> None:
        top = self._top + _HEADER
        bottom = top + _CURVE - 8
        draw.text(
            (self._left, top - 6), "value of the action taken", _DIM, self._small, anchor="ls"
        )
        if not self._values:
            return
        values = np.array(self._values)
        draw.text((self._right, top - 6), f"{values[-1]:z.2f}", _CHOSEN, self._small, anchor="rs")
        draw.rounded_rectangle((self._left, top, self._right, bottom), 4, fill=_TRACK)
        lowest, highest = values.min(), values.max()
        share = (values - lowest) / max(highest - lowest, 1e-6)
        xs = self._left + 4 + 2 * np.arange(len(values)) * (_PANEL_WIDTH - 8) / _PANEL_WIDTH
        ys = bottom - 5 - share * (bottom - top - 10)
        if len(values) > 1:
            draw.line(list(zip(xs.tolist(), ys.tolist(), strict=True)), _CHOSEN, 2)

    def _draw_bars(
        self, draw: ImageDraw.ImageDraw, q_values: np.ndarray, action: int | None
    ) -> None:
        top = self._top + _HEADER + _CURVE
        draw.text(
            (self._left, top + 14), "Q-values, bars above the lowest", _DIM, self._small, "lm"
        )
        top += _CAPTION
        lowest = float(q_values.min())
        spread = float(q_values.max()) - lowest
        # Grows at once and shrinks slowly, so that bars neither overflow nor flicker.
        self._spread = max(spread, 0.98 * self._spread, 1e-6)
        shown = np.arange(len(q_values))
        if len(shown) > self._rows:
            shown = np.sort(np.argsort(-q_values, kind="stable")[: self._rows])
        start, end = self._left + _LABEL_WIDTH, self._right - _NUMBER_WIDTH
        for row, index in enumerate(shown.tolist()):
            middle = top + row * _ROW + _ROW // 2
            chosen = index == action
            name_colour = _CHOSEN if chosen else _DIM
            value = float(q_values[index])
            length = (value - lowest) / self._spread * (end - start)
            draw.text((self._left, middle), self._names[index], name_colour, self._small, "lm")
            draw.rectangle((start, middle - 6, end, middle + 6), fill=_TRACK)
            if length >= 1:
                colour = _CHOSEN if chosen else _BAR
                draw.rectangle((start, middle - 6, start + length, middle + 6), fill=colour)
            draw.text((self._right, middle), f"{value:z.2f}", name_colour, self._small, "rm")


def _even(length: int) -> int:
    return length + length % 2
