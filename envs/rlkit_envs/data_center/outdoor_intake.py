"""Air that enters the air handlers: return air, mixed with outdoor air where a site lets it in.

Composes dampers and evaporative cooler (economisers.py) into lines over the hall's air, as the
hall's exact step needs them.
"""

from typing import NamedTuple

import numpy as np

from rlkit_envs.data_center.design import DataCenterDesign
from rlkit_envs.data_center.economisers import (
    evaporative_cooler,
    evaporative_cooler_water_kg_s,
    outdoor_air_ratio,
)
from rlkit_envs.data_center.elementwise import choose, is_nan
from rlkit_envs.data_center.fan import FanOperation
from rlkit_envs.data_center.plant_state import OutdoorAir, PlantActions, PlantFaults
from rlkit_envs.data_center.psychrometrics import Array, Quantity, specific_heat_j_kg_k


class Intake(NamedTuple):
    """What enters the air handlers, as lines over the hall's temperature and humidity."""

    outdoor_ratio: Quantity
    """Outdoor share of the dry air, 0..1."""
    outdoor_degc: Quantity
    """Outdoor air behind the evaporative cooler."""
    outdoor_humidity_ratio: Quantity
    intercept_degc: Quantity
    slope: Quantity
    """T_entering = intercept + slope T_hall."""
    humidity_intercept: Quantity
    humidity_slope: Quantity
    """W_entering = intercept + slope W_hall."""
    pump_power_w: Quantity
    """Of the evaporative cooler."""
    water_kg_s: Quantity
    """Make-up water of the evaporative cooler."""


RETURN_AIR = Intake(0.0, np.nan, np.nan, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0)
"""Nothing but return air."""


def take_in(
    design: DataCenterDesign,
    actions: PlantActions,
    faults: PlantFaults,
    outdoor: OutdoorAir,
    fan: FanOperation,
    hall_degc: Array,
    hall_humidity_ratio: Array,
) -> Intake:
    """Outdoor air, wetted if need be, so that the mixture comes as near the supply as it can.

    Only where the economiser's mode is not OFF; beyond that the least share. The shares of the
    temperatures weigh the specific heats, so that mixing keeps the energy.
    """
    if design.air_economiser is None:
        return RETURN_AIR
    enabled = actions.economiser > 0
    wanted = actions.supply_air_degc - fan.rise_k
    degc, humidity = outdoor.dry_bulb_degc, outdoor.humidity_ratio
    power: Quantity = 0.0
    if design.evaporative_cooler is not None:
        wetted = evaporative_cooler(
            design.evaporative_cooler,
            degc,
            humidity,
            outdoor.wet_bulb_degc,
            wanted,
            enabled=enabled,
        )
        degc, humidity, power = wetted.leaving_degc, wetted.leaving_humidity_ratio, wetted.power_w
    share = outdoor_air_ratio(
        design.air_economiser,
        degc,
        humidity,
        outdoor.pressure_pa,
        hall_degc,
        hall_humidity_ratio,
        wanted,
        enabled=enabled,
    )
    stuck = faults.stuck_damper_ratio
    share = choose(is_nan(stuck), share, stuck)
    water: Quantity = 0.0
    if design.evaporative_cooler is not None:
        # No outdoor air, no wetting: the medium stands in its stream.
        power = choose(share > 0.0, power, 0.0)
        water = evaporative_cooler_water_kg_s(
            design.evaporative_cooler, share * fan.flow_kg_s, outdoor.humidity_ratio, humidity
        )
    outdoor_heat = share * specific_heat_j_kg_k(humidity)
    return_heat = (1.0 - share) * specific_heat_j_kg_k(hall_humidity_ratio)
    weight = outdoor_heat / (outdoor_heat + return_heat)
    return Intake(
        share,
        degc,
        humidity,
        weight * degc,
        1.0 - weight,
        share * humidity,
        1.0 - share,
        power,
        water,
    )
