"""Policies are rebuilt from what they say of themselves."""

from __future__ import annotations

import json
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from rlkit_agents.actor_critic import ActorCriticPolicy
from rlkit_agents.building import build_policy
from rlkit_agents.networks import NetworkConfig

FLAT = Box(-1, 1, (3,), np.float32)
FRAMES = Box(0, 255, (2, 15, 15), np.uint8)
LARGE = Box(0, 255, (4, 84, 84), np.uint8)
FOUR = Discrete(4)
ARM = Box(-2, 2, (2,), np.float32)
MLP = NetworkConfig(torso="mlp", hidden_sizes=(6, 5, 4), initialisation="orthogonal")


@pytest.mark.parametrize(
    ("space", "actions", "network", "options"),
    [
        (FLAT, FOUR, MLP, {"shared_torso": False}),
        (FLAT, ARM, MLP, {"log_standard_deviation": -0.5}),
        (FLAT, ARM, NetworkConfig(torso="mlp", memory="lstm", memory_size=7), {}),
        (FRAMES, FOUR, NetworkConfig(torso="compact", dense_size=9), {"precision": "bfloat16"}),
        (LARGE, FOUR, NetworkConfig(torso="seed", activation="elu"), {}),
    ],
)
def test_an_actor_critic_is_rebuilt_from_its_description(
    space: Box, actions: gym.Space, network: NetworkConfig, options: dict[str, Any]
):
    torch.manual_seed(0)
    policy = ActorCriticPolicy(space, actions, network, **options).eval()
    described = json.loads(json.dumps(policy.architecture))
    rebuilt = build_policy(described, space, actions).eval()
    assert isinstance(rebuilt, ActorCriticPolicy)
    assert rebuilt.architecture == policy.architecture
    assert rebuilt.shared_torso == policy.shared_torso
    observations = torch.from_numpy(np.stack([space.sample() for _ in range(4)]))
    with torch.no_grad():
        before = policy(observations)
        assert not torch.equal(rebuilt(observations)[1], before[1])
        rebuilt.load_state_dict(policy.state_dict())
        for one, other in zip(rebuilt(observations), before, strict=True):
            assert torch.equal(one, other)
    torch.manual_seed(1)
    drawn, _ = policy.act(observations, deterministic=False)
    torch.manual_seed(1)
    assert torch.equal(rebuilt.act(observations, deterministic=False)[0], drawn)


DESCRIPTION = ActorCriticPolicy(FLAT, FOUR, MLP).architecture


@pytest.mark.parametrize(
    ("description", "complaint"),
    [
        ({"policy": "QTable"}, "unknown kind of policy 'QTable'; known: .*'ActorCriticPolicy'"),
        ({"policy": "ActorCriticPolicy"}, "incomplete description of a Act.*Policy: 'network'"),
        (DESCRIPTION | {"network": {"turso": "mlp"}}, "incomplete description .* 'turso'"),
        (DESCRIPTION | {"network": {"torso": "lenet"}}, "unknown torso 'lenet'"),
        ({k: v for k, v in DESCRIPTION.items() if k != "shared_torso"}, "'shared_torso'"),
    ],
)
def test_a_description_of_something_else_is_refused(description: dict, complaint: str):
    with pytest.raises(ValueError, match=complaint):
        build_policy(description, FLAT, FOUR)
