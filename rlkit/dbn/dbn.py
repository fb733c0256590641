"""Deep belief networks: restricted Boltzmann machines on top of one another, learned greedily.

Hinton, Osindero & Teh (2006), "A fast learning algorithm for deep belief nets". The two top layers
are a Boltzmann machine; those below generate downwards. Fine-tuning is in `finetune.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.special import entr

from rlkit.dbn.likelihood import LogPartition, log_likelihood
from rlkit.dbn.machine import Machine
from rlkit.dbn.network import check_stack, feed_forward
from rlkit.dbn.noise import Noise
from rlkit.dbn.rbm import RBM, OnEpoch
from rlkit.dbn.rbm_config import RBMConfig
from rlkit.dbn.rbm_watch import EpochRecord
from rlkit.dbn.rows import Rows, checked_rows, split_rows
from rlkit.estimator import ConfiguredEstimator


@dataclass(frozen=True)
class DBNConfig:
    """A stack. Raises ValueError for layers that cannot lie on one another."""

    layers: tuple[RBMConfig, ...] = (RBMConfig(), RBMConfig())
    """From the bottom up; only the first may have Gaussian visible units. The first one's
    `held_out_share` holds for all."""
    seed: int = 0
    """Non-negative; with each layer's own it makes the seed that the layer learns with."""

    def __post_init__(self) -> None:
        check_layers(self.layers)
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.seed}")


def check_layers(layers: tuple[RBMConfig, ...]) -> None:
    """Raises ValueError for layers that cannot lie on one another."""
    if not layers:
        raise ValueError("layers must name at least one")
    for number, layer in enumerate(layers[1:], start=1):
        if layer.visible != "bernoulli":
            raise ValueError(
                f"layer {number} has {layer.visible} visible units, but the layer below gives"
                ' chances; only the first layer may be "gaussian"'
            )


