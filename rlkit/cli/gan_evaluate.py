"""`rlkit gan evaluate`: how good a generator's examples are, and whether they may be used."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console
from tyro.conf import FlagCreatePairsOff, Positional

from rlkit.cli.gan_rows import print_verdict, read_material
from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.cli.options import parse
from rlkit.gan.features import FeatureConfig
from rlkit.gan.judging import JUDGE, UNSEEN, SplitConfig
from rlkit.observations import PlayConfig
from rlkit.plain_json import finite

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")


@dataclass(frozen=True)
class EvaluateOptions:
    """Judge a generator beside real rows, as much as those differ among themselves.

    Of the data that it was trained from, rows are cut as in training: the judge learns from some
    that the generator never saw, and others that neither saw are compared. Of other data, which the
    generator must not have seen, half teach the judge and half are compared.
    """

    file: Positional[Path]
    """As `rlkit gan train` wrote it."""
    source: Positional[str]
    """Real rows, named as for `rlkit gan train`. Play is recorded as it was for training unless
    --play says otherwise."""
    learnt: str | None = None
    """What the generator learnt from, named likewise, to find copies of it where the source is
    other data."""
    truncation: float = 1.0
    """In (0, 1]: a factor on the latents of what is judged; see `rlkit gan sample`."""
    judge: FeatureConfig = field(default_factory=lambda: JUDGE)
    """How the features and the classifier learn, by default as they did for training."""
    play: PlayConfig = field(default_factory=PlayConfig)
    """Who plays, for observations that are to be recorded."""
    seed: int = 0
    """Of the samples and of which rows are compared."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


def run(arguments: Sequence[str]) -> int:
    """Judge as `arguments` say."""
    options = parse(EvaluateOptions, arguments, "gan evaluate")
    if options.seed < 0:
        raise Mistake(f"--seed must be at least 0, got {options.seed}")
    if not 0.0 < options.truncation <= 1.0:
        raise Mistake(f"--truncation must be in (0, 1], got {options.truncation}")
    from rlkit.gan.gan_file import load_gan
    from rlkit.gan.judging import Judge, digest, parted

    gan = load_gan(options.file)
    known = gan.provenance
    as_trained = EvaluateOptions(
        options.file,
        options.source,
        judge=_configured(known.get("judge"), FeatureConfig, JUDGE),
        play=_configured(known.get("play"), PlayConfig, PlayConfig()),
    )
    options = parse(EvaluateOptions, arguments, "gan evaluate", as_trained)
    console = Console(stderr=True)
    material = read_material(options.source, options.play, console)
    data, labels = material.data, material.labels
    split = _configured(known.get("split"), SplitConfig, SplitConfig())
    same = digest(data, labels) == known.get("digest")
    training = None
    if not same and options.learnt is not None:
        training = _learnt(options, known.get("digest"), split, console)
    parts = parted(len(data), labels, split if same else UNSEEN)
    with blaming_user(ValueError, ImportError):
        judge = Judge(data, labels, parts, features=options.judge, training=training)
        verdict = judge.verdict(gan, truncation=options.truncation, seed=options.seed)
    counts = {
        "learnt": len(parts.learnt) if same else None,
        "judge": len(parts.judge),
        "compared": len(parts.compared),
    }
    if options.json:
        told: dict[str, Any] = {
            "file": str(options.file),
            "data": options.source,
            "trained_from_this_data": same,
            "rows": counts,
            "truncation": options.truncation,
            "seed": options.seed,
            "verdict": verdict.to_json(),
        }
        print(json.dumps(finite(told)))
        return 0
    if same:
        print(
            f"{options.file} learnt from {counts['learnt']:,} rows of {options.source}, and is"
            f" judged by {counts['compared']:,} others"
        )
    else:
        print(
            f"{options.file} was not trained from {options.source}: its {counts['compared']:,}"
            " rows are taken as never seen"
        )
    print(
        f"features learnt for {verdict.quality.pretext} from {counts['judge']:,} rows that neither"
        " the generator nor the comparison sees"
    )
    print_verdict(verdict)
    if judge.training is None:
        print("name the rows that it learnt from by --learnt, so that copies can be found")
    return 0


def _learnt(
    options: EvaluateOptions, known: object, split: SplitConfig, console: Console
) -> np.ndarray:
    """The rows that a generator learnt from: its part of data that is known again, or all."""
    from rlkit.gan.judging import digest, parted

    assert options.learnt is not None
    material = read_material(options.learnt, options.play, console)
    if digest(material.data, material.labels) != known:
        return material.data
    return material.data[parted(len(material.data), material.labels, split).learnt]


def _configured(data: object, kind: type[T], default: T) -> T:
    """What a file says of a configuration, or the default where it says nothing sound."""
    from rlkit.configuration import ConfigurationError, from_json

    try:
        return default if data is None else from_json(data, kind)
    except ConfigurationError:
        return default
