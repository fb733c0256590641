"""Ways from independent units to a machine, for parallel tempering and for annealing.

At inverse temperature t the unnormalised density of v is base(v)^(1 - t) times the machine's with
its weights and hidden biases multiplied by t (Salakhutdinov & Murray 2008, "On the quantitative
analysis of deep belief networks", eqs. 14 to 17, where the base is a machine without weights).
Parallel tempering: Desjardins et al. (2010), "Parallel tempering for training of restricted
Boltzmann machines".
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from rlkit.dbn.machine import Machine
from rlkit.dbn.noise import Noise


class TemperedPath:
    """Densities and Gibbs steps between a base and a machine.

    inverse_temperature is one number in [0, 1] or (rows, 1), a number for each row.
    """

    def __init__(self, machine: Machine, base: Machine) -> None:
        """base: of the machine's kind and size, its weights and hidden biases zero.

        Raises ValueError for another base.
        """
        if type(base) is not type(machine) or base.weights.shape != machine.weights.shape:
            raise ValueError(
                f"the base must be a {machine.kind} machine of {tuple(machine.weights.shape)}"
                f" weights, got a {base.kind} machine of {tuple(base.weights.shape)}"
            )
        if bool(base.weights.any()) or bool(base.hidden_bias.any()):
            raise ValueError("the base must have neither weights nor hidden biases")
        self.machine = machine
        self.base = base

    def log_density(
        self, v: Tensor, hidden_input: Tensor, inverse_temperature: Tensor | float
    ) -> Tensor:
        """Of v, unnormalised, (rows,); hidden_input: the machine's own for v."""
        coupled = softplus(hidden_input * inverse_temperature).sum(dim=1)
        own, base = self.machine.visible_energy(v), self.base.visible_energy(v)
        if isinstance(inverse_temperature, Tensor):
            inverse_temperature = inverse_temperature[:, 0]
        return coupled - own * inverse_temperature - base * (1.0 - inverse_temperature)

    def gibbs_step(
        self, hidden_input: Tensor, inverse_temperature: Tensor | float, noise: Noise
    ) -> Tensor:
        """The next v, (rows, visible); hidden_input: the machine's own for the present v."""
        h = noise.bernoulli((hidden_input * inverse_temperature).sigmoid_())
        return self.machine.sample_visible_tempered(h, self.base, inverse_temperature, noise)


class TemperedChains:
    """Chains side by side at several temperatures that swap neighbours (Desjardins et al. 2010).

    Each of `chains` ladders has one chain at each inverse temperature from 1 down to 0, where every
    step is a fresh draw from the base.
    """

    def __init__(self, base: Machine, chains: int, temperatures: int, noise: Noise) -> None:
        """temperatures: at least 2. All chains start as draws from the base."""
        if chains < 1 or temperatures < 2:
            raise ValueError(
                f"need at least 1 chain and 2 temperatures, got {chains} and {temperatures}"
            )
        self.base, self.noise = base, noise
        self.chains, self.temperatures = chains, temperatures
        steps = torch.linspace(1.0, 0.0, temperatures, dtype=base.weights.dtype)
        self.inverse_temperatures = steps.repeat_interleave(chains)[:, None]
        nothing = torch.zeros(chains * temperatures, base.hidden_units, dtype=base.weights.dtype)
        self.v = base.sample_visible(nothing, noise)
        self.swapped = 0.0
        """Share of the latest proposed swaps that were accepted, in [0, 1]."""
        self._odd = False

    def advance(self, machine: Machine, steps: int) -> Tensor:
        """Gibbs steps at all temperatures, each followed by swaps; v at temperature 1,
        (chains, visible)."""
        path = TemperedPath(machine, self.base)
        for _ in range(steps):
            inputs = machine.hidden_input(self.v)
            self.v = path.gibbs_step(inputs, self.inverse_temperatures, self.noise)
            self._swap(path)
        return self.v[: self.chains]

    def _swap(self, path: TemperedPath) -> None:
        """Exchange v between neighbours, even and odd pairs in turns, so that the joint density of
        all temperatures stays as it is."""
        first = int(self._odd and self.temperatures > 2)
        self._odd = not self._odd
        pairs = (self.temperatures - first) // 2
        v = self.v.view(self.temperatures, self.chains, -1)[first : first + 2 * pairs]
        ladder = self.inverse_temperatures.view(self.temperatures, self.chains)
        ladder = ladder[first : first + 2 * pairs]
        rows = v.reshape(2 * pairs * self.chains, -1)
        inputs = path.machine.hidden_input(rows)
        here = path.log_density(rows, inputs, ladder.reshape(-1, 1))
        other = ladder.view(pairs, 2, -1).flip(1).reshape(-1, 1)
        there = path.log_density(rows, inputs, other)
        gain = (there - here).view(pairs, 2, self.chains).sum(dim=1)
        drawn = self.noise.uniform_(torch.empty_like(gain))
        accepted = drawn.log_() < gain
        self.swapped = float(accepted.to(gain.dtype).mean())
        paired = v.view(pairs, 2, self.chains, -1)
        paired.copy_(torch.where(accepted[:, None, :, None], paired.flip(1), paired))
