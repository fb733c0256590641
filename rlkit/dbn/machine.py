"""Restricted Boltzmann machines as mathematics: energies, conditionals and one Gibbs step.

Sources: Hinton (2012), "A practical guide to training restricted Boltzmann machines"; for Gaussian
visible units with variances of their own, Liao et al. (2022), "Gaussian-Bernoulli RBMs without
tears". Training is in `rbm_training.py`, partition functions are in `likelihood.py`.

Shapes: v (rows, visible), h (rows, hidden), weights (hidden, visible) as in scikit-learn's
`components_`. All tensors of a machine share one floating dtype and live on the CPU.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, Self

import torch
from torch import Tensor
from torch.nn.functional import softplus

from rlkit.dbn.noise import Noise

VisibleUnits = Literal["bernoulli", "gaussian"]

SMALLEST_CHANCE = 1e-6
"""Reconstructed chances are kept this far from 0 and 1 in cross-entropies; float32 rounds there."""


@dataclass(frozen=True)
class Machine(ABC):
    """Parameters of a machine with Bernoulli hidden units, p(v, h) = exp(-E(v, h)) / Z."""

    weights: Tensor
    """(hidden, visible)."""
    visible_bias: Tensor
    """(visible,): logits of Bernoulli units, means of Gaussian ones, where no hidden unit is on."""
    hidden_bias: Tensor
    """(hidden,): logits."""

    def __post_init__(self) -> None:
        hidden, visible = self.weights.shape
        for name, tensor in self.tensors().items():
            wanted = {"weights": (hidden, visible), "hidden_bias": (hidden,)}.get(name, (visible,))
            if tuple(tensor.shape) != wanted:
                raise ValueError(
                    f"{name} must have the shape {wanted} beside weights of"
                    f" {(hidden, visible)}, got {tuple(tensor.shape)}"
                )

    @property
    def visible_units(self) -> int:
        return self.weights.shape[1]

    @property
    def hidden_units(self) -> int:
        return self.weights.shape[0]

    @property
    @abstractmethod
    def kind(self) -> VisibleUnits:
        """Of visible units."""

    def tensors(self) -> dict[str, Tensor]:
        """All parameters by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def to(self, dtype: torch.dtype) -> Self:
        """A copy in another precision; the machine itself where it has that already."""
        return type(self)(**{name: tensor.to(dtype) for name, tensor in self.tensors().items()})

    def copy(self) -> Self:
        """A copy that shares no memory."""
        return type(self)(**{name: tensor.clone() for name, tensor in self.tensors().items()})

    def is_finite(self) -> bool:
        """Whether every parameter is a number."""
        return all(bool(torch.isfinite(tensor).all()) for tensor in self.tensors().values())

    @abstractmethod
    def seen(self, v: Tensor) -> Tensor:
        """What the weights multiply: v itself, or (v - offset) / variance; (rows, visible)."""

    @abstractmethod
    def visible_energy(self, v: Tensor) -> Tensor:
        """The part of the energy that knows no hidden unit, (rows,)."""

    @abstractmethod
    def log_sum_over_visible(self, coupling: Tensor) -> Tensor:
        """log of the sum (integral) over v of exp(-visible_energy(v) + seen(v) . coupling).

        coupling: (rows, visible), h @ weights. Returns (rows,).
        """

    @abstractmethod
    def visible_mean(self, h: Tensor) -> Tensor:
        """E[v | h], (rows, visible)."""

    @abstractmethod
    def log_conditional(self, v: Tensor, h: Tensor) -> Tensor:
        """log p(v | h), in nats, (rows,)."""

    @abstractmethod
    def sample_visible(self, h: Tensor, noise: Noise) -> Tensor:
        """v from p(v | h), (rows, visible)."""

    @abstractmethod
    def sample_visible_tempered(
        self, h: Tensor, base: Machine, inverse_temperature: Tensor | float, noise: Noise
    ) -> Tensor:
        """v given h on the way from `base`, which has no weights, to this machine.

        inverse_temperature: in [0, 1], one number or (rows, 1). See `tempering.TemperedPath`.
        """

    @abstractmethod
    def reconstruction_error(self, v: Tensor) -> Tensor:
        """How far v is from its mean-field reconstruction, (rows,): cross-entropy in nats of
        Bernoulli units; squared error, summed over units, of Gaussian ones."""

    def hidden_input(self, v: Tensor) -> Tensor:
        """Logits of hidden units given v, (rows, hidden)."""
        return torch.addmm(self.hidden_bias, self.seen(v), self.weights.T)

    def hidden_mean(self, v: Tensor) -> Tensor:
        """p(h = 1 | v), (rows, hidden)."""
        return self.hidden_input(v).sigmoid_()

    def sample_hidden(self, v: Tensor, noise: Noise) -> Tensor:
        """h from p(h | v), (rows, hidden)."""
        return noise.bernoulli(self.hidden_mean(v))

    def gibbs_step(self, v: Tensor, noise: Noise) -> Tensor:
        """v -> h -> v', which leaves p(v) as it is and obeys detailed balance; (rows, visible)."""
        return self.sample_visible(self.sample_hidden(v, noise), noise)

    def energy(self, v: Tensor, h: Tensor) -> Tensor:
        """E(v, h) in nats, (rows,)."""
        coupled = (self.hidden_input(v) * h).sum(dim=1)
        return self.visible_energy(v) - coupled

    def free_energy(self, v: Tensor) -> Tensor:
        """F(v) = -log of the sum over h of exp(-E(v, h)), in nats, (rows,)."""
        return self.visible_energy(v) - softplus(self.hidden_input(v)).sum(dim=1)

    def reconstruction(self, v: Tensor) -> Tensor:
        """Mean of v given the mean of h given v, (rows, visible)."""
        return self.visible_mean(self.hidden_mean(v))

    @abstractmethod
    def base(self) -> Machine:
        """The machine of the same visible biases whose units are all independent."""


