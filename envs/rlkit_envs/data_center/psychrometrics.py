"""Properties of moist air and of water, for numbers and for arrays of any one shape.

Saturation after Hyland and Wexler (ASHRAE Handbook: Fundamentals 2021, chapter 1, equations 5 and
6); enthalpies with the constants of EnergyPlus (Engineering Reference, psychrometric services), so
that both plants agree. Air flows and humidity ratios elsewhere count kilograms of dry air.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.elementwise import anywhere, choose, everywhere, larger_of, smaller_of

Array = NDArray[np.float64]
"""One entry for each environment; of one alone also a number, `np.float64`."""
Quantity = Array | Any
"""An `Array`, or a number that all environments share."""

AIR_SPECIFIC_HEAT_J_KG_K = 1004.84
"""Of dry air (EnergyPlus, PsyHFnTdbW)."""
VAPOUR_SPECIFIC_HEAT_J_KG_K = 1858.95
"""Of water vapour (EnergyPlus, PsyHFnTdbW)."""
VAPORISATION_J_KG = 2_500_940.0
"""Enthalpy of water vapour at 0 degC over liquid water at 0 degC (EnergyPlus, PsyHFnTdbW)."""
WATER_SPECIFIC_HEAT_J_KG_K = 4186.0
"""Of liquid water (ASHRAE Fundamentals 2021, chapter 1, equation 32)."""
WATER_DENSITY_KG_M3 = 998.0
"""Of liquid water near 20 degC."""
VAPOUR_MASS_RATIO = 0.621945
"""Molar mass of water over that of dry air (ASHRAE Fundamentals 2021, chapter 1)."""
DRY_AIR_GAS_CONSTANT_J_KG_K = 287.042
"""ASHRAE Fundamentals 2021, chapter 1, equation 1."""
ICE_ENTHALPY_J_KG = -333_400.0
"""Enthalpy of ice at 0 degC over liquid water at 0 degC (ASHRAE 2021, chapter 1, equation 34)."""
ICE_SPECIFIC_HEAT_J_KG_K = 2100.0
"""Of ice (ASHRAE Fundamentals 2021, chapter 1, equation 34)."""

_KELVIN = 273.15
_WET_BULB_NEWTON_STEPS = 8
_COLDEST_SATURATION_PA = 1.4051e-3
"""Saturation pressure at -100 degC, where the equation over ice begins."""
_LOG_FREEZING_PA = float(np.log(611.213))
"""Logarithm of the saturation pressure at 0 degC, where the fits of the dew point meet."""
_DEW_POINT_OVER_WATER = (
    2.458116069e-05,
    13.76511594,
    0.779947745,
    0.04601562735,
    0.003686577251,
    -2.762507703e-06,
    3.404769515e-05,
)
_DEW_POINT_OVER_ICE = (
    0.001162818718,
    12.14369208,
    0.544886268,
    0.02506116432,
    0.001140314521,
    4.567294344e-05,
    1.30517378e-06,
    1.837064898e-08,
)


_SATURATED_BY_ENTHALPY = (
    94.07896434,
    -276.5077616,
    538.4837459,
    -760.0755442,
    356.1888639,
)
"""Saturated air's temperature over 100 kJ / (enthalpy + 150 kJ) per kg, at sea level."""
_SEA_LEVEL_PA = 101_325.0


def specific_heat_j_kg_k(humidity_ratio: Quantity) -> Array:
    """Specific heat at constant pressure of moist air, J/(kg dry air K)."""
    return AIR_SPECIFIC_HEAT_J_KG_K + VAPOUR_SPECIFIC_HEAT_J_KG_K * humidity_ratio


def enthalpy_j_kg(dry_bulb_degc: Quantity, humidity_ratio: Quantity) -> Array:
    """Enthalpy of moist air, J/kg dry air, 0 for dry air at 0 degC (EnergyPlus, PsyHFnTdbW)."""
    heat = dry_bulb_degc * specific_heat_j_kg_k(humidity_ratio)
    return heat + VAPORISATION_J_KG * humidity_ratio


