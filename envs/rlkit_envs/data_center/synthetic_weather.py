"""Made-up years of outdoor air with the climate of a real place, endlessly many by their seeds.

Annual and diurnal cycles carry autocorrelated weather systems that move dry bulb and dew point
together. Monthly statistics are those of typical years (TMY3; Wilcox & Marion 2008,
NREL/TP-581-43156); cycle shape and correlation times were fitted to the same years. Pressure is
that of the standard atmosphere. Not modelled: rain, snow, wind and sun.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center import psychrometrics
from rlkit_envs.data_center.ring_noise import ring_noise
from rlkit_envs.data_center.weather import (
    STEPS_PER_DAY,
    STEPS_PER_YEAR,
    Weather,
    check_site,
    months_of_steps,
)

Array = NDArray[np.float64]

_SYSTEM_HOURS = 40.0
"""Correlation time of weather systems: daily means of TMY3 years correlate by 0.6 to 0.7 with the
day before, and by 0.2 to 0.3 with the day before that."""
_SYSTEM_LAG_HOURS = 3.0
"""Fronts take hours to pass; without this lag the air would jump every five minutes (assumed)."""
_WITHIN_MONTH = 0.874
"""Standard deviation of a system's daily means about the mean of their month, over that of the
system itself: from the spectrum of the two lags above, over 30 days."""
_CLOUD_HOURS, _CLOUD_LAG_HOURS = 24.0, 6.0
"""Correlation times of the clouds, which set how far a day warms up (assumed)."""
_CLOUD_RANGE = 0.5
"""A day's range lies within 1 -+ this of its month's mean; the standard deviation comes to 0.3, as
in TMY3 years."""
_BEND_K = 1.0
"""Dew points are bent to stay below the dry bulb and the climate's highest over about this width
(assumed)."""
_JANUARY_PEAK = 15.0 / 365.0
"""Middle of January, as a share of the year, when `Climate`'s standard deviations peak or dip."""


@dataclass(frozen=True)
class Climate:
    """Monthly statistics of the air at one place."""

    place: str
    """Where, and source of the numbers."""
    latitude_deg: float
    """-90 to 90, north positive."""
    longitude_deg: float
    """-180 to 180, east positive."""
    elevation_m: float
    """Above sea level, -500 to 9000; sets the pressure."""
    dry_bulb_degc: tuple[float, ...]
    """Mean of each month, January first, -50 to 45."""
    dew_point_degc: tuple[float, ...]
    """Mean of each month, below the dry bulb; below 0 degC the frost point."""
    diurnal_range_k: tuple[float, ...]
    """Warmest less coldest time of each month's mean day, 0 to 25."""
    dry_bulb_sd_k: tuple[float, float]
    """Standard deviation of daily means within January and within July, 0 to 15."""
    dew_point_sd_k: tuple[float, float]
    """The same of the dew point."""
    highest_dew_point_degc: float
    """No hour is more humid than this, and few come near: above all means, -50 to 35."""
    correlation: float
    """Of the daily means of dry bulb and dew point, -1 to 1."""

    def __post_init__(self) -> None:
        check_site(self.latitude_deg, self.longitude_deg, self.elevation_m)
        for name, lowest, highest, count in (
            ("dry_bulb_degc", -50.0, 45.0, 12),
            ("dew_point_degc", -60.0, 35.0, 12),
            ("diurnal_range_k", 0.0, 25.0, 12),
            ("dry_bulb_sd_k", 0.0, 15.0, 2),
            ("dew_point_sd_k", 0.0, 15.0, 2),
        ):
            values = getattr(self, name)
            if len(values) != count or not all(lowest <= value <= highest for value in values):
                raise ValueError(
                    f"{name} is {values}: expected {count} values of {lowest:g} to {highest:g}"
                )
        for month in range(12):
            if self.dew_point_degc[month] >= self.dry_bulb_degc[month]:
                raise ValueError(
                    f"dew_point_degc[{month}] is {self.dew_point_degc[month]}: expected less than "
                    f"the dry bulb {self.dry_bulb_degc[month]}"
                )
        if not max(self.dew_point_degc) < self.highest_dew_point_degc <= 35.0:
            raise ValueError(
                f"highest_dew_point_degc is {self.highest_dew_point_degc}: expected more than the "
                f"highest monthly mean, {max(self.dew_point_degc)}, and at most 35"
            )
        if not -1.0 <= self.correlation <= 1.0:
            raise ValueError(f"correlation is {self.correlation}: expected -1 to 1")


