"""Environments between rlkit's run and the library's loop: counted, seeded, and cut off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from stable_baselines3.common.vec_env import VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from rlkit.environments import EncodedEnvironment, Environment, encoded, make_envs
from rlkit.sb3.vec_env import VectorEnvAsVecEnv, can_reset_partially
from rlkit.seeds import integer_seed
from rlkit.stepping import Episode
from rlkit_agents.step import Step
from rlkit_envs.atari import AtariProtocol


def make_resettable_envs(environment: Environment, num_envs: int, threads: int) -> VectorEnv:
    """`make_envs`, or single environments in turn where those cannot be reset one by one.

    Raises ValueError for an unknown environment or arguments that do not fit it.
    """
    if isinstance(environment, EncodedEnvironment):
        plain = make_resettable_envs(environment.environment, num_envs, threads)
        return encoded(plain, environment)
    envs = make_envs(environment, num_envs, threads)
    if isinstance(environment, AtariProtocol) or can_reset_partially(envs):
        return envs
    envs.close()
    return gym.make_vec(
        environment.id, num_envs=num_envs, vectorization_mode="sync", **environment.arguments
    )


class RolloutStepper(VecEnvWrapper):
    """What the library steps; in a training it stands where else a `Stepper` does.

    The stream is cut as by a `Stepper` of environments that cannot save their state, whether or not
    these can: all running episodes are broken off, and the environments start afresh from a seed
    that depends only on the cut's number. But it is cut when the training says so, since the
    library can be left only between two rollouts.
    """

    def __init__(
        self,
        envs: VectorEnv,
        seeds: np.random.SeedSequence,
        between_steps: Callable[[], None],
        mark: Callable[[str], None],
    ) -> None:
        """between_steps: called before each step or reset, when the library is done with the
        step before. mark: told the phases that end here, as a `PhaseTimer` is.
        Raises ValueError where `envs` would show reset steps."""
        super().__init__(VectorEnvAsVecEnv(envs))
        self.envs = envs
        self.finished: list[Episode] = []
        """Episodes that ended with the last step; those that a cut broke off are not among them."""
        self.info: dict[str, Any] = {}
        """What all environments told of the last step in single values, each (num_envs,)."""
        self.cuts = 0
        """How often the stream was cut so far."""
        self.steps_since_cut = 0
        """Batched steps since then."""
        self.latest: Step | None = None
        """The last step, until somebody takes it away."""
        self._stream = seeds
        self._between_steps = between_steps
        self._mark = mark
        self._cut = True

    @property
    def at_cut(self) -> bool:
        """Whether the last step cut the stream: only here can a training be resumed exactly."""
        return self._cut

    def cut(self) -> None:
        """Break all running episodes off; the library must reset the environments next."""
        self.cuts += 1
        self._cut = True

    def reset(self) -> VecEnvObs:
        """Start new episodes everywhere; after a cut from a seed."""
        self._between_steps()
        if self._cut:
            self.venv.seed(integer_seed(self._stream, self.cuts))
            self.steps_since_cut = 0
            self._cut = False
        return self.venv.reset()

    def step_async(self, actions: np.ndarray) -> None:
        self._mark("act")
        self._between_steps()
        self._mark("watch")
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, dones, infos = self.venv.step_wait()
        truncated = np.array([info["TimeLimit.truncated"] for info in infos])
        self.finished = [_episode(infos[env]) for env in np.flatnonzero(dones)]
        self.info = {
            name: np.array([info[name] for info in infos])
            for name, value in infos[0].items()
            if np.isscalar(value) and all(name in info for info in infos)
        }
        self.steps_since_cut += 1
        every = np.ones(self.num_envs, bool)
        assert isinstance(observations, np.ndarray)
        self.latest = Step(observations, rewards.copy(), dones & ~truncated, truncated, every)
        self._mark("environments")
        return observations, rewards, dones, infos

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on after a cut."""
        return {"cuts": self.cuts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on at the cut at which `state` was taken: the next thing is a reset."""
        self.cuts = int(state["cuts"])
        self._cut = True


def _episode(info: dict[str, Any]) -> Episode:
    counts = info.get("episode_counts", {})
    return Episode(
        info["episode"]["r"],
        info["episode"]["l"],
        {name: float(value) for name, value in counts.items()},
    )
