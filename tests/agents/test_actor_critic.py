"""Actor-critic policies: how they start, which actions they take, and what they remember."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor

from rlkit_agents.actor_critic import ActorCriticPolicy
from rlkit_agents.memory import State
from rlkit_agents.networks import NetworkConfig

from .small_worlds import Walk

FLAT = Box(-1, 1, (3,), np.float32)
FRAMES = Box(0, 255, (2, 15, 15), np.uint8)
FOUR = Discrete(4)
ARM = Box(np.array([-1.0, -0.2]), np.array([0.5, np.inf]), dtype=np.float64)
MLP = NetworkConfig(torso="mlp", hidden_sizes=(16, 8), activation="tanh")
COMPACT = NetworkConfig(torso="compact", dense_size=16)
LSTM = replace(MLP, memory="lstm", memory_size=6)
GRU = replace(MLP, memory="gru", memory_size=6)


def actor_critic(
    actions: gym.Space = FOUR, network: NetworkConfig = MLP, space: Box = FLAT, **options: Any
) -> ActorCriticPolicy:
    torch.manual_seed(0)
    return ActorCriticPolicy(space, actions, network, **options).eval()


def samples(*batch: int, space: Box = FLAT, seed: int = 0) -> Tensor:
    random = np.random.default_rng(seed)
    if space.dtype == np.uint8:
        return torch.from_numpy(random.integers(0, 256, (*batch, *space.shape), np.uint8))
    return torch.from_numpy(random.uniform(-1, 1, (*batch, *space.shape)).astype(np.float32))


# Networks


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("actions", [FOUR, ARM])
def test_its_parts_have_readable_names(actions: gym.Space, shared: bool):
    names = [name for name, _ in actor_critic(actions, shared_torso=shared).named_parameters()]
    torsos = ["torso"] if shared else ["torso", "value_torso"]
    layers = [f"network.{torso}.dense{i}" for torso in torsos for i in (1, 2)]
    layers += ["network.value_head", "network.action_head"]
    deviation = [] if actions is FOUR else ["network.log_standard_deviation"]
    assert names == deviation + [
        f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")
    ]


def test_orthogonal_weights_start_with_the_gains_of_stable_baselines3():
    policy = actor_critic(network=replace(MLP, initialisation="orthogonal"), shared_torso=False)
    gains = {
        "torso.dense1": 2**0.5,
        "value_torso.dense2": 2**0.5,
        "value_head": 1,
        "action_head": 0.01,
    }
    for name, gain in gains.items():
        weight = policy.network.get_submodule(name).get_parameter("weight").detach()
        small = weight if len(weight) < weight.shape[1] else weight.T
        torch.testing.assert_close(small @ small.T, gain**2 * torch.eye(len(small)))
        assert not policy.network.get_submodule(name).get_parameter("bias").any()


def test_other_initialisations_have_no_gain():
    policy = actor_critic(network=replace(MLP, initialisation="xavier_normal"))
    assert policy.network.action_head.weight.std() > 0.1


@pytest.mark.parametrize("shared", [True, False])
def test_what_is_not_shared_does_not_interfere(shared: bool):
    policy = actor_critic(shared_torso=shared)
    outputs, values = policy(samples(5))
    assert (outputs.shape, values.shape) == ((5, 4), (5,))
    values.sum().backward()
    torso = policy.network.torso.get_submodule("dense1").get_parameter("weight").grad
    assert (torso is not None) == shared
    assert policy.network.action_head.weight.grad is None


def test_bfloat16_only_rounds():
    exact = actor_critic(network=COMPACT, space=FRAMES, precision="float32")
    rounded = actor_critic(network=COMPACT, space=FRAMES, precision="bfloat16")
    frames = samples(8, space=FRAMES)
    with torch.no_grad():
        for one, other in zip(exact(frames), rounded(frames), strict=True):
            assert other.dtype == torch.float32
            assert not torch.equal(one, other)
            torch.testing.assert_close(one, other, atol=0.02, rtol=0)


# Actions


def test_deterministic_actions_are_the_likeliest():
    policy = actor_critic()
    observations = samples(40)
    with torch.no_grad():
        logits, _ = policy(observations)
    actions, state = policy.predict(observations.numpy(), deterministic=True)
    assert state is None
    assert len(set(actions.tolist())) > 1
    np.testing.assert_array_equal(actions, logits.argmax(1).numpy())


def test_continuous_actions_are_means_within_the_bounds():
    policy = actor_critic(ARM)
    with torch.no_grad():
        policy.network.action_head.weight.mul_(20)
        means, _ = policy(samples(40))
    actions, _ = policy.predict(samples(40).numpy(), deterministic=True)
    assert actions.dtype == np.float64
    np.testing.assert_allclose(actions, means.double().numpy().clip(ARM.low, ARM.high))
    assert ((actions == ARM.low) | (actions == ARM.high)).any()
    assert (actions[:, 1] > 1).any()  # where there is no bound
    assert policy.state_dict().keys() == dict(policy.named_parameters()).keys()


def test_drawn_actions_follow_the_policy():
    policy = actor_critic()
    with torch.no_grad():
        policy.network.action_head.bias.copy_(torch.tensor([2.0, 1.0, 0.0, -1.0]))
        logits, _ = policy(torch.zeros(1, 3))
    torch.manual_seed(1)
    actions, _ = policy.predict(np.zeros((20_000, 3), np.float32))
    shares = np.bincount(actions, minlength=4) / 20_000
    np.testing.assert_allclose(shares, torch.softmax(logits[0], 0).numpy(), atol=0.015)


def test_drawn_continuous_actions_have_the_learnt_spread():
    policy = actor_critic(ARM, log_standard_deviation=-3.0)
    torch.manual_seed(1)
    actions, _ = policy.predict(np.zeros((5_000, 3), np.float32))
    np.testing.assert_allclose(actions.std(0), np.exp(-3), rtol=0.05)


@pytest.mark.parametrize("actions", [FOUR, ARM, Box(-0.1, 0.1, (2, 3), np.float32), Box(-1, 1, ())])
def test_explored_actions_are_told_with_their_likelihood(actions: gym.Space):
    policy = actor_critic(actions)
    observations = samples(30)
    with torch.no_grad():
        decision = policy.explore(observations, generator=torch.Generator().manual_seed(3))
        outputs, values = policy(observations)
    torch.testing.assert_close(decision.values, values)
    if actions is FOUR:
        theirs = torch.distributions.Categorical(logits=outputs)
    else:
        theirs = torch.distributions.Independent(torch.distributions.Normal(outputs, 1.0), 1)
    torch.testing.assert_close(decision.log_probs, theirs.log_prob(decision.actions))
    for action in policy.executable(decision.actions).numpy():
        assert np.asarray(action) in actions
    if actions is not FOUR:
        assert (decision.actions.abs() > 1).any()  # not clipped


def test_the_generator_decides_what_is_explored():
    policy = actor_critic()
    observations = samples(30)

    def explored(seed: int) -> Tensor:
        return policy.explore(observations, generator=torch.Generator().manual_seed(seed)).actions

    first = explored(1)
    torch.rand(3)
    assert torch.equal(explored(1), first)
    assert not torch.equal(explored(2), first)


# Memory


@pytest.mark.parametrize("network", [LSTM, GRU, MLP])
def test_unrolling_is_acting_step_by_step(network: NetworkConfig):
    policy = actor_critic(network=network)
    observations = samples(6, 3)
    starts = torch.zeros(6, 3, dtype=torch.bool)
    starts[0] = starts[2, 1] = starts[4, 0] = True
    state: State = None
    actions, values = [], []
    with torch.no_grad():
        for now, first in zip(observations, starts, strict=True):
            state = policy.forget(state, first)
            values.append(policy.values(now, state))
            action, state = policy.act(now, state)
            actions.append(action)
        outputs, unrolled_values, after = policy.unroll(observations, None, starts)
    assert torch.equal(torch.stack(actions), outputs.argmax(-1))
    torch.testing.assert_close(torch.stack(values), unrolled_values)
    assert (state is None) == (network is MLP)
    if state is not None:
        torch.testing.assert_close(state, after)
        assert len(state) == (2 if network is LSTM else 1)


def test_what_was_observed_before_changes_what_is_done():
    policy = actor_critic(network=LSTM)
    observations = samples(6, 3)
    with torch.no_grad():
        _, alone = policy(observations[5])  # as the first of an episode
        _, values, _ = policy.unroll(observations)
    assert not torch.isclose(alone, values[5]).any()


# What does not fit


@pytest.mark.parametrize(
    "space",
    [
        MultiDiscrete([2, 3]),
        MultiBinary(3),
        Discrete(3, start=1),
        Box(0, 9, (2,), np.int64),
        Box(-1, 1, (0,), np.float32),
    ],
)
def test_other_action_spaces_are_refused(space: gym.Space):
    with pytest.raises(ValueError, match=r"needs a Discrete .* or a Box of floats; got "):
        actor_critic(space)


@pytest.mark.parametrize(
    ("network", "shared", "complaint"),
    [
        (replace(MLP, dueling=True), True, r"network\.dueling is for value-based agents"),
        (replace(MLP, noisy=True), True, r"network\.noisy is for value-based agents"),
        (LSTM, False, r"network\.memory 'lstm' needs a torso that actions and value share"),
    ],
)
def test_networks_that_do_not_fit_are_refused(network, shared: bool, complaint: str):
    with pytest.raises(ValueError, match=complaint):
        actor_critic(network=network, shared_torso=shared)


@pytest.mark.parametrize("method", ["act", "explore", "values"])
@pytest.mark.parametrize(
    ("other", "batch"),
    [(LSTM, 3), (LSTM, 1), (GRU, 2), (replace(LSTM, memory_size=5), 2)],
    ids=["another batch", "one", "another kind", "another size"],
)
def test_a_state_that_does_not_fit_is_refused(other: NetworkConfig, batch: int, method: str):
    _, state = actor_critic(network=other).act(samples(batch))
    wanted = r"does not fit: this policy's lstm over a batch of 2 needs \[\(2, 6\), \(2, 6\)\]"
    with pytest.raises(ValueError, match=wanted):
        getattr(actor_critic(network=LSTM), method)(samples(2), state)


@pytest.mark.parametrize("method", ["act", "explore", "values"])
def test_a_policy_without_memory_refuses_a_state(method: str):
    _, state = actor_critic(network=LSTM).act(samples(3))
    with pytest.raises(ValueError, match=r"\(3, 6\).* does not fit: this policy has no memory"):
        getattr(actor_critic(), method)(samples(3), state)


# Stable-Baselines3


@pytest.mark.parametrize(
    ("actions", "network"),
    [(FOUR, MLP), (FOUR, LSTM), (Box(-0.4, 0.4, (2,), np.float32), MLP)],
    ids=["discrete", "memory", "continuous"],
)
def test_stable_baselines3_evaluates_it_as_we_do(actions: gym.Space, network: NetworkConfig):
    policy = actor_critic(actions, network)
    envs = DummyVecEnv([lambda: Walk(actions)])
    envs.seed(3)
    returns, lengths = evaluate_policy(
        policy,  # pyright: ignore[reportArgumentType] (a policy is not one of theirs)
        envs,
        n_eval_episodes=5,
        return_episode_rewards=True,
        warn=False,
    )
    env, ours = Walk(actions), []
    for episode in range(5):
        observation, _ = env.reset(seed=3 if episode == 0 else None)
        seen, rewards, over = [], [], False
        while not over:
            seen.append(torch.from_numpy(observation))
            with torch.no_grad():  # from the episode's whole history
                outputs = policy.unroll(torch.stack(seen).unsqueeze(1))[0][-1, 0]
            action = outputs.argmax() if actions is FOUR else outputs.clamp(-0.4, 0.4)
            observation, reward, terminated, truncated, _ = env.step(action.numpy())
            rewards.append(reward)
            over = terminated or truncated
        ours.append((sum(rewards), len(rewards)))
    assert isinstance(returns, list)
    assert returns == pytest.approx([total for total, _ in ours], rel=1e-4)
    assert lengths == [length for _, length in ours]
    assert len({round(total, 3) for total, _ in ours}) > 3
