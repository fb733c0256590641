"""Builds the policy that a policy file describes."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from rlkit_agents.actor_critic import ActorCriticPolicy
from rlkit_agents.coded_pictures import CodedPictureConfig, CodedPictures
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.pick_policy import PickNetworkConfig, PickPolicy
from rlkit_agents.policy import Policy
from rlkit_agents.q_policy import HeadConfig, QPolicy


def build_policy(
    architecture: dict[str, Any], observation_space: gym.Space, action_space: gym.Space
) -> Policy:
    """Build the policy that `Policy.architecture` described, with fresh weights.

    Raises ValueError where the description is not of a known policy.
    """
    kind = architecture.get("policy")
    if kind not in _BUILDERS:
        known = ", ".join(map(repr, _BUILDERS))
        raise ValueError(f"unknown kind of policy {kind!r}; known: {known}")
    try:
        return _BUILDERS[kind](architecture, observation_space, action_space)
    except (KeyError, TypeError) as error:
        raise ValueError(f"incomplete description of a {kind}: {error}") from error


def _q_policy(
    architecture: dict[str, Any], observation_space: gym.Space, action_space: gym.Space
) -> QPolicy:
    return QPolicy(
        observation_space,
        action_space,
        NetworkConfig(**_with_tuples(architecture["network"])),
        HeadConfig(**architecture["head"]),
        epsilon=architecture["epsilon"],
        value_rescaling=architecture.get("value_rescaling", False),  # not in older descriptions
        precision=architecture["precision"],
    )


def _actor_critic_policy(
    architecture: dict[str, Any], observation_space: gym.Space, action_space: gym.Space
) -> ActorCriticPolicy:
    return ActorCriticPolicy(
        observation_space,
        action_space,
        NetworkConfig(**_with_tuples(architecture["network"])),
        shared_torso=architecture["shared_torso"],
        log_standard_deviation=architecture["log_standard_deviation"],
        precision=architecture["precision"],
    )


def _pick_policy(
    architecture: dict[str, Any], observation_space: gym.Space, action_space: gym.Space
) -> PickPolicy:
    coded = architecture.get("coded")  # only where observations are codes
    return PickPolicy(
        observation_space,
        action_space,
        PickNetworkConfig(**_with_tuples(architecture["network"])),
        symmetric=architecture.get("symmetric", False),  # not in older descriptions, nor this:
        discount=architecture.get("discount", 0.0),
        coded=None if coded is None else CodedPictures(CodedPictureConfig(**_with_tuples(coded))),
        precision=architecture["precision"],
    )


_BUILDERS = {
    "QPolicy": _q_policy,
    "ActorCriticPolicy": _actor_critic_policy,
    "PickPolicy": _pick_policy,
}


def _with_tuples(fields: dict[str, Any]) -> dict[str, Any]:
    """JSON knows lists where frozen dataclasses hold tuples."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