def dry_bulb_degc(enthalpy_j_kg: Quantity, humidity_ratio: Quantity) -> Array:
    """Temperature of moist air of that enthalpy (J/kg dry air): `enthalpy_j_kg` inverted."""
    sensible = enthalpy_j_kg - VAPORISATION_J_KG * humidity_ratio
    return sensible / specific_heat_j_kg_k(humidity_ratio)


def saturation_pressure_pa(temperature_degc: Quantity) -> Array:
    """Pressure of water vapour over water, or below 0 degC over ice, at saturation.

    Hyland and Wexler (ASHRAE Fundamentals 2021, chapter 1, equations 5, 6), for -100 to 200 degC.
    """
    kelvin = temperature_degc + _KELVIN
    log_kelvin = np.log(kelvin)
    pressure = np.exp(_log_pressure_over_water(kelvin, log_kelvin))
    frozen = temperature_degc < 0.0
    if anywhere(frozen):  # rarely so indoors, and each row's result is the same either way
        over_ice = np.exp(_log_pressure_over_ice(kelvin, log_kelvin))
        pressure = choose(frozen, over_ice, pressure)
    return pressure


def saturation_humidity_ratio(temperature_degc: Quantity, pressure_pa: Quantity) -> Array:
    """Humidity ratio of saturated air (ASHRAE 2021, chapter 1, equation 21).

    Only where the saturation pressure lies below the air pressure, that is, short of boiling.
    """
    return _humidity_ratio(saturation_pressure_pa(temperature_degc), pressure_pa)


def humidity_ratio_from_relative(
    dry_bulb_degc: Quantity, relative_humidity: Quantity, pressure_pa: Quantity
) -> Array:
    """Humidity ratio of air of a relative humidity in 0..1 (ASHRAE 2021, chapter 1, eq. 20, 22)."""
    vapour_pa = relative_humidity * saturation_pressure_pa(dry_bulb_degc)
    return _humidity_ratio(vapour_pa, pressure_pa)


def humidity_ratio_from_dew_point(dew_point_degc: Quantity, pressure_pa: Quantity) -> Array:
    """Humidity ratio of air that is saturated at its dew point (below 0 degC: its frost point)."""
    return saturation_humidity_ratio(dew_point_degc, pressure_pa)


def humidity_ratio_from_wet_bulb(
    dry_bulb_degc: Quantity, wet_bulb_degc: Quantity, pressure_pa: Quantity
) -> Array:
    """Humidity ratio of air with that wet bulb, the inverse of `wet_bulb_degc`; at least 0.

    ASHRAE Fundamentals 2021, chapter 1, equations 33 and 35 (over ice below 0 degC), with this
    module's enthalpies.
    """
    wet = wet_bulb_degc
    over_ice = ICE_ENTHALPY_J_KG + ICE_SPECIFIC_HEAT_J_KG_K * wet
    liquid = choose(wet < 0.0, over_ice, WATER_SPECIFIC_HEAT_J_KG_K * wet)
    saturated = saturation_humidity_ratio(wet, pressure_pa)
    dry_part = enthalpy_j_kg(wet, saturated) - saturated * liquid
    dry_part -= AIR_SPECIFIC_HEAT_J_KG_K * dry_bulb_degc
    vapour = VAPORISATION_J_KG + VAPOUR_SPECIFIC_HEAT_J_KG_K * dry_bulb_degc - liquid
    return larger_of(dry_part / vapour, 0.0)


def vapour_pressure_pa(humidity_ratio: Quantity, pressure_pa: Quantity) -> Array:
    """Partial pressure of the water vapour in moist air (ASHRAE 2021, chapter 1, equation 36)."""
    return pressure_pa * humidity_ratio / (VAPOUR_MASS_RATIO + humidity_ratio)


def relative_humidity(
    dry_bulb_degc: Quantity, humidity_ratio: Quantity, pressure_pa: Quantity
) -> Array:
    """Vapour pressure over saturation pressure: 0 (dry) to 1 (saturated), above 1 in fog.

    Below 0 degC saturation is that over ice.
    """
    return vapour_pressure_pa(humidity_ratio, pressure_pa) / saturation_pressure_pa(dry_bulb_degc)


