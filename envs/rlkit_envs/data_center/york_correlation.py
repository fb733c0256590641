"""The York correlation of cooling towers: approach to the wet bulb, and water cooled along it.

The approach is a polynomial of wet bulb, range and the ratio of water to air flow (York
International, YORKcalc, form 160.00-SG2, 2002; EnergyPlus Engineering Reference, cooling towers).
Departures: where the polynomial would let the water warm as the air cools (very cold air at low fan
speed, ranges above 11 to 18 K), or the approach fall as the range grows, it is held at that point;
wet bulbs above its range add to the leaving temperature.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.elementwise import choose, larger_of, smaller_of
from rlkit_envs.data_center.psychrometrics import Quantity

Array = NDArray[np.float64]

# Approach in kelvins: [power of water/air ratio][power of range][power of wet bulb].
_YORK = np.array(
    [
        [
            [-0.359741205, -0.055053608, 0.0023850432],
            [0.173926877, -0.0248473764, 0.00048430224],
            [-0.005589849456, 0.0005770079712, -0.00001342427256],
        ],
        [
            [2.84765801111111, -0.121765149, 0.0014599242],
            [1.680428651, -0.0166920786, -0.0007190532],
            [-0.025485194448, 0.0000487491696, 0.00002719234152],
        ],
        [
            [-0.0653766255555556, -0.002278167, 0.0002500254],
            [-0.0910565458, 0.00318176316, 0.000038621772],
            [-0.0034285382352, 0.00000856589904, -0.000001516821552],
        ],
    ]
)
_YORK_CONSTANT, _YORK_LINEAR, _YORK_SQUARE = np.ascontiguousarray(np.moveaxis(_YORK, -1, 0))
COLDEST_WET_BULB, WARMEST_WET_BULB = -34.4, 29.4444
LARGEST_FLOW_RATIO = 6.0
"""Water over air, beyond which the approach no longer rises at every range of a plant (to 8 K)."""


def york_approach_k(wet_bulb_degc: Quantity, range_k: Quantity, flow_ratio: Quantity) -> Array:
    """The correlation as published: leaving water over wet bulb, K.

    flow_ratio: water over air, each over its design flow. Fitted for wet bulbs of -34.4..29.4 degC,
    ranges of 1.1..22.2 K, water at 0.75..1.25 of its design flow and flow ratios up to 8.
    """
    constant, linear, square = by_range(np.asarray(wet_bulb_degc), np.asarray(flow_ratio))
    return (square * range_k + linear) * range_k + constant


class TowerCurve(NamedTuple):
    """Entering water over wet bulb as a quadratic of the range; from `knee_k` on, approach held."""

    wet_bulb_degc: Array
    constant: Array
    linear: Array
    square: Array
    knee_k: Array
    """Largest range of the quadratic, K."""


def by_range(wet_bulb_degc: Array, flow_ratio: Array) -> Array:
    """The approach's coefficients over the range: (3, ...), constant first."""
    terms = _in_wet_bulb(wet_bulb_degc)
    return (terms[2] * flow_ratio + terms[1]) * flow_ratio + terms[0]


def by_flow_ratio(wet_bulb_degc: Array, range_k: Array) -> Array:
    """The approach's coefficients over the flow ratio: (3, ...), constant first."""
    terms = _in_wet_bulb(wet_bulb_degc)
    return (terms[:, 2] * range_k + terms[:, 1]) * range_k + terms[:, 0]


def _in_wet_bulb(wet_bulb_degc: Array) -> Array:
    """[power of flow ratio, power of range, ...] at that wet bulb."""
    shape = (3, 3, *[1] * np.ndim(wet_bulb_degc))
    result = _YORK_SQUARE.reshape(shape) * wet_bulb_degc
    result += _YORK_LINEAR.reshape(shape)
    result *= wet_bulb_degc
    result += _YORK_CONSTANT.reshape(shape)
    return result


def turning_wet_bulb(flow_ratio: Array) -> Array:
    """Wet bulb below which the correlation's leaving water warms again, over a flow ratio.

    A parabola just above the turning points at flow ratios of 2.5 to 6 and ranges of 0 to 8 K.
    """
    missing = LARGEST_FLOW_RATIO - flow_ratio
    return -3.0 - 3.1 * missing * missing


def tower_curve(wet_bulb_degc: Quantity, flow_ratio: Array) -> TowerCurve:
    flow_ratio = smaller_of(flow_ratio, LARGEST_FLOW_RATIO)
    known = larger_of(turning_wet_bulb(flow_ratio), COLDEST_WET_BULB)
    known = larger_of(wet_bulb_degc, known)
    held = smaller_of(known, WARMEST_WET_BULB)
    constant, linear, square = by_range(held, flow_ratio)
    # Where the approach is largest over the range, or sooner where colder air would warm the water.
    largest = smaller_of(10.9 + 7.5 / flow_ratio, 26.0 - 2.5 * flow_ratio)
    bends = square < 0.0
    knee_k = choose(bends, linear / choose(bends, -2.0 * square, 1.0), largest)
    knee_k = smaller_of(larger_of(knee_k, 0.0), smaller_of(largest, 18.5))
    return TowerCurve(known, constant, linear + 1.0, square, knee_k)


class CurveLines(NamedTuple):
    """Entering water over the range as a straight line through a range of the curve."""

    uncooled_degc: Array
    """Water that the curve would not cool: the line's start."""
    chord: Array
    """Kelvins of entering water per kelvin of range, up to that range."""
    turning: Array
    """Growth of the chord per kelvin of range, 1/K, at most 0."""


def curve_lines(curve: TowerCurve, range_k: Array) -> CurveLines:
    safe = larger_of(range_k, 1e-6)
    bent = smaller_of(safe, curve.knee_k)
    bend = curve.square * bent
    share = bent / safe
    chord = 1.0 + (curve.linear - 1.0 + bend) * share
    slope = choose(safe > curve.knee_k, 1.0, curve.linear + 2.0 * bend)
    return CurveLines(curve.wet_bulb_degc + curve.constant, chord, (slope - chord) / safe)
