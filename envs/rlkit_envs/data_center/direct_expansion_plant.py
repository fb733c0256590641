"""Direct expansion over a step: the air handlers' coil is the evaporator, and there is no water."""

from functools import partial

import numpy as np

from rlkit_envs.data_center.air_handler import AirHandlerOperation
from rlkit_envs.data_center.chilled_water_coil import condensation_j_kg
from rlkit_envs.data_center.cooling import Cooling, Finish
from rlkit_envs.data_center.direct_expansion import (
    DirectExpansionDesign,
    DirectExpansionState,
    direct_expansion,
    direct_expansion_state,
)
from rlkit_envs.data_center.economisers import EconomiserMode
from rlkit_envs.data_center.elementwise import choose, filled, limited, smaller_of
from rlkit_envs.data_center.humidity import HallHumidity
from rlkit_envs.data_center.plant_state import (
    EnteringAir,
    OutdoorAir,
    PlantActions,
    PlantFaults,
    PlantState,
)
from rlkit_envs.data_center.psychrometrics import Array

_FULL = int(EconomiserMode.FULL)
_HOTTEST_DEGC = 50.0
"""Entering air beyond which nothing is gained: the unit's curves end far below."""


def begin_direct_expansion(
    unit: DirectExpansionDesign,
    state: PlantState,
    actions: PlantActions,
    faults: PlantFaults,
    outdoor: OutdoorAir,
    air: EnteringAir,
) -> tuple[AirHandlerOperation, Finish]:
    """Air handlers for the air that enters as predicted, before the hall has answered.

    At its capacity the unit takes a constant heat from the air, so that the supply follows what
    enters kelvin by kelvin. Humidity above that of the surface falls by the share of air that
    touches it while it runs.
    """
    running = (actions.economiser != _FULL) & (faults.cooling_trip < 0.5)
    fan, supply_w_k = air.fan, air.supply_w_k
    # The prediction has the set point met; an overloaded unit meets warmer air.
    warm = smaller_of(air.degc + state.supply_missed_k, _HOTTEST_DEGC)
    ability = direct_expansion_state(
        unit,
        warm,
        air.humidity_ratio,
        None,
        fan.flow_kg_s,
        outdoor.dry_bulb_degc,
        outdoor.pressure_pa,
        running=running,
        refrigerant_loss=faults.refrigerant_loss,
        condenser_fouling=faults.condenser_fouling,
    )
    wanted = supply_w_k * (air.degc - actions.supply_air_degc) + fan.power_w
    carried = limited(wanted, 0.0, ability.sensible_capacity_w)
    working = carried > 0.0
    controlled = working & (wanted <= ability.sensible_capacity_w)
    part_load = carried / choose(working, ability.sensible_capacity_w, 1.0)
    cooled_k = carried / choose(working, supply_w_k, 1.0)
    supply = choose(controlled, actions.supply_air_degc, air.degc - cooled_k + fan.rise_k)
    slope = choose(controlled, 0.0, 1.0)
    condensate = ability.condensate_kg_s * part_load
    dried = condensate / choose(working, fan.flow_kg_s, 1.0)
    humidity_slope = 1.0 - choose(condensate > 0.0, part_load * ability.touching_ratio, 0.0)
    supply_humidity = air.humidity_ratio - dried
    nothing = filled(0.0, supply)
    handler = AirHandlerOperation(
        supply_degc=supply,
        supply_humidity_ratio=supply_humidity,
        supply_kg_s=fan.flow_kg_s,
        fan_power_w=fan.power_w,
        coil_heat_w=carried,
        sensible_heat_w=carried,
        condensate_kg_s=condensate,
        condensate_degc=nothing,
        water_ratio=nothing,
        water_kg_s=nothing,
        water_return_degc=nothing,
        saturated=wanted > ability.sensible_capacity_w,
        supply_slope=slope,
        supply_intercept_degc=supply - slope * air.degc,
        water_slope_w_k=nothing,
        humidity_slope=humidity_slope,
        humidity_intercept=supply_humidity - humidity_slope * air.humidity_ratio,
    )
    return handler, partial(_finish, unit, ability, handler, air, state)


def _finish(
    unit: DirectExpansionDesign,
    ability: DirectExpansionState,
    handler: AirHandlerOperation,
    air: EnteringAir,
    state: PlantState,
    entering_degc: Array,
    moisture: HallHumidity,
) -> tuple[AirHandlerOperation, Cooling]:
    """The step's means, once the hall has answered; the power is that of the heat that it took.

    Condensate counts as liquid at 0 degC, as EnergyPlus has it for these coils.
    """
    supply = handler.supply_intercept_degc + handler.supply_slope * entering_degc
    working = handler.sensible_heat_w > 0.0
    sensible = air.supply_w_k * (entering_degc - supply) + handler.fan_power_w
    sensible = choose(working, sensible, 0.0)
    leaving = entering_degc - sensible / choose(working, air.supply_w_k, 1.0)
    heat = sensible + moisture.condensate_kg_s * condensation_j_kg(leaving, 0.0)
    work = direct_expansion(unit, ability, sensible)
    flow = choose(handler.supply_kg_s > 0.0, handler.supply_kg_s, 1.0)
    settled = handler._replace(
        supply_degc=supply,
        supply_humidity_ratio=moisture.entering_humidity_ratio - moisture.condensate_kg_s / flow,
        coil_heat_w=heat,
        sensible_heat_w=sensible,
        condensate_kg_s=moisture.condensate_kg_s,
    )
    never = filled(False, heat)
    return settled, Cooling(
        chilled_degc=state.chilled_degc,
        chilled_return_degc=np.nan,
        chilled_kg_s=0.0,
        exchanger_heat_w=0.0,
        mechanical_heat_w=heat,
        compressor_power_w=work.power_w,
        part_load_ratio=work.part_load_ratio,
        chilled_pump_power_w=0.0,
        condenser_pump_power_w=0.0,
        tower_fan_power_w=0.0,
        condenser_kg_s=0.0,
        condenser_degc=np.nan,
        condenser_end_degc=state.condenser_degc,
        condenser_heat_w=state.condenser_heat_w,
        tower_entering_degc=np.nan,
        rejected_w=heat + work.power_w,
        tower_water_kg_s=0.0,
        chilled_water_raised=never,
        chilled_water_missed=never,
    )
