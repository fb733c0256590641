"""PID on the hottest inlet, acting on air flow and then on the supply set point.

The velocity form (Åström & Hägglund 2006, Advanced PID Control): each step adds to the demand for
cooling, and the sum is held within what air flow and supply can do, so that nothing winds up and
taking over from someone else is bumpless. Gains of the defaults were found on synthetic years.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.actions import ActuatorRanges
from rlkit_envs.data_center.controllers.air_sequence import AirSequence
from rlkit_envs.data_center.controllers.condenser_water import (
    CondenserWaterLoop,
    CondenserWaterSettings,
)
from rlkit_envs.data_center.controllers.controller import Observed
from rlkit_envs.data_center.controllers.resets import (
    WARM_SUPPLY,
    WARM_WATER,
    ResetLine,
    supply_line,
    water_line,
)
from rlkit_envs.data_center.design import DataCenterDesign
from rlkit_envs.data_center.plant_state import PlantActions
from rlkit_envs.data_center.psychrometrics import Array
from rlkit_envs.data_center.ranges import check_ranges


@dataclass(frozen=True)
class PIDSettings:
    """What is held, and how hard; gains are demand, in kelvins of cooling, for each kelvin."""

    target_degc: float = 25.5
    """Hottest inlet, 15 to 45 degC; ASHRAE recommends at most 27."""
    proportional: float = 0.3
    """For each kelvin of change, 0 to 5."""
    integral: float = 0.2
    """For each kelvin above the target and step of 5 minutes, 0.001 to 2."""
    derivative: float = 0.0
    """For each kelvin by which the change grows from step to step, 0 to 5."""
    sequence: AirSequence = field(default_factory=AirSequence)
    """How the demand becomes air flow and supply set point."""
    supply_air: ResetLine = WARM_SUPPLY
    """Usual set point, degC, by the outdoor wet bulb."""
    chilled_water: ResetLine = WARM_WATER
    """Set point, degC, by the outdoor wet bulb."""
    condenser: CondenserWaterSettings = field(default_factory=CondenserWaterSettings)
    """The tower's fan."""
    forgetting: float = 0.1
    """Share of what is left of set points taken over that is forgotten in a step, 0.01 to 1."""
    limits: ActuatorRanges = field(default_factory=ActuatorRanges)
    """Within which set points taken over are moved."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            target_degc=(15.0, 45.0),
            proportional=(0.0, 5.0),
            integral=(0.001, 2.0),
            derivative=(0.0, 5.0),
            forgetting=(0.01, 1.0),
        )

    @classmethod
    def for_design(cls, design: DataCenterDesign) -> PIDSettings:
        """With the lines for sites like this one."""
        return cls(supply_air=supply_line(design), chilled_water=water_line(design))


class PID:
    """Holds the hottest inlet; can follow someone else's set points, and go on from them."""

    def __init__(
        self,
        settings: PIDSettings = PIDSettings(),
        name: str = "PID",
    ) -> None:
        self.settings, self.name = settings, name
        self._condenser = CondenserWaterLoop(settings.condenser)
        self._demand_k = np.empty(0)
        self._errors_k = np.empty((2, 0))
        self._beside = np.empty((3, 0))
        self._taken = np.empty((3, 0))

    def reset(self, rows: NDArray[np.bool_]) -> None:
        """As `Controller.reset`."""
        if len(rows) != len(self._demand_k):
            self._demand_k = np.empty(len(rows))
            self._errors_k = np.empty((2, len(rows)))
            self._beside, self._taken = np.empty((2, 3, len(rows)))
        self._demand_k[rows] = self.settings.sequence.usual_k
        self._errors_k[:, rows] = np.nan
        self._beside[:, rows] = 0.0
        self._taken[:, rows] = np.nan
        self._condenser.reset(rows)

    def act(self, observed: Observed) -> PlantActions:
        """Set points for the step to come, the economiser off."""
        settings, readings = self.settings, observed.readings
        wet_bulb = readings["outdoor_wet_bulb_degc"]
        usual, chilled = settings.supply_air(wet_bulb), settings.chilled_water(wet_bulb)
        self._take_over(usual, chilled)
        error = readings["hottest_inlet_degc"] - settings.target_degc
        before, earlier = np.where(np.isnan(self._errors_k), error, self._errors_k)
        change = settings.integral * error + settings.proportional * (error - before)
        change += settings.derivative * (error - 2.0 * before + earlier)
        self._demand_k = np.clip(self._demand_k + change, 0.0, settings.sequence.most_k)
        self._errors_k = np.stack([error, before])
        supply, flow, chilled = self._own(usual, chilled) + self._beside
        self._beside = self._beside * (1.0 - settings.forgetting)
        return PlantActions(
            supply_air_degc=np.clip(supply, *settings.limits.supply_air_degc),
            air_flow_ratio=np.clip(flow, *settings.limits.air_flow_ratio),
            chilled_water_degc=np.clip(chilled, *settings.limits.chilled_water_degc),
            tower_fan_ratio=self._condenser.act(readings),
            economiser=np.zeros(len(error), np.int64),
        )

    def track(self, actions: PlantActions, rows: NDArray[np.bool_] | None = None) -> None:
        """As `TrackingController.track`: the next `act` moves on by the error of its reading.

        What of the set points this controller would not choose fades. The economiser's mode is
        left alone, as `act` has it off.
        """
        where = np.ones(len(self._demand_k), np.bool_) if rows is None else rows
        for number, value in enumerate(actions[:3]):
            self._taken[number, where] = np.broadcast_to(value, len(where))[where]
        self._errors_k[:, where] = np.nan
        self._condenser.track(actions.tower_fan_ratio, where)

    def _take_over(self, usual_degc: Array, chilled_degc: Array) -> None:
        """Turn set points taken over into the nearest demand, and what lies beside it."""
        taken = ~np.isnan(self._taken[0])
        if not taken.any():
            return
        demand = self.settings.sequence.demand_k(self._taken[0] - usual_degc, self._taken[1])
        self._demand_k = np.where(taken, demand, self._demand_k)
        beside = self._taken - self._own(usual_degc, chilled_degc)
        self._beside = np.where(taken, beside, self._beside)
        self._taken[:] = np.nan

    def _own(self, usual_degc: Array, chilled_degc: Array) -> Array:
        """(3, rows) supply set point, air flow and chilled water of the demand alone."""
        sequence, demand = self.settings.sequence, self._demand_k
        supply = usual_degc + sequence.supply_air_k(demand)
        return np.stack([supply, sequence.air_flow_ratio(demand), chilled_degc])
