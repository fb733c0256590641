"""From a step of the plant to the numbers that an agent sees: reads, breaks, delays, scales.

`ObservationModel` holds what does not change; the few arrays that do are given to it and returned.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from rlkit_envs.data_center.configuration import Outdoors
from rlkit_envs.data_center.design import DataCenterDesign
from rlkit_envs.data_center.faults import RANGE_PER_K, SENSOR_KINDS, Fault
from rlkit_envs.data_center.psychrometrics import Array, Quantity
from rlkit_envs.data_center.sensors import (
    CLOCK_SENSORS,
    ECONOMISER_SENSOR,
    OFF_SCALE,
    OUTDOOR_SENSORS,
    RISE_SENSOR,
    Reading,
    Sensor,
    SensorSettings,
    cost_sensor,
    forecast_sensors,
    plant_sensors,
    sensor_noise,
)
from rlkit_envs.data_center.weather import STEPS_PER_DAY, STEPS_PER_HOUR, STEPS_PER_YEAR

HIDDEN: tuple[Sensor, ...] = (
    Sensor(
        "server_fan_power_w", "fans in the servers", 0, 1, 0, lambda r: r.step.servers.fan_power_w
    ),
    Sensor(
        "mechanical_power_w",
        "all that cools and moistens",
        0,
        1,
        0,
        lambda r: r.step.mechanical_power_w,
    ),
    Sensor("water_kg_s", "make-up and feed water", 0, 1, 0, lambda r: r.step.water_kg_s),
    Sensor("hall_humidity_ratio", "at the end", 0, 1, 0, lambda r: r.step.moisture.humidity_ratio),
    Sensor(
        "exchanger_heat_w", "through the plates", 0, 1, 0, lambda r: r.step.cooling.exchanger_heat_w
    ),
)
"""True quantities that are told in `info` and not observed; they have no scale."""


class ObservationModel:
    """Sensors of a site in the order of the observation, and how they are read.

    `measured` (instruments, num_envs) holds readings of plant, outdoor air and hidden quantities in
    their units; `history` (delay + 1, sensors of plant and outdoor air, num_envs) the newest last.
    """

    def __init__(
        self,
        design: DataCenterDesign,
        settings: SensorSettings,
        faults: Sequence[Fault],
        cost_per_kwh: Array,
    ) -> None:
        """cost_per_kwh: (STEPS_PER_YEAR,), or (1,) where it never changes and is not shown."""
        plant = plant_sensors(design)
        self._readers = [sensor.read for sensor in plant]
        self._hidden = [sensor.read for sensor in HIDDEN]
        self.instruments = (*plant, *OUTDOOR_SENSORS)
        """Sensors that can break, be late, and be noisy."""
        self.measured_names = tuple(s.name for s in (*self.instruments, *HIDDEN))
        self._economiser_row = (
            self.measured_names.index(ECONOMISER_SENSOR) if design.has_economiser else None
        )
        varies = len(cost_per_kwh) > 1
        mean_cost = float(cost_per_kwh.mean())
        self.sensors = (
            *self.instruments,
            *CLOCK_SENSORS,
            RISE_SENSOR,
            *forecast_sensors(settings.forecast_hours),
            *([cost_sensor(mean_cost)] if varies else []),
        )
        """Everything observed, in order."""
        self.delay_steps = settings.delay_steps
        self._cost_per_kwh = cost_per_kwh if varies else None
        ahead = np.array(settings.forecast_hours, dtype=np.float64) * STEPS_PER_HOUR
        self._ahead = np.rint(ahead).astype(np.int64)[:, np.newaxis]
        low = np.array([sensor.low for sensor in self.sensors])[:, np.newaxis]
        high = np.array([sensor.high for sensor in self.sensors])[:, np.newaxis]
        self._middle, self._scale = 0.5 * (low + high), 2.0 / (high - low)
        deviations = np.array([sensor.noise for sensor in self.sensors]) * settings.noise
        self._deviations = deviations if settings.noise > 0.0 else None
        self.space = Box(-OFF_SCALE, OFF_SCALE, (len(self.sensors),), np.float32)
        self._clock = _clock()
        names = [sensor.name for sensor in self.instruments]
        self._broken = [
            (row, names.index(str(fault.sensor)), _per_kelvin(self.instruments, fault))
            for row, fault in enumerate(faults)
            if fault.kind in SENSOR_KINDS
        ]

    def measure(self, reading: Reading) -> Array:
        """(instruments and hidden quantities, num_envs), outdoor air left for `look_outside`."""
        measured = np.empty((len(self.measured_names), len(reading.utilisation)))
        for row, read in enumerate(self._readers):
            measured[row] = read(reading)  # pyright: ignore[reportOptionalCall]
        for row, read in enumerate(self._hidden, len(self.instruments)):
            measured[row] = read(reading)  # pyright: ignore[reportOptionalCall]
        return measured

    def economiser_changed(self, measured: Array, reading: Reading) -> Quantity:
        """(num_envs,) bool, whether its mode is another than when `measured` was; 0 without one."""
        if self._economiser_row is None:
            return 0.0
        return measured[self._economiser_row] != reading.economiser

    def look_outside(
        self, measured: Array, dry_bulb_degc: Quantity, wet_bulb_degc: Quantity
    ) -> None:
        """Fill the outdoor sensors' rows."""
        measured[len(self._readers)] = dry_bulb_degc
        measured[len(self._readers) + 1] = wet_bulb_degc

    def indicated(self, measured: Array, severities: Array | None) -> Array:
        """(instruments, num_envs) what instruments indicate, broken ones included.

        severities: (faults, num_envs) of `faults.severities`, None without faults.
        """
        shown = measured[: len(self.instruments)]
        if self._broken and severities is not None:
            shown = shown.copy()
            for fault, sensor, per_kelvin in self._broken:
                shown[sensor] += severities[fault] * per_kelvin
        return shown

    def sensor_error_k(self, name: str, severities: Array | None) -> Array | float:
        """By how many kelvin the thermometer `name` reads too high; 0 where it is sound."""
        error: Array | float = 0.0
        if severities is not None:
            for fault, sensor, _ in self._broken:
                if self.instruments[sensor].name == name:
                    error = error + severities[fault]
        return error

    def observe(
        self,
        shown: Array,
        outdoors: Outdoors,
        time: NDArray[np.int64],
        weather_start: NDArray[np.int64],
        load_start: NDArray[np.int64],
        age: NDArray[np.int64],
        noise_keys: NDArray[np.uint64],
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(num_envs, sensors) scaled observation, and how many sensors of each row are off scale.

        shown: (instruments, num_envs) indicated, after any delay. time: step of the year that comes
        next. weather_start, load_start: where the weather and load of each row begin in `outdoors`.
        age: steps since the episode's beginning, which with noise_keys makes the noise.
        """
        rows, hours = len(self.instruments), len(self._ahead)
        values = np.empty((len(self.sensors), len(time)))
        values[:rows] = shown
        clock = rows + len(CLOCK_SENSORS)
        self._clock.take(time, axis=1, out=values[rows:clock], mode="clip")
        outdoors.sharpest_rise.take(load_start + time, out=values[clock], mode="clip")
        if hours:
            ahead = time + self._ahead
            ahead[ahead >= STEPS_PER_YEAR] -= STEPS_PER_YEAR
            ahead += weather_start
            forecast = values[clock + 1 : clock + 1 + 2 * hours]
            first, second = forecast[:hours], forecast[hours:]
            outdoors.dry_bulb_degc.take(ahead, out=first, mode="clip")
            outdoors.wet_bulb_degc.take(ahead, out=second, mode="clip")
        if self._cost_per_kwh is not None:
            self._cost_per_kwh.take(time, out=values[-1], mode="clip")
        if self._deviations is not None:
            values += sensor_noise(noise_keys, age, self._deviations)
        values -= self._middle
        values *= self._scale
        off_scale = np.zeros(len(time), np.int64)
        if values.max() > OFF_SCALE or values.min() < -OFF_SCALE:
            off_scale = np.count_nonzero(np.abs(values) > OFF_SCALE, axis=0)
            np.clip(values, -OFF_SCALE, OFF_SCALE, out=values)
        return values.T.astype(np.float32, order="C"), off_scale

    def readings(self, scaled: NDArray[np.floating]) -> dict[str, Array]:
        """Name of each sensor -> (rows,) in its unit, from observations (rows, sensors).

        Readings beyond the end of a scale stay at its end. Raises ValueError for another shape.
        """
        scaled = np.asarray(scaled)
        if scaled.ndim != 2 or scaled.shape[1] != len(self.sensors):
            raise ValueError(
                f"observations have shape {scaled.shape}, not (rows, {len(self.sensors)})"
            )
        values = scaled.T.astype(np.float64, order="C")
        values /= self._scale
        values += self._middle
        return {sensor.name: row for sensor, row in zip(self.sensors, values, strict=True)}


def _clock() -> Array:
    """(clock sensors, STEPS_PER_YEAR)."""
    steps = np.arange(STEPS_PER_YEAR)
    waves = []
    for period in (STEPS_PER_DAY, 7 * STEPS_PER_DAY, STEPS_PER_YEAR):
        angle = 2.0 * np.pi * (steps % period) / period
        waves += [np.sin(angle), np.cos(angle)]
    return np.array(waves)


def _per_kelvin(instruments: Sequence[Sensor], fault: Fault) -> float:
    sensor = next(sensor for sensor in instruments if sensor.name == fault.sensor)
    return 1.0 if sensor.name.endswith("_degc") else RANGE_PER_K * (sensor.high - sensor.low)
