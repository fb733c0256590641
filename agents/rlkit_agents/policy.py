"""Policies: what acts, and so what is saved, evaluated, watched, compressed and exported."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from rlkit_agents.heads import categorical_values, quantile_values
from rlkit_agents.networks import NetworkConfig, QNetwork
from rlkit_agents.noisy import NoisyLinear
from rlkit_agents.precision import Precision, autocast

State = tuple[Tensor, ...] | None
"""The recurrent state of a batch of environments; None for a policy without memory."""


class Policy(nn.Module, ABC):
    """Maps observations, and a recurrent state, to actions."""

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
        Returns actions (batch, ...) and the state to pass with the next observations.
        """

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
        Raises ValueError where the observation's shape does not fit the policy's space.
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
        tensors = (
            None
            if state is None
            else tuple(torch.as_tensor(part).to(self.device) for part in state)
        )
        if tensors is not None and episode_start is not None:
            keep = torch.as_tensor(~np.asarray(episode_start, bool)).to(self.device)
            tensors = tuple(
                part * keep.view(-1, *[1] * (part.ndim - 1)).to(part.dtype) for part in tensors
            )
        with torch.inference_mode():
            observations = torch.as_tensor(np.ascontiguousarray(batch)).to(self.device)
            actions, tensors = self.act(observations, tensors, deterministic)
        chosen = actions.cpu().numpy()
        next_state = None if tensors is None else tuple(part.cpu().numpy() for part in tensors)
        return (chosen if batched else chosen[0]), next_state


@dataclass(frozen=True)
class HeadConfig:
    """How the value of an action is represented."""

    kind: Literal["expected", "quantile", "categorical"] = "quantile"
    """The expected return; its quantiles (QR-DQN, Dabney 2018); a histogram of it (C51, Bellemare
    2017)."""
    atoms: int = 32
    """Quantiles or histogram bins for each action; 200 in QR-DQN, 51 in C51; not for `expected`."""
    value_min: float = -10.0
    """Return at the histogram's first bin; C51's paper: -10 with rewards clipped to 1."""
    value_max: float = 10.0
    """Return at the histogram's last bin."""

    def __post_init__(self) -> None:
        if self.kind != "expected" and self.atoms < 2:
            raise ValueError(f"a {self.kind} head needs at least 2 atoms, got {self.atoms}")
        if self.value_min >= self.value_max:
            raise ValueError(f"value_min {self.value_min} is not below value_max {self.value_max}")

    @property
    def outputs(self) -> int:
        """Numbers that the network gives for each action."""
        return 1 if self.kind == "expected" else self.atoms

    def support(self, device: torch.device) -> Tensor:
        """(atoms,) returns at the histogram's bins."""
        return torch.linspace(self.value_min, self.value_max, self.atoms, device=device)

    def q_values(self, outputs: Tensor) -> Tensor:
        """Expected returns (batch, actions) from the network's outputs (batch, actions, atoms)."""
        if self.kind == "categorical":
            return categorical_values(outputs, self.support(outputs.device))
        return quantile_values(outputs)


class QPolicy(Policy):
    """Takes the action of the highest value.

    When not deterministic, it takes a random action with probability `epsilon`.
    Raises ValueError for an action space that is not Discrete, or does not count from 0.
    """

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        network: NetworkConfig,
        head: HeadConfig,
        *,
        epsilon: float = 0.001,
        precision: Precision = "auto",
    ) -> None:
        super().__init__(observation_space, action_space)
        if not isinstance(action_space, gym.spaces.Discrete) or action_space.start != 0:
            raise ValueError(
                f"a value-based policy chooses among finitely many actions and needs a Discrete "
                f"action space that counts from 0; got {action_space}"
            )
        self.head = head
        self.epsilon = epsilon
        self.precision: Precision = precision
        self.network_config = network
        self.network = QNetwork(observation_space, int(action_space.n), head.outputs, network)

    @property
    def architecture(self) -> dict[str, Any]:
        return {
            "policy": "QPolicy",
            "network": asdict(self.network_config),
            "head": asdict(self.head),
            "epsilon": self.epsilon,
        }

    def eval_with_noise(self) -> None:
        """Switch to evaluation mode, without dropout, but leave noisy layers noisy."""
        self.eval()
        if self.network_config.noisy:
            for module in self.modules():
                if isinstance(module, NoisyLinear):
                    module.train()

    def forward(self, observations: Tensor) -> Tensor:
        """The network's outputs (batch, actions, atoms), float32."""
        with autocast(self.precision, observations.device):
            return self.network(observations)

    def q_values(self, observations: Tensor) -> Tensor:
        """Expected returns (batch, actions), float32."""
        return self.head.q_values(self(observations))

    def act(
        self, observations: Tensor, state: State = None, deterministic: bool = True
    ) -> tuple[Tensor, State]:
        actions = self.q_values(observations).argmax(-1)
        if not deterministic and self.epsilon > 0:
            assert isinstance(self.action_space, gym.spaces.Discrete)
            explores = torch.rand(actions.shape, device=actions.device) < self.epsilon
            random = torch.randint_like(actions, int(self.action_space.n))
            actions = torch.where(explores, random, actions)
        return actions, state


def build_policy(
    architecture: dict[str, Any], observation_space: gym.Space, action_space: gym.Space
) -> Policy:
    """Build the policy that `Policy.architecture` described, with fresh weights.

    Raises ValueError where the description is not of a known policy.
    """
    kind = architecture.get("policy")
    if kind != "QPolicy":
        raise ValueError(f"unknown kind of policy {kind!r}; known: 'QPolicy'")
    try:
        network = NetworkConfig(**_with_tuples(architecture["network"]))
        head = HeadConfig(**architecture["head"])
        return QPolicy(
            observation_space, action_space, network, head, epsilon=architecture["epsilon"]
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"incomplete description of a {kind}: {error}") from error


def _with_tuples(fields: dict[str, Any]) -> dict[str, Any]:
    """JSON knows lists where frozen dataclasses hold tuples."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
