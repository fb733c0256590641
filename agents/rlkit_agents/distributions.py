"""Distributions over actions, as pure functions of what a network gives: categorical and Gaussian.

Written out, since acting and learning call them in every step, where the objects and checks of
`torch.distributions` cost more than the arithmetic.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

LOG_TWO_PI = math.log(2 * math.pi)


class Likelihood(NamedTuple):
    """How likely actions were, and how undecided the distributions that they come from are."""

    log_probs: Tensor
    """(batch,), natural logarithms of probabilities, or of densities for continuous actions."""
    entropies: Tensor
    """(batch,), in nats; differential entropies for continuous actions."""


def categorical_sample(logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """One action of each softmax distribution: logits (batch, actions) -> (batch,) int64.

    The action with the largest sum of logit and Gumbel noise (Gumbel 1954; Maddison et al. 2014).
    generator: PyTorch's global one if None.
    """
    exponential = torch.empty_like(logits).exponential_(generator=generator)
    return (logits - exponential.log_()).argmax(-1)


def categorical_likelihood(logits: Tensor, actions: Tensor) -> Likelihood:
    """Of actions (batch,) int64 under softmax distributions with logits (batch, actions).

    Raises ValueError for other ranks or another type of actions.
    """
    if logits.ndim != 2 or actions.shape != logits.shape[:1] or actions.dtype != torch.int64:
        raise ValueError(
            f"logits (batch, actions) and actions (batch,) int64 are needed, got shapes "
            f"{tuple(logits.shape)} and {tuple(actions.shape)} {actions.dtype}"
        )
    log_probs = torch.log_softmax(logits, -1)
    entropies = -(log_probs.exp() * log_probs).sum(-1)
    return Likelihood(log_probs.gather(1, actions.unsqueeze(1)).squeeze(1), entropies)


def gaussian_sample(
    means: Tensor, log_standard_deviation: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """One action of each Gaussian with independent components: (batch, size).

    means: (batch, size). log_standard_deviation: (size,), natural. generator: PyTorch's global one
    if None.
    """
    noise = torch.empty_like(means).normal_(generator=generator)
    return means + log_standard_deviation.exp() * noise


def gaussian_likelihood(
    means: Tensor, log_standard_deviation: Tensor, actions: Tensor
) -> Likelihood:
    """Of actions (batch, size) under Gaussians with independent components.

    means: (batch, size). log_standard_deviation: (size,), natural. Raises ValueError for others.
    """
    if (
        means.ndim != 2
        or actions.shape != means.shape
        or log_standard_deviation.shape != means.shape[1:]
    ):
        raise ValueError(
            f"means (batch, size), log_standard_deviation (size,) and actions (batch, size) are "
            f"needed, got shapes {tuple(means.shape)}, {tuple(log_standard_deviation.shape)} and "
            f"{tuple(actions.shape)}"
        )
    size = means.shape[1]
    spread = log_standard_deviation.sum()
    distances = (actions - means) * (-log_standard_deviation).exp()
    log_probs = -0.5 * distances.square().sum(-1) - spread - 0.5 * size * LOG_TWO_PI
    entropy = spread + 0.5 * size * (1 + LOG_TWO_PI)
    return Likelihood(log_probs, entropy.expand(len(means)))
