"""A generator of rare classes is used where others vouch for each class, and nowhere else."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from rlkit.divergence import DivergenceError
from rlkit.gan import rare_generation
from rlkit.gan.class_judging import ClassThresholds
from rlkit.gan.configuration import GANConfig
from rlkit.gan.features import FeatureConfig
from rlkit.gan.gan import GAN
from rlkit.gan.quality_gate import GateError, QualityThresholds
from rlkit.gan.rare_generation import RareGenerationConfig, learn_rare
from rlkit.gan.synthetic_share import SyntheticShare

LABELS = np.repeat([0, 1, 2], [500, 70, 70])
RARE = {1: "storm", 2: "quake"}
CENTRES = np.array([[0, 0, 0], [6, 0, 0], [0, 6, 6]], np.float32)
TINY = RareGenerationConfig(
    gan=GANConfig(latents=2, hidden_sizes=(4, 4), batch_size=30),
    steps=2,
    rows_of_class=30,
    judge=FeatureConfig(features=3, epochs=10),
    # In three dimensions rows come near each other by chance.
    thresholds=QualityThresholds(min_rows=60, max_copied=0.2),
    class_thresholds=ClassThresholds(min_rows=10, max_copied=0.3),
)


def rows_of(labels: NDArray[np.int64], seed: int) -> NDArray[Any]:
    noise = np.random.default_rng(seed).normal(size=(len(labels), 3))
    return CENTRES[labels] + noise.astype(np.float32)


DATA = rows_of(LABELS, 0)


class Oracle(GAN):
    """Makes rows as real ones are made, of another class in place of some."""

    wrong: dict[int, int]

    def sample(self, count: int, labels: Any = None, seed: int | None = None, **_: Any) -> Any:
        wanted = np.broadcast_to(np.asarray(labels), (count,)).copy()
        for label, other in self.wrong.items():
            wanted[wanted == label] = other
        return rows_of(wanted, 1_000 + (seed or 0))


def with_oracle(monkeypatch: pytest.MonkeyPatch, wrong: dict[int, int]) -> list[Any]:
    """Put an oracle in the place of every generator; the list gets what each learnt from."""
    given: list[Any] = []

    def trained(data: Any, labels: Any, config: RareGenerationConfig, seed: int) -> GAN:
        given.append((data, labels))
        oracle = Oracle(config.gan, epochs=1).fit(DATA[::10], LABELS[::10])
        oracle.wrong = wrong
        return oracle

    monkeypatch.setattr(rare_generation, "_trained", trained)
    return given


def test_classes_that_pass_are_admitted(monkeypatch: pytest.MonkeyPatch) -> None:
    given = with_oracle(monkeypatch, {})
    generator = learn_rare(DATA, LABELS, RARE, TINY)
    assert generator.reasons == ()
    assert generator.usable == (1, 2)
    # A half was held back: 30 % taught the judge, 20 % were compared.
    (learnt, kinds), *_ = given
    assert np.bincount(kinds).tolist() == [250, 35, 35]
    share = SyntheticShare(0.5)
    assert generator.admit_to(share, 9, seed=0) == (1, 2)
    filled = share.oversampled(
        torch.from_numpy(learnt), torch.from_numpy(kinds), random=torch.Generator().manual_seed(0)
    )
    assert int(filled.synthetic.sum()) == 320  # as many as there are real rows, as the cap allows
    assert len(filled.rows[filled.synthetic].unique(dim=0)) == 18


def test_a_class_that_fails_is_kept_out_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with_oracle(monkeypatch, {2: 0})
    lenient = replace(
        TINY,
        thresholds=QualityThresholds(
            min_rows=60,
            max_copied=0.2,
            min_class_ratio=0.0,
            min_conditional_accuracy_ratio=0.5,
            max_kid=9.0,
            max_fid_per_feature=9.0,
        ),
    )
    generator = learn_rare(DATA, LABELS, RARE, lenient)
    assert generator.usable == (1,)
    assert any(reason.startswith("quake: rows do not show") for reason in generator.reasons)
    assert not any("storm" in reason for reason in generator.reasons)
    share = SyntheticShare()
    assert generator.admit_to(share, 9, seed=0) == (1,)
    assert share.metrics()["synthetic/admitted"] == 9


def test_nothing_is_used_where_all_classes_together_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    with_oracle(monkeypatch, {0: 1})
    generator = learn_rare(DATA, LABELS, RARE, TINY)
    assert all(verdict.passed for verdict in generator.classes.values())
    assert generator.usable == ()
    share = SyntheticShare()
    with pytest.raises(GateError, match="the generated distribution is far from the real one"):
        generator.admit_to(share, 9, seed=0)
    assert share.metrics()["synthetic/admitted"] == 0


def test_classes_of_few_rows_are_refused_and_learnt_from_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = with_oracle(monkeypatch, {})
    strict = replace(TINY, class_thresholds=ClassThresholds())
    generator = learn_rare(DATA, LABELS, RARE, strict)
    assert generator.verdict is None
    assert generator.usable == ()
    assert generator.reasons == tuple(
        f"{name}: only 14 real rows can be held back to compare with, and fewer than 30 prove"
        " nothing"
        for name in RARE.values()
    )
    assert len(given[0][0]) == len(DATA)
    few = learn_rare(DATA, LABELS, RARE, replace(TINY, thresholds=QualityThresholds()))
    assert few.reasons == (
        "only 128 real rows can be held back to compare with, and fewer than 400 prove little",
    )
    with pytest.raises(GateError, match="only 128 real rows"):
        few.admit_to(SyntheticShare(), 9, seed=0)


def test_a_class_of_few_rows_does_not_hold_up_others(monkeypatch: pytest.MonkeyPatch) -> None:
    with_oracle(monkeypatch, {})
    labels = np.repeat([0, 1, 2], [500, 120, 20])
    generator = learn_rare(rows_of(labels, 0), labels, RARE, TINY)
    assert generator.usable == (1,)
    assert [reason[:19] for reason in generator.reasons] == ["quake: only 4 real "]


def test_the_generator_is_shown_all_classes_equally_often(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []

    def fit(self: GAN, data: Any, labels: Any) -> GAN:
        shown.append((self.config, data, labels))
        raise DivergenceError("training collapsed by epoch 1")

    monkeypatch.setattr(GAN, "fit", fit)
    generator = learn_rare(DATA, LABELS, RARE, TINY, seed=3)
    ((config, data, labels),) = shown
    assert np.bincount(labels).tolist() == [30, 30, 30]
    assert len(np.unique(data[labels == 1], axis=0)) == 30
    # Two steps are one pass over 90 rows in batches of 30, of which one is too many.
    assert (config.epochs, config.seed, config.latents) == (1, 3, 2)
    assert generator.gan is None
    assert generator.usable == ()
    assert generator.reasons[0] == "training collapsed by epoch 1"
    with pytest.raises(GateError, match="there is no generator: training collapsed"):
        generator.sample((1,), 3, 0)


def test_a_trained_generator_makes_the_classes_that_it_is_asked_for() -> None:
    generator = learn_rare(DATA, LABELS, RARE, TINY)
    rows, labels = generator.sample((1, 2), 4, seed=0)
    assert rows.shape == (8, 3)
    assert labels.tolist() == [1] * 4 + [2] * 4
    assert generator.verdict is not None
    assert not generator.usable  # after two steps


def test_classes_that_are_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match="rare classes are not there: 7"):
        learn_rare(DATA, LABELS, {7: "flood"}, TINY)
    with pytest.raises(ValueError, match="rare classes are not there: none are named"):
        learn_rare(DATA, LABELS, {}, TINY)
    with pytest.raises(ValueError, match="rare beside another, and there is one class"):
        learn_rare(DATA, np.ones_like(LABELS), {1: "flood"}, TINY)
    with pytest.raises(ValueError, match="rows_of_class must be at least 2, got 1"):
        RareGenerationConfig(rows_of_class=1)
