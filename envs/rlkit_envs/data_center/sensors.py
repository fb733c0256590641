"""What a site's own sensors tell, scaled for a network: names, units, ranges, noise, delay.

Readings of the plant are means over the step that has just ended; the outdoor air is that of now.
A forecast is the weather file's own future, unless noise is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.design import ChilledWaterPlantDesign, DataCenterDesign
from rlkit_envs.data_center.plant import PlantStep
from rlkit_envs.data_center.psychrometrics import Array, Quantity
from rlkit_envs.data_center.ranges import check_ranges

ECONOMISER_SENSOR = "economiser_mode"
"""Its position, so that an agent knows what a change of it would be."""

OFF_SCALE = 3.0
"""Scaled readings end here: a sensor has a measuring range."""

_TEMPERATURE_NOISE_K = 0.2
_DEW_POINT_NOISE_K = 0.5
_METER_NOISE = 0.005
"""Of powers and flows, over their range; usual accuracies, as are those above (assumed)."""
_FORECAST_NOISE_K = 0.6
"""Of the dry bulb an hour ahead; grows with the square root of the time (assumed)."""


@dataclass(frozen=True)
class SensorSettings:
    """How well the agent sees."""

    noise: float = 0.0
    """Times the standard deviation that the table of sensors gives, 0 to 10; drawn anew in every
    step, for each sensor. 0 shows what is."""
    delay_steps: int = 0
    """Steps of 5 minutes by which readings of plant and outdoor air are late, 0 to 12; clock and
    forecast are not."""
    forecast_hours: tuple[float, ...] = (1.0, 3.0, 6.0)
    """How far ahead outdoor dry and wet bulb are foretold, each 0.1 to 72 hours; may be empty."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "forecast_hours", tuple(self.forecast_hours))
        check_ranges(self, noise=(0.0, 10.0), delay_steps=(0, 12))
        if not isinstance(self.delay_steps, int):
            raise TypeError(f"SensorSettings.delay_steps must be whole, but is {self.delay_steps}")
        for hours in self.forecast_hours:
            if not 0.1 <= hours <= 72.0:
                raise ValueError(
                    f"SensorSettings.forecast_hours holds {hours!r}: 0.1 to 72 would fit"
                )


class Reading(NamedTuple):
    """All that sensors of the plant look at; arrays (num_envs,), or numbers for what all share."""

    step: PlantStep
    utilisation: Array
    hall_dew_point_degc: Array
    economiser: Quantity | NDArray[np.int64]
    """Mode that was told, as `EconomiserMode` numbers it."""


@dataclass(frozen=True)
class Sensor:
    """One number of the observation."""

    name: str
    """With its unit as last part, where it has one."""
    meaning: str
    """What it measures."""
    low: float
    """Reads as -1."""
    high: float
    """Reads as 1."""
    noise: float = 0.0
    """Standard deviation at noise 1, in the sensor's unit."""
    read: Callable[[Reading], Quantity] | None = None
    """How the plant's sensors read; None where the environment fills the value in."""


def plant_sensors(design: DataCenterDesign) -> tuple[Sensor, ...]:
    """The sensors of a site's plant, those left out that it has nothing for."""
    rated_w = design.servers.rated_power_w * (1.0 + design.servers.rated_fan_share)
    air_kg_s = 1.2 * design.fan.rated_flow_m3_s

    sensors = [
        _temperature(
            "supply_air",
            "air that leaves the air handlers",
            10,
            35,
            lambda r: r.step.handler.supply_degc,
        ),
        _temperature(
            "return_air", "air of the hall", 15, 50, lambda r: r.step.temperatures.mean_air_degc
        ),
        _temperature("inlet", "mean inlet of the servers", 10, 40, lambda r: r.step.inlet_degc),
        _temperature(
            "hottest_inlet",
            "inlet of the hottest rack",
            10,
            40,
            lambda r: r.step.hottest_inlet_degc,
        ),
        Sensor(
            "hall_dew_point_degc",
            "dew point of the hall's air",
            -30.0,
            30.0,
            _DEW_POINT_NOISE_K,
            lambda r: r.hall_dew_point_degc,
        ),
        _meter(
            "air_flow_kg_s", "air handlers' flow", air_kg_s, lambda r: r.step.handler.supply_kg_s
        ),
        Sensor("utilisation", "of the servers", 0.0, 1.0, 0.0, lambda r: r.utilisation),
        _meter("it_power_w", "servers with their fans", rated_w, lambda r: r.step.servers.power_w),
        _meter(
            "facility_power_w",
            "drawn from the utility",
            1.5 * rated_w,
            lambda r: r.step.facility.power_w,
        ),
        _meter(
            "air_handler_fan_power_w",
            "fans of the air handlers",
            design.fan.rated_power_w,
            lambda r: r.step.handler.fan_power_w,
        ),
    ]
    plant = design.cooling
    if isinstance(plant, ChilledWaterPlantDesign):
        pumps_w = plant.chilled_pump.power_w + plant.condenser_pump.power_w
        sensors += [
            _meter(
                "chiller_power_w",
                "chiller",
                plant.chiller.capacity_w / plant.chiller.cop,
                lambda r: r.step.cooling.compressor_power_w,
            ),
            _meter(
                "pump_power_w",
                "chilled-water and condenser pumps",
                pumps_w,
                lambda r: (
                    r.step.cooling.chilled_pump_power_w + r.step.cooling.condenser_pump_power_w
                ),
            ),
            _meter(
                "tower_fan_power_w",
                "fan of the tower",
                plant.tower.fan_power_w,
                lambda r: r.step.cooling.tower_fan_power_w,
            ),
            _temperature(
                "chilled_water",
                "water that enters the coils",
                4,
                25,
                lambda r: r.step.cooling.chilled_degc,
            ),
            _temperature(
                "chilled_return",
                "water that comes back",
                5,
                35,
                lambda r: r.step.cooling.chilled_return_degc,
            ),
            _meter(
                "chilled_water_kg_s",
                "flow of chilled water",
                plant.chilled_pump.flow_kg_s,
                lambda r: r.step.cooling.chilled_kg_s,
            ),
            Sensor(
                "valve_ratio",
                "water through the coils over their rated one",
                0.0,
                1.0,
                _METER_NOISE,
                lambda r: r.step.handler.water_ratio,
            ),
            _temperature(
                "condenser_water",
                "water that leaves the tower",
                5,
                35,
                lambda r: r.step.cooling.condenser_degc,
            ),
            _temperature(
                "condenser_return",
                "water that enters the tower",
                5,
                45,
                lambda r: r.step.cooling.tower_entering_degc,
            ),
        ]
    else:
        sensors.append(
            _meter(
                "direct_expansion_power_w",
                "compressor and condenser fan",
                plant.capacity_w / plant.cop,
                lambda r: r.step.cooling.compressor_power_w,
            )
        )
    if design.air_economiser is not None:
        sensors.append(
            Sensor(
                "outdoor_air_ratio",
                "outdoor share of the supply air",
                0.0,
                1.0,
                _METER_NOISE,
                lambda r: r.step.intake.outdoor_ratio,
            )
        )
    if design.has_economiser:
        sensors.append(
            Sensor(
                ECONOMISER_SENSOR,
                "0 shut, 1 before the compressors, 2 alone",
                0.0,
                2.0,
                0.0,
                lambda r: r.economiser,
            )
        )
    return tuple(sensors)


