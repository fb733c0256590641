"""Telemetry with known faults: what is in it, where faults begin, and that a seed makes it all."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from rlkit.autoencoder.anomalies.plant_faults import (
    FAULTY_PARTS,
    KINDS,
    SEVERITIES,
    FaultInstance,
    draw_instances,
    place_instances,
)
from rlkit.autoencoder.anomalies.series import Series, read_series, write_series
from rlkit.autoencoder.anomalies.telemetry import ROLES, Telemetry, record_telemetry
from rlkit.autoencoder.anomalies.telemetry_config import TelemetryConfig
from rlkit_envs.data_center.environment import DataCenterEnvs
from rlkit_envs.data_center.synthetic_weather import synthetic
from rlkit_envs.data_center.weather import STEPS_PER_YEAR

TINY = TelemetryConfig(
    years=1,
    normal=2,
    held_out=2,
    faults_of_each=1,
    unseen_weather=3,
    changed_policy=3,
    days=0.125,
    test_days=1.0,
    onset_days=(0.25, 0.35),
    duration_days=(0.4, 0.5),
)
NOTHING = replace(TINY, normal=0, held_out=0, faults_of_each=0, unseen_weather=0, changed_policy=0)


@pytest.fixture(scope="module")
def telemetry() -> Telemetry:
    return record_telemetry(TINY)


@pytest.fixture(scope="module")
def twins() -> tuple[Series, ...]:
    """The test series without their faults."""
    return record_telemetry(replace(NOTHING, faults_of_each=1, with_faults=False)).test


def column(series: Series, channel: str) -> np.ndarray:
    return series.values[:, series.channels.index(channel)]


def test_every_role_has_its_series(telemetry: Telemetry):
    counts = {role: len(getattr(telemetry, role)) for role in ROLES}
    assert counts == {
        "normal": 2,
        "held_out": 2,
        "test": 15,
        "unseen_weather": 3,
        "changed_policy": 3,
    }
    for series in telemetry.series:
        assert len(series) == (288 if series.context["role"] == "test" else 36)
        assert series.step_seconds == 300.0
        assert series.channels == telemetry.normal[0].channels
        assert np.isfinite(series.values).all()
        assert bool(series.events) == (series.context["role"] == "test")
    assert len({series.name for series in telemetry.series}) == 25


def test_channels_are_sensors_and_set_points_and_nothing_that_tells_of_faults(
    telemetry: Telemetry,
):
    channels = telemetry.test[0].channels
    envs = DataCenterEnvs(1, config=TINY.environment())
    instruments = [sensor.name for sensor in envs.sensors if sensor.read is not None]
    set_points = {f"set_{name}" for name in envs.actions.names} - {"set_economiser"}
    outdoors = {"outdoor_dry_bulb_degc", "outdoor_wet_bulb_degc"}
    assert set(channels) == {*instruments, *outdoors, *set_points}
    # What the simulator knows and no instrument shows.
    _, info = envs.reset(seed=0)
    hidden = set(info["quantities"]) - {sensor.name for sensor in envs.sensors}
    assert len(hidden) == 5
    assert not hidden & set(channels)


def test_every_kind_and_severity_happens_once(telemetry: Telemetry):
    events = [event for series in telemetry.test for event in series.events]
    assert Counter((event.kind, event.severity) for event in events) == Counter(
        (kind, severity) for kind in KINDS for severity in SEVERITIES
    )
    for event in events:
        assert 72 <= event.start <= 101
        assert 115 <= event.stop - event.start <= 144


def test_a_fault_changes_nothing_before_its_event_and_something_soon_after(
    telemetry: Telemetry, twins: tuple[Series, ...]
):
    delays = {}
    for series, twin in zip(telemetry.test, twins, strict=True):
        (event,) = series.events
        assert twin.events == ()
        changed = np.flatnonzero((series.values != twin.values).any(axis=1))
        delays[event.kind, event.severity] = changed[0] - event.start
    assert delays["stuck_valve", "medium"] == 0  # wide open at once
    assert min(delays.values()) == 0
    assert max(delays.values()) <= 6  # what grows from nothing has to show in float32


def test_faults_show_as_plants_have_shown(telemetry: Telemetry, twins: tuple[Series, ...]):
    for series, twin in zip(telemetry.test, twins, strict=True):
        (event,) = series.events
        last = slice((event.start + event.stop) // 2, event.stop)
        change = {
            channel: float((column(series, channel) - column(twin, channel))[last].mean())
            for channel in series.channels
        }
        fault = series.context["fault"]
        if fault == "air_handler_fan":
            # Friction takes more than the flow explains, whether less of it or as much as ever.
            power, flow = (
                column(series, channel)[last].mean() / column(twin, channel)[last].mean()
                for channel in ("air_handler_fan_power_w", "air_flow_kg_s")
            )
            assert power / flow**3 > 1.01
        elif fault == "stuck_valve":
            position = float(series.context["position"])
            assert column(series, "valve_ratio")[last].mean() == pytest.approx(position, abs=0.003)
            assert column(series, "valve_ratio")[last].std() < 0.01
            assert column(series, "valve_ratio")[event.stop + 6 :].mean() != pytest.approx(
                position, abs=0.01
            )
        elif fault == "sensor_drift:supply_air_degc":
            # Local control hides it: the reading stays, the servers' air moves the other way.
            drift = float(series.context["strength"])
            assert abs(change["supply_air_degc"] - change["set_supply_air_degc"]) < 0.02
            assert np.sign(change["inlet_degc"]) == -np.sign(drift)
        elif fault == "coil_fouling":
            assert change["valve_ratio"] > 0.02
        else:
            assert fault == "refrigerant_loss"
            assert change["chiller_power_w"] > 0.0


def test_hard_negatives_are_other_climates_and_other_controllers(telemetry: Telemetry):
    home = [*telemetry.normal, *telemetry.held_out, *telemetry.test, *telemetry.changed_policy]
    assert {series.context["climate"] for series in home} == {TINY.climate}
    climates = sorted(series.context["climate"] for series in telemetry.unseen_weather)
    assert climates == sorted(TINY.unseen_climates)
    usual = [*telemetry.normal, *telemetry.held_out, *telemetry.test, *telemetry.unseen_weather]
    assert {series.context["policy"] for series in usual} == set(TINY.policies)
    by_policy = {series.context["policy"]: series for series in telemetry.changed_policy}
    assert set(by_policy) == set(TINY.changed_policies)
    assert set(column(by_policy["fixed 23"], "set_supply_air_degc")) == {23.0}
    assert set(column(by_policy["fixed 23"], "economiser_mode")) == {0.0}
    assert set(column(by_policy["rule-based economiser"], "set_supply_air_degc")) == {20.0}
    assert len(set(column(by_policy["trim and respond"], "set_air_flow_ratio"))) > 5


def test_roles_have_years_of_their_own(telemetry: Telemetry):
    seeds = {
        role: {series.context["weather_seed"] for series in getattr(telemetry, role)}
        for role in ROLES
    }
    assert sum(map(len, seeds.values())) == len(set.union(*seeds.values())) == 5


def test_the_weather_is_that_which_the_context_names():
    (series,) = record_telemetry(replace(NOTHING, normal=1, noise=0.0)).normal
    year = synthetic(series.context["climate"], int(series.context["weather_seed"]))
    first = round(float(series.context["first_day"]) * 288)
    # Outdoor air is read at the end of a step.
    shown = year.dry_bulb_degc[(first + 1 + np.arange(len(series))) % STEPS_PER_YEAR]
    np.testing.assert_allclose(column(series, "outdoor_dry_bulb_degc"), shown, atol=1e-5)


def test_a_seed_makes_everything_whatever_else_is_recorded(telemetry: Telemetry):
    (*again,) = record_telemetry(replace(NOTHING, held_out=2)).held_out
    for series, repeated in zip(telemetry.held_out, again, strict=True):
        assert_array_equal(series.values, repeated.values)
        assert series.context == repeated.context
    (other, _) = record_telemetry(replace(NOTHING, held_out=2, seed=1)).held_out
    assert (other.values != telemetry.held_out[0].values).any()


def test_a_file_gives_back_the_same_by_role(telemetry: Telemetry, tmp_path: Path):
    write_series(tmp_path / "telemetry.npz", telemetry.series)
    read = Telemetry.from_series(read_series(tmp_path / "telemetry.npz"))
    for role in ROLES:
        for written, back in zip(getattr(telemetry, role), getattr(read, role), strict=True):
            assert_array_equal(back.values, written.values)
            assert (back.events, back.context) == (written.events, written.context)


def test_series_without_a_role_are_refused(telemetry: Telemetry):
    foreign = replace(telemetry.normal[0], context={})
    with pytest.raises(ValueError, match="'normal-0' has the role None: there are normal, held_"):
        Telemetry.from_series([foreign])


def test_steps_are_counted():
    counted: list[tuple[int, int]] = []
    record_telemetry(replace(NOTHING, normal=1), lambda *done: counted.append(done))
    assert counted[0] == (1, 108)  # 36 steps after 72 of settling
    assert counted[-1] == (108, 108)


def test_drawn_faults_stay_in_their_ranges():
    drawn = draw_instances(8, (3.0, 6.0), (5.0, 7.0), np.random.default_rng(0))
    assert len(drawn) == 8 * len(KINDS) * len(SEVERITIES)
    assert {instance.part for instance in drawn} == set(FAULTY_PARTS)
    for instance in drawn:
        low, high = instance.part.strengths(instance.severity)
        assert low <= abs(instance.strength) <= high
        assert 3 * 288 <= instance.start <= 6 * 288
        assert 5 * 288 <= instance.stop - instance.start <= 7 * 288
    negative = {instance.part.sensor is not None for instance in drawn if instance.strength < 0}
    assert negative == {True}
    assert len({instance.start for instance in drawn}) > 100


def test_faults_that_rest_in_the_cold_happen_in_warm_weather():
    rests = next(part for part in FAULTY_PARTS if part.warm_weather)
    never = next(part for part in FAULTY_PARTS if not part.warm_weather)
    instances = [
        FaultInstance(part, "mild", 0.1 * number, 0, 1)
        for number, part in enumerate((rests, never, rests, never, never))
    ]
    warmth = np.array([20.0, 5.0, -3.0, 12.0, 11.0])
    orders = set()
    for seed in range(20):
        placed = place_instances(instances, warmth, np.random.default_rng(seed))
        assert [each.part is rests for each in placed] == [True, False, False, True, False]
        assert sorted(each.strength for each in placed) == [each.strength for each in instances]
        orders.add(tuple(each.strength for each in placed))
    assert len(orders) > 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"climate": "lunar"}, "climate holds 'lunar': there are hot_dry"),
        ({"policies": ("CEM",)}, "policies holds 'CEM': there are fixed 20"),
        ({"policies": ()}, "policies is empty"),
        ({"changed_policies": ("PID",)}, "changed_policies holds 'PID', which the normal"),
        ({"unseen_climates": ("mixed_humid",)}, "unseen_climates holds 'mixed_humid', which"),
        ({"loads": ("tidal",)}, "loads holds 'tidal': there are diurnal"),
        ({"normal": -1}, "normal is -1: a whole number from 0 on"),
        ({"years": 0}, "years is 0: a whole number from 1 on"),
        ({"days": 0.0}, "days is 0.0: 0.01 to 364"),
        ({"onset_days": (3.0, 2.0)}, r"onset_days is \(3.0, 2.0\): two numbers that rise"),
        ({"duration_days": (5.0, 9.0)}, "until day 15, beyond test_days 14"),
        ({"noise": -1.0}, "noise"),
    ],
)
def test_what_cannot_be_recorded_is_refused(settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        TelemetryConfig(**settings)
