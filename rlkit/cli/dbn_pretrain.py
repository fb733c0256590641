"""`rlkit dbn pretrain`: a stack from recorded play, with which a recipe's agent then starts."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from tyro.conf import FlagCreatePairsOff, Positional

from rlkit.cli.dbn_rows import StackBar, print_quality
from rlkit.cli.mistakes import blaming_user
from rlkit.cli.options import parse
from rlkit.cli.warning_lines import told_warnings
from rlkit.dbn.pretrain import PretrainConfig
from rlkit.plain_json import write_finite
from rlkit_agents.networks import ActivationName

if TYPE_CHECKING:
    from rlkit.dbn.coverage import Coverage
    from rlkit.dbn.pretrain import Material
    from rlkit.dbn.rbm import OnEpoch
    from rlkit.recipe import Recipe

FROZEN_SHARE = 10
"""The training that is proposed keeps the torso as it is for a part of its steps, one of so many:
the new head's first errors are large, and would shake what was learned."""


@dataclass(frozen=True)
class PretrainOptions(PretrainConfig):
    """Record play of a recipe's environment, learn a stack whose layers are those of its agent's
    torso, and print the command that trains the agent from there."""

    recipe: Positional[str] = field(kw_only=True)
    """Whose torso is "mlp"."""
    activation: ActivationName | None = None
    """Of the torso, instead of the recipe's; with sigmoid and tanh its features are the stack's."""
    hidden_sizes: tuple[int, ...] | None = None
    """Units of the torso's layers, instead of the recipe's."""
    layer_norm: Literal["none", "dense", "all"] | None = None
    """Of the torso, instead of the recipe's; with none its features are the stack's."""
    runs: Path = Path("runs")
    """Folder in which the stack's own folder is made."""
    keep: FlagCreatePairsOff[bool] = False
    """Keep the recorded observations in the folder."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


def run(arguments: Sequence[str]) -> int:
    """Pretrain as `arguments` say."""
    options = parse(PretrainOptions, arguments, "dbn pretrain")
    from rlkit.dbn import rbm_file
    from rlkit.dbn.board import Board
    from rlkit.dbn.pretrain import pretrain, torso_network
    from rlkit.environments import environment_id
    from rlkit.observations import write_array
    from rlkit.recipes import find_recipe
    from rlkit.run_folder import new_folder

    console = Console(stderr=True)
    with blaming_user(ValueError):
        changes = _changes(options)
        recipe = _changed(find_recipe(options.recipe), changes)
    config = PretrainConfig(**{f.name: getattr(options, f.name) for f in fields(PretrainConfig)})
    parent = options.runs / environment_id(recipe.environment).replace("/", "-")
    folder: list[Path] = []
    with (
        blaming_user(ValueError, ArithmeticError),
        told_warnings(console) as warned,
        ExitStack() as opened,
    ):

        def watchers(given: Material) -> Sequence[OnEpoch]:
            folder.append(new_folder(parent, f"{recipe.name}-dbn", options.seed))
            console.print(f"watch: tensorboard --logdir {options.runs}", highlight=False)
            board = Board(folder[0], given.held_out, given.shape)
            bar = StackBar(console, len(torso_network(recipe).hidden_sizes) * options.epochs)
            return [opened.enter_context(board), opened.enter_context(bar)]

        console.print(f"recording {options.play.count:,} observations", highlight=False)
        made = pretrain(recipe, config, watchers)
    file = folder[0] / "stack.safetensors"
    shape = list(made.observations.shape[1:])
    rbm_file.save(file, made.dbn, provenance={**made.provenance, "shape": shape})
    if options.keep:
        write_array(folder[0] / "observations.npz", "observations", made.observations)
    command = _next_command(recipe, file, changes)
    told = write_finite(
        folder[0] / "stack.json",
        {
            "file": str(file),
            "next": command,
            "notes": list(made.notes),
            "warnings": warned,
            "quality": made.quality.to_json(),
            "spread": made.spread.to_json(),
            "coverage": None if made.coverage is None else made.coverage.to_json(),
            "provenance": made.provenance,
            "epochs": [[asdict(epoch) for epoch in layer.history_] for layer in made.dbn.layers_],
        },
    )
    if options.json:
        print(json.dumps(told))
        return 0
    print(file)
    print_quality(made.quality)
    print(
        f"  {made.spread.distinct_rows:,} of {made.spread.rows:,} observations differ,"
        f" {made.spread.components} components hold 95 % of their variance,"
        f" {made.spread.effective_cells:.1f} effective cells"
    )
    if made.coverage is not None:
        print(_coverage_line(made.coverage))
    for note in made.notes:
        print(f"  note: {note}")
    print(f"next: {command}")
    return 0


def _changes(options: PretrainOptions) -> dict[str, object]:
    """Fields of the recipe's network that the user names."""
    named = {name: getattr(options, name) for name in ("activation", "hidden_sizes", "layer_norm")}
    return {name: value for name, value in named.items() if value is not None}


def _changed(recipe: Recipe, changes: dict[str, object]) -> Recipe:
    from rlkit.dbn.pretrain import torso_network

    network = replace(torso_network(recipe), **changes)  # pyright: ignore[reportArgumentType]
    return replace(recipe, algorithm=replace(recipe.algorithm, network=network))  # pyright: ignore[reportCallIssue]


def _next_command(recipe: Recipe, file: Path, changes: dict[str, object]) -> str:
    words = ["rlkit", "train", recipe.name, "--pretrained-torso", str(file)]
    if recipe.steps is not None:
        words += ["--frozen-torso-steps", str(recipe.steps // FROZEN_SHARE)]
    for name, value in changes.items():
        words.append(f"--algorithm.network.{name.replace('_', '-')}")
        words += map(str, value) if isinstance(value, tuple) else [str(value)]
    return shlex.join(words)


def _coverage_line(told: Coverage) -> str:
    return (
        f"  of the reference, {told.cells:.0%} of the cells are visited (attainable"
        f" {told.cells_attainable:.0%}) and {told.neighbours:.0%} of the observations have a"
        f" neighbour (attainable {told.neighbours_attainable:.0%})"
    )
