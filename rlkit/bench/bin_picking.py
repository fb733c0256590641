"""Bin picking on this machine: attempts a second on one core, what a bin does under many of them.

Speeds (`picking_speed`) take turns, window by window. With `minutes`, the recipe is also trained
from scratch until it picks as well as people program (`picking_training`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from rlkit.bench.picking_speed import BATCH, FullBin, WholeEpisodes, random_pick
from rlkit.bench.picking_training import attempts_to_goal
from rlkit.bench.turns import Entry, Report, take_turns
from rlkit.recipe import Recipe
from rlkit.recipes import find_recipe
from rlkit.run_folder import provenance
from rlkit_envs.bin_picking.configuration import BinPickingConfig
from rlkit_envs.bin_picking.episode import OUTCOMES, PickingBin
from rlkit_envs.bin_picking.oracle import view_of

PARTS = 20
GOAL_ATTEMPTS_PER_SECOND = 12.0
"""On one core, looking included: then eight hours of a robot take some minutes."""
PENETRATION_LIMIT_MM = 0.5
"""How far parts at rest may sink into each other."""
TRAINING_LIMIT_S = 900.0
"""From scratch to nine successes in ten attempts, on two cores."""


def run_benchmark(
    minutes: float | None = None,
    *,
    attempts: int = 1_000,
    tier: str = "mixed",
    parts: int = PARTS,
    recipe: Recipe | None = None,
    window_seconds: float = 10.0,
    repeats: int = 5,
    seed: int = 0,
    on_progress: Report | None = None,
) -> dict[str, Any]:
    """Measure speed and physics, and with `minutes` how soon a training reaches 90 %.

    minutes: at most, of training. attempts: after which bins are looked at, at least 1. tier: of
    these bins, or "all" for one drawn anew for each. parts: in the bins whose speed is measured, of
    the mixed tier. recipe: trained; `bin-picking` by default.
    window_seconds, repeats: of each speed. seed: of the bins. on_progress: takes lines on what is
    being done.

    Returns plain JSON data: where it ran; `rows` with `steps_per_second` as `turns.take_turns`
    gives it, a step being an attempt; `seconds` to fill a bin and to take a picture, medians;
    `shares` of an attempt's time; `physics` of `attempts` random picks on parts in bins of `tier`;
    `training`, or None; and `ratios` to the numbers that were aimed at.
    Raises ValueError for a number out of range and a tier that does not exist.
    """
    report = on_progress or (lambda line: None)
    for name, value in (("attempts", attempts), ("parts", parts)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    looked_at = BinPickingConfig(tier=tier)
    config = BinPickingConfig(parts=parts)
    full, episodes = FullBin(config, seed), WholeEpisodes(config, seed)
    entries = {
        "attempt": Entry(f"attempts in a full bin of {parts}", full, {"bins": 1}),
        "environment": Entry("the environment, whole episodes", episodes, {"bins": BATCH}),
    }
    try:
        rows = take_turns(entries, window_seconds, repeats, report)
    finally:
        episodes.close()
    physics = settled_physics(looked_at, attempts, seed, report)
    training = None
    if minutes is not None:
        training = attempts_to_goal(recipe or find_recipe("bin-picking"), minutes, report)
    ratios = {
        f"{name}_to_attempts_per_second_goal": row["steps_per_second"] / GOAL_ATTEMPTS_PER_SECOND
        for name, row in rows.items()
    }
    ratios["penetration_to_limit"] = physics["deepest_mm"] / PENETRATION_LIMIT_MM
    if training is not None and training["reached"] is not None:
        ratios["training_to_limit"] = training["reached"]["seconds"] / TRAINING_LIMIT_S
    return {
        **provenance(),
        "parts": parts,
        "tier": tier,
        "seed": seed,
        "window_seconds": window_seconds,
        "rows": list(rows.values()),
        "seconds": full.seconds(),
        "shares": full.shares(),
        "physics": physics,
        "training": training,
        "ratios": ratios,
    }


def settled_physics(
    config: BinPickingConfig, attempts: int, seed: int, report: Report
) -> dict[str, Any]:
    """How parts lie after each of so many random picks on parts, and where they went.

    Plain JSON data: the penetration of the worst contact in mm, `deepest_mm` of all attempts and
    `median_mm` and `p99_mm` over them, and `deepest_before_mm`, before parts that had sunk in were
    thrown in again; `parts_in`, put into `bins`, of which came `parts_out` or are among
    `parts_left`; `parts_lost`, of which nobody knows; `escaped`, how often a part had left the bin
    without the magnet, and `put_back`, how often one was thrown in again for that or for having
    sunk into another; `outcomes` as counts.
    """
    random = np.random.default_rng(seed)
    depths_mm: list[float] = []
    deepest_before_mm = 0.0
    outcomes = dict.fromkeys((outcome.value for outcome in OUTCOMES), 0)
    bins = parts_in = parts_out = parts_left = escaped = put_back = 0
    while len(depths_mm) < attempts:
        bin_ = PickingBin(config, (seed, bins))
        bin_.begin()
        bins += 1
        parts_in += int(bin_.scene.present.sum())
        over = False
        while not over and len(depths_mm) < attempts:
            result = bin_.attempt(random_pick(view_of(bin_), bin_.observation, random))
            parts_out += int(result.attempt.out.sum())
            escaped += result.escaped
            deepest_before_mm = max(deepest_before_mm, 1e3 * result.deepest_m)
            put_back += result.put_back
            outcomes[result.attempt.outcome.value] += 1
            depths_mm.append(1e3 * bin_.scene.deepest_penetration_m())
            over = result.terminated or result.truncated
            if len(depths_mm) % max(1, attempts // 10) == 0:
                report(f"physics: {len(depths_mm):,} of {attempts:,} attempts")
        parts_left += int((bin_.scene.present & ~bin_.scene.outside()).sum())
    return {
        "attempts": attempts,
        "bins": bins,
        "deepest_mm": max(depths_mm),
        "deepest_before_mm": deepest_before_mm,
        "median_mm": float(np.median(depths_mm)),
        "p99_mm": float(np.percentile(depths_mm, 99)),
        "parts_in": parts_in,
        "parts_out": parts_out,
        "parts_left": parts_left,
        "parts_lost": parts_in - parts_out - parts_left,
        "escaped": escaped,
        "put_back": put_back,
        "outcomes": outcomes,
    }


def print_table(result: dict[str, Any], console: Console) -> None:
    """Show what `run_benchmark` gave."""
    machine = result["machine"]
    table = Table(
        title="Bin picking: attempts a second on one core, median of windows",
        caption=f"{machine['processor']}, {machine['cores']} cores",
    )
    table.add_column("what")
    for column in ("attempts/s", "lowest", "highest", f"to {GOAL_ATTEMPTS_PER_SECOND:g}/s"):
        table.add_column(column, justify="right")
    for row in result["rows"]:
        rates = (row["steps_per_second"], min(row["windows"]), max(row["windows"]))
        ratio = row["steps_per_second"] / GOAL_ATTEMPTS_PER_SECOND
        table.add_row(row["name"], *(f"{rate:.1f}" for rate in rates), f"{ratio:.2f}")
    console.print(table)
    seconds, physics = result["seconds"], result["physics"]
    console.print(
        f"{1e3 * seconds['fill']:.0f} ms to fill a bin, {1e3 * seconds['picture']:.1f} ms for a "
        f"picture; {100 * result['shares']['sensing']:.0f} % of an attempt is looking"
    )
    console.print(
        f"{physics['attempts']:,} attempts in {physics['bins']:,} bins ({result['tier']}): parts "
        f"sink at most {physics['deepest_mm']:.3f} mm into each other, in 99 % of attempts less "
        f"than {physics['p99_mm']:.3f} mm"
    )
    console.print(
        f"{physics['parts_in']:,} parts in, {physics['parts_out']:,} out, "
        f"{physics['parts_left']:,} left, {physics['parts_lost']} lost; {physics['put_back']} "
        f"thrown in again, of which {physics['escaped']} had left the bin without the magnet and "
        f"others sunk into another part, {physics['deepest_before_mm']:.2f} mm at most"
    )
    if (training := result["training"]) is not None:
        reached = training["reached"]
        console.print(
            f"trained for {training['seconds']:.0f} s, {training['attempts']:,} attempts: "
            f"{100 * training['success']:.0f} % of the last {training['window']} succeeded, in "
            "bins of the mixed tier"
            if reached is None
            else f"{100 * training['goal']:.0f} % of the last {training['window']} attempts "
            f"of the mixed tier succeeded after {reached['attempts']:,} attempts, "
            f"{reached['seconds']:.0f} s"
        )
