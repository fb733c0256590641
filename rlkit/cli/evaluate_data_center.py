"""`rlkit evaluate` for a data centre: a policy beside other controllers, through the same years."""

from __future__ import annotations

import difflib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.cli.options import is_named

if TYPE_CHECKING:
    from rlkit.cli.evaluate import EvaluateOptions
    from rlkit.data_center_evaluation import DataCenterEvaluation
    from rlkit.environments import Environment
    from rlkit.policies import LoadedPolicy
    from rlkit_envs.data_center.configuration import DataCenterConfig
    from rlkit_envs.data_center.controllers.line_up import Build

ENVIRONMENT_ID = "rlkit/DataCenterCooling-v0"
"""Also what the user names to run the other controllers without a policy."""


@dataclass(frozen=True)
class DataCenterOptions:
    """Only for rlkit/DataCenterCooling-v0, where the policy runs beside other controllers, all of
    them through the same years."""

    controllers: tuple[str, ...] = ()
    """Which others, by name, such as `fixed-20 pid`, or `none`. By default all; under EnergyPlus
    all that do without our own plant."""
    weather: tuple[str, ...] = ()
    """Climates, `tmy3:PLACE` for typical years (needs the extra energyplus), or paths of .epw
    files. By default five climates, whose years follow from --seed and are never trained on."""
    days: int = 365
    """Length of each year, 1 to 365."""
    first_day: int = 0
    """Where each year begins, 0 for 1 January."""
    engine: Literal["plant", "energyplus"] = "plant"
    """Our own simulator, or EnergyPlus (needs the extra energyplus), which takes hours a year."""


def check_options(arguments: Sequence[str], environment: str) -> None:
    """Raise Mistake where `arguments` of `evaluate` name an option that the environment has not."""
    own = [f"--{field.name.replace('_', '-')}" for field in fields(DataCenterOptions)]
    if environment == ENVIRONMENT_ID:
        if is_named("--episodes", arguments):
            raise Mistake(
                "--episodes has no meaning in a data centre, where every climate has one episode "
                "of --days; leave it out"
            )
        return
    for flag in own:
        if is_named(flag, arguments):
            raise Mistake(f"{flag} is only for {ENVIRONMENT_ID}, and this is {environment}")


def run(loaded: LoadedPolicy | None, options: EvaluateOptions) -> int:
    """Evaluate the policy beside other controllers, or without one those alone."""
    from rlkit.data_center_evaluation import site_of
    from rlkit.data_center_years import UNSEEN_CLIMATES, UNSEEN_SEED, seen_years, unseen_years
    from rlkit_envs.data_center.environment import DataCenterEnvs

    wanted = options.data_center
    with blaming_user(ValueError, OSError, ImportError):
        config = unseen_years(
            site_of(_environment(loaded, options.on)),
            weather=wanted.weather or UNSEEN_CLIMATES,
            seed=UNSEEN_SEED + options.seed,
            days=wanted.days,
            first_day=wanted.first_day,
            engine=wanted.engine,
        )
        DataCenterEnvs(1, config=config).close()  # finds out whether that is a site
    builds = _others(wanted.controllers, wanted.engine)
    if loaded is not None:
        builds |= _agents(loaded, options.seed if options.stochastic else None)
    if not builds:
        raise Mistake("--controllers none leaves nobody to evaluate: name a policy, or controllers")
    with redirect_stdout(sys.stderr), blaming_user(ImportError):
        evaluation = _evaluate(builds, config, options)
    result = evaluation.to_json()
    if loaded is not None:
        result |= _of_policy(evaluation, loaded, options)
        result["protocol"]["seen_in_training"] = seen_years(_trained_in(loaded), config)
    if options.json:
        print(json.dumps(result))
        return 0
    from rlkit.cli.data_center_tables import print_tables

    print_tables(result, None if loaded is None else str(loaded.path))
    return 0


def _environment(loaded: LoadedPolicy | None, on: str | None) -> Environment:
    """Where to evaluate: as for any policy, `loaded` has it; without one `on` or the default."""
    if loaded is not None:
        return loaded.environment
    from rlkit.policies import find_environment

    return find_environment(on or ENVIRONMENT_ID)


