"""`rlkit evaluate` for bin picking: a policy beside heuristics and the oracle, in the same bins."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlkit.cli.line_ups import (
    describe_as_any_policy,
    environment_of,
    find_names,
    progress_bar,
    refuse_options,
)
from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.cli.options import check_writable
from rlkit.environment_ids import BIN_PICKING

if TYPE_CHECKING:
    from rlkit.bin_picking_evaluation import Episode
    from rlkit.bin_picking_pickers import Picker
    from rlkit.cli.evaluate import EvaluateOptions
    from rlkit.policies import LoadedPolicy
    from rlkit_envs.bin_picking.configuration import BinPickingConfig

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
    plot: Path | None = None
    """An SVG file to draw the comparison into."""


def check_options(arguments: Sequence[str], environment: str) -> None:
    """Raise Mistake where `arguments` of `evaluate` name an option that the environment has not."""
    if environment != BIN_PICKING:
        refuse_options(BinPickingOptions, BIN_PICKING, arguments, environment)


def run(loaded: LoadedPolicy | None, options: EvaluateOptions) -> int:
    """Evaluate the policy beside other pickers, or without one those alone."""
    from rlkit.bin_picking_evaluation import config_of, with_setting
    from rlkit.bin_picking_pickers import ORACLE
    from rlkit.bin_picking_results import describe_episodes

    wanted = options.bin_picking
    check_writable("--plot", wanted.plot, ".svg")
    names = _tiers(wanted.tiers)
    with blaming_user(ValueError):
        own = config_of(environment_of(loaded, options.on, BIN_PICKING))
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
    if wanted.plot is not None:
        from rlkit.picker_plot import draw_pickers

        with blaming_user(OSError):
            wanted.plot.write_text(draw_pickers(result))
    if options.json:
        print(json.dumps(result))
        return 0
    from rlkit.cli.bin_picking_tables import print_tables

    print_tables(result, None if loaded is None else str(loaded.path))
    return 0


def _tiers(names: Sequence[str]) -> list[str]:
    """The tiers that the user named, or all, from easy to hard."""
    from rlkit.bin_picking_evaluation import SETTINGS

    chosen = find_names(names, SETTINGS, "tier")
    return [name for name in SETTINGS if name in chosen or not chosen]


def _others(names: Sequence[str]) -> dict[str, Picker]:
    """The heuristics that the user named, or all, and the oracle."""
    from rlkit.bin_picking_pickers import baselines

    known = baselines()
    if list(names) == ["none"]:
        return {}
    chosen = find_names(names, known, "picker")
    return {name: picker for name, picker in known.items() if name in chosen or not chosen}


def _agent(
    loaded: LoadedPolicy | None, config: BinPickingConfig, options: EvaluateOptions
) -> dict[str, Picker]:
    """The policy as a picker; raises SpaceMismatchError where it does not fit the bins."""
    if loaded is None:
        return {}
    from rlkit.bin_picking_pickers import AGENT, PolicyPicker
    from rlkit.environments import observation_coder
    from rlkit.evaluation import check_spaces
    from rlkit_envs.bin_picking.environment import BinPickingEnvs

    envs = BinPickingEnvs(1, config=config)
    envs.close()
    space = envs.single_observation_space
    coder = observation_coder(loaded.environment, space)
    check_spaces(loaded.policy, space if coder is None else coder.space, envs.single_action_space)
    return {AGENT: PolicyPicker(loaded.policy, not options.stochastic, coder)}


def _evaluate(
    pickers: Mapping[str, Picker],
    configs: Mapping[str, BinPickingConfig],
    episodes: Mapping[str, int],
    seed: int,
) -> dict[str, dict[str, list[Episode]]]:
    from rlkit.bin_picking_evaluation import evaluate_bin_picking

    with progress_bar("episodes") as (on_episode, _report):
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
        "id": BIN_PICKING,
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
    from rlkit_envs.bin_picking.environment import EPISODE_COUNTS

    own = setting_of(config)
    told_of = own if own in result["tiers"] else next(iter(result["tiers"]))
    row = result["tiers"][told_of][AGENT]
    told = describe_as_any_policy(
        loaded,
        row["returns"],
        {
            name: (sum(values) / len(values), EPISODE_COUNTS[name])
            for name, values in row["counts"].items()
        },
        row["lengths"],
        row["counts"],
        {**result["protocol"], "returns_of": told_of},
    )
    return {**told, "tiers": result["tiers"]}
