"""Servers: power and air flow against utilisation and inlet temperature, exhaust temperature.

The form is that of EnergyPlus' ElectricEquipment:ITE:AirCooled (Engineering Reference, zone
internal gains): processor power f(u, T) and air flow g(u, T) as biquadratic curves, fan power h(g)
as a cubic one; `energyplus_curves` gives the coefficients. airflow.py says where the air is from.
"""

from dataclasses import dataclass
from typing import NamedTuple

from rlkit_envs.data_center.elementwise import larger_of, smaller_of
from rlkit_envs.data_center.psychrometrics import (
    Array,
    Quantity,
    density_kg_m3,
    specific_heat_j_kg_k,
)
from rlkit_envs.data_center.ranges import check_positive, check_ranges

_REFERENCE_DEGC = 20.0
"""Inlet temperature at which the rated power is stated."""


@dataclass(frozen=True)
class ServerDesign:
    """All servers of a hall as one.

    With the defaults, the power including fans rises by 0.39 to 0.43 % of itself per kelvin, on
    average from 20 to 32 degC at any utilisation, and from 23 to 30 degC as well; measured in a
    colocation hall: 0.35 to 0.5 % per kelvin from 23 to 30 degC (Coroama 2025, arXiv 2509.26163).
    """

    rated_power_w: float = 1e6
    """Power without fans at full utilisation and 20 degC inlet, W."""
    idle_share: float = 0.35
    """Share of the rated power at zero utilisation, 0..1; measured servers: 0.2 to 0.6."""
    leakage_per_k: float = 5e-4
    """Rise of the power without fans, 1/K: silicon leaks more as it warms (assumed)."""
    rated_flow_m3_s_per_w: float = 1.1e-4
    """Air flow with fans at full speed over the rated power; EnergyPlus' example has 1e-4."""
    flow_idle_ratio: float = 0.40
    """Air flow over the rated one at zero utilisation and a cool inlet, 0..1 (assumed)."""
    flow_busy_ratio: float = 0.55
    """The same at full utilisation, `flow_idle_ratio`..1; 14 K between inlet and exhaust."""
    fan_threshold_degc: float = 22.0
    """Inlet temperature above which the firmware speeds fans up."""
    flow_rise_per_k2: float = 0.0014
    """Growth of the flow ratio with the square of the excess over the threshold, 1/K2."""
    flow_rise_busy_per_k: float = 0.007
    """Growth of the flow ratio with the excess, times utilisation, 1/K."""
    fan_ceiling_degc: float = 45.0
    """Inlet temperature above which fans no longer speed up."""
    shutdown_degc: tuple[float, float] = (50.0, 60.0)
    """Inlet temperatures at which the first and the last servers switch themselves off, degC; 45 is
    the most that ASHRAE's class A4 allows (assumed)."""
    restart_s: float = 7200.0
    """Time over which servers that switched themselves off come back, s (assumed)."""
    rated_fan_share: float = 0.17
    """Fan power at full speed over the rated power; 2.8 % remain at a cool inlet."""

    def __post_init__(self) -> None:
        check_positive(
            self, "rated_power_w", "rated_flow_m3_s_per_w", "flow_idle_ratio", "restart_s"
        )
        check_ranges(
            self,
            idle_share=(0.0, 1.0),
            leakage_per_k=(0.0, 0.02),
            flow_idle_ratio=(0.0, 1.0),
            flow_busy_ratio=(self.flow_idle_ratio, 1.0),
            fan_threshold_degc=(0.0, 45.0),
            flow_rise_per_k2=(0.0, 1.0),
            flow_rise_busy_per_k=(0.0, 1.0),
            fan_ceiling_degc=(self.fan_threshold_degc, 60.0),
            rated_fan_share=(0.0, 1.0),
        )
        first, last = self.shutdown_degc
        if not self.fan_ceiling_degc <= first < last <= 100.0:
            raise ValueError(
                f"ServerDesign.shutdown_degc is {self.shutdown_degc!r}, but must rise, from "
                f"{self.fan_ceiling_degc:g}, the fan ceiling, to at most 100"
            )

    @property
    def rated_flow_m3_s(self) -> float:
        """Air flow with all fans at full speed, m3/s."""
        return self.rated_power_w * self.rated_flow_m3_s_per_w


class ServerOperation(NamedTuple):
    """What servers draw and move; arrays of one shape."""

    compute_power_w: Array
    """Power without fans."""
    fan_power_w: Array
    flow_ratio: Array
    """Air flow over the rated one, 0..1."""
    flow_kg_s: Array
    """Dry air through the servers."""
    exhaust_degc: Array

    @property
    def power_w(self) -> Array:
        """Power with fans, all of which heats the air."""
        return self.compute_power_w + self.fan_power_w


