"""Methods for rare classes meet on the same rows, and nobody learns from what is tested on."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlkit.cli.main import main
from rlkit.gan import rare_classes
from rlkit.gan.balanced_classifier import BalancedClassifier, BalancedClassifierConfig
from rlkit.gan.class_judging import ClassQuality, ClassVerdict
from rlkit.gan.configuration import GANConfig
from rlkit.gan.gan import GAN
from rlkit.gan.labelled_rows import LabelledRows, write_labelled_rows
from rlkit.gan.memorising import Memorising
from rlkit.gan.metrics import Measured, Quality, Spread
from rlkit.gan.quality_gate import Verdict
from rlkit.gan.rare_classes import (
    METHODS,
    METRICS,
    RareClassesConfig,
    compare,
    cut_down,
    divided,
    rare_labels,
    summarise,
)
from rlkit.gan.rare_generation import RareGenerationConfig, RareGenerator

TINY = RareClassesConfig(
    rare=("storm",),
    examples=(4, 10),
    seeds=(0, 1),
    classifier=BalancedClassifierConfig(steps=3, hidden=4),
    generation=RareGenerationConfig(
        gan=GANConfig(latents=2, hidden_sizes=(4, 4), batch_size=20), steps=2, rows_of_class=20
    ),
)


def weather() -> LabelledRows:
    """Groups of ten rows: of six the last four are storms; of two all are quakes."""
    labels = np.concatenate([np.tile([0] * 6 + [1] * 4, 6), np.repeat(2, 20), np.zeros(40)])
    labels = labels.astype(np.int64)
    centres = np.array([[0, 0, 0], [3, 0, 0], [0, 3, 3]], np.float32)
    noise = np.random.default_rng(0).normal(size=(len(labels), 3)).astype(np.float32)
    names = ("calm", "storm", "quake")
    return LabelledRows(centres[labels] + noise, labels, names, np.arange(len(labels)) // 10)


@pytest.fixture(scope="module")
def told() -> list[Any]:
    given: list[Any] = []
    result = compare(TINY, weather(), on_row=given.append)
    assert result["rows"] == given
    assert json.loads(json.dumps(result)) == result
    assert "processor" in result["machine"]
    return given


def test_every_method_meets_every_number_and_seed(told: list[Any]) -> None:
    keys = {(row["method"], row["examples"], row["seed"]) for row in told}
    assert len(keys) == len(told) == len(METHODS) * 2 * 2
    for row in told:
        assert all(0.0 <= row[metric] <= 1.0 for metric in METRICS)
        assert set(row["recall"]) == {"calm", "storm", "quake"}
        assert row["rare_recall"] == row["recall"]["storm"]
        assert row["balanced_accuracy"] == pytest.approx(np.mean(list(row["recall"].values())))
        # Two of six groups with storms, one of two with quakes, one of four without.
        assert row["tested_rows"] == {"calm": 22, "storm": 8, "quake": 10}
        assert row["real_rows"] == 54 + 10 + row["examples"]
        assert row["synthetic_share"] <= TINY.max_share
        assert ("admitted" in row) == ("generated" in row["method"])


def test_where_the_gate_says_no_nothing_generated_is_used(told: list[Any]) -> None:
    of = {(row["method"], row["examples"], row["seed"]): row for row in told}
    for examples in TINY.examples:
        for seed in TINY.seeds:
            for method, within in (
                ("generated", "class weights"),
                ("generated, augmented", "augmented"),
            ):
                gated = of[method, examples, seed]
                assert gated["admitted"] == []
                assert gated["synthetic_rows"] == 0
                assert any("only" in reason for reason in gated["reasons"])
                assert gated["recall"] == of[within, examples, seed]["recall"]
                ungated = of[f"{method}, no gate", examples, seed]
                assert ungated["synthetic_share"] == pytest.approx(0.25, abs=0.02)
                assert ungated["admitted"] == []


class Zeros(GAN):
    """Makes zeros of any class."""

    def sample(self, count: int, labels: Any = None, seed: int | None = None, **_: Any) -> Any:
        return np.zeros((count, 3), np.float32)


def vouched_for(data: Any, labels: Any, rare: Any, config: Any, *, seed: int) -> RareGenerator:
    """A generator of zeros that is as good as real rows, to whoever believes these verdicts."""
    one, none, half = (
        Measured(Spread(value, value, value), Spread(value, value, value))
        for value in (1.0, 0.0, 0.5)
    )
    copies = Memorising(0.0, 0.0, 0.0)
    quality = Quality(
        rows=300,
        splits=1,
        features=3,
        pretext="classes",
        fid=none,
        kid=none,
        precision=one,
        recall=one,
        density=one,
        coverage=one,
        two_sample_accuracy=half,
        least_class_ratio=one,
        conditional_accuracy=one,
        judge_skill=0.8,
        memorising=copies,
    )
    of_class = ClassQuality(40, 0.0, one, one, one, copies)
    verdicts = {label: ClassVerdict(name, 40, of_class) for label, name in rare.items()}
    return RareGenerator(Zeros(), Verdict(quality), verdicts, ())


def test_rows_that_pass_fill_the_rare_class_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rare_classes, "learn_rare", vouched_for)
    fitted: list[tuple[Any, Any]] = []
    fit = BalancedClassifier.fit

    def noted(self: BalancedClassifier, rows: Any, labels: Any) -> BalancedClassifier:
        fitted.append((rows.numpy(), labels.numpy()))
        return fit(self, rows, labels)

    monkeypatch.setattr(BalancedClassifier, "fit", noted)
    config = RareClassesConfig(
        rare=("storm",), examples=(4,), seeds=(0,), classifier=TINY.classifier, max_share=0.2
    )
    rows = compare(config, weather())["rows"]
    (generated,) = (row for row in rows if row["method"] == "generated")
    # A fifth of 85 rows: 54 calm ones, ten quakes, four storms and seventeen that were generated.
    assert (generated["real_rows"], generated["synthetic_rows"]) == (68, 17)
    assert generated["synthetic_share"] == pytest.approx(0.2)
    assert generated["admitted"] == ["storm"]
    assert generated["reasons"] == []
    # Four classical methods, and two with generated rows, which the gate changes in no way.
    assert len(fitted) == 6
    data, labels = fitted[-1]
    zeros = (data == 0.0).all(1)
    assert zeros.sum() == 17
    assert (labels[zeros] == 1).all()
    gated, ungated = (
        next(row for row in rows if row["method"] == method)["recall"]
        for method in ("generated, augmented", "generated, augmented, no gate")
    )
    assert gated == ungated


def test_a_broken_off_comparison_goes_on(told: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[int] = []
    fit = BalancedClassifier.fit

    def counting(self: BalancedClassifier, *given: Any) -> BalancedClassifier:
        fits.append(self.config.seed)
        return fit(self, *given)

    monkeypatch.setattr(BalancedClassifier, "fit", counting)
    missing = [row for row in told if (row["method"], row["seed"]) != ("oversampled", 1)]
    other = {**told[0], "settings": "of another file"}
    again = compare(TINY, weather(), done=[*missing, other])["rows"]
    assert fits == [1, 1]  # of 4 and of 10 examples

    def untimed(rows: list[Any]) -> list[str]:
        return sorted(json.dumps({**row, "seconds": 0}, sort_keys=True) for row in rows)

    assert untimed(again) == untimed(told)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), min_size=4), st.integers(0, 5))
def test_no_group_is_on_both_sides(pairs: list[tuple[int, int]], seed: int) -> None:
    groups, labels = np.array(pairs).T
    rows = LabelledRows(np.zeros((len(groups), 1)), labels, ("a", "b", "c"), groups)
    training, test = divided(rows, 0.3, seed)
    assert sorted([*training, *test]) == list(range(len(groups)))
    assert not set(groups[training]) & set(groups[test])
    assert len(training)
    # Of classes that groups count as, each has one on both sides where there are two.
    rarity = sorted(range(3), key=lambda label: (-(labels == label).sum(), label))
    kinds: dict[int, list[int]] = {}
    for group in set(groups.tolist()):
        kinds.setdefault(max(map(rarity.index, labels[groups == group])), []).append(group)
    for members in kinds.values():
        tested = sum(group in groups[test] for group in members)
        assert len(members) < 2 or 1 <= tested < len(members)
        assert abs(tested - 0.3 * len(members)) <= 1.0


def test_fewer_examples_are_among_more() -> None:
    labels = np.repeat([0, 1, 2], [50, 30, 30])
    rare = {1: "storm", 2: "quake"}
    few, many = (cut_down(labels, rare, count, seed=1) for count in (3, 8))
    assert np.bincount(labels[few]).tolist() == [50, 3, 3]
    assert np.bincount(labels[many]).tolist() == [50, 8, 8]
    assert set(few) < set(many)
    assert set(cut_down(labels, rare, 3, seed=2)) != set(few)


def test_rare_classes_are_all_but_the_largest_unless_named() -> None:
    rows = weather()
    assert rare_labels(RareClassesConfig(), rows) == {1: "storm", 2: "quake"}
    assert rare_labels(RareClassesConfig(rare=("quake",)), rows) == {2: "quake"}
    with pytest.raises(ValueError, match="no class is called 'flood'; there are calm, storm"):
        rare_labels(RareClassesConfig(rare=("flood",)), rows)
    with pytest.raises(ValueError, match="all classes are named rare"):
        rare_labels(RareClassesConfig(rare=("calm", "storm", "quake")), rows)


def row_of(method: str, seed: int, reached: float, admitted: Any = None) -> dict[str, Any]:
    row = {"method": method, "examples": 20, "seed": seed, "synthetic_share": 0.1 * seed}
    row |= dict.fromkeys(METRICS, reached) | {"admitted": admitted or []}
    return row


def test_summaries_set_methods_beside_the_best_classical_one() -> None:
    rows = [row_of("class weights", 0, 0.5), row_of("class weights", 1, 0.7)]
    rows += [row_of("augmented", 0, 0.4), row_of("augmented", 1, 0.6), row_of("plain", 0, 0.9)]
    rows += [row_of("generated", 0, 0.7, ["storm"]), row_of("generated", 1, 0.9)]
    found = {row["method"]: row for row in summarise(rows[::-1])}
    assert list(found) == ["plain", "class weights", "augmented", "generated"]
    # Student's t of one degree of freedom at 97.5 % is 12.706; the mean's error is 0.1.
    generated = found["generated"]["macro_f1"]
    assert generated["reached"] == (pytest.approx(0.8), pytest.approx(1.2706, abs=1e-4))
    assert generated["best_classical"] == "class weights"
    # 0.7 - 0.5 and 0.9 - 0.7: pairs leave out what seeds have in common.
    assert generated["beyond_classical"] == (pytest.approx(0.2), pytest.approx(0.0, abs=1e-9))
    assert found["generated"]["admitted"] == 1
    assert found["generated"]["synthetic_share"][0] == pytest.approx(0.05)
    assert found["augmented"]["rare_recall"]["beyond_classical"][0] == pytest.approx(-0.1)
    assert found["plain"]["admitted"] is None
    assert found["plain"]["macro_f1"]["beyond_classical"] == (pytest.approx(0.4), None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": ()}, r"seeds must be numbers of at least 0, got \(\)"),
        ({"seeds": (0, -1)}, "seeds must be numbers of at least 0"),
        ({"row_noise": -1.0}, "noise must be finite and not negative"),
        ({"row_scaling": float("nan")}, "scaling must be finite and not negative"),
        ({"examples": (1,)}, "examples must be numbers of at least 2"),
        ({"examples": ()}, "examples must be numbers of at least 2"),
        ({"test_share": 1.0}, r"test_share must be in \(0, 1\)"),
        ({"augmentations": ("blend",)}, "no augmentation is called 'blend'"),
        ({"max_share": 1.0}, r"max_share must be in \[0, 1\)"),
    ],
)
def test_comparisons_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RareClassesConfig(**changes)


def test_too_few_examples_are_refused_before_anybody_learns() -> None:
    config = RareClassesConfig(rare=("storm",), examples=(17,), seeds=(0,))
    with pytest.raises(ValueError, match="seed 0 leaves 16 rows of 'storm' to learn from and 8 to"):
        compare(config, weather())


COMMAND = [
    *("--rare", "storm", "--examples", "4", "10", "--seeds", "1", "--classifier-steps", "3"),
    *("--generator-steps", "2", "--gan.hidden-sizes", "4", "4", "--gan.latents", "2"),
]


def test_the_command_writes_lines_and_goes_on_with_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, output = tmp_path / "weather.npz", tmp_path / "rare.jsonl"
    write_labelled_rows(file, weather())
    bench = ["gan", "bench", "rare", str(file), *COMMAND, "--output", str(output)]
    assert main([*bench, "--json"]) == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert told["rows"] == lines
    assert len(lines) == 2 * len(METHODS)
    assert "seed 0, 4 examples, class weights: balanced accuracy" in printed.err
    assert printed.err.count("fewer than 400 prove little") == 2  # once for each generator
    assert main(bench) == 0
    printed = capsys.readouterr()
    assert "seed 0" not in printed.err
    assert "weather.npz: recall of rare classes, %" in printed.out
    assert "generated: passed" in printed.out
    assert len(output.read_text().splitlines()) == len(lines)
    assert main([*bench, "--leave-out", "quake", "--json"]) == 0
    recalled = json.loads(capsys.readouterr().out)["rows"][0]["recall"]
    assert set(recalled) == {"calm", "storm"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "0"], "--seeds must be at least 1"),
        (["--rare", "flood"], "no class is called 'flood'; there are calm, storm, quake"),
        (["--leave-out", "flood"], "no class is called 'flood'"),
        (["--examples", "200"], "ask for fewer examples, leave the class out, or record more"),
        (["--output", "rare.csv"], "ends in .jsonl"),
        (["--max-share", "1"], "max_share must be in [0, 1)"),
    ],
)
def test_mistakes_of_the_command_end_in_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "weather.npz"
    write_labelled_rows(file, weather())
    assert main(["gan", "bench", "rare", str(file), *arguments]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("rlkit: ")
    assert message in error
