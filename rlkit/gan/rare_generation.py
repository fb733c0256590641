"""A generator for rare classes of a data set, and whether what it makes of each may be used.

One generator learns all classes, so that rare ones share what they have in common with others. It
is shown each class equally often: of rare ones, the same rows again and again. Of every class some
rows are held back to judge by. Where a rare class has too few for that, nobody can vouch for what
is made of it, and it is not used.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlkit.divergence import DivergenceError, DivergenceWarning
from rlkit.gan.class_filling import judge_classes
from rlkit.gan.class_judging import ClassThresholds, ClassVerdict
from rlkit.gan.configuration import GANConfig, require
from rlkit.gan.features import FeatureConfig
from rlkit.gan.gan import GAN
from rlkit.gan.judging import JUDGE, Judge, SplitConfig, parted
from rlkit.gan.quality_gate import GateError, QualityThresholds, Verdict
from rlkit.gan.synthetic_share import SyntheticShare

FEW_ROWS = GANConfig(r1=5.0, r2=5.0, average_decay=0.995, hidden_sizes=(256, 256), channels=16)
"""A generator for some hundred rows and few thousand steps: stronger penalties, and an average that
has forgotten its beginning by then."""


@dataclass(frozen=True)
class RareGenerationConfig:
    """How rare classes are generated and judged. Raises ValueError for what makes no sense."""

    gan: GANConfig = FEW_ROWS
    """The generator, but for its epochs, which follow from `steps`, and its seed."""
    steps: int = 3_000
    """Of the generator, whatever the number of rows."""
    rows_of_class: int = 500
    """Of each class in a pass: of larger classes so many are drawn, the same in every pass, of
    smaller ones rows recur."""
    split: SplitConfig = field(default_factory=SplitConfig)
    """Which rows are held back, but for its seed."""
    judge: FeatureConfig = field(default_factory=lambda: JUDGE)
    """How the judge's features are learnt, but for its seed."""
    thresholds: QualityThresholds = field(default_factory=QualityThresholds)
    """Of all classes together."""
    class_thresholds: ClassThresholds = field(default_factory=ClassThresholds)
    """Of each rare class."""

    def __post_init__(self) -> None:
        require("steps", self.steps, self.steps >= 1, "at least 1")
        require("rows_of_class", self.rows_of_class, self.rows_of_class >= 2, "at least 2")


