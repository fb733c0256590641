"""How the commands of `rlkit gan` judge a generator of examples by data that a user names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from rlkit.cli.mistakes import blaming_user
from rlkit.gan.features import FeatureConfig
from rlkit.gan.judging import UNSEEN, SplitConfig

if TYPE_CHECKING:
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
    copies_sought: bool
    """Whether anybody knew what copies to look for."""


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
    from rlkit.gan.judging import Judge, digest, parted

    known = gan.provenance
    split = as_trained(known.get("split"), SplitConfig, SplitConfig())
    same = digest(material.data, material.labels) == known.get("digest")
    training = None
    if not same and learnt is not None:
        source = learnt()
        training = source.data
        if digest(source.data, source.labels) == known.get("digest"):
            training = training[parted(len(training), source.labels, split).learnt]
    parts = parted(len(material.data), material.labels, split if same else UNSEEN)
    with blaming_user(ValueError, ImportError):
        judge = Judge(material.data, material.labels, parts, features=features, training=training)
        verdict = judge.verdict(gan, truncation=truncation, seed=seed)
    return Judgement(verdict, parts, same, judge.training is not None)


def as_trained(data: object, kind: type[T], default: T) -> T:
    """What a file says of a configuration, or the default where it says nothing sound."""
    from rlkit.configuration import ConfigurationError, from_json

    try:
        return default if data is None else from_json(data, kind)
    except ConfigurationError:
        return default
