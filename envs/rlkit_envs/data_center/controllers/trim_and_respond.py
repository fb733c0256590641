"""Trim and respond of ASHRAE Guideline 36-2021 (section 5.1.14), by requests.

Every time step a set point is trimmed towards saving; requests beyond those ignored push it back,
each by a response, together by no more than a limit. Parameters are those of the chilled-water
plant's reset (5.20.5.2): every 5 minutes after 15, trim -2 %, respond +3 %, at most +7 %, and two
requests ignored.

Two loops run with them. Cold air: a demand from 0 to 100 % of `AirSequence`, requested by the
hottest inlet. Chilled water: from warmest to coldest, requested by the coils, whose rules are those
of 5.16.16 (supply air 2 K above its set point: 2 requests; 3 K: 3; valve above 95 % until below
85 %: 1).

Departures: both begin at half, not at the end; one hall sends requests for all its racks, so that
none are ignored; requests of the hottest inlet begin at a target, and further ones follow in steps
of `request_k`; a request needs no time to count, as a step is longer than the guideline's waits;
the pump follows the valve here, so that the chilled water's whole reset is its temperature's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.controllers.air_sequence import AirSequence
from rlkit_envs.data_center.controllers.condenser_water import (
    CondenserWaterLoop,
    CondenserWaterSettings,
)
from rlkit_envs.data_center.controllers.controller import Observed
from rlkit_envs.data_center.controllers.resets import (
    WARM_SUPPLY,
    ResetLine,
    supply_line,
    water_line,
)
from rlkit_envs.data_center.design import DataCenterDesign
from rlkit_envs.data_center.plant_state import PlantActions
from rlkit_envs.data_center.psychrometrics import Array
from rlkit_envs.data_center.ranges import check_ranges

_VALVE_OPEN, _VALVE_CLOSED = 0.95, 0.85
_SUPPLY_ABOVE_K = (2.0, 3.0)


@dataclass(frozen=True)
class TrimAndRespondSettings:
    """Guideline 36's parameters, as shares of a range; a positive change cools more."""

    start_ratio: float = 0.5
    """SP0: where both loops begin, 0 to 1."""
    delay_steps: int = 3
    """Td: steps of 5 minutes before the first change, 0 to 288."""
    trim_ratio: float = -0.02
    """SPtrim: change in every step, -1 to 0."""
    respond_ratio: float = 0.03
    """SPres: change for each request, 0 to 1."""
    most_respond_ratio: float = 0.07
    """SPres-max: most that all requests of a step change, `respond_ratio` to 1."""
    ignored: int = 0
    """I: requests that change nothing, 0 to 2: of three at most."""
    target_degc: float = 25.25
    """Hottest inlet at which the first request is sent, 15 to 45 degC."""
    request_k: float = 0.5
    """Above the target for each further request, of three at most, 0.1 to 5 K."""
    supply_air: ResetLine = WARM_SUPPLY
    """Usual set point, degC, by the outdoor wet bulb, as section 5.16.2.2 resets it by the outdoor
    air."""
    sequence: AirSequence = field(default_factory=AirSequence)
    """How the demand for cold air becomes air flow and supply set point."""
    warmest_chilled_degc: float = 17.0
    """Chilled water at 0 %, 3 to 25 degC."""
    coldest_chilled_degc: float = 10.0
    """Chilled water at 100 %, 3 degC to the warmest."""
    condenser: CondenserWaterSettings = field(default_factory=CondenserWaterSettings)
    """The tower's fan."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            start_ratio=(0.0, 1.0),
            delay_steps=(0, 288),
            trim_ratio=(-1.0, 0.0),
            respond_ratio=(0.0, 1.0),
            most_respond_ratio=(self.respond_ratio, 1.0),
            ignored=(0, 2),
            target_degc=(15.0, 45.0),
            request_k=(0.1, 5.0),
            warmest_chilled_degc=(3.0, 25.0),
            coldest_chilled_degc=(3.0, self.warmest_chilled_degc),
        )

    @classmethod
    def for_design(cls, design: DataCenterDesign) -> TrimAndRespondSettings:
        """With the lines for sites like this one."""
        warmest = water_line(design).at_low
        return cls(supply_air=supply_line(design), warmest_chilled_degc=warmest)


def trim_and_respond(
    settings: TrimAndRespondSettings, ratio: Array, requests: NDArray[np.int64]
) -> Array:
    """(rows,) the next ratio, 0 to 1, after `requests` (rows,)."""
    counted = np.maximum(requests - settings.ignored, 0)
    response = np.minimum(counted * settings.respond_ratio, settings.most_respond_ratio)
    return np.clip(ratio + settings.trim_ratio + response, 0.0, 1.0)


class TrimAndRespond:
    """Guideline 36 for one hall."""

    def __init__(
        self,
        settings: TrimAndRespondSettings = TrimAndRespondSettings(),
        name: str = "trim and respond",
    ) -> None:
        self.settings, self.name = settings, name
        self._condenser = CondenserWaterLoop(settings.condenser)
        self._air = np.empty(0)
        self._water = np.empty(0)
        self._valve_asks = np.empty(0, np.bool_)
        self._supply_set_degc = np.empty(0)
        self._age = np.empty(0, np.int64)

    def reset(self, rows: NDArray[np.bool_]) -> None:
        """As `Controller.reset`."""
        if len(rows) != len(self._air):
            self._air, self._water = np.empty(len(rows)), np.empty(len(rows))
            self._valve_asks = np.empty(len(rows), np.bool_)
            self._supply_set_degc = np.empty(len(rows))
            self._age = np.empty(len(rows), np.int64)
        self._air[rows] = self._water[rows] = self.settings.start_ratio
        self._valve_asks[rows] = False
        self._supply_set_degc[rows] = np.inf  # nothing has been asked of the coils
        self._age[rows] = 0
        self._condenser.reset(rows)

    def act(self, observed: Observed) -> PlantActions:
        """Set points for the step to come, the economiser off."""
        settings, readings = self.settings, observed.readings
        due = self._age >= settings.delay_steps
        self._age = self._age + 1
        air = trim_and_respond(settings, self._air, self._air_requests(readings))
        water = trim_and_respond(settings, self._water, self._water_requests(readings))
        self._air = np.where(due, air, self._air)
        self._water = np.where(due, water, self._water)
        demand = self._air * settings.sequence.most_k
        usual = settings.supply_air(readings["outdoor_wet_bulb_degc"])
        supply = usual + settings.sequence.supply_air_k(demand)
        self._supply_set_degc = supply
        span = settings.warmest_chilled_degc - settings.coldest_chilled_degc
        return PlantActions(
            supply_air_degc=supply,
            air_flow_ratio=settings.sequence.air_flow_ratio(demand),
            chilled_water_degc=settings.warmest_chilled_degc - self._water * span,
            tower_fan_ratio=self._condenser.act(readings),
            economiser=np.zeros(len(demand), np.int64),
        )

    def _air_requests(self, readings: Mapping[str, Array]) -> NDArray[np.int64]:
        above = readings["hottest_inlet_degc"] - self.settings.target_degc
        requests = np.floor(above / self.settings.request_k) + 1.0
        return np.clip(requests, 0.0, 3.0).astype(np.int64)

    def _water_requests(self, readings: Mapping[str, Array]) -> NDArray[np.int64]:
        if "valve_ratio" not in readings:
            return np.zeros(len(self._water), np.int64)
        valve = readings["valve_ratio"]
        held = self._valve_asks & (valve >= _VALVE_CLOSED)
        self._valve_asks = (valve > _VALVE_OPEN) | held
        above = readings["supply_air_degc"] - self._supply_set_degc
        most = np.where(above > _SUPPLY_ABOVE_K[1], 3, np.where(above > _SUPPLY_ABOVE_K[0], 2, 0))
        return np.maximum(most, self._valve_asks)
