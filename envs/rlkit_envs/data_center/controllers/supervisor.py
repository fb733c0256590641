"""Lets an agent run a site for set periods only, under the eyes of a controller that takes over.

As on live sites (Lazic et al. 2018, Data center cooling using model-predictive control, section 5:
fall-back on the plant's own control): on an unsafe inlet, or on an action that is none, the
fallback goes on from the set points in force. `supervision_log` keeps who controlled when, why, and
what it cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.actions import ECONOMISER, ActuatorRanges, actuators
from rlkit_envs.data_center.controllers.controller import (
    Controller,
    Observed,
    TrackingController,
)
from rlkit_envs.data_center.controllers.supervision_log import Party, Reason, SupervisionLog
from rlkit_envs.data_center.design import DataCenterDesign
from rlkit_envs.data_center.economisers import EconomiserMode
from rlkit_envs.data_center.plant_state import PlantActions
from rlkit_envs.data_center.psychrometrics import Array
from rlkit_envs.data_center.ranges import check_positive, check_ranges
from rlkit_envs.data_center.reward import RECOMMENDED_DEGC
from rlkit_envs.data_center.weather import STEPS_PER_DAY, STEPS_PER_HOUR

_ROUNDING = 1e-6
"""Share of an actuator's range by which an action may lie outside for its number format."""


