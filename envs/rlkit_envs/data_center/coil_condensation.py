"""Condensation on a coil whose surface is cold at one end: dry, wet in part, or wet all over.

Air and water are taken to flow against each other, so that the surface is coldest where the air
leaves and the water enters, and is wet from there to where it reaches the dew point (EnergyPlus
Engineering Reference, coils: detailed analysis, part wet and part dry). Departures, which spare
EnergyPlus's nested searches: temperatures between the ends are those of a dry counterflow coil, and
saturated air's humidity ratio changes with the surface's temperature along a chord.
"""

from typing import NamedTuple

import numpy as np

from rlkit_envs.data_center.elementwise import choose, larger_of, smaller_of
from rlkit_envs.data_center.psychrometrics import (
    VAPORISATION_J_KG,
    Array,
    saturation_humidity_ratio,
    specific_heat_j_kg_k,
)

_SURFACE_STEPS = 2
_LEAST_SPAN_K = 1e-3
_LEAST_EXPONENT = 1e-4
_LEAST_SHARE = 1e-9


class WetSurface(NamedTuple):
    """What a coil's surface takes out of the air."""

    condensed: Array
    """Water, kg per kg of dry air."""
    condensate_degc: Array
    """Mean of the wet part."""
    bypass: Array
    """Share of a little more moisture in the entering air that would pass the wet part."""
    outlet_degc: Array
    """Surface where the air leaves."""


def condense(
    humidity_ratio: Array,
    dew_point_degc: Array,
    pressure_pa: Array,
    *,
    water_share: Array,
    transfer_units: Array,
    entering_degc: Array,
    leaving_degc: Array,
    water_degc: Array,
    returning_degc: Array,
    outlet_degc: Array,
) -> WetSurface:
    """Condensation for given temperatures of air and water at both ends of a coil.

    water_share: share 0..1 of the water's side in the resistance from water to air, dry.
    transfer_units: of the air's side, conductance over heat capacity flow.
    outlet_degc: the surface where the air leaves, as guessed, to begin the search for it; calls
    that go on from each other's results find it.

    At either end as much heat flows from surface to water as, sensible and latent, from air to
    surface (Threlkeld 1970, chapter 11; Lewis number 1). Over the share x of the area, from the
    air's outlet, all differences go with exp(k x), and over the wet area dW/dx = N (W - W_s), N
    being the transfer units and W_s the humidity ratio of saturated air at the surface.
    """
    warm_degc = returning_degc + water_share * (entering_degc - returning_degc)
    dry_degc = water_degc + water_share * (leaving_degc - water_degc)
    apart = larger_of(entering_degc - returning_degc, _LEAST_SPAN_K)
    k = np.log(apart / larger_of(leaving_degc - water_degc, _LEAST_SPAN_K))
    k = smaller_of(k, 0.9 * transfer_units)
    k = choose(abs(k) < _LEAST_EXPONENT, _LEAST_EXPONENT, k)
    below = larger_of(dew_point_degc - dry_degc, 0.0)
    depth = smaller_of(below / larger_of(warm_degc - dry_degc, _LEAST_SPAN_K), 1.0)
    wet_share = larger_of(np.log1p(depth * np.expm1(k)) / k, _LEAST_SHARE)
    rest = transfer_units - k
    bypass = np.exp(-transfer_units * wet_share)
    lag = k * np.expm1(-rest * wet_share) / (-rest * np.expm1(k * wet_share))
    vaporisation_k = VAPORISATION_J_KG / specific_heat_j_kg_k(humidity_ratio)

    growth = carried = warm_k = cold_k = below
    for _ in range(_SURFACE_STEPS):
        span = larger_of(dew_point_degc - outlet_degc, _LEAST_SPAN_K)
        outlet_ratio = saturation_humidity_ratio(dew_point_degc - span, pressure_pa)
        growth = (humidity_ratio - outlet_ratio) / span
        latent = water_share * growth * vaporisation_k
        # Below the dew point: the surface's warm end (0 where it is dry) and its outlet.
        warm_k = larger_of(dew_point_degc - warm_degc, 0.0) / (1.0 + latent)
        carried = warm_k * (lag - bypass)
        cold_k = (below + latent * carried) / (1.0 + latent * lag)
        outlet_degc = dew_point_degc - cold_k
    return WetSurface(
        condensed=larger_of(growth * (cold_k * (1.0 - lag) + carried), 0.0),
        condensate_degc=dew_point_degc - 0.5 * (cold_k + warm_k),
        bypass=bypass,
        outlet_degc=outlet_degc,
    )
