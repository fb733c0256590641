"""The chilled water as one well-mixed mass between coils, plate exchanger and chiller.

Coils may give less and the exchanger take more as the water warms, both along straight lines; the
chiller works at a constant rate that brings the water to its set point at the end of the step where
it can. The balance is then linear and solved exactly, so that no water volume is too small for a
step, and what is stored is to rounding what came in less what was taken out.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.elementwise import anywhere, choose, everywhere, larger_of, smaller_of
from rlkit_envs.data_center.psychrometrics import (
    WATER_DENSITY_KG_M3,
    WATER_SPECIFIC_HEAT_J_KG_K,
    Quantity,
)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ChilledWaterDesign:
    """The chilled-water loop."""

    volume_m3: float = 12.0
    """Water in pipes, coils, evaporator and buffer tank, m3, above 0. EnergyPlus assumes what the
    pump moves in four minutes; data centres often add minutes of ride-through."""

    def __post_init__(self) -> None:
        if not self.volume_m3 > 0.0:
            raise ValueError(
                f"volume_m3 is {self.volume_m3}: a loop needs water; 36 kg/s fills 8.7 m3 in 4 min"
            )

    @property
    def heat_capacity_j_k(self) -> float:
        """Heat that warms all the water by 1 K, J/K."""
        return self.volume_m3 * (WATER_DENSITY_KG_M3 * WATER_SPECIFIC_HEAT_J_KG_K)


class ChilledWaterStep(NamedTuple):
    """One step of the loop, before it is known what can be taken out (`chilled_water_removal`)."""

    water_degc: Array
    """Water at the step's start."""
    load_w: Array
    """Heat into the water if it stayed at its first temperature, W."""
    load_slope_w_k: Quantity
    """Fall of that heat per kelvin that the water warms, W/K."""
    removed_slope_w_k: Quantity
    """Rise of the exchanger's heat per kelvin that the water warms, W/K."""
    end_gain_k_w: Array
    """Warming at the step's end per watt of imbalance at its start, exchanger at full, K/W."""
    mean_gain_k_w: Array
    """Warming in the step's mean per watt of imbalance at its start, exchanger at full, K/W."""
    wanted_w: Array
    """Imbalance that ends the step at the set point with the exchanger at full, W."""
    held_end_gain_k_w: Quantity
    """As `end_gain_k_w`, with the exchanger at a constant rate."""
    held_mean_gain_k_w: Quantity
    """As `mean_gain_k_w`, with the exchanger at a constant rate."""
    held_wanted_w: Array
    """As `wanted_w`, with the exchanger at a constant rate."""


class ChilledWaterRemoval(NamedTuple):
    """What is taken out of the water, in the mean over the step."""

    exchanger_w: Array
    """Heat to the plate exchanger, W."""
    chiller_w: Array
    """Heat to the chiller, W."""
    load_w: Array
    """Heat into the water, W."""
    mean_degc: Array
    """Water, mean over the step, degC."""
    end_degc: Array
    """Water at the step's end, degC."""


def chilled_water_step(
    design: ChilledWaterDesign,
    water_degc: Array,
    setpoint_degc: Quantity,
    load_w: Quantity,
    step_s: float,
    *,
    load_slope_w_k: Quantity = 0.0,
    removed_slope_w_k: Quantity = 0.0,
) -> ChilledWaterStep:
    """Prepares a step: what the exponentials of the loop need only once.

    load_w: heat from coils and pumps at `water_degc`; load_slope_w_k: its fall per kelvin that the
    water warms (0 where valves hold the heat; a saturated coil's effectiveness times its smaller
    heat capacity flow). removed_slope_w_k: rise of the heat that an exchanger at full flow takes,
    per kelvin that the water warms; 0 where it is off.
    """
    heat_capacity = design.heat_capacity_j_k
    per_watt = step_s / heat_capacity
    missing_k = setpoint_degc - water_degc
    held_end, held_mean = 1.0, 0.5
    if anywhere(load_slope_w_k != 0.0):  # rarely, and a slope of 0 gives the same either way
        held_end, held_mean = _gains(load_slope_w_k * per_watt)
    end, mean = _gains((load_slope_w_k + removed_slope_w_k) * per_watt)
    return ChilledWaterStep(
        water_degc=water_degc,
        load_w=load_w,
        load_slope_w_k=load_slope_w_k,
        removed_slope_w_k=removed_slope_w_k,
        end_gain_k_w=per_watt * end,
        mean_gain_k_w=per_watt * mean,
        wanted_w=missing_k / (per_watt * end),
        held_end_gain_k_w=per_watt * held_end,
        held_mean_gain_k_w=per_watt * held_mean,
        held_wanted_w=missing_k / (per_watt * held_end),
    )


