"""Initial weights have the spread that each scheme's paper asks for."""

import math

import pytest
import torch
from torch import nn

from rlkit_agents.initialisation import initialise
from rlkit_agents.noisy import NoisyLinear

# A 5x5 convolution from 20 to 40 channels has 500 inputs and 1,000 outputs a weight;
# the linear layer has 300 and 200.
FANS = {"conv": (500, 1000), "linear": (300, 200)}


def fresh_layers() -> dict[str, nn.Conv2d | nn.Linear]:
    return {"conv": nn.Conv2d(20, 40, 5), "linear": nn.Linear(300, 200)}


@pytest.mark.parametrize("kind", ["conv", "linear"])
@pytest.mark.parametrize(
    ("scheme", "variance", "bounded"),
    [
        ("default", lambda n_in, n_out: 1 / (3 * n_in), True),
        ("xavier_uniform", lambda n_in, n_out: 2 / (n_in + n_out), True),
        ("xavier_normal", lambda n_in, n_out: 2 / (n_in + n_out), False),
        ("he", lambda n_in, n_out: 2 / n_in, False),
    ],
)
def test_variance(scheme, variance, bounded, kind):
    layer = fresh_layers()[kind]
    initialise(layer, scheme, generator=torch.Generator().manual_seed(0))
    expected = variance(*FANS[kind])
    assert layer.weight.var().item() == pytest.approx(expected, rel=0.05)
    largest = layer.weight.abs().max().item() / math.sqrt(expected)
    # A uniform variable ends at sqrt(3) standard deviations; a normal one among 20,000 does not.
    assert largest <= math.sqrt(3) + 1e-5 if bounded else largest > 3


@pytest.mark.parametrize("gain", [1.0, math.sqrt(2)])
def test_orthogonal(gain):
    layers = fresh_layers()
    for layer in layers.values():
        initialise(layer, "orthogonal", gain=gain)
        weight = layer.weight.flatten(1)  # fewer rows than columns, so the rows are orthogonal
        identity = torch.eye(len(weight)) * gain**2
        torch.testing.assert_close(weight @ weight.T, identity, atol=1e-4, rtol=0)


@pytest.mark.parametrize("scheme", ["xavier_uniform", "xavier_normal", "he", "orthogonal"])
def test_biases_start_at_zero(scheme):
    layer = nn.Linear(3, 2)
    initialise(layer, scheme)
    assert layer.bias.tolist() == [0, 0]


def test_default_biases_are_those_of_pytorch():
    layer = nn.Linear(100, 5000)
    initialise(layer, "default")
    assert layer.bias.abs().max().item() == pytest.approx(0.1, rel=0.01)


def test_normalisation_and_noise_are_left_alone():
    network = nn.Sequential(nn.LayerNorm(4), NoisyLinear(4, 4), nn.GroupNorm(1, 4))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    initialise(network, "he")
    changed = {n for n, v in network.state_dict().items() if not torch.equal(v, before[n])}
    assert changed == {"1.weight", "1.bias"}


@pytest.mark.parametrize(
    "scheme", ["default", "xavier_uniform", "xavier_normal", "he", "orthogonal"]
)
def test_a_generator_decides_every_weight(scheme):
    def weights(seed: int) -> torch.Tensor:
        network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Linear(4, 5, bias=False))
        initialise(network, scheme, generator=torch.Generator().manual_seed(seed))
        return nn.utils.parameters_to_vector(network.parameters())

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_unknown_schemes_are_refused():
    with pytest.raises(ValueError, match="unknown initialisation 'zeros'"):
        initialise(nn.Linear(1, 1), "zeros")  # pyright: ignore[reportArgumentType]
