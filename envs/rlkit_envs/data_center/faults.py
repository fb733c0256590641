"""Faults of a site's components and sensors: what, how bad, since when, for how long.

What a severity does to a component stands with the component; here it is drawn for each episode and
followed over its steps. Sizes of sensors' errors are those reported for data centres' and
buildings' sensors: 0.05 to 0.5 K a day, or 2 K at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.design import ChilledWaterPlantDesign, DataCenterDesign
from rlkit_envs.data_center.plant_state import PlantFaults
from rlkit_envs.data_center.psychrometrics import Array
from rlkit_envs.data_center.weather import STEPS_PER_DAY

DRIFT_K_PER_DAY = 0.5
"""Of a temperature sensor that drifts with severity 1."""
DRIFT_LIMIT_K = 3.0
"""Where drift ends: someone would notice (assumed)."""
BIAS_K = 2.0
"""Error of a temperature sensor with a bias of severity 1."""
RANGE_PER_K = 0.02
"""Sensors of other kinds err by this share of their range where a temperature errs by 1 K
(assumed)."""

SENSOR_KINDS = ("sensor_drift", "sensor_bias")

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "air_handler_fan": "worn bearings of the air handlers' fans",
        "coil_fouling": "dirt on the chilled-water coils",
        "stuck_valve": "the coils' valve stays at `position`",
        "stuck_damper": "the outdoor-air dampers stay at `position`",
        "cooling_trip": "chiller or direct expansion switched off by its protection",
        "refrigerant_loss": "leak of chiller or direct expansion",
        "condenser_fouling": "dirt in the condenser of chiller or direct expansion",
        "exchanger_fouling": "dirt on the plate exchanger",
        "tower_fan": "worn bearings of the tower's fan",
        "tower_fouling": "scale on the tower's fill",
        "chilled_pump": "worn bearings of the chilled-water pump",
        "condenser_pump": "worn bearings of the condenser pump",
        "sensor_drift": "a sensor whose error grows day by day",
        "sensor_bias": "a sensor with a constant error",
    }
)
"""Every kind of fault, with what it is."""

_POSITIONS = {"stuck_valve": "stuck_valve_ratio", "stuck_damper": "stuck_damper_ratio"}

Drawn = float | tuple[float, float]
"""A number, or the least and the most of one that is drawn evenly for each episode."""


@dataclass(frozen=True)
class Fault:
    """One fault. Times count from the start of an episode, in days."""

    kind: str
    """A name in `KINDS`."""
    severity: Drawn = 1.0
    """0 (sound) to 1, at a sensor -1 to 1; a `Drawn`. Stuck parts have none: leave it at 1. A
    cooling trip counts from 0.5 on."""
    onset_day: Drawn = 0.0
    """When it begins, 0 or more; a `Drawn`."""
    growth_days: float = 0.0
    """Time in which it grows evenly to its severity, 0 or more; 0 is at once. A drift grows by
    itself."""
    duration_days: Drawn = math.inf
    """How long it lasts, above 0; a `Drawn`."""
    probability: float = 1.0
    """That an episode has it, 0 to 1."""
    position: Drawn = 0.5
    """Where a stuck valve or damper stands, 0 (shut) to 1; a `Drawn`."""
    sensor: str | None = None
    """Name of the sensor that drifts or is biased. Local control goes by the same sensor: a supply
    temperature that reads 1 K too high is held 1 K too cold."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"Fault.kind is {self.kind!r}: there are {', '.join(KINDS)}")
        at_sensor = self.kind in SENSOR_KINDS
        if at_sensor != (self.sensor is not None):
            wanted = "the name of a sensor" if at_sensor else "no sensor"
            raise ValueError(f"Fault.sensor is {self.sensor!r}, but a {self.kind} takes {wanted}")
        limits = {
            "severity": (-1.0 if at_sensor else 0.0, 1.0),
            "onset_day": (0.0, math.inf),
            "growth_days": (0.0, math.inf),
            "duration_days": (math.ulp(0.0), math.inf),
            "probability": (0.0, 1.0),
            "position": (0.0, 1.0),
        }
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if isinstance(value, list):  # as JSON has pairs
                value = tuple(value)
                object.__setattr__(self, name, value)
            single = name in ("growth_days", "probability")
            pair: tuple[float, float] = value if isinstance(value, tuple) else (value, value)
            if len(pair) != 2 or (single and isinstance(value, tuple)):
                raise ValueError(f"Fault.{name} is {value!r}, which has too many or few numbers")
            low, high = pair
            if not least <= low <= high <= most or (low != high and math.isinf(high)):
                raise ValueError(
                    f"Fault.{name} is {value!r}: a number{'' if single else ', or two that rise,'} "
                    f"within {least:g} to {most:g} would fit"
                )

    @property
    def label(self) -> str:
        """The kind, with the sensor where there is one: `sensor_drift:supply_air_degc`."""
        return self.kind if self.sensor is None else f"{self.kind}:{self.sensor}"


