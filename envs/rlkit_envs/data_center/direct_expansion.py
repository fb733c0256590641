"""A direct-expansion coil with an air-cooled condenser (EnergyPlus Coil:Cooling:DX:SingleSpeed).

Capacity and power over entering wet bulb, outdoor dry bulb and air flow; sensible and latent heat
by the apparatus dew point and bypass factor; cycling by a part-load fraction (Engineering
Reference, single-speed DX cooling coil). The curves are those of the DOE reference small office
(temperature, part load) and of EnergyPlus's heat-pump examples (flow).

A dry coil does not feel humidity: as EnergyPlus, its curves are evaluated at the wet bulb at which
it would just begin to be wet. Departures: the curves' inputs are held to their tested range, the
outdoor one at its lower end because head-pressure control holds condensing there; balances take a
fixed number of steps.
"""

from dataclasses import dataclass
from functools import cached_property
from math import log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.elementwise import choose, filled, larger_of, limited, smaller_of
from rlkit_envs.data_center.psychrometrics import (
    VAPORISATION_J_KG,
    VAPOUR_MASS_RATIO,
    VAPOUR_SPECIFIC_HEAT_J_KG_K,
    WATER_SPECIFIC_HEAT_J_KG_K,
    Quantity,
    dry_bulb_degc,
    enthalpy_j_kg,
    saturation_pressure_pa,
    specific_heat_j_kg_k,
)
from rlkit_envs.data_center.psychrometrics import (
    wet_bulb_degc as thermodynamic_wet_bulb_degc,
)
from rlkit_envs.data_center.selected_rows import SelectedRows

Array = NDArray[np.float64]
Biquadratic = tuple[float, float, float, float, float, float]

LOST_REFRIGERANT_CAPACITY = 0.3
"""Share of the capacity that is gone when 40 % of the charge has leaked (assumed)."""
LOST_REFRIGERANT_POWER = 0.25
"""Extra power per cooling when 40 % of the charge has leaked (assumed)."""
FOULED_CONDENSER_K = 6.0
"""Colder air that would make up for a condenser with 45 % less conductance, K (assumed)."""

_DRY_STEPS = 4
_WET_STEPS = 3
_COLDEST_SURFACE = -20.0


