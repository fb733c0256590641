"""A cooling tower with a variable-speed fan (EnergyPlus CoolingTower:VariableSpeed, YorkCalc).

As the correlation (york_correlation.py) is quadratic in the ratio of water to air, the fan speed
for a leaving temperature is a root, not a search.

Below the least fan speed the fan cycles between that speed and free convection, as in EnergyPlus.
Water outside 0.75..1.25 of the correlation's, as when one of two consumers is off, counts by its
ratio to the air, again as in EnergyPlus: less water for the same air leaves colder.
Departures: those of york_correlation.py; a slow fan never cools less than none; at
`minimum_leaving_degc` the fan slows, and then a bypass mixes (EnergyPlus floats).
"""

from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.elementwise import choose, filled, larger_of, limited, smaller_of
from rlkit_envs.data_center.psychrometrics import (
    WATER_SPECIFIC_HEAT_J_KG_K,
    Quantity,
    density_kg_m3,
    enthalpy_j_kg,
    saturated_air,
)
from rlkit_envs.data_center.selected_rows import SelectedRows
from rlkit_envs.data_center.york_correlation import (
    COLDEST_WET_BULB,
    LARGEST_FLOW_RATIO,
    WARMEST_WET_BULB,
    TowerCurve,
    by_flow_ratio,
    curve_lines,
    tower_curve,
    turning_wet_bulb,
)

Array = NDArray[np.float64]

_LEAST_WATER_RATIO, _LARGEST_WATER_RATIO = 0.75, 1.25
_LEAST_HELD_WATER_RATIO = 0.1
"""Less water than this, over the correlation's, is held to cool no better."""
_LEAST_FLOW_KG_S = 1e-6

FOULED_FILL = 0.45
"""Share of the air that fill fouled to severity 1 makes useless (conductance falls 10-45 %)."""
WORN_POWER = 0.15
"""Extra power of a fan with bearings worn to severity 1 (observed: 2 to 15 %)."""
WORN_FLOW = 0.3
"""Share of the air flow that a fan worn to severity 1 has lost (assumed)."""
WORN_FLOW_FROM = 0.7
"""Severity at which a worn fan begins to lose flow (assumed)."""


@dataclass(frozen=True)
class TowerDesign:
    """One tower, or several equal cells that share water and fan speed."""

    heat_w: float = 1_200_000.0
    """Heat rejected at the design point, W."""
    wet_bulb_degc: float = 25.5556
    """Wet bulb at the design point, degC, 10 to 29 (EnergyPlus default 25.56)."""
    approach_k: float = 3.8889
    """Leaving water over wet bulb at the design point, K, 2 to 15 (EnergyPlus default 3.89)."""
    range_k: float = 5.5556
    """Entering over leaving water at the design point, K, 2 to 12 (EnergyPlus default 5.56)."""
    fan_power_ratio: float = 0.0105
    """Fan power at full speed over heat rejected, W/W (EnergyPlus, autosized)."""
    air_flow_m3_s_w: float = 2.763e-5
    """Air flow at full speed per watt rejected, m3/(s W) (EnergyPlus, autosized)."""
    fan_coefficients: tuple[float, float, float, float] = (-0.0093, 0.0512, -0.0838, 1.0419)
    """Fan power ratio as a cubic of the air flow ratio, constant first; about 1 at 1."""
    minimum_fan_ratio: float = 0.2
    """Least air flow ratio of the running fan, 0.2 to 0.5; below it the fan cycles."""
    free_convection_ratio: float = 0.125
    """Range with the fan off over that at full speed, 0 to 0.2 (EnergyPlus default 0.125)."""
    minimum_leaving_degc: float = 5.0
    """Coldest leaving water, degC, 2 to 20: below it a bypass mixes entering water in."""
    drift_ratio: float = 0.0005
    """Water carried away as drops over water flow at full air flow, 0 to 0.01 (EnergyPlus default
    0.00008)."""
    cycles_of_concentration: float = 4.0
    """Salt in the basin over salt in the make-up water, 1.5 to 20, kept by blowdown."""

    def __post_init__(self) -> None:
        bounds = {
            "wet_bulb_degc": (10.0, 29.0),
            "approach_k": (2.0, 15.0),
            "range_k": (2.0, 12.0),
            "fan_power_ratio": (0.001, 0.1),
            "air_flow_m3_s_w": (1e-5, 1e-4),
            "minimum_fan_ratio": (0.2, 0.5),
            "free_convection_ratio": (0.01, 0.2),
            "minimum_leaving_degc": (2.0, 20.0),
            "drift_ratio": (0.0, 0.01),
            "cycles_of_concentration": (1.5, 20.0),
        }
        if not self.heat_w > 0.0:
            raise ValueError(f"heat_w is {self.heat_w}: a tower needs more than 0 W")
        for name, (least, largest) in bounds.items():
            if not least <= getattr(self, name) <= largest:
                raise ValueError(
                    f"{name} is {getattr(self, name)}: it must lie in {least:g}..{largest:g}"
                )
        if not abs(sum(self.fan_coefficients) - 1.0) <= 0.05:
            raise ValueError(
                f"fan_coefficients {self.fan_coefficients} sum to "
                f"{sum(self.fan_coefficients):.4g}: they must give about 1 at full speed"
            )
        if not _LEAST_WATER_RATIO <= self.water_ratio <= _LARGEST_WATER_RATIO:
            raise ValueError(
                f"approach_k {self.approach_k} at wet_bulb_degc {self.wet_bulb_degc} and range_k "
                f"{self.range_k} needs {self.water_ratio:.3g} times the water flow of the "
                "correlation's tower, which knows 0.75..1.25: change the approach"
            )

    @cached_property
    def water_flow_kg_s(self) -> float:
        """Water flow at the design point, kg/s."""
        return self.heat_w / (WATER_SPECIFIC_HEAT_J_KG_K * self.range_k)

    @cached_property
    def water_ratio(self) -> float:
        """Design water flow over the flow with which the correlation meets the design point.

        EnergyPlus calibrates the same way (Engineering Reference, variable-speed towers).
        """
        by_flow = by_flow_ratio(np.array([self.wet_bulb_degc]), np.array([self.range_k]))
        constant, linear, square = (float(term[0]) for term in by_flow)
        constant -= self.approach_k
        root = sqrt(max(linear * linear - 4.0 * square * constant, 0.0))
        return -2.0 * constant / (linear + root)

    @property
    def fan_power_w(self) -> float:
        """Electric power at full fan speed, W."""
        return self.fan_power_ratio * self.heat_w

    @property
    def air_flow_m3_s(self) -> float:
        """Air flow at full fan speed, m3/s."""
        return self.air_flow_m3_s_w * self.heat_w


