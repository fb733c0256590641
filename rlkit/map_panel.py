"""Draws what a policy expects of actions that are places, as a map with the chosen one marked.

Its colours, legend and mark are those of the pictures of bin picking.
"""

from __future__ import annotations

import numpy as np
from PIL import ImageDraw

from rlkit.drawing import CHOSEN, DIM, SMALL, Area, Moment
from rlkit.outlook import Outlook
from rlkit_envs.bin_picking.drawing import CHANCE_COLOURS, LEGEND_BASELINE, legend, ring

_CAPTION = 30
_LONGEST_SIDE = 320
_LEGEND = 40
_GREYED, _STRIPE = (96, 96, 100), (190, 190, 190)


class MapPanel:
    """Actions that count through a grid of places, some of them in several stances.

    Of a policy that tells chances of success, they are drawn from 0 to 100 %, and where it would
    rather not act, whatever it expects, is hatched. Of others, Q-values or probabilities are drawn
    from the least to the greatest. The map is that of the stance in which the action was taken.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        """shape: stances, rows and columns; an action is its index in that order."""
        self._shape = shape
        _, rows, columns = shape
        side = _LONGEST_SIDE / max(rows, columns)
        self._size = (round(columns * side), round(rows * side))
        self.height = _CAPTION + self._size[1] + _LEGEND

    def restart(self) -> None:
        """Forget the episode so far: nothing is remembered anyway."""

    def follow(self, moment: Moment) -> None:
        """Take note of a moment that is not drawn: nothing depends on it."""

    def draw(self, draw: ImageDraw.ImageDraw, area: Area, moment: Moment) -> None:
        """Draw the moment into `area`."""
        stances, rows, columns = self._shape
        stance, row, column = 0, None, None
        if moment.action is not None:
            place = np.unravel_index(int(moment.action), self._shape)
            stance, row, column = (int(index) for index in place)
        values, marked, caption = self._told(moment.outlook)
        if stances > 1:
            caption += ", tool upright" if stance == 0 else f", tool leaning ({stance})"
        baseline = area.top + 18
        draw.text((area.left, baseline), caption, DIM, SMALL, "ls")
        corner = (area.left, area.top + _CAPTION)
        below = corner[1] + self._size[1] + 6
        right = area.left + self._size[0]
        if values is not None:
            likely = moment.outlook.chances is not None
            least, greatest = (0.0, 1.0) if likely else (float(values.min()), float(values.max()))
            shares = (values[stance] - least) / max(greatest - least, 1e-9)
            hatched = np.zeros((rows, columns), bool) if marked is None else marked[stance]
            self._draw_map(draw, corner, shares, hatched)
            ends = ("0", "100 %") if likely else (f"{least:z.2f}", f"{greatest:z.2f}")
            legend(draw, (area.left, below, right), CHANCE_COLOURS, *ends)
            if hatched.any():
                middle = (area.left + right) // 2
                at = (middle, below + LEGEND_BASELINE)
                draw.text(at, "hatched: not to pick", DIM, SMALL, "ms")
            if row is not None:
                value = float(values[stance, row, column])
                number = f"{value:.0%}" if likely else f"{value:z.2f}"
                draw.text((right, baseline), number, CHOSEN, SMALL, "rs")
        if row is not None and column is not None:
            ring(draw, corner, self._size, (rows, columns), row, column)

    def _told(self, outlook: Outlook) -> tuple[np.ndarray | None, np.ndarray | None, str]:
        """What the map shows (stances, rows, columns), where it is hatched, and what it is."""
        if outlook.chances is not None:
            chances = outlook.chances.reshape(self._shape)
            if outlook.q_values is None:
                return chances, None, "chance of success"
            marked = outlook.q_values.reshape(self._shape) < chances - 0.5
            return chances, marked, "chance of success"
        if outlook.preferences is None:
            return None, None, "place chosen"
        name = "probability" if outlook.q_values is None else "Q-value"
        return outlook.preferences.reshape(self._shape), None, f"{name} of each place"

    def _draw_map(
        self,
        draw: ImageDraw.ImageDraw,
        corner: tuple[int, int],
        shares: np.ndarray,
        hatched: np.ndarray,
    ) -> None:
        rows, columns = shares.shape
        xs = corner[0] + np.rint(np.arange(columns + 1) * self._size[0] / columns).astype(int)
        ys = corner[1] + np.rint(np.arange(rows + 1) * self._size[1] / rows).astype(int)
        steps = np.rint(255.0 * np.clip(shares, 0.0, 1.0)).astype(int)
        colours = CHANCE_COLOURS[steps].tolist()
        for row in range(rows):
            for column in range(columns):
                ends = (xs[column], ys[row], xs[column + 1] - 1, ys[row + 1] - 1)
                grey = hatched[row, column]
                draw.rectangle(ends, _GREYED if grey else tuple(colours[row][column]))
                if grey:
                    draw.line((ends[0], ends[3], ends[2], ends[1]), _STRIPE)
