"""Three sites ready-made: a small room, a hall with chilled water, a hall cooled by outdoor air.

Sizes follow from the load and the usual margins; where a number has no source it is assumed.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from rlkit_envs.data_center.airflow import AirflowDesign
from rlkit_envs.data_center.chilled_water import ChilledWaterDesign
from rlkit_envs.data_center.chilled_water_coil import size_coil
from rlkit_envs.data_center.chiller import ChillerDesign
from rlkit_envs.data_center.cooling_tower import TowerDesign
from rlkit_envs.data_center.design import ChilledWaterPlantDesign, DataCenterDesign
from rlkit_envs.data_center.direct_expansion import DirectExpansionDesign
from rlkit_envs.data_center.economisers import (
    AirEconomiserDesign,
    EvaporativeCoolerDesign,
    PlateExchangerDesign,
)
from rlkit_envs.data_center.fan import FanDesign
from rlkit_envs.data_center.humidity import HumidityDesign
from rlkit_envs.data_center.power_chain import PowerChainDesign
from rlkit_envs.data_center.pumps import PumpDesign
from rlkit_envs.data_center.servers import ServerDesign
from rlkit_envs.data_center.thermal_mass import HallDesign

TWO_EQUAL_PUMPS = (0.0, 1.0, 0.0, 0.0)
"""Power ratio of pumps of constant speed side by side, one for the chiller and one for the
exchanger: half the flow takes half the power."""


def small_room() -> DataCenterDesign:
    """50 kW of servers in open aisles, cooled by direct expansion; no economiser, no tower."""
    return DataCenterDesign(
        name="small_room",
        servers=ServerDesign(rated_power_w=50e3),
        airflow=AirflowDesign(
            recirculation_ratio=0.10, leakage_ratio=0.15, hottest_rack_spread=3.0
        ),
        power_chain=PowerChainDesign(
            ups_rated_w=80e3, distribution_rated_w=60e3, transformer_rated_w=120e3
        ),
        hall=HallDesign(
            air_volume_m3=180.0,
            metal_heat_capacity_j_k=2e6,
            metal_conductance_w_k=2e3,
            envelope_conductance_w_k=60.0,
        ),
        fan=FanDesign(rated_flow_m3_s=4.5),
        cooling=DirectExpansionDesign(capacity_w=70e3, cop=3.3, air_flow_kg_s=5.4),
        humidity=HumidityDesign(outdoor_air_m3_s=0.015, humidifier_kg_s=0.001),
    )


def chilled_water_hall() -> DataCenterDesign:
    """1 MW of servers, chilled water, a tower, and a plate exchanger ahead of the chiller."""
    return DataCenterDesign(
        name="chilled_water_hall",
        servers=ServerDesign(rated_power_w=1e6),
        airflow=AirflowDesign(),
        power_chain=PowerChainDesign(
            ups_rated_w=1.5e6, distribution_rated_w=1.2e6, transformer_rated_w=2e6
        ),
        hall=HallDesign(),
        fan=FanDesign(rated_flow_m3_s=90.0),
        cooling=_chilled_water(
            exchanger=PlateExchangerDesign(chilled_flow_kg_s=45.0, condenser_flow_kg_s=45.0)
        ),
    )


def air_economised_hall() -> DataCenterDesign:
    """1 MW of servers behind outdoor air with a direct evaporative cooler; chilled water helps."""
    return DataCenterDesign(
        name="air_economised_hall",
        servers=ServerDesign(rated_power_w=1e6),
        airflow=AirflowDesign(
            recirculation_ratio=0.02, leakage_ratio=0.03, hottest_rack_spread=1.0
        ),
        power_chain=PowerChainDesign(
            ups_rated_w=1.5e6, distribution_rated_w=1.2e6, transformer_rated_w=2e6
        ),
        hall=HallDesign(air_volume_m3=3000.0),
        # Filters, dampers and the wetted medium cost pressure.
        fan=FanDesign(rated_flow_m3_s=90.0, pressure_pa=400.0),
        cooling=_chilled_water(exchanger=None),
        humidity=HumidityDesign(humidifier_kg_s=0.05),
        air_economiser=AirEconomiserDesign(dry_bulb_limit_degc=27.0, dew_point_limit_degc=15.0),
        evaporative_cooler=EvaporativeCoolerDesign(effectiveness=0.8, pump_power_w=1500.0),
    )


PRESETS: Mapping[str, Callable[[], DataCenterDesign]] = MappingProxyType(
    {
        "small_room": small_room,
        "chilled_water_hall": chilled_water_hall,
        "air_economised_hall": air_economised_hall,
    }
)
"""Every preset by name."""


def _chilled_water(exchanger: PlateExchangerDesign | None) -> ChilledWaterPlantDesign:
    """A plant for 1 MW of servers, with coils that manage with water of 14 degC at 20 degC air."""
    each_kg_s = 55.0 if exchanger is None else 45.0
    condenser_kg_s = each_kg_s if exchanger is None else 2.0 * each_kg_s
    range_k = 6.2 if exchanger is None else 5.5556
    return ChilledWaterPlantDesign(
        coil=size_coil(
            air_kg_s=108.0,
            entering_degc=31.0,
            leaving_degc=19.5,
            water_kg_s=45.0,
            water_degc=13.0,
        ),
        chiller=ChillerDesign(capacity_w=1.4e6),
        chilled_water=ChilledWaterDesign(volume_m3=12.0),
        chilled_pump=PumpDesign(flow_kg_s=45.0),
        tower=TowerDesign(heat_w=condenser_kg_s * 4186.0 * range_k, range_k=range_k),
        condenser_pump=PumpDesign(
            flow_kg_s=condenser_kg_s,
            head_pa=140_000.0,
            power_coefficients=(0.0, 0.0205, 0.4101, 0.5753)
            if exchanger is None
            else TWO_EQUAL_PUMPS,
        ),
        chiller_condenser_kg_s=each_kg_s,
        exchanger=exchanger,
    )
