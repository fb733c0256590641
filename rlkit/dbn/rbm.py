"""A restricted Boltzmann machine as an estimator in scikit-learn's manners.

The mathematics are in `machine.py`, updates in `rbm_training.py`, likelihoods in `likelihood.py`,
files in `rbm_file.py`.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from rlkit.dbn.likelihood import LogPartition, log_likelihood, log_partition
from rlkit.dbn.machine import GaussianMachine, Machine, base_rates
from rlkit.dbn.noise import Noise
from rlkit.dbn.rbm_config import RBMConfig
from rlkit.dbn.rbm_training import Trainer, initial_machine
from rlkit.dbn.rbm_watch import WATCHED_ROWS, EpochRecord, Watch, advice
from rlkit.dbn.rows import Rows, checked_rows, refuse_constant_columns, split_rows
from rlkit.divergence import DivergenceError, DivergenceWarning
from rlkit.estimator import ConfiguredEstimator

OnEpoch = Callable[[EpochRecord, "RBM", Sequence["RBM"]], None]
"""Takes what an epoch came to, the machine as it is then, and, in a stack, those learned below it
from the bottom up. It may look at machines, not change them."""


class RBM(ConfiguredEstimator[RBMConfig]):
    """Learns a density of rows of data, and features of them: chances of hidden units to be on.

    Parameters are the fields of `RBMConfig`. After `fit`:

    machine_: parameters in the units of the data.
    base_: the machine without weights that fits the columns of the training data.
    history_: an `EpochRecord` for each epoch.
    n_features_in_: columns of the data.
    """

    config_class = RBMConfig

    machine_: Machine
    base_: Machine
    history_: list[EpochRecord]
    n_features_in_: int

    def fit(
        self,
        X: Rows,
        y: object = None,
        *,
        held_out: Rows | None = None,
        on_epoch: Sequence[OnEpoch] = (),
    ) -> Self:
        """Learn from scratch.

        X: (rows, visible); in [0, 1] for Bernoulli units, where values between are chances.
        y: ignored. held_out: rows to watch instead of a share of X. on_epoch: called after each
        epoch but one that diverged.

        Warns (DivergenceWarning) where training diverges after an epoch that did not: it stops,
        and the weights are those of the epoch that reconstructed best. Raises DivergenceError where
        there was none, and ValueError for data that does not fit (see `rows.checked_rows`).
        """
        rows = checked_rows(X, self.config.visible)
        split = Noise(np.random.SeedSequence((self.config.seed, 0)))
        if held_out is not None:
            watched = checked_rows(held_out, self.config.visible, rows.shape[1])
        else:
            rows, watched = split_rows(rows, self.config.held_out_share, split)
        self._begin(rows)
        trainer = self._trainer
        rows = self._standardised(rows)
        some = rows[split.permutation(len(rows))[:WATCHED_ROWS]]
        watch = Watch(
            self.config,
            self._moved_back(self.base_, self.base_),
            some,
            None if watched is None else self._standardised(watched),
        )
        for epoch in range(self.config.epochs):
            seconds = self._pass(rows, epoch, self.config.epochs)
            record, trouble = watch.judge(trainer.machine, epoch, seconds)
            self.history_.append(record)
            if trouble is not None:
                # What chains and velocities hold is no start for more training, and where no
                # weights are worth keeping, this estimator is not fitted.
                del self._trainer, self.machine_
                self._finish(watch.best_or_raise(trouble))
                kept = f"kept the weights of epoch {watch.best_epoch}"
                warnings.warn(
                    f"{trouble}; {kept};{advice(self.config)}", DivergenceWarning, stacklevel=2
                )
                return self
            if on_epoch:
                self._finish(trainer.machine)
            for watcher in on_epoch:
                watcher(record, self, ())
        self._finish(trainer.machine)
        return self

    def partial_fit(self, X: Rows, y: object = None) -> Self:
        """Pass over X once, going on from the present weights; the first call starts from scratch.

        The learning rate stays as it is; Gaussian units keep the standardisation of the first data.
        Raises as `fit`, and DivergenceError, with earlier weights kept, for weights that are not
        finite afterwards.
        """
        if "machine_" not in self.__dict__:
            rows = checked_rows(X, self.config.visible)
            self._begin(rows)
        else:
            self._check_machine(self.machine_)
            rows = checked_rows(X, self.config.visible, self.n_features_in_)
            if "_trainer" not in self.__dict__ or self._trainer.config != self.config:
                self._resume()
        self._pass(self._standardised(rows), self._passes, None)
        if not self._trainer.machine.is_finite():
            del self._trainer
            raise DivergenceError(f"weights are no longer finite;{advice(self.config)}")
        self._passes += 1
        self._finish(self._trainer.machine)
        return self

    def transform(self, X: Rows) -> np.ndarray:
        """p(h = 1 | v), float32, (rows, hidden)."""
        machine = self._machine
        return machine.hidden_mean(self._known(X)).numpy()

    def fit_transform(self, X: Rows, y: object = None, **fit_parameters: Any) -> np.ndarray:
        """`fit`, then `transform` of the same rows."""
        return self.fit(X, y, **fit_parameters).transform(X)

    def inverse_transform(self, H: Rows) -> np.ndarray:
        """E[v | h], float32, (rows, visible); H: (rows, hidden), in [0, 1]."""
        machine = self._machine
        return machine.visible_mean(checked_rows(H, "bernoulli", machine.hidden_units)).numpy()

    def gibbs(self, v: Rows, *, steps: int = 1, seed: int | None = None) -> np.ndarray:
        """Where Gibbs sampling takes rows, float32, (rows, visible).

        seed: None goes on with the estimator's own stream, so that calls differ.
        """
        if steps < 0:
            raise ValueError(f"steps must be at least 0, got {steps}")
        machine, noise = self._machine, self._noise(seed)
        state = self._known(v).clone()
        for _ in range(steps):
            state = machine.gibbs_step(state, noise)
        return state.numpy()

    def sample(self, rows: int, *, steps: int = 1000, seed: int | None = None) -> np.ndarray:
        """Rows from chains that start at independent units, float32, (rows, visible).

        They are only as good as the chains mix: more steps help until they no longer change.
        """
        machine, noise = self._machine, self._noise(seed)
        nothing = torch.zeros(rows, machine.hidden_units)
        start = self._learned("base_").sample_visible(nothing, noise)
        for _ in range(steps):
            start = machine.gibbs_step(start, noise)
        return start.numpy()

    def free_energy(self, X: Rows) -> np.ndarray:
        """-log p(v) up to a constant of the machine, in nats, float32, (rows,)."""
        machine = self._machine
        return machine.free_energy(self._known(X)).numpy()

    def log_partition(
        self, *, chains: int = 100, temperatures: int = 1000, seed: int = 0
    ) -> LogPartition:
        """log Z, exact for small machines, otherwise annealed from `base_`; see `likelihood.py`."""
        return log_partition(
            self._machine,
            self._learned("base_"),
            chains=chains,
            temperatures=temperatures,
            seed=seed,
        )

    def score_samples(self, X: Rows) -> np.ndarray:
        """log p(v) (log density of Gaussian units) in nats, float64, (rows,).

        The partition function is computed at the first call after training, which may take seconds;
        use `log_partition` to choose its precision and to see its error.
        """
        machine, rows = self._machine, self._known(X)
        if self._partition is None:
            self._partition = self.log_partition()
        return log_likelihood(machine, rows, self._partition).numpy()

    def score(self, X: Rows, y: object = None) -> float:
        """Mean of `score_samples`, in nats a row; y is ignored."""
        return float(self.score_samples(X).mean())

    @property
    def components_(self) -> np.ndarray:
        """Weights, float32, (hidden, visible), as of scikit-learn's `BernoulliRBM`."""
        return self._machine.weights.numpy()

    @property
    def intercept_hidden_(self) -> np.ndarray:
        """Hidden biases, float32, (hidden,)."""
        return self._machine.hidden_bias.numpy()

    @property
    def intercept_visible_(self) -> np.ndarray:
        """Visible biases, float32, (visible,)."""
        return self._machine.visible_bias.numpy()

    @property
    def n_features_out_(self) -> int:
        """Columns of what `transform` returns."""
        return self._machine.hidden_units

    def __sklearn_is_fitted__(self) -> bool:
        return "machine_" in self.__dict__

    def set_learned(self, machine: Machine, base: Machine, history: list[EpochRecord]) -> Self:
        """Take over what another training learned, such as from a file.

        Raises ValueError where the machine is not as the configuration says.
        """
        self._check_machine(machine)
        self.machine_, self.base_, self.history_ = machine, base, history
        self.n_features_in_ = machine.visible_units
        self._passes = len(history)
        self._partition: LogPartition | None = None
        self._sampling = Noise(np.random.SeedSequence((self.config.seed, 2)))
        self.__dict__.pop("_trainer", None)
        return self

    def _check_machine(self, machine: Machine) -> None:
        """Raises ValueError where a machine is not as the configuration says."""
        if machine.kind != self.config.visible or machine.hidden_units != self.config.hidden_units:
            raise ValueError(
                f"the configuration says {self.config.visible} units and"
                f" {self.config.hidden_units} hidden ones, the machine has {machine.kind} and"
                f" {machine.hidden_units}; call fit to start from scratch"
            )

    @property
    def _machine(self) -> Machine:
        return self._learned("machine_")

    def _noise(self, seed: int | None) -> Noise:
        return self._sampling if seed is None else Noise(seed)

    def _known(self, X: Rows) -> Tensor:
        return checked_rows(X, self.config.visible, self._machine.visible_units)

    def _begin(self, rows: Tensor) -> None:
        """Initial weights and a trainer; rows: in the units of the data."""
        if self.config.visible == "gaussian":
            refuse_constant_columns(rows)
        base = base_rates(rows, self.config.visible, self.config.hidden_units)
        noise = Noise(np.random.SeedSequence((self.config.seed, 1)))
        local = self._moved_back(base, base)
        machine = initial_machine(local, noise, self.config.initial_variance)
        self.set_learned(machine, base, [])
        self._trainer = Trainer(machine, local, self.config, noise)
        self._finish(machine)

    def _resume(self) -> None:
        """A trainer that starts from learned weights, with new chains and velocities."""
        noise = Noise(np.random.SeedSequence((self.config.seed, 1, self._passes)))
        machine = self._moved_back(self.machine_, self.base_)
        self._trainer = Trainer(
            machine, self._moved_back(self.base_, self.base_), self.config, noise
        )

    def _standardised(self, rows: Tensor) -> Tensor:
        """Rows as the trainer sees them."""
        if not isinstance(self.base_, GaussianMachine):
            return rows
        return (rows - self.base_.visible_bias) / self.base_.variance.sqrt()

    @staticmethod
    def _moved_back(machine: Machine, base: Machine) -> Machine:
        """A copy over standardised rows, whose offset is 0 there."""
        if not isinstance(machine, GaussianMachine) or not isinstance(base, GaussianMachine):
            return machine.copy()
        scale = base.variance.rsqrt()
        moved = machine.moved(-base.visible_bias * scale, scale)
        moved.offset.zero_()
        return moved

    def _finish(self, machine: Machine) -> None:
        """Publish what was trained, in the units of the data."""
        if isinstance(machine, GaussianMachine):
            assert isinstance(self.base_, GaussianMachine)
            machine = machine.moved(self.base_.visible_bias, self.base_.variance.sqrt())
        self.machine_ = machine.copy()
        self._partition = None

    def _pass(self, rows: Tensor, epoch: int, epochs: int | None) -> float:
        """Train on each row once, in random order; the seconds that took."""
        config, trainer = self.config, self._trainer
        started = time.perf_counter()
        order = trainer.noise.permutation(len(rows))
        momentum = config.momentum_at(epoch)
        batches = order.split(config.batch_size)
        for number, batch in enumerate(batches):
            progress = 0.0 if epochs is None else (epoch + number / len(batches)) / epochs
            trainer.step(rows.index_select(0, batch), config.learning_rate_at(progress), momentum)
        return time.perf_counter() - started
