"""Q-policies: the actions they take, how they are described and rebuilt, and what they refuse."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor

from rlkit_agents.building import build_policy
from rlkit_agents.memory import State
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.policy import Policy
from rlkit_agents.q_policy import HeadConfig, QPolicy

from .small_worlds import Walk

FLAT = Box(-1, 1, (3,), np.float32)
FRAMES = Box(0, 255, (2, 15, 15), np.uint8)
MLP = NetworkConfig(torso="mlp", hidden_sizes=(16, 8))
COMPACT = NetworkConfig(torso="compact", dense_size=16)
NORMED = replace(COMPACT, layer_norm="dense", initialisation="orthogonal")


def q_policy(
    space: Box = FLAT,
    network: NetworkConfig = MLP,
    head: HeadConfig = HeadConfig("expected"),
    actions: int = 4,
    **options: Any,
) -> QPolicy:
    torch.manual_seed(0)
    return QPolicy(space, Discrete(actions), network, head, **options).eval()


def samples(space: Box, count: int) -> np.ndarray:
    random = np.random.default_rng(0)
    if space.dtype == np.uint8:
        return random.integers(0, 256, (count, *space.shape), np.uint8)
    return random.uniform(-1, 1, (count, *space.shape)).astype(np.float32)


def same_outputs(one: QPolicy, other: QPolicy) -> bool:
    observations = torch.from_numpy(samples(FRAMES, 5))
    with torch.no_grad():
        return torch.equal(one(observations), other(observations))


# Values


@pytest.mark.parametrize("kind", ["expected", "quantile"])
def test_the_value_is_the_mean_of_the_outputs(kind):
    outputs = torch.tensor([[[1.0, 5.0], [-2.0, 0.0]]])
    if kind == "expected":
        outputs = outputs[..., :1]
    head = HeadConfig(kind, atoms=2)
    assert head.outputs == outputs.shape[-1]
    expected = [[1.0, -2.0]] if kind == "expected" else [[3.0, -1.0]]
    assert head.q_values(outputs).tolist() == expected


def test_the_value_of_a_histogram_is_its_mean():
    head = HeadConfig("categorical", atoms=3, value_min=-1, value_max=3)  # bins at -1, 1, 3
    probabilities = torch.tensor([[[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]]])
    assert head.outputs == 3
    torch.testing.assert_close(head.q_values(probabilities.log()), torch.tensor([[0.5, 3.0]]))


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"kind": "quantile", "atoms": 1}, "quantile head needs at least 2 atoms, got 1"),
        ({"kind": "categorical", "atoms": 0}, "at least 2 atoms, got 0"),
        ({"value_min": 2.0, "value_max": 2.0}, "value_min 2.0 is not below value_max 2.0"),
    ],
)
def test_heads_that_hold_no_value_are_refused(settings: dict[str, Any], complaint: str):
    with pytest.raises(ValueError, match=complaint):
        HeadConfig(**settings)


# Actions


@pytest.mark.parametrize(("space", "network"), [(FLAT, MLP), (FRAMES, NORMED)])
def test_one_observation_or_a_batch_get_their_best_actions(space: Box, network: NetworkConfig):
    policy = q_policy(space, network, HeadConfig("quantile", atoms=3))
    observations = samples(space, 40)
    with torch.no_grad():
        best = policy.q_values(torch.from_numpy(observations)).argmax(1).numpy()
    assert len(set(best.tolist())) > 1
    batch, state = policy.predict(observations, deterministic=True)
    np.testing.assert_array_equal(batch, best)
    assert state is None
    single, _ = policy.predict(observations[7], deterministic=True)
    assert single.shape == ()
    assert single == best[7]


def test_a_share_epsilon_of_actions_is_random_unless_deterministic():
    policy = q_policy(epsilon=0.4)
    observations = np.zeros((20_000, 3), np.float32)
    best = policy.predict(observations[0], deterministic=True)[0]
    assert (policy.predict(observations, deterministic=True)[0] == best).all()
    torch.manual_seed(1)
    actions, _ = policy.predict(observations)  # as in Stable-Baselines3, not deterministic
    # A quarter of the random ones are the best by chance. Four standard deviations: 0.013.
    for action in range(4):
        share = 0.4 / 4 + 0.6 * (action == best)
        assert np.mean(actions == action) == pytest.approx(share, abs=0.014)


@pytest.mark.parametrize("shape", [(2,), (3, 1), (5, 3, 1), (5, 4), ()])
def test_observations_of_another_shape_are_refused(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"observations of shape \(3,\), got"):
        q_policy().predict(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    "space", [Box(-1, 1, (2,), np.float32), MultiBinary(3), Discrete(3, start=1)]
)
def test_action_spaces_that_cannot_be_counted_from_0_are_refused(space: gym.Space):
    with pytest.raises(ValueError, match="Discrete action space that counts from 0; got"):
        QPolicy(FLAT, space, MLP, HeadConfig("expected"))


def test_bfloat16_only_rounds():
    exact = q_policy(FRAMES, COMPACT, precision="float32")
    rounded = q_policy(FRAMES, COMPACT, precision="bfloat16")
    observations = torch.from_numpy(samples(FRAMES, 8))
    with torch.no_grad():
        values, near = exact.q_values(observations), rounded.q_values(observations)
    assert near.dtype == torch.float32
    assert not torch.equal(values, near)
    torch.testing.assert_close(near, values, atol=0.02, rtol=0)
    assert all(parameter.dtype == torch.float32 for parameter in rounded.parameters())


def test_noisy_layers_can_stay_noisy_without_dropout():
    policy = q_policy(network=replace(MLP, noisy=True, dropout=0.5))
    observations = torch.from_numpy(samples(FLAT, 5))
    means = policy.q_values(observations)
    policy.network.reset_noise()
    assert torch.equal(policy.q_values(observations), means)
    policy.eval_with_noise()
    noisy = policy.q_values(observations)
    assert not torch.equal(noisy, means)
    assert torch.equal(policy.q_values(observations), noisy)


class Counter(Policy):
    """Acts by the number of observations since the start of the episode."""

    def __init__(self) -> None:
        super().__init__(FLAT, Discrete(100))
        self.unused = torch.nn.Parameter(torch.zeros(1))

    @property
    def architecture(self) -> dict[str, Any]:
        return {"policy": "Counter"}

    def act(
        self, observations: Tensor, state: State = None, deterministic: bool = True
    ) -> tuple[Tensor, State]:
        counts = torch.zeros(len(observations), 1) if state is None else state[0]
        return counts[:, 0].long(), (counts + 1,)


def test_a_policy_with_memory_forgets_when_an_episode_begins():
    policy, state, actions = Counter(), None, []
    for starts in ([True, True], [False, False], [False, True], [False, False]):
        action, state = policy.predict(
            np.zeros((2, 3), np.float32), state, episode_start=np.array(starts)
        )
        actions.append(action.tolist())
    assert actions == [[0, 0], [1, 1], [2, 0], [3, 1]]


# Description


@pytest.mark.parametrize(
    ("network", "head"),
    [
        (COMPACT, HeadConfig("expected")),
        (replace(COMPACT, dueling=True, layer_norm="all"), HeadConfig("quantile", atoms=5)),
        (
            replace(COMPACT, noisy=True, activation="elu"),
            HeadConfig("categorical", atoms=7, value_min=-2, value_max=2),
        ),
        (replace(MLP, hidden_sizes=(6, 5, 4)), HeadConfig("expected")),
    ],
)
def test_a_policy_is_rebuilt_from_its_description(network: NetworkConfig, head: HeadConfig):
    policy = q_policy(FRAMES, network, head, epsilon=0.07)
    described = json.loads(json.dumps(policy.architecture))
    rebuilt = build_policy(described, FRAMES, Discrete(4)).eval()
    assert isinstance(rebuilt, QPolicy)
    assert rebuilt.epsilon == 0.07
    assert rebuilt.architecture == policy.architecture
    assert not same_outputs(policy, rebuilt)
    rebuilt.load_state_dict(policy.state_dict())
    assert same_outputs(policy, rebuilt)
    observations = torch.from_numpy(samples(FRAMES, 5))
    assert torch.equal(rebuilt.q_values(observations), policy.q_values(observations))


DESCRIPTION = q_policy().architecture


@pytest.mark.parametrize(
    ("description", "complaint"),
    [
        (DESCRIPTION | {"policy": "GaussianPolicy"}, "unknown kind of policy 'GaussianPolicy'"),
        ({}, "unknown kind of policy None"),
        ({"policy": "QPolicy", "network": {}, "head": {}}, "incomplete description .* 'epsilon'"),
        (DESCRIPTION | {"head": {"kindness": "expected"}}, "incomplete description .* 'kindness'"),
        (DESCRIPTION | {"network": {"torso": "lenet"}}, "unknown torso 'lenet'"),
    ],
)
def test_a_description_of_something_else_is_refused(description: dict, complaint: str):
    with pytest.raises(ValueError, match=complaint):
        build_policy(description, FLAT, Discrete(4))


# Stable-Baselines3


def test_stable_baselines3_evaluates_it_as_we_do():
    policy = q_policy()
    envs = DummyVecEnv([lambda: Walk(Discrete(4))])
    envs.seed(3)
    returns, lengths = evaluate_policy(
        policy,  # pyright: ignore[reportArgumentType] (a policy is not one of theirs)
        envs,
        n_eval_episodes=6,
        return_episode_rewards=True,
        warn=False,
    )
    env, ours = Walk(Discrete(4)), []
    for episode in range(6):
        observation, _ = env.reset(seed=3 if episode == 0 else None)
        rewards, over = [], False
        while not over:
            with torch.no_grad():
                best = int(policy.q_values(torch.from_numpy(observation)[None]).argmax())
            observation, reward, terminated, truncated, _ = env.step(best)
            rewards.append(reward)
            over = terminated or truncated
        ours.append((sum(rewards), len(rewards)))
    assert isinstance(returns, list)
    assert returns == pytest.approx([total for total, _ in ours], rel=1e-5)
    assert lengths == [length for _, length in ours]
    assert len({round(total, 3) for total, _ in ours}) > 3
