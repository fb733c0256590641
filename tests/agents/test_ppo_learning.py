"""PPO and A2C learn small worlds with known best actions and values; one of them takes memory."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import SyncVectorEnv, VectorEnv

import rlkit_envs  # noqa: F401 (registers rlkit/Recall-v0)
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.ppo import PPO, PPOConfig, a2c
from rlkit_agents.step import Step

NUM_ENVS = 16


def trained(config: PPOConfig, envs: VectorEnv, steps: int) -> PPO:
    """A learner after `steps` batched steps, its policy in evaluation mode."""
    exploration, replay, initialisation = np.random.SeedSequence(0).spawn(3)
    algorithm = PPO(
        config,
        envs.single_observation_space,
        envs.single_action_space,
        envs.num_envs,
        exploration_seed=exploration,
        replay_seed=replay,
        initialisation_seed=initialisation,
    )
    observations, _ = envs.reset(seed=1)
    ended = np.zeros(envs.num_envs, bool)
    for _ in range(steps):
        actions = algorithm.act(observations)
        algorithm.update()
        observations, rewards, terminated, truncated, _ = envs.step(actions)
        rewards = np.asarray(rewards, np.float32)
        algorithm.observe(Step(observations, rewards, terminated, truncated, ~ended))
        ended = terminated | truncated
    algorithm.policy.eval()
    return algorithm


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


class Corridor(gym.Env):
    """Five cells. In each, one of three actions leads on, others stay; leaving the last pays 1."""

    leads_on = (1, 0, 2, 1, 0)
    observation_space = Box(0, 1, (5,), np.float32)
    action_space = Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._cell, self._steps = int(self.np_random.integers(5)), 0
        return np.eye(6, 5, dtype=np.float32)[self._cell], {}

    def step(self, action):
        self._cell += int(action == self.leads_on[self._cell])
        self._steps += 1
        left = self._cell == 5
        observation = np.eye(6, 5, dtype=np.float32)[self._cell]
        return observation, float(left), left, self._steps == 20, {}


VARIANTS = {
    "ppo": small(),
    "shared torso": small(shared_torso=True),
    "clipped values": small(clip_value_range=0.2),
    "limited divergence": small(epochs=10, target_kl=0.02),
    "a2c": a2c(network=small().network, discount=0.7, learning_rate=3e-3),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_finds_the_way_and_its_value(variant: str):
    policy = trained(VARIANTS[variant], SyncVectorEnv([Corridor] * NUM_ENVS), steps=400).policy
    with torch.no_grad():
        logits, values = policy(torch.eye(5))
    leading_on = torch.softmax(logits, 1)[range(5), Corridor.leads_on]
    assert leading_on.min() > 0.9
    np.testing.assert_allclose(values, 0.7 ** np.arange(4, -1, -1), atol=0.08)


class Ring(gym.Env):
    """Three places, visited in turn whatever one does; leaving the last pays 1.

    Episodes end there, or are cut short after 5 steps, in the last place.
    """

    observation_space = Box(0, 1, (3,), np.float32)
    action_space = Discrete(2)

    def __init__(self, terminates: bool) -> None:
        self._terminates = terminates

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._steps = 0
        return np.eye(3, dtype=np.float32)[0], {}

    def step(self, action):
        self._steps += 1
        place = self._steps % 3
        terminated = self._terminates and place == 0
        truncated = not self._terminates and self._steps == 5
        return np.eye(3, dtype=np.float32)[place], float(place == 0), terminated, truncated, {}


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
    policy = trained(config, envs, steps=300).policy
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
    policy = trained(config, SyncVectorEnv([Aim] * NUM_ENVS), steps=400).policy
    observations = np.random.default_rng(0).uniform(-1, 1, (500, 2)).astype(np.float32)
    actions, _ = policy.predict(observations, deterministic=True)
    assert (np.abs(actions - Aim.best(observations)).mean(0) < 0.1).all()
    assert (policy.network.log_standard_deviation < np.log(0.5)).all()


def share_recalled(algorithm: PPO, envs: VectorEnv, steps: int) -> float:
    """The share of right answers of the policy, taking the likeliest actions."""
    observations, _ = envs.reset(seed=1000)
    state = None
    right, episodes = 0.0, 0
    starts = np.ones(envs.num_envs, bool)
    for _ in range(steps):
        actions, state = algorithm.policy.predict(observations, state, starts, deterministic=True)
        observations, rewards, terminated, _, _ = envs.step(actions)
        right += rewards.sum()
        episodes += terminated.sum()
        starts = np.any(observations[:, :-1], axis=1)  # a cue is shown
    return right / episodes


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
    share = share_recalled(trained(config, envs, steps=700), envs, steps=200)
    if memory == "none":
        assert share == pytest.approx(1 / 4, abs=0.05)
    else:
        assert share > 0.95
