"""What EnergyPlus reports, as the step that our plant reports, so that nobody need tell them apart.

Temperatures are those at the step's end. By our own equations, from EnergyPlus's readings: mean and
hottest inlet of this step (its own is that of the step before), how the power chain's loss divides,
the transformer, the chiller's part load, condensate. What only our solver needs is NaN.
"""

from typing import Any, TypeAlias

import numpy as np

from rlkit_envs.data_center.air_handler import AirHandlerOperation
from rlkit_envs.data_center.airflow import distribute_air, inlet
from rlkit_envs.data_center.chiller import chiller_state
from rlkit_envs.data_center.cooling import Cooling
from rlkit_envs.data_center.design import DataCenterDesign
from rlkit_envs.data_center.energyplus.representation import (
    power_loss_to_hall_ratio,
    represented_plant,
)
from rlkit_envs.data_center.energyplus.signals import EnergyPlusReadings
from rlkit_envs.data_center.humidity import HallHumidity, Humidifier, operate_humidifier
from rlkit_envs.data_center.outdoor_intake import RETURN_AIR
from rlkit_envs.data_center.plant import MISSED_K, PlantLimits, PlantStep
from rlkit_envs.data_center.plant_state import PlantActions
from rlkit_envs.data_center.power_chain import (
    CriticalPower,
    operate_critical_power,
    operate_transformer,
)
from rlkit_envs.data_center.psychrometrics import (
    VAPORISATION_J_KG,
    WATER_SPECIFIC_HEAT_J_KG_K,
    density_kg_m3,
)
from rlkit_envs.data_center.servers import ServerOperation
from rlkit_envs.data_center.thermal_mass import HallTemperatures

_Columns: TypeAlias = Any
"""`EnergyPlusReadings` of arrays (sites,) in place of numbers."""
_FULL_VALVE_RATIO = 0.999
_HELD_K = 0.01
"""Supply air no warmer than this above its set point is held."""


def plant_step(
    design: DataCenterDesign, told: PlantActions, readings: EnergyPlusReadings
) -> PlantStep:
    """A step of several sites; all arrays (sites,).

    told: what each was told for it. readings: completed (`control.completed`). Servers are as they
    were at the inlet that they felt; the fans are never cut out.
    """
    read: _Columns = readings
    air = distribute_air(design.airflow, read.supply_kg_s, read.server_kg_s)
    temperatures = HallTemperatures(
        read.hall_degc,
        read.metal_degc,
        mean_air_degc=read.hall_degc,
        mean_metal_degc=read.metal_degc,
    )
    critical = _critical_power(design, read)
    facility = operate_transformer(
        design.power_chain, critical.input_w, np.asarray(read.mechanical_power_w)
    )
    handler, cooling = _air_handler(design, told, read), _cooling(design, told, read)
    chain = design.power_chain
    nowhere = np.zeros(read.supply_degc.shape, bool)
    return PlantStep(
        servers=_servers(design, read),
        airflow=air,
        critical=critical,
        intake=RETURN_AIR,
        handler=handler,
        moisture=HallHumidity(
            read.hall_humidity_ratio,
            mean_humidity_ratio=read.hall_humidity_ratio,
            steam_kg_s=read.steam_kg_s,
            entering_humidity_ratio=read.hall_humidity_ratio,
            condensate_kg_s=handler.condensate_kg_s,
        ),
        humidifier=Humidifier(
            read.humidifier_power_w,
            operate_humidifier(design.humidity, read.steam_kg_s, read.hall_degc).sensible_heat_w,
        ),
        temperatures=temperatures,
        cooling=cooling,
        facility=facility,
        limits=PlantLimits(
            supply_missed=handler.supply_degc - told.supply_air_degc > MISSED_K,
            chilled_water_missed=cooling.chilled_water_missed,
            chilled_water_raised=cooling.chilled_water_raised,
            servers_off=read.servers_off_ratio > 0.0,
            fans_cut_out=nowhere,
            ups_overloaded=critical.input_w - critical.ups_loss_w > chain.ups_rated_w,
            transformer_overloaded=facility.power_w - facility.transformer_loss_w
            > chain.transformer_rated_w,
        ),
        inlet_degc=inlet(air.recirculation_ratio, read.supply_degc, read.hall_degc),
        hottest_inlet_degc=read.hottest_inlet_degc,
        mechanical_power_w=read.mechanical_power_w,
        water_kg_s=read.water_use_kg_s + read.steam_kg_s,
    )


