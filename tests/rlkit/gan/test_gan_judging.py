"""Parts of a data set are disjoint and alike, and a judge tells good generators from bad ones."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlkit.gan.features import FeatureConfig
from rlkit.gan.gan import GAN
from rlkit.gan.judging import JUDGE, UNSEEN, Judge, Parts, SplitConfig, digest, parted

ROWS = np.random.default_rng(0).normal([0.0, 5.0, 9.0], [1.0, 2.0, 0.1], (400, 3))
ROWS = ROWS.astype(np.float32)
LABELS = (ROWS[:, 0] > 0.0).astype(np.int64)
FEATURES = FeatureConfig(epochs=15, features=4, batch_size=16)


@given(st.integers(1, 300), st.integers(1, 4), st.integers(0, 5), st.booleans())
@settings(deadline=None, max_examples=50)
def test_every_row_is_in_one_part(count: int, classes: int, seed: int, labelled: bool) -> None:
    labels = np.random.default_rng(seed).integers(0, classes, count) if labelled else None
    parts = parted(count, labels, SplitConfig(seed=seed))
    every = np.concatenate([parts.learnt, parts.judge, parts.compared])
    assert sorted(every.tolist()) == list(range(count))
    assert (len(parts.judge), len(parts.compared)) == (round(0.3 * count), round(0.2 * count))


def test_parts_have_the_same_mixture_of_labels() -> None:
    labels = np.repeat([0, 3, 7], [500, 300, 20])
    parts = parted(820, labels, SplitConfig())
    for part, share in ((parts.learnt, 0.5), (parts.judge, 0.3), (parts.compared, 0.2)):
        _, counts = np.unique(labels[part], return_counts=True)
        assert np.abs(counts - share * np.array([500, 300, 20])).max() <= 1
    other = parted(820, labels, SplitConfig(seed=1))
    assert not np.array_equal(other.learnt, parts.learnt)


def test_what_is_capped_goes_to_the_generator() -> None:
    parts = parted(100, None, SplitConfig(most_judge=7, most_compared=4))
    assert [len(part) for part in (parts.learnt, parts.judge, parts.compared)] == [89, 7, 4]
    assert len(parted(100, None, UNSEEN).learnt) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"judge_share": 0.0}, r"judge_share must be in \(0, 1\), got 0.0"),
        ({"judge_share": 0.6, "compared_share": 0.5}, "more than 1 together"),
        ({"most_compared": 0}, "most_compared must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_splits_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SplitConfig(**changes)


def test_a_digest_knows_data_again() -> None:
    told = digest(ROWS, LABELS)
    assert told == digest(ROWS.copy(), LABELS.copy())
    changed = ROWS.copy()
    changed[5, 1] += 1.0
    others = [digest(changed, LABELS), digest(ROWS, 1 - LABELS), digest(ROWS, None)]
    assert len({told, digest(ROWS.reshape(-1, 2), LABELS), *others}) == 5


class Copier(GAN):
    """Makes rows that it was given, of the labels that it is asked for."""

    def give(self, rows: np.ndarray, labels: np.ndarray) -> "Copier":
        self.rows, self.labels = rows, labels
        self.shape_, self.classes_ = rows.shape[1:], np.unique(labels)
        return self

    def sample(
        self, count: int, labels: Any = None, seed: int | None = None, *, truncation: float = 1.0
    ) -> np.ndarray:
        places = {label: iter(np.flatnonzero(self.labels == label)) for label in (0, 1)}
        return self.rows[[next(places[label]) for label in labels]]


def test_a_judge_confirms_the_labels_of_real_rows_and_no_wrong_ones() -> None:
    others = np.random.default_rng(1).normal([0.0, 5.0, 9.0], [1.0, 2.0, 0.1], (400, 3))
    others = others.astype(np.float32)
    labels = (others[:, 0] > 0.0).astype(np.int64)
    judge = Judge(ROWS, LABELS, parted(400, LABELS, SplitConfig()), features=FEATURES, splits=1)
    right = judge.verdict(Copier().give(others, labels)).quality
    wrong = judge.verdict(Copier().give(others, 1 - labels)).quality
    assert right.rows == 40
    assert right.pretext == "classes"
    assert right.conditional_accuracy is not None
    assert wrong.conditional_accuracy is not None
    assert right.conditional_accuracy.generated.mean > 0.85
    assert wrong.conditional_accuracy.generated.mean < 0.15
    assert right.conditional_accuracy.floor.mean > 0.85
    assert right.memorising is not None
    assert right.memorising.copied < 0.3


def test_a_judge_finds_copies_of_what_was_learnt_from() -> None:
    parts = parted(400, LABELS, SplitConfig())
    copier = Copier().give(ROWS[parts.learnt], LABELS[parts.learnt])
    seen = Judge(ROWS, LABELS, parts, features=FEATURES, splits=1).verdict(copier)
    assert seen.quality.memorising is not None
    assert seen.quality.memorising.copied == 1.0
    assert any("training rows are copied" in reason for reason in seen.reasons)
    unseen = Parts(parts.learnt[:0], parts.judge, parts.compared)
    assert Judge(ROWS, LABELS, unseen, features=FEATURES).training is None
    given_rows: dict[str, Any] = {"features": FEATURES, "training": ROWS[parts.learnt], "splits": 1}
    told = Judge(ROWS, LABELS, unseen, **given_rows)
    assert told.verdict(copier).quality == seen.quality


def test_a_judge_needs_enough_rows_and_the_same_kind() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (300, 1, 8, 8)).astype(np.uint8)
    parts = parted(300, None, SplitConfig())
    assert JUDGE.features == 64
    with pytest.raises(ValueError, match=r"60 rows are left .* 64 features need 130"):
        Judge(pictures, None, parts, features=FeatureConfig(epochs=1))
    judge = Judge(pictures, None, parts, features=FeatureConfig(epochs=1, features=4))
    gan = GAN(epochs=1, latents=3, hidden_sizes=(4, 4)).fit(ROWS)
    with pytest.raises(ValueError, match=r"shape \(3,\), and these are \(1, 8, 8\)"):
        judge.verdict(gan)


def test_a_gan_without_labels_is_judged_by_features_of_classes() -> None:
    gan = GAN(epochs=1, latents=3, hidden_sizes=(4, 4)).fit(ROWS)
    judge = Judge(ROWS, LABELS, parted(400, LABELS, SplitConfig()), features=FEATURES, splits=1)
    quality = judge.verdict(gan).quality
    assert quality.least_class_ratio is not None
    assert quality.conditional_accuracy is None
    assert quality.splits == 1
    assert judge.verdict(gan).quality == quality
    assert judge.verdict(gan, truncation=0.1).quality != quality


def test_rows_of_one_class_are_judged_as_rows_without() -> None:
    alike = np.full(400, 1)
    gan = GAN(epochs=1, latents=3, hidden_sizes=(4, 4))
    parts = parted(400, alike, SplitConfig())
    judge = Judge(ROWS, alike, parts, features=FEATURES, splits=1)
    assert Judge(ROWS, None, parts, features=FEATURES, splits=1).extractor.pretext == "components"
    quality = judge.verdict(gan.fit(ROWS, alike)).quality
    assert quality.pretext == "components"
    assert quality.conditional_accuracy is None
    # Of a GAN that knows more classes, rows of this one are asked for.
    ones = np.flatnonzero(LABELS)
    of_one = Judge(ROWS, LABELS, Parts(ones[:0], ones[:80], ones[80:120]), features=FEATURES)
    assert of_one.verdict(Copier().give(ROWS[ones], LABELS[ones])).quality.splits == 5
