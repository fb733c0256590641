"""Agents that start with a torso learnt before: it fits, it counts, and it is frozen as asked."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.preprocessing import preprocess_obs

from rlkit.algorithms import make_algorithm
from rlkit.autoencoder.autoencoder import Autoencoder, load_autoencoder
from rlkit.autoencoder.torso import EncoderFeatures
from rlkit.callbacks.callback import Callback
from rlkit.callbacks.frozen_torso import frozen_layers
from rlkit.pretrained import freeze_torso, torso_depth, torso_weights
from rlkit.recipe import EvaluationSchedule, Recipe
from rlkit.recipes import find_recipe, with_algorithm
from rlkit.seeds import Seeds
from rlkit.training import RecipeError, Training, resume, train
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.q_policy import QPolicy

SIZES = (16, 8)


def seen(count: int = 200) -> np.ndarray:
    generator = np.random.default_rng(0)
    return (generator.normal(size=(count, 4)) * [1, 20, 0.1, 3] + 7).astype(np.float32)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    space = gym.make("CartPole-v1").observation_space
    assert isinstance(space, gym.spaces.Box)
    autoencoder = Autoencoder(latents=2, hidden_sizes=SIZES, epochs=2)
    autoencoder.fit(seen(), space=space)
    file = tmp_path_factory.mktemp("encoder") / "poles.safetensors"
    autoencoder.save(file)
    return file


def recipe(encoder: Path, **fields: Any) -> Recipe:
    start = find_recipe("cartpole")
    algorithm = replace(start.algorithm, network=NetworkConfig(torso="mlp", hidden_sizes=SIZES))
    return replace(
        start,
        algorithm=algorithm,
        steps=3_000,
        minutes=None,
        checkpoint_every=1_000,
        pretrained_torso=str(encoder),
        evaluation=EvaluationSchedule(every=0, final_episodes=0),
        **fields,
    )


class Watch(Callback):
    """Keeps copies of the torso's weights from before and after each part of a training."""

    def __init__(self, at: tuple[int, ...]) -> None:
        self.at = at
        self.torsos: dict[int, dict[str, torch.Tensor]] = {}
        self.networks: list[Any] = []

    def on_start(self, training: Training) -> None:
        self._keep(training, 0)
        self.networks = [training.algorithm.policy, training.algorithm.target]  # pyright: ignore[reportAttributeAccessIssue]
        for network in self.networks:
            for name, weight in network.network.torso.state_dict().items():
                assert torch.equal(weight, self.torsos[0][name])

    def on_step(self, training: Training, step: Any, metrics: dict[str, Any]) -> None:
        for at in self.at:
            if training.steps >= at and at not in self.torsos:
                self._keep(training, at)

    def _keep(self, training: Training, at: int) -> None:
        torso: Any = training.algorithm.policy.network.torso
        self.torsos[at] = {name: w.clone() for name, w in torso.state_dict().items()}


def test_the_torso_sees_observations_as_they_come(encoder: Path) -> None:
    autoencoder = Autoencoder(latents=2, hidden_sizes=SIZES, epochs=2)
    space = gym.make("CartPole-v1").observation_space
    assert isinstance(space, gym.spaces.Box)
    autoencoder.fit(seen(), space=space)
    network = autoencoder.network
    policy = QPolicy(
        space,
        gym.spaces.Discrete(2),
        NetworkConfig(torso="mlp", hidden_sizes=SIZES),
        recipe(encoder).algorithm.head,  # pyright: ignore[reportAttributeAccessIssue]
    )
    policy.network.torso.load_state_dict(torso_weights(encoder))
    observations = torch.from_numpy(seen(20))
    with torch.no_grad():
        expected = network.encoder.torso(network.scaled(observations))
        assert torch.allclose(policy.network.torso(observations), expected, atol=1e-4)


def test_a_pictures_torso_sees_floats_as_they_come(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).normal(5, 3, (30, 2, 42, 42)).astype(np.float32)
    autoencoder = Autoencoder(latents=2, dense_size=6, epochs=1, torso="compact").fit(pictures)
    autoencoder.save(tmp_path / "p.safetensors")
    network = autoencoder.network
    weights = torso_weights(tmp_path / "p.safetensors")
    with torch.no_grad():
        scaled = network.encoder.torso(network.scaled(torch.from_numpy(pictures)))
        network.encoder.torso.load_state_dict(weights)
        assert torch.allclose(network.encoder.torso(torch.from_numpy(pictures)), scaled, atol=1e-3)


