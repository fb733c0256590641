"""Fine-tunes networks from deep belief networks by back-propagation, as classifier or regressor.

Hinton & Salakhutdinov (2006), "Reducing the dimensionality of data with neural networks".
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from rlkit.dbn.dbn import DBN, DBNConfig, check_layers
from rlkit.dbn.finetune_config import FinetuneConfig
from rlkit.dbn.noise import Noise
from rlkit.dbn.rbm_config import RBMConfig
from rlkit.dbn.rows import Rows, checked_rows
from rlkit.estimator import ConfiguredEstimator

LBFGS_ITERATIONS = 10
"""Of an epoch with the optimizer "lbfgs"."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""From outputs and targets of rows to their mean loss."""


@dataclass(frozen=True)
class FinetuneRecord:
    """What an epoch of fine-tuning came to."""

    epoch: int
    """From 0."""
    loss: float
    """Mean over the epoch's updates, with penalties and what was left out."""
    held_out_loss: float | None
    """Of held-out rows, without both; None where there are none."""


def finetune(
    network: nn.Sequential, rows: Tensor, targets: Tensor, loss: Loss, config: FinetuneConfig
) -> list[FinetuneRecord]:
    """Train a network in place; at the end it has the weights of the smallest held-out loss.

    network: its last layer is the head. rows: (rows, columns), float32. targets: (rows, ...), as
    `loss` takes them.
    Raises ValueError where rows and targets are not as many, ArithmeticError where the loss is no
    longer finite.
    """
    if len(rows) != len(targets):
        raise ValueError(f"there are {len(rows)} rows, but {len(targets)} targets")
    noise = Noise(np.random.SeedSequence((config.seed, 1)))
    order = noise.permutation(len(rows))
    watched = order[: int(len(rows) * config.held_out_share)]
    learnt = order[len(watched) :]
    head = list(network[-1].parameters())
    optimizer = _optimizer(network.parameters(), config)
    if config.frozen_epochs > 0:
        optimizer = _optimizer(head, config)
    records: list[FinetuneRecord] = []
    least, best, since = float("inf"), None, 0
    with torch.random.fork_rng(devices=()), torch.enable_grad():
        # Dropout draws from PyTorch's own generator, which others use as well.
        torch.manual_seed(config.seed)
        for epoch in range(config.epochs):
            if epoch == config.frozen_epochs > 0:
                optimizer = _optimizer(network.parameters(), config)
            network.train()
            batches: Sequence[Tensor] = (learnt,)
            if config.optimizer != "lbfgs":
                batches = learnt[noise.permutation(len(learnt))].split(config.batch_size)
            losses = [
                _update(network, rows[batch], targets[batch], loss, optimizer, config)
                for batch in batches
            ]
            network.eval()
            held_out = None
            if len(watched):
                with torch.no_grad():
                    held_out = float(loss(network(rows[watched]), targets[watched]))
            records.append(FinetuneRecord(epoch, float(np.mean(losses)), held_out))
            if not np.isfinite(losses).all():
                raise ArithmeticError(
                    f"fine-tuning diverged in epoch {epoch}; lower learning_rate"
                    f" (now {config.learning_rate:g})"
                )
            if held_out is None:
                continue
            if held_out < least:
                least, best, since = held_out, copy.deepcopy(network.state_dict()), 0
            else:
                since += 1
            if since >= config.patience:
                break
    if best is not None:
        network.load_state_dict(best)
    network.eval()
    return records


@dataclass(frozen=True)
class FinetunedConfig:
    """A stack, and how it is fine-tuned."""

    layers: tuple[RBMConfig, ...] = (RBMConfig(), RBMConfig())
    """As of `DBNConfig`."""
    finetune: FinetuneConfig = FinetuneConfig()  # noqa: RUF009 -- frozen
    """After the layers have learned."""
    seed: int = 0
    """Non-negative, of the layers; `finetune` has its own."""

    def __post_init__(self) -> None:
        check_layers(self.layers)
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.seed}")


class _Finetuned(ConfiguredEstimator[FinetunedConfig]):
    """What classifier and regressor share."""

    config_class = FinetunedConfig

    dbn_: DBN
    network_: nn.Sequential
    history_: list[FinetuneRecord]
    n_features_in_: int

    def _fit(self, X: Rows, targets: Tensor, outputs: int, loss: Loss, dbn: DBN | None) -> None:
        rows = checked_rows(X, self.config.layers[0].visible)
        if len(rows) != len(targets):
            raise ValueError(f"there are {len(rows)} rows, but {len(targets)} targets")
        if dbn is None:
            dbn = DBN(DBNConfig(self.config.layers, self.config.seed)).fit(rows)
        elif dbn.n_features_in_ != rows.shape[1]:
            raise ValueError(
                f"the pretrained network takes {dbn.n_features_in_} columns, the data has"
                f" {rows.shape[1]}"
            )
        tuning = self.config.finetune
        network = dbn.network(
            outputs=outputs,
            dropout=tuning.dropout,
            drop_connect=tuning.drop_connect,
            seed=tuning.seed,
        )
        self.set_learned(dbn, network, finetune(network, rows, targets, loss, tuning))

    def _outputs(self, X: Rows) -> Tensor:
        network = self._learned("network_")
        rows = checked_rows(X, self.config.layers[0].visible, self.n_features_in_)
        with torch.no_grad():
            return network(rows)

    def set_learned(self, dbn: DBN, network: nn.Sequential, history: list[FinetuneRecord]) -> None:
        """Take over what another training learned, such as from a file."""
        self.dbn_, self.network_, self.history_ = dbn, network, history
        self.n_features_in_ = dbn.n_features_in_

    def __sklearn_is_fitted__(self) -> bool:
        return "network_" in self.__dict__


