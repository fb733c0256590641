"""PQN learns small worlds whose best actions and values are known, one of which takes memory."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import SyncVectorEnv, VectorEnv

from rlkit_agents.networks import NetworkConfig
from rlkit_agents.pqn import PQN, PQNConfig
from rlkit_agents.q_policy import HeadConfig
from rlkit_agents.schedules import LinearSchedule
from rlkit_agents.step import Step
from rlkit_envs.recall import RecallEnvs

NUM_ENVS = 16


def trained(config: PQNConfig, envs: VectorEnv, steps: int) -> PQN:
    """A learner after `steps` batched steps, its policy in evaluation mode."""
    exploration, replay, initialisation = np.random.SeedSequence(0).spawn(3)
    algorithm = PQN(
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


def small(**changes: Any) -> PQNConfig:
    """Settings that suit worlds of a few states."""
    settings: dict[str, Any] = dict(
        network=NetworkConfig(torso="mlp", hidden_sizes=(64,), layer_norm="all"),
        discount=0.7,
        trace_decay=0.65,
        rollout_length=16,
        minibatches=4,
        learning_rate=3e-3,
        epsilon=LinearSchedule(1.0, 0.3, 6_000),
        precision="float32",
    )
    return PQNConfig(**(settings | changes))


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
    "one-step": small(
        trace_decay=0.0,
        epsilon=LinearSchedule(1, 1, 0),
        learning_rate_end=1e-4,
        learning_rate_steps=9_600,
    ),
    "lambda": small(),
    "huber": small(huber_kappa=1.0),
    "dueling": small(
        network=NetworkConfig(torso="mlp", hidden_sizes=(64,), layer_norm="all", dueling=True)
    ),
    "quantile": small(head=HeadConfig("quantile", atoms=8), huber_kappa=1.0),
    "gru": small(
        network=NetworkConfig(
            torso="mlp", hidden_sizes=(64,), layer_norm="all", memory="gru", memory_size=32
        )
    ),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_finds_the_way(variant: str):
    config = VARIANTS[variant]
    policy = trained(config, SyncVectorEnv([Corridor] * NUM_ENVS), steps=600).policy
    with torch.no_grad():
        values = policy.q_values(torch.eye(5)).numpy()
    assert tuple(values.argmax(1)) == Corridor.leads_on
    leading_on = config.discount ** np.arange(4, -1, -1)  # pays 1 after 5 - cell steps
    if config.trace_decay == 0:
        # Without traces the values are those of the best actions, whatever exploring does.
        expected = np.repeat(config.discount * leading_on[:, None], 3, axis=1)
        expected[np.arange(5), Corridor.leads_on] = leading_on
        np.testing.assert_allclose(values, expected, atol=0.08)


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
        learning_rate_end=1e-4,
        learning_rate_steps=11_200,
    )
    envs = SyncVectorEnv([lambda: Ring(terminates)] * NUM_ENVS)
    policy = trained(config, envs, steps=700).policy
    values = np.array([0.49, 0.7, 1.0])
    if not terminates:
        values /= 1 - 0.7**3  # the same again, three steps later, for ever
    with torch.no_grad():
        learnt = policy.q_values(torch.eye(3)).numpy()
    np.testing.assert_allclose(learnt, np.stack([values, values], axis=1), atol=0.05)


def share_recalled(algorithm: PQN, envs: RecallEnvs, steps: int) -> float:
    """The share of right answers of the policy, acting greedily."""
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
            torso="mlp", hidden_sizes=(32,), layer_norm="all", memory=memory, memory_size=32
        ),
        epsilon=LinearSchedule(1.0, 0.05, 10_000),
        discount=0.9,
    )
    envs = RecallEnvs(NUM_ENVS, cues=3, min_delay=1, max_delay=3)
    share = share_recalled(trained(config, envs, steps=1_600), envs, steps=300)
    if memory == "none":
        assert share == pytest.approx(1 / 3, abs=0.08)
    else:
        assert share > 0.95
