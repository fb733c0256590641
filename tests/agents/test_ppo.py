"""PPO's bookkeeping: what it learns from, in which order, what it restores and what it refuses."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary
from torch import Tensor

from rlkit_agents.algorithm import NonFiniteGradientError
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.ppo import PPO, PPOConfig, a2c, atari
from rlkit_agents.step import Step

from .streams import (
    FLAT,
    IMAGES,
    NUM_ENVS,
    assert_equal,
    feed_in_turns,
    gradients,
    random_steps,
    seeds,
    weights,
)

THREE = Discrete(3)
ARM = Box(np.array([-0.5, -np.inf]), np.array([0.5, 1.0]), dtype=np.float64)
MLP = NetworkConfig(torso="mlp", hidden_sizes=(16,), activation="tanh")
LSTM = replace(MLP, memory="lstm", memory_size=8)
GRU = replace(MLP, memory="gru", memory_size=8)


def config(**changes: Any) -> PPOConfig:
    """Learns in 2 passes of 2 minibatches from 8 steps of each environment."""
    settings: dict[str, Any] = dict(
        network=MLP, rollout_length=8, epochs=2, minibatch_size=16, learning_rate=1e-2
    )
    return PPOConfig(**(settings | changes))


def learner(
    settings: PPOConfig,
    seed: int = 0,
    space: Box = FLAT,
    actions: gym.Space = THREE,
    num_envs: int = NUM_ENVS,
) -> PPO:
    return PPO(settings, space, actions, num_envs, **seeds(seed))


KINDS: dict[str, dict[str, Any]] = {
    "discrete": dict(settings=config()),
    "continuous": dict(settings=config(), actions=ARM),
    "a2c": dict(settings=a2c(network=MLP)),
    "lstm": dict(settings=config(network=LSTM)),
    "gru": dict(settings=config(network=GRU), actions=ARM),
    "images": dict(
        settings=config(network=NetworkConfig(torso="compact", dense_size=8)), space=IMAGES
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_everything(kind: str):
    steps = random_steps(40, KINDS[kind].get("space", FLAT))
    first, same, other = (learner(**KINDS[kind], seed=seed) for seed in (0, 0, 1))
    assert not torch.equal(weights(first), weights(other))
    for algorithm in (first, same, other):
        torch.rand(7)  # the global generator has no say
        feed_in_turns(algorithm, steps)
    assert first.updates >= 7
    assert_equal(first.state_dict(), same.state_dict())
    assert not torch.equal(weights(first), weights(other))


def test_seed_sequences_can_be_used_again():
    seed = np.random.SeedSequence(3)
    states = []
    for _ in range(2):
        algorithm = PPO(
            config(),
            FLAT,
            THREE,
            NUM_ENVS,
            exploration_seed=seed,
            replay_seed=seed,
            initialisation_seed=seed,
        )
        feed_in_turns(algorithm, random_steps(20))
        states.append(algorithm.state_dict())
    assert_equal(*states)


def test_building_a_learner_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    learner(config())
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("cut", [16, 20])  # where a rollout is full, and in the middle of one
@pytest.mark.parametrize("kind", KINDS)
def test_a_restored_learner_goes_on_bit_for_bit(kind: str, cut: int):
    steps = random_steps(60, KINDS[kind].get("space", FLAT), cuts=(cut,))
    interrupted = learner(**KINDS[kind])
    feed_in_turns(interrupted, steps[: cut + 1])
    state = copy.deepcopy(interrupted.state_dict())
    before = interrupted.updates
    feed_in_turns(interrupted, steps[cut:])
    assert interrupted.updates >= before + 5

    restored = learner(**KINDS[kind], seed=9)
    feed_in_turns(restored, steps[:3])
    restored.load_state_dict(state)
    feed_in_turns(restored, steps[cut:])
    assert_equal(restored.state_dict(), interrupted.state_dict())


# Rollouts and minibatches


def test_it_learns_when_a_rollout_is_full_from_the_act_that_follows():
    algorithm = learner(config())
    for number, (before, after) in enumerate(pairwise(random_steps(40))):
        algorithm.act(before.observations)
        metrics = algorithm.update()
        algorithm.observe(after)
        assert bool(metrics) == (number in (8, 16, 24, 32))
        if metrics:
            assert metrics["updates"] == algorithm.updates == number // 8 * 4
            assert algorithm.steps == (number + 1) * NUM_ENVS


def spied(algorithm: PPO, monkeypatch: pytest.MonkeyPatch) -> list[list[list[float]]]:
    """The observations that each later pass through the network learns from, as they come."""
    seen: list[list[list[float]]] = []
    learn = algorithm._loss

    def loss(experience: Any, outputs: Any, values: Any, rows: Tensor, clip_range: Any) -> Any:
        seen.append(experience.observations[rows].flatten(1).tolist())
        return learn(experience, outputs, values, rows, clip_range)

    monkeypatch.setattr(algorithm, "_loss", loss)
    return seen


@pytest.mark.parametrize("kind", ["discrete", "lstm"])
def test_every_pass_sees_every_valid_transition_once(kind: str, monkeypatch: pytest.MonkeyPatch):
    algorithm = learner(**KINDS[kind])
    seen = spied(algorithm, monkeypatch)
    steps = random_steps(24, seed=3)
    feed_in_turns(algorithm, steps)
    assert len(seen) == 8
    for first_step, passes in ((0, seen[:4]), (8, seen[4:])):
        rows = range(first_step, first_step + 8)
        valid = Counter(
            tuple(steps[row].observations[env].tolist())
            for row in rows
            for env in range(NUM_ENVS)
            if steps[row + 1].valid[env]
        )
        assert 24 <= valid.total() < 32  # some are resets
        for minibatches in (passes[:2], passes[2:]):
            assert Counter(tuple(o) for part in minibatches for o in part) == valid
            sizes = [len(part) for part in minibatches]
            assert max(sizes) <= 16
            if kind == "discrete":
                assert max(sizes) - min(sizes) <= 1
        assert passes[0] != passes[2]  # shuffled anew


@pytest.mark.parametrize(
    ("minibatch_size", "sizes"), [(None, [32]), (32, [32]), (20, [16, 16]), (15, [11, 11, 10])]
)
def test_minibatches_are_nearly_equal(minibatch_size, sizes, monkeypatch: pytest.MonkeyPatch):
    algorithm = learner(config(minibatch_size=minibatch_size, epochs=1))
    seen = spied(algorithm, monkeypatch)
    never = np.zeros(NUM_ENVS, bool)
    step = Step(
        np.zeros((NUM_ENVS, 3), np.float32), np.ones(NUM_ENVS, np.float32), never, never, ~never
    )
    feed_in_turns(algorithm, [step] * 10)
    assert [len(part) for part in seen] == sizes


@pytest.mark.parametrize("network", [MLP, LSTM])
def test_a_rollout_of_nothing_but_reset_steps_teaches_nothing(network: NetworkConfig):
    algorithm = learner(config(network=network, rollout_length=1, minibatch_size=NUM_ENVS))
    always = np.ones(NUM_ENVS, bool)
    observations, rewards = np.zeros((NUM_ENVS, 3), np.float32), np.zeros(NUM_ENVS, np.float32)
    start = Step(observations, rewards, ~always, ~always, ~always)
    end = Step(observations, rewards, always, ~always, always)
    assert len(feed_in_turns(algorithm, [start, end, start, end, start])) == 2
    assert algorithm.updates == 4  # two epochs for each end
    assert torch.isfinite(weights(algorithm)).all()


def experienced(
    monkeypatch: pytest.MonkeyPatch, settings: PPOConfig, steps: list[Step], **options: Any
) -> tuple[Any, PPO, dict[str, Any]]:
    """The first rollout's experience, a copy of the learner from before, and the metrics."""
    algorithm = learner(settings, **options)
    before = copy.deepcopy(algorithm)
    kept: list[Any] = []
    learn = algorithm._learn

    def spy(experience: Any) -> Any:
        kept.append(copy.deepcopy(experience))  # the next rollout takes its place
        return learn(experience)

    monkeypatch.setattr(algorithm, "_learn", spy)
    metrics = feed_in_turns(algorithm, steps)
    return kept[0], before, metrics[0]


