"""How one restricted Boltzmann machine is trained (`rlkit.dbn.rbm.RBM`).

Advice on values is from Hinton (2012), "A practical guide to training restricted Boltzmann
machines", where no other source is named.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch

from rlkit.dbn.machine import VisibleUnits
from rlkit_agents.precision import Precision, is_bfloat16

NegativeChains = Literal["data", "noise", "persistent", "tempered"]


@dataclass(frozen=True)
class RBMConfig:
    """Size and training of a machine. Raises ValueError for values that make no sense."""

    hidden_units: int = 256
    """Of which all are binary."""
    visible: VisibleUnits = "bernoulli"
    """Units of the data: "bernoulli" for values in [0, 1], "gaussian" for real ones, which are
    standardised for training and have variances that are learned (Liao et al. 2022)."""
    negative_chains: NegativeChains = "persistent"
    """Where the chains of the negative phase start: at the "data" (CD-k, Hinton 2002), at N(0, 1)
    or even coin flips ("noise", the modified CD of Liao et al. 2022, which needs many Gibbs steps),
    where the last update left them ("persistent", Tieleman 2008), or so and with chains at other
    temperatures beside them ("tempered", Desjardins et al. 2010)."""
    gibbs_steps: int = 1
    """k, of each update."""
    chains: int | None = None
    """Of the persistent or tempered negative phase; None means as many as `batch_size`."""
    temperatures: int = 10
    """Of tempered chains, from the machine down to independent units; each costs as much as a
    persistent chain."""
    epochs: int = 10
    """Passes over the data; 0 leaves the initial weights."""
    batch_size: int = 100
    """Rows of an update; 10 to 100 are advised."""
    learning_rate: float = 0.1
    """Of the gradient averaged over a batch. Gaussian units: 0.01 (Liao et al. 2022)."""
    final_learning_rate: float | None = 0.0
    """Reached at the end of `fit` on a straight line; None keeps the learning rate. Persistent
    chains lag behind large steps, and the last ones are noise (Tieleman 2008)."""
    momentum: float = 0.0
    """In [0, 1), from the epoch `momentum_epochs` on. 0.9 makes steps ten times longer."""
    initial_momentum: float = 0.5
    """Before, where `momentum` is larger."""
    momentum_epochs: int = 5
    """Epochs with the initial momentum."""
    weight_decay: float = 0.0
    """Factor of the L2 penalty on weights, half their squared sum; 0.0002 is advised."""
    sparsity_target: float | None = None
    """Share of data for which a hidden unit should be on, in (0, 1), such as 0.05; None for any."""
    sparsity_cost: float = 0.1
    """Factor of the cross-entropy between the target and the share that is measured."""
    sparsity_decay: float = 0.95
    """Of the moving average that measures it, in [0, 1)."""
    gradient_norm: float | None = None
    """Largest norm of an update's gradient; None clips not. Gaussian units are clipped at 10 where
    this is None (Liao et al. 2022)."""
    initial_variance: float = 0.1
    """Of Gaussian units given hidden ones, as a share of the variance of the data. At 1 units of
    their own explain mean and variance already, from where weights hardly grow."""
    held_out_share: float = 0.1
    """Share of rows that `fit` keeps from training, in [0, 1), to watch the gap in free energy and
    to notice divergence. 0 trains on all and notices only numbers that are not finite."""
    precision: Precision = "float32"
    """Of the matrix products of training; weights stay float32. "bfloat16" is for Bernoulli visible
    units, of which it rounds no zero and no one; "auto" takes it for them where the processor is
    fast at it."""
    seed: int = 0
    """Non-negative; the same seed gives the same weights on the same machine."""

    def __post_init__(self) -> None:
        for name in ("hidden_units", "gibbs_steps", "batch_size"):
            _require(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("epochs", "momentum_epochs", "seed"):
            _require(name, getattr(self, name), getattr(self, name) >= 0, "at least 0")
        if self.visible not in ("bernoulli", "gaussian"):
            raise ValueError(f'visible must be "bernoulli" or "gaussian", got {self.visible!r}')
        if self.precision not in get_args(Precision):
            known = ", ".join(get_args(Precision))
            raise ValueError(f"precision must be one of {known}, got {self.precision!r}")
        if self.precision == "bfloat16" and self.visible == "gaussian":
            raise ValueError(
                "precision bfloat16 is for Bernoulli visible units: real values would keep 3 digits"
            )
        if self.negative_chains not in ("data", "noise", "persistent", "tempered"):
            raise ValueError(
                'negative_chains must be "data", "noise", "persistent" or "tempered", got'
                f" {self.negative_chains!r}"
            )
        _require("chains", self.chains, self.chains is None or self.chains >= 1, "at least 1")
        _require("temperatures", self.temperatures, self.temperatures >= 2, "at least 2")
        rate, final = self.learning_rate, self.final_learning_rate
        _require("learning_rate", rate, 0.0 < rate < math.inf, "positive and finite")
        _require(
            "final_learning_rate",
            final,
            final is None or 0.0 <= final <= rate,
            f"from 0 to learning_rate ({rate})",
        )
        for name in ("momentum", "initial_momentum", "sparsity_decay", "held_out_share"):
            _require(name, getattr(self, name), 0.0 <= getattr(self, name) < 1.0, "in [0, 1)")
        for name in ("weight_decay", "sparsity_cost"):
            value = getattr(self, name)
            _require(name, value, 0.0 <= value < math.inf, "finite and not negative")
        share = self.initial_variance
        _require("initial_variance", share, 0.0 < share <= 1.0, "in (0, 1]")
        target, norm = self.sparsity_target, self.gradient_norm
        _require("sparsity_target", target, target is None or 0.0 < target < 1.0, "in (0, 1)")
        _require(
            "gradient_norm", norm, norm is None or 0.0 < norm < math.inf, "positive and finite"
        )

    @classmethod
    def gaussian(cls, **changes: Any) -> RBMConfig:
        """What to start from for real values: tempered chains and small steps that end at 0.

        Other chains hardly cross between well-separated clusters, and both they and long last steps
        weigh clusters wrongly.
        changes: fields that differ.
        """
        advice = {"negative_chains": "tempered", "chains": 20, "learning_rate": 0.01}
        return cls(**{"visible": "gaussian", **advice, **changes})

    @property
    def multiplies_bfloat16(self) -> bool:
        """Whether training multiplies in bfloat16 on this machine."""
        return self.visible == "bernoulli" and is_bfloat16(self.precision, torch.device("cpu"))

    @property
    def clipped_norm(self) -> float | None:
        """At which gradients are clipped."""
        if self.gradient_norm is None and self.visible == "gaussian":
            return 10.0
        return self.gradient_norm

    def learning_rate_at(self, progress: float) -> float:
        """After that share of the training, in [0, 1]."""
        if self.final_learning_rate is None:
            return self.learning_rate
        return self.learning_rate + progress * (self.final_learning_rate - self.learning_rate)

    def momentum_at(self, epoch: int) -> float:
        """In the epoch of that number, the first being 0."""
        if epoch < self.momentum_epochs:
            return min(self.initial_momentum, self.momentum)
        return self.momentum


def _require(name: str, value: object, holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"{name} must be {what}, got {value}")
