"""`rlkit resume`: goes on with a training where its last checkpoint was taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tyro.conf import Positional

from rlkit.checkpoint import CheckpointStore
from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.cli.options import parse
from rlkit.cli.running import carry_out, command_line
from rlkit.recipe import Recipe
from rlkit.run_folder import Run
from rlkit.training import resume


@dataclass(frozen=True)
class ResumeOptions:
    """Go on with a training from a checkpoint, with everything as it was."""

    run: Positional[Path]
    """The run's folder."""
    checkpoint: int | None = None
    """Environment steps of the checkpoint to go on from, the last one by default; later ones are
    removed."""
    steps: int | None = None
    """A new budget in place of the run's: environment steps in all, those done included."""
    minutes: float | None = None
    """A new budget in place of the run's: minutes of training in all, those done included."""
    learning_rate: float | None = None
    """A new step size for Adam, as after a training that diverged."""


def run(arguments: Sequence[str]) -> int:
    """Resume as `arguments` say."""
    options = parse(ResumeOptions, arguments, "resume")
    run = Run.open(options.run)
    with run.lock():
        pass  # one that is being trained has nothing to say but that, whatever it has saved so far
    before = run.recipe()
    with blaming_user(ValueError):
        recipe = _changed(before, options)
    kept = CheckpointStore(run.checkpoints).steps()
    if not kept:
        again = command_line("rlkit", "train", "--from", run.path)
        raise Mistake(f"{run.path} has no checkpoint yet; begin again with: {again}")
    done = options.checkpoint or kept[-1]
    if options.steps is not None and options.steps <= done:
        raise Mistake(
            f"{run.path} has taken {done} steps already; --steps counts those too and must be more"
        )
    evaluations = run.evaluations()
    if recipe == before and options.checkpoint is None and evaluations and evaluations[-1]["final"]:
        raise Mistake(f"{run.path} is finished; --steps N or --minutes M (in all) makes it go on")
    return carry_out(
        lambda callbacks: resume(
            run,
            recipe=None if recipe == before else recipe,
            checkpoint=options.checkpoint,
            callbacks=callbacks,
        )
    )


def _changed(recipe: Recipe, options: ResumeOptions) -> Recipe:
    if options.steps is not None or options.minutes is not None:
        recipe = replace(recipe, steps=options.steps, minutes=options.minutes)
    if options.learning_rate is not None:
        algorithm = replace(recipe.algorithm, learning_rate=options.learning_rate)
        recipe = replace(recipe, algorithm=algorithm)
    return recipe