def chiller_wanted_w(step: ChilledWaterStep, exchanger_w: Quantity) -> Array:
    """Heat that `chilled_water_removal` would leave to a chiller without limits, W, 0 or more."""
    chiller = step.load_w - exchanger_w - step.wanted_w
    active = exchanger_w + step.removed_slope_w_k * (step.wanted_w * step.mean_gain_k_w) > 0.0
    return larger_of(choose(active, chiller, step.load_w - step.held_wanted_w), 0.0)


def chilled_water_removal(
    step: ChilledWaterStep, exchanger_w: Quantity, capacity_w: Quantity
) -> ChilledWaterRemoval:
    """Solves the step: exchanger first, then the chiller, neither further than the set point.

    exchanger_w: heat that the exchanger would take at full flow at the step's first water
    temperature, below 0 where its other side is warmer; it is shut where the mean over the step
    would not be above 0. capacity_w: the chiller's capacity, 0 where it is off.
    """
    # With the exchanger at full flow, and the chiller for the rest.
    chiller = step.load_w - exchanger_w - step.wanted_w
    mean_k = (step.wanted_w + larger_of(chiller - capacity_w, 0.0)) * step.mean_gain_k_w
    active = exchanger_w + step.removed_slope_w_k * mean_k > 0.0
    full = active & (chiller >= 0.0)
    # With the exchanger, or where it is shut the chiller, at a constant rate.
    constant = larger_of(step.load_w - step.held_wanted_w, 0.0)
    chiller = choose(full, chiller, choose(active, 0.0, constant))
    chiller = smaller_of(larger_of(chiller, 0.0), capacity_w)
    exchanger = choose(active, constant, 0.0)

    imbalance = step.load_w - chiller - choose(full, exchanger_w, exchanger)
    mean_k = imbalance * choose(full, step.mean_gain_k_w, step.held_mean_gain_k_w)
    end_k = imbalance * choose(full, step.end_gain_k_w, step.held_end_gain_k_w)
    return ChilledWaterRemoval(
        exchanger_w=choose(full, exchanger_w + step.removed_slope_w_k * mean_k, exchanger),
        chiller_w=chiller,
        load_w=step.load_w - step.load_slope_w_k * mean_k,
        mean_degc=step.water_degc + mean_k,
        end_degc=step.water_degc + end_k,
    )


def _gains(exponent: Array) -> tuple[Array, Array]:
    """Means of exp(-x s) over s in 0..1, and of its running mean times s: 1 and 1/2 at x = 0."""
    small = exponent < 1e-4
    if everywhere(small):  # as where the exchanger is shut; each row gives the same either way
        return _gains_near_zero(exponent)
    safe = choose(small, 1.0, exponent)
    end = -np.expm1(-safe) / safe
    mean = (1.0 - end) / safe
    if not anywhere(small):
        return end, mean
    end_near_zero, mean_near_zero = _gains_near_zero(exponent)
    return choose(small, end_near_zero, end), choose(small, mean_near_zero, mean)


def _gains_near_zero(exponent: Array) -> tuple[Array, Array]:
    end = 1.0 - exponent * (0.5 - exponent / 6.0)
    return end, 0.5 - exponent * (1.0 / 6.0 - exponent / 24.0)
