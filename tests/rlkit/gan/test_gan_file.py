"""Files of GANs: everything comes back bit for bit, and nothing in a file is taken on trust."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from rlkit.estimator import NotFittedError
from rlkit.gan.gan import GAN, ImageToImage
from rlkit.gan.gan_file import GANFileError, load, load_gan, save
from rlkit.tensor_file import digest

RANDOM = np.random.default_rng(0)
PICTURES = RANDOM.integers(0, 256, (12, 1, 12, 17)).astype(np.uint8)
LABELS = np.array([2] * 6 + [8] * 6)
ROWS = RANDOM.normal(size=(12, 3))


def quick(**fields: Any) -> GAN:
    settings = {"latents": 4, "channels": 2, "hidden_sizes": (6, 5), "batch_size": 6, "epochs": 1}
    return GAN(**{**settings, **fields})


@pytest.mark.parametrize(
    ("data", "labels"), [(PICTURES, None), (PICTURES, LABELS), (ROWS, None), (ROWS, LABELS)]
)
def test_a_file_brings_a_gan_back(
    tmp_path: Path, data: np.ndarray, labels: np.ndarray | None
) -> None:
    gan = quick(augmentations=("cutout",), r1=0.5).fit(data, labels)
    gan.provenance = {"data": "drawn at random"}
    save(tmp_path / "g.safetensors", gan)
    loaded = load_gan(tmp_path / "g.safetensors")
    assert loaded.config == gan.config
    assert loaded.shape_ == gan.shape_
    assert loaded.history_ == gan.history_
    assert loaded.provenance == gan.provenance
    assert np.array_equal(loaded.sample(9, seed=1), gan.sample(9, seed=1))
    weights = loaded.generator_.state_dict()
    for name, value in gan.generator_.state_dict().items():
        assert torch.equal(value, weights[name])
    if labels is not None:
        assert loaded.classes_ is not None
        assert loaded.classes_.tolist() == [2, 8]
        assert np.array_equal(loaded.sample(4, 8, seed=1), gan.sample(4, 8, seed=1))
    first, second = (tmp_path / name for name in ("a", "b"))
    save(first, gan)
    save(second, loaded)
    assert first.read_bytes() == second.read_bytes()


def test_a_file_brings_a_translation_back(tmp_path: Path) -> None:
    model = ImageToImage(channels=2, epochs=1).fit(PICTURES, np.repeat(PICTURES, 2, 1))
    save(tmp_path / "t.safetensors", model)
    loaded = load(tmp_path / "t.safetensors")
    assert isinstance(loaded, ImageToImage)
    assert loaded.config == model.config
    assert np.array_equal(loaded.transform(PICTURES), model.transform(PICTURES))
    with pytest.raises(GANFileError, match="makes none from noise"):
        load_gan(tmp_path / "t.safetensors")


def test_numbers_that_json_does_not_know_survive(tmp_path: Path) -> None:
    gan = quick().fit(ROWS)
    lost = {"discriminator_loss": math.inf, "spread": math.nan, "generator_loss": math.nan}
    gan.history_ = [replace(gan.history_[0], **lost)]  # pyright: ignore[reportArgumentType]
    save(tmp_path / "g.safetensors", gan)
    (record,) = load_gan(tmp_path / "g.safetensors").history_
    assert math.isnan(record.discriminator_loss)
    assert math.isnan(record.spread)
    assert record.generator_loss is None
    assert record.accuracy_real == gan.history_[0].accuracy_real


def test_what_is_not_fitted_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match="fit"):
        save(tmp_path / "g.safetensors", quick())
    assert not list(tmp_path.iterdir())


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "g.safetensors"
    save(file, quick().fit(ROWS))
    whole = file.read_bytes()
    for place in (4, len(whole) // 3, len(whole) - 3):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        file.write_bytes(bytes(flipped))
        with pytest.raises(GANFileError, match=r"g\.safetensors: (damaged|cannot|written by)"):
            load(file)
    for length in (0, 7, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(GANFileError, match=r"g\.safetensors: "):
            load(file)
    safetensors.torch.save_file({"a": torch.zeros(1)}, file, {"rlkit-policy": "{}"})
    with pytest.raises(GANFileError, match="not an rlkit GAN"):
        load(file)
    with pytest.raises(GANFileError, match="cannot be read"):
        load(tmp_path / "nowhere")


Forgery = Callable[[dict[str, Any], dict[str, torch.Tensor]], object]

FORGERIES: dict[str, Forgery] = {
    "another kind": lambda h, t: h.update(kind="policy"),
    "a network that fills the memory": lambda h, t: h["config"].update(latents=10**13),
    "pictures that fill the memory": lambda h, t: h.update(shape=[1, 10**9, 10**9]),
    "a number of another type": lambda h, t: h["config"].update(latents="4"),
    "a field that is not there": lambda h, t: h["config"].update(depth=3),
    "a number out of range": lambda h, t: h["config"].update(r1=-1.0),
    "another shape": lambda h, t: h.update(shape=[4]),
    "no shape": lambda h, t: h.update(shape="three"),
    "half a shape": lambda h, t: h.update(shape=[2.5]),
    "one class too many": lambda h, t: h.update(classes=[1, 2, 8], class_shares=[0.1, 0.5, 0.4]),
    "classes in disorder": lambda h, t: h.update(classes=[8, 2]),
    "shares that are none": lambda h, t: h.update(class_shares=[0.5, 0.6]),
    "no shares": lambda h, t: h.pop("class_shares"),
    "text for a history": lambda h, t: h.update(history=["good"]),
    "no provenance": lambda h, t: h.update(provenance=[]),
    "no weights": lambda h, t: t.clear(),
    "one weight too many": lambda h, t: t.update({"generator.more": torch.zeros(1)}),
    "weights of another type": lambda h, t: t.update(
        {"generator.out.bias": torch.zeros(3, dtype=torch.float64)}
    ),
    "weights that are no numbers": lambda h, t: t["generator.out.bias"].fill_(math.nan),
    "a scaling of another size": lambda h, t: t.update({"scaling.mean": torch.zeros(2)}),
    "no scaling": lambda h, t: t.pop("scaling.deviation"),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("gan") / "g.safetensors"
    save(file, quick().fit(ROWS, LABELS))
    return file


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forged_files_with_a_sound_checksum_are_refused(
    tmp_path: Path, saved: Path, forgery: str
) -> None:
    with safe_open(saved, framework="pt") as file:
        header = json.loads(file.metadata()["rlkit-gan"])
    tensors = safetensors.torch.load_file(saved)
    FORGERIES[forgery](header, tensors)
    header["sha256"] = digest(header, tensors)
    forged = tmp_path / "forged.safetensors"
    safetensors.torch.save_file(tensors, forged, {"rlkit-gan": json.dumps(header)})
    with pytest.raises(GANFileError, match=r"forged\.safetensors: damaged: [^\n]*$"):
        load(forged)
