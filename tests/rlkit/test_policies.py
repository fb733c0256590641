"""Policies are saved with all that is known about them, act alike when loaded, and are found."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from rlkit import policies
from rlkit.environments import Environment, GymnasiumEnvironment
from rlkit.evaluation import SpaceMismatchError, evaluate
from rlkit.policies import find_environment, find_policy, load_policy, save_policy
from rlkit.policy_file import PolicyFileError, read_policy_file, write_policy_file
from rlkit.recipes import RECIPES
from rlkit.run_folder import Run, RunError
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.pick_policy import PickNetworkConfig, PickPolicy
from rlkit_agents.q_policy import HeadConfig, QPolicy
from rlkit_envs.atari import AtariProtocol

CARTPOLE = GymnasiumEnvironment("CartPole-v1", {"sutton_barto_reward": True})
BOXING = AtariProtocol("boxing", height=42, width=42, sticky_actions=0.0)
PICTURES = gym.spaces.Box(0, 255, (4, 42, 42), np.uint8)
NUMBERS = gym.spaces.Box(-np.inf, np.inf, (4,), np.float32)
PROVENANCE = {"recipe": "small", "seed": 3, "steps": 800, "packages": {"torch": "2"}}


def mlp_policy(**network: Any) -> QPolicy:
    torch.manual_seed(0)
    config = NetworkConfig(torso="mlp", hidden_sizes=(12, 10), **network)
    return QPolicy(NUMBERS, gym.spaces.Discrete(3), config, HeadConfig("expected"))


def compact_policy(head: HeadConfig, **network: Any) -> QPolicy:
    torch.manual_seed(0)
    config = NetworkConfig(torso="compact", **network)
    policy = QPolicy(PICTURES, gym.spaces.Discrete(18), config, head, epsilon=0.05)
    return policy.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize(
    ("policy", "environment"),
    [
        (mlp_policy(dropout=0.3, layer_norm="dense"), CARTPOLE),
        (compact_policy(HeadConfig("quantile", atoms=5), dueling=True, dropout=0.2), BOXING),
        (compact_policy(HeadConfig("categorical", atoms=7, value_min=-3.0), noisy=True), BOXING),
    ],
    ids=["mlp", "quantile", "categorical"],
)
def test_a_loaded_policy_acts_as_the_saved_one(
    tmp_path: Path, policy: QPolicy, environment: Environment
):
    path = tmp_path / "policy.safetensors"
    policy.train()
    save_policy(policy, path, environment, PROVENANCE)
    assert policy.training
    loaded = load_policy(path)
    assert loaded.environment == environment
    assert loaded.path == path
    assert not loaded.policy.training
    policy.eval()
    sample = policy.observation_space.sample
    policy.observation_space.seed(0)
    observations = np.stack([np.nan_to_num(sample()) for _ in range(32)])
    tensor = torch.from_numpy(observations)
    assert isinstance(loaded.policy, QPolicy)
    with torch.inference_mode():
        assert torch.equal(loaded.policy(tensor), policy(tensor))
    np.testing.assert_array_equal(
        loaded.policy.predict(observations, deterministic=True)[0],
        policy.predict(observations, deterministic=True)[0],
    )
    assert loaded.policy.epsilon == policy.epsilon
    assert loaded.policy.architecture == policy.architecture
    # And so does one that is saved again.
    save_policy(loaded.policy, tmp_path / "again.safetensors", loaded.environment, PROVENANCE)
    again, first = read_policy_file(tmp_path / "again.safetensors"), read_policy_file(path)
    assert again[0] == first[0]


def test_a_picking_policy_comes_back_from_its_file(tmp_path: Path):
    pictures = gym.spaces.Box(0, 1e3, (2, 64, 64), np.float32)
    network = PickNetworkConfig(channels=(3, 4, 5), members=2)
    policy = PickPolicy(pictures, gym.spaces.Discrete(64 * 64), network, discount=0.5).eval()
    bins = GymnasiumEnvironment("rlkit/BinPicking-v0", {"tier": "mixed"})
    save_policy(policy, tmp_path / "policy.safetensors", bins, PROVENANCE)
    loaded = load_policy(tmp_path / "policy.safetensors")
    assert loaded.environment == bins
    assert isinstance(loaded.policy, PickPolicy)
    assert loaded.policy.discount == 0.5
    assert loaded.policy.architecture == policy.architecture
    seen = 30 * torch.rand(3, 2, 64, 64).round()
    with torch.inference_mode():
        assert torch.equal(loaded.policy(seen), policy(seen))


def test_the_header_says_what_the_policy_is_and_where_it_comes_from(tmp_path: Path):
    policy = compact_policy(HeadConfig("quantile", atoms=5), dueling=True)
    save_policy(policy, tmp_path / "policy.safetensors", BOXING, PROVENANCE)
    header = read_policy_file(tmp_path / "policy.safetensors")[0]
    del header["sha256"]
    architecture = header.pop("architecture")
    assert architecture["policy"] == "QPolicy"
    assert architecture["network"]["torso"] == "compact"
    assert architecture["network"]["dueling"] is True
    assert architecture["head"]["atoms"] == 5
    assert architecture["epsilon"] == 0.05
    assert header == {
        "format_version": 1,
        "spaces": {
            "observation": {
                **{"type": "Box", "low": 0, "high": 255},
                **{"shape": [4, 42, 42], "dtype": "uint8"},
            },
            "action": {"type": "Discrete", "n": 18, "start": 0, "dtype": "int64"},
        },
        "environment": {"kind": "AtariProtocol", **asdict(BOXING)},
        "preprocessing": {
            **{"frame_stack": 4, "height": 42, "width": 42, "grayscale": True},
            **{"observation": "frames", "flicker": 0.0},
        },
        "protocol": {"id": "ALE/Boxing-v5", **asdict(BOXING)},
        "provenance": PROVENANCE,
    }


def test_a_policy_for_another_environment_is_refused(tmp_path: Path):
    save_policy(mlp_policy(), tmp_path / "policy.safetensors", CARTPOLE, PROVENANCE)
    loaded = load_policy(tmp_path / "policy.safetensors")
    with pytest.raises(SpaceMismatchError):
        evaluate(loaded.policy, GymnasiumEnvironment("MountainCar-v0"), 1)
    # It was saved with three actions; CartPole has two.
    loaded.policy.observation_space = gym.make("CartPole-v1").observation_space
    with pytest.raises(SpaceMismatchError, match="actions"):
        evaluate(loaded.policy, loaded.environment, 1)


@pytest.fixture
def parts(tmp_path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Header and tensors of a good file."""
    save_policy(mlp_policy(), tmp_path / "good.safetensors", CARTPOLE, PROVENANCE)
    return read_policy_file(tmp_path / "good.safetensors")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"architecture": {"policy": "Oracle"}}, "unknown kind of policy 'Oracle'"),
        ({"architecture": {"policy": "QPolicy"}}, "incomplete description"),
        ({"architecture": []}, "rlkit can build"),
        ({"spaces": {}}, "'observation' is missing"),
        ({"spaces": []}, "rlkit can build"),
        ({"spaces": {"observation": {"type": "Maze"}, "action": {}}}, "not the description"),
        ({"environment": None}, "not a configuration"),
        ({"environment": {"kind": "Maze"}}, "'Maze'"),
    ],
)
def test_a_header_that_makes_no_sense_is_one_line(
    tmp_path: Path,
    parts: tuple[dict[str, Any], dict[str, torch.Tensor]],
    changes: dict[str, Any],
    complaint: str,
):
    path = tmp_path / "bad.safetensors"
    write_policy_file(path, parts[0] | changes, parts[1])
    with pytest.raises(PolicyFileError, match=complaint) as caught:
        load_policy(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_tensors_that_are_not_the_architecture_s_are_named(
    tmp_path: Path, parts: tuple[dict[str, Any], dict[str, torch.Tensor]]
):
    header, tensors = parts
    name = next(iter(tensors))
    path = tmp_path / "bad.safetensors"
    write_policy_file(path, header, {k: v for k, v in tensors.items() if k != name})
    with pytest.raises(PolicyFileError, match=name) as caught:
        load_policy(path)
    assert "\n" not in str(caught.value)
    write_policy_file(path, header, tensors | {name: torch.zeros(1, 1)})
    with pytest.raises(PolicyFileError, match=name):
        load_policy(path)
    del header["environment"]
    write_policy_file(path, header, tensors)
    with pytest.raises(PolicyFileError, match="'environment' is missing"):
        load_policy(path)


# Finding


def test_a_run_stands_for_its_best_policy_then_for_its_last(tmp_path: Path):
    run = Run.create(RECIPES["cartpole"], tmp_path)
    with pytest.raises(ValueError, match=f"{run.path} has no saved policy yet"):
        find_policy(str(run.path))
    for name in ("last", "best"):
        save_policy(mlp_policy(), run.policies / f"{name}.safetensors", CARTPOLE, {})
        assert find_policy(str(run.path)) == run.policies / f"{name}.safetensors"


def test_a_file_stands_for_itself(tmp_path: Path):
    (tmp_path / "some.safetensors").touch()
    assert find_policy(str(tmp_path / "some.safetensors")) == tmp_path / "some.safetensors"


def test_a_recipe_stands_for_the_policy_that_ships_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(policies.resources, "files", lambda package: tmp_path / package)
    shipped = tmp_path / "rlkit_agents" / "policies" / "boxing.safetensors"
    with pytest.raises(ValueError, match=r"no policy ships .* 'boxing'.*rlkit train boxing"):
        find_policy("boxing")
    (tmp_path / "boxing").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"'boxing' \(what lies here is \./boxing\); train one"):
        find_policy("boxing")
    shipped.parent.mkdir(parents=True)
    shipped.touch()
    assert find_policy("boxing") == shipped


