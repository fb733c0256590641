"""Whether the parts of a design fit: full load at the design weather, steady, economisers shut.

Every finding is a ValueError with the part, its value, and what would fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rlkit_envs.data_center.airflow import distribute_air, inlet
from rlkit_envs.data_center.chilled_water_coil import operate_coil
from rlkit_envs.data_center.chiller import chiller, chiller_state
from rlkit_envs.data_center.cooling_tower import tower_leaving_degc, tower_state
from rlkit_envs.data_center.direct_expansion import (
    DirectExpansionDesign,
    direct_expansion,
    direct_expansion_state,
)
from rlkit_envs.data_center.fan import FanOperation, operate_fan
from rlkit_envs.data_center.power_chain import operate_critical_power
from rlkit_envs.data_center.psychrometrics import density_kg_m3, specific_heat_j_kg_k
from rlkit_envs.data_center.pumps import pump
from rlkit_envs.data_center.ranges import check_ranges
from rlkit_envs.data_center.servers import operate_servers

if TYPE_CHECKING:
    from rlkit_envs.data_center.design import ChilledWaterPlantDesign, DataCenterDesign

_ROUNDS = 50
"""Of fixed-point iterations that halve their error or better; a design is checked once."""

_RESERVE = 1.05
"""On capacities that an error proposes, as what is needed grows a little with them, and a larger
coil for the same air works at a colder surface."""


@dataclass(frozen=True)
class DesignPoint:
    """What a site must carry at full utilisation, with its economisers shut."""

    dry_bulb_degc: float = 38.0
    """Outdoor air, degC, 0 to 55."""
    wet_bulb_degc: float = 25.5
    """Outdoor air, degC, -5 to 32, at most the dry bulb."""
    pressure_pa: float = 101_325.0
    """Outdoor air, Pa, 60e3 to 110e3."""
    supply_air_degc: float = 20.0
    """Set point of the supply air, degC, 10 to 35."""
    chilled_water_degc: float = 10.0
    """Set point of the chilled water, degC, 3 to 25, where there is any."""
    hall_humidity_ratio: float = 0.006
    """Humidity ratio of the hall, 0 to 0.02: below the dew point of the coils' water, as a hall is
    that dries out on them."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            dry_bulb_degc=(0.0, 55.0),
            wet_bulb_degc=(-5.0, min(32.0, self.dry_bulb_degc)),
            pressure_pa=(60e3, 110e3),
            supply_air_degc=(10.0, 35.0),
            chilled_water_degc=(3.0, 25.0),
            hall_humidity_ratio=(0.0, 0.02),
        )


class _Load(NamedTuple):
    """Steady state of the hall at the design point; arrays of one entry."""

    server_power_w: np.ndarray
    hall_degc: np.ndarray
    fan: FanOperation
    critical_w: np.ndarray
    """Into the UPS."""


def check_design(design: DataCenterDesign) -> None:
    """Raises ValueError for the first part of `design` that is too small at its design point."""
    load = _steady_hall(design)
    _check_power_chain(design, load)
    if isinstance(design.cooling, DirectExpansionDesign):
        cooling_w = _check_direct_expansion(design, design.cooling, load)
    else:
        cooling_w = _check_chilled_water(design, design.cooling, load)
    mechanical_w = cooling_w + float(load.fan.power_w[0])
    output_w = float(load.critical_w[0]) + mechanical_w
    _check(
        design,
        "power_chain.transformer_rated_w",
        design.power_chain.transformer_rated_w,
        output_w,
        "W",
        "servers, losses and cooling draw",
    )


