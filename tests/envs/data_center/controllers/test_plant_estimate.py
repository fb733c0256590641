"""The observer finds out what no sensor reads, and what the design does not know."""

import numpy as np
import pytest

from rlkit_envs.data_center.controllers.plant_estimate import PlantEstimate
from rlkit_envs.data_center.environment import DataCenterEnvs
from rlkit_envs.data_center.plant_state import PlantActions
from rlkit_envs.data_center.presets import PRESETS


def follow(envs, estimate, steps, seed=0, first=0):
    """Random set points, each held for an hour; (envs, estimate) in their last state."""
    generator = np.random.default_rng(seed)
    observations, _ = envs.reset(seed=seed)
    estimate.reset(np.ones(envs.num_envs, bool))
    told = envs.config.start.plant_actions(envs.num_envs)
    readings = envs.readings(observations)
    for step in range(steps):
        if step >= first:
            estimate.update(readings, told)
        if step % 12 == 0:
            count = envs.num_envs
            told = PlantActions(
                generator.uniform(18.0, 25.0, count),
                generator.uniform(0.5, 0.9, count),
                generator.uniform(8.0, 16.0, count),
                generator.uniform(0.4, 1.0, count),
                generator.integers(2, size=count),
            )
        observations, *_ = envs.step(envs.actions.from_plant(told))
        readings = envs.readings(observations)
    estimate.update(readings, told)
    return envs.state()


@pytest.mark.parametrize("site", PRESETS)
def test_the_metal_that_no_sensor_reads_is_found(site):
    """It begins as warm as the air, in the midst of a change; after hours it is as it truly is."""
    envs = DataCenterEnvs(3, site=site, weather="marine", start_day=120.0)
    estimate = PlantEstimate(
        envs.design, correction=0.7, bias_correction=0.3, pressure_pa=101_325.0
    )
    state = follow(envs, estimate, 14, first=13)
    wrong_k = np.abs(estimate.state.metal_degc - state["plant_metal_degc"]).max()
    state = follow(envs, estimate, 60, first=13)
    right_k = np.abs(estimate.state.metal_degc - state["plant_metal_degc"]).max()
    assert right_k < 0.1
    assert right_k < 0.3 * wrong_k
    np.testing.assert_allclose(estimate.state.hall_degc, state["plant_hall_degc"], atol=0.1)
    humidity = state["plant_hall_humidity_ratio"]
    np.testing.assert_allclose(estimate.state.hall_humidity_ratio, humidity, atol=2e-4)
    if site != "small_room":
        condenser = state["plant_condenser_degc"]
        np.testing.assert_allclose(estimate.state.condenser_degc, condenser, atol=0.3)
        chilled = state["plant_chilled_degc"]
        np.testing.assert_allclose(estimate.state.chilled_degc, chilled, atol=0.1)
    np.testing.assert_allclose(estimate.inlet_bias_k, 0.0, atol=0.05)


def test_a_thermometer_that_reads_too_high_is_a_lasting_error_of_the_inlet():
    envs = DataCenterEnvs(
        1,
        site="small_room",
        faults=[{"kind": "sensor_bias", "sensor": "hottest_inlet_degc", "severity": 1.0}],
    )
    estimate = PlantEstimate(
        envs.design, correction=0.7, bias_correction=0.3, pressure_pa=101_325.0
    )
    follow(envs, estimate, 30)
    assert estimate.inlet_bias_k[0] == pytest.approx(2.0, abs=0.1)


def test_an_episode_is_estimated_from_its_own_readings_alone():
    envs = DataCenterEnvs(2, weather="marine", start_day=120.0)
    fresh, used = (
        PlantEstimate(envs.design, correction=0.7, bias_correction=0.3, pressure_pa=101_325.0)
        for _ in range(2)
    )
    follow(envs, used, 20, seed=1)
    follow(envs, used, 5)
    follow(envs, fresh, 5)
    for name, value in fresh.state._asdict().items():
        np.testing.assert_array_equal(getattr(used.state, name), value, name)
    np.testing.assert_array_equal(fresh.inlet_bias_k, used.inlet_bias_k)


@pytest.mark.parametrize("site", PRESETS)
def test_from_the_true_state_the_next_is_foretold_as_it_comes(site):
    """Its equations and the plant's are the same: nothing is left for readings to correct."""
    envs = DataCenterEnvs(1, site=site, weather="hot_dry", start_day=200.0)
    pressure_pa = np.asarray(envs.outdoors.air(np.array([200 * 288])).pressure_pa).item()
    estimate = PlantEstimate(
        envs.design, correction=0.0, bias_correction=1.0, pressure_pa=pressure_pa
    )
    observations, _ = envs.reset(seed=0)
    estimate.reset(np.ones(1, bool))
    told = envs.config.start.plant_actions(1)
    estimate.update(envs.readings(observations), told)
    for _ in range(3):
        true = envs.state()
        names = estimate.state._fields
        estimate.state = type(estimate.state)(*(true[f"plant_{name}"] for name in names))
        told = told._replace(supply_air_degc=told.supply_air_degc + 1.0)
        observations, *_ = envs.step(envs.actions.from_plant(told))
        readings = envs.readings(observations)
        estimate.update(readings, told)
        true = envs.state()
        for name in names:
            foretold = getattr(estimate.state, name)
            np.testing.assert_allclose(foretold, true[f"plant_{name}"], 1e-4, 1e-6, err_msg=name)
        np.testing.assert_allclose(estimate.inlet_bias_k, 0.0, atol=1e-3)
