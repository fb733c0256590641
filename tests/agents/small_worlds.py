"""Worlds whose best actions and values are known, and how tests of algorithms learn in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import VectorEnv

from rlkit_agents.algorithm import Algorithm
from rlkit_agents.policy import Policy
from rlkit_agents.step import Step

from .streams import seeds

A = TypeVar("A", bound=Algorithm)


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


class Walk(gym.Env):
    """A walk in three dimensions, the reward being where the first one leads."""

    observation_space = Box(-1, 1, (3,), np.float32)
    moves = np.array([[0.3, -0.2, 0], [-0.1, 0.3, 0.1], [0, -0.3, -0.2], [-0.2, 0.1, 0.3]])

    def __init__(self, action_space: gym.Space) -> None:
        """action_space: one of the four moves, or two numbers, the way in the first dimensions."""
        self.action_space = action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._place = self.np_random.uniform(-1, 1, 3)
        self._steps = 0
        return self._place.astype(np.float32), {}

    def step(self, action):
        assert action in self.action_space
        discrete = isinstance(self.action_space, Discrete)
        move = self.moves[action] if discrete else np.append(action, 0.1)
        self._place = np.clip(self._place + move, -1, 1)
        self._steps += 1
        reward = float(self._place[0])
        return self._place.astype(np.float32), reward, reward > 0.9, self._steps == 30, {}


def trained(make: Callable[..., A], envs: VectorEnv, steps: int) -> A:
    """A learner after `steps` batched steps, its policy in evaluation mode.

    make: an algorithm that lacks all but its configuration.
    """
    algorithm = make(
        envs.single_observation_space,
        envs.single_action_space,
        envs.num_envs,
        **seeds(0),
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


def share_recalled(policy: Policy, envs: VectorEnv, steps: int) -> float:
    """The share of right answers in Recall of a policy that takes the best or likeliest actions."""
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
