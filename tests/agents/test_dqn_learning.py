"""Every member of the DQN family learns small worlds whose best actions and values are known."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import SyncVectorEnv

from rlkit_agents.dqn import DQN, DQNConfig, rainbow
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.q_policy import HeadConfig
from rlkit_agents.schedules import LinearSchedule
from rlkit_agents.symmetry import Symmetry

from .small_worlds import Corridor, Ring, trained

NUM_ENVS = 8
NO_EXPLORATION = LinearSchedule(0, 0, 0)


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


def noisy_mlp(**changes: Any) -> NetworkConfig:
    return NetworkConfig(torso="mlp", hidden_sizes=(64,), noisy=True, noisy_sigma0=0.3, **changes)


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
    "noisy": DQNConfig(**small(network=noisy_mlp(), n_step=3, epsilon=NO_EXPLORATION)),
    "quantile": DQNConfig(**small(head=HeadConfig("quantile", atoms=8), double=True)),
    "categorical": DQNConfig(
        **small(head=HeadConfig("categorical", atoms=31, value_min=-1, value_max=2))
    ),
    "munchausen": DQNConfig(**small(munchausen=True, target_update_every=5)),
    "munchausen quantile": DQNConfig(
        **small(munchausen=True, target_update_every=5, head=HeadConfig("quantile", atoms=8))
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


def corridor_values(config: DQNConfig) -> np.ndarray:
    """(cells, actions), the optimum by hand."""
    leading_on = config.discount ** np.arange(4, -1, -1)  # pays 1 after 5 - cell steps
    staying = config.discount * leading_on
    if config.munchausen:
        # The log-policy of a wrong action, times the temperature, is q - v, and q = discount * v +
        # 0.9 * max(q - v, -1). The right action's is 0 in comparison.
        staying = np.maximum(staying - 0.9, (config.discount - 0.9) / 0.1 * leading_on)
    values = np.repeat(staying[:, None], 3, axis=1)
    values[np.arange(5), Corridor.leads_on] = leading_on
    return values


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_finds_the_way_and_its_value(variant: str):
    config = VARIANTS[variant]
    policy = trained(partial(DQN, config), SyncVectorEnv([Corridor] * NUM_ENVS), steps=400).policy
    with torch.no_grad():
        values = policy.q_values(torch.eye(5)).numpy()
    assert tuple(values.argmax(1)) == Corridor.leads_on
    if config.n_step == 1 and not config.network.noisy:
        np.testing.assert_allclose(values, corridor_values(config), atol=0.06)


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("terminates", [True, False])
def test_a_truncated_episode_is_worth_what_would_have_followed(terminates: bool, n_step: int):
    config = DQNConfig(**small(n_step=n_step, target_update_every=8))
    envs = SyncVectorEnv([partial(Ring, terminates)] * NUM_ENVS)
    policy = trained(partial(DQN, config), envs, steps=250).policy
    values = np.array([0.49, 0.7, 1.0])
    if not terminates:
        values /= 1 - 0.7**3  # the same again, three steps later, for ever
    with torch.no_grad():
        learnt = policy.q_values(torch.eye(3)).numpy()
    np.testing.assert_allclose(learnt, np.stack([values, values], axis=1), atol=0.03)


def bar(column: int) -> np.ndarray:
    """(15, 15), a bright bar of three columns, which leaves on one side and enters on the other."""
    frame = np.zeros((15, 15), np.uint8)
    frame[:, (column + np.arange(3)) % 15] = 255
    return frame


class Drift(gym.Env):
    """A bar moves to the left or to the right; the action that says where pays 1."""

    observation_space = Box(0, 255, (2, 15, 15), np.uint8)
    action_space = Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._direction = int(self.np_random.integers(2))
        self._column = int(self.np_random.integers(15))
        self._steps = 0
        return np.stack([np.zeros((15, 15), np.uint8), bar(self._column)]), {}

    def step(self, action):
        before = bar(self._column)
        self._column += 3 if self._direction else -3
        self._steps += 1
        observation = np.stack([before, bar(self._column)])
        return observation, float(action == self._direction), False, self._steps == 8, {}


def test_a_convolutional_network_sees_motion_in_stacked_frames():
    config = DQNConfig(
        **small(
            network=NetworkConfig(torso="compact", dense_size=64),
            head=HeadConfig("quantile", atoms=8),
            discount=0.01,
            learning_rate=1e-3,
        )
    )
    policy = trained(partial(DQN, config), SyncVectorEnv([Drift] * NUM_ENVS), steps=250).policy
    to_left = np.stack([np.stack([bar(c), bar(c - 3)]) for c in range(15)])
    to_right = np.stack([np.stack([bar(c), bar(c + 3)]) for c in range(15)])
    assert (policy.predict(to_left, deterministic=True)[0] == 0).all()
    assert (policy.predict(to_right, deterministic=True)[0] == 1).all()


def spot(row: int, column: int) -> np.ndarray:
    """(1, 15, 15), a bright spot of 5 by 5 pixels."""
    frame = np.zeros((1, 15, 15), np.uint8)
    frame[:, row : row + 5, column : column + 5] = 255
    return frame


class Sides(gym.Env):
    """A spot appears on the left, time and again; pointing there (0) pays 1, to the right (1) -1,
    and nothing (2) nothing."""

    observation_space = Box(0, 255, (1, 15, 15), np.uint8)
    action_space = Discrete(3)

    def _look(self) -> np.ndarray:
        return spot(int(self.np_random.integers(11)), int(self.np_random.integers(4)))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._look(), {}

    def step(self, action):
        return self._look(), (1.0, -1.0, 0.0)[action], False, False, {}


@pytest.mark.parametrize("mirrored", [True, False])
def test_a_symmetry_teaches_the_side_that_was_never_seen(mirrored: bool):
    left_and_right = Symmetry(flip_rows=False, flip_columns=True, actions=(1, 0, 2))
    config = DQNConfig(
        **small(
            network=NetworkConfig(torso="compact", dense_size=64),
            discount=0.01,
            learning_rate=1e-3,
            symmetries=(left_and_right,) if mirrored else (),
        )
    )
    policy = trained(partial(DQN, config), SyncVectorEnv([Sides] * NUM_ENVS), steps=200).policy
    left = np.stack([spot(row, column) for row in range(11) for column in range(4)])
    right = np.flip(left, -1)
    assert (policy.predict(left, deterministic=True)[0] == 0).all()
    points_right = policy.predict(right, deterministic=True)[0] == 1
    assert points_right.all() if mirrored else not points_right.any()
