"""Who controlled a site when, why, and what it cost, as far as the site's own sensors tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from enum import IntEnum
from math import fsum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.psychrometrics import Array
from rlkit_envs.data_center.reward import RECOMMENDED_DEGC, outside_k
from rlkit_envs.data_center.weather import STEP_S, STEPS_PER_HOUR


class Party(IntEnum):
    """Who controls."""

    AGENT = 0
    FALLBACK = 1


class Reason(IntEnum):
    """Why control is where it is."""

    ITS_PERIOD = 0
    """The agent's: its period began, or the episode did within one."""
    WELL_AGAIN = 1
    """The agent's: what made the fallback take over has been over for long enough."""
    NOT_ITS_PERIOD = 2
    """The fallback's, from here on: the agent has no control at this time."""
    TOO_COLD = 3
    """The hottest inlet is colder than allowed."""
    TOO_HOT = 4
    """The hottest inlet is hotter than allowed."""
    OUT_OF_RANGE = 5
    """The agent asked for what the actuators do not reach."""
    NOT_FINITE = 6
    """The agent asked for NaN or infinity."""


@dataclass(frozen=True)
class Bill:
    """What a time under someone's control came to."""

    hours: float
    energy_kwh: float
    """Of the whole facility."""
    cost: float
    """Of that energy, in the currency of its price."""
    hours_outside_recommended: float
    """With the hottest inlet outside 18 to 27 degC."""
    degree_hours_outside_recommended: float
    """Kelvin hours of that."""


@dataclass(frozen=True)
class Interval:
    """A time without a change of hands in one row."""

    row: int
    episode: int
    """0 for the first of the row."""
    first_step: int
    """Of the episode."""
    party: str
    """`agent` or `fallback`."""
    reason: str
    """Why control went there: a name of `Reason`, in lower case."""
    bill: Bill


class SupervisionLog:
    """Intervals and bills of a batch of rows; plain data comes out."""

    def __init__(self, agent: str, fallback: str, cost_per_kwh: float) -> None:
        """agent, fallback: their names. cost_per_kwh: where no sensor tells it."""
        self._names = {"agent": agent, "fallback": fallback}
        self._usual_cost_per_kwh = cost_per_kwh
        self._closed: list[Interval] = []
        self._party = np.empty(0, np.int64)

    def begin(self, rows: NDArray[np.bool_]) -> None:
        """Episodes begin in these rows; what ran there is closed."""
        if len(rows) != len(self._party):
            self._party = np.full(len(rows), -1)
            self._reason, self._episode, self._step, self._first = np.zeros(
                (4, len(rows)), np.int64
            )
            self._episode -= 1
            self._sums = np.zeros((len(fields(Bill)), len(rows)))
            self._cost_per_kwh = np.zeros(len(rows))
            self._open = np.zeros(len(rows), np.bool_)
        self._close(rows)
        self._party[rows] = -1
        self._episode[rows] += 1
        self._step[rows] = 0
        self._open[rows] = False

    def hand(
        self, party: NDArray[np.int64], reason: NDArray[np.int64], readings: Mapping[str, Array]
    ) -> None:
        """The step to come is of `party` (rows,), for `reason` where that is a change.

        readings: of now, for the price.
        """
        changes = party != self._party
        self._close(changes)
        self._party = np.where(changes, party, self._party)
        self._reason = np.where(changes, reason, self._reason)
        self._first = np.where(changes, self._step, self._first)
        price = readings.get("cost_per_kwh", self._usual_cost_per_kwh)
        self._cost_per_kwh = np.broadcast_to(price, party.shape)
        self._open = np.ones(party.shape, np.bool_)

    def bill(self, readings: Mapping[str, Array]) -> None:
        """Put the step that has ended on the bill of whom it was handed to; once."""
        hottest = readings["hottest_inlet_degc"]
        energy_kwh = readings["facility_power_w"] * (STEP_S / 3.6e6)
        outside = outside_k(hottest, RECOMMENDED_DEGC)
        hour = 1.0 / STEPS_PER_HOUR
        step = np.stack(
            [
                np.full(len(hottest), hour),
                energy_kwh,
                energy_kwh * self._cost_per_kwh,
                hour * (outside > 0.0),
                hour * outside,
            ]
        )
        self._sums += np.where(self._open, step, 0.0)
        self._step = self._step + self._open
        self._open = np.zeros(len(self._open), np.bool_)

    def intervals(self) -> list[Interval]:
        """All of them, those that still run as they stand; by row, then in time."""
        running = [self._interval(row) for row in range(len(self._party)) if self._ran(row)]
        return sorted(self._closed + running, key=lambda i: (i.row, i.episode, i.first_step))

    def totals(self, row: int | None = None) -> dict[str, Bill]:
        """The bills of `agent`, `fallback` and `both`, of one row or of all."""
        chosen = [i for i in self.intervals() if row is None or i.row == row]
        totals = {
            party: _total(i.bill for i in chosen if i.party == party) for party in self._names
        }
        totals["both"] = _total(i.bill for i in chosen)
        return totals

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        rows = range(len(self._party))
        return {
            "names": dict(self._names),
            "totals": {party: asdict(bill) for party, bill in self.totals().items()},
            "totals_by_row": [
                {party: asdict(bill) for party, bill in self.totals(row).items()} for row in rows
            ],
            "intervals": [asdict(interval) for interval in self.intervals()],
        }

    def _close(self, rows: NDArray[np.bool_]) -> None:
        for row in np.flatnonzero(rows).tolist():
            if self._ran(row):
                self._closed.append(self._interval(row))
        self._sums[:, rows] = 0.0

    def _ran(self, row: int) -> bool:
        """Whether there is anything to tell: not where an episode ended as control changed."""
        return bool(self._party[row] >= 0 and self._sums[0, row] > 0.0)

    def _interval(self, row: int) -> Interval:
        return Interval(
            row=row,
            episode=int(self._episode[row]),
            first_step=int(self._first[row]),
            party=Party(int(self._party[row])).name.lower(),
            reason=Reason(int(self._reason[row])).name.lower(),
            bill=Bill(*self._sums[:, row].tolist()),
        )


def _total(bills: Iterable[Bill]) -> Bill:
    listed = list(bills)
    return Bill(*(fsum(getattr(bill, field.name) for bill in listed) for field in fields(Bill)))
