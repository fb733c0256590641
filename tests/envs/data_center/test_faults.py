"""Faults: drawn, followed over time, told to plant and sensors, labelled."""

import numpy as np
import pytest

from rlkit_envs.data_center.environment import DataCenterEnvs
from rlkit_envs.data_center.faults import Fault, check_faults, draw_faults, plant_faults, severities
from rlkit_envs.data_center.presets import chilled_water_hall, small_room

STEPS_PER_DAY = 288


def followed(fault, steps, drawn=None):
    """Severity of one fault at steps of an episode."""
    drawn = draw_faults([fault], np.random.default_rng(0)) if drawn is None else drawn
    repeated = np.repeat(drawn[:, :, np.newaxis], len(steps), axis=2)
    return severities([fault], repeated, np.array(steps))[0]


def test_a_fault_begins_grows_and_ends():
    fault = Fault("coil_fouling", 0.8, onset_day=1.0, growth_days=2.0, duration_days=3.0)
    days = [0.0, 0.999, 1.0, 1.5, 2.0, 3.0, 3.9, 4.0, 9.0]
    now = followed(fault, [round(day * STEPS_PER_DAY) for day in days])
    np.testing.assert_allclose(now, [0.0, 0.0, 0.0, 0.2, 0.4, 0.8, 0.8, 0.0, 0.0])
    sudden = followed(Fault("cooling_trip", onset_day=0.5), [143, 144, 100_000])
    np.testing.assert_allclose(sudden, [0.0, 1.0, 1.0])


def test_thermometers_drift_to_a_limit_or_are_off_at_once():
    drift = Fault("sensor_drift", 0.4, onset_day=1.0, sensor="return_air_degc")
    now = followed(drift, [0, 288, 576, 288 * 11, 288 * 365])
    np.testing.assert_allclose(now, [0.0, 0.0, 0.2, 2.0, 3.0])  # 0.2 K a day
    bias = Fault("sensor_bias", -0.5, sensor="return_air_degc")
    np.testing.assert_allclose(followed(bias, [0, 1000]), [-1.0, -1.0])


def test_severity_onset_and_chance_are_drawn_within_their_limits():
    fault = Fault("tower_fan", (0.2, 0.6), onset_day=(1.0, 3.0), probability=0.25)
    generator = np.random.default_rng(0)
    severity, onset, end, _ = np.array([draw_faults([fault], generator) for _ in range(2000)]).T[0]
    has = severity > 0.0
    assert abs(has.mean() - 0.25) < 0.04  # four standard deviations
    assert 0.2 <= severity[has].min() < 0.22
    assert 0.58 < severity[has].max() <= 0.6
    assert 288 <= onset.min() < 300
    assert 850 < onset.max() < 864
    assert np.isinf(end).all()


def test_stuck_parts_are_told_where_they_stand_and_sound_ones_nothing():
    faults = [Fault("stuck_valve", position=0.3, onset_day=1.0), Fault("condenser_fouling", 0.7)]
    drawn = draw_faults(faults, np.random.default_rng(0))
    drawn = np.repeat(drawn[:, :, np.newaxis], 2, axis=2)
    told = plant_faults(faults, drawn, severities(faults, drawn, np.array([0, 288])))
    np.testing.assert_array_equal(told.stuck_valve_ratio, [np.nan, 0.3])
    np.testing.assert_allclose(told.condenser_fouling, 0.7)
    assert told.tower_fan == 0.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "ghost"}, "'ghost': there are air_handler_fan"),
        ({"kind": "tower_fan", "severity": 1.5}, "severity is 1.5"),
        ({"kind": "tower_fan", "severity": -0.5}, "severity is -0.5"),
        ({"kind": "tower_fan", "severity": (0.5, 0.2)}, "two that rise"),
        ({"kind": "tower_fan", "onset_day": -1.0}, "onset_day is -1.0"),
        ({"kind": "tower_fan", "probability": 2.0}, "probability is 2.0"),
        ({"kind": "tower_fan", "duration_days": float("nan")}, "duration_days is nan"),
        ({"kind": "sensor_drift"}, "takes the name of a sensor"),
        ({"kind": "tower_fan", "sensor": "inlet_degc"}, "takes no sensor"),
    ],
)
def test_faults_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Fault(**settings)