class Schedule(Protocol):
    """When the agent may control."""

    def open(self, step_of_day: NDArray[np.int64], step: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(rows,) of the step to come. step_of_day: 0 to 287. step: of the episode, 0 the first."""
        ...


@dataclass(frozen=True)
class Always:
    """The agent may always control."""

    def open(self, step_of_day: NDArray[np.int64], step: NDArray[np.int64]) -> NDArray[np.bool_]:
        """As `Schedule.open`."""
        return np.ones(step.shape, np.bool_)


@dataclass(frozen=True)
class HoursOfDay:
    """The agent may control in these hours of the site's day."""

    first: float = 8.0
    """Begins then, 0 to below 24."""
    last: float = 18.0
    """Ends then, above 0 to 24; before `first` it is the next morning."""

    def __post_init__(self) -> None:
        check_ranges(self, first=(0.0, 24.0), last=(0.0, 24.0))
        if self.first % 24.0 == self.last % 24.0:
            raise ValueError(
                f"HoursOfDay from {self.first:g} to {self.last:g} is no time or all day: use other "
                "hours, or Always"
            )

    def open(self, step_of_day: NDArray[np.int64], step: NDArray[np.int64]) -> NDArray[np.bool_]:
        """As `Schedule.open`."""
        since = (step_of_day - round(self.first * STEPS_PER_HOUR)) % STEPS_PER_DAY
        return since < round((self.last - self.first) % 24.0 * STEPS_PER_HOUR)


@dataclass(frozen=True)
class HoursInEvery:
    """From an episode's start the agent may control for some hours, then not, and so on."""

    hours: float = 4.0
    """Of the agent, above 0, less than `every`."""
    every: float = 24.0
    """Hours after which it begins anew, up to 8760."""

    def __post_init__(self) -> None:
        check_positive(self, "hours")
        check_ranges(self, every=(0.0, 8760.0))
        if not self.hours < self.every:
            raise ValueError(
                f"HoursInEvery gives {self.hours:g} of every {self.every:g} hours: it must be less"
            )

    def open(self, step_of_day: NDArray[np.int64], step: NDArray[np.int64]) -> NDArray[np.bool_]:
        """As `Schedule.open`."""
        return step % round(self.every * STEPS_PER_HOUR) < round(self.hours * STEPS_PER_HOUR)


@dataclass(frozen=True)
class SupervisorSettings:
    """When the fallback takes over, and how softly."""

    schedule: Schedule = Always()
    """When the agent may control."""
    low_degc: float = RECOMMENDED_DEGC[0]
    """The hottest inlet below this is a violation, 5 to 30 degC."""
    high_degc: float = RECOMMENDED_DEGC[1]
    """The hottest inlet above this is a violation, 15 to 50 degC."""
    hysteresis_k: float = 1.0
    """A violation is over where the inlet is this far inside again, 0 or more."""
    hold_steps: int = 12
    """Steps of 5 minutes for which the fallback keeps control after all is well, 0 to 2016."""
    supply_air_rate_k: float = 1.0
    """After a change of hands a set point moves at most this far a step, above 0, until it is where
    whoever has control wants it; the economiser's mode changes at once."""
    air_flow_rate: float = 0.1
    """The same of the air flow ratio."""
    chilled_water_rate_k: float = 1.0
    """The same of the chilled water."""
    tower_fan_rate: float = 0.15
    """The same of the tower fan ratio."""
    cost_per_kwh: float = 0.10
    """Of electricity, 0 or more, where no sensor tells it."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            low_degc=(5.0, 30.0),
            high_degc=(15.0, 50.0),
            hysteresis_k=(0.0, np.inf),
            hold_steps=(0, 2016),
            cost_per_kwh=(0.0, np.inf),
        )
        check_positive(
            self, "supply_air_rate_k", "air_flow_rate", "chilled_water_rate_k", "tower_fan_rate"
        )
        if not isinstance(self.hold_steps, int):
            raise TypeError(
                f"SupervisorSettings.hold_steps must be whole, but is {self.hold_steps!r}"
            )
        if not self.low_degc + 2.0 * self.hysteresis_k < self.high_degc:
            raise ValueError(
                f"SupervisorSettings has hysteresis_k {self.hysteresis_k:g} between low_degc "
                f"{self.low_degc:g} and high_degc {self.high_degc:g}: no inlet would ever be well"
            )

    @property
    def rates(self) -> Array:
        """(4, 1) of the set points, in the order of `PlantActions`."""
        return np.array(
            [
                [self.supply_air_rate_k],
                [self.air_flow_rate],
                [self.chilled_water_rate_k],
                [self.tower_fan_rate],
            ]
        )


class Supervisor:
    """Agent and fallback as one controller; each sees everything, all the time.

    In the step in which an agent's action is not finite, or out of range, the fallback's is taken.
    Whoever is not in control is told what was set, if it can track. Late sensors bill late.
    """

    def __init__(
        self,
        agent: Controller,
        fallback: TrackingController,
        design: DataCenterDesign,
        ranges: ActuatorRanges | None = None,
        settings: SupervisorSettings = SupervisorSettings(),
        name: str | None = None,
    ) -> None:
        """ranges: of the actions; None is the environments' default. name: None makes one."""
        self.agent, self.fallback, self.settings = agent, fallback, settings
        self.name = name or f"{agent.name}, supervised by {fallback.name}"
        ranges = ranges or ActuatorRanges()
        # What a site has no actuator for may be anything.
        limits = np.array([[-np.inf, np.inf]] * len(PlantActions._fields))
        for actuator in actuators(design):
            row = PlantActions._fields.index(actuator)
            if actuator == ECONOMISER:
                limits[row] = EconomiserMode.OFF, EconomiserMode.FULL
            else:
                limits[row] = getattr(ranges, actuator)
        slack = _ROUNDING * (limits[:, 1] - limits[:, 0])
        self._low = (limits[:, 0] - slack)[:, np.newaxis]
        self._high = (limits[:, 1] + slack)[:, np.newaxis]
        self._present = np.isfinite(limits[:, :1])
        self.log = SupervisionLog(agent.name, fallback.name, settings.cost_per_kwh)
        """Who controlled when, and the bill of each."""
        self._fresh = np.empty(0, np.bool_)

    def reset(self, rows: NDArray[np.bool_]) -> None:
        """As `Controller.reset`; the log goes on with these rows' next episodes."""
        if len(rows) != len(self._fresh):
            count = len(rows)
            self._fresh = np.ones(count, np.bool_)
            self._by_agent = np.zeros(count, np.bool_)
            self._violation, self._cause, self._wait, self._step = np.zeros((4, count), np.int64)
            self._catching_up = np.zeros((4, count), np.bool_)
            self._set, self._of_agent, self._of_fallback = np.zeros(
                (3, len(PlantActions._fields), count)
            )
        self.agent.reset(rows)
        self.fallback.reset(rows)
        self.log.begin(rows)
        self._fresh = self._fresh | rows
        self._catching_up = self._catching_up & ~rows
        for counted in (self._violation, self._wait, self._step):
            counted[rows] = 0

    def act(self, observed: Observed) -> PlantActions:
        """Set points of whoever has control in the step to come."""
        self.settle(observed)
        self._tell()
        wanted = self._of_agent = _stacked(self.agent.act(observed), len(self._fresh))
        own = self._of_fallback = _stacked(self.fallback.act(observed), len(self._fresh))
        by_agent, reason = self._judge(observed.readings, wanted)

        chosen = np.where(by_agent & self._present, wanted, own)
        changed = (by_agent != self._by_agent) & ~self._fresh
        self._catching_up |= changed
        rates = np.where(self._catching_up, self.settings.rates, np.inf)
        points = np.clip(chosen[:4], self._set[:4] - rates, self._set[:4] + rates)
        self._catching_up &= points != chosen[:4]
        self._set = np.concatenate([points, chosen[4:]])

        party = np.where(by_agent, Party.AGENT, Party.FALLBACK)
        self.log.hand(party, reason, observed.readings)
        self._by_agent = by_agent
        self._fresh = np.zeros(len(by_agent), np.bool_)
        self._step = self._step + 1
        return _plant_actions(self._set)

    def settle(self, observed: Observed) -> None:
        """Bill the step that has ended, as `act` does by itself; for the end of a run."""
        self.log.bill(observed.readings)

    def _tell(self) -> None:
        """What was set, to whom it was not from; a set point on its way is from nobody."""
        set_ = _plant_actions(self._set)
        for controller, asked in ((self.fallback, self._of_fallback), (self.agent, self._of_agent)):
            others = ~self._fresh & ((asked != self._set) & self._present).any(axis=0)
            if others.any() and isinstance(controller, TrackingController):
                controller.track(set_, others)

    def _judge(
        self, readings: Mapping[str, Array], wanted: Array
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """(rows,) whether the agent has control in the step to come, and why it is as it is."""
        settings, hottest = self.settings, readings["hottest_inlet_degc"]
        margin = settings.hysteresis_k
        hot = hottest > settings.high_degc - margin * (self._violation == Reason.TOO_HOT)
        cold = hottest < settings.low_degc + margin * (self._violation == Reason.TOO_COLD)
        self._violation = np.select([hot, cold], [Reason.TOO_HOT, Reason.TOO_COLD], 0)
        finite = (np.isfinite(wanted) | ~self._present).all(axis=0)
        within = ((wanted >= self._low) & (wanted <= self._high) | ~self._present).all(axis=0)
        trouble = np.select(
            [~finite, ~within], [Reason.NOT_FINITE, Reason.OUT_OF_RANGE], self._violation
        )
        self._cause = np.where(trouble > 0, trouble, self._cause)
        waited = self._wait > 0
        # One more, as the first step in which all is well counts.
        self._wait = np.where(trouble > 0, settings.hold_steps + 1, np.maximum(self._wait - 1, 0))
        angle = np.arctan2(readings["day_sine"], readings["day_cosine"])
        step_of_day = np.rint(angle * (STEPS_PER_DAY / (2.0 * np.pi))).astype(np.int64)
        its_period = settings.schedule.open(step_of_day % STEPS_PER_DAY, self._step)
        by_agent = its_period & (self._wait == 0)
        for_agent = np.where(waited, Reason.WELL_AGAIN, Reason.ITS_PERIOD)
        for_fallback = np.where(its_period, self._cause, Reason.NOT_ITS_PERIOD)
        return by_agent, np.where(by_agent, for_agent, for_fallback)


def _stacked(actions: PlantActions, rows: int) -> Array:
    """(actuators, rows)."""
    return np.stack(
        [np.broadcast_to(np.asarray(value, dtype=np.float64), (rows,)) for value in actions]
    )


def _plant_actions(stacked: Array) -> PlantActions:
    supply, flow, chilled, tower, economiser = stacked
    return PlantActions(
        supply.copy(), flow.copy(), chilled.copy(), tower.copy(), economiser.astype(np.int64)
    )