@dataclass(frozen=True)
class RareGenerator:
    """A generator with what was found about it."""

    gan: GAN | None
    """Fitted; None where training came to nothing."""
    verdict: Verdict | None
    """On all classes together; None where it was not judged."""
    classes: Mapping[int, ClassVerdict]
    """Label -> verdict on a rare class; where nothing was judged, of those with too few rows."""
    refusals: tuple[str, ...]
    """Why nothing at all was judged, a sentence each."""

    @property
    def usable(self) -> tuple[int, ...]:
        """Labels of the rare classes whose rows may be used."""
        if self.gan is None or self.verdict is None or not self.verdict.passed:
            return ()
        return tuple(label for label, verdict in self.classes.items() if verdict.passed)

    @property
    def reasons(self) -> tuple[str, ...]:
        """What speaks against using rows of all or some rare classes, a sentence each."""
        together = () if self.verdict is None else self.verdict.reasons
        alone = [reason for verdict in self.classes.values() for reason in verdict.reasons]
        return (*self.refusals, *together, *alone)

    def sample(
        self, labels: tuple[int, ...], count: int, seed: int
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """So many rows (classes * count, *shape) of each of these classes, and their labels.

        Raises GateError where there is no generator.
        """
        if self.gan is None:
            raise GateError(f"there is no generator: {'; '.join(self.refusals)}")
        wanted = np.repeat(np.array(labels, np.int64), count)
        return self.gan.sample(len(wanted), wanted, seed), wanted

    def admit_to(self, share: SyntheticShare, count: int, seed: int) -> tuple[int, ...]:
        """Offer so many rows of each usable class, and tell of which classes.

        Raises GateError, with all reasons, where none is usable.
        """
        if not self.usable or self.verdict is None:
            raise GateError(f"generated rows are not used: {'; '.join(self.reasons)}")
        # Another seed than that of the samples that were judged.
        rows, labels = self.sample(self.usable, count, seed + 1)
        share.admit(torch.from_numpy(rows), torch.from_numpy(labels), self.verdict)
        return self.usable


def learn_rare(
    data: NDArray[Any],
    labels: NDArray[np.int64],
    rare: Mapping[int, str],
    config: RareGenerationConfig | None = None,
    *,
    seed: int = 0,
) -> RareGenerator:
    """Learn to make rows of rare classes, and judge what comes of it.

    data: pictures (count, channels, height, width) uint8 or rows (count, columns) float32. labels:
    (count,), from 0. rare: label -> what the class is called. seed: of everything.
    Where no rare class can be judged, for want of rows, none are held back from the generator, and
    all is refused. Training that collapses keeps the last good generator.
    Raises ValueError for labels that are not there and data that do not fit, ImportError without
    torchmetrics.
    """
    config = RareGenerationConfig() if config is None else config
    unknown = [str(label) for label in rare if label not in labels]
    if unknown or not rare:
        raise ValueError(f"rare classes are not there: {', '.join(unknown) or 'none are named'}")
    if len(np.unique(labels)) < 2:
        raise ValueError("a rare class is rare beside another, and there is one class")
    parts = parted(len(labels), labels, replace(config.split, seed=seed))
    least = config.class_thresholds.min_rows
    held_back = {label: int((labels[parts.compared] == label).sum()) for label in rare}
    too_few = {
        label: ClassVerdict(rare[label], count, None, config.class_thresholds)
        for label, count in held_back.items()
        if count < least
    }
    refusals: tuple[str, ...] = ()
    if len(parts.compared) < 2 * config.thresholds.min_rows:
        refusals = (
            f"only {len(parts.compared)} real rows can be held back to compare with, and fewer than"
            f" {2 * config.thresholds.min_rows} prove little",
        )
    judged = not refusals and len(too_few) < len(rare)
    # What cannot be judged anyway may as well learn from every row.
    learnt = parts.learnt if judged else np.arange(len(labels))
    judge = None
    if judged:
        judge = Judge(data, labels, parts, features=replace(config.judge, seed=seed))
    try:
        gan = _trained(data[learnt], labels[learnt], config, seed)
    except DivergenceError as error:
        return RareGenerator(None, None, too_few, (*refusals, str(error)))
    if judge is None:
        return RareGenerator(gan, None, too_few, refusals)
    together = Verdict(judge.verdict(gan, seed=seed).quality, config.thresholds)
    verdicts = judge_classes(
        gan,
        data,
        labels,
        parts,
        wanted=tuple(rare),
        learnt=(data[learnt], labels[learnt]),
        extractor=judge.extractor,
        name_of=rare.__getitem__,
        thresholds=config.class_thresholds,
        seed=seed,
    )
    return RareGenerator(gan, together, verdicts, refusals)


def _trained(
    data: NDArray[Any], labels: NDArray[np.int64], config: RareGenerationConfig, seed: int
) -> GAN:
    """A GAN that was shown each class equally often. Raises DivergenceError where nothing came of
    it."""
    random = np.random.default_rng(seed)
    shown: list[NDArray[np.int64]] = []
    for label in np.unique(labels):
        places = random.permutation(np.flatnonzero(labels == label))
        shown.append(np.resize(places, config.rows_of_class))
    chosen = np.concatenate(shown)
    batches = max(1, len(chosen) // config.gan.batch_size)
    epochs = math.ceil(config.steps * config.gan.discriminator_steps / batches)
    gan = GAN(replace(config.gan, epochs=epochs, seed=seed))
    with warnings.catch_warnings():
        # The last good generator is judged as any other.
        warnings.simplefilter("ignore", DivergenceWarning)
        return gan.fit(data[chosen], labels[chosen])
