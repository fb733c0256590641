"""A water-cooled electric chiller (EnergyPlus Chiller:Electric; Engineering Reference, chillers).

Three quadratics, after BLAST: capacity over one lift, power at full load over capacity, and power
over part load. One lift instead of two free temperatures is what keeps it monotone far from comfort
cooling's temperatures, where biquadratic chiller curves (Chiller:Electric:EIR) are extrapolations.

Departures from EnergyPlus: the lift stops where the capacity curve turns over (a still smaller lift
would cost power) and where the capacity has fallen to 0.3 (EnergyPlus ends the run below zero).
"""

from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.elementwise import choose, larger_of, limited, smaller_of

Array = NDArray[np.float64]
Quantity = Array | float

LEAST_CAPACITY_RATIO = 0.3
"""Capacity ratio at which the lift is cut off, with condenser water near 52 degC: hotter condensers
trip on head pressure (assumed), and a part load would cost less power for being harder to cool."""
LOST_REFRIGERANT_CAPACITY = 0.3
"""Share of the capacity that is gone when 40 % of the charge has leaked (assumed)."""
LOST_REFRIGERANT_POWER = 0.25
"""Extra power per cooling when 40 % of the charge has leaked (assumed)."""
FOULED_CONDENSER_K = 4.0
"""Colder water that would make up for a condenser with 45 % less conductance, K (assumed)."""


@dataclass(frozen=True)
class ChillerDesign:
    """One chiller, or several equal ones that share their load; defaults: EnergyPlus examples."""

    capacity_w: float = 1_000_000.0
    """Nominal capacity, W, as EnergyPlus has it: at the reference temperatures the curve gives
    0.945 of it."""
    cop: float = 5.0
    """Nominal capacity over nominal compressor power, 2 to 12."""
    minimum_part_load_ratio: float = 0.15
    """Load ratio below which the chiller cycles, its power in step, 0.05 to 0.5."""
    reference_condenser_degc: float = 29.44
    """Condenser water entering, at zero lift, degC."""
    reference_chilled_degc: float = 6.667
    """Chilled water leaving, at zero lift, degC."""
    condenser_per_chilled_kelvin: float = 2.682759
    """Kelvins of condenser water that weigh as much as one of chilled water, above 0."""
    capacity_coefficients: tuple[float, float, float] = (0.944836, -0.0570088, -0.00185486)
    """Available over nominal capacity, a quadratic of the lift; it falls and bends down."""
    power_coefficients: tuple[float, float, float] = (1.907846, -1.204987, 0.2634623)
    """Power per capacity at full load over its nominal value, a quadratic of the capacity ratio."""
    part_load_coefficients: tuple[float, float, float] = (0.03303, 0.6852, 0.2818)
    """Power over power at full load, a quadratic of the part-load ratio."""
    minimum_chilled_degc: float = 5.0
    """Coldest chilled water, degC, 3 to 15: against freezing in the evaporator."""

    def __post_init__(self) -> None:
        if not self.capacity_w > 0.0:
            raise ValueError(f"capacity_w is {self.capacity_w}: a chiller needs more than 0 W")
        if not 2.0 <= self.cop <= 12.0:
            raise ValueError(f"cop is {self.cop}: it must lie in 2..12")
        if not 0.05 <= self.minimum_part_load_ratio <= 0.5:
            raise ValueError(
                f"minimum_part_load_ratio is {self.minimum_part_load_ratio}: "
                "it must lie in 0.05..0.5"
            )
        if not self.condenser_per_chilled_kelvin > 0.0:
            raise ValueError(
                f"condenser_per_chilled_kelvin is {self.condenser_per_chilled_kelvin}: "
                "it must lie above 0"
            )
        if not 3.0 <= self.minimum_chilled_degc <= 15.0:
            raise ValueError(
                f"minimum_chilled_degc is {self.minimum_chilled_degc}: it must lie in 3..15 degC"
            )
        constant, linear, square = self.capacity_coefficients
        if not (constant > 2.0 * LEAST_CAPACITY_RATIO and linear < 0.0 and square < 0.0):
            raise ValueError(
                f"capacity_coefficients {self.capacity_coefficients}: capacity must be positive at "
                "zero lift, fall with lift and bend down"
            )
        ratios = np.linspace(LEAST_CAPACITY_RATIO, self.largest_capacity_ratio, 101)
        power = _quadratic(ratios, self.power_coefficients)
        if not (power > 0.0).all() or not (np.diff(power) < 0.0).all():
            raise ValueError(
                f"power_coefficients {self.power_coefficients}: power per capacity must be "
                f"positive and fall over capacity ratios {ratios[0]:.3g}..{ratios[-1]:.3g}"
            )
        # The same load must cost less at a smaller lift, though it is a smaller part load then.
        loads = np.linspace(self.minimum_part_load_ratio, 1.0, 18)[:, None] * ratios[0]
        loads = np.concatenate([loads, np.linspace(0.0, ratios[-1], 60)[:, None]])
        part_load = limited(loads / ratios, self.minimum_part_load_ratio, 1.0)
        cost = power * ratios * _quadratic(part_load, self.part_load_coefficients)
        cost = cost * smaller_of(loads / ratios / self.minimum_part_load_ratio, 1.0)
        carried = loads <= ratios
        if (np.diff(cost, axis=1) > 1e-9)[carried[:, :-1] & carried[:, 1:]].any():
            raise ValueError(
                f"part_load_coefficients {self.part_load_coefficients}: with the other curves a "
                "load would cost more power at a smaller lift"
            )

    @cached_property
    def smallest_lift_k(self) -> float:
        """Lift at which the capacity is largest, K: there the curve turns over."""
        _, linear, square = self.capacity_coefficients
        return -linear / (2.0 * square)

    @cached_property
    def largest_lift_k(self) -> float:
        """Lift at which the capacity ratio has fallen to `LEAST_CAPACITY_RATIO`, K."""
        constant, linear, square = self.capacity_coefficients
        root = sqrt(linear * linear - 4.0 * square * (constant - LEAST_CAPACITY_RATIO))
        return (-linear - root) / (2.0 * square)

    @cached_property
    def largest_capacity_ratio(self) -> float:
        """Capacity at the smallest lift over nominal capacity."""
        constant, linear, square = self.capacity_coefficients
        lift = -linear / (2.0 * square)
        return constant + (linear + square * lift) * lift


