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

from rlkit_envs.data_center.design import DataCenterDesign
from rlkit_envs.data_center.faults import Fault, check_faults
from rlkit_envs.data_center.sensors import plant_sensors
from rlkit_envs.data_center.weather import STEPS_PER_DAY

SEVERITIES = ("mild", "medium", "severe")

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "fan_bearing": "worn bearings of a fan: more power, at last less air",
        "stuck_valve": "a valve or damper that stays where it is, whatever it is told",
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
    """Least and most strength: the simulator's severity, which lies within 0 to 1."""
    medium: Range
    """The same of medium faults."""
    severe: Range
    """The same of severe faults."""
    sensor: str | None = None
    """That errs, to either side."""
    usual_position: float | None = None
    """Where a valve or damper usually stands; it sticks as far from there, to either side, as the
    strength says."""
    grows: bool = False
    """Whether it grows from nothing; else it is there at once. Drifts grow by themselves."""
    of_chiller: bool = False
    """Whether nothing shows while the chiller rests."""

    @property
    def label(self) -> str:
        """The simulator's name for it: `sensor_drift:supply_air_degc`."""
        return self.fault if self.sensor is None else f"{self.fault}:{self.sensor}"

    def strengths(self, severity: str) -> Range:
        """Least and most strength of a severity. Raises ValueError for another word."""
        if severity not in SEVERITIES:
            raise ValueError(f"severity is {severity!r}: there are {', '.join(SEVERITIES)}")
        return {"mild": self.mild, "medium": self.medium, "severe": self.severe}[severity]


_DRIFT: dict[str, Any] = {"mild": (0.2, 0.3), "medium": (0.4, 0.6), "severe": (0.9, 1.0)}
_BIAS: dict[str, Any] = {"mild": (0.2, 0.3), "medium": (0.4, 0.6), "severe": (0.9, 1.0)}

FAULTY_PARTS = (
    FaultyPart(
        "fan_bearing", "air_handler_fan", (0.45, 0.55), (0.65, 0.75), (0.9, 1.0), grows=True
    ),
    FaultyPart("fan_bearing", "tower_fan", (0.45, 0.55), (0.65, 0.75), (0.9, 1.0), grows=True),
    FaultyPart(
        "stuck_valve", "stuck_valve", (0.0, 0.05), (0.1, 0.2), (0.3, 0.4), usual_position=0.6
    ),
    FaultyPart(
        "stuck_valve", "stuck_damper", (0.0, 0.05), (0.1, 0.2), (0.3, 0.4), usual_position=0.5
    ),
    FaultyPart("sensor_error", "sensor_drift", **_DRIFT, sensor="supply_air_degc"),
    FaultyPart("sensor_error", "sensor_bias", **_BIAS, sensor="chilled_water_degc"),
    FaultyPart("sensor_error", "sensor_drift", **_DRIFT, sensor="condenser_water_degc"),
    FaultyPart("sensor_error", "sensor_bias", **_BIAS, sensor="hottest_inlet_degc"),
    FaultyPart("fouling", "coil_fouling", (0.2, 0.3), (0.45, 0.6), (0.9, 1.0), grows=True),
    FaultyPart(
        "fouling",
        "condenser_fouling",
        (0.2, 0.3),
        (0.45, 0.6),
        (0.9, 1.0),
        grows=True,
        of_chiller=True,
    ),
    FaultyPart(
        "refrigerant_leak",
        "refrigerant_loss",
        (0.3, 0.4),
        (0.55, 0.65),
        (0.9, 1.0),
        grows=True,
        of_chiller=True,
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
    """The simulator's severity, below 0 for a sensor that reads too low; 1 of what is stuck."""
    position: float
    """Where it is stuck, 0 to 1; 0.5, without meaning, of other parts."""
    start: int
    """First step of five minutes, from the beginning of the series."""
    stop: int
    """Step in which it is repaired."""


def parts_of(design: DataCenterDesign) -> tuple[FaultyPart, ...]:
    """Those of `FAULTY_PARTS` that a site has."""
    sensors = [sensor.name for sensor in plant_sensors(design)]
    found: list[FaultyPart] = []
    for part in FAULTY_PARTS:
        try:
            check_faults([Fault(part.fault, sensor=part.sensor)], design, sensors)
        except ValueError:
            continue
        found.append(part)
    return tuple(found)


def simulated(parts: Sequence[FaultyPart], growth_days: float) -> tuple[Fault, ...]:
    """The parts as the simulator takes them; those that grow do so evenly in `growth_days`."""
    return tuple(
        Fault(part.fault, sensor=part.sensor, growth_days=growth_days if part.grows else 0.0)
        for part in parts
    )


def draw_instances(
    parts: Sequence[FaultyPart],
    of_each: int,
    onset_days: Range,
    duration_days: Range,
    generator: np.random.Generator,
) -> list[FaultInstance]:
    """`of_each` instances of each kind and severity, whose parts take turns; onsets and durations
    are drawn evenly from these ranges."""
    instances: list[FaultInstance] = []
    for kind in KINDS:
        candidates = [part for part in parts if part.kind == kind]
        for severity in SEVERITIES if candidates else ():
            for number in range(of_each):
                part = candidates[number % len(candidates)]
                strength = float(generator.uniform(*part.strengths(severity)))
                side = float(generator.choice((-1.0, 1.0)))
                start = round(float(generator.uniform(*onset_days)) * STEPS_PER_DAY)
                steps = math.ceil(float(generator.uniform(*duration_days)) * STEPS_PER_DAY)
                position = 0.5
                if part.usual_position is not None:
                    position = min(max(part.usual_position + side * strength, 0.0), 1.0)
                    strength = 1.0
                elif part.sensor is not None:
                    strength *= side
                instances.append(
                    FaultInstance(part, severity, strength, position, start, start + steps)
                )
    return instances


def place_instances(
    instances: Sequence[FaultInstance],
    warmth: NDArray[np.float64],
    generator: np.random.Generator,
) -> list[FaultInstance]:
    """The instances in the order of the series that they happen in, at random; but those of the
    chiller happen in the warmest, as nothing shows while it rests.

    warmth: (instances,), outdoor wet bulb of each series.
    """
    coldest_first = np.argsort(warmth, kind="stable")
    chiller = [instance for instance in instances if instance.part.of_chiller]
    others = [instance for instance in instances if not instance.part.of_chiller]
    placed: dict[int, FaultInstance] = {}
    split = len(others)
    for group, places in ((others, coldest_first[:split]), (chiller, coldest_first[split:])):
        for place, chosen in zip(places.tolist(), generator.permutation(len(group)), strict=True):
            placed[place] = group[chosen]
    return [placed[place] for place in range(len(instances))]
