"""The DQN's bookkeeping: what it draws, when it learns, what it restores, and what it refuses."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from scipy.special import log_softmax, logsumexp

from rlkit_agents.algorithm import NonFiniteGradientError
from rlkit_agents.dqn import DQN, DQNConfig, rainbow
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.q_policy import HeadConfig
from rlkit_agents.replay import Batch
from rlkit_agents.schedules import LinearSchedule
from rlkit_agents.step import Step
from rlkit_agents.symmetry import Symmetry

from .streams import (
    FLAT,
    IMAGES,
    NUM_ENVS,
    assert_equal,
    feed,
    gradients,
    random_steps,
    seeds,
    weights,
)

SMALL_MLP = NetworkConfig(torso="mlp", hidden_sizes=(16,))
NOISY_MLP = NetworkConfig(torso="mlp", hidden_sizes=(16,), noisy=True)
NEVER = LinearSchedule(0, 0, 0)


def config(**changes: Any) -> DQNConfig:
    """Learns 16 transitions for every 8 environment steps after the first 40."""
    settings: dict[str, Any] = dict(
        network=SMALL_MLP,
        head=HeadConfig("expected"),
        n_step=2,
        replay_capacity=400,
        batch_size=16,
        samples_per_step=2,
        learning_starts=40,
        learning_rate=1e-2,
        target_update_every=10,
        precision="float32",
    )
    return DQNConfig(**(settings | changes))


def learner(settings: DQNConfig, seed: int = 0, space: Box = FLAT, num_envs=NUM_ENVS) -> DQN:
    return DQN(settings, space, Discrete(3), num_envs, **seeds(seed))


KINDS = {
    "averaged": config(average_decay=0.9),
    "uniform": config(),
    "prioritised": config(priority_exponent=0.5, head=HeadConfig("quantile", atoms=4)),
    "noisy": config(network=NOISY_MLP, epsilon=NEVER, priority_exponent=0.5),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_everything(kind: str):
    steps = random_steps(60)
    first, same, other = (learner(KINDS[kind], seed) for seed in (0, 0, 1))
    assert not torch.equal(weights(first), weights(other))
    for algorithm in (first, same, other):
        torch.rand(7)  # the global generator has no say
        feed(algorithm, steps)
    assert first.updates > 20
    assert_equal(first.state_dict(), same.state_dict())
    assert not torch.equal(weights(first), weights(other))


def test_seed_sequences_can_be_used_again():
    def make() -> DQN:
        return DQN(
            KINDS["noisy"],
            FLAT,
            Discrete(3),
            NUM_ENVS,
            exploration_seed=seed,
            replay_seed=seed,
            initialisation_seed=seed,
        )

    seed = np.random.SeedSequence(3)
    first, second = make(), make()
    for algorithm in (first, second):
        feed(algorithm, random_steps(30))
    assert_equal(first.state_dict(), second.state_dict())


def test_building_a_learner_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    learner(KINDS["noisy"])
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_restored_learner_goes_on_bit_for_bit(kind: str):
    steps = random_steps(180)
    interrupted = learner(KINDS[kind])
    feed(interrupted, steps[:62])  # half a batch is due
    state = copy.deepcopy(interrupted.state_dict())
    first, stop = interrupted.replay.first_row, interrupted.replay.rows_written
    rows = interrupted.replay.export_rows(first, stop)
    before = interrupted.updates
    feed(interrupted, steps[61:])  # the replay of 100 rows comes round
    assert interrupted.updates >= before + 50

    restored = learner(KINDS[kind], seed=9)
    restored.load_state_dict(state)
    restored.replay.import_rows(first, rows)
    feed(restored, steps[61:])
    assert_equal(restored.state_dict(), interrupted.state_dict())


def test_updates_keep_pace_with_the_steps_after_learning_starts():
    # 16 samples a gradient step, 3 samples for each of the 4 * 75 - 40 steps from the 41st on
    algorithm = learner(config(samples_per_step=3))
    steps = random_steps(75)
    feed(algorithm, steps[:11])
    assert (algorithm.steps, algorithm.updates) == (40, 0)
    feed(algorithm, steps[10:])
    assert (algorithm.steps, algorithm.updates) == (300, (300 - 40) * 3 // 16)


def test_several_gradient_steps_can_follow_one_step():
    algorithm = learner(config(samples_per_step=12))
    feed(algorithm, random_steps(50))
    assert algorithm.updates == (200 - 40) * 12 // 16


def test_no_update_before_a_batch_can_be_sampled():
    algorithm = learner(config(learning_starts=0, batch_size=64))
    steps = random_steps(40)
    feed(algorithm, steps[:17])
    assert algorithm.updates == 0
    feed(algorithm, steps[16:])
    assert algorithm.updates > 0


def test_the_target_network_is_copied_on_time():
    algorithm = learner(config(samples_per_step=4, target_update_every=5))  # an update each step
    copies = {0: weights(algorithm)}
    for step in pairwise(random_steps(40)):
        feed(algorithm, list(step))
        if algorithm.updates % 5 == 0:
            copies[algorithm.updates] = weights(algorithm)
        target = torch.nn.utils.parameters_to_vector(algorithm.target.parameters())
        assert torch.equal(target, copies[algorithm.updates // 5 * 5])
        assert algorithm.updates % 5 == 0 or not torch.equal(target, weights(algorithm))
    assert algorithm.updates == 30


def test_the_learning_rate_follows_its_schedule():
    # 4 environment steps a batched step; the rate reaches zero after 100, and weights stay then
    algorithm = learner(config(samples_per_step=4, learning_rate_end=0.0, learning_rate_steps=100))
    steps = random_steps(40)
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
        feed(algorithm, random_steps(100))
    order = int(penalty[1])
    assert weights(shrunk).norm(order) < 0.7 * weights(plain).norm(order)


@pytest.mark.parametrize("limit", [1e-3, float("inf")])
def test_gradients_are_clipped_to_their_norm_over_all_weights(limit: float):
    algorithm = learner(config(max_gradient_norm=limit))
    (*_, last) = feed(algorithm, random_steps(30))
    used = gradients(algorithm).norm()
    assert last["gradient_norm"] > 0.01  # as it was before
    assert float(used) == pytest.approx(min(limit, float(last["gradient_norm"])), rel=1e-3)


def measured_on_a_known_batch(
    monkeypatch: pytest.MonkeyPatch, **changes: Any
) -> tuple[dict[str, Any], Batch, dict[str, np.ndarray]]:
    """The metrics of an update, the batch that it saw, and the values (16, actions) before it."""
    algorithm = learner(config(learning_rate=0.1, target_update_every=1000, **changes))
    steps = random_steps(32)
    feed(algorithm, steps[:31])  # policy and target have come apart
    random = np.random.default_rng(0)
    batch = Batch(
        observations=random.random((16, 3), np.float32),
        actions=random.integers(0, 3, 16),
        returns=random.normal(size=16).astype(np.float32),
        bootstrap_discounts=random.choice([0, 0.9], 16).astype(np.float32),
        next_observations=random.random((16, 3), np.float32),
        weights=random.random(16, np.float32),
        indices=np.arange(16),
    )
    now, then = torch.from_numpy(batch.observations), torch.from_numpy(batch.next_observations)
    with torch.no_grad():
        values = {
            "policy now": algorithm.policy.q_values(now).numpy(),
            "policy then": algorithm.policy.q_values(then).numpy(),
            "target now": algorithm.target.q_values(now).numpy(),
            "target then": algorithm.target.q_values(then).numpy(),
        }
    monkeypatch.setattr(algorithm.replay, "sample", lambda *_, **__: batch)
    (metrics,) = feed(algorithm, steps[30:])
    return metrics, batch, values


@pytest.mark.parametrize("threshold", [1.0, 0.3])
@pytest.mark.parametrize("kind", ["plain", "double", "munchausen"])
def test_the_loss_is_that_of_the_sampled_batch(
    monkeypatch: pytest.MonkeyPatch, kind: str, threshold: float
):
    tau, alpha = 0.5, 0.3
    metrics, batch, q = measured_on_a_known_batch(
        monkeypatch,
        double=kind == "double",
        munchausen=kind == "munchausen",
        munchausen_temperature=tau,
        munchausen_scale=alpha,
        head=HeadConfig("expected", huber_threshold=threshold),
    )
    rows = np.arange(16)
    bonus = 0.0
    if kind == "munchausen":
        log_policy = np.asarray(log_softmax(q["target now"] / tau, axis=1))[rows, batch.actions]
        bonus = alpha * np.clip(tau * log_policy, -1, 0)
        following = tau * np.asarray(logsumexp(q["target then"] / tau, axis=1))
    else:
        best, best_by_target = q["policy then"].argmax(1), q["target then"].argmax(1)
        assert (best != best_by_target).any()
        following = q["target then"][rows, best if kind == "double" else best_by_target]
    taken = q["policy now"][rows, batch.actions]
    error = np.abs(batch.returns + bonus + batch.bootstrap_discounts * following - taken)
    assert (error > threshold).any()
    line = threshold * (error - threshold / 2)
    huber = np.where(error < threshold, error**2 / 2, line)
    assert float(metrics["loss"]) == pytest.approx(float((batch.weights * huber).mean()), rel=1e-4)
    assert float(metrics["td_error"]) == pytest.approx(float(error.mean()), rel=1e-4)
    assert float(metrics["q_mean"]) == pytest.approx(float(taken.mean()), rel=1e-4)
    assert float(metrics["q_max"]) == pytest.approx(float(taken.max()), rel=1e-4)


def test_errors_become_priorities():
    algorithm = learner(config(priority_exponent=1.0, learning_starts=160))
    steps = random_steps(60)
    feed(algorithm, steps[:41])
    assert set(algorithm.replay.sample(64, importance_exponent=1.0).weights) == {1}
    feed(algorithm, steps[40:])
    assert len(set(algorithm.replay.sample(64, importance_exponent=1.0).weights)) > 10


# Acting


def test_epsilon_is_the_share_of_random_actions():
    schedule = LinearSchedule(0.8, 0.2, 40_000)
    settings = config(epsilon=schedule, replay_capacity=20_000, learning_starts=10**6)
    algorithm = learner(settings, num_envs=4000)
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


def test_without_exploration_actions_are_those_of_the_policy():
    settings = config(epsilon=NEVER, network=replace(SMALL_MLP, dropout=0.9))
    algorithm = learner(settings)
    steps = random_steps(40)
    feed(algorithm, steps)
    assert algorithm.updates > 0  # which turns dropout on
    for step in steps:
        expected, _ = algorithm.policy.eval().predict(step.observations, deterministic=True)
        np.testing.assert_array_equal(algorithm.act(step.observations), expected)


def test_noisy_layers_explore_and_dropout_does_not():
    noiseless = replace(NOISY_MLP, noisy_sigma0=0.0, dropout=0.9)
    observations = random_steps(1)[0].observations

    def choices(network: NetworkConfig) -> set[tuple[int, ...]]:
        algorithm = learner(config(network=network, epsilon=NEVER))
        return {tuple(algorithm.act(observations).tolist()) for _ in range(30)}

    assert len(choices(noiseless)) == 1
    assert len(choices(replace(NOISY_MLP, noisy_sigma0=3.0))) > 3


@pytest.mark.parametrize("part", ["dropout", "noise"])
def test_targets_are_valued_with_noise_but_without_dropout(part: str):
    network = NOISY_MLP if part == "noise" else replace(SMALL_MLP, dropout=0.5)
    algorithm = learner(config(network=network, epsilon=NEVER, target_update_every=10**6))
    observations = torch.ones(1, 3)
    steps = random_steps(40)
    feed(algorithm, steps[:21])
    before = algorithm.target(observations)
    assert torch.equal(algorithm.target(observations), before)
    feed(algorithm, steps[20:])  # which draws noise anew
    assert torch.equal(algorithm.target(observations), before) == (part == "dropout")


# Observations


def test_an_image_without_a_stack_is_kept_whole():
    algorithm = learner(config(network=NetworkConfig(torso="compact", dense_size=8)), space=IMAGES)
    steps = random_steps(12, IMAGES)
    feed(algorithm, steps)
    batch = algorithm.replay.sample(8)
    seen = {step.observations[env].tobytes() for step in steps for env in range(NUM_ENVS)}
    assert batch.observations.shape == (8, 1, 15, 15)
    assert all(observation.tobytes() in seen for observation in batch.observations)


def test_observations_that_are_no_stacks_are_refused():
    space = Box(-1, 1, (5, 3), np.float32)
    algorithm = learner(config(), space=space)
    with pytest.raises(ValueError, match="stacks of the last 5 frames"):
        feed(algorithm, random_steps(1, space))


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_the_first_axis_of_pictures_is_channels_where_they_are_no_bytes(dtype: Any):
    space = Box(0, 1 if dtype == np.float32 else 255, (3, 15, 15), dtype)
    algorithm = learner(config(network=NetworkConfig(torso="compact", dense_size=8)), space=space)
    steps = random_steps(12, space)
    if dtype == np.uint8:
        with pytest.raises(ValueError, match="stacks of the last 3 frames"):
            feed(algorithm, steps)
        return
    assert algorithm.replay.frame_stack == 1
    feed(algorithm, steps)
    batch = algorithm.replay.sample(8)
    seen = {step.observations[env].tobytes() for step in steps for env in range(NUM_ENVS)}
    assert batch.observations.shape == (8, 3, 15, 15)
    for observations in (batch.observations, batch.next_observations):
        assert all(observation.tobytes() in seen for observation in observations)


def test_stacks_that_move_on_by_a_frame_are_accepted():
    space = Box(-1, 1, (2, 3), np.float32)
    algorithm = learner(config(), space=space)
    first, *steps = random_steps(3, space)
    frames = first.observations[:, 1]
    steps[0].observations[:, 0] = frames
    feed(algorithm, [first, *steps])
    assert algorithm.steps == 12


# Symmetries


@pytest.mark.parametrize("priority_exponent", [0.0, 0.5])
def test_every_transition_gets_every_mirror(priority_exponent: float):
    left_right = Symmetry(False, True, actions=(1, 0, 2))
    up_down = Symmetry(True, False, actions=(0, 1, 2))
    algorithm = learner(
        config(
            network=NetworkConfig(torso="compact", dense_size=8),
            symmetries=(left_right, up_down),
            priority_exponent=priority_exponent,
            replay_capacity=48,
            batch_size=9,
            samples_per_step=9 * 300 / 4,  # 300 updates after the last step
            learning_starts=44,
        ),
        space=IMAGES,
    )
    never = np.zeros(NUM_ENVS, bool)
    for row in range(12):
        frames = np.zeros((NUM_ENVS, 1, 15, 15), np.uint8)
        frames[..., 0, 0] = 1 + row
        algorithm.act(frames)
        algorithm.observe(Step(frames, np.zeros(NUM_ENVS, np.float32), never, never, ~never))
    batches = []
    sample = algorithm.replay.sample

    def kept_sample(*arguments: Any, **options: Any) -> Batch:
        batches.append(sample(*arguments, **options))
        return batches[-1]

    algorithm.replay.sample = kept_sample
    algorithm.update()
    learnt = np.concatenate([batch.observations[:, 0] for batch in batches])
    for row in range(10):
        corners = [
            learnt[:, down, across] == 1 + row for down, across in ((0, 0), (0, 14), (14, 0))
        ]
        shares = np.sum(corners, axis=1) / np.sum(corners)
        # About 270 samples: four standard deviations are 0.115.
        assert shares == pytest.approx(np.full(3, 1 / 3), abs=0.115)


def test_mirrored_transitions_are_whole(monkeypatch: pytest.MonkeyPatch):
    mirror = Symmetry(False, True, actions=(1, 0, 2))
    algorithm = learner(
        config(network=NetworkConfig(torso="compact", dense_size=8), symmetries=(mirror,)),
        space=IMAGES,
    )
    steps = random_steps(22, IMAGES)
    feed(algorithm, steps[:21])
    batch = algorithm.replay.sample(16)
    before = copy.deepcopy(batch)
    monkeypatch.setattr(algorithm.replay, "sample", lambda *_, **__: batch)
    feed(algorithm, steps[20:])
    flipped = (batch.observations != before.observations).any((1, 2, 3))
    assert flipped.sum() == 8
    swapped = np.array([1, 0, 2])[before.actions]
    np.testing.assert_array_equal(batch.actions, np.where(flipped, swapped, before.actions))
    for now, then in (
        (batch.observations, before.observations),
        (batch.next_observations, before.next_observations),
    ):
        np.testing.assert_array_equal(now[flipped], then[flipped][..., ::-1])
        np.testing.assert_array_equal(now[~flipped], then[~flipped])


@pytest.mark.parametrize(
    ("space", "actions", "complaint"), [(FLAT, (1, 0, 2), "height, width"), (IMAGES, (1, 0), "3")]
)
def test_symmetries_must_fit_the_spaces(space: Box, actions: tuple[int, ...], complaint: str):
    torso = "mlp" if space is FLAT else "compact"
    settings = config(
        network=NetworkConfig(torso=torso), symmetries=(Symmetry(False, True, actions),)
    )
    with pytest.raises(ValueError, match=complaint):
        learner(settings, space=space)


# What goes wrong


def stopped(algorithm: DQN, steps: list[Step]) -> str:
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


def test_a_bad_gradient_stops_learning_and_names_its_layer():
    algorithm = learner(config())
    steps = random_steps(40)
    feed(algorithm, steps[:31])
    weight = algorithm.policy.network.get_parameter("torso.dense1.weight")
    weight.register_hook(lambda gradient: gradient * float("nan"))
    message = stopped(algorithm, steps[30:])
    assert "in the gradient of torso.dense1.weight (loss " in message
    assert f"at update {algorithm.updates + 1}, environment step {algorithm.steps}" in message


def test_a_bad_weight_stops_learning_and_is_named():
    algorithm = learner(config())
    steps = random_steps(40)
    feed(algorithm, steps[:31])
    with torch.no_grad():
        algorithm.policy.network.get_parameter("head.linear.bias")[1] = float("nan")
    assert "in the weights of head.linear.bias (loss nan)" in stopped(algorithm, steps[30:])


@pytest.mark.parametrize("kind", ["uniform", "prioritised"])
def test_rewards_that_overflow_the_loss_stop_learning(kind: str):
    algorithm = learner(KINDS[kind])
    steps = random_steps(60)
    feed(algorithm, steps[:31])
    huge = [replace(step, rewards=step.valid * np.float32(1.5e38)) for step in steps[30:]]
    assert "loss inf" in stopped(algorithm, huge)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"n_step": 0}, "n_step must be at least 1, got 0"),
        ({"target_update_every": 0}, "target_update_every must be at least 1"),
        ({"replay_capacity": 0}, "replay_capacity must be at least 1"),
        ({"samples_per_step": 0.0}, "samples_per_step must be positive"),
        ({"learning_rate": -1e-3}, "learning_rate must be positive, got -0.001"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive, got nan"),
        ({"learning_rate_end": -1e-3}, "learning_rate_end must be at least 0"),
        ({"learning_rate_steps": -1}, "learning_rate_steps must be at least 0, got -1"),
        ({"learning_starts": -1}, "learning_starts must be at least 0"),
        ({"max_gradient_norm": 0.0}, "max_gradient_norm must be positive"),
        ({"munchausen_temperature": 0.0}, "munchausen_temperature must be positive"),
        ({"l2": -0.1}, "l2 must be at least 0"),
        ({"augmented_share": 0.01}, "augmented_share must be at most 1, and at least one row"),
        ({"augmented_share": 1.1}, "augmented_share must be at most 1, and at least one row"),
        ({"discount": 0.0}, "discount must be in"),
        ({"discount": 1.01}, "discount must be in"),
        ({"epsilon": LinearSchedule(1.5, 0, 10)}, "epsilon must stay within 0 and 1"),
        (
            {"munchausen": True, "head": HeadConfig("categorical")},
            "Munchausen targets need an expected or quantile head",
        ),
        (
            {"munchausen": True, "augmented_targets": False},
            "Munchausen targets are made of the observations",
        ),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], complaint: str):
    with pytest.raises(ValueError, match=complaint):
        config(**changes)


def test_a_replay_too_small_for_a_batch_is_refused():
    # 5 rows of 4: one cannot be sampled for n = 2, 3 can; their 12 transitions are too few
    with pytest.raises(ValueError, match="leaves 12 transitions to sample, too few"):
        learner(config(replay_capacity=20))


def test_a_replay_just_large_enough_for_a_batch_is_learnt_from():
    algorithm = learner(config(replay_capacity=24))
    never = np.zeros(NUM_ENVS, bool)
    observations = np.zeros((NUM_ENVS, 3), np.float32)
    step = Step(observations, np.zeros(NUM_ENVS, np.float32), never, never, ~never)
    feed(algorithm, [step] * 30)
    assert algorithm.updates > 0


def test_rainbow_is_that_of_the_paper_in_our_units():
    # Hessel et al. 2018, table 1, in frames; an action lasts 4 frames. Learning as in DQN: a batch
    # of 32 every 4 actions.
    settings = rainbow()
    assert settings.learning_starts == 80_000 / 4
    assert settings.samples_per_step == 32 / 4
    updates_per_step = settings.samples_per_step / settings.batch_size
    assert settings.target_update_every == 32_000 / 4 * updates_per_step
    assert (settings.learning_rate, settings.adam_epsilon) == (0.0000625, 0.00015)
    assert (settings.n_step, settings.discount, settings.double) == (3, 0.99, True)
    assert settings.priority_exponent == 0.5
    assert (settings.importance_exponent.start, settings.importance_exponent.end) == (0.4, 1.0)
    assert settings.head == HeadConfig("categorical", atoms=51, value_min=-10, value_max=10)
    assert (settings.network.dueling, settings.network.noisy_sigma0) == (True, 0.5)
    assert settings.network.noisy
    assert settings.epsilon.at(0) == 0
    assert rainbow(n_step=5) == replace(settings, n_step=5)
