"""Exact solutions of linear balances over a time step: end values and means.

For x' = A x + f with constant A and f, the mean over a step h is x0 + h phi_2(hA)(A x0 + f) with
phi_2(z) = (e^z - 1 - z) / z^2 (Hochbruck and Ostermann 2010, exponential integrators). The end is
taken from the balance itself, x0 + h (A mean + f), so that storage and flows agree to rounding.
"""

import numpy as np

from rlkit_envs.data_center.elementwise import anywhere, choose, everywhere
from rlkit_envs.data_center.psychrometrics import Array

_SMALL = 0.03
"""Below it the closed forms lose digits, and a series of six terms has them all."""
_SERIES = (1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040, 1 / 40320)


def mean_weight(exponent: Array) -> Array:
    """phi_2(z) = (e^z - 1 - z) / z^2 for z <= 0: 1/2 at 0, about -1/z far below."""
    small = exponent > -_SMALL
    if not anywhere(small):  # per row the same with or without the others
        return (np.expm1(exponent) - exponent) / (exponent * exponent)
    series = _SERIES[-1] * exponent + _SERIES[-2]
    for coefficient in _SERIES[-3::-1]:
        series = series * exponent + coefficient
    if everywhere(small):
        return series
    far = choose(small, -1.0, exponent)
    return choose(small, series, (np.expm1(far) - far) / (far * far))


def mean_weight_difference(slow: Array, fast: Array) -> Array:
    """(phi_2(slow) - phi_2(fast)) / (slow - fast) for fast <= slow <= 0, also where they are equal.

    By the recurrences of divided differences, from z phi_1 = e^z - 1 and z phi_2 = phi_1 - 1, each
    divided by the larger exponent; by a series where both are small.
    """
    small = fast > -_SMALL
    far = choose(small, -1.0, fast)
    near = choose(small, 0.0, slow)
    gap = far - near
    touching = gap > -1e-300
    safe_gap = choose(touching, -1.0, gap)
    # Divided difference of exp; expm1 keeps it exact however close the exponents are.
    exponential = choose(touching, 1.0, np.expm1(gap) / safe_gap) * np.exp(near)
    at_rest = near > -1e-300
    safe_near = choose(at_rest, -1.0, near)
    growth = choose(at_rest, 1.0, np.expm1(near) / safe_near)
    difference = (exponential - growth) / far
    difference = (difference - mean_weight(near)) / far
    if anywhere(small):
        power = fast_power = 1.0
        series = 0.0
        for coefficient in _SERIES[1:]:
            series = series + coefficient * power
            fast_power = fast_power * fast
            power = power * slow + fast_power
        difference = choose(small, series, difference)
    return difference
