"""The policy of value-based agents: it takes the action whose value is the highest."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import gymnasium as gym
import torch
from torch import Tensor

from rlkit_agents.heads import categorical_values, quantile_values
from rlkit_agents.losses import signed_parabolic
from rlkit_agents.memory import State
from rlkit_agents.networks import ImageTorso, NetworkConfig, QNetwork
from rlkit_agents.noisy import NoisyLinear
from rlkit_agents.policy import Policy
from rlkit_agents.precision import Precision, autocast


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
    huber_threshold: float = 1.0
    """Error of a return from which on the loss grows in a straight line, above 0 (Huber 1964).
    What lies beyond counts less than its mean: rare losses that matter need a threshold that they
    stay within. Not for `categorical`."""

    def __post_init__(self) -> None:
        if self.kind != "expected" and self.atoms < 2:
            raise ValueError(f"a {self.kind} head needs at least 2 atoms, got {self.atoms}")
        if self.value_min >= self.value_max:
            raise ValueError(f"value_min {self.value_min} is not below value_max {self.value_max}")
        if not 0 < self.huber_threshold < math.inf:
            raise ValueError(f"huber_threshold must be above 0, got {self.huber_threshold}")

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
    """Takes the action of the highest value, with or without memory.

    When not deterministic, it takes a random action with probability `epsilon`.
    value_rescaling: the outputs are rescaled values (see `losses.signed_hyperbolic`). Actions are
    still chosen, and values told, in true returns.
    Raises ValueError for an action space that is not Discrete, or does not count from 0, and for a
    categorical head with rescaled values.
    """

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        network: NetworkConfig,
        head: HeadConfig,
        *,
        epsilon: float = 0.001,
        value_rescaling: bool = False,
        precision: Precision = "auto",
    ) -> None:
        super().__init__(observation_space, action_space)
        if not isinstance(action_space, gym.spaces.Discrete) or action_space.start != 0:
            raise ValueError(
                f"a value-based policy chooses among finitely many actions and needs a Discrete "
                f"action space that counts from 0; got {action_space}"
            )
        if value_rescaling and head.kind == "categorical":
            raise ValueError(
                "rescaled values need an expected or quantile head: a categorical one is a "
                "histogram over the returns themselves"
            )
        self.head = head
        self.epsilon = epsilon
        self.value_rescaling = value_rescaling
        self.precision: Precision = precision
        self.network_config = network
        self.network: QNetwork = QNetwork(  # pyright: ignore[reportIncompatibleVariableOverride]
            observation_space, int(action_space.n), head.outputs, network
        )

    @property
    def architecture(self) -> dict[str, Any]:
        return {
            "policy": "QPolicy",
            "network": asdict(self.network_config),
            "head": asdict(self.head),
            "epsilon": self.epsilon,
            "value_rescaling": self.value_rescaling,
            "precision": self.precision,
        }

    def eval_with_noise(self) -> None:
        """Switch to evaluation mode, without dropout, but leave noisy layers noisy."""
        self.eval()
        if self.network_config.noisy:
            for module in self.modules():
                if isinstance(module, NoisyLinear):
                    module.train()

    def forward(self, observations: Tensor) -> Tensor:
        """The network's outputs (batch, actions, atoms), float32.

        With memory, each observation is taken for the first of an episode.
        """
        if self.network.memory is not None:
            return self.unroll(observations.unsqueeze(0))[0].squeeze(0)
        with autocast(self.precision, observations.device):
            return self.network(observations)

    def read_ahead(self, observations: Tensor) -> Tensor:
        """The observations in the format in which the network reads them, where that saves it time.

        What takes them is `forward`, in this or in another thread.
        """
        torso = self.network.torso
        if not isinstance(torso, ImageTorso):
            return observations
        with autocast(self.precision, observations.device):
            return torso.read_ahead(observations)

    def unroll(
        self, observations: Tensor, state: State = None, starts: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """The network's outputs (time, batch, actions, atoms), float32, and the state after them.

        observations: (time, batch, *observation_shape). state, starts: see `Memory.forward`.
        """
        with autocast(self.precision, observations.device):
            return self.network.unroll(observations, state, starts)

    def expected_returns(self, outputs: Tensor) -> Tensor:
        """Expected returns (batch, actions) from the network's outputs (batch, actions, atoms)."""
        return self.head.q_values(signed_parabolic(outputs) if self.value_rescaling else outputs)

    def q_values(self, observations: Tensor, state: State = None) -> Tensor:
        """Expected returns (batch, actions), float32, of observations that follow on `state`."""
        return self._q_values_and_state(observations, state)[0]

    def _q_values_and_state(self, observations: Tensor, state: State) -> tuple[Tensor, State]:
        if self.network.memory is not None:
            outputs, state = self.unroll(observations.unsqueeze(0), state)
            return self.expected_returns(outputs.squeeze(0)), state
        if state is not None:
            shapes = [tuple(part.shape) for part in state]
            raise ValueError(
                f"a recurrent state of shapes {shapes} does not fit: this policy has no memory"
            )
        return self.expected_returns(self(observations)), None

    def act(
        self, observations: Tensor, state: State = None, deterministic: bool = True
    ) -> tuple[Tensor, State]:
        values, state = self._q_values_and_state(observations, state)
        actions = values.argmax(-1)
        if not deterministic and self.epsilon > 0:
            assert isinstance(self.action_space, gym.spaces.Discrete)
            explores = torch.rand(actions.shape, device=actions.device) < self.epsilon
            random = torch.randint_like(actions, int(self.action_space.n))
            actions = torch.where(explores, random, actions)
        return actions, state
