"""PQN: what it regresses to, what it learns from, what it restores, what it refuses."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor, nn

from rlkit_agents.algorithm import NonFiniteGradientError
from rlkit_agents.memory import State
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.pqn import PQN, PQNConfig, regression_loss
from rlkit_agents.q_policy import HeadConfig
from rlkit_agents.schedules import LinearSchedule
from rlkit_agents.step import Step
from rlkit_agents.symmetry import Symmetry

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

GREEDY = LinearSchedule(0, 0, 0)
MLP = NetworkConfig(torso="mlp", hidden_sizes=(16,), layer_norm="all")
LSTM = replace(MLP, memory="lstm", memory_size=8)


def config(**changes: Any) -> PQNConfig:
    """Learns from 5 rows at a time, in 2 passes of 4 minibatches."""
    settings: dict[str, Any] = dict(
        network=MLP,
        rollout_length=5,
        minibatches=4,
        learning_rate=1e-2,
        epsilon=LinearSchedule(1.0, 0.3, 100),
        precision="float32",
    )
    return PQNConfig(**(settings | changes))


def learner(settings: PQNConfig, seed: int = 0, space: Box = FLAT, num_envs: int = NUM_ENVS) -> PQN:
    return PQN(settings, space, Discrete(3), num_envs, **seeds(seed))


KINDS = {
    "feed-forward": config(),
    "quantile": config(head=HeadConfig("quantile", atoms=4), huber_kappa=1.0),
    "lstm": config(network=LSTM),
    "gru": config(network=replace(LSTM, memory="gru"), minibatches=2),
}


# What it regresses to


def by_a_table(algorithm: PQN, q_table: list[list[int]]) -> None:
    """Make action values the rows of a table, of which an observation one-hot is the index."""
    network: Any = algorithm.policy.network
    network.torso = nn.Flatten()
    head = nn.Linear(len(q_table), len(q_table[0]), bias=False)
    head.weight.data = torch.tensor(q_table, dtype=torch.float32).T.contiguous()
    network.head.linear = head


@pytest.mark.parametrize("huber_kappa", [None, 1.0])
def test_hand_worked_targets(huber_kappa: float | None):
    space = Box(0, 1, (4,), np.float32)
    settings = config(
        network=replace(MLP, hidden_sizes=(4,)),
        rollout_length=3,
        epochs=1,
        minibatches=1,
        discount=0.5,
        trace_decay=0.5,
        huber_kappa=huber_kappa,
        epsilon=GREEDY,
    )
    algorithm = learner(settings, space=space, num_envs=3)
    # The largest value of place 0, 1, 2, 3 is 1, 2, 4, 8.
    by_a_table(algorithm, [[1, 0, 0], [0, 2, 0], [4, -1, 3], [8, 3, 2]])

    def outcome(places, rewards=(0, 0, 0), terminated=(0, 0, 0), truncated=(0, 0, 0), reset=()):
        valid = ~np.isin(np.arange(3), reset)
        ends = np.array(terminated, bool), np.array(truncated, bool)
        observations = np.eye(4, dtype=np.float32)[list(places)]
        return Step(observations, np.array(rewards, np.float32), *ends, valid)

    metrics = feed_in_turns(
        algorithm,
        [
            outcome((0, 1, 2)),
            outcome((1, 3, 0), rewards=(1, 3, 0), terminated=(0, 1, 0)),
            outcome((2, 0, 3), rewards=(2, 0, 2), truncated=(0, 0, 1), reset=(1,)),
            outcome((3, 2, 1), rewards=(4, 1, 0), reset=(2,)),
            outcome((0, 0, 0)),
        ],
    )
    # Environment 0: 4 + 8 / 2 = 8, then 2 + (4 + 8) / 4 = 5, then 1 + (2 + 5) / 4 = 2.75.
    # Environment 1: 1 + 4 / 2 = 3 after the reset step, and 3 alone, at the termination.
    # Environment 2: 2 + 8 / 2 = 6, the final observation being place 3; 0 + (1 + 6) / 4 = 1.75.
    errors = np.array([8 - 4, 5 - 2, 2.75 - 1, 3 - 1, 3 - 2, 6 - 1, 1.75 - 4])
    size = np.abs(errors)
    expected = errors**2 / 2 if huber_kappa is None else size - 0.5  # none is below 1
    (measured,) = metrics
    assert float(measured["loss"]) == pytest.approx(expected.mean())
    assert float(measured["td_error"]) == pytest.approx(size.mean())
    assert float(measured["q_mean"]) == pytest.approx((4 + 2 + 1 + 1 + 2 + 1 + 4) / 7)


def forward_view(
    steps: list[Step], values: np.ndarray, row: int, env: int, last: int, settings: PQNConfig
) -> float:
    """The lambda-return by its definition, the mean of n-step returns (Sutton & Barto, eq. 12.3).

    values: (steps, num_envs), of the observations that each step led to. last: of the rollout.
    """
    weight, discount, rewards, total = 1.0, 1.0, 0.0, 0.0
    while True:
        step = steps[row]
        rewards += discount * step.rewards[env]
        discount *= settings.discount
        n_step = rewards + discount * (0 if step.terminated[env] else values[row, env])
        if step.ended[env] or row == last:
            return total + weight * n_step
        total += weight * (1 - settings.trace_decay) * n_step
        weight *= settings.trace_decay
        row += 1


@pytest.mark.parametrize("kind", ["feed-forward", "lstm"])
def test_losses_are_those_of_a_slow_reference(kind: str):
    # Weights that do not move keep values from acting those of learning, whatever the rollout.
    settings = replace(KINDS[kind], learning_rate=1e-30, epochs=1, minibatches=1)
    algorithm = learner(settings)
    start, *steps = random_steps(31)
    actions, metrics, values = [], [], []
    state: State = None
    policy = learner(settings).policy
    observations, starts = start.observations, np.ones(NUM_ENVS, bool)
    for step in steps:
        actions.append(algorithm.act(observations))
        metrics.append(algorithm.update())
        algorithm.observe(step)
        with torch.no_grad():
            if state is not None:
                state = policy.forget(state, torch.from_numpy(starts))
            tensor = torch.from_numpy(observations)[None]
            outputs, state = policy.unroll(tensor, state)
            values.append(outputs[0, :, :, 0].numpy())
        observations, starts = step.observations, ~step.valid
    value = np.array(values)
    next_values = value[1:].max(2)
    for last in range(4, 30, 5):
        errors, chosen = [], []
        for row in range(last - 4, last + 1):
            for env in np.flatnonzero(steps[row].valid).tolist():
                target = forward_view(steps, next_values, row, env, last, settings)
                chosen.append(value[row, env, actions[row][env]])
                errors.append(target - chosen[-1])
        measured = metrics[last + 1]
        assert float(measured["loss"]) == pytest.approx(np.mean(np.square(errors)) / 2, rel=1e-4)
        assert float(measured["q_mean"]) == pytest.approx(np.mean(chosen), rel=1e-4)
    assert [row for row, measured in enumerate(metrics) if measured] == list(range(5, 31, 5))
    assert algorithm.updates == 6


def test_hand_worked_losses_of_quantiles():
    # At the quantiles 1/4 and 3/4 the errors are 1 and -1, each 1/2 in Huber's loss: half a
    # quarter each. Then 3 and 1: 2.5 / 4 and 3 / 8.
    quantiles = torch.tensor([[0.0, 2.0], [0.0, 2.0]])
    loss = regression_loss(quantiles, torch.tensor([1.0, 3.0]), 1.0)
    torch.testing.assert_close(loss, torch.tensor([0.25, 1.0]))


# What it learns from


@pytest.mark.parametrize("kind", ["feed-forward", "lstm"])
def test_a_pass_takes_every_step_once_in_another_order_each_time(kind: str):
    network = KINDS[kind].network
    settings = config(network=replace(network, torso="compact", dense_size=8), rollout_length=6)
    algorithm = learner(settings, space=IMAGES)
    steps = random_steps(26, IMAGES)
    for number, step in enumerate(steps):
        step.observations[:, 0, 0, 0] = number * NUM_ENVS + np.arange(NUM_ENVS)
    batches: list[list[int]] = []

    def record(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert inputs[0].dtype == torch.uint8
        if algorithm.policy.training:
            batches.append(inputs[0][:, 0, 0, 0].tolist())

    algorithm.policy.network.torso.register_forward_pre_hook(record)
    for number, (before, after) in enumerate(pairwise(steps)):
        algorithm.act(before.observations)
        algorithm.update()
        algorithm.observe(after)
        if number < 6 or number % 6:
            assert not batches
            continue
        rows = range(number - 6, number)
        transitions = {
            row * NUM_ENVS + env
            for row in rows
            for env in range(NUM_ENVS)
            if steps[row + 1].valid[env] or kind == "lstm"  # which passes reset steps by
        }
        passes = [list(chain.from_iterable(part)) for part in (batches[:4], batches[4:])]
        assert len(batches) == 8
        assert passes[0] != passes[1]
        for learnt in passes:
            assert len(learnt) == len(transitions)
            assert set(learnt) == transitions
        sizes = [len(batch) for batch in batches]
        assert max(sizes) - min(sizes) <= 1
        batches.clear()
    assert algorithm.updates == 4 * 8


@pytest.mark.parametrize("kind", ["feed-forward", "lstm"])
def test_a_rollout_of_reset_steps_teaches_nothing(kind: str):
    algorithm = learner(replace(KINDS[kind], rollout_length=1))
    never, every = np.zeros(NUM_ENVS, bool), np.ones(NUM_ENVS, bool)
    observations, rewards = np.ones((NUM_ENVS, 3), np.float32), np.zeros(NUM_ENVS, np.float32)
    plain = Step(observations, rewards, never, never, every)
    cut = Step(observations, rewards, never, every, every)
    reset = Step(observations, rewards, never, never, never)
    before = weights(algorithm)
    assert len(feed_in_turns(algorithm, [reset, cut, reset])) == 1
    learnt = weights(algorithm)
    assert not torch.equal(learnt, before)
    assert feed_in_turns(algorithm, [reset, plain]) == []
    assert torch.equal(weights(algorithm), learnt)
    assert len(feed_in_turns(algorithm, [plain, plain])) == 1


def test_layer_norm_stands_before_every_activation_unless_left_out():
    def norms(settings: PQNConfig) -> list[str]:
        torso = learner(settings, space=Box(0, 255, (4, 42, 42), np.uint8)).policy.network.torso
        return [type(layer).__name__ for layer in torso.children()]

    assert norms(PQNConfig(minibatches=1)) == [
        *("PixelConv2d", "GroupNorm", "ReLU", "Conv2d", "GroupNorm", "ReLU"),
        *("FlattenChannelsLast", "Linear", "LayerNorm", "ReLU"),
    ]
    without = norms(PQNConfig(minibatches=1, network=NetworkConfig()))
    assert not any("Norm" in name for name in without)


def test_the_learning_rate_follows_its_schedule():
    # 4 environment steps a batched step; the rate reaches zero after 100, and weights stay then.
    algorithm = learner(config(learning_rate_end=0.0, learning_rate_steps=100))
    steps = random_steps(41)
    metrics = feed_in_turns(algorithm, steps[:27])
    rates = [measured["learning_rate"] for measured in metrics]
    assert rates == pytest.approx([1e-2 * (1 - step / 100) for step in range(20, 101, 20)])
    before = weights(algorithm)
    feed_in_turns(algorithm, steps[26:])
    assert algorithm.updates == 8 * 8
    assert torch.equal(weights(algorithm), before)


@pytest.mark.parametrize("limit", [1e-3, float("inf")])
def test_gradients_are_clipped_to_their_norm_over_all_weights(limit: float):
    algorithm = learner(config(max_gradient_norm=limit, minibatches=1, epochs=1))
    (*_, last) = feed_in_turns(algorithm, random_steps(30))
    used = gradients(algorithm).norm()
    assert last["gradient_norm"] > 0.01  # as it was before
    assert float(used) == pytest.approx(min(limit, float(last["gradient_norm"])), rel=1e-3)


def spot(row: int, column: int) -> np.ndarray:
    """(1, 15, 15), a bright spot of 5 by 5 pixels."""
    frame = np.zeros((1, 15, 15), np.uint8)
    frame[:, row : row + 5, column : column + 5] = 255
    return frame


def test_a_symmetry_teaches_the_side_that_was_never_seen():
    # A spot on the left: pointing there (0) pays 1, to the right (1) -1, and nothing (2) nothing.
    mirror = Symmetry(flip_rows=False, flip_columns=True, actions=(1, 0, 2))
    settings = config(
        network=NetworkConfig(torso="compact", dense_size=32, layer_norm="all"),
        discount=0.01,
        epsilon=LinearSchedule(1, 1, 0),
        learning_rate=3e-3,
        rollout_length=16,
        minibatches=8,
        symmetries=(mirror,),
    )
    algorithm = learner(settings, space=IMAGES)
    random = np.random.default_rng(0)

    def look() -> np.ndarray:
        return np.stack([spot(*random.integers((11, 4))) for _ in range(NUM_ENVS)])

    observations, never = look(), np.zeros(NUM_ENVS, bool)
    for _ in range(161):
        actions = algorithm.act(observations)
        algorithm.update()
        rewards = np.array([1, -1, 0], np.float32)[actions]
        observations = look()
        algorithm.observe(Step(observations, rewards, never, never, ~never))
    left = np.stack([spot(row, column) for row in range(11) for column in range(4)])
    assert (algorithm.policy.eval().predict(left, deterministic=True)[0] == 0).all()
    right = np.flip(left, -1)
    assert (algorithm.policy.predict(right, deterministic=True)[0] == 1).all()


# Acting


def test_epsilon_is_the_share_of_random_actions():
    schedule = LinearSchedule(0.8, 0.2, 40_000)
    algorithm = learner(config(epsilon=schedule, rollout_length=10), num_envs=4000)
    observations = np.zeros((4000, 3), np.float32)
    greedy = algorithm.policy.predict(observations[0], deterministic=True)[0]
    never = np.zeros(4000, bool)
    step = Step(observations, np.zeros(4000, np.float32), never, never, ~never)
    for expected in (0.8, 0.74, 0.68, 0.62):  # down by 0.6 * 4000 / 40,000 a step
        assert algorithm.epsilon == pytest.approx(expected)
        actions = algorithm.act(observations)
        # A third of the random ones are greedy by chance. Four standard deviations: 0.032.
        assert np.mean(actions != greedy) == pytest.approx(expected * 2 / 3, abs=0.032)
        assert np.mean(actions == (greedy + 1) % 3) == pytest.approx(expected / 3, abs=0.032)
        algorithm.observe(step)


@pytest.mark.parametrize("kind", KINDS)
def test_without_exploration_actions_are_those_of_the_policy(kind: str):
    network = replace(KINDS[kind].network, dropout=0.9)
    algorithm = learner(replace(KINDS[kind], network=network, epsilon=GREEDY))
    state, starts = None, np.ones(NUM_ENVS, bool)
    for before, after in pairwise(random_steps(22)):
        policy = copy.deepcopy(algorithm.policy).eval()
        expected, state = policy.predict(before.observations, state, starts, deterministic=True)
        np.testing.assert_array_equal(algorithm.act(before.observations), expected)
        algorithm.update()  # which turns dropout on
        algorithm.observe(after)
        starts = ~after.valid
    assert algorithm.updates > 0


# What it restores


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_everything(kind: str):
    steps = random_steps(31)
    first, same, other = (learner(KINDS[kind], seed) for seed in (0, 0, 1))
    assert not torch.equal(weights(first), weights(other))
    for algorithm in (first, same, other):
        torch.rand(7)  # the global generator has no say
        feed_in_turns(algorithm, steps)
    assert first.updates > 20
    assert_equal(first.state_dict(), same.state_dict())
    assert not torch.equal(weights(first), weights(other))


def test_building_a_learner_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    learner(KINDS["lstm"])
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("rows", [5, 2, 0], ids=["full", "begun", "just cleared"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_restored_learner_goes_on_bit_for_bit(kind: str, rows: int):
    done = 20 + rows  # the rollout is learnt from when the next row begins
    if rows == 0:
        done = 26
    steps = random_steps(60, cuts=(done,))
    interrupted = learner(KINDS[kind])
    feed_in_turns(interrupted, steps[: done + 1])
    state = copy.deepcopy(interrupted.state_dict())
    before = interrupted.updates
    feed_in_turns(interrupted, steps[done:])
    assert interrupted.updates > before + 10

    restored = learner(KINDS[kind], seed=9)
    feed_in_turns(restored, steps[:9])  # a used one is overwritten
    restored.load_state_dict(state)
    feed_in_turns(restored, steps[done:])
    assert_equal(restored.state_dict(), interrupted.state_dict())


# What goes wrong


def test_a_bad_weight_stops_learning_and_is_named():
    algorithm = learner(config())
    steps = random_steps(40)
    feed_in_turns(algorithm, steps[:24])
    with torch.no_grad():
        algorithm.policy.network.get_parameter("head.linear.bias")[1] = float("nan")
    before, updates = weights(algorithm).nan_to_num(-7), algorithm.updates
    with pytest.raises(NonFiniteGradientError, match=r"in the weights of head.linear.bias") as hit:
        feed_in_turns(algorithm, steps[23:])
    assert f"at update {updates + 1}, environment step {algorithm.steps}" in str(hit.value)
    assert torch.equal(weights(algorithm).nan_to_num(-7), before)
    assert algorithm.updates == updates


def test_learning_comes_between_acting_and_observing():
    algorithm = learner(config(rollout_length=1))
    first, second, third = random_steps(2)
    with pytest.raises(AssertionError, match="act comes before observe"):
        algorithm.observe(first)
    algorithm.act(first.observations)
    algorithm.observe(second)
    algorithm.act(second.observations)
    with pytest.raises(AssertionError, match="update comes between"):
        algorithm.observe(third)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"rollout_length": 0}, "rollout_length must be at least 1, got 0"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"minibatches": 0}, "minibatches must be at least 1, got 0"),
        ({"learning_rate": -1e-3}, "learning_rate must be positive, got -0.001"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive, got nan"),
        ({"learning_rate_end": -1e-3}, "learning_rate_end must be at least 0"),
        ({"learning_rate_steps": -1}, "learning_rate_steps must be at least 0, got -1"),
        ({"adam_epsilon": 0.0}, "adam_epsilon must be positive"),
        ({"max_gradient_norm": 0.0}, "max_gradient_norm must be positive"),
        ({"huber_kappa": 0.0}, "huber_kappa must be positive or None, got 0.0"),
        ({"discount": 0.0}, "discount must be in"),
        ({"discount": 1.01}, "discount must be in"),
        ({"trace_decay": -0.1}, "trace_decay must be in .* got -0.1"),
        ({"trace_decay": 1.1}, "trace_decay must be in .* got 1.1"),
        ({"epsilon": LinearSchedule(1.5, 0, 10)}, "epsilon must stay within 0 and 1"),
        ({"head": HeadConfig("categorical")}, "expected or quantile head"),
        ({"head": HeadConfig("quantile")}, "a quantile head needs a huber_kappa"),
        ({"network": replace(MLP, noisy=True)}, "no use for noisy layers"),
        (
            {"network": LSTM, "symmetries": (Symmetry(False, True, (0, 1)),)},
            "memory 'lstm' .* leave out the symmetries",
        ),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], complaint: str):
    with pytest.raises(ValueError, match=complaint):
        config(**changes)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (config(network=LSTM, minibatches=3), "3 minibatches do not divide 4 environments"),
        (config(network=LSTM, minibatches=8), "8 minibatches do not divide 4 environments"),
        (config(minibatches=21), "20 transitions, fewer than 21 minibatches"),
        (
            config(symmetries=(Symmetry(False, True, (1, 0, 2)),)),
            "observations of shape .stack, height, width.",
        ),
    ],
)
def test_settings_that_do_not_fit_the_spaces_are_refused(settings: PQNConfig, complaint: str):
    with pytest.raises(ValueError, match=complaint):
        learner(settings)


def test_continuous_actions_are_refused():
    seed = np.random.SeedSequence(0)
    seeds = dict.fromkeys(("exploration_seed", "replay_seed", "initialisation_seed"), seed)
    with pytest.raises(ValueError, match=r"needs a Discrete action space .* got Box"):
        PQN(config(), FLAT, Box(-1, 1, (2,), np.float32), NUM_ENVS, **seeds)


def test_a_state_of_another_configuration_is_refused():
    state = learner(config(rollout_length=8)).state_dict()
    state["rollout"]["rows"] = 8
    with pytest.raises(ValueError, match="saved rollout has 8 rows"):
        learner(config()).load_state_dict(state)