def test_a_torso_is_frozen_as_long_as_asked(encoder: Path, tmp_path: Path) -> None:
    watch = Watch((1_900, 3_000))
    train(recipe(encoder, frozen_torso_steps=2_000), runs=str(tmp_path), callbacks=[watch])
    before, then, after = (watch.torsos[at]["dense1.weight"] for at in (0, 1_900, 3_000))
    assert torch.equal(before, torso_weights(encoder)["dense1.weight"])
    assert torch.equal(before, then)
    assert not torch.equal(then, after)


@pytest.mark.parametrize(("steps", "moves"), [(0, True), (-1, False)])
def test_a_torso_learns_at_once_or_never(
    encoder: Path, tmp_path: Path, steps: int, moves: bool
) -> None:
    watch = Watch((3_000,))
    train(recipe(encoder, frozen_torso_steps=steps), runs=str(tmp_path), callbacks=[watch])
    before, after = watch.torsos[0]["dense1.weight"], watch.torsos[3_000]["dense1.weight"]
    assert torch.equal(before, after) != moves


def test_layers_thaw_from_the_top_down(encoder: Path, tmp_path: Path) -> None:
    watch = Watch((1_400, 2_400, 3_000))
    wanted = recipe(encoder, frozen_torso_steps=1_500, thaw_torso_steps=1_000)
    train(wanted, runs=str(tmp_path), callbacks=[watch])

    def moved(layer: str, start: int, end: int) -> bool:
        before, after = (watch.torsos[at][f"{layer}.weight"] for at in (start, end))
        return not torch.equal(before, after)

    assert not moved("dense2", 0, 1_400)
    assert moved("dense2", 1_400, 2_400)
    assert not moved("dense1", 0, 2_400)
    assert moved("dense1", 2_400, 3_000)


@pytest.mark.parametrize(
    ("frozen", "thaw", "steps", "layers"),
    [
        (-1, 0, 10**9, 3),
        (100, 0, 99, 3),
        (100, 0, 100, 0),
        (100, 50, 99, 3),
        (100, 50, 100, 2),
        (100, 50, 124, 2),
        (100, 50, 125, 1),
        (100, 50, 149, 1),
        (100, 50, 150, 0),
        (0, 50, 0, 2),
        (0, 0, 0, 0),
    ],
)
def test_thawing_is_spread_over_its_steps(
    encoder: Path, frozen: int, thaw: int, steps: int, layers: int
) -> None:
    wanted = recipe(encoder, frozen_torso_steps=frozen, thaw_torso_steps=thaw)
    assert frozen_layers(wanted, steps, 3) == layers


def test_a_norm_thaws_with_the_layer_below_it() -> None:
    frames = gym.spaces.Box(0, 255, (4, 42, 42), np.uint8)
    config = find_recipe("boxing-pqn").algorithm
    algorithm = make_algorithm(config, frames, gym.spaces.Discrete(18), 2, Seeds.spawn(1))
    freeze_torso(algorithm, 2)
    torso: Any = algorithm.policy.network.torso
    assert torso_depth(algorithm) == 3
    learning = {name for name, weight in torso.named_parameters() if weight.requires_grad}
    assert learning == {"dense.weight", "dense.bias", "dense_norm.weight", "dense_norm.bias"}


@pytest.mark.parametrize("thaw", [0, 1_000])
def test_resuming_goes_on_alike(encoder: Path, tmp_path: Path, thaw: int) -> None:
    wanted = recipe(encoder, frozen_torso_steps=1_500, thaw_torso_steps=thaw)
    whole, resumed = Watch((3_000,)), Watch((3_000,))
    train(wanted, runs=str(tmp_path / "whole"), callbacks=[whole])
    run = train(replace(wanted, steps=1_000), runs=str(tmp_path / "part"))
    resume(run, recipe=wanted, callbacks=[resumed])
    for name, weight in whole.torsos[3_000].items():
        assert torch.equal(weight, resumed.torsos[3_000][name])


