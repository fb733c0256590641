"""Sensors: their table, scaling, forecast, clock, delay and noise."""

import numpy as np
import pytest

from rlkit_envs.data_center.environment import DataCenterEnvs
from rlkit_envs.data_center.presets import PRESETS
from rlkit_envs.data_center.sensors import SensorSettings, plant_sensors, sensor_noise
from rlkit_envs.data_center.weather import STEPS_PER_YEAR


def names_of(envs):
    return [sensor.name for sensor in envs.sensors]


@pytest.mark.parametrize("site", PRESETS)
def test_the_table_names_every_sensor_once_with_a_range(site):
    sensors = plant_sensors(PRESETS[site]())
    names = [sensor.name for sensor in sensors]
    assert len(set(names)) == len(names)
    assert all(sensor.low < sensor.high and sensor.meaning for sensor in sensors)
    assert ("chilled_water_degc" in names) == (site != "small_room")
    assert ("outdoor_air_ratio" in names) == (site == "air_economised_hall")


@pytest.mark.parametrize("site", PRESETS)
def test_observations_are_quantities_on_their_ranges(site):
    envs = DataCenterEnvs(4, site=site, weather=["hot_humid", "very_cold"])
    envs.reset(seed=0)
    generator = np.random.default_rng(0)
    actions = generator.uniform(-1, 1, (5, 4, len(envs.actions.names)))
    observations, _, _, _, info = [envs.step(action) for action in actions][-1]
    for column, sensor in enumerate(envs.sensors):
        if sensor.name not in info["quantities"]:
            continue
        expected = 2.0 * (info["quantities"][sensor.name] - sensor.low)
        expected = expected / (sensor.high - sensor.low) - 1.0
        np.testing.assert_allclose(observations[:, column], expected, rtol=1e-5, atol=1e-6)
    assert np.abs(observations).max() < 3.0
    assert info["sensors_off_scale"].tolist() == [0, 0, 0, 0]


def test_readings_are_observations_in_the_units_of_their_sensors():
    envs = DataCenterEnvs(3, weather=["hot_humid", "very_cold"], start_day=20.3)
    observations, info = envs.reset(seed=4)
    readings = envs.readings(observations[[2, 0]])
    assert list(readings) == names_of(envs)
    for name, values in readings.items():
        assert values.shape == (2,)
        assert values.dtype == np.float64
        if name in info["quantities"]:
            expected = info["quantities"][name][[2, 0]]
            # Single precision holds a scale to about 1e-7 of its span.
            (span,) = (s.high - s.low for s in envs.sensors if s.name == name)
            np.testing.assert_allclose(values, expected, rtol=0.0, atol=2e-7 * span)
    top = envs.readings(np.full((1, len(envs.sensors)), 3.0, np.float32))
    assert top["outdoor_dry_bulb_degc"][0] == pytest.approx(12.5 + 3.0 * 32.5)
    with pytest.raises(ValueError, match=rf"\(2,\), not \(rows, {len(envs.sensors)}\)"):
        envs.readings(np.zeros(2))


def test_the_sharpest_rise_is_that_of_the_week_before_even_of_the_year_before():
    load = np.full(STEPS_PER_YEAR, 0.2)
    load[STEPS_PER_YEAR - 1950 :] = 0.6  # rises by 0.4, and falls by as much at the year's end
    load[100] = 0.5
    envs = DataCenterEnvs(1, site="small_room", start_day=0.0, load=load, episode_days=14)
    rise = names_of(envs).index("sharpest_rise")
    observation, _ = envs.reset(seed=0)
    seen = [observation[0, rise]]
    for _ in range(2200):
        seen.append(envs.step(np.zeros((1, 2)))[0][0, rise])
    # Step 66 is the last whose 2,016 steps before hold the one of 1,950 before the year's end.
    assert seen[0] == seen[66] == pytest.approx(2 * 0.4 - 1)
    assert seen[67] == seen[100] == pytest.approx(-1.0)
    assert seen[101] == seen[2116] == pytest.approx(2 * 0.3 - 1)
    assert seen[2117] == pytest.approx(-1.0)


def test_a_forecast_is_the_weather_to_come_even_into_the_next_year():
    envs = DataCenterEnvs(1, site="small_room", start_day=364.98, sensors={"forecast_hours": [0.5]})
    observations, info = envs.reset(seed=0)
    weather, time = envs.config.weathers()[0], int(info["time_step"][0])
    assert time > 105_110  # six steps ahead lies in the next year
    names = names_of(envs)
    for name, year, half in (
        ("forecast_dry_bulb_0.5h_degc", weather.dry_bulb_degc, 32.5),
        ("forecast_wet_bulb_0.5h_degc", weather.wet_bulb_degc, 27.5),
    ):
        foretold = observations[0, names.index(name)] * half + half - 20.0
        assert foretold == pytest.approx(year[(time + 6) % 105_120], abs=1e-5)
        assert year[(time + 6) % 105_120] != year[time]


