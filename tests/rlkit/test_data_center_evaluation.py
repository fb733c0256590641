"""A data centre's controllers get what each of them would get alone, and the totals add up."""

import json
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rlkit.data_center_evaluation import (
    DataCenterEvaluation,
    evaluate_data_center,
    site_of,
)
from rlkit.data_center_pass import ControllerError
from rlkit.data_center_processes import run_in_processes
from rlkit.data_center_years import unseen_years
from rlkit.environment_ids import DATA_CENTER
from rlkit.environments import GymnasiumEnvironment
from rlkit_envs.atari import AtariProtocol
from rlkit_envs.data_center.actions import StartingActions
from rlkit_envs.data_center.configuration import DataCenterConfig
from rlkit_envs.data_center.controllers import line_up
from rlkit_envs.data_center.controllers.controller import Observed
from rlkit_envs.data_center.controllers.fixed import FixedSetPoints, FixedSettings
from rlkit_envs.data_center.controllers.line_up import LINE_UP, Assignment, Build
from rlkit_envs.data_center.environment import DataCenterEnvs
from rlkit_envs.data_center.plant_state import PlantActions
from rlkit_envs.data_center.sensors import SensorSettings

NOISY = DataCenterConfig(sensors=SensorSettings(noise=1.0, delay_steps=1))
DAY: dict[str, Any] = {"days": 1, "first_day": 180}


class Thermostat:
    """Colder air the warmer it is outside and inside, and the longer the episode: has a memory."""

    name = "thermostat"

    def __init__(self) -> None:
        self.age = np.zeros(0)
        self.started: list[NDArray[np.bool_]] = []

    def reset(self, rows: NDArray[np.bool_]) -> None:
        self.age = np.zeros(len(rows))
        self.started.append(rows)

    def act(self, observed: Observed) -> PlantActions:
        self.age += 1.0
        outside = observed.readings["outdoor_dry_bulb_degc"]
        warm = 0.1 * observed.readings["hottest_inlet_degc"] - 0.3 * observed.scaled[:, 0]
        supply = np.clip(26.0 - 0.2 * outside - warm, 16.0, 30.0)
        return (
            StartingActions()
            .plant_actions(len(outside))
            ._replace(supply_air_degc=supply - 0.002 * self.age)
        )


def fixed(**settings: Any) -> Build:
    return lambda _: FixedSetPoints(FixedSettings(**settings))


CONTROLLERS: Mapping[str, Build] = {
    "fixed 20": fixed(),
    "thermostat": lambda _: Thermostat(),
    "fixed 24": fixed(supply_air_degc=24.0, air_flow_ratio=0.6),
}


@pytest.fixture(scope="module")
def together() -> DataCenterEvaluation:
    config = unseen_years(NOISY, weather=("marine", "hot_dry"), **DAY)
    return evaluate_data_center(CONTROLLERS, config, seed=7)


@pytest.mark.parametrize(("name", "climate"), [("thermostat", 1), ("fixed 24", 0)])
def test_a_controller_gets_in_each_climate_what_it_would_get_alone(
    together: DataCenterEvaluation, name: str, climate: int
):
    weather = ("marine", "hot_dry")[climate]
    config = unseen_years(NOISY, weather=(weather,), **DAY)
    alone = evaluate_data_center({name: CONTROLLERS[name]}, config, seed=7 + climate)
    assert alone.years == (together.years[climate],)
    assert alone.returns[name][0] == together.returns[name][climate]
    for count, values in alone.counts[name].items():
        np.testing.assert_array_equal(values, together.counts[name][count][climate : climate + 1])
    others = evaluate_data_center({name: CONTROLLERS[name]}, config, seed=9)
    same_noise = others.returns[name] == alone.returns[name]
    assert same_noise.all() == (name != "thermostat")  # which looks at noisy sensors