class TowerState(NamedTuple):
    """A tower under its weather, water flow and fan speed."""

    running: TowerCurve
    """With the fan at its speed, or at its least speed while it cycles."""
    full: TowerCurve
    """At full air flow, of which free convection is a share."""
    duty: Array
    """Share of the time that the fan runs, 0..1."""
    free_convection_ratio: float
    """Range with the fan off over the range at full air flow."""
    air_ratio: Array
    """Air flow over design air flow, mean over the step."""
    fan_power_w: Array
    """Electric power of the fan, W."""
    water_flow_kg_s: Array
    """Water over the tower, kg/s."""


class TowerWater(NamedTuple):
    """Water that a tower loses, kg/s; the make-up is the sum."""

    evaporation_kg_s: Array
    drift_kg_s: Array
    blowdown_kg_s: Array


def tower_state(
    design: TowerDesign,
    wet_bulb_degc: Quantity,
    fan_ratio: Quantity,
    water_flow_kg_s: Quantity,
    *,
    fan_wear: Quantity = 0.0,
    fill_fouling: Quantity = 0.0,
) -> TowerState:
    """The tower's curves and fan power for a step.

    fan_ratio: 0..1 of the design air flow. From `minimum_fan_ratio` on it is the fan's speed;
    below, the fan runs at that speed for fan_ratio / minimum_fan_ratio of the time, as in
    EnergyPlus. fan_wear: severity 0..1 of worn bearings: up to `WORN_POWER` more power, and from
    `WORN_FLOW_FROM` on less air at the same speed. fill_fouling: severity 0..1, as if that share of
    `FOULED_FILL` of the air met no water (assumed).
    """
    fan = _fan(design, fan_ratio, fan_wear)
    kept, useful = _air_kept(fan_wear, fill_fouling)
    water = water_flow_kg_s * (design.water_ratio / design.water_flow_kg_s)
    water = larger_of(water, _LEAST_HELD_WATER_RATIO)
    return TowerState(
        running=tower_curve(wet_bulb_degc, water / (fan.speed * kept * useful)),
        full=tower_curve(wet_bulb_degc, water / useful),
        duty=fan.duty,
        free_convection_ratio=design.free_convection_ratio,
        air_ratio=_air_ratio(design, fan, kept),
        fan_power_w=fan.power_w,
        water_flow_kg_s=larger_of(water_flow_kg_s, _LEAST_FLOW_KG_S),
    )