@pytest.mark.parametrize("kind", ["run", "file", "other folder"])
def test_a_recipe_s_name_means_the_recipe_whatever_lies_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
):
    monkeypatch.chdir(tmp_path)
    expected = Path("boxing")
    if kind == "run":
        Run.create(RECIPES["cartpole"], tmp_path / "runs").path.rename("boxing")
        expected = Path("boxing/policies/best.safetensors")
        save_policy(mlp_policy(), expected, CARTPOLE, {})
    elif kind == "file":
        Path("boxing").touch()
    else:
        Path("boxing").mkdir()
    shipped = find_policy("boxing")
    assert load_policy(shipped).header["provenance"]["recipe"] == "boxing"
    if kind == "other folder":
        with pytest.raises(RunError, match="is not a run folder"):
            find_policy("./boxing")
    else:
        assert find_policy("./boxing") == expected


def test_a_policy_plays_elsewhere_seeing_as_it_always_did(tmp_path: Path):
    path = tmp_path / "policy.safetensors"
    save_policy(compact_policy(HeadConfig("expected")), path, BOXING, PROVENANCE)
    pong = AtariProtocol("pong", sticky_actions=0.5)
    expected = replace(pong, height=42, width=42)
    assert load_policy(path, on=pong).environment == expected
    assert load_policy(path, on=CARTPOLE).environment == CARTPOLE
    assert load_policy(path).environment == BOXING


