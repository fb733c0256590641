"""`rlkit train`: trains a recipe, any of whose settings can be changed by a flag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.cli.options import is_named, parse
from rlkit.cli.running import carry_out
from rlkit.recipe import Recipe
from rlkit.recipes import RECIPES, find_recipe, with_algorithm
from rlkit.run_folder import Run, RunError
from rlkit.sb3.config import StableBaselinesConfig
from rlkit.training import train

_USAGE = (
    "rlkit train RECIPE|--from RUN [--algorithm NAME] [--steps N | --minutes M] [--seed S] "
    "[--SETTING VALUE ...]"
)


@dataclass(frozen=True)
class TrainOptions:
    """Train a recipe from scratch. Every setting of the recipe has a flag."""

    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    """The recipe's settings. A budget given here replaces the recipe's."""
    runs: Path = Path("runs")
    """Folder in which the run's own folder is made."""


def run(arguments: Sequence[str]) -> int:
    """Train as `arguments` say."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return 0
    algorithm, arguments = _named_algorithm(arguments)
    recipe, options, command = _starting_point(arguments)
    if algorithm is not None:
        with blaming_user(ValueError, ImportError):
            recipe = with_algorithm(recipe, algorithm)
        command += f" --algorithm {algorithm}"
    parsed = parse(TrainOptions, options, command, default=TrainOptions(recipe))
    recipe = with_named_budget(_with_other_settings(parsed.recipe, recipe), options)
    try:
        return carry_out(lambda callbacks: train(recipe, runs=parsed.runs, callbacks=callbacks))
    except RunError as error:
        raise Mistake(f"{error}; --runs FOLDER writes elsewhere") from error


def with_named_budget(recipe: Recipe, options: Sequence[str]) -> Recipe:
    """The parsed recipe, with only the limit that the user named where it was just one."""
    steps, minutes = is_named("--steps", options), is_named("--minutes", options)
    with blaming_user(ValueError):
        if steps and not minutes:
            return replace(recipe, minutes=None)
        if minutes and not steps:
            return replace(recipe, steps=None)
    return recipe


def _with_other_settings(parsed: Recipe, start: Recipe) -> Recipe:
    """The parsed recipe with the settings, of another library's algorithm, that `start` has and the
    user did not name."""
    match parsed.algorithm, start.algorithm:
        case StableBaselinesConfig() as named, StableBaselinesConfig() as before:
            return replace(parsed, algorithm=named.over(before))
    return parsed


def _named_algorithm(arguments: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    """What `--algorithm` names, if it is there, and the other arguments."""
    for index, argument in enumerate(arguments):
        flag, equals, name = argument.partition("=")
        if flag == "--algorithm":
            after = index + 1 if equals else index + 2
            if not equals:
                name = "".join(arguments[index + 1 : after])
            if not name or name.startswith("-"):
                raise Mistake("--algorithm needs a name; `rlkit list algorithms` shows them")
            return name, [*arguments[:index], *arguments[after:]]
    return None, arguments


def _starting_point(arguments: Sequence[str]) -> tuple[Recipe, Sequence[str], str]:
    """The recipe to start from, the other arguments, and the command as typed so far."""
    first, *others = arguments
    if first.startswith("--from"):
        folder = first.removeprefix("--from=")
        if first == "--from":
            if not others:
                raise Mistake(f"--from needs a run folder: {_USAGE}")
            folder, *others = others
        return Run.open(folder).recipe(), others, f"train --from {folder}"
    if first.startswith("-"):
        raise Mistake(f"the recipe comes before {first}: {_USAGE}")
    with blaming_user(ValueError):
        return find_recipe(first), others, f"train {first}"


def _overview() -> str:
    return "\n".join(
        (
            f"usage: {_USAGE}",
            "",
            "Trains a recipe from scratch, or a new run with the configuration of an earlier one.",
            "",
            "recipes: " + ", ".join(RECIPES),
            "",
            "--algorithm replaces the recipe's algorithm by another with its own usual settings;",
            "`rlkit list algorithms` shows their names.",
            "",
            "`rlkit train RECIPE --help` lists every setting with its meaning and its default.",
        )
    )
