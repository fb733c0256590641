"""Losses of actor-critics, as pure functions on batches, and what is measured beside them.

Losses are one number per sample; weighting and averaging over the batch are left to the algorithm.
Shapes that do not fit each other: ValueError.
"""

from __future__ import annotations

import torch
from torch import Tensor


def clipped_surrogate_loss(ratios: Tensor, advantages: Tensor, clip_range: float | None) -> Tensor:
    """The negative of PPO's objective, (batch,) (Schulman et al. 2017, eq. 7).

    -min(ratio * A, clip(ratio, 1 - clip_range, 1 + clip_range) * A): an action that has become
    more, or less, likely by more than clip_range is not pushed further that way.

    ratios: (batch,), probability of each action by now over that when it was taken. advantages:
    (batch,), constants. clip_range: above or equal 0; None never clips. Then, where all ratios are
    1, the gradient is that of -A log pi, the loss of A2C (Mnih et al. 2016, section 4).
    """
    _check_vectors(ratios=ratios, advantages=advantages)
    surrogate = ratios * advantages
    if clip_range is None:
        return -surrogate
    return -torch.minimum(surrogate, ratios.clamp(1 - clip_range, 1 + clip_range) * advantages)


def clipped_value_loss(
    values: Tensor, returns: Tensor, old_values: Tensor, clip_range: float | None
) -> Tensor:
    """Squared error of values, (batch,), or, if it is larger, that of values kept near the old.

    max((V - R)^2, (V_old + clip(V - V_old, -clip_range, clip_range) - R)^2), as in the program that
    came with Schulman et al. 2017 (github.com/openai/baselines, ppo2); not part of the paper.

    values, returns, old_values: (batch,); the last two are constants. clip_range: above 0, in units
    of return; None gives the squared error alone.
    """
    _check_vectors(values=values, returns=returns, old_values=old_values)
    errors = (values - returns).square()
    if clip_range is None:
        return errors
    near = old_values + (values - old_values).clamp(-clip_range, clip_range)
    return torch.maximum(errors, (near - returns).square())


def standardised(advantages: Tensor) -> Tensor:
    """Advantages (batch,), less their mean, over their standard deviation (plus 1e-8).

    A single one stays as it is, for want of a deviation.
    """
    if len(advantages) < 2:
        return advantages
    return (advantages - advantages.mean()) / (advantages.std() + 1e-8)


def approximate_kl(log_ratios: Tensor) -> Tensor:
    """How far a policy went from that which acted: an estimate of KL(old || new), a scalar.

    The mean of ratio - 1 - log ratio, never negative (Schulman 2020, "Approximating KL divergence",
    joschu.net/blog/kl-approx.html, k3). log_ratios: (batch,), of the actions taken.
    """
    return (torch.expm1(log_ratios) - log_ratios).mean()


def explained_variance(values: Tensor, returns: Tensor) -> Tensor:
    """1 - Var(returns - values) / Var(returns), a scalar; 0 where the returns do not vary.

    1 for perfect values, 0 for constant ones, below 0 for worse. values, returns: (batch,).
    """
    _check_vectors(values=values, returns=returns)
    variance = returns.var(correction=0)
    explained = 1 - (returns - values).var(correction=0) / variance
    return torch.where(variance > 0, explained, torch.zeros_like(variance))


def _check_vectors(**tensors: Tensor) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if any(tensor.ndim != 1 for tensor in tensors.values()) or len(set(shapes.values())) > 1:
        raise ValueError(f"vectors of one length are needed, got shapes {shapes}")
