"""Evaluates the policy from time to time, and keeps the best and the last one."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from rlkit.callbacks.callback import Callback
from rlkit.callbacks.intervals import crossed
from rlkit.environments import for_evaluation
from rlkit.evaluation import Evaluation, EvaluationStopped, evaluate
from rlkit.policies import load_policy, save_policy
from rlkit.seeds import integer_seed
from rlkit.training import Training
from rlkit.whole_files import whole_file
from rlkit_agents.policy import Policy
from rlkit_agents.step import Step


class Evaluating(Callback):
    """Writes `evaluations.jsonl`, `policies/best.safetensors` and `policies/last.safetensors`.

    Each evaluation during training has the same few seeds, so that they differ by the policy
    alone. The evaluation at the end plays the best policy on seeds that chose nothing. A training
    that is asked to stop does not wait for an evaluation under way.
    """

    def __init__(self) -> None:
        self.latest: Evaluation | None = None
        self.best_merit: float | None = None
        self.best_step: int | None = None
        self._done = 0
        self._evaluated_at = -1

    def on_start(self, training: Training) -> None:
        if self._done == 0:
            training.run.evaluations_file.unlink(missing_ok=True)
        else:
            _keep_lines(training.run.evaluations_file, self._done)

    def on_step(self, training: Training, step: Step, metrics: dict[str, Any]) -> None:
        every = training.recipe.evaluation.every
        if every and crossed(training, every):
            self._evaluate(training)

    def on_end(self, training: Training) -> None:
        schedule = training.recipe.evaluation
        self._save(training, "last")
        if training.interrupted:
            return
        if self.best_step is None or self._evaluated_at != training.steps:
            self._evaluate(training)
        if schedule.final_episodes and not training.interrupted:
            best = load_policy(
                training.run.policies / "best.safetensors", training.algorithm.device
            )
            with suppress(EvaluationStopped):
                self._write(training, best.policy, schedule.final_episodes, final=True)

    def _evaluate(self, training: Training) -> None:
        training.check_weights()
        policy = training.algorithm.evaluated_policy
        try:
            evaluation = self._write(training, policy, training.recipe.evaluation.episodes)
        except EvaluationStopped:
            return
        self._evaluated_at = training.steps
        self._save(training, "last")
        merit = _merit(training, evaluation)
        if self.best_merit is None or merit >= self.best_merit:
            self.best_merit, self.best_step = merit, training.steps
            self._save(training, "best")

    def _save(self, training: Training, name: str) -> None:
        save_policy(
            training.algorithm.evaluated_policy,
            training.run.policies / f"{name}.safetensors",
            training.recipe.environment,
            training.provenance(),
        )

    def _write(
        self, training: Training, policy: Policy, episodes: int, final: bool = False
    ) -> Evaluation:
        def note(done: int, episode_return: float | None = None) -> None:
            self.activity = f"evaluating {done}/{episodes}"

        note(0)
        try:
            evaluation = evaluate(
                policy,
                for_evaluation(training.recipe.environment),
                episodes,
                seed=integer_seed(training.seeds.evaluation, int(final)),
                on_episode=note,
                stop=lambda: training.interrupted,
            )
        finally:
            self.activity = ""
        self.latest = evaluation
        line = {
            "step": self.best_step if final else training.steps,
            "seconds": round(training.seconds, 1),
            "final": final,
            **evaluation.to_json(),
        }
        with training.run.evaluations_file.open("a") as stream:
            stream.write(json.dumps(line) + "\n")
        self._done += 1
        return evaluation

    def state_dict(self) -> dict[str, Any]:
        return {
            "done": self._done,
            "best_merit": self.best_merit,
            "best_step": self.best_step,
            "evaluated_at": self._evaluated_at,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._done = state["done"]
        self.best_merit, self.best_step = state["best_merit"], state["best_step"]
        self._evaluated_at = state["evaluated_at"]


def _merit(training: Training, evaluation: Evaluation) -> float:
    """What the best policy has most of, see `EvaluationSchedule.best_by`."""
    name = training.recipe.evaluation.best_by
    if name == "steps":
        return training.steps
    if name == "return":
        return evaluation.summary.mean
    return float(np.mean(evaluation.counts[name]))


def _keep_lines(path: Path, count: int) -> None:
    """Drop what was written after the checkpoint that a training goes on from."""
    lines = path.read_text().splitlines(keepends=True)[:count]
    with whole_file(path) as beside:
        beside.write_text("".join(lines))