@dataclass(frozen=True)
class DirectExpansionDesign:
    """One unit, or several equal ones that share their load."""

    capacity_w: float = 100_000.0
    """Total capacity, W, at rated flow, 19.4 degC entering wet bulb and 35 degC outdoors."""
    cop: float = 3.5
    """Capacity over power of compressor and condenser fan at the rated point, 1.5 to 7."""
    air_flow_kg_s: float = 7.0
    """Dry air at the rated point, kg/s; 4e-5 to 1.2e-4 kg/s per watt of capacity."""
    bypass_factor: float = 0.1
    """Share of the air that passes the rated coil untouched, 0.01 to 0.4."""
    capacity_over_temperatures: Biquadratic = (
        0.9712123,
        -0.015275502,
        0.0014434524,
        -0.00039321,
        -0.0000068364,
        -0.0002905956,
    )
    """Capacity ratio over entering wet bulb x and outdoor dry bulb y: 1, x, x2, y, y2, xy."""
    power_over_temperatures: Biquadratic = (
        0.28687133,
        0.023902164,
        -0.000810648,
        0.013458546,
        0.0003389364,
        -0.0004870044,
    )
    """Ratio of power per capacity over the same."""
    capacity_over_flow: tuple[float, float, float] = (0.8, 0.2, 0.0)
    """Capacity ratio over the ratio of air flow to rated air flow, a quadratic."""
    power_over_flow: tuple[float, float, float] = (1.1552, -0.1808, 0.0256)
    """Ratio of power per capacity over the ratio of air flow to rated air flow, a quadratic."""
    part_load_fraction: tuple[float, float, float] = (0.90949556, 0.09864773, -0.00819488)
    """Part-load ratio over running time, a quadratic of the part-load ratio; at least 0.7."""
    wet_bulb_range_degc: tuple[float, float] = (12.8, 23.9)
    """Entering wet bulbs that the curves know, degC."""
    outdoor_range_degc: tuple[float, float] = (18.0, 46.1)
    """Outdoor dry bulbs that the curves know, degC."""
    flow_range: tuple[float, float] = (0.5, 1.5)
    """Flow ratios that the curves know."""

    def __post_init__(self) -> None:
        if not self.capacity_w > 0.0:
            raise ValueError(f"capacity_w is {self.capacity_w}: a coil needs more than 0 W")
        if not 1.5 <= self.cop <= 7.0:
            raise ValueError(f"cop is {self.cop}: it must lie in 1.5..7")
        if not 4e-5 <= self.air_flow_kg_s / self.capacity_w <= 1.2e-4:
            raise ValueError(
                f"air_flow_kg_s is {self.air_flow_kg_s}: at {self.capacity_w:g} W it must lie in "
                f"{4e-5 * self.capacity_w:g}..{1.2e-4 * self.capacity_w:g}"
            )
        if not 0.01 <= self.bypass_factor <= 0.4:
            raise ValueError(f"bypass_factor is {self.bypass_factor}: it must lie in 0.01..0.4")
        for name in ("wet_bulb_range_degc", "outdoor_range_degc", "flow_range"):
            least, largest = getattr(self, name)
            if not least < largest:
                raise ValueError(f"{name} is {(least, largest)}: it must rise")
        wet, outdoor = np.meshgrid(
            np.linspace(*self.wet_bulb_range_degc, 23), np.linspace(*self.outdoor_range_degc, 29)
        )
        capacity = _biquadratic(wet, outdoor, self.capacity_over_temperatures)
        power = _biquadratic(wet, outdoor, self.power_over_temperatures)
        if capacity.min() <= 0.0 or (np.diff(capacity, axis=0) > 0.0).any():
            raise ValueError(
                "capacity_over_temperatures must be positive and fall as the outdoor air warms, "
                f"within {self.wet_bulb_range_degc} and {self.outdoor_range_degc} degC"
            )
        if power.min() <= 0.0 or (np.diff(power, axis=0) < 0.0).any():
            raise ValueError(
                "power_over_temperatures must be positive and rise as the outdoor air warms, "
                f"within {self.wet_bulb_range_degc} and {self.outdoor_range_degc} degC"
            )

    @cached_property
    def rated_sensible_heat_ratio(self) -> float:
        """Sensible over total heat at 26.7 degC, wet bulb 19.4 degC and sea level, as EnergyPlus
        asks for it in place of the bypass factor."""
        entering, pressure = np.array([26.67]), np.array([101_325.0])
        saturated = _saturation(np.array([19.44]), pressure)[0]
        liquid = WATER_SPECIFIC_HEAT_J_KG_K * 19.44
        enthalpy = enthalpy_j_kg(19.44, saturated) - saturated * liquid
        dry = specific_heat_j_kg_k(0.0) * entering
        vapour = VAPORISATION_J_KG + VAPOUR_SPECIFIC_HEAT_J_KG_K * entering - liquid
        ratio = (enthalpy - dry) / vapour
        drop = np.array([self.capacity_w / self.air_flow_kg_s / (1.0 - self.bypass_factor)])
        surface_ratio = _surface_humidity(entering, ratio, drop, pressure)
        moisture = larger_of(ratio - surface_ratio, 0.0)
        latent = moisture * (VAPORISATION_J_KG + VAPOUR_SPECIFIC_HEAT_J_KG_K * entering)
        return float((1.0 - latent / drop)[0])


class DirectExpansionState(NamedTuple):
    """What a coil can do in its air and weather."""

    capacity_w: Array
    """Total heat at full load, W; 0 when it is tripped or stopped."""
    sensible_capacity_w: Array
    """Sensible heat at full load, W."""
    power_w: Array
    """Power of compressor and condenser fan at full load, W."""
    condensate_kg_s: Array
    """Water condensed at full load, kg/s."""
    entering_degc: Array
    """Entering dry bulb."""
    humidity_ratio: Array
    """Entering humidity ratio."""
    air_kg_s: Array
    """Dry air through the coil, kg/s."""
    touching_ratio: Array
    """Share of the air that touches the surface, 0..1."""


class DirectExpansion(NamedTuple):
    """What a coil does in a step."""

    sensible_w: Array
    """Sensible heat taken from the air, W."""
    heat_w: Array
    """Total heat taken from the air, W: dry-air flow times the fall of its enthalpy."""
    power_w: Array
    """Power of compressor and condenser fan, W."""
    condenser_heat_w: Array
    """Heat given to the outdoor air, W."""
    condensate_kg_s: Array
    """Water condensed, kg/s."""
    leaving_degc: Array
    """Leaving dry bulb, mean over the step."""
    leaving_humidity_ratio: Array
    """Leaving humidity ratio, mean over the step."""
    part_load_ratio: Array
    """Heat over capacity, 0..1."""


