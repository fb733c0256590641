"""The hall's moisture over a step: outdoor air, condensation, and a humidifier with its water.

One well-mixed store, solved exactly over a step in which flows are constant (exponential_step.py).
The humidifier is an electric steam boiler (EnergyPlus Engineering Reference,
Humidifier:Steam:Electric) that keeps air from falling below a dew point.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from rlkit_envs.data_center.elementwise import anywhere, choose, larger_of, smaller_of
from rlkit_envs.data_center.exponential_step import mean_weight
from rlkit_envs.data_center.psychrometrics import (
    VAPORISATION_J_KG,
    VAPOUR_SPECIFIC_HEAT_J_KG_K,
    WATER_SPECIFIC_HEAT_J_KG_K,
    Array,
    Quantity,
    saturation_pressure_pa,
)
from rlkit_envs.data_center.ranges import check_positive, check_ranges

STEAM_DEGC = 100.0
"""Temperature of the humidifier's steam."""


@dataclass(frozen=True)
class HumidityDesign:
    """Outdoor air that enters unasked, and the humidifier."""

    outdoor_air_m3_s: float = 0.1
    """Infiltration and ventilation, m3/s; for 2,000 m3 a change of air every 5.6 h (assumed)."""
    minimum_dew_point_degc: float = -9.0
    """Below it the humidifier runs, degC; ASHRAE TC 9.9 (2021) recommends -9 at the IT inlet."""
    humidifier_kg_s: float = 0.01
    """Most steam that the humidifier makes, kg/s; 0 for none."""
    boiler_efficiency: float = 0.9
    """Of the humidifier, above 0..1; its losses heat the hall."""
    feed_water_degc: float = 15.0
    """Of the humidifier's water, 0..50 degC."""

    def __post_init__(self) -> None:
        check_positive(self, "boiler_efficiency")
        check_ranges(
            self,
            outdoor_air_m3_s=(0.0, np.inf),
            minimum_dew_point_degc=(-40.0, 20.0),
            humidifier_kg_s=(0.0, np.inf),
            boiler_efficiency=(0.0, 1.0),
            feed_water_degc=(0.0, 50.0),
        )

    @cached_property
    def minimum_vapour_pa(self) -> float:
        """Vapour pressure at the minimum dew point, Pa."""
        return float(saturation_pressure_pa(self.minimum_dew_point_degc))


class HallHumidity(NamedTuple):
    """Moisture at the end of a step and over it; arrays of one shape."""

    humidity_ratio: Array
    mean_humidity_ratio: Array
    steam_kg_s: Array
    """Made by the humidifier, which is the water that it uses."""
    entering_humidity_ratio: Array
    """Mean of what entered the coil."""
    condensate_kg_s: Array
    """Taken out by the coil, 0 or more."""


class Humidifier(NamedTuple):
    """Power and heat of a humidifier; arrays of one shape."""

    power_w: Array
    sensible_heat_w: Array
    """Share of the power that warms the hall: the boiler's losses, and steam that cools to the
    hall's temperature. The rest is the enthalpy of the vapour over that of the feed water."""


def advance_humidity(
    design: HumidityDesign,
    humidity_ratio: Array,
    *,
    air_kg: Quantity,
    supply_kg_s: Quantity,
    entering_intercept: Quantity = 0.0,
    entering_slope: Quantity = 1.0,
    coil_intercept: Quantity,
    coil_slope: Quantity,
    outdoor_kg_s: Quantity,
    outdoor_humidity_ratio: Quantity,
    minimum_humidity_ratio: Quantity,
    step_s: float,
) -> HallHumidity:
    """The hall's humidity ratio after a step, from `humidity_ratio` at its beginning.

    M dW/dt = m_s (W_s - W) + m_o (W_o - W) + steam, W_s = c + d W_e, W_e = a + b W
    air_kg: M, dry air in the hall. supply_kg_s: m_s, at W_s.
    entering_intercept, entering_slope: a and b, 0..1, of what enters the coil: 0 and 1 for return
    air, r W_outdoors and 1 - r with a share r of outdoor air.
    coil_intercept, coil_slope: c and d, 0..1; 0 and 1 where it is dry. A coil that would give more
    water than it takes, because the hall dries out during the step, counts as dry.
    outdoor_kg_s, outdoor_humidity_ratio: m_o and W_o, of infiltration.
    minimum_humidity_ratio: that of the minimum dew point at this pressure. The humidifier makes
    the steady flow that ends the step at it, if the step would end below it, as far as it can.

    Put into the equation, the mean gives the change of the stored water to rounding.
    """

    def advance(intercept: Array, slope: Array) -> tuple[Array, Array, Array]:
        """For a supply of intercept + slope W: end, mean and steam."""
        rate = (supply_kg_s * (1.0 - slope) + outdoor_kg_s) / mass
        forcing = (supply_kg_s * intercept + infiltrated) / mass
        weight = step_s * mean_weight(-step_s * rate)
        unsteamed = humidity_ratio + weight * (forcing - rate * humidity_ratio)
        unsteamed = humidity_ratio + step_s * (forcing - rate * unsteamed)
        # End value per steady flow of steam: its own, less what the exchange of air takes along.
        gain = step_s * (1.0 - rate * weight) / mass
        steam = larger_of(minimum_humidity_ratio - unsteamed, 0.0) / gain
        steam = smaller_of(steam, design.humidifier_kg_s)
        forcing = forcing + steam / mass
        mean = humidity_ratio + weight * (forcing - rate * humidity_ratio)
        return humidity_ratio + step_s * (forcing - rate * mean), mean, steam

    mass = air_kg
    infiltrated = outdoor_kg_s * outdoor_humidity_ratio
    intercept = coil_intercept + coil_slope * entering_intercept
    end, mean, steam = advance(intercept, coil_slope * entering_slope)
    entering = entering_intercept + entering_slope * mean
    condensate = supply_kg_s * ((1.0 - coil_slope) * entering - coil_intercept)
    reversed_ = condensate < 0.0
    if anywhere(reversed_):  # per row the same with or without the others
        dry_end, dry_mean, dry_steam = advance(entering_intercept, entering_slope)
        end, mean = choose(reversed_, dry_end, end), choose(reversed_, dry_mean, mean)
        steam = choose(reversed_, dry_steam, steam)
        entering = entering_intercept + entering_slope * mean
        condensate = larger_of(condensate, 0.0)
    return HallHumidity(end, mean, steam, entering, condensate)


def operate_humidifier(
    design: HumidityDesign, steam_kg_s: Quantity, air_degc: Quantity
) -> Humidifier:
    """Electric power for a flow of steam of 100 degC, and what of it warms air of `air_degc`."""
    steam_j_kg = VAPORISATION_J_KG + VAPOUR_SPECIFIC_HEAT_J_KG_K * STEAM_DEGC
    boiling = steam_kg_s * (steam_j_kg - WATER_SPECIFIC_HEAT_J_KG_K * design.feed_water_degc)
    power = boiling / design.boiler_efficiency
    cooling = steam_kg_s * VAPOUR_SPECIFIC_HEAT_J_KG_K * (STEAM_DEGC - air_degc)
    return Humidifier(power, power - boiling + cooling)
