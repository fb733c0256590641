"""A chilled-water coil with its valve: cross flow, condensation, fouling, a stuck valve.

Effectiveness and number of transfer units (Incropera and DeWitt; EnergyPlus Engineering Reference,
heat exchangers), conductances after Wetter (LBNL-42355, 1999), condensation where the surface is
below the dew point (coil_condensation.py). The valve's position is the water flow that meets a
temperature, solved by Newton's method.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.coil_condensation import WetSurface, condense
from rlkit_envs.data_center.coil_valve import (
    LEAST_EFFECTIVENESS,
    CoilAir,
    CoilReach,
    reach,
    water_share,
)
from rlkit_envs.data_center.elementwise import (
    anywhere,
    choose,
    filled,
    is_nan,
    larger_of,
    smaller_of,
)
from rlkit_envs.data_center.psychrometrics import (
    VAPORISATION_J_KG,
    VAPOUR_SPECIFIC_HEAT_J_KG_K,
    WATER_SPECIFIC_HEAT_J_KG_K,
    Array,
    Quantity,
    dew_point_degc,
    saturation_humidity_ratio,
    specific_heat_j_kg_k,
)
from rlkit_envs.data_center.ranges import check_positive, check_ranges
from rlkit_envs.data_center.selected_rows import SelectedRows

_AIR_EXPONENT = 0.8
"""The conductance of the air's side goes with the flow to this power (as `WATER_EXPONENT`)."""
_AIR_RESISTANCE_SHARE = 3.3 / 4.3
"""With a conductance of the water's side 3.3 times that of the air's, as EnergyPlus splits them."""
_NEWTON_STEPS_FROM_START = 2
_CONDENSATION_STEPS = 5
_LEAST_FLOW_RATIO = 1e-6
_LEAST_DROP_K = 1e-9


@dataclass(frozen=True)
class CoilDesign:
    """All chilled-water coils of a hall's air handlers as one; `size_coil` makes it for a duty."""

    rated_air_kg_s: float
    """Dry air at which `rated_conductance_w_k` holds, kg/s."""
    rated_water_kg_s: float
    """Water with the valve fully open, at which `rated_conductance_w_k` holds, kg/s."""
    rated_conductance_w_k: float
    """Overall conductance (UA) of the clean, dry coil, W/K."""
    air_resistance_share: float = _AIR_RESISTANCE_SHARE
    """Share of the air side in the resistance 1 / UA at the rated flows, 0.01 to 0.99; 0.77 as
    EnergyPlus has it for finned coils, 0.6 in the Modelica Buildings library."""

    def __post_init__(self) -> None:
        check_positive(self, "rated_air_kg_s", "rated_water_kg_s", "rated_conductance_w_k")
        check_ranges(self, air_resistance_share=(0.01, 0.99))


class CoilOperation(NamedTuple):
    """What a coil does; arrays of one shape."""

    air_degc: Array
    """Of the air that leaves."""
    humidity_ratio: Array
    """Of the air that leaves."""
    heat_w: Array
    """Into the water: sensible and latent, exactly the loss of enthalpy of the air less that of the
    condensate, which leaves at the surface's temperature."""
    sensible_heat_w: Array
    """Share of `heat_w` that cools the air: flow c_p(W_in) (T_in - T_out)."""
    condensate_kg_s: Array
    condensate_degc: Array
    water_ratio: Array
    """Water flow over the rated one, which is the valve's position, 0..1."""
    water_kg_s: Array
    water_return_degc: Array
    saturated: NDArray[np.bool_]
    """Whether the air leaves warmer than wanted although the valve passes what it can."""
    air_slope: Array
    """How the leaving air follows the entering air at this valve and water, K/K: 0 where the valve
    controls, 1 where the coil does nothing, 1 - effectiveness where the valve cannot follow."""
    water_slope_w_k: Array
    """Fall of `heat_w` per kelvin that the water warms: 0 where the valve controls."""
    humidity_slope: Array
    """How the leaving humidity ratio follows the entering one: 1 where dry, the bypass factor where
    wet."""


def cross_flow_effectiveness(transfer_units: Quantity, capacity_ratio: Quantity) -> Array:
    """Effectiveness 0..1 of a cross-flow exchanger, both streams unmixed.

    eps = 1 - exp((exp(-C_r NTU^0.78) - 1) NTU^0.22 / C_r), for NTU above 0 and C_r in 0..1 (above
    0), the ratio of the smaller to the larger heat capacity flow.
    """
    root = np.power(transfer_units, 0.22)
    exponent = np.expm1(-capacity_ratio * (transfer_units / root)) * root / capacity_ratio
    return -np.expm1(exponent)


