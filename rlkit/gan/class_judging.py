"""Judges what a generator makes of one class, beside the few real rows that were held back of it.

The quality of all rows together says little about a rare class, whose rows are a small part of
them. Here a class is judged by itself, by what few rows can tell: whether another classifier finds
it in what was generated, whether that lies where the real rows lie, reaches them, and copies none.
Distances between distributions and the test of two samples need more rows, and are left to the
judgement of all classes together.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.gan.balanced_classifier import BalancedClassifier
from rlkit.gan.features import FeatureExtractor
from rlkit.gan.manifold import manifold_quality
from rlkit.gan.memorising import Memorising, memorising
from rlkit.gan.metrics import Measured, Spread

_NEIGHBOURS = 5
_DRAWS = 10


@dataclass(frozen=True)
class ClassThresholds:
    """What the generated rows of a class must reach. Raises ValueError for negative numbers."""

    min_rows: int = 30
    """Real rows of the class that were held back from the generator and from the judge. A share of
    30 rows has a standard error of up to 9 points; what fewer say is chance."""
    min_told_ratio: float = 2.0
    """How much more often the judge's classifier must find the class in real rows of it than in
    real rows of others, to be able to confirm anything."""
    min_confirmed_ratio: float = 0.9
    """Share of rows in which it finds the class, over that of real rows."""
    min_precision_ratio: float = 0.8
    """Share of rows that lie where real ones lie, over that of real rows."""
    min_coverage_ratio: float = 0.8
    """Share of real rows with one near them, over that of real rows."""
    max_copied: float = 0.05
    """Share of copies of training rows above that among real rows held back."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) >= 0:
                value = getattr(self, field.name)
                raise ValueError(f"{field.name} must be at least 0, got {value}")


@dataclass(frozen=True)
class ClassQuality:
    """How the generated rows of a class compare with real ones."""

    rows: int
    """Real ones that were held back."""
    found_in_others: float
    """Share of real rows of other classes that the judge's classifier takes for this one."""
    confirmed: Measured
    """Share of rows that it takes for this class, in [0, 1]."""
    precision: Measured
    """Share of generated rows where real ones lie, in [0, 1]."""
    coverage: Measured
    """Share of real rows with a generated one near them, in [0, 1]."""
    memorising: Memorising
    """Whether training rows of the class are copied."""


@dataclass(frozen=True)
class ClassVerdict:
    """Whether the generated rows of a class may be used."""

    name: str
    """Of the class."""
    rows: int
    """Real ones that were held back."""
    quality: ClassQuality | None
    """What was measured; None where the rows are too few."""
    thresholds: ClassThresholds = ClassThresholds()
    """What it is held against."""

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against using the rows."""
        return not self.reasons

    @property
    def reasons(self) -> tuple[str, ...]:
        """What speaks against using the rows, a sentence each; empty where nothing does."""
        limits, quality = self.thresholds, self.quality
        if quality is None or self.rows < limits.min_rows:
            return (
                f"{self.name}: only {self.rows} real rows can be held back to compare with, and"
                f" fewer than {limits.min_rows} prove nothing",
            )
        told = quality.confirmed.floor.mean
        if told < limits.min_told_ratio * quality.found_in_others or told == 0.0:
            return (
                f"{self.name}: the judge hardly tells it, and can confirm nothing: it finds it in"
                f" {told:.0%} of the real rows of it, and in {quality.found_in_others:.0%} of"
                " others",
            )
        found: list[str] = []
        for what, measured, ratio in (
            (
                "rows do not show the class: confirmed",
                quality.confirmed,
                limits.min_confirmed_ratio,
            ),
            (
                "rows look like no real one: precision",
                quality.precision,
                limits.min_precision_ratio,
            ),
            ("real rows are not reached: coverage", quality.coverage, limits.min_coverage_ratio),
        ):
            value, limit = measured.generated.mean, ratio * measured.floor.mean
            if value < limit:
                real = measured.floor.mean
                found.append(
                    f"{self.name}: {what} {value:.2g}, below {limit:.2g}; real rows have {real:.2g}"
                )
        copies = quality.memorising
        if copies.copied > copies.copied_floor + limits.max_copied:
            found.append(
                f"{self.name}: training rows are copied: {copies.copied:.1%} of the generated rows"
                f" are copies, against {copies.copied_floor:.1%} of real rows held back, where"
                f" {limits.max_copied:.1%} more are allowed"
            )
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {"passed": self.passed, "reasons": list(self.reasons), **asdict(self)}


def judge_class(
    real: NDArray[Any],
    others: NDArray[Any],
    fake: NDArray[Any],
    training: NDArray[Any],
    *,
    label: int,
    extractor: FeatureExtractor,
    classifier: BalancedClassifier,
    seed: int = 0,
) -> ClassQuality:
    """Measure generated rows of a class, `_DRAWS` times by other halves of the real ones.

    real, others: (rows, *shape), of the class and of other classes, neither of which the generator
    or those who judge have learnt from. fake: (any, *shape), at least half as many. training:
    (any, *shape), what the generator learnt the class from. label: of the class, as `classifier`
    knows it. The same arguments give the same result.
    Raises ValueError for fewer than four real rows, and for what does not fit the extractor.
    """
    half = len(real) // 2
    if half < 2 or len(fake) < half:
        raise ValueError(
            f"a class is judged by four real rows and half as many generated ones at least, got"
            f" {len(real)} and {len(fake)}"
        )
    neighbours = min(_NEIGHBOURS, half - 1)
    real_features, fake_features = extractor.transform(real), extractor.transform(fake)
    random = np.random.default_rng(seed)
    generated, floor = [], []
    for _ in range(_DRAWS):
        chosen, left = np.split(random.permutation(len(real))[: 2 * half], 2)
        drawn = random.permutation(len(fake))[:half]
        reference = real_features[chosen]
        generated.append(manifold_quality(reference, fake_features[drawn], neighbours))
        floor.append(manifold_quality(reference, real_features[left], neighbours))

    def measured(name: str) -> Measured:
        return Measured(
            Spread.of([getattr(each, name) for each in generated]),
            Spread.of([getattr(each, name) for each in floor]),
        )

    def found(rows: NDArray[Any]) -> float:
        return float((classifier.predict(rows) == label).mean()) if len(rows) else 0.0

    return ClassQuality(
        rows=len(real),
        found_in_others=found(others),
        confirmed=Measured(Spread.of([found(fake)]), Spread.of([found(real)])),
        precision=measured("precision"),
        coverage=measured("coverage"),
        memorising=memorising(training, real, fake, seed),
    )
