"""Stacks as torsos: features of raw observations are the mean-field pass, also inside agents of
Stable-Baselines3."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import DQN, PPO

from rlkit.dbn.dbn import DBN
from rlkit.dbn.finetune import DBNClassifier
from rlkit.dbn.finetune_config import FinetuneConfig
from rlkit.dbn.rbm import RBM
from rlkit.dbn.rbm_config import RBMConfig
from rlkit.dbn.rbm_file import RBMFileError, Saved, save
from rlkit.dbn.torso import StackFeatures, dense_layers, policy_kwargs, torso_weights
from rlkit.pretrained import torso_weights as any_torso_weights
from rlkit_agents.networks import DenseTorso, NetworkConfig

SIZES = (6, 4)
BITS = RBMConfig(hidden_units=6, epochs=40, learning_rate=0.5, batch_size=10)
REALS = RBMConfig.gaussian(hidden_units=6, epochs=5, batch_size=10)
TOP = RBMConfig(hidden_units=4, epochs=40, learning_rate=0.5, batch_size=10)


def poles(count: int = 80) -> np.ndarray:
    """As CartPole's observations, but for scales and means far apart."""
    generator = np.random.default_rng(0)
    shared = generator.normal(size=(count, 1))
    rows = shared + 0.5 * generator.normal(size=(count, 4))
    scale, mean = np.array([1, 20, 0.01, 300]), np.array([7, -900, 3, 1e4])
    return (rows * scale + mean).astype(np.float32)


def bits(count: int = 80) -> np.ndarray:
    """Two patterns."""
    which = np.random.default_rng(0).integers(0, 2, (count, 1))
    return np.where(np.array([1, 1, 0, 0]) == which, 1.0, 0.0).astype(np.float32)


@pytest.fixture(scope="module")
def real_stack() -> DBN:
    return DBN(layers=(REALS, TOP)).fit(poles())


def torso(rows: np.ndarray, activation: Any) -> DenseTorso:
    space = gym.spaces.Box(-np.inf, np.inf, rows.shape[1:], np.float32)
    config = NetworkConfig(torso="mlp", hidden_sizes=SIZES, activation=activation)
    return DenseTorso(config, space)


def features(module: torch.nn.Module, rows: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return module(torch.from_numpy(rows)).numpy()


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
@pytest.mark.parametrize("real", [True, False])
def test_a_torso_computes_the_stacks_features_of_raw_observations(
    tmp_path: Path, real_stack: DBN, activation: str, real: bool
):
    rows = poles() if real else bits()
    stack = real_stack if real else DBN(layers=(BITS, TOP)).fit(rows)
    path = tmp_path / "stack.safetensors"
    save(path, stack, provenance={"activation": activation})
    made = torso(rows, activation)
    made.load_state_dict(any_torso_weights(path))
    chances = stack.transform(rows)
    assert chances.std(axis=0).max() > 0.01  # they tell rows apart
    expected = chances if activation == "sigmoid" else 2.0 * chances - 1.0
    np.testing.assert_allclose(features(made, rows), expected, atol=5e-5)


def test_weights_for_sigmoid_are_the_default(tmp_path: Path, real_stack: DBN):
    save(tmp_path / "a.safetensors", real_stack)
    save(tmp_path / "b.safetensors", real_stack, provenance={"activation": "relu"})
    given, other = (
        torso_weights(tmp_path / "a.safetensors"),
        torso_weights(tmp_path / "b.safetensors"),
    )
    assert list(given) == ["dense1.weight", "dense1.bias", "dense2.weight", "dense2.bias"]
    for name, weight in given.items():
        assert torch.equal(weight, other[name])
        assert weight.dtype == torch.float32


def test_one_machine_is_one_layer():
    rbm = RBM(BITS).fit(bits())
    ((weight, bias),) = dense_layers(rbm)
    np.testing.assert_array_equal(weight.numpy(), rbm.components_)
    np.testing.assert_array_equal(bias.numpy(), rbm.intercept_hidden_)


def test_fine_tuned_layers_come_without_their_head(tmp_path: Path):
    rows = poles()
    tuning = FinetuneConfig(epochs=3, dropout=0.2, held_out_share=0.0)
    labels = (rows[:, 0] > 7).astype(int)
    classifier = DBNClassifier(layers=(REALS, TOP), finetune=tuning).fit(rows, labels)
    save(tmp_path / "c.safetensors", classifier)
    made = torso(rows, "sigmoid")
    made.load_state_dict(torso_weights(tmp_path / "c.safetensors"))
    whole = classifier.network_
    with torch.no_grad():
        inner = whole[:-1](torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(features(made, rows), inner, atol=1e-5)
    assert not np.allclose(inner, classifier.dbn_.transform(rows), atol=1e-4)


def sb3(model: type, path: Path, frozen: bool) -> Any:
    torch.set_num_threads(1)
    settings: dict[str, Any] = {"n_steps": 16, "batch_size": 16, "n_epochs": 1}
    if model is DQN:
        settings = {"learning_starts": 8, "batch_size": 8}
    kwargs = policy_kwargs(path, frozen=frozen)
    env = gym.make("CartPole-v1")
    return model("MlpPolicy", env, policy_kwargs=kwargs, seed=0, device="cpu", **settings)


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("model", [PPO, DQN])
def test_stable_baselines_starts_from_the_stack(
    tmp_path: Path, real_stack: DBN, model: type, frozen: bool
):
    path = tmp_path / "stack.safetensors"
    save(path, real_stack)
    learner = sb3(model, path, frozen)
    policy = learner.policy
    extractor = policy.q_net.features_extractor if model is DQN else policy.features_extractor
    rows = poles()
    np.testing.assert_allclose(features(extractor, rows), real_stack.transform(rows), atol=1e-5)
    learner.learn(32)
    after = features(extractor, rows)
    assert np.allclose(after, real_stack.transform(rows), atol=1e-5) == frozen


def test_bytes_are_scaled_once(tmp_path: Path):
    rows = np.random.default_rng(0).integers(0, 256, (60, 4), np.uint8)
    fractions = rows.astype(np.float32) / 255.0
    dbn = DBN(layers=(BITS, TOP)).fit(fractions)
    save(tmp_path / "d.safetensors", dbn)
    extractor = StackFeatures(gym.spaces.Box(0, 255, (4,), np.uint8), tmp_path / "d.safetensors")
    expected = dbn.transform(fractions)
    np.testing.assert_allclose(features(extractor, rows.astype(np.float32)), expected, atol=1e-6)
    made = torso(fractions, "sigmoid")
    made.load_state_dict(torso_weights(tmp_path / "d.safetensors"))
    np.testing.assert_allclose(features(made, rows), expected, atol=1e-6)


def test_what_does_not_fit_is_refused(tmp_path: Path, real_stack: DBN):
    save(tmp_path / "stack.safetensors", real_stack)
    with pytest.raises(ValueError, match=r"observations of 4 numbers, but Box.* has 3"):
        StackFeatures(gym.spaces.Box(0, 1, (3,)), tmp_path / "stack.safetensors")
    with pytest.raises(ValueError, match="in a Box, got Discrete"):
        StackFeatures(gym.spaces.Discrete(3), tmp_path / "stack.safetensors")
    (tmp_path / "no.safetensors").write_bytes(b"nothing")
    with pytest.raises(RBMFileError, match="damaged"):
        torso_weights(tmp_path / "no.safetensors")
    unfitted: Saved = DBN()
    with pytest.raises(ValueError, match="not fitted"):
        dense_layers(unfitted)