CLIMATES: Mapping[str, Climate] = MappingProxyType(
    {
        "hot_dry": Climate(
            place="Phoenix, Arizona (TMY3 722780, smoothed over the months)",
            latitude_deg=33.45,
            longitude_deg=-111.98,
            elevation_m=337.0,
            dry_bulb_degc=(
                *(12.5, 15.4, 18.4, 22.3, 28.2, 33.7),
                *(35.5, 33.9, 30.5, 24.8, 17.5, 12.5),
            ),
            dew_point_degc=(-0.3, 2.6, 2.7, -0.3, 0.4, 7.2, 13.3, 13.1, 9.4, 6.0, 2.5, -0.7),
            diurnal_range_k=(
                *(10.3, 10.4, 11.6, 13.5, 14.3, 13.0),
                *(11.2, 11.2, 12.2, 12.3, 11.4, 10.7),
            ),
            dry_bulb_sd_k=(3.5, 2.4),
            dew_point_sd_k=(4.1, 4.8),
            highest_dew_point_degc=24.0,
            correlation=0.07,
        ),
        "hot_humid": Climate(
            place="Miami, Florida (TMY3 722020, smoothed over the months)",
            latitude_deg=25.82,
            longitude_deg=-80.30,
            elevation_m=11.0,
            dry_bulb_degc=(
                *(19.6, 20.5, 22.0, 24.0, 26.3, 27.9),
                *(28.1, 27.8, 27.6, 26.4, 23.4, 20.4),
            ),
            dew_point_degc=(
                *(13.9, 13.7, 15.0, 17.6, 20.6, 22.5),
                *(23.0, 22.9, 22.5, 21.2, 18.5, 15.6),
            ),
            diurnal_range_k=(6.7, 7.0, 6.2, 5.2, 5.0, 5.3, 5.2, 4.8, 4.9, 5.3, 5.5, 5.9),
            dry_bulb_sd_k=(3.2, 0.9),
            dew_point_sd_k=(5.4, 0.6),
            highest_dew_point_degc=26.5,
            correlation=0.61,
        ),
        "mixed_humid": Climate(
            place="Sterling, Virginia (TMY3 724030, smoothed over the months)",
            latitude_deg=38.98,
            longitude_deg=-77.47,
            elevation_m=82.0,
            dry_bulb_degc=(0.0, 2.2, 7.1, 12.9, 18.1, 22.4, 24.6, 23.4, 19.2, 13.1, 6.8, 1.7),
            dew_point_degc=(-6.0, -4.9, -0.9, 5.0, 11.3, 16.5, 19.1, 18.3, 13.8, 7.3, 0.7, -4.0),
            diurnal_range_k=(6.4, 7.9, 9.4, 10.7, 11.9, 11.7, 9.8, 8.5, 9.8, 11.0, 9.4, 6.8),
            dry_bulb_sd_k=(5.4, 2.7),
            dew_point_sd_k=(7.1, 3.1),
            highest_dew_point_degc=26.5,
            correlation=0.81,
        ),
        "marine": Climate(
            place="San Francisco, California (TMY3 724940, smoothed over the months)",
            latitude_deg=37.62,
            longitude_deg=-122.40,
            elevation_m=2.0,
            dry_bulb_degc=(9.9, 11.0, 12.6, 13.9, 14.8, 15.4, 16.0, 16.6, 16.6, 15.3, 12.7, 10.5),
            dew_point_degc=(6.2, 6.8, 7.6, 8.6, 9.3, 9.9, 10.7, 11.8, 11.8, 10.2, 7.8, 6.4),
            diurnal_range_k=(4.8, 6.5, 6.9, 6.6, 7.4, 8.4, 8.2, 7.5, 7.6, 7.2, 5.3, 3.9),
            dry_bulb_sd_k=(1.7, 1.5),
            dew_point_sd_k=(3.1, 1.1),
            highest_dew_point_degc=18.0,
            correlation=0.38,
        ),
        "cold": Climate(
            place="Chicago, Illinois (TMY3 725300, smoothed over the months)",
            latitude_deg=41.98,
            longitude_deg=-87.92,
            elevation_m=201.0,
            dry_bulb_degc=(-5.4, -2.1, 3.8, 9.7, 15.5, 21.1, 23.9, 22.2, 17.6, 11.5, 4.1, -2.9),
            dew_point_degc=(-10.3, -7.6, -1.5, 3.6, 7.5, 13.1, 18.0, 17.5, 12.0, 5.7, -0.4, -6.8),
            diurnal_range_k=(5.7, 5.8, 5.6, 7.4, 9.8, 9.8, 8.4, 8.6, 9.4, 7.8, 5.0, 4.5),
            dry_bulb_sd_k=(6.4, 3.0),
            dew_point_sd_k=(7.1, 3.1),
            highest_dew_point_degc=26.5,
            correlation=0.85,
        ),
        "very_cold": Climate(
            place="Duluth, Minnesota (TMY3 727450, smoothed; standard deviations assumed)",
            latitude_deg=46.82,
            longitude_deg=-92.22,
            elevation_m=433.0,
            dry_bulb_degc=(
                *(-12.4, -8.6, -2.7, 4.6, 11.7, 16.5),
                *(18.0, 17.0, 13.4, 5.7, -4.3, -11.5),
            ),
            dew_point_degc=(
                *(-16.6, -13.1, -8.6, -2.9, 4.5, 10.9),
                *(13.6, 12.7, 9.0, 1.4, -8.7, -15.8),
            ),
            diurnal_range_k=(5.2, 6.3, 7.2, 8.2, 9.0, 8.6, 7.9, 7.9, 7.7, 6.2, 4.3, 4.1),
            dry_bulb_sd_k=(6.5, 3.0),
            dew_point_sd_k=(7.0, 3.0),
            highest_dew_point_degc=24.0,
            correlation=0.85,
        ),
    }
)
"""The climates known by name, from the ASHRAE zones 2B, 1A, 4A, 3C, 5A and 7 (Standard 169)."""


