"""Observations as the library's networks want them: images with their channels first.

The library itself turns (height, width, channels) around; a stack of colour frames (frames, height,
width, channels), which it does not know, becomes one image of frames times channels here.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecTransposeImage
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn
from torch import Tensor


def is_colour_stack(space: gym.Space) -> bool:
    """Whether observations are colour frames (frames, height, width, 3), bytes."""
    shape = space.shape
    return space.dtype == np.uint8 and shape is not None and len(shape) == 4 and shape[3] == 3


def is_channels_last(space: gym.Space) -> bool:
    """Whether observations are what the library takes for images (height, width, channels)."""
    return (
        isinstance(space, gym.spaces.Box)
        and is_image_space(space)
        and not is_image_space_channels_first(space)
    )


def seen_space(space: gym.Space) -> gym.Space:
    """The space of `seen_by_network`, for observations of a single environment in `space`."""
    if is_colour_stack(space):
        frames, height, width, channels = space.shape  # pyright: ignore[reportGeneralTypeIssues]
        return gym.spaces.Box(0, 255, (frames * channels, height, width), np.uint8)
    return VecTransposeImage.transpose_space(space) if is_channels_last(space) else space  # pyright: ignore[reportArgumentType]


def seen_by_network(observations: Tensor, space: gym.Space) -> Tensor:
    """A batch (batch, *space.shape) as the networks take it."""
    if is_colour_stack(space):
        return observations.movedim(4, 2).flatten(1, 2)
    return observations.movedim(3, 1) if is_channels_last(space) else observations


def with_known_images(envs: VecEnv) -> VecEnv:
    """`envs`, wrapped where their observations are stacks of colour frames."""
    return _FoldedColours(envs) if is_colour_stack(envs.observation_space) else envs


class _FoldedColours(VecEnvWrapper):
    def __init__(self, envs: VecEnv) -> None:
        super().__init__(envs, seen_space(envs.observation_space))

    def reset(self) -> VecEnvObs:
        return _folded(self.venv.reset())

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, dones, infos = self.venv.step_wait()
        for env in np.flatnonzero(dones):
            final = infos[env]["terminal_observation"]
            infos[env]["terminal_observation"] = _folded(final[None])[0]
        return _folded(observations), rewards, dones, infos


def _folded(observations: Any) -> np.ndarray:
    batch, frames, height, width, channels = observations.shape
    return np.moveaxis(observations, 4, 2).reshape(batch, frames * channels, height, width)
