"""The environment with EnergyPlus as its engine.

What needs the package is skipped without it. The rest runs processes that talk as EnergyPlus's do,
tell what they heard, and answer with the supply temperature that they were told.
"""

import importlib.util
import json
import os
import signal
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

import rlkit_envs  # noqa: F401 (registers the environment)
from rlkit_envs.data_center.energyplus import EnergyPlusError, worker
from rlkit_envs.data_center.energyplus.sites import EnergyPlusSites
from rlkit_envs.data_center.environment import DataCenterEnvs
from rlkit_envs.data_center.single_environment import DataCenterEnv
from rlkit_envs.data_center.weather import STEPS_PER_DAY, STEPS_PER_YEAR

ID = "rlkit/DataCenterCooling-v0"
KWH = 300.0 / 3.6e6
needs_energyplus = pytest.mark.skipif(
    importlib.util.find_spec("pyenergyplus") is None, reason="needs the extra energyplus"
)

STAND_IN = """
import json, os, struct, sys, time
from pathlib import Path
start = json.loads(sys.stdin.buffer.readline())
folder, together = Path(os.environ["HEARD"]), int(os.environ["TOGETHER"])
number = len(list(folder.glob("*.start")))
while True:
    try:
        (folder / f"{number}.start").open("x").write(json.dumps(start))
        break
    except FileExistsError:
        number += 1
def say(kind, content):
    sys.stdout.buffer.write(kind + struct.pack("<I", len(content)) + content)
    sys.stdout.flush()
def read(supply):
    values = [supply if pair[1] == "supply air" else 1.0 for pair in start["variables"]]
    say(b"R", struct.pack(f"<{len(values)}d", *values))
say(b"V", b"25.2.0")
read(start["initial"][1])
form = struct.Struct(f"<{len(start['actuators'])}d")
for step in range(10**9):
    content = sys.stdin.buffer.read(form.size)
    if len(content) < form.size:
        break
    told = form.unpack(content)
    with (folder / f"{number}.steps").open("a") as heard:
        heard.write(json.dumps(told) + "\\n")
    if together > 1:  # answer only once the others have been told as well
        (folder / f"{step}.{number}.told").touch()
        deadline = time.monotonic() + 20.0
        while len(list(folder.glob(f"{step}.*.told"))) < together:
            if time.monotonic() > deadline:
                sys.exit(3)
            time.sleep(0.001)
    read(told[1])
"""


