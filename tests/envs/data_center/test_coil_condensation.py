"""Condensation on part of a coil against a march along its area in many small pieces."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rlkit_envs.data_center.coil_condensation import WetSurface, condense
from rlkit_envs.data_center.psychrometrics import dew_point_degc, saturation_humidity_ratio

PRESSURE_PA = 101_325.0
COIL: dict[str, Any] = {
    "water_share": 0.3,
    "transfer_units": 2.0,
    "entering_degc": 31.0,
    "leaving_degc": 20.0,
    "water_degc": 9.0,
    "returning_degc": 18.0,
}


def settled(humidity: float, **changes: float) -> WetSurface:
    """With the outlet's search run to its end."""
    coil = {name: np.array([value]) for name, value in (COIL | changes).items()}
    ratio, pressure = np.array([humidity]), np.array([PRESSURE_PA])
    dew = dew_point_degc(ratio, pressure)
    dry = coil["water_degc"] + coil["water_share"] * (coil["leaving_degc"] - coil["water_degc"])
    surface = condense(ratio, dew, pressure, outlet_degc=dry, **coil)
    for _ in range(20):
        surface = condense(ratio, dew, pressure, outlet_degc=surface.outlet_degc, **coil)
    return surface


def marched(humidity: float, pieces: int = 400, **changes: float) -> float:
    """Water condensed: dW/dx = N (W - W_s), the surface of each piece solved by bisection."""
    coil = COIL | changes
    warm = coil["entering_degc"] - coil["returning_degc"]
    cold = coil["leaving_degc"] - coil["water_degc"]
    k = math.log(warm / cold)
    ratio, share = humidity, coil["water_share"]
    for piece in range(pieces):
        x = 1.0 - (piece + 0.5) / pieces
        way = math.expm1(k * x) / math.expm1(k) if abs(k) > 1e-9 else x
        water = coil["water_degc"] + way * (coil["returning_degc"] - coil["water_degc"])
        air = water + cold * math.exp(k * x)

        def surplus(surface: float, ratio=ratio) -> float:
            return max(ratio - float(saturation_humidity_ratio(surface, PRESSURE_PA)), 0.0)

        low, high = water, air
        for _ in range(40):
            surface = 0.5 * (low + high)
            vapour_k = 2_500_940.0 / (1004.84 + 1858.95 * humidity) * surplus(surface)
            if water + share * (air + vapour_k - water) > surface:
                low = surface
            else:
                high = surface
        ratio -= coil["transfer_units"] / pieces * surplus(0.5 * (low + high))
    return humidity - ratio


@pytest.mark.parametrize("humidity", [0.0092, 0.0098, 0.011, 0.014, 0.018])
def test_usual_coils_condense_as_their_pieces_do(humidity: float) -> None:
    surface, expected = settled(humidity), marched(humidity)
    assert expected > 1e-6
    # A little water, from a little area, depends on where exactly the coil gets wet.
    assert surface.condensed == pytest.approx(expected, rel=0.06, abs=3e-5)


@given(
    st.floats(0.15, 0.6),
    st.floats(0.8, 4.0),
    st.floats(4.0, 16.0),
    st.floats(3.0, 14.0),
    st.floats(2.0, 14.0),
    st.floats(2.0, 12.0),
    st.floats(0.006, 0.02),
)
def test_any_coil_condenses_about_as_its_pieces_do(
    water_share: float,
    transfer_units: float,
    water_degc: float,
    cold_k: float,
    warm_k: float,
    rise_k: float,
    humidity: float,
) -> None:
    coil = {
        "water_share": water_share,
        "transfer_units": transfer_units,
        "water_degc": water_degc,
        "leaving_degc": water_degc + cold_k,
        "returning_degc": water_degc + rise_k,
        "entering_degc": water_degc + rise_k + warm_k,
    }
    assume(coil["leaving_degc"] < coil["entering_degc"] - 1.0)
    assume(abs(math.log(warm_k / cold_k)) < 0.9 * transfer_units)
    assume(humidity < saturation_humidity_ratio(coil["entering_degc"], PRESSURE_PA))
    surface, expected = settled(humidity, **coil), marched(humidity, pieces=60, **coil)
    assert surface.condensed == pytest.approx(expected, rel=0.12, abs=1e-4)
    assert 0.0 <= surface.bypass <= 1.0
    dew = float(dew_point_degc(humidity, PRESSURE_PA))
    assert surface.outlet_degc <= dew + 1e-9
    assert surface.condensate_degc <= dew + 1e-9


def test_condensation_begins_at_the_dew_point_of_the_coldest_surface() -> None:
    coldest = 9.0 + 0.3 * 11.0
    limit = float(saturation_humidity_ratio(coldest, PRESSURE_PA))
    assert settled(limit - 1e-5).condensed == 0.0
    little = [float(settled(limit + more).condensed[0]) for more in (1e-5, 1e-4, 2e-4, 4e-4)]
    assert 0.0 < little[0] < 1e-6
    # The wet area grows with the excess, and so does what each part of it takes: a square.
    assert 3.4 < little[2] / little[1] < 4.0
    assert 3.0 < little[3] / little[2] < 4.0


def test_the_bypass_is_how_condensation_grows() -> None:
    for humidity in (0.0095, 0.011, 0.016):
        more, less = settled(humidity + 5e-6), settled(humidity - 5e-6)
        grown = float(more.condensed[0] - less.condensed[0]) / 1e-5
        # The surface warms by the latent heat, which the bypass leaves out.
        assert 0.4 * (1.0 - settled(humidity).bypass) < grown
        assert grown < 1.05 * (1.0 - settled(humidity).bypass)
