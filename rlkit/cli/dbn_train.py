"""`rlkit dbn train`: a Boltzmann machine, or a stack of them, of rows or of recorded play."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro
from rich.console import Console
from tyro.conf import FlagCreatePairsOff, Positional

from rlkit.cli.dbn_rows import (
    StackBar,
    binarised,
    is_file_or_digits,
    print_quality,
    read_rows,
)
from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.cli.options import is_named, parse
from rlkit.cli.sources import DIGITS, recorded
from rlkit.cli.warning_lines import told_warnings
from rlkit.dbn.rbm_config import RBMConfig
from rlkit.observations import PlayConfig
from rlkit.plain_json import write_finite

if TYPE_CHECKING:
    import numpy as np

    from rlkit.dbn.dbn import DBNConfig
    from rlkit.dbn.machine import VisibleUnits


@dataclass(frozen=True)
class TrainOptions:
    """Learn a restricted Boltzmann machine, or a stack of them."""

    source: Positional[str]
    """What from: a file of rows (.npz), mnist for handwritten digits, or whose observations are to
    be recorded: a recipe, a registered environment, or a run's folder."""
    layers: tuple[int, ...] = ()
    """Hidden units of each layer of a stack, from the bottom up; none is one machine of
    --rbm.hidden-units."""
    rbm: RBMConfig = field(default_factory=RBMConfig)
    """How each layer learns. Without --rbm.visible the units are those that fit the rows; real
    values then start from tempered chains and small steps, and layers above from the usual ones."""
    binarise: FlagCreatePairsOff[bool] = False
    """Take 1 for numbers of at least 0.5 (bytes: 127.5) and 0 for others."""
    play: PlayConfig = field(default_factory=PlayConfig)
    """Who plays, for observations that are to be recorded."""
    runs: Path = Path("runs")
    """Folder in which the machine's own folder is made."""
    keep: FlagCreatePairsOff[bool] = False
    """Keep the rows in the folder: learnt.npz, and held_out.npz to evaluate by."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


def run(arguments: Sequence[str]) -> int:
    """Train as `arguments` say."""
    options = parse(TrainOptions, arguments, "dbn train")
    import numpy as np

    from rlkit.dbn import rbm_file
    from rlkit.dbn.board import Board
    from rlkit.dbn.pretrain import learn, material
    from rlkit.dbn.quality import measure
    from rlkit.observations import write_array
    from rlkit.run_folder import new_folder, provenance

    console = Console(stderr=True)
    observations, visible, source, name = _observations(options, console)
    if is_named("--rbm.visible", arguments):
        visible = options.rbm.visible
    if visible == "gaussian":
        default = TrainOptions(tyro.MISSING, rbm=RBMConfig.gaussian())
        options = parse(TrainOptions, arguments, "dbn train", default)
    options = replace(options, rbm=replace(options.rbm, visible=visible))
    stack = _stack(options)
    seed = options.rbm.seed
    order = np.random.default_rng(seed).permutation(len(observations))
    with blaming_user(ValueError):
        given = material(observations[order], visible, options.rbm.held_out_share)
    folder = new_folder(options.runs / name, "dbn", seed)
    console.print(f"watch: tensorboard --logdir {options.runs}", highlight=False)
    epochs = sum(layer.epochs for layer in stack.layers)
    with (
        blaming_user(ValueError, ArithmeticError),
        told_warnings(console) as told,
        Board(folder, given.held_out, given.shape) as board,
        StackBar(console, epochs) as bar,
    ):
        dbn = learn(given, stack, [board, bar])
    split = len(given.held_out)
    if options.keep:
        write_array(folder / "held_out.npz", "observations", observations[order[:split]])
        write_array(folder / "learnt.npz", "observations", observations[order[split:]])
    rows = _rows(observations[order])
    quality = measure(dbn, rows[:split], rows[split:])
    history = [[asdict(epoch) for epoch in layer.history_] for layer in dbn.layers_]
    came_about = {
        **source,
        "shape": list(observations.shape[1:]),
        "binarised": options.binarise,
        "rows": len(observations),
        **provenance(),
    }
    file = folder / "machine.safetensors"
    saved = dbn if options.layers else dbn.layers_[0]
    rbm_file.save(file, saved, provenance=came_about)
    told_all = write_finite(
        folder / "dbn.json",
        {
            "file": str(file),
            "config": asdict(stack),
            "provenance": came_about,
            "epochs": history,
            "quality": quality.to_json(),
            "warnings": told,
        },
    )
    if options.json:
        print(json.dumps(told_all))
        return 0
    print(file)
    print_quality(quality)
    return 0


def _stack(options: TrainOptions) -> DBNConfig:
    """The layers, each with a seed of its own that the stack's gives."""
    from rlkit.dbn.dbn import DBNConfig

    lowest = options.rbm
    sizes = options.layers or (lowest.hidden_units,)
    if min(sizes) < 1:
        raise Mistake(f"--layers must be at least 1 each, got {min(sizes)}")
    above = replace(lowest, visible="bernoulli")
    if lowest.visible == "gaussian":
        above = RBMConfig(
            epochs=lowest.epochs,
            batch_size=lowest.batch_size,
            weight_decay=lowest.weight_decay,
            held_out_share=lowest.held_out_share,
        )
    layers = [replace(above, hidden_units=size, seed=0) for size in sizes]
    layers[0] = replace(lowest, hidden_units=sizes[0], seed=0)
    return DBNConfig(tuple(layers), lowest.seed)


def _rows(observations: np.ndarray) -> np.ndarray:
    from rlkit.dbn.rows import flat_rows

    return flat_rows(observations)


def _observations(
    options: TrainOptions, console: Console
) -> tuple[np.ndarray, VisibleUnits, dict[str, Any], str]:
    """What to learn from, the units that fit, where it comes from, and its folder's name."""
    from rlkit.dbn.pretrain import fitting_units, observed_space

    if is_file_or_digits(options.source):
        observations = read_rows(options.source)
        name = DIGITS if options.source == DIGITS else Path(options.source).stem
        source: dict[str, Any] = {"file": Path(options.source).name}
        space = None
    else:
        from rlkit.observations import single_frames
        from rlkit.policies import find_environment

        with blaming_user(ValueError):
            environment = find_environment(options.source)
            if options.play.size is not None:
                environment = single_frames(environment, options.play.size)
            space = observed_space(environment)
            fitting_units(space)
        play = recorded(environment, options.play, console)
        observations, name, source = play.observations, play.world, play.source
    if options.binarise:
        return binarised(observations), "bernoulli", source, name
    if space is not None:
        return observations, fitting_units(space), source, name
    with blaming_user(ValueError):
        rows = _rows(observations)
    bounded = bool((rows >= 0.0).all() and (rows <= 1.0).all())
    return observations, "bernoulli" if bounded else "gaussian", source, name
