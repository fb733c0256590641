"""A whole data centre over five minutes: servers, hall, air handlers, source of cold, power.

Everything but five stores of heat and water (hall air, metal, the hall's moisture, chilled and
condenser water) is quasi-steady. A step predicts the hall's mean air with the supply at its set
point, operates air handlers and source of cold at that, solves the hall exactly along the lines
that they give, and settles them at the mean that results: heat and water close to rounding.
Specific heats are those at the step's start.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.air_handler import AirHandlerOperation
from rlkit_envs.data_center.airflow import Airflow, distribute_air, inlet
from rlkit_envs.data_center.chilled_water_plant import begin_chilled_water
from rlkit_envs.data_center.cooling import Cooling
from rlkit_envs.data_center.design import ChilledWaterPlantDesign, DataCenterDesign
from rlkit_envs.data_center.direct_expansion_plant import begin_direct_expansion
from rlkit_envs.data_center.elementwise import choose, filled, larger_of, smaller_of
from rlkit_envs.data_center.fan import operate_fan
from rlkit_envs.data_center.humidity import (
    HallHumidity,
    Humidifier,
    advance_humidity,
    operate_humidifier,
)
from rlkit_envs.data_center.outdoor_intake import Intake, take_in
from rlkit_envs.data_center.plant_state import (
    SOUND,
    EnteringAir,
    OutdoorAir,
    PlantActions,
    PlantFaults,
    PlantState,
)
from rlkit_envs.data_center.power_chain import (
    CriticalPower,
    FacilityPower,
    operate_critical_power,
    operate_transformer,
)
from rlkit_envs.data_center.psychrometrics import (
    VAPOUR_MASS_RATIO,
    Array,
    Quantity,
    density_kg_m3,
    specific_heat_j_kg_k,
)
from rlkit_envs.data_center.servers import ServerOperation, operate_servers, shut_down_servers
from rlkit_envs.data_center.thermal_mass import HallTemperatures, advance_hall
from rlkit_envs.data_center.weather import STEP_S

FIRE_CUT_OUT_DEGC = 70.0
"""Return air at which air handlers stop their fans, as their fire thermostats do (assumed). With
the servers' own cut-out it keeps a hall without cooling below the boiling point of water."""
MISSED_K = 0.5
"""Supply air this much above its set point counts as missing it."""


class PlantLimits(NamedTuple):
    """Limits of the equipment that a step ran into; bool arrays (num_envs,)."""

    supply_missed: NDArray[np.bool_]
    """The supply air is more than 0.5 K above its set point."""
    chilled_water_missed: NDArray[np.bool_]
    """The chilled water ends more than 0.5 K above its set point."""
    chilled_water_raised: NDArray[np.bool_] | np.bool_
    """Colder chilled water was asked than the chiller makes."""
    servers_off: NDArray[np.bool_]
    """Some servers have switched themselves off, for the heat of their inlets."""
    fans_cut_out: NDArray[np.bool_]
    """The air handlers' fans stand still, for the heat of the hall."""
    ups_overloaded: NDArray[np.bool_]
    """Servers and distribution draw more than the UPS's rated output."""
    transformer_overloaded: NDArray[np.bool_]
    """The site draws more than the transformers' rated output."""


class PlantStep(NamedTuple):
    """A step in means, by component; arrays (num_envs,) or, where a site lacks a part, numbers."""

    servers: ServerOperation
    airflow: Airflow
    critical: CriticalPower
    intake: Intake
    handler: AirHandlerOperation
    moisture: HallHumidity
    humidifier: Humidifier
    temperatures: HallTemperatures
    cooling: Cooling
    facility: FacilityPower
    limits: PlantLimits
    inlet_degc: Array
    """Mean inlet of the servers."""
    hottest_inlet_degc: Array
    """Inlet of the hottest rack."""
    mechanical_power_w: Array
    """All that cools and moistens: air handlers, chiller or direct expansion, pumps, tower fan,
    evaporative cooler, humidifier."""
    water_kg_s: Array
    """Make-up of tower and evaporative cooler, and feed water of the humidifier."""

    @property
    def facility_power_w(self) -> Array:
        """Drawn from the utility."""
        return self.facility.power_w

    @property
    def it_power_w(self) -> Array:
        """Servers with their fans, as a meter behind the distribution reads it."""
        return self.servers.power_w


