"""Partition functions and log-likelihoods of restricted Boltzmann machines, in nats.

Exact where one side is small enough to enumerate; otherwise estimated by annealed importance
sampling (Neal 2001; Salakhutdinov & Murray 2008) from a machine of independent units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from rlkit.dbn.machine import BernoulliMachine, Machine
from rlkit.dbn.noise import Noise
from rlkit.dbn.tempering import TemperedPath

MOST_ENUMERATED_UNITS = 20
"""Units of a side that are enumerated at most: a million states."""

MOST_TERMS = 2**27
"""States times units of the other side that are gone through unasked: some seconds."""

_STATES_AT_ONCE = 4096


@dataclass(frozen=True)
class LogPartition:
    """log Z of a machine, in nats."""

    value: float
    """The estimate, or the exact value."""
    standard_error: float
    """Of the estimate, in nats, by the delta method; 0 where exact. It knows only the modes that
    the chains found, so it is a lower bound of the true error."""
    effective_chains: float
    """Kish's effective number of chains, (sum w)^2 / sum w^2; infinite where exact. Near 1, one
    chain decides alone: use more temperatures."""

    @property
    def exact(self) -> bool:
        return math.isinf(self.effective_chains)


def can_enumerate(machine: Machine) -> bool:
    """Whether `exact_log_partition` takes this machine, and seconds at most."""
    units = _smaller_side(machine)
    other = machine.visible_units + machine.hidden_units - units
    return units <= MOST_ENUMERATED_UNITS and 2**units * other <= MOST_TERMS


def exact_log_partition(machine: Machine) -> LogPartition:
    """log Z by going through all states of the smaller side (of the hidden one, where visible units
    are Gaussian), in float64.

    Raises ValueError where that side has more than MOST_ENUMERATED_UNITS units.
    """
    units = _smaller_side(machine)
    if units > MOST_ENUMERATED_UNITS:
        raise ValueError(
            f"{units} units have too many states to go through; the most is"
            f" {MOST_ENUMERATED_UNITS}: estimate by annealed_log_partition"
        )
    machine = machine.to(torch.float64)
    over_hidden = not (isinstance(machine, BernoulliMachine) and machine.visible_units == units)
    parts = []
    for start in range(0, 2**units, _STATES_AT_ONCE):
        states = binary_states(units, start, min(start + _STATES_AT_ONCE, 2**units))
        if over_hidden:
            terms = states @ machine.hidden_bias + machine.log_sum_over_visible(
                states @ machine.weights
            )
        else:
            terms = -machine.free_energy(states)
        parts.append(torch.logsumexp(terms, dim=0))
    value = float(torch.logsumexp(torch.stack(parts), dim=0))
    return LogPartition(value, standard_error=0.0, effective_chains=math.inf)


def annealed_log_partition(
    machine: Machine,
    base: Machine | None = None,
    *,
    chains: int = 100,
    temperatures: int = 1000,
    seed: int = 0,
) -> LogPartition:
    """Estimate log Z by annealed importance sampling (Salakhutdinov & Murray 2008, algorithm 1).

    base: a machine without weights to start from, best one that fits the data (`base_rates`); None
        takes the machine's own visible biases.
    chains: that are annealed, each for itself; at least 2.
    temperatures: between base and machine, at least 2; see `annealing_schedule`.

    Raises ValueError for fewer chains or temperatures or another kind of base.
    """
    if chains < 2:
        raise ValueError(f"chains must be at least 2, got {chains}")
    base = machine.base() if base is None else base
    path = TemperedPath(machine, base)
    noise = Noise(seed)
    schedule = annealing_schedule(temperatures)
    nothing = torch.zeros(chains, machine.hidden_units, dtype=machine.weights.dtype)
    v = base.sample_visible(nothing, noise)
    log_weights = torch.zeros(chains, dtype=torch.float64)
    for before, now in pairwise(schedule.tolist()):
        inputs = machine.hidden_input(v)
        log_weights += path.log_density(v, inputs, now)
        log_weights -= path.log_density(v, inputs, before)
        v = path.gibbs_step(inputs, now, noise)
    relative = (log_weights - log_weights.max()).exp()
    mean = float(relative.mean())
    deviation = float(relative.std(correction=1))
    return LogPartition(
        value=base_log_partition(base) + float(log_weights.max()) + math.log(mean),
        standard_error=deviation / (mean * math.sqrt(chains)),
        effective_chains=float(relative.sum() ** 2 / relative.square().sum()),
    )


def annealing_schedule(temperatures: int) -> np.ndarray:
    """Inverse temperatures from 0 to 1, float64, denser towards 1 as in Salakhutdinov & Murray
    (2008, section 4.1): of 14,500, 500 up to 0.5, 4,000 up to 0.9 and 10,000 beyond.

    Their first part is too coarse when there are fewer in all, so half of the steps are spread
    evenly over [0, 1] and half as theirs. Raises ValueError for fewer than 2.
    """
    if temperatures < 2:
        raise ValueError(f"temperatures must be at least 2, got {temperatures}")
    place = np.linspace(0.0, 1.0, temperatures)
    share = np.array([0.0, 500.0, 4500.0, 14500.0]) / 14500.0
    knots = np.array([0.0, 0.5, 0.9, 1.0])
    # The inverse of the mean density of both kinds of spacing, which is linear between the knots.
    return np.interp(place, 0.5 * (knots + share), knots)


def log_partition(
    machine: Machine,
    base: Machine | None = None,
    *,
    chains: int = 100,
    temperatures: int = 1000,
    seed: int = 0,
) -> LogPartition:
    """Exact where that takes seconds, otherwise as `annealed_log_partition` says."""
    if can_enumerate(machine):
        return exact_log_partition(machine)
    return annealed_log_partition(
        machine, base, chains=chains, temperatures=temperatures, seed=seed
    )


def base_log_partition(base: Machine) -> float:
    """log Z of a machine without weights, exact, in nats."""
    base = base.to(torch.float64)
    nothing = torch.zeros(1, base.visible_units, dtype=torch.float64)
    return float(base.log_sum_over_visible(nothing) + softplus(base.hidden_bias).sum())


def log_likelihood(machine: Machine, v: Tensor, partition: LogPartition) -> Tensor:
    """log p(v) (log density of Gaussian units) in nats, (rows,), float64."""
    return -machine.free_energy(v).double() - partition.value


def pseudo_log_likelihood(machine: Machine, v: Tensor) -> Tensor:
    """Sum over all units of log p(v_i | all others), in nats, (rows,).

    Exact, and without a partition function. v: (rows, visible), zeros and ones. Costs rows x
    visible x hidden evaluations. Raises ValueError for machines with Gaussian visible units.
    """
    if not isinstance(machine, BernoulliMachine):
        raise ValueError("the pseudo-likelihood is there for Bernoulli visible units alone")
    total = torch.empty(len(v), dtype=v.dtype)
    for row, unit in enumerate(v):
        flipped = 1.0 - 2.0 * unit
        inputs = machine.hidden_input(unit[None])
        changed = inputs + flipped[:, None] * machine.weights.T
        gain = flipped * machine.visible_bias + (softplus(changed) - softplus(inputs)).sum(dim=1)
        total[row] = -softplus(gain).sum()
    return total


def binary_states(units: int, start: int, stop: int) -> Tensor:
    """The states of number `start` to `stop` - 1 of binary units, (stop - start, units), float64,
    the first unit being the lowest bit."""
    numbers = torch.arange(start, stop)[:, None]
    return (numbers >> torch.arange(units) & 1).double()


def _smaller_side(machine: Machine) -> int:
    if isinstance(machine, BernoulliMachine):
        return min(machine.visible_units, machine.hidden_units)
    return machine.hidden_units
