"""Which algorithm a configuration stands for."""

from __future__ import annotations

from collections.abc import Callable

import gymnasium as gym
import torch

from rlkit.sb3.config import StableBaselinesConfig
from rlkit.seeds import Seeds
from rlkit_agents.algorithm import Algorithm
from rlkit_agents.dqn import DQN, DQNConfig
from rlkit_agents.ppo import PPO, PPOConfig

AlgorithmConfig = DQNConfig | PPOConfig | StableBaselinesConfig
"""A configuration of what learns: one from which `make_algorithm` builds, or another library's."""

_ALGORITHMS: dict[type, Callable[..., Algorithm]] = {DQNConfig: DQN, PPOConfig: PPO}


def make_algorithm(
    config: AlgorithmConfig,
    observation_space: gym.Space,
    action_space: gym.Space,
    num_envs: int,
    seeds: Seeds,
    device: torch.device | str = "cpu",
) -> Algorithm:
    """The algorithm that `config` configures, for single environments with the given spaces.

    Raises ValueError where the configuration does not fit the spaces, ImportError without a package
    that it needs.
    """
    if type(config) not in _ALGORITHMS:
        raise ValueError(
            f"{type(config).__name__} has a training of its own: rlkit.train, not this"
        )
    return _ALGORITHMS[type(config)](
        config,
        observation_space,
        action_space,
        num_envs,
        exploration_seed=seeds.exploration,
        replay_seed=seeds.replay,
        initialisation_seed=seeds.initialisation,
        device=device,
    )
