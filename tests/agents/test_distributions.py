"""Distributions over actions agree with PyTorch's, and samples follow them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, kstest
from torch.distributions import Categorical, Independent, Normal

from rlkit_agents.distributions import (
    categorical_likelihood,
    categorical_sample,
    gaussian_likelihood,
    gaussian_sample,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_categorical_likelihood_is_that_of_pytorch():
    logits = 3 * torch.randn(50, 6, generator=generator())
    actions = torch.randint(6, (50,), generator=generator())
    likelihood = categorical_likelihood(logits, actions)
    theirs = Categorical(logits=logits)
    torch.testing.assert_close(likelihood.log_probs, theirs.log_prob(actions))
    torch.testing.assert_close(likelihood.entropies, theirs.entropy())


def test_categorical_likelihood_by_hand_and_at_extremes():
    logits = torch.tensor([[0.0, math.log(3)], [500.0, -500.0]], requires_grad=True)
    log_probs, entropies = categorical_likelihood(logits, torch.tensor([1, 0]))
    torch.testing.assert_close(log_probs, torch.tensor([math.log(0.75), 0.0]))
    surprise = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    torch.testing.assert_close(entropies, torch.tensor([surprise, 0.0]))
    (log_probs.sum() + entropies.sum()).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_gaussian_likelihood_is_that_of_pytorch():
    means, actions = torch.randn(2, 50, 3, generator=generator())
    log_standard_deviation = torch.tensor([-1.0, 0.0, 1.5])
    likelihood = gaussian_likelihood(means, log_standard_deviation, actions)
    theirs = Independent(Normal(means, log_standard_deviation.exp()), 1)
    torch.testing.assert_close(likelihood.log_probs, theirs.log_prob(actions))
    torch.testing.assert_close(likelihood.entropies, theirs.entropy())


def test_the_gradient_reaches_means_and_deviation():
    means = torch.zeros(1, 2, requires_grad=True)
    log_standard_deviation = torch.zeros(2, requires_grad=True)
    actions = torch.tensor([[2.0, 0.0]])
    gaussian_likelihood(means, log_standard_deviation, actions).log_probs.sum().backward()
    assert means.grad is not None
    assert log_standard_deviation.grad is not None
    torch.testing.assert_close(means.grad, actions)  # (action - mean) / variance
    # distance squared over variance, less 1
    torch.testing.assert_close(log_standard_deviation.grad, torch.tensor([3.0, -1.0]))


def test_categorical_samples_follow_their_distribution():
    probabilities = np.array([0.5, 0.3, 0.15, 0.05])
    logits = torch.from_numpy(np.log(probabilities)).float() + 3
    samples = categorical_sample(logits.expand(20_000, 4), generator())
    assert samples.dtype == torch.int64
    counts = torch.bincount(samples, minlength=4).numpy()
    assert chisquare(counts, 20_000 * probabilities).pvalue > 1e-3


def test_gaussian_samples_follow_their_distribution():
    means = torch.tensor([1.0, -2.0]).expand(5_000, 2)
    samples = gaussian_sample(means, torch.tensor([0.0, math.log(0.1)]), generator())
    for component, mean, deviation in ((0, 1.0, 1.0), (1, -2.0, 0.1)):
        assert kstest(samples[:, component].numpy(), "norm", (mean, deviation)).pvalue > 1e-3
    assert abs(torch.corrcoef(samples.T)[0, 1]) < 0.06  # four standard deviations


def test_the_generator_decides_what_is_drawn():
    logits, means = torch.zeros(100, 5), torch.zeros(100, 2)
    for draw in (
        lambda seed: categorical_sample(logits, generator(seed)),
        lambda seed: gaussian_sample(means, torch.zeros(2), generator(seed)),
    ):
        first = draw(1)
        torch.rand(3)  # the global generator has no say
        assert torch.equal(draw(1), first)
        assert not torch.equal(draw(2), first)


@pytest.mark.parametrize(
    ("logits", "actions"),
    [((5,), (5,)), ((5, 2), (4,)), ((5, 2), (5, 1))],
)
def test_actions_that_do_not_fit_the_logits_are_refused(logits, actions):
    with pytest.raises(ValueError, match=r"logits .* are needed, got shapes"):
        categorical_likelihood(torch.zeros(logits), torch.zeros(actions, dtype=torch.int64))


def test_actions_that_are_no_indices_are_refused():
    with pytest.raises(ValueError, match=r"int64 are needed, got shapes .* torch.float32"):
        categorical_likelihood(torch.zeros(5, 2), torch.zeros(5))


@pytest.mark.parametrize(
    ("means", "deviation", "actions"),
    [((5, 2), (2,), (5, 3)), ((5, 2), (3,), (5, 2)), ((5, 2), (1,), (5, 2)), ((5,), (), (5,))],
)
def test_gaussians_that_do_not_fit_are_refused(means, deviation, actions):
    with pytest.raises(ValueError, match="are needed, got shapes"):
        gaussian_likelihood(torch.zeros(means), torch.zeros(deviation), torch.zeros(actions))