def hold_least_water(
    design: TowerDesign,
    state: TowerState,
    overcooled: NDArray[np.bool_],
    wet_bulb_degc: Quantity,
    fan_ratio: Quantity,
    heat_w: Quantity,
    *,
    fan_wear: Quantity = 0.0,
    fill_fouling: Quantity = 0.0,
) -> TowerState:
    """The tower with its fan slowed where it would chill the water below its least temperature.

    There the fan turns, or cycles, as slowly as holds that temperature (EnergyPlus, whose fan seeks
    a set point, does the same), and no faster than told; water that is too cold even for free
    convection passes the bypass. overcooled: where it would; the rest are arguments and faults of
    `tower_state` and the heat to be rejected. The curves stay those of the fan as told.
    """
    rows = SelectedRows(overcooled)
    if not rows.any:
        return state
    wear = rows.taken(fan_wear)
    kept, useful = _air_kept(wear, rows.taken(fill_fouling))
    enough = tower_fan_ratio(
        design,
        rows.taken(wet_bulb_degc),
        design.minimum_leaving_degc,
        rows.taken(heat_w),
        rows.taken(state.water_flow_kg_s),
    )
    fan = _fan(design, smaller_of(enough / (kept * useful), rows.taken(fan_ratio)), wear)
    return state._replace(
        duty=rows.replaced(state.duty, fan.duty),
        air_ratio=rows.replaced(state.air_ratio, _air_ratio(design, fan, kept)),
        fan_power_w=rows.replaced(state.fan_power_w, fan.power_w),
    )


class _Fan(NamedTuple):
    """A tower's fan."""

    speed: Array
    """Of full speed while it runs."""
    duty: Array
    """Share of the time that it runs."""
    power_w: Array


def _fan(design: TowerDesign, fan_ratio: Quantity, wear: Quantity) -> _Fan:
    fan_ratio = limited(fan_ratio, 0.0, 1.0)
    speed = larger_of(fan_ratio, design.minimum_fan_ratio)
    duty = fan_ratio / speed
    constant, linear, square, cube = design.fan_coefficients
    power = ((cube * speed + square) * speed + linear) * speed + constant
    power = larger_of(power, 0.0) * duty * (1.0 + WORN_POWER * wear * wear)
    return _Fan(speed, duty, design.fan_power_w * power)


def _air_kept(fan_wear: Quantity, fill_fouling: Quantity) -> tuple[Array, Array]:
    """Shares of the air that a worn fan still moves, and that fouled fill still uses."""
    lost = larger_of(fan_wear - WORN_FLOW_FROM, 0.0)
    kept = 1.0 - lost * (WORN_FLOW / (1.0 - WORN_FLOW_FROM))
    return kept, 1.0 - FOULED_FILL * fill_fouling


def _air_ratio(design: TowerDesign, fan: _Fan, kept: Array) -> Array:
    """Air flow over design air flow, mean; free convection while the fan rests."""
    return fan.duty * fan.speed * kept + (1.0 - fan.duty) * design.free_convection_ratio


class TowerBalance(NamedTuple):
    """Water of a tower in steady state."""

    leaving_degc: Array
    """Water leaving."""
    warming: Array
    """Kelvins that the leaving water warms per kelvin of range more, for solvers."""


def tower_balance(state: TowerState, heat_w: Quantity) -> TowerBalance:
    """Leaving water of a tower that must reject `heat_w` (W) in steady state, before the bypass.

    While the fan cycles, the ranges of fan on and off at one entering temperature, weighed by their
    shares of time, make up the range (as in EnergyPlus, but each along a straight line from the
    water that it would not cool, so that no search is needed).
    """
    range_k = heat_w / (state.water_flow_kg_s * WATER_SPECIFIC_HEAT_J_KG_K)
    # Free convection's range stands for one that is larger by its share of the air.
    larger = 1.0 / state.free_convection_ratio
    uncooled, chord, turns = curve_lines(state.running, range_k)
    off = curve_lines(state.full, range_k * larger)
    off_uncooled, off_chord = off.uncooled_degc, off.chord * larger
    off_turns = off.turning * (larger * larger)
    better = uncooled + chord * range_k < off_uncooled + off_chord * range_k
    uncooled = choose(better, uncooled, off_uncooled)
    chord = choose(better, chord, off_chord)
    on_share, off_share = state.duty / chord, (1.0 - state.duty) / off_chord
    cold = on_share * uncooled + off_share * off_uncooled
    entering = (range_k + cold) / (on_share + off_share)
    # The chords turn as the range grows.
    turning = on_share / chord * (entering - uncooled) * choose(better, turns, off_turns)
    turning += off_share / off_chord * (entering - off_uncooled) * off_turns
    slope = (1.0 + turning) / (on_share + off_share)
    return TowerBalance(entering - range_k, slope - 1.0)


