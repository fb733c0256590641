"""Servers, airflow, air handler, heat and moisture of a hall together, as a plant composes them."""

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.air_handler import (
    AirHandlerDesign,
    operate_air_handler,
    settle_air_handler,
)
from rlkit_envs.data_center.airflow import AirflowDesign, distribute_air, inlet
from rlkit_envs.data_center.chilled_water_coil import condensation_j_kg, size_coil
from rlkit_envs.data_center.fan import FanDesign
from rlkit_envs.data_center.humidity import (
    HumidityDesign,
    advance_humidity,
    operate_humidifier,
)
from rlkit_envs.data_center.power_chain import PowerChainDesign, operate_critical_power
from rlkit_envs.data_center.psychrometrics import (
    VAPORISATION_J_KG,
    VAPOUR_SPECIFIC_HEAT_J_KG_K,
    density_kg_m3,
    humidity_ratio_from_dew_point,
    specific_heat_j_kg_k,
)
from rlkit_envs.data_center.servers import ServerDesign, operate_servers
from rlkit_envs.data_center.thermal_mass import HallDesign, advance_hall

PRESSURE_PA, STEP_S, ROWS = 98_000.0, 300.0, 64
Array = NDArray[np.float64]


def test_energy_and_water_close_through_days_of_random_control() -> None:
    rng = np.random.default_rng(0)
    hall_design, humidity_design = (
        HallDesign(),
        HumidityDesign(outdoor_air_m3_s=1.5, minimum_dew_point_degc=8.0),
    )
    coil = size_coil(
        air_kg_s=96.0, entering_degc=35.0, leaving_degc=20.0, water_kg_s=54.0, water_degc=14.0
    )
    handler_design = AirHandlerDesign(FanDesign(80.0), coil)
    chain = PowerChainDesign(2.4e6, 1.5e6, 2e6)
    minimum = humidity_ratio_from_dew_point(humidity_design.minimum_dew_point_degc, PRESSURE_PA)
    air, metal = rng.uniform(20, 35, ROWS), rng.uniform(20, 35, ROWS)
    ratio = rng.uniform(0.002, 0.012, ROWS)
    worst_energy = worst_water = 0.0
    saturated = condensing = steaming = 0
    for _ in range(60):
        utilisation, flow = rng.uniform(0, 1, ROWS), rng.uniform(0.2, 1, ROWS)
        setpoint, water = rng.uniform(14, 28, ROWS), rng.uniform(5, 20, ROWS)
        outdoor, outdoor_ratio = rng.uniform(-20, 40, ROWS), rng.uniform(0.0005, 0.02, ROWS)

        specific_heat = specific_heat_j_kg_k(ratio)
        air_kg = hall_design.air_volume_m3 * density_kg_m3(air, ratio, PRESSURE_PA)
        infiltration = humidity_design.outdoor_air_m3_s * density_kg_m3(
            outdoor, outdoor_ratio, PRESSURE_PA
        )
        handler = operate_air_handler(
            handler_design,
            flow_ratio=flow,
            entering_degc=air,
            entering_humidity_ratio=ratio,
            pressure_pa=PRESSURE_PA,
            supply_setpoint_degc=setpoint,
            water_degc=water,
        )
        servers = operate_servers(
            ServerDesign(), utilisation, handler.supply_degc, ratio, PRESSURE_PA
        )
        flows = distribute_air(AirflowDesign(), handler.supply_kg_s, servers.flow_kg_s)
        drawn = inlet(flows.recirculation_ratio, handler.supply_degc, air)
        servers = operate_servers(ServerDesign(), utilisation, drawn, ratio, PRESSURE_PA)
        critical = operate_critical_power(chain, servers.power_w)

        moist = advance_humidity(
            humidity_design,
            ratio,
            air_kg=air_kg,
            supply_kg_s=handler.supply_kg_s,
            coil_intercept=handler.humidity_intercept,
            coil_slope=handler.humidity_slope,
            outdoor_kg_s=infiltration,
            outdoor_humidity_ratio=outdoor_ratio,
            minimum_humidity_ratio=minimum,
            step_s=STEP_S,
        )
        humidifier = operate_humidifier(humidity_design, moist.steam_kg_s, air)
        conductance = handler.supply_kg_s * specific_heat
        outdoor_conductance = hall_design.envelope_conductance_w_k + infiltration * specific_heat
        hall = advance_hall(
            hall_design,
            air,
            metal,
            air_heat_capacity_j_k=air_kg * specific_heat,
            heat_w=servers.power_w + critical.hall_heat_w + humidifier.sensible_heat_w,
            supply_conductance_w_k=conductance,
            supply_intercept_degc=handler.supply_intercept_degc,
            supply_slope=handler.supply_slope,
            outdoor_conductance_w_k=outdoor_conductance,
            outdoor_degc=outdoor,
            step_s=STEP_S,
        )
        settled = settle_air_handler(
            handler,
            supply_conductance_w_k=conductance,
            entering_degc=hall.mean_air_degc,
            entering_humidity_ratio=moist.entering_humidity_ratio,
            condensate_kg_s=moist.condensate_kg_s,
        )

        electric = servers.power_w + critical.hall_heat_w + humidifier.power_w + settled.fan_power_w
        outdoors = outdoor_conductance * (outdoor - hall.mean_air_degc)
        stored = air_kg * specific_heat * (hall.air_degc - air)
        stored += hall_design.metal_heat_capacity_j_k * (hall.metal_degc - metal)
        # Vapour: made from feed water by the humidifier, turned to condensate by the coil.
        vapour = VAPORISATION_J_KG + VAPOUR_SPECIFIC_HEAT_J_KG_K * air
        made = moist.steam_kg_s * (vapour - 4186.0 * humidity_design.feed_water_degc)
        leaving = hall.mean_air_degc - settled.sensible_heat_w / conductance
        turned = settled.condensate_kg_s * condensation_j_kg(leaving, settled.condensate_degc)
        imbalance = STEP_S * (electric + outdoors + turned - made - settled.coil_heat_w) - stored
        worst_energy = max(worst_energy, float(np.max(np.abs(imbalance) / (STEP_S * electric))))

        entered = moist.steam_kg_s + infiltration * (outdoor_ratio - moist.mean_humidity_ratio)
        kept = air_kg * (moist.humidity_ratio - ratio)
        missing = STEP_S * (entered - settled.condensate_kg_s) - kept
        worst_water = max(worst_water, float(np.max(np.abs(missing) / (air_kg * ratio))))

        # Heat and water reach the chilled water and the drain, and nothing runs away.
        carried = settled.water_kg_s * 4186.0 * (settled.water_return_degc - water)
        np.testing.assert_allclose(carried, settled.coil_heat_w, rtol=1e-9, atol=1e-3)
        assert (settled.condensate_kg_s >= 0).all()
        saturated += int(handler.saturated.sum())
        condensing += int((settled.condensate_kg_s > 0).sum())
        steaming += int((moist.steam_kg_s > 0).sum())
        air, metal, ratio = hall.air_degc, hall.metal_degc, moist.humidity_ratio
        assert (air > 5).all()
        assert (air < 90).all()

    assert worst_energy < 1e-11
    assert worst_water < 1e-12
    assert min(saturated, condensing, steaming) > 20