def test_counts_are_sums_over_the_steps_of_a_run_by_hand():
    config = unseen_years(DataCenterConfig(), weather=("cold",), **DAY)
    found = evaluate_data_center({"thermostat": CONTROLLERS["thermostat"]}, config)
    counts = {name: values[0] for name, values in found.counts["thermostat"].items()}

    envs = DataCenterEnvs(1, config=config)
    controller = Thermostat()
    controller.reset(np.ones(1, bool))
    observations, _ = envs.reset(seed=0)
    power, hottest, supply, rewarded = [], [], [], 0.0
    for _ in range(288):
        told = controller.act(Observed(observations, envs.readings(observations)))
        observations, rewards, _, _, info = envs.step(envs.actions.from_plant(told))
        quantities = {name: float(values[0]) for name, values in info["quantities"].items()}
        power.append([quantities[name] for name in ("facility_power_w", "it_power_w")])
        hottest.append(quantities["hottest_inlet_degc"])
        supply.append(float(np.asarray(told.supply_air_degc)[0]))
        rewarded += rewards[0]
    facility, servers = np.sum(power, axis=0) / 12_000.0  # of 5 minutes, in kWh
    assert counts["facility_energy"] == pytest.approx(facility)
    assert counts["it_energy"] == pytest.approx(servers)
    assert counts["overhead_energy"] == pytest.approx(facility - servers)
    assert counts["hottest_inlet"] == pytest.approx(max(hottest))
    assert counts["hottest_inlet_p999"] == pytest.approx(np.percentile(hottest, 99.9), abs=1e-4)
    assert counts["supply_air_degc_travel"] == pytest.approx(np.abs(np.diff(supply)).sum(), 1e-4)
    assert found.returns["thermostat"][0] == pytest.approx(rewarded)
    parts = ("air_handler_fan", "compressor", "chilled_pump", "condenser_pump", "tower_fan")
    other = ("humidifier", "evaporative_pump")
    whole = sum(counts[f"{part}_energy"] for part in (*parts, *other))
    assert counts["cooling_energy"] == pytest.approx(whole)


def test_everything_is_told_as_json(together: DataCenterEvaluation):
    told = json.loads(json.dumps(together.to_json(), allow_nan=False))
    assert told["protocol"]["id"] == DATA_CENTER
    assert told["protocol"]["days"] == 1
    assert told["protocol"]["first_day"] == 180
    assert told["protocol"]["sensors"]["noise"] == 1.0
    assert told["protocol"]["weather_seed"] == told["protocol"]["load_seed"] == 1000
    assert [year["climate"] for year in told["protocol"]["years"]] == ["marine", "hot_dry"]
    assert "seed 1000" in told["protocol"]["years"][0]["weather"]
    assert told["protocol"]["years"][0]["load"] == "diurnal 1000"
    assert all("seed 0," in name for name in told["protocol"]["tuning_years"])
    assert list(told["controllers"]) == list(CONTROLLERS)
    row = told["controllers"]["fixed 24"]
    assert set(row["counts"]) == set(told["units"]) == set(row["mean_year"])
    assert len(row["counts"]["cooling_energy"]) == len(row["returns"]) == 2
    (saving,) = row["savings"]
    assert (saving["of"], saving["against"]) == ("cooling_energy", "fixed 20")
    cooling = [np.sum(told["controllers"][n]["counts"]["cooling_energy"]) for n in CONTROLLERS]
    assert saving["ratio"] == pytest.approx(1.0 - cooling[2] / cooling[0])
    of_years = [saving["ratio"] for (saving,) in row["savings_by_year"]]
    ours, theirs = (
        told["controllers"][n]["counts"]["cooling_energy"] for n in ("fixed 24", "fixed 20")
    )
    assert of_years == pytest.approx(1.0 - np.array(ours) / np.array(theirs))
    assert told["controllers"]["fixed 20"]["savings"] == []


