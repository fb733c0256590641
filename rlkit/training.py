"""Trains a recipe: one short loop, the same for every algorithm and world, watched by callbacks."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from rlkit.algorithms import make_algorithm
from rlkit.callbacks.callback import Callback
from rlkit.checkpoint import CheckpointError, CheckpointStore
from rlkit.environments import make_envs, with_checksum
from rlkit.learnt_augmentation import augment_from
from rlkit.pretrained import start_torso, torso_weights
from rlkit.reasons import reason_of
from rlkit.recipe import Recipe
from rlkit.run_folder import Run, provenance
from rlkit.sb3.config import StableBaselinesConfig
from rlkit.seeds import Seeds
from rlkit.stepping import Stepper
from rlkit_agents.algorithm import NonFiniteGradientError


class RecipeError(ValueError):
    """A recipe whose parts do not fit together, or which asks for what is not there."""


class PhaseTimer:
    """Adds up the wall-clock seconds that the phases of the training loop take."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def start(self) -> None:
        """Begin the first phase now."""
        self._last = time.perf_counter()

    def mark(self, phase: str) -> None:
        """The time since the last mark went into `phase`."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._last
        self._last = now


class Training:
    """Everything that one training is made of, built from its recipe.

    Raises RecipeError where the recipe's parts do not fit together.
    """

    def __init__(
        self, recipe: Recipe, run: Run, callbacks: Sequence[Callback], device: str | None = None
    ) -> None:
        self.recipe = recipe
        self.run = run
        self.callbacks = list(callbacks)
        self.seeds = Seeds.spawn(recipe.seed)
        self.timer = PhaseTimer()
        self.steps = 0
        """Environment steps taken, over all environments."""
        self.interrupted = False
        """Whether the training was asked to stop before its budget was spent."""
        self.observations: np.ndarray | None = None
        self._seconds_before = 0.0
        self._started: float | None = None
        self._provenance = provenance()
        torch.set_num_threads(recipe.threads[1])
        torch.manual_seed(int(self.seeds.exploration.generate_state(1)[0]))
        try:
            self._assemble(device or ("cuda" if torch.cuda.is_available() else "cpu"))
            self._check_criterion()
        except (ValueError, ImportError, MemoryError) as error:
            raise RecipeError(f"recipe {recipe.name!r} cannot be trained: {error}") from error
        self.checkpoints = CheckpointStore(run.checkpoints, recipe.checkpoints_kept)

    def _check_criterion(self) -> None:
        """Raise ValueError where the best policy is to be chosen by what nobody counts."""
        counts = self.stepper.envs.metadata.get("episode_counts", {})
        criterion = self.recipe.evaluation.best_by
        known = ("return", "steps", *counts)
        if criterion not in known:
            raise ValueError(f"evaluation.best_by is {criterion!r}; there is {', '.join(known)}")

    def _assemble(self, device: str) -> None:
        """Build what steps and what learns. Raises what a `RecipeError` is made of."""
        recipe = self.recipe
        envs = make_envs(recipe.environment, recipe.num_envs, recipe.threads[0])
        self.stepper = Stepper(
            envs,
            self.seeds.environment,
            cut_every=recipe.checkpoint_every // recipe.num_envs,
        )
        self.algorithm = make_algorithm(
            recipe.algorithm,
            envs.single_observation_space,
            envs.single_action_space,
            recipe.num_envs,
            self.seeds,
            device,
            environment=recipe.environment,
        )
        if recipe.pretrained_torso is not None:
            weights = torso_weights(recipe.pretrained_torso)
            start_torso(self.algorithm, weights, recipe.pretrained_torso)
        if recipe.augmentation_file is not None:
            augment_from(self.algorithm, recipe.augmentation_file, recipe.augmentation_share)

    @property
    def seconds(self) -> float:
        """Wall-clock seconds that the training has run, interruptions not counted."""
        running = 0.0 if self._started is None else time.perf_counter() - self._started
        return self._seconds_before + running

    @property
    def progress(self) -> float:
        """The share of the budget that is spent, from 0 to 1."""
        shares = [0.0]
        if self.recipe.steps is not None:
            shares.append(self.steps / self.recipe.steps)
        if self.recipe.minutes is not None:
            shares.append(self.seconds / (60 * self.recipe.minutes))
        return min(1.0, max(shares))

    def stop(self) -> None:
        """Ask the training to save a checkpoint and end after the step under way."""
        self.interrupted = True

    def learn(self) -> None:
        """Train until the budget is spent or `stop` is called."""
        self._started = time.perf_counter()
        try:
            for callback in self.callbacks:
                callback.on_start(self)
            self._loop()
            for callback in self.callbacks:
                callback.on_end(self)
        except Exception:
            with suppress(CheckpointError):
                self.checkpoints.wait()  # nothing may be under way when the caller resumes
            raise
        finally:
            for callback in self.callbacks:
                callback.close()
            self.stepper.envs.close()

    def _loop(self) -> None:
        stepper, algorithm, timer = self.stepper, self.algorithm, self.timer
        observations = stepper.reset() if self.observations is None else self.observations
        timer.start()
        ending = self.progress >= 1  # killed after its last step, before its last evaluation
        while not ending:
            ending = self.interrupted or self._spent_after_this_step()
            if ending:
                stepper.cut_after_this_step()
            actions = algorithm.act(observations)
            timer.mark("act")
            stepper.send(actions)
            metrics = algorithm.update()  # learns while the environments step
            timer.mark("learn")
            step = stepper.recv()
            timer.mark("environments")
            algorithm.observe(step)
            timer.mark("remember")
            self.observations = observations = step.observations
            self.steps += stepper.num_envs
            for callback in self.callbacks:
                callback.on_step(self, step, metrics)
            timer.mark("watch")

    def _spent_after_this_step(self) -> bool:
        recipe = self.recipe
        steps_spent = recipe.steps is not None and self.steps + recipe.num_envs >= recipe.steps
        return steps_spent or (recipe.minutes is not None and self.seconds >= 60 * recipe.minutes)

    def provenance(self) -> dict[str, Any]:
        """How the present policy came about, for policy files."""
        return {
            "recipe": self.recipe.name,
            "seed": self.recipe.seed,
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            **self._provenance,
        }

    def check_weights(self) -> None:
        """Raise NonFiniteGradientError, naming the layer, where the policy is not worth keeping."""
        for name, weights in self.algorithm.policy.state_dict().items():
            if not torch.isfinite(weights).all():
                raise NonFiniteGradientError(
                    f"not a finite number in the weights of {name} at environment step {self.steps}"
                )

    def save_checkpoint(self) -> None:
        """Save everything, at a cut of the step stream.

        Raises CheckpointError if the last save failed, NonFiniteGradientError instead of saving
        weights that are not finite.
        """
        assert self.stepper.at_cut, "a training can go on exactly only from a cut"
        self.check_weights()
        device = self.algorithm.device
        state = {
            "algorithm": self.algorithm.state_dict(),
            "stepper": self.stepper.state_dict(),
            "observations": self.observations,
            "steps": self.steps,
            "seconds": self.seconds,
            "torch_random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
            "callbacks": {type(c).__name__: c.state_dict() for c in self.callbacks},
        }
        self.checkpoints.save(self.steps, state, self.algorithm.replay)

    def load_checkpoint(self, step: int | None = None) -> None:
        """Go on from the checkpoint at `step`, by default the last; later ones are removed.

        Raises CheckpointError where it is missing or damaged, or of another configuration.
        """
        checkpoint = self.checkpoints.load(step, self.algorithm.replay)
        state = checkpoint.state
        try:
            self.algorithm.load_state_dict(state["algorithm"])
            self.stepper.load_state_dict(state["stepper"])
            self.observations = state["observations"]
            self.steps = int(state["steps"])
            self._seconds_before = float(state["seconds"])
            torch.set_rng_state(state["torch_random"])
            if state.get("cuda_random") is not None and self.algorithm.device.type == "cuda":
                torch.cuda.set_rng_state(state["cuda_random"], self.algorithm.device)
            for callback in self.callbacks:
                callback.load_state_dict(state["callbacks"].get(type(callback).__name__, {}))
        except (KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"checkpoint {checkpoint.step} in {self.run.checkpoints} does not fit the run's "
                f"configuration: {reason_of(error)}"
            ) from error
        self.checkpoints.forget_after(checkpoint.step)


def training_class(recipe: Recipe) -> type[Training]:
    """What trains `recipe`: another library's algorithms bring a loop of their own."""
    if isinstance(recipe.algorithm, StableBaselinesConfig):
        from rlkit.sb3.training import StableBaselinesTraining

        return StableBaselinesTraining
    return Training


