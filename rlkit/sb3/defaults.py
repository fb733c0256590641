"""Settings to start from: for images those of rl-baselines3-zoo, else the library's own.

The zoo's are those for Atari games in `hyperparams/` of
https://github.com/DLR-RM/rl-baselines3-zoo; its frame stack, clipped rewards and life-loss
terminations belong to the environment and stay with the recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import gymnasium as gym
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.preprocessing import is_image_space

from rlkit.sb3.config import StableBaselinesConfig
from rlkit.sb3.observations import seen_space
from rlkit.sb3.settings import algorithm_class, default_learning_rate

_REPLAY = {
    "buffer_size": 100_000,
    "learning_starts": 100_000,
    "batch_size": 32,
    "target_update_interval": 1_000,
    "train_freq": 4,
    "gradient_steps": 1,
}
_EXPLORATION = {"exploration_fraction": 0.1, "exploration_final_eps": 0.01}
_PPO = {
    "n_steps": 128,
    "n_epochs": 4,
    "batch_size": 256,
    "clip_range": "lin_0.1",
    "vf_coef": 0.5,
    "ent_coef": 0.01,
}
_FALLING = {"learning_rate": 2.5e-4, "learning_rate_end": 0.0}

FOR_IMAGES: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        "sb3:A2C": {
            "settings": {
                "ent_coef": 0.01,
                "vf_coef": 0.25,
                "policy_kwargs": {
                    "optimizer_class": "rmsprop_tf",
                    "optimizer_kwargs": {"eps": 1e-5},
                },
            }
        },
        "sb3:DQN": {"learning_rate": 1e-4, "settings": {**_REPLAY, **_EXPLORATION}},
        "sb3:PPO": {**_FALLING, "settings": _PPO},
        "sb3-contrib:MaskablePPO": {**_FALLING, "settings": _PPO},
        # The zoo leaves it at the library's defaults, whose replay of a million pictures takes
        # 56 GB: the DQN's replay instead.
        "sb3-contrib:QRDQN": {"settings": dict(_REPLAY)},
        "sb3-contrib:RecurrentPPO": {**_FALLING, "settings": _PPO},
    }
)
"""Fields of a configuration that differ from the library's defaults for images."""

NUM_ENVS: Mapping[str, int] = MappingProxyType({"sb3:A2C": 16, "sb3-contrib:ARS": 1})
"""Environments at a time; of the others, on-policy algorithms take 8 and off-policy ones 1."""

_LONG_ROLLOUTS = ("sb3:PPO", "sb3-contrib:MaskablePPO", "sb3-contrib:TRPO")


def default_num_envs(name: str) -> int:
    """Environments that step at a time for algorithm `name`."""
    usual = 8 if issubclass(algorithm_class(name), OnPolicyAlgorithm) else 1
    return NUM_ENVS.get(name, usual)


def default_config(name: str, observation_space: gym.Space) -> StableBaselinesConfig:
    """Algorithm `name` for observations of a single environment of ours.

    The library's rollouts of 2,048 steps are meant for one environment; where several step at a
    time they are cut in as many parts.
    Raises ValueError for an unknown name, ImportError where its library is not installed.
    """
    learns_from_replay = issubclass(algorithm_class(name), OffPolicyAlgorithm)
    images = is_image_space(seen_space(observation_space))
    settings: dict[str, Any] = {}
    if name in _LONG_ROLLOUTS:
        settings["n_steps"] = 2_048 // default_num_envs(name)
    if images and learns_from_replay:
        settings["buffer_size"] = _REPLAY["buffer_size"]
    fields: dict[str, Any] = {"learning_rate": default_learning_rate(name), "settings": settings}
    return StableBaselinesConfig(name, **fields | (FOR_IMAGES.get(name, {}) if images else {}))
