"""Free cooling: plate exchanger to the tower's water, outdoor air, direct evaporative cooler.

Sources: counterflow effectiveness over transfer units (Incropera et al., Fundamentals of Heat and
Mass Transfer, 7th edition, table 11.3) as EnergyPlus HeatExchanger:FluidToFluid has it; outdoor-air
control as EnergyPlus Controller:OutdoorAir with FixedDewPointAndDryBulb; EvaporativeCooler:Direct:
ResearchSpecial. Which mode is on when is for controllers; this is what each does.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from math import log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.elementwise import choose, larger_of, limited, smaller_of
from rlkit_envs.data_center.psychrometrics import (
    AIR_SPECIFIC_HEAT_J_KG_K,
    VAPORISATION_J_KG,
    VAPOUR_SPECIFIC_HEAT_J_KG_K,
    WATER_SPECIFIC_HEAT_J_KG_K,
    Quantity,
    dry_bulb_degc,
    enthalpy_j_kg,
    saturation_pressure_pa,
    specific_heat_j_kg_k,
    vapour_pressure_pa,
)

Array = NDArray[np.float64]

FOULED_PLATES = 0.45
"""Share of its conductance that a plate exchanger fouled to severity 1 has lost (seen: 10-45 %)."""


class EconomiserMode(IntEnum):
    """What a water-side economiser is told to do."""

    OFF = 0
    """The exchanger is shut; the chiller carries the load."""
    PRECOOL = 1
    """The exchanger cools the returning water first, the chiller does the rest."""
    FULL = 2
    """The exchanger carries the load alone; the chiller is off."""


@dataclass(frozen=True)
class PlateExchangerDesign:
    """A plate exchanger between chilled-water return and tower water, ahead of the chiller."""

    effectiveness: float = 0.8
    """Heat moved over the most that could be, at design flows, 0.3 to 0.95."""
    chilled_flow_kg_s: float = 36.0
    """Chilled water at the design point, kg/s."""
    condenser_flow_kg_s: float = 51.6
    """Tower water at the design point, kg/s."""
    approach_k: float = 6.0
    """Tower approach plus exchanger approach that `water_economiser_ready` allows for, K."""

    def __post_init__(self) -> None:
        if not 0.3 <= self.effectiveness <= 0.95:
            raise ValueError(f"effectiveness is {self.effectiveness}: it must lie in 0.3..0.95")
        for name in ("chilled_flow_kg_s", "condenser_flow_kg_s"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must lie above 0 kg/s")
        if not 0.0 <= self.approach_k <= 20.0:
            raise ValueError(f"approach_k is {self.approach_k}: it must lie in 0..20 K")

    @cached_property
    def conductance_w_k(self) -> float:
        """Heat through the plates per kelvin between the streams, W/K (EnergyPlus: UA)."""
        smaller, larger = sorted((self.chilled_flow_kg_s, self.condenser_flow_kg_s))
        ratio, reached = smaller / larger, self.effectiveness
        units = reached / (1.0 - reached)
        if ratio < 1.0 - 1e-9:
            units = log((1.0 - reached * ratio) / (1.0 - reached)) / (1.0 - ratio)
        return units * smaller * WATER_SPECIFIC_HEAT_J_KG_K


def plate_exchanger_w_k(
    design: PlateExchangerDesign,
    mode: Quantity | NDArray[np.int64] | NDArray[np.bool_],
    chilled_flow_kg_s: Quantity,
    condenser_flow_kg_s: Quantity,
    *,
    fouling: Quantity = 0.0,
) -> Array:
    """Heat moved per kelvin between the streams' entering temperatures, W/K; 0 in mode OFF.

    mode: `EconomiserMode`, or whether it is open, one for each environment. fouling: severity
    0..1, at 1 with `FOULED_PLATES` of the conductance lost. Times (chilled return - tower leaving),
    where positive, it is the heat that leaves the chilled water and enters the tower water.
    """
    smaller = smaller_of(chilled_flow_kg_s, condenser_flow_kg_s)
    larger = larger_of(chilled_flow_kg_s, condenser_flow_kg_s)
    smaller_w_k = smaller * WATER_SPECIFIC_HEAT_J_KG_K
    conductance = design.conductance_w_k * (1.0 - FOULED_PLATES * fouling)
    units = conductance / larger_of(smaller_w_k, 1e-3)
    exponent = units * (1.0 - smaller / larger_of(larger, 1e-9))
    # (1 - e^-x) / x, which is 1 where the flows are equal: so it is just beside that.
    exponent = larger_of(exponent, 1e-9)
    growth = np.expm1(-exponent)
    running_mean, falling = -growth / exponent, 1.0 + growth
    reached = units * running_mean
    return choose(mode > 0, smaller_w_k * (reached / (reached + falling)), 0.0)


def water_economiser_ready(
    design: PlateExchangerDesign, wet_bulb_degc: Quantity, return_degc: Quantity
) -> NDArray[np.bool_]:
    """Whether the tower can cool the returning water: wet bulb plus approaches lie below it."""
    return np.asarray(wet_bulb_degc) + design.approach_k <= np.asarray(return_degc)


@dataclass(frozen=True)
class AirEconomiserDesign:
    """Dampers that mix outdoor air into the return air."""

    minimum_outdoor_ratio: float = 0.0
    """Least outdoor share of the supply air, 0 to 1, for pressure and people."""
    maximum_outdoor_ratio: float = 1.0
    """Largest outdoor share of the supply air, 0 to 1."""
    dry_bulb_limit_degc: float = 23.0
    """Warmest outdoor air let in beyond the least share, degC, 0 to 40."""
    dew_point_limit_degc: float = 13.5
    """Moistest outdoor air let in beyond the least share, degC, -10 to 25."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.minimum_outdoor_ratio <= self.maximum_outdoor_ratio <= 1.0:
            raise ValueError(
                f"minimum_outdoor_ratio {self.minimum_outdoor_ratio} and maximum_outdoor_ratio "
                f"{self.maximum_outdoor_ratio} must rise within 0..1"
            )
        if not 0.0 <= self.dry_bulb_limit_degc <= 40.0:
            raise ValueError(
                f"dry_bulb_limit_degc is {self.dry_bulb_limit_degc}: it must lie in 0..40"
            )
        if not -10.0 <= self.dew_point_limit_degc <= 25.0:
            raise ValueError(
                f"dew_point_limit_degc is {self.dew_point_limit_degc}: it must lie in -10..25"
            )

    @cached_property
    def vapour_limit_pa(self) -> float:
        """Vapour pressure at the dew-point limit, Pa."""
        return float(saturation_pressure_pa(self.dew_point_limit_degc))


