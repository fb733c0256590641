"""What policies of every kind tell beside their actions agrees with how they act."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from rlkit.outlook import Outlook, outlook_of
from rlkit_agents.actor_critic import ActorCriticPolicy
from rlkit_agents.memory import MemoryKind, State
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.policy import Policy
from rlkit_agents.q_policy import HeadConfig, QPolicy

SEEN = gym.spaces.Box(-1, 1, (3,), np.float32)
CHOICES = gym.spaces.Discrete(4)
FORCES = gym.spaces.Box(-0.1, 0.1, (2,), np.float32)


def network(memory: MemoryKind) -> NetworkConfig:
    return NetworkConfig(torso="mlp", hidden_sizes=(16,), memory=memory, memory_size=8)


def past(policy: Policy) -> State:
    """A state that other observations left behind; None without memory."""
    state: State = None
    for observation in torch.randn(3, 1, 3):
        _, state = policy.act(observation, state)
    return state


@pytest.fixture(autouse=True)
def same_weights() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("memory", ["none", "lstm", "gru"])
@torch.inference_mode()
def test_q_values_are_those_of_what_came_before(memory: MemoryKind):
    policy = QPolicy(SEEN, CHOICES, network(memory), HeadConfig("quantile", atoms=5)).eval()
    state, observation = past(policy), torch.randn(1, 3)
    told = outlook_of(policy, observation, state)
    assert told.q_values is not None
    np.testing.assert_array_equal(told.q_values, policy.q_values(observation, state)[0])
    np.testing.assert_array_equal(told.preferences, told.q_values)
    assert told.value is told.probabilities is told.gaussian is None
    afresh = policy.q_values(observation)[0].numpy()
    assert np.array_equal(told.q_values, afresh) == (memory == "none")
    assert told.q_values.argmax() == policy.act(observation, state)[0]


@pytest.mark.parametrize("memory", ["none", "gru"])
@torch.inference_mode()
def test_an_actor_critic_tells_probabilities_and_value(memory: MemoryKind):
    policy = ActorCriticPolicy(SEEN, CHOICES, network(memory)).eval()
    policy.network.action_head.weight.mul_(100)
    state, observation = past(policy), torch.randn(1, 3)
    told = outlook_of(policy, observation, state)
    assert told.value == pytest.approx(float(policy.values(observation, state)))
    assert told.probabilities is not None
    assert told.q_values is told.gaussian is None
    np.testing.assert_array_equal(told.preferences, told.probabilities)
    repeated = None if state is None else tuple(part.expand(20_000, -1) for part in state)
    actions, _ = policy.act(observation.expand(20_000, -1), repeated, deterministic=False)
    shares = np.bincount(actions, minlength=4) / 20_000
    np.testing.assert_allclose(told.probabilities, shares, atol=0.02)
    assert shares.max() > 0.4, "the probabilities have to differ"


@torch.inference_mode()
def test_of_continuous_actions_it_tells_the_distribution_before_they_are_clipped():
    policy = ActorCriticPolicy(SEEN, FORCES, network("none"), log_standard_deviation=-1.0).eval()
    policy.network.action_head.weight.zero_()
    policy.network.action_head.bias.copy_(torch.tensor([0.05, -3.0]))
    observation = torch.randn(1, 3)
    told = outlook_of(policy, observation, None)
    assert told.value == pytest.approx(float(policy.values(observation)))
    assert told.preferences is None
    assert told.gaussian is not None
    means, deviations = told.gaussian
    np.testing.assert_allclose(means, [0.05, -3.0])
    np.testing.assert_allclose(np.clip(means, -0.1, 0.1), policy.act(observation)[0][0])
    np.testing.assert_allclose(deviations, np.exp(-1.0).repeat(2), rtol=1e-6)


class Foreign(Policy):
    """Another library's: without memory, and so without a state to take."""

    architecture = {}  # pyright: ignore # noqa: RUF012

    def act(self, observations, state: State = None, deterministic: bool = True):
        return torch.ones(len(observations), dtype=torch.int64), None


class ForeignWithValues(Foreign):
    def q_values(self, observations):
        return observations @ torch.eye(3, 4)


def test_other_policies_tell_what_they_can():
    assert outlook_of(Foreign(SEEN, CHOICES), torch.ones(1, 3), None) == Outlook()
    told = outlook_of(ForeignWithValues(SEEN, CHOICES), torch.ones(1, 3), None)
    assert told.q_values is not None
    assert told.q_values.tolist() == [1, 1, 1, 0]