def _steady_hall(design: DataCenterDesign) -> _Load:
    point = design.design_point
    pressure, humidity = point.pressure_pa, np.array([point.hall_humidity_ratio])
    supply = np.array([point.supply_air_degc])
    cool = inlet(design.airflow.recirculation_ratio, supply, supply + 15.0)
    servers = operate_servers(design.servers, 1.0, cool, humidity, pressure)
    standard = float(density_kg_m3(20.0, 0.0, pressure))
    _check(
        design,
        "fan.rated_flow_m3_s",
        design.fan.rated_flow_m3_s,
        float(servers.flow_kg_s[0]) / standard,
        "m3/s",
        "servers draw",
    )
    fan = operate_fan(design.fan, np.ones(1), humidity, pressure)
    outdoor_kg_s = design.humidity.outdoor_air_m3_s * density_kg_m3(
        point.dry_bulb_degc, humidity, pressure
    )
    specific_heat = specific_heat_j_kg_k(humidity)
    outdoor_w_k = design.hall.envelope_conductance_w_k + outdoor_kg_s * specific_heat
    supply_w_k = fan.flow_kg_s * specific_heat
    hall, drawn = supply + 15.0, cool
    critical = operate_critical_power(design.power_chain, servers.power_w)
    for _ in range(_ROUNDS):
        servers = operate_servers(design.servers, 1.0, drawn, humidity, pressure)
        critical = operate_critical_power(design.power_chain, servers.power_w)
        heat_w = servers.power_w + critical.hall_heat_w
        hall = heat_w + supply_w_k * supply + outdoor_w_k * point.dry_bulb_degc
        hall = hall / (supply_w_k + outdoor_w_k)
        flows = distribute_air(design.airflow, fan.flow_kg_s, servers.flow_kg_s)
        drawn = inlet(flows.recirculation_ratio, supply, hall)
    return _Load(servers.power_w, hall, fan, critical.input_w)


def _check_power_chain(design: DataCenterDesign, load: _Load) -> None:
    chain, servers_w = design.power_chain, float(load.server_power_w[0])
    critical = operate_critical_power(chain, servers_w)
    behind_ups_w = servers_w + float(critical.distribution_loss_w)
    for part, rated_w, needed_w, draws in (
        ("distribution", chain.distribution_rated_w, servers_w, "servers draw"),
        ("ups", chain.ups_rated_w, behind_ups_w, "servers and distribution draw"),
    ):
        _check(design, f"power_chain.{part}_rated_w", rated_w, needed_w, "W", draws)


def _check_direct_expansion(
    design: DataCenterDesign, unit: DirectExpansionDesign, load: _Load
) -> float:
    """Power of the unit, W."""
    point = design.design_point
    humidity = np.array([point.hall_humidity_ratio])
    flow = load.fan.flow_kg_s
    state = direct_expansion_state(
        unit,
        load.hall_degc,
        humidity,
        load.hall_degc - 12.0,  # counts only where the coil is wet, which is a smaller capacity
        flow,
        point.dry_bulb_degc,
        point.pressure_pa,
    )
    drop_k = load.hall_degc - point.supply_air_degc + load.fan.rise_k
    wanted_w = flow * specific_heat_j_kg_k(humidity) * drop_k
    carried_w = float(state.sensible_capacity_w[0])
    if wanted_w[0] > carried_w:
        fitting_w = _RESERVE * unit.capacity_w * float(wanted_w[0]) / carried_w
        raise ValueError(
            f"{design.name}: cooling.capacity_w is {unit.capacity_w:.4g} W, of which "
            f"{carried_w:.4g} W remain at {point.dry_bulb_degc:g} degC outdoors, but the hall "
            f"needs {wanted_w[0]:.4g} W: {fitting_w:.4g} W would carry it"
        )
    return float(direct_expansion(unit, state, wanted_w).power_w[0])


