"""Policies of Stable-Baselines3 and sb3-contrib as rlkit's: saved, evaluated, watched alike.

A description names the algorithm, the library's name of the network, and plain arguments; so a
policy file holds no pickle, and building from it makes nothing but what the libraries offer.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import torch
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor, nn

from rlkit.sb3.config import POLICY
from rlkit.sb3.observations import seen_by_network, seen_space
from rlkit.sb3.settings import algorithm_class, policy_arguments
from rlkit_agents.memory import State
from rlkit_agents.policy import Policy


class StableBaselinesPolicy(Policy):
    """A network of one of the libraries.

    Box actions are clipped, or scaled from [-1, 1], to the space's bounds as the libraries do.
    Masks of invalid actions are not asked for: only an environment knows them.
    """

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        network: BasePolicy,
        description: Mapping[str, Any],
    ) -> None:
        """observation_space: that of our single environments, of which `network` may see another
        view (`seen_space`). description: what `build` takes."""
        super().__init__(observation_space, action_space)
        self.network: BasePolicy = network  # pyright: ignore[reportIncompatibleVariableOverride]
        self._description = dict(description)
        self._recurrent = hasattr(network, "lstm_actor")

    @property
    def architecture(self) -> dict[str, Any]:
        return {"policy": POLICY, **self._description}

    def forward(self, observations: Tensor) -> Tensor:
        """The actions for observations without a past."""
        return self.act(observations)[0]

    def act(
        self, observations: Tensor, state: State = None, deterministic: bool = True
    ) -> tuple[Tensor, State]:
        seen = seen_by_network(observations, self.observation_space)
        with torch.no_grad():
            if not deterministic and self._description["arguments"].get("use_sde"):
                # Its noise is drawn beforehand; here by whoever seeds PyTorch, for each batch.
                self.network.reset_noise(len(seen))  # pyright: ignore[reportCallIssue]
            if self._recurrent:
                actions, state = self._recurrent_actions(seen, state, deterministic)
            elif state is not None:
                shapes = [tuple(part.shape) for part in state]
                raise ValueError(
                    f"a recurrent state of shapes {shapes} does not fit: this policy has no memory"
                )
            else:
                actions = self.network._predict(seen, deterministic=deterministic)
            actions = actions.reshape(-1, *(self.action_space.shape or ()))
            return self._within_bounds(actions), state

    def _recurrent_actions(
        self, seen: Tensor, state: State, deterministic: bool
    ) -> tuple[Tensor, State]:
        """The library's state has a first axis of layers, ours one of environments alone."""
        batch = len(seen)
        lstm: nn.LSTM = self.network.lstm_actor  # pyright: ignore[reportAssignmentType]
        size = lstm.num_layers * lstm.hidden_size
        if state is None:
            state = (torch.zeros(batch, size, device=seen.device),) * 2
        shapes = [tuple(part.shape) for part in state]
        if shapes != [(batch, size)] * 2:
            raise ValueError(
                f"a recurrent state of shapes {shapes} does not fit: this policy over a batch of "
                f"{batch} needs two of {(batch, size)}"
            )
        layered = tuple(
            part.reshape(batch, lstm.num_layers, lstm.hidden_size).movedim(1, 0).contiguous()
            for part in state
        )
        starts_nowhere = torch.zeros(batch, device=seen.device)
        predict: Any = self.network._predict
        actions, layered = predict(seen, layered, starts_nowhere, deterministic)
        return actions, tuple(part.movedim(0, 1).flatten(1) for part in layered)

    def _within_bounds(self, actions: Tensor) -> Tensor:
        space = self.action_space
        if not isinstance(space, gym.spaces.Box):
            return actions
        low, high = (torch.from_numpy(b).to(actions.device) for b in (space.low, space.high))
        if self.network.squash_output:
            return low + 0.5 * (actions + 1.0) * (high - low)
        return actions.clamp(low, high)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Each weight once, though a network may have it under several names."""
        whole = super().state_dict(*args, **kwargs)
        if args or kwargs:  # a part of something larger
            return whole
        named = [*self.named_parameters(), *self.named_buffers()]
        return {name: whole[name] for name, _ in named if name in whole}

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        once = self.state_dict().keys()
        others = [name for name in super().state_dict() if name not in once]
        found = super().load_state_dict(state_dict, strict=False, assign=assign)
        missing = [name for name in found.missing_keys if name not in others]
        if strict and (missing or found.unexpected_keys):
            raise RuntimeError(
                f"weights do not fit: missing {missing}, not known {found.unexpected_keys}"
            )
        return found


class StableBaselinesValuePolicy(StableBaselinesPolicy):
    """One that takes the action of the highest value, and shows the values."""

    def q_values(self, observations: Tensor) -> Tensor:
        """Expected returns (batch, actions), float32."""
        seen = seen_by_network(observations, self.observation_space)
        if hasattr(self.network, "q_net"):
            return self.network.q_net(seen)  # pyright: ignore[reportCallIssue]
        return self.network.quantile_net(seen).mean(1)  # pyright: ignore[reportCallIssue]


def wrapped(
    observation_space: gym.Space,
    action_space: gym.Space,
    network: BasePolicy,
    description: Mapping[str, Any],
) -> StableBaselinesPolicy:
    """`network` as a policy of rlkit; one with values where it has them."""
    has_values = hasattr(network, "q_net") or hasattr(network, "quantile_net")
    kind = StableBaselinesValuePolicy if has_values else StableBaselinesPolicy
    return kind(observation_space, action_space, network, description)


def build_network(
    policy_class: type[BasePolicy],
    observation_space: gym.Space,
    action_space: gym.Space,
    arguments: Mapping[str, Any],
) -> BasePolicy:
    """A network with fresh weights, for observations as the library sees them.

    Raises ValueError where the arguments do not fit.
    """
    # Only learning needs a schedule.
    takes_schedule = "lr_schedule" in inspect.signature(policy_class).parameters
    schedule = {"lr_schedule": lambda progress_remaining: 0.0} if takes_schedule else {}
    try:
        return policy_class(observation_space, action_space, **schedule, **arguments)
    except (AssertionError, AttributeError, RuntimeError, TypeError) as error:
        raise ValueError(f"{policy_class.__name__} cannot be built: {error}") from error


def build(
    architecture: Mapping[str, Any], observation_space: gym.Space, action_space: gym.Space
) -> StableBaselinesPolicy:
    """The policy that `StableBaselinesPolicy.architecture` described, with fresh weights.

    Raises ValueError for a description of something else, KeyError for an incomplete one,
    ImportError where the library is not installed.
    """
    aliases = algorithm_class(architecture["algorithm"]).policy_aliases
    alias = architecture["network"]
    if alias not in aliases:
        raise ValueError(f"{architecture['algorithm']} has no policy {alias!r}")
    description = {name: architecture[name] for name in ("algorithm", "network", "arguments")}
    network = build_network(
        aliases[alias],
        seen_space(observation_space),
        action_space,
        policy_arguments(architecture["arguments"]),
    )
    return wrapped(observation_space, action_space, network, description)