def direct_expansion_state(
    design: DirectExpansionDesign,
    entering_degc: Array,
    humidity_ratio: Array,
    wet_bulb_degc: Quantity | None,
    air_kg_s: Array,
    outdoor_degc: Quantity,
    pressure_pa: Quantity,
    *,
    running: NDArray[np.bool_] | bool = True,
    refrigerant_loss: Quantity = 0.0,
    condenser_fouling: Quantity = 0.0,
) -> DirectExpansionState:
    """Capacity, sensible share and power of the coil at full load.

    wet_bulb_degc: of the entering air; it counts only where the coil is wet, and None has it worked
    out there. running: False where the unit is tripped or off. refrigerant_loss, condenser_fouling:
    severities 0..1, at 1 with 40 % of the charge and 45 % of the conductance lost; the leak acts
    with its square (assumed).
    """
    entering, ratio, pressure = entering_degc, humidity_ratio, pressure_pa
    flow = larger_of(air_kg_s, 1e-6)
    outdoor = outdoor_degc + FOULED_CONDENSER_K * condenser_fouling
    outdoor = limited(outdoor, *design.outdoor_range_degc)
    leak = refrigerant_loss * refrigerant_loss

    flow_ratio = flow / design.air_flow_kg_s
    known_flow = limited(flow_ratio, *design.flow_range)
    most_w = design.capacity_w * (1.0 - LOST_REFRIGERANT_CAPACITY * leak)
    most_w = most_w * _quadratic(known_flow, design.capacity_over_flow)
    # Bypass falls exponentially with the time that air spends in the coil.
    touched = -np.expm1(log(design.bypass_factor) / larger_of(flow_ratio, 0.05))
    drop_j_kg = most_w / (flow * touched)  # down to the surface, at a capacity ratio of 1

    dry_wet_bulb, dry_ratio = _driest(design, entering, outdoor, drop_j_kg, pressure)
    wet = ratio > dry_ratio
    wet_bulb, rows = dry_wet_bulb, SelectedRows(wet)
    if rows.any:
        if wet_bulb_degc is None:
            found = thermodynamic_wet_bulb_degc(*map(rows.taken, (entering, ratio, pressure)))
        else:
            found = rows.taken(wet_bulb_degc)
        wet_bulb = rows.replaced(dry_wet_bulb, found)
    wet_bulb = limited(wet_bulb, *design.wet_bulb_range_degc)
    share = _biquadratic(wet_bulb, outdoor, design.capacity_over_temperatures)
    surface_ratio = _surface_humidity(entering, ratio, drop_j_kg * share, pressure)
    moisture = choose(wet, larger_of(ratio - surface_ratio, 0.0), 0.0) * touched

    on = running & (air_kg_s > 0.0)
    condensate = moisture * flow * on
    capacity_w = most_w * share * on
    latent_w = condensate * (VAPORISATION_J_KG + VAPOUR_SPECIFIC_HEAT_J_KG_K * entering)
    per_watt = _biquadratic(wet_bulb, outdoor, design.power_over_temperatures)
    per_watt = per_watt * _quadratic(known_flow, design.power_over_flow)
    per_watt = per_watt * ((1.0 + LOST_REFRIGERANT_POWER * leak) / design.cop)
    return DirectExpansionState(
        capacity_w,
        capacity_w - latent_w,
        capacity_w * per_watt,
        condensate,
        entering,
        ratio,
        flow,
        touched,
    )


def direct_expansion(
    design: DirectExpansionDesign, state: DirectExpansionState, wanted_w: Quantity
) -> DirectExpansion:
    """Heat, power and leaving air where `wanted_w` of sensible heat is to be taken from the air.

    The unit cycles: it runs for part-load ratio / part-load fraction of the time (EnergyPlus), and
    what leaves is the mean.
    """
    part_load = limited(wanted_w / larger_of(state.sensible_capacity_w, 1e-9), 0.0, 1.0)
    part_load = choose(state.capacity_w > 0.0, part_load, 0.0)
    fraction = larger_of(_quadratic(part_load, design.part_load_fraction), 0.7)
    power_w = state.power_w * smaller_of(part_load / fraction, 1.0)
    heat_w = state.capacity_w * part_load
    condensate = state.condensate_kg_s * part_load
    leaving_ratio = state.humidity_ratio - condensate / state.air_kg_s
    enthalpy = enthalpy_j_kg(state.entering_degc, state.humidity_ratio) - heat_w / state.air_kg_s
    return DirectExpansion(
        sensible_w=state.sensible_capacity_w * part_load,
        heat_w=heat_w,
        power_w=power_w,
        condenser_heat_w=heat_w + power_w,
        condensate_kg_s=condensate,
        leaving_degc=dry_bulb_degc(enthalpy, leaving_ratio),
        leaving_humidity_ratio=leaving_ratio,
        part_load_ratio=part_load,
    )


