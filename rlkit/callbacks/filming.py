"""Records episodes of the policy while it learns, for TensorBoard and for the run's folder."""

from __future__ import annotations

import logging
from typing import Any

from rlkit.callbacks.callback import Callback
from rlkit.callbacks.intervals import crossed
from rlkit.environments import for_evaluation
from rlkit.policies import load_policy
from rlkit.seeds import integer_seed
from rlkit.training import Training
from rlkit_agents.policy import Policy
from rlkit_agents.step import Step

_log = logging.getLogger(__name__)


class _StopRequested(Exception):
    """The training is to stop, and nobody waits for the video."""


class Filming(Callback):
    """Writes `videos/policy-<step>.mp4` every `evaluation.video_every` environment steps.

    At the end it adds `videos/best-<step>.mp4`, of the best policy. An environment that cannot be
    drawn costs one warning and goes without.
    """

    def __init__(self) -> None:
        self._gave_up = False

    def on_step(self, training: Training, step: Step, metrics: dict[str, Any]) -> None:
        every = training.recipe.evaluation.video_every
        if every and crossed(training, every):
            self._film(training, training.algorithm.evaluated_policy, f"policy-{training.steps}")

    def on_end(self, training: Training) -> None:
        best = training.run.policies / "best.safetensors"
        if training.recipe.evaluation.video_every and not training.interrupted and best.is_file():
            loaded = load_policy(best, training.algorithm.device)
            step = loaded.header["provenance"]["steps"]
            self._film(training, loaded.policy, f"best-{step}")

    def _film(self, training: Training, policy: Policy, name: str) -> None:
        if self._gave_up:
            return
        from rlkit.video import record

        def note(frames: int, score: float) -> None:
            self.activity = f"filming, frame {frames}"
            if training.interrupted:
                raise _StopRequested

        training.run.videos.mkdir(exist_ok=True)
        try:
            record(
                policy,
                for_evaluation(training.recipe.environment),
                training.run.videos / f"{name}.mp4",
                seed=integer_seed(training.seeds.evaluation, 2),
                on_frame=note,
            )
        except _StopRequested:
            pass
        except (OSError, ValueError) as error:
            self._gave_up = True
            _log.warning("no videos from here on: %s", error)
        finally:
            self.activity = ""
