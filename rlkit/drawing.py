"""Draws what an agent sees, does and expects: a picture beside score, time, values and actions.

Knows no environment and no policy; `rlkit.video` feeds it. Actions are drawn by
`rlkit.action_panels`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rlkit.outlook import Outlook

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

BACKGROUND: Colour = (17, 19, 24)
TRACK: Colour = (34, 38, 47)
TEXT: Colour = (236, 238, 241)
DIM: Colour = (160, 167, 180)
BAR: Colour = (74, 115, 176)
CHOSEN: Colour = (255, 184, 77)
TINY, SMALL, MEDIUM, LARGE = (ImageFont.load_default(size) for size in (11, 13, 15, 44))

_MARGIN = 16
_PANEL_WIDTH = 320
_HEADER = 116
_CURVE = 62
_LARGEST_PICTURE = 720


@dataclass(frozen=True, slots=True)
class Moment:
    """One step of an episode, as it is drawn.

    picture: (height, width, 3) uint8, RGB; None of a moment that is followed and not drawn.
    score: sum of rewards so far. step: from 0.
    action: taken here, as an index or as a vector; None after the last.
    continues: whether it shows what happens within the step of the moment before.
    """

    picture: np.ndarray | None
    score: float
    step: int
    action: np.ndarray | int | None = None
    outlook: Outlook = field(default_factory=Outlook)
    continues: bool = False

    @property
    def value(self) -> float | None:
        """Expected return of what the policy does here; None where it does not tell."""
        if self.outlook.q_values is None:
            return self.outlook.value
        return None if self.action is None else float(self.outlook.q_values[self.action])


@dataclass(frozen=True, slots=True)
class Area:
    """Where something is drawn, in pixels from the image's upper left corner."""

    left: int
    top: int
    right: int


class Panel(Protocol):
    """Draws the actions of moments, below everything else."""

    @property
    def height(self) -> int:
        """Pixels."""
        ...

    def restart(self) -> None:
        """Forget the episode so far."""

    def follow(self, moment: Moment) -> None:
        """Take note of a moment that is not drawn."""

    def draw(self, draw: ImageDraw.ImageDraw, area: Area, moment: Moment) -> None:
        """Draw the moment into `area`."""