def test_advantages_follow_their_definition_across_resets(monkeypatch: pytest.MonkeyPatch):
    steps = random_steps(9, seed=26)
    settings = config(discount=0.9, trace_decay=0.8)
    experience, before, _ = experienced(monkeypatch, settings, steps)
    observations = torch.from_numpy(np.stack([step.observations for step in steps[:9]]))
    with torch.no_grad():
        values = before.policy.values(observations.flatten(0, 1)).unflatten(0, (9, NUM_ENVS))
    checked = Counter[str]()
    for env in range(NUM_ENVS):
        for start in range(8):
            if not steps[start + 1].valid[env]:
                continue
            advantage, weight, end = 0.0, 1.0, "cut by the rollout"
            for t in range(start, 8):  # Schulman et al. 2016, eq. 16
                after = steps[t + 1]
                following = 0.0 if after.terminated[env] else float(values[t + 1, env])
                error = float(after.rewards[env]) + 0.9 * following - float(values[t, env])
                advantage += weight * error
                weight *= 0.9 * 0.8
                if after.ended[env]:
                    end = "terminated" if after.terminated[env] else "truncated"
                    break
            checked[end] += 1
            row = start * NUM_ENVS + env
            assert float(experience.advantages[row]) == pytest.approx(advantage, abs=1e-5)
            target = advantage + float(values[start, env])
            assert float(experience.returns[row]) == pytest.approx(target, abs=1e-5)
            assert float(experience.values[row]) == pytest.approx(float(values[start, env]))
    assert min(checked.values()) >= 3
    assert len(checked) == 3


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_what_was_likely_then_is_what_ratios_are_taken_to(kind, monkeypatch: pytest.MonkeyPatch):
    options = {key: value for key, value in KINDS[kind].items() if key != "settings"}
    experience, before, _ = experienced(monkeypatch, config(), random_steps(9), **options)
    with torch.no_grad():
        outputs, _ = before.policy(experience.observations)
        likelihood = before.policy.likelihood(outputs, experience.actions)
    torch.testing.assert_close(likelihood.log_probs, experience.log_probs)