def dew_point_degc(humidity_ratio: Quantity, pressure_pa: Quantity) -> Array:
    """Temperature at which air of that humidity is saturated (below 0 degC: the frost point).

    Polynomials in the logarithm of the vapour pressure, fitted to `saturation_pressure_pa` within
    3e-5 K from -100 to 100 degC. Drier air counts as saturated at -100 degC.
    """
    vapour_pa = larger_of(vapour_pressure_pa(humidity_ratio, pressure_pa), _COLDEST_SATURATION_PA)
    log_ratio = np.log(vapour_pa) - _LOG_FREEZING_PA
    frozen = log_ratio < 0.0
    if not anywhere(frozen):
        return _polynomial(log_ratio, _DEW_POINT_OVER_WATER)
    over_ice = _polynomial(log_ratio, _DEW_POINT_OVER_ICE)
    if everywhere(frozen):
        return over_ice
    return choose(frozen, over_ice, _polynomial(log_ratio, _DEW_POINT_OVER_WATER))


def wet_bulb_degc(
    dry_bulb_degc: Quantity, humidity_ratio: Quantity, pressure_pa: Quantity
) -> Array:
    """Thermodynamic wet bulb: where water of that temperature, evaporating, saturates the air.

    Solves h(T, W) + (W_s - W) h_water = h(T_wet, W_s) (ASHRAE 2021, chapter 1, equation 31) with
    this module's enthalpies, so that air that an ideal evaporative cooler brings to its wet bulb
    has kept its energy. The bulb is iced where a wet one would fall below 0 degC. Eight Newton
    steps, for -60 to 60 degC and humidity up to saturation; costly: precompute it.
    """
    air = (dry_bulb_degc, humidity_ratio, pressure_pa)
    wet = _wet_bulb(*air, 0.0, WATER_SPECIFIC_HEAT_J_KG_K)
    frozen = wet < 0.0
    if not anywhere(frozen):
        return wet
    iced = _wet_bulb(*air, ICE_ENTHALPY_J_KG, ICE_SPECIFIC_HEAT_J_KG_K)
    return choose(frozen, iced, wet)


def saturated_air(enthalpy_j_kg: Quantity, pressure_pa: Quantity) -> tuple[Array, Array]:
    """Temperature and humidity ratio of saturated air of an enthalpy (J/kg dry air).

    The temperature by a polynomial fitted to this module's saturation within 0.08 K at sea level
    and 0.7 K at 80 kPa, from -30 to 60 degC at sea level; the humidity ratio is then what the
    enthalpy leaves.
    """
    enthalpy = smaller_of(larger_of(enthalpy_j_kg, -29_500.0), 458_000.0)
    share = pressure_pa * (1.0 / _SEA_LEVEL_PA)
    degc = _polynomial(1e5 / (enthalpy + 1.5e5), _SATURATED_BY_ENTHALPY)
    # Thinner air holds more water: as much as at sea level, over less air.
    enthalpy = share * enthalpy + (1.0 - share) * AIR_SPECIFIC_HEAT_J_KG_K * degc
    degc = _polynomial(1e5 / (enthalpy + 1.5e5), _SATURATED_BY_ENTHALPY)
    latent = enthalpy_j_kg - AIR_SPECIFIC_HEAT_J_KG_K * degc
    return degc, latent / (VAPORISATION_J_KG + VAPOUR_SPECIFIC_HEAT_J_KG_K * degc)


def density_kg_m3(
    dry_bulb_degc: Quantity, humidity_ratio: Quantity, pressure_pa: Quantity
) -> Array:
    """Kilograms of dry air in a cubic metre of moist air (ASHRAE 2021, chapter 1, equation 26)."""
    vapour_share = 1.0 + humidity_ratio * (1.0 / VAPOUR_MASS_RATIO)
    kelvin = dry_bulb_degc + _KELVIN
    return pressure_pa / (DRY_AIR_GAS_CONSTANT_J_KG_K * kelvin * vapour_share)


