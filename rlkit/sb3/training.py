"""A training whose loop is the library's: rlkit's callbacks, run and checkpoints around it.

Departures from rlkit's own loop. Callbacks see a step once the library has stored it and learnt
from it, which is before the next one. A `Step` shows the first observation of the next episode
where one ended, and no reset steps. Checkpoints wait for the end of a rollout, so that nothing of
it is lost; a budget ends the training at the very step that spends it, and a rollout begun is not
learnt from. Of the time, `act` also holds storing what the step before brought.
"""

from __future__ import annotations

from rlkit.sb3.algorithm import StableBaselines, Watcher
from rlkit.sb3.config import StableBaselinesConfig
from rlkit.sb3.stepping import RolloutStepper, make_resettable_envs
from rlkit.seeds import integer_seed
from rlkit.training import Training

SCHEDULE_STEPS = 10_000_000
"""Environment steps of a schedule where neither configuration nor budget says; those of the zoo's
Atari trainings."""


class _Leave(Exception):
    """Ends the library's loop, between two steps."""


class StableBaselinesTraining(Training):
    """Everything that one training of a `StableBaselinesConfig` is made of.

    Raises RecipeError where the recipe's parts do not fit together.
    """

    # They have what callbacks use, but here the library takes the steps and learns from them.
    stepper: RolloutStepper  # pyright: ignore[reportIncompatibleVariableOverride]
    algorithm: StableBaselines  # pyright: ignore[reportIncompatibleVariableOverride]

    def _assemble(self, device: str) -> None:
        recipe, config = self.recipe, self.recipe.algorithm
        assert isinstance(config, StableBaselinesConfig)
        if recipe.pretrained_torso is not None:
            raise ValueError(
                f"{config.name} takes a pretrained encoder from a script, as a features_extractor: "
                "see rlkit.autoencoder.torso.EncoderFeatures"
            )
        self._ending = False
        envs = make_resettable_envs(recipe.environment, recipe.num_envs, recipe.threads[0])
        self.stepper = RolloutStepper(
            envs, self.seeds.environment, self._between_steps, self.timer.mark
        )
        self.algorithm = StableBaselines(
            config,
            self.stepper,
            schedule_steps=config.schedule_steps or recipe.steps or SCHEDULE_STEPS,
            seed=integer_seed(self.seeds.initialisation),
            device=device,
        )
        rollout = self.algorithm.rollout_steps
        if rollout is not None and recipe.steps is not None and recipe.steps < rollout:
            raise ValueError(
                f"{config.name} learns after rollouts of {rollout} steps, more than the budget of "
                f"{recipe.steps}; lower the setting n_steps, or num_envs"
            )

    def _loop(self) -> None:
        self.timer.start()
        watcher = Watcher(self._at_rollout, lambda: self.timer.mark("remember"))
        self._ending = self.progress >= 1  # killed after its last step
        while not self._ending:
            try:
                self.algorithm.learn(watcher)
            except _Leave:
                pass
            except ValueError:
                self.check_weights()  # of NaN the library makes this error, by chance
                raise
            self.stepper.cut()
            self.algorithm.cut()
            self._show_step()

    def _at_rollout(self) -> None:
        """Where the library has learnt all that it will from the steps so far."""
        self.timer.mark("learn")
        every = self.recipe.checkpoint_every // self.recipe.num_envs
        self._between_steps(may_cut=self.stepper.steps_since_cut >= every)
        self.timer.mark("watch")

    def _between_steps(self, may_cut: bool = False) -> None:
        if self.stepper.latest is None:
            return
        self.algorithm.count_steps(self.steps + self.recipe.num_envs)
        self._ending = self.interrupted or self._spent_after_this_step()
        if self._ending or may_cut:
            raise _Leave
        self._show_step()

    def _show_step(self) -> None:
        step, self.stepper.latest = self.stepper.latest, None
        assert step is not None
        self.observations = step.observations
        self.steps += self.recipe.num_envs
        metrics = self.algorithm.take_metrics()
        for callback in self.callbacks:
            callback.on_step(self, step, metrics)
