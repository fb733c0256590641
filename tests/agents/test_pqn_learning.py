"""PQN learns small worlds whose best actions and values are known, one of which takes memory."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import SyncVectorEnv

from rlkit_agents.networks import NetworkConfig
from rlkit_agents.pqn import PQN, PQNConfig
from rlkit_agents.q_policy import HeadConfig
from rlkit_agents.schedules import LinearSchedule
from rlkit_envs.recall import RecallEnvs

from .small_worlds import Corridor, Ring, share_recalled, trained

NUM_ENVS = 16


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
    policy = trained(partial(PQN, config), SyncVectorEnv([Corridor] * NUM_ENVS), steps=600).policy
    with torch.no_grad():
        values = policy.q_values(torch.eye(5)).numpy()
    assert tuple(values.argmax(1)) == Corridor.leads_on
    leading_on = config.discount ** np.arange(4, -1, -1)  # pays 1 after 5 - cell steps
    if config.trace_decay == 0:
        # Without traces the values are those of the best actions, whatever exploring does.
        expected = np.repeat(config.discount * leading_on[:, None], 3, axis=1)
        expected[np.arange(5), Corridor.leads_on] = leading_on
        np.testing.assert_allclose(values, expected, atol=0.08)


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
    envs = SyncVectorEnv([partial(Ring, terminates)] * NUM_ENVS)
    policy = trained(partial(PQN, config), envs, steps=700).policy
    values = np.array([0.49, 0.7, 1.0])
    if not terminates:
        values /= 1 - 0.7**3  # the same again, three steps later, for ever
    with torch.no_grad():
        learnt = policy.q_values(torch.eye(3)).numpy()
    np.testing.assert_allclose(learnt, np.stack([values, values], axis=1), atol=0.05)


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
    share = share_recalled(trained(partial(PQN, config), envs, steps=1_600).policy, envs, steps=300)
    if memory == "none":
        assert share == pytest.approx(1 / 3, abs=0.08)
    else:
        assert share > 0.95