class Heard:
    """What the stand-ins were told, in the order in which they were started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def starts(self) -> int:
        return len(list(self.folder.glob("*.start")))

    def initial(self, number: int) -> np.ndarray:
        return np.array(json.loads((self.folder / f"{number}.start").read_text())["initial"])

    def steps(self, number: int) -> np.ndarray:
        lines = (self.folder / f"{number}.steps").read_text().splitlines()
        return np.array([json.loads(line) for line in lines])


@pytest.fixture
def heard(tmp_path, monkeypatch):
    """Stand-ins in place of EnergyPlus."""
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    folder = tmp_path / "heard"
    folder.mkdir()
    monkeypatch.setenv("HEARD", str(folder))
    monkeypatch.setenv("TOGETHER", "1")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(worker, "__file__", str(script))
    return Heard(folder)


UTILISATION, SUPPLY, OUTDOOR = 0, 1, -2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"engine": "doe2"}, "engine is 'doe2': there are plant, energyplus"),
        ({"site": "small_room"}, "chilled water only: take the preset chilled_water_hall"),
        ({"site": "air_economised_hall"}, "there is an air_economiser"),
        ({"faults": {"kind": "coil_fouling"}}, "'coil_fouling' needs engine='plant'"),
        ({"ranges": {"air_flow_ratio": [0.0, 1.0]}}, "ranges.air_flow_ratio: 0 is less than"),
        ({"start": {"air_flow_ratio": 0.01}}, "start.air_flow_ratio: 0.01 is less than"),
        (
            {"discrete": True, "levels": {"air_flow_ratio": [0.5, 0.02]}},
            "levels of air_flow_ratio: 0.02 is less than",
        ),
    ],
)
@pytest.mark.usefixtures("heard")
def test_what_energyplus_lacks_is_refused_when_made(settings, message):
    with pytest.raises(ValueError, match=message):
        DataCenterEnvs(2, **({"engine": "energyplus"} | settings))


def test_a_missing_package_is_told_when_made(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install -e '.\[energyplus\]' in rlkit's folder$"):
        gym.make(ID, engine="energyplus")


def test_another_version_is_told_at_the_first_reset_with_its_environments(heard, tmp_path):
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN.replace("25.2.0", "24.1.0"))
    envs = DataCenterEnvs(2, engine="energyplus")
    message = r"environment 0: EnergyPlus is of version 24.1.0(.|\n)*environment 1: EnergyPlus is"
    with pytest.raises(EnergyPlusError, match=message):
        envs.reset(seed=0)
    with pytest.raises(ResetNeeded):
        envs.step(np.zeros((2, 5)))
    script.write_text(STAND_IN)
    assert envs.reset(seed=0)[0].shape == (2, len(envs.sensors))
    assert heard.starts() == 4
    envs.close()


def test_processes_compute_at_the_same_time_each_for_its_own_row(heard, monkeypatch):
    monkeypatch.setenv("TOGETHER", "3")  # none answers before all have been told
    loads = tuple(np.full(STEPS_PER_YEAR, load) for load in (0.2, 0.4, 0.6))
    ranges = {"supply_air_degc": [20.0, 24.0]}
    envs = DataCenterEnvs(3, engine="energyplus", load=loads, pairing="in_turn", ranges=ranges)
    envs.reset(seed=0)
    actions = np.zeros((3, 5))
    actions[:, 0] = -1.0, 0.0, 1.0
    info = envs.step(actions)[4]
    np.testing.assert_allclose(info["quantities"]["supply_air_degc"], [20.0, 22.0, 24.0])
    told = sorted((heard.steps(number) for number in range(3)), key=lambda steps: steps[-1, SUPPLY])
    for steps, supply_degc, load in zip(told, (20.0, 22.0, 24.0), (0.2, 0.4, 0.6), strict=True):
        assert steps[-1, SUPPLY] == pytest.approx(supply_degc)
        np.testing.assert_array_equal(steps[:, UTILISATION], load)
    envs.close()


def test_a_step_hears_its_own_weather_and_load_even_over_the_end_of_the_year(heard):
    day = 365.0 - 5.0 / STEPS_PER_DAY
    envs = DataCenterEnvs(1, engine="energyplus", weather="cold", start_day=day, load_seed=3)
    envs.reset(seed=0)
    for _ in range(8):
        envs.step(np.zeros((1, 5)))
    at = (np.arange(-5 - 24, 3)) % STEPS_PER_YEAR  # 24 steps before the episode, 8 of it
    steps = heard.steps(0)
    np.testing.assert_allclose(steps[:, OUTDOOR], envs.outdoors.dry_bulb_degc[at])
    np.testing.assert_allclose(steps[:, UTILISATION], envs.outdoors.utilisation[at])
    first = heard.initial(0)
    assert first[OUTDOOR] == pytest.approx(envs.outdoors.dry_bulb_degc[at[0]])
    assert first[UTILISATION] == envs.outdoors.utilisation[at[0]]
    np.testing.assert_array_equal(steps[:24, SUPPLY], envs.config.start.supply_air_degc)
    envs.close()


def test_a_mask_and_an_end_restart_only_their_own_processes(heard):
    settings = {"weather": ["cold", "hot_dry"], "episode_days": 1, "start_day": 10.0}
    envs = DataCenterEnvs(2, engine="energyplus", pairing="in_turn", **settings)
    envs.reset(seed=0)
    action = np.zeros((2, 5))
    for _ in range(3):
        envs.step(action)
    envs.reset(options={"reset_mask": np.array([False, True])})
    assert heard.starts() == 3
    ends = []
    for number in range(1, STEPS_PER_DAY + 1):
        _, rewards, _, truncated, _ = envs.step(action)
        ends += [(number, row) for row in np.flatnonzero(truncated).tolist()]
        if number == STEPS_PER_DAY - 2:  # the first row began anew here
            assert rewards[0] == 0.0
            assert rewards[1] < 0.0
    assert ends == [(STEPS_PER_DAY - 3, 0), (STEPS_PER_DAY, 1)]
    assert heard.starts() == 4
    outdoors = envs.outdoors.dry_bulb_degc
    after = 10 * STEPS_PER_DAY + 2  # of the third step
    number = next(n for n in (0, 1) if heard.initial(n)[OUTDOOR] == outdoors[10 * 288 - 24])
    assert heard.steps(number)[24 + 2, OUTDOOR] == outdoors[after]
    assert heard.steps(2)[24 + 2, OUTDOOR] == outdoors[STEPS_PER_YEAR + after]
    for process in (number, 2):  # the first none more, though the other's episode went on
        assert len(heard.steps(process)) == 24 + STEPS_PER_DAY
    envs.close()


@pytest.mark.usefixtures("heard")
def test_a_state_can_be_neither_saved_nor_restored():
    envs = DataCenterEnvs(1, engine="energyplus")
    envs.reset(seed=0)
    with pytest.raises(NotImplementedError, match="take engine='plant'"):
        envs.state()
    plant = DataCenterEnvs(1)
    plant.reset(seed=0)
    with pytest.raises(NotImplementedError, match="take engine='plant'"):
        envs.set_state(plant.state())
    envs.close()
    with pytest.raises(EnergyPlusError, match="closed"):
        envs.reset()


@pytest.mark.usefixtures("heard")
def test_a_thermometer_that_errs_misleads_energyplus_as_well():
    fault = {"kind": "sensor_bias", "sensor": "supply_air_degc", "severity": 1.0}
    envs = DataCenterEnvs(1, engine="energyplus", faults=fault)
    envs.reset(seed=0)
    info = envs.step(np.zeros((1, 5)))[4]
    told = info["actions"]["supply_air_degc"][0]
    assert info["quantities"]["supply_air_degc"][0] == pytest.approx(told - 2.0)
    envs.close()


CLIMATES = {"weather": ["mixed_humid", "very_cold"], "pairing": "in_turn", "start_day": 45.3}
DAYS = 2


def changing_actions(steps, seed=0):
    """Every four hours others, within what a controller might try; the exchanger never alone."""
    generator = np.random.default_rng(seed)
    spans = -(-steps // 48)
    drawn = generator.uniform(-0.6, 0.6, (spans, 2, 5))
    drawn[:, :, 4] = generator.choice([-1.0, 0.0], (spans, 2))
    return np.repeat(drawn, 48, axis=0)[:steps].astype(np.float32)


@pytest.fixture(scope="module")
def both():
    """(engine -> envs, engine -> first and all later steps): two days, then the next episode."""
    envs, steps = {}, {}
    for engine in ("plant", "energyplus"):
        envs[engine] = gym.make_vec(ID, num_envs=2, engine=engine, episode_days=DAYS, **CLIMATES)
        first = envs[engine].reset(seed=3)
        actions = changing_actions(DAYS * STEPS_PER_DAY + 2)
        steps[engine] = [first, *(envs[engine].step(action) for action in actions)]
    yield envs, steps
    for made in envs.values():
        made.close()


def quantity(steps, name):
    """(steps, environments) over the episode."""
    return np.array([step[4]["quantities"][name] for step in steps[1 : DAYS * STEPS_PER_DAY + 1]])


def shape_of(info):
    """Names in the order in which they come, with types and shapes."""
    if isinstance(info, dict):
        return [(name, shape_of(value)) for name, value in info.items()]
    return info.dtype, info.shape


@needs_energyplus
def test_both_engines_look_the_same_from_outside(both):
    (plant, energyplus), (ours, theirs) = (side.values() for side in both)
    for space in ("observation_space", "action_space"):
        assert getattr(plant, space) == getattr(energyplus, space)
    assert plant.metadata == {**energyplus.metadata, "saves_state": True}
    assert energyplus.metadata["saves_state"] is False
    assert plant.unwrapped.sensors[0].name == energyplus.unwrapped.sensors[0].name
    for index in (0, 1, 100, -1):
        for one, other in zip(ours[index][:-1], theirs[index][:-1], strict=True):
            assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert shape_of(ours[index][-1]) == shape_of(theirs[index][-1])
    for observation, *_ in theirs:
        assert energyplus.observation_space.contains(observation)
    clock_and_weather = slice(len(plant.unwrapped.sensors) - 12, None)
    np.testing.assert_array_equal(
        ours[50][0][:, clock_and_weather], theirs[50][0][:, clock_and_weather]
    )


@needs_energyplus
def test_energyplus_feels_the_weather_that_is_observed(both):
    (_, energyplus), (_, theirs) = (side.values() for side in both)
    sites = energyplus.unwrapped._engine
    # The last step began with the air that was observed after the one before it.
    before = theirs[-2][4]["quantities"]["outdoor_dry_bulb_degc"]
    felt = sites._last().outdoor_degc
    np.testing.assert_allclose(felt, before, atol=1e-9)


@needs_energyplus
def test_both_engines_agree_on_two_days_of_changing_actions(both):
    _, (ours, theirs) = (side.values() for side in both)
    facility_w = quantity(theirs, "facility_power_w").mean(axis=0)
    for name, bias, scatter in (
        ("facility_power_w", 0.01, 0.02),
        ("it_power_w", 0.003, 0.005),
        ("air_handler_fan_power_w", 1e-6, 1e-9),
        ("chiller_power_w", 0.08, 0.02),
        ("pump_power_w", 0.05, 0.003),
    ):
        one, other = quantity(ours, name), quantity(theirs, name)
        mean = other.mean(axis=0)
        assert (np.abs(one.mean(axis=0) - mean) < bias * mean).all(), name
        assert (np.sqrt(np.mean((one - other) ** 2, axis=0)) < scatter * facility_w).all(), name
    for name, bias in (("chilled_water_kg_s", 0.05), ("water_kg_s", 0.08)):
        mean = quantity(theirs, name).mean(axis=0)
        assert (np.abs(quantity(ours, name).mean(axis=0) - mean) < bias * mean).all(), name
    for name, rms in (
        ("supply_air_degc", 0.3),
        ("return_air_degc", 0.5),
        ("inlet_degc", 0.3),
        ("hottest_inlet_degc", 0.5),
        ("chilled_water_degc", 0.5),
        ("condenser_water_degc", 1.0),
        ("condenser_return_degc", 1.5),
    ):
        differences = quantity(ours, name) - quantity(theirs, name)
        assert (np.sqrt(np.mean(differences**2, axis=0)) < rms).all(), name
    rewards = [np.array([step[1] for step in steps[1:]]) for steps in (ours, theirs)]
    np.testing.assert_allclose(rewards[0].mean(axis=0), rewards[1].mean(axis=0), rtol=0.02)


@needs_energyplus
def test_the_humidifier_keeps_a_cold_day_above_its_dew_point(both):
    _, (ours, theirs) = (side.values() for side in both)
    for steps in (ours, theirs):
        dew_point = quantity(steps, "hall_dew_point_degc")[STEPS_PER_DAY:, 1]
        assert dew_point.min() == pytest.approx(-9.0, abs=0.1)
    energies = [steps[-3][4]["episode_counts"]["humidifier_energy"][1] for steps in (ours, theirs)]
    assert energies[1] == pytest.approx(energies[0], rel=0.1)
    assert energies[1] > 1.0


@needs_energyplus
def test_counts_are_sums_of_energypluss_steps(both):
    _, (_, theirs) = (side.values() for side in both)
    counts = theirs[DAYS * STEPS_PER_DAY][4]["episode_counts"]
    for count, name in (
        ("facility_energy", "facility_power_w"),
        ("it_energy", "it_power_w"),
        ("cooling_energy", "mechanical_power_w"),
        ("compressor_energy", "chiller_power_w"),
    ):
        expected = KWH * quantity(theirs, name).sum(axis=0)
        np.testing.assert_allclose(counts[count], expected, rtol=1e-9)
    parts = ("air_handler_fan", "compressor", "chilled_pump", "condenser_pump", "tower_fan")
    parts = sum(counts[f"{part}_energy"] for part in (*parts, "humidifier", "evaporative_pump"))
    np.testing.assert_allclose(counts["cooling_energy"], parts, rtol=1e-9)
    whole = counts["it_energy"] + counts["cooling_energy"] + counts["power_chain_loss"]
    np.testing.assert_allclose(counts["facility_energy"], whole, rtol=1e-9)
    water = 300.0 * quantity(theirs, "water_kg_s").sum(axis=0)
    np.testing.assert_allclose(counts["water"], water, rtol=1e-9)


@needs_energyplus
def test_an_episode_ends_and_the_next_begins_with_it(both):
    _, (_, theirs) = (side.values() for side in both)
    last, between, first = theirs[-3:]
    assert last[3].all()
    np.testing.assert_array_equal(between[1], 0.0)
    assert not between[3].any()
    start = round(45.3 * STEPS_PER_DAY)
    assert between[4]["time_step"].tolist() == [start, start]
    energy = first[4]["episode_counts"]["facility_energy"]
    np.testing.assert_allclose(energy, KWH * first[4]["quantities"]["facility_power_w"], rtol=1e-9)


def engines_of(envs):
    assert isinstance(envs._engine, EnergyPlusSites)
    return [engine for engine in envs._engine._engines if engine is not None]


def processes_of(envs):
    return [engine._process.pid for engine in engines_of(envs) if engine._process is not None]


@needs_energyplus
def test_a_killed_process_is_told_with_its_environment_and_a_reset_heals():
    envs = DataCenterEnvs(2, engine="energyplus", **CLIMATES)
    first, _ = envs.reset(seed=5)
    actions = changing_actions(3)
    envs.step(actions[0])
    processes = processes_of(envs)
    os.kill(processes[1], signal.SIGKILL)
    message = r"^environment 1: the process of EnergyPlus ended, with code -9 \(day 45 (.|\n)*err:"
    with pytest.raises(EnergyPlusError, match=message):
        envs.step(actions[1])
    with pytest.raises(ResetNeeded):
        envs.step(actions[1])
    with pytest.raises(ResetNeeded):
        envs.reset(options={"reset_mask": np.array([False, True])})
    again, _ = envs.reset(seed=5)
    np.testing.assert_array_equal(again, first)
    assert envs.step(actions[0])[4]["quantities"]["facility_power_w"].min() > 1e5
    processes = processes_of(envs)
    envs.close()
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


@needs_energyplus
def test_servers_that_heat_stops_stop_in_energyplus_as_well():
    busy = np.ones(STEPS_PER_YEAR)
    hot = np.array([[1.0, -1.0, 1.0, -1.0, -1.0]], np.float32)
    shares = []
    for engine in ("plant", "energyplus"):
        envs = DataCenterEnvs(1, engine=engine, load=busy, weather="hot_humid", start_day=200.0)
        envs.reset(seed=0)
        steps = [envs.step(hot) for _ in range(36)]
        power = [step[4]["quantities"]["it_power_w"][0] for step in steps]
        shares.append(np.array(power) / max(power))
        assert steps[-1][4]["limits"]["servers_off"][0]
        assert steps[-1][1][0] < -5.0
        envs.close()
    # Servers go off and come back in steps that the two may take at other times.
    assert shares[1].mean() == pytest.approx(shares[0].mean(), abs=0.05)
    assert max(share.min() for share in shares) < 0.85


@needs_energyplus
def test_a_single_site_passes_gymnasiums_checks():
    env = gym.make(ID, engine="energyplus", episode_days=1, start_day=364.9)
    check_env(env.unwrapped, skip_render_check=True)
    env.close()


@needs_energyplus
def test_a_whole_year_begins_within_a_day_and_ends_there():
    env = DataCenterEnv(engine="energyplus", episode_days=365, start_day=364.9)
    env.reset(seed=0)
    assert not env.step(np.zeros(5, np.float32))[3]
    (engine,) = engines_of(env.envs)
    assert engine.steps_left >= STEPS_PER_YEAR - 1
    env.close()
