"""The policy of actor-critics: a distribution over actions, beside the value of the observation.

Discrete actions: categorical. Continuous ones: Gaussian, its components independent, their standard
deviations parameters that do not depend on the observation (Schulman et al. 2017, section 6.1).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from rlkit_agents.distributions import (
    Likelihood,
    categorical_likelihood,
    categorical_sample,
    gaussian_likelihood,
    gaussian_sample,
)
from rlkit_agents.initialisation import initialise
from rlkit_agents.memory import State
from rlkit_agents.networks import NetworkConfig, make_memory, make_torso, unrolled_features
from rlkit_agents.policy import Policy
from rlkit_agents.precision import Precision, autocast


class Decision(NamedTuple):
    """What a policy chose for a batch of observations, and what there is to remember of it."""

    actions: Tensor
    """As drawn: (batch,) int64, or (batch, size) float32, neither clipped nor shaped."""
    log_probs: Tensor
    """(batch,) of these actions."""
    values: Tensor
    """(batch,) expected returns of the observations."""
    state: State
    """To pass with the next observations."""


class ActorCriticNetwork(nn.Module):
    """Torso, memory, and two heads: one for the actions' distribution, one for the value.

    Without a shared torso, `torso` serves the actions and `value_torso` the value.
    """

    def __init__(
        self,
        observation_space: gym.Space,
        action_outputs: int,
        config: NetworkConfig,
        *,
        shared_torso: bool = True,
        log_standard_deviation: float | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        """action_outputs: actions, or components of a continuous one.

        log_standard_deviation: where that of each component of a continuous action starts; None
        for discrete actions. generator: source of the initial weights.
        Raises ValueError where the configuration does not fit the space or an actor-critic.
        """
        super().__init__()
        check_network(config, shared_torso)
        self.torso = make_torso(config, observation_space, generator=generator)
        self.value_torso = (
            None if shared_torso else make_torso(config, observation_space, generator=generator)
        )
        self.memory = make_memory(config, self.torso.feature_size, generator=generator)
        features = self.torso.feature_size if self.memory is None else self.memory.size
        self.value_head = nn.Linear(features, 1)
        self.action_head = nn.Linear(features, action_outputs)
        # With hardly any weight the first actions are drawn as from no knowledge (Stable-Baselines3
        # has these gains from OpenAI's baselines). They scale orthogonal weights alone.
        initialise(self.value_head, config.initialisation, gain=1.0, generator=generator)
        initialise(self.action_head, config.initialisation, gain=0.01, generator=generator)
        self.log_standard_deviation = (
            None
            if log_standard_deviation is None
            else nn.Parameter(torch.full((action_outputs,), float(log_standard_deviation)))
        )

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, *observation shape) -> the actions' (batch, outputs), values (batch,); float32.

        For a network without memory.
        """
        features = self.torso(observations)
        return self._heads(
            features, features if self.value_torso is None else self.value_torso(observations)
        )

    def unroll(
        self, observations: Tensor, state: State = None, starts: Tensor | None = None
    ) -> tuple[Tensor, Tensor, State]:
        """Run over time, with or without memory.

        observations: (time, batch, *observation shape). state, starts: see `Memory.forward`.
        Returns the actions' outputs (time, batch, outputs), values (time, batch), and the state
        after the last.
        """
        shape = observations.shape[:2]
        if self.memory is None:
            outputs, values = self(observations.flatten(0, 1))
            state = None
        else:
            features, state = unrolled_features(
                self.torso, self.memory, observations, state, starts
            )
            outputs, values = self._heads(features.flatten(0, 1), features.flatten(0, 1))
        return outputs.unflatten(0, shape), values.unflatten(0, shape), state

    def _heads(self, features: Tensor, value_features: Tensor) -> tuple[Tensor, Tensor]:
        # In float32: rounded logits would make ratios of probabilities differ from 1 by chance.
        with torch.autocast(features.device.type, enabled=False):
            outputs = self.action_head(features.float())
            return outputs, self.value_head(value_features.float()).squeeze(-1)


