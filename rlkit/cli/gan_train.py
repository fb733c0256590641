"""`rlkit gan train`: a generator of examples like those of a file, or like recorded play;
of a file of pairs, one that turns pictures into others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from tyro.conf import FlagCreatePairsOff, Positional

from rlkit.cli.alarm_bar import AlarmBar
from rlkit.cli.gan_rows import holds_pairs, read_material, write_examples
from rlkit.cli.gan_translation import refuse, train_translation
from rlkit.cli.gan_verdicts import print_verdict, tell_training
from rlkit.cli.mistakes import blaming_user
from rlkit.cli.options import parse
from rlkit.cli.warning_lines import told_warnings
from rlkit.gan.configuration import GANConfig, ImageToImageConfig
from rlkit.gan.features import FeatureConfig
from rlkit.gan.judging import JUDGE, SplitConfig
from rlkit.observations import PlayConfig


@dataclass(frozen=True)
class TrainOptions:
    """Learn to make examples like given ones, or to turn pictures into others, and judge what was
    learnt by others of them."""

    source: Positional[str]
    """What from: a file of pictures or rows (.npz, with "images" or "observations", and "labels"
    if there are any), mnist for handwritten digits, or whose observations are to be recorded: a
    recipe, a registered environment, or a run's folder. Atari games give single frames, bins their
    heights with a millimetre a level. A file with "images" and "targets" (`rlkit gan pairs`)
    teaches to turn the ones into the others."""
    gan: GANConfig = field(default_factory=GANConfig)
    """What makes examples, and how it learns."""
    image_to_image: ImageToImageConfig = field(default_factory=ImageToImageConfig)
    """What turns pictures into others, and how it learns."""
    split: SplitConfig = field(default_factory=SplitConfig)
    """Which rows are kept from the generator, to judge it."""
    judge: FeatureConfig = field(default_factory=lambda: JUDGE)
    """How the features and the classifier learn by which it is judged."""
    play: PlayConfig = field(default_factory=PlayConfig)
    """Who plays, for observations that are to be recorded."""
    ignore_labels: FlagCreatePairsOff[bool] = False
    """Keep labels from the generator; it can then not be asked for any. Its judge knows them."""
    runs: Path = Path("runs")
    """Folder in which the generator's own folder is made."""
    keep: FlagCreatePairsOff[bool] = False
    """Keep all rows in the folder, rows.npz or pairs.npz, to evaluate by: they are cut as in
    training."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


def run(arguments: Sequence[str]) -> int:
    """Train as `arguments` say."""
    options = parse(TrainOptions, arguments, "gan train")
    if holds_pairs(options.source):
        why = f"is for examples, and {options.source} holds pairs: see --image-to-image"
        refuse(arguments, ("--gan", "--play", "--ignore-labels"), why)
        return train_translation(options)
    refuse(arguments, ("--image-to-image",), f"is for pairs, and {options.source} has no targets")
    import torch

    from rlkit.gan.board import GANBoard
    from rlkit.gan.gan import GAN
    from rlkit.gan.gan_file import save
    from rlkit.gan.generators import is_dense
    from rlkit.gan.judging import Judge, check_parts, digest, parted
    from rlkit.run_folder import new_folder, provenance

    console = Console(stderr=True)
    material = read_material(options.source, options.play, console)
    data, labels = material.data, material.labels
    parts = parted(len(data), labels, options.split)
    with blaming_user(ValueError, ImportError):
        check_parts(parts, None if options.ignore_labels else labels)
        is_dense(options.gan, data.shape[1:])  # raises where networks do not suit such examples
        judge = Judge(data, labels, parts, features=options.judge)
    folder = new_folder(options.runs / material.name, "gan", options.gan.seed)
    console.print(f"watch: tensorboard --logdir {options.runs}", highlight=False)
    if options.keep:
        write_examples(folder / "rows.npz", data, labels)
    gan = GAN(options.gan)
    conditions = None if labels is None or options.ignore_labels else labels[parts.learnt]
    with (
        blaming_user(ValueError),
        told_warnings(console) as told,
        GANBoard(folder) as board,
        AlarmBar(console, options.gan.epochs) as bar,
    ):
        device = "cuda" if torch.cuda.is_available() else "cpu"
        gan.fit(data[parts.learnt], conditions, on_epoch=[board, bar], device=device)
        board.show_end(gan)
    gan.provenance = {
        **material.source,
        "rows": len(data),
        "digest": digest(data, labels),
        "split": asdict(options.split),
        "judge": asdict(options.judge),
        **provenance(),
    }
    file = folder / "generator.safetensors"
    save(file, gan)
    with blaming_user(ValueError):
        verdict = judge.verdict(gan)
    described = tell_training(file, gan, parts, verdict, told)
    if options.json:
        print(described)
        return 0
    print(file)
    print_verdict(verdict)
    return 0