def tower_leaving_degc(design: TowerDesign, state: TowerState, heat_w: Quantity) -> Array:
    """Leaving water of a tower that must reject `heat_w` (W) in steady state, after the bypass."""
    return larger_of(tower_balance(state, heat_w).leaving_degc, design.minimum_leaving_degc)


def tower_fan_ratio(
    design: TowerDesign,
    wet_bulb_degc: Quantity,
    leaving_degc: Quantity,
    heat_w: Quantity,
    water_flow_kg_s: Quantity,
) -> Array:
    """Fan ratio with which a sound tower rejects `heat_w` at a wanted leaving temperature, 0..1.

    The inverse of `tower_leaving_degc` for controllers: closed form. 1 where even full speed leaves
    the water warmer, 0 where free convection leaves it colder.
    """
    flow = larger_of(np.asarray(water_flow_kg_s, dtype=np.float64), _LEAST_FLOW_KG_S)
    water = flow * (design.water_ratio / design.water_flow_kg_s)
    water = larger_of(water, _LEAST_HELD_WATER_RATIO)
    range_k = heat_w / (flow * WATER_SPECIFIC_HEAT_J_KG_K)
    wet_bulb = np.asarray(wet_bulb_degc, dtype=np.float64)
    known = limited(wet_bulb, COLDEST_WET_BULB, WARMEST_WET_BULB)
    leaving_degc = np.asarray(leaving_degc, dtype=np.float64)
    approach_k = leaving_degc - larger_of(wet_bulb, known)
    # Water over air rises with the approach: the smaller root of the quadratic, without cancelling.
    ratio = filled(1.0, known)
    for _ in range(3):  # the wet bulb is held where the correlation turns, which the root decides
        bulb = larger_of(known, turning_wet_bulb(ratio))
        constant, linear, square = by_flow_ratio(bulb, range_k)
        constant = constant - (approach_k - (bulb - known))
        root = np.sqrt(larger_of(linear * linear - 4.0 * square * constant, 0.0))
        ratio = limited(-2.0 * constant / (linear + root), 1e-9, LARGEST_FLOW_RATIO)
    speed = limited(water / ratio, 0.0, 1.0)

    least = design.minimum_fan_ratio
    share = design.free_convection_ratio
    running = curve_lines(tower_curve(wet_bulb, water / least), range_k)
    resting = curve_lines(tower_curve(wet_bulb, water), range_k / share)
    entering_degc = leaving_degc + range_k
    off_range = share * ((entering_degc - resting.uncooled_degc) / resting.chord)
    on_range = larger_of((entering_degc - running.uncooled_degc) / running.chord, off_range)
    duty = limited((range_k - off_range) / larger_of(on_range - off_range, 1e-9), 0.0, 1.0)
    return choose(on_range >= range_k - 1e-9, duty * least, larger_of(speed, least))


def tower_water(
    design: TowerDesign,
    state: TowerState,
    heat_w: Quantity,
    dry_bulb_degc: Quantity,
    humidity_ratio: Quantity,
    pressure_pa: Quantity,
) -> TowerWater:
    """Evaporation, drift and blowdown of a tower that rejects `heat_w`, kg/s.

    The air leaves saturated, with the enthalpy that it brought and the heat (Merkel 1925, who
    neglects that of the evaporated water; EnergyPlus, evaporation loss mode SaturatedExit, but for
    its counting moist air as dry, which is 1 to 4 % less water). Drift goes with the air. Blowdown
    holds the cycles of concentration, to which drift counts (EnergyPlus, ConcentrationRatio).
    """
    works = heat_w > 0.0
    air_kg_s = state.air_ratio * design.air_flow_m3_s
    air_kg_s = air_kg_s * density_kg_m3(dry_bulb_degc, humidity_ratio, pressure_pa)
    enthalpy = enthalpy_j_kg(dry_bulb_degc, humidity_ratio) + larger_of(heat_w, 0.0) / air_kg_s
    _, leaving_ratio = saturated_air(enthalpy, pressure_pa)
    evaporation = air_kg_s * larger_of(leaving_ratio - humidity_ratio, 0.0) * works
    drift = state.air_ratio * state.water_flow_kg_s * choose(works, design.drift_ratio, 0.0)
    blowdown = evaporation * (1.0 / (design.cycles_of_concentration - 1.0)) - drift
    return TowerWater(evaporation, drift, larger_of(blowdown, 0.0))
