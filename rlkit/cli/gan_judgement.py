"""How the commands of `rlkit gan` judge a generator of examples by data that a user names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from rlkit.cli.mistakes import blaming_user
from rlkit.gan.features import FeatureConfig, FeatureExtractor
from rlkit.gan.judging import UNSEEN, SplitConfig

if TYPE_CHECKING:
    import numpy as np

    from rlkit.cli.gan_rows import Material
    from rlkit.gan.gan import GAN
    from rlkit.gan.judging import Parts
    from rlkit.gan.quality_gate import Verdict

T = TypeVar("T")


@dataclass(frozen=True)
class Judgement:
    """What was found about a generator, and how."""

    verdict: Verdict
    """On its samples."""
    parts: Parts
    """Who saw which rows."""
    same: bool
    """Whether the data are those of its training."""
    extractor: FeatureExtractor
    """Of the features that were compared."""
    learnt: tuple[np.ndarray, np.ndarray | None] | None
    """Rows that it learnt from, of which copies were sought, with labels if they have any; None
    where nobody knew them."""


def judged(
    gan: GAN,
    material: Material,
    *,
    features: FeatureConfig,
    truncation: float,
    seed: int,
    learnt: Callable[[], Material] | None = None,
) -> Judgement:
    """Judge a generator by rows that it did not learn from.

    Of the data of its training, which a checksum tells, they are cut as then; of others none are
    taken as known. learnt: reads what it learnt from, to find copies where the data are others.
    Raises Mistake for too few rows, other ones than it makes, and without torchmetrics.
    """
    import numpy as np

    from rlkit.gan.judging import Judge, digest, parted

    known = gan.provenance
    split = as_trained(known.get("split"), SplitConfig, SplitConfig())
    same = digest(material.data, material.labels) == known.get("digest")
    parts = parted(len(material.data), material.labels, split if same else UNSEEN)
    training = (material, parts.learnt) if same else None
    if not same and learnt is not None:
        source = learnt()
        places = np.arange(len(source.data))
        if digest(source.data, source.labels) == known.get("digest"):
            places = parted(len(source.data), source.labels, split).learnt
        training = source, places
    seen = None
    if training is not None:
        source, places = training
        seen = source.data[places], None if source.labels is None else source.labels[places]
    with blaming_user(ValueError, ImportError):
        judge = Judge(
            material.data,
            material.labels,
            parts,
            features=features,
            training=None if seen is None else seen[0],
        )
        verdict = judge.verdict(gan, truncation=truncation, seed=seed)
    return Judgement(verdict, parts, same, judge.extractor, seen)


def as_trained(data: object, kind: type[T], default: T) -> T:
    """What a file says of a configuration, or the default where it says nothing sound."""
    from rlkit.configuration import ConfigurationError, from_json

    try:
        return default if data is None else from_json(data, kind)
    except ConfigurationError:
        return default
