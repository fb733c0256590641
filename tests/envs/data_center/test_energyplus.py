"""EnergyPlus as second engine. What needs the package is skipped without it."""

import importlib.util
import json
import os
import signal
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from rlkit_envs.data_center.economisers import EconomiserMode
from rlkit_envs.data_center.energyplus import (
    EnergyPlusActions,
    EnergyPlusEngine,
    EnergyPlusError,
    build_model,
    engine,
    model,
    signals,
    worker,
)
from rlkit_envs.data_center.energyplus.representation import (
    largest_server_power_w,
    power_chain_efficiency,
    represented_plant,
)
from rlkit_envs.data_center.energyplus.weather_file import write_epw
from rlkit_envs.data_center.humidity import HumidityDesign
from rlkit_envs.data_center.power_chain import operate_transformer
from rlkit_envs.data_center.presets import air_economised_hall, chilled_water_hall, small_room
from rlkit_envs.data_center.psychrometrics import humidity_ratio_from_relative, wet_bulb_degc
from rlkit_envs.data_center.pumps import PumpDesign
from rlkit_envs.data_center.servers import operate_servers
from rlkit_envs.data_center.weather import STEPS_PER_DAY, STEPS_PER_YEAR, Weather
from rlkit_envs.data_center.weather_files import read_epw
from rlkit_envs.data_center.york_correlation import york_approach_k

needs_energyplus = pytest.mark.skipif(
    importlib.util.find_spec("pyenergyplus") is None, reason="needs the extra energyplus"
)
DESIGN = replace(chilled_water_hall(), humidity=HumidityDesign(humidifier_kg_s=0.0))
PLANT, _ = represented_plant(DESIGN)
DAY = 120
INITIAL: dict[str, float] = {name: 20.0 for name in model.SCHEDULES}


@pytest.fixture(scope="module")
def weather():
    """A made-up year: between 3 and 9 degC within a day, at 900 m."""
    hours = np.arange(8760)
    return Weather.from_hourly(
        "Somewhere, high",
        46.0,
        8.0,
        900.0,
        dry_bulb_degc=6.0 + 3.0 * np.sin(2.0 * np.pi * (hours - 9) / 24.0),
        relative_humidity=0.6 - 0.2 * np.sin(2.0 * np.pi * hours / 24.0),
        pressure_pa=91_000.0 + 500.0 * np.sin(2.0 * np.pi * hours / 200.0),
    )


def built(first_day=0, days=1, design=DESIGN):
    return build_model(design, elevation_m=0.0, first_day=first_day, days=days, initial=INITIAL)


def test_nothing_is_left_to_energyplus_to_size():
    text = json.dumps(built()).lower()
    assert "autosize" not in text
    assert "autocalculate" not in text


@pytest.mark.parametrize(
    ("first_day", "days", "begin", "end"),
    [
        (0, 365, (2017, 1, 1), (2017, 12, 31)),
        (59, 1, (2017, 3, 1), (2017, 3, 1)),  # 28 February is day 58
        (364, 2, (2017, 12, 31), (2018, 1, 1)),
    ],
)
def test_an_episode_covers_its_days(first_day, days, begin, end):
    period = built(first_day, days)["RunPeriod"]["episode"]
    dates = [
        tuple(period[f"{name}_{part}"] for part in ("year", "month", "day_of_month"))
        for name in ("begin", "end")
    ]
    assert dates == [begin, end]


@pytest.mark.parametrize(("first_day", "days"), [(365, 1), (-1, 1), (0, 0), (0, 367)])
def test_days_outside_the_year_are_refused(first_day, days):
    with pytest.raises(ValueError, match=r"must lie in \d"):
        built(first_day, days)


def test_a_condenser_pump_too_small_for_chiller_and_exchanger_is_refused():
    # EnergyPlus shuts the chiller where both want water; our own plant slows them both.
    small = replace(PLANT, condenser_pump=PumpDesign(flow_kg_s=60.0))
    with pytest.raises(ValueError, match=r"60 kg/s: chiller and exchanger together take 90 kg/s"):
        represented_plant(SimpleNamespace(name="x", cooling=small, air_economiser=None))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("preset", "named"),
    [
        (small_room, "cooling is a DirectExpansionDesign"),
        (air_economised_hall, "there is an air_economiser"),
        (lambda: replace(DESIGN, cooling=replace(PLANT, exchanger=None)), "exchanger is None"),
    ],
)
def test_designs_that_the_model_lacks_parts_of_are_refused(weather, preset, named):
    with pytest.raises(ValueError, match=named):
        EnergyPlusEngine(preset(), weather)