def initial_state(
    design: DataCenterDesign,
    num_envs: int,
    *,
    supply_air_degc: Quantity = 20.0,
    hall_degc: Quantity = 30.0,
    hall_humidity_ratio: Quantity = 0.006,
    chilled_water_degc: Quantity = 10.0,
    condenser_water_degc: Quantity = 20.0,
) -> PlantState:
    """A plant near its usual temperatures, its metal as warm as its air."""

    def full(value: Quantity) -> Array:
        return np.full(num_envs, value, dtype=np.float64)

    return PlantState(
        hall_degc=full(hall_degc),
        metal_degc=full(hall_degc),
        hall_humidity_ratio=full(hall_humidity_ratio),
        inlet_degc=full(supply_air_degc),
        servers_off_ratio=full(0.0),
        supply_missed_k=full(0.0),
        humidifier_heat_w=full(0.0),
        chilled_degc=full(chilled_water_degc),
        condenser_degc=full(condenser_water_degc),
        condenser_heat_w=full(design.servers.rated_power_w),
        valve_ratio=full(0.5),
    )


def step(
    design: DataCenterDesign,
    state: PlantState,
    actions: PlantActions,
    outdoor: OutdoorAir,
    utilisation: Quantity,
    faults: PlantFaults = SOUND,
    *,
    step_s: float = STEP_S,
) -> tuple[PlantState, PlantStep]:
    """The plant after `step_s` seconds of constant actions, outdoor air and utilisation (0..1).

    All quantities are arrays (num_envs,) or numbers. Actions are taken as they are: whoever accepts
    them checks them.
    """
    if not design.has_economiser:
        actions = actions._replace(economiser=filled(0, state.hall_degc))
    pressure, humidity = outdoor.pressure_pa, state.hall_humidity_ratio
    servers = operate_servers(design.servers, utilisation, state.inlet_degc, humidity, pressure)
    servers, off_ratio = shut_down_servers(
        design.servers, servers, state.inlet_degc, state.servers_off_ratio, step_s
    )
    critical = operate_critical_power(design.power_chain, servers.power_w)
    heat_w = servers.power_w + critical.hall_heat_w
    cut_out = state.hall_degc > FIRE_CUT_OUT_DEGC
    flow_ratio = choose(cut_out, 0.0, actions.air_flow_ratio)
    fan = operate_fan(design.fan, flow_ratio, humidity, pressure, wear=faults.air_handler_fan)

    # What stays as it is throughout the step.
    specific_heat = specific_heat_j_kg_k(humidity)
    air_kg = design.hall.air_volume_m3 * density_kg_m3(state.hall_degc, humidity, pressure)
    air_j_k = air_kg * specific_heat
    leaked_kg_s = design.humidity.outdoor_air_m3_s * density_kg_m3(
        outdoor.dry_bulb_degc, outdoor.humidity_ratio, pressure
    )
    leaked_w_k = leaked_kg_s * specific_heat_j_kg_k(outdoor.humidity_ratio)
    outdoor_w_k = design.hall.envelope_conductance_w_k + leaked_w_k

    supply_w_k = fan.flow_kg_s * specific_heat
    predicted = _predict_hall(
        design, state, actions, outdoor, heat_w, air_j_k, supply_w_k, outdoor_w_k, step_s
    )
    intake = take_in(design, actions, faults, outdoor, fan, predicted, humidity)
    entering = intake.intercept_degc + intake.slope * predicted
    entering_humidity = intake.humidity_intercept + intake.humidity_slope * humidity
    if design.air_economiser is not None:
        # The same power warms the mixture, whose specific heat is another.
        supply_w_k = fan.flow_kg_s * specific_heat_j_kg_k(entering_humidity)
        fan = fan._replace(rise_k=fan.power_w / larger_of(supply_w_k, 1e-9))

    air = EnteringAir(fan, supply_w_k, entering, entering_humidity)
    plant = design.cooling
    if isinstance(plant, ChilledWaterPlantDesign):
        handler, finish = begin_chilled_water(plant, state, actions, faults, outdoor, air, step_s)
    else:
        handler, finish = begin_direct_expansion(plant, state, actions, faults, outdoor, air)

    moisture = advance_humidity(
        design.humidity,
        humidity,
        air_kg=air_kg,
        supply_kg_s=fan.flow_kg_s,
        entering_intercept=intake.humidity_intercept,
        entering_slope=intake.humidity_slope,
        coil_intercept=handler.humidity_intercept,
        coil_slope=handler.humidity_slope,
        outdoor_kg_s=leaked_kg_s,
        outdoor_humidity_ratio=outdoor.humidity_ratio,
        minimum_humidity_ratio=_minimum_humidity_ratio(design, pressure),
        step_s=step_s,
    )
    humidifier = operate_humidifier(design.humidity, moisture.steam_kg_s, state.hall_degc)
    temperatures = advance_hall(
        design.hall,
        state.hall_degc,
        state.metal_degc,
        air_heat_capacity_j_k=air_j_k,
        heat_w=heat_w + humidifier.sensible_heat_w,
        supply_conductance_w_k=supply_w_k,
        supply_intercept_degc=handler.supply_intercept_degc
        + handler.supply_slope * intake.intercept_degc,
        supply_slope=handler.supply_slope * intake.slope,
        outdoor_conductance_w_k=outdoor_w_k,
        outdoor_degc=outdoor.dry_bulb_degc,
        step_s=step_s,
    )
    mean = temperatures.mean_air_degc
    handler, cooling = finish(intake.intercept_degc + intake.slope * mean, moisture)

    airflow = distribute_air(design.airflow, fan.flow_kg_s, servers.flow_kg_s)
    mean_inlet = inlet(airflow.recirculation_ratio, handler.supply_degc, mean)
    mechanical = fan.power_w + cooling.power_w + humidifier.power_w + intake.pump_power_w
    facility = operate_transformer(design.power_chain, critical.input_w, mechanical)
    missed = larger_of(handler.supply_degc - actions.supply_air_degc, 0.0)
    chain = design.power_chain
    limits = PlantLimits(
        supply_missed=missed > MISSED_K,
        chilled_water_missed=cooling.chilled_water_missed,
        chilled_water_raised=cooling.chilled_water_raised,
        servers_off=off_ratio > 0.0,
        fans_cut_out=cut_out,
        ups_overloaded=critical.input_w - critical.ups_loss_w > chain.ups_rated_w,
        transformer_overloaded=critical.input_w + mechanical > chain.transformer_rated_w,
    )
    after = PlantState(
        hall_degc=temperatures.air_degc,
        metal_degc=temperatures.metal_degc,
        hall_humidity_ratio=moisture.humidity_ratio,
        inlet_degc=mean_inlet,
        servers_off_ratio=off_ratio,
        supply_missed_k=missed,
        humidifier_heat_w=humidifier.sensible_heat_w,
        chilled_degc=cooling.chilled_degc,
        condenser_degc=cooling.condenser_end_degc,
        condenser_heat_w=cooling.condenser_heat_w,
        valve_ratio=handler.water_ratio,
    )
    return after, PlantStep(
        servers=servers,
        airflow=airflow,
        critical=critical,
        intake=intake,
        handler=handler,
        moisture=moisture,
        humidifier=humidifier,
        temperatures=temperatures,
        cooling=cooling,
        facility=facility,
        limits=limits,
        inlet_degc=mean_inlet,
        hottest_inlet_degc=inlet(airflow.hottest_recirculation_ratio, handler.supply_degc, mean),
        mechanical_power_w=mechanical,
        water_kg_s=cooling.tower_water_kg_s + intake.water_kg_s + moisture.steam_kg_s,
    )


