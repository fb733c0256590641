"""A class is judged by itself: whether it shows, lies where real rows lie, reaches them, copies."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rlkit.gan.balanced_classifier import BalancedClassifier
from rlkit.gan.class_judging import ClassQuality, ClassThresholds, ClassVerdict, judge_class
from rlkit.gan.features import FeatureConfig, FeatureExtractor, learn_features
from rlkit.gan.memorising import Memorising
from rlkit.gan.metrics import Measured, Spread

Judges = tuple[FeatureExtractor, BalancedClassifier]


def cloud(label: int, count: int, seed: int) -> NDArray[Any]:
    random = np.random.default_rng(seed)
    return random.normal([4.0 * label, 0.0, 0.0], 1.0, (count, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def judges() -> Judges:
    rows = np.concatenate([cloud(0, 200, 0), cloud(1, 60, 1)])
    labels = np.repeat([0, 1], [200, 60])
    extractor = learn_features(rows, labels, FeatureConfig(features=3, epochs=10))
    return extractor, BalancedClassifier(steps=100, hidden=16).fit(rows, labels)


def verdict(judges: Judges, fake: NDArray[Any]) -> ClassVerdict:
    extractor, classifier = judges
    quality = judge_class(
        cloud(1, 40, 2),
        cloud(0, 100, 3),
        fake,
        cloud(1, 90, 4),
        label=1,
        extractor=extractor,
        classifier=classifier,
    )
    return ClassVerdict("quake", 40, quality)


def test_rows_as_real_ones_pass(judges: Judges) -> None:
    told = verdict(judges, cloud(1, 300, 5))
    assert told.reasons == ()
    assert told.passed
    assert told.quality is not None
    assert told.quality.confirmed.floor.mean > 0.7
    assert told.quality.found_in_others < 0.2
    assert told.to_json()["passed"] is True


@pytest.mark.parametrize(
    ("fake", "reasons"),
    [
        # Rows of the other class, three over and over, those that were learnt from, far away.
        (cloud(0, 300, 5), ["do not show the class", "like no real one", "not reached"]),
        (np.repeat(cloud(1, 3, 5), 100, axis=0), ["not reached"]),
        (np.tile(cloud(1, 90, 4), (3, 1)) + np.float32(1e-3), ["are copied: 100.0%"]),
        (cloud(1, 300, 5) + np.array([0, 9, 0], np.float32), ["like no real one", "not reached"]),
    ],
)
def test_rows_unlike_real_ones_are_stopped(
    judges: Judges, fake: NDArray[Any], reasons: list[str]
) -> None:
    told = verdict(judges, fake)
    assert not told.passed
    for expected in reasons:
        assert any(expected in reason for reason in told.reasons)
    assert all(reason.startswith("quake: ") for reason in told.reasons)


def quality_of(floor: float = 0.8, others: float = 0.1, **changes: float) -> ClassQuality:
    def measured(name: str) -> Measured:
        value = changes.get(name, 1.0)
        return Measured(Spread(value, value, value), Spread(floor, floor, floor))

    copies = Memorising(changes.get("copied", 0.0), 0.02, 0.0)
    return ClassQuality(
        40, others, measured("confirmed"), measured("precision"), measured("coverage"), copies
    )


@pytest.mark.parametrize(
    ("quality", "reason"),
    [
        # 0.9 of a floor of 0.8 is 0.72, 0.8 of it is 0.64; two points and five may be copies.
        (quality_of(confirmed=0.73), None),
        (quality_of(confirmed=0.71), "confirmed 0.71, below 0.72; real rows have 0.8"),
        (quality_of(precision=0.65), None),
        (quality_of(precision=0.63), "precision 0.63, below 0.64"),
        (quality_of(coverage=0.63), "coverage 0.63, below 0.64"),
        (quality_of(copied=0.06), None),
        (quality_of(copied=0.08), "8.0% of the generated rows are copies, against 2.0%"),
        # A judge that finds a class in others half as often as in itself tells nothing.
        (quality_of(floor=0.8, others=0.41), "in 80% of the real rows of it, and in 41% of others"),
        (quality_of(floor=0.0, others=0.0), "hardly tells it"),
    ],
)
def test_limits_are_relative_to_real_rows(quality: ClassQuality, reason: str | None) -> None:
    told = ClassVerdict("quake", 40, quality)
    assert len(told.reasons) == (reason is not None)
    if reason is not None:
        assert reason in told.reasons[0]


def test_few_rows_prove_nothing() -> None:
    told = ClassVerdict("quake", 4, None)
    assert told.reasons == (
        "quake: only 4 real rows can be held back to compare with, and fewer than 30 prove nothing",
    )
    assert not ClassVerdict("quake", 29, quality_of()).passed
    assert ClassVerdict("quake", 29, quality_of(), ClassThresholds(min_rows=29)).passed
    with pytest.raises(ValueError, match="max_copied must be at least 0, got -1"):
        ClassThresholds(max_copied=-1)


def test_too_few_rows_to_halve_are_refused(judges: Judges) -> None:
    extractor, classifier = judges
    for real, fake in ((3, 20), (8, 3)):
        with pytest.raises(ValueError, match=rf"got {real} and {fake}"):
            judge_class(
                cloud(1, real, 2),
                cloud(0, 9, 3),
                cloud(1, fake, 5),
                cloud(1, 9, 4),
                label=1,
                extractor=extractor,
                classifier=classifier,
            )
