"""Policies of Stable-Baselines3 as bodies: their own actions, of every kind of algorithm."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from rlkit.edge.body import ExportError, body_of
from rlkit.edge.deploy import deploy
from rlkit.edge.runtime import EdgePolicy
from rlkit.environments import GymnasiumEnvironment
from rlkit.policies import LoadedPolicy
from rlkit.recording import Recording
from rlkit.sb3.policy import StableBaselinesPolicy, build

VECTORS = gym.spaces.Box(-np.inf, np.inf, (6,), np.float32)
MEMORY = gym.spaces.Box(0, 255, (12,), np.uint8)  # bytes that are no picture
STACK = gym.spaces.Box(0, 255, (4, 42, 42), np.uint8)
PICTURE = gym.spaces.Box(0, 255, (42, 42, 3), np.uint8)
COLOURS = gym.spaces.Box(0, 255, (2, 42, 42, 3), np.uint8)
CHOICE = gym.spaces.Discrete(3)
FORCES = gym.spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([1.0, 5.0], np.float32))


def policy_of(
    algorithm: str, network: str, seen: gym.Space, acts: gym.Space, **arguments: Any
) -> StableBaselinesPolicy:
    torch.manual_seed(0)
    described = {"algorithm": algorithm, "network": network, "arguments": arguments}
    policy = build(described, seen, acts)
    with torch.no_grad():  # fresh last layers act nearly alike everywhere
        for name, parameter in policy.named_parameters():
            if name.endswith("weight") and parameter.ndim > 1:
                parameter *= 3.0
    return policy.eval()


def seen_by(policy: StableBaselinesPolicy, count: int = 64) -> np.ndarray:
    random = np.random.default_rng(0)
    space = policy.observation_space
    shape = (count, *(space.shape or ()))
    if space.dtype == np.uint8:  # in large patches, as noise looks alike to convolutions
        small = tuple(side // 21 if side == 42 else side for side in shape)
        patches = random.integers(0, 256, small, dtype=np.uint8)
        for axis in np.flatnonzero(np.array(shape) == 42):
            patches = patches.repeat(21, axis)
        return patches
    return random.normal(size=shape).astype(np.float32)


def file_of(policy: StableBaselinesPolicy, path: Path, **arguments: Any) -> EdgePolicy:
    header = {"sha256": "0" * 64, "provenance": {}}
    loaded = LoadedPolicy(policy, GymnasiumEnvironment("CartPole-v1"), header, Path("p"))
    deploy(loaded, path / "policy.onnx", **arguments)
    return EdgePolicy(path / "policy.onnx")


@pytest.mark.parametrize(
    ("algorithm", "network", "seen", "acts", "arguments"),
    [
        ("sb3:DQN", "MlpPolicy", VECTORS, CHOICE, {}),
        ("sb3:DQN", "MlpPolicy", MEMORY, CHOICE, {}),
        ("sb3:DQN", "CnnPolicy", STACK, CHOICE, {}),
        ("sb3-contrib:QRDQN", "MlpPolicy", VECTORS, CHOICE, {"n_quantiles": 5}),
        ("sb3:PPO", "CnnPolicy", PICTURE, CHOICE, {}),
        ("sb3:PPO", "CnnPolicy", COLOURS, CHOICE, {}),
        ("sb3:PPO", "MlpPolicy", VECTORS, FORCES, {}),
        ("sb3:PPO", "MlpPolicy", VECTORS, FORCES, {"use_sde": True, "squash_output": True}),
        ("sb3:A2C", "MlpPolicy", VECTORS, CHOICE, {}),
        ("sb3:SAC", "MlpPolicy", VECTORS, FORCES, {}),
        ("sb3:SAC", "MlpPolicy", VECTORS, FORCES, {"use_sde": True}),
        ("sb3:TD3", "MlpPolicy", VECTORS, FORCES, {}),
        ("sb3-contrib:TQC", "MlpPolicy", VECTORS, FORCES, {}),
        ("sb3-contrib:ARS", "MlpPolicy", VECTORS, FORCES, {}),
        ("sb3-contrib:CrossQ", "MlpPolicy", VECTORS, FORCES, {}),
    ],
)
def test_a_file_acts_as_the_library(
    algorithm: str,
    network: str,
    seen: gym.Space,
    acts: gym.Space,
    arguments: dict[str, Any],
    tmp_path: Path,
):
    policy = policy_of(algorithm, network, seen, acts, **arguments)
    observations = seen_by(policy)
    wanted, _ = policy.act(torch.from_numpy(observations))
    found = np.asarray(file_of(policy, tmp_path).act(observations))
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-4)
    spread = wanted.float().std(0)
    assert (spread > 0).all(), "a policy that always acts alike tests nothing"


def test_a_recurrent_policy_carries_its_actors_state(tmp_path: Path):
    policy = policy_of("sb3-contrib:RecurrentPPO", "MlpLstmPolicy", VECTORS, FORCES)
    runner = file_of(policy, tmp_path)
    assert len(runner.state_sizes) == 2
    ours: Any = None
    theirs: Any = None
    for step in range(50):
        observations = np.random.default_rng(step).normal(size=(3, 6)).astype(np.float32)
        wanted, theirs = policy.act(torch.from_numpy(observations), theirs)
        found, ours = runner.act(observations, ours)
        np.testing.assert_allclose(found, wanted.numpy(), atol=1e-4)


def test_pictures_go_in_as_bytes_in_eight_bits(tmp_path: Path):
    policy = policy_of("sb3:DQN", "CnnPolicy", STACK, CHOICE)
    observations = seen_by(policy, 256)
    recording = Recording(observations, (), {"id": "CartPole-v1"})
    runner = file_of(policy, tmp_path, recording=recording)
    wanted, _ = policy.act(torch.from_numpy(observations))
    assert np.mean(np.asarray(runner.act(observations)) == wanted.numpy()) > 0.95
    assert runner.header["deployment"]["scores"] == "values"


def test_what_cannot_be_deployed_is_told():
    two = gym.spaces.MultiDiscrete([2, 3])
    with pytest.raises(ExportError, match="a policy of MultiDiscrete spaces cannot be deployed"):
        body_of(policy_of("sb3:PPO", "MlpPolicy", VECTORS, two))
    deep = {"n_lstm_layers": 2}
    with pytest.raises(ExportError, match="an LSTM of 2 layers cannot be deployed"):
        body_of(policy_of("sb3-contrib:RecurrentPPO", "MlpLstmPolicy", VECTORS, FORCES, **deep))
