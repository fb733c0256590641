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
from torch.distributions import Categorical, Normal

from rlkit.outlook import Outlook, as_array
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
            else:
                _check_no_state(state)
                actions = self.network._predict(seen, deterministic=deterministic)
            actions = actions.reshape(-1, *(self.action_space.shape or ()))
            return self._within_bounds(actions), state

    def _recurrent_actions(
        self, seen: Tensor, state: State, deterministic: bool
    ) -> tuple[Tensor, State]:
        forward: Any = self.network
        starts_nowhere = torch.zeros(len(seen), device=seen.device)
        actions, _, _, (actor, critic) = forward(
            seen, self._layered(state, seen), starts_nowhere, deterministic
        )
        parts = actor if self.network.lstm_critic is None else (*actor, *critic)
        return actions, tuple(part.movedim(0, 1).flatten(1) for part in parts)

    def _layered(self, state: State, seen: Tensor) -> Any:
        """`state` as the library has it: with a first axis of layers, the actor's and the critic's.

        Ours has one axis of environments alone, and no critic's where that has no LSTM of its own.
        """
        from sb3_contrib.common.recurrent.type_aliases import RNNStates

        batch = len(seen)
        lstm: nn.LSTM = self.network.lstm_actor  # pyright: ignore[reportAssignmentType]
        size = lstm.num_layers * lstm.hidden_size
        count = 2 if self.network.lstm_critic is None else 4
        if state is None:
            state = (torch.zeros(batch, size, device=seen.device),) * count
        shapes = [tuple(part.shape) for part in state]
        if shapes != [(batch, size)] * count:
            raise ValueError(
                f"a recurrent state of shapes {shapes} does not fit: this policy over a batch of "
                f"{batch} needs {count} of {(batch, size)}"
            )
        layered = [
            part.reshape(batch, lstm.num_layers, lstm.hidden_size).movedim(1, 0).contiguous()
            for part in state
        ]
        actor, critic = layered[:2], layered[-2:]
        return RNNStates((actor[0], actor[1]), (critic[0], critic[1]))

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


class StableBaselinesActorCriticPolicy(StableBaselinesPolicy):
    """One that draws actions from a distribution and values what it sees, and shows both."""

    def outlook(self, observations: Tensor, state: State = None) -> Outlook:
        """What it makes of one observation (1, *observation_shape) that follows on `state`.

        Several choices at a time, and actions that are squashed into their bounds once drawn, come
        without a distribution. Raises ValueError for a state of another policy.
        """
        network: Any = self.network
        seen = seen_by_network(observations, self.observation_space)
        with torch.no_grad():
            if self._recurrent:
                past = self._layered(state, seen)
                starts_nowhere = torch.zeros(len(seen), device=seen.device)
                told, _ = network.get_distribution(seen, past.pi, starts_nowhere)
                value = network.predict_values(seen, past.vf, starts_nowhere)
            else:
                _check_no_state(state)
                told, value = network.get_distribution(seen), network.predict_values(seen)
        match told.distribution:
            case Categorical(probs=probabilities):
                return Outlook(value=float(value), probabilities=as_array(probabilities))
            case Normal(mean=means, stddev=deviations) if not network.squash_output:
                gaussian = as_array(means), as_array(deviations)
                return Outlook(value=float(value), gaussian=gaussian)
        return Outlook(value=float(value))


class StableBaselinesActionValuePolicy(StableBaselinesPolicy):
    """One whose critics value an observation together with a continuous action."""

    def outlook(self, observations: Tensor, state: State = None) -> Outlook:
        """The value of its best action in one observation (1, *observation_shape), by the critic
        that gives it the lowest. Raises ValueError for a state: it has no memory."""
        _check_no_state(state)
        network: Any = self.network
        seen = seen_by_network(observations, self.observation_space)
        with torch.no_grad():
            values = network.critic(seen, network._predict(seen, deterministic=True))
            if isinstance(values, Tensor):  # quantiles (1, critics, quantiles) of the return
                values = values.mean(2).unbind(1)
            return Outlook(value=min(float(value) for value in values))


def wrapped(
    observation_space: gym.Space,
    action_space: gym.Space,
    network: BasePolicy,
    description: Mapping[str, Any],
) -> StableBaselinesPolicy:
    """`network` as a policy of rlkit, of the kind that shows what it tells beside its actions."""
    kind = StableBaselinesPolicy
    if hasattr(network, "q_net") or hasattr(network, "quantile_net"):
        kind = StableBaselinesValuePolicy
    elif hasattr(network, "get_distribution") and hasattr(network, "predict_values"):
        kind = StableBaselinesActorCriticPolicy
    elif hasattr(network, "actor") and hasattr(network, "critic"):
        kind = StableBaselinesActionValuePolicy
    return kind(observation_space, action_space, network, description)


def _check_no_state(state: State) -> None:
    if state is not None:
        shapes = [tuple(part.shape) for part in state]
        raise ValueError(
            f"a recurrent state of shapes {shapes} does not fit: this policy has no memory"
        )


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