def check_faults(
    faults: Sequence[Fault], design: DataCenterDesign, sensor_names: Sequence[str]
) -> None:
    """Raises ValueError for a fault of what the site lacks, and for two with one label."""
    watered = isinstance(design.cooling, ChilledWaterPlantDesign)
    needs = {
        "stuck_damper": (design.air_economiser is not None, "an air economiser"),
        "exchanger_fouling": (design.has_water_economiser, "a plate exchanger"),
    }
    for kind in ("coil_fouling", "stuck_valve", "tower_fan", "tower_fouling", "chilled_pump"):
        needs[kind] = (watered, "chilled water")
    needs["condenser_pump"] = (watered, "chilled water")
    labels: set[str] = set()
    for fault in faults:
        present, part = needs.get(fault.kind, (True, ""))
        if not present:
            raise ValueError(f"the fault {fault.kind!r} needs {part}, which {design.name} lacks")
        if fault.sensor is not None and fault.sensor not in sensor_names:
            raise ValueError(
                f"no sensor {fault.sensor!r} at {design.name}; it has {', '.join(sensor_names)}"
            )
        if fault.label in labels:
            raise ValueError(f"the fault {fault.label!r} is given twice; give each once")
        labels.add(fault.label)


def draw_faults(faults: Sequence[Fault], generator: np.random.Generator) -> Array:
    """(4, faults) for one episode: severity, 0 where it has none; onset and end in steps; position.

    Takes the same number of random numbers whatever the faults are like.
    """
    drawn = np.zeros((4, len(faults)))
    for column, fault in enumerate(faults):
        happens, severity, onset, duration, position = generator.random(5)
        begin = np.floor(_between(fault.onset_day, onset) * STEPS_PER_DAY)
        lasts = np.ceil(_between(fault.duration_days, duration) * STEPS_PER_DAY)
        drawn[:, column] = (
            _between(fault.severity, severity) if happens < fault.probability else 0.0,
            begin,
            begin + lasts,
            _between(fault.position, position),
        )
    return drawn


def severities(faults: Sequence[Fault], drawn: Array, step: NDArray[np.int64]) -> Array:
    """(faults, num_envs) severity in a step of the episode; a sensor's error in kelvin.

    drawn: (4, faults, num_envs) of `draw_faults`. step: (num_envs,), 0 for the first.
    """
    severity, onset, end, _ = drawn
    now = np.where((step >= onset) & (step < end), severity, 0.0)
    for row, fault in enumerate(faults):
        age_days = (step - onset[row]) / STEPS_PER_DAY
        if fault.kind == "sensor_drift":
            now[row] = np.clip(now[row] * DRIFT_K_PER_DAY * age_days, -DRIFT_LIMIT_K, DRIFT_LIMIT_K)
            continue
        if fault.growth_days > 0.0:
            now[row] *= np.clip(age_days / fault.growth_days, 0.0, 1.0)
        if fault.kind == "sensor_bias":
            now[row] *= BIAS_K
    return now


def plant_faults(faults: Sequence[Fault], drawn: Array, now: Array) -> PlantFaults:
    """What the plant is told of severities `now`, (faults, num_envs); sensors' are not its own."""
    fields: dict[str, Array] = {}
    for row, fault in enumerate(faults):
        if fault.kind in _POSITIONS:
            fields[_POSITIONS[fault.kind]] = np.where(now[row] > 0.0, drawn[3, row], np.nan)
        elif fault.kind not in SENSOR_KINDS:
            fields[fault.kind] = now[row]
    return PlantFaults(**fields)


def _between(limits: Drawn, share: float) -> float:
    if not isinstance(limits, tuple):
        return float(limits)
    return limits[0] + share * (limits[1] - limits[0])
