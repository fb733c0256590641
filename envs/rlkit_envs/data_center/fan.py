"""The fan of an air handler, with variable speed: flow, power, the heat that it adds, wear.

Power after EnergyPlus' Fan:VariableVolume (Engineering Reference, air system fans): flow times
pressure over efficiency, times a polynomial of the flow ratio. The motor sits in the air stream, so
that all power heats the air.
Departure: a fan moves a volume, so that the mass follows the air's pressure; EnergyPlus takes the
standard pressure of the site's height throughout (within 3 % of it, and less in the mean).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rlkit_envs.data_center.elementwise import choose, larger_of
from rlkit_envs.data_center.psychrometrics import (
    Array,
    Quantity,
    density_kg_m3,
    specific_heat_j_kg_k,
)
from rlkit_envs.data_center.ranges import check_positive, check_ranges

VARIABLE_SPEED = (0.0015302446, 0.0052080574, 1.1086242, -0.11635563)
"""Power ratio of a fan with a variable-speed motor, coefficients of the flow ratio to the powers 0
to 3 (EnergyPlus Input Output Reference, Fan Coefficient Values): 27 % of the power for half the
flow."""
INLET_VANES = (0.35071223, 0.30850535, -0.54137364, 0.87198823)
"""The same for a fan of constant speed behind inlet vanes (same table): 48 % for half the flow."""
IDEAL_CUBE = (0.0, 0.0, 0.0, 1.0)
"""The fan laws without fixed losses: 12.5 % for half the flow."""

WORN_POWER = 0.15
"""Extra power of a fan worn to severity 1."""
WORN_FLOW = 0.3
"""Share of the flow that a fan worn to severity 1 loses."""
WORN_FLOW_FROM = 0.7
"""Severity from which on a worn fan loses flow."""

_WORN_FRICTION = WORN_POWER / float(np.expm1(3.0))

LEAST_FLOW_RATIO = 0.01
"""A fan commanded less than this stands still."""

_STANDARD_DEGC = 20.0
_LEAST_HEAT_CAPACITY_W_K = 1e-9
"""Far below what any running fan moves."""


@dataclass(frozen=True)
class FanDesign:
    """All fans of a hall's air handlers as one."""

    rated_flow_m3_s: float
    """Air flow at full speed, m3/s of dry air of 20 degC at the pressure of the time."""
    pressure_pa: float = 300.0
    """Rise of pressure at the rated flow, Pa."""
    efficiency: float = 0.7
    """Of fan and motor together, 0..1."""
    power_coefficients: tuple[float, float, float, float] = VARIABLE_SPEED
    """Power over rated power, by powers 0 to 3 of the flow ratio."""

    def __post_init__(self) -> None:
        check_positive(self, "rated_flow_m3_s", "pressure_pa", "efficiency")
        check_ranges(self, efficiency=(0.0, 1.0))
        ratios = np.linspace(0.0, 1.0, 101)
        powers = _polynomial(self.power_coefficients, ratios)
        if not (powers[0] >= 0.0 and np.all(np.diff(powers) > 0.0) and powers[-1] < 2.0):
            raise ValueError(
                f"FanDesign.power_coefficients is {self.power_coefficients!r}, but power must rise "
                "with the flow, from 0 or more to about 1"
            )

    @property
    def rated_power_w(self) -> float:
        """Flow times pressure over efficiency, W."""
        return self.rated_flow_m3_s * self.pressure_pa / self.efficiency


class FanOperation(NamedTuple):
    """What a fan does; arrays of one shape."""

    flow_kg_s: Array
    """Dry air delivered."""
    power_w: Array
    """Electric power, all of which heats the air."""
    rise_k: Array
    """By how much that warms the air; 0 without flow."""


def operate_fan(
    design: FanDesign,
    flow_ratio: Quantity,
    humidity_ratio: Quantity,
    pressure_pa: Quantity,
    *,
    wear: Quantity = 0.0,
) -> FanOperation:
    """Flow, power and warming of the air at a commanded flow ratio, 0..1; below 0.01 it is off.

    wear: severity of a worn bearing, 0..1. Friction adds 15 % (e^(3 wear) - 1) / (e^3 - 1) to the
    power: 1 % by a third of the way, 15 % at the end; beyond 0.7 the fan slips and delivers less
    than commanded, at last 30 % less (both assumed; worn fans have shown 2 to 15 %).
    """
    running = flow_ratio >= LEAST_FLOW_RATIO
    ratio = choose(running, flow_ratio, 0.0)
    friction = 1.0 + _WORN_FRICTION * np.expm1(3.0 * wear)
    slip = larger_of(wear - WORN_FLOW_FROM, 0.0) * (WORN_FLOW / (1.0 - WORN_FLOW_FROM))
    power = _polynomial(design.power_coefficients, ratio)
    power = power * friction * choose(running, design.rated_power_w, 0.0)
    density = density_kg_m3(_STANDARD_DEGC, 0.0, pressure_pa)
    flow = ratio * (1.0 - slip) * design.rated_flow_m3_s * density
    heat_capacity = flow * specific_heat_j_kg_k(humidity_ratio)
    rise = power / larger_of(heat_capacity, _LEAST_HEAT_CAPACITY_W_K)
    return FanOperation(flow, power, rise)


def _polynomial(coefficients: tuple[float, float, float, float], ratio: Array) -> Array:
    constant, linear, square, cube = coefficients
    return ((cube * ratio + square) * ratio + linear) * ratio + constant
