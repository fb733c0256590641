"""The hall's heat: well-mixed air, and the metal (racks, servers, floor) in contact with it.

Two nodes, solved exactly over a step in which flows, powers and outdoor air are constant
(exponential_step.py), so that a step may be much longer than the time constant of the air.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rlkit_envs.data_center.elementwise import choose
from rlkit_envs.data_center.exponential_step import mean_weight, mean_weight_difference
from rlkit_envs.data_center.psychrometrics import Array, Quantity
from rlkit_envs.data_center.ranges import check_positive, check_ranges


@dataclass(frozen=True)
class HallDesign:
    """The hall as two heat stores; the defaults suit about 1 MW of servers."""

    air_volume_m3: float = 2000.0
    """Air in the hall, m3: 500 m2 of floor, 4 m high."""
    metal_heat_capacity_j_k: float = 30e6
    """Racks, servers and floor, J/K: 60 t of 500 J/(kg K) (assumed: 100 racks of 600 kg)."""
    metal_conductance_w_k: float = 30e3
    """Between metal and air, W/K; with the default above, a time constant of 17 min (assumed)."""
    envelope_conductance_w_k: float = 500.0
    """Walls and roof, between hall air and outdoors, W/K."""

    def __post_init__(self) -> None:
        check_positive(self, "air_volume_m3", "metal_heat_capacity_j_k")
        check_ranges(
            self,
            metal_conductance_w_k=(0.0, np.inf),
            envelope_conductance_w_k=(0.0, np.inf),
        )


class HallTemperatures(NamedTuple):
    """Temperatures at the end of a step and their means over it; arrays of one shape."""

    air_degc: Array
    metal_degc: Array
    mean_air_degc: Array
    mean_metal_degc: Array


def advance_hall(
    design: HallDesign,
    air_degc: Array,
    metal_degc: Array,
    *,
    air_heat_capacity_j_k: Quantity,
    heat_w: Quantity,
    supply_conductance_w_k: Quantity,
    supply_intercept_degc: Quantity,
    supply_slope: Quantity = 0.0,
    outdoor_conductance_w_k: Quantity,
    outdoor_degc: Quantity,
    step_s: float,
) -> HallTemperatures:
    """The hall after a step, from `air_degc` and `metal_degc` at its beginning.

    C_a dT_a/dt = Q + G (a + b T_a - T_a) + K (T_m - T_a) + U (T_o - T_a)
    C_m dT_m/dt = K (T_a - T_m)
    air_heat_capacity_j_k: C_a, mass of air times c_p. heat_w: Q, of servers, losses and the like.
    supply_conductance_w_k: G, supply flow times c_p. The supply comes at a + b T_a, b in 0..1:
    b is 0 at a set point that is met, 1 where return air is supplied as it is.
    outdoor_conductance_w_k: U, the envelope's plus infiltration times c_p.

    Put into both equations, the means give the change of the stored heat to rounding.
    """
    metal = design.metal_conductance_w_k
    cooling = supply_conductance_w_k * (1.0 - supply_slope) + outdoor_conductance_w_k
    forcing = heat_w + supply_conductance_w_k * supply_intercept_degc
    forcing = forcing + outdoor_conductance_w_k * outdoor_degc

    # Rates and eigenvalues, all times the step.
    step_per_capacity = step_s / air_heat_capacity_j_k
    from_air = (cooling + metal) * step_per_capacity
    exchange = metal * step_per_capacity
    from_metal = metal * step_s / design.metal_heat_capacity_j_k
    half_difference = 0.5 * (from_air - from_metal)
    root = np.sqrt(half_difference * half_difference + exchange * from_metal)
    fast = -(0.5 * (from_air + from_metal) + root)
    # By the product of the eigenvalues, since their sum would cancel; likewise what is left of the
    # matrix's diagonal, less the fast eigenvalue: root -/+ half the difference.
    below = choose(fast < 0.0, fast, -1.0)
    slow = cooling * step_per_capacity * from_metal / below
    larger = root + abs(half_difference)
    smaller = exchange * from_metal / choose(larger > 0.0, larger, 1.0)
    air_left = choose(half_difference > 0.0, smaller, larger)
    metal_left = choose(half_difference > 0.0, larger, smaller)

    apart = metal_degc - air_degc
    air_change = step_per_capacity * (forcing - cooling * air_degc + metal * apart)
    metal_change = -from_metal * apart
    # phi_2 of the matrix times the changes, in Newton's form: what decays fast, then what does not.
    weight = mean_weight(fast)
    difference = mean_weight_difference(slow, fast)
    air_curve = air_left * air_change + exchange * metal_change
    metal_curve = from_metal * air_change + metal_left * metal_change
    mean_air = air_degc + weight * air_change + difference * air_curve
    mean_metal = metal_degc + weight * metal_change + difference * metal_curve

    mean_apart = mean_metal - mean_air
    air = air_degc + step_per_capacity * (forcing - cooling * mean_air + metal * mean_apart)
    return HallTemperatures(air, metal_degc - from_metal * mean_apart, mean_air, mean_metal)
