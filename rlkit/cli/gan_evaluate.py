"""`rlkit gan evaluate`: how good a generator's examples are, and whether they may be used."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from tyro.conf import FlagCreatePairsOff, Positional

from rlkit.cli.gan_judgement import Judgement, as_trained, judged
from rlkit.cli.gan_rows import read_material
from rlkit.cli.gan_translation import evaluate_translation, refuse
from rlkit.cli.gan_verdicts import print_verdict
from rlkit.cli.mistakes import Mistake
from rlkit.cli.options import check_least, parse
from rlkit.gan.features import FeatureConfig
from rlkit.gan.judging import JUDGE
from rlkit.observations import PlayConfig
from rlkit.plain_json import finite


@dataclass(frozen=True)
class EvaluateOptions:
    """Judge a generator beside real rows, as much as those differ among themselves; one that turns
    pictures into others, by a file of pairs.

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
    store: FlagCreatePairsOff[bool] = False
    """Write the verdict on one that turns pictures into others into its file, where trainings look
    for it."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


def run(arguments: Sequence[str]) -> int:
    """Judge as `arguments` say."""
    options = parse(EvaluateOptions, arguments, "gan evaluate")
    check_least(options, seed=0)
    if not 0.0 < options.truncation <= 1.0:
        raise Mistake(f"--truncation must be in (0, 1], got {options.truncation}")
    from rlkit.gan.gan import ImageToImage
    from rlkit.gan.gan_file import load

    generator = load(options.file)
    known = generator.provenance
    trained = EvaluateOptions(
        options.file,
        options.source,
        judge=as_trained(known.get("judge"), FeatureConfig, JUDGE),
        play=as_trained(known.get("play"), PlayConfig, PlayConfig()),
    )
    options = parse(EvaluateOptions, arguments, "gan evaluate", trained)
    if isinstance(generator, ImageToImage):
        why = f"is for generators of examples; {options.file} turns pictures into others"
        refuse(arguments, ("--learnt", "--truncation", "--play"), why)
        return evaluate_translation(generator, options)
    why = f"is for what turns pictures into others; {options.file} makes examples"
    refuse(arguments, ("--store",), why)
    console = Console(stderr=True)
    learnt = None
    if options.learnt is not None:
        learnt = partial(read_material, options.learnt, options.play, console)
    judgement = judged(
        generator,
        read_material(options.source, options.play, console),
        features=options.judge,
        truncation=options.truncation,
        seed=options.seed,
        learnt=learnt,
    )
    _tell(options, judgement)
    return 0


def _tell(options: EvaluateOptions, judgement: Judgement) -> None:
    """Print what was found."""
    same, parts, verdict = judgement.same, judgement.parts, judgement.verdict
    counts = {
        "learnt": len(parts.learnt),
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
        return
    if same:
        print(
            f"{options.file} learnt from {counts['learnt']:,} rows of {options.source}, and is"
            f" judged by {counts['compared']:,} others"
        )
    else:
        print(
            f"{options.file} was trained from other data than {options.source}, and is judged by"
            f" {counts['compared']:,} of its rows"
        )
        if counts["learnt"]:
            print(f"{counts['learnt']:,} rows that it learnt from all the same are left out")
    print(
        f"features learnt for {verdict.quality.pretext} from {counts['judge']:,} rows that neither"
        " the generator nor the comparison sees"
    )
    print_verdict(verdict)
    if judgement.learnt is None:
        print("name the rows that it learnt from by --learnt, so that copies can be found")