def size_coil(
    *,
    air_kg_s: float,
    entering_degc: float,
    leaving_degc: float,
    water_kg_s: float,
    water_degc: float,
    humidity_ratio: float = 0.008,
    air_resistance_share: float = _AIR_RESISTANCE_SHARE,
) -> CoilDesign:
    """The coil that cools that air, dry, with its valve fully open.

    Raises ValueError where water of that flow and temperature cannot do it in any coil.
    """
    air_capacity = air_kg_s * float(specific_heat_j_kg_k(humidity_ratio))
    water_capacity = water_kg_s * WATER_SPECIFIC_HEAT_J_KG_K
    smaller = min(air_capacity, water_capacity)
    ratio = smaller / max(air_capacity, water_capacity)
    wanted = air_capacity * (entering_degc - leaving_degc) / smaller
    wanted /= entering_degc - water_degc
    low, high = 1e-6, 30.0
    if not cross_flow_effectiveness(low, ratio) < wanted < cross_flow_effectiveness(high, ratio):
        raise ValueError(
            f"no coil cools {air_kg_s:g} kg/s of air from {entering_degc:g} to {leaving_degc:g} "
            f"degC with {water_kg_s:g} kg/s of water of {water_degc:g} degC: its effectiveness "
            f"would be {wanted:.3f}; use more or colder water, or want less"
        )
    for _ in range(100):
        middle = math.sqrt(low * high)
        if cross_flow_effectiveness(middle, ratio) < wanted:
            low = middle
        else:
            high = middle
    return CoilDesign(air_kg_s, water_kg_s, high * smaller, air_resistance_share)


def condensation_j_kg(air_degc: Quantity, condensate_degc: Quantity) -> Array:
    """Heat released by vapour in air of one temperature that leaves as water of another, J/kg."""
    vapour = VAPORISATION_J_KG + VAPOUR_SPECIFIC_HEAT_J_KG_K * air_degc
    return vapour - WATER_SPECIFIC_HEAT_J_KG_K * condensate_degc


def operate_coil(
    design: CoilDesign,
    *,
    air_kg_s: Quantity,
    air_degc: Quantity,
    humidity_ratio: Quantity,
    pressure_pa: Quantity,
    water_degc: Quantity,
    target_degc: Quantity,
    available_water_ratio: Quantity = 1.0,
    stuck_valve_ratio: Quantity = math.nan,
    fouling: Quantity = 0.0,
    start_water_ratio: Array | None = None,
) -> CoilOperation:
    """Cool air from `air_degc` to `target_degc`, or as far as water and valve allow.

    available_water_ratio: most water that reaches the coil over its rated flow, 0..1.
    stuck_valve_ratio: position 0..1 in which the valve is stuck, NaN where it is not.
    fouling: severity 0..1, which takes up to 45 % off the conductance.
    start_water_ratio: a position near the valve's, that of the step before, from which two steps of
    Newton's method are taken in place of a start and four; it may be 0.

    Where the target is met, the air leaves exactly at it, and the position found for the valve has
    the effectiveness wanted within 1e-5 (where that is below 0.999, and without a start). A valve
    that is not stuck never warms air.

    Condensation: on the part of the surface below the dew point (`coil_condensation.condense`);
    within 1e-3 of the heat, the search for it is cut short (mean of any air and water: 5e-5). A wet
    coil is a dry one whose air has the heat capacity, and the conductance on its side, of
    sensible and latent heat together (as in the EnergyPlus Engineering Reference, coils: detailed
    cooling coil, wet part).
    """
    stuck = choose(is_nan(stuck_valve_ratio), False, True)
    most_ratio = choose(stuck, stuck_valve_ratio, available_water_ratio)
    most_ratio = smaller_of(most_ratio, available_water_ratio)
    drop = air_degc - water_degc
    relative_air = air_kg_s / design.rated_air_kg_s
    able = (most_ratio > _LEAST_FLOW_RATIO) & (relative_air > _LEAST_FLOW_RATIO)
    able &= stuck | ((drop > 0.0) & (air_degc - target_degc > LEAST_EFFECTIVENESS * drop))
    most_ratio = larger_of(most_ratio, _LEAST_FLOW_RATIO)
    drop = choose(drop == 0.0, _LEAST_DROP_K, drop)

    relative_air = larger_of(relative_air, _LEAST_FLOW_RATIO)
    flow = relative_air * design.rated_air_kg_s
    capacity = flow * specific_heat_j_kg_k(humidity_ratio)
    conductance = design.rated_conductance_w_k * (1.0 - 0.45 * fouling)
    air_resistance = design.air_resistance_share * np.power(relative_air, -_AIR_EXPONENT)
    air = CoilAir(
        air_degc,
        target_degc,
        drop,
        stuck,
        most_ratio,
        conductance,
        air_resistance,
        capacity,
        1.0 - design.air_resistance_share,
        design.rated_water_kg_s * WATER_SPECIFIC_HEAT_J_KG_K,
    )
    if start_water_ratio is None:
        met = reach(air)
    else:
        start = larger_of(start_water_ratio, _LEAST_FLOW_RATIO)
        met = reach(air, 1.0, start, _NEWTON_STEPS_FROM_START)
    surface = water_degc + water_share(air, met) * (met.leaving_degc - water_degc)
    wet = able & (humidity_ratio > saturation_humidity_ratio(surface, pressure_pa))
    condensed, bypass = filled(0.0, surface), filled(1.0, surface)
    if anywhere(wet):  # each row gives the same with or without the others
        rows = SelectedRows(wet)
        damp, met_damp = _condense(
            CoilAir(*map(rows.taken, air)),
            CoilReach(*map(rows.taken, met)),
            *map(rows.taken, (humidity_ratio, pressure_pa, water_degc, surface)),
        )
        met = CoilReach(*map(rows.replaced, met, met_damp))
        condensed = rows.replaced(condensed, damp.condensed)
        surface = rows.replaced(surface, damp.condensate_degc)
        bypass = rows.replaced(bypass, damp.bypass)

    controlled = able & met.controlled
    leaving = choose(able, met.leaving_degc, air_degc)
    water_ratio = choose(able, met.water_ratio, 0.0)
    sensible_heat = choose(able, capacity * (air_degc - leaving), 0.0)
    condensate = condensed * flow
    heat = sensible_heat + condensate * condensation_j_kg(leaving, surface)
    water = water_ratio * design.rated_water_kg_s
    water_capacity = choose(able, water * WATER_SPECIFIC_HEAT_J_KG_K, 1.0)
    return CoilOperation(
        air_degc=leaving,
        humidity_ratio=humidity_ratio - condensed,
        heat_w=heat,
        sensible_heat_w=sensible_heat,
        condensate_kg_s=condensate,
        condensate_degc=surface,
        water_ratio=water_ratio,
        water_kg_s=water,
        water_return_degc=water_degc + heat / water_capacity,
        saturated=leaving > target_degc,
        air_slope=choose(controlled, 0.0, choose(able, 1.0 - met.effectiveness, 1.0)),
        water_slope_w_k=choose(controlled, 0.0, choose(able, heat / drop, 0.0)),
        humidity_slope=bypass,
    )