def standard_pressure_pa(elevation_m: Quantity) -> Array:
    """Pressure of the standard atmosphere (ASHRAE 2021, chapter 1, equation 3), -5 to 11 km."""
    return 101_325.0 * (1.0 - 2.25577e-5 * np.asarray(elevation_m)) ** 5.2559


def _humidity_ratio(vapour_pa: Array, pressure_pa: Array) -> Array:
    return VAPOUR_MASS_RATIO * vapour_pa / (pressure_pa - vapour_pa)


def _log_pressure_over_water(kelvin: Array, log_kelvin: Array) -> Array:
    """Equation 6. The sum is in place: this is the hot part of the plant's moist air."""
    result = -1.4452093e-8 * kelvin
    result += 4.1764768e-5
    result *= kelvin
    result -= 4.8640239e-2
    result *= kelvin
    result += 1.3914993
    result -= 5.8002206e3 / kelvin
    result += 6.5459673 * log_kelvin
    return result


def _log_pressure_over_ice(kelvin: Array, log_kelvin: Array) -> Array:
    """Equation 5."""
    result = _polynomial(
        kelvin, (6.3925247, -9.677843e-3, 6.2215701e-7, 2.0747825e-9, -9.484024e-13)
    )
    result -= 5.6745359e3 / kelvin
    result += 4.1635019 * log_kelvin
    return result


def _polynomial(x: Array, coefficients: tuple[float, ...]) -> Array:
    """Horner's scheme; coefficients from the constant upwards."""
    result = coefficients[-1] * x
    for coefficient in coefficients[-2:0:-1]:
        result += coefficient
        result *= x
    result += coefficients[0]
    return result


def _wet_bulb(
    dry_bulb_degc: Array,
    humidity_ratio: Array,
    pressure_pa: Array,
    liquid_enthalpy_j_kg: float,
    liquid_specific_heat_j_kg_k: float,
) -> Array:
    """The wet bulb over a liquid (or ice) of that enthalpy at 0 degC, above and below freezing.

    Newton's method from the dry bulb: the imbalance of energy grows with the temperature and is
    convex, so that each step falls, and none passes the root.
    """
    over_water = liquid_enthalpy_j_kg == 0.0
    enthalpy = enthalpy_j_kg(dry_bulb_degc, humidity_ratio)
    wet = dry_bulb_degc
    for _ in range(_WET_BULB_NEWTON_STEPS):
        kelvin = wet + _KELVIN
        log_kelvin = np.log(kelvin)
        if over_water:
            saturation = np.exp(_log_pressure_over_water(kelvin, log_kelvin))
            growth = 5.8002206e3 / kelvin + 6.5459673
            growth += kelvin * (-4.8640239e-2 + kelvin * (8.3529536e-5 - 4.3356279e-8 * kelvin))
        else:
            saturation = np.exp(_log_pressure_over_ice(kelvin, log_kelvin))
            growth = 5.6745359e3 / kelvin + 4.1635019
            growth += _polynomial(
                kelvin, (0.0, -9.677843e-3, 1.24431402e-6, 6.2243475e-9, -3.7936096e-12)
            )
        growth /= kelvin  # d ln p / dT
        saturated_ratio = _humidity_ratio(saturation, pressure_pa)
        ratio_slope = saturated_ratio * growth * pressure_pa / (pressure_pa - saturation)
        liquid = liquid_enthalpy_j_kg + liquid_specific_heat_j_kg_k * wet
        added = saturated_ratio - humidity_ratio
        imbalance = enthalpy_j_kg(wet, saturated_ratio) - enthalpy - added * liquid
        slope = specific_heat_j_kg_k(saturated_ratio) - added * liquid_specific_heat_j_kg_k
        slope += ratio_slope * (VAPORISATION_J_KG + VAPOUR_SPECIFIC_HEAT_J_KG_K * wet - liquid)
        wet = wet - imbalance / slope
    return wet
