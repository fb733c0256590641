"""How `rlkit gan train` and `rlkit gan evaluate` go about pairs of pictures: a translation in place
of a generator of examples."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from rlkit.cli.gan_verdicts import print_translation_verdict, tell_training
from rlkit.cli.mistakes import Mistake, blaming_user

if TYPE_CHECKING:
    from rlkit.cli.gan_evaluate import EvaluateOptions
    from rlkit.cli.gan_train import TrainOptions
    from rlkit.gan.gan import ImageToImage


def refuse(arguments: Sequence[str], flags: Sequence[str], why: str) -> None:
    """Raise Mistake where the user gave one of the flags, or one within such a group."""
    for argument in arguments:
        named = argument.split("=", 1)[0]
        for flag in flags:
            if named == flag or named.startswith(f"{flag}."):
                raise Mistake(f"{named} {why}")


def train_translation(options: TrainOptions) -> int:
    """Learn from a file of pairs what turns its images into its targets, and judge that."""
    import torch

    from rlkit.cli.alarm_bar import AlarmBar
    from rlkit.cli.warning_lines import told_warnings
    from rlkit.gan.board import ImageToImageBoard
    from rlkit.gan.gan import ImageToImage
    from rlkit.gan.gan_file import save
    from rlkit.gan.image_to_image import PatchDiscriminator, UNet
    from rlkit.gan.judging import parted
    from rlkit.gan.pairs import read_pairs, write_pairs
    from rlkit.gan.translation_judging import TranslationJudge, pairs_digest
    from rlkit.run_folder import new_folder, provenance

    console = Console(stderr=True)
    config, source = options.image_to_image, Path(options.source)
    inputs, targets = read_pairs(source)
    parts = parted(len(inputs), None, options.split)
    with blaming_user(ValueError, ImportError):
        with torch.device("meta"):  # raises where networks do not suit such pictures
            shape, outputs = inputs.shape[1:], targets.shape[1]
            UNet(config, shape, outputs)
            PatchDiscriminator(config, shape, outputs)
        judge = TranslationJudge(inputs, targets, parts, features=options.judge)
    folder = new_folder(options.runs / source.stem, "image-to-image", config.seed)
    console.print(f"watch: tensorboard --logdir {options.runs}", highlight=False)
    if options.keep:
        write_pairs(folder / "pairs.npz", inputs, targets)
    estimator = ImageToImage(config)
    with (
        blaming_user(ValueError),
        told_warnings(console) as told,
        ImageToImageBoard(folder, judge.inputs, judge.targets) as board,
        AlarmBar(console, config.epochs) as bar,
    ):
        device = "cuda" if torch.cuda.is_available() else "cpu"
        learnt = parts.learnt
        estimator.fit(inputs[learnt], targets[learnt], on_epoch=[board, bar], device=device)
    verdict = judge.verdict(estimator)
    estimator.provenance = {
        "file": source.name,
        "rows": len(inputs),
        "digest": pairs_digest(inputs, targets),
        "split": asdict(options.split),
        "judge": asdict(options.judge),
        "verdict": verdict.to_json(),
        "judged_by": source.name,
        **provenance(),
    }
    file = folder / "generator.safetensors"
    save(file, estimator)
    described = tell_training(file, estimator, parts, verdict, told)
    if options.json:
        print(described)
        return 0
    print(file)
    print_translation_verdict(verdict)
    return 0


def evaluate_translation(estimator: ImageToImage, options: EvaluateOptions) -> int:
    """Judge a translation by pairs that it did not learn from."""
    from rlkit.cli.gan_judgement import parts_for
    from rlkit.gan.gan_file import save
    from rlkit.gan.pairs import read_pairs
    from rlkit.gan.translation_judging import TranslationJudge, pairs_digest

    if not options.source.endswith(".npz"):
        raise Mistake(
            f"{options.file} turns pictures into others, and is judged by a file of pairs (.npz),"
            f" not by {options.source}"
        )
    inputs, targets = read_pairs(options.source)
    known = estimator.provenance
    same = pairs_digest(inputs, targets) == known.get("digest")
    parts = parts_for(estimator, inputs, targets, same=same)
    with blaming_user(ValueError, ImportError):
        judge = TranslationJudge(inputs, targets, parts, features=options.judge)
        verdict = judge.verdict(estimator, seed=options.seed)
    if options.store:
        estimator.provenance = {
            **known,
            "verdict": verdict.to_json(),
            "judge": asdict(options.judge),
            "judged_by": Path(options.source).name,
        }
        save(options.file, estimator)
    if options.json:
        told: dict[str, Any] = {
            "file": str(options.file),
            "data": options.source,
            "trained_from_this_data": same,
            "rows": {
                "learnt": len(parts.learnt),
                "judge": len(parts.judge),
                "compared": len(parts.compared),
            },
            "seed": options.seed,
            "verdict": verdict.to_json(),
        }
        print(json.dumps(told))
        return 0
    count = len(parts.learnt)
    learnt = f"learnt from {count:,} other pairs of" if count else "did not learn from"
    print(f"{options.file} {learnt} {options.source}")
    print(
        f"{len(parts.compared):,} pairs are compared, by features that are learnt from"
        f" {len(parts.judge):,} others"
    )
    print_translation_verdict(verdict)
    return 0
