"""Who sees which rows, so that nothing that was learnt from is judged by.

A data set is cut in three: the generator learns from the first part, the judge's features and
classifier from the second, and generated rows are compared with the third, which neither has seen.
Halves of the third are compared with each other for the floor.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.gan.features import FeatureConfig, FeatureExtractor, learn_features
from rlkit.gan.gan import GAN
from rlkit.gan.metrics import measure
from rlkit.gan.quality_gate import Verdict
from rlkit.label_mixtures import proportionally

JUDGE = FeatureConfig(epochs=20)
"""How features are learnt unless said otherwise: longer, as from fewer rows, than by default."""

_NEIGHBOURS = 5


@dataclass(frozen=True)
class SplitConfig:
    """How rows are cut. Raises ValueError for shares out of range."""

    judge_share: float = 0.3
    """Share of the rows that the judge's features and classifier learn from, in (0, 1)."""
    compared_share: float = 0.2
    """Share that generated rows are compared with, half at a time, in (0, 1)."""
    most_judge: int = 3_000
    """Rows that the judge learns from, at most; the generator learns from the others."""
    most_compared: int = 2_000
    """Rows that are compared, at most, likewise."""
    seed: int = 0
    """Of which rows are where."""

    def __post_init__(self) -> None:
        for name in ("judge_share", "compared_share"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must be in (0, 1), got {getattr(self, name)}")
        if self.judge_share + self.compared_share > 1:
            raise ValueError(
                f"judge_share and compared_share are {self.judge_share} and {self.compared_share},"
                " more than 1 together"
            )
        for name in ("most_judge", "most_compared"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.seed}")


UNSEEN = SplitConfig(judge_share=0.5, compared_share=0.5)
"""For rows of which the generator saw none."""


@dataclass(frozen=True)
class Parts:
    """Places of rows in a data set, by who sees them; none is in two parts."""

    learnt: NDArray[np.int64]
    """What the generator learns from."""
    judge: NDArray[np.int64]
    """What the judge learns from."""
    compared: NDArray[np.int64]
    """What generated rows are compared with."""


def parted(count: int, labels: NDArray[np.int64] | None, config: SplitConfig) -> Parts:
    """Cut `count` rows at random, each part with the same mixture of labels (count,).

    The same arguments give the same parts.
    """
    order = np.random.default_rng(config.seed).permutation(count)
    if labels is not None:
        order = order[proportionally(labels[order])]
    judge = min(round(config.judge_share * count), config.most_judge)
    compared = min(round(config.compared_share * count), config.most_compared)
    of_judge, of_comparison, of_generator = np.split(order, [judge, judge + compared])
    return Parts(learnt=of_generator, judge=of_judge, compared=of_comparison)


def check_parts(parts: Parts, labels: NDArray[np.int64] | None) -> None:
    """Raise ValueError where a generator of `labels` (count,) cannot learn from its part, or be
    judged by the others: it needs two examples of each class, and they one."""
    if len(parts.learnt) < 2:
        raise ValueError(
            f"only {len(parts.learnt)} examples are left to learn from: give more, or smaller"
            " shares to the judge and to comparisons (--split)"
        )
    if labels is None:
        return
    for kind in np.unique(labels):
        shares = [int((labels[part] == kind).sum()) for part in (parts.learnt, parts.judge)]
        compared = int((labels[parts.compared] == kind).sum())
        if shares[0] < 2 or shares[1] < 1 or compared < 1:
            raise ValueError(
                f"class {kind} has {shares[0]} examples to learn from, {shares[1]} for the judge"
                f" and {compared} to compare with, and needs 2, 1 and 1: give more of it, leave it"
                " out, or learn without labels (--ignore-labels)"
            )


def unseen_parts(learnt: NDArray[np.bool_], labels: NDArray[np.int64] | None) -> Parts:
    """Cut rows of other data than a generator's own, by which it can be judged.

    learnt: (count,) which it learnt from all the same: these are nobody else's.
    """
    unseen = np.flatnonzero(~learnt)
    parts = parted(len(unseen), None if labels is None else labels[unseen], UNSEEN)
    return Parts(np.flatnonzero(learnt), unseen[parts.judge], unseen[parts.compared])


def digest(data: NDArray[Any], labels: NDArray[np.int64] | None) -> str:
    """A checksum (SHA-256) of rows and labels, by which a data set is known again."""
    told = hashlib.sha256(repr((data.shape, str(data.dtype), labels is None)).encode())
    told.update(np.ascontiguousarray(data).data)
    if labels is not None:
        told.update(np.ascontiguousarray(labels).data)
    return told.hexdigest()


class Judge:
    """Judges generators of the same data by features that it learns once."""

    def __init__(
        self,
        data: NDArray[Any],
        labels: NDArray[np.int64] | None,
        parts: Parts,
        *,
        features: FeatureConfig = JUDGE,
        training: NDArray[Any] | None = None,
        splits: int = 5,
    ) -> None:
        """data: (count, *shape), pictures of bytes with channels or rows of floats. labels:
        (count,), or None; where all are one, features are learnt as without. training: what
        generators learnt from, to find copies of it; None takes the rows of `parts.learnt`, if
        there are any. splits: draws of rows to compare.

        Raises ValueError for too few rows, before anybody has trained for long; ImportError without
        torchmetrics.
        """
        from rlkit.gan.distances import frechet_distance

        compared = len(parts.compared)
        kinds = None if labels is None else labels[parts.judge]
        if kinds is not None and len(np.unique(kinds)) < 2:
            kinds = None
        self.extractor: FeatureExtractor = learn_features(data[parts.judge], kinds, features)
        """Tells classes where there are some."""
        least = max(self.extractor.num_features, _NEIGHBOURS) + 1
        if compared // 2 < least:
            raise ValueError(
                f"{len(parts.compared)} rows are left to compare with, but"
                f" {self.extractor.num_features} features need {2 * least}: give more rows, a"
                " larger compared_share, or fewer features"
            )
        self.real = data[parts.compared]
        """(compared, *shape), what generated rows are compared with."""
        self.splits = splits
        """Draws of rows to compare."""
        self.labels = None if labels is None else labels[parts.compared]
        """(compared,), or None."""
        self.training = training
        """What copies are looked for of; None for nothing."""
        if training is None and len(parts.learnt):
            self.training = data[parts.learnt]
        # That torchmetrics is missing should show now, not after a training.
        probe = self.extractor.transform(self.real[: 2 * least])
        frechet_distance(probe[:least], probe[least:])

    def verdict(self, gan: GAN, *, truncation: float = 1.0, seed: int = 0) -> Verdict:
        """What a GAN's samples are worth, of the same labels as the real rows where it knows any.

        truncation: as for `GAN.sample`. seed: of the samples and of the draws of rows.
        Raises ValueError for a GAN of other rows or labels.
        """
        shape = tuple(self.real.shape[1:])
        if gan.shape_ != shape:
            raise ValueError(f"the GAN makes examples of shape {gan.shape_}, and these are {shape}")
        labels = None if gan.classes_ is None else self.labels
        made = gan.sample(len(self.real), labels, seed, truncation=truncation)
        confirmed = labels if self.extractor.classes else None
        quality = measure(
            self.real,
            made,
            self.extractor,
            training=self.training,
            real_labels=confirmed,
            fake_labels=confirmed,
            splits=self.splits,
            neighbours=_NEIGHBOURS,
            seed=seed,
        )
        return Verdict(quality)
