"""Made-up years: the statistics that they promise, and air that could be."""

import dataclasses
from functools import cache

import numpy as np
import pytest

from rlkit_envs.data_center import psychrometrics
from rlkit_envs.data_center.ring_noise import ring_noise
from rlkit_envs.data_center.synthetic_weather import CLIMATES, Climate, annual_cycle, synthetic
from rlkit_envs.data_center.weather import STEPS_PER_YEAR, Weather, months_of_steps

SEEDS = range(3)


@cache
def years(climate: str) -> list[Weather]:
    return [synthetic(climate, seed) for seed in SEEDS]


def dew_points(weather: Weather) -> np.ndarray:
    return psychrometrics.dew_point_degc(weather.humidity_ratio, weather.pressure_pa)


def monthly_means(values: np.ndarray) -> np.ndarray:
    months = months_of_steps()
    return np.bincount(months, values) / np.bincount(months)


@pytest.mark.parametrize("name", CLIMATES)
def test_the_annual_cycle_has_the_climates_monthly_means(name):
    for monthly in (CLIMATES[name].dry_bulb_degc, CLIMATES[name].dew_point_degc):
        means = monthly_means(annual_cycle(monthly))
        np.testing.assert_allclose(means, monthly, atol=0.06)


def test_the_annual_cycle_is_smooth_and_a_ring():
    cycle = annual_cycle(CLIMATES["cold"].dry_bulb_degc)
    assert np.abs(np.diff(cycle, append=cycle[0])).max() < 2e-3


@pytest.mark.parametrize("name", CLIMATES)
def test_without_weather_systems_every_month_is_as_stated(name):
    calm = dataclasses.replace(CLIMATES[name], dry_bulb_sd_k=(0.0, 0.0), dew_point_sd_k=(0.0, 0.0))
    weather = synthetic(calm, 0)
    means = monthly_means(weather.dry_bulb_degc)
    np.testing.assert_allclose(means, calm.dry_bulb_degc, atol=0.1)
    # The dew point gives way a little where a night would fall below it.
    dew_means = monthly_means(dew_points(weather))
    np.testing.assert_allclose(dew_means, calm.dew_point_degc, atol=0.6)
    days = weather.dry_bulb_degc.reshape(365, 288)
    month_of_day = months_of_steps()[::288]
    mean_days = np.array([days[month_of_day == month].mean(axis=0) for month in range(12)])
    ranges = np.ptp(mean_days, axis=1)
    np.testing.assert_allclose(ranges, calm.diurnal_range_k, rtol=0.25)
    assert ranges.mean() == pytest.approx(np.mean(calm.diurnal_range_k), rel=0.06)
    assert (np.abs(mean_days.argmin(axis=1) / 12 - 5.5) < 1.5).all()  # before sunrise
    assert (np.abs(mean_days.argmax(axis=1) / 12 - 15.0) < 1.5).all()


@pytest.mark.parametrize("name", CLIMATES)
def test_weather_systems_vary_the_days_as_stated(name):
    climate = CLIMATES[name]
    dry_bulb = np.array([year.dry_bulb_degc for year in years(name)])
    dew_point = np.array([dew_points(year) for year in years(name)])
    assert dry_bulb.mean() == pytest.approx(np.mean(climate.dry_bulb_degc), abs=1.0)
    assert dew_point.mean() == pytest.approx(np.mean(climate.dew_point_degc), abs=1.2)

    dry_days = dry_bulb.reshape(len(SEEDS), 365, 288).mean(axis=2)
    dew_days = dew_point.reshape(len(SEEDS), 365, 288).mean(axis=2)
    month_of_day = months_of_steps()[::288]

    def within(days, months):
        """Deviations of the days from the mean of their month and year."""
        of = [days[:, month_of_day == month] for month in months]
        return np.concatenate([(part - part.mean(axis=1, keepdims=True)).ravel() for part in of])

    winter, summer = (11, 0, 1), (5, 6, 7)
    dry_sd = [within(dry_days, season).std() for season in (winter, summer)]
    np.testing.assert_allclose(dry_sd, climate.dry_bulb_sd_k, rtol=0.2, atol=0.1)
    dew_sd = [within(dew_days, season).std() for season in (winter, summer)]
    np.testing.assert_allclose(dew_sd, climate.dew_point_sd_k, rtol=0.3, atol=0.15)
    every = range(12)
    deviation = dry_days - annual_cycle(climate.dry_bulb_degc).reshape(365, 288).mean(axis=1)
    # A sine between January and July, squared and averaged over the year.
    january, july = climate.dry_bulb_sd_k
    over_the_year = np.sqrt((january + july) ** 2 / 4 + (january - july) ** 2 / 8)
    assert within(deviation, every).std() == pytest.approx(over_the_year, rel=0.07)
    correlation = np.corrcoef(within(dry_days, every), within(dew_days, every))[0, 1]
    assert correlation == pytest.approx(climate.correlation, abs=0.15)
    next_day = np.corrcoef(deviation[:, :-1].ravel(), deviation[:, 1:].ravel())[0, 1]
    assert 0.55 < next_day < 0.85