def test_another_torso_is_refused_in_one_line(encoder: Path, tmp_path: Path) -> None:
    other = replace(recipe(encoder), algorithm=find_recipe("cartpole").algorithm)
    with pytest.raises(RecipeError, match=r"does not fit the agent's \(of another shape: dense1"):
        train(other, runs=str(tmp_path))
    file = tmp_path / "no.safetensors"
    file.write_bytes(b"nothing")
    with pytest.raises(RecipeError, match="no file of weights"):
        train(recipe(file), runs=str(tmp_path))
    with pytest.raises(RecipeError, match="cannot be read"):
        train(recipe(tmp_path / "nowhere"), runs=str(tmp_path))
    with pytest.raises(RecipeError, match="EncoderFeatures"):
        train(with_algorithm(recipe(encoder), "sb3:DQN"), runs=str(tmp_path))
    for field in ("frozen_torso_steps", "thaw_torso_steps"):
        with pytest.raises(ValueError, match=f"{field} is for a pretrained_torso alone"):
            replace(find_recipe("cartpole"), **{field: 5})
    with pytest.raises(ValueError, match="must not be negative, got -5"):
        recipe(encoder, thaw_torso_steps=-5)
    with pytest.raises(ValueError, match="frozen for good"):
        recipe(encoder, frozen_torso_steps=-1, thaw_torso_steps=5)


@pytest.mark.parametrize("frozen", [True, False])
def test_stable_baselines_takes_codes_as_features(encoder: Path, frozen: bool) -> None:
    torch.set_num_threads(1)
    model = PPO(
        "MlpPolicy",
        gym.make("CartPole-v1"),
        n_steps=32,
        batch_size=32,
        n_epochs=1,
        seed=0,
        device="cpu",
        policy_kwargs={
            "features_extractor_class": EncoderFeatures,
            "features_extractor_kwargs": {"encoder": encoder, "frozen": frozen},
        },
    )
    extractor = model.policy.features_extractor
    assert isinstance(extractor, EncoderFeatures)
    seen = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    features = extractor(torch.from_numpy(seen)).detach().numpy()
    np.testing.assert_allclose(features, load_autoencoder(encoder).transform(seen), atol=1e-5)
    before = {name: w.clone() for name, w in extractor.state_dict().items()}
    model.learn(64)
    moved = any(not torch.equal(w, before[name]) for name, w in extractor.state_dict().items())
    assert moved != frozen
    with pytest.raises(ValueError, match="codes observations in"):
        EncoderFeatures(gym.spaces.Box(0, 1, (3,), np.float32), encoder)


@pytest.mark.parametrize("shape", [(6,), (1, 42, 42)])
def test_bytes_reach_the_encoder_as_it_learnt_them(tmp_path: Path, shape: tuple[int, ...]) -> None:
    shown = np.random.default_rng(0).integers(0, 256, (40, *shape), np.uint8)
    autoencoder = Autoencoder(latents=2, hidden_sizes=SIZES, epochs=1).fit(shown)
    autoencoder.save(tmp_path / "bytes.safetensors")
    features = EncoderFeatures(autoencoder.space, tmp_path / "bytes.safetensors")
    arriving = preprocess_obs(torch.from_numpy(shown), autoencoder.space)
    assert isinstance(arriving, torch.Tensor)
    np.testing.assert_allclose(
        features(arriving).detach().numpy(), autoencoder.transform(shown), atol=1e-5
    )


def test_an_encoder_that_knows_no_bounds_fits_a_space_that_has_some(tmp_path: Path) -> None:
    file = tmp_path / "poles.safetensors"
    Autoencoder(latents=2, hidden_sizes=SIZES, epochs=1).fit(seen(100)).save(file)
    space = gym.make("CartPole-v1").observation_space
    assert EncoderFeatures(space, str(file)).features_dim == 2
    assert EncoderFeatures(gym.spaces.Box(-1, 1, (4,), np.float64), str(file)).features_dim == 2
    with pytest.raises(ValueError, match="codes observations in"):
        EncoderFeatures(gym.spaces.Box(0, 255, (4,), np.uint8), str(file))
