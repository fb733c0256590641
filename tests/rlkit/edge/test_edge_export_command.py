"""`rlkit edge export`: one file that `rlkit evaluate` plays, and one line for each mistake."""

import json
from pathlib import Path

import gymnasium as gym
import onnx
import pytest
import torch

from rlkit.cli.main import main
from rlkit.edge.onnx_file import read_onnx_file
from rlkit.environments import GymnasiumEnvironment
from rlkit.policies import save_policy
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.q_policy import HeadConfig, QPolicy


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    space = gym.make("CartPole-v1").observation_space
    tiny = NetworkConfig(torso="mlp", hidden_sizes=(16,))
    built = QPolicy(space, gym.spaces.Discrete(2), tiny, HeadConfig("expected"))
    path = tmp_path / "cart.safetensors"
    save_policy(built, path, GymnasiumEnvironment("CartPole-v1"), {"seed": 3})
    return path


def test_a_policy_becomes_a_file_that_is_evaluated(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "cart.onnx"
    command = ["edge", "export", str(policy), "--output", str(file), "--observations", "64"]
    assert main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == str(file)
    assert told["bytes"] == file.stat().st_size
    assert (told["bits"], told["calibrated_on"]) == (8, 64)
    assert main(["evaluate", str(file), "--episodes", "3", "--json"]) == 0
    evaluation = json.loads(capsys.readouterr().out)
    assert len(evaluation["returns"]) == 3
    assert evaluation["policy"]["provenance"]["seed"] == 3
    assert evaluation["policy"]["architecture"]["policy"] == "QPolicy"


def test_weights_alone_in_eight_bits(policy: Path, tmp_path: Path):
    file, whole = tmp_path / "cart.onnx", tmp_path / "whole.onnx"
    command = ["edge", "export", str(policy), "--observations", "64", "--output"]
    assert main([*command, str(file), "--weights-only"]) == 0
    assert main([*command, str(whole)]) == 0
    quantizes = [
        {node.op_type for node in onnx.load(path).graph.node} & {"QuantizeLinear"}
        for path in (file, whole)
    ]
    assert quantizes == [set(), {"QuantizeLinear"}]
    header, _ = read_onnx_file(file)
    assert header["deployment"]["quantization"]["weights_only"] is True


def test_the_file_is_named_after_the_policy(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(["edge", "export", str(policy), "--bits", "32"]) == 0
    said = capsys.readouterr().out
    assert "rlkit evaluate cart.onnx" in said
    assert (tmp_path / "cart.onnx").is_file()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), "there is no folder"),
        (("--output", "cart.pt"), "ends in .onnx, .onnx.xz or .pte, not cart.pt"),
        (("--output", "cart.onnx", "--observations", "0"), "must be at least 1, got 0"),
        (("--weights-only", "--bits", "32"), "--weights-only is for ONNX in 8 bits"),
        (("--weights-only", "--output", "cart.pte"), "--weights-only is for ONNX in 8 bits"),
    ],
)
def test_mistakes_are_one_line(
    policy: Path, options: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]
):
    options = options or ("--output", "nowhere/cart.onnx")
    assert main(["edge", "export", str(policy), *options]) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert said.count("\n") == 1


def test_a_damaged_file_and_a_stochastic_one_are_refused(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "cart.onnx"
    assert main(["edge", "export", str(policy), "--output", str(file), "--bits", "32"]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(file), "--episodes", "1", "--stochastic"]) == 2
    assert "it cannot act at random" in capsys.readouterr().err
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)
    assert main(["evaluate", str(file), "--episodes", "1"]) == 2
    assert "damaged" in capsys.readouterr().err
    assert main(["edge", "exprt"]) == 2
    assert "rlkit edge has no command 'exprt'" in capsys.readouterr().err
    assert main(["edge"]) == 0
    assert "rlkit edge export " in capsys.readouterr().out
