"""Noisy linear layers: exploration by learnt, factorised Gaussian noise on the weights.

Fortunato et al. 2018, "Noisy Networks for Exploration" (arXiv:1706.10295), section 3 (b).
When noise is drawn is left to the algorithm, which calls `reset_noise`.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class NoisyLinear(nn.Linear):
    """A linear layer whose weights carry factorised Gaussian noise while it is in training mode.

    y = (weight + weight_sigma * outer(f(e_out), f(e_in))) x + bias + bias_sigma * f(e_out), with
    f(e) = sign(e) sqrt(|e|) (eqs. 9 to 11). In evaluation mode it is the linear layer of its means.

    `weight` and `bias` are the means; PyTorch's own initialisation of a linear layer, uniform in
    +-1/sqrt(in_features), is the one of the paper. Both sigmas start at sigma0 / sqrt(in_features).
    The noise is zero until `reset_noise` is called; it is saved with the state, so that a resumed
    run goes on with the noise that it had.
    """

    weight_sigma: nn.Parameter
    bias_sigma: nn.Parameter
    noise_in: Tensor
    noise_out: Tensor

    def __init__(self, in_features: int, out_features: int, sigma0: float = 0.5) -> None:
        """sigma0: initial noise, times sqrt(in_features); 0.5 in the paper. ValueError if < 0."""
        if not sigma0 >= 0:
            raise ValueError(f"sigma0 must be at least 0, got {sigma0}")
        super().__init__(in_features, out_features)
        sigma = sigma0 / math.sqrt(in_features)
        self.weight_sigma = nn.Parameter(torch.full((out_features, in_features), sigma))
        self.bias_sigma = nn.Parameter(torch.full((out_features,), sigma))
        self.register_buffer("noise_in", torch.zeros(in_features))
        self.register_buffer("noise_out", torch.zeros(out_features))

    def reset_noise(self, generator: torch.Generator | None = None) -> None:
        """Draw new noise; the generator may live on another device than the layer."""
        for noise in (self.noise_in, self.noise_out):
            device = generator.device if generator is not None else noise.device
            sample = torch.randn(noise.shape, generator=generator, device=device)
            noise.copy_(sample.sign() * sample.abs().sqrt())

    def forward(self, input: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        if not self.training:
            return super().forward(input)
        # The noise is multiplied into the sigmas first: a forward pass then makes two temporaries
        # of the size of the weights, and its backward none beyond the gradients.
        weight = torch.addcmul(
            self.weight, self.weight_sigma * self.noise_in, self.noise_out.unsqueeze(1)
        )
        bias = torch.addcmul(self.bias, self.bias_sigma, self.noise_out)
        return functional.linear(input, weight, bias)


def reset_noise(module: nn.Module, generator: torch.Generator | None = None) -> None:
    """Draw new noise in every noisy layer of a module, in the order of its sub-modules."""
    for layer in module.modules():
        if isinstance(layer, NoisyLinear):
            layer.reset_noise(generator)