class ChillerState(NamedTuple):
    """What a chiller can do at its temperatures."""

    capacity_w: Array
    """Most heat that it can take from the chilled water, W; 0 when it is tripped or stopped."""
    full_load_power_w: Array
    """Compressor power at that capacity, W."""


class Chiller(NamedTuple):
    """What a chiller does in a step."""

    heat_w: Array
    """Heat taken from the chilled water, W."""
    power_w: Array
    """Compressor power, W."""
    condenser_heat_w: Array
    """Heat given to the condenser water, W: the sum of both."""
    part_load_ratio: Array
    """Heat over capacity, 0 to 1."""
    running_ratio: Array
    """Share of the time that it runs: below 1 where the load is under the least part load."""


def chiller_lift_k(
    design: ChillerDesign, chilled_degc: Quantity, condenser_degc: Quantity
) -> Array:
    """The lift that the curves know (EnergyPlus Chiller:Electric), within the design's limits, K.

    chilled_degc: chilled water leaving, as set (EnergyPlus takes the set point even where it is
    missed). condenser_degc: condenser water entering. 0 at the reference temperatures.
    """
    lift = condenser_degc - design.reference_condenser_degc
    lift = lift * (1.0 / design.condenser_per_chilled_kelvin)
    lift = lift - (chilled_degc - design.reference_chilled_degc)
    return smaller_of(larger_of(lift, design.smallest_lift_k), design.largest_lift_k)


def chiller_state(
    design: ChillerDesign,
    chilled_degc: Quantity,
    condenser_degc: Quantity,
    *,
    running: NDArray[np.bool_] | bool = True,
    refrigerant_loss: Quantity = 0.0,
    condenser_fouling: Quantity = 0.0,
) -> ChillerState:
    """Capacity and full-load power at these temperatures.

    running: False where the chiller is tripped or switched off. refrigerant_loss: severity 0..1, at
    1 with 40 % of the charge gone; capacity and efficiency fall with its square, as the liquid
    receiver feeds the evaporator at first (assumed). condenser_fouling: severity 0..1, at 1 with
    45 % less conductance, seen as warmer condenser water (assumed).
    """
    condenser_degc = condenser_degc + FOULED_CONDENSER_K * condenser_fouling
    lift = chiller_lift_k(design, chilled_degc, condenser_degc)
    ratio = _quadratic(lift, design.capacity_coefficients)
    power_ratio = _quadratic(ratio, design.power_coefficients)
    leak = refrigerant_loss * refrigerant_loss
    share = choose(running, 1.0 - LOST_REFRIGERANT_CAPACITY * leak, 0.0)
    capacity_w = design.capacity_w * ratio * share
    extra = 1.0 + LOST_REFRIGERANT_POWER * leak
    return ChillerState(capacity_w, capacity_w * power_ratio * (extra / design.cop))


def chiller(design: ChillerDesign, state: ChillerState, wanted_w: Quantity) -> Chiller:
    """Heat, power and condenser heat where `wanted_w` is to be taken from the chilled water.

    Above its capacity the chiller gives its capacity. Under the least part load it cycles: power as
    at that load times the share of the time that it runs, as in EnergyPlus, without losses.
    """
    capacity_w = state.capacity_w
    heat_w = smaller_of(larger_of(wanted_w, 0.0), capacity_w)
    part_load = heat_w / larger_of(capacity_w, 1e-9)
    least = design.minimum_part_load_ratio
    loaded = larger_of(part_load, least)
    share = _quadratic(loaded, design.part_load_coefficients)
    running = smaller_of(part_load * (1.0 / least), 1.0)
    power_w = state.full_load_power_w * share * running
    return Chiller(heat_w, power_w, heat_w + power_w, part_load, running)


def _quadratic(x: Array, coefficients: tuple[float, float, float]) -> Array:
    constant, linear, square = coefficients
    return (square * x + linear) * x + constant