def _predict_hall(
    design: DataCenterDesign,
    state: PlantState,
    actions: PlantActions,
    outdoor: OutdoorAir,
    heat_w: Array,
    air_j_k: Array,
    supply_w_k: Array,
    outdoor_w_k: Quantity,
    step_s: float,
) -> Array:
    """Mean air of the hall over a step at whose set point it is supplied, its metal held.

    Where the set point is missed, dry coils follow their entering air along straight lines whatever
    is predicted, as long as it is warmer than their water: no coil supplies colder air than that,
    and where outdoor air could, it is believed after it was missed.
    """
    supply = actions.supply_air_degc
    if isinstance(design.cooling, ChilledWaterPlantDesign):
        coldest = state.chilled_degc
        if design.air_economiser is not None:
            coldest = smaller_of(coldest, supply + state.supply_missed_k)
        supply = larger_of(supply, coldest)
    metal_w_k = design.hall.metal_conductance_w_k
    conductance = supply_w_k + outdoor_w_k + metal_w_k
    steady = heat_w + state.humidifier_heat_w + supply_w_k * supply
    steady = steady + outdoor_w_k * outdoor.dry_bulb_degc + metal_w_k * state.metal_degc
    steady = steady / conductance
    decay = conductance * step_s / air_j_k
    return steady - (state.hall_degc - steady) * (np.expm1(-decay) / decay)


def _minimum_humidity_ratio(design: DataCenterDesign, pressure_pa: Quantity) -> Quantity:
    vapour_pa = design.humidity.minimum_vapour_pa
    return VAPOUR_MASS_RATIO * vapour_pa / (pressure_pa - vapour_pa)