# Memory


def test_memory_is_that_of_the_episode_across_rollouts(monkeypatch: pytest.MonkeyPatch):
    """Frozen weights: the values unrolled in learning are those of acting, whatever was before."""
    settings = config(network=LSTM, learning_rate=1e-30, epochs=1)
    algorithm = learner(settings)
    errors: list[float] = []
    learn = algorithm._loss

    def loss(experience: Any, outputs: Any, values: Tensor, rows: Tensor, *others: Any) -> Any:
        log_probs = algorithm.policy.likelihood(outputs, experience.actions[rows]).log_probs
        for now, then in ((values, experience.values), (log_probs, experience.log_probs)):
            errors.append(float((now.detach() - then[rows]).abs().max()))
        return learn(experience, outputs, values, rows, *others)

    monkeypatch.setattr(algorithm, "_loss", loss)
    metrics = feed_in_turns(algorithm, random_steps(40, seed=2))
    assert len(errors) == 16
    assert max(errors) < 1e-5
    assert all(measured["clip_fraction"] == 0 for measured in metrics)


def test_memory_is_cleared_where_episodes_start():
    algorithm = learner(config(network=LSTM, rollout_length=50, minibatch_size=50))
    steps = random_steps(30, seed=2)
    feed_in_turns(algorithm, steps)
    starts = [max(t for t in range(30) if t == 0 or not steps[t].valid[env]) for env in range(4)]
    assert len(set(starts)) > 1
    assert algorithm._state is not None
    for env, start in enumerate(starts):
        history = torch.from_numpy(np.stack([s.observations[env] for s in steps[start:30]]))
        with torch.no_grad():
            _, _, expected = algorithm.policy.unroll(history.unsqueeze(1))
        assert expected is not None
        for part, wanted in zip(algorithm._state, expected, strict=True):
            torch.testing.assert_close(part[env], wanted[0])


def test_the_gradient_reaches_back_through_the_rollout(monkeypatch: pytest.MonkeyPatch):
    algorithm = learner(config(network=LSTM, epochs=1))
    reached: list[float] = []
    unroll = algorithm.policy.unroll

    def spy(observations: Tensor, state: Any = None, starts: Any = None) -> Any:
        if torch.is_grad_enabled():
            probe = observations.clone().requires_grad_()
            _, values, _ = unroll(probe, state, torch.zeros_like(starts))
            (gradient,) = torch.autograd.grad(values[-1].sum(), probe)
            reached.append(float(gradient[0].abs().min()))
        return unroll(observations, state, starts)

    monkeypatch.setattr(algorithm.policy, "unroll", spy)
    feed_in_turns(algorithm, random_steps(9))
    assert len(reached) == 2
    assert min(reached) > 0


