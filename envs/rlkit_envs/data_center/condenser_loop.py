"""The condenser water: one well-mixed mass of basin and pipes between the tower and what warms it.

Exchanger and chiller take it side by side, both return it warm, and the tower cools the mixture.
Off its steady state the water relaxes towards what the tower would make of the heat, along the
tower's curve as it slopes there. What is stored is to rounding what came in less what the tower
rejected. EnergyPlus has the same volume in its PlantLoop.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.cooling_tower import TowerDesign, TowerState, tower_balance
from rlkit_envs.data_center.elementwise import choose, larger_of
from rlkit_envs.data_center.psychrometrics import (
    WATER_DENSITY_KG_M3,
    WATER_SPECIFIC_HEAT_J_KG_K,
    Quantity,
)
from rlkit_envs.data_center.ranges import check_positive

Array = NDArray[np.float64]


@dataclass(frozen=True)
class CondenserWaterDesign:
    """The condenser-water loop."""

    volume_m3: float = 15.0
    """Water in the tower's basin, pipes and condenser, m3, above 0."""

    def __post_init__(self) -> None:
        check_positive(self, "volume_m3")

    @property
    def heat_capacity_j_k(self) -> float:
        """Heat that warms all the water by 1 K, J/K."""
        return self.volume_m3 * (WATER_DENSITY_KG_M3 * WATER_SPECIFIC_HEAT_J_KG_K)


class CondenserForecast(NamedTuple):
    """A step of the loop before its heat is known."""

    start_degc: Array
    """Water at the step's start, degC."""
    mean_degc: Array
    """Water that enters condenser and exchanger, mean over the step if the heat stays, degC."""
    expected_w: Array
    """Heat for which that holds, W."""
    steady_degc: Array
    """Water that the tower would make of that heat in the long run, degC."""
    warming_k_w: Array
    """Growth of `steady_degc` with the heat, K/W."""
    end_weight: Array
    """Share of the way to the steady state that the step covers, 0..1."""
    mean_weight: Array
    """The same in the mean over the step."""
    least_degc: float
    """Coldest that the tower's bypass lets the water become, degC."""
    water_w_k: Array
    """Heat capacity flow, W/K."""
    stored_w_k: float
    """Heat that warms all the water by 1 K in one step, W/K."""


class CondenserStep(NamedTuple):
    """A step of the loop; means, unless said otherwise."""

    end_degc: Array
    """Water at the step's end, degC."""
    tower_entering_degc: Array
    """Warm water that returns to the tower, degC."""
    rejected_w: Array
    """Heat that the tower rejected, W: what came in less what was stored."""
    overcooled: NDArray[np.bool_]
    """Whether the tower as it runs would make the water colder than its least in the long run."""


def forecast_condenser(
    design: CondenserWaterDesign,
    tower_design: TowerDesign,
    tower: TowerState,
    water_degc: Array,
    expected_w: Array,
    step_s: float,
) -> CondenserForecast:
    """Prepares a step from `water_degc`, with the heat of the step before as `expected_w`.

    The tower's range R follows the entering water E along a curve of slope dE/dR = 1 + w, w being
    the warming of the leaving water per kelvin of range. The mixed water T then obeys
    V dT/dt = m (T_steady - T) / (1 + w), V and m being the water's mass and flow.
    """
    water_w_k = tower.water_flow_kg_s * WATER_SPECIFIC_HEAT_J_KG_K
    cooled = tower_balance(tower, expected_w)
    least = tower_design.minimum_leaving_degc
    steady = larger_of(cooled.leaving_degc, least)
    stored_w_k = design.heat_capacity_j_k / step_s
    decay = water_w_k / ((1.0 + cooled.warming) * stored_w_k)
    end_weight = -np.expm1(-decay)
    mean_weight = 1.0 - end_weight / decay
    return CondenserForecast(
        start_degc=water_degc,
        mean_degc=water_degc + mean_weight * (steady - water_degc),
        expected_w=expected_w,
        steady_degc=cooled.leaving_degc,
        warming_k_w=cooled.warming / water_w_k,
        end_weight=end_weight,
        mean_weight=mean_weight,
        least_degc=least,
        water_w_k=water_w_k,
        stored_w_k=stored_w_k,
    )


def settle_condenser(forecast: CondenserForecast, heat_w: Quantity) -> CondenserStep:
    """The step with the heat that came in: of exchanger, condenser and condenser pump."""
    steady = forecast.steady_degc + forecast.warming_k_w * (heat_w - forecast.expected_w)
    overcooled = steady < forecast.least_degc
    warmer = choose(overcooled, forecast.least_degc, steady) - forecast.start_degc
    end = forecast.end_weight * warmer
    mean = forecast.start_degc + forecast.mean_weight * warmer
    return CondenserStep(
        end_degc=forecast.start_degc + end,
        tower_entering_degc=mean + heat_w / forecast.water_w_k,
        rejected_w=heat_w - end * forecast.stored_w_k,
        overcooled=overcooled,
    )
