"""`rlkit gan train` and `evaluate` on pairs of pictures; the verdict that trainings look for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rlkit.cli.main import main
from rlkit.gan.gan import ImageToImage
from rlkit.gan.gan_file import GANFileError, load, save
from rlkit.gan.pairs import mean_error, read_pairs, write_pairs
from rlkit.gan.translation import augmentation

QUICK = [
    *("--image-to-image.epochs", "2", "--image-to-image.channels", "2"),
    *("--image-to-image.most-channels", "4", "--image-to-image.patch-halvings", "1"),
]
JUDGE = ["--judge.epochs", "2", "--judge.features", "4"]
BRIGHTER = 40


def scenes(count: int, seed: int = 0) -> np.ndarray:
    """A box at random on grey, (count, 1, 12, 12) bytes."""
    random = np.random.default_rng(seed)
    pictures = np.full((count, 1, 12, 12), 60, np.uint8)
    for picture, (row, column) in zip(pictures, random.integers(0, 8, (count, 2)), strict=True):
        picture[0, row : row + 5, column : column + 5] = 180
    return pictures + random.integers(0, 8, pictures.shape).astype(np.uint8)


@pytest.fixture(autouse=True, scope="module")
def _quick_judge() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rlkit.gan.two_sample._STEPS", 20)
        yield


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, and the same made brighter."""
    path = tmp_path_factory.mktemp("data") / "brighter.npz"
    images = scenes(840)
    write_pairs(path, images, images + np.uint8(BRIGHTER))
    return path


