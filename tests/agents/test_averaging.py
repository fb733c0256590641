"""The running average of weights: its numbers, and that learning does not know of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor

from rlkit_agents.averaging import WeightAverage
from rlkit_agents.dqn import DQN, DQNConfig
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.policy import Policy
from rlkit_agents.q_policy import HeadConfig, QPolicy
from rlkit_agents.r2d2 import R2D2
from rlkit_agents.r2d2_config import R2D2Config
from rlkit_agents.schedules import LinearSchedule
from rlkit_agents.step import Step

from .streams import seeds

SEEN, ACTIONS = gym.spaces.Box(-1.0, 1.0, (3,), np.float32), gym.spaces.Discrete(2)
NUM_ENVS = 4
BOTH: dict[str, Any] = dict(
    head=HeadConfig("expected"),
    replay_capacity=200,
    batch_size=8,
    samples_per_step=2.0,
    learning_starts=40,
    learning_rate=1e-2,
    epsilon=LinearSchedule(1.0, 0.1, 60),
    average_decay=0.9,
)
LEARNERS: dict[str, tuple[type[Any], Any]] = {
    "dqn": (DQN, DQNConfig(network=NetworkConfig(torso="mlp", hidden_sizes=(8,)), **BOTH)),
    "r2d2": (
        R2D2,
        R2D2Config(
            network=NetworkConfig(torso="mlp", hidden_sizes=(8,), memory="gru", memory_size=8),
            burn_in=2,
            trace_length=4,
            trace_period=4,
            n_step=2,
            **BOTH,
        ),
    ),
}


def vector(policy: Policy) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in policy.parameters()])


def made(kind: str, **changes: Any) -> Any:
    algorithm, config = LEARNERS[kind]
    return algorithm(
        replace(config, **changes),
        SEEN,
        ACTIONS,
        NUM_ENVS,
        **seeds(1),
    )


def learn(learner: Any, steps: int) -> list[Tensor]:
    """The weights after each gradient step."""
    random, never = np.random.default_rng(4), np.zeros(NUM_ENVS, bool)
    seen, found = np.zeros((NUM_ENVS, 3), np.float32), []
    follow = getattr(learner._average, "follow", None)

    def noted(policy: Policy, updates: int) -> None:
        assert follow is not None
        found.append(vector(policy).clone())
        follow(policy, updates)

    if follow is not None:
        learner._average.follow = noted
    for _ in range(steps):
        learner.act(seen)
        learner.update()
        seen = random.uniform(-1.0, 1.0, seen.shape).astype(np.float32)
        rewards = random.normal(size=NUM_ENVS).astype(np.float32)
        learner.observe(Step(seen, rewards, never, never, ~never))
    return found


def test_weights_count_less_the_older_they_are_and_the_first_least():
    network = NetworkConfig(torso="mlp", hidden_sizes=(4,))
    policy = QPolicy(SEEN, ACTIONS, network, HeadConfig("expected"))
    average = WeightAverage(policy, 0.75)
    values = np.random.default_rng(0).normal(size=60)
    expected = None
    for updates, value in enumerate(values, 1):
        with torch.no_grad():
            for weight in policy.parameters():
                weight.fill_(float(value))
        average.follow(policy, updates)
        share = max(0.25, 10.0 / (9.0 + updates))
        expected = value if expected is None else expected + share * (value - expected)
        assert float(vector(average.policy)[0]) == pytest.approx(expected, abs=1e-5)
    assert not average.policy.training
    assert float(vector(policy)[0]) == pytest.approx(values[-1])


@pytest.mark.parametrize("kind", LEARNERS)
def test_what_is_evaluated_is_the_average_and_learning_goes_on_without_it(kind: str):
    learner, plain = made(kind), made(kind, average_decay=0.0)
    found = learn(learner, 60)
    learn(plain, 60)
    assert plain.evaluated_policy is plain.policy
    assert torch.equal(vector(learner.policy), vector(plain.policy))
    average = found[0]
    for updates, weights in enumerate(found, 1):
        average = torch.lerp(average, weights, max(0.1, 10.0 / (9.0 + updates)))
    assert len(found) == learner.updates > 10
    torch.testing.assert_close(vector(learner.evaluated_policy), average)
    assert not torch.allclose(average, vector(learner.policy), atol=1e-3)


@pytest.mark.parametrize("kind", LEARNERS)
def test_the_average_comes_back_with_the_rest(kind: str):
    learner, other = made(kind), made(kind)
    learn(learner, 40)
    other.load_state_dict(learner.state_dict())
    assert torch.equal(vector(other.evaluated_policy), vector(learner.evaluated_policy))
    assert not torch.equal(vector(other.evaluated_policy), vector(other.policy))


@pytest.mark.parametrize("kind", LEARNERS)
@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_a_decay_out_of_range_is_refused(kind: str, decay: float):
    with pytest.raises(ValueError, match=r"average_decay must be in \[0, 1\)"):
        replace(LEARNERS[kind][1], average_decay=decay)
    with pytest.raises(ValueError, match="decay must lie between 0 and 1"):
        WeightAverage(made(kind).policy, decay)
