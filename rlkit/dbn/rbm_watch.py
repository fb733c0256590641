"""Watches a machine train: what each epoch came to, and whether it diverged (`rbm.RBM.fit`)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from rlkit.dbn.likelihood import LogPartition, base_log_partition, log_likelihood
from rlkit.dbn.machine import Machine
from rlkit.dbn.rbm_config import RBMConfig
from rlkit.divergence import DivergenceError

WATCHED_ROWS = 256
"""Of training and of held-out data, on which each epoch is judged; more would cost time."""

WORST_RECONSTRUCTION = 1.5
"""Error of reconstruction, as a multiple of that of column means, beyond which one diverges."""

SCATTER_DEVIATIONS = 5.0
"""Standard errors of the gap in free energy of Gaussian units that chance is granted."""


@dataclass(frozen=True)
class EpochRecord:
    """What one pass over the data came to, measured on WATCHED_ROWS."""

    epoch: int
    """From 0."""
    seconds: float
    """Of the updates alone."""
    learning_rate: float
    """At the end."""
    reconstruction_error: float
    """Of training rows: cross-entropy in nats a row, or squared error a row in standard deviations
    of the data (`Machine.reconstruction_error`)."""
    held_out_reconstruction_error: float | None
    """Of held-out rows; None where there are none."""
    free_energy_gap: float | None
    """Mean free energy of held-out rows less that of training rows, in nats: how much less likely
    they are. It needs no partition function; growing, it tells of overfitting (Hinton 2012,
    section 6)."""


class Watch:
    """Judges epochs on few rows, and keeps the best machine so far."""

    def __init__(
        self, config: RBMConfig, base: Machine, rows: Tensor, held_out: Tensor | None
    ) -> None:
        """base: independent units that fit the data; all as the trainer sees them.

        rows: of the training, at most WATCHED_ROWS. held_out: any number; None for none.
        """
        self._config = config
        self._rows = rows
        self._held_out = None if held_out is None else held_out[:WATCHED_ROWS]
        self.best_epoch = -1
        self._best: Machine | None = None
        self._least_error = float("inf")
        partition = LogPartition(base_log_partition(base), 0.0, float("inf"))
        judged = [self._rows] if self._held_out is None else [self._rows, self._held_out]
        # A machine of Bernoulli units gives no row a probability above 1. So if rows lie further
        # apart than this, one kind is less likely than if all units were independent.
        self._largest_gap = max(
            -float(log_likelihood(base, watched, partition).mean()) for watched in judged
        )
        self._largest_error = WORST_RECONSTRUCTION * float(base.reconstruction_error(rows).mean())

    def judge(self, machine: Machine, epoch: int, seconds: float) -> tuple[EpochRecord, str | None]:
        """The epoch's record, and what is wrong where it diverged."""
        error = float(machine.reconstruction_error(self._rows).mean())
        held_out_error = gap = None
        largest_gap = self._largest_gap
        if self._held_out is not None:
            held_out_error = float(machine.reconstruction_error(self._held_out).mean())
            energies = [machine.free_energy(rows) for rows in (self._held_out, self._rows)]
            gap = float(energies[0].mean() - energies[1].mean())
            if machine.kind == "gaussian":
                # Densities have no upper bound, and far rows cost much where variances are small.
                scatter = sum(float(each.var(correction=0)) / len(each) for each in energies)
                largest_gap += SCATTER_DEVIATIONS * math.sqrt(scatter)
        record = EpochRecord(
            epoch=epoch,
            seconds=seconds,
            learning_rate=self._config.learning_rate_at((epoch + 1) / self._config.epochs),
            reconstruction_error=error,
            held_out_reconstruction_error=held_out_error,
            free_energy_gap=gap,
        )
        if not machine.is_finite():
            return record, f"training diverged in epoch {epoch}: weights are no longer finite"
        if gap is not None and not abs(gap) <= largest_gap:
            return record, (
                f"training diverged in epoch {epoch}: the free energies of held-out and training"
                f" rows are {abs(gap):.4g} nats apart, more than independent units would need"
                f" ({largest_gap:.4g})"
            )
        if not error <= self._largest_error:
            return record, (
                f"training diverged in epoch {epoch}: rows are reconstructed with an error of"
                f" {error:.4g}, more than {WORST_RECONSTRUCTION} times that of column means"
            )
        judged = error if held_out_error is None else held_out_error
        if judged <= self._least_error:
            self._least_error, self.best_epoch, self._best = judged, epoch, machine.copy()
        return record, None

    def best_or_raise(self, trouble: str) -> Machine:
        """The best machine so far. Raises DivergenceError where there is none."""
        if self._best is None:
            raise DivergenceError(f"{trouble};{advice(self._config)}")
        return self._best


def advice(config: RBMConfig) -> str:
    """What to change where a training diverged."""
    told = f" lower learning_rate (now {config.learning_rate:g})"
    if config.momentum > 0.0:
        told += f" or momentum (now {config.momentum:g})"
    if config.weight_decay == 0.0:
        told += ", set weight_decay"
    if config.clipped_norm is None:
        told += ", set gradient_norm"
    return f"{told}, or give more rows"