def test_an_environment_is_found_by_recipe_run_or_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert find_environment("boxing") == RECIPES["boxing"].environment
    run = Run.create(RECIPES["cartpole"], tmp_path)
    assert find_environment(str(run.path)) == RECIPES["cartpole"].environment
    assert find_environment("ALE/MsPacman-v5") == AtariProtocol("ms_pacman")
    assert find_environment("rlkit/Recall-v0") == GymnasiumEnvironment("rlkit/Recall-v0")
    for nonsense in ("boxng", "Nope-v0", "nope:Nope-v0", "CartPole-v77"):
        with pytest.raises(ValueError, match=f"'{nonsense}' is no environment, no run folder"):
            find_environment(nonsense)
    with pytest.raises(ValueError, match="unknown Atari game 'ALE/Bxing-v5': did you mean boxing"):
        find_environment("ALE/Bxing-v5")
    with pytest.raises(RunError, match="is not a run folder"):
        find_environment(str(tmp_path))


def test_nonsense_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="'boxng' is no run folder, no policy file and no recipe"):
        find_policy("boxng")
    with pytest.raises(RunError, match="is not a run folder"):
        find_policy(str(tmp_path))


def test_saving_replaces_a_policy_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "policy.safetensors"
    save_policy(mlp_policy(), path, CARTPOLE, PROVENANCE)
    content = path.read_bytes()
    with pytest.raises(TypeError):
        save_policy(mlp_policy(), path, CARTPOLE, {"thing": object()})
    assert path.read_bytes() == content
    with pytest.raises(OSError, match="policy"):
        save_policy(mlp_policy(), path / "below", CARTPOLE, PROVENANCE)
    save_policy(mlp_policy(), path, replace(BOXING, max_frames=9), PROVENANCE)
    environment = read_policy_file(path)[0]["environment"]
    assert environment["max_frames"] == 9
    assert json.dumps(environment)
