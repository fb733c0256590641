"""A policy is what acts, and so what is saved, evaluated, watched, compressed and exported."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from rlkit_agents.memory import State, cleared


class Policy(nn.Module, ABC):
    """Maps observations, and a recurrent state, to actions."""

    network: nn.Module
    """Holds all weights, in sub-modules with readable names."""

    def __init__(self, observation_space: gym.Space, action_space: gym.Space) -> None:
        super().__init__()
        self.observation_space = observation_space
        self.action_space = action_space

    @property
    @abstractmethod
    def architecture(self) -> dict[str, Any]:
        """Plain JSON data from which `build_policy` builds the same policy, without its weights."""

    @abstractmethod
    def act(
        self, observations: Tensor, state: State = None, deterministic: bool = True
    ) -> tuple[Tensor, State]:
        """Choose actions for a batch.

        observations: (batch, *observation_shape), in the observation space's dtype.
        state: None before the first observations; `forget` clears it where an episode starts.
        Returns actions (batch, ...) and the state to pass with the next observations.
        Raises ValueError for a state of another policy or of a batch of another size.
        """

    @staticmethod
    def forget(state: State, starts: Tensor) -> State:
        """The state to pass with observations of which some, `starts` (batch,) bool, are first."""
        return None if state is None else cleared(state, starts)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def predict(
        self,
        observation: np.ndarray,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Choose actions for NumPy observations, with Stable-Baselines3's signature.

        observation: one observation or a batch; the actions come back in the same form.
        state: what the last call returned. episode_start: (batch,) bool, True where an
        episode begins and the state is to be forgotten.
        Raises ValueError where the observation's shape does not fit the policy's space, and where
        the state is one of another policy, or it or `episode_start` of a batch of another size.
        """
        shape = self.observation_space.shape
        assert shape is not None
        batched = observation.ndim == len(shape) + 1
        if observation.shape[observation.ndim - len(shape) :] != shape or (
            observation.ndim != len(shape) and not batched
        ):
            raise ValueError(
                f"this policy takes observations of shape {shape}, got {observation.shape}"
            )
        batch = observation if batched else observation[None]
        tensors = None
        if state is not None:
            tensors = tuple(torch.as_tensor(part).to(self.device) for part in state)
            if episode_start is not None:
                starts = np.asarray(episode_start, bool)
                if starts.shape not in ((), (len(batch),)):
                    raise ValueError(
                        f"episode_start of shape {starts.shape} does not fit a batch of "
                        f"{len(batch)}"
                    )
                starts = np.broadcast_to(starts, len(batch))
                tensors = self.forget(tensors, torch.as_tensor(starts.copy()).to(self.device))
        with torch.inference_mode():
            observations = torch.as_tensor(np.ascontiguousarray(batch)).to(self.device)
            actions, tensors = self.act(observations, tensors, deterministic)
        chosen = actions.cpu().numpy()
        next_state = None if tensors is None else tuple(part.cpu().numpy() for part in tensors)
        return (chosen if batched else chosen[0]), next_state