class MixedAir(NamedTuple):
    """Outdoor and return air after the dampers."""

    outdoor_ratio: Array
    """Outdoor share of the dry air, 0..1."""
    mixed_degc: Array
    """Dry bulb of the mixture."""
    mixed_humidity_ratio: Array
    """Humidity ratio of the mixture."""


def outdoor_air_ratio(
    design: AirEconomiserDesign,
    outdoor_degc: Quantity,
    outdoor_humidity_ratio: Quantity,
    pressure_pa: Quantity,
    return_degc: Quantity,
    return_humidity_ratio: Quantity,
    wanted_degc: Quantity,
    *,
    enabled: NDArray[np.bool_] | bool = True,
) -> Array:
    """Outdoor share that brings the mixture to `wanted_degc`, or as near as the limits let it.

    outdoor_degc, outdoor_humidity_ratio: the air offered, after an evaporative cooler if there is
    one. Beyond the least share it is taken only where `enabled`, colder than the return air, and
    within both limits.
    """
    outdoor, returned = outdoor_degc, return_degc
    allowed = (outdoor <= design.dry_bulb_limit_degc) & (outdoor < returned) & enabled
    allowed &= vapour_pressure_pa(outdoor_humidity_ratio, pressure_pa) <= design.vapour_limit_pa
    # Mixing keeps c T of each share; latent heat cancels, as humidity mixes the same way.
    excess = specific_heat_j_kg_k(return_humidity_ratio) * (returned - wanted_degc)
    deficit = specific_heat_j_kg_k(outdoor_humidity_ratio) * (wanted_degc - outdoor)
    share = excess / larger_of(excess + deficit, 1e-9)
    share = choose(deficit <= 0.0, 1.0, share)
    share = choose(allowed, share, 0.0)  # below 0 where the return air is cold enough
    return limited(share, design.minimum_outdoor_ratio, design.maximum_outdoor_ratio)


