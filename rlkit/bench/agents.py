"""How fast agents train on Boxing: the recipes, PPO beside another library's, and memory's price.

All take turns, window by window, in one process. Scores come of whole trainings:
docs/benchmarks/agents.md has their commands.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from rlkit.bench import peers
from rlkit.bench.measured_training import MeasuredTraining
from rlkit.bench.turns import Entry, Report, speed_table, take_turns
from rlkit.configuration import to_json
from rlkit.recipe import Recipe
from rlkit.recipes import RECIPES, with_algorithm
from rlkit.run_folder import provenance
from rlkit.sb3.config import StableBaselinesConfig
from rlkit_agents.networks import NetworkConfig
from rlkit_envs.atari import AtariProtocol

_STACK = AtariProtocol(game="boxing")
_SINGLE = replace(_STACK, frame_stack=1)
_SMALL = NetworkConfig(torso="small", layer_norm="dense")
_SMALL_WITH_MEMORY = replace(_SMALL, memory="lstm")


def measured_recipes() -> dict[str, Recipe]:
    """What of ours is measured, by a short name.

    The recipes for Boxing; `ppo`, which is set as Stable-Baselines3's; the network `small` on 84x84
    frames, once on stacks of four and once with memory on single ones, otherwise alike; and, in the
    world of the recipe `boxing`, `ppo-42` with Stable-Baselines3's own PPO and DQN inside rlkit.
    """
    q, r2d2, ppo, pqn = (
        RECIPES[name]
        for name in ("boxing", "boxing-recurrent", "boxing-actor-critic", "boxing-pqn")
    )
    recipes = {recipe.name: recipe for recipe in (q, r2d2, ppo, pqn, RECIPES["boxing-latent"])}
    recipes["ppo"] = with_algorithm(replace(q, environment=_STACK), "ppo")
    dueling = replace(_SMALL, dueling=True)
    for name, recipe, changes in (
        ("dqn-small", q, {"network": dueling}),
        ("ppo-small", ppo, {"network": _SMALL}),
        ("pqn-small", pqn, {"network": _SMALL, "symmetries": ()}),  # memory has no mirrored states
    ):
        algorithm = replace(recipe.algorithm, **changes)
        recipes[name] = replace(recipe, environment=_STACK, algorithm=algorithm)
    for name, recipe, network in (
        ("dqn-small-memory", r2d2, replace(dueling, memory="lstm")),
        ("ppo-small-memory", recipes["ppo-small"], _SMALL_WITH_MEMORY),
        ("pqn-small-memory", recipes["pqn-small"], _SMALL_WITH_MEMORY),
    ):
        algorithm = replace(recipe.algorithm, network=network)
        recipes[name] = replace(recipe, environment=_SINGLE, algorithm=algorithm)
    recipes["ppo-42"] = with_algorithm(q, "ppo")
    recipes["sb3-ppo-42"] = with_algorithm(q, "sb3:PPO")
    sb3_dqn = with_algorithm(q, "sb3:DQN")
    assert isinstance(sb3_dqn.algorithm, StableBaselinesConfig)
    # It learns at the final share of random actions, as for nine tenths of a whole training.
    late = {"learning_starts": 1_000, "exploration_initial_eps": 0.01}
    config = replace(sb3_dqn.algorithm, settings={**sb3_dqn.algorithm.settings, **late})
    recipes["sb3-dqn-42"] = replace(sb3_dqn, algorithm=config)
    return recipes


def run_benchmark(
    *,
    recipes: dict[str, Recipe] | None = None,
    window_seconds: float = 10.0,
    repeats: int = 5,
    warm_up_steps: int = 20_000,
    on_progress: Report | None = None,
) -> dict[str, Any]:
    """Measure throughput.

    recipes: ours, by the names of `measured_recipes`, which is what stands in for None.
    window_seconds, repeats: length and number of each contestant's windows.
    warm_up_steps: environment steps of ours before its first window.
    on_progress: takes a line on what is being done.

    Returns plain JSON data: where it ran, `rows` as `turns.take_turns` gives them, and `ratios`:
    what memory leaves of the throughput, and how PPO compares with Stable-Baselines3's.
    Raises ValueError for a number out of range.
    """
    recipes = recipes or measured_recipes()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rlkit-bench-")))
        entries: dict[str, Entry] = {}
        for name, recipe in recipes.items():
            training = MeasuredTraining(recipe, folder, warm_up_steps)
            entries[name] = Entry(name, stack.enter_context(training), to_json(recipe))
        sb3_ppo = peers.ppo(_STACK)
        stack.callback(sb3_ppo.close)
        entries["sb3_ppo"] = Entry(sb3_ppo.name, sb3_ppo, sb3_ppo.settings)
        rows = take_turns(entries, window_seconds, repeats, on_progress or (lambda line: None))
    rate = {name: row["steps_per_second"] for name, row in rows.items()}
    ratios = {"ppo_to_sb3_ppo": rate["ppo"] / rate["sb3_ppo"]}
    for name in ("dqn", "ppo", "pqn"):
        ratios[f"{name}_with_memory_to_without"] = (
            rate[f"{name}-small-memory"] / rate[f"{name}-small"]
        )
    return {
        **provenance(),
        "window_seconds": window_seconds,
        "rows": list(rows.values()),
        "ratios": ratios,
    }


def print_table(result: dict[str, Any], console: Console) -> None:
    """Show what `run_benchmark` gave."""
    console.print(speed_table("Boxing", result))
    for name, ratio in result["ratios"].items():
        console.print(f"{name.replace('_', ' ')}: {ratio:.2f}")
