"""Gradient steps on a restricted Boltzmann machine, in place and in buffers that are kept.

The gradient of the log-likelihood is a mean over data less a mean over the machine's own samples
(Hinton 2012, eq. 5). Both are one matrix product here: rows of samples and of data lie below one
another, the samples' hidden means negated, and what comes out is added to the weights at once.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rlkit.dbn.machine import BernoulliMachine, GaussianMachine, Machine
from rlkit.dbn.noise import Noise
from rlkit.dbn.rbm_config import RBMConfig
from rlkit.dbn.tempering import TemperedChains

SMALLEST_LOG_VARIANCE = math.log(1e-8)
"""Of Gaussian units (the smallest variance of Liao et al.'s published code)."""


def initial_machine(base: Machine, noise: Noise, initial_variance: float = 1.0) -> Machine:
    """Small random weights, visible biases of the base (Hinton 2012, section 8), no hidden biases.

    Weights are from N(0, 0.01^2) beside Bernoulli units and from N(0, 1 / (visible + hidden))
    beside Gaussian ones (Liao et al.'s published code), whose variances are `initial_variance` of
    the base's.
    """
    machine = base.copy()
    scale = 0.01
    if isinstance(machine, GaussianMachine):
        scale = 1.0 / math.sqrt(machine.visible_units + machine.hidden_units)
        machine.log_variance.add_(math.log(initial_variance))
    noise.normal_(machine.weights).mul_(scale)
    return machine


class Trainer:
    """A machine that learns; its tensors change in place."""

    def __init__(self, machine: Machine, base: Machine, config: RBMConfig, noise: Noise) -> None:
        """base: independent units that fit the data, where tempered chains come from.

        machine: float32; its memory is used. Gaussian ones have offset 0: standardise the data.
        """
        self.machine, self.config, self.noise = machine, config, noise
        visible, hidden = machine.visible_units, machine.hidden_units
        self.chains = config.batch_size
        if config.negative_chains in ("persistent", "tempered") and config.chains is not None:
            self.chains = config.chains
        rows = self.chains + config.batch_size
        self._seen = torch.empty(rows, visible)
        self._hidden = torch.empty(rows, hidden)
        self._samples = torch.empty(self.chains, hidden)
        self._chances = torch.empty(self.chains, visible)
        self._factors = torch.empty(rows)
        self._rounded: Tensor | None = None  # the weights in bfloat16, as an update begins
        if config.multiplies_bfloat16:
            self._rounded = torch.empty_like(machine.weights, dtype=torch.bfloat16)
        self._activity: Tensor | None = None
        self._tempered: TemperedChains | None = None
        if config.negative_chains == "persistent":
            self._samples.zero_()
            start = base.sample_visible(self._samples, noise)
            noise.bernoulli_into(self._samples, machine.hidden_mean(start))
        elif config.negative_chains == "tempered":
            self._tempered = TemperedChains(base, self.chains, config.temperatures, noise)
        # With plain steps the product goes straight into the weights, without a buffer between.
        self._velocities: dict[str, Tensor] = {}
        if config.momentum > 0.0 or config.clipped_norm is not None:
            self._velocities = {n: torch.zeros_like(t) for n, t in machine.tensors().items()}
            self._velocities.pop("offset", None)

    def step(self, batch: Tensor, learning_rate: float, momentum: float) -> None:
        """One update towards the likelihood of a batch.

        batch: (rows, visible), float32, rows at most `batch_size`.
        """
        count = len(batch)
        chains = count if self.config.negative_chains == "data" else self.chains
        seen, hidden = self._seen[: chains + count], self._hidden[: chains + count]
        self._write_seen(seen[chains:], batch)
        machine, config = self.machine, self.config
        if self._rounded is not None:
            self._rounded.copy_(machine.weights)
        if config.negative_chains in ("persistent", "tempered"):
            self._negative_visible(seen[:chains])
            self._hidden_means(seen, hidden)
        else:
            self._hidden_means(seen[chains:], hidden[chains:])
            if config.negative_chains == "data":
                self.noise.bernoulli_into(self._samples[:chains], hidden[chains:])
            else:
                self._samples.copy_(self._from_noise(chains))
            self._negative_visible(seen[:chains])
            self._hidden_means(seen[:chains], hidden[:chains])
        if config.negative_chains == "persistent":
            self.noise.bernoulli_into(self._samples, hidden[:chains])
        hidden[:chains].mul_(-count / chains)
        factors = self._factors[: chains + count]
        factors[:chains] = -count / chains
        factors[chains:] = 1.0
        # So that the penalty weighs as much as without momentum, which stretches the gradient.
        decay = 1.0 - learning_rate * config.weight_decay / (1.0 - momentum)
        if config.clipped_norm is not None:
            self._clipped_step(seen, hidden, factors, chains, learning_rate, momentum, decay)
            return
        if config.sparsity_target is not None:
            # Taken from the means of the data, it goes into biases and, by each row, into weights.
            hidden[chains:].sub_(self._sparsity_gradient(hidden[chains:]))
        rate = learning_rate / count
        if not self._velocities:
            self._add_product(machine.weights, hidden, seen, beta=decay, alpha=rate)
            machine.hidden_bias.add_(hidden.sum(dim=0), alpha=rate)
            machine.visible_bias.addmv_(seen.T, factors, alpha=rate)
            return
        velocities = self._velocities
        self._add_product(velocities["weights"], hidden, seen, beta=momentum, alpha=rate)
        velocities["hidden_bias"].mul_(momentum).add_(hidden.sum(dim=0), alpha=rate)
        velocities["visible_bias"].addmv_(seen.T, factors, beta=momentum, alpha=rate)
        self._move(decay)

    def _clipped_step(
        self,
        seen: Tensor,
        hidden: Tensor,
        factors: Tensor,
        chains: int,
        learning_rate: float,
        momentum: float,
        decay: float,
    ) -> None:
        """An update whose gradient is computed apart, because its norm decides its length."""
        machine, limit = self.machine, self.config.clipped_norm
        assert limit is not None
        count = len(seen) - chains
        gradients = {
            "weights": self._product(hidden.T, seen) / count,
            "hidden_bias": hidden.sum(dim=0) / count,
            "visible_bias": seen.T @ factors / count,
        }
        if isinstance(machine, GaussianMachine):
            gradients["log_variance"] = _log_variance_gradient(
                machine, seen, factors / count, gradients["weights"]
            )
        if self.config.sparsity_target is not None:
            sparsity = self._sparsity_gradient(hidden[chains:])
            gradients["weights"].addr_(sparsity, seen[chains:].mean(dim=0), alpha=-1.0)
            gradients["hidden_bias"].sub_(sparsity)
        norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients.values()))
        scale = learning_rate if norm <= limit else learning_rate * limit / norm
        for name, gradient in gradients.items():
            self._velocities[name].mul_(momentum).add_(gradient, alpha=scale)
        self._move(decay)
        if isinstance(machine, GaussianMachine):
            machine.log_variance.clamp_(min=SMALLEST_LOG_VARIANCE)

    def _move(self, decay: float) -> None:
        """Add velocities to parameters, of which the weights shrink by `decay` on the way."""
        tensors = self.machine.tensors()
        for name, velocity in self._velocities.items():
            if name == "weights":
                torch.add(velocity, tensors[name], alpha=decay, out=tensors[name])
            else:
                tensors[name].add_(velocity)

    def _write_seen(self, out: Tensor, v: Tensor) -> None:
        """What the weights see of v, into a buffer that may be v itself."""
        if isinstance(self.machine, GaussianMachine):
            torch.div(v, self.machine.variance, out=out)
        else:
            out.copy_(v)

    def _hidden_means(self, seen: Tensor, out: Tensor) -> Tensor:
        machine = self.machine
        if self._rounded is None:
            torch.addmm(machine.hidden_bias, seen, machine.weights.T, out=out)
        else:
            torch.add(seen.bfloat16() @ self._rounded.T, machine.hidden_bias, out=out)
        return out.sigmoid_()

    def _negative_visible(self, out: Tensor) -> None:
        """The last v of the chains as the weights see it, from hidden states in `_samples`."""
        machine, noise = self.machine, self.noise
        if self._tempered is not None:
            self._write_seen(out, self._tempered.advance(machine, self.config.gibbs_steps))
            return
        samples = self._samples[: len(out)]
        means = self._chances[: len(out)]
        for step in range(self.config.gibbs_steps):
            if self._rounded is None:
                torch.addmm(machine.visible_bias, samples, machine.weights, out=means)
            else:
                torch.add(samples.bfloat16() @ self._rounded, machine.visible_bias, out=means)
            if isinstance(machine, BernoulliMachine):
                noise.bernoulli_into(out, means.sigmoid_())
            else:
                assert isinstance(machine, GaussianMachine)
                noise.normal_(out).mul_((0.5 * machine.log_variance).exp()).add_(means)
                self._write_seen(out, out)
            if step + 1 < self.config.gibbs_steps:
                chances = self._hidden_means(out, self._hidden[: len(out)])
                noise.bernoulli_into(samples, chances)

    def _product(self, left: Tensor, right: Tensor) -> Tensor:
        """left @ right, in float32."""
        if self._rounded is None:
            return left @ right
        return (left.bfloat16() @ right.bfloat16()).float()

    def _add_product(
        self, sums: Tensor, hidden: Tensor, seen: Tensor, *, beta: float, alpha: float
    ) -> None:
        """beta * sums + alpha * hidden.T @ seen, in place."""
        if self._rounded is None:
            sums.addmm_(hidden.T, seen, beta=beta, alpha=alpha)
            return
        if beta != 1.0:
            sums.mul_(beta)
        sums.add_(hidden.bfloat16().T @ seen.bfloat16(), alpha=alpha)

    def _from_noise(self, chains: int) -> Tensor:
        """Hidden states given v from noise (Liao et al. 2022, their modified CD)."""
        shape = (chains, self.machine.visible_units)
        if isinstance(self.machine, BernoulliMachine):
            v = self.noise.bernoulli(torch.full(shape, 0.5))
        else:
            v = self.noise.normal_(torch.empty(shape))
        return self.machine.sample_hidden(v, self.noise)

    def _sparsity_gradient(self, means: Tensor) -> Tensor:
        """Of the cost, to a hidden unit's input (Hinton 2012, section 11), (hidden,)."""
        config = self.config
        assert config.sparsity_target is not None
        now = means.mean(dim=0)
        if self._activity is None:
            self._activity = now
        else:
            self._activity.lerp_(now, 1.0 - config.sparsity_decay)
        return (self._activity - config.sparsity_target) * config.sparsity_cost


def _log_variance_gradient(
    machine: GaussianMachine, seen: Tensor, factors: Tensor, weights_gradient: Tensor
) -> Tensor:
    """Of the log-likelihood to log s^2, (visible,): the mean over data less that over samples of
    (v - b)^2 / (2 s^2) - v / s^2 (h W) (Liao et al. 2022, section 3.1).

    factors: (rows,), what each row counts. The second term follows from the gradient of weights,
    which is the mean of h v / s^2.
    """
    variance = machine.variance
    v = seen * variance
    squared = (v - machine.visible_bias).square_().T @ factors
    return 0.5 * squared / variance - (machine.weights * weights_gradient).sum(dim=0)
