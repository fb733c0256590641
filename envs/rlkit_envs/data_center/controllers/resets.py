"""Set points as straight lines over what drives them: outdoor reset, and air flow by load.

As energy standards ask for (ANSI/ASHRAE 90.1-2019, 6.5.3.5 supply air and 6.5.4.4 chilled water
reset): supply air and chilled water by the outdoor wet bulb, air flow by the servers' utilisation.
There is no feedback: the lines must suit the site.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.airflow import distribute_air, inlet
from rlkit_envs.data_center.controllers.condenser_water import (
    CondenserWaterLoop,
    CondenserWaterSettings,
)
from rlkit_envs.data_center.controllers.controller import Observed
from rlkit_envs.data_center.design import DataCenterDesign
from rlkit_envs.data_center.fan import operate_fan
from rlkit_envs.data_center.plant_state import PlantActions
from rlkit_envs.data_center.power_chain import operate_critical_power
from rlkit_envs.data_center.psychrometrics import specific_heat_j_kg_k
from rlkit_envs.data_center.ranges import check_ranges
from rlkit_envs.data_center.servers import operate_servers

_ROUNDS = 50
"""Of a fixed point that settles within a few."""
_HOTTEST_DEGC = 60.0
"""Inlets that are hotter are far beyond any target; they would not settle."""


@dataclass(frozen=True)
class ResetLine:
    """From one value at and below `low` to another at and above `high`, straight between."""

    low: float
    """What is looked at, lower end."""
    high: float
    """Upper end, above `low`."""
    at_low: float
    """Set point at and below the lower end."""
    at_high: float
    """Set point at and above the upper end."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            low=(-100.0, 100.0),
            high=(-100.0, 100.0),
            at_low=(0.0, 100.0),
            at_high=(0.0, 100.0),
        )
        if not self.low < self.high:
            raise ValueError(f"a reset line from low {self.low!r} to high {self.high!r} must rise")

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Set point for each value."""
        return np.interp(values, [self.low, self.high], [self.at_low, self.at_high])


WARM_SUPPLY = ResetLine(16.0, 20.0, 23.0, 20.0)
"""Supply air, degC, by the outdoor wet bulb, of a site with a plate exchanger: warm in mild
weather, where that lengthens free cooling, else cold, as moving less air then saves more."""
WARM_WATER = ResetLine(16.0, 20.0, 17.0, 14.0)
"""Chilled water to go with it, degC: 6 K below."""
COOL_SUPPLY = ResetLine(12.0, 16.0, 19.0, 21.0)
"""Supply air, degC, by the outdoor wet bulb, of other sites: cold where the outdoor air is, and
warmer where an evaporative cooler would moisten it too much."""
COOL_WATER = ResetLine(16.0, 20.0, 14.5, 14.5)
"""Chilled water to go with it, degC: constant."""


def supply_line(design: DataCenterDesign) -> ResetLine:
    """Supply air by the outdoor wet bulb, as it was found best for sites like this one."""
    return WARM_SUPPLY if design.has_water_economiser else COOL_SUPPLY


def water_line(design: DataCenterDesign) -> ResetLine:
    """Chilled water by the outdoor wet bulb, as it was found best for sites like this one."""
    return WARM_WATER if design.has_water_economiser else COOL_WATER


def flow_line(
    design: DataCenterDesign, supply_air_degc: float, hottest_inlet_degc: float = 26.0
) -> ResetLine:
    """Air flow by utilisation that keeps the hottest inlet where it should be, as commissioned.

    The least flow, steady, at a fifth of the load and at all of it; 1 where none suffices.
    """
    flows = np.linspace(0.2, 1.0, 321)
    busy = np.array([[0.2], [1.0]])
    humidity, pressure = 0.006, design.design_point.pressure_pa
    fan = operate_fan(design.fan, flows, humidity, pressure)
    supply_w_k = fan.flow_kg_s * specific_heat_j_kg_k(humidity)
    drawn = hottest = np.full((2, len(flows)), supply_air_degc)
    for _ in range(_ROUNDS):
        servers = operate_servers(design.servers, busy, drawn, humidity, pressure)
        heat_w = (
            servers.power_w
            + operate_critical_power(design.power_chain, servers.power_w).hall_heat_w
        )
        hall = supply_air_degc + heat_w / supply_w_k
        air = distribute_air(design.airflow, fan.flow_kg_s, servers.flow_kg_s)
        drawn = inlet(air.recirculation_ratio, supply_air_degc, hall)
        drawn = np.minimum(drawn, _HOTTEST_DEGC)
        hottest = inlet(air.hottest_recirculation_ratio, supply_air_degc, hall)
    enough = hottest <= hottest_inlet_degc
    least = [float(flows[row][0]) if row.any() else 1.0 for row in enough]
    return ResetLine(0.2, 1.0, *least)


@dataclass(frozen=True)
class ResetSettings:
    """Three lines and the tower's fan."""

    supply_air: ResetLine = WARM_SUPPLY
    """degC, by the outdoor wet bulb."""
    chilled_water: ResetLine = WARM_WATER
    """degC, by the outdoor wet bulb."""
    air_flow: ResetLine = ResetLine(0.2, 1.0, 0.50, 0.80)
    """Ratio, by the servers' utilisation."""
    condenser: CondenserWaterSettings = field(default_factory=CondenserWaterSettings)
    """The tower's fan."""

    def __post_init__(self) -> None:
        for name, least, most in (
            ("supply_air", 5.0, 40.0),
            ("chilled_water", 3.0, 25.0),
            ("air_flow", 0.0, 1.0),
        ):
            line = getattr(self, name)
            for value in (line.at_low, line.at_high):
                if not least <= value <= most:
                    raise ValueError(
                        f"ResetSettings.{name} reaches {value:g}: {least:g} to {most:g} would fit"
                    )

    @classmethod
    def for_design(cls, design: DataCenterDesign) -> ResetSettings:
        """With the lines for sites like this one."""
        supply, water = supply_line(design), water_line(design)
        flow = flow_line(design, max(supply.at_low, supply.at_high))
        return cls(supply_air=supply, chilled_water=water, air_flow=flow)


class Resets:
    """Follows its lines; remembers nothing but the tower's fan."""

    def __init__(
        self,
        settings: ResetSettings = ResetSettings(),
        name: str = "resets",
    ) -> None:
        self.settings, self.name = settings, name
        self._condenser = CondenserWaterLoop(settings.condenser)

    def reset(self, rows: NDArray[np.bool_]) -> None:
        """As `Controller.reset`."""
        self._condenser.reset(rows)

    def act(self, observed: Observed) -> PlantActions:
        """Set points for the step to come, the economiser off."""
        readings, settings = observed.readings, self.settings
        wet_bulb = readings["outdoor_wet_bulb_degc"]
        return PlantActions(
            supply_air_degc=settings.supply_air(wet_bulb),
            air_flow_ratio=settings.air_flow(readings["utilisation"]),
            chilled_water_degc=settings.chilled_water(wet_bulb),
            tower_fan_ratio=self._condenser.act(readings),
            economiser=np.zeros(len(wet_bulb), np.int64),
        )
