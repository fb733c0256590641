"""What the EnergyPlus model is made from: designs of a hall with chilled water and its plant."""

from dataclasses import dataclass, field

from rlkit_envs.data_center.airflow import AirflowDesign
from rlkit_envs.data_center.chilled_water import ChilledWaterDesign
from rlkit_envs.data_center.chilled_water_coil import CoilDesign
from rlkit_envs.data_center.chiller import ChillerDesign
from rlkit_envs.data_center.cooling_tower import TowerDesign
from rlkit_envs.data_center.economisers import PlateExchangerDesign
from rlkit_envs.data_center.fan import FanDesign
from rlkit_envs.data_center.humidity import HumidityDesign
from rlkit_envs.data_center.power_chain import PowerChainDesign, operate_critical_power
from rlkit_envs.data_center.pumps import PumpDesign
from rlkit_envs.data_center.ranges import check_positive
from rlkit_envs.data_center.servers import ServerDesign
from rlkit_envs.data_center.thermal_mass import HallDesign


@dataclass(frozen=True)
class ChilledWaterHall:
    """One hall of servers, its air handlers, and a plant of chiller, tower and plate exchanger.

    Chiller and exchanger take their condenser water side by side, each at its own design flow, so
    that tower and condenser pump must be able to move both flows together.
    """

    servers: ServerDesign = field(default_factory=ServerDesign)
    """All servers as one."""
    airflow: AirflowDesign = field(default_factory=AirflowDesign)
    """Recirculation between them and the air handlers."""
    power_chain: PowerChainDesign = field(
        default_factory=lambda: PowerChainDesign(
            ups_rated_w=1.2e6, distribution_rated_w=1.2e6, transformer_rated_w=2e6
        )
    )
    """UPS and distribution; the transformer stands outdoors and is left to whoever counts it."""
    hall: HallDesign = field(default_factory=HallDesign)
    """Air, metal and envelope."""
    humidity: HumidityDesign = field(default_factory=lambda: HumidityDesign(humidifier_kg_s=0.0))
    """Outdoor air that leaks in. A humidifier is not modelled here: its steam must be 0."""
    fan: FanDesign = field(default_factory=lambda: FanDesign(rated_flow_m3_s=90.0))
    """Fans of all air handlers, drawing through the coils."""
    coil: CoilDesign = field(
        default_factory=lambda: CoilDesign(
            rated_air_kg_s=106.0, rated_water_kg_s=40.0, rated_conductance_w_k=1.6e5
        )
    )
    """Coils of all air handlers."""
    chilled_water: ChilledWaterDesign = field(default_factory=ChilledWaterDesign)
    """The chilled-water loop."""
    chilled_pump: PumpDesign = field(default_factory=lambda: PumpDesign(flow_kg_s=40.0))
    """Pump of the chilled-water loop."""
    exchanger: PlateExchangerDesign = field(
        default_factory=lambda: PlateExchangerDesign(
            chilled_flow_kg_s=40.0, condenser_flow_kg_s=43.0
        )
    )
    """Water-side economiser ahead of the chiller."""
    chiller: ChillerDesign = field(default_factory=lambda: ChillerDesign(capacity_w=1.4e6))
    """The chiller."""
    chiller_condenser_kg_s: float = 43.0
    """Condenser water of the running chiller, kg/s, above 0."""
    condenser_pump: PumpDesign = field(
        default_factory=lambda: PumpDesign(flow_kg_s=86.0, head_pa=140_000.0)
    )
    """Pump of the condenser water."""
    condenser_volume_m3: float = 12.0
    """Water in the condenser loop and the tower's basin, m3, above 0."""
    tower: TowerDesign = field(default_factory=lambda: TowerDesign(heat_w=2.0e6))
    """The cooling tower."""

    def __post_init__(self) -> None:
        check_positive(self, "chiller_condenser_kg_s", "condenser_volume_m3")
        if self.humidity.humidifier_kg_s > 0.0:
            raise ValueError(
                f"humidity.humidifier_kg_s is {self.humidity.humidifier_kg_s}: the model for "
                "EnergyPlus has no humidifier; set it to 0"
            )
        together = self.chiller_condenser_kg_s + self.exchanger.condenser_flow_kg_s
        for name, flow in (
            ("condenser_pump.flow_kg_s", self.condenser_pump.flow_kg_s),
            ("tower's design water flow", self.tower.water_flow_kg_s),
        ):
            # EnergyPlus starves one of the two, and then shuts the chiller, where they fall short.
            if flow < together * (1.0 - 1e-3):
                raise ValueError(
                    f"the {name} is {flow:.4g} kg/s: chiller and exchanger together take "
                    f"{together:.4g} kg/s of condenser water"
                )

    @property
    def largest_server_power_w(self) -> float:
        """Rated power of the servers with their fans at full speed, W."""
        return self.servers.rated_power_w * (1.0 + self.servers.rated_fan_share)

    def power_chain_efficiency(self, load_ratio: float) -> float:
        """1 - losses / load at a load over `largest_server_power_w`, above 0."""
        power_w = load_ratio * self.largest_server_power_w
        return 2.0 - float(operate_critical_power(self.power_chain, power_w).input_w) / power_w

    @property
    def power_loss_to_hall_ratio(self) -> float:
        """Share of those losses that heats the hall, 0..1, as it is at 60 % load."""
        power_w = 0.6 * self.largest_server_power_w
        chain = operate_critical_power(self.power_chain, power_w)
        losses_w = chain.distribution_loss_w + chain.ups_loss_w
        return min(float(chain.hall_heat_w / losses_w), 1.0)
