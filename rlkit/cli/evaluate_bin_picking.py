"""`rlkit evaluate` for bin picking: a policy beside heuristics and the oracle, in the same bins."""

from __future__ import annotations

import difflib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.cli.options import is_named

if TYPE_CHECKING:
    from rlkit.bin_picking_evaluation import Episode, OnEpisode
    from rlkit.bin_picking_pickers import Picker
    from rlkit.cli.evaluate import EvaluateOptions
    from rlkit.environments import Environment
    from rlkit.policies import LoadedPolicy
    from rlkit_envs.bin_picking.configuration import BinPickingConfig

ENVIRONMENT_ID = "rlkit/BinPicking-v0"
"""Also what the user names to evaluate the other pickers without a policy."""
EPISODES = 12
"""By default of each picker in each tier: some minutes on two cores."""
ORACLE_SHARE = 4
"""The oracle, which tries picks out, plays one episode where the others play so many."""


@dataclass(frozen=True)
class BinPickingOptions:
    """Only for rlkit/BinPicking-v0, where the policy picks beside heuristics and the oracle, all of
    them from the same bins; 12 --episodes by default."""

    tiers: tuple[str, ...] = ()
    """Which tiers of difficulty, such as `mixed heavy`; `held-out` is the mixed tier with shapes
    that no training sees. By default all."""
    pickers: tuple[str, ...] = ()
    """Which others, by name, such as `highest magnet-quality oracle`, or `none`. By default all."""


def check_options(arguments: Sequence[str], environment: str) -> None:
    """Raise Mistake where `arguments` of `evaluate` name an option that the environment has not."""
    if environment == ENVIRONMENT_ID:
        return
    for field in fields(BinPickingOptions):
        if is_named(f"--{field.name}", arguments):
            raise Mistake(f"--{field.name} is only for {ENVIRONMENT_ID}, and this is {environment}")