@pytest.fixture(scope="module")
def trained(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what learnt from the first of these."""
    few = tmp_path_factory.mktemp("few") / "few.npz"
    images, targets = read_pairs(pairs)
    write_pairs(few, images[:120], targets[:120])
    runs = tmp_path_factory.mktemp("runs")
    command = ["gan", "train", str(few), *QUICK, *JUDGE, "--keep", "--runs", str(runs), "--json"]
    assert main(command) == 0
    (folder,) = (runs / "few").iterdir()
    return folder


def brighter(levels: int) -> ImageToImage:
    """Adds so many levels, and nothing else."""
    estimator = ImageToImage(channels=2, most_channels=2, epochs=1, patch_halvings=1)
    estimator.fit(scenes(8), scenes(8, seed=1))
    with torch.no_grad():
        state = estimator.generator_.state_dict()
        state["last.weight"].zero_()
        state["last.bias"].fill_(levels / 127.5)
        state["change"].fill_(1.0)
    return estimator


def told_by(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


def test_training_leaves_everything_about_it(trained: Path) -> None:
    told = json.loads((trained / "gan.json").read_text())
    assert told["rows"] == {"learnt": 60, "judge": 36, "compared": 24}
    assert [epoch["epoch"] for epoch in told["epochs"]] == [1, 2]
    assert told["config"]["channels"] == 2
    assert not told["verdict"]["passed"]  # by so few pairs
    estimator = load(trained / "generator.safetensors")
    assert isinstance(estimator, ImageToImage)
    assert estimator.shape_ == (1, 12, 12)
    assert estimator.provenance["verdict"] == told["verdict"]
    assert estimator.provenance["judged_by"] == estimator.provenance["file"] == "few.npz"
    quality = told["verdict"]["quality"]
    assert quality["unchanged_error"] == BRIGHTER
    events = EventAccumulator(str(trained)).Reload()
    assert {"loss/generator", "accuracy/real"} <= set(events.Tags()["scalars"])
    assert events.Tags()["images"] == ["outputs"]
    with pytest.raises(GANFileError, match="does not pass the gate: only 12 rows were compared"):
        augmentation(trained / "generator.safetensors", "cpu")


def test_evaluating_by_the_pairs_of_the_training_repeats_its_judgement(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = json.loads((trained / "gan.json").read_text())
    file, source = str(trained / "generator.safetensors"), str(trained / "pairs.npz")
    before = Path(file).read_bytes()
    assert main(["gan", "evaluate", file, source, "--json"]) == 0
    told = told_by(capsys)
    assert told["trained_from_this_data"]
    assert told["rows"] == recorded["rows"]
    assert told["verdict"] == recorded["verdict"]
    assert main(["gan", "evaluate", file, source]) == 0
    printed = capsys.readouterr().out
    assert "learnt from 60 other pairs" in printed
    assert "pictures left as they are by 40" in printed
    assert "does not pass the gate, so that no training takes it" in printed
    assert Path(file).read_bytes() == before


def test_a_good_translation_passes_and_a_verdict_is_stored_on_demand(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "brighter.safetensors"
    save(file, brighter(BRIGHTER))
    evaluate = ["gan", "evaluate", str(file), str(pairs), "--judge.epochs", "4"]
    evaluate += ["--judge.features", "4", "--json"]
    assert main(evaluate) == 0
    told = told_by(capsys)
    assert told["verdict"]["passed"], told["verdict"]["reasons"]
    assert told["verdict"]["quality"]["error"] == 0.0
    assert told["rows"] == {"learnt": 0, "judge": 420, "compared": 420}
    with pytest.raises(GANFileError, match="nobody judged it"):
        augmentation(file, "cpu")
    assert main([*evaluate, "--store"]) == 0
    assert told_by(capsys)["verdict"] == told["verdict"]
    picture = torch.from_numpy(scenes(2))
    changed = augmentation(file, "cpu")(picture, random=torch.Generator())
    assert torch.equal(changed, picture + BRIGHTER)
    assert load(file).provenance["judged_by"] == "brighter.npz"

    # What is judged again by other pairs, and fails, is no longer taken.
    darker = tmp_path / "darker.npz"
    images, _ = read_pairs(pairs)
    write_pairs(darker, images, images - np.uint8(30))
    evaluate[3] = str(darker)
    assert main([*evaluate, "--store"]) == 0
    verdict = told_by(capsys)["verdict"]
    assert not verdict["passed"]
    assert verdict["quality"]["error"] == mean_error(images + np.uint8(40), images - np.uint8(30))
    with pytest.raises(GANFileError, match="does not pass the gate: "):
        augmentation(file, "cpu")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "{pairs}", "--gan.epochs", "2"], "--gan.epochs is for examples"),
        (["train", "{pairs}", "--ignore-labels"], "holds pairs: see --image-to-image"),
        (["train", "{plain}", "--image-to-image.epochs", "2"], "has no targets"),
        (["train", "{small}"], "at least 8 pixels"),
        (["train", "{pairs}", "--image-to-image.patch-halvings", "3"], "24 pixels or more"),
        (["train", "{pairs}", "--judge.features", "500"], "pairs are left to compare with"),
        (["train", "{pairs}", "--image-to-image.pixel-noise", "-1"], "pixel_noise must be at"),
        (["evaluate", "{file}", "{pairs}", "--truncation", "0.5"], "--truncation is for gen"),
        (["evaluate", "{file}", "boxing"], "is judged by a file of pairs"),
        (["evaluate", "{file}", "{plain}"], 'with an array "targets"'),
        (["sample", "{file}"], "turns pictures into pictures"),
    ],
)
def test_mistakes_are_told_in_a_line(
    trained: Path, pairs: Path, tmp_path: Path, capsys, arguments: list[str], message: str
) -> None:
    plain, small = tmp_path / "plain.npz", tmp_path / "small.npz"
    np.savez(plain, images=scenes(20))
    write_pairs(small, scenes(20)[:, :, :6], scenes(20)[:, :, :6])
    files = {
        "{pairs}": pairs,
        "{plain}": plain,
        "{small}": small,
        "{file}": trained / "generator.safetensors",
    }
    told = [str(files.get(word, word)) for word in arguments]
    assert main(["gan", *told]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("rlkit: ")
    assert message in error
