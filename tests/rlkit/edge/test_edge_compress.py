"""`rlkit edge compress` and `bench`: what they find by hand, and on a policy that plays well."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from rlkit.cli.edge_compress import bytes_of
from rlkit.cli.main import main
from rlkit.cli.mistakes import Mistake
from rlkit.edge.body import body_of
from rlkit.edge.compress import (
    Compression,
    Copy,
    LimitError,
    energy_per_weight,
    mean_difference,
    pareto,
)
from rlkit.edge.compress_config import CompressConfig, Setting
from rlkit.edge.cost import cost_of, layers_of
from rlkit.edge.judge import Fidelity
from rlkit.edge.runtime import EdgePolicy
from rlkit.environments import GymnasiumEnvironment
from rlkit.policies import save_policy
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.q_policy import HeadConfig, QPolicy

POLE = GymnasiumEnvironment("CartPole-v1")
QUICK = (
    *("--learnt", "400", "--judged", "200", "--steps", "20", "--stages", "2", "--episodes", "6"),
    *("--weight-bits", "8"),
)


@pytest.fixture(scope="module")
def balancing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy that balances the pole by hand-made features, among many units of noise."""
    torch.manual_seed(0)
    space = gym.make("CartPole-v1").observation_space
    network = NetworkConfig(torso="mlp", hidden_sizes=(64,))
    policy = QPolicy(space, gym.spaces.Discrete(2), network, HeadConfig("expected"))
    hidden, head = policy.network.torso[0], policy.network.head.linear  # pyright: ignore
    with torch.no_grad():
        hidden.weight *= 0.02  # pyright: ignore
        head.weight *= 0.02  # pyright: ignore
        leaning = torch.tensor([0.1, 0.4, 4.0, 2.0])
        hidden.weight[0], hidden.weight[1] = leaning, -leaning  # pyright: ignore
        hidden.bias[:] = 0.0  # pyright: ignore
        head.weight[:, 0] = torch.tensor([-1.0, 1.0])  # pyright: ignore
        head.weight[:, 1] = torch.tensor([1.0, -1.0])  # pyright: ignore
    path = tmp_path_factory.mktemp("policy") / "cart.safetensors"
    save_policy(policy, path, POLE, {"seed": 3})
    return path