def test_the_clock_turns_with_day_week_and_year():
    envs = DataCenterEnvs(1, site="small_room", start_day=7 * 13 + 0.25)
    observations, _ = envs.reset(seed=0)
    first = names_of(envs).index("day_sine")
    quarter = 2.0 * np.pi * 91.25 / 365.0
    week = 2.0 * np.pi * 0.25 / 7.0
    expected = [1.0, 0.0, np.sin(week), np.cos(week), np.sin(quarter), np.cos(quarter)]
    np.testing.assert_allclose(observations[0, first : first + 6], expected, atol=1e-6)


def test_the_price_is_seen_where_it_changes():
    prices = [0.1] * 12 + [0.3] * 12
    envs = DataCenterEnvs(1, site="small_room", start_day=5.75, reward={"price_per_kwh": prices})
    observations, _ = envs.reset(seed=0)
    assert names_of(envs)[-1] == "cost_per_kwh"
    assert observations[0, -1] == pytest.approx(0.3 / 0.2 - 1.0, abs=1e-6)
    assert "cost_per_kwh" not in names_of(DataCenterEnvs(1, site="small_room"))


def test_late_readings_are_those_of_steps_before_and_the_clock_is_on_time():
    punctual = DataCenterEnvs(2, site="small_room")
    late = DataCenterEnvs(2, site="small_room", sensors={"delay_steps": 2})
    now, _ = punctual.reset(seed=0)
    behind, _ = late.reset(seed=0)
    np.testing.assert_array_equal(now, behind)  # as before the episode
    seen, seen_late = [now], [behind]
    generator = np.random.default_rng(0)
    for _ in range(4):
        action = generator.uniform(-1, 1, (2, 2))
        seen.append(punctual.step(action)[0])
        seen_late.append(late.step(action)[0])
    clock = names_of(late).index("day_sine")
    for step in (2, 3, 4):
        np.testing.assert_array_equal(seen_late[step][:, :clock], seen[step - 2][:, :clock])
        np.testing.assert_array_equal(seen_late[step][:, clock:], seen[step][:, clock:])
    assert not np.array_equal(seen[4][:, :clock], seen[2][:, :clock])


def test_noise_has_its_standard_deviation_and_no_memory():
    keys = np.random.default_rng(0).integers(2**63, size=500).astype(np.uint64)
    deviations = np.array([0.2, 0.0, 5.0])
    steps = [sensor_noise(keys, np.full(500, step), deviations) for step in range(40)]
    noise = np.array(steps)  # (steps, sensors, environments)
    assert (noise[:, 1] == 0.0).all()
    for sensor in (0, 2):
        values = noise[:, sensor] / deviations[sensor]
        assert abs(values.mean()) < 4.0 / np.sqrt(values.size)
        assert abs(values.std() - 1.0) < 0.02
        assert np.abs(values).max() < 3.47
        for one, other in (
            (values[1:], values[:-1]),
            (values[:, 1:], values[:, :-1]),
            (values, noise[:, 2 - sensor] / deviations[2 - sensor]),
        ):
            assert abs(np.mean(one * other)) < 4.0 / np.sqrt(one.size)


def test_noise_blurs_what_is_seen_and_not_what_is():
    clear, noisy = (
        DataCenterEnvs(50, site="small_room", sensors={"noise": noise}) for noise in (0.0, 2.0)
    )
    (seen, truth), (blurred, same) = clear.reset(seed=0), noisy.reset(seed=0)
    for name, values in truth["quantities"].items():
        np.testing.assert_array_equal(values, same["quantities"][name])
    names = names_of(clear)
    column = names.index("inlet_degc")
    error = (blurred - seen)[:, column] * 15.0  # 10 to 40 degC
    assert 0.25 < error.std() < 0.55  # twice 0.2 K; a standard deviation of 0.04 with 50
    clock = names.index("day_sine")
    np.testing.assert_array_equal(blurred[:, clock : clock + 6], seen[:, clock : clock + 6])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise": -1.0}, "noise is -1.0"),
        ({"delay_steps": 13}, "delay_steps is 13"),
        ({"forecast_hours": (100.0,)}, "100.0: 0.1 to 72 would fit"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SensorSettings(**settings)