class EnergyPlusCurves(NamedTuple):
    """Coefficients in the order of EnergyPlus' Curve:Biquadratic and Curve:Cubic objects."""

    compute_power: tuple[float, float, float, float, float, float]
    """Of x = utilisation and y = inlet temperature, over the rated power."""
    flow: tuple[float, float, float, float, float, float]
    """The same over the rated flow."""
    flow_degc: tuple[float, float]
    """Minimum and maximum of y for `flow`: the curve object holds it beyond them, as the firmware
    does. The maximum of its output is 1."""
    fan_power: tuple[float, float, float, float]
    """Of the flow ratio, over the rated fan power."""


def operate_servers(
    design: ServerDesign,
    utilisation: Quantity,
    inlet_degc: Quantity,
    inlet_humidity_ratio: Quantity,
    pressure_pa: Quantity,
) -> ServerOperation:
    """Power, air flow and exhaust of servers at `utilisation` (0..1), in steady state.

    With x the excess of the inlet over the fan threshold, held between 0 and its ceiling:
    compute power = rated (idle + (1 - idle) u) (1 + leakage (T - 20)),
    flow ratio g = idle + (busy - idle) u + x (rise x + busy rise u), at most 1,
    fan power = rated share g^3. Fans move volume: the mass follows the inlet's density.
    """
    power = _compute_power_ratio(design, utilisation, inlet_degc) * design.rated_power_w
    flow_ratio = air_flow_ratio(design, utilisation, inlet_degc)
    fan_power = flow_ratio * flow_ratio * flow_ratio
    fan_power *= design.rated_fan_share * design.rated_power_w
    flow = density_kg_m3(inlet_degc, inlet_humidity_ratio, pressure_pa)
    flow *= flow_ratio * design.rated_flow_m3_s
    heat_capacity = flow * specific_heat_j_kg_k(inlet_humidity_ratio)
    exhaust = inlet_degc + (power + fan_power) / heat_capacity
    return ServerOperation(power, fan_power, flow_ratio, flow, exhaust)


def shut_down_servers(
    design: ServerDesign,
    operation: ServerOperation,
    inlet_degc: Quantity,
    off_before: Quantity,
    step_s: float,
) -> tuple[ServerOperation, Array]:
    """The servers that still run at that inlet, and the share 0..1 that is off."""
    off = servers_off_ratio(design, inlet_degc, off_before, step_s)
    share = 1.0 - off
    running = operation._replace(
        compute_power_w=operation.compute_power_w * share,
        fan_power_w=operation.fan_power_w * share,
        flow_kg_s=operation.flow_kg_s * share,
    )
    return running, off


def servers_off_ratio(
    design: ServerDesign, inlet_degc: Quantity, off_before: Quantity, step_s: float
) -> Array:
    """Share 0..1 of the servers that have switched themselves off.

    All run below `shutdown_degc`, none above it, as many as lie between in proportion; what was off
    in the step before (off_before, 0..1) comes back over `restart_s`. This is what ends the heating
    of a hall that has lost its cooling.
    """
    first, last = design.shutdown_degc
    off = (inlet_degc - first) * (1.0 / (last - first))
    off = larger_of(off, off_before - step_s / design.restart_s)
    return smaller_of(larger_of(off, 0.0), 1.0)


def air_flow_ratio(design: ServerDesign, utilisation: Quantity, inlet_degc: Quantity) -> Array:
    """Air flow over the rated one, 0..1, as `operate_servers` has it."""
    ceiling = design.fan_ceiling_degc - design.fan_threshold_degc
    excess = larger_of(inlet_degc - design.fan_threshold_degc, 0.0)
    excess = smaller_of(excess, ceiling)
    ratio = design.flow_rise_per_k2 * excess + design.flow_rise_busy_per_k * utilisation
    ratio *= excess
    ratio += design.flow_idle_ratio
    ratio += (design.flow_busy_ratio - design.flow_idle_ratio) * utilisation
    return smaller_of(ratio, 1.0)


def energyplus_curves(design: ServerDesign) -> EnergyPlusCurves:
    """The same servers as curves of EnergyPlus; they agree to rounding (tested)."""
    idle, leakage = design.idle_share, design.leakage_per_k
    cool = 1.0 - leakage * _REFERENCE_DEGC
    threshold, rise = design.fan_threshold_degc, design.flow_rise_per_k2
    busy_rise = design.flow_rise_busy_per_k
    return EnergyPlusCurves(
        compute_power=(
            idle * cool,
            (1.0 - idle) * cool,
            0.0,
            idle * leakage,
            0.0,
            (1.0 - idle) * leakage,
        ),
        flow=(
            design.flow_idle_ratio + rise * threshold * threshold,
            design.flow_busy_ratio - design.flow_idle_ratio - busy_rise * threshold,
            0.0,
            -2.0 * rise * threshold,
            rise,
            busy_rise,
        ),
        flow_degc=(threshold, design.fan_ceiling_degc),
        fan_power=(0.0, 0.0, 0.0, 1.0),
    )


def _compute_power_ratio(
    design: ServerDesign, utilisation: Quantity, inlet_degc: Quantity
) -> Array:
    leakage = 1.0 + design.leakage_per_k * (inlet_degc - _REFERENCE_DEGC)
    leakage *= design.idle_share + (1.0 - design.idle_share) * utilisation
    return leakage
