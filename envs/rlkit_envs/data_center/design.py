"""A data centre as one frozen composition of its components, checked when it is built.

One hall with its servers, its air handlers and one source of cold: chilled water or direct
expansion. `design_check.py` sees whether the parts fit; `presets.py` has sites ready-made.
"""

from dataclasses import dataclass, field

from rlkit_envs.data_center.airflow import AirflowDesign
from rlkit_envs.data_center.chilled_water import ChilledWaterDesign
from rlkit_envs.data_center.chilled_water_coil import CoilDesign
from rlkit_envs.data_center.chiller import ChillerDesign
from rlkit_envs.data_center.condenser_loop import CondenserWaterDesign
from rlkit_envs.data_center.cooling_tower import TowerDesign
from rlkit_envs.data_center.design_check import DesignPoint, check_design
from rlkit_envs.data_center.direct_expansion import DirectExpansionDesign
from rlkit_envs.data_center.economisers import (
    AirEconomiserDesign,
    EvaporativeCoolerDesign,
    PlateExchangerDesign,
)
from rlkit_envs.data_center.fan import FanDesign
from rlkit_envs.data_center.humidity import HumidityDesign
from rlkit_envs.data_center.power_chain import PowerChainDesign
from rlkit_envs.data_center.psychrometrics import WATER_DENSITY_KG_M3
from rlkit_envs.data_center.pumps import PumpDesign
from rlkit_envs.data_center.ranges import check_positive
from rlkit_envs.data_center.servers import ServerDesign
from rlkit_envs.data_center.thermal_mass import HallDesign

_LEAST_HOLDING_S = 200.0
"""Exchanger and tower answer each other from step to step; with less water their swings grow."""


@dataclass(frozen=True)
class ChilledWaterPlantDesign:
    """Coils, chilled water, chiller, tower, and perhaps a plate exchanger ahead of the chiller.

    Chiller and exchanger stand in series in the chilled water and side by side in the condenser
    water, where each takes its own constant flow while it is switched on.
    """

    coil: CoilDesign
    """Coils of all air handlers; `chilled_water_coil.size_coil` makes one for a duty."""
    chiller: ChillerDesign
    """The chiller."""
    chilled_water: ChilledWaterDesign
    """Water in the loop."""
    chilled_pump: PumpDesign
    """Follows the coils' valves, down to its least flow, which then bypasses them."""
    tower: TowerDesign
    """The cooling tower."""
    condenser_pump: PumpDesign
    """Moves what chiller and exchanger take."""
    chiller_condenser_kg_s: float
    """Condenser water of the chiller while it is switched on, kg/s, above 0."""
    condenser_water: CondenserWaterDesign = field(default_factory=CondenserWaterDesign)
    """Water in basin and pipes; an exchanger needs 200 s of its condenser flow, or steps of five
    minutes would swing."""
    exchanger: PlateExchangerDesign | None = None
    """Water-side economiser, if there is one."""

    def __post_init__(self) -> None:
        check_positive(self, "chiller_condenser_kg_s")
        least_m3 = _LEAST_HOLDING_S * self.exchanger_condenser_kg_s / WATER_DENSITY_KG_M3
        if self.condenser_water.volume_m3 < least_m3:
            raise ValueError(
                f"condenser_water.volume_m3 is {self.condenser_water.volume_m3:g}, but an "
                f"exchanger with {self.exchanger_condenser_kg_s:g} kg/s of condenser water needs "
                f"at least {least_m3:.3g} m3"
            )

    @property
    def exchanger_condenser_kg_s(self) -> float:
        """Condenser water of the exchanger while it is switched on, kg/s; 0 without one."""
        return 0.0 if self.exchanger is None else self.exchanger.condenser_flow_kg_s


@dataclass(frozen=True)
class DataCenterDesign:
    """A site. Raises ValueError, with the value and what would fit, where parts do not match."""

    name: str
    """What people call it."""
    servers: ServerDesign
    """All servers as one."""
    airflow: AirflowDesign
    """Recirculation between servers and air handlers."""
    power_chain: PowerChainDesign
    """Transformer, UPS and distribution."""
    hall: HallDesign
    """Air, metal and envelope."""
    fan: FanDesign
    """Fans of all air handlers, drawing through the coils."""
    cooling: ChilledWaterPlantDesign | DirectExpansionDesign
    """Where the cold comes from; a direct expansion's air flow is that of the fans at 20 degC."""
    humidity: HumidityDesign = field(default_factory=HumidityDesign)
    """Outdoor air that leaks in, and the humidifier."""
    air_economiser: AirEconomiserDesign | None = None
    """Dampers for outdoor air, if there are any."""
    evaporative_cooler: EvaporativeCoolerDesign | None = None
    """A wetted medium in the outdoor air, if there is one."""
    design_point: DesignPoint = field(default_factory=DesignPoint)
    """Weather and set points at which full load must be carried."""

    def __post_init__(self) -> None:
        if self.evaporative_cooler is not None and self.air_economiser is None:
            raise ValueError(
                f"{self.name}: an evaporative_cooler cools outdoor air, but there is no "
                "air_economiser to let it in: add one, or leave the cooler out"
            )
        if self.air_economiser is not None and self.has_water_economiser:
            raise ValueError(
                f"{self.name}: there is an air_economiser and a plate exchanger, but the plant "
                "takes one economiser mode: leave one of them out"
            )
        check_design(self)

    @property
    def has_economiser(self) -> bool:
        """Whether there is any economiser, so that its mode means something."""
        return self.air_economiser is not None or self.has_water_economiser

    @property
    def has_water_economiser(self) -> bool:
        """Whether there is a plate exchanger."""
        plant = self.cooling
        return isinstance(plant, ChilledWaterPlantDesign) and plant.exchanger is not None