OUTDOOR_SENSORS = (
    Sensor("outdoor_dry_bulb_degc", "outdoor air", -20.0, 45.0, _TEMPERATURE_NOISE_K),
    Sensor("outdoor_wet_bulb_degc", "outdoor air", -20.0, 35.0, _TEMPERATURE_NOISE_K),
)

CLOCK_SENSORS = tuple(
    Sensor(f"{name}_{wave}", f"time of the {name}, {wave}", -1.0, 1.0)
    for name in ("day", "week", "year")
    for wave in ("sine", "cosine")
)

RISE_SENSOR = Sensor(
    "sharpest_rise", "largest rise of utilisation within a step in the last seven days", 0.0, 1.0
)
"""Tells loads that burst from calm ones, which the present utilisation does not."""


def forecast_sensors(hours: tuple[float, ...]) -> tuple[Sensor, ...]:
    """Dry bulb at each time ahead, then wet bulb at each."""
    return tuple(
        Sensor(
            f"forecast_{kind}_{ahead:g}h_degc",
            f"outdoor {kind.replace('_', ' ')} in {ahead:g} hours",
            -20.0,
            highest,
            _FORECAST_NOISE_K * math.sqrt(ahead),
        )
        for kind, highest in (("dry_bulb", 45.0), ("wet_bulb", 35.0))
        for ahead in hours
    )


def cost_sensor(mean_per_kwh: float) -> Sensor:
    """What a kilowatt hour costs now, carbon included; only where that changes over time."""
    return Sensor("cost_per_kwh", "electricity now, with its carbon", 0.0, 2.0 * mean_per_kwh)


def sensor_noise(keys: NDArray[np.uint64], step: NDArray[np.int64], deviations: Array) -> Array:
    """(sensors, num_envs) noise with the given standard deviations (sensors,), bell-shaped.

    keys: (num_envs,), one for each environment and episode. step: (num_envs,) of the episode.
    A counter-based generator: SplitMix64 (Steele, Lea & Flood 2014) hashes key, step and sensor, so
    that a row's noise depends on no other row and there is no state to save. The sum of the hash's
    four 16-bit words is nearly normal, and never beyond 3.5 standard deviations.
    """
    counter = step.astype(np.uint64) * np.uint64(len(deviations) + 1)
    sensors = np.arange(1, len(deviations) + 1, dtype=np.uint64)
    hashed = keys + (counter + sensors[:, np.newaxis]) * np.uint64(0x9E3779B97F4A7C15)
    hashed = (hashed ^ (hashed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashed = (hashed ^ (hashed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    hashed ^= hashed >> np.uint64(31)
    word = np.uint64(0xFFFF)
    total = (hashed & word) + ((hashed >> np.uint64(16)) & word)
    total += ((hashed >> np.uint64(32)) & word) + (hashed >> np.uint64(48))
    # Four even words: mean 2 * 65535, variance 4 (65536^2 - 1) / 12.
    centred = total.astype(np.float64) - 131_070.0
    return centred * (deviations * (math.sqrt(3.0) / 65_536.0))[:, np.newaxis]


def _temperature(
    name: str, meaning: str, low: float, high: float, read: Callable[[Reading], Quantity]
) -> Sensor:
    return Sensor(f"{name}_degc", meaning, low, high, _TEMPERATURE_NOISE_K, read)


def _meter(name: str, meaning: str, high: float, read: Callable[[Reading], Quantity]) -> Sensor:
    return Sensor(name, meaning, 0.0, high, _METER_NOISE * high, read)
