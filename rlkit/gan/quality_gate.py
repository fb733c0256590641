"""Decides whether generated rows may be used, and says in plain words why not.

Thresholds are relative to what real rows score against each other, so that they carry over between
domains, numbers of rows and numbers of features.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from rlkit.gan.metrics import Measured, Quality


@dataclass(frozen=True)
class QualityThresholds:
    """What generated rows must reach.

    The defaults were chosen on digits of MNIST, 1,000 a side with features of their classes: other
    real digits pass, as do digits blurred by half a pixel; those blurred by one pixel, moved by two
    or labelled wrongly in one case of five are stopped, as are noise, ten digits over and over,
    digits of nine classes only, and copies. Features that were not learnt from classes would let a
    class go missing. Those learnt from turned frames of Boxing let other frames pass, and stop
    frames that are blurred, mirrored, upside down, averaged by twos, always the same twenty, or
    without a boxer; noise of five levels escapes them.
    """

    min_rows: int = 200
    """Real rows, and as many generated, that must have been compared."""
    max_fid_per_feature: float = 0.075
    """Fréchet distance above its floor, over the number of features, which have variance 1. A ratio
    to the floor would grow stricter with more rows, as the floor falls with them."""
    max_kid: float = 0.3
    """Kernel distance above its floor, in features of variance 1."""
    min_precision_ratio: float = 0.8
    """Precision over its floor."""
    min_recall_ratio: float = 0.7
    """Recall over its floor."""
    min_density_ratio: float = 0.6
    """Density over its floor."""
    min_coverage_ratio: float = 0.8
    """Coverage over its floor."""
    max_two_sample_accuracy: float = 0.9
    """Of a classifier that tells generated rows from real ones, in [0.5, 1]."""
    min_class_ratio: float = 0.5
    """How much of its real share the least generated class has, over the same of real rows."""
    min_conditional_accuracy_ratio: float = 0.9
    """Share of confirmed labels over that of real rows."""
    min_judge_skill: float = 0.2
    """How well the judge tells the labels of real rows, from 0 for guessing to 1: who guesses can
    confirm none."""
    max_copied: float = 0.01
    """Share of copies of training rows above that among real rows held out."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value >= 0:
                raise ValueError(f"{field.name} must be at least 0, got {value}")


class GateError(RuntimeError):
    """Generated rows were about to be used that have not passed the gate."""


@dataclass(frozen=True)
class Verdict:
    """Whether rows of a quality may be used. There is no way to pass but by the quality."""

    quality: Quality
    """What was measured."""
    thresholds: QualityThresholds = QualityThresholds()
    """What it is held against."""

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against using the rows."""
        return not self.reasons

    @property
    def labels_judged(self) -> bool:
        """Whether the rows' labels were judged too."""
        return self.quality.conditional_accuracy is not None

    @property
    def reasons(self) -> tuple[str, ...]:
        """What speaks against using the rows, a sentence each; empty where nothing does."""
        quality, limits = self.quality, self.thresholds
        found: list[str | None] = [*distribution_reasons(quality, limits)]
        if quality.least_class_ratio is not None:
            found.append(
                _too_low(
                    "a class is hardly ever generated: its rows over the real ones",
                    quality.least_class_ratio,
                    limits.min_class_ratio,
                )
            )
        skill = quality.judge_skill
        if skill is not None and not skill >= limits.min_judge_skill:
            found.append(
                "the judge hardly tells the labels of real rows, and can confirm none: its skill"
                f" is {skill:.3g}, below {limits.min_judge_skill:.3g}, where 0 is guessing"
            )
        if quality.conditional_accuracy is not None:
            found.append(
                _too_low(
                    "rows do not show what their labels say: conditional accuracy",
                    quality.conditional_accuracy,
                    limits.min_conditional_accuracy_ratio,
                )
            )
        copies = quality.memorising
        if copies is None:
            found.append("nobody looked for copies of training rows: measure with `training`")
        elif copies.copied > copies.copied_floor + limits.max_copied:
            found.append(
                f"training rows are copied: {copies.copied:.1%} of the generated rows are copies,"
                f" against {copies.copied_floor:.1%} of real rows held out, where"
                f" {limits.max_copied:.1%} more are allowed"
            )
        return tuple(reason for reason in found if reason is not None)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "passed": self.passed,
            "reasons": list(self.reasons),
            "thresholds": asdict(self.thresholds),
            "quality": self.quality.to_json(),
        }


def distribution_reasons(quality: Quality, limits: QualityThresholds) -> list[str]:
    """What speaks against rows for how they are distributed, a sentence each; labels and copies
    are left out."""
    found = [
        None
        if quality.rows >= limits.min_rows
        else f"only {quality.rows} rows were compared, and fewer than {limits.min_rows} prove"
        " little",
        _too_high(
            "the generated distribution is far from the real one: its Fréchet distance",
            quality.fid,
            limits.max_fid_per_feature * quality.features + quality.fid.floor.mean,
        ),
        _too_high(
            "the generated distribution is far from the real one: its kernel distance",
            quality.kid,
            limits.max_kid + quality.kid.floor.mean,
        ),
        _too_low(
            "many rows look like no real one: precision",
            quality.precision,
            limits.min_precision_ratio,
        ),
        _too_low(
            "much of what is real is never generated: recall",
            quality.recall,
            limits.min_recall_ratio,
        ),
        _too_low(
            "few rows lie where real ones are dense: density",
            quality.density,
            limits.min_density_ratio,
        ),
        _too_low(
            "much of what is real is never generated: coverage",
            quality.coverage,
            limits.min_coverage_ratio,
        ),
        _too_high(
            "a classifier tells generated from real rows: its accuracy",
            quality.two_sample_accuracy,
            limits.max_two_sample_accuracy,
        ),
    ]
    return [reason for reason in found if reason is not None]


def _too_high(what: str, measured: Measured, limit: float) -> str | None:
    value = measured.generated.mean
    if value <= limit:
        return None
    return f"{what} is {value:.3g}, above {limit:.3g}; real rows have {measured.floor.mean:.3g}"


def _too_low(what: str, measured: Measured, ratio: float) -> str | None:
    value, limit = measured.generated.mean, ratio * measured.floor.mean
    if value >= limit:
        return None
    return f"{what} is {value:.3g}, below {limit:.3g}; real rows have {measured.floor.mean:.3g}"