@dataclass(frozen=True)
class BernoulliMachine(Machine):
    """Binary visible units: E(v, h) = -v.b - h.c - h W v (Hinton 2012, eq. 1)."""

    @property
    def kind(self) -> VisibleUnits:
        return "bernoulli"

    def seen(self, v: Tensor) -> Tensor:
        return v

    def visible_energy(self, v: Tensor) -> Tensor:
        return -(v @ self.visible_bias)

    def log_sum_over_visible(self, coupling: Tensor) -> Tensor:
        return softplus(coupling + self.visible_bias).sum(dim=1)

    def visible_mean(self, h: Tensor) -> Tensor:
        return torch.addmm(self.visible_bias, h, self.weights).sigmoid_()

    def log_conditional(self, v: Tensor, h: Tensor) -> Tensor:
        logits = torch.addmm(self.visible_bias, h, self.weights)
        return (v * logits - softplus(logits)).sum(dim=1)

    def sample_visible(self, h: Tensor, noise: Noise) -> Tensor:
        return noise.bernoulli(self.visible_mean(h))

    def sample_visible_tempered(
        self, h: Tensor, base: Machine, inverse_temperature: Tensor | float, noise: Noise
    ) -> Tensor:
        own = torch.addmm(self.visible_bias, h, self.weights)
        logits = own * inverse_temperature + base.visible_bias * (1.0 - inverse_temperature)
        return noise.bernoulli(logits.sigmoid_())

    def reconstruction_error(self, v: Tensor) -> Tensor:
        chances = self.reconstruction(v).clamp_(SMALLEST_CHANCE, 1.0 - SMALLEST_CHANCE)
        losses = torch.nn.functional.binary_cross_entropy(chances, v, reduction="none")
        return losses.sum(dim=1)

    def base(self) -> BernoulliMachine:
        return BernoulliMachine(
            torch.zeros_like(self.weights), self.visible_bias, torch.zeros_like(self.hidden_bias)
        )