def _driest(
    design: DirectExpansionDesign,
    entering_degc: Array,
    outdoor_degc: Array,
    drop_j_kg: Array,
    pressure_pa: Array,
) -> tuple[Array, Array]:
    """Wet bulb and humidity of the moistest air of that dry bulb that leaves the coil dry.

    Its humidity is that of saturation at the surface, which its own wet bulb decides through the
    capacity: a weak dependence, so that each round cuts the error to about a fifth.
    """
    share, ratio = filled(1.0, drop_j_kg), filled(0.0, drop_j_kg)
    wet_bulb = entering_degc
    for index in range(_DRY_STEPS):
        fall = drop_j_kg * share / specific_heat_j_kg_k(ratio)
        surface = larger_of(entering_degc - fall, _COLDEST_SURFACE)
        ratio, _ = _saturation(surface, pressure_pa)
        if index == 0:
            wet_bulb = surface + 0.4 * (entering_degc - surface)
        wet_bulb = _wet_bulb_step(wet_bulb, entering_degc, ratio, pressure_pa)
        known = limited(wet_bulb, *design.wet_bulb_range_degc)
        share = _biquadratic(known, outdoor_degc, design.capacity_over_temperatures)
    return wet_bulb, ratio


def _wet_bulb_step(
    wet_bulb_degc: Array, dry_bulb: Array, humidity_ratio: Array, pressure_pa: Array
) -> Array:
    """One Newton step towards the thermodynamic wet bulb."""
    saturated, slope = _saturation(wet_bulb_degc, pressure_pa)
    liquid = WATER_SPECIFIC_HEAT_J_KG_K * wet_bulb_degc
    added = saturated - humidity_ratio
    excess = enthalpy_j_kg(wet_bulb_degc, saturated) - added * liquid
    excess -= enthalpy_j_kg(dry_bulb, humidity_ratio)
    steepness = specific_heat_j_kg_k(saturated) - added * WATER_SPECIFIC_HEAT_J_KG_K
    steepness += slope * (VAPORISATION_J_KG + VAPOUR_SPECIFIC_HEAT_J_KG_K * wet_bulb_degc - liquid)
    return wet_bulb_degc - excess / steepness


def _surface_humidity(
    entering_degc: Array, humidity_ratio: Array, drop_j_kg: Array, pressure_pa: Array
) -> Array:
    """Humidity ratio of saturated air whose enthalpy lies `drop_j_kg` under the entering air's."""
    enthalpy = enthalpy_j_kg(entering_degc, humidity_ratio) - drop_j_kg
    surface = entering_degc - 0.7 * drop_j_kg / specific_heat_j_kg_k(humidity_ratio)
    surface = larger_of(surface, _COLDEST_SURFACE)
    saturated = humidity_ratio
    for _ in range(_WET_STEPS):
        saturated, slope = _saturation(surface, pressure_pa)
        excess = enthalpy_j_kg(surface, saturated) - enthalpy
        steepness = specific_heat_j_kg_k(saturated)
        steepness += slope * (VAPORISATION_J_KG + VAPOUR_SPECIFIC_HEAT_J_KG_K * surface)
        step = excess / steepness
        surface = larger_of(surface - step, _COLDEST_SURFACE)
        saturated = saturated - slope * step
    return saturated


def _saturation(temperature_degc: Array, pressure_pa: Array) -> tuple[Array, Array]:
    """Humidity ratio of saturated air and its derivative over temperature (Clausius-Clapeyron)."""
    vapour = saturation_pressure_pa(temperature_degc)
    rest = pressure_pa - vapour
    ratio = VAPOUR_MASS_RATIO * vapour / rest
    # Slope of the logarithm of the Magnus form, good to 0.3 %: it only steers Newton's method.
    base = 243.04 + larger_of(temperature_degc, -40.0)
    slope = ratio * pressure_pa / rest * (17.625 * 243.04) / (base * base)
    return ratio, slope


def _quadratic(x: Array, coefficients: tuple[float, float, float]) -> Array:
    constant, linear, square = coefficients
    return (square * x + linear) * x + constant


def _biquadratic(x: Array, y: Array, coefficients: Biquadratic) -> Array:
    constant, x1, x2, y1, y2, xy = coefficients
    return (x2 * x + (xy * y + x1)) * x + ((y2 * y + y1) * y + constant)
