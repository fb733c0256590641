"""What a corrupted camera costs policies of Atari games, one beside another.

The first policy named is the bar: a robust one loses less of its score than that, and has a score
to lose. Corruptions are those of `rlkit.corruptions`, on which no recipe trains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from rlkit.bench.turns import Report
from rlkit.corruptions import HELD_OUT, make_corrupted_envs
from rlkit.environments import Environment, environment_id, for_evaluation, seen_alike
from rlkit.evaluation import Evaluation, evaluate
from rlkit.policies import LoadedPolicy, find_policy, load_policy
from rlkit.run_folder import provenance

GOAL_SHARE = 0.5
"""Of what the first policy loses, what a robust one may lose at most."""


def run_benchmark(
    *,
    policies: Sequence[str],
    corruptions: Sequence[str] = (),
    episodes: int = 100,
    seed: int = 0,
    on_progress: Report | None = None,
) -> dict[str, Any]:
    """Play each policy as it is and under each corruption, always in the same episodes.

    policies: as `rlkit evaluate` takes them, the first being what others are compared with.
    corruptions: by name; none stand for all that are held out. episodes: of each.
    on_progress: takes lines on what is being done.

    Returns plain JSON data: where it ran; `protocol`, of the first policy's evaluations;
    `policies`, each with its `name`, `score` as it is, mean `loss` over the corruptions, `share` of
    the first's loss, None where the first loses nothing, and `share_of_score`, None where it has
    none; `rows`, each with policy, corruption (None for none), `loss` and the summary of its
    returns; and `ratios`, the shares by name.
    Raises ValueError for a policy that is not there or plays another world than the first,
    CorruptionError for a corruption that is none or a world that cannot be corrupted.
    """
    report = on_progress or (lambda line: None)
    corruptions = tuple(corruptions) or HELD_OUT
    loaded = {name: load_policy(find_policy(name)) for name in policies}
    worlds = {name: for_evaluation(policy.environment) for name, policy in loaded.items()}
    _check_one_world(worlds)
    for world in worlds.values():
        for corruption in corruptions:  # raises what would else be found out after minutes
            make_corrupted_envs(world, corruption, 1).close()
    rows: list[dict[str, Any]] = []
    protocol: dict[str, Any] = {}
    for name, policy in loaded.items():
        score = 0.0
        for corruption in (None, *corruptions):
            played = _played(policy, corruption, episodes, seed)
            protocol = protocol or played.protocol
            summary = played.summary.to_json()
            score = summary["mean"] if corruption is None else score
            loss = score - summary["mean"]
            rows.append({"policy": name, "corruption": corruption, "loss": loss, **summary})
            report(f"{name}, {corruption or 'as it is'}: {summary['mean']:.1f}")
    losses = {name: _mean_loss(rows, name) for name in loaded}
    first = next(iter(losses.values()))
    told = []
    for name, loss in losses.items():
        score = _row(rows, name, None)["mean"]
        told.append(
            {
                "name": name,
                "description": loaded[name].describe(),
                "score": score,
                "loss": loss,
                "share": loss / first if first > 0 else None,
                "share_of_score": loss / score if score > 0 else None,
            }
        )
    return {
        **provenance(),
        "episodes": episodes,
        "seed": seed,
        "protocol": protocol,
        "policies": told,
        "rows": rows,
        "ratios": {f"loss of {policy['name']} to the first's": policy["share"] for policy in told},
    }


def _check_one_world(worlds: Mapping[str, Environment]) -> None:
    """Raise ValueError where policies play other worlds, however they see them."""
    first, bar = next(iter(worlds.items()))
    for name, world in worlds.items():
        if seen_alike(bar, world) != bar:
            raise ValueError(
                f"{name} and {first} play other worlds, or under another protocol: scores of "
                f"{environment_id(world)} and {environment_id(bar)} do not compare"
            )


def print_table(result: dict[str, Any], console: Console) -> None:
    """Show what `run_benchmark` gave."""
    policies, rows = result["policies"], result["rows"]
    table = Table(
        title=f"Mean return of {result['episodes']} episodes",
        caption=f"aimed at: no more than {GOAL_SHARE:.0%} of the first's loss",
    )
    table.add_column("what is seen")
    for policy in policies:
        table.add_column(policy["name"], justify="right", overflow="fold")
    for corruption in dict.fromkeys(row["corruption"] for row in rows):
        means = (_row(rows, policy["name"], corruption)["mean"] for policy in policies)
        table.add_row(corruption or "as it is", *(f"{mean:.1f}" for mean in means))
    table.add_section()
    table.add_row("mean loss", *(f"{policy['loss']:.1f}" for policy in policies))
    shares = (policy["share"] for policy in policies)
    table.add_row("of the first's", *("" if each is None else f"{each:.0%}" for each in shares))
    shares = (policy["share_of_score"] for policy in policies)
    table.add_row("of its own score", *("" if each is None else f"{each:.0%}" for each in shares))
    console.print(table)


def _played(policy: LoadedPolicy, corruption: str | None, episodes: int, seed: int) -> Evaluation:
    world = for_evaluation(policy.environment)
    return evaluate(policy.policy, world, episodes, seed=seed, corruption=corruption)


def _row(rows: Sequence[dict[str, Any]], policy: str, corruption: str | None) -> dict[str, Any]:
    return next(r for r in rows if (r["policy"], r["corruption"]) == (policy, corruption))


def _mean_loss(rows: Sequence[dict[str, Any]], policy: str) -> float:
    losses = [row["loss"] for row in rows if row["policy"] == policy and row["corruption"]]
    return float(np.mean(losses))