class ActorCriticPolicy(Policy):
    """Draws actions from a learnt distribution; takes its mode where deterministic.

    action_space: Discrete counting from 0, or Box of real numbers, to whose bounds actions are
    clipped on their way to the environment; their likelihood is that before clipping.
    Raises ValueError for other spaces, and for a network that does not fit.
    """

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        network: NetworkConfig,
        *,
        shared_torso: bool = True,
        log_standard_deviation: float = 0.0,
        precision: Precision = "auto",
    ) -> None:
        super().__init__(observation_space, action_space)
        self.discrete = isinstance(action_space, gym.spaces.Discrete)
        self.action_size = _action_outputs(action_space)
        self.network_config = network
        self.shared_torso = shared_torso
        self.initial_log_standard_deviation = log_standard_deviation
        self.precision: Precision = precision
        self.network: ActorCriticNetwork = ActorCriticNetwork(  # pyright: ignore[reportIncompatibleVariableOverride]
            observation_space,
            self.action_size,
            network,
            shared_torso=shared_torso,
            log_standard_deviation=None if self.discrete else log_standard_deviation,
        )
        if isinstance(action_space, gym.spaces.Box):
            for name in ("low", "high"):
                bound = torch.as_tensor(getattr(action_space, name)).flatten()
                self.register_buffer(f"action_{name}", bound, persistent=False)

    @property
    def architecture(self) -> dict[str, Any]:
        return {
            "policy": "ActorCriticPolicy",
            "network": asdict(self.network_config),
            "shared_torso": self.shared_torso,
            "log_standard_deviation": self.initial_log_standard_deviation,
            "precision": self.precision,
        }

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """The actions' outputs (batch, outputs) and values (batch,), float32.

        Outputs are logits, or means. For every observation as the first of an episode, where there
        is memory.
        """
        if self.network.memory is not None:
            outputs, values, _ = self.unroll(observations.unsqueeze(0))
            return outputs.squeeze(0), values.squeeze(0)
        with autocast(self.precision, observations.device):
            return self.network(observations)

    def unroll(
        self, observations: Tensor, state: State = None, starts: Tensor | None = None
    ) -> tuple[Tensor, Tensor, State]:
        """As `ActorCriticNetwork.unroll`, in the policy's precision."""
        with autocast(self.precision, observations.device):
            return self.network.unroll(observations, state, starts)

    def _step(self, observations: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """`forward` for observations that follow on `state`, and the state after them."""
        if self.network.memory is None:
            if state is not None:
                shapes = [tuple(part.shape) for part in state]
                raise ValueError(
                    f"a recurrent state of shapes {shapes} does not fit: this policy has no memory"
                )
            return *self(observations), None
        outputs, values, state = self.unroll(observations.unsqueeze(0), state)
        return outputs.squeeze(0), values.squeeze(0), state

    def explore(
        self, observations: Tensor, state: State = None, generator: torch.Generator | None = None
    ) -> Decision:
        """Draw an action for each observation; what `act` takes and returns, but see `Decision`.

        generator: PyTorch's global one if None.
        """
        outputs, values, state = self._step(observations, state)
        actions = self._sample(outputs, generator)
        return Decision(actions, self.likelihood(outputs, actions).log_probs, values, state)

    def act(
        self, observations: Tensor, state: State = None, deterministic: bool = True
    ) -> tuple[Tensor, State]:
        outputs, _, state = self._step(observations, state)
        if not deterministic:
            return self.executable(self._sample(outputs)), state
        return self.executable(outputs.argmax(-1) if self.discrete else outputs), state

    def values(self, observations: Tensor, state: State = None) -> Tensor:
        """Expected returns (batch,), float32, of observations that follow on `state`."""
        return self._step(observations, state)[1]

    def _sample(self, outputs: Tensor, generator: torch.Generator | None = None) -> Tensor:
        if self.discrete:
            return categorical_sample(outputs, generator)
        assert self.network.log_standard_deviation is not None
        return gaussian_sample(outputs, self.network.log_standard_deviation, generator)

    def likelihood(self, outputs: Tensor, actions: Tensor) -> Likelihood:
        """Of actions as drawn, (batch, ...), under distributions with outputs (batch, outputs)."""
        if self.discrete:
            return categorical_likelihood(outputs, actions)
        assert self.network.log_standard_deviation is not None
        return gaussian_likelihood(outputs, self.network.log_standard_deviation, actions)

    def executable(self, actions: Tensor) -> Tensor:
        """Actions as drawn, (batch, ...), in the space's bounds, shape and type."""
        if self.discrete:
            return actions
        low, high = self.get_buffer("action_low"), self.get_buffer("action_high")
        shape = self.action_space.shape
        assert shape is not None
        return actions.to(low.dtype).clamp(low, high).reshape(-1, *shape)


def check_network(config: NetworkConfig, shared_torso: bool) -> None:
    """Raise ValueError for a network that an actor-critic cannot have."""
    for name in ("dueling", "noisy"):
        if getattr(config, name):
            raise ValueError(
                f"network.{name} is for value-based agents; an actor-critic has a value head and "
                "explores by drawing from its policy"
            )
    if config.memory != "none" and not shared_torso:
        raise ValueError(
            f"network.memory {config.memory!r} needs a torso that actions and value share"
        )


def _action_outputs(space: gym.Space) -> int:
    """Numbers that describe the distribution over a space's actions. ValueError for others."""
    if isinstance(space, gym.spaces.Discrete) and space.start == 0:
        return int(space.n)
    if isinstance(space, gym.spaces.Box) and np.issubdtype(space.dtype, np.floating):
        size = int(np.prod(space.shape))
        if size > 0:
            return size
    raise ValueError(
        f"an actor-critic needs a Discrete action space that counts from 0, or a Box of floats; "
        f"got {space}"
    )