def _check_chilled_water(
    design: DataCenterDesign, plant: ChilledWaterPlantDesign, load: _Load
) -> float:
    """Power of chiller, pumps and tower, W."""
    point = design.design_point
    _check(
        design,
        "cooling.chilled_pump.flow_kg_s",
        plant.chilled_pump.flow_kg_s,
        plant.coil.rated_water_kg_s,
        "kg/s",
        "the coils take",
    )
    condenser_kg_s = plant.chiller_condenser_kg_s + plant.exchanger_condenser_kg_s
    _check(
        design,
        "cooling.condenser_pump.flow_kg_s",
        plant.condenser_pump.flow_kg_s,
        condenser_kg_s * (1.0 - 1e-3),
        "kg/s",
        "chiller and exchanger together take",
    )
    _check(
        design,
        "cooling.tower's design water flow",
        plant.tower.water_flow_kg_s,
        condenser_kg_s * (1.0 - 1e-3),
        "kg/s",
        "chiller and exchanger together send it",
    )
    if plant.exchanger is not None:
        _check(
            design,
            "cooling.chilled_pump.flow_kg_s",
            plant.chilled_pump.flow_kg_s,
            plant.exchanger.chilled_flow_kg_s * (1.0 - 1e-3),
            "kg/s",
            "the exchanger is made for",
        )
    least_degc = plant.chiller.minimum_chilled_degc
    if point.chilled_water_degc < least_degc:
        raise ValueError(
            f"{design.name}: design_point.chilled_water_degc is {point.chilled_water_degc:g}, but "
            f"the chiller makes no colder water than {least_degc:g} degC"
        )

    target = point.supply_air_degc - float(load.fan.rise_k[0])
    coil = operate_coil(
        plant.coil,
        air_kg_s=load.fan.flow_kg_s,
        air_degc=load.hall_degc,
        humidity_ratio=np.array([point.hall_humidity_ratio]),
        pressure_pa=point.pressure_pa,
        water_degc=point.chilled_water_degc,
        target_degc=target,
    )
    if coil.saturated[0]:
        reached = float((coil.air_degc + load.fan.rise_k)[0])
        raise ValueError(
            f"{design.name}: cooling.coil of {plant.coil.rated_conductance_w_k:.4g} W/K and "
            f"{plant.coil.rated_water_kg_s:g} kg/s of water supplies {reached:.2f} degC at the "
            f"design point, where {point.supply_air_degc:g} is asked: size it (size_coil) for "
            f"{load.fan.flow_kg_s[0]:.4g} kg/s of air from {load.hall_degc[0]:.2f} to "
            f"{target:.2f} degC"
        )

    chilled_pump = pump(plant.chilled_pump, coil.water_kg_s / plant.chilled_pump.flow_kg_s)
    condenser_pump = pump(
        plant.condenser_pump,
        np.array([plant.chiller_condenser_kg_s / plant.condenser_pump.flow_kg_s]),
    )
    wanted_w = coil.heat_w + chilled_pump.heat_w
    tower = tower_state(plant.tower, np.array([point.wet_bulb_degc]), 1.0, condenser_pump.flow_kg_s)
    rejected_w = 1.2 * wanted_w
    state = chiller_state(plant.chiller, point.chilled_water_degc, point.wet_bulb_degc + 5.0)
    work = chiller(plant.chiller, state, wanted_w)
    for _ in range(_ROUNDS):
        leaving = tower_leaving_degc(plant.tower, tower, rejected_w)
        state = chiller_state(plant.chiller, point.chilled_water_degc, leaving)
        work = chiller(plant.chiller, state, wanted_w)
        rejected_w = work.condenser_heat_w + condenser_pump.heat_w
    _check(
        design,
        "cooling.tower.heat_w",
        plant.tower.heat_w,
        float(rejected_w[0]),
        "W",
        "chiller and condenser pump reject",
    )
    capacity_w = float(state.capacity_w[0])
    if float(wanted_w[0]) > capacity_w:
        fitting_w = _RESERVE * plant.chiller.capacity_w * float(wanted_w[0]) / capacity_w
        raise ValueError(
            f"{design.name}: cooling.chiller.capacity_w is {plant.chiller.capacity_w:.4g} W, of "
            f"which {capacity_w:.4g} W remain at the design wet bulb of {point.wet_bulb_degc:g} "
            f"degC, but the hall needs {wanted_w[0]:.4g} W: {fitting_w:.4g} W would carry "
            "it"
        )
    both_pumps_w = chilled_pump.power_w + condenser_pump.power_w
    return float((work.power_w + both_pumps_w + tower.fan_power_w)[0])


def _check(
    design: DataCenterDesign, part: str, value: float, needed: float, unit: str, why: str
) -> None:
    if value < needed:
        raise ValueError(
            f"{design.name}: {part} is {value:.4g} {unit}, but {why} {needed:.4g} {unit} at the "
            f"design point: at least that would fit"
        )
