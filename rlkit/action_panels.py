"""Draws what a policy may do and what it makes of it, a row for each action.

One panel for actions to choose among, one for continuous ones; `rlkit.drawing` puts them beside the
picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import ImageDraw

from rlkit.drawing import BAR, CHOSEN, DIM, SMALL, TINY, TRACK, Area, Moment, shortened
from rlkit.outlook import Outlook

_CAPTION = 30
_ROW = 22
_MOST_ROWS = 24
_DETAILED_ROW = 40
_MOST_DETAILED_ROWS = 12
_LEAST_REACH = 1e-6
_LABEL_WIDTH = 118
_NUMBER_WIDTH = 56


class ChoicePanel:
    """Finitely many actions, the one taken in another colour.

    Q-values: bars show how much better than the worst action each one is, at a scale that follows
    the largest difference of late: values themselves lie so close together that bars from zero
    would all look alike. The numbers beside the bars are the values. Probabilities: bars from 0 to
    100 %. A policy that tells neither has no bars. Of many actions those preferred have a row.
    """

    def __init__(self, names: Sequence[str]) -> None:
        """names: one an action."""
        self._names = list(names)
        self._rows = min(len(self._names), _MOST_ROWS)
        self.height = _CAPTION + self._rows * _ROW
        self._spread = 0.0

    def restart(self) -> None:
        """Forget the episode so far."""
        self._spread = 0.0

    def draw(self, draw: ImageDraw.ImageDraw, area: Area, moment: Moment) -> None:
        """Draw the moment into `area`."""
        taken = None if moment.action is None else int(moment.action)
        caption, shares, texts = self._bars(moment.outlook)
        draw.text((area.left, area.top + 14), caption, DIM, SMALL, "lm")
        start, end = area.left + _LABEL_WIDTH, area.right - _NUMBER_WIDTH
        for row, index in enumerate(self._shown(moment.outlook.preferences, taken)):
            middle = area.top + _CAPTION + row * _ROW + _ROW // 2
            bar_colour, text_colour = (CHOSEN, CHOSEN) if index == taken else (BAR, DIM)
            name = shortened(self._names[index], _LABEL_WIDTH - 6)
            draw.text((area.left, middle), name, text_colour, SMALL, "lm")
            if shares is None:
                continue
            draw.rectangle((start, middle - 6, end, middle + 6), fill=TRACK)
            length = shares[index] * (end - start)
            if length >= 1:
                draw.rectangle((start, middle - 6, start + length, middle + 6), fill=bar_colour)
            draw.text((area.right, middle), texts[index], text_colour, SMALL, "rm")

    def _bars(self, outlook: Outlook) -> tuple[str, np.ndarray | None, list[str]]:
        """The panel's caption; each bar's share of its track, if there are bars; their numbers."""
        if outlook.q_values is not None:
            above_lowest = outlook.q_values - outlook.q_values.min()
            # Grows at once and shrinks slowly, so that bars neither overflow nor flicker.
            self._spread = max(float(above_lowest.max()), 0.98 * self._spread, 1e-6)
            numbers = [f"{value:z.2f}" for value in outlook.q_values.tolist()]
            return "Q-values, bars above the lowest", above_lowest / self._spread, numbers
        if outlook.probabilities is not None:
            numbers = [f"{share:.1%}" for share in outlook.probabilities.tolist()]
            return "probabilities of the actions", outlook.probabilities, numbers
        return "action taken", None, []

    def _shown(self, preferences: np.ndarray | None, taken: int | None) -> list[int]:
        """The actions that have a row, in their own order."""
        if len(self._names) == self._rows:
            return list(range(self._rows))
        order = np.zeros(len(self._names)) if preferences is None else preferences.copy()
        if taken is not None:
            order[taken] = np.inf
        return sorted(np.argsort(-order, kind="stable")[: self._rows].tolist())


class RangePanel:
    """The components of an action that is a vector, each on the range that it may take.

    A mark shows the component as it was executed, a band the mean of the distribution that it is
    drawn from, give or take a standard deviation, where the policy tells them. A range without
    bounds grows with what is drawn on it. While there are few components, numbers stand below.
    """

    def __init__(self, names: Sequence[str], low: np.ndarray, high: np.ndarray) -> None:
        """names: one a component; of many, the first have a row. low, high: (components,) bounds,
        infinite where there is none."""
        self._names = list(names)[:_MOST_ROWS]
        self._detailed = len(self._names) <= _MOST_DETAILED_ROWS
        self._row = _DETAILED_ROW if self._detailed else _ROW
        self.height = _CAPTION + len(self._names) * self._row
        self._low, self._high = low.astype(float), high.astype(float)
        self._bounded = np.isfinite(low) & np.isfinite(high)
        self._reach = np.full(len(low), _LEAST_REACH)

    def restart(self) -> None:
        """Forget the episode so far."""
        self._reach[:] = _LEAST_REACH

    def draw(self, draw: ImageDraw.ImageDraw, area: Area, moment: Moment) -> None:
        """Draw the moment into `area`."""
        gaussian = moment.outlook.gaussian
        band = None if gaussian is None else (gaussian[0] - gaussian[1], gaussian[0] + gaussian[1])
        taken = None if moment.action is None else np.ravel(moment.action)
        low, high = self._range(band or (), taken)
        caption = "action taken" + ", and mean \u00b1 standard deviation" * (gaussian is not None)
        draw.text((area.left, area.top + 14), caption, DIM, SMALL, "lm")
        start, end = area.left + _LABEL_WIDTH, area.right - _NUMBER_WIDTH

        def places(values: np.ndarray | float) -> np.ndarray:
            share = (values - low) / np.maximum(high - low, _LEAST_REACH)
            return start + np.clip(share, 0, 1) * (end - start)

        for row, name in enumerate(self._names):
            middle = area.top + _CAPTION + row * self._row + _ROW // 2
            draw.text((area.left, middle), shortened(name, _LABEL_WIDTH - 6), DIM, SMALL, "lm")
            draw.rectangle((start, middle - 6, end, middle + 6), fill=TRACK)
            if band is not None:
                left, right = places(band[0])[row], places(band[1])[row]
                draw.rectangle((left, middle - 6, right, middle + 6), fill=BAR)
            if low[row] < 0 < high[row]:
                zero = places(0.0)[row]
                draw.line((zero, middle - 6, zero, middle + 6), DIM)
            if taken is not None:
                at = places(taken)[row]
                draw.rectangle((at - 2, middle - 8, at + 2, middle + 8), fill=CHOSEN)
                draw.text((area.right, middle), f"{taken[row]:z.2f}", CHOSEN, SMALL, "rm")
            if self._detailed:
                draw.text((start, middle + 15), f"{low[row]:.3g}", DIM, TINY, "lm")
                draw.text((end, middle + 15), f"{high[row]:.3g}", DIM, TINY, "rm")
            if self._detailed and gaussian is not None:
                text = f"mean {gaussian[0][row]:z.2f} \u00b1 {gaussian[1][row]:.2f}"
                text = shortened(text, _LABEL_WIDTH - 6, TINY)
                draw.text((area.left, middle + 15), text, DIM, TINY, "lm")

    def _range(
        self, band: Sequence[np.ndarray], taken: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """(components,) where each range begins and ends."""
        for values in (*band, *(() if taken is None else (taken,))):
            self._reach = np.maximum(self._reach, np.abs(values))
        low = np.where(self._bounded, self._low, -self._reach)
        return low, np.where(self._bounded, self._high, self._reach)