@pytest.mark.parametrize("name", CLIMATES)
def test_the_air_is_physical_and_smooth(name):
    for weather in years(name):
        dew_point = dew_points(weather)
        # Dew points are computed to 3e-5 K, and to 2e-3 K at freezing.
        assert (dew_point <= weather.dry_bulb_degc + 2e-3).all()
        assert (weather.wet_bulb_degc <= weather.dry_bulb_degc + 2e-3).all()
        assert (weather.wet_bulb_degc >= dew_point - 2e-3).all()
        assert dew_point.max() <= CLIMATES[name].highest_dew_point_degc
        for quantity in (weather.dry_bulb_degc, dew_point):
            assert np.abs(np.diff(quantity, append=quantity[0])).max() < 0.6
        expected = psychrometrics.standard_pressure_pa(CLIMATES[name].elevation_m)
        assert (weather.pressure_pa == expected).all()


def test_climates_are_told_apart():
    warmth = {name: years(name)[0].dry_bulb_degc.mean() for name in CLIMATES}
    order = ["very_cold", "cold", "mixed_humid", "marine", "hot_dry", "hot_humid"]
    assert sorted(warmth, key=warmth.__getitem__) == order
    humidity = {name: years(name)[0].humidity_ratio.mean() for name in CLIMATES}
    assert max(humidity, key=humidity.__getitem__) == "hot_humid"
    assert humidity["hot_dry"] < humidity["mixed_humid"]


def test_a_seed_gives_one_year_and_another_seed_another():
    first, again, other = synthetic("cold", 0), synthetic("cold", 0), synthetic("cold", 1)
    np.testing.assert_array_equal(first.dry_bulb_degc, again.dry_bulb_degc)
    np.testing.assert_array_equal(first.humidity_ratio, again.humidity_ratio)
    assert np.abs(first.dry_bulb_degc - other.dry_bulb_degc).mean() > 1.0
    spawned = [synthetic("cold", sequence) for sequence in np.random.SeedSequence(0).spawn(2)]
    assert np.abs(spawned[0].dry_bulb_degc - spawned[1].dry_bulb_degc).mean() > 1.0
    assert spawned[0].name != spawned[1].name


def test_an_unknown_climate_is_named():
    with pytest.raises(ValueError, match="no climate 'tropical'; there are hot_dry, hot_humid"):
        synthetic("tropical", 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dry_bulb_degc": (10.0,) * 11}, "dry_bulb_degc is .* expected 12 values of -50 to 45"),
        ({"dry_bulb_degc": (10.0,) * 11 + (99.9,)}, "dry_bulb_degc is .*99.9"),
        ({"diurnal_range_k": (-1.0,) * 12}, "diurnal_range_k is"),
        ({"dew_point_degc": (24.0,) * 12}, r"dew_point_degc\[0\] is 24.0: expected less than"),
        ({"dry_bulb_sd_k": (3.0,)}, "dry_bulb_sd_k is .* expected 2 values"),
        ({"highest_dew_point_degc": 10.0}, "highest_dew_point_degc is 10.0: expected more than"),
        ({"correlation": 1.5}, "correlation is 1.5: expected -1 to 1"),
        ({"latitude_deg": 100.0}, "latitude_deg is 100"),
    ],
)
def test_a_climate_that_cannot_be_is_refused(changes, message):
    values = dataclasses.asdict(CLIMATES["cold"]) | changes
    with pytest.raises(ValueError, match=message):
        Climate(**values)


def test_ring_noise_is_an_autoregression_of_the_generators_numbers():
    hours = 10.0
    noise = ring_noise(np.random.default_rng(5), hours)
    kept = np.exp(-1.0 / (12 * hours))
    white = np.random.default_rng(5).standard_normal(STEPS_PER_YEAR)
    innovations = noise - kept * np.roll(noise, 1)
    np.testing.assert_allclose(innovations, np.sqrt(1.0 - kept**2) * white, atol=1e-9)


def test_lagged_ring_noise_follows_its_two_recursions():
    noise = ring_noise(np.random.default_rng(5), 10.0, 2.0)
    white = np.random.default_rng(5).standard_normal(STEPS_PER_YEAR)
    slow, fast = np.exp(-1.0 / 120.0), np.exp(-1.0 / 24.0)
    unlagged = noise - fast * np.roll(noise, 1)
    innovations = unlagged - slow * np.roll(unlagged, 1)
    np.testing.assert_allclose(innovations, innovations.std() * white / white.std(), atol=1e-9)
    variances = [ring_noise(np.random.default_rng(s), 10.0, 2.0).var() for s in range(5)]
    assert np.mean(variances) == pytest.approx(1.0, abs=0.05)
