"""R2D2 learns small worlds whose best actions and values are known, one of which takes memory."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import SyncVectorEnv

import rlkit_envs  # noqa: F401 (registers rlkit/Recall-v0)
from rlkit_agents.dqn import DQN, DQNConfig
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.q_policy import HeadConfig
from rlkit_agents.r2d2 import R2D2
from rlkit_agents.r2d2_config import R2D2Config
from rlkit_agents.schedules import LinearSchedule

from .small_worlds import Corridor, Ring, share_recalled, trained

NUM_ENVS = 8
GRU = NetworkConfig(torso="mlp", hidden_sizes=(32,), memory="gru", memory_size=32)


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
    envs = SyncVectorEnv([Corridor] * NUM_ENVS)
    policy = trained(partial(R2D2, config), envs, steps=400).policy
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


@pytest.mark.parametrize(("terminates", "rescales"), [(True, False), (False, False), (False, True)])
def test_a_truncated_episode_is_worth_what_would_have_followed(terminates: bool, rescales: bool):
    config = small(value_rescaling=rescales, n_step=2, target_update_every=8)
    envs = SyncVectorEnv([partial(Ring, terminates)] * NUM_ENVS)
    policy = trained(partial(R2D2, config), envs, steps=300).policy
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
    share = share_recalled(trained(algorithm, envs, steps=800).policy, envs, steps=400)
    if memory == "none":
        assert share == pytest.approx(1 / 4, abs=0.08)
    else:
        assert share > 0.95
