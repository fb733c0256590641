"""R2D2: what it remembers, what it learns from a sequence, what it restores, what it refuses."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor, nn

from rlkit_agents.algorithm import NonFiniteGradientError
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.q_policy import HeadConfig
from rlkit_agents.r2d2 import R2D2, mixed_priorities
from rlkit_agents.r2d2_config import R2D2Config
from rlkit_agents.schedules import LinearSchedule
from rlkit_agents.sequence_replay import SequenceBatch
from rlkit_agents.step import Step
from rlkit_agents.symmetry import Symmetry

from .streams import (
    FLAT,
    IMAGES,
    NUM_ENVS,
    SHORT_TRACES,
    assert_equal,
    feed,
    gradients,
    random_steps,
    seeds,
    weights,
)

NEVER = LinearSchedule(0, 0, 0)
LSTM = NetworkConfig(torso="mlp", hidden_sizes=(16,), memory="lstm", memory_size=6)
GRU = replace(LSTM, memory="gru")


def config(**changes: Any) -> R2D2Config:
    chosen: dict[str, Any] = dict(network=LSTM, learning_rate=1e-2, target_update_every=10)
    return R2D2Config(**(SHORT_TRACES | chosen | changes))


def learner(chosen: R2D2Config, seed: int = 0, space: Box = FLAT, num_envs: int = NUM_ENVS) -> R2D2:
    return R2D2(chosen, space, Discrete(3), num_envs, **seeds(seed))


def cut_steps(count: int, space: Box = FLAT, *, ends: float = 0.15, cut: int = 20) -> list[Step]:
    """Random steps of which one ends all episodes, as before a checkpoint."""
    return random_steps(count, space, ends=ends, cuts=(cut,))


KINDS = {
    "averaged": config(average_decay=0.9),
    "lstm": config(),
    "gru": config(network=GRU, head=HeadConfig("quantile", atoms=4), priority_exponent=0.0),
    "noisy": config(network=replace(LSTM, noisy=True, dueling=True), epsilon=NEVER, burn_in=0),
}


# What it learns from a sequence


def test_hand_worked_priorities():
    errors = torch.tensor([[1.0, 9.0, 4.0], [5.0, 2.0, 7.0]])
    valid = torch.tensor([[True, False, False], [True, True, False]])
    # 0.9 * 5 + 0.1 * 3; of the second only the 2 counts; of the third nothing.
    expected = torch.tensor([4.8, 2.0, 0.0])
    torch.testing.assert_close(mixed_priorities(errors, valid, 0.9), expected)


def learnt_from(batch: SequenceBatch, chosen: R2D2Config) -> R2D2:
    """A learner after its first gradient step, from a given batch."""
    samples = chosen.batch_size * chosen.trace_length
    algorithm = learner(
        replace(chosen, learning_starts=120 - 1, samples_per_step=samples / NUM_ENVS)
    )
    steps = cut_steps(30)
    feed(algorithm, steps[:30])
    algorithm.replay.sample = lambda *_, **__: copy.deepcopy(batch)
    (_,) = feed(algorithm, steps[29:])
    assert algorithm.updates == 1
    return algorithm


def made_up_batch(chosen: R2D2Config) -> SequenceBatch:
    """A batch in which no episode starts."""
    random = np.random.default_rng(0)
    trace = (chosen.trace_length, chosen.batch_size)
    length = chosen.burn_in + chosen.trace_length + chosen.n_step
    parts = 2 if chosen.network.memory == "lstm" else 1
    states = random.normal(size=(chosen.batch_size, parts, chosen.network.memory_size))
    return SequenceBatch(
        observations=random.normal(size=(length, chosen.batch_size, 3)).astype(np.float32),
        starts=np.zeros((length, chosen.batch_size), bool),
        states=states.astype(np.float32),
        actions=random.integers(3, size=trace),
        returns=random.normal(size=trace).astype(np.float32),
        bootstrap_discounts=random.choice([0, 0.8], size=trace).astype(np.float32),
        steps=random.integers(1, chosen.n_step + 1, size=trace),
        valid=np.ones(trace, bool),
        weights=random.random(chosen.batch_size, np.float32),
        indices=np.arange(chosen.batch_size),
    )


@pytest.mark.parametrize("network", [LSTM, GRU], ids=["lstm", "gru"])
def test_a_burn_in_does_nothing_but_bring_the_state_up_to_date(network: NetworkConfig):
    chosen = config(network=network, burn_in=4, priority_exponent=0.0)
    batch = made_up_batch(chosen)
    burnt_in = learnt_from(batch, chosen)

    policy = learner(chosen).policy
    state = tuple(torch.from_numpy(batch.states).unbind(1))
    for observations in torch.from_numpy(batch.observations[:4]):
        _, state = policy.act(observations, state)
    assert state is not None
    states = torch.stack(state, 1).detach().numpy()
    later = replace(
        batch, observations=batch.observations[4:], starts=batch.starts[4:], states=states
    )
    without = learnt_from(later, replace(chosen, burn_in=0))
    # Nothing of the gradient is owed to what happened before the trace.
    torch.testing.assert_close(gradients(burnt_in), gradients(without), rtol=1e-4, atol=1e-6)
    stale = replace(later, states=batch.states)
    difference = gradients(learnt_from(stale, replace(chosen, burn_in=0))) - gradients(without)
    assert difference.norm() > 0.01


def test_only_the_trace_is_passed_with_gradient():
    chosen = config(burn_in=3, priority_exponent=0.0)
    batch = made_up_batch(chosen)
    batch.observations[..., 0] = np.arange(3 + 4 + 2)[:, None]
    seen: list[tuple[bool, list[int]]] = []

    def record(torso: nn.Module, inputs: tuple[Tensor, ...], features: Tensor) -> None:
        if torso.training and next(torso.parameters()).requires_grad:
            seen.append((features.requires_grad, sorted(set(inputs[0][:, 0].int().tolist()))))

    samples = chosen.batch_size * chosen.trace_length
    algorithm = learner(replace(chosen, learning_starts=79, samples_per_step=samples / NUM_ENVS))
    steps = cut_steps(20)
    feed(algorithm, steps[:20])
    algorithm.replay.sample = lambda *_, **__: batch
    algorithm.policy.network.torso.register_forward_hook(record)
    feed(algorithm, steps[19:])
    assert sorted(seen) == [(False, [0, 1, 2]), (False, [7, 8]), (True, [3, 4, 5, 6])]


@pytest.mark.parametrize("network", [LSTM, GRU], ids=["lstm", "gru"])
@pytest.mark.parametrize("start", [1, 3, 5], ids=["in the burn-in", "after it", "in the trace"])
def test_what_came_before_an_episode_teaches_nothing_about_it(start: int, network: NetworkConfig):
    chosen = config(network=network, burn_in=3, priority_exponent=0.0, double=True)
    random = np.random.default_rng(1)
    known = max(0, start - 3)  # rows of the trace that belong to the episode before

    def after(starts: bool, past: np.ndarray, state: np.ndarray) -> R2D2:
        batch = made_up_batch(chosen)
        batch.starts[start, 1] = starts  # in one sequence of the batch
        batch.valid[:known, 1] = False
        batch.observations[:start, 1], batch.states[1] = past, state
        batch.actions[:known, 1] = int(past[0, 0] > 0)
        batch.returns[:known, 1] = past[0, 0]
        return learnt_from(batch, chosen)

    shapes = (start, 3), made_up_batch(chosen).states[1].shape
    one, other = ([sign * random.random(shape) for shape in shapes] for sign in (1, -1))
    np.testing.assert_array_equal(weights(after(True, *one)), weights(after(True, *other)))
    assert not torch.equal(weights(after(False, *one)), weights(after(False, *other)))


# What it remembers


@pytest.mark.parametrize("network", [LSTM, GRU], ids=["lstm", "gru"])
def test_the_states_kept_are_those_of_acting_step_by_step(network: NetworkConfig):
    algorithm = learner(config(network=network, priority_exponent=0.0))
    # The state of each environment before each row, by a policy that sees it alone.
    alone: list[list[np.ndarray]] = []
    states: list[Any] = [None] * NUM_ENVS
    steps = cut_steps(120)
    starts = np.ones(NUM_ENVS, bool)
    for before, after in pairwise(steps):
        policy = algorithm.policy.eval()
        clear = np.zeros((algorithm.replay.state_shape[0], 6), np.float32)
        for env in range(NUM_ENVS):
            if starts[env]:
                states[env] = None
        alone.append([clear if state is None else np.concatenate(state) for state in states])
        for env, state in enumerate(states):
            _, states[env] = policy.predict(before.observations[env : env + 1], state)
        algorithm.act(before.observations)
        algorithm.observe(after)
        algorithm.update()  # later states are those of other weights
        starts = ~after.valid
    assert algorithm.updates > 30
    assert algorithm.replay.first_row > 0  # it came round
    batch = algorithm.replay.sample(50)
    numbers, environments = np.divmod(batch.indices, NUM_ENVS)
    assert len(set(batch.indices.tolist())) > 20
    for state, number, env in zip(batch.states, numbers, environments, strict=True):
        np.testing.assert_allclose(state, alone[number * 3][env], atol=1e-5)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_without_exploration_actions_are_those_of_the_policy(kind: str):
    network = replace(KINDS[kind].network, dropout=0.9)
    algorithm = learner(replace(KINDS[kind], network=network, epsilon=NEVER))
    state, starts = None, np.ones(NUM_ENVS, bool)
    for before, after in pairwise(cut_steps(40)):
        policy = copy.deepcopy(algorithm.policy).eval()
        expected, state = policy.predict(before.observations, state, starts, deterministic=True)
        np.testing.assert_array_equal(algorithm.act(before.observations), expected)
        algorithm.update()  # which turns dropout on
        algorithm.observe(after)
        starts = ~after.valid
    assert algorithm.updates > 0


def test_epsilon_is_the_share_of_random_actions():
    schedule = LinearSchedule(0.8, 0.2, 40_000)
    chosen = config(epsilon=schedule, replay_capacity=80_000, learning_starts=10**6)
    algorithm = learner(chosen, num_envs=4000)
    observations = np.zeros((4000, 3), np.float32)
    never = np.zeros(4000, bool)
    step = Step(observations, np.zeros(4000, np.float32), never, never, ~never)
    state = None
    for expected in (0.8, 0.74, 0.68, 0.62):  # down by 0.6 * 4000 / 40,000 a step
        assert algorithm.epsilon == pytest.approx(expected)
        greedy, state = algorithm.policy.predict(observations[:1], state, deterministic=True)
        actions = algorithm.act(observations)
        # A third of the random ones are greedy by chance. Four standard deviations: 0.032.
        assert np.mean(actions != greedy) == pytest.approx(expected * 2 / 3, abs=0.032)
        assert np.mean(actions == (greedy + 1) % 3) == pytest.approx(expected / 3, abs=0.032)
        algorithm.observe(step)


def test_environments_can_explore_by_different_shares():
    # Horgan et al. 2018, section 4.1: 0.4 ** (1 + 7 * i / (N - 1)), as an array of all N.
    spread = config(epsilon=LinearSchedule(0.4, 0.4, 0), epsilon_spread=7.0)
    expected = [0.4, 0.4 ** (10 / 3), 0.4 ** (17 / 3), 0.4**8]
    np.testing.assert_allclose(learner(spread).epsilons, expected)
    np.testing.assert_allclose(learner(spread, num_envs=1).epsilons, [0.4])
    only_the_first = config(epsilon=LinearSchedule(0.9, 0.9, 0), epsilon_spread=1e6)
    algorithm = learner(only_the_first)
    observations = np.ones((NUM_ENVS, 3), np.float32)
    choices = np.stack([algorithm.act(observations) for _ in range(60)])
    greedy = learner(replace(only_the_first, epsilon=NEVER))
    expected = np.stack([greedy.act(observations) for _ in range(60)])
    assert (choices[:, 0] != expected[:, 0]).mean() > 0.4
    np.testing.assert_array_equal(choices[:, 1:], expected[:, 1:])


def test_noisy_layers_explore():
    observations = cut_steps(1)[0].observations

    def choices(sigma0: float) -> set[tuple[int, ...]]:
        network = replace(LSTM, noisy=True, noisy_sigma0=sigma0)
        algorithm = learner(config(network=network, epsilon=NEVER))
        return {tuple(algorithm.act(observations).tolist()) for _ in range(30)}

    assert len(choices(0.0)) == 1
    assert len(choices(3.0)) > 3


@pytest.mark.parametrize("part", ["dropout", "noise"])
def test_targets_are_valued_with_noise_but_without_dropout(part: str):
    network = replace(LSTM, noisy=True) if part == "noise" else replace(LSTM, dropout=0.5)
    algorithm = learner(config(network=network, epsilon=NEVER, target_update_every=10**6))
    observations = torch.ones(1, 3)
    steps = cut_steps(40)
    feed(algorithm, steps[:21])
    before = algorithm.target(observations)
    assert torch.equal(algorithm.target(observations), before)
    feed(algorithm, steps[20:])  # which draws noise anew
    assert torch.equal(algorithm.target(observations), before) == (part == "dropout")


def test_a_mirrored_sequence_is_whole_and_begins_with_a_clear_state():
    mirror = Symmetry(False, True, actions=(1, 0, 2))
    chosen = config(network=replace(LSTM, torso="compact", dense_size=8), symmetries=(mirror,))
    algorithm = learner(chosen, space=IMAGES)
    steps = cut_steps(42, IMAGES, ends=0.0, cut=99)
    feed(algorithm, steps[:39])
    before = algorithm.replay.sample(4)
    assert (before.states != 0).any((1, 2)).all()
    flips = []
    for first in (38, 40):
        batch = copy.deepcopy(before)
        algorithm.replay.sample = lambda *_, batch=batch, **__: batch
        (_,) = feed(algorithm, steps[first : first + 3])
        flipped = (batch.observations != before.observations).any((0, 2, 3, 4))
        swapped = np.array([1, 0, 2])[before.actions]
        np.testing.assert_array_equal(batch.actions, np.where(flipped, swapped, before.actions))
        seen_in_it = flipped[:, None, None, None]
        expected = np.where(seen_in_it, before.observations[..., ::-1], before.observations)
        np.testing.assert_array_equal(batch.observations, expected)
        np.testing.assert_array_equal(batch.states, before.states * ~flipped[:, None, None])
        flips.append(flipped)
    assert flips[0].sum() == 2
    np.testing.assert_array_equal(flips[1], ~flips[0])  # they take turns


# When it learns


def test_updates_keep_pace_with_the_steps_after_learning_starts():
    # 16 samples a gradient step, 5 samples for each of the 4 * 75 - 60 steps from the 61st on
    algorithm = learner(config(samples_per_step=5, learning_starts=60))
    steps = cut_steps(75)
    feed(algorithm, steps[:16])
    assert (algorithm.steps, algorithm.updates) == (60, 0)
    feed(algorithm, steps[15:])
    assert (algorithm.steps, algorithm.updates) == (300, (300 - 60) * 5 // 16)


def test_what_could_not_be_learnt_yet_is_not_made_up_for():
    # The first 4 sequences of 8 rows are there after 8 rows; each row from then on pays for 2.
    algorithm = learner(config(samples_per_step=8, learning_starts=0))
    steps = cut_steps(10, ends=0.0)
    feed(algorithm, steps[:8])
    assert algorithm.updates == 0
    feed(algorithm, steps[7:])
    assert algorithm.updates == 3 * 2


def test_the_target_network_is_copied_on_time():
    algorithm = learner(config(samples_per_step=4, target_update_every=5))  # an update each step
    copies = {0: weights(algorithm)}
    for step in pairwise(cut_steps(40)):
        feed(algorithm, list(step))
        if algorithm.updates % 5 == 0:
            copies[algorithm.updates] = weights(algorithm)
        target = nn.utils.parameters_to_vector(algorithm.target.parameters())
        assert torch.equal(target, copies[algorithm.updates // 5 * 5])
        assert algorithm.updates % 5 == 0 or not torch.equal(target, weights(algorithm))
    assert algorithm.updates == 30


def test_the_learning_rate_follows_its_schedule():
    # 4 environment steps a batched step; the rate reaches zero after 100, and weights stay then
    algorithm = learner(config(samples_per_step=4, learning_rate_end=0.0, learning_rate_steps=100))
    steps = cut_steps(40)
    metrics = feed(algorithm, steps[:26])
    rates = [measured["learning_rate"] for measured in metrics]
    assert rates == pytest.approx([1e-2 * (1 - step / 100) for step in range(44, 101, 4)])
    before = weights(algorithm)
    feed(algorithm, steps[25:])
    assert algorithm.updates == 30
    assert torch.equal(weights(algorithm), before)


@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_penalties_shrink_the_weights(penalty: str):
    plain, shrunk = learner(config()), learner(config(**{penalty: 0.02}))
    for algorithm in (plain, shrunk):
        feed(algorithm, cut_steps(100))
    order = int(penalty[1])
    assert weights(shrunk).norm(order) < 0.8 * weights(plain).norm(order)


@pytest.mark.parametrize("limit", [1e-3, float("inf")])
def test_gradients_are_clipped_to_their_norm_over_all_weights(limit: float):
    algorithm = learner(config(max_gradient_norm=limit))
    (*_, last) = feed(algorithm, cut_steps(30))
    assert last["gradient_norm"] > 0.01  # as it was before
    used = float(gradients(algorithm).norm())
    assert used == pytest.approx(min(limit, float(last["gradient_norm"])), rel=1e-3)


def test_bytes_are_learnt_from_in_bfloat16_with_a_memory_in_float32():
    network = replace(LSTM, torso="compact", dense_size=8)
    algorithm = learner(config(network=network, precision="bfloat16"), space=IMAGES)
    taken: list[tuple[torch.dtype, torch.dtype]] = []
    algorithm.policy.network.torso.register_forward_hook(
        lambda _, inputs, features: taken.append((inputs[0].dtype, features.dtype))
    )
    metrics = feed(algorithm, cut_steps(30, IMAGES))
    assert set(taken) == {(torch.uint8, torch.bfloat16)}
    assert all(math.isfinite(float(measured["loss"])) for measured in metrics)
    for state in algorithm.state_dict()["memory"]:
        assert state.dtype == torch.float32
        assert not torch.equal(state, state.bfloat16().float())


# What it restores


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_everything(kind: str):
    steps = cut_steps(60)
    first, same, other = (learner(KINDS[kind], seed) for seed in (0, 0, 1))
    assert not torch.equal(weights(first), weights(other))
    for algorithm in (first, same, other):
        torch.rand(7)  # the global generator has no say
        feed(algorithm, steps)
    assert first.updates > 20
    assert_equal(first.state_dict(), same.state_dict())
    assert not torch.equal(weights(first), weights(other))


def test_building_a_learner_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    learner(KINDS["noisy"])
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    "done", [1, 7, 41, 93], ids=["begun", "nearly a sequence", "learning", "come round"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_restored_learner_goes_on_bit_for_bit(kind: str, done: int):
    """done: rows before the cut; with 93, the reset step after it begins a sequence."""
    steps = cut_steps(done + 45, cut=done)
    interrupted = learner(KINDS[kind])
    feed(interrupted, steps[:done])
    interrupted.act(steps[done - 1].observations)
    interrupted.observe(steps[done])  # an update may be due
    assert (interrupted.replay.first_row > 0) == (done > 50)
    state = copy.deepcopy(interrupted.state_dict())
    first, stop = interrupted.replay.first_row, interrupted.replay.rows_written
    rows = interrupted.replay.export_rows(first, stop)
    before = interrupted.updates
    feed(interrupted, steps[done:])
    assert interrupted.updates >= before + 17

    restored = learner(KINDS[kind], seed=9)
    restored.load_state_dict(state)
    restored.replay.import_rows(first, rows)
    feed(restored, steps[done:])
    assert_equal(restored.state_dict(), interrupted.state_dict())
    rows, restored_rows = (
        learnt.replay.export_rows(learnt.replay.first_row, learnt.replay.rows_written)
        for learnt in (interrupted, restored)
    )
    assert_equal(restored_rows, rows)


def test_a_state_of_another_memory_is_refused():
    state = learner(config(network=GRU)).state_dict()
    with pytest.raises((ValueError, RuntimeError), match=r"size mismatch|replay has"):
        learner(config()).load_state_dict(state)


# What goes wrong


def stopped(algorithm: R2D2, steps: list[Step]) -> str:
    """The message with which learning stops, leaving weights and optimiser as they were."""
    for step in pairwise(steps):
        before = weights(algorithm).nan_to_num(-7)
        moments = copy.deepcopy(algorithm.optimizer.state_dict()["state"])
        updates = algorithm.updates
        try:
            feed(algorithm, list(step))
        except NonFiniteGradientError as error:
            assert torch.equal(weights(algorithm).nan_to_num(-7), before)
            assert_equal(algorithm.optimizer.state_dict()["state"], moments)
            assert algorithm.updates == updates
            return str(error)
    pytest.fail("learning never stopped")


def test_a_bad_weight_stops_learning_and_is_named():
    algorithm = learner(config())
    steps = cut_steps(40)
    feed(algorithm, steps[:31])
    with torch.no_grad():
        algorithm.policy.network.get_parameter("memory.recurrent.bias_hh_l0")[1] = float("nan")
    message = stopped(algorithm, steps[30:])
    assert "in the weights of memory.recurrent.bias_hh_l0 (loss nan)" in message
    assert f"at update {algorithm.updates + 1}, environment step {algorithm.steps}" in message


def test_rewards_that_overflow_the_loss_stop_learning():
    algorithm = learner(config(value_rescaling=False))
    steps = cut_steps(60)
    feed(algorithm, steps[:31])
    huge = [replace(step, rewards=step.valid * np.float32(1.5e38)) for step in steps[30:]]
    assert "loss inf" in stopped(algorithm, huge)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"n_step": 0}, "n_step must be at least 1, got 0"),
        ({"burn_in": -1}, "burn_in must be at least 0, got -1"),
        ({"trace_length": 0}, "trace_length must be at least 1, got 0"),
        ({"trace_period": 0}, "trace_period must be at least 1, got 0"),
        ({"trace_period": 5}, "a trace_period of 5 leaves rows between traces of 4 out"),
        (
            {"burn_in": 5},
            "trace_length 4 is shorter than burn_in 5: lengthen .* or shorten burn_in",
        ),
        ({"n_step": 5}, "trace_length 4 is shorter than n_step 5: lengthen .* or shorten n_step"),
        ({"target_update_every": 0}, "target_update_every must be at least 1"),
        ({"replay_capacity": 0}, "replay_capacity must be at least 1"),
        ({"samples_per_step": 0.0}, "samples_per_step must be positive"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive, got nan"),
        ({"learning_rate_end": -1e-3}, "learning_rate_end must be at least 0"),
        ({"learning_rate_steps": -1}, "learning_rate_steps must be at least 0, got -1"),
        ({"max_gradient_norm": 0.0}, "max_gradient_norm must be positive"),
        ({"l2": -0.1}, "l2 must be at least 0"),
        ({"priority_exponent": 1.1}, "priority_exponent must be in .* got 1.1"),
        ({"priority_max_share": -0.1}, "priority_max_share must be in .* got -0.1"),
        ({"importance_exponent": LinearSchedule(0, 2, 9)}, "importance_exponent must stay within"),
        ({"epsilon": LinearSchedule(1.5, 0, 10)}, "epsilon must stay within 0 and 1"),
        ({"epsilon_spread": -1.0}, "epsilon_spread must be at least 0"),
        ({"discount": 1.01}, "discount must be in"),
        ({"network": replace(LSTM, memory="none")}, "'lstm' or 'gru', got 'none'; .* DQN"),
        ({"head": HeadConfig("categorical")}, "value_rescaling needs an expected or quantile head"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], complaint: str):
    with pytest.raises(ValueError, match=complaint):
        config(**changes)


def test_a_replay_too_small_for_a_batch_is_refused():
    # 8 rows make a sequence, 11 two, of 4 environments; of 10 rows one is always there.
    with pytest.raises(ValueError, match=r"leaves 4 sequences .* must be at least 52"):
        learner(config(replay_capacity=51, batch_size=5))
    with pytest.raises(ValueError, match=r"leaves 0 sequences .* must be at least 40"):
        learner(config(replay_capacity=39))


def test_a_replay_just_large_enough_for_a_batch_is_learnt_from():
    algorithm = learner(config(replay_capacity=52, batch_size=8))
    never = np.zeros(NUM_ENVS, bool)
    observations = np.zeros((NUM_ENVS, 3), np.float32)
    step = Step(observations, np.zeros(NUM_ENVS, np.float32), never, never, ~never)
    feed(algorithm, [step] * 50)
    # From row 14 on, when the second sequences are there, 8 of the 32 samples of an update a row.
    assert algorithm.updates == (50 - 1 - 11 + 1) * 8 // 32


def test_what_was_not_acted_on_is_not_remembered():
    algorithm = learner(config())
    first, second, third = cut_steps(2)
    algorithm.act(first.observations)
    algorithm.observe(second)
    with pytest.raises(AssertionError, match="act comes before observe"):
        algorithm.observe(third)
    assert algorithm.replay.rows_written == 1


def test_continuous_actions_are_refused():
    seed = np.random.SeedSequence(0)
    seeds = dict.fromkeys(("exploration_seed", "replay_seed", "initialisation_seed"), seed)
    with pytest.raises(ValueError, match=r"needs a Discrete action space, got Box.*; PPO"):
        R2D2(config(), FLAT, Box(-1, 1, (2,), np.float32), NUM_ENVS, **seeds)


@pytest.mark.parametrize(
    ("space", "actions", "complaint"), [(FLAT, (1, 0, 2), "height, width"), (IMAGES, (1, 0), "3")]
)
def test_symmetries_must_fit_the_spaces(space: Box, actions: tuple[int, ...], complaint: str):
    network = LSTM if space is FLAT else replace(LSTM, torso="compact")
    with pytest.raises(ValueError, match=complaint):
        learner(config(network=network, symmetries=(Symmetry(False, True, actions),)), space=space)