class DBNClassifier(_Finetuned):
    """A deep belief network with a softmax on top, fine-tuned by cross-entropy.

    Parameters are the fields of `FinetunedConfig`. After `fit`: classes_, sorted; dbn_, the stack
    as it was pretrained; network_, from rows to logits; history_, a `FinetuneRecord` an epoch.
    """

    estimator_type = "classifier"

    classes_: np.ndarray

    def fit(self, X: Rows, y: ArrayLike, *, pretrained: DBN | None = None) -> Self:
        """Learn the layers from X, then everything from X and y.

        X: (rows, columns). y: (rows,), labels of any kind, of at least two classes.
        pretrained: a fitted stack to start from instead, such as one of unlabelled rows.
        """
        labels = np.asarray(y)
        if labels.ndim != 1:
            raise ValueError(f"labels must have one dimension, got {labels.shape}")
        classes, numbers = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"labels must be of at least two classes, got {classes.tolist()}")
        self._fit(X, torch.from_numpy(numbers), len(classes), cross_entropy, pretrained)
        self.classes_ = classes
        return self

    def decision_function(self, X: Rows) -> np.ndarray:
        """Logits, float32, (rows, classes); the one of the second class less that of the first,
        (rows,), where there are two."""
        logits = self._outputs(X).numpy()
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict_proba(self, X: Rows) -> np.ndarray:
        """Chances of the classes, float32, (rows, classes)."""
        return self._outputs(X).softmax(dim=1).numpy()

    def predict(self, X: Rows) -> np.ndarray:
        """The most likely labels, (rows,)."""
        return self._learned("classes_")[self._outputs(X).argmax(dim=1).numpy()]

    def score(self, X: Rows, y: ArrayLike) -> float:
        """Share of labels that are predicted, in [0, 1]."""
        return float(np.mean(self.predict(X) == np.asarray(y)))


class DBNRegressor(_Finetuned):
    """A deep belief network with linear outputs on top, fine-tuned by squared errors.

    Parameters are the fields of `FinetunedConfig`. After `fit`: dbn_, the stack as it was
    pretrained; network_, from rows to targets in standard deviations from their mean; target_mean_
    and target_scale_, (outputs,); history_, a `FinetuneRecord` an epoch.
    """

    estimator_type = "regressor"

    target_mean_: np.ndarray
    one_column_: bool
    target_scale_: np.ndarray

    def fit(self, X: Rows, y: ArrayLike, *, pretrained: DBN | None = None) -> Self:
        """Learn the layers from X, then everything from X and y.

        X: (rows, columns). y: (rows,) or (rows, outputs), finite numbers.
        pretrained: a fitted stack to start from instead.
        """
        targets = np.asarray(y, dtype=np.float64)
        if targets.ndim not in (1, 2):
            raise ValueError(f"targets must have one or two dimensions, got {targets.shape}")
        if not np.isfinite(targets).all():
            raise ValueError(
                f"targets must be finite, row {np.argwhere(~np.isfinite(targets))[0][0]} is not"
            )
        table = targets.reshape(len(targets), -1)
        mean, scale = table.mean(axis=0), table.std(axis=0)
        scale[scale == 0.0] = 1.0
        standard = torch.from_numpy(((table - mean) / scale).astype(np.float32))
        self._fit(X, standard, table.shape[1], mse_loss, pretrained)
        self.target_mean_, self.target_scale_ = mean, scale
        self.one_column_ = targets.ndim == 1
        return self

    def predict(self, X: Rows) -> np.ndarray:
        """Targets, float64, (rows,) or (rows, outputs) as `fit` was given."""
        outputs = self._outputs(X).double().numpy()
        targets = outputs * self.target_scale_ + self.target_mean_
        return targets[:, 0] if self.one_column_ else targets

    def score(self, X: Rows, y: ArrayLike) -> float:
        """Coefficient of determination R^2, at most 1, the mean over outputs."""
        targets = np.asarray(y, dtype=np.float64)
        rest = np.square(targets - self.predict(X)).sum(axis=0)
        spread = np.square(targets - targets.mean(axis=0)).sum(axis=0)
        return float(np.mean(1.0 - rest / spread))


def _optimizer(parameters: Any, config: FinetuneConfig) -> torch.optim.Optimizer:
    match config.optimizer:
        case "adam":
            return torch.optim.Adam(parameters, lr=config.learning_rate)
        case "sgd":
            return torch.optim.SGD(parameters, lr=config.learning_rate, momentum=config.momentum)
        case "lbfgs":
            return torch.optim.LBFGS(
                parameters,
                lr=config.learning_rate,
                max_iter=LBFGS_ITERATIONS,
                history_size=LBFGS_ITERATIONS,
                line_search_fn="strong_wolfe",
            )


def _update(
    network: nn.Sequential,
    rows: Tensor,
    targets: Tensor,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    config: FinetuneConfig,
) -> float:
    """One step; the loss before it."""

    def closure() -> float:
        optimizer.zero_grad()
        value = loss(network(rows), targets) + _penalty(network, config)
        value.backward()
        return float(value.detach())

    return float(optimizer.step(closure))  # type: ignore[arg-type]


def _penalty(network: nn.Sequential, config: FinetuneConfig) -> Tensor | float:
    """L1 and L2 of weights; biases are free."""
    if config.l1 == 0.0 and config.l2 == 0.0:
        return 0.0
    weights: Sequence[Tensor] = [layer.weight for layer in network if isinstance(layer, nn.Linear)]
    absolute = sum(weight.abs().sum() for weight in weights)
    squared = sum(weight.square().sum() for weight in weights)
    return config.l1 * absolute + 0.5 * config.l2 * squared
