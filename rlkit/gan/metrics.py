"""Judges generated rows beside real ones, always with what real rows score against each other.

No value of a metric is good or bad by itself: how low a distance can be hangs on the number of rows
and on the features. So everything is measured twice on as many rows: generated against real, and
other real rows against the same, which is the floor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rlkit.gan.balanced_classifier import balanced_accuracy
from rlkit.gan.distances import frechet_distance, kernel_distance
from rlkit.gan.features import FeatureExtractor, Pretext
from rlkit.gan.manifold import manifold_quality
from rlkit.gan.memorising import Memorising, memorising
from rlkit.gan.two_sample import two_sample_test


@dataclass(frozen=True)
class Spread:
    """A number over several draws of rows."""

    mean: float
    """Over the draws."""
    low: float
    """The lowest."""
    high: float
    """The highest."""

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """That of the numbers of one draw or more."""
        return cls(float(np.mean(values)), min(values), max(values))


@dataclass(frozen=True)
class Measured:
    """One metric, of generated rows and of real ones in their place."""

    generated: Spread
    """Generated rows against real ones."""
    floor: Spread
    """Other real rows against the same."""


@dataclass(frozen=True)
class Quality:
    """How generated rows differ from real ones, in features of their domain.

    The spread of a metric tells how much it hangs on which rows were drawn; draws share rows, so
    it is no confidence interval.
    """

    rows: int
    """Real rows, and as many generated, in each comparison."""
    splits: int
    """Draws of rows."""
    features: int
    """Columns of the features."""
    pretext: Pretext
    """What the features were learnt for."""
    fid: Measured
    """Squared Fréchet distance between features of variance 1, at least 0; not to be compared with
    values in Inception's features, nor of other numbers of rows."""
    kid: Measured
    """Unbiased squared maximum mean discrepancy, around 0 for equal distributions."""
    precision: Measured
    """Share of generated rows where real ones lie, in [0, 1]."""
    recall: Measured
    """Share of real rows where generated ones lie, in [0, 1]."""
    density: Measured
    """How many real rows are around a generated one, about 1 for equal distributions."""
    coverage: Measured
    """Share of real rows with a generated one near them, in [0, 1]."""
    two_sample_accuracy: Measured
    """Of a classifier that tells generated from real, 1/2 for equal distributions."""
    least_class_ratio: Measured | None
    """Generated over real rows of the class that is least generated for its share, as the features'
    classifier tells classes: 0 where one is left out; None for features without classes."""
    conditional_accuracy: Measured | None
    """Share of rows whose label the features' classifier confirms, in [0, 1]; None without
    labels."""
    judge_skill: float | None
    """How far the share of real rows whose label is confirmed, as the mean over classes, lies
    between guessing (0) and knowing all (1); None without labels of two classes or more."""
    memorising: Memorising | None
    """Whether training rows are copied; None without training rows."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return asdict(self)


def measure(
    real: NDArray[Any],
    fake: NDArray[Any],
    extractor: FeatureExtractor,
    *,
    training: NDArray[Any] | None = None,
    real_labels: NDArray[Any] | None = None,
    fake_labels: NDArray[Any] | None = None,
    rows: int | None = None,
    splits: int = 5,
    neighbours: int = 5,
    paired: bool = False,
    seed: int = 0,
) -> Quality:
    """Judge generated rows by real ones that the generator did not learn from.

    real: (any, *shape), held out; fake: (any, *shape). Both as the extractor takes them, and mixed
    alike where there are classes. training: (any, *shape), what the generator learnt from, to find
    copies of it. real_labels, fake_labels: the classes of both, those that the generator was asked
    for; they need an extractor that was learnt with labels. rows: of each kind in a comparison;
    None takes half of the real rows, or all generated ones where these are fewer. neighbours: as
    for `manifold_quality`. The same arguments give the same result.
    Raises ValueError for rows that do not fit the extractor or each other, for numbers that are not
    finite, and for too few rows; ImportError without torchmetrics.
    """
    available = min(len(real) // 2, len(fake))
    rows = available if rows is None else rows
    if not 1 <= rows <= available:
        raise ValueError(
            f"{len(real)} real rows, in halves, and {len(fake)} generated ones allow comparisons"
            f" of 1 to {available} rows, not of {rows}"
        )
    if paired and len(real) != len(fake):
        raise ValueError(f"{len(real)} real and {len(fake)} generated rows are no pairs")
    if splits < 1:
        raise ValueError(f"splits must be at least 1, got {splits}")
    _check_labels(extractor, real, fake, real_labels, fake_labels)
    told_real = extractor.classify(real) if extractor.classes else None
    told_fake = extractor.classify(fake) if extractor.classes else None
    real_features, fake_features = extractor.transform(real), extractor.transform(fake)
    random = np.random.default_rng(seed)
    generated: list[dict[str, float]] = []
    floor: list[dict[str, float]] = []
    for _ in range(splits):
        chosen, others = np.split(random.permutation(len(real))[: 2 * rows], 2)
        judged = others if paired else random.permutation(len(fake))[:rows]
        number = int(random.integers(2**31))
        reference = real_features[chosen]
        for draws, features, told, labels, drawn in (
            (generated, fake_features, told_fake, fake_labels, judged),
            (floor, real_features, told_real, real_labels, others),
        ):
            draw = _compared(reference, features[drawn], neighbours, number)
            if told is not None and told_real is not None:
                draw["least_class_ratio"] = _least_class_ratio(told_real[chosen], told[drawn])
                if labels is not None:
                    draw["conditional_accuracy"] = float((told == labels)[drawn].mean())
            draws.append(draw)
    measured = {
        name: Measured(*(Spread.of([draw[name] for draw in draws]) for draws in (generated, floor)))
        for name in generated[0]
    }
    return Quality(
        rows=rows,
        splits=splits,
        features=extractor.num_features,
        pretext=extractor.pretext,
        fid=measured["fid"],
        kid=measured["kid"],
        precision=measured["precision"],
        recall=measured["recall"],
        density=measured["density"],
        coverage=measured["coverage"],
        two_sample_accuracy=measured["two_sample_accuracy"],
        least_class_ratio=measured.get("least_class_ratio"),
        conditional_accuracy=measured.get("conditional_accuracy"),
        judge_skill=None
        if real_labels is None or told_real is None
        else _skill(real_labels, told_real),
        memorising=None if training is None else memorising(training, real, fake, seed),
    )


def _compared(
    real: NDArray[np.floating], fake: NDArray[np.floating], neighbours: int, seed: int
) -> dict[str, float]:
    """Every metric of features (rows, features) by its name."""
    return {
        "fid": frechet_distance(real, fake),
        "kid": kernel_distance(real, fake, seed),
        **manifold_quality(real, fake, neighbours).to_json(),
        "two_sample_accuracy": two_sample_test(real, fake, seed).accuracy,
    }


def _least_class_ratio(real: NDArray[np.int64], fake: NDArray[np.int64]) -> float:
    """The least, over classes that are among the real labels, of generated over real rows."""
    classes, counts = np.unique(real, return_counts=True)
    return float(((fake[:, None] == classes).sum(0) / counts).min())


def _skill(labels: NDArray[np.int64], told: NDArray[np.int64]) -> float | None:
    """Balanced accuracy of `told`, from 0 for guessing to 1; None of a single class."""
    guessing = 1.0 / len(np.unique(labels))
    if guessing == 1.0:
        return None
    return (balanced_accuracy(labels, told) - guessing) / (1.0 - guessing)


def _check_labels(
    extractor: FeatureExtractor,
    real: NDArray[Any],
    fake: NDArray[Any],
    real_labels: NDArray[Any] | None,
    fake_labels: NDArray[Any] | None,
) -> None:
    """Raise ValueError unless both have labels, as many as rows, that can be told, or neither."""
    if real_labels is None and fake_labels is None:
        return
    if real_labels is None or fake_labels is None:
        missing = "real" if real_labels is None else "generated"
        raise ValueError(f"labels are compared with labels, and the {missing} rows have none")
    if not extractor.classes:
        raise ValueError("features that were learnt without labels cannot confirm any")
    for name, rows, labels in (("real", real, real_labels), ("generated", fake, fake_labels)):
        if labels.shape != (len(rows),):
            raise ValueError(
                f"{len(rows)} {name} rows need as many labels, got the shape {labels.shape}"
            )
