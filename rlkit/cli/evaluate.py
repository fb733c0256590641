"""`rlkit evaluate`: plays a policy for many episodes, and reports its returns."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional

from rlkit.cli import evaluate_bin_picking, evaluate_data_center
from rlkit.cli.evaluate_bin_picking import BinPickingOptions
from rlkit.cli.evaluate_data_center import DataCenterOptions
from rlkit.cli.line_ups import progress_bar
from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.cli.options import parse
from rlkit.environment_ids import BIN_PICKING, DATA_CENTER

if TYPE_CHECKING:
    from rlkit.evaluation import Evaluation
    from rlkit.policies import LoadedPolicy


_EPISODES = 100


@dataclass(frozen=True)
class EvaluateOptions:
    """Play a policy for whole episodes under the protocol of evaluations, and report its returns.

    That protocol is, for Atari: sticky actions 0.25, unclipped rewards, up to 30 no-ops, whole
    episodes, the policy's best action in each step. For a data centre: a year of unseen weather and
    load in each of five climates, beside all other controllers. For bin picking: bins of five tiers
    and of shapes held out, beside all heuristics and the oracle.
    """

    policy: Positional[str]
    """A run's folder, a policy file, the name of a recipe, for the policy that ships with it, or an
    archive of Stable-Baselines3 (.zip); or rlkit/DataCenterCooling-v0 or rlkit/BinPicking-v0, for
    its other controllers or pickers alone."""
    on: str | None = None
    """The environment to play in: its registered name, a recipe or a run. By default the one that
    the policy was trained in, which an archive does not know."""
    trust: FlagCreatePairsOff[bool] = False
    """Load an archive of Stable-Baselines3, which can run any code that is in it."""
    episodes: int | None = None
    """Episodes to play, at least 1; by default 100, in bin picking 12."""
    seed: int = 0
    """Determines the episodes."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""
    stochastic: FlagCreatePairsOff[bool] = False
    """Let the policy act at random as far as it does by itself; else it takes its best action."""
    corruption: str | None = None
    """For Atari games: change what is seen, to measure robustness, by a kind and its strength, such
    as `palette:60`, `specks:0.05`, `blur:1`, `shadow:0.6` or `inversion:1`, on which no recipe
    trains, or any augmentation, such as `noise:20`."""
    data_center: OmitArgPrefixes[DataCenterOptions] = field(default_factory=DataCenterOptions)
    """For that environment alone."""
    bin_picking: OmitArgPrefixes[BinPickingOptions] = field(default_factory=BinPickingOptions)
    """For that environment alone."""


_LINE_UPS = {BIN_PICKING: evaluate_bin_picking, DATA_CENTER: evaluate_data_center}
"""Environments in which a policy is evaluated beside others, which can also be alone."""


def run(arguments: Sequence[str]) -> int:
    """Evaluate as `arguments` say."""
    options = parse(EvaluateOptions, arguments, "evaluate")
    if options.episodes is not None and options.episodes < 1:
        raise Mistake(f"--episodes must be at least 1, got {options.episodes}")
    if options.seed < 0:
        raise Mistake(f"--seed must not be negative, got {options.seed}")
    if options.policy in _LINE_UPS:
        loaded, environment = None, options.policy
    else:
        from rlkit.environments import environment_id

        loaded = load(options.policy, on=options.on, trust=options.trust)
        environment = environment_id(loaded.environment)
    for line_up in _LINE_UPS.values():
        line_up.check_options(arguments, environment)
    if environment in _LINE_UPS:
        if options.corruption is not None:
            raise Mistake(f"--corruption is only for Atari games, and this is {environment}")
        return _LINE_UPS[environment].run(loaded, options)
    assert loaded is not None
    with redirect_stdout(sys.stderr):
        evaluation = _evaluate(loaded, options)
    result = {**evaluation.to_json(), "policy": loaded.describe()}
    if options.json:
        print(json.dumps(result))
        return 0
    from rlkit.cli.evaluation_table import print_evaluation

    print_evaluation(result, str(loaded.path))
    return 0


def load(name: str, *, on: str | None = None, trust: bool = False) -> LoadedPolicy:
    """The policy that the user named, to play `on` the environment that the user named.

    trust: see `rlkit.policies.load_policy`. Raises Mistake where there is no such policy or
    environment.
    """
    import torch

    from rlkit.policies import find_environment, find_policy, load_policy

    with blaming_user(ValueError):
        path = find_policy(name)
        environment = None if on is None else find_environment(on)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return load_policy(path, device, on=environment, trust=trust)


def _evaluate(loaded: LoadedPolicy, options: EvaluateOptions) -> Evaluation:
    from rlkit.environments import for_evaluation
    from rlkit.evaluation import evaluate

    episodes = options.episodes or _EPISODES
    with progress_bar("episodes") as (move, _report):
        return evaluate(
            loaded.policy,
            for_evaluation(loaded.environment),
            episodes,
            seed=options.seed,
            deterministic=not options.stochastic,
            corruption=options.corruption,
            on_episode=lambda done, episode_return: move(done, episodes),
        )
