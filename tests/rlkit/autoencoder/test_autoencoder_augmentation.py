"""Autoencoders that learn from changed observations: what is undone, what is kept, what does not
fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlkit.autoencoder.autoencoder import Autoencoder, load_autoencoder
from rlkit.autoencoder.configuration import AutoencoderConfig
from rlkit.autoencoder.network import AutoencoderNetwork
from rlkit.cli.main import main
from rlkit_agents.augmentation import Augmenter

QUICK: dict[str, Any] = {"latents": 2, "hidden_sizes": (32,), "batch_size": 64, "epochs": 25}


def plane(count: int, seed: int = 0) -> np.ndarray:
    """Points of a plane among 12 numbers, (count, 12) float32."""
    axes = np.random.default_rng(0).normal(size=(2, 12))
    return (np.random.default_rng(seed + 1).normal(size=(count, 2)) @ axes).astype(np.float32)


def augmenter(*names: str) -> Augmenter:
    return Augmenter(names, np.random.SeedSequence(0))


def test_moves_are_kept_and_all_else_is_undone() -> None:
    pictures = torch.randint(50, 200, (64, 2, 8, 8), dtype=torch.uint8)
    before = pictures.clone()
    moved, clean = augmenter("shift:2", "turn").with_clean(pictures)
    assert torch.equal(moved, clean)
    assert not torch.equal(moved, pictures)
    spoilt, clean = augmenter("noise:4", "dropout:0.1", "brightness:20").with_clean(pictures)
    assert torch.equal(clean, pictures)
    assert not torch.equal(spoilt, pictures)
    # Both, whatever comes first: a picture of one shade is at its shade where it is clean.
    bands = torch.arange(8, dtype=torch.uint8)[:, None].mul(20).add(50).expand(64, 1, 8, 8)
    for names in (("dropout:0.2", "shift:3"), ("shift:3", "dropout:0.2")):
        spoilt, clean = augmenter(*names).with_clean(bands)
        assert (clean != 0).all()
        assert not torch.equal(clean, bands)
        kept = spoilt != 0
        assert torch.equal(spoilt[kept], clean[kept])
        assert 0.7 < kept.float().mean() < 0.9
    assert torch.equal(pictures, before)
    same, clean = augmenter().with_clean(pictures)
    assert same is clean is pictures


def test_noise_that_it_learnt_with_is_taken_away() -> None:
    """Of twelve numbers in a plane a sixth is lost; the others tell where it was."""
    rows, others = plane(1_000), plane(200, seed=7)
    lost = np.random.default_rng(0).random(others.shape) < 1 / 6
    spoilt = np.where(lost, np.float32(0), others)

    def error(**changes: Any) -> float:
        learnt = Autoencoder(**QUICK, **changes).fit(rows)
        decoded = learnt.inverse_transform(learnt.transform(spoilt))
        return float(np.square(decoded - others).mean() / others.var())

    plain, robust = error(), error(augmentation=("dropout:0.1667",))
    assert robust < 0.75 * plain


def test_held_out_observations_are_judged_as_they_are() -> None:
    rows, others = plane(200), plane(50, seed=3)
    told: list[float] = []
    learnt = Autoencoder(**{**QUICK, "epochs": 1}, augmentation=("noise:30",))
    learnt.fit(
        rows,
        held_out=others,
        on_epoch=[lambda _, network: told.append(network.loss(torch.from_numpy(others)).item())],
    )
    assert learnt.epochs[0].held_out == pytest.approx(told[0], rel=1e-5)
    assert learnt.epochs[0].loss > told[0]


def test_the_same_seed_gives_the_same_weights() -> None:
    def weights(*names: str) -> np.ndarray:
        changes = {**QUICK, "epochs": 2}
        learnt = Autoencoder(**changes, augmentation=names).fit(plane(200))
        return np.concatenate([w.flatten() for w in learnt.network.state_dict().values()])

    assert np.array_equal(weights("noise:1"), weights("noise:1"))
    assert not np.array_equal(weights("noise:1"), weights())


@pytest.mark.parametrize("kind", ["plain", "denoising", "sparse", "contractive", "variational"])
def test_every_kind_decodes_the_target(kind: str) -> None:
    """A target that is nothing like what is coded is what the loss is about."""
    config = AutoencoderConfig(kind=kind, latents=2, hidden_sizes=(8,), penalty=0.0, masked=0.0)  # pyright: ignore[reportArgumentType]
    torch.manual_seed(0)
    network = AutoencoderNetwork(Autoencoder(config).fit(plane(20)).space, config)
    rows = torch.from_numpy(plane(8))
    near, far = (
        network.loss(rows, torch.Generator().manual_seed(0), target=target).item()
        for target in (torch.zeros_like(rows), torch.full_like(rows, 30.0))
    )
    assert far > near + 100
    plain = network.loss(rows, torch.Generator().manual_seed(0)).item()
    beside = network.loss(rows, torch.Generator().manual_seed(0), target=rows).item()
    assert plain == beside


def test_augmentations_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="no augmentation is called 'nois'; did you mean noise"):
        AutoencoderConfig(augmentation=("nois:3",))
    with pytest.raises(ValueError, match=r"pictures must be \(batch, channels, height, width\)"):
        Autoencoder(**QUICK, augmentation=("shift:2",)).fit(plane(50))
    with pytest.raises(ValueError, match="only bytes have shades"):
        Autoencoder(**QUICK, augmentation=("brightness:2",)).fit(plane(50))


def test_the_file_says_how_it_was_learnt(tmp_path: Path) -> None:
    learnt = Autoencoder(**{**QUICK, "epochs": 1}, augmentation=("noise:1", "dropout:0.1"))
    learnt.fit(plane(50)).save(tmp_path / "a.safetensors")
    assert load_autoencoder(tmp_path / "a.safetensors").config == learnt.config


def test_the_command_takes_them_as_agents_do(tmp_path: Path, capsys) -> None:
    path = tmp_path / "pictures.npz"
    pictures = np.random.default_rng(0).integers(0, 256, (60, 1, 16, 16), np.uint8)
    np.savez(path, observations=pictures)
    command = ["autoencoder", "train", str(path), "--runs", str(tmp_path / "runs"), "--json"]
    command += ["--autoencoder.epochs", "1", "--autoencoder.latents", "2"]
    assert main([*command, "--autoencoder.augmentation", "shift:2", "brightness:20"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["config"]["augmentation"] == ["shift:2", "brightness:20"]
    assert main([*command, "--autoencoder.augmentation", "shift:99"]) == 0
    assert main([*command, "--autoencoder.augmentation", "cutout:99"]) == 2
    assert "larger than (16, 16)" in capsys.readouterr().err