# Gradient steps


def test_rates_and_ranges_follow_their_schedules():
    settings = config(
        learning_rate_end=0.0,
        learning_rate_steps=128,
        clip_range=0.3,
        clip_range_end=0.1,
        clip_range_steps=100,
    )
    algorithm = learner(settings)
    steps = random_steps(50)
    metrics = feed_in_turns(algorithm, steps[:34])
    rates = [measured["learning_rate"] for measured in metrics]
    assert rates == pytest.approx([0.0075, 0.005, 0.0025, 0.0])  # 32 environment steps a rollout
    before = weights(algorithm)
    feed_in_turns(algorithm, steps[33:])
    assert torch.equal(weights(algorithm), before)


def test_the_clip_range_is_that_of_the_moment(monkeypatch: pytest.MonkeyPatch):
    algorithm = learner(config(clip_range=0.3, clip_range_end=0.1, clip_range_steps=64))
    ranges: list[float] = []
    learn = algorithm._loss

    def loss(*arguments: Any) -> Any:
        ranges.append(arguments[-1])
        return learn(*arguments)

    monkeypatch.setattr(algorithm, "_loss", loss)
    feed_in_turns(algorithm, random_steps(26))
    assert ranges == pytest.approx([0.2] * 4 + [0.1] * 8)


@pytest.mark.parametrize("limit", [1e-3, float("inf")])
def test_gradients_are_clipped_to_their_norm_over_all_weights(limit: float):
    algorithm = learner(config(max_gradient_norm=limit, epochs=1, minibatch_size=None))
    (last,) = feed_in_turns(algorithm, random_steps(9))
    used = gradients(algorithm).norm()
    assert last["gradient_norm"] > 0.01  # as it was before
    assert float(used) == pytest.approx(min(limit, float(last["gradient_norm"])), rel=1e-3)


def test_an_update_ends_when_the_policy_has_moved_far_enough(monkeypatch: pytest.MonkeyPatch):
    settings = config(epochs=20, learning_rate=0.02)
    free = learner(settings)
    divergences: list[float] = []
    learn = free._loss

    def loss(*arguments: Any) -> Any:
        objective, measures = learn(*arguments)
        divergences.append(float(measures[-1]))
        return objective, measures

    monkeypatch.setattr(free, "_loss", loss)
    feed_in_turns(free, random_steps(9))
    assert free.updates == 40
    reached, divergence = next((i, d) for i, d in enumerate(divergences) if d > 0.02)
    for share, stops in ((1.6, True), (1.4, False)):  # on both sides of 1.5
        bound = learner(replace(settings, target_kl=divergence / share))
        (metrics,) = feed_in_turns(bound, random_steps(9))
        assert metrics["updates"] == bound.updates >= reached > 1
        assert (bound.updates == reached) == stops


def test_metrics_are_those_of_the_rollout(monkeypatch: pytest.MonkeyPatch):
    steps = random_steps(9, seed=1)
    settings = config(
        epochs=1,
        minibatch_size=None,
        entropy_weight=0.3,
        value_weight=0.7,
        standardise_advantages=False,
    )
    experience, before, metrics = experienced(monkeypatch, settings, steps)
    valid = torch.from_numpy(np.stack([step.valid for step in steps[1:9]])).flatten()
    assert not valid.all()
    with torch.no_grad():
        logits, values = before.policy(experience.observations[valid])
    advantages, returns = experience.advantages[valid], experience.returns[valid]
    expected = {
        "policy_loss": -advantages.mean(),  # nothing has moved yet
        "value_loss": (values - returns).square().mean(),
        "entropy": torch.distributions.Categorical(logits=logits).entropy().mean(),
        "clip_fraction": 0.0,
        "approximate_kl": 0.0,
        "explained_variance": 1 - np.var((returns - values).numpy()) / np.var(returns.numpy()),
        "learning_rate": 1e-2,
        "updates": 1.0,
    }
    expected["loss"] = (
        expected["policy_loss"] + 0.7 * expected["value_loss"] - 0.3 * expected["entropy"]
    )
    assert metrics.keys() == expected.keys() | {"gradient_norm"}
    for name, value in expected.items():
        assert float(metrics[name]) == pytest.approx(float(value), abs=1e-5), name


