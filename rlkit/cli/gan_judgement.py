"""How the commands of `rlkit gan` judge a generator of examples by data that a user names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.gan.features import FeatureConfig, FeatureExtractor
from rlkit.gan.judging import SplitConfig

if TYPE_CHECKING:
    import numpy as np

    from rlkit.cli.gan_rows import Material
    from rlkit.gan.gan import GAN, ImageToImage
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

    Of the data of its training, which a checksum tells, they are cut as then; of others those are
    left out that it learnt from, row by row. learnt: reads what it learnt from, to find copies
    where the data are others.
    Raises Mistake for too few rows, other ones than it makes, what it did not learn from given as
    `learnt`, and without torchmetrics.
    """
    import numpy as np

    from rlkit.gan.fingerprints import fingerprints
    from rlkit.gan.judging import Judge, digest

    same = digest(material.data, material.labels) == gan.provenance.get("digest")
    parts = parts_for(gan, material.data, labels=material.labels, same=same)
    source, places = material, parts.learnt
    if not same and learnt is not None:
        source = learnt()
        places = np.flatnonzero(np.isin(fingerprints(source.data), gan.learnt_rows_))
        if not len(places):
            raise Mistake("it learnt from none of the rows that --learnt names")
    seen = None
    if len(places):
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


def parts_for(
    estimator: GAN | ImageToImage,
    *columns: np.ndarray,
    labels: np.ndarray | None = None,
    same: bool,
) -> Parts:
    """Who sees which rows: of the data of its training (`same`) as then, of others those that it
    did not learn from. columns: arrays (count, ...), whose rows are what it was fitted to."""
    import numpy as np

    from rlkit.gan.fingerprints import fingerprints
    from rlkit.gan.judging import parted, unseen_parts

    if same:
        split = as_trained(estimator.provenance.get("split"), SplitConfig, SplitConfig())
        return parted(len(columns[0]), labels, split)
    return unseen_parts(np.isin(fingerprints(*columns), estimator.learnt_rows_), labels)


def as_trained(data: object, kind: type[T], default: T) -> T:
    """What a file says of a configuration, or the default where it says nothing sound."""
    from rlkit.configuration import ConfigurationError, from_json

    try:
        return default if data is None else from_json(data, kind)
    except ConfigurationError:
        return default
