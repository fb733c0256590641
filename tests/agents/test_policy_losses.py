"""Losses of actor-critics, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, kl_divergence

from rlkit_agents.policy_losses import (
    approximate_kl,
    clipped_surrogate_loss,
    clipped_value_loss,
    explained_variance,
    standardised,
)


def gradient(loss: Tensor, of: Tensor) -> list[float]:
    return torch.autograd.grad(loss.sum(), of)[0].tolist()


def test_the_surrogate_is_clipped_where_it_would_gain():
    ratios = torch.tensor([1.0, 1.1, 1.5, 1.5, 0.5, 0.5], requires_grad=True)
    advantages = torch.tensor([2.0, 2.0, 2.0, -2.0, 2.0, -2.0])
    loss = clipped_surrogate_loss(ratios, advantages, 0.2)
    torch.testing.assert_close(loss.detach(), torch.tensor([-2.0, -2.2, -2.4, 3.0, -1.0, 1.6]))
    assert gradient(loss, ratios) == [-2, -2, 0, 2, -2, 0]


def test_without_a_range_the_surrogate_is_not_clipped():
    ratios = torch.tensor([1.0, 1.5, 0.5], requires_grad=True)
    advantages = torch.tensor([2.0, 2.0, -2.0])
    loss = clipped_surrogate_loss(ratios, advantages, None)
    assert loss.tolist() == [-2, -3, 1]
    assert gradient(loss, ratios) == [-2, -2, 2]


def test_where_nothing_has_moved_the_gradient_is_that_of_the_log_probability():
    log_probs = torch.tensor([-0.3, -2.0], requires_grad=True)
    advantages = torch.tensor([1.5, -0.5])
    ratios = (log_probs - log_probs.detach()).exp()
    for clip_range in (None, 0.2):
        loss = clipped_surrogate_loss(ratios, advantages, clip_range)
        (found,) = torch.autograd.grad(loss.sum(), log_probs, retain_graph=True)
        assert found.tolist() == [-1.5, 0.5]  # of -advantages * log_probs


def test_values_count_as_if_they_had_stayed_near_where_that_is_worse():
    #  moved away from, towards, past the return; stayed near
    values = torch.tensor([3.0, 3.0, 3.0, 2.5], requires_grad=True)
    old, returns = torch.tensor([2.0, 2.0, 0.0, 2.0]), torch.tensor([0.0, 5.0, 2.0, 5.0])
    assert clipped_value_loss(values, returns, old, None).tolist() == [9, 4, 1, 6.25]
    loss = clipped_value_loss(values, returns, old, 0.5)
    assert loss.tolist() == [9, 6.25, 2.25, 6.25]
    assert gradient(loss, values) == [6, 0, 0, -5]


def test_advantages_are_standardised():
    advantages = standardised(torch.tensor([1.0, 2.0, 6.0]))
    deviation = math.sqrt((4 + 1 + 9) / 2)
    torch.testing.assert_close(advantages, torch.tensor([-2.0, -1.0, 3.0]) / deviation)
    assert standardised(torch.full((4,), 7.0)).tolist() == [0, 0, 0, 0]
    assert standardised(torch.tensor([7.0])).tolist() == [7]


def test_divergence_is_estimated_without_bias():
    old = Categorical(logits=torch.tensor([0.0, 1.0, -1.0]))
    new = Categorical(logits=torch.tensor([0.3, 0.5, -0.8]))
    torch.manual_seed(0)
    actions = old.sample(torch.Size([100_000]))
    estimate = approximate_kl(new.log_prob(actions) - old.log_prob(actions))
    torch.testing.assert_close(estimate, kl_divergence(old, new), rtol=0.03, atol=0)
    assert approximate_kl(torch.tensor([math.log(2), 0.0])) == pytest.approx((1 - math.log(2)) / 2)


def test_explained_variance():
    returns = torch.tensor([1.0, 2.0, 3.0, 6.0])
    for values, expected in (
        (returns, 1.0),
        (returns + 5, 1.0),
        (torch.full((4,), 2.0), 0.0),
        (-returns, -3.0),
        (torch.tensor([2.0, 2.0, 3.0, 5.0]), 1 - np.var([-1, 0, 0, 1]) / np.var([1, 2, 3, 6])),
    ):
        assert explained_variance(values, returns) == pytest.approx(float(expected), abs=1e-6)
    assert explained_variance(returns, torch.ones(4)) == 0


@pytest.mark.parametrize("shape", [(3,), (2, 1), (1,)])
def test_vectors_of_different_shapes_are_refused(shape: tuple[int, ...]):
    two, other = torch.zeros(2), torch.zeros(shape)
    for call in (
        lambda: clipped_surrogate_loss(two, other, 0.2),
        lambda: clipped_surrogate_loss(other, two, None),
        lambda: clipped_value_loss(two, other, two, None),
        lambda: clipped_value_loss(two, two, other, 0.2),
        lambda: explained_variance(two, other),
    ):
        with pytest.raises(ValueError, match="vectors of one length are needed"):
            call()
