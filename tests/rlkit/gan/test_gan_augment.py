"""`rlkit gan augment`: rare classes filled up, a share translated, and nothing past the gate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlkit.cli.main import main
from rlkit.gan.class_filling import judge_classes, lacking
from rlkit.gan.class_judging import ClassThresholds
from rlkit.gan.features import FeatureConfig, learn_features
from rlkit.gan.gan import GAN, ImageToImage
from rlkit.gan.gan_file import save
from rlkit.gan.judging import SplitConfig, digest, parted
from rlkit.gan.pairs import write_pairs

COUNTS = {0: 1000, 1: 1000, 2: 400}
NAMES = np.array(["calm", "storm", "quake"])
QUICK = ["--judge.epochs", "5", "--judge.features", "3"]


def rows_of(labels: np.ndarray, seed: int) -> np.ndarray:
    """Each class is a cloud of its own, (count, 3) float32."""
    centres = np.array([[0, 0, 0], [6, 0, 0], [0, 6, 6]], np.float32)
    noise = np.random.default_rng(seed).normal(size=(len(labels), 3))
    return centres[labels] + noise.astype(np.float32)


class Oracle(GAN):
    """Makes examples as real ones are made, or those of another class in place of one's.

    every: how many of them, the first of so many.
    """

    def set_right(
        self, labels: np.ndarray, wrong: dict[int, int] | None = None, every: int = 1
    ) -> Oracle:
        self.fit(rows_of(labels[:40], 0), labels[:40])
        self.classes_ = np.array([0, 1, 2])
        self.wrong, self.every = wrong or {}, every
        return self

    def sample(self, count: int, labels: Any = None, seed: int | None = None, **_: Any) -> Any:
        wanted = np.broadcast_to(np.asarray(labels), (count,)).copy()
        for label, other in self.wrong.items():
            wanted[np.flatnonzero(wanted == label)[:: self.every]] = other
        return rows_of(wanted, 1_000 + (seed or 0))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "quakes.npz"
    labels = np.repeat(list(COUNTS), list(COUNTS.values()))
    groups = np.arange(len(labels)) // 10
    about = np.array(json.dumps({"world": "none"}))
    np.savez(
        path,
        observations=rows_of(labels, 0),
        labels=labels,
        names=NAMES,
        groups=groups,
        about=about,
    )
    return path


def augment(
    monkeypatch: pytest.MonkeyPatch,
    source: Path,
    output: Path,
    *options: str,
    wrong: dict[int, int] | None = None,
    every: int = 1,
) -> int:
    """What the command gives with an oracle in the place of a generator."""
    with np.load(source) as archive:
        data, labels = archive["observations"], archive["labels"]
        if "synthetic" in archive:
            data, labels = data[~archive["synthetic"]], labels[~archive["synthetic"]]
    order = np.random.default_rng(0).permutation(len(labels))
    gan = Oracle(epochs=1, batch_size=20, latents=2, hidden_sizes=(4, 4)).set_right(
        labels[order], wrong, every
    )
    gan.provenance = {"digest": digest(data, labels)}
    monkeypatch.setattr("rlkit.gan.gan_file.load", lambda path: gan)
    command = ["gan", "augment", "oracle.safetensors", str(source), "--output", str(output)]
    return main([*command, *QUICK, *options])


def test_rare_classes_are_filled_up_to_the_cap(
    monkeypatch: pytest.MonkeyPatch, labelled: Path, tmp_path: Path, capsys
) -> None:
    output = tmp_path / "more.npz"
    assert augment(monkeypatch, labelled, output, "--max-share", "0.1", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    # A tenth of all: 266 of 2,666. Only the third class lacks any.
    assert told["passed"]
    assert told["synthetic"] == 266
    assert told["share"] == pytest.approx(266 / 2666)
    assert told["classes"]["quake"] == {"real": 400, "synthetic": 266}
    assert told["classes"]["calm"] == {"real": 1000, "synthetic": 0}
    assert told["class_verdicts"]["quake"]["passed"]
    assert told["reasons"] == []
    with np.load(output) as archive, np.load(labelled) as before:
        marks = archive["synthetic"]
        assert marks.dtype == bool
        assert marks.sum() == 266
        assert np.array_equal(archive["observations"][~marks], before["observations"])
        assert np.array_equal(archive["labels"][~marks], before["labels"])
        assert (archive["labels"][marks] == 2).all()
        generated = archive["observations"][marks]
        assert np.allclose(generated.mean(0), [0, 6, 6], atol=0.3)
        assert len(np.unique(generated[:, 0])) == 266
        assert np.array_equal(archive["names"], NAMES)
        assert np.array_equal(archive["groups"][~marks], before["groups"])
        assert len(np.unique(archive["groups"][marks])) == 266
        assert not np.isin(archive["groups"][marks], before["groups"]).any()
        assert archive["about"] == before["about"]


def test_all_that_lacks_is_made_up_for_where_the_cap_allows_it_and_never_twice(
    monkeypatch: pytest.MonkeyPatch, labelled: Path, tmp_path: Path, capsys
) -> None:
    once, twice = tmp_path / "once.npz", tmp_path / "twice.npz"
    assert augment(monkeypatch, labelled, once, "--max-share", "0.5") == 0
    printed = capsys.readouterr().out
    assert "3,000 examples, 600 of them generated (20.0%, at most 50.0%)" in printed
    assert "quake: 400 real, 600 generated" in printed
    # What was generated before is no ground for more.
    assert augment(monkeypatch, once, twice, "--max-share", "0.5") == 0
    assert "left out 600 generated examples" in capsys.readouterr().err
    with np.load(once) as first, np.load(twice) as second:
        for name in ("observations", "labels", "synthetic", "groups"):
            assert np.array_equal(first[name], second[name]), name


def test_a_generator_that_fails_a_rare_class_fills_up_nothing(
    monkeypatch: pytest.MonkeyPatch, labelled: Path, tmp_path: Path, capsys
) -> None:
    output = tmp_path / "more.npz"
    output.write_bytes(b"as it was")
    # A third of a sixth of all is wrong: too little to matter for the whole.
    assert augment(monkeypatch, labelled, output, "--json", wrong={2: 0}, every=3) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"]["passed"]
    assert any(reason.startswith("quake: rows do not show the") for reason in told["reasons"])
    assert told["file"] is None
    assert not told["passed"]
    assert told["synthetic"] == 0
    assert output.read_bytes() == b"as it was"


def test_a_generator_that_fails_as_a_whole_says_why(
    monkeypatch: pytest.MonkeyPatch, labelled: Path, tmp_path: Path, capsys
) -> None:
    output = tmp_path / "more.npz"
    assert augment(monkeypatch, labelled, output, wrong={0: 1}) == 1
    printed = capsys.readouterr().out
    assert "does not pass the gate, and nothing was written:" in printed
    assert "- rows do not show what their labels say" in printed
    assert not output.exists()


def test_each_class_passes_or_not_by_itself() -> None:
    labels = np.repeat([0, 1, 2, 3], [400, 300, 300, 40])
    data = rows_of(labels % 3, 0)
    parts = parted(len(labels), labels, SplitConfig(judge_share=0.4, compared_share=0.4))
    extractor = learn_features(
        data[parts.judge], labels[parts.judge], FeatureConfig(features=3, epochs=5)
    )
    gan = Oracle(epochs=1, batch_size=20, latents=2, hidden_sizes=(4, 4))
    gan.set_right(np.tile([0, 1], 20), {1: 0})
    verdicts = judge_classes(
        gan,
        data,
        labels,
        parts,
        wanted=(1, 2, 3),
        learnt=(data[parts.learnt], labels[parts.learnt]),
        extractor=extractor,
        name_of=lambda label: f"class {label}",
        thresholds=ClassThresholds(min_rows=30),
    )
    assert not verdicts[1].passed
    assert any("class 1: rows do not show the class" in each for each in verdicts[1].reasons)
    assert verdicts[2].passed, verdicts[2].reasons
    assert verdicts[3].reasons[0].startswith("class 3: only 16 real rows")


def test_what_classes_lack_is_counted_against_the_commonest() -> None:
    assert lacking(np.array([5, 5, 5, 2, 9, 9, 9])) == {2: 2}
    assert lacking(np.array([1, 1, 0, 0])) == {}
    assert lacking(np.array([], np.int64)) == {}


def brighter(verdict: Any) -> ImageToImage:
    """Adds 40 levels to pictures (1, 12, 12)."""
    pictures = np.random.default_rng(0).integers(0, 100, (8, 1, 12, 12), np.uint8)
    estimator = ImageToImage(channels=2, most_channels=2, epochs=1, patch_halvings=1)
    estimator.fit(pictures, pictures[::-1])
    with torch.no_grad():
        state = estimator.generator_.state_dict()
        state["last.weight"].zero_()
        state["last.bias"].fill_(40 / 127.5)
        state["change"].fill_(1.0)
    estimator.provenance = {} if verdict is None else {"verdict": verdict}
    return estimator


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    path = tmp_path / "pictures.npz"
    images = np.random.default_rng(1).integers(0, 100, (50, 1, 12, 12), np.uint8)
    np.savez(path, images=images, labels=np.arange(50) % 2)
    return path


def test_a_share_of_pictures_is_translated(pictures: Path, tmp_path: Path, capsys) -> None:
    file, output = tmp_path / "brighter.safetensors", tmp_path / "more.npz"
    save(file, brighter({"passed": True}))
    command = ["gan", "augment", str(file), str(pictures), "--output", str(output)]
    assert main([*command, "--max-share", "0.3", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["synthetic"] == 15
    assert sum(each["synthetic"] for each in told["classes"].values()) == 15
    with np.load(output) as archive, np.load(pictures) as before:
        marks = archive["synthetic"]
        assert np.array_equal(archive["images"][~marks], before["images"][~marks])
        assert np.array_equal(archive["images"][marks], before["images"][marks] + 40)
        assert np.array_equal(archive["labels"], before["labels"])
        assert 0 < np.flatnonzero(marks).mean() < 49  # not the first ones, nor the last
    # Those are not learnt from as if they were real, or changed again.
    again = tmp_path / "again.npz"
    command[3:] = [str(output), "--output", str(again)]
    assert main([*command, "--max-share", "0.3"]) == 0
    assert "left out 15 generated examples" in capsys.readouterr().err
    with np.load(again) as archive:
        assert len(archive["images"]) == 35
        assert archive["synthetic"].sum() == 10


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [(None, "nobody judged it"), ({"passed": False, "reasons": ["it is dull"]}, "it is dull")],
)
def test_a_translation_without_a_verdict_for_it_changes_nothing(
    pictures: Path, tmp_path: Path, capsys, verdict: Any, reason: str
) -> None:
    file, output = tmp_path / "brighter.safetensors", tmp_path / "more.npz"
    save(file, brighter(verdict))
    command = ["gan", "augment", str(file), str(pictures), "--output", str(output)]
    assert main(command) == 1
    assert f"- {reason}" in capsys.readouterr().out
    assert main([*command, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["reasons"] == [reason]
    assert told["file"] is None
    assert not output.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{look}", "{pictures}", "--truncation", "0.5"], "--truncation is for generators of"),
        (["{look}", "{pictures}", "--max-share", "1"], "--max-share must be in (0, 1), got 1.0"),
        (["{look}", "{pairs}"], "is pairs"),
        (["{look}", "boxing"], "boxing is no file"),
        (["{look}", "{large}"], "those of"),
        (["{unlabelled}", "{pictures}"], "trained without labels, and can fill up no class"),
        (["{gan}", "{large}"], "has no labels: there is no rare class"),
        (["{gan}", "{pictures}"], "has no rare class that"),
        (["{gan}", "{odd}"], "need a mark of bool each"),
    ],
)
def test_mistakes_are_told_in_a_line(
    tmp_path: Path, pictures: Path, capsys, arguments: list[str], message: str
) -> None:
    images = np.random.default_rng(1).integers(0, 100, (20, 1, 16, 16), np.uint8)
    names = ("look", "gan", "unlabelled")
    files = {f"{{{name}}}": tmp_path / f"{name}.safetensors" for name in names}
    for name in ("pairs", "large", "odd"):
        files[f"{{{name}}}"] = tmp_path / f"{name}.npz"
    save(files["{look}"], brighter({"passed": True}))
    gan = GAN(epochs=1, channels=2, latents=2, batch_size=10)
    save(files["{gan}"], gan.fit(images, np.arange(20) % 2))
    save(files["{unlabelled}"], gan.fit(images))
    write_pairs(files["{pairs}"], images, images)
    np.savez(files["{large}"], images=images)
    np.savez(files["{odd}"], images=images, labels=np.arange(20) // 12, synthetic=np.zeros(20))
    files["{pictures}"] = pictures
    told = [str(files.get(word, word)) for word in arguments]
    assert main(["gan", "augment", *told, "--output", str(tmp_path / "new.npz")]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "new.npz").exists()