def test_metrics_are_means_over_the_gradient_steps():
    averaged = learner(config(minibatch_size=None, epochs=3))
    (mean,) = feed_in_turns(averaged, random_steps(9))
    single = learner(config(minibatch_size=None, epochs=1))
    (first,) = feed_in_turns(single, random_steps(9))
    assert mean["approximate_kl"] > first["approximate_kl"] + 1e-4
    assert mean["value_loss"] < first["value_loss"]


def test_values_that_moved_further_than_allowed_count_as_where_they_were():
    settings = config(minibatch_size=None, learning_rate=0.05)
    losses = []
    for changes in ({"epochs": 1}, {}, {"clip_value_range": 1e-6}):
        (measured,) = feed_in_turns(learner(replace(settings, **changes)), random_steps(9))
        losses.append(float(measured["value_loss"]))
    before, free, bound = losses  # the last two are means over two gradient steps
    assert free < 0.99 * before
    assert bound > 0.9999 * before


# Acting


@pytest.mark.parametrize("kind", KINDS)
def test_actions_are_what_the_environments_take(kind: str):
    algorithm = learner(**KINDS[kind])
    space = KINDS[kind].get("actions", THREE)
    for step in random_steps(20, KINDS[kind].get("space", FLAT)):
        actions = algorithm.act(step.observations)
        algorithm.update()
        algorithm.observe(step)
        assert actions.shape == (NUM_ENVS, *space.shape)
        assert all(action in space for action in actions)


def test_it_acts_without_dropout_and_learns_with_it():
    network = replace(MLP, dropout=0.9, hidden_sizes=(64,))
    algorithm = learner(config(network=network, learning_rate=1e-30, epochs=1))
    steps = random_steps(20)
    metrics = feed_in_turns(algorithm, steps)
    assert metrics[0]["approximate_kl"] > 1e-3  # than that which acted
    values = algorithm._rollout.columns["values"][:3]
    acted_on = torch.from_numpy(np.stack([step.observations for step in steps[16:19]]))
    with torch.no_grad():
        expected = algorithm.policy.eval().values(acted_on.flatten(0, 1)).unflatten(0, (3, 4))
    np.testing.assert_allclose(values, expected.numpy(), atol=1e-5)


# Failures


def stopped(algorithm: PPO, steps: list[Step]) -> str:
    """The message with which learning stops, with the weights as they were before the update."""
    before = weights(algorithm)
    with pytest.raises(NonFiniteGradientError) as caught:
        feed_in_turns(algorithm, steps)
    after = weights(algorithm)
    assert torch.equal(before.nan_to_num(), after.nan_to_num())
    message = str(caught.value)
    assert f"at update {algorithm.updates + 1}, environment step {algorithm.steps}" in message
    return message


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_a_bad_weight_stops_learning_and_is_named(kind: str):
    algorithm = learner(**KINDS[kind])
    with torch.no_grad():
        algorithm.policy.network.get_parameter("action_head.bias")[1] = float("nan")
    assert "in the weights of action_head.bias (loss nan)" in stopped(algorithm, random_steps(9))


def test_rewards_that_overflow_the_loss_stop_learning():
    algorithm = learner(config())
    huge = [replace(step, rewards=step.valid * np.float32(1.5e38)) for step in random_steps(9)]
    assert "not a finite number" in stopped(algorithm, huge)


def test_a_minibatch_larger_than_the_rollout_is_refused():
    with pytest.raises(ValueError, match="8 steps of 4 environments has 32 transitions, fewer"):
        learner(config(minibatch_size=33))


def test_spaces_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"needs a Discrete .* or a Box of floats"):
        learner(config(), actions=MultiBinary(3))
    with pytest.raises(ValueError, match="flat observations take torso 'mlp'"):
        learner(atari())


def test_a_state_of_another_configuration_is_refused():
    state = learner(config()).state_dict()
    with pytest.raises((ValueError, RuntimeError), match="size mismatch"):
        learner(config(network=replace(MLP, hidden_sizes=(17,)))).load_state_dict(state)
