"""`rlkit evaluate` of a data centre's policy: what it prints, and how it takes mistakes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlkit.cli.main import main
from rlkit.environments import GymnasiumEnvironment, make_envs
from rlkit.policies import save_policy
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.q_policy import HeadConfig, QPolicy

SITE = "rlkit/DataCenterCooling-v0"
GRID: dict[str, Any] = {"discrete": True, "weather": ["cold", "marine"], "load": ["batch"]}
DAY = ("--days", "1", "--weather", "marine", "hot_dry", "--controllers", "fixed-20", "PID")


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others take seconds to start; `test_policies_reach_other_processes` has them."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)


def saved(path: Path, environment: GymnasiumEnvironment) -> Path:
    torch.manual_seed(2)
    envs = make_envs(environment, 1)
    spaces = envs.single_observation_space, envs.single_action_space
    envs.close()
    network = NetworkConfig(torso="mlp", hidden_sizes=(8,))
    policy = QPolicy(*spaces, network, HeadConfig("expected"), precision="float32")
    save_policy(policy, path, environment, {"recipe": "test", "steps": 0})
    return path


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policies")
    return saved(folder / "grid.safetensors", GymnasiumEnvironment(SITE, GRID))


def evaluated(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    capsys.readouterr()
    assert main(["evaluate", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def mistake(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """What is said about a mistake, which must be one line, with exit code 2."""
    capsys.readouterr()
    assert main(["evaluate", *map(str, arguments)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1, said.err
    return said.err


def test_json_tells_of_the_policy_as_ever_and_of_all_others(
    policy: Path, capsys: pytest.CaptureFixture[str]
):
    told = json.loads(
        evaluated(capsys, policy, *DAY, "--first-day", "200", "--seed", "3", "--json")
    )
    assert {"returns", "mean", "iqm", "iqm_ci95", "min", "max", "policy"} <= set(told)
    assert told["mean"] == pytest.approx(np.mean(told["returns"]))
    assert told["returns"] == told["controllers"]["agent"]["returns"]
    assert told["lengths"] == [288, 288]
    assert told["counts"] == told["controllers"]["agent"]["counts"]
    assert told["metrics"]["pue"]["unit"] == "facility energy over IT energy"
    assert told["metrics"]["pue"]["mean"] == told["controllers"]["agent"]["mean_year"]["pue"]
    assert told["policy"]["path"] == str(policy)
    assert list(told["controllers"]) == ["fixed 20", "PID", "agent", "agent, supervised"]
    for year, energy in zip(
        told["controllers"]["agent, supervised"]["supervision"],
        told["controllers"]["agent, supervised"]["counts"]["facility_energy"],
        strict=True,
    ):
        assert year["bills"]["both"]["hours"] == pytest.approx(24.0)
        assert year["bills"]["both"]["energy_kwh"] == pytest.approx(energy, rel=1e-5)
        parties = [year["bills"][party]["energy_kwh"] for party in ("agent", "fallback")]
        assert sum(parties) == pytest.approx(energy, rel=1e-5)
        assert sum(i["bill"]["hours"] for i in year["intervals"]) == pytest.approx(24.0)
    assert told["controllers"]["agent"]["supervision"] is None
    protocol = told["protocol"]
    assert (protocol["id"], protocol["arguments"]) == (SITE, GRID)
    assert (protocol["deterministic"], protocol["engine"], protocol["site"]) == (
        *(True, "plant"),
        "chilled_water_hall",
    )
    assert (protocol["days"], protocol["first_day"], protocol["seed"]) == (1, 200, 3)
    assert (protocol["weather_seed"], protocol["load_seed"]) == (1003, 1003)
    assert [year["climate"] for year in protocol["years"]] == ["marine", "hot_dry"]
    assert {year["load"] for year in protocol["years"]} == {"batch 1003"}
    assert protocol["seen_in_training"] == []


def test_the_table_shows_every_controller_and_cuts_nothing_short(
    policy: Path, capsys: pytest.CaptureFixture[str]
):
    text = evaluated(capsys, policy, *DAY)
    assert f"agent: {policy}" in text
    assert "chilled_water_hall, 1 days from day 0 of the year in 2 climates" in text
    for name in ("fixed 20", "PID", "agent, supervised"):
        assert text.count(f"\n {name} ") == 5
    assert "agent, supervised: the bill of each" in text
    told = json.loads(evaluated(capsys, policy, *DAY, "--json"))
    year = told["controllers"]["PID"]["mean_year"]
    for number in (
        f"{year['facility_energy'] / 1e3:.1f}",
        f"{year['pue']:.4f}",
        f"{year['wue']:.3f}",
        f"{year['hottest_inlet']:.1f}",
    ):
        assert f" {number} " in text
    assert "…" not in text


def test_policies_reach_other_processes(
    policy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    options = (policy, *DAY, "--json")
    here = json.loads(evaluated(capsys, *options))
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    there = json.loads(evaluated(capsys, *options))
    assert there["returns"] == here["returns"]
    assert there["counts"] == here["counts"]


def test_its_controllers_can_run_without_a_policy(capsys: pytest.CaptureFixture[str]):
    told = json.loads(evaluated(capsys, SITE, *DAY, "--json"))
    assert list(told["controllers"]) == ["fixed 20", "PID"]
    assert "policy" not in told
    assert "agent" not in evaluated(capsys, SITE, *DAY)


def test_a_policy_trained_on_the_same_years_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = {"discrete": True, "weather": "marine", "weather_seed": [0, 1000]}
    path = saved(tmp_path / "seen.safetensors", GymnasiumEnvironment(SITE, arguments))
    options = ("--days", "1", "--weather", "marine", "--controllers", "none")
    told = json.loads(evaluated(capsys, path, *options, "--json"))
    assert told["protocol"]["seen_in_training"] == ["weather marine 1000"]
    assert "trained on: weather marine 1000" in evaluated(capsys, path, *options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--controllers", "fixd-20"), "no controller 'fixd-20'; did you mean fixed-20?"),
        (("--weather", "tropical"), "no weather 'tropical': there are hot_dry"),
        (("--weather", "nowhere.epw"), "nowhere.epw"),
        (("--days", "0"), "0: 1 to 365 would fit"),
        (("--days", "366"), "366: 1 to 365 would fit"),
        (("--first-day", "365"), "365.0: 0 to below 365 would fit"),
        (("--controllers", "none"), "leaves nobody to evaluate"),
        (("--controllers", "cem", "--engine", "energyplus"), "CEM looks into our own plant"),
        (("--episodes", "3"), "--episodes has no meaning in a data centre"),
        (("--seed", "-1"), "--seed must not be negative"),
    ],
)
def test_mistakes_are_one_line(
    options: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]
):
    assert expected in mistake(capsys, SITE, *options)


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--days", "3"),
        ("--controllers", "pid"),
        ("--engine", "plant"),
        ("--weather", "cold"),
        ("--first-day", "0"),
    ],
)
def test_its_options_are_refused_in_other_worlds(
    flag: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = saved(tmp_path / "cart.safetensors", GymnasiumEnvironment("CartPole-v1"))
    line = mistake(capsys, path, flag, value)
    assert f"{flag} is only for {SITE}, and this is CartPole-v1" in line


def test_a_policy_of_another_site_or_world_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    room = GymnasiumEnvironment(SITE, {"site": "small_room", "discrete": True})
    path = saved(tmp_path / "room.safetensors", room)
    line = mistake(capsys, path, "--on", SITE, *DAY)
    assert "made for the site 'small_room', but this is 'chilled_water_hall'" in line
    path = saved(tmp_path / "cart.safetensors", GymnasiumEnvironment("CartPole-v1"))
    assert "was made for observations" in mistake(capsys, path, "--on", SITE, *DAY)


def test_its_options_have_a_place_of_their_own_in_the_help(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit:
        main(["evaluate", "--help"])
    assert exit.value.code == 0
    general, own = capsys.readouterr().out.split("data-center options")
    assert "--episodes" in general
    for flag in ("--controllers", "--weather", "--days", "--first-day", "--engine"):
        assert flag not in general
        assert flag in own