class Scene:
    """Draws the moments of episodes, all in one size with even sides, as video codecs want them.

    Beside the picture: score, time, a curve of the value that the policy expected over the last
    steps, and a panel of its actions.
    """

    def __init__(
        self,
        title: str,
        picture_shape: Sequence[int],
        seconds_per_step: float,
        *,
        shows_value: bool = False,
        actions: Panel | None = None,
    ) -> None:
        """
        title: drawn at the top. picture_shape: (height, width, ...) of every moment's picture.
        seconds_per_step: of the environment's own time, for the clock.
        shows_value: whether moments come with values, for which there must be room.
        """
        height, width = picture_shape[:2]
        scale = max(1.0, 630 // height) if height <= _LARGEST_PICTURE else _LARGEST_PICTURE / height
        self._picture_size = (round(width * scale), round(height * scale))
        self._resampling = (
            Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
        )  # whole factors keep pixels crisp
        self._seconds_per_step = seconds_per_step
        self._shows_value, self._actions = shows_value, actions
        panel = _HEADER + shows_value * _CURVE + (0 if actions is None else actions.height)
        inner = max(self._picture_size[1], panel)
        left = self._picture_size[0] + 2 * _MARGIN + 4
        self.size = (_even(left + _PANEL_WIDTH + _MARGIN), _even(inner + 2 * _MARGIN))
        """(width, height) of the drawn images."""
        self._left, self._right = left, left + _PANEL_WIDTH
        self._top = _MARGIN
        self._picture_at = (_MARGIN, _MARGIN + (inner - self._picture_size[1]) // 2)
        self._empty = self._draw_empty(title)
        self._values: deque[float] = deque(maxlen=_PANEL_WIDTH // 2)

    def restart(self) -> None:
        """Forget the episode so far."""
        self._values.clear()
        if self._actions is not None:
            self._actions.restart()

    def follow(self, moment: Moment) -> None:
        """Take note of a moment that is not drawn, so that later ones look as if it were."""
        self._note_value(moment)
        if self._actions is not None:
            self._actions.follow(moment)

    def draw(self, moment: Moment) -> Image.Image:
        """The moment's image, of `size`, in RGB. Raises ValueError for one without a picture."""
        if moment.picture is None:
            raise ValueError(f"the moment of step {moment.step} has no picture")
        self._note_value(moment)
        image = self._empty.copy()
        picture = Image.fromarray(moment.picture).resize(self._picture_size, self._resampling)
        image.paste(picture, self._picture_at)
        draw = ImageDraw.Draw(image)
        score_top = self._top + 24
        draw.text((self._left, score_top), score_text(moment.score), TEXT, LARGE, anchor="lt")
        clock = clock_text(moment.step * self._seconds_per_step)
        draw.text((self._right, score_top + 4), f"step {moment.step:,}", TEXT, MEDIUM, "rt")
        draw.text((self._right, score_top + 25), clock, DIM, MEDIUM, "rt")
        top = self._top + _HEADER
        if self._shows_value:
            self._draw_curve(draw, moment)
            top += _CURVE
        if self._actions is not None:
            self._actions.draw(draw, Area(self._left, top, self._right), moment)
        return image

    def _draw_empty(self, title: str) -> Image.Image:
        image = Image.new("RGB", self.size, BACKGROUND)
        draw = ImageDraw.Draw(image)
        draw.text(
            (self._left, self._top), shortened(title, _PANEL_WIDTH, MEDIUM), DIM, MEDIUM, "lt"
        )
        draw.text((self._left, self._top + 67), "score", DIM, SMALL, anchor="lt")
        return image

    def _note_value(self, moment: Moment) -> None:
        if moment.value is not None and moment.action is not None and not moment.continues:
            self._values.append(moment.value)

    def _draw_curve(self, draw: ImageDraw.ImageDraw, moment: Moment) -> None:
        top = self._top + _HEADER
        bottom = top + _CURVE - 8
        of_what = "state" if moment.outlook.q_values is None else "action taken"
        draw.text((self._left, top - 6), f"value of the {of_what}", DIM, SMALL, anchor="ls")
        if not self._values:
            return
        values = np.array(self._values)
        draw.text((self._right, top - 6), f"{values[-1]:z.2f}", CHOSEN, SMALL, anchor="rs")
        draw.rounded_rectangle((self._left, top, self._right, bottom), 4, fill=TRACK)
        lowest, highest = values.min(), values.max()
        share = (values - lowest) / max(highest - lowest, 1e-6)
        xs = self._left + 4 + 2 * np.arange(len(values)) * (_PANEL_WIDTH - 8) / _PANEL_WIDTH
        ys = bottom - 5 - share * (bottom - top - 10)
        if len(values) > 1:
            draw.line(list(zip(xs.tolist(), ys.tolist(), strict=True)), CHOSEN, 2)


def score_text(score: float) -> str:
    """A sum of rewards: whole numbers as such, others with one decimal."""
    return f"{score:z,.0f}" if float(score).is_integer() else f"{score:z,.1f}"


def clock_text(seconds: float) -> str:
    """A time as minutes and seconds; from an hour on as hours, minutes and seconds, and days."""
    if seconds < 3600:
        return f"{int(seconds // 60)}:{seconds % 60:04.1f}"
    days, rest = divmod(int(seconds), 86_400)
    clock = f"{rest // 3600}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days} d {clock}" if days else clock


def shortened(text: str, width: float, font: Font = SMALL) -> str:
    """`text`, its end replaced by dots where it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}\u2026") > width:
        text = text[:-1]
    return f"{text}\u2026"


def _even(length: int) -> int:
    return length + length % 2
