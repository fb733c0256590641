"""Judges translations of pictures beside real pairs that they did not learn from, and lets them
through or not.

Each translation is judged together with its picture, as the discriminator of pix2pix does: features
are learnt to tell real pairs from pictures left as they are, from pictures beside another's target,
and from targets that were blurred or smoothed. So what ignores its picture shows as well as what
leaves out the noise. A translation may be random, so its error alone says little: the best there is
may be off by twice as much as a picture that was left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.gan.features import FeatureConfig, learn_features
from rlkit.gan.gan import ImageToImage
from rlkit.gan.judging import JUDGE, Parts, digest
from rlkit.gan.metrics import Quality, measure
from rlkit.gan.pairs import mean_error
from rlkit.gan.quality_gate import QualityThresholds, distribution_reasons
from rlkit.plain_json import finite

_NEIGHBOURS = 5
_LEAST_CHANGED = 0.01
_REAL, _LEFT, _MIXED, _BLURRED, _SMOOTHED = range(5)
"""What pairs are told apart as: a picture and its target; twice the picture; a picture and the
target of another; a picture and its target after a bell of one pixel, or a median of 3 x 3."""


@dataclass(frozen=True)
class TranslationThresholds:
    """What translations must reach. Raises ValueError for numbers below 0.

    With the defaults, new draws of the camera and looks of `pair_making` pass, judged by
    400 pairs; pictures left as they are, targets of other pictures, targets blurred by half a
    pixel, means of eight draws, and draws without their noise are stopped.
    """

    pairs: QualityThresholds = field(default_factory=QualityThresholds)
    """Of the distributions, and of the share that is taken for real pairs."""
    min_told: float = 0.5
    """Share of targets that the judge's classifier must take for what they are, to be able to vouch
    for anything; it tells five kinds of pairs."""
    max_error_ratio: float = 2.2
    """Error over that of pictures left as they are. Two draws of what a picture may become differ
    by no more than twice as much as one of them from any fixed picture, on average."""

    def __post_init__(self) -> None:
        for name in ("min_told", "max_error_ratio"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")


@dataclass(frozen=True)
class TranslationQuality:
    """How translations differ from what was wanted."""

    pairs: Quality
    """Of pictures with their translations, beside pictures with their targets; its conditional
    accuracy is the share that is taken for real pairs."""
    error: float
    """Mean absolute difference of translations and targets, in levels of 255."""
    unchanged_error: float | None
    """The same of pictures left as they are; None where targets have other channels."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class TranslationVerdict:
    """Whether translations of a quality may be used."""

    quality: TranslationQuality
    """What was measured."""
    thresholds: TranslationThresholds = TranslationThresholds()
    """What it is held against."""

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against using the translations."""
        return not self.reasons

    @property
    def reasons(self) -> tuple[str, ...]:
        """What speaks against using them, a sentence each; empty where nothing does."""
        quality, limits = self.quality, self.thresholds
        found = distribution_reasons(quality.pairs, limits.pairs)
        taken = quality.pairs.conditional_accuracy
        assert taken is not None
        if not taken.floor.mean >= limits.min_told:
            found.append(
                f"the judge takes only {taken.floor.mean:.0%} of the targets for what they are, and"
                " can vouch for little: give it more pairs or epochs"
            )
        least = limits.pairs.min_conditional_accuracy_ratio * taken.floor.mean
        if not taken.generated.mean >= least:
            found.append(
                "translations are not taken for the targets of their pictures: the share that is"
                f" is {taken.generated.mean:.3g}, below {least:.3g}; targets have"
                f" {taken.floor.mean:.3g}"
            )
        if quality.unchanged_error is not None:
            most = limits.max_error_ratio * quality.unchanged_error
            if not quality.error <= most:
                found.append(
                    f"translations are off by {quality.error:.3g} levels, above {most:.3g};"
                    f" pictures left as they are by {quality.unchanged_error:.3g}"
                )
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data, without numbers that are not finite."""
        return finite(
            {
                "passed": self.passed,
                "reasons": list(self.reasons),
                "thresholds": asdict(self.thresholds),
                "quality": self.quality.to_json(),
            }
        )


