"""PPO and A2C learn small worlds with known best actions and values; one of them takes memory."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from gymnasium.vector import SyncVectorEnv

import rlkit_envs  # noqa: F401 (registers rlkit/Recall-v0)
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.ppo import PPO, PPOConfig, a2c

from .small_worlds import Corridor, Ring, share_recalled, trained

NUM_ENVS = 16


def small(**changes: Any) -> PPOConfig:
    """Settings that suit worlds of a few states."""
    settings: dict[str, Any] = dict(
        network=NetworkConfig(
            torso="mlp", hidden_sizes=(64,), activation="tanh", initialisation="orthogonal"
        ),
        rollout_length=16,
        epochs=4,
        minibatch_size=64,
        discount=0.7,
        trace_decay=0.9,
        learning_rate=3e-3,
    )
    return PPOConfig(**(settings | changes))


VARIANTS = {
    "ppo": small(),
    "shared torso": small(shared_torso=True),
    "clipped values": small(clip_value_range=0.2),
    "limited divergence": small(epochs=10, target_kl=0.02),
    "a2c": a2c(network=small().network, discount=0.7, learning_rate=3e-3),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_finds_the_way_and_its_value(variant: str):
    envs = SyncVectorEnv([Corridor] * NUM_ENVS)
    policy = trained(partial(PPO, VARIANTS[variant]), envs, steps=400).policy
    with torch.no_grad():
        logits, values = policy(torch.eye(5))
    leading_on = torch.softmax(logits, 1)[range(5), Corridor.leads_on]
    assert leading_on.min() > 0.9
    np.testing.assert_allclose(values, 0.7 ** np.arange(4, -1, -1), atol=0.08)


@pytest.mark.parametrize("trace_decay", [0.0, 0.9])
@pytest.mark.parametrize("terminates", [True, False])
def test_a_truncated_episode_is_worth_what_would_have_followed(
    terminates: bool, trace_decay: float
):
    config = small(
        trace_decay=trace_decay,
        rollout_length=7,
        minibatch_size=56,
        learning_rate=1e-2,
        learning_rate_end=1e-3,
        learning_rate_steps=4_000,
    )
    envs = SyncVectorEnv([partial(Ring, terminates)] * NUM_ENVS)
    policy = trained(partial(PPO, config), envs, steps=300).policy
    expected = np.array([0.49, 0.7, 1.0])
    if not terminates:
        expected /= 1 - 0.7**3  # the same again, three steps later, for ever
    with torch.no_grad():
        values = policy.values(torch.eye(3))
    np.testing.assert_allclose(values, expected, atol=0.04)


class Aim(gym.Env):
    """Pays the less, the further the action is from a point that what is observed tells.

    Where the second component is near its ends, the best action is at its bound.
    """

    observation_space = Box(-1, 1, (2,), np.float32)
    action_space = Box(np.array([-2, -0.6]), np.array([2, 0.6]), dtype=np.float64)

    @staticmethod
    def best(observations: np.ndarray) -> np.ndarray:
        """(batch, 2) -> (batch, 2), the best actions."""
        first, second = observations.T
        return np.stack([first - second, np.clip(1.2 * second, -0.6, 0.6)], axis=1)

    def _look(self) -> np.ndarray:
        self._seen = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return self._seen

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._steps = 0
        return self._look(), {}

    def step(self, action):
        assert action in self.action_space
        self._steps += 1
        missed = float(np.square(action - self.best(self._seen[None])[0]).sum())
        return self._look(), -missed, False, self._steps == 8, {}


def test_continuous_actions_find_their_mark():
    config = small(
        epochs=10,
        discount=0.01,
        learning_rate=5e-3,
        learning_rate_end=1e-3,
        learning_rate_steps=6_400,
    )
    policy = trained(partial(PPO, config), SyncVectorEnv([Aim] * NUM_ENVS), steps=400).policy
    observations = np.random.default_rng(0).uniform(-1, 1, (500, 2)).astype(np.float32)
    actions, _ = policy.predict(observations, deterministic=True)
    assert (np.abs(actions - Aim.best(observations)).mean(0) < 0.1).all()
    assert (policy.network.log_standard_deviation < np.log(0.5)).all()


@pytest.mark.parametrize("memory", ["none", "gru", "lstm"])
def test_only_memory_recalls_a_cue(memory: Any):
    config = small(
        network=NetworkConfig(
            torso="mlp",
            hidden_sizes=(32,),
            activation="tanh",
            initialisation="orthogonal",
            memory=memory,
            memory_size=32,
        ),
        shared_torso=True,
        rollout_length=32,
        minibatch_size=512,
        discount=0.95,
        trace_decay=0.95,
        learning_rate=5e-3,
        entropy_weight=0.01,
    )
    envs = gym.make_vec("rlkit/Recall-v0", num_envs=64)
    share = share_recalled(trained(partial(PPO, config), envs, steps=700).policy, envs, steps=200)
    if memory == "none":
        assert share == pytest.approx(1 / 4, abs=0.05)
    else:
        assert share > 0.95