def synthetic(climate: str | Climate, seed: int | np.random.SeedSequence) -> Weather:
    """A year of made-up weather; the same climate and seed give the same year.

    climate: a name in `CLIMATES`, or statistics of your own. Raises ValueError for unknown names.
    """
    if isinstance(climate, str):
        if climate not in CLIMATES:
            raise ValueError(f"no climate {climate!r}; there are {', '.join(CLIMATES)}")
        label, climate = f"synthetic {climate}", CLIMATES[climate]
    else:
        label = "synthetic"
    generator = np.random.default_rng(seed)
    shared = ring_noise(generator, _SYSTEM_HOURS, _SYSTEM_LAG_HOURS)
    own = ring_noise(generator, _SYSTEM_HOURS, _SYSTEM_LAG_HOURS)
    clouds = ring_noise(generator, _CLOUD_HOURS, _CLOUD_LAG_HOURS)

    dry_bulb = annual_cycle(climate.dry_bulb_degc)
    dry_bulb += _winter_to_summer(climate.dry_bulb_sd_k) * (shared / _WITHIN_MONTH)
    range_k = np.maximum(annual_cycle(climate.diurnal_range_k), 0.0)
    range_k *= 1.0 + _CLOUD_RANGE * np.tanh(clouds)
    dry_bulb += range_k * np.tile(_diurnal_cycle(), STEPS_PER_YEAR // STEPS_PER_DAY)

    humid = climate.correlation * shared + np.sqrt(1.0 - climate.correlation**2) * own
    dew_point = annual_cycle(climate.dew_point_degc)
    dew_point += _winter_to_summer(climate.dew_point_sd_k) * (humid / _WITHIN_MONTH)
    dew_point = _bent_below(climate.highest_dew_point_degc, dew_point)
    dew_point = _bent_below(dry_bulb, dew_point)

    pressure = np.full(STEPS_PER_YEAR, psychrometrics.standard_pressure_pa(climate.elevation_m))
    return Weather.from_air(
        f"{label}, seed {_seed_name(seed)}, like {climate.place}",
        climate.latitude_deg,
        climate.longitude_deg,
        climate.elevation_m,
        dry_bulb_degc=dry_bulb,
        humidity_ratio=psychrometrics.humidity_ratio_from_dew_point(dew_point, pressure),
        pressure_pa=pressure,
    )


def annual_cycle(monthly: tuple[float, ...]) -> Array:
    """(STEPS_PER_YEAR,) smooth curve on a ring whose monthly means are the given ones.

    Three harmonics of the year, fitted to the twelve means by least squares: what is rougher than
    that from month to month is smoothed.
    """
    angle = 2.0 * np.pi * (np.arange(STEPS_PER_YEAR) + 0.5) / STEPS_PER_YEAR
    waves = [np.ones(STEPS_PER_YEAR)]
    for harmonic in (1, 2, 3):
        waves += [np.cos(harmonic * angle), np.sin(harmonic * angle)]
    basis = np.stack(waves)
    months = months_of_steps()
    means = np.stack([np.bincount(months, wave) for wave in basis], axis=1)
    means /= np.bincount(months)[:, np.newaxis]
    weights = np.linalg.lstsq(means, np.array(monthly), rcond=None)[0]
    return weights @ basis


def _diurnal_cycle() -> Array:
    """(STEPS_PER_DAY,) mean day of the dry bulb, of mean 0 and range 1, coldest before sunrise.

    Two harmonics, fitted to the mean days of seven TMY3 years.
    """
    hour = 24.0 * np.arange(STEPS_PER_DAY) / STEPS_PER_DAY
    day = 0.454 * np.cos(2.0 * np.pi * (hour - 14.98) / 24.0)
    day += 0.107 * np.cos(4.0 * np.pi * (hour - 1.08) / 24.0)
    return day / np.ptp(day)


def _winter_to_summer(january_july: tuple[float, float]) -> Array:
    """(STEPS_PER_YEAR,) sine between a value in mid-January and one half a year later."""
    january, july = january_july
    share = np.arange(STEPS_PER_YEAR) / STEPS_PER_YEAR - _JANUARY_PEAK
    return 0.5 * (january + july) + 0.5 * (january - july) * np.cos(2.0 * np.pi * share)


def _bent_below(limit: Array | float, values: Array) -> Array:
    """The values, but smoothly below the limit where they come near it or pass it."""
    return limit - _BEND_K * np.logaddexp(0.0, (limit - values) / _BEND_K)


def _seed_name(seed: int | np.random.SeedSequence) -> str:
    if isinstance(seed, np.random.SeedSequence):
        return f"{seed.entropy}{''.join(f'.{key}' for key in seed.spawn_key)}"
    return str(seed)
