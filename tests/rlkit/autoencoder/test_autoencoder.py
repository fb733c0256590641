"""The autoencoder behind scikit-learn's interface: what it learns, keeps, and refuses."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA

from rlkit.autoencoder import losses
from rlkit.autoencoder.autoencoder import (
    _FILE,
    Autoencoder,
    AutoencoderFileError,
    find_autoencoder,
    load_autoencoder,
)
from rlkit.autoencoder.bodies import make_decoder, make_encoder
from rlkit.autoencoder.configuration import AutoencoderConfig
from rlkit.autoencoder.fitting import Epoch
from rlkit.autoencoder.network import AutoencoderNetwork
from rlkit.divergence import DivergenceError
from rlkit.estimator import NotFittedError
from rlkit.policy_file import space_to_json
from rlkit_agents.networks import NetworkConfig

SPACE = gym.spaces.Box(-np.inf, np.inf, (8,), np.float32)
KINDS = ["plain", "denoising", "sparse", "contractive", "variational"]


def plane(count: int, seed: int = 0) -> np.ndarray:
    """Samples of eight numbers that lie near a plane, in very different units."""
    generator = np.random.default_rng(seed)
    weights = np.random.default_rng(99).normal(size=(2, 8))
    points = generator.normal(size=(count, 2)) @ weights + 0.05 * generator.normal(size=(count, 8))
    return (points * np.array([1, 10, 100, 1, 1, 0.1, 1, 1]) + 5.0).astype(np.float32)


def quick(**fields: Any) -> Autoencoder:
    settings = {"latents": 2, "hidden_sizes": (32,), "epochs": 20, "batch_size": 64, **fields}
    return Autoencoder(**settings)


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """A bright square on black, (count, 1, 42, 42) bytes."""
    generator = np.random.default_rng(seed)
    frames = np.zeros((count, 1, 42, 42), np.uint8)
    for frame, (row, column) in zip(frames, generator.integers(0, 34, (count, 2)), strict=True):
        frame[0, row : row + 8, column : column + 8] = 200
    return frames


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_learns_what_the_data_lie_on(kind: str) -> None:
    autoencoder = quick(kind=kind, penalty=0.01, learning_rate=5e-3).fit(plane(600))
    others = plane(200, seed=1)
    decoded = autoencoder.inverse_transform(autoencoder.transform(others))
    explained = 1 - ((others - decoded) ** 2 / others.var(0)).mean()
    assert explained > 0.9
    off_the_plane = others.copy()
    off_the_plane[:, 0] += 5 * others[:, 0].std()
    assert autoencoder.score(others) > autoencoder.score(off_the_plane)


def test_a_linear_one_finds_the_plane_of_pca() -> None:
    data = plane(1000)
    data = (data - data.mean(0)) / data.std(0)
    torch.manual_seed(0)
    space = gym.spaces.Box(-np.inf, np.inf, (8,))
    network = AutoencoderNetwork(space, AutoencoderConfig(latents=2))
    network.encoder = torch.nn.Linear(8, 2)  # pyright: ignore[reportAttributeAccessIssue]
    decoder = torch.nn.Linear(2, 8)
    network.decoder = decoder  # pyright: ignore[reportAttributeAccessIssue]
    inputs = torch.from_numpy(data)
    optimizer = torch.optim.LBFGS(network.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimizer.zero_grad()
        loss = network.loss(inputs)
        loss.backward()
        return float(loss.detach())

    optimizer.step(loss)
    pca: Any = PCA(2).fit(data)
    left_by_pca = ((data - pca.inverse_transform(pca.transform(data))) ** 2).mean()
    assert float(network.loss(inputs).detach()) == pytest.approx(left_by_pca, rel=0.02)
    # The same plane: the decoder's columns are combinations of the two components.
    columns = decoder.weight.detach().numpy()
    projected = pca.components_.T @ pca.components_ @ columns
    assert np.allclose(projected, columns, atol=0.03 * np.abs(columns).max())


def test_a_sparse_code_is_sparse() -> None:
    dense = quick(latents=16, latent_activation="sigmoid").fit(plane(600))
    sparse = quick(latents=16, kind="sparse", penalty=1.0, epochs=40).fit(plane(600))
    others = plane(200, seed=1)
    assert dense.transform(others).mean() > 0.3
    assert sparse.transform(others).mean() < 0.12


def test_a_contractive_code_moves_less() -> None:
    def moved(autoencoder: Autoencoder) -> float:
        codes = autoencoder.transform(others)
        return float(np.square(autoencoder.transform(nudged) - codes).sum(1).mean())

    others = plane(200, seed=1)
    noise = np.random.default_rng(2).normal(size=others.shape) * others.std(0)
    nudged = (others + 0.05 * noise).astype(np.float32)
    plain = quick(latent_activation="tanh").fit(plane(600))
    contractive = quick(latent_activation="tanh", kind="contractive", penalty=2.0).fit(plane(600))
    assert moved(contractive) < 0.5 * moved(plain)


def test_a_variational_score_is_the_evidence_lower_bound() -> None:
    autoencoder = quick(kind="variational", decoder_variance=0.2, epochs=2).fit(plane(200))
    network = autoencoder.network
    sample = plane(1, seed=5)
    with torch.no_grad():
        scaled = (torch.from_numpy(sample) - network.mean) / network.scale
        mean, log_variance = network.encoder(scaled).chunk(2, 1)
        decoded = network.decoder(mean)
    normal = torch.distributions.Normal
    likelihood = normal(decoded, math.sqrt(0.2)).log_prob(scaled).sum()
    posterior = normal(mean, (0.5 * log_variance).exp())
    divergence = torch.distributions.kl_divergence(posterior, normal(0.0, 1.0)).sum()
    expected = float(likelihood - divergence) / 8
    assert autoencoder.score(sample) == pytest.approx(expected, rel=1e-4)


def test_a_denoising_one_repairs() -> None:
    data, others = plane(1500), plane(200, seed=1)
    plain = quick(latents=4).fit(data)
    denoising = quick(latents=4, kind="denoising", masked=0.3).fit(data)
    holes = np.random.default_rng(3).random(others.shape) < 0.2
    spoilt = np.where(holes, data.mean(0), others).astype(np.float32)

    def left(autoencoder: Autoencoder) -> float:
        decoded = autoencoder.inverse_transform(autoencoder.transform(spoilt))
        return float((((decoded - others) / others.std(0)) ** 2)[holes].mean())

    assert left(denoising) < 0.5 * left(plain)


def test_pictures_are_coded_in_few_bytes() -> None:
    autoencoder = quick(latents=8, dense_size=64, epochs=12, learning_rate=2e-3, mirrored=True)
    autoencoder.fit(pictures(1500))
    others = pictures(64, seed=1)
    codes = autoencoder.encode_bytes(others)
    assert codes.shape == (64, 8)
    assert codes.dtype == np.uint8
    decoded = autoencoder.decode_bytes(codes)
    assert decoded.dtype == np.uint8
    assert decoded.shape == others.shape
    blank = ((others.mean(0) / 255.0 - others / 255.0) ** 2).mean()
    assert ((decoded / 255.0 - others / 255.0) ** 2).mean() < 0.4 * blank
    # The mirrored picture's code is the code backwards.
    mirrored = autoencoder.transform(others[..., ::-1])
    assert np.allclose(mirrored, autoencoder.transform(others)[:, ::-1], atol=1e-4)


def test_bytes_are_steps_between_the_least_and_the_most_seen() -> None:
    autoencoder = quick(epochs=3).fit(plane(300))
    codes = autoencoder.transform(plane(300))
    network = autoencoder.network
    low, high = network.least.numpy(), network.most.numpy()
    steps = autoencoder.encode_bytes(plane(300)).astype(float)
    rounded = low + steps * (high - low) / 255
    within = (codes >= low) & (codes <= high)
    assert np.abs(rounded - codes)[within].max() <= ((high - low) / 255).max() * 0.501
    beyond = autoencoder.encode_bytes(plane(300) + 1e4)
    assert np.isin(beyond, (0, 255)).mean() > 0.9


def test_a_number_that_never_changed_stays_at_step_0() -> None:
    network = quick(epochs=1).fit(plane(100)).network
    network.most.copy_(network.least)
    around = network.least + torch.tensor([[-1.0], [0.0], [1e-6], [1.0]])
    assert not network.to_bytes(around).any()


def test_early_stopping_keeps_the_best_weights() -> None:
    seen: list[Epoch] = []
    autoencoder = quick(epochs=60, patience=2, learning_rate=0.05)
    autoencoder.fit(plane(150), held_out=plane(100, 1), on_epoch=[lambda e, _: seen.append(e)])
    assert autoencoder.epochs == seen
    assert len(seen) < 60
    assert [epoch.best for epoch in seen[-2:]] == [False, False]
    best = min(epoch.held_out for epoch in seen)
    assert -autoencoder.score(plane(100, 1)) == pytest.approx(best, rel=1e-4)
    rates = [epoch.learning_rate for epoch in seen]
    assert rates[-1] < rates[0]


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second = (quick(kind="variational", epochs=2).fit(plane(100)) for _ in range(2))
    other = quick(kind="variational", epochs=2, seed=1).fit(plane(100))
    weights = [a.network.decoder.state_dict()["out.weight"] for a in (first, second, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_scikit_learns_clone_and_parameters() -> None:
    autoencoder = quick(kind="sparse").fit(plane(100))
    copy: Any = clone(autoencoder)  # pyright: ignore[reportArgumentType]
    assert copy.get_params() == autoencoder.get_params()
    with pytest.raises(NotFittedError, match="fit"):
        copy.transform(plane(3))
    assert copy.set_params(latents=3).config == replace(autoencoder.config, latents=3)
    with pytest.raises(ValueError, match="no parameter depth"):
        copy.set_params(depth=3)
    assert "kind='sparse'" in repr(autoencoder)


def test_new_parameters_wait_for_the_next_fit(tmp_path: Path) -> None:
    autoencoder = quick(epochs=1).fit(plane(100))
    before = autoencoder.inverse_transform(autoencoder.transform(plane(5)))
    autoencoder.set_params(latents=3)
    after = autoencoder.inverse_transform(autoencoder.transform(plane(5)))
    assert np.array_equal(before, after)
    assert autoencoder.decode_bytes(autoencoder.encode_bytes(plane(5))).shape == (5, 8)
    autoencoder.save(tmp_path / "a.safetensors")
    assert load_autoencoder(tmp_path / "a.safetensors").config.latents == 2
    assert autoencoder.fit(plane(100)).transform(plane(5)).shape == (5, 3)


def test_what_failed_to_fit_is_not_fitted() -> None:
    autoencoder = quick(augmentation=("shift:2",))
    with pytest.raises(ValueError, match="pictures"):
        autoencoder.fit(plane(100))
    with pytest.raises(NotFittedError):
        autoencoder.transform(plane(5))


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.bool_])
def test_whole_numbers_are_coded_and_come_back(dtype: type[np.generic]) -> None:
    bits = np.repeat(np.random.default_rng(0).integers(0, 2, (200, 4)), 2, axis=1)
    space = gym.spaces.Box(0, 1, (8,), np.int8)
    autoencoder = quick(latents=4, epochs=60, learning_rate=1e-2).fit(
        bits.astype(dtype), space=space
    )
    decoded = autoencoder.inverse_transform(autoencoder.transform(bits.astype(dtype)))
    assert decoded.dtype == np.int8
    assert (decoded == bits).mean() > 0.95
    assert set(np.unique(decoded)) <= {0, 1}
    assert autoencoder.network.codes((8,), np.dtype(dtype))
    assert not autoencoder.network.codes((8,), np.dtype(np.uint8))


def test_a_file_brings_everything_back(tmp_path: Path) -> None:
    autoencoder = quick(epochs=2).fit(plane(100))
    autoencoder.provenance = {"environment": {"id": "test"}}
    autoencoder.save(tmp_path / "a.safetensors")
    loaded = find_autoencoder(str(tmp_path / "a.safetensors"))
    assert loaded.config == autoencoder.config
    assert loaded.space == autoencoder.space
    assert loaded.provenance == autoencoder.provenance
    assert np.array_equal(loaded.encode_bytes(plane(20)), autoencoder.encode_bytes(plane(20)))
    assert np.array_equal(loaded.score_samples(plane(20)), autoencoder.score_samples(plane(20)))


def test_a_damaged_or_foreign_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    quick(epochs=1).fit(plane(100)).save(file)
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[-3] ^= 1
    file.write_bytes(bytes(flipped))
    with pytest.raises(AutoencoderFileError, match="damaged"):
        load_autoencoder(file)
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AutoencoderFileError, match=r"a\.safetensors"):
        load_autoencoder(file)
    header = {"space": space_to_json(SPACE), "provenance": {}}
    for config in ({"activation": "magic"}, {"augmentation": [3]}, {"latents": "many"}):
        _FILE.write(file, {**header, "config": config}, {"mean": torch.zeros(8)})
        with pytest.raises(AutoencoderFileError, match="describes no autoencoder") as caught:
            load_autoencoder(file)
        assert "\n" not in str(caught.value)
    _FILE.write(file, {**header, "config": {}}, {"mean": torch.zeros(8)})
    with pytest.raises(AutoencoderFileError, match="describes no autoencoder") as caught:
        load_autoencoder(file)
    assert "\n" not in str(caught.value)
    with pytest.raises(AutoencoderFileError, match="no such file"):
        find_autoencoder("nowhere")


def test_what_never_changes_does_no_harm_and_still_counts() -> None:
    data = plane(300)
    data[:, 4] = 7.0
    autoencoder = quick(epochs=10).fit(data)
    others = plane(50, 1)
    others[:, 4] = 7.0
    departed = others.copy()
    departed[:, 4] = 17.0
    assert np.isfinite(autoencoder.score_samples(others)).all()
    assert (autoencoder.score_samples(departed) < autoencoder.score_samples(others) - 5).all()


def test_observations_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        quick().fit(np.full((10, 8), np.nan, np.float32))
    with pytest.raises(ValueError, match="got 0 and 0"):
        quick().fit(np.zeros((0, 8), np.float32))
    with pytest.raises(ValueError, match="counts them"):
        quick().fit(np.zeros(10, np.float32))
    fitted = quick(epochs=1).fit(plane(100))
    with pytest.raises(ValueError, match=r"\(8,\)"):
        fitted.transform(np.zeros((3, 7), np.float32))
    with pytest.raises(ValueError, match="uint8"):
        fitted.transform(np.zeros((3, 8), np.uint8))
    with pytest.raises(ValueError, match="2 numbers each"):
        fitted.inverse_transform(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="2 numbers each"):
        fitted.decode_bytes(np.zeros((3, 3), np.uint8))
    bits = gym.spaces.Box(0, 1, (8,), np.uint8)
    with pytest.raises(ValueError, match="shades from 0 to 255, but these end at 1: give them as"):
        quick().fit(np.zeros((30, 8), np.uint8), space=bits)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "magic"}, "magic"),
        ({"latents": 0}, "latents"),
        ({"held_out": 1.0}, "held_out"),
        ({"target_activation": 0.0}, "target_activation"),
        ({"masked": 1.0}, "masked"),
        ({"penalty": math.nan}, "penalty"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"latent_activation": "relu"}, "there are linear, sigmoid, tanh"),
        ({"precision": "half"}, "there are auto, float32, bfloat16"),
        ({"kind": "variational", "latent_activation": "sigmoid"}, "must be linear"),
    ],
)
def test_parameters_out_of_range_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AutoencoderConfig(**fields)


def test_networks_that_cannot_be_are_refused() -> None:
    space = gym.spaces.Box(0, 255, (1, 84, 84), np.uint8)
    with pytest.raises(ValueError, match="turned round"):
        make_decoder(space, 4, NetworkConfig(torso="seed"))
    with pytest.raises(ValueError, match="odd"):
        make_encoder(space, 5, NetworkConfig(), "linear", mirrored=True)
    flat = gym.spaces.Box(0, 1, (4,), np.float32)
    with pytest.raises(ValueError, match="pictures can be mirrored"):
        make_encoder(flat, 4, NetworkConfig(torso="mlp"), "linear", mirrored=True)
    with pytest.raises(ValueError, match="cannot be mirrored"):
        AutoencoderNetwork(space, AutoencoderConfig(kind="variational", mirrored=True))
    config = AutoencoderConfig(reconstruction="cross_entropy")
    with pytest.raises(ValueError, match="needs bytes"):
        AutoencoderNetwork(flat, config)
    with pytest.raises(ValueError, match="Box"):
        AutoencoderNetwork(gym.spaces.Discrete(3), AutoencoderConfig())


def test_a_decoder_gives_back_every_pixel() -> None:
    for torso, size in (("small", 84), ("small", 90), ("compact", 42), ("nature", 84)):
        space = gym.spaces.Box(0, 255, (3, size, size + 1), np.uint8)
        decoder = make_decoder(space, 4, NetworkConfig(torso=torso))  # pyright: ignore[reportArgumentType]
        assert decoder(torch.zeros(2, 4)).shape == (2, 3, size, size + 1)


def test_learning_that_diverges_stops_with_a_clear_line() -> None:
    autoencoder = quick(learning_rate=1e30)
    with pytest.raises(DivergenceError, match="learning_rate"):
        autoencoder.fit(plane(300))
    assert all(torch.isfinite(w).all() for w in autoencoder.network.parameters())


def test_the_contractive_penalty_is_exact_whatever_the_precision() -> None:
    shown = pictures(6)
    space = gym.spaces.Box(0, 255, (1, 42, 42), np.uint8)
    config = AutoencoderConfig(kind="contractive", latents=3, penalty=1e6, precision="bfloat16")
    torch.manual_seed(0)
    network = AutoencoderNetwork(space, config)
    observations = torch.from_numpy(shown)
    norms = losses.jacobian_norm(network.encoder, network.scaled(observations)).detach()
    loss = float(network.loss(observations).detach())
    assert loss == pytest.approx(1e6 * float(norms.mean()), rel=1e-5)
