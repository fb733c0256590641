"""What EnergyPlus is told in a step beyond set points, and what its readings lack: our equations.

Numbers for one site, or arrays (sites,) for several: one call for all of them.
"""

from typing import Any, NamedTuple

import numpy as np

from rlkit_envs.data_center.airflow import distribute_air, inlet
from rlkit_envs.data_center.condenser_loop import forecast_condenser
from rlkit_envs.data_center.cooling_tower import tower_state
from rlkit_envs.data_center.design import DataCenterDesign
from rlkit_envs.data_center.economisers import EconomiserMode
from rlkit_envs.data_center.energyplus.hall_model import (
    RECIRCULATION_SCALE,
    WATER_DENSITY_AT_LOOP_START_KG_M3,
)
from rlkit_envs.data_center.energyplus.model import SCHEDULES
from rlkit_envs.data_center.energyplus.representation import represented_plant
from rlkit_envs.data_center.energyplus.signals import (
    EnergyPlusActions,
    EnergyPlusReadings,
    SetPoints,
)
from rlkit_envs.data_center.power_chain import operate_transformer
from rlkit_envs.data_center.psychrometrics import WATER_DENSITY_KG_M3, Array, Quantity
from rlkit_envs.data_center.servers import servers_off_ratio
from rlkit_envs.data_center.weather import STEP_S

_TERMINAL = "AirTerminal:SingleDuct:ConstantVolume:NoReheat"
ACTUATORS = (
    *(("Schedule:Constant", "Schedule Value", name) for name in SCHEDULES),
    (_TERMINAL, "Mass Flow Rate", "terminal"),
    ("Curve", "Curve Result", "recirculation"),
    ("Weather Data", "Outdoor Dry Bulb", "Environment"),
    ("Weather Data", "Outdoor Relative Humidity", "Environment"),
)
"""Component, control and name of all that a step sets."""
_CHILLER_OFF_DEGC = 60.0
"""Set point that switches the chiller off: actuators for that have no effect on chillers that run
to a set point of their own."""
_INTERLOCK_K = 0.2
"""Chilled water must return this much warmer than the tower's water for an exchanger to open."""


class Surroundings(NamedTuple):
    """What a step finds, beside what it is told."""

    utilisation: Quantity
    """0..1."""
    outdoor_degc: Quantity
    humidity_percent: Quantity
    """Outdoors, 0..100."""
    least_humidity_ratio: Quantity
    """Of the supply air."""
    rated_kg_s: Quantity
    """Air of the fans at full speed."""
    server_kg_s: Quantity
    """Air that servers drew in the step before."""


def actuator_values(
    design: DataCenterDesign,
    told: EnergyPlusActions | SetPoints,
    around: Surroundings,
    last: EnergyPlusReadings | None,
) -> tuple[Array, Quantity]:
    """(actuators,) or (actuators, sites) values of `ACTUATORS`, and the share of servers off.

    last: of the step before; None before any, when no servers are off.
    """
    supply_kg_s = told.air_flow_ratio * around.rated_kg_s
    air = distribute_air(design.airflow, supply_kg_s, around.server_kg_s)
    off: Quantity = 0.0
    if last is not None:
        felt = inlet(air.recirculation_ratio, last.supply_degc, last.hall_degc)
        off = servers_off_ratio(design.servers, felt, last.servers_off_ratio, STEP_S)
    full = np.equal(told.economiser, EconomiserMode.FULL)
    values = (
        around.utilisation,
        told.supply_air_degc,
        told.chilled_water_degc,
        np.where(full, _CHILLER_OFF_DEGC, told.chilled_water_degc),
        np.maximum(
            told.condenser_water_degc, represented_plant(design)[0].tower.minimum_leaving_degc
        ),
        _exchanges(told.economiser, last),
        1.0 - off,
        around.least_humidity_ratio,
        supply_kg_s,
        air.recirculation_ratio / RECIRCULATION_SCALE,
        around.outdoor_degc,
        np.minimum(around.humidity_percent, 100.0),
    )
    return np.array(np.broadcast_arrays(*values), dtype=np.float64), off


def _exchanges(mode: Any, last: EnergyPlusReadings | None) -> Any:
    """Whether the exchanger is open.

    Beside the chiller it is shut, as interlocks do, while the tower's water was too warm to help in
    the step before: EnergyPlus (25.2) reports no heat then, but warms the chilled water with hot
    condenser water.
    """
    on = np.not_equal(mode, EconomiserMode.OFF)
    if last is None:
        return on
    helps = np.less(last.tower_leaving_degc + _INTERLOCK_K, last.chilled_return_degc)
    return on & (helps | np.equal(mode, EconomiserMode.FULL))


def condenser_water_degc(
    design: DataCenterDesign,
    last: EnergyPlusReadings,
    wet_bulb_degc: Quantity,
    fan_ratio: Quantity,
) -> Array:
    """Set point at which the tower's fan settles at about `fan_ratio` (0..1).

    EnergyPlus seeks a temperature, not a speed: this is the one that the speed reaches with the
    step's wet bulb and what chiller and exchanger gave in the step before, approached as fast as
    the loop's water lets it (`condenser_loop`). (What the tower gave would not do: much of it comes
    out of the loop's volume, and the fan would swing between its ends. Nor would the temperature at
    once: exchanger and tower would answer each other from step to step.)
    """
    plant, _ = represented_plant(design)
    water_degc = np.asarray(last.tower_leaving_degc)
    heat_w = np.asarray(last.condenser_heat_w)
    state = tower_state(plant.tower, wet_bulb_degc, fan_ratio, last.condenser_kg_s)
    forecast = forecast_condenser(
        plant.condenser_water, plant.tower, state, water_degc, heat_w, STEP_S
    )
    steady = np.maximum(forecast.steady_degc, forecast.least_degc)
    return water_degc + forecast.end_weight * (steady - water_degc)


def completed(
    design: DataCenterDesign, read: EnergyPlusReadings, off_ratio: Quantity
) -> EnergyPlusReadings:
    """EnergyPlus's readings with its volumes as masses, and with what it does not know.

    off_ratio: share of the servers that was off, as `actuator_values` gave it.
    """
    pump = represented_plant(design)[0].condenser_pump
    air = distribute_air(design.airflow, read.supply_kg_s, read.server_kg_s)
    critical_w = read.server_power_w + read.power_chain_loss_w
    transformer = operate_transformer(design.power_chain, critical_w, read.mechanical_power_w)
    condenser_w = read.chiller_heat_w + read.chiller_power_w + read.exchanger_heat_w
    derived: dict[str, Any] = {
        "water_use_kg_s": read.water_use_kg_s * WATER_DENSITY_KG_M3,
        "steam_kg_s": read.steam_kg_s * WATER_DENSITY_AT_LOOP_START_KG_M3,
        "servers_off_ratio": off_ratio,
        "condenser_heat_w": condenser_w + pump.motor_efficiency * read.condenser_pump_power_w,
        "hottest_inlet_degc": inlet(
            air.hottest_recirculation_ratio, read.supply_degc, read.hall_degc
        ),
        "transformer_loss_w": transformer.transformer_loss_w,
    }
    return read._replace(**derived)
