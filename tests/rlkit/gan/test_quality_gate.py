"""The gate lets good rows pass and stops bad ones, naming the reason."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rlkit.gan.features import FeatureConfig, FeatureExtractor, learn_features
from rlkit.gan.metrics import measure
from rlkit.gan.quality_gate import QualityThresholds, Verdict


def digits(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pictures of one of three strokes, at any place, of any strength, on noise."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    pictures = random.integers(0, 40, (count, 1, 12, 12))
    for picture, label in zip(pictures[:, 0], labels, strict=True):
        row, column = random.integers(1, 5, 2)
        ink = random.integers(120, 215)
        if label != 1:
            picture[row : row + 7, column] += ink
        if label != 0:
            picture[row + 3, column : column + 7] += ink
    return pictures.astype(np.uint8), labels


@pytest.fixture(scope="module")
def extractor() -> FeatureExtractor:
    return learn_features(
        *digits(300, 0), config=FeatureConfig(features=8, epochs=12, learning_rate=3e-3)
    )


def verdict(
    extractor: FeatureExtractor, fake: NDArray[np.uint8], labels: NDArray[np.int64], **other: Any
) -> Verdict:
    real, real_labels = digits(400, 1)
    arguments: dict[str, Any] = {
        "training": digits(300, 0)[0],
        "real_labels": real_labels,
        "fake_labels": labels,
        "splits": 1,
        **other,
    }
    return Verdict(measure(real, fake, extractor, **arguments))


@pytest.fixture(scope="module")
def good(extractor: FeatureExtractor) -> Verdict:
    """On real rows held out, as if a perfect generator had made them."""
    return verdict(extractor, *digits(250, 2))


def test_real_rows_held_out_pass(good: Verdict) -> None:
    assert good.reasons == ()
    assert good.passed


def test_noise_is_blocked(extractor: FeatureExtractor) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (250, 1, 12, 12), dtype=np.uint8)
    judged = verdict(extractor, noise, digits(250, 2)[1])
    assert not judged.passed
    told = " ".join(judged.reasons)
    assert "Fréchet distance" in told
    assert "look like no real one: precision" in told
    assert "tells generated from real" in told


def test_a_collapsed_generator_is_blocked(extractor: FeatureExtractor) -> None:
    pictures, labels = digits(3, 2)
    noise = np.random.default_rng(4).integers(0, 5, (250, 1, 12, 12), dtype=np.uint8)
    chosen = np.arange(250) % 3
    judged = verdict(extractor, pictures[chosen] + noise, labels[chosen])
    assert not judged.passed
    assert any("never generated: coverage" in reason for reason in judged.reasons)
    assert any("never generated: recall" in reason for reason in judged.reasons)
    assert not any("labels" in reason for reason in judged.reasons)


def test_a_missing_class_is_blocked_by_name(extractor: FeatureExtractor) -> None:
    pictures, labels = digits(600, 2)
    judged = verdict(extractor, pictures[labels != 2], labels[labels != 2])
    assert any("a class is hardly ever generated" in reason for reason in judged.reasons)


def test_copies_are_blocked_for_being_copies_alone(extractor: FeatureExtractor) -> None:
    pictures, labels = digits(300, 0)
    judged = verdict(extractor, pictures[:250], labels[:250])
    assert len(judged.reasons) == 1
    assert "training rows are copied: 100.0%" in judged.reasons[0]


def test_wrong_labels_are_blocked_for_the_labels_alone(extractor: FeatureExtractor) -> None:
    pictures, labels = digits(250, 2)
    wrong = np.where(np.arange(250) % 4 == 0, (labels + 1) % 3, labels)
    judged = verdict(extractor, pictures, wrong)
    assert len(judged.reasons) == 1
    assert "do not show what their labels say" in judged.reasons[0]


def test_a_judge_who_guesses_can_confirm_no_label(extractor: FeatureExtractor) -> None:
    pictures, labels = digits(250, 2)
    _, real_labels = digits(400, 1)
    random = np.random.default_rng(5)
    # Nothing shows these labels, so that generated rows are confirmed as often as real ones.
    judged = verdict(
        extractor,
        pictures,
        random.permutation(labels),
        real_labels=random.permutation(real_labels),
    )
    known = verdict(extractor, pictures, labels)
    told = extractor.classify(digits(400, 1)[0])
    (reason,) = (reason for reason in judged.reasons if "the judge" in reason)
    assert "hardly tells the labels of real rows, and can confirm none" in reason
    assert judged.quality.judge_skill == pytest.approx(0, abs=0.15)
    by_class = [(told[real_labels == each] == each).mean() for each in range(3)]
    assert known.quality.judge_skill == pytest.approx((np.mean(by_class) - 1 / 3) / (2 / 3))
    assert np.mean(by_class) > 0.9


def test_rows_that_were_not_looked_at_for_copies_are_blocked(good: Verdict) -> None:
    judged = replace(good, quality=replace(good.quality, memorising=None))
    assert judged.reasons == ("nobody looked for copies of training rows: measure with `training`",)


def test_few_rows_prove_little(extractor: FeatureExtractor) -> None:
    judged = verdict(extractor, *digits(150, 2))
    assert judged.reasons == ("only 150 rows were compared, and fewer than 200 prove little",)
    lenient = replace(judged, thresholds=QualityThresholds(min_rows=100))
    assert lenient.passed


def test_each_threshold_can_stop_rows(good: Verdict) -> None:
    strict: dict[str, float] = {
        "min_precision_ratio": 1.5,
        "min_recall_ratio": 1.5,
        "min_density_ratio": 1.5,
        "min_coverage_ratio": 1.5,
        "max_two_sample_accuracy": 0.1,
        "min_class_ratio": 3.0,
        "min_conditional_accuracy_ratio": 1.5,
        "min_judge_skill": 1.01,
    }
    for name, value in strict.items():
        limits = replace(QualityThresholds(), **{name: value})  # type: ignore[arg-type]
        assert len(replace(good, thresholds=limits).reasons) == 1
    for measured, name in (
        (good.quality.kid, "max_kid"),
        (good.quality.fid, "max_fid_per_feature"),
    ):
        worse = replace(measured, generated=replace(measured.generated, mean=100.0))
        quality = replace(good.quality, **{name.split("_")[1]: worse})
        (reason,) = replace(good, quality=quality).reasons
        assert "is 100, above" in reason


def test_a_verdict_is_plain_json(good: Verdict) -> None:
    data = good.to_json()
    assert json.loads(json.dumps(data)) == data
    assert data["passed"] is True
    assert data["thresholds"]["min_rows"] == 200
    assert data["quality"]["rows"] == 200


def test_thresholds_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="max_kid must be at least 0, got -1"):
        QualityThresholds(max_kid=-1)
    with pytest.raises(ValueError, match="max_copied must be at least 0, got nan"):
        QualityThresholds(max_copied=float("nan"))