class DBN(ConfiguredEstimator[DBNConfig]):
    """Learns features of features, and dreams.

    Parameters are the fields of `DBNConfig`. After `fit`, layers_: an `RBM` each, from the bottom
    up, and n_features_in_: columns of the data.
    """

    config_class = DBNConfig

    layers_: list[RBM]
    n_features_in_: int

    def fit(
        self,
        X: Rows,
        y: object = None,
        *,
        held_out: Rows | None = None,
        on_epoch: Sequence[OnEpoch] = (),
    ) -> Self:
        """Learn one layer after the other, each from the chances of the hidden units below.

        X: (rows, visible). y: ignored. held_out: rows to watch; None takes a share of X.
        on_epoch: as of `RBM.fit`.
        Raises and warns as `RBM.fit` does, and leaves what was learned before where it raises.
        """
        layers = self.config.layers
        rows = checked_rows(X, layers[0].visible)
        if held_out is None:
            noise = Noise(np.random.SeedSequence((self.config.seed, len(layers))))
            rows, watched = split_rows(rows, layers[0].held_out_share, noise)
        else:
            watched = checked_rows(held_out, layers[0].visible, rows.shape[1])
        learned: list[RBM] = []

        def watch(record: EpochRecord, rbm: RBM, _: Sequence[RBM]) -> None:
            for watcher in on_epoch:
                watcher(record, rbm, tuple(learned))

        for number, config in enumerate(layers):
            entropy = np.random.SeedSequence((self.config.seed, config.seed, number))
            seed = int(entropy.generate_state(1)[0])
            rbm = RBM(replace(config, seed=seed, held_out_share=0.0))
            rbm.fit(rows, held_out=watched, on_epoch=[watch] if on_epoch else ())
            rows = torch.from_numpy(rbm.transform(rows))
            watched = None if watched is None else torch.from_numpy(rbm.transform(watched))
            learned.append(rbm)
        return self.set_learned(learned)

    def set_learned(self, layers: list[RBM]) -> Self:
        """Take over fitted machines, such as from a file, from the bottom up.

        Raises ValueError where they do not lie on one another or are not as many as configured.
        """
        check_stack([layer.machine_ for layer in layers])
        sizes = [layer.config.hidden_units for layer in layers]
        wanted = [layer.hidden_units for layer in self.config.layers]
        if sizes != wanted:
            raise ValueError(f"the configuration says {wanted} hidden units, the layers {sizes}")
        self.layers_ = list(layers)
        self.n_features_in_ = layers[0].n_features_in_
        self._sampling = Noise(np.random.SeedSequence((self.config.seed, len(layers) + 1)))
        return self

    def transform(self, X: Rows) -> np.ndarray:
        """Chances of the top hidden units, float32, (rows, hidden): the mean-field pass."""
        features: Any = X
        for layer in self._layers:
            features = layer.transform(features)
        return features

    def fit_transform(self, X: Rows, y: object = None, **fit_parameters: Any) -> np.ndarray:
        """`fit`, then `transform` of the same rows."""
        return self.fit(X, y, **fit_parameters).transform(X)

    def inverse_transform(self, H: Rows) -> np.ndarray:
        """Means of the data given the top hidden units, float32, (rows, visible)."""
        rows: Any = H
        for layer in reversed(self._layers):
            rows = layer.inverse_transform(rows)
        return rows

    def sample(
        self, rows: int, *, steps: int = 1000, means: bool = True, seed: int | None = None
    ) -> np.ndarray:
        """What the network dreams: Gibbs steps in the top machine, then down (Hinton 2006, 5).

        steps: of the top machine, from independent units. means: of the lowest layer's units,
        instead of samples. seed: None differs from call to call.
        Returns float32, (rows, visible).
        """
        layers = self._layers
        noise = self._sampling if seed is None else Noise(np.random.SeedSequence((seed, 1)))
        state = torch.from_numpy(layers[-1].sample(rows, steps=steps, seed=seed))
        lowest = layers[0].machine_
        if len(layers) == 1:
            state = lowest.sample_hidden(state, noise)
        for layer in reversed(layers[1:-1]):
            state = layer.machine_.sample_visible(state, noise)
        visible = lowest.visible_mean(state) if means else lowest.sample_visible(state, noise)
        return visible.numpy()

    def lower_bound(
        self, X: Rows, partition: LogPartition | None = None, *, samples: int = 10, seed: int = 0
    ) -> np.ndarray:
        """A bound of log p(v) from below, estimated, in nats, float64, (rows,).

        Salakhutdinov & Murray (2008, section 3): the mean over q(h | v), the upward pass, of
        log p(v, h), and the entropy of q. partition: log Z of the top machine; None computes it as
        `RBM.log_partition` does. samples: of h for each row.
        """
        layers = self._layers
        if samples < 1:
            raise ValueError(f"samples must be at least 1, got {samples}")
        rows = checked_rows(X, layers[0].config.visible, self.n_features_in_)
        partition = layers[-1].log_partition() if partition is None else partition
        noise = Noise(seed)
        total = torch.zeros(len(rows), dtype=torch.float64)
        for _ in range(samples):
            state = rows
            for layer in layers[:-1]:
                state, gained = _gone_up(layer.machine_, state, noise)
                total += gained
            total += log_likelihood(layers[-1].machine_, state, partition)
        return (total / samples).numpy()

    def network(
        self,
        *,
        outputs: int | None = None,
        dropout: float = 0.0,
        drop_connect: float = 0.0,
        seed: int = 0,
    ) -> nn.Sequential:
        """The stack as a feed-forward network of its own memory; see `network.feed_forward`."""
        return feed_forward(
            [layer.machine_ for layer in self._layers],
            outputs=outputs,
            dropout_share=dropout,
            drop_connect_share=drop_connect,
            seed=seed,
        )

    @property
    def n_features_out_(self) -> int:
        """Columns of what `transform` returns."""
        return self._layers[-1].n_features_out_

    def __sklearn_is_fitted__(self) -> bool:
        return "layers_" in self.__dict__

    @property
    def _layers(self) -> list[RBM]:
        return self._learned("layers_")


def _gone_up(machine: Machine, v: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """h from q(h | v), and what the bound gains there: log p(v | h) and the entropy of q."""
    chances = machine.hidden_mean(v)
    h = noise.bernoulli(chances)
    entropy = (entr(chances) + entr(1.0 - chances)).sum(dim=1)
    return h, (machine.log_conditional(v, h) + entropy).double()
