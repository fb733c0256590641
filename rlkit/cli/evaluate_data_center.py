"""`rlkit evaluate` for a data centre: a policy beside other controllers, through the same years."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rlkit.cli.line_ups import (
    describe_as_any_policy,
    environment_of,
    find_names,
    progress_bar,
    refuse_options,
)
from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.cli.options import is_named
from rlkit.environment_ids import DATA_CENTER

if TYPE_CHECKING:
    from rlkit.cli.evaluate import EvaluateOptions
    from rlkit.data_center_evaluation import DataCenterEvaluation
    from rlkit.policies import LoadedPolicy
    from rlkit_envs.data_center.configuration import DataCenterConfig
    from rlkit_envs.data_center.controllers.line_up import Build


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
    if environment != DATA_CENTER:
        refuse_options(DataCenterOptions, DATA_CENTER, arguments, environment)
    elif is_named("--episodes", arguments):
        raise Mistake(
            "--episodes has no meaning in a data centre, where every climate has one episode "
            "of --days; leave it out"
        )


def run(loaded: LoadedPolicy | None, options: EvaluateOptions) -> int:
    """Evaluate the policy beside other controllers, or without one those alone."""
    from rlkit.data_center_evaluation import site_of
    from rlkit.data_center_years import UNSEEN_CLIMATES, UNSEEN_SEED, seen_years, unseen_years
    from rlkit_envs.data_center.environment import DataCenterEnvs

    wanted = options.data_center
    with blaming_user(ValueError, OSError, ImportError):
        config = unseen_years(
            site_of(environment_of(loaded, options.on, DATA_CENTER)),
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


def _others(names: Sequence[str], engine: str) -> dict[str, Build]:
    """The controllers that the user named, or all that can run there."""
    from rlkit_envs.data_center.controllers.line_up import LINE_UP, NEEDS_PLANT

    if not names:
        left_out = NEEDS_PLANT if engine != "plant" else frozenset()
        return {name: build for name, build in LINE_UP.items() if name not in left_out}
    if list(names) == ["none"]:
        return {}
    chosen = find_names(names, LINE_UP, "controller")
    for name in chosen:
        if name in NEEDS_PLANT and engine != "plant":
            raise Mistake(f"{name} looks into our own plant; leave out --engine {engine}")
    return {name: LINE_UP[name] for name in LINE_UP if name in chosen}  # in the tables' order


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
        if environment_id(own) == DATA_CENTER:
            return site_of(own)
    return site_of(loaded.environment)


def _evaluate(
    builds: Mapping[str, Build], config: DataCenterConfig, options: EvaluateOptions
) -> DataCenterEvaluation:
    from rlkit.data_center_evaluation import evaluate_data_center

    # EnergyPlus has a process for every year already; a random policy's draws would be others.
    alone = config.engine == "energyplus" or options.stochastic
    days = config.episode_days
    with progress_bar("days") as (move, report):
        evaluation = evaluate_data_center(
            builds,
            config,
            seed=options.seed,
            processes=1 if alone else os.cpu_count() or 1,
            on_step=lambda done, steps: move(done * days // steps, days),
            report=report,
        )
    spent = sorted(evaluation.measured.seconds.items(), key=lambda item: -item[1])
    print("seconds: " + ", ".join(f"{name} {seconds:.0f}" for name, seconds in spent[:4]))
    return evaluation


def _of_policy(
    evaluation: DataCenterEvaluation, loaded: LoadedPolicy, options: EvaluateOptions
) -> dict[str, Any]:
    from rlkit.policy_controller import AGENT

    steps = evaluation.protocol["days"] * 288
    units = evaluation.measured.units
    return describe_as_any_policy(
        loaded,
        evaluation.returns[AGENT],
        {name: (mean, units[name]) for name, mean in evaluation.mean_years()[AGENT].items()},
        [steps] * len(evaluation.years),
        {name: values.tolist() for name, values in evaluation.counts[AGENT].items()},
        {**evaluation.to_json()["protocol"], "deterministic": not options.stochastic},
    )
