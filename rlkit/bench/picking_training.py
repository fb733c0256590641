"""Trains bin picking from scratch until it picks as well as people program, and tells how soon."""

from __future__ import annotations

import tempfile
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rlkit.bench.turns import Report
from rlkit.callbacks.callback import Callback
from rlkit.configuration import to_json
from rlkit.environments import for_evaluation
from rlkit.recipe import EvaluationSchedule, Recipe
from rlkit.run_folder import Run
from rlkit.training import Training
from rlkit_agents.step import Step

GOAL = 0.9
"""Share of attempts that succeed, exploration included."""
WINDOW = 200
"""Attempts over which it is taken."""


def attempts_to_goal(
    recipe: Recipe,
    minutes: float,
    report: Report,
    *,
    goal: float = GOAL,
    window: int = WINDOW,
) -> dict[str, Any]:
    """Train `recipe`, without evaluations, until `goal` is reached, for so many minutes at most.

    Where it has bins of all tiers, it gets those of the mixed one, as in evaluations.
    Returns plain JSON data: `reached` with `attempts` and wall-clock `seconds`, or None; `attempts`
    and `seconds` in all, the `success` of the last `window` attempts, and the `curve`: attempts,
    seconds and success, once a window. Raises what training raises.
    """
    report(f"training {recipe.name} for at most {minutes:g} minutes")
    recipe = replace(
        recipe,
        environment=for_evaluation(recipe.environment),
        steps=None,
        minutes=minutes,
        evaluation=EvaluationSchedule(every=0, final_episodes=0),
    )
    watch = Watch(goal, window, report)
    with tempfile.TemporaryDirectory(prefix="rlkit-bench-") as folder:
        training = Training(recipe, Run.create(recipe, Path(folder)), [watch])
        training.learn()
    return {
        "minutes": minutes,
        "goal": goal,
        "window": window,
        "reached": watch.reached,
        "attempts": watch.attempts,
        "seconds": training.seconds,
        "success": watch.success,
        "curve": watch.curve,
        "settings": to_json(recipe),
    }


class Watch(Callback):
    """Counts attempts and successes, and stops the training at the goal."""

    def __init__(self, goal: float, window: int, report: Report) -> None:
        self._goal, self._report = goal, report
        self._last: deque[bool] = deque(maxlen=window)
        self.attempts = 0
        self.reached: dict[str, float] | None = None
        self.curve: list[tuple[int, float, float]] = []

    @property
    def success(self) -> float:
        """Share of the last attempts."""
        return float(np.mean(self._last)) if self._last else 0.0

    def on_step(self, training: Training, step: Step, metrics: dict[str, Any]) -> None:
        window = self._last.maxlen or 1
        for reward in step.rewards[step.valid]:
            self._last.append(bool(reward > 0))
            self.attempts += 1
            if self.attempts % window == 0:
                self.curve.append((self.attempts, training.seconds, self.success))
                self._report(f"{self.attempts:,} attempts: {100 * self.success:.1f} %")
            full = len(self._last) == window
            if full and self.success >= self._goal and self.reached is None:
                self.reached = {"attempts": self.attempts, "seconds": training.seconds}
                training.stop()
