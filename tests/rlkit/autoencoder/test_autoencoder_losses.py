"""Penalties and bounds against hand-worked numbers and PyTorch's own Jacobians."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

from rlkit.autoencoder import losses
from rlkit.autoencoder.bodies import Encoder
from rlkit.autoencoder.configuration import AutoencoderConfig
from rlkit.autoencoder.network import AutoencoderNetwork
from rlkit_agents.networks import NetworkConfig


def test_sparse_penalty_by_hand() -> None:
    activations = torch.tensor([[0.1, 0.9], [0.3, 0.7]])  # means 0.2 and 0.8
    by_hand = sum(
        0.05 * math.log(0.05 / mean) + 0.95 * math.log(0.95 / (1 - mean)) for mean in (0.2, 0.8)
    )
    assert float(losses.activation_divergence(activations, 0.05)) == pytest.approx(by_hand)
    at_target = torch.full((4, 3), 0.05)
    assert float(losses.activation_divergence(at_target, 0.05)) == pytest.approx(0.0, abs=1e-6)


def test_sparse_penalty_stays_finite_where_units_are_stuck() -> None:
    stuck = torch.tensor([[0.0, 1.0]], requires_grad=True)
    penalty = losses.activation_divergence(stuck, 0.05)
    penalty.backward()
    assert math.isfinite(float(penalty.detach()))
    assert stuck.grad is not None
    assert torch.isfinite(stuck.grad).all()


@pytest.mark.parametrize("target", [0.0, 1.0, -0.1])
def test_sparse_target_must_be_a_share(target: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        losses.activation_divergence(torch.full((1, 1), 0.5), target)


def test_contractive_penalty_of_one_sigmoid_layer_by_hand() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(5, 3)
    layer = nn.Sequential(linear, nn.Sigmoid())
    inputs = torch.randn(4, 5)
    hidden = layer(inputs)
    weights = linear.weight
    # Rifai et al. 2011, eq. 7: sum over units of (h (1 - h))^2 times the squares of its weights.
    by_hand = ((hidden * (1 - hidden)).square() * weights.square().sum(1)).sum(1)
    assert torch.allclose(losses.jacobian_norm(layer, inputs), by_hand, rtol=1e-5)


@pytest.mark.parametrize(
    ("shape", "torso"), [((6,), "mlp"), ((2, 42, 42), "compact")], ids=["flat", "picture"]
)
def test_contractive_penalty_is_the_jacobian_that_autograd_computes(
    shape: tuple[int, ...], torso: str
) -> None:
    torch.manual_seed(1)
    space = gym.spaces.Box(-np.inf, np.inf, shape, np.float32)
    config = NetworkConfig(torso=torso, hidden_sizes=(7,), dense_size=9, activation="tanh")  # pyright: ignore[reportArgumentType]
    encoder = Encoder(space, 4, config)
    inputs = torch.randn(3, *shape)
    expected = [
        torch.autograd.functional.jacobian(lambda x: encoder(x)[0], one.unsqueeze(0)).square().sum()
        for one in inputs
    ]
    norms = losses.jacobian_norm(encoder, inputs)
    assert torch.allclose(norms, torch.stack(expected), rtol=1e-4)
    with torch.no_grad():
        assert torch.allclose(losses.jacobian_norm(encoder, inputs), norms.detach())


def test_contractive_penalty_teaches_the_weights() -> None:
    torch.manual_seed(2)
    linear = nn.Linear(3, 2)
    layer = nn.Sequential(linear, nn.Tanh())
    inputs = torch.randn(2, 3)
    losses.jacobian_norm(layer, inputs).sum().backward()
    gradient = linear.weight.grad
    assert gradient is not None
    step = 1e-3
    with torch.no_grad():
        before = losses.jacobian_norm(layer, inputs).sum()
        linear.weight[1, 2] += step
        after = losses.jacobian_norm(layer, inputs).sum()
    assert float((after - before) / step) == pytest.approx(float(gradient[1, 2]), rel=1e-2)


def test_divergence_from_the_standard_normal_by_hand() -> None:
    mean = torch.tensor([[1.0, -2.0], [0.0, 0.0]])
    log_variance = torch.tensor([[0.0, math.log(4.0)], [0.0, 0.0]])
    by_hand = [0.5 * 1.0 + 0.5 * (4.0 + 4.0 - 1.0 - math.log(4.0)), 0.0]
    assert losses.gaussian_divergence(mean, log_variance).tolist() == pytest.approx(by_hand)


def test_log_likelihood_is_that_of_a_normal_distribution() -> None:
    torch.manual_seed(3)
    reconstruction, target = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    normal = torch.distributions.Normal(reconstruction, math.sqrt(0.3))
    expected = normal.log_prob(target).flatten(1).sum(1)
    found = losses.gaussian_log_likelihood(reconstruction, target, 0.3)
    assert torch.allclose(found, expected, rtol=1e-5)


def test_errors_are_means_over_a_sample() -> None:
    reconstruction = torch.tensor([[0.0, 2.0], [1.0, 1.0]])
    target = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    assert losses.squared_error(reconstruction, target).tolist() == [2.5, 0.0]
    logits = torch.tensor([[0.0, math.log(3.0)]])
    by_hand = 0.5 * (math.log(2.0) + -math.log(0.75))
    found = losses.cross_entropy(logits, torch.tensor([[0.0, 1.0]]))
    assert found.tolist() == pytest.approx([by_hand])


def test_the_sampled_evidence_lower_bound_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """A code of mean 0.3 and standard deviation 2, decoded as itself and as its double."""

    class Fixed(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[0.3, math.log(4.0)]]).expand(len(inputs), 2)

    class Doubled(nn.Module):
        def forward(self, codes: torch.Tensor) -> torch.Tensor:
            return torch.cat((codes, 2 * codes), 1)

    space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    config = AutoencoderConfig(
        kind="variational", latents=1, decoder_variance=0.5, penalty=3.0, precision="float32"
    )
    network = AutoencoderNetwork(space, config)
    monkeypatch.setattr(network, "encoder", Fixed())
    monkeypatch.setattr(network, "decoder", Doubled())
    observations = np.array([[0.5, -1.0], [2.0, 0.0]], np.float32)
    found = network.loss(torch.from_numpy(observations), torch.Generator().manual_seed(4))
    noise = torch.randn(2, 1, generator=torch.Generator().manual_seed(4)).ravel().tolist()
    divergence = 0.5 * (0.3**2 + 4.0 - 1.0 - math.log(4.0))
    bounds = []
    for (first, second), drawn in zip(observations.tolist(), noise, strict=True):
        code = 0.3 + 2.0 * drawn
        squares = (first - code) ** 2 + (second - 2 * code) ** 2
        likelihood = -0.5 * (squares / 0.5 + 2 * math.log(2 * math.pi * 0.5))
        bounds.append((likelihood - 3.0 * divergence) / 2)  # of each of two numbers
    assert float(found) == pytest.approx(-sum(bounds) / 2, rel=1e-5)