def test_a_controller_is_told_its_rows_its_tuning_years_and_when_it_starts():
    assignments: list[Assignment] = []
    controller = Thermostat()

    def build(assignment: Assignment) -> Thermostat:
        assignments.append(assignment)
        assignment.report("looking")
        return controller

    said: list[str] = []
    steps: list[tuple[int, int]] = []
    config = unseen_years(NOISY, weather=("marine", "cold", "hot_dry"), **DAY)
    evaluate_data_center(
        {"fixed 20": fixed(), "mine": build},
        config,
        report=said.append,
        on_step=lambda done, of: steps.append((done, of)),
    )
    (assignment,) = assignments
    assert assignment.rows == slice(3, 6)
    assert assignment.envs.num_envs == 6
    assert [years.weather for years in assignment.tuning] == ["marine", "cold", "hot_dry"]
    assert {years.weather_seed for years in assignment.tuning} == {0}
    assert said == ["looking"]
    assert steps == [(done, 288) for done in range(1, 289)]
    (started,) = controller.started
    assert started.tolist() == [True] * 3


def test_a_controller_that_goes_out_of_range_is_named():
    config = unseen_years(DataCenterConfig(), weather=("cold",), **DAY)
    controllers = {"fixed 20": fixed(), "hot": fixed(supply_air_degc=33.0)}
    with pytest.raises(ControllerError, match=r"controller 'hot': supply_air_degc is 33.* to 32"):
        evaluate_data_center(controllers, config)


def test_what_makes_no_sense_is_refused():
    config = unseen_years(DataCenterConfig(), weather=("cold",), **DAY)
    with pytest.raises(ValueError, match="at least one controller"):
        evaluate_data_center({}, config)
    with pytest.raises(ValueError, match="pair them side_by_side or in_turn"):
        evaluate_data_center({"fixed": fixed()}, DataCenterConfig())
    replay = unseen_years(DataCenterConfig(), engine="energyplus", **DAY)
    with pytest.raises(ControllerError, match=r"CEM looks into the NumPy plant.*'energyplus'"):
        evaluate_data_center({"CEM": LINE_UP["CEM"]}, replay)


def test_the_site_of_an_environment():
    site = site_of(GymnasiumEnvironment(DATA_CENTER, {"site": "small_room", "discrete": True}))
    assert (site.design().name, site.discrete) == ("small_room", True)
    with pytest.raises(ValueError, match=r"'ALE/Boxing-v5' is not rlkit"):
        site_of(AtariProtocol("boxing"))
    with pytest.raises(ValueError, match=r"does not take these arguments.*wether"):
        site_of(GymnasiumEnvironment(DATA_CENTER, {"wether": "cold"}))
    with pytest.raises(ValueError, match="no site 'nowhere'"):
        site_of(GymnasiumEnvironment(DATA_CENTER, {"site": "nowhere"}))


# Among processes


def test_processes_come_to_the_same():
    config = unseen_years(NOISY, weather=("marine", "hot_dry", "cold"), **DAY)
    controllers = {name: LINE_UP[name] for name in ("fixed 20", "PID")}
    steps: list[tuple[int, int]] = []
    apart = evaluate_data_center(
        controllers, config, seed=7, processes=2, on_step=lambda done, of: steps.append((done, of))
    )
    together = evaluate_data_center(controllers, config, seed=7)
    assert apart.years == together.years
    assert apart.protocol == together.protocol
    assert apart.measured.settings == together.measured.settings
    for name in controllers:
        np.testing.assert_array_equal(apart.returns[name], together.returns[name])
        for count, values in together.counts[name].items():
            np.testing.assert_array_equal(apart.counts[name][count], values)
    assert steps[-1] == (288, 288)
    assert steps == sorted(steps)


def test_what_goes_wrong_in_a_process_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = unseen_years(DataCenterConfig(), weather=("marine", "cold"), **DAY)
    with pytest.raises(ControllerError, match="controller 'hot': supply_air_degc is 33"):
        evaluate_data_center({"hot": partial(line_up.fixed, 33.0)}, config, processes=2)
    (tmp_path / "killed_by_the_system.py").write_text("import os\ndef work(**_): os._exit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    work = import_module("killed_by_the_system").work
    with pytest.raises(ChildProcessError, match="of 2 ended with exit code 3 before"):
        run_in_processes(work, [(), ()], lambda done, steps: None, lambda line: None)
