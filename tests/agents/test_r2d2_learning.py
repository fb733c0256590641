"""R2D2 learns small worlds whose best actions and values are known, one of which takes memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import SyncVectorEnv, VectorEnv

import rlkit_envs  # noqa: F401 (registers rlkit/Recall-v0)
from rlkit_agents.dqn import DQN, DQNConfig
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.policy import Policy
from rlkit_agents.q_policy import HeadConfig, QPolicy
from rlkit_agents.r2d2 import R2D2
from rlkit_agents.r2d2_config import R2D2Config
from rlkit_agents.schedules import LinearSchedule
from rlkit_agents.step import Step

NUM_ENVS = 8
GRU = NetworkConfig(torso="mlp", hidden_sizes=(32,), memory="gru", memory_size=32)


def trained(make: Callable[..., DQN | R2D2], envs: VectorEnv, steps: int, seed: int = 0) -> QPolicy:
    """The policy, in evaluation mode, of a learner after `steps` batched steps."""
    exploration, replay, initialisation = np.random.SeedSequence(seed).spawn(3)
    algorithm = make(
        envs.single_observation_space,
        envs.single_action_space,
        envs.num_envs,
        exploration_seed=exploration,
        replay_seed=replay,
        initialisation_seed=initialisation,
    )
    observations, _ = envs.reset(seed=seed + 1)
    ended = np.zeros(envs.num_envs, bool)
    for _ in range(steps):
        actions = algorithm.act(observations)
        algorithm.update()
        observations, rewards, terminated, truncated, _ = envs.step(actions)
        rewards = np.asarray(rewards, np.float32)
        algorithm.observe(Step(observations, rewards, terminated, truncated, ~ended))
        ended = terminated | truncated
    return algorithm.policy.eval()


def small(**changes: Any) -> R2D2Config:
    """Settings that suit worlds of a few states."""
    settings: dict[str, Any] = dict(
        network=GRU,
        head=HeadConfig("expected"),
        value_rescaling=False,
        discount=0.7,
        n_step=1,
        burn_in=4,
        trace_length=8,
        trace_period=4,
        replay_capacity=8_000,
        batch_size=16,
        samples_per_step=16,
        learning_starts=200,
        learning_rate=3e-3,
        target_update_every=20,
        epsilon=LinearSchedule(1.0, 0.3, 2_000),
        precision="float32",
    )
    return R2D2Config(**(settings | changes))


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
    "uniform": small(priority_exponent=0.0, double=False),
    "quantile": small(head=HeadConfig("quantile", atoms=8), value_rescaling=True),
    "categorical": small(head=HeadConfig("categorical", atoms=31, value_min=-1, value_max=2)),
    "noisy": small(
        network=replace(GRU, noisy=True, noisy_sigma0=0.3, dueling=True),
        n_step=3,
        burn_in=0,
        epsilon=LinearSchedule(0, 0, 0),
    ),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_finds_the_way_and_its_value(variant: str):
    config = VARIANTS[variant]
    policy = trained(partial(R2D2, config), SyncVectorEnv([Corridor] * NUM_ENVS), steps=400)
    # A walk from the first cell to the last, and what it pays from each.
    expected, state = 0.7 ** np.arange(4, -1, -1), None
    for cell, leads_on in enumerate(Corridor.leads_on):
        observations = torch.eye(5)[cell : cell + 1]
        with torch.no_grad():
            values = policy.q_values(observations, state)
            action, state = policy.act(observations, state)
        assert action.item() == leads_on
        if config.n_step == 1:
            assert values.max().item() == pytest.approx(expected[cell], abs=0.06)


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


@pytest.mark.parametrize(("terminates", "rescales"), [(True, False), (False, False), (False, True)])
def test_a_truncated_episode_is_worth_what_would_have_followed(terminates: bool, rescales: bool):
    config = small(value_rescaling=rescales, n_step=2, target_update_every=8)
    envs = SyncVectorEnv([partial(Ring, terminates)] * NUM_ENVS)
    policy = trained(partial(R2D2, config), envs, steps=300)
    values = np.array([0.49, 0.7, 1.0])
    if not terminates:
        values /= 1 - 0.7**3  # the same again, three steps later, for ever
    state = None
    for place, value in enumerate(values):
        observations = torch.eye(3)[place : place + 1]
        with torch.no_grad():
            learnt = policy.q_values(observations, state)
            _, state = policy.act(observations, state)
        np.testing.assert_allclose(learnt, [[value, value]], atol=0.05)


def share_recalled(policy: Policy, envs: VectorEnv, steps: int) -> float:
    """The share of right answers of the policy, acting greedily."""
    observations, _ = envs.reset(seed=1000)
    state = None
    right, episodes = 0.0, 0
    starts = np.ones(envs.num_envs, bool)
    for _ in range(steps):
        actions, state = policy.predict(observations, state, starts, deterministic=True)
        observations, rewards, terminated, _, _ = envs.step(actions)
        right += rewards.sum()
        episodes += terminated.sum()
        starts = np.any(observations[:, :-1], axis=1)  # a cue is shown
    return right / episodes


@pytest.mark.parametrize("memory", ["none", "lstm", "gru"])
def test_only_memory_recalls_a_cue(memory: Any):
    config = small(
        network=replace(GRU, memory="gru" if memory == "none" else memory),
        discount=0.9,
        burn_in=0,
        trace_length=20,
        trace_period=10,
        samples_per_step=32,
        epsilon=LinearSchedule(1.0, 0.1, 4_000),
    )
    algorithm = partial(R2D2, config)
    if memory == "none":
        shared = ("head", "discount", "n_step", "samples_per_step", "learning_rate", "epsilon")
        same = {name: getattr(config, name) for name in shared}
        same["network"] = replace(GRU, memory="none")
        algorithm = partial(DQN, DQNConfig(learning_starts=200, replay_capacity=8_000, **same))
    envs = gym.make_vec("rlkit/Recall-v0", num_envs=NUM_ENVS)
    share = share_recalled(trained(algorithm, envs, steps=800), envs, steps=400)
    if memory == "none":
        assert share == pytest.approx(1 / 4, abs=0.08)
    else:
        assert share > 0.95