def _condense(
    air: CoilAir,
    met: CoilReach,
    humidity_ratio: Array,
    pressure_pa: Array,
    water_degc: Array,
    surface_degc: Array,
) -> tuple[WetSurface, CoilReach]:
    """A coil that condenses, from the dry one: its condensation and what it meets then.

    Condensate takes cooling from the air or opens the valve, which changes the condensate: the
    ratio of total to sensible heat that agrees with itself, by the secant method.
    """
    dew_point = dew_point_degc(humidity_ratio, pressure_pa)
    specific_heat = specific_heat_j_kg_k(humidity_ratio)
    transfer_units = air.conductance_w_k / (air.air_resistance * air.capacity_w_k)
    ratio = previous = missed = filled(1.0, dew_point)
    surface = WetSurface(surface_degc, surface_degc, surface_degc, surface_degc)
    for step in range(_CONDENSATION_STEPS + 1):
        if step:
            met = reach(air, ratio, met.water_ratio, 1)
        cooled = air.air_degc - met.leaving_degc
        water_w_k = met.water_ratio * air.rated_water_w_k
        surface = condense(
            humidity_ratio,
            dew_point,
            pressure_pa,
            water_share=water_share(air, met),
            transfer_units=transfer_units,
            entering_degc=air.air_degc,
            leaving_degc=met.leaving_degc,
            water_degc=water_degc,
            returning_degc=water_degc + ratio * cooled * air.capacity_w_k / water_w_k,
            outlet_degc=surface.outlet_degc,
        )
        latent = surface.condensed * condensation_j_kg(met.leaving_degc, surface.condensate_degc)
        found = 1.0 + latent / larger_of(specific_heat * cooled, 1e-9)
        last_missed, missed = missed, found - ratio
        change = last_missed - missed
        steep = (abs(change) > 1e-12) & (step > 0)
        gain = choose(steep, (ratio - previous) / choose(steep, change, 1.0), 0.7)
        gain = smaller_of(larger_of(gain, 0.1), 4.0)
        previous, ratio = ratio, larger_of(ratio + gain * missed, 1.0)
    return surface, met