def _others(names: Sequence[str], engine: str) -> dict[str, Build]:
    """The controllers that the user named, or all that can run there."""
    from rlkit_envs.data_center.controllers.line_up import LINE_UP, NEEDS_PLANT

    if not names:
        left_out = NEEDS_PLANT if engine != "plant" else frozenset()
        return {name: build for name, build in LINE_UP.items() if name not in left_out}
    if list(names) == ["none"]:
        return {}
    known = {_typed(name): name for name in LINE_UP}
    chosen = []
    for name in names:
        if _typed(name) not in known:
            near = difflib.get_close_matches(_typed(name), known, n=1, cutoff=0.4) or known
            raise Mistake(f"no controller {name!r}; did you mean {' or '.join(near)}?")
        chosen.append(known[_typed(name)])
        if chosen[-1] in NEEDS_PLANT and engine != "plant":
            raise Mistake(f"{chosen[-1]} looks into our own plant; leave out --engine {engine}")
    return {name: LINE_UP[name] for name in LINE_UP if name in chosen}  # in the tables' order


def _typed(name: str) -> str:
    """A controller's name as one types it into a shell: without capitals and spaces."""
    return name.lower().replace(" ", "-").replace("_", "-")


def _agents(loaded: LoadedPolicy, seed: int | None) -> dict[str, Build]:
    """The policy, by itself and watched over; on the processor, as a few rows are a small batch."""
    from rlkit.policy_controller import agents

    return agents(loaded.policy.cpu(), _trained_in(loaded), seed)


def _trained_in(loaded: LoadedPolicy) -> DataCenterConfig:
    """The world that the policy was trained in; where nobody knows, that which it is to play in."""
    from rlkit.configuration import from_json
    from rlkit.data_center_evaluation import site_of
    from rlkit.environments import Environment, environment_id

    if "environment" in loaded.header:  # an archive does not know
        own = from_json(loaded.header["environment"], Environment)  # pyright: ignore[reportArgumentType]
        if environment_id(own) == ENVIRONMENT_ID:
            return site_of(own)
    return site_of(loaded.environment)


def _evaluate(
    builds: Mapping[str, Build], config: DataCenterConfig, options: EvaluateOptions
) -> DataCenterEvaluation:
    from rlkit.data_center_evaluation import evaluate_data_center

    # EnergyPlus has a process for every year already; a random policy's draws would be others.
    alone = config.engine == "energyplus" or options.stochastic
    with _progress(config.episode_days) as (on_step, report):
        evaluation = evaluate_data_center(
            builds,
            config,
            seed=options.seed,
            processes=1 if alone else os.cpu_count() or 1,
            on_step=on_step,
            report=report,
        )
    spent = sorted(evaluation.measured.seconds.items(), key=lambda item: -item[1])
    print("seconds: " + ", ".join(f"{name} {seconds:.0f}" for name, seconds in spent[:4]))
    return evaluation


def _of_policy(
    evaluation: DataCenterEvaluation, loaded: LoadedPolicy, options: EvaluateOptions
) -> dict[str, Any]:
    """What an evaluation tells of every policy, of whatever world: returns, metrics, protocol."""
    from rlkit.cli.evaluate import describe_policy
    from rlkit.environments import describe
    from rlkit.policy_controller import AGENT
    from rlkit.statistics import summarise_returns

    steps = evaluation.protocol["days"] * 288
    means, counts = evaluation.mean_years()[AGENT], evaluation.counts[AGENT]
    units = evaluation.measured.units
    metrics = {name: {"mean": mean, "unit": units[name]} for name, mean in means.items()}
    metrics["length"] = {"mean": steps, "unit": "steps per episode"}
    return {
        **summarise_returns(evaluation.returns[AGENT]).to_json(),
        "metrics": metrics,
        "lengths": [steps] * len(evaluation.years),
        "counts": {name: values.tolist() for name, values in counts.items()},
        "protocol": {
            **describe(loaded.environment),
            **evaluation.to_json()["protocol"],
            "deterministic": not options.stochastic,
        },
        "policy": describe_policy(loaded),
    }


@contextmanager
def _progress(days: int) -> Iterator[tuple[Callable[[int, int], None], Callable[[str], None]]]:
    """A bar on standard error; gives the functions that move it and print lines above it."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        *(TextColumn("days"), BarColumn(), MofNCompleteColumn()),
        *(TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()),
    )
    # Where there is no terminal, even a bar that vanishes would leave an empty line.
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task, day = bar.add_task("", total=days), 0

        def on_step(done: int, steps: int) -> None:
            nonlocal day
            if done * days // steps > day:
                day = done * days // steps
                bar.update(task, completed=day)

        yield on_step, lambda line: console.print(line, highlight=False, markup=False)