def mix_air(
    outdoor_ratio: Quantity,
    outdoor_degc: Quantity,
    outdoor_humidity_ratio: Quantity,
    return_degc: Quantity,
    return_humidity_ratio: Quantity,
) -> MixedAir:
    """Mixes outdoor and return air: water and enthalpy are kept."""
    share = outdoor_ratio
    ratio = share * outdoor_humidity_ratio + (1.0 - share) * return_humidity_ratio
    enthalpy = share * enthalpy_j_kg(outdoor_degc, outdoor_humidity_ratio)
    enthalpy += (1.0 - share) * enthalpy_j_kg(return_degc, return_humidity_ratio)
    return MixedAir(share, dry_bulb_degc(enthalpy, ratio), ratio)


@dataclass(frozen=True)
class EvaporativeCoolerDesign:
    """A wetted medium in the outdoor air stream."""

    effectiveness: float = 0.7
    """Cooling over the distance from dry to wet bulb, 0.3 to 0.95."""
    pump_power_w: float = 500.0
    """Power of the recirculation pump while the medium is wet, W, at least 0."""
    cycles_of_concentration: float = 4.0
    """Salt in the sump over salt in the make-up water, 1.5 to 20, kept by blowdown."""

    def __post_init__(self) -> None:
        if not 0.3 <= self.effectiveness <= 0.95:
            raise ValueError(f"effectiveness is {self.effectiveness}: it must lie in 0.3..0.95")
        if not self.pump_power_w >= 0.0:
            raise ValueError(f"pump_power_w is {self.pump_power_w}: it must be at least 0 W")
        if not 1.5 <= self.cycles_of_concentration <= 20.0:
            raise ValueError(
                f"cycles_of_concentration is {self.cycles_of_concentration}: it must lie in 1.5..20"
            )


class EvaporativelyCooledAir(NamedTuple):
    """Air after an evaporative cooler."""

    leaving_degc: Array
    """Dry bulb."""
    leaving_humidity_ratio: Array
    """Humidity ratio."""
    wet_ratio: Array
    """Share of the full cooling that is used, 0..1."""
    power_w: Array
    """Power of the pump, W."""


def evaporative_cooler(
    design: EvaporativeCoolerDesign,
    entering_degc: Quantity,
    humidity_ratio: Quantity,
    wet_bulb_degc: Quantity,
    wanted_degc: Quantity,
    *,
    enabled: NDArray[np.bool_] | bool = True,
) -> EvaporativelyCooledAir:
    """Cools air along its wet bulb, no further than `wanted_degc` (part of the medium is dry then).

    The air gains the water that it evaporates with the enthalpy of water at the wet bulb, so that
    at an effectiveness of 1 it would leave saturated at just that temperature.
    """
    entering, ratio, wet_bulb = entering_degc, humidity_ratio, wet_bulb_degc
    most = design.effectiveness * larger_of(entering - wet_bulb, 0.0)
    cooling = limited(entering - wanted_degc, 0.0, most) * enabled
    leaving = entering - cooling
    water = WATER_SPECIFIC_HEAT_J_KG_K * wet_bulb
    dry_part = enthalpy_j_kg(entering, ratio) - ratio * water - AIR_SPECIFIC_HEAT_J_KG_K * leaving
    vapour = VAPORISATION_J_KG + VAPOUR_SPECIFIC_HEAT_J_KG_K * leaving - water
    wet = cooling / larger_of(most, 1e-9)
    return EvaporativelyCooledAir(leaving, dry_part / vapour, wet, design.pump_power_w * wet)


def evaporative_cooler_water_kg_s(
    design: EvaporativeCoolerDesign,
    air_kg_s: Quantity,
    humidity_ratio: Quantity,
    leaving_humidity_ratio: Quantity,
) -> Array:
    """Make-up water for evaporation and blowdown, kg/s, at a flow of dry air through the medium."""
    evaporated = larger_of(leaving_humidity_ratio - humidity_ratio, 0.0) * air_kg_s
    cycles = design.cycles_of_concentration
    return evaporated * (cycles / (cycles - 1.0))
