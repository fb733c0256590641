"""`rlkit evaluate` of a policy that picks from bins: what it prints, and how it takes mistakes."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from rich.text import Text

from rlkit.cli import bin_picking_tables
from rlkit.cli.main import main
from rlkit.environments import GymnasiumEnvironment, make_envs
from rlkit.policies import save_policy
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.pick_policy import PickNetworkConfig, PickPolicy
from rlkit_agents.policy import Policy
from rlkit_agents.q_policy import HeadConfig, QPolicy

BINS = "rlkit/BinPicking-v0"
SMALL: dict[str, Any] = {"tier": "mixed", "parts": 3, "pixels": 16}
FEW = ("--tiers", "mixed", "single", "--pickers", "highest", "Random_on-part", "--episodes", "2")


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others take seconds to start; `test_policies_reach_other_processes` has them."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)


def saved(path: Path, environment: GymnasiumEnvironment, policy: type[Policy] = QPolicy) -> Path:
    torch.manual_seed(2)
    envs = make_envs(environment, 1)
    spaces = envs.single_observation_space, envs.single_action_space
    envs.close()
    if policy is PickPolicy:
        network = PickNetworkConfig(channels=(4, 4, 4), members=2)
        made: Policy = PickPolicy(*spaces, network, precision="float32")
    else:
        head = HeadConfig("expected")
        made = QPolicy(
            *spaces, NetworkConfig(torso="mlp", hidden_sizes=(4,)), head, precision="float32"
        )
    save_policy(made, path, environment, {"recipe": "test", "steps": 0})
    return path


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policies")
    return saved(folder / "pick.safetensors", GymnasiumEnvironment(BINS, SMALL), PickPolicy)


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
    told = json.loads(evaluated(capsys, policy, *FEW, "--seed", "3", "--json"))
    assert {"returns", "mean", "iqm", "iqm_ci95", "min", "max", "policy"} <= set(told)
    assert list(told["tiers"]) == ["single", "mixed"]  # from easy to hard, however they are named
    assert list(told["tiers"]["mixed"]) == ["agent", "random on part", "highest"]
    own = told["tiers"]["mixed"]["agent"]  # where it was trained
    assert told["returns"] == own["returns"]
    assert told["mean"] == pytest.approx(np.mean(told["returns"]))
    assert told["lengths"] == own["lengths"]
    assert told["counts"] == own["counts"]
    assert told["metrics"]["cleared"]["mean"] == own["cleared"]
    assert told["metrics"]["ok"] == {"mean": told["mean"], "unit": "attempts"}
    assert told["metrics"]["length"]["mean"] == own["attempts"] / 2
    assert own["calibration"]["chosen"]["count"] == own["attempts"]
    assert len(own["calibration"]["random_pixels"]["reliability"]) == 15
    assert told["tiers"]["mixed"]["highest"]["calibration"] is None
    protocol = told["protocol"]
    assert (protocol["id"], protocol["arguments"]) == (BINS, SMALL)
    assert (protocol["seed"], protocol["episodes"], protocol["returns_of"]) == (3, 2, "mixed")
    assert protocol["deterministic"] is True
    assert protocol["config"]["parts"] == 3
    assert protocol["config"]["motion"]["fixed_s"] == 4.3
    assert told["policy"]["path"] == str(policy)


def test_the_comparison_is_drawn(policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "pickers.svg"
    assert "highest" in evaluated(capsys, policy, *FEW, "--plot", file)
    drawn = file.read_text()
    assert "chosen: ECE" in drawn
    assert ">mixed<" in drawn


def test_the_same_command_gives_the_same_numbers_and_another_seed_others(
    policy: Path, capsys: pytest.CaptureFixture[str]
):
    options = (policy, "--tiers", "held-out", "--pickers", "random-on-part", "--episodes", "1")
    first = evaluated(capsys, *options, "--json")
    assert evaluated(capsys, *options, "--json") == first
    other = json.loads(evaluated(capsys, *options, "--seed", "1", "--json"))
    assert other["tiers"] != json.loads(first)["tiers"]
    assert other["protocol"]["returns_of"] == "held-out"  # as its own tier is not evaluated


def test_policies_reach_other_processes(
    policy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    options = (policy, "--tiers", "single", "--pickers", "none", "--episodes", "2", "--json")
    here = json.loads(evaluated(capsys, *options))
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert json.loads(evaluated(capsys, *options)) == here


def test_the_oracle_plays_fewer_and_the_others_alone_need_no_policy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("rlkit.bin_picking_pickers.ORACLE_TRIES", 5)
    asked: dict[str, Any] = {}

    def evaluate(pickers: Any, configs: Any, episodes: Any, **settings: Any) -> Any:
        asked.update(episodes=episodes, configs=configs, **settings)
        return {}

    monkeypatch.setattr("rlkit.bin_picking_evaluation.evaluate_bin_picking", evaluate)
    told = json.loads(evaluated(capsys, BINS, "--seed", "4", "--json"))
    assert "policy" not in told
    assert "returns" not in told
    assert asked["episodes"] == {
        **dict.fromkeys(
            ("random", "random on part", "highest", "flattest-high", "segment centroid"), 12
        ),
        **{"segment centroid above discs": 12, "magnet quality": 12},
        **{"centred magnet quality": 12, "oracle": 3},
    }
    assert told["protocol"]["episodes_of"] == asked["episodes"]
    assert asked["seed"] == 4
    assert list(asked["configs"]) == [
        *("single", "mixed", "heavy", "entangled", "walled", "held-out")
    ]
    assert asked["configs"]["held-out"].shapes == "held_out"
    evaluated(capsys, BINS, "--episodes", "1", "--pickers", "oracle", "--json")
    assert asked["episodes"] == {"oracle": 1}


def test_baselines_are_printed_without_an_agent(capsys: pytest.CaptureFixture[str]):
    text = evaluated(capsys, BINS, "--tiers", "single", "--pickers", "random", "--episodes", "1")
    assert "single: one kind of part: plates" in text
    assert "\nrandom " in text
    assert "agent" not in text


def test_a_policy_that_tells_no_chances_has_no_calibration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = saved(tmp_path / "dqn.safetensors", GymnasiumEnvironment(BINS, SMALL))
    options = (path, "--tiers", "mixed", "--pickers", "none", "--episodes", "1")
    told = json.loads(evaluated(capsys, *options, "--json"))
    assert told["tiers"]["mixed"]["agent"]["calibration"] is None
    assert told["tiers"]["mixed"]["agent"]["attempts"] >= 3
    assert "chances" not in evaluated(capsys, *options)


def row(success: float, **others: Any) -> dict[str, Any]:
    kept = {"brier": 0.0312, "ece": 0.0123, "count": 280}
    outcomes = dict.fromkeys(
        ("ok", "miss", "collision", "dropped", "double", "wall", "unstable"), 0
    )
    return {
        "attempts": 1234,
        "success": success,
        "success_ci95": [0.9 * success, success],
        "outcomes": {**outcomes, "ok": success, "miss": 1.0 - success},
        "cleared": 1.0,
        "parts_left": 3.0,
        "picks_per_hour": 600.0 * success,
        "calibration": {"chosen": kept, "random_pixels": None},
        **others,
    }


def test_the_best_is_bold_and_all_fits_a_hundred_columns(monkeypatch: pytest.MonkeyPatch):
    stream = io.StringIO()

    def console(width: int = 100) -> Console:
        return Console(file=stream, width=width, force_terminal=True, color_system="standard")

    monkeypatch.setattr(bin_picking_tables, "Console", console)
    rows = {
        "agent": row(0.9712),
        "centred magnet quality": row(0.64, parts_left=1.0, outcomes={**row(0)["outcomes"]}),
        "highest": row(0.64, cleared=0.5, outcomes={**row(0.64)["outcomes"], "unstable": 2 / 1234}),
        "oracle": row(1.0, parts_left=0.0),
    }
    protocol = {
        "episodes": 12,
        "episodes_of": {"oracle": 3},
        "seed": 0,
        "config": {"motion": {"fixed_s": 4.3}},
    }
    tiers = {"mixed": rows, "held-out": {"agent": row(0.5)}}
    bin_picking_tables.print_tables({"protocol": protocol, "tiers": tiers}, "here.safetensors")
    raw = stream.getvalue()
    lines = Text.from_ansi(raw).plain.splitlines()
    block = lines[lines.index(next(line for line in lines if line.startswith("picker"))) :]
    assert max(map(len, block[:6])) <= 100
    for name, line in zip(rows, block[2:6], strict=True):
        assert line.startswith(f"{name} ")
    assert block[2].startswith("agent                  1,234 97.1 87.4–97.1  2.9 ")
    bold = [text for text in _bold(raw) if text[0].isdigit()]
    assert bold == ["97.1", "100", "583", "100", "1.0"]  # agent's, then the other's
    text = "\n".join(lines)
    assert "held-out: shapes that no training sees" in text
    assert "on chosen pixels Brier 0.031, ECE 0.012 (280)" in text
    assert "highest: in 2 attempts the physics broke down" in text
    assert "…" not in text


def _bold(raw: str) -> list[str]:
    text = Text.from_ansi(raw)
    found = [
        text.plain[span.start : span.end].strip()
        for span in text.spans
        if "bold" in str(span.style)
    ]
    return [part for part in found if part]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--tiers", "hevy"), "no tier 'hevy'; did you mean heavy?"),
        (("--pickers", "higest"), "no picker 'higest'; did you mean highest?"),
        (("--pickers", "none"), "leaves nobody to evaluate"),
        (("--plot", "picks.png"), "--plot writes SVG; name a file that ends in .svg"),
        (("--episodes", "0"), "--episodes must be at least 1, got 0"),
        (("--seed", "-1"), "--seed must not be negative"),
        (("--on", "CartPole-v1"), "'CartPole-v1' is not rlkit"),
        (("--days", "3"), "--days is only for rlkit/DataCenterCooling-v0, and this is rlkit/Bin"),
    ],
)
def test_mistakes_are_one_line(
    options: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]
):
    assert expected in mistake(capsys, BINS, *options)


@pytest.mark.parametrize(
    ("flag", "value"), [("--tiers", "mixed"), ("--pickers", "highest"), ("--plot", "a.svg")]
)
def test_its_options_are_refused_in_other_worlds(
    flag: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = saved(tmp_path / "cart.safetensors", GymnasiumEnvironment("CartPole-v1"))
    line = mistake(capsys, path, flag, value)
    assert f"{flag} is only for {BINS}, and this is CartPole-v1" in line
    assert f"{flag} is only for {BINS}" in mistake(
        capsys, "rlkit/DataCenterCooling-v0", flag, value
    )


def test_a_policy_of_other_pictures_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = saved(tmp_path / "cart.safetensors", GymnasiumEnvironment("CartPole-v1"))
    assert "was made for observations" in mistake(capsys, path, "--on", BINS)


def test_its_options_have_a_place_of_their_own_in_the_help(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit:
        main(["evaluate", "--help"])
    assert exit.value.code == 0
    general, own = capsys.readouterr().out.split("bin-picking options")
    assert "--episodes" in general
    for flag in ("--tiers", "--pickers"):
        assert flag not in general
        assert flag in own
