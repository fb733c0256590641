"""Years that are evaluated, years that are tuned on: apart, and of the same climate."""

from dataclasses import replace

import numpy as np
import pytest

from rlkit.data_center_years import (
    UNSEEN_CLIMATES,
    nearest_climate,
    seen_years,
    split_years,
    tuning_years,
    unseen_years,
    years_of,
)
from rlkit_envs.data_center.actions import ActuatorRanges
from rlkit_envs.data_center.configuration import DataCenterConfig
from rlkit_envs.data_center.environment import DataCenterEnvs
from rlkit_envs.data_center.reward import RewardSettings
from rlkit_envs.data_center.sensors import SensorSettings
from rlkit_envs.data_center.synthetic_weather import CLIMATES, synthetic


def test_the_site_stays_and_its_years_are_others():
    trained = DataCenterConfig(
        site="air_economised_hall",
        weather=("cold", "marine"),
        weather_seed=(0, 1),
        load=("batch", "diurnal"),
        episode_days=7,
        discrete=True,
        sensors=SensorSettings(noise=0.5),
        reward=RewardSettings(price_per_kwh=0.2),
    )
    config = unseen_years(trained, seed=1003)
    assert config.weather == UNSEEN_CLIMATES
    assert (config.weather_seed, config.load_seed) == (1003, 1003)
    assert (config.episode_days, config.start_day) == (365, 0.0)
    assert (config.pairing, config.discrete, config.engine) == ("side_by_side", False, "plant")
    for name in ("site", "load", "sensors", "reward", "start"):
        assert getattr(config, name) == getattr(trained, name)
    assert seen_years(trained, config) == []
    assert len(set(UNSEEN_CLIMATES)) == 5
    with pytest.raises(ValueError, match=r"seed is 999: .* begin at 1000"):
        unseen_years(trained, seed=999)


def test_a_training_that_saw_those_years_is_told():
    config = unseen_years(DataCenterConfig(), weather=("cold", "marine"), seed=1001)
    trained = DataCenterConfig(weather=("marine", "hot_dry"), weather_seed=(0, 1001), load_seed=5)
    assert seen_years(trained, config) == ["weather marine 1001"]
    assert seen_years(DataCenterConfig(load_seed=(1001, 2)), config) == ["load diurnal 1001"]


@pytest.mark.parametrize(
    ("weather", "load", "climates"),
    [
        (("cold", "marine", "hot_dry"), ("batch", "step"), ["cold", "marine", "hot_dry"]),
        (("cold",), ("batch", "step"), ["cold, batch 1000", "cold, step 1000"]),
    ],
)
def test_climates_get_the_kinds_of_load_in_turn(
    weather: tuple[str, ...], load: tuple[str, ...], climates: list[str]
):
    config = unseen_years(DataCenterConfig(load=load), weather=weather, days=1)
    years = years_of(config)
    assert [year["climate"] for year in years] == climates
    # So do the rows of every controller.
    envs = DataCenterEnvs(2 * len(years), config=config)
    _, info = envs.reset(seed=0)
    names = [year["weather"] for year in years]
    assert [envs.weather_names[i] for i in info["weather"]] == 2 * names
    assert [envs.load_names[i] for i in info["load"]] == 2 * [year["load"] for year in years]
    assert len({(year["weather"], year["load"]) for year in years}) == len(years)


def test_parts_are_the_whole():
    config = unseen_years(DataCenterConfig(load=("batch", "step")), days=1)
    for parts in (1, 2, 3, 9):
        split = split_years(config, parts)
        assert len(split) == min(parts, 5)
        assert tuple(year for part in split for year in years_of(part)) == years_of(config)
        assert {len(years_of(part)) for part in split} <= {5 // len(split), 5 // len(split) + 1}
    seeds = replace(config, weather_seed=(1000, 1001), pairing="in_turn")
    assert split_years(seeds, 3) == [seeds]
    assert len(years_of(seeds)) == 20


def test_tuning_is_done_in_other_years_of_the_same_climate_and_load():
    place = synthetic(CLIMATES["very_cold"], 1000)
    config = unseen_years(DataCenterConfig(load=("batch", "step")), days=1)
    tuning = tuning_years(config)
    assert [t.weather for t in tuning] == list(UNSEEN_CLIMATES)
    assert [t.load for t in tuning] == ["batch", "step", "batch", "step", "batch"]
    assert {(t.weather_seed, t.load_seed) for t in tuning} == {(0, 0)}
    for tuned, year in zip(tuning, years_of(config), strict=True):
        (own,) = years_of(tuned)
        assert own["weather"].replace("seed 0", "seed 1000") == year["weather"]
    (tuned,) = tuning_years(DataCenterConfig(weather=place))
    assert tuned.weather == "very_cold"


@pytest.mark.parametrize("name", sorted(CLIMATES))
def test_a_year_lies_nearest_to_its_own_climate(name: str):
    assert nearest_climate(synthetic(name, 1000)) == name


def test_ranges_hold_all_that_an_agent_can_ask_for():
    levels = {"supply_air_degc": (12.0, 22.0), "tower_fan_ratio": (0.4, 0.9)}
    config = unseen_years(DataCenterConfig(discrete=True, levels=levels))
    assert config.ranges == ActuatorRanges(supply_air_degc=(12.0, 32.0))
    narrow = ActuatorRanges(supply_air_degc=(10.0, 20.0), air_flow_ratio=(0.1, 0.9))
    assert unseen_years(DataCenterConfig(ranges=narrow)).ranges == narrow


def test_custom_weather_and_load_have_a_name_each():
    trace = np.full(105_120, 0.5)
    weather = synthetic("cold", 3)
    config = DataCenterConfig(
        weather=(weather, CLIMATES["marine"]), load=trace, load_seed=(1, 2), pairing="in_turn"
    )
    first, second = years_of(config)
    assert first["climate"] == weather.name
    assert second["climate"] == CLIMATES["marine"].place
    assert first["load"] == "trace 0"


def test_what_only_learning_asks_for_is_left_out():
    site = DataCenterConfig(reward=RewardSettings(withstood_rise=1.2, recommended_penalty=0.7))
    reward = unseen_years(site, engine="energyplus").reward
    assert (reward.withstood_rise, reward.recommended_penalty) == (0.0, 0.7)
    with pytest.raises(ValueError, match=r"withstood_rise is 1.2, which needs engine='plant'"):
        replace(site, engine="energyplus")