def train(
    recipe: Recipe, *, runs: str | os.PathLike[str] = "runs", callbacks: Iterable[Callback] = ()
) -> Run:
    """Train `recipe` in a new run folder under `runs`, and return the run.

    callbacks: watch it, in addition to evaluations, TensorBoard and checkpoints.
    Raises RunError where the folder cannot be written, RecipeError where the recipe makes no sense,
    CheckpointError or OSError where saving fails, NonFiniteGradientError where the learning
    diverges.
    """
    try:
        recipe = replace(recipe, environment=with_checksum(recipe.environment))
    except ValueError as error:
        raise RecipeError(f"recipe {recipe.name!r} cannot be trained: {error}") from error
    run = Run.create(recipe, os.fspath(runs))
    try:
        training = training_class(recipe)(recipe, run, [*callbacks, *_standard_callbacks()])
    except BaseException:
        run.discard()
        raise
    with run.lock():
        training.learn()
    return run


def resume(
    run: Run,
    *,
    recipe: Recipe | None = None,
    checkpoint: int | None = None,
    callbacks: Iterable[Callback] = (),
) -> Run:
    """Go on with a training from its last checkpoint, or from the one at step `checkpoint`.

    recipe: what to go on with instead of the run's own, such as one with a larger budget; it
    becomes the run's. Raises what `train` raises, CheckpointError where the checkpoint is missing,
    damaged, or of another configuration, and RunError where the run is being trained already.
    """
    with run.lock():
        going_on = recipe or run.recipe()
        training = training_class(going_on)(going_on, run, [*callbacks, *_standard_callbacks()])
        training.load_checkpoint(checkpoint)
        if recipe is not None:
            run.change_recipe(recipe)
        training.learn()
    return run


def _standard_callbacks() -> list[Callback]:
    from rlkit.callbacks.checkpointing import Checkpointing
    from rlkit.callbacks.evaluating import Evaluating
    from rlkit.callbacks.filming import Filming
    from rlkit.callbacks.frozen_torso import FrozenTorso
    from rlkit.callbacks.gradient_health import GradientHealth
    from rlkit.callbacks.picking import Picking
    from rlkit.callbacks.tensorboard import TensorBoard

    return [
        FrozenTorso(),
        Evaluating(),
        Filming(),
        GradientHealth(),
        Picking(),
        TensorBoard(),
        Checkpointing(),
    ]
