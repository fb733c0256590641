"""How good machines and stacks are on rows that they have not learned from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from rlkit.dbn.dbn import DBN
from rlkit.dbn.finetune import DBNClassifier, DBNRegressor
from rlkit.dbn.likelihood import (
    LogPartition,
    base_log_partition,
    log_likelihood,
)
from rlkit.dbn.machine import GaussianMachine, Machine, VisibleUnits
from rlkit.dbn.rbm import RBM
from rlkit.dbn.rbm_file import Saved
from rlkit.dbn.rows import Rows, checked_rows

CONSTANT_FEATURE = 0.01
"""Standard deviation of a hidden unit's chance below which it tells nothing of a row."""


@dataclass(frozen=True)
class LayerQuality:
    """Of one machine, on what the layers below make of the rows."""

    hidden_units: int
    """As it has."""
    reconstruction_error: float
    """Of held-out rows, one step up and down: cross-entropy in nats a row of Bernoulli units,
    squared error a row of Gaussian ones in standard deviations of the training rows, as
    `EpochRecord` has it."""
    independent_error: float
    """The same of independent units that fit the columns of its training rows."""
    free_energy_gap: float | None
    """Mean free energy of held-out rows less that of training rows, in nats; None without the
    second."""
    constant_features: float
    """Share of hidden units whose chance to be on deviates less than CONSTANT_FEATURE."""


@dataclass(frozen=True)
class StackQuality:
    """Of a stack, or of one machine, on held-out rows."""

    rows: int
    """Held out."""
    unexplained: float
    """Squared error of reconstructions through all layers, over the variance of the rows: 0 is
    perfect, 1 no better than their mean. Columns of Gaussian units are taken each by itself, as
    they may have units of measurement of their own, and averaged."""
    layers: tuple[LayerQuality, ...]
    """From the bottom up."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class Likelihood:
    """Mean log-likelihood of rows (log density of Gaussian units), in nats a row."""

    nats: float
    """Of the machine; of a stack, a bound from below (`DBN.lower_bound`)."""
    is_bound: bool
    """Whether it is that."""
    standard_error: float
    """Of `nats` from the choice of rows alone."""
    partition: LogPartition
    """Of the machine, or of a stack's top one, with its own error in nats, by which all rows are
    off alike."""
    independent_nats: float
    """Of independent units that fit the columns of the training rows."""
    states: bool
    """Whether the rows are what the units can be: numbers between 0 and 1 are no states of
    Bernoulli units but chances, for which likelihoods of different data do not compare."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data; an infinite number of effective chains, of an exact value, is null."""
        told = asdict(self)
        told["partition"]["exact"] = self.partition.exact
        if self.partition.exact:
            told["partition"]["effective_chains"] = None
        return told


def stack_of(estimator: Saved) -> DBN:
    """What learned without labels, as a stack; a single machine is one of one layer.

    Raises NotFittedError.
    """
    if isinstance(estimator, DBNClassifier | DBNRegressor):
        return estimator._learned("dbn_")
    if isinstance(estimator, DBN):
        return estimator
    estimator._learned("machine_")
    return DBN(layers=(estimator.config,)).set_learned([estimator])


def measure(stack: DBN, held_out: Rows, learnt: Rows | None = None) -> StackQuality:
    """The quality of a stack; held_out, learnt: (rows, visible).

    Raises ValueError for rows that do not fit.
    """
    visible = stack.config.layers[0].visible
    rows = checked_rows(held_out, visible, stack.n_features_in_)
    own = None if learnt is None else checked_rows(learnt, visible, stack.n_features_in_)
    back = stack.inverse_transform(stack.transform(rows))
    given = rows.double().numpy()
    unexplained = _unexplained(given, np.square(given - back).mean(axis=0), visible)
    layers = []
    for layer in stack.layers_:
        layers.append(_measured(layer, rows, own))
        rows = torch.from_numpy(layer.transform(rows))
        own = None if own is None else torch.from_numpy(layer.transform(own))
    return StackQuality(
        rows=len(rows),
        unexplained=unexplained,
        layers=tuple(layers),
    )


def likelihood(
    stack: DBN, rows: Rows, *, chains: int = 100, temperatures: int = 1000, seed: int = 0
) -> Likelihood:
    """How likely rows are; exact for a machine that is small enough, otherwise by annealing.

    rows: (rows, visible). chains, temperatures, seed: of the annealing, see `likelihood.py`.
    Raises ValueError for rows that do not fit, and for fewer than two chains or temperatures.
    """
    visible = stack.config.layers[0].visible
    tensor = checked_rows(rows, visible, stack.n_features_in_)
    top, bottom = stack.layers_[-1], stack.layers_[0]
    partition = top.log_partition(chains=chains, temperatures=temperatures, seed=seed)
    if len(stack.layers_) == 1:
        nats = log_likelihood(top.machine_, tensor, partition).numpy()
    else:
        nats = stack.lower_bound(tensor, partition, seed=seed)
    base = LogPartition(base_log_partition(bottom.base_), 0.0, float("inf"))
    between = (tensor > 0.0) & (tensor < 1.0)
    return Likelihood(
        nats=float(nats.mean()),
        is_bound=len(stack.layers_) > 1,
        standard_error=float(nats.std(ddof=1) / len(nats) ** 0.5) if len(nats) > 1 else 0.0,
        partition=partition,
        independent_nats=float(log_likelihood(bottom.base_, tensor, base).mean()),
        states=visible == "gaussian" or not bool(between.any()),
    )


def _unexplained(rows: np.ndarray, errors: np.ndarray, visible: VisibleUnits) -> float:
    """See `StackQuality`; rows: float64, errors: (visible,). 1 where nothing varies."""
    variance = rows.var(axis=0)
    varies = variance > 0.0
    if not varies.any():
        return 1.0
    if visible == "bernoulli":
        return float(errors.sum() / variance.sum())
    return float((errors[varies] / variance[varies]).mean())


def _reconstruction_error(machine: Machine, base: Machine, rows: torch.Tensor) -> float:
    """Mean over rows, in nats or in standard deviations of the base."""
    if isinstance(base, GaussianMachine):
        squared = (rows - machine.reconstruction(rows)).square() / base.variance
        return float(squared.sum(dim=1).mean())
    return float(machine.reconstruction_error(rows).mean())


def _measured(layer: RBM, rows: torch.Tensor, learnt: torch.Tensor | None) -> LayerQuality:
    machine = layer.machine_
    gap = None
    if learnt is not None:
        energies = [machine.free_energy(each).double().mean() for each in (rows, learnt)]
        gap = float(energies[0] - energies[1])
    deviation = machine.hidden_mean(rows).std(dim=0, correction=0)
    return LayerQuality(
        hidden_units=machine.hidden_units,
        reconstruction_error=_reconstruction_error(machine, layer.base_, rows),
        independent_error=_reconstruction_error(layer.base_, layer.base_, rows),
        free_energy_gap=gap,
        constant_features=float((deviation < CONSTANT_FEATURE).double().mean()),
    )
