"""Networks of GANs: every size, what labels do, spectral norm against singular values."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rlkit.gan.configuration import GANConfig
from rlkit.gan.discriminators import build_discriminator
from rlkit.gan.generators import (
    ConvolutionalGenerator,
    build_generator,
    halvings,
    initialise,
    start_grid,
)

TINY = GANConfig(latents=4, channels=2, most_channels=4, hidden_sizes=(8, 6))


@settings(max_examples=25, deadline=None)
@given(
    channels=st.integers(1, 4),
    height=st.integers(8, 96),
    width=st.integers(8, 96),
    classes=st.sampled_from([0, 3]),
)
def test_pictures_of_any_size_are_made_and_judged(
    channels: int, height: int, width: int, classes: int
) -> None:
    shape = (channels, height, width)
    labels = torch.tensor([0, classes - 1]) if classes else None
    pictures = build_generator(TINY, shape, classes)(torch.randn(2, 4), labels)
    assert pictures.shape == (2, *shape)
    assert float(pictures.detach().abs().max()) <= 1.0
    assert build_discriminator(TINY, shape, classes)(pictures, labels).shape == (2,)


@pytest.mark.parametrize(
    ("side", "doublings", "start"),
    [(16, 2, 4), (28, 2, 7), (29, 3, 4), (42, 3, 6), (64, 4, 4), (84, 4, 6), (96, 4, 6)],
)
def test_start_grids_are_those_that_are_documented(side: int, doublings: int, start: int) -> None:
    assert halvings((1, side, side)) == doublings
    assert start_grid((1, side, side)) == (start, start)
    assert start == math.ceil(side / 2**doublings)


def test_every_pixel_is_made_of_the_noise() -> None:
    torch.manual_seed(0)
    generator = build_generator(TINY, (1, 29, 45), 0)
    made = generator(torch.randn(64, 4), None).detach()
    assert float(made.std(0).min()) > 0.0


def test_channels_double_with_each_halving_up_to_the_most() -> None:
    config = GANConfig(channels=8, most_channels=20)
    generator = build_generator(config, (3, 84, 84), 0)
    assert isinstance(generator, ConvolutionalGenerator)
    doubled = [m for m in generator.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [(m.in_channels, m.out_channels) for m in doubled] == [
        (20, 20),
        (20, 16),
        (16, 8),
        (8, 3),
    ]


def test_dense_sides_have_two_hidden_layers() -> None:
    for side in (build_generator(TINY, (5,), 0), build_discriminator(TINY, (5,), 0)):
        assert sum(isinstance(module, nn.Linear) for module in side.modules()) == 3
    dense = GANConfig(network="dense", latents=4)
    assert build_generator(dense, (1, 8, 8), 0)(torch.randn(2, 4), None).shape == (2, 1, 8, 8)


@pytest.mark.parametrize("shape", [(5,), (1, 16, 16)])
def test_labels_reach_both_sides(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    noise = torch.randn(1, 4).expand(2, 4)
    labels = torch.tensor([0, 1])
    made = build_generator(TINY, shape, 2)(noise, labels)
    assert not torch.allclose(made[0], made[1])
    same = torch.randn(1, *shape).expand(2, *shape)
    logits = build_discriminator(TINY, shape, 2)(same, labels)
    assert float((logits[0] - logits[1]).detach().abs()) > 1e-4


def test_the_label_adds_its_embedding_times_the_features() -> None:
    torch.manual_seed(0)
    head = build_discriminator(TINY, (5,), 3).requires_grad_(False).head
    features = torch.randn(2, 8)
    assert head.embedding is not None
    expected = [
        float(head.linear.weight[0] @ f + head.linear.bias + head.embedding.weight[label] @ f)
        for f, label in zip(features, (2, 0), strict=True)
    ]
    assert head(features, torch.tensor([2, 0])).tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", [(12,), (2, 16, 16)])
def test_spectral_norm_makes_the_largest_singular_value_one(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    config = GANConfig(latents=4, channels=4, hidden_sizes=(8, 6), spectral_norm=True)
    discriminator = build_discriminator(config, shape, 3)
    for _ in range(200):  # one power iteration each
        discriminator(torch.randn(2, *shape), torch.tensor([0, 1]))
    checked = 0
    for layer in discriminator.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.Embedding):
            matrix = layer.weight.detach().flatten(1)
            assert float(torch.linalg.svdvals(matrix)[0]) == pytest.approx(1.0, abs=0.01)
            checked += 1
    assert checked == 4


def test_first_weights_keep_the_size_of_signals() -> None:
    """He et al.: behind a leaky rectifier, variance in is variance out, transposed or not."""
    torch.manual_seed(0)
    rectifier = nn.LeakyReLU(0.2)
    for layer in (
        nn.Linear(400, 400),
        nn.Conv2d(64, 64, 4, 2, 1),
        nn.ConvTranspose2d(64, 64, 4, 2, 1),
    ):
        initialise(layer)
        shape = (64, 400) if isinstance(layer, nn.Linear) else (8, 64, 16, 16)
        before = torch.randn(shape)
        after = layer(rectifier(before))
        if after.ndim == 4:
            after = after[:, :, 2:-2, 2:-2]  # the margin sums up less
        # E[rectified^2] = (1 + 0.2^2) / 2, which the gain makes good.
        assert float(after.detach().square().mean()) == pytest.approx(1.0, rel=0.15)


def test_shapes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 8 pixels"):
        build_generator(TINY, (1, 7, 30), 0)
    with pytest.raises(ValueError, match="needs pictures"):
        build_generator(GANConfig(network="convolutional"), (5,), 0)
    with pytest.raises(ValueError, match=r"\(3, 4\)"):
        build_discriminator(TINY, (3, 4), 0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"loss": "magic"}, "magic"),
        ({"network": "flat"}, "flat"),
        ({"augmentations": ("blur",)}, "blur"),
        ({"precision": "int8"}, "int8"),
        ({"latents": 0}, "latents"),
        ({"batch_size": 1}, "batch_size"),
        ({"r1": -1.0}, "r1"),
        ({"r2": math.nan}, "r2"),
        ({"generator_learning_rate": 0.0}, "generator_learning_rate"),
        ({"beta1": 1.0}, "beta1"),
        ({"average_decay": 1.0}, "average_decay"),
        ({"head_start": -1}, "head_start"),
        ({"hidden_sizes": (4,)}, "two numbers"),
    ],
)
def test_parameters_out_of_range_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GANConfig(**fields)
