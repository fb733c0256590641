"""A year of air: interpolation on a ring, and what no year may be."""

import dataclasses

import numpy as np
import pytest

from rlkit_envs.data_center import psychrometrics
from rlkit_envs.data_center.weather import STEPS_PER_YEAR, Weather, months_of_steps

HOURS = np.arange(8760)
SITE = ("somewhere", 50.0, 8.0, 100.0)


def hourly(**changes):
    values = {
        "dry_bulb_degc": 10.0 + 10.0 * np.sin(HOURS * 0.7),
        "relative_humidity": np.full(8760, 0.6),
        "pressure_pa": 99_000.0 + 100.0 * np.cos(HOURS * 0.1),
    }
    return values | changes


def test_steps_lie_on_lines_between_the_hours_and_the_year_is_a_ring():
    values = hourly()
    weather = Weather.from_hourly(*SITE, **values)
    dry_bulb, given = weather.dry_bulb_degc, values["dry_bulb_degc"]
    np.testing.assert_array_equal(dry_bulb[::12], given)
    assert dry_bulb[12 * 100 + 3] == pytest.approx(0.75 * given[100] + 0.25 * given[101])
    assert dry_bulb[-1] == pytest.approx(given[-1] / 12 + given[0] * 11 / 12)
    np.testing.assert_array_equal(weather.pressure_pa[::12], values["pressure_pa"])
    humidity = psychrometrics.relative_humidity(
        dry_bulb, weather.humidity_ratio, weather.pressure_pa
    )
    np.testing.assert_allclose(humidity, 0.6, rtol=1e-12)


def test_the_wet_bulb_is_precomputed():
    weather = Weather.from_hourly(*SITE, **hourly())
    for step in (0, 7, 50_000, 105_119):
        expected = psychrometrics.wet_bulb_degc(
            weather.dry_bulb_degc[step], weather.humidity_ratio[step], weather.pressure_pa[step]
        )
        assert weather.wet_bulb_degc[step] == expected


def test_saturated_air_stays_saturated_and_no_wetter_between_the_hours():
    weather = Weather.from_hourly(*SITE, **hourly(relative_humidity=np.ones(8760)))
    saturated = psychrometrics.saturation_humidity_ratio(weather.dry_bulb_degc, weather.pressure_pa)
    np.testing.assert_allclose(weather.humidity_ratio, saturated, rtol=1e-12)


def with_value(name, at, value):
    values = np.array(hourly()[name])
    values[at] = value
    return {name: values}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dry_bulb_degc": np.zeros(8784)}, r"dry_bulb_degc has shape \(8784,\).*29 February"),
        (with_value("dry_bulb_degc", 17, 99.9), r"dry_bulb_degc\[17\] is 99.9: expected -70 to 60"),
        (with_value("dry_bulb_degc", 17, np.nan), r"dry_bulb_degc\[17\] is nan"),
        (
            with_value("relative_humidity", 3, 60.0),
            r"relative_humidity\[3\] is 60: expected 0 to 1",
        ),
        ({"pressure_pa": np.full(8760, 1013.0)}, r"pressure_pa\[0\] is 1013.*8760 of 8760"),
    ],
)
def test_hourly_values_that_cannot_be_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        Weather.from_hourly(*SITE, **hourly(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latitude_deg": 91.0}, "latitude_deg is 91: expected -90 to 90"),
        ({"longitude_deg": 190.0}, "longitude_deg is 190"),
        ({"elevation_m": float("nan")}, "elevation_m is nan"),
        ({"dry_bulb_degc": np.zeros(8760)}, r"dry_bulb_degc has shape \(8760,\)"),
        ({"humidity_ratio": np.full(STEPS_PER_YEAR, 0.05)}, r"humidity_ratio\[0\] is 0.05"),
        ({"humidity_ratio": np.full(STEPS_PER_YEAR, -1e-6)}, r"humidity_ratio\[0\] is -1e-06"),
        ({"wet_bulb_degc": np.full(STEPS_PER_YEAR, 30.0)}, r"wet_bulb_degc\[0\] is 30"),
    ],
)
def test_a_year_that_cannot_be_is_refused(changes, message):
    weather = Weather.from_hourly(*SITE, **hourly())
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(weather, **changes)


def test_the_air_is_read_only_and_its_own():
    weather = Weather.from_hourly(*SITE, **hourly())
    with pytest.raises(ValueError, match="read-only"):
        weather.dry_bulb_degc[0] = 0.0
    mine = np.array(weather.pressure_pa)
    copied = dataclasses.replace(weather, pressure_pa=mine)
    mine[:] = 0.0
    assert copied.pressure_pa[0] == weather.pressure_pa[0]


def test_months_of_steps():
    months = months_of_steps()
    assert months.shape == (STEPS_PER_YEAR,)
    assert [months[31 * 288 - 1], months[31 * 288], months[59 * 288], months[-1]] == [0, 1, 2, 11]
