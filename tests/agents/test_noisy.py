"""Noisy layers: their formula, the spread of their noise, and that evaluation is free of it."""

import math

import pytest
import torch
from torch import nn

from rlkit_agents.noisy import NoisyLinear, reset_noise


def noisy_layer(inputs=6, outputs=4, **options) -> NoisyLinear:
    torch.manual_seed(0)
    return NoisyLinear(inputs, outputs, **options)


def test_starts_as_in_the_paper():
    layer = noisy_layer(inputs=400, outputs=300, sigma0=0.5)
    assert layer.weight.abs().max().item() == pytest.approx(1 / 20, rel=0.01)
    assert layer.bias.abs().max().item() == pytest.approx(1 / 20, rel=0.05)
    assert torch.all(layer.weight_sigma == 0.5 / 20)
    assert torch.all(layer.bias_sigma == 0.5 / 20)


def test_output_follows_equations_9_to_11():
    layer, x = noisy_layer(), torch.randn(3, 6)
    with torch.no_grad():  # distinct sigmas, so that a transposition would show
        layer.weight_sigma.uniform_(0.1, 1)
        layer.bias_sigma.uniform_(0.1, 1)
    layer.reset_noise(torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(1)
    e_in, e_out = torch.randn(6, generator=generator), torch.randn(4, generator=generator)
    expected = torch.zeros(3, 4)
    for b in range(3):
        for j in range(4):
            f_j = math.copysign(math.sqrt(abs(e_out[j])), e_out[j])
            expected[b, j] = layer.bias[j] + layer.bias_sigma[j] * f_j
            for i in range(6):
                f_i = math.copysign(math.sqrt(abs(e_in[i])), e_in[i])
                expected[b, j] += (layer.weight[j, i] + layer.weight_sigma[j, i] * f_i * f_j) * x[
                    b, i
                ]
    torch.testing.assert_close(layer(x), expected)


def test_noise_has_the_expected_mean_and_variance():
    # E[f(e)^2] = E|e| = sqrt(2 / pi), so an output for ones has the variance
    # sigma^2 (inputs * 2 / pi + sqrt(2 / pi)).
    layer, x = noisy_layer(inputs=16, outputs=8, sigma0=2.0), torch.ones(1, 16)
    generator = torch.Generator().manual_seed(2)
    outputs = []
    with torch.no_grad():
        for _ in range(3000):
            layer.reset_noise(generator)
            outputs.append(layer(x)[0])
        samples = torch.stack(outputs)
        error = (samples.mean(0) - layer.eval()(x)[0]).abs().max().item()
    sigma = 2 / math.sqrt(16)
    variance = sigma**2 * (16 * 2 / math.pi + math.sqrt(2 / math.pi))
    assert error < 4 * math.sqrt(variance / 3000)
    assert samples.var(0).mean().item() == pytest.approx(variance, rel=0.1)


def test_evaluation_is_deterministic_and_linear():
    layer, x = noisy_layer(), torch.randn(3, 6)
    layer.eval()
    expected = nn.functional.linear(x, layer.weight, layer.bias)
    for _ in range(2):
        layer.reset_noise()
        assert torch.equal(layer(x), expected)
    layer.train()
    assert not torch.allclose(layer(x), expected)


def test_noise_is_kept_between_resets_and_saved_with_the_state():
    layer, x = noisy_layer(), torch.randn(3, 6)
    layer.reset_noise()
    before = layer(x)
    assert torch.equal(layer(x), before)
    other = noisy_layer()
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), before)
    layer.reset_noise()
    assert not torch.allclose(layer(x), before)


def test_one_generator_gives_equal_noise_to_equal_networks():
    def outputs(seed: int) -> torch.Tensor:
        torch.manual_seed(0)
        first, second = NoisyLinear(6, 6), NoisyLinear(6, 2)
        network = nn.Sequential(first, nn.ReLU(), second)
        reset_noise(network, torch.Generator().manual_seed(seed))
        assert not torch.equal(first.noise_in, second.noise_in)
        return network(torch.ones(1, 6))

    assert torch.equal(outputs(3), outputs(3))
    assert not torch.equal(outputs(3), outputs(4))


def test_sigmas_learn():
    layer = noisy_layer()
    layer.reset_noise()
    layer(torch.randn(3, 6)).sum().backward()
    assert layer.weight_sigma.grad is not None
    assert layer.bias_sigma.grad is not None
    assert (layer.weight_sigma.grad != 0).all()
    assert torch.equal(layer.bias_sigma.grad, 3 * layer.noise_out)


@pytest.mark.parametrize("sigma0", [-0.1, math.nan])
def test_negative_noise_is_refused(sigma0):
    with pytest.raises(ValueError, match="sigma0 must be at least 0"):
        NoisyLinear(2, 2, sigma0)
