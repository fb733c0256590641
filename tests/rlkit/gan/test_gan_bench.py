"""Losses are compared on the same rows by the same judge, and a broken-off comparison goes on."""

import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlkit.cli.main import main
from rlkit.divergence import DivergenceError, DivergenceWarning
from rlkit.gan import loss_comparison, metrics
from rlkit.gan.configuration import GANConfig
from rlkit.gan.features import FeatureConfig
from rlkit.gan.gan import GAN
from rlkit.gan.loss_comparison import (
    CONTESTANTS,
    DEFAULT,
    LossComparisonConfig,
    compare,
    summarise,
)

TINY = LossComparisonConfig(
    GANConfig(epochs=1, latents=3, channels=2, batch_size=10, average_decay=0.1),
    judge=FeatureConfig(epochs=1, features=3),
    seeds=(0, 1),
)


def pictures(count: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of 8 x 8 bytes, the left or the upper half bright, and which."""
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], count // 2)
    bright = random.integers(0, 100, (count, 1, 8, 8))
    bright[labels == 0, :, :, :4] += 150
    bright[labels == 1, :, :4] += 150
    return bright.astype(np.uint8), labels.astype(np.int64)


@pytest.fixture(autouse=True, scope="module")
def _quick_judge() -> Iterator[None]:
    """Rows are drawn once instead of five times, and told apart after few steps."""

    def one_draw(*rows: Any, **named: Any) -> metrics.Quality:
        return metrics.measure(*rows, **{**named, "splits": 1})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rlkit.gan.judging.measure", one_draw)
        patch.setattr("rlkit.gan.two_sample._STEPS", 2)
        yield


@pytest.fixture(scope="module")
def told() -> list[Any]:
    """The rows of a comparison."""
    given: list[Any] = []
    result = compare(TINY, *pictures(), on_row=given.append)
    assert given == result["rows"]
    assert json.loads(json.dumps(result)) == result
    assert "processor" in result["machine"]
    return given


def test_every_contestant_meets_every_seed_and_truncation(told: list[Any]) -> None:
    keys = [(row["contestant"], row["seed"], row["truncation"]) for row in told]
    assert len(set(keys)) == len(keys) == 2 * 2 * len(CONTESTANTS)
    for row in told:
        assert row["epochs"] == row["trained_epochs"] == 1
        assert row["stopped"] is None
        assert row["seconds"] > 0.0
        assert row["quality"]["rows"] == 12
        assert row["passed"] == (not row["reasons"])
    # All contestants of a seed are judged by the same rows, those of another by others.
    floors = {}
    for row in told:
        floors.setdefault(row["seed"], set()).add(row["quality"]["kid"]["floor"]["mean"])
    assert [len(values) for values in floors.values()] == [1, 1]
    assert floors[0] != floors[1]
    made = {(row["seed"], row["truncation"]): set() for row in told}
    for row in told:
        made[row["seed"], row["truncation"]].add(row["quality"]["fid"]["generated"]["mean"])
    assert all(len(values) == len(CONTESTANTS) for values in made.values())


def test_a_broken_off_comparison_goes_on(told: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = []
    fit = GAN.fit

    def counting(self: GAN, *given: Any, **named: Any) -> GAN:
        fitted.append((self.config.loss, self.config.r1, self.config.seed))
        return fit(self, *given, **named)

    monkeypatch.setattr(GAN, "fit", counting)
    missing = [row for row in told if not (row["contestant"] == "original" and row["seed"])]
    others = [{**told[0], "settings": "of another file"}, {**told[0], "seed": 7}]
    again = compare(TINY, *pictures(), done=[*missing, *others])["rows"]
    assert fitted == [("original", 0.0, 1)]

    def untimed(rows: list[dict[str, Any]]) -> list[str]:
        return sorted(json.dumps({**row, "seconds": 0.0}, sort_keys=True) for row in rows)

    assert untimed(again) == untimed(told)
    assert compare(TINY, *pictures(), done=told)["rows"] == told


def test_collapses_are_counted_whether_a_generator_was_kept_or_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fit = GAN.fit

    def failing(self: GAN, *given: Any, **named: Any) -> GAN:
        if self.config.loss == "hinge":
            raise DivergenceError("training collapsed by epoch 1: all alike")
        fit(self, *given, **named)
        if self.config.loss == "original" and self.config.r1:
            warnings.warn("training collapsed by epoch 9", DivergenceWarning, stacklevel=2)
        return self

    monkeypatch.setattr(GAN, "fit", failing)
    rows = compare(TINY, *pictures())["rows"]
    summary = {(row["contestant"], row["truncation"]): row for row in summarise(rows)}
    hinge, kept = summary["hinge + spectral norm", 1.0], summary["original + R1 + R2", 1.0]
    assert (hinge["stopped"], hinge["passed"], hinge["seeds"]) == (2, 0, 2)
    assert hinge["fid"] == {"generated": None, "floor": None, "beyond_default": None}
    assert kept["stopped"] == 2
    assert kept["fid"]["generated"] is not None
    assert summary[DEFAULT, 1.0]["stopped"] == 0
    (lost,) = (
        row
        for row in rows
        if row["trained_epochs"] == 0 and row["truncation"] == 0.8 and row["seed"] == 0
    )
    assert lost["stopped"] == "training collapsed by epoch 1: all alike"
    assert lost["quality"] is lost["passed"] is None


def row_of(contestant: str, seed: int, fid: float, passed: bool = True) -> dict[str, Any]:
    quality = {
        name: {"generated": {"mean": fid}, "floor": {"mean": 1.0}}
        for name in loss_comparison._SUMMARISED
    }
    told = {"contestant": contestant, "seed": seed, "truncation": 1.0, "quality": quality}
    return {**told, "stopped": None, "passed": passed, "seconds": 10.0 * (1 + seed)}


def test_summaries_are_means_over_seeds_and_paired_differences() -> None:
    rows = [row_of(DEFAULT, 0, 2.0), row_of(DEFAULT, 1, 4.0, passed=False)]
    rows += [row_of("original", 0, 5.0), row_of("original", 1, 9.0), row_of("original", 2, 1.0)]
    first, second = summarise(rows[::-1])
    assert (first["contestant"], second["contestant"]) == (DEFAULT, "original")
    assert (first["seeds"], first["passed"], second["seeds"]) == (2, 1, 3)
    # Student's t of one degree of freedom at 97.5 % is 12.706; the mean's error is 1.
    assert first["fid"]["generated"] == (3.0, pytest.approx(12.706, abs=1e-3))
    assert first["seconds"][0] == 15.0
    assert second["fid"]["generated"][0] == 5.0
    # 5 - 2 and 9 - 4, of the seeds that both have.
    assert second["fid"]["beyond_default"] == (4.0, pytest.approx(12.706, abs=1e-3))
    assert first["fid"]["beyond_default"][0] == 0.0
    assert first["fid"]["floor"] == (1.0, 0.0)


@pytest.mark.parametrize("changes", [{"seeds": ()}, {"truncations": (0.0,)}, {"truncations": ()}])
def test_comparisons_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"seeds names none|truncations must be in"):
        LossComparisonConfig(**changes)


def test_the_command_writes_lines_and_goes_on_with_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = pictures(700)
    monkeypatch.setattr("rlkit.digits.load_digits", lambda: (images[:, 0], labels))
    monkeypatch.setattr("rlkit.gan.loss_comparison.JUDGE", FeatureConfig(epochs=1))
    output = tmp_path / "losses.jsonl"
    bench = ["gan", "bench", "losses", "--seeds", "1", "--epochs", "1", "--output", str(output)]
    assert main([*bench, "--json"]) == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert told["rows"] == lines
    assert len(lines) == 2 * len(CONTESTANTS)
    assert [row["contestant"] for row in told["summary"][:4]] == list(CONTESTANTS)
    assert f"seed 0: {DEFAULT}, truncation 0.8: Fréchet" in printed.err
    assert main([each for each in bench if each != "losses"]) == 0
    printed = capsys.readouterr()
    assert "truncation 1\n" in re.sub(" +\n", "\n", printed.out)
    assert "0 of 1" in printed.out
    assert "precision" in printed.out
    assert "seed 0" not in printed.err
    assert len(output.read_text().splitlines()) == len(lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["speed"], "rlkit gan bench has no 'speed'; there are losses and rare"),
        (["losses", "--seeds", "0"], "--seeds must be at least 1"),
        (["--seeds", "0"], "--seeds must be at least 1"),
        (["--epochs", "0"], "--epochs must be at least 1"),
        (["--output", "losses.csv"], "ends in .jsonl"),
        (["--output", "{broken}"], "does not hold measurements"),
    ],
)
def test_mistakes_of_the_command_end_in_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text("no JSON\n")
    given = [str(broken) if word == "{broken}" else word for word in arguments]
    assert main(["gan", "bench", *given]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("rlkit: ")
    assert message in error


def test_help_names_the_benchmarks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gan", "bench", "--help"]) == 0
    printed = capsys.readouterr().out
    assert "rlkit gan bench losses" in printed
    assert "rlkit gan bench rare" in printed
