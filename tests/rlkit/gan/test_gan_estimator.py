"""The GAN behind scikit-learn's interface: what it makes, of which labels, and what it refuses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone

from rlkit.estimator import NotFittedError
from rlkit.gan.gan import GAN, ImageToImage
from rlkit.gan.gan_file import load, load_gan, save
from rlkit.gan.monitoring import EpochRecord
from rlkit.gan.training_data import DiscreteDataWarning
from rlkit.gan.translation import Translation

PICTURES = np.random.default_rng(0).integers(0, 256, (24, 2, 18, 9)).astype(np.uint8)
LABELS = np.array([3] * 12 + [5] * 6 + [9] * 6)
ROWS = np.random.default_rng(1).normal([3.0, 50.0, -2.0], [1.0, 9.0, 0.1], (64, 3))


def quick(**fields: Any) -> GAN:
    settings = {"latents": 4, "channels": 2, "hidden_sizes": (8, 8), "batch_size": 8, "epochs": 1}
    return GAN(**{**settings, **fields})


def test_pictures_come_back_as_they_went_in() -> None:
    gan = quick().fit(PICTURES)
    made = gan.sample(5)
    assert made.shape == (5, 2, 18, 9)
    assert made.dtype == np.uint8
    assert quick().fit(PICTURES[:, 0]).sample(3).shape == (3, 1, 18, 9)
    assert gan.sample(0).shape == (0, 2, 18, 9)
    assert gan.sample(0).dtype == np.uint8


def test_rows_come_back_in_their_own_units() -> None:
    made = quick().fit(ROWS).sample(400, seed=0)
    assert made.dtype == np.float32
    deviation = ROWS.std(0)
    assert (np.abs(made.mean(0) - ROWS.mean(0)) < 3.0 * deviation).all()
    assert (made.std(0) < 5.0 * deviation).all()
    assert (made.std(0) > 0.1 * deviation).all()


@pytest.mark.parametrize("changes", ["colour", "translation", "cutout"])
def test_pictures_are_learnt_through_changes(changes: str) -> None:
    plain = quick().fit(PICTURES)
    changed = quick(augmentations=(changes,)).fit(PICTURES)
    assert not np.array_equal(plain.sample(4, seed=0), changed.sample(4, seed=0))


def test_a_seed_makes_the_same_samples_and_none_makes_others() -> None:
    gan = quick().fit(PICTURES, LABELS)
    assert np.array_equal(gan.sample(4, seed=7), gan.sample(4, seed=7))
    assert not np.array_equal(gan.sample(4, seed=7), gan.sample(4, seed=8))
    assert not np.array_equal(gan.sample(4), gan.sample(4))
    # Of the same seed, only the labels differ.
    assert np.array_equal(gan.sample(4, 5, seed=7), gan.generate(gan.latents(4, 7), [5] * 4))


def test_truncation_draws_samples_towards_the_middle() -> None:
    gan = quick().fit(ROWS)
    whole, half = gan.sample(300, seed=7), gan.sample(300, seed=7, truncation=0.5)
    assert np.array_equal(half, gan.generate(np.float32(0.5) * gan.latents(300, 7)))
    assert (half.std(0) < 0.8 * whole.std(0)).all()
    labelled = quick().fit(PICTURES, LABELS)
    made, labels = labelled.sample_with_labels(5, seed=7, truncation=0.5)
    assert np.array_equal(made, labelled.sample(5, labels, seed=7, truncation=0.5))
    assert not np.array_equal(made, labelled.sample(5, labels, seed=7))
    for wrong in (0.0, 1.1, np.nan):
        with pytest.raises(ValueError, match=r"truncation must be in \(0, 1\]"):
            gan.sample(2, truncation=wrong)


def test_a_sample_does_not_depend_on_its_company() -> None:
    gan = quick().fit(PICTURES)
    latents = gan.latents(300, 0)
    alone = gan.generate(latents[290:291])
    assert np.abs(gan.generate(latents)[290].astype(int) - alone[0].astype(int)).max() <= 1


def test_labels_are_drawn_as_often_as_in_the_data() -> None:
    gan = quick().fit(PICTURES, LABELS)
    assert gan.classes_ is not None
    assert gan.classes_.tolist() == [3, 5, 9]
    made, labels = gan.sample_with_labels(2000, seed=0)
    assert np.unique(labels, return_counts=True)[1] == pytest.approx([1000, 500, 500], abs=100)
    assert np.array_equal(made, gan.sample(2000, labels, seed=0))
    assert np.array_equal(made, gan.sample(2000, seed=0))


def test_labels_that_were_not_learnt_are_refused() -> None:
    gan = quick().fit(PICTURES, LABELS)
    with pytest.raises(ValueError, match="label 4 was not learnt; there are 3, 5, 9"):
        gan.sample(2, [3, 4])
    with pytest.raises(ValueError, match="must be 3 or one for all"):
        gan.sample(3, [3, 5])
    with pytest.raises(ValueError, match="say of which"):
        gan.generate(gan.latents(2))
    with pytest.raises(ValueError, match="4 numbers each"):
        gan.generate(np.zeros((2, 3)), 3)
    with pytest.raises(ValueError, match="at least 0, got -1"):
        gan.latents(-1)
    plain = quick().fit(PICTURES)
    with pytest.raises(ValueError, match="fitted without labels"):
        plain.sample(2, 3)
    with pytest.raises(ValueError, match="fitted without labels"):
        plain.sample_with_labels(2)


def test_data_that_does_not_fit_leaves_what_was_learned() -> None:
    gan = quick().fit(PICTURES, LABELS)
    before = gan.sample(3, seed=0)
    bits = np.random.default_rng(0).integers(0, 2, (40, 5))
    for data, labels in ((bits, None), (PICTURES, np.arange(24)), (PICTURES[:, :, :7], None)):
        with pytest.raises(ValueError, match=r"two values|one example|8 pixels"):
            gan.fit(data, labels)
    assert np.array_equal(gan.sample(3, seed=0), before)
    mixed = ROWS.copy()
    mixed[:, 1] = np.arange(64) % 3
    with pytest.warns(DiscreteDataWarning, match="values: 1;"):
        quick().fit(mixed)


def test_epochs_are_told_with_a_gan_to_sample_from() -> None:
    told: list[tuple[EpochRecord, np.ndarray]] = []

    def keep(record: EpochRecord, gan: GAN) -> None:
        assert gan.history_[-1] == record
        told.append((record, gan.sample(2, seed=0)))

    gan = quick(epochs=3).fit(PICTURES, LABELS, on_epoch=[keep])
    assert [record for record, _ in told] == gan.history_
    assert [record.epoch for record, _ in told] == [1, 2, 3]
    assert [record.generator_steps for record, _ in told] == [3, 6, 9]
    assert np.array_equal(told[-1][1], gan.sample(2, seed=0))
    # To watch changes nothing.
    assert np.array_equal(quick(epochs=3).fit(PICTURES, LABELS).sample(2, seed=0), told[-1][1])


def test_new_parameters_wait_for_the_next_fit(tmp_path: Path) -> None:
    gan = quick(latents=3).fit(ROWS)
    before = gan.sample(5, seed=0)
    gan.set_params(latents=6)
    assert np.array_equal(gan.sample(5, seed=0), before)
    assert gan.generate(gan.latents(4, 1)).shape == (4, 3)
    save(tmp_path / "gan.safetensors", gan)
    loaded = load_gan(tmp_path / "gan.safetensors")
    assert loaded.config.latents == gan.config_.latents == 3
    assert np.array_equal(loaded.sample(5, seed=0), before)
    assert gan.fit(ROWS).latents(2).shape == (2, 6)

    settings: dict[str, Any] = {"channels": 2, "epochs": 1, "patch_halvings": 1, "halvings": 1}
    model = ImageToImage(**settings, pixel_noise=1).fit(PICTURES, PICTURES)
    before = model.transform(PICTURES)
    model.set_params(pixel_noise=2, picture_noise=1)
    assert np.array_equal(model.transform(PICTURES), before)
    batch = torch.from_numpy(PICTURES)
    assert Translation(model)(batch, random=torch.Generator()).shape == batch.shape
    save(tmp_path / "model.safetensors", model)
    assert np.array_equal(load(tmp_path / "model.safetensors").transform(PICTURES), before)  # pyright: ignore


def test_scikit_learns_clone_and_parameters() -> None:
    gan = quick(loss="hinge").fit(PICTURES)
    copy: Any = clone(gan)  # pyright: ignore[reportArgumentType]
    assert copy.get_params() == gan.get_params()
    with pytest.raises(NotFittedError, match="fit"):
        copy.sample(1)
    assert copy.set_params(latents=3).config == replace(gan.config, latents=3)
    with pytest.raises(ValueError, match="no parameter depth"):
        copy.set_params(depth=3)
    assert "loss='hinge'" in repr(gan)