@dataclass(frozen=True)
class GaussianMachine(Machine):
    """Real visible units with variances of their own (Liao et al. 2022, section 2):

    E(v, h) = sum_i (v_i - b_i)^2 / (2 s_i^2) - sum_i (v_i - o_i) / s_i^2 (h W)_i - h.c

    The offset o, zero there, keeps columns whose mean is far from zero exact in float32; it only
    stands for other hidden biases.
    """

    log_variance: Tensor
    """(visible,): log s^2."""
    offset: Tensor
    """(visible,): o, in units of v."""

    @property
    def kind(self) -> VisibleUnits:
        return "gaussian"

    @property
    def variance(self) -> Tensor:
        """(visible,): s^2 of v given h."""
        return self.log_variance.exp()

    def seen(self, v: Tensor) -> Tensor:
        return (v - self.offset) / self.variance

    def visible_energy(self, v: Tensor) -> Tensor:
        return ((v - self.visible_bias).square() / self.variance).sum(dim=1) * 0.5

    def log_sum_over_visible(self, coupling: Tensor) -> Tensor:
        volume = 0.5 * (self.log_variance.sum() + self.visible_units * math.log(2.0 * math.pi))
        linear = coupling @ ((self.visible_bias - self.offset) / self.variance)
        return volume + linear + 0.5 * (coupling.square() @ (1.0 / self.variance))

    def visible_mean(self, h: Tensor) -> Tensor:
        return torch.addmm(self.visible_bias, h, self.weights)

    def log_conditional(self, v: Tensor, h: Tensor) -> Tensor:
        squared = (v - self.visible_mean(h)).square() / self.variance
        return -0.5 * (squared + self.log_variance + math.log(2.0 * math.pi)).sum(dim=1)

    def sample_visible(self, h: Tensor, noise: Noise) -> Tensor:
        return noise.normal(self.visible_mean(h), (0.5 * self.log_variance).exp())

    def sample_visible_tempered(
        self, h: Tensor, base: Machine, inverse_temperature: Tensor | float, noise: Noise
    ) -> Tensor:
        assert isinstance(base, GaussianMachine)
        own_precision = inverse_temperature / self.variance
        base_precision = (1.0 - inverse_temperature) / base.variance
        precision = own_precision + base_precision
        mean = self.visible_mean(h) * own_precision + base.visible_bias * base_precision
        return noise.normal(mean / precision, precision.rsqrt())

    def reconstruction_error(self, v: Tensor) -> Tensor:
        return (v - self.reconstruction(v)).square().sum(dim=1)

    def base(self) -> GaussianMachine:
        return GaussianMachine(
            torch.zeros_like(self.weights),
            self.visible_bias,
            torch.zeros_like(self.hidden_bias),
            self.log_variance,
            self.offset,
        )

    def moved(self, mean: Tensor, scale: Tensor) -> GaussianMachine:
        """The same machine over v = mean + scale * (its own v); mean, scale: (visible,), scale > 0.

        Densities are those of the new units: their logarithms are smaller by sum(log scale).
        """
        return GaussianMachine(
            self.weights * scale,
            mean + scale * self.visible_bias,
            self.hidden_bias.clone(),
            self.log_variance + 2.0 * scale.log(),
            mean + scale * self.offset,
        )


MACHINES: Mapping[VisibleUnits, type[BernoulliMachine] | type[GaussianMachine]] = {
    "bernoulli": BernoulliMachine,
    "gaussian": GaussianMachine,
}


def base_rates(rows: Tensor, kind: VisibleUnits, hidden_units: int) -> Machine:
    """The machine without weights that fits the columns of `rows`, each for itself.

    rows: (rows, visible). Bernoulli columns count as if one more row had been half on, so that no
    logit is infinite; Gaussian ones get their mean and variance, which must be positive.
    """
    visible = rows.shape[1]
    dtype = rows.dtype
    weights = torch.zeros(hidden_units, visible, dtype=dtype)
    hidden_bias = torch.zeros(hidden_units, dtype=dtype)
    if kind == "bernoulli":
        chances = (rows.sum(dim=0) + 0.5) / (len(rows) + 1.0)
        return BernoulliMachine(weights, torch.logit(chances), hidden_bias)
    variance, mean = torch.var_mean(rows, dim=0, correction=0)
    return GaussianMachine(weights, mean, hidden_bias, variance.log(), mean.clone())
