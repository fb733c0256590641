"""The picking agent's bookkeeping: what it tries, what it learns from, and what it restores."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, Space

from rlkit_agents.pick import Pick, PickConfig
from rlkit_agents.pick_policy import PickNetworkConfig, chance_map
from rlkit_agents.replay import Batch
from rlkit_agents.schedules import LinearSchedule
from rlkit_agents.step import Step

from .streams import NUM_ENVS, assert_equal, feed_in_turns, gradients, seeds, weights

SIDE = 12
PIXELS = SIDE * SIDE
PICTURES = Box(0, 1e3, (2, SIDE, SIDE), np.float32)
NEVER = LinearSchedule(0, 0, 0)
SMALL = PickNetworkConfig(channels=(3, 4, 4), members=3)


def config(**changes: Any) -> PickConfig:
    """Learns 16 attempts for every 8 made after the first 40."""
    settings: dict[str, Any] = dict(
        network=SMALL,
        window=8,
        replay_capacity=400,
        batch_size=16,
        samples_per_step=2,
        learning_starts=40,
        learning_rate=1e-2,
        learning_rate_end=None,
        epsilon=LinearSchedule(0.5, 0.1, 400),
        precision="float32",
    )
    return PickConfig(**(settings | changes))


def learner(
    settings: PickConfig,
    seed: int = 0,
    space: Space = PICTURES,
    stances: int = 1,
    num_envs: int = NUM_ENVS,
) -> Pick:
    return Pick(settings, space, Discrete(stances * PIXELS), num_envs, **seeds(seed))


def random_pictures(random: np.random.Generator, count: int = NUM_ENVS) -> np.ndarray:
    """(count, 2, SIDE, SIDE), heights of 0 to 100 mm, a tenth of the pixels marked."""
    marks = random.random((count, SIDE, SIDE)) < 0.1
    return np.stack([100 * random.random((count, SIDE, SIDE)), marks], 1).astype(np.float32)


def random_steps(count: int, seed: int = 0) -> list[Step]:
    """Steps of episodes that end at random, for either reason, each followed by a reset step.

    The first stands for the reset of all environments, and only its observations matter.
    """
    random = np.random.default_rng(seed)
    steps = []
    ended = np.ones(NUM_ENVS, bool)
    for _ in range(count + 1):
        valid = ~ended
        terminated = valid & (random.random(NUM_ENVS) < 0.1)
        truncated = valid & ~terminated & (random.random(NUM_ENVS) < 0.1)
        rewards = (valid & (random.random(NUM_ENVS) < 0.7)).astype(np.float32)
        steps.append(Step(random_pictures(random), rewards, terminated, truncated, valid))
        ended = terminated | truncated
    return steps


KINDS: dict[str, tuple[PickConfig, int]] = {
    "bandit": (config(), 1),
    "discounted": (config(discount=0.5, target_update_every=7, symmetric=False), 1),
    "leaning": (config(), 3),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_everything(kind: str):
    settings, stances = KINDS[kind]
    steps = random_steps(60)
    first, same, other = (learner(settings, seed, stances=stances) for seed in (0, 0, 1))
    assert not torch.equal(weights(first), weights(other))
    for algorithm in (first, same, other):
        torch.rand(7)  # the global generator has no say
        feed_in_turns(algorithm, steps)
    assert first.updates > 20
    assert_equal(first.state_dict(), same.state_dict())
    assert not torch.equal(weights(first), weights(other))


def test_neither_building_nor_acting_touches_the_global_generator():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    feed_in_turns(learner(config()), random_steps(30))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_restored_learner_goes_on_bit_for_bit(kind: str):
    settings, stances = KINDS[kind]
    steps = random_steps(180)
    interrupted = learner(settings, stances=stances)
    feed_in_turns(interrupted, steps[:62])
    state = copy.deepcopy(interrupted.state_dict())
    assert len(state["rated_indices"])  # priorities that are still to be given
    first, stop = interrupted.replay.first_row, interrupted.replay.rows_written
    rows = interrupted.replay.export_rows(first, stop)
    before = interrupted.updates
    feed_in_turns(interrupted, steps[61:])  # the replay of 100 rows comes round
    assert interrupted.updates >= before + 50

    restored = learner(settings, seed=9, stances=stances)
    restored.load_state_dict(state)
    restored.replay.import_rows(first, rows)
    feed_in_turns(restored, steps[61:])
    assert_equal(restored.state_dict(), interrupted.state_dict())


def test_a_state_from_before_the_first_attempt_can_be_restored():
    first, second = learner(config()), learner(config(), seed=4)
    second.load_state_dict(first.state_dict())
    second.replay.import_rows(0, first.replay.export_rows(0, 0))
    for algorithm in (first, second):
        feed_in_turns(algorithm, random_steps(30))
    assert_equal(first.state_dict(), second.state_dict())


def test_updates_keep_pace_with_the_attempts_after_learning_starts():
    # 16 samples a gradient step, 3 for each of the attempts after the 40th; the last 4 wait
    algorithm = learner(config(samples_per_step=3))
    steps = random_steps(75)
    feed_in_turns(algorithm, steps[:11])
    assert (algorithm.steps, algorithm.updates) == (40, 0)
    metrics = feed_in_turns(algorithm, steps[10:])
    assert (algorithm.steps, algorithm.updates) == (300, (296 - 40) * 3 // 16)
    assert metrics[-1]["updates"] == algorithm.updates
    assert metrics[-1]["replay_size"] > 200


def test_the_learning_rate_follows_its_schedule():
    # It reaches zero after 100 attempts, and weights stay then.
    settings = config(samples_per_step=4, learning_rate_end=0.0, learning_rate_steps=100)
    algorithm = learner(settings)
    steps = random_steps(40)
    metrics = feed_in_turns(algorithm, steps[:27])
    rates = [measured["learning_rate"] for measured in metrics]
    assert rates == pytest.approx([1e-2 * (1 - step / 100) for step in range(44, 101, 4)])
    before = weights(algorithm)
    feed_in_turns(algorithm, steps[26:])
    assert algorithm.updates > 25
    assert torch.equal(weights(algorithm), before)


# What it tries


def test_all_attempts_are_random_until_learning_starts_and_then_a_share():
    schedule = LinearSchedule(0.8, 0.2, 40_000)
    settings = config(epsilon=schedule, learning_starts=4_000, replay_capacity=20_000)
    algorithm = learner(settings, num_envs=4000)
    algorithm.update = lambda: {}  # only what it tries is to be seen
    pictures = random_pictures(np.random.default_rng(0), 1).repeat(4000, 0)
    never = np.zeros(4000, bool)
    step = Step(pictures, np.zeros(4000, np.float32), never, never, ~never)
    for expected in (1.0, 1.0, 0.68, 0.62):  # down by 0.6 * 4000 / 40,000 a step
        assert algorithm.epsilon == pytest.approx(expected)
        actions = algorithm.act(pictures)
        assert algorithm.attempts is not None
        # Four standard deviations: 0.032.
        assert algorithm.attempts.random.mean() == pytest.approx(expected, abs=0.032)
        others = actions[~algorithm.attempts.random]
        assert len(set(others.tolist())) <= SMALL.members
        assert len(set(actions.tolist())) > 60
        assert (algorithm.attempts.chances is None) == (expected == 1.0)
        algorithm.observe(step)


def test_random_attempts_are_on_parts_and_off_marks():
    algorithm = learner(config(explored_mm=(10.0, 50.0), replay_capacity=4_000), num_envs=2_000)
    picture = np.zeros((2, SIDE, SIDE), np.float32)
    picture[0, :4], picture[0, 4:8], picture[0, 8:] = 9.0, 30.0, 51.0  # floor, parts, walls
    picture[1, :, 6:] = 1.0
    actions = algorithm.act(picture[None].repeat(2_000, 0))
    allowed = {row * SIDE + column for row in range(4, 8) for column in range(6)}
    assert set(actions.tolist()) == allowed
    # Each is as likely as the others: four standard deviations of 83 are 36.
    assert np.bincount(actions)[sorted(allowed)] == pytest.approx(2_000 / 24, abs=36)


def test_where_nothing_is_worth_a_try_any_pixel_is_tried_in_any_stance():
    algorithm = learner(config(replay_capacity=6_000), stances=3, num_envs=3_000)
    actions = algorithm.act(np.zeros((3_000, 2, SIDE, SIDE), np.float32))
    assert actions.min() >= 0
    assert actions.max() < 3 * PIXELS
    assert len(set((actions % PIXELS).tolist())) == PIXELS
    assert np.bincount(actions // PIXELS) == pytest.approx(1_000, abs=4 * 26)


def test_what_the_policy_chooses_is_never_marked(monkeypatch: pytest.MonkeyPatch):
    settings = config(epsilon=NEVER, learning_starts=0, replay_capacity=600)
    algorithm = learner(settings, num_envs=50)
    algorithm.steps = 1
    pictures = random_pictures(np.random.default_rng(0), 50)
    pictures[:, 1] = 1.0
    free = np.random.default_rng(1).integers(0, PIXELS, (50, 3))
    pictures[:, 1].reshape(50, -1)[np.arange(50)[:, None], free] = 0.0
    actions = algorithm.act(pictures)
    assert algorithm.attempts is not None
    assert not algorithm.attempts.random.any()
    assert all(action in where for action, where in zip(actions, free, strict=True))


def test_members_of_the_ensemble_are_asked_at_random_by_the_seed(monkeypatch: pytest.MonkeyPatch):
    logits = torch.zeros(3, 1, SIDE, SIDE)
    for member, column in enumerate((2, 5, 8)):  # what each likes best
        logits[member, 0, 0, column] = 1.0

    def asked(seed: int) -> list[int]:
        settings = config(epsilon=NEVER, learning_starts=0, replay_capacity=600)
        algorithm = learner(settings, seed, num_envs=300)
        algorithm.steps = 1
        monkeypatch.setattr(algorithm.policy, "logits", lambda seen: logits.expand(300, *[-1] * 4))
        pictures = np.zeros((300, 2, SIDE, SIDE), np.float32)
        return [(2, 5, 8).index(a) for _ in range(2) for a in algorithm.act(pictures).tolist()]

    first = asked(0)
    assert np.bincount(first) == pytest.approx(200, abs=4 * 12)
    assert first[:300] != first[300:]
    assert asked(0) == first
    assert asked(1) != first


def test_attempts_are_kept_for_whoever_watches():
    algorithm = learner(config(epsilon=NEVER, learning_starts=0))
    assert algorithm.attempts is None
    steps = random_steps(30)
    feed_in_turns(algorithm, steps)
    seen = torch.from_numpy(steps[-1].observations)
    with torch.no_grad():
        expected = chance_map(algorithm.policy.logits(seen[:, :-1])).flatten(1).numpy()
    actions = algorithm.act(steps[-1].observations)
    attempts = algorithm.attempts
    assert attempts is not None
    np.testing.assert_array_equal(attempts.actions, actions)
    np.testing.assert_array_equal(attempts.pictures, steps[-1].observations)
    np.testing.assert_array_equal(attempts.chances, expected)


# What is drawn


def filled(settings: PickConfig) -> tuple[Pick, np.ndarray]:
    """After 100 rows, and the rewards (100, 4) of which a fifth are failures.

    The height of a picture's first pixel is that of its row, the second's of its environment.
    """
    algorithm = learner(settings)
    random = np.random.default_rng(2)
    rewards = (random.random((100, NUM_ENVS)) < 0.8).astype(np.float32)
    never = np.zeros(NUM_ENVS, bool)
    for row in range(100):
        pictures = random_pictures(random)
        pictures[:, 0, 0, 0], pictures[:, 0, 0, 1] = row, np.arange(NUM_ENVS)
        algorithm.act(pictures)
        algorithm.observe(Step(pictures, rewards[row], never, never, ~never))
    return algorithm, rewards


def test_failures_are_drawn_more_often_and_weigh_as_much_less():
    algorithm, rewards = filled(config(failure_priority=3.0, learning_starts=10**6))
    rewards = rewards[:-1]  # the last row waits for the one after it
    success = rewards.mean()
    drawn, weighted, in_all = [], 0.0, 0.0
    for _ in range(300):
        batch = algorithm.replay.sample(64, importance_exponent=1.0)
        assert set(batch.weights[batch.returns == 1]) <= {np.float32(1.0)}
        assert set(batch.weights[batch.returns == 0]) <= {np.float32(1 / 3)}
        rows, envs = (batch.observations[:, 0, 0, i].astype(int) for i in range(2))
        np.testing.assert_array_equal(batch.returns, rewards[rows, envs])
        drawn.append(batch.returns.mean())
        weighted, in_all = weighted + batch.weights @ batch.returns, in_all + batch.weights.sum()
    # Of 20,000 draws: standard deviations below 0.004.
    assert np.mean(drawn) == pytest.approx(success / (success + 3 * (1 - success)), abs=0.015)
    assert weighted / in_all == pytest.approx(success, abs=0.015)


def test_what_is_drawn_more_often_is_fully_corrected(monkeypatch: pytest.MonkeyPatch):
    algorithm = learner(config(failure_priority=3.0))
    sampled, learnt = algorithm.replay.sample, []

    def sample(size: int, importance_exponent: float = 0.0) -> Batch:
        learnt.append(sampled(size, importance_exponent))
        return learnt[-1]

    monkeypatch.setattr(algorithm.replay, "sample", sample)
    feed_in_turns(algorithm, random_steps(60))
    assert len(learnt) > 10
    for batch in learnt:
        expected = np.where(batch.returns > 0, 1.0, 1 / 3)
        assert batch.weights == pytest.approx(expected / expected.max())


def test_the_expected_gradient_is_that_of_all_attempts_alike():
    settings = config(
        failure_priority=4.0,
        learning_starts=10**6,
        learning_rate=1e-30,
        weight_decay=0.0,
        symmetric=False,
        bootstrap_share=1.0,
        max_gradient_norm=float("inf"),
    )
    algorithm, rewards = filled(settings)
    everything = algorithm.replay.export_rows(0, 99)
    observations = everything["frames"].reshape(-1, 2, SIDE, SIDE)
    actions, count = everything["actions"].reshape(-1), 99 * NUM_ENVS
    alike = np.ones(count, np.float32)
    algorithm._learn(
        Batch(
            observations=observations,
            actions=actions,
            returns=rewards[:-1].reshape(-1),
            bootstrap_discounts=np.zeros(count, np.float32),
            next_observations=observations,
            weights=alike,
            indices=np.arange(count),
        )
    )
    expected = gradients(algorithm)
    weighted, unweighted = [], []
    for _ in range(100):
        batch = algorithm.replay.sample(64, importance_exponent=1.0)
        algorithm._learn(batch)
        weighted.append(gradients(algorithm))
        batch.weights[:] = 1.0
        algorithm._learn(batch)
        unweighted.append(gradients(algorithm))
    spread = (torch.stack(weighted) - expected).norm(dim=1).mean() / 100**0.5
    assert (torch.stack(weighted).mean(0) - expected).norm() < 3 * spread
    assert (torch.stack(unweighted).mean(0) - expected).norm() > 10 * spread


def test_reset_steps_are_never_learnt_from():
    algorithm = learner(config(learning_starts=10**6))
    steps = random_steps(60)
    assert sum((~step.valid).sum() for step in steps[1:]) > 20
    for before, after in pairwise(steps):
        before.observations[~after.valid] = -9.0  # the action on it is ignored
    feed_in_turns(algorithm, steps)
    valid = np.stack([step.valid for step in steps[1:]])
    assert len(algorithm.replay) == valid[:-1].sum()
    priorities = algorithm.replay.state_dict()["sampler"]["masses"].reshape(-1, NUM_ENVS)
    rewards = np.stack([step.rewards for step in steps[1:]])
    expected = np.where(valid, np.where(rewards > 0, 1.0, 3.0), 0.0)[:-1]
    np.testing.assert_array_equal(priorities[:59], expected)
    assert not priorities[59:].any()
    for _ in range(20):
        assert (algorithm.replay.sample(64).observations != -9.0).any((1, 2, 3)).all()


def test_targets_stay_chances_and_only_terminations_end_them(monkeypatch: pytest.MonkeyPatch):
    algorithm = learner(config(discount=0.9, learning_starts=10**6))
    steps = random_steps(60)
    feed_in_turns(algorithm, steps)
    batch = algorithm.replay.sample(200)
    certain = torch.full((200, 1, 1, SIDE, SIDE), 11.0)
    monkeypatch.setattr(algorithm.target, "logits", lambda seen: certain)
    batch.next_observations[:, 1] = 0.0
    targets = algorithm._targets(batch).numpy()
    assert ((targets >= 0) & (targets <= 1)).all()
    rows, envs = batch.indices // NUM_ENVS, batch.indices % NUM_ENVS
    ended = np.stack([step.terminated for step in steps[1:]])[rows, envs]
    cut = np.stack([step.truncated for step in steps[1:]])[rows, envs]
    assert ended.any()
    assert cut.any()
    expected = 0.1 * batch.returns + np.where(ended, 0.0, 0.9)
    np.testing.assert_allclose(targets, expected, atol=1e-4)


# What goes wrong


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"window": 4}, "window must be a multiple of 8, got 4"),
        ({"window": 20}, "window must be a multiple of 8, got 20"),
        ({"discount": 1.0}, r"discount must be in \[0, 1\), got 1.0"),
        ({"discount": -0.1}, "discount must be in"),
        ({"bootstrap_share": 0.0}, r"bootstrap_share must be in \(0, 1\], got 0.0"),
        ({"bootstrap_share": 1.1}, "bootstrap_share must be in"),
        ({"failure_priority": 0.0}, "failure_priority must be positive, got 0.0"),
        ({"samples_per_step": 0.0}, "samples_per_step must be positive"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive, got nan"),
        ({"max_gradient_norm": 0.0}, "max_gradient_norm must be positive"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"replay_capacity": 0}, "replay_capacity must be at least 1"),
        ({"target_update_every": 0}, "target_update_every must be at least 1"),
        ({"learning_starts": -1}, "learning_starts must be at least 0, got -1"),
        ({"weight_decay": -1e-5}, "weight_decay must be at least 0"),
        ({"learning_rate_end": -1e-5}, "learning_rate_end must be at least 0"),
        ({"learning_rate_steps": -1}, "learning_rate_steps must be at least 0"),
        ({"explored_mm": (9.0, 9.0)}, r"explored_mm must be two rising heights, got \(9.0, 9.0\)"),
        ({"explored_mm": (-1.0, 9.0)}, "explored_mm must be two rising heights"),
        ({"epsilon": LinearSchedule(1.5, 0.0, 10)}, "epsilon must stay within 0 and 1"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], complaint: str):
    with pytest.raises(ValueError, match=complaint):
        config(**changes)


def test_spaces_and_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"16 pixels is larger than a picture of \(12, 12\)"):
        learner(config(window=16))
    with pytest.raises(ValueError, match="multiples of 4"):
        learner(config(), space=Box(0, 1, (2, 10, 12), np.float32))
    with pytest.raises(ValueError, match="multiple of 64 actions"):
        learner(config(), space=Box(0, 1, (2, 8, 8), np.float32), stances=2)
    # 4 rows of 4, of which the last cannot be sampled yet
    with pytest.raises(ValueError, match="leaves 12 attempts to sample, too few for a batch_size"):
        learner(config(replay_capacity=16))


def test_a_replay_just_large_enough_for_a_batch_is_learnt_from():
    algorithm = learner(config(replay_capacity=20))
    never = np.zeros(NUM_ENVS, bool)
    pictures = np.zeros((NUM_ENVS, 2, SIDE, SIDE), np.float32)
    step = Step(pictures, np.zeros(NUM_ENVS, np.float32), never, never, ~never)
    feed_in_turns(algorithm, [step] * 30)
    assert algorithm.updates > 0