class TranslationJudge:
    """Judges translations of the same pairs by features that it learns once."""

    def __init__(
        self,
        inputs: NDArray[np.uint8],
        targets: NDArray[np.uint8],
        parts: Parts,
        *,
        features: FeatureConfig = JUDGE,
        thresholds: TranslationThresholds | None = None,
        splits: int = 5,
    ) -> None:
        """inputs, targets: (count, channels, height, width), pairs by their places. parts: who sees
        which. splits: draws of rows to compare.

        Raises ValueError for too few pairs, before anybody has trained for long; ImportError
        without torchmetrics.
        """
        from rlkit.gan.distances import frechet_distance

        self.inputs = inputs[parts.compared]
        """(compared, channels, height, width), what is translated to be judged."""
        self.targets = targets[parts.compared]
        """(compared, channels, height, width), what was wanted."""
        self.thresholds = thresholds or TranslationThresholds()
        """What verdicts hold translations against."""
        self._splits = splits
        least = max(features.features, _NEIGHBOURS) + 1
        if len(self.inputs) // 2 < least or len(parts.judge) < 2:
            raise ValueError(
                f"{len(self.inputs)} pairs are left to compare with and {len(parts.judge)} to learn"
                f" to judge by, but {features.features} features need {2 * least} and 2: give more"
                " pairs, a larger compared_share, or fewer features"
            )
        rows, kinds = _kinds_of_pairs(inputs[parts.judge], targets[parts.judge])
        self.extractor = learn_features(rows, kinds, features)
        """Tells real pairs from others."""
        # That torchmetrics is missing should show now, not after a training.
        probe = self.extractor.transform(_beside(self.inputs, self.targets)[: 2 * least])
        frechet_distance(probe[:least], probe[least:])

    def verdict(self, estimator: ImageToImage, *, seed: int = 0) -> TranslationVerdict:
        """What a translation is worth. seed: of what is random in it, and of the draws of rows.

        Raises ValueError for an estimator of other pictures.
        """
        wanted = tuple(self.inputs.shape[1:]), self.targets.shape[1]
        if (estimator.shape_, estimator.outputs_) != wanted:
            raise ValueError(
                f"pictures of shape {estimator.shape_} become {estimator.outputs_} channels, but"
                f" these pairs have {wanted[0]} and {wanted[1]} channels"
            )
        return self.verdict_on(estimator.transform(self.inputs, seed), seed=seed)

    def verdict_on(self, outputs: NDArray[np.uint8], *, seed: int = 0) -> TranslationVerdict:
        """What translations (compared, channels, height, width) of `inputs` are worth."""
        real = np.full(len(self.inputs), _REAL)
        pairs = measure(
            _beside(self.inputs, self.targets),
            _beside(self.inputs, outputs),
            self.extractor,
            real_labels=real,
            fake_labels=real,
            splits=self._splits,
            neighbours=_NEIGHBOURS,
            paired=True,
            seed=seed,
        )
        alike = self.inputs.shape == self.targets.shape
        quality = TranslationQuality(
            # Other kinds of pairs are there to be told apart, not to be met.
            replace(pairs, least_class_ratio=None),
            mean_error(outputs, self.targets),
            mean_error(self.inputs, self.targets) if alike else None,
        )
        return TranslationVerdict(quality, self.thresholds)


def pairs_digest(inputs: NDArray[np.uint8], targets: NDArray[np.uint8]) -> str:
    """A checksum (SHA-256) of pairs, by which they are known again."""
    return digest(_beside(inputs, targets), None)


def told_against(provenance: Mapping[str, Any]) -> tuple[str, ...]:
    """What speaks against using a translation with such a provenance; empty where nothing does.

    It was judged where there is a "verdict", as `TranslationVerdict.to_json` gives it.
    """
    verdict = provenance.get("verdict")
    if not isinstance(verdict, Mapping):
        return ("nobody judged it",)
    if verdict.get("passed") is True:
        return ()
    reasons = verdict.get("reasons")
    told = [str(reason) for reason in reasons] if isinstance(reasons, list) else []
    return tuple(told) or ("its verdict is against it",)


def _beside(inputs: NDArray[np.uint8], outputs: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.concatenate((inputs, outputs), 1)


def _kinds_of_pairs(
    inputs: NDArray[np.uint8], targets: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pairs of all kinds, and which kind each is, (rows,).

    Kinds that differ from real pairs in hardly any pixel are left out, as nobody could tell them.
    Raises ValueError where no kind is left.
    """
    from scipy.ndimage import gaussian_filter, median_filter

    blurred = np.rint(gaussian_filter(targets.astype(np.float32), (0, 0, 1, 1))).astype(np.uint8)
    others = {
        _MIXED: np.roll(targets, 1, 0),  # their order is random
        _BLURRED: blurred,
        _SMOOTHED: median_filter(targets, (1, 1, 3, 3)),
    }
    if inputs.shape == targets.shape:
        others[_LEFT] = inputs
    told = {
        kind: other for kind, other in others.items() if (other != targets).mean() >= _LEAST_CHANGED
    }
    if not told:
        raise ValueError("images and targets are all but alike: there is nothing to judge")
    seconds = {_REAL: targets, **told}
    rows = np.concatenate([_beside(inputs, second) for second in seconds.values()])
    return rows, np.repeat(np.array(list(seconds), np.int64), len(inputs))
