"""Which classes of labelled examples lack some, and whether a generator may make up for it.

All samples together pass the gate of `quality_gate`, and each class one of its own, of
`class_judging`: it is rare classes that are filled up, of which the first sees little.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.gan.balanced_classifier import BalancedClassifier
from rlkit.gan.class_judging import ClassThresholds, ClassVerdict, judge_class
from rlkit.gan.features import FeatureExtractor
from rlkit.gan.gan import GAN
from rlkit.gan.judging import Parts

_JUDGED = 500
"""Samples of a class that are judged."""


def lacking(labels: NDArray[np.int64]) -> dict[int, int]:
    """Label -> how many examples fewer there are of it than of the commonest, if any."""
    known, counts = np.unique(labels, return_counts=True)
    gaps = (counts.max() - counts).tolist() if len(counts) else []
    return {label: gap for label, gap in zip(known.tolist(), gaps, strict=True) if gap}


def judge_classes(
    gan: GAN,
    data: NDArray[Any],
    labels: NDArray[np.int64],
    parts: Parts,
    *,
    wanted: tuple[int, ...],
    learnt: tuple[NDArray[Any], NDArray[np.int64]],
    extractor: FeatureExtractor,
    name_of: Callable[[int], str] = str,
    thresholds: ClassThresholds | None = None,
    truncation: float = 1.0,
    seed: int = 0,
) -> dict[int, ClassVerdict]:
    """Label -> verdict on what a generator makes of each of the `wanted` classes.

    data: (count, *shape); labels: (count,). parts: who may see which; the generator has not seen
    those that are judged by or compared with. learnt: what it learnt from, with labels. extractor:
    of features, learnt from `parts.judge`. truncation, seed: as for `GAN.sample`.
    """
    thresholds = thresholds or ClassThresholds()
    compared = parts.compared
    verdicts: dict[int, ClassVerdict] = {}
    classifier = BalancedClassifier(class_weight="balanced", seed=seed)
    rows, kinds = learnt
    for label in wanted:
        real = compared[labels[compared] == label]
        quality = None
        if len(real) >= max(4, thresholds.min_rows):
            if not classifier.__sklearn_is_fitted__():
                classifier.fit(data[parts.judge], labels[parts.judge])
            quality = judge_class(
                data[real],
                data[np.setdiff1d(compared, real)],
                gan.sample(_JUDGED, label, seed, truncation=truncation),
                rows[kinds == label],
                label=label,
                extractor=extractor,
                classifier=classifier,
                seed=seed,
            )
        verdicts[label] = ClassVerdict(name_of(label), len(real), quality, thresholds)
    return verdicts