def test_the_smallest_copy_that_plays_as_well_is_kept(
    balancing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    output, plot, results = (tmp_path / name for name in ("c.onnx.xz", "c.png", "c.json"))
    command = ["edge", "compress", str(balancing), *QUICK, "--sparsities", "0", "0.9"]
    limits = ["--size-at-most", "20kB", "--return-loss-at-most", "5"]
    files = ["--output", str(output), "--plot", str(plot), "--results", str(results)]
    assert main([*command, *limits, *files, "--keeps", "1", "--play-all"]) == 0
    said = capsys.readouterr()
    result = json.loads(results.read_text())
    assert [copy["file"] for copy in result["copies"]] == [
        "dense-8bit.onnx.xz",
        "energy-0.9-8bit.onnx.xz",
    ]
    assert result["original"]["mean"] == 500.0
    assert result["chosen"] == "energy-0.9-8bit.onnx.xz"
    pruned = result["copies"][1]
    assert pruned["bytes"] == output.stat().st_size < result["copies"][0]["bytes"]
    assert pruned["cost"]["kept_weights"] == round(0.1 * (4 * 64 + 64 * 2))
    assert pruned["loss"] <= 5
    assert f"{output}: energy-0.9-8bit" in said.out
    assert EdgePolicy(output).header["provenance"]["seed"] == 3
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_limits_that_no_copy_meets_tell_the_closest(
    balancing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    output = tmp_path / "c.onnx.xz"
    command = ["edge", "compress", str(balancing), *QUICK, "--sparsities", "0.5", "--keeps", "1"]
    assert main([*command, "--size-at-most", "1kB", "--output", str(output)]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "no copy meets at most 1,000 bytes; the smallest, energy-0.5-8bit, has" in said
    assert not output.exists()


def copy(size: int, regret: float, loss: float | None = None) -> Copy:
    torch.manual_seed(0)
    space = gym.make("CartPole-v1").observation_space
    network = NetworkConfig(torso="mlp", hidden_sizes=(4,))
    body = body_of(QPolicy(space, gym.spaces.Discrete(2), network, HeadConfig("expected")))
    fidelity = Fidelity(10, agreement=1.0, regret=regret, spread=1.0)
    cost = cost_of(layers_of(body, (4,)))
    return Copy(Setting(), Path(f"{size}.onnx.xz"), size, fidelity, cost, loss=loss)


def test_only_copies_that_none_beats_are_played():
    small, even, large, beaten = copy(10, 0.5), copy(20, 0.4), copy(30, 0.1), copy(25, 0.45)
    assert pareto([small, even, large, beaten]) == [small, even, large]
    same = replace(even, setting=Setting(sparsity=0.5))
    assert pareto([even, same]) == [even, same]


def test_the_closest_are_named_on_either_side_of_the_limits():
    copies = (copy(100, 0.0, loss=0.5), copy(50, 0.1, loss=3.0), copy(20, 0.3, loss=9.0))
    found = Compression(*3 * (None,), copies)  # pyright: ignore
    assert found.smallest(60, 4.0).bytes == 50
    assert found.smallest(None, 1.0).bytes == 100
    assert found.smallest(None, None).bytes == 20
    with pytest.raises(LimitError, match=r"at most 40 bytes and a loss of 1; within that size.*9"):
        found.smallest(40, 1.0)
    with pytest.raises(LimitError, match=r"within that loss dense-8bit has 100 bytes"):
        found.smallest(40, 1.0)


def test_energies_of_weights_by_hand():
    """Reading a byte from DRAM takes 160 pJ, a product of bytes and its sum 0.3 pJ."""
    torch.manual_seed(0)
    space = gym.spaces.Box(0, 255, (4, 42, 42), np.uint8)
    network = NetworkConfig(torso="small")
    body = body_of(QPolicy(space, gym.spaces.Discrete(18), network, HeadConfig("expected")))
    energies = energy_per_weight(body, (4, 42, 42))
    layers = {layer.name: layer for layer in layers_of(body, (4, 42, 42))}
    for name, layer in layers.items():
        uses = layer.multiply_accumulates / layer.weights
        with_bias = 160.0 * (1.0 + 4.0 * layer.biases / layer.weights)
        assert energies[name] == pytest.approx(with_bias + 0.3 * uses)


def test_differences_of_means_are_of_pairs():
    """What both meet alike, as an easy or a hard episode, does not widen the interval."""
    random = np.random.default_rng(0)
    episodes, noise = random.normal(0.0, 100.0, 50), random.normal(2.0, 1.0, 50)
    difference, (low, high) = mean_difference((episodes + noise).tolist(), episodes.tolist())
    error = noise.std(ddof=1) / np.sqrt(50)
    assert difference == pytest.approx(noise.mean())
    half = 2.009575 * error  # Student's t of 49 degrees of freedom
    assert (low, high) == pytest.approx((difference - half, difference + half), rel=1e-5)
    assert mean_difference([5.0] * 3, [5.0] * 3) == (0.0, (0.0, 0.0))


def test_sizes_are_read_as_people_write_them():
    sizes = {"100kB": 100_000, "1.5 MB": 1_500_000, "2KiB": 2_048, "900": 900, "7b": 7}
    assert {size: bytes_of(size) for size in sizes} == sizes
    for wrong in ("small", "10 apples", "-1kB"):
        with pytest.raises(Mistake, match="a size such as 100kB"):
            bytes_of(wrong)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--sparsities", "1.0"), "sparsities must be in [0, 1), got 1.0"),
        (("--keeps", "0"), "keeps must be in (0, 1], got 0.0"),
        (("--weight-bits", "9"), "weight_bits must be from 3 to 8, got 9"),
        (("--episodes", "0"), "episodes must be at least 1, got 0"),
        (("--methods", "best"), "methods"),
        (("--plot", "c.svg"), "ends in .png, not c.svg"),
        (("--output", "c.onnx"), "ends in .onnx.xz, not c.onnx"),
        (("--size-at-most", "tiny"), "a size such as 100kB or 1.5MB, not 'tiny'"),
    ],
)
def test_mistakes_are_one_line(
    options: tuple[str, ...], expected: str, balancing: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["edge", "compress", str(balancing), *options]) == 2
    said = capsys.readouterr().err.strip()
    assert expected in said
    assert len(said.splitlines()) == 1


def test_settings_have_one_unpruned_copy_for_all_methods():
    config = CompressConfig(
        sparsities=(0.0, 0.5), methods=("energy", "random"), keeps=(1.0, 0.5), weight_bits=(8,)
    )
    assert [setting.name for setting in config.settings()] == [
        *("dense-8bit", "energy-0.5-8bit", "random-0.5-8bit"),
        *("dense-keep-0.5-8bit", "energy-0.5-keep-0.5-8bit", "random-0.5-keep-0.5-8bit"),
    ]


def test_fewer_bits_of_weights_make_smaller_files(balancing: Path, tmp_path: Path):
    output, results = tmp_path / "c.onnx.xz", tmp_path / "c.json"
    command = ["edge", "compress", str(balancing), *QUICK, "--sparsities", "0", "--keeps", "1"]
    files = ["--output", str(output), "--results", str(results)]
    assert main([*command, "--weight-bits", "8", "4", "--play-all", *files]) == 0
    copies = json.loads(results.read_text())["copies"]
    sizes = {copy["file"].split(".")[0]: copy["bytes"] for copy in copies}
    assert sizes["dense-4bit"] < sizes["dense-8bit"]


def test_a_bench_times_all_ways_side_by_side(
    balancing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    more = tmp_path / "more.onnx"
    assert main(["edge", "export", str(balancing), "--output", str(more), "--bits", "32"]) == 0
    capsys.readouterr()
    command = ["edge", "bench", str(balancing), "--files", str(more), "--seconds", "0.01"]
    assert main([*command, "--rounds", "2", "--observations", "64", "--json"]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    names = [row["name"] for row in result["rows"]]
    assert names == [
        *("PyTorch, eager", "ONNX Runtime, 32 bits", "ONNX Runtime, 8 bits", "more.onnx")
    ]
    eager, *files = result["rows"]
    assert eager["times_faster"] == 1.0
    for row in files:
        assert row["imported_beside"] == []
        assert row["times_faster"] > 1.0
        assert 0.0 < row["start_seconds"] < 10.0
        assert row["latency"]["p50_us"] <= row["latency"]["p99_us"]
    gone = [*command[:4], "gone.onnx"]
    assert main(gone) == 2
    assert "there is no file gone.onnx" in capsys.readouterr().err
