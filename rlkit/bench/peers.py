"""Stable-Baselines3's DQN and PPO with the Atari settings of rl-baselines3-zoo.

Settings: https://github.com/DLR-RM/rl-baselines3-zoo, `hyperparams/dqn.yml` and `ppo.yml`, entry
`atari`. The environments are Stable-Baselines3's own stack for Atari, at the protocol's sticky
actions and action set.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack
from torch import Tensor, nn

from rlkit_agents.memory import State
from rlkit_agents.policy import Policy
from rlkit_envs.atari import AtariProtocol

TOTAL_TIMESTEPS = 10_000_000
"""The zoo's length of a training; schedules run over it, wherever the clock stops the training."""

DQN_SETTINGS: dict[str, Any] = {
    "buffer_size": 100_000,
    "learning_rate": 1e-4,
    "batch_size": 32,
    "learning_starts": 100_000,
    "target_update_interval": 1_000,
    "train_freq": 4,
    "gradient_steps": 1,
    "exploration_fraction": 0.1,
    "exploration_final_eps": 0.01,
}
DQN_ENVS = 1

PPO_SETTINGS: dict[str, Any] = {
    "n_steps": 128,
    "n_epochs": 4,
    "batch_size": 256,
    "learning_rate": 2.5e-4,
    "clip_range": 0.1,
    "vf_coef": 0.5,
    "ent_coef": 0.01,
}
"""The zoo lets `learning_rate` and `clip_range` fall to 0 in a straight line."""
PPO_ENVS = 8

_WARM_UP_STEPS = 1_000


class Peer:
    """One of the two, trained for a window at a time or for a given time."""

    def __init__(
        self, name: str, settings: dict[str, Any], make: Callable[[int], BaseAlgorithm]
    ) -> None:
        self.name = name
        self.settings = settings
        """What it is run with, for the record."""
        self._make = make
        self._model: BaseAlgorithm | None = None

    def warm_up(self, seed: int = 0) -> None:
        """Build it and run it up to its first gradient steps."""
        self._model = self._make(seed)
        _learn(self._model, _Window(0.0, least_steps=_WARM_UP_STEPS))

    def window(self, seconds: float) -> float:
        """Go on for about `seconds`, whole rollouts; returns environment steps a second."""
        assert self._model is not None, "warm_up comes before window"
        window = _Window(seconds)
        _learn(self._model, window)
        return window.rate

    def train(self, seconds: float, seed: int) -> tuple[Policy, int]:
        """Train a new one from scratch; returns its policy and the environment steps taken."""
        model = self._make(seed)
        _learn(model, _Deadline(seconds))
        if model.env is not None:
            model.env.close()
        return PeerPolicy(model), model.num_timesteps

    def close(self) -> None:
        """Close its environments and let its memory go."""
        if self._model is not None and self._model.env is not None:
            self._model.env.close()
        self._model = None


def dqn(protocol: AtariProtocol, *, for_throughput: bool) -> Peer:
    """Stable-Baselines3's DQN.

    for_throughput: learn from nearly the start, at the final share of random actions, as it does
    for nine tenths of a whole training.
    """
    settings = dict(DQN_SETTINGS)
    if for_throughput:
        settings |= {
            "learning_starts": min(settings["learning_starts"], _WARM_UP_STEPS // 2),
            "exploration_initial_eps": settings["exploration_final_eps"],
        }

    def make(seed: int) -> BaseAlgorithm:
        return DQN("CnnPolicy", _atari(protocol, DQN_ENVS, seed), seed=seed, **settings)

    return Peer("Stable-Baselines3 DQN", {"envs": DQN_ENVS, **settings}, make)


def ppo(protocol: AtariProtocol) -> Peer:
    """Stable-Baselines3's PPO."""

    def make(seed: int) -> BaseAlgorithm:
        falling: dict[str, Any] = {
            name: _linear(PPO_SETTINGS[name]) for name in ("learning_rate", "clip_range")
        }
        envs = _atari(protocol, PPO_ENVS, seed)
        return PPO("CnnPolicy", envs, seed=seed, **(PPO_SETTINGS | falling))

    return Peer("Stable-Baselines3 PPO", {"envs": PPO_ENVS, **PPO_SETTINGS}, make)


class PeerPolicy(Policy):
    """A model's policy as rlkit's, so that one evaluation measures both.

    Takes (batch, 4, 84, 84) uint8 observations, oldest frame first, as both libraries stack them.
    """

    def __init__(self, model: BaseAlgorithm) -> None:
        space = model.observation_space
        assert isinstance(space, gym.spaces.Box)
        super().__init__(
            gym.spaces.Box(space.low, space.high, space.shape, np.uint8), model.action_space
        )
        self.network: nn.Module = model.policy
        self._predict = model.policy.predict

    @property
    def architecture(self) -> dict[str, Any]:
        return {"policy": f"Stable-Baselines3 {type(self.network).__name__}"}

    def act(
        self, observations: Tensor, state: State = None, deterministic: bool = True
    ) -> tuple[Tensor, State]:
        actions, _ = self._predict(observations.cpu().numpy(), deterministic=deterministic)
        return torch.from_numpy(np.asarray(actions, np.int64)), state


def _atari(protocol: AtariProtocol, num_envs: int, seed: int) -> VecEnv:
    envs = make_atari_env(
        protocol.environment_id,
        n_envs=num_envs,
        seed=seed,
        env_kwargs={
            # The wrappers skip frames and draw no-ops themselves.
            "frameskip": 1,
            "repeat_action_probability": protocol.sticky_actions,
            "full_action_space": protocol.full_action_space,
            "max_num_frames_per_episode": protocol.max_frames,
        },
    )
    return VecFrameStack(envs, n_stack=4)


def _linear(start: float) -> Callable[[float], float]:
    """A schedule from `start` to 0 over the progress that remains, from 1 to 0."""
    return lambda progress_remaining: progress_remaining * start


def _learn(model: BaseAlgorithm, callback: BaseCallback) -> None:
    torch.set_num_threads(os.cpu_count() or 1)
    remaining = TOTAL_TIMESTEPS - model.num_timesteps
    model.learn(total_timesteps=remaining, callback=callback, reset_num_timesteps=False)


class _Window(BaseCallback):
    """Ends `learn` at the first rollout that begins after `seconds`, learning included."""

    def __init__(self, seconds: float, least_steps: int = 1) -> None:
        super().__init__()
        self._seconds, self._least_steps = seconds, least_steps
        self._over = False
        self.rate = 0.0

    def _on_training_start(self) -> None:
        self._begun, self._steps = time.perf_counter(), self.model.num_timesteps

    def _on_rollout_start(self) -> None:
        elapsed = time.perf_counter() - self._begun
        steps = self.model.num_timesteps - self._steps
        if elapsed >= self._seconds and steps >= self._least_steps:
            self.rate, self._over = steps / elapsed, True

    def _on_step(self) -> bool:
        return not self._over


class _Deadline(BaseCallback):
    """Ends `learn` after `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def _on_training_start(self) -> None:
        self._begun = time.perf_counter()

    def _on_step(self) -> bool:
        return time.perf_counter() - self._begun < self._seconds
