"""`rlkit autoencoder train`: an autoencoder of an environment's observations, or of a file's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from tyro.conf import FlagCreatePairsOff, Positional

from rlkit.autoencoder.configuration import AutoencoderConfig
from rlkit.cli.epoch_bar import EpochBar
from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.cli.options import parse
from rlkit.cli.sources import recorded_frames
from rlkit.observations import PlayConfig
from rlkit.plain_json import write_finite

if TYPE_CHECKING:
    import numpy as np

    from rlkit.autoencoder.fitting import Epoch
    from rlkit.autoencoder.network import AutoencoderNetwork

_SHOWN = 2_000


@dataclass(frozen=True)
class TrainOptions:
    """Learn to code observations. Of an Atari game single frames are coded; agents then see the
    last few codes."""

    source: Positional[str]
    """Whose observations: a recipe, a registered environment, a run's folder, or a file of
    observations (.npz, as --keep writes it)."""
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    """What it is, and how it learns."""
    play: PlayConfig = field(default_factory=PlayConfig)
    """Who plays, for observations that are not in a file."""
    runs: Path = Path("runs")
    """Folder in which the autoencoder's own folder is made."""
    keep: FlagCreatePairsOff[bool] = False
    """Keep the recorded observations in the folder, to learn from again."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


def run(arguments: Sequence[str]) -> int:
    """Train as `arguments` say."""
    options = parse(TrainOptions, arguments, "autoencoder train")
    import torch

    from rlkit.autoencoder.autoencoder import Autoencoder
    from rlkit.autoencoder.board import Board
    from rlkit.autoencoder.quality import measure
    from rlkit.observations import write_array
    from rlkit.run_folder import new_folder

    console = Console(stderr=True)
    observations, provenance, name = _observations(options, console)
    held_out = _held_out(options, len(observations))
    learnt, others = observations[held_out:], observations[:held_out]
    autoencoder = Autoencoder(options.autoencoder)
    folder = new_folder(options.runs / name, "autoencoder", options.autoencoder.seed)
    console.print(f"watch: tensorboard --logdir {options.runs}", highlight=False)
    with blaming_user(ValueError, ArithmeticError), Board(folder, others[:_SHOWN]) as board:
        with EpochBar(console, options.autoencoder.epochs) as bar:

            def show(epoch: Epoch, network: AutoencoderNetwork) -> None:
                bar.show(epoch.number, f"loss {epoch.loss:.4g}, held out {epoch.held_out:.4g}")

            device = "cuda" if torch.cuda.is_available() else "cpu"
            autoencoder.fit(learnt, held_out=others, on_epoch=[board, show], device=device)
        board.show_codes(autoencoder)
    quality = measure(autoencoder, others)
    autoencoder.provenance = {**provenance, "epochs": len(autoencoder.epochs)}
    file = folder / "autoencoder.safetensors"
    autoencoder.save(file)
    if options.keep:
        write_array(folder / "observations.npz", "observations", observations)
    told = write_finite(
        folder / "autoencoder.json",
        {
            "file": str(file),
            "config": asdict(options.autoencoder),
            "provenance": autoencoder.provenance,
            "epochs": [asdict(epoch) for epoch in autoencoder.epochs],
            "quality": quality.to_json(),
        },
    )
    if options.json:
        print(json.dumps(told))
        return 0
    print(
        f"{file}\n  {quality.observation_bytes:,} bytes in {quality.code_bytes} "
        f"({quality.ratio:.0f} to 1), error {quality.error_of_bytes:.3f} of the variance, "
        f"{quality.encoded_per_second:,.0f} observations/s"
    )
    return 0


def _held_out(options: TrainOptions, count: int) -> int:
    """How many of so many observations are not learnt from."""
    held_out = round(options.autoencoder.held_out * count)
    if not 0 < held_out < count:
        raise Mistake(f"{count} observations are too few to hold some out")
    return held_out


def _observations(
    options: TrainOptions, console: Console
) -> tuple[np.ndarray, dict[str, Any], str]:
    """Observations, where they come from, and what their folder is called.

    The first of them, as many as are held out, are not learnt from; of recorded play, they are of
    episodes of their own.
    """
    import numpy as np

    from rlkit.observations import OTHER_EPISODES, read_real_rows

    if options.source.endswith(".npz"):
        file = Path(options.source)
        return read_real_rows(file, "observations"), {"file": file.name}, file.stem
    play = options.play
    held_out = _held_out(options, play.count)
    with blaming_user(ValueError):
        learnt = replace(play, count=play.count - held_out)
        others = replace(play, count=held_out, seed=play.seed + OTHER_EPISODES)
    recorded = [recorded_frames(options.source, each, console) for each in (others, learnt)]
    observations = np.concatenate([each.observations for each in recorded])
    return observations, {**recorded[1].source, "play": asdict(play)}, recorded[1].world
