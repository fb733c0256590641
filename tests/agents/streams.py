"""What tests of algorithms share: streams of random steps, how they are fed, what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypedDict

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from rlkit_agents.algorithm import Algorithm
from rlkit_agents.q_policy import HeadConfig
from rlkit_agents.step import Step

NUM_ENVS = 4
FLAT = Box(-1, 1, (3,), np.float32)
IMAGES = Box(0, 255, (1, 15, 15), np.uint8)
SHORT_TRACES: dict[str, Any] = dict(
    head=HeadConfig("expected"),
    n_step=2,
    burn_in=2,
    trace_length=4,
    trace_period=3,
    replay_capacity=200,
    batch_size=4,
    samples_per_step=2,
    learning_starts=40,
    precision="float32",
)
"""Of R2D2: learns 4 sequences of 4 rows for every 8 environment steps after the first 40."""


class Seeds(TypedDict):
    """What an algorithm draws from, by the names that its constructor gives them."""

    exploration_seed: np.random.SeedSequence
    replay_seed: np.random.SeedSequence
    initialisation_seed: np.random.SeedSequence


def seeds(seed: int) -> Seeds:
    """Three independent seeds of one."""
    exploration, replay, initialisation = np.random.SeedSequence(seed).spawn(3)
    return Seeds(
        exploration_seed=exploration,
        replay_seed=replay,
        initialisation_seed=initialisation,
    )


def random_steps(
    count: int,
    space: Box = FLAT,
    seed: int = 0,
    num_envs: int = NUM_ENVS,
    *,
    ends: float = 0.2,
    cuts: Sequence[int] = (),
) -> list[Step]:
    """Steps of episodes that end at random, for either reason, each followed by a reset step.

    The first stands for the reset of all environments, and only its observations matter. ends:
    share of the steps that end an episode. cuts: numbers of steps that end all of them, as before
    a checkpoint.
    """
    random = np.random.default_rng(seed)
    scale = 1 if space.dtype == np.float32 else 255
    steps = []
    ended = np.ones(num_envs, bool)
    for number in range(count + 1):
        valid = ~ended
        terminated = valid & (random.random(num_envs) < ends / 2)
        truncated = valid & ~terminated & (random.random(num_envs) < ends / 2)
        if number in cuts:
            truncated = ~terminated  # also where the step was a reset step
        observations = (random.random((num_envs, *space.shape)) * scale).astype(space.dtype)
        rewards = np.where(valid, random.normal(size=num_envs), 0).astype(np.float32)
        steps.append(Step(observations, rewards, terminated, truncated, valid))
        ended = terminated | truncated
    return steps


def feed(algorithm: Algorithm, steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Let the algorithm act on each step and learn from the next; the metrics of its updates."""
    metrics = []
    for before, after in pairwise(steps):
        algorithm.act(before.observations)
        algorithm.observe(after)
        if measured := algorithm.update():
            metrics.append(measured)
    return metrics


def feed_in_turns(algorithm: Algorithm, steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Let the algorithm act on each step and learn before the next; the metrics of its updates."""
    metrics = []
    for before, after in pairwise(steps):
        algorithm.act(before.observations)
        if measured := algorithm.update():
            metrics.append(measured)
        algorithm.observe(after)
    return metrics


def weights(algorithm: Algorithm) -> Tensor:
    """All weights of the policy, in one copied vector."""
    return torch.cat([weight.detach().flatten() for weight in algorithm.policy.parameters()])


def gradients(algorithm: Algorithm) -> Tensor:
    """The last gradients of all weights that have one, in one copied vector."""
    found = [weight.grad for weight in algorithm.policy.parameters()]
    return torch.cat([gradient.flatten() for gradient in found if gradient is not None])


def assert_equal(left: Any, right: Any) -> None:
    """Two nested states are equal bit for bit."""
    if isinstance(left, Tensor):
        assert torch.equal(left, right)
    elif isinstance(left, np.ndarray):
        np.testing.assert_array_equal(left, right)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_equal(left[key], right[key])
    elif isinstance(left, list | tuple):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_equal(one, other)
    else:
        assert left == right
