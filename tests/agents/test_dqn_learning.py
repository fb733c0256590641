"""Every member of the DQN family learns small worlds whose best actions and values are known."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import SyncVectorEnv

from rlkit_agents.dqn import DQN, DQNConfig, rainbow
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.policy import HeadConfig
from rlkit_agents.schedules import LinearSchedule
from rlkit_agents.step import Step
from rlkit_agents.symmetry import Symmetry

NUM_ENVS = 8
NO_EXPLORATION = LinearSchedule(0, 0, 0)


def learner(config: DQNConfig, envs: SyncVectorEnv, seed: int = 0) -> DQN:
    exploration, replay, initialisation = np.random.SeedSequence(seed).spawn(3)
    return DQN(
        config,
        envs.single_observation_space,
        envs.single_action_space,
        envs.num_envs,
        exploration_seed=exploration,
        replay_seed=replay,
        initialisation_seed=initialisation,
    )


def trained(config: DQNConfig, envs: SyncVectorEnv, steps: int) -> DQN:
    """A learner after `steps` batched steps, its policy in evaluation mode."""
    algorithm = learner(config, envs)
    observations, _ = envs.reset(seed=1)
    ended = np.zeros(envs.num_envs, bool)
    for _ in range(steps):
        actions = algorithm.act(observations)
        observations, rewards, terminated, truncated, _ = envs.step(actions)
        rewards = np.asarray(rewards, np.float32)
        algorithm.observe(Step(observations, rewards, terminated, truncated, ~ended))
        ended = terminated | truncated
        algorithm.update()
    algorithm.policy.eval()
    return algorithm


def small(**changes: Any) -> dict[str, Any]:
    """Settings that suit worlds of a few states."""
    settings: dict[str, Any] = dict(
        network=NetworkConfig(torso="mlp", hidden_sizes=(64,)),
        head=HeadConfig("expected"),
        double=False,
        discount=0.7,
        n_step=1,
        replay_capacity=8_000,
        batch_size=64,
        samples_per_step=8,
        learning_starts=200,
        learning_rate=3e-3,
        target_update_every=20,
        epsilon=LinearSchedule(1.0, 0.3, 2_000),
    )
    return settings | changes


class Corridor(gym.Env):
    """Five cells. In each, one of three actions leads on, the others stay; leaving the last pays 1."""

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


def noisy_mlp(**changes: Any) -> NetworkConfig:
    return NetworkConfig(torso="mlp", hidden_sizes=(64,), noisy=True, **changes)


VARIANTS = {
    "dqn": DQNConfig(**small()),
    "double": DQNConfig(**small(double=True)),
    "dueling": DQNConfig(
        **small(network=NetworkConfig(torso="mlp", hidden_sizes=(64,), dueling=True))
    ),
    "n-step": DQNConfig(**small(n_step=3)),
    "prioritised": DQNConfig(
        **small(priority_exponent=0.6, importance_exponent=LinearSchedule(0.4, 1, 4_000))
    ),
    "noisy": DQNConfig(**small(network=noisy_mlp(), epsilon=NO_EXPLORATION)),
    "quantile": DQNConfig(**small(head=HeadConfig("quantile", atoms=8), double=True)),
    "categorical": DQNConfig(
        **small(head=HeadConfig("categorical", atoms=31, value_min=-1, value_max=2))
    ),
    "munchausen": DQNConfig(**small(munchausen=True)),
    "munchausen quantile": DQNConfig(
        **small(munchausen=True, head=HeadConfig("quantile", atoms=8))
    ),
    "layer norm": DQNConfig(
        **small(network=NetworkConfig(torso="mlp", hidden_sizes=(64,), layer_norm="dense"))
    ),
    "rainbow": rainbow(
        network=noisy_mlp(dueling=True),
        head=HeadConfig("categorical", atoms=31, value_min=-1, value_max=2),
        **{
            name: small()[name]
            for name in (
                "discount",
                "replay_capacity",
                "batch_size",
                "samples_per_step",
                "learning_starts",
                "learning_rate",
                "target_update_every",
            )
        },
    ),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_finds_the_way_and_its_value(variant: str):
    config = VARIANTS[variant]
    envs = SyncVectorEnv([Corridor] * NUM_ENVS)
    policy = trained(config, envs, steps=STEPS).policy
    cells = torch.eye(5)
    with torch.no_grad():
        values = policy.q_values(cells).numpy()
    assert tuple(values.argmax(1)) == Corridor.leads_on
    # Leaving pays 1 after 5 - cell steps. Several steps at once are summed without correction for
    # exploration, and so are worth less.
    best = config.discount ** np.arange(4, -1, -1)
    if config.n_step == 1:
        np.testing.assert_allclose(values.max(1), best, atol=0.06)
