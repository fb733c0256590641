"""The valve of a chilled-water coil: the water flow that brings air to a temperature.

Effectiveness against the water flow, at given air, with Newton's method on it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.elementwise import choose, larger_of, limited, smaller_of
from rlkit_envs.data_center.psychrometrics import Array, Quantity

WATER_EXPONENT = 0.85
"""The conductance of the water's side goes with the flow to this power (Holmes 1982, as Wetter 1999
and EnergyPlus have it; Dittus and Boelter's 0.8 is for smooth tubes)."""
LEAST_EFFECTIVENESS = 1e-9
_LEAST_GROWTH = 1e-12
_NEWTON_STEPS = 4


class CoilAir(NamedTuple):
    """What a coil has to work with."""

    air_degc: Array
    target_degc: Array
    drop_k: Array
    """Entering air over entering water, not 0."""
    stuck: NDArray[np.bool_]
    most_ratio: Array
    """Water flow with the valve as open as it can be."""
    conductance_w_k: Array
    air_resistance: Array
    """Share of 1 / conductance."""
    capacity_w_k: Array
    """Heat capacity flow of the dry air."""
    water_resistance: Quantity
    """Share of 1 / conductance at the rated water flow."""
    rated_water_w_k: Quantity
    """Heat capacity flow of the rated water flow."""


class CoilReach(NamedTuple):
    """How near a coil comes to its target."""

    leaving_degc: Array
    water_ratio: Array
    effectiveness: Array
    """With the valve as open as it can be."""
    controlled: NDArray[np.bool_]
    """Whether the valve need not be that open."""


def reach(
    air: CoilAir,
    total_heat_ratio: Array | float = 1.0,
    start_water_ratio: Array | None = None,
    newton_steps: int = _NEWTON_STEPS,
) -> CoilReach:
    """Leaving air and valve for a ratio of total, that is sensible and latent, to sensible heat.

    start_water_ratio: a position above 0 from which the search goes on; found where it is None.
    """
    valve = _ValveCurve(air, total_heat_ratio)
    point = valve.at(air.most_ratio)
    effectiveness = point.effectiveness
    coldest = air.air_degc - effectiveness * air.drop_k
    controlled = choose(air.stuck, False, coldest <= air.target_degc)
    wanted = choose(controlled, (air.air_degc - air.target_degc) / air.drop_k, effectiveness)
    wanted = smaller_of(larger_of(wanted, LEAST_EFFECTIVENESS), effectiveness)
    if start_water_ratio is None:
        start = valve.start(wanted, air.most_ratio, point)
    else:
        start = air.most_ratio / start_water_ratio
    water_ratio = valve.water_ratio(wanted, air.most_ratio, start, newton_steps)
    return CoilReach(
        choose(controlled, air.target_degc, coldest),
        choose(controlled, water_ratio, air.most_ratio),
        effectiveness,
        controlled,
    )


def water_share(air: CoilAir, reached: CoilReach) -> Array:
    """Share of the water's side in the resistance of the dry coil at its valve."""
    water_resistance = air.water_resistance * np.power(reached.water_ratio, -WATER_EXPONENT)
    return water_resistance / (water_resistance + air.air_resistance)


class _Point(NamedTuple):
    """A coil at one water flow."""

    effectiveness: Array
    """On the air's side, above 0."""
    water_resistance: Array
    resistance: Array
    ratio: Array
    """Heat capacity flow of the water over that of the air."""
    smaller: Array
    """The smaller heat capacity flow over that of the air."""
    inner: Array
    relief: Array
    outer: Array
    complement: Array


class _ValveCurve:
    """Effectiveness on the air's side against the water flow, for given air."""

    def __init__(self, air: CoilAir, total_heat_ratio: Array | float) -> None:
        """Resistances are shares of 1 / conductance; capacity is the air's heat capacity flow."""
        capacity = air.capacity_w_k * total_heat_ratio
        self.air_resistance = air.air_resistance / total_heat_ratio
        self.water_resistance = air.water_resistance
        self.transfer_units = air.conductance_w_k / capacity
        self.capacity_ratio = air.rated_water_w_k / capacity

    def at(self, water_ratio: Array) -> _Point:
        """The point of that water flow, above 0."""
        water_resistance = self.water_resistance * np.power(water_ratio, -WATER_EXPONENT)
        resistance = self.air_resistance + water_resistance
        ratio = self.capacity_ratio * water_ratio
        smaller = smaller_of(ratio, 1.0)
        capacity_ratio = smaller / larger_of(ratio, 1.0)
        transfer_units = self.transfer_units / (resistance * smaller)
        # As in `cross_flow_effectiveness`, in pieces for the derivative.
        root = np.power(transfer_units, 0.22)
        inner = capacity_ratio * (transfer_units / root)
        relief = np.expm1(-inner)
        outer = root / capacity_ratio
        complement = np.expm1(relief * outer)
        return _Point(
            -complement * smaller,
            water_resistance,
            resistance,
            ratio,
            smaller,
            inner,
            relief,
            outer,
            complement,
        )

    def growth(self, point: _Point) -> Array:
        """Derivative of the effectiveness by the logarithm of the water flow, above 0."""
        water_smaller = point.ratio < 1.0
        # Logarithmic derivatives of the two dimensionless groups.
        units_growth = WATER_EXPONENT * point.water_resistance / point.resistance - water_smaller
        ratio_growth = choose(water_smaller, 1.0, -1.0)
        exponent_growth = point.relief * (0.22 * units_growth - ratio_growth)
        inner = (point.relief + 1.0) * point.inner
        exponent_growth -= inner * (ratio_growth + 0.78 * units_growth)
        growth = -(point.complement + 1.0) * point.smaller * point.outer * exponent_growth
        growth += water_smaller * point.effectiveness
        return growth

    def start(self, wanted: Array, most_ratio: Array, point: _Point) -> Array:
        """Throttling, most_ratio over the flow, that is near the effectiveness wanted.

        point: that of `most_ratio`. 1 / effectiveness against 1 / flow is nearly a hyperbola: flat
        where the air limits, straight where the water does. This is the one of that kind through
        the known point with its slope.
        """
        effectiveness, growth = point.effectiveness, self.growth(point)
        most_capacity_ratio = self.capacity_ratio * most_ratio
        slope = most_capacity_ratio * growth / (effectiveness * effectiveness)
        flatness = smaller_of(effectiveness / most_capacity_ratio, 1.0 - 1e-9)
        power = 1.0 + np.log(larger_of(slope, _LEAST_GROWTH)) / np.log(flatness)
        power = limited(power, 1.3, 6.0)
        start = np.power(wanted, -power) - np.power(effectiveness, -power)
        start += np.power(most_capacity_ratio, -power)
        return most_capacity_ratio * np.power(start, 1.0 / power)

    def water_ratio(
        self, wanted: Array, most_ratio: Array, throttling: Array, newton_steps: int
    ) -> Array:
        """The flow of that effectiveness, which is at most that of `most_ratio`.

        Newton's method on 1 / effectiveness against the throttling.
        """
        # No more heat goes into the water than brings it to the air's temperature.
        limit = self.capacity_ratio * most_ratio / wanted
        throttling = smaller_of(larger_of(throttling, 1.0), limit)
        for _ in range(newton_steps):
            point = self.at(most_ratio / throttling)
            missed = point.effectiveness * (1.0 - point.effectiveness / wanted)
            growth = larger_of(self.growth(point), _LEAST_GROWTH)
            throttling = throttling * (1.0 - missed / growth)
            throttling = smaller_of(larger_of(throttling, 1.0), limit)
        return most_ratio / throttling