def test_the_weather_file_holds_the_weather(weather, tmp_path):
    write_epw(tmp_path / "weather.epw", weather)
    read = read_epw(tmp_path / "weather.epw")
    assert (read.latitude_deg, read.longitude_deg, read.elevation_m) == (46.0, 8.0, 900.0)
    np.testing.assert_allclose(read.dry_bulb_degc[::12], weather.dry_bulb_degc[::12], atol=1e-4)
    np.testing.assert_allclose(read.humidity_ratio[::12], weather.humidity_ratio[::12], rtol=1e-4)
    np.testing.assert_allclose(read.pressure_pa, weather.pressure_pa, rtol=1e-6)


@pytest.mark.parametrize(
    ("actions", "named"),
    [
        ({"supply_air_degc": float("nan")}, "supply_air_degc is nan"),
        ({"air_flow_ratio": 1.2}, "air_flow_ratio is 1.2"),
        ({"chilled_water_degc": 40.0}, "chilled_water_degc is 40.0"),
    ],
)
def test_actions_out_of_range_are_refused(actions, named):
    with pytest.raises(ValueError, match=named):
        EnergyPlusActions(**actions)


def test_a_missing_package_is_one_line_that_names_the_extra(weather, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install -e '.\[energyplus\]' in rlkit's folder$"):
        EnergyPlusEngine(DESIGN, weather)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("say(b'V', b'24.1.0-abc')", "version 24.1.0, but this model is written for 25.2"),
        ("sys.exit(7)", "ended, with code 7"),
        ("time.sleep(60)", "did not answer within 0.5 s"),
        ("say(b'V', b'25.2.0'); say(b'E', b'no variable x')", "no variable x"),
        ("say(b'V', b'25.2.0'); say(b'D', b'1')", "ended the run, with code 1"),
    ],
)
def test_whatever_befalls_the_process_is_told(weather, monkeypatch, tmp_path, script, message):
    imposter = tmp_path / "imposter.py"
    imposter.write_text(
        "import struct, sys, time\n"
        "def say(kind, content):\n"
        "    sys.stdout.buffer.write(kind + struct.pack('<I', len(content)) + content)\n"
        "    sys.stdout.flush()\n" + script
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(worker, "__file__", str(imposter))
    patience = 0.5 if "sleep" in script else 60.0
    simulation = EnergyPlusEngine(DESIGN, weather, longest_answer_s=patience)
    with pytest.raises(EnergyPlusError, match=message):
        simulation.reset()
    with pytest.raises(EnergyPlusError, match="call reset first"):
        simulation.step(EnergyPlusActions(), 0.5)
    simulation.close()


CHILLER_ONLY = EnergyPlusActions(22.0, 0.7, 12.0, 24.0, EconomiserMode.OFF)
EXCHANGER_ONLY = EnergyPlusActions(24.0, 0.8, 18.0, 12.0, EconomiserMode.FULL)
BOTH = EnergyPlusActions(21.0, 0.4, 11.0, 14.0, EconomiserMode.PRECOOL)
HOURS_EACH = 5


@pytest.fixture(scope="module")
def episode(weather):
    """(actions, readings): five hours of each mode at constant load, by night."""
    simulation = EnergyPlusEngine(DESIGN, weather)
    simulation.reset(first_day=DAY, days=1, actions=CHILLER_ONLY, utilisation=0.6)
    steps = [
        (actions, simulation.step(actions, 0.6))
        for actions in (CHILLER_ONLY, EXCHANGER_ONLY, BOTH)
        for _ in range(12 * HOURS_EACH)
    ]
    log = simulation._error_file.read_text()
    simulation.close()
    assert "** Severe" not in log
    return steps


def settled(episode):
    """The last step of each mode."""
    return [episode[12 * HOURS_EACH * mode - 1] for mode in (1, 2, 3)]


@needs_energyplus
def test_outdoor_air_is_the_weathers_at_every_step(episode, weather):
    at = DAY * STEPS_PER_DAY + np.arange(len(episode))
    given = np.array([step[:4] for _, step in episode])
    np.testing.assert_allclose(given[:, 0], weather.dry_bulb_degc[at], atol=1e-9)
    np.testing.assert_allclose(given[:, 1], weather.wet_bulb_degc[at], atol=0.3)
    np.testing.assert_allclose(given[:, 2], weather.humidity_ratio[at], rtol=5e-3)
    np.testing.assert_allclose(given[:, 3], weather.pressure_pa[at], rtol=5e-3)


@needs_energyplus
def test_what_is_set_is_what_comes(episode):
    for actions, step in settled(episode):
        assert step.supply_degc == pytest.approx(actions.supply_air_degc, abs=0.01)
        rated_kg_s = DESIGN.fan.rated_flow_m3_s * engine.standard_density_kg_m3(900.0)
        assert step.supply_kg_s == pytest.approx(actions.air_flow_ratio * rated_kg_s, rel=1e-4)
        assert step.tower_leaving_degc == pytest.approx(actions.condenser_water_degc, abs=0.1)
        assert step.chilled_supply_degc == pytest.approx(actions.chilled_water_degc, abs=0.1)


@needs_energyplus
def test_economiser_modes_decide_who_cools(episode):
    chiller, exchanger, both = (step for _, step in settled(episode))
    assert chiller.exchanger_heat_w == pytest.approx(0.0, abs=1.0)
    assert chiller.chiller_power_w > 5e4
    assert exchanger.chiller_power_w == 0.0
    assert exchanger.exchanger_heat_w > 6e5
    assert both.exchanger_heat_w > 1e5
    assert both.chiller_power_w > 1e4


@needs_energyplus
def test_heat_balances_close_once_settled(episode):
    for _, step in settled(episode):
        hall_w = step.server_power_w + step.power_chain_loss_w + step.fan_power_w
        outdoor_w_k = DESIGN.hall.envelope_conductance_w_k
        outdoor_w_k += DESIGN.humidity.outdoor_air_m3_s * 1.1 * 1005.0
        hall_w -= outdoor_w_k * (step.hall_degc - step.outdoor_degc)
        assert step.coil_heat_w == pytest.approx(hall_w, rel=0.01)
        chilled_w = step.coil_heat_w + 0.9 * step.chilled_pump_power_w
        assert step.chiller_heat_w + step.exchanger_heat_w == pytest.approx(chilled_w, rel=0.01)
        rejected_w = step.chiller_heat_w + step.exchanger_heat_w + step.chiller_power_w
        rejected_w += 0.9 * step.condenser_pump_power_w
        assert step.tower_heat_w == pytest.approx(rejected_w, rel=0.01)


@needs_energyplus
def test_servers_follow_our_curves(episode):
    for _, step in settled(episode):
        ours = operate_servers(
            DESIGN.servers,
            0.6,
            step.server_inlet_degc,
            step.supply_humidity_ratio,
            step.outdoor_pressure_pa,
        )
        assert step.compute_power_w == pytest.approx(float(ours.compute_power_w), rel=1e-6)
        assert step.server_fan_power_w == pytest.approx(float(ours.fan_power_w), rel=1e-6)
        assert step.server_outlet_degc == pytest.approx(float(ours.exhaust_degc), abs=0.1)
        load = step.server_power_w / largest_server_power_w(DESIGN)
        loss_w = (1.0 - power_chain_efficiency(DESIGN, load)) * step.server_power_w
        assert step.power_chain_loss_w == pytest.approx(loss_w, rel=1e-3)
        critical_w = step.server_power_w + step.power_chain_loss_w
        whole = operate_transformer(DESIGN.power_chain, critical_w, step.cooling_power_w)
        assert step.facility_power_w == pytest.approx(float(whole.power_w), rel=1e-12)


@needs_energyplus
def test_chiller_power_is_that_of_its_curves(episode):
    # Water at 12 and 24 degC: lift (24 - 29.44) / 2.682759 - (12 - 6.667) = -7.3608 K, capacity
    # ratio 0.944836 + 0.419631 - 0.100498 = 1.263969, power ratio 1.907846 - 1.523066 + 0.420913.
    _, step = settled(episode)[0]
    capacity_w = 1.263969 * 1.4e6
    load = step.chiller_heat_w / capacity_w
    full_w = capacity_w * 0.805693 / 5.0
    power_w = full_w * (0.03303 + 0.6852 * load + 0.2818 * load**2)
    assert step.chiller_power_w == pytest.approx(power_w, rel=1e-4)


@needs_energyplus
def test_the_tower_follows_the_correlation(episode):
    _, step = settled(episode)[1]
    tower = PLANT.tower
    water_ratio = tower.water_ratio * step.condenser_kg_s / tower.water_flow_kg_s
    range_k = step.tower_entering_degc - step.tower_leaving_degc
    approach_k = york_approach_k(
        step.outdoor_wet_bulb_degc, range_k, water_ratio / step.tower_air_ratio
    )
    leaving_degc = step.outdoor_wet_bulb_degc + float(approach_k)
    assert step.tower_leaving_degc == pytest.approx(leaving_degc, abs=0.1)


@needs_energyplus
def test_the_same_episode_again_is_the_same_and_other_weather_is_not(weather):
    simulation = EnergyPlusEngine(DESIGN, weather)
    start = {"days": 1, "actions": BOTH, "utilisation": 0.4}
    first = [simulation.reset(**start), simulation.step(BOTH, 0.4), simulation.step(BOTH, 0.4)]
    again = [simulation.reset(**start), simulation.step(BOTH, 0.4)]
    assert again == first[:2]
    other = simulation.step(BOTH, 0.4, outdoor=(12.0, 0.5))
    assert other.outdoor_degc == 12.0
    pressure_pa = other.outdoor_pressure_pa
    humidity_ratio = humidity_ratio_from_relative(12.0, 0.5, pressure_pa)
    assert other.outdoor_humidity_ratio == pytest.approx(float(humidity_ratio), rel=5e-3)
    wet_bulb = wet_bulb_degc(12.0, humidity_ratio, pressure_pa)
    assert other.outdoor_wet_bulb_degc == pytest.approx(float(wet_bulb), abs=0.03)
    assert other.tower_fan_power_w > 1.2 * first[2].tower_fan_power_w
    simulation.close()


@needs_energyplus
def test_a_fan_ratio_is_reached_through_the_set_point(weather):
    simulation = EnergyPlusEngine(DESIGN, weather)
    step, water_degc = simulation.reset(days=1, actions=BOTH, utilisation=0.6), 0.0
    for _ in range(12):
        water_degc = simulation.condenser_water_for_fan(0.4)
        step = simulation.step(replace(BOTH, condenser_water_degc=water_degc), 0.6)
    assert step.tower_air_ratio == pytest.approx(0.4, abs=0.02)
    assert simulation.condenser_water_for_fan(0.6) < water_degc - 1.0
    simulation.close()


@needs_energyplus
def test_an_episode_ends_with_its_last_day_over_the_end_of_the_year(weather):
    simulation = EnergyPlusEngine(DESIGN, weather)
    last = simulation.reset(first_day=364, days=2, utilisation=0.5)
    for _ in range(2 * STEPS_PER_DAY):
        last = simulation.step(CHILLER_ONLY, 0.5)
    assert simulation.steps_left == 0
    at = (366 * STEPS_PER_DAY - 1) % STEPS_PER_YEAR
    assert last.outdoor_degc == pytest.approx(weather.dry_bulb_degc[at], abs=1e-9)
    with pytest.raises(EnergyPlusError, match="the episode is over"):
        simulation.step(CHILLER_ONLY, 0.5)
    simulation.close()


@needs_energyplus
def test_a_process_that_dies_between_steps_is_told_and_can_be_reset(weather):
    simulation = EnergyPlusEngine(DESIGN, weather)
    before = simulation.reset(days=1)
    assert simulation._process is not None
    os.kill(simulation._process.pid, signal.SIGKILL)
    with pytest.raises(EnergyPlusError, match=r"ended, with code -9 \(day 0 of the year, step 1\)"):
        simulation.step(BOTH, 0.5)
    assert simulation.reset(days=1) == before
    simulation.close()


@needs_energyplus
def test_names_that_energyplus_does_not_know_are_named(weather, monkeypatch):
    variables = dict(signals.VARIABLES, hall_degc=("Zone Air Temperature", "cellar"))
    monkeypatch.setattr(signals, "VARIABLES", variables)
    simulation = EnergyPlusEngine(DESIGN, weather)
    with pytest.raises(EnergyPlusError, match="no output variable 'Zone Air Temperature' for 'cel"):
        simulation.reset(days=1)
    actuators = (*engine.ACTUATORS[:-1], ("Weather Data", "Rain of Frogs", "Environment"))
    monkeypatch.setattr(engine, "ACTUATORS", actuators)
    with pytest.raises(EnergyPlusError, match="no actuator 'Weather Data' / 'Rain of Frogs'"):
        simulation.reset(days=1)
    simulation.close()


@needs_energyplus
def test_a_model_that_energyplus_refuses_shows_its_severe_error(weather, monkeypatch):
    def broken(*arguments, **named):
        objects = build_model(*arguments, **named)
        objects["Chiller:Electric:EIR"]["chiller"]["reference_cop"] = -5.0
        return objects

    monkeypatch.setattr(engine, "build_model", broken)
    simulation = EnergyPlusEngine(DESIGN, weather)
    with pytest.raises(EnergyPlusError, match=r"(?s)eplusout.err.*Severe.*reference_cop"):
        simulation.reset(days=1)
    simulation.close()
