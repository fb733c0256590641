"""Memory over time, and Q-policies that have one: what they remember, forget and refuse."""

from __future__ import annotations

import json
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor

from rlkit_agents.building import build_policy
from rlkit_agents.memory import Memory, cleared
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.q_policy import HeadConfig, QPolicy

KINDS = ("lstm", "gru")
Kind = Literal["lstm", "gru"]
FLAT = Box(-1, 1, (3,), np.float32)


def memory(kind: Kind, in_features: int = 5, size: int = 7) -> Memory:
    torch.manual_seed(0)
    return Memory(kind, in_features, size)


def random_state(of: Memory, batch: int) -> tuple[Tensor, ...]:
    return tuple(torch.randn(batch, of.size) for _ in range(of.state_parts))


def step(of: Memory, features: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The state after one row of features (batch, in_features), by PyTorch's cell."""
    layer = of.recurrent
    cell = (torch.nn.LSTMCell if of.kind == "lstm" else torch.nn.GRUCell)(
        layer.input_size, layer.hidden_size
    )
    for name, parameter in cell.named_parameters():
        parameter.data = getattr(layer, f"{name}_l0").data
    after = cell(features, state if of.kind == "lstm" else state[0])
    return after if of.kind == "lstm" else (after,)


# Over time


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 1.0])
def test_a_trace_equals_stepping_one_by_one(kind: Kind, share: float):
    of = memory(kind)
    features = torch.randn(20, 4, 5)
    starts = torch.rand(20, 4) < share
    given = random_state(of, 4)
    with torch.no_grad():
        outputs, after = of(features, given, starts)
        state = given
        for time in range(20):
            if starts[time].any():
                state = tuple(
                    torch.stack([part[e] * (not starts[time, e]) for e in range(4)])
                    for part in state
                )
            state = step(of, features[time], state)
            torch.testing.assert_close(outputs[time], state[0])
    for found, expected in zip(after, state, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_trace_can_be_cut_anywhere(kind: Kind):
    of = memory(kind)
    features, starts = torch.randn(9, 2, 5), torch.zeros(9, 2, dtype=torch.bool)
    starts[[0, 4, 5], [0, 1, 0]] = True
    with torch.no_grad():
        whole, after = of(features, None, starts)
        parts, state = [], None
        for first, stop in ((0, 1), (1, 4), (4, 9)):
            output, state = of(features[first:stop], state, starts[first:stop])
            parts.append(output)
    torch.testing.assert_close(torch.cat(parts), whole)
    assert state is not None
    for found, expected in zip(state, after, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_state_an_episode_starts(kind: Kind):
    of = memory(kind)
    features = torch.randn(6, 3, 5)
    with torch.no_grad():
        outputs, _ = of(features)
        everywhere = torch.ones(6, 3, dtype=torch.bool)
        everywhere[1:] = False
        after_start, _ = of(features, random_state(of, 3), everywhere)
    assert torch.equal(outputs, after_start)
    assert all((part == 0).all() for part in of.initial_state(3))


@pytest.mark.parametrize("kind", KINDS)
def test_neither_values_nor_gradients_cross_a_start(kind: Kind):
    of = memory(kind)
    features = torch.randn(8, 2, 5, requires_grad=True)
    given = tuple(part.requires_grad_() for part in random_state(of, 2))
    starts = torch.zeros(8, 2, dtype=torch.bool)
    starts[3, 0] = True  # the other environment's episode runs on
    outputs, _ = of(features, given, starts)
    gradient, *of_state = torch.autograd.grad(outputs[7].sum(), [features, *given])
    assert (gradient[:3, 0] == 0).all()
    assert (gradient[3:, 0] != 0).any(1).all()
    assert (gradient[:, 1] != 0).any(1).all()
    for part in of_state:
        assert (part[0] == 0).all()
        assert (part[1] != 0).any()
    with torch.no_grad():
        changed = features.clone()
        changed[:3, 0] = 100.0
        again, _ = of(changed, given, starts)
    assert torch.equal(again[3:], outputs[3:])
    assert not torch.equal(again[:3, 0], outputs[:3, 0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_is_exact_under_autocast_as_well(kind: Kind):
    of = memory(kind)
    features = torch.randn(30, 2, 5)
    with torch.no_grad():
        expected, _ = of(features)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs, _ = of(features)
    assert outputs.dtype == torch.float32
    assert torch.equal(outputs, expected)


@pytest.mark.parametrize("shape", [(4,), (1, 4), (21, 4), (20, 1)])
def test_starts_that_do_not_fit_are_refused(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"starts of shape .* do not fit: .* needs \(20, 4\)"):
        memory("lstm")(torch.randn(20, 4, 5), None, torch.zeros(shape, dtype=torch.bool))


def test_clearing_touches_what_starts_alone():
    state = (torch.ones(3, 2), torch.full((3, 2), 5.0))
    hidden, cell = cleared(state, torch.tensor([False, True, False]))
    assert hidden.tolist() == [[1, 1], [0, 0], [1, 1]]
    assert cell.tolist() == [[5, 5], [0, 0], [5, 5]]
    assert (state[0] == 1).all()


# Policies


def q_policy(kind: Kind = "lstm", *, size: int = 6, **changes: Any) -> QPolicy:
    torch.manual_seed(0)
    network = NetworkConfig(
        torso="mlp",
        hidden_sizes=(8,),
        memory=kind,
        memory_size=size,
        initialisation="orthogonal",
        **changes,
    )
    return QPolicy(FLAT, Discrete(4), network, HeadConfig("quantile", atoms=3)).eval()


def observations(count: int, batch: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, batch, 3)).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_acting_step_by_step_gives_the_values_of_the_whole_trace(kind: Kind):
    policy = q_policy(kind, dueling=True)
    seen = torch.from_numpy(observations(30, 4))
    starts = torch.rand(30, 4) < 0.1
    with torch.no_grad():
        outputs, _ = policy.unroll(seen, None, starts)
        state = None
        for time in range(30):
            state = policy.forget(state, starts[time])
            values = policy.q_values(seen[time], state)
            actions, state = policy.act(seen[time], state)
            expected = outputs[time].mean(-1)
            torch.testing.assert_close(values, expected)
            assert torch.equal(actions, expected.argmax(-1))


def test_an_observation_alone_is_the_first_of_an_episode():
    policy = q_policy()
    seen = torch.from_numpy(observations(1, 5)[0])
    with torch.no_grad():
        assert torch.equal(policy(seen), policy.unroll(seen.unsqueeze(0))[0][0])
        assert torch.equal(policy(seen).mean(-1), policy.q_values(seen))


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_depend_on_what_was_seen_in_this_episode_alone(kind: Kind):
    policy = q_policy(kind)
    seen = observations(40, 2)
    starts = np.random.default_rng(1).random((40, 2)) < 0.15
    starts[0] = True
    state = None
    remembered = []
    for time in range(40):
        actions, state = policy.predict(
            seen[time], state, episode_start=starts[time], deterministic=True
        )
        for env in range(2):
            first = int(np.flatnonzero(starts[: time + 1, env])[-1])
            episode = torch.from_numpy(seen[first : time + 1, env]).unsqueeze(1)
            with torch.no_grad():
                values = policy.unroll(episode)[0][-1, 0].mean(-1)
                alone = policy.unroll(episode[-1:])[0][-1, 0].mean(-1)
            assert actions[env] == int(values.argmax())
            remembered.append(bool(values.argmax() != alone.argmax()))
    assert any(remembered)  # an observation does not decide by itself


@pytest.mark.parametrize("kind", KINDS)
def test_one_observation_has_a_state_as_well(kind: Kind):
    policy = q_policy(kind)
    seen = observations(5, 1)
    single, batched = None, None
    for time in range(5):
        action, single = policy.predict(seen[time, 0], single, deterministic=True)
        actions, batched = policy.predict(seen[time], batched, deterministic=True)
        assert action.shape == ()
        assert action == actions[0]
    assert single is not None
    assert all(isinstance(part, np.ndarray) and part.shape == (1, 6) for part in single)


@pytest.mark.parametrize("episode_start", [None, np.zeros(3, bool)])
@pytest.mark.parametrize(
    ("state", "complaint"),
    [
        ((np.zeros((2, 6)), np.zeros((2, 6))), r"\[\(2, 6\), \(2, 6\)\] does not fit.* 3"),
        ((np.zeros((1, 6)), np.zeros((1, 6))), r"\[\(1, 6\), \(1, 6\)\] does not fit.* 3"),
        ((np.zeros((3, 6)),), r"lstm over a batch of 3 needs \[\(3, 6\), \(3, 6\)\]"),
        ((np.zeros((3, 5)), np.zeros((3, 5))), r"\[\(3, 5\), \(3, 5\)\] does not fit"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(
    state: tuple[np.ndarray, ...], complaint: str, episode_start: np.ndarray | None
):
    with pytest.raises(ValueError, match=complaint):
        q_policy().predict(observations(1, 3)[0], state, episode_start=episode_start)


def test_starts_of_another_batch_are_refused():
    policy = q_policy()
    _, state = policy.predict(observations(1, 3)[0])
    with pytest.raises(ValueError, match=r"episode_start of shape \(2,\) does not fit .* of 3"):
        policy.predict(observations(1, 3)[0], state, episode_start=np.zeros(2, bool))


def test_a_policy_without_memory_refuses_a_state():
    policy = QPolicy(FLAT, Discrete(4), NetworkConfig(torso="mlp"), HeadConfig("expected"))
    state = (np.zeros((3, 6), np.float32),)
    with pytest.raises(ValueError, match=r"\[\(3, 6\)\] does not fit: this policy has no memory"):
        policy.predict(observations(1, 3)[0], state)


@pytest.mark.parametrize("kind", KINDS)
def test_a_recurrent_policy_is_rebuilt_from_its_description(kind: Kind):
    policy = q_policy(kind)
    rebuilt = build_policy(json.loads(json.dumps(policy.architecture)), FLAT, Discrete(4))
    assert isinstance(rebuilt, QPolicy)
    rebuilt.load_state_dict(policy.state_dict())
    seen = torch.from_numpy(observations(6, 2))
    with torch.no_grad():
        assert torch.equal(rebuilt.unroll(seen)[0], policy.unroll(seen)[0])


class Wander(gym.Env):
    """Random observations; the reward is a number that the action picks from the observation."""

    observation_space = FLAT
    action_space = Discrete(4)

    def _look(self) -> np.ndarray:
        self._seen = self.np_random.uniform(-1, 1, 3).astype(np.float32)
        return self._seen

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._steps = 0
        return self._look(), {}

    def step(self, action):
        self._steps += 1
        reward = float(np.append(self._seen, 0)[action])
        return self._look(), reward, self.np_random.random() < 0.1, self._steps == 15, {}


@pytest.mark.parametrize("kind", KINDS)
def test_stable_baselines3_evaluates_a_recurrent_policy(kind: Kind):
    policy = q_policy(kind)
    envs = DummyVecEnv([Wander, Wander])
    envs.seed(3)
    returns, lengths = evaluate_policy(
        policy,  # pyright: ignore[reportArgumentType] (a policy is not one of theirs)
        envs,
        n_eval_episodes=8,
        return_episode_rewards=True,
        warn=False,
    )

    def played(forgets: bool) -> list[tuple[float, int]]:
        """Four episodes in each environment."""
        ours = []
        for seed in (3, 4):
            env, state = Wander(), None
            for episode in range(4):
                seen, _ = env.reset(seed=seed if episode == 0 else None)
                state = None if forgets else state
                rewards, over = [], False
                while not over:
                    with torch.no_grad():
                        action, state = policy.act(torch.from_numpy(seen)[None], state)
                    seen, reward, terminated, truncated, _ = env.step(int(action))
                    rewards.append(reward)
                    over = terminated or truncated
                ours.append((round(sum(rewards), 4), len(rewards)))
        return sorted(ours)

    assert isinstance(returns, list)
    assert isinstance(lengths, list)
    theirs = sorted((round(r, 4), n) for r, n in zip(returns, lengths, strict=True))
    assert theirs == pytest.approx(np.array(played(forgets=True)), abs=1e-3)
    assert played(forgets=True) != played(forgets=False)
