"""What corruptions cost policies: losses by hand, the same episodes for all, a table, mistakes."""

import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console

from rlkit.bench import robustness
from rlkit.cli.main import main
from rlkit.corruptions import HELD_OUT
from rlkit.environments import EncodedEnvironment, make_envs
from rlkit.evaluation import evaluate
from rlkit.policies import load_policy, save_policy
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.q_policy import HeadConfig, QPolicy
from rlkit_envs.atari import AtariProtocol

SEEN = AtariProtocol("boxing", height=42, width=42, max_frames=200)


@pytest.fixture(autouse=True)
def short_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations play whole episodes, which take too long for a test."""
    monkeypatch.setattr(robustness, "for_evaluation", lambda environment: environment)


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two files of policies with random weights."""
    folder = tmp_path_factory.mktemp("policies")
    envs = make_envs(SEEN, 1)
    spaces = envs.single_observation_space, envs.single_action_space
    envs.close()
    network = NetworkConfig(torso="compact", dense_size=16)
    files = []
    for seed in (3, 4):
        torch.manual_seed(seed)
        file = folder / f"seed{seed}.safetensors"
        save_policy(QPolicy(*spaces, network, HeadConfig("expected")), file, SEEN, {})
        files.append(str(file))
    return files


def measured(policies: list[str], **settings) -> dict:
    return robustness.run_benchmark(policies=policies, episodes=3, seed=5, **settings)


def test_losses_are_those_of_evaluations(policies: list[str]):
    corruptions = ("inversion:1", "shadow:0.6")
    lines: list[str] = []
    found = measured(policies, corruptions=corruptions, on_progress=lines.append)
    losses = []
    for name, told in zip(policies, found["policies"], strict=True):
        policy = load_policy(Path(name)).policy
        clear, *corrupted = (
            evaluate(policy, SEEN, 3, seed=5, corruption=each).summary.mean
            for each in (None, *corruptions)
        )
        losses.append(np.mean([clear - mean for mean in corrupted]))
        assert (told["name"], told["score"]) == (name, clear)
        assert told["loss"] == pytest.approx(losses[-1])
        mine = [row for row in found["rows"] if row["policy"] == name]
        assert [row["corruption"] for row in mine] == [None, *corruptions]
        assert [row["mean"] for row in mine] == [clear, *corrupted]
        assert [row["loss"] for row in mine] == [0.0, *(clear - mean for mean in corrupted)]
    assert found["protocol"]["episodes"] == 3
    assert len(lines) == 6
    assert json.loads(json.dumps(found)) == found


def test_shares_need_a_first_that_loses(policies: list[str], monkeypatch: pytest.MonkeyPatch):
    scores = {None: 10.0, "blur:1": 4.0, "specks:0.05": 6.0}

    def played(policy, corruption, episodes, seed):
        robust = str(policy.path) == policies[1]
        mean = 9.0 if robust else scores[corruption]
        return SimpleNamespace(protocol={}, summary=SimpleNamespace(to_json=lambda: {"mean": mean}))

    monkeypatch.setattr(robustness, "_played", played)
    chosen = tuple(name for name in scores if name)
    found = measured(policies, corruptions=chosen)
    assert [(p["score"], p["loss"], p["share"]) for p in found["policies"]] == [
        (10.0, 5.0, 1.0),
        (9.0, 0.0, 0.0),
    ]
    assert [p["share_of_score"] for p in found["policies"]] == [0.5, 0.0]
    assert list(found["ratios"].values()) == [1.0, 0.0]
    stream = io.StringIO()
    robustness.print_table(found, Console(file=stream, width=200))
    text = stream.getvalue()
    assert [line.split()[-2:] for line in text.splitlines() if "mean loss" in line] == [
        ["0.0", "│"]
    ]
    assert "100%" in text
    assert "50%" in text
    assert [p["share"] for p in measured(policies[::-1], corruptions=chosen)["policies"]] == [
        None,
        None,
    ]


def test_all_that_is_held_out_is_measured(policies: list[str], capsys, tmp_path: Path):
    command = ["bench", "robustness", "--policies", policies[0], "--episodes", "1"]
    output = tmp_path / "robustness.json"
    assert main([*command, "--json", "--output", str(output)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads(output.read_text())
    assert [row["corruption"] for row in found["rows"]] == [None, *HELD_OUT]
    assert set(found["ratios"].values()) == {found["policies"][0]["share"]}


@pytest.mark.parametrize("changes", [{"game": "pong"}, {"sticky_actions": 0.0}])
def test_scores_of_other_worlds_do_not_compare(changes, policies: list[str], tmp_path: Path):
    other = tmp_path / "other.safetensors"
    loaded = load_policy(Path(policies[0]))
    save_policy(loaded.policy, other, replace(SEEN, **changes), {})
    with pytest.raises(ValueError, match="play other worlds, or under another protocol"):
        measured([policies[0], str(other)], corruptions=("blur:1",))


def test_how_a_policy_sees_the_same_game_does_not_matter():
    latent = EncodedEnvironment(replace(SEEN, frame_stack=1), "boxing", frame_stack=4)
    robustness._check_one_world({"a": SEEN, "b": replace(SEEN, height=84, width=84), "c": latent})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "name the policies to compare by --policies"),
        ("--policies {0} {0}", "--policies names one twice"),
        ("--policies nothing", "'nothing' is no run folder, no policy file and no recipe"),
        ("--policies {0} --episodes 0", "--episodes must be at least 1, got 0"),
        ("--policies {0} --corruptions plaid", "no augmentation is called 'plaid'"),
        ("--policies {0} --minutes 3", "benchmark robustness trains nothing"),
    ],
)
def test_mistakes_are_told(arguments: str, message: str, policies: list[str], capsys):
    assert main(["bench", "robustness", *arguments.format(*policies).split()]) == 2
    assert message in capsys.readouterr().err


def test_its_options_are_for_it_alone(capsys):
    assert main(["bench", "storage", "--policies", "boxing"]) == 2
    assert "--policies is only for robustness, and this is storage" in capsys.readouterr().err


def test_other_worlds_cannot_be_corrupted(capsys):
    assert main(["bench", "robustness", "--policies", "bin-picking", "--episodes", "1"]) == 2
    assert "corruptions are for the frames of Atari games" in capsys.readouterr().err
