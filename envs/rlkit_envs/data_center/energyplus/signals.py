"""What a step in EnergyPlus is told and what it gives, and where EnergyPlus keeps it."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from rlkit_envs.data_center.design import DataCenterDesign
from rlkit_envs.data_center.economisers import EconomiserMode
from rlkit_envs.data_center.plant_state import PlantActions
from rlkit_envs.data_center.psychrometrics import Quantity
from rlkit_envs.data_center.ranges import check_ranges

LEAST_AIR_FLOW_RATIO = 0.05
"""The model's fan always runs."""
_SUPPLY_AIR_DEGC, _CHILLED_WATER_DEGC = (5.0, 40.0), (3.0, 30.0)
_CONDENSER_WATER_DEGC = (2.0, 70.0)


@dataclass(frozen=True)
class EnergyPlusActions:
    """What the plant is told for a step."""

    supply_air_degc: float = 20.0
    """Set point of the air that leaves the air handlers, 5 to 40."""
    air_flow_ratio: float = 0.8
    """Air flow over the fans' rated one, 0.05 to 1."""
    chilled_water_degc: float = 10.0
    """Set point of the chilled water, 3 to 30."""
    condenser_water_degc: float = 22.0
    """Set point of the water that leaves the tower, 2 to 70; below the tower's
    `minimum_leaving_degc` that holds."""
    economiser: EconomiserMode = EconomiserMode.OFF
    """Whether the plate exchanger may cool, and the chiller as well."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            supply_air_degc=_SUPPLY_AIR_DEGC,
            air_flow_ratio=(LEAST_AIR_FLOW_RATIO, 1.0),
            chilled_water_degc=_CHILLED_WATER_DEGC,
            condenser_water_degc=_CONDENSER_WATER_DEGC,
        )

    @classmethod
    def of_plant(
        cls, actions: PlantActions, at: int, condenser_water_degc: float
    ) -> "EnergyPlusActions":
        """Entry `at` of what our plant is told, as `SetPoints.of_plant` has it."""
        entry = PlantActions(*(np.take(values, at) for values in actions))
        *numbers, mode = SetPoints.of_plant(entry, condenser_water_degc)
        return cls(*map(float, numbers), economiser=EconomiserMode(int(mode)))


class SetPoints(NamedTuple):
    """`EnergyPlusActions` of several sites, arrays (sites,)."""

    supply_air_degc: Quantity
    air_flow_ratio: Quantity
    chilled_water_degc: Quantity
    condenser_water_degc: Quantity
    economiser: Any

    @classmethod
    def of_plant(cls, actions: PlantActions, condenser_water_degc: Quantity) -> "SetPoints":
        """What our plant is told, temperatures held within the ranges of `EnergyPlusActions`.

        condenser_water_degc: what EnergyPlus takes in place of the tower's fan.
        """
        return cls(
            np.clip(actions.supply_air_degc, *_SUPPLY_AIR_DEGC),
            actions.air_flow_ratio,
            np.clip(actions.chilled_water_degc, *_CHILLED_WATER_DEGC),
            np.clip(condenser_water_degc, *_CONDENSER_WATER_DEGC),
            actions.economiser,
        )


class EnergyPlusReadings(NamedTuple):
    """Means over a step; temperatures and humidities at its end. Flows count dry air."""

    outdoor_degc: float
    outdoor_wet_bulb_degc: float
    outdoor_humidity_ratio: float
    outdoor_pressure_pa: float
    hall_degc: float
    """Well-mixed air of the hall, which returns to the air handlers."""
    hall_humidity_ratio: float
    metal_degc: float
    """Surface of racks and structure."""
    supply_degc: float
    supply_humidity_ratio: float
    supply_kg_s: float
    server_inlet_degc: float
    """Mean inlet that the servers felt: mixed from supply and hall of the step before."""
    server_outlet_degc: float
    server_kg_s: float
    """Air through the servers."""
    compute_power_w: float
    """Servers without their fans."""
    server_fan_power_w: float
    power_chain_loss_w: float
    fan_power_w: float
    """Fans of the air handlers."""
    coil_heat_w: float
    """Into the chilled water, sensible and latent."""
    coil_sensible_heat_w: float
    chilled_supply_degc: float
    """Behind the chiller."""
    coil_entering_degc: float
    """Water that enters the coils, behind half of the loop's water."""
    coil_water_kg_s: float
    chilled_return_degc: float
    chilled_kg_s: float
    exchanger_heat_w: float
    """From the chilled water to the condenser water."""
    chiller_heat_w: float
    chiller_power_w: float
    chiller_entering_degc: float
    """Condenser water that enters the chiller."""
    chilled_pump_power_w: float
    condenser_pump_power_w: float
    condenser_kg_s: float
    tower_entering_degc: float
    tower_leaving_degc: float
    tower_heat_w: float
    tower_air_ratio: float
    tower_fan_power_w: float
    water_use_kg_s: float
    """Make-up water of the tower."""
    humidifier_power_w: float = 0.0
    steam_kg_s: float = 0.0
    """Of the humidifier, which is the water that it uses."""
    servers_off_ratio: float = 0.0
    """Share of the servers that heat had stopped, by `servers.servers_off_ratio`."""
    condenser_heat_w: float = math.nan
    """Into the condenser water: exchanger, chiller and condenser pump."""
    hottest_inlet_degc: float = math.nan
    """Inlet of the hottest rack, mixed from this step's supply and hall."""
    transformer_loss_w: float = math.nan
    """Of the utility's transformer, by the design's curve: EnergyPlus's model ends before it."""

    @property
    def server_power_w(self) -> float:
        """Servers with their fans."""
        return self.compute_power_w + self.server_fan_power_w

    @property
    def cooling_power_w(self) -> float:
        """All that moves heat: fans of the air handlers, chiller, pumps, tower fan."""
        pumps_w = self.chilled_pump_power_w + self.condenser_pump_power_w
        return self.fan_power_w + self.chiller_power_w + pumps_w + self.tower_fan_power_w

    @property
    def mechanical_power_w(self) -> float:
        """All that cools and moistens."""
        return self.cooling_power_w + self.humidifier_power_w

    @property
    def facility_power_w(self) -> float:
        """From the utility: servers, losses of power chain and transformer, cooling, humidifier."""
        critical_w = self.server_power_w + self.power_chain_loss_w
        return critical_w + self.mechanical_power_w + self.transformer_loss_w


