"""A year of outdoor air in steps of five minutes, ready to be indexed.

Where the air comes from is told elsewhere: `weather_files` reads EPW files, `synthetic_weather`
makes years up. Here stands what any year must be, and how hourly values become steps.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import accumulate

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlkit_envs.data_center import psychrometrics

Array = NDArray[np.float64]

STEP_S = 300
"""Seconds in a step."""
STEPS_PER_HOUR = 12
STEPS_PER_DAY = 288
STEPS_PER_YEAR = 105_120
"""Steps in the 365 days of a year. Leap days do not exist here."""
HOURS_PER_YEAR = 8760
DAYS_PER_MONTH = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

DRY_BULB_RANGE_DEGC = (-70.0, 60.0)
"""Colder or hotter air has not been measured where data centres stand."""
PRESSURE_RANGE_PA = (31_000.0, 120_000.0)
"""The range that EnergyPlus accepts (Auxiliary Programs, EPW data dictionary)."""


@dataclass(frozen=True, eq=False)
class Weather:
    """A year of outdoor air at one place, one value a step.

    Entry i is the air at i * STEP_S seconds after midnight of 1 January, local standard time. The
    year is a ring: entry 0 follows the last. The arrays are read-only, so that environments may
    share them. Raises ValueError, naming the entry and its value, for air that cannot be.
    """

    name: str
    """The place, and the kind of year."""
    latitude_deg: float
    """-90 to 90, north positive."""
    longitude_deg: float
    """-180 to 180, east positive."""
    elevation_m: float
    """Above sea level, -500 to 9000."""
    dry_bulb_degc: Array
    """(STEPS_PER_YEAR,) temperature, -70 to 60."""
    humidity_ratio: Array
    """(STEPS_PER_YEAR,) kg water / kg dry air, at most that of saturated air."""
    wet_bulb_degc: Array
    """(STEPS_PER_YEAR,) thermodynamic wet bulb, at most the dry bulb."""
    pressure_pa: Array
    """(STEPS_PER_YEAR,) barometric pressure, 31 to 120 kPa."""

    def __post_init__(self) -> None:
        check_site(self.latitude_deg, self.longitude_deg, self.elevation_m)
        for field in fields(self)[-4:]:
            values = np.array(getattr(self, field.name), dtype=np.float64)
            if values.shape != (STEPS_PER_YEAR,):
                raise ValueError(
                    f"{field.name} has shape {values.shape}: a year is ({STEPS_PER_YEAR},), "
                    "one value every five minutes"
                )
            values.setflags(write=False)
            object.__setattr__(self, field.name, values)
        _check_range("dry_bulb_degc", self.dry_bulb_degc, *DRY_BULB_RANGE_DEGC)
        _check_range("pressure_pa", self.pressure_pa, *PRESSURE_RANGE_PA)
        saturated = psychrometrics.saturation_humidity_ratio(self.dry_bulb_degc, self.pressure_pa)
        # A fit or a rounding may lie a hair above saturation; fog beyond that is a mistake.
        _check_range("humidity_ratio", self.humidity_ratio, 0.0, saturated * 1.001)
        _check_range("wet_bulb_degc", self.wet_bulb_degc, -100.0, self.dry_bulb_degc + 0.01)

    @classmethod
    def from_air(
        cls,
        name: str,
        latitude_deg: float,
        longitude_deg: float,
        elevation_m: float,
        *,
        dry_bulb_degc: Array,
        humidity_ratio: Array,
        pressure_pa: Array,
    ) -> Weather:
        """The weather of air given at every step, (STEPS_PER_YEAR,) each; adds the wet bulb."""
        wet_bulb = psychrometrics.wet_bulb_degc(dry_bulb_degc, humidity_ratio, pressure_pa)
        return cls(
            name=name,
            latitude_deg=latitude_deg,
            longitude_deg=longitude_deg,
            elevation_m=elevation_m,
            dry_bulb_degc=dry_bulb_degc,
            humidity_ratio=humidity_ratio,
            wet_bulb_degc=wet_bulb,
            pressure_pa=pressure_pa,
        )

    @classmethod
    def from_hourly(
        cls,
        name: str,
        latitude_deg: float,
        longitude_deg: float,
        elevation_m: float,
        *,
        dry_bulb_degc: ArrayLike,
        relative_humidity: ArrayLike,
        pressure_pa: ArrayLike,
    ) -> Weather:
        """The weather of 8,760 values at 0:00, 1:00, ... 23:00 on 31 December.

        Temperature, relative humidity (0..1, below 0 degC over ice) and pressure are interpolated
        linearly, as EnergyPlus does, and after 23:00 on 31 December towards the first; so the air
        is never above saturation. Raises ValueError, naming the hour and its value, for a wrong
        length, NaN, or values out of range.
        """
        hourly = {
            "dry_bulb_degc": (dry_bulb_degc, *DRY_BULB_RANGE_DEGC),
            "relative_humidity": (relative_humidity, 0.0, 1.0),
            "pressure_pa": (pressure_pa, *PRESSURE_RANGE_PA),
        }
        steps: dict[str, Array] = {}
        for quantity, (given, lowest, highest) in hourly.items():
            values = np.asarray(given, dtype=np.float64)
            if values.shape != (HOURS_PER_YEAR,):
                raise ValueError(
                    f"{quantity} has shape {values.shape}: a year of hours is ({HOURS_PER_YEAR},); "
                    "leave 29 February out"
                )
            _check_range(quantity, values, lowest, highest)
            steps[quantity] = interpolate_hours(values)
        return cls.from_air(
            name,
            latitude_deg,
            longitude_deg,
            elevation_m,
            dry_bulb_degc=steps["dry_bulb_degc"],
            humidity_ratio=psychrometrics.humidity_ratio_from_relative(**steps),
            pressure_pa=steps["pressure_pa"],
        )


def interpolate_hours(hourly: Array) -> Array:
    """(hours,) on a ring to (hours * STEPS_PER_HOUR,), linearly; entry 12 i is hourly entry i."""
    share = np.arange(STEPS_PER_HOUR) / STEPS_PER_HOUR
    here, there = hourly[:, np.newaxis], np.roll(hourly, -1)[:, np.newaxis]
    return (here + share * (there - here)).reshape(-1)


def months_of_steps() -> NDArray[np.int64]:
    """(STEPS_PER_YEAR,) month of every step, 0 for January."""
    return np.repeat(np.arange(12), np.array(DAYS_PER_MONTH) * STEPS_PER_DAY)


def date_of_day(day: int) -> str:
    """Day and month, such as "14 Jul", of a day counted from 0 for 1 January, in any year."""
    day %= STEPS_PER_YEAR // STEPS_PER_DAY
    starts = [0, *accumulate(DAYS_PER_MONTH)]
    month = max(number for number in range(12) if starts[number] <= day)
    return f"{day - starts[month] + 1} {MONTHS[month]}"


def check_site(latitude_deg: float, longitude_deg: float, elevation_m: float) -> None:
    """Raises ValueError, naming the value and what would fit, for a place not on this planet."""
    limits = {
        "latitude_deg": (latitude_deg, -90.0, 90.0),
        "longitude_deg": (longitude_deg, -180.0, 180.0),
        "elevation_m": (elevation_m, -500.0, 9000.0),
    }
    for quantity, (value, lowest, highest) in limits.items():
        if not lowest <= value <= highest:
            raise ValueError(f"{quantity} is {value:g}: expected {lowest:g} to {highest:g}")


def _check_range(name: str, values: Array, lowest: float, highest: Array | float) -> None:
    wrong = np.flatnonzero(~((values >= lowest) & (values <= highest)))  # true for NaN as well
    if wrong.size:
        at = int(wrong[0])
        limit = float(np.broadcast_to(highest, values.shape)[at])
        raise ValueError(
            f"{name}[{at}] is {values[at]:g}: expected {lowest:g} to {limit:g} "
            f"({wrong.size} of {values.size} values are out of range)"
        )
