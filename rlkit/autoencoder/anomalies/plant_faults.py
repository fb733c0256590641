"""The five kinds of fault that telemetry is recorded with, and what mild, medium and severe mean.

Kinds and their sizes are those that plants have shown: bearings that take 2 to 15 % more power,
valves that stay where they are, thermometers that drift by 0.05 to 0.5 K a day or are 2 K off,
coils and condensers that lose 10 to 45 % of their conductance, machines that lose 10 to 40 % of
their refrigerant. `rlkit_envs.data_center.faults` has the physics; this module has the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.faults import Fault
from rlkit_envs.data_center.weather import STEPS_PER_DAY

SEVERITIES = ("mild", "medium", "severe")

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "fan_bearing": "worn bearings of a fan: more power, at last less air",
        "stuck_valve": "the coils' valve, which stays where it is, whatever is asked of it",
        "sensor_error": "a thermometer that drifts or is biased, and misleads what goes by it",
        "fouling": "dirt on coil or condenser: less heat for the same difference",
        "refrigerant_leak": "a chiller that loses its charge: less capacity, more power",
    }
)
"""The kinds of events in the telemetry, with what they are."""

Range = tuple[float, float]


@dataclass(frozen=True)
class FaultyPart:
    """One part that breaks in one way."""

    kind: str
    """A name in `KINDS`."""
    fault: str
    """A name in `rlkit_envs.data_center.faults.KINDS`."""
    mild: Range
    """Least and most strength: the simulator's severity, or a position; within 0 to 1."""
    medium: Range
    """The same of medium faults."""
    severe: Range
    """The same of severe faults."""
    sensor: str | None = None
    """That errs, to either side."""
    is_position: bool = False
    """Whether strengths are where a valve sticks, 0 (shut) to 1."""
    grows: bool = False
    """Whether it grows from nothing; else it is there at once. Drifts grow by themselves."""
    warm_weather: bool = False
    """Whether next to nothing shows in the cold, when chiller and tower rest."""

    @property
    def label(self) -> str:
        """The simulator's name for it: `sensor_drift:supply_air_degc`."""
        return self.fault if self.sensor is None else f"{self.fault}:{self.sensor}"

    def strengths(self, severity: str) -> Range:
        """Least and most strength of a severity. Raises ValueError for another word."""
        if severity not in SEVERITIES:
            raise ValueError(f"severity is {severity!r}: there are {', '.join(SEVERITIES)}")
        return {"mild": self.mild, "medium": self.medium, "severe": self.severe}[severity]


_DRIFT: dict[str, Any] = {"mild": (0.15, 0.25), "medium": (0.4, 0.6), "severe": (0.9, 1.0)}
_BIAS: dict[str, Any] = {"mild": (0.2, 0.3), "medium": (0.4, 0.6), "severe": (0.9, 1.0)}
_WEAR: dict[str, Any] = {"mild": (0.45, 0.55), "medium": (0.65, 0.75), "severe": (0.9, 1.0)}

# What the strengths come to, by the simulator's physics:
#   wear        2 to 3, 5 to 7 and 11 to 15 % more power, the severe with 20 to 30 % less air
#   valve       it usually stands at 0.6: a little too open, wide open, too closed for most loads
#   drift       0.08 to 0.13, 0.2 to 0.3 and 0.45 to 0.5 K a day
#   bias        0.4 to 0.6, 0.8 to 1.2 and 1.8 to 2 K
#   coil        9 to 14, 18 to 23 and 34 to 41 % less conductance
#   condenser   as if its water were 1.6 to 2, 2.6 to 3 and 3.6 to 4 K warmer
#   refrigerant 2 to 4, 8 to 11 and 20 to 25 % more power for the same cooling
FAULTY_PARTS = (
    FaultyPart("fan_bearing", "air_handler_fan", **_WEAR, grows=True),
    FaultyPart("fan_bearing", "tower_fan", **_WEAR, grows=True, warm_weather=True),
    FaultyPart(
        "stuck_valve", "stuck_valve", (0.75, 0.8), (0.95, 1.0), (0.35, 0.45), is_position=True
    ),
    FaultyPart("sensor_error", "sensor_drift", **_DRIFT, sensor="supply_air_degc"),
    FaultyPart("sensor_error", "sensor_bias", **_BIAS, sensor="chilled_water_degc"),
    FaultyPart("sensor_error", "sensor_drift", **_DRIFT, sensor="condenser_water_degc"),
    FaultyPart("sensor_error", "sensor_bias", **_BIAS, sensor="hottest_inlet_degc"),
    FaultyPart("fouling", "coil_fouling", (0.2, 0.3), (0.4, 0.5), (0.75, 0.9), grows=True),
    FaultyPart(
        "fouling",
        "condenser_fouling",
        (0.4, 0.5),
        (0.65, 0.75),
        (0.9, 1.0),
        grows=True,
        warm_weather=True,
    ),
    FaultyPart(
        "refrigerant_leak",
        "refrigerant_loss",
        (0.3, 0.4),
        (0.55, 0.65),
        (0.9, 1.0),
        grows=True,
        warm_weather=True,
    ),
)


@dataclass(frozen=True)
class FaultInstance:
    """One fault of one series."""

    part: FaultyPart
    """What breaks."""
    severity: str
    """A word in `SEVERITIES`."""
    strength: float
    """The simulator's severity, below 0 for a sensor that reads too low; or where it sticks."""
    start: int
    """First step of five minutes, from the beginning of the series."""
    stop: int
    """Step in which it is repaired."""


def simulated(growth_days: float) -> tuple[Fault, ...]:
    """`FAULTY_PARTS` as the simulator takes them; those that grow do so evenly in `growth_days`."""
    return tuple(
        Fault(part.fault, sensor=part.sensor, growth_days=growth_days if part.grows else 0.0)
        for part in FAULTY_PARTS
    )


def draw_instances(
    of_each: int, onset_days: Range, duration_days: Range, generator: np.random.Generator
) -> list[FaultInstance]:
    """`of_each` instances of each kind and severity, whose parts take turns; onsets and durations
    are drawn evenly from these ranges."""
    instances: list[FaultInstance] = []
    for kind in KINDS:
        parts = [part for part in FAULTY_PARTS if part.kind == kind]
        for severity in SEVERITIES:
            for number in range(of_each):
                part = parts[number % len(parts)]
                strength = float(generator.uniform(*part.strengths(severity)))
                side = float(generator.choice((-1.0, 1.0)))
                if part.sensor is not None:
                    strength *= side
                start = round(float(generator.uniform(*onset_days)) * STEPS_PER_DAY)
                steps = math.ceil(float(generator.uniform(*duration_days)) * STEPS_PER_DAY)
                instances.append(FaultInstance(part, severity, strength, start, start + steps))
    return instances


def place_instances(
    instances: Sequence[FaultInstance],
    warmth: NDArray[np.float64],
    generator: np.random.Generator,
) -> list[FaultInstance]:
    """The instances in the order of the series that they happen in, at random; but those that show
    in warm weather only happen in the warmest.

    warmth: (instances,), outdoor wet bulb of each series.
    """
    coldest_first = np.argsort(warmth, kind="stable").tolist()
    groups = [
        [instance for instance in instances if instance.part.warm_weather is warm]
        for warm in (False, True)
    ]
    shuffled = [group[which] for group in groups for which in generator.permutation(len(group))]
    placed = dict(zip(coldest_first, shuffled, strict=True))
    return [placed[series] for series in range(len(instances))]