def _servers(design: DataCenterDesign, read: _Columns) -> ServerOperation:
    density = density_kg_m3(
        read.server_inlet_degc, read.supply_humidity_ratio, read.outdoor_pressure_pa
    )
    return ServerOperation(
        read.compute_power_w,
        read.server_fan_power_w,
        flow_ratio=read.server_kg_s / (density * design.servers.rated_flow_m3_s),
        flow_kg_s=read.server_kg_s,
        exhaust_degc=read.server_outlet_degc,
    )


def _critical_power(design: DataCenterDesign, read: _Columns) -> CriticalPower:
    """EnergyPlus knows one loss, of which we know the parts at the same load."""
    ours = operate_critical_power(design.power_chain, read.server_power_w)
    loss_w = read.power_chain_loss_w
    distribution_w = loss_w * (
        ours.distribution_loss_w / (ours.distribution_loss_w + ours.ups_loss_w)
    )
    return CriticalPower(
        distribution_w,
        loss_w - distribution_w,
        input_w=read.server_power_w + loss_w,
        hall_heat_w=power_loss_to_hall_ratio(design) * loss_w,
    )


def _air_handler(
    design: DataCenterDesign, told: PlantActions, read: _Columns
) -> AirHandlerOperation:
    coil = represented_plant(design)[0].coil
    unknown = np.full(read.supply_degc.shape, np.nan)
    water_ratio = read.coil_water_kg_s / coil.rated_water_kg_s
    flowing = np.where(read.coil_water_kg_s > 0.0, read.coil_water_kg_s, np.nan)
    rise_k = read.coil_heat_w / (flowing * WATER_SPECIFIC_HEAT_J_KG_K)
    missed_k = read.supply_degc - told.supply_air_degc
    latent_w = np.maximum(read.coil_heat_w - read.coil_sensible_heat_w, 0.0)
    return AirHandlerOperation(
        supply_degc=read.supply_degc,
        supply_humidity_ratio=read.supply_humidity_ratio,
        supply_kg_s=read.supply_kg_s,
        fan_power_w=read.fan_power_w,
        coil_heat_w=read.coil_heat_w,
        sensible_heat_w=read.coil_sensible_heat_w,
        condensate_kg_s=latent_w / VAPORISATION_J_KG,
        condensate_degc=unknown,
        water_ratio=water_ratio,
        water_kg_s=read.coil_water_kg_s,
        water_return_degc=read.coil_entering_degc + np.nan_to_num(rise_k),
        saturated=(water_ratio > _FULL_VALVE_RATIO) & (missed_k > _HELD_K),
        supply_slope=unknown,
        supply_intercept_degc=unknown,
        water_slope_w_k=unknown,
        humidity_slope=unknown,
        humidity_intercept=unknown,
    )


def _cooling(design: DataCenterDesign, told: PlantActions, read: _Columns) -> Cooling:
    chiller = represented_plant(design)[0].chiller
    asked = np.asarray(told.chilled_water_degc)
    setpoint = np.maximum(asked, chiller.minimum_chilled_degc)
    ability = chiller_state(chiller, read.chilled_supply_degc, read.chiller_entering_degc)
    return Cooling(
        chilled_degc=read.coil_entering_degc,
        chilled_return_degc=read.chilled_return_degc,
        chilled_kg_s=read.chilled_kg_s,
        exchanger_heat_w=read.exchanger_heat_w,
        mechanical_heat_w=read.chiller_heat_w,
        compressor_power_w=read.chiller_power_w,
        part_load_ratio=np.minimum(read.chiller_heat_w / ability.capacity_w, 1.0),
        chilled_pump_power_w=read.chilled_pump_power_w,
        condenser_pump_power_w=read.condenser_pump_power_w,
        tower_fan_power_w=read.tower_fan_power_w,
        condenser_kg_s=read.condenser_kg_s,
        condenser_degc=read.tower_leaving_degc,
        condenser_end_degc=read.tower_leaving_degc,
        condenser_heat_w=read.condenser_heat_w,
        tower_entering_degc=read.tower_entering_degc,
        rejected_w=read.tower_heat_w,
        tower_water_kg_s=read.water_use_kg_s,
        chilled_water_raised=asked < chiller.minimum_chilled_degc,
        chilled_water_missed=read.coil_entering_degc > setpoint + MISSED_K,
    )
