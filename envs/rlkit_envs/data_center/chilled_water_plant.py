"""The chilled-water plant over a step: coils and their water, exchanger, chiller, tower.

The pump follows the coils' valve (variable primary flow). Below its least flow a bypass lets the
rest past the coils, so that the water returns colder. Condenser and exchanger each take a constant
flow of condenser water while they work, at the tower's leaving temperature. Beside the chiller the
exchanger is shut where the tower's water would not cool; the chiller stands still where it has
nothing to do. Both are judged by the water at the step's start.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.air_handler import (
    AirHandlerOperation,
    cool_supply,
    settle_air_handler,
)
from rlkit_envs.data_center.chilled_water import (
    ChilledWaterRemoval,
    chilled_water_removal,
    chilled_water_step,
    chiller_wanted_w,
)
from rlkit_envs.data_center.chiller import Chiller, chiller, chiller_state
from rlkit_envs.data_center.condenser_loop import (
    CondenserStep,
    forecast_condenser,
    settle_condenser,
)
from rlkit_envs.data_center.cooling import Cooling, Finish
from rlkit_envs.data_center.cooling_tower import (
    TowerState,
    hold_least_water,
    tower_state,
    tower_water,
)
from rlkit_envs.data_center.design import ChilledWaterPlantDesign
from rlkit_envs.data_center.economisers import EconomiserMode, plate_exchanger_w_k
from rlkit_envs.data_center.elementwise import anywhere, choose, filled, larger_of
from rlkit_envs.data_center.humidity import HallHumidity
from rlkit_envs.data_center.plant_state import (
    EnteringAir,
    OutdoorAir,
    PlantActions,
    PlantFaults,
    PlantState,
)
from rlkit_envs.data_center.psychrometrics import WATER_SPECIFIC_HEAT_J_KG_K, Array, Quantity
from rlkit_envs.data_center.pumps import Pump, pump

_OFF, _FULL = int(EconomiserMode.OFF), int(EconomiserMode.FULL)
_MISSED_K = 0.5
"""Water this much above its set point counts as missing it."""
_INTERLOCK_K = 0.2
"""Chilled water returns this much warmer than the tower's water where PRECOOL opens the exchanger
(assumed, above the noise of the two sensors)."""


class _Pending(NamedTuple):
    """What of a step is known before the hall has answered."""

    step_s: float
    chilled_pump: Pump
    condenser_pump: Pump
    tower: TowerState
    condenser: CondenserStep
    condenser_degc: Array
    condenser_heat_w: Array
    water: ChilledWaterRemoval
    chiller: Chiller
    setpoint_degc: Array
    raised: NDArray[np.bool_] | np.bool_


def begin_chilled_water(
    plant: ChilledWaterPlantDesign,
    state: PlantState,
    actions: PlantActions,
    faults: PlantFaults,
    outdoor: OutdoorAir,
    air: EnteringAir,
    step_s: float,
) -> tuple[AirHandlerOperation, Finish]:
    """Air handlers and water for the air that enters as predicted, before the hall has answered.

    The coils feel the water of the step's beginning. Where they cannot hold the supply, the water's
    balance knows how their heat falls as it warms, and the supply is shifted by that.
    """
    mode = actions.economiser
    chilling = mode != _FULL
    # With an exchanger the water is cooled in every mode; without one FULL means outdoor air alone.
    watered = chilling if plant.exchanger is None else filled(True, chilling)
    most_ratio = min(plant.chilled_pump.flow_kg_s / plant.coil.rated_water_kg_s, 1.0)
    handler = cool_supply(
        plant.coil,
        air.fan,
        entering_degc=air.degc,
        entering_humidity_ratio=air.humidity_ratio,
        pressure_pa=outdoor.pressure_pa,
        supply_setpoint_degc=actions.supply_air_degc,
        water_degc=state.chilled_degc,
        available_water_ratio=choose(watered, most_ratio, 0.0),
        fouling=faults.coil_fouling,
        stuck_valve_ratio=faults.stuck_valve_ratio,
        start_water_ratio=state.valve_ratio,
    )
    least_ratio = plant.chilled_pump.minimum_flow_ratio
    flow_ratio = handler.water_kg_s * (1.0 / plant.chilled_pump.flow_kg_s)
    chilled_pump = pump(
        plant.chilled_pump,
        larger_of(flow_ratio, least_ratio) * watered,
        wear=faults.chilled_pump,
    )

    raised = actions.chilled_water_degc < plant.chiller.minimum_chilled_degc
    setpoint = larger_of(actions.chilled_water_degc, plant.chiller.minimum_chilled_degc)
    load = handler.coil_heat_w + chilled_pump.heat_w
    returned = _return_degc(state.chilled_degc, load, chilled_pump.flow_kg_s)
    exchanger_w_k: Quantity = 0.0
    exchanging: NDArray[np.bool_] | bool = False
    if plant.exchanger is not None:
        cooled = returned > state.condenser_degc + _INTERLOCK_K
        exchanging = choose(chilling, cooled & (mode != _OFF), True)
        exchanger_w_k = plate_exchanger_w_k(
            plant.exchanger,
            exchanging,
            chilled_pump.flow_kg_s,
            plant.exchanger_condenser_kg_s,
            fouling=faults.exchanger_fouling,
        )
    water_step = chilled_water_step(
        plant.chilled_water,
        state.chilled_degc,
        setpoint,
        load,
        step_s,
        load_slope_w_k=handler.water_slope_w_k,
        removed_slope_w_k=exchanger_w_k,
    )
    running = chilling & (faults.cooling_trip < 0.5)
    foreseen_w = chiller_wanted_w(water_step, exchanger_w_k * (returned - state.condenser_degc))
    condenser_kg_s = choose(running & (foreseen_w > 0.0), plant.chiller_condenser_kg_s, 0.0)
    condenser_kg_s = condenser_kg_s + choose(exchanging, plant.exchanger_condenser_kg_s, 0.0)
    flowing = condenser_kg_s > 0.0
    condenser_pump = pump(
        plant.condenser_pump,
        condenser_kg_s * (1.0 / plant.condenser_pump.flow_kg_s),
        wear=faults.condenser_pump,
    )
    tower = tower_state(
        plant.tower,
        outdoor.wet_bulb_degc,
        actions.tower_fan_ratio * flowing,
        condenser_pump.flow_kg_s,
        fan_wear=faults.tower_fan,
        fill_fouling=faults.tower_fouling,
    )
    forecast = forecast_condenser(
        plant.condenser_water,
        plant.tower,
        tower,
        state.condenser_degc,
        state.condenser_heat_w * flowing,
        step_s,
    )
    ability = chiller_state(
        plant.chiller,
        setpoint,
        forecast.mean_degc,
        running=running,
        refrigerant_loss=faults.refrigerant_loss,
        condenser_fouling=faults.condenser_fouling,
    )
    water = chilled_water_removal(
        water_step, exchanger_w_k * (returned - forecast.mean_degc), ability.capacity_w
    )
    work = chiller(plant.chiller, ability, water.chiller_w)
    condenser_heat = water.exchanger_w + work.condenser_heat_w + condenser_pump.heat_w
    condenser = settle_condenser(forecast, condenser_heat)
    tower = hold_least_water(
        plant.tower,
        tower,
        condenser.overcooled & flowing,
        outdoor.wet_bulb_degc,
        actions.tower_fan_ratio,
        condenser_heat,
        fan_wear=faults.tower_fan,
        fill_fouling=faults.tower_fouling,
    )
    handler = _follow_water(handler, water.mean_degc - state.chilled_degc, air.supply_w_k)
    pending = _Pending(
        step_s=step_s,
        chilled_pump=chilled_pump,
        condenser_pump=condenser_pump,
        tower=tower,
        condenser=condenser,
        condenser_degc=forecast.mean_degc,
        condenser_heat_w=condenser_heat,
        water=water,
        chiller=work,
        setpoint_degc=setpoint,
        raised=raised,
    )
    return handler, partial(_finish, plant, pending, handler, outdoor, air)


def _finish(
    plant: ChilledWaterPlantDesign,
    pending: _Pending,
    handler: AirHandlerOperation,
    outdoor: OutdoorAir,
    air: EnteringAir,
    entering_degc: Array,
    moisture: HallHumidity,
) -> tuple[AirHandlerOperation, Cooling]:
    """The step's means, once the hall has answered.

    What the coils gave beyond the prediction stays in the water, so that heat is conserved.
    """
    settled = settle_air_handler(
        handler,
        supply_conductance_w_k=air.supply_w_k,
        entering_degc=entering_degc,
        entering_humidity_ratio=moisture.entering_humidity_ratio,
        condensate_kg_s=moisture.condensate_kg_s,
    )
    water, condenser, work = pending.water, pending.condenser, pending.chiller
    load = settled.coil_heat_w + pending.chilled_pump.heat_w
    surplus = load - water.load_w
    end = water.end_degc + surplus * (pending.step_s / plant.chilled_water.heat_capacity_j_k)
    make_up = tower_water(
        plant.tower,
        pending.tower,
        condenser.rejected_w,
        outdoor.dry_bulb_degc,
        outdoor.humidity_ratio,
        outdoor.pressure_pa,
    )
    return settled, Cooling(
        chilled_degc=end,
        chilled_return_degc=_return_degc(water.mean_degc, load, pending.chilled_pump.flow_kg_s),
        chilled_kg_s=pending.chilled_pump.flow_kg_s,
        exchanger_heat_w=water.exchanger_w,
        mechanical_heat_w=work.heat_w,
        compressor_power_w=work.power_w,
        part_load_ratio=work.part_load_ratio,
        chilled_pump_power_w=pending.chilled_pump.power_w,
        condenser_pump_power_w=pending.condenser_pump.power_w,
        tower_fan_power_w=pending.tower.fan_power_w,
        condenser_kg_s=pending.condenser_pump.flow_kg_s,
        condenser_degc=pending.condenser_degc,
        condenser_end_degc=condenser.end_degc,
        condenser_heat_w=pending.condenser_heat_w,
        tower_entering_degc=condenser.tower_entering_degc,
        rejected_w=condenser.rejected_w,
        tower_water_kg_s=make_up.evaporation_kg_s + make_up.drift_kg_s + make_up.blowdown_kg_s,
        chilled_water_raised=pending.raised,
        chilled_water_missed=end > pending.setpoint_degc + _MISSED_K,
    )


def _return_degc(water_degc: Array, load_w: Array, flow_kg_s: Array) -> Array:
    """Water that comes back; as it left where the pump stands still."""
    heat_capacity = larger_of(flow_kg_s * WATER_SPECIFIC_HEAT_J_KG_K, 1e-9)
    return water_degc + choose(flow_kg_s > 0.0, load_w / heat_capacity, 0.0)


def _follow_water(
    handler: AirHandlerOperation, warmer_k: Array, supply_w_k: Array
) -> AirHandlerOperation:
    """The supply of coils at a fixed valve whose water is warmer by `warmer_k` in the mean."""
    flowing = handler.water_slope_w_k > 0.0
    if not anywhere(flowing):  # valves that control hold the supply, whatever the water does
        return handler
    total = choose(flowing, handler.coil_heat_w * supply_w_k, 1.0)
    per_kelvin = handler.water_slope_w_k * handler.sensible_heat_w / total
    shift = per_kelvin * warmer_k
    return handler._replace(
        supply_degc=handler.supply_degc + shift,
        supply_intercept_degc=handler.supply_intercept_degc + shift,
    )
