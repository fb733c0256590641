"""A year of weather as the EPW file that EnergyPlus reads (Auxiliary Programs, EPW dictionary).

EnergyPlus takes the site and the pressure from it. Temperature and humidity stand in it as well, by
the hour; the engine overrides them with the value of every step.
"""

from pathlib import Path

import numpy as np

from rlkit_envs.data_center.psychrometrics import dew_point_degc, relative_humidity
from rlkit_envs.data_center.weather import DAYS_PER_MONTH, STEPS_PER_HOUR, STEPS_PER_YEAR, Weather

_HEADER = """\
LOCATION,{name},-,-,rlkit,0,{latitude:.4f},{longitude:.4f},{zone:.1f},{elevation:.1f}
DESIGN CONDITIONS,0
TYPICAL/EXTREME PERIODS,0
GROUND TEMPERATURES,0
HOLIDAYS/DAYLIGHT SAVINGS,No,0,0,0
COMMENTS 1,no sun and no wind: the hall has no outside
COMMENTS 2,
DATA PERIODS,1,1,Data,Sunday,1/1,12/31
"""
_BEFORE = "_"
"""Flags of source and uncertainty, which EnergyPlus skips."""
_AFTER = "0,0,300,0,0,0,0,0,0,0,0,2,5,5,20,20000,9,999999999,10,0.1,0,88,0.2,0,0"
"""Radiation, light, wind, sky, visibility, ceiling, rain and snow."""


def write_epw(path: Path, weather: Weather, shift_steps: int = 0) -> None:
    """Write 8,760 hours; the record of hour h holds what the weather has at h o'clock.

    shift_steps: by how many steps the file is ahead, so that its midnight is a later time of day.
    """
    hours = (np.arange(0, STEPS_PER_YEAR, STEPS_PER_HOUR) + shift_steps) % STEPS_PER_YEAR
    dry_bulb, pressure = weather.dry_bulb_degc[hours], weather.pressure_pa[hours]
    humidity = weather.humidity_ratio[hours]
    dew_point = dew_point_degc(humidity, pressure)
    relative = 100.0 * relative_humidity(dry_bulb, humidity, pressure)
    header = _HEADER.format(
        name="".join(letter for letter in weather.name if letter not in ",\n\r") or "-",
        latitude=weather.latitude_deg,
        longitude=weather.longitude_deg,
        zone=round(weather.longitude_deg / 15.0),
        elevation=weather.elevation_m,
    )
    lines = [header]
    hour = 0
    for month, days in enumerate(DAYS_PER_MONTH, 1):
        for day in range(1, days + 1):
            for clock in range(1, 25):
                hour += 1
                at = hour % (STEPS_PER_YEAR // STEPS_PER_HOUR)
                lines.append(
                    f"2017,{month},{day},{clock},0,{_BEFORE},{dry_bulb[at]:.4f},"
                    f"{min(dew_point[at], dry_bulb[at]):.4f},{min(relative[at], 100.0):.4f},"
                    f"{pressure[at]:.2f},{_AFTER}\n"
                )
    path.write_text("".join(lines), encoding="ascii", errors="replace")
