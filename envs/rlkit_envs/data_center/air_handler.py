"""An air handler (CRAH): a chilled-water coil and a fan behind it, holding a supply temperature.

The fan draws through the coil (EnergyPlus: draw-through), so that its heat warms the supply, and
the coil cools to the set point less that rise.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.chilled_water_coil import (
    CoilDesign,
    condensation_j_kg,
    operate_coil,
)
from rlkit_envs.data_center.elementwise import choose
from rlkit_envs.data_center.fan import FanDesign, FanOperation, operate_fan
from rlkit_envs.data_center.psychrometrics import (
    WATER_SPECIFIC_HEAT_J_KG_K,
    Array,
    Quantity,
)


@dataclass(frozen=True)
class AirHandlerDesign:
    """All air handlers of a hall as one."""

    fan: FanDesign
    """Draws the air through the coil."""
    coil: CoilDesign
    """Cools it; see `chilled_water_coil.size_coil`."""


class AirHandlerOperation(NamedTuple):
    """What an air handler does; arrays of one shape."""

    supply_degc: Array
    supply_humidity_ratio: Array
    supply_kg_s: Array
    """Dry air supplied."""
    fan_power_w: Array
    """All of it in the supply air."""
    coil_heat_w: Array
    """Into the chilled water, sensible and latent."""
    sensible_heat_w: Array
    """Its sensible share: flow c_p(W_in) (T_in - T_coil), so that
    flow c_p(W_in) (T_in - T_supply) = sensible heat - fan power."""
    condensate_kg_s: Array
    condensate_degc: Array
    water_ratio: Array
    """Water flow over the coil's rated one: the valve's position, 0..1."""
    water_kg_s: Array
    water_return_degc: Array
    saturated: NDArray[np.bool_]
    """Whether the supply is warmer than set although the valve passes what it can."""
    supply_slope: Array
    """How the supply follows the temperature of the air that enters, K/K, at this valve."""
    supply_intercept_degc: Array
    """T_supply = intercept + slope T_in: with it a thermal step knows the supply throughout."""
    water_slope_w_k: Array
    """Fall of the coil's heat per kelvin that the water warms: 0 where the valve controls."""
    humidity_slope: Array
    """How the supply's humidity ratio follows that of the air that enters."""
    humidity_intercept: Array


def operate_air_handler(
    design: AirHandlerDesign,
    *,
    flow_ratio: Quantity,
    entering_degc: Quantity,
    entering_humidity_ratio: Quantity,
    pressure_pa: Quantity,
    supply_setpoint_degc: Quantity,
    water_degc: Quantity,
    available_water_ratio: Quantity = 1.0,
    fan_wear: Quantity = 0.0,
    fouling: Quantity = 0.0,
    stuck_valve_ratio: Quantity = math.nan,
) -> AirHandlerOperation:
    """Cool air to the set point, or as far as water and valve allow, and supply it.

    flow_ratio: commanded fan flow, 0..1. The faults are those of `operate_fan` and `operate_coil`.
    """
    fan = operate_fan(design.fan, flow_ratio, entering_humidity_ratio, pressure_pa, wear=fan_wear)
    return cool_supply(
        design.coil,
        fan,
        entering_degc=entering_degc,
        entering_humidity_ratio=entering_humidity_ratio,
        pressure_pa=pressure_pa,
        supply_setpoint_degc=supply_setpoint_degc,
        water_degc=water_degc,
        available_water_ratio=available_water_ratio,
        fouling=fouling,
        stuck_valve_ratio=stuck_valve_ratio,
    )


def cool_supply(
    design: CoilDesign,
    fan: FanOperation,
    *,
    entering_degc: Quantity,
    entering_humidity_ratio: Quantity,
    pressure_pa: Quantity,
    supply_setpoint_degc: Quantity,
    water_degc: Quantity,
    available_water_ratio: Quantity = 1.0,
    fouling: Quantity = 0.0,
    stuck_valve_ratio: Quantity = math.nan,
    start_water_ratio: Array | None = None,
) -> AirHandlerOperation:
    """As `operate_air_handler`, with a fan whose operation is known already.

    start_water_ratio: as `operate_coil` has it.
    """
    coil = operate_coil(
        design,
        air_kg_s=fan.flow_kg_s,
        air_degc=entering_degc,
        humidity_ratio=entering_humidity_ratio,
        pressure_pa=pressure_pa,
        water_degc=water_degc,
        target_degc=supply_setpoint_degc - fan.rise_k,
        available_water_ratio=available_water_ratio,
        stuck_valve_ratio=stuck_valve_ratio,
        fouling=fouling,
        start_water_ratio=start_water_ratio,
    )
    supply = coil.air_degc + fan.rise_k
    return AirHandlerOperation(
        supply_degc=supply,
        supply_humidity_ratio=coil.humidity_ratio,
        supply_kg_s=fan.flow_kg_s,
        fan_power_w=fan.power_w,
        coil_heat_w=coil.heat_w,
        sensible_heat_w=coil.sensible_heat_w,
        condensate_kg_s=coil.condensate_kg_s,
        condensate_degc=coil.condensate_degc,
        water_ratio=coil.water_ratio,
        water_kg_s=coil.water_kg_s,
        water_return_degc=coil.water_return_degc,
        saturated=coil.saturated,
        supply_slope=coil.air_slope,
        supply_intercept_degc=supply - coil.air_slope * entering_degc,
        water_slope_w_k=coil.water_slope_w_k,
        humidity_slope=coil.humidity_slope,
        humidity_intercept=coil.humidity_ratio - coil.humidity_slope * entering_humidity_ratio,
    )


def settle_air_handler(
    operation: AirHandlerOperation,
    *,
    supply_conductance_w_k: Quantity,
    entering_degc: Quantity,
    entering_humidity_ratio: Quantity,
    condensate_kg_s: Quantity,
) -> AirHandlerOperation:
    """The same fan, valve and water with other entering air: its means over a step.

    Along the slopes, so that hall and chilled water agree to rounding on what went from one to the
    other: sensible heat = supply_conductance_w_k (T_in - T_supply) + fan power, and latent heat as
    the hall's moisture lost condensate (`advance_humidity`).
    supply_conductance_w_k: flow times c_p, as the hall's balance has it.
    """
    supply = operation.supply_intercept_degc + operation.supply_slope * entering_degc
    flowing = operation.water_ratio > 0.0
    sensible = supply_conductance_w_k * (entering_degc - supply) + operation.fan_power_w
    sensible = choose(flowing, sensible, 0.0)
    leaving = entering_degc - sensible / choose(flowing, supply_conductance_w_k, 1.0)
    latent = condensate_kg_s * condensation_j_kg(leaving, operation.condensate_degc)
    heat = sensible + latent
    water_capacity = operation.water_kg_s * WATER_SPECIFIC_HEAT_J_KG_K
    warmer = (heat - operation.coil_heat_w) / choose(flowing, water_capacity, 1.0)
    air = choose(flowing, operation.supply_kg_s, 1.0)
    return operation._replace(
        supply_degc=supply,
        supply_humidity_ratio=entering_humidity_ratio - condensate_kg_s / air,
        coil_heat_w=heat,
        sensible_heat_w=sensible,
        condensate_kg_s=condensate_kg_s,
        water_return_degc=operation.water_return_degc + warmer,
    )
