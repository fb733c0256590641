"""Everything that is measured of generated rows, beside what real rows score."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rlkit.gan.features import FeatureConfig, FeatureExtractor, learn_features
from rlkit.gan.metrics import Quality, _least_class_ratio, measure

CLASSES = 4


def clusters(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Rows of six numbers around one of four corners, which is the label."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count)
    corners = 4.0 * np.array([[0, 0], [0, 1], [1, 0], [1, 1]])[labels]
    rows = np.concatenate([corners, np.zeros((count, 4))], 1) + random.normal(size=(count, 6))
    return rows.astype(np.float32), labels


@pytest.fixture(scope="module")
def extractor() -> FeatureExtractor:
    return learn_features(
        *clusters(300, 0), config=FeatureConfig(features=6, epochs=30, learning_rate=5e-3)
    )


def judged(extractor: FeatureExtractor, fake: NDArray[Any], **arguments: Any) -> Quality:
    real, _ = clusters(400, 1)
    return measure(real, fake, extractor, **{"splits": 1, **arguments})


def test_other_real_rows_score_as_the_floor(extractor: FeatureExtractor) -> None:
    fake, labels = clusters(200, 2)
    quality = judged(
        extractor,
        fake,
        training=clusters(300, 0)[0],
        real_labels=clusters(400, 1)[1],
        fake_labels=labels,
        splits=3,
    )
    assert (quality.rows, quality.splits, quality.features) == (200, 3, 6)
    assert quality.fid.generated.mean < 3 * quality.fid.floor.mean
    assert abs(quality.kid.generated.mean) < 0.1
    assert quality.density.generated.mean == pytest.approx(1, abs=0.15)
    assert quality.coverage.generated.mean == pytest.approx(quality.coverage.floor.mean, abs=0.05)
    assert quality.two_sample_accuracy.generated.mean < 0.6
    assert quality.conditional_accuracy is not None
    assert quality.conditional_accuracy.generated.mean > 0.9
    assert quality.memorising is not None
    assert quality.memorising.copied == pytest.approx(quality.memorising.copied_floor, abs=0.02)
    for measured in (quality.fid, quality.kid):
        assert measured.floor.low <= measured.floor.mean <= measured.floor.high
        assert measured.floor.low < measured.floor.high


def test_conditional_accuracy_of_labels_made_by_hand(extractor: FeatureExtractor) -> None:
    corners = 4.0 * np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    fake = np.zeros((200, 6), np.float32)
    fake[:, :2] = np.tile(corners, (50, 1))
    labels = np.tile(np.arange(4), 50)
    labels[labels == 3] = 1  # one class of four is taken for another
    quality = judged(
        extractor,
        fake + np.random.default_rng(0).normal(0, 0.1, fake.shape).astype(np.float32),
        real_labels=clusters(400, 1)[1],
        fake_labels=labels,
    )
    assert quality.conditional_accuracy is not None
    assert quality.conditional_accuracy.generated.mean == 0.75
    assert quality.conditional_accuracy.floor.mean > 0.9


def test_a_dropped_class_shows_in_recall_and_distance(extractor: FeatureExtractor) -> None:
    fake, labels = clusters(400, 3)
    quality = judged(extractor, fake[labels != 0])
    assert quality.fid.generated.mean > 3 * quality.fid.floor.mean
    assert quality.kid.generated.mean > quality.kid.floor.mean + 0.1
    assert quality.coverage.generated.mean == pytest.approx(
        0.75 * quality.coverage.floor.mean, abs=0.12
    )
    assert quality.precision.generated.mean > 0.9
    assert quality.least_class_ratio is not None
    assert (
        quality.least_class_ratio.generated.mean < 0.3 < 0.6 < quality.least_class_ratio.floor.mean
    )


def test_the_least_class_is_found_among_labels_made_by_hand() -> None:
    real = np.array([3, 3, 3, 3, 5, 5, 9])
    assert _least_class_ratio(real, np.array([3, 3, 5, 5, 5, 9, 9])) == 0.5
    assert _least_class_ratio(real, np.array([3, 3, 3, 5, 5, 5, 5])) == 0.0
    assert _least_class_ratio(real, real) == 1.0


def test_features_without_classes_judge_no_classes() -> None:
    rows, labels = clusters(60, 1)
    extractor = learn_features(clusters(100, 0)[0])
    assert measure(rows, rows[:30] + 0.1, extractor, splits=1).least_class_ratio is None
    with pytest.raises(ValueError, match="without labels cannot confirm"):
        measure(rows, rows, extractor, real_labels=labels, fake_labels=labels)


def test_the_same_arguments_give_the_same_plain_json(extractor: FeatureExtractor) -> None:
    fake, _ = clusters(100, 4)
    first, second = (judged(extractor, fake, seed=7).to_json() for _ in range(2))
    assert first == second
    assert json.loads(json.dumps(first)) == first
    assert first["rows"] == 100
    assert first["memorising"] is None
    assert set(first["fid"]["floor"]) == {"mean", "low", "high"}


def test_the_floor_does_not_see_the_generated_rows(extractor: FeatureExtractor) -> None:
    good, bad = (judged(extractor, clusters(200, 5)[0] + shift) for shift in (0, 50))
    for name in ("fid", "kid", "precision", "recall", "density", "coverage"):
        assert getattr(good, name).floor == getattr(bad, name).floor
        assert getattr(good, name).generated != getattr(bad, name).generated


def test_what_cannot_be_judged_is_refused(extractor: FeatureExtractor) -> None:
    fake, labels = clusters(50, 6)
    with pytest.raises(ValueError, match=r"400 real rows, in halves, and 50 generated.*not of 51"):
        judged(extractor, fake, rows=51)
    with pytest.raises(ValueError, match="splits must be at least 1, got 0"):
        judged(extractor, fake, splits=0)
    with pytest.raises(ValueError, match="6 features needs more than 6 rows"):
        judged(extractor, fake[:6])
    with pytest.raises(ValueError, match="the real rows have none"):
        judged(extractor, fake, fake_labels=labels)
    with pytest.raises(ValueError, match="50 generated rows need as many labels"):
        judged(extractor, fake, real_labels=clusters(400, 1)[1], fake_labels=labels[:9])
    fake[:, 0] = np.nan
    with pytest.raises(ValueError, match="generated row 0 is not finite"):
        judged(extractor, fake)