def run(loaded: LoadedPolicy | None, options: EvaluateOptions) -> int:
    """Evaluate the policy beside other pickers, or without one those alone."""
    from rlkit.bin_picking_evaluation import config_of, with_setting
    from rlkit.bin_picking_pickers import ORACLE
    from rlkit.bin_picking_results import describe_episodes

    wanted = options.bin_picking
    names = _tiers(wanted.tiers)
    with blaming_user(ValueError):
        own = config_of(_environment(loaded, options.on))
        configs = {name: with_setting(own, name) for name in names}
    pickers = _agent(loaded, own, options) | _others(wanted.pickers)
    if not pickers:
        raise Mistake("--pickers none leaves nobody to evaluate: name a policy, or pickers")
    episodes = dict.fromkeys(pickers, options.episodes or EPISODES)
    if ORACLE in pickers:
        episodes[ORACLE] = -(-episodes[ORACLE] // ORACLE_SHARE)
    with redirect_stdout(sys.stderr):
        found = _evaluate(pickers, configs, episodes, options.seed)
    result: dict[str, Any] = {
        "protocol": _protocol(own, names, episodes, options),
        "tiers": {
            name: {picker: describe_episodes(of) for picker, of in by_picker.items()}
            for name, by_picker in found.items()
        },
    }
    if loaded is not None:
        result = _of_policy(result, own, loaded)
    if options.json:
        print(json.dumps(result))
        return 0
    from rlkit.cli.bin_picking_tables import print_tables

    print_tables(result, None if loaded is None else str(loaded.path))
    return 0


def _environment(loaded: LoadedPolicy | None, on: str | None) -> Environment:
    """Where to evaluate: as for any policy, `loaded` has it; without one `on` or the default."""
    if loaded is not None:
        return loaded.environment
    from rlkit.policies import find_environment

    return find_environment(on or ENVIRONMENT_ID)


def _tiers(names: Sequence[str]) -> list[str]:
    """The tiers that the user named, or all, from easy to hard."""
    from rlkit.bin_picking_evaluation import SETTINGS

    chosen = [_known(name, SETTINGS, "tier") for name in names]
    return [name for name in SETTINGS if name in chosen or not chosen]


def _others(names: Sequence[str]) -> dict[str, Picker]:
    """The heuristics that the user named, or all, and the oracle."""
    from rlkit.bin_picking_pickers import baselines

    known = baselines()
    if list(names) == ["none"]:
        return {}
    chosen = [_known(name, known, "picker") for name in names]
    return {name: picker for name, picker in known.items() if name in chosen or not chosen}


def _known(name: str, known: Sequence[str] | Mapping[str, Any], what: str) -> str:
    """The one of `known` that the user means, who types no spaces into a shell."""
    typed = {_typed(one): one for one in known}
    if _typed(name) not in typed:
        near = difflib.get_close_matches(_typed(name), typed, n=1, cutoff=0.4) or typed
        raise Mistake(f"no {what} {name!r}; did you mean {' or '.join(near)}?")
    return typed[_typed(name)]


def _typed(name: str) -> str:
    return name.lower().replace(" ", "-").replace("_", "-")


def _agent(
    loaded: LoadedPolicy | None, config: BinPickingConfig, options: EvaluateOptions
) -> dict[str, Picker]:
    """The policy as a picker; raises SpaceMismatchError where it does not fit the bins."""
    if loaded is None:
        return {}
    from rlkit.bin_picking_pickers import AGENT, PolicyPicker
    from rlkit.evaluation import check_spaces
    from rlkit_envs.bin_picking.environment import BinPickingEnvs

    envs = BinPickingEnvs(1, config=config)
    check_spaces(loaded.policy, envs.single_observation_space, envs.single_action_space)
    envs.close()
    return {AGENT: PolicyPicker(loaded.policy, deterministic=not options.stochastic)}


def _evaluate(
    pickers: Mapping[str, Picker],
    configs: Mapping[str, BinPickingConfig],
    episodes: Mapping[str, int],
    seed: int,
) -> dict[str, dict[str, list[Episode]]]:
    from rlkit.bin_picking_evaluation import evaluate_bin_picking

    with _progress() as on_episode:
        return evaluate_bin_picking(
            pickers,
            configs,
            episodes,
            seed=seed,
            processes=os.cpu_count() or 1,
            on_episode=on_episode,
        )


def _protocol(
    config: BinPickingConfig,
    tiers: Sequence[str],
    episodes: Mapping[str, int],
    options: EvaluateOptions,
) -> dict[str, Any]:
    """Plain JSON data on how it was evaluated."""
    from rlkit.bin_picking_evaluation import RANDOM_PIXEL_EVERY
    from rlkit.bin_picking_pickers import ORACLE_TRIES

    return {
        "id": ENVIRONMENT_ID,
        "tiers": list(tiers),
        "episodes": options.episodes or EPISODES,
        "episodes_of": dict(episodes),
        "seed": options.seed,
        "deterministic": not options.stochastic,
        "oracle_tries": ORACLE_TRIES,
        "random_pixel_every": RANDOM_PIXEL_EVERY,
        "config": asdict(config),
    }


def _of_policy(
    result: Mapping[str, Any], config: BinPickingConfig, loaded: LoadedPolicy
) -> dict[str, Any]:
    """`result` with what an evaluation tells of every policy: returns, metrics, protocol.

    They are those in the policy's own tier, or in the first where that is not evaluated.
    """
    from rlkit.bin_picking_evaluation import setting_of
    from rlkit.bin_picking_pickers import AGENT
    from rlkit.cli.evaluate import describe_policy
    from rlkit.environments import describe
    from rlkit.statistics import summarise_returns
    from rlkit_envs.bin_picking.environment import EPISODE_COUNTS

    own = setting_of(config)
    told_of = own if own in result["tiers"] else next(iter(result["tiers"]))
    row = result["tiers"][told_of][AGENT]
    metrics = {
        name: {"mean": sum(values) / len(values), "unit": EPISODE_COUNTS[name]}
        for name, values in row["counts"].items()
    }
    metrics["length"] = {
        "mean": sum(row["lengths"]) / len(row["lengths"]),
        "unit": "steps per episode",
    }
    return {
        **summarise_returns(row["returns"]).to_json(),
        "metrics": metrics,
        "lengths": row["lengths"],
        "counts": row["counts"],
        "protocol": {
            **describe(loaded.environment),
            **result["protocol"],
            "returns_of": told_of,
        },
        "policy": describe_policy(loaded),
        "tiers": result["tiers"],
    }


@contextmanager
def _progress() -> Iterator[OnEpisode]:
    """A bar on standard error; gives the function that moves it."""
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
        *(TextColumn("episodes"), BarColumn(), MofNCompleteColumn()),
        *(TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()),
    )
    # Where there is no terminal, even a bar that vanishes would leave an empty line.
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)
