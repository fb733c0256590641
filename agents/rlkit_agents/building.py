"""Builds the policy that a policy file describes."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from rlkit_agents.networks import NetworkConfig
from rlkit_agents.policy import Policy
from rlkit_agents.q_policy import HeadConfig, QPolicy


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
            observation_space,
            action_space,
            network,
            head,
            epsilon=architecture["epsilon"],
            precision=architecture["precision"],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"incomplete description of a {kind}: {error}") from error


def _with_tuples(fields: dict[str, Any]) -> dict[str, Any]:
    """JSON knows lists where frozen dataclasses hold tuples."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
