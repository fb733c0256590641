"""What autoencoders minimise: pure functions of tensors, each with its source.

Reconstruction errors are means over the numbers of an observation and sums over nothing else, so
that a weight of a penalty means the same for observations of any size.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def squared_error(reconstruction: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of each sample: (batch, ...) twice -> (batch,)."""
    return (reconstruction - target).square().flatten(1).mean(1)


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean binary cross-entropy of each sample, in nats: (batch, ...) twice -> (batch,).

    target: in [0, 1]; between them it is not 0 at best (Vincent et al. 2010, section 2.2).
    """
    errors = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return errors.flatten(1).mean(1)


def activation_divergence(activations: Tensor, target: float) -> Tensor:
    """Sparsity penalty: the sum over units of KL(target || mean activation), in nats.

    activations: (batch, units) in (0, 1). target: the wanted mean activation, in (0, 1). Ng 2011
    ("Sparse autoencoder", CS294A notes, section 3). Raises ValueError for a target outside.
    """
    if not 0.0 < target < 1.0:
        raise ValueError(f"the target activation must lie between 0 and 1, got {target}")
    least = torch.finfo(activations.dtype).eps
    mean = activations.mean(0).clamp(least, 1.0 - least)
    on = target * (math.log(target) - mean.log())
    off = (1.0 - target) * (math.log1p(-target) - torch.log1p(-mean))
    return (on + off).sum()


def jacobian_norm(encode: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Squared Frobenius norm of the Jacobian of `encode` at each input: (batch, ...) -> (batch,).

    The penalty of contractive autoencoders (Rifai et al. 2011, eq. 2), exact for any encoder that
    treats the samples of a batch apart from each other, and differentiable where gradients are on.
    encode: (batch, ...) -> (batch, latents). It takes one backward pass for each latent.
    """
    differentiable = torch.is_grad_enabled()
    with torch.enable_grad():
        inputs = inputs.detach().requires_grad_()
        codes = encode(inputs)
        norms = torch.zeros_like(codes[:, 0])
        for latent in range(codes.shape[1]):
            last = latent == codes.shape[1] - 1
            (row,) = torch.autograd.grad(
                codes[:, latent].sum(),
                inputs,
                create_graph=differentiable,
                retain_graph=differentiable or not last,
            )
            norms = norms + row.flatten(1).square().sum(1)
    return norms if differentiable else norms.detach()


def gaussian_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of N(mean, variance) from N(0, 1), in nats: (batch, latents) -> (batch,).

    Kingma and Welling 2014 ("Auto-Encoding Variational Bayes"), appendix B.
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(1)


def gaussian_log_likelihood(reconstruction: Tensor, target: Tensor, variance: float) -> Tensor:
    """Log density of each target under N(reconstruction, variance), in nats: -> (batch,).

    A sum over the numbers of a sample, each with the same variance.
    """
    errors = (reconstruction - target).square().flatten(1)
    return -0.5 * (errors / variance + math.log(2.0 * math.pi * variance)).sum(1)