VARIABLES = {
    "outdoor_degc": ("Site Outdoor Air Drybulb Temperature", "Environment"),
    "outdoor_wet_bulb_degc": ("Site Outdoor Air Wetbulb Temperature", "Environment"),
    "outdoor_humidity_ratio": ("Site Outdoor Air Humidity Ratio", "Environment"),
    "outdoor_pressure_pa": ("Site Outdoor Air Barometric Pressure", "Environment"),
    "hall_degc": ("Zone Air Temperature", "hall"),
    "hall_humidity_ratio": ("Zone Air Humidity Ratio", "hall"),
    "metal_degc": ("Surface Inside Face Temperature", "metal"),
    "supply_degc": ("System Node Temperature", "supply air"),
    "supply_humidity_ratio": ("System Node Humidity Ratio", "supply air"),
    "supply_kg_s": ("System Node Mass Flow Rate", "supply air"),
    "server_inlet_degc": ("ITE Air Inlet Dry-Bulb Temperature", "servers"),
    "server_outlet_degc": ("ITE Air Outlet Dry-Bulb Temperature", "servers"),
    "server_kg_s": ("ITE Air Mass Flow Rate", "servers"),
    "compute_power_w": ("ITE CPU Electricity Rate", "servers"),
    "server_fan_power_w": ("ITE Fan Electricity Rate", "servers"),
    "power_chain_loss_w": ("ITE UPS Electricity Rate", "servers"),
    "fan_power_w": ("Fan Electricity Rate", "air handler fan"),
    "coil_heat_w": ("Cooling Coil Total Cooling Rate", "coil"),
    "coil_sensible_heat_w": ("Cooling Coil Sensible Cooling Rate", "coil"),
    "chilled_supply_degc": ("System Node Temperature", "chilled water supply"),
    "coil_entering_degc": ("System Node Temperature", "coil water inlet"),
    "coil_water_kg_s": ("System Node Mass Flow Rate", "coil water inlet"),
    "chilled_return_degc": ("System Node Temperature", "chilled water return"),
    "chilled_kg_s": ("System Node Mass Flow Rate", "chilled water supply"),
    "exchanger_heat_w": ("Fluid Heat Exchanger Heat Transfer Rate", "economiser"),
    "chiller_heat_w": ("Chiller Evaporator Cooling Rate", "chiller"),
    "chiller_power_w": ("Chiller Electricity Rate", "chiller"),
    "chiller_entering_degc": ("Chiller Condenser Inlet Temperature", "chiller"),
    "chilled_pump_power_w": ("Pump Electricity Rate", "chilled water pump"),
    "condenser_pump_power_w": ("Pump Electricity Rate", "condenser water pump"),
    "condenser_kg_s": ("System Node Mass Flow Rate", "condenser water supply"),
    "tower_entering_degc": ("Cooling Tower Inlet Temperature", "tower"),
    "tower_leaving_degc": ("Cooling Tower Outlet Temperature", "tower"),
    "tower_heat_w": ("Cooling Tower Heat Transfer Rate", "tower"),
    "tower_air_ratio": ("Cooling Tower Air Flow Rate Ratio", "tower"),
    "tower_fan_power_w": ("Cooling Tower Fan Electricity Rate", "tower"),
    "water_use_kg_s": ("Cooling Tower Make Up Water Volume Flow Rate", "tower"),
}
"""Output variable and key of every reading that EnergyPlus gives."""

HUMIDIFIER_VARIABLES = {
    "humidifier_power_w": ("Humidifier Electricity Rate", "humidifier"),
    "steam_kg_s": ("Humidifier Water Volume Flow Rate", "humidifier"),
}
"""The same of the humidifier."""


def variables_of(design: DataCenterDesign) -> dict[str, tuple[str, str]]:
    """All readings that EnergyPlus gives of a design."""
    return VARIABLES | (HUMIDIFIER_VARIABLES if design.humidity.humidifier_kg_s > 0.0 else {})
