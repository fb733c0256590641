"""Draws what a policy may do and what it makes of it, a row for each action.

One panel for actions to choose among, one for those that combine levels of several settings, one
for continuous ones; `rlkit.drawing` puts them beside the picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import ImageDraw

from rlkit.drawing import BAR, CHOSEN, DIM, SMALL, TEXT, TINY, TRACK, Area, Moment, shortened
from rlkit.outlook import Outlook

_CAPTION = 30
_ROW = 22
_HEADING = 20
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
        self._bars = _Bars()

    def restart(self) -> None:
        """Forget the episode so far."""
        self._bars = _Bars()

    def follow(self, moment: Moment) -> None:
        """Take note of a moment that is not drawn."""
        self._bars.follow(moment.outlook)

    def draw(self, draw: ImageDraw.ImageDraw, area: Area, moment: Moment) -> None:
        """Draw the moment into `area`."""
        taken = None if moment.action is None else int(moment.action)
        self._bars.follow(moment.outlook)
        caption = self._bars.caption(moment.outlook, "Q-values", "of the actions")
        draw.text((area.left, area.top + 14), caption, DIM, SMALL, "lm")
        for row, index in enumerate(self._shown(moment.outlook.preferences, taken)):
            middle = area.top + _CAPTION + row * _ROW + _ROW // 2
            self._bars.draw(
                draw, area, middle, self._names[index], moment.outlook, index, index == taken
            )

    def _shown(self, preferences: np.ndarray | None, taken: int | None) -> list[int]:
        """The actions that have a row, in their own order."""
        if len(self._names) == self._rows:
            return list(range(self._rows))
        order = np.zeros(len(self._names)) if preferences is None else preferences.copy()
        if taken is not None:
            order[taken] = np.inf
        return sorted(np.argsort(-order, kind="stable")[: self._rows].tolist())


class LevelPanel:
    """Actions that each combine a level of every setting, a row for each level.

    The levels of the action taken are in another colour. Q-values: a level has that of the best
    action with it, so that a setting whose bars are all alike does not matter now. Probabilities: a
    level has those of all actions with it together. Bars are as those of `ChoicePanel`.
    """

    def __init__(self, meanings: Sequence[Mapping[str, str]]) -> None:
        """meanings: of each action, setting -> level, with the same settings for all."""
        settings = {name: list(dict.fromkeys(m[name] for m in meanings)) for name in meanings[0]}
        self._settings = settings
        self._has = np.array(
            [[m[name] == level for m in meanings] for name in settings for level in settings[name]]
        )
        self.height = _CAPTION + sum(_HEADING + _ROW * len(levels) for levels in settings.values())
        self._bars = _Bars()

    def restart(self) -> None:
        """Forget the episode so far."""
        self._bars = _Bars()

    def follow(self, moment: Moment) -> None:
        """Take note of a moment that is not drawn."""
        self._bars.follow(self._of_levels(moment.outlook))

    def draw(self, draw: ImageDraw.ImageDraw, area: Area, moment: Moment) -> None:
        """Draw the moment into `area`."""
        outlook = self._of_levels(moment.outlook)
        taken = np.zeros(len(self._has), bool)
        if moment.action is not None:
            taken = self._has[:, int(moment.action)]
        self._bars.follow(outlook)
        caption = self._bars.caption(outlook, "best Q-values", "of the levels")
        draw.text((area.left, area.top + 14), caption, DIM, SMALL, "lm")
        top, row = area.top + _CAPTION, 0
        for setting, levels in self._settings.items():
            draw.text((area.left, top + _HEADING // 2 + 1), setting, TEXT, SMALL, "lm")
            top += _HEADING
            for level in levels:
                middle = top + _ROW // 2
                self._bars.draw(draw, area, middle, f"   {level}", outlook, row, bool(taken[row]))
                top, row = top + _ROW, row + 1

    def _of_levels(self, outlook: Outlook) -> Outlook:
        """What holds for each level, in the order of the rows, in place of each action."""
        if outlook.q_values is not None:
            return Outlook(q_values=np.where(self._has, outlook.q_values, -np.inf).max(axis=1))
        if outlook.probabilities is not None:
            return Outlook(probabilities=self._has @ outlook.probabilities)
        return Outlook()


class _Bars:
    """Bars of Q-values or of probabilities, and the scale of the former."""

    def __init__(self) -> None:
        self._spread = 0.0

    def follow(self, outlook: Outlook) -> None:
        if outlook.q_values is not None:
            # Grows at once and shrinks slowly, so that bars neither overflow nor flicker.
            self._spread = max(float(np.ptp(outlook.q_values)), 0.98 * self._spread, 1e-6)

    def caption(self, outlook: Outlook, of_values: str, of_what: str) -> str:
        if outlook.q_values is not None:
            return f"{of_values}, bars above the lowest"
        return "action taken" if outlook.probabilities is None else f"probabilities {of_what}"

    def draw(
        self,
        draw: ImageDraw.ImageDraw,
        area: Area,
        middle: int,
        name: str,
        outlook: Outlook,
        index: int,
        taken: bool,
    ) -> None:
        """One row: its name and, where the policy tells numbers, the bar of entry `index`."""
        bar_colour, text_colour = (CHOSEN, CHOSEN) if taken else (BAR, DIM)
        name = shortened(name, _LABEL_WIDTH - 6)
        draw.text((area.left, middle), name, text_colour, SMALL, "lm")
        if outlook.q_values is not None:
            value = float(outlook.q_values[index])
            share = (value - float(outlook.q_values.min())) / self._spread
            number = f"{value:z.2f}"
        elif outlook.probabilities is not None:
            share = float(outlook.probabilities[index])
            number = f"{share:.1%}"
        else:
            return
        start, end = area.left + _LABEL_WIDTH, area.right - _NUMBER_WIDTH
        draw.rectangle((start, middle - 6, end, middle + 6), fill=TRACK)
        length = share * (end - start)
        if length >= 1:
            draw.rectangle((start, middle - 6, start + length, middle + 6), fill=bar_colour)
        draw.text((area.right, middle), number, text_colour, SMALL, "rm")


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

    def follow(self, moment: Moment) -> None:
        """Take note of a moment that is not drawn."""
        taken = () if moment.action is None else (np.ravel(moment.action),)
        for values in (*(_band(moment.outlook) or ()), *taken):
            self._reach = np.maximum(self._reach, np.abs(values))

    def draw(self, draw: ImageDraw.ImageDraw, area: Area, moment: Moment) -> None:
        """Draw the moment into `area`."""
        self.follow(moment)
        gaussian, band = moment.outlook.gaussian, _band(moment.outlook)
        taken = None if moment.action is None else np.ravel(moment.action)
        low = np.where(self._bounded, self._low, -self._reach)
        high = np.where(self._bounded, self._high, self._reach)
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


def _band(outlook: Outlook) -> tuple[np.ndarray, np.ndarray] | None:
    """(components,) mean less a standard deviation, and mean plus one."""
    if outlook.gaussian is None:
        return None
    mean, deviation = outlook.gaussian
    return mean - deviation, mean + deviation
