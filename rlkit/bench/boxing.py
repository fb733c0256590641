"""Boxing on this machine: our training against Stable-Baselines3's and the emulator's own limit.

All contestants take turns, window by window, in one process; what is compared are medians. With
`minutes`, each is also trained for that long and evaluated under one protocol.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rlkit.bench import peers
from rlkit.bench.measured_training import MeasuredTraining
from rlkit.bench.turns import Entry, Report, speed_table, take_turns
from rlkit.configuration import to_json
from rlkit.environments import for_evaluation
from rlkit.evaluation import evaluate
from rlkit.recipe import Recipe
from rlkit.recipes import find_recipe
from rlkit.run_folder import Run, machine
from rlkit.training import Training
from rlkit_agents.policy import Policy
from rlkit_envs.atari import AtariEnvs, AtariProtocol

_PACKAGES = ("rlkit", "torch", "numpy", "gymnasium", "ale-py", "stable-baselines3")
_EVALUATION_SEED = 1_000_003


def run_benchmark(
    minutes: float | None = None,
    *,
    recipe: Recipe | None = None,
    window_seconds: float = 10.0,
    repeats: int = 5,
    warm_up_steps: int = 20_000,
    episodes: int = 100,
    on_progress: Report | None = None,
) -> dict[str, Any]:
    """Measure throughput, and with `minutes` also the score after that much training.

    recipe: ours, on an Atari game; the recipe `boxing` by default.
    window_seconds, repeats: length and number of each contestant's windows.
    warm_up_steps: environment steps of ours before its first window.
    episodes: of an evaluation. on_progress: takes a line on what is being done.

    Returns plain JSON data: `machine`, `versions`, `rows` and `ratios`. A row has `name`,
    `steps_per_second` (the median of `windows`), `windows`, `settings`, and with `minutes` a
    `score`: the evaluation, and the environment `steps` of the training.
    Raises ValueError for a recipe of another world or a number out of range.
    """
    recipe = recipe or find_recipe("boxing")
    report = on_progress or (lambda line: None)
    if not isinstance(recipe.environment, AtariProtocol):
        raise ValueError(f"this benchmark needs an Atari recipe, {recipe.name!r} is none")
    if minutes is not None and minutes <= 0:
        raise ValueError(f"minutes must be more than 0, got {minutes}")
    rows = _throughput(recipe, window_seconds, repeats, warm_up_steps, report)
    rates = {name: row["steps_per_second"] for name, row in rows.items()}
    if minutes is not None:
        _add_scores(rows, recipe, minutes, episodes, report)
    return {
        "machine": machine(),
        "versions": {name: metadata.version(name) for name in _PACKAGES if _installed(name)},
        "window_seconds": window_seconds,
        "minutes": minutes,
        "rows": list(rows.values()),
        "ratios": {
            "rlkit_to_sb3_dqn": rates["rlkit"] / rates["sb3_dqn"],
            "rlkit_to_sb3_ppo": rates["rlkit"] / rates["sb3_ppo"],
            "rlkit_to_emulator": rates["rlkit"] / rates["emulator"],
        },
    }


def print_table(result: dict[str, Any], console: Console) -> None:
    """Show what `run_benchmark` gave."""
    console.print(speed_table("Boxing", result))
    if result["minutes"] is not None:
        _print_scores(result, console)
    ratios = result["ratios"]
    console.print(
        f"rlkit is {ratios['rlkit_to_sb3_dqn']:.1f} times as fast as Stable-Baselines3 DQN and "
        f"{ratios['rlkit_to_sb3_ppo']:.1f} times as fast as its PPO, and reaches "
        f"{ratios['rlkit_to_emulator']:.2f} of the emulator's own rate."
    )


def _print_scores(result: dict[str, Any], console: Console) -> None:
    scores = Table(title=f"Boxing: returns after {result['minutes']:g} minutes of training")
    scores.add_column("what")
    for column in ("mean", "IQM", "worst", "steps trained"):
        scores.add_column(column, justify="right")
    for row in result["rows"]:
        if (score := row["score"]) is not None:
            returns = (f"{score[key]:.1f}" for key in ("mean", "iqm", "min"))
            scores.add_row(row["name"], *returns, f"{score['steps']:,}")
    console.print(scores)


def peer_protocol(protocol: AtariProtocol) -> AtariProtocol:
    """`protocol` as Stable-Baselines3 sees it: 84x84 grey frames, four of them."""
    return replace(protocol, height=84, width=84, frame_stack=4, grayscale=True)


class _Emulator:
    """The native vector environment alone, under random actions: nothing can train faster."""

    def __init__(self, protocol: AtariProtocol, recipe: Recipe) -> None:
        self._envs = AtariEnvs(protocol, recipe.num_envs, threads=recipe.environment_threads)
        self._envs.action_space.seed(0)
        self._actions = [self._envs.action_space.sample() for _ in range(997)]
        self.settings = {
            "num_envs": recipe.num_envs,
            "threads": recipe.environment_threads,
            **asdict(protocol),
        }
        self._step = 0

    def warm_up(self) -> None:
        self._envs.reset(seed=0)
        for _ in range(3):
            self._envs.step(self._actions[0])

    def window(self, seconds: float) -> float:
        begun, first = time.perf_counter(), self._step
        while (elapsed := time.perf_counter() - begun) < seconds or self._step == first:
            self._envs.step(self._actions[self._step % len(self._actions)])
            self._step += 1
        return (self._step - first) * self._envs.num_envs / elapsed

    def close(self) -> None:
        self._envs.close()


def _throughput(
    recipe: Recipe, window_seconds: float, repeats: int, warm_up_steps: int, report: Report
) -> dict[str, dict[str, Any]]:
    """The rows by a short key, scores still missing."""
    protocol = recipe.environment
    assert isinstance(protocol, AtariProtocol)
    at_84 = peer_protocol(protocol)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rlkit-bench-")))
        ours = stack.enter_context(MeasuredTraining(recipe, folder, warm_up_steps))
        emulator, emulator_84 = _Emulator(protocol, recipe), _Emulator(at_84, recipe)
        sb3_dqn, sb3_ppo = peers.dqn(protocol, for_throughput=True), peers.ppo(protocol)
        for closable in (emulator, emulator_84, sb3_dqn, sb3_ppo):
            stack.callback(closable.close)
        size = f"{protocol.height}x{protocol.width}"
        entries = {
            "emulator": Entry(f"emulator alone, {size}", emulator, emulator.settings),
            "emulator_84": Entry("emulator alone, 84x84", emulator_84, emulator_84.settings),
            "sb3_dqn": Entry(sb3_dqn.name, sb3_dqn, sb3_dqn.settings),
            "sb3_ppo": Entry(sb3_ppo.name, sb3_ppo, sb3_ppo.settings),
            "rlkit": Entry(f"rlkit, recipe {recipe.name}", ours, to_json(recipe)),
        }
        rows = take_turns(entries, window_seconds, repeats, report)
        return {key: {**row, "score": None} for key, row in rows.items()}


def _add_scores(
    rows: dict[str, dict[str, Any]],
    recipe: Recipe,
    minutes: float,
    episodes: int,
    report: Report,
) -> None:
    """Train each contestant for `minutes` from scratch, and evaluate what it learnt."""
    protocol = recipe.environment
    assert isinstance(protocol, AtariProtocol)

    def score(policy: Policy, steps: int, seen: AtariProtocol) -> dict[str, Any]:
        report(f"evaluating over {episodes} episodes")
        evaluation = evaluate(policy, for_evaluation(seen), episodes, seed=_EVALUATION_SEED)
        return {"steps": steps, "minutes": minutes, **evaluation.to_json()}

    report(f"training {rows['rlkit']['name']} for {minutes:g} minutes")
    with tempfile.TemporaryDirectory(prefix="rlkit-bench-") as folder:
        timed = replace(recipe, minutes=minutes, steps=None)
        training = Training(timed, Run.create(timed, folder), [])
        training.learn()
        policy, steps = training.algorithm.evaluated_policy, training.steps
        del training  # its replay is the largest thing in memory
    rows["rlkit"]["score"] = score(policy, steps, protocol)
    seen = peer_protocol(protocol)
    for key, peer in (
        ("sb3_dqn", peers.dqn(protocol, for_throughput=False)),
        ("sb3_ppo", peers.ppo(protocol)),
    ):
        report(f"training {peer.name} for {minutes:g} minutes")
        policy, steps = peer.train(60 * minutes, recipe.seed)
        rows[key]["score"] = {**score(policy, steps, seen), "settings": peer.settings}


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
