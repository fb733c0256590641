"""What of a data centre's design the model for EnergyPlus represents, and what follows for it.

One hall with chilled water, a tower, and a plate exchanger ahead of the chiller. Direct expansion,
outdoor air and evaporative coolers are left to the NumPy plant.
"""

from rlkit_envs.data_center.design import ChilledWaterPlantDesign, DataCenterDesign
from rlkit_envs.data_center.economisers import PlateExchangerDesign
from rlkit_envs.data_center.power_chain import operate_critical_power


def represented_plant(
    design: DataCenterDesign,
) -> tuple[ChilledWaterPlantDesign, PlateExchangerDesign]:
    """The chilled-water plant and its exchanger.

    Raises ValueError, with the part and what would fit, for a design that the model lacks parts of.
    """
    plant, name = design.cooling, design.name
    if not isinstance(plant, ChilledWaterPlantDesign):
        raise ValueError(
            f"{name}: cooling is a {type(plant).__name__}, but the model for EnergyPlus has "
            "chilled water only: take the preset chilled_water_hall, or the NumPy plant"
        )
    if design.air_economiser is not None:
        raise ValueError(
            f"{name}: there is an air_economiser, but the model for EnergyPlus has none: take the "
            "preset chilled_water_hall, or the NumPy plant"
        )
    if plant.exchanger is None:
        raise ValueError(
            f"{name}: cooling.exchanger is None, but the model for EnergyPlus has a plate "
            "exchanger: add one, and leave the economiser mode OFF, or take the NumPy plant"
        )
    together = plant.chiller_condenser_kg_s + plant.exchanger.condenser_flow_kg_s
    for part, flow in (
        ("cooling.condenser_pump.flow_kg_s", plant.condenser_pump.flow_kg_s),
        ("design water flow of cooling.tower", plant.tower.water_flow_kg_s),
    ):
        # EnergyPlus starves one of the two, and then shuts the chiller, where they fall short.
        if flow < together * (1.0 - 1e-3):
            raise ValueError(
                f"{name}: the {part} is {flow:.4g} kg/s: chiller and exchanger together take "
                f"{together:.4g} kg/s of condenser water"
            )
    return plant, plant.exchanger


def largest_server_power_w(design: DataCenterDesign) -> float:
    """Rated power of the servers with their fans at full speed, W."""
    return design.servers.rated_power_w * (1.0 + design.servers.rated_fan_share)


def power_chain_efficiency(design: DataCenterDesign, load_ratio: float) -> float:
    """1 - losses / load of UPS and distribution, at a load over `largest_server_power_w`, above 0.

    The transformer stands outdoors and is no part of it.
    """
    power_w = load_ratio * largest_server_power_w(design)
    return 2.0 - float(operate_critical_power(design.power_chain, power_w).input_w) / power_w


def power_loss_to_hall_ratio(design: DataCenterDesign) -> float:
    """Share of those losses that heats the hall, 0..1, as it is at 60 % load."""
    power_w = 0.6 * largest_server_power_w(design)
    chain = operate_critical_power(design.power_chain, power_w)
    losses_w = chain.distribution_loss_w + chain.ups_loss_w
    return min(float(chain.hall_heat_w / losses_w), 1.0)
