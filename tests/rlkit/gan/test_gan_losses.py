"""Losses against hand-worked numbers, penalties against gradients that are known in closed form."""

import math

import pytest
import torch
from torch import nn

from rlkit.gan.losses import (
    accuracies,
    discriminator_loss,
    generator_loss,
    squared_gradient_norm,
)

REAL = torch.tensor([2.0, -1.0])
FAKE = torch.tensor([-3.0, 0.5])


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_discriminator_losses_by_hand() -> None:
    original = (softplus(-2) + softplus(1)) / 2 + (softplus(-3) + softplus(0.5)) / 2
    assert float(discriminator_loss("original", REAL, FAKE)) == pytest.approx(original)
    # relu(1 - 2), relu(1 + 1); relu(1 - 3), relu(1 + 0.5)
    assert float(discriminator_loss("hinge", REAL, FAKE)) == pytest.approx(1.0 + 0.75)
    relativistic = (softplus(-3 - 2) + softplus(0.5 + 1)) / 2
    assert float(discriminator_loss("relativistic", REAL, FAKE)) == pytest.approx(relativistic)


def test_generator_losses_by_hand() -> None:
    original = (softplus(3) + softplus(-0.5)) / 2
    assert float(generator_loss("original", None, FAKE)) == pytest.approx(original)
    assert float(generator_loss("hinge", None, FAKE)) == pytest.approx(1.25)
    relativistic = (softplus(2 + 3) + softplus(-1 - 0.5)) / 2
    assert float(generator_loss("relativistic", REAL, FAKE)) == pytest.approx(relativistic)


def test_the_original_loss_is_the_binary_cross_entropy() -> None:
    entropy = nn.BCEWithLogitsLoss()
    expected = entropy(REAL, torch.ones(2)) + entropy(FAKE, torch.zeros(2))
    assert torch.allclose(discriminator_loss("original", REAL, FAKE), expected)


def test_the_generator_learns_most_where_it_fails_most() -> None:
    fake = torch.tensor([-20.0, 20.0], requires_grad=True)
    generator_loss("original", None, fake).backward()
    assert fake.grad is not None
    assert fake.grad.tolist() == pytest.approx([-0.5, 0.0], abs=1e-6)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2,\) and \(1,\)"):
        discriminator_loss("original", REAL, FAKE[:1])
    with pytest.raises(ValueError, match="logits of real examples"):
        generator_loss("relativistic", None, FAKE)


def test_accuracies_by_hand() -> None:
    real, fake = torch.tensor([0.5, -0.5, 2.0, 3.0]), torch.tensor([-1.0, -2.0, 1.0, -4.0])
    assert [float(share) for share in accuracies("hinge", real, fake)] == [0.75, 0.75]
    # An offset tells a relativistic discriminator nothing: means are 1.25 and -1.5 apart from it.
    shifted = accuracies("relativistic", real + 100.0, fake + 100.0)
    assert [float(share) for share in shifted] == [1.0, 1.0]
    overlapping = accuracies("relativistic", real - 2.5, fake)
    # 0.5 and -0.5 less 2.5 are -2.0 and -3.0, below the mean of generated ones, -1.5.
    assert [float(share) for share in overlapping] == [0.5, 0.5]


def test_penalty_of_a_linear_discriminator_is_the_norm_of_its_weights() -> None:
    discriminator = nn.Linear(3, 1)
    with torch.no_grad():
        discriminator.weight.copy_(torch.tensor([[1.0, -2.0, 3.0]]))
    examples = torch.randn(5, 3).requires_grad_()
    norms = squared_gradient_norm(discriminator(examples)[:, 0], examples)
    assert norms.tolist() == pytest.approx([14.0] * 5)
    # gamma / 2 |w|^2 has the gradient gamma w.
    (0.5 * 0.1 * norms.mean()).backward()
    assert discriminator.weight.grad is not None
    assert discriminator.weight.grad[0].tolist() == pytest.approx([0.1, -0.2, 0.3])


def test_penalty_of_a_quadratic_discriminator_differs_by_example() -> None:
    matrix = torch.tensor([[2.0, 1.0], [1.0, -1.0]])
    examples = torch.tensor([[1.0, 0.0], [1.0, 2.0]], requires_grad=True)
    logits = 0.5 * ((examples @ matrix) * examples).sum(1)
    norms = squared_gradient_norm(logits, examples)
    assert norms.tolist() == pytest.approx([4.0 + 1.0, 16.0 + 1.0])  # |A x|^2


def test_penalty_of_patches_is_that_of_their_sum() -> None:
    weights = torch.tensor([[1.0, 2.0], [0.5, -1.0]])  # two logits of two numbers
    examples = torch.randn(3, 2).requires_grad_()
    norms = squared_gradient_norm(examples @ weights.T, examples)
    assert norms.tolist() == pytest.approx([1.5**2 + 1.0] * 3)


def test_penalty_agrees_with_the_jacobian_of_a_network() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))
    examples = torch.randn(3, 4).requires_grad_()
    norms = squared_gradient_norm(network(examples), examples)
    for one, norm in zip(examples, norms.detach(), strict=True):
        jacobian = torch.autograd.functional.jacobian(network, one.detach())
        assert float(norm) == pytest.approx(float(jacobian.square().sum()), rel=1e-5)
