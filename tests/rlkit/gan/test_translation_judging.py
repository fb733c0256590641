"""Judging translations: what passes, and which of several bad ones is stopped by what."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from rlkit.gan.features import FeatureConfig
from rlkit.gan.gan import ImageToImage
from rlkit.gan.judging import Parts
from rlkit.gan.metrics import Measured, Spread
from rlkit.gan.pairs import mean_error
from rlkit.gan.quality_gate import QualityThresholds
from rlkit.gan.translation_judging import (
    TranslationJudge,
    TranslationThresholds,
    TranslationVerdict,
    pairs_digest,
    told_against,
)

PARTS = Parts(learnt=np.arange(0), judge=np.arange(300), compared=np.arange(300, 700))
QUICK = FeatureConfig(features=8, epochs=6)


def scenes(count: int, seed: int = 0) -> np.ndarray:
    """Grey with a box of another grey, (count, 1, 12, 12) bytes."""
    random = np.random.default_rng(seed)
    pictures = np.full((count, 1, 12, 12), 120, np.uint8)
    boxes = random.integers(0, 8, (count, 2)), random.integers(0, 2, count)
    for picture, (row, column), bright in zip(pictures, *boxes, strict=True):
        picture[0, row : row + 5, column : column + 5] = 200 if bright else 40
    return pictures


def noisy(pictures: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0.0, 12.0, pictures.shape)
    return np.clip(np.rint(pictures + noise), 0, 255).astype(np.uint8)


INPUTS = scenes(700)
TARGETS = noisy(INPUTS, seed=1)


@pytest.fixture(scope="module")
def judge() -> TranslationJudge:
    return TranslationJudge(INPUTS, TARGETS, PARTS, features=QUICK, splits=2)


def test_targets_in_place_of_translations_are_their_own_floor(judge: TranslationJudge) -> None:
    verdict = judge.verdict_on(judge.targets)
    assert verdict.passed
    assert verdict.quality.error == 0.0
    pairs = verdict.quality.pairs
    for name in ("fid", "kid", "precision", "recall", "density", "coverage", "two_sample_accuracy"):
        measured: Measured = getattr(pairs, name)
        assert measured.generated == measured.floor, name
    assert pairs.conditional_accuracy is not None
    assert pairs.conditional_accuracy.generated == pairs.conditional_accuracy.floor
    assert pairs.least_class_ratio is None
    assert pairs.memorising is None
    assert pairs.rows == 200


def test_another_draw_of_what_is_random_passes_though_its_error_is_larger(
    judge: TranslationJudge,
) -> None:
    verdict = judge.verdict_on(noisy(judge.inputs, seed=2))
    assert verdict.passed, verdict.reasons
    assert verdict.quality.unchanged_error == mean_error(judge.inputs, judge.targets)
    # Two normal draws differ by sqrt(2) times as much as one from its mean.
    assert verdict.quality.unchanged_error is not None
    ratio = verdict.quality.error / verdict.quality.unchanged_error
    assert ratio == pytest.approx(math.sqrt(2.0), abs=0.05)


def blurred(pictures: np.ndarray) -> np.ndarray:
    return np.rint(gaussian_filter(pictures.astype(float), (0, 0, 0.7, 0.7))).astype(np.uint8)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("left", "translations are not taken for the targets"),
        ("mixed", "translations are not taken for the targets"),
        ("blurred", "a classifier tells generated from real rows"),
        ("mean", "much of what is real is never generated"),
        ("quiet", "much of what is real is never generated"),
        ("inverted", "translations are off by"),
        ("alike", "translations are off by"),
    ],
)
def test_bad_translations_are_stopped(judge: TranslationJudge, kind: str, reason: str) -> None:
    inputs, targets = judge.inputs, judge.targets
    outputs = {
        "left": inputs,
        "mixed": np.roll(targets, 7, 0),
        "blurred": blurred(targets),
        "mean": np.mean([noisy(inputs, seed) for seed in range(2, 8)], 0).round().astype(np.uint8),
        "quiet": np.rint(inputs + 0.3 * (targets.astype(float) - inputs)).astype(np.uint8),
        "inverted": 255 - targets,
        "alike": np.repeat(targets[:1], len(targets), 0),
    }[kind]
    verdict = judge.verdict_on(outputs)
    assert not verdict.passed
    assert any(each.startswith(reason) for each in verdict.reasons), verdict.reasons


def test_reasons_name_what_was_measured_and_the_limit(judge: TranslationJudge) -> None:
    good = judge.verdict_on(judge.targets).quality
    beside = Measured(Spread(0.5, 0.5, 0.5), Spread(0.8, 0.8, 0.8))
    worse = replace(
        good,
        error=24.0,
        unchanged_error=10.0,
        pairs=replace(good.pairs, conditional_accuracy=beside),
    )
    assert TranslationVerdict(worse).reasons == (
        "translations are not taken for the targets of their pictures: the share that is is 0.5,"
        " below 0.72; targets have 0.8",
        "translations are off by 24 levels, above 22; pictures left as they are by 10",
    )
    lenient = TranslationThresholds(
        QualityThresholds(min_conditional_accuracy_ratio=0.6), max_error_ratio=2.5
    )
    assert TranslationVerdict(worse, lenient).passed
    # Of other channels nothing was left as it is, and a number that is none passes nothing.
    assert len(TranslationVerdict(replace(worse, unchanged_error=None)).reasons) == 1
    assert any(
        "off by nan" in reason
        for reason in TranslationVerdict(replace(worse, error=math.nan)).reasons
    )
    few = replace(good, pairs=replace(good.pairs, rows=199))
    assert TranslationVerdict(few).reasons[0].startswith("only 199 rows were compared")
    blind = Measured(Spread(0.4, 0.4, 0.4), Spread(0.4, 0.4, 0.4))
    unsure = replace(good, pairs=replace(good.pairs, conditional_accuracy=blind))
    assert TranslationVerdict(unsure).reasons == (
        "the judge takes only 40% of the targets for what they are, and can vouch for little: give"
        " it more pairs or epochs",
    )
    with pytest.raises(ValueError, match="max_error_ratio must be at least 0"):
        TranslationThresholds(max_error_ratio=-1.0)


def test_a_verdict_can_be_stored_and_is_found_again(judge: TranslationJudge) -> None:
    good, bad = judge.verdict_on(judge.targets), judge.verdict_on(judge.inputs)
    for verdict in (good, bad):
        stored = json.loads(json.dumps(verdict.to_json(), allow_nan=False))
        assert stored["passed"] == verdict.passed
        assert told_against({"verdict": stored}) == verdict.reasons
    assert told_against({}) == told_against({"verdict": True}) == ("nobody judged it",)
    for odd in ({"passed": 1}, {"passed": "True", "reasons": "none"}, {"reasons": []}):
        assert told_against({"verdict": odd}) == ("its verdict is against it",)


def test_a_fit_anew_forgets_the_verdict_on_the_one_before() -> None:
    estimator = ImageToImage(channels=2, most_channels=2, epochs=1, patch_halvings=1)
    estimator.fit(INPUTS[:8], TARGETS[:8])
    estimator.provenance = {"verdict": {"passed": True}}
    estimator.fit(INPUTS[:8], 255 - TARGETS[:8])
    assert told_against(estimator.provenance) == ("nobody judged it",)


def test_an_estimator_is_judged_by_what_it_makes(judge: TranslationJudge) -> None:
    estimator = ImageToImage(channels=2, most_channels=2, epochs=1, patch_halvings=1)
    estimator.fit(INPUTS[:8], TARGETS[:8])
    verdict = judge.verdict(estimator, seed=3)
    expected = judge.verdict_on(estimator.transform(judge.inputs, seed=3), seed=3)
    assert verdict == expected
    assert not verdict.passed
    with pytest.raises(ValueError, match=r"shape \(1, 12, 12\) become 2 channels"):
        judge.verdict(estimator.fit(INPUTS[:8], np.repeat(TARGETS[:8], 2, 1)))


def test_targets_may_have_other_channels() -> None:
    targets = np.concatenate((TARGETS, 255 - TARGETS), 1)
    judge = TranslationJudge(INPUTS, targets, PARTS, features=QUICK, splits=1)
    good = judge.verdict_on(judge.targets)
    assert good.passed
    assert good.quality.unchanged_error is None
    assert not judge.verdict_on(np.roll(judge.targets, 3, 0)).passed


def test_what_smoothing_leaves_alone_can_be_judged_all_the_same() -> None:
    """Stripes of four pixels are their own medians; here what is wanted is them without noise."""
    stripes = np.full((700, 1, 12, 12), 60, np.uint8)
    places = np.random.default_rng(0).integers(0, 3, 700)
    for picture, place in zip(stripes, places, strict=True):
        picture[0, :, 4 * place : 4 * place + 4] = 160
    longer = replace(QUICK, epochs=20)
    judge = TranslationJudge(noisy(stripes, 0), stripes, PARTS, features=longer, splits=1)
    assert len(judge.extractor.classes) == 4
    assert judge.verdict_on(judge.targets).passed, judge.verdict_on(judge.targets).reasons
    assert not judge.verdict_on(judge.inputs).passed
    assert not judge.verdict_on(np.roll(judge.targets, 1, 0)).passed
    with pytest.raises(ValueError, match="all but alike: there is nothing to judge"):
        TranslationJudge(stripes * 0, stripes * 0, PARTS, features=QUICK)


def test_too_few_pairs_show_before_any_training() -> None:
    few = replace(PARTS, compared=np.arange(300, 317))
    with pytest.raises(ValueError, match=r"17 pairs are left to compare with .* need 18"):
        TranslationJudge(INPUTS, TARGETS, few, features=QUICK)


def test_pairs_are_known_again_by_both_halves() -> None:
    known = pairs_digest(INPUTS, TARGETS)
    assert pairs_digest(INPUTS.copy(), TARGETS.copy()) == known
    assert pairs_digest(TARGETS, INPUTS) != known
    assert pairs_digest(INPUTS, np.roll(TARGETS, 1, 0)) != known