def test_faults_of_what_a_site_lacks_are_refused():
    names = ("inlet_degc",)
    with pytest.raises(ValueError, match="needs chilled water, which small_room lacks"):
        check_faults([Fault("stuck_valve")], small_room(), names)
    with pytest.raises(ValueError, match="needs an air economiser"):
        check_faults([Fault("stuck_damper")], chilled_water_hall(), names)
    with pytest.raises(ValueError, match="no sensor 'nose' at small_room; it has inlet_degc"):
        check_faults([Fault("sensor_bias", sensor="nose")], small_room(), names)
    with pytest.raises(ValueError, match="'cooling_trip' is given twice"):
        check_faults([Fault("cooling_trip")] * 2, small_room(), names)


def run(fault, steps, **settings):
    envs = DataCenterEnvs(1, start_day=200.0, faults=[fault] if fault else [], **settings)
    _, info = envs.reset(seed=0)
    action = np.zeros((1, len(envs.actions.names)))
    infos = [info]
    observations = []
    for _ in range(steps):
        observed, _, _, _, info = envs.step(action)
        observations.append(observed[0])
        infos.append(info)
    return envs, observations, infos


def test_a_trip_is_labelled_and_warms_the_hall_from_its_onset_on():
    fault = {"kind": "cooling_trip", "onset_day": 2.5 / STEPS_PER_DAY, "duration_days": 4 / 288}
    envs, _, infos = run(fault, 8, site="small_room")
    labels = [float(info["faults"]["cooling_trip"][0]) for info in infos[1:]]
    assert labels == [0, 0, 1, 1, 1, 1, 0, 0]
    assert infos[0]["fault_onset_step"]["cooling_trip"].tolist() == [2]
    compressor = [float(i["quantities"]["direct_expansion_power_w"][0]) for i in infos[1:]]
    assert [power > 0.0 for power in compressor] == [True, True, False, False, False, False] + [
        True
    ] * 2
    inlets = [float(info["quantities"]["hottest_inlet_degc"][0]) for info in infos[1:]]
    assert inlets[5] > inlets[1] + 3.0
    assert envs.config.faults[0].kind == "cooling_trip"


def test_local_control_follows_a_thermometer_that_reads_too_high():
    bias = {"kind": "sensor_bias", "severity": 0.5, "sensor": "supply_air_degc"}  # 1 K
    _, observed, infos = run(bias, 6, site="small_room")
    _, _, sound = run(None, 6, site="small_room")
    at = 23.5  # 0 on the default range of 15 to 32 degC
    assert sound[-1]["quantities"]["supply_air_degc"][0] == pytest.approx(at, abs=1e-6)
    assert infos[-1]["quantities"]["supply_air_degc"][0] == pytest.approx(at - 1.0, abs=1e-6)
    assert observed[-1][0] == pytest.approx((at - 22.5) / 12.5, abs=1e-6)  # it reads the set point
    assert infos[-1]["faults"]["sensor_bias:supply_air_degc"].tolist() == [1.0]


def test_an_inlet_sensor_errs_for_the_agent_alone():
    bias = {"kind": "sensor_bias", "sensor": "hottest_inlet_degc"}
    envs, observed, infos = run(bias, 2, site="small_room")
    _, right, sound = run(None, 2, site="small_room")
    row = [sensor.name for sensor in envs.sensors].index("hottest_inlet_degc")
    np.testing.assert_allclose(observed[-1][row] - right[-1][row], 2.0 / 15.0, rtol=1e-5)
    for name, value in infos[-1]["quantities"].items():
        np.testing.assert_array_equal(value, sound[-1]["quantities"][name])
