"""What R2D2 learns from its sequences, against a slow reference in plain Python."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rlkit_agents.networks import NetworkConfig
from rlkit_agents.q_policy import HeadConfig, QPolicy
from rlkit_agents.r2d2 import R2D2
from rlkit_agents.r2d2_config import R2D2Config
from rlkit_agents.schedules import LinearSchedule
from rlkit_agents.step import Step

from .streams import NUM_ENVS, random_steps, seeds


def learner(chosen: R2D2Config, seed: int) -> R2D2:
    """A learner whose two networks have random weights, each its own."""
    algorithm = R2D2(chosen, Box(-1, 1, (3,), np.float32), Discrete(3), NUM_ENVS, **seeds(seed))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in (*algorithm.policy.parameters(), *algorithm.target.parameters()):
            weight += 0.3 * torch.randn(weight.shape, generator=generator)
    return algorithm


class Reference:
    """What a gradient step is to find, from a log of all steps and the two networks alone.

    It takes one step of one environment at a time, and computes in Python's numbers.
    """

    def __init__(self, algorithm: R2D2, steps: list[Step], actions: list[np.ndarray]) -> None:
        self.config, self.actions = algorithm.config, actions
        self.policy, self.target = algorithm.policy, algorithm.target
        self.observed = [torch.from_numpy(step.observations) for step in steps[:-1]]
        self.outcomes = steps[1:]

    def starts(self, row: int, env: int) -> bool:
        return row == 0 or not self.outcomes[row - 1].valid[env]

    def unrolled(self, policy: QPolicy, env: int, rows: range, state: Any) -> tuple[Any, Any]:
        """Outputs (actions, atoms) in each of the rows, and the state after them."""
        outputs = {}
        for row in rows:
            if self.starts(row, env):
                state = None
            with torch.no_grad():
                found, state = policy.unroll(self.observed[row][env][None, None], state)
            outputs[row] = found[0, 0].double().numpy()
        return outputs, state

    def window(self, row: int, env: int) -> tuple[float, float, int]:
        """The return, the discount of what follows, and in which row that is."""
        value, discount = 0.0, 1.0
        for later in range(row, row + self.config.n_step):
            value += discount * float(self.outcomes[later].rewards[env])
            discount *= self.config.discount
            if self.outcomes[later].terminated[env]:
                return value, 0.0, later + 1
            if self.outcomes[later].truncated[env]:
                return value, discount, later + 1
        return value, discount, row + self.config.n_step

    def rescaled(self, value: float) -> float:
        if not self.config.value_rescaling:
            return value
        return math.copysign(math.sqrt(abs(value) + 1) - 1, value) + 1e-3 * value

    def restored(self, value: float) -> float:
        """The inverse of `rescaled`, by bisection."""
        low, high = -1e4, 1e4
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if self.rescaled(middle) < value else (low, middle)
        return low

    def expected(self, atoms: np.ndarray) -> float:
        """The expected return of an action."""
        head = self.config.head
        if head.kind == "categorical":
            bins = np.linspace(head.value_min, head.value_max, head.atoms)
            odds = np.exp(atoms - atoms.max())
            return float((bins * odds).sum() / odds.sum())
        return float(np.mean([self.restored(atom) for atom in atoms]))

    def regressed(self, atoms: np.ndarray, value: float, discount: float, following: np.ndarray):
        """Loss and priority of one prediction."""
        head = self.config.head
        if head.kind == "categorical":
            return self.cross_entropy(atoms, value, discount, following)
        targets = [self.rescaled(value + discount * self.restored(atom)) for atom in following]
        loss = error_sum = 0.0
        for i, atom in enumerate(atoms):
            for target in targets:
                error = target - atom
                size = abs(error)
                huber = size**2 / 2 if size < 1 else size - 0.5
                tau = (i + 0.5) / len(atoms)
                share = 1.0 if head.kind == "expected" else abs(tau - (error < 0))
                loss += share * huber / len(targets)
                error_sum += size / len(targets) / len(atoms)
        return loss, error_sum

    def cross_entropy(self, atoms: np.ndarray, value: float, discount: float, following: Any):
        head = self.config.head
        bins = np.linspace(head.value_min, head.value_max, head.atoms)
        odds = np.exp(following - following.max())
        target = np.zeros(head.atoms)
        for place, share in zip(bins, odds / odds.sum(), strict=True):
            moved = min(max(value + discount * place, head.value_min), head.value_max)
            position = (moved - bins[0]) / (bins[1] - bins[0])
            below = min(int(position), head.atoms - 2)
            target[below] += share * (below + 1 - position)
            target[below + 1] += share * (position - below)
        logs = atoms - atoms.max() - math.log(np.exp(atoms - atoms.max()).sum())
        loss = -float((target * logs).sum())
        return loss, loss + sum(share * math.log(share) for share in target if share > 0)

    def sequence(self, number: int, env: int) -> tuple[list[float], list[float], list[float]]:
        """Loss, error and true value of the action taken, in each valid row of a trace."""
        config = self.config
        first = number * config.trace_period
        _, stored = self.unrolled(self.policy, env, range(first), None)
        learnt = range(first + config.burn_in, first + config.burn_in + config.trace_length)
        rows = range(first, learnt.stop + config.n_step)
        online, _ = self.unrolled(self.policy, env, rows, stored)
        target, _ = self.unrolled(self.target, env, rows, stored)
        losses, errors, values = [], [], []
        for row in learnt:
            if not self.outcomes[row].valid[env]:
                continue
            value, discount, later = self.window(row, env)
            selector = online[later] if config.double else target[later]
            best = max(range(3), key=lambda action: self.expected(selector[action]))
            taken = online[row][self.actions[row][env]]
            loss, error = self.regressed(taken, value, discount, target[later][best])
            losses.append(loss)
            errors.append(error)
            values.append(self.expected(taken))
        return losses, errors, values


@given(
    seed=st.integers(0, 2**32 - 1),
    memory=st.sampled_from(["lstm", "gru"]),
    head=st.sampled_from(
        [
            HeadConfig("expected"),
            HeadConfig("quantile", atoms=3),
            HeadConfig("categorical", atoms=5, value_min=-4, value_max=4),
        ]
    ),
    rescales=st.booleans(),
    double=st.booleans(),
    dueling=st.booleans(),
    burn_in=st.integers(0, 4),
    trace_length=st.integers(1, 6),
    overlap=st.integers(0, 5),
    n_step=st.integers(1, 4),
    spare_rows=st.integers(0, 30),
    ends=st.sampled_from([0.02, 0.2, 0.6]),
    cut=st.integers(1, 60),
    max_share=st.sampled_from([0.0, 0.6, 1.0]),
)
@settings(max_examples=40)
def test_losses_and_priorities_are_those_of_a_slow_reference(
    seed: int,
    memory: Literal["lstm", "gru"],
    head: HeadConfig,
    rescales: bool,
    double: bool,
    dueling: bool,
    burn_in: int,
    trace_length: int,
    overlap: int,
    n_step: int,
    spare_rows: int,
    ends: float,
    cut: int,
    max_share: float,
) -> None:
    batch_size, num_rows = 6, 45
    burn_in, n_step = min(burn_in, trace_length), min(n_step, trace_length)
    period = max(1, trace_length - overlap)
    chosen = R2D2Config(
        network=NetworkConfig(
            torso="mlp", hidden_sizes=(8,), memory=memory, memory_size=6, dueling=dueling
        ),
        head=head,
        value_rescaling=rescales and head.kind != "categorical",
        double=double,
        discount=0.9,
        n_step=n_step,
        burn_in=burn_in,
        trace_length=trace_length,
        trace_period=period,
        replay_capacity=NUM_ENVS * (burn_in + trace_length + n_step - 1 + 2 * period + spare_rows),
        priority_exponent=0.7,
        importance_exponent=LinearSchedule(0.8, 0.8, 0),
        priority_max_share=max_share,
        batch_size=batch_size,
        samples_per_step=batch_size * trace_length / NUM_ENVS,  # one update after the last step
        learning_starts=NUM_ENVS * num_rows - 1,
        epsilon=LinearSchedule(0.5, 0.5, 0),
        precision="float32",
    )
    algorithm = learner(chosen, seed)
    steps, actions = random_steps(num_rows, seed=seed, ends=ends, cuts=(cut,)), []
    for before, after in pairwise(steps):
        actions.append(algorithm.act(before.observations))
        algorithm.observe(after)
    assume(algorithm.replay.can_sample(batch_size))
    everything = algorithm.replay.sample(len(algorithm.replay)).indices
    masses = np.random.default_rng(seed).exponential(size=len(everything)) + 0.1
    algorithm.replay.update_priorities(everything, masses)
    changed: list[tuple[np.ndarray, np.ndarray]] = []
    algorithm.replay.update_priorities = lambda indices, priorities: changed.append(
        (np.asarray(indices), np.asarray(priorities))
    )
    metrics = algorithm.update()

    ((indices, priorities),) = changed
    assert (algorithm.updates, len(indices)) == (1, batch_size)
    reference = Reference(learner(chosen, seed), steps, actions)  # of the weights before
    mass = dict(zip(everything.tolist(), masses**0.7, strict=True))
    least = min(mass[index] for index in indices.tolist())
    weighted, all_errors, all_values = [], [], []
    for index, priority in zip(indices.tolist(), priorities.tolist(), strict=True):
        losses, errors, values = reference.sequence(*divmod(index, NUM_ENVS))
        mixed = max_share * max(errors) + (1 - max_share) * sum(errors) / len(errors)
        assert priority == pytest.approx(mixed, rel=1e-3, abs=1e-5)
        weighted += [(least / mass[index]) ** 0.8 * loss for loss in losses]
        all_errors += errors
        all_values += values
    for name, expected in (
        ("loss", np.mean(weighted)),
        ("td_error", np.mean(all_errors)),
        ("q_mean", np.mean(all_values)),
        ("q_max", np.max(all_values)),
    ):
        assert float(metrics[name]) == pytest.approx(expected, rel=1e-3, abs=1e-5), name
