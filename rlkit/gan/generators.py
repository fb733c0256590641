"""Generators: noise, and the label where there is one, become an example.

Dense with two hidden layers, as Goodfellow et al. (2014), and convolutional after DCGAN (Radford et
al. 2016), for pictures of any size. They have no batch normalisation, as R3GAN (Huang et al. 2024):
where its penalties steady the discriminator none is needed, and a sample then depends on its own
noise alone.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import cast

import torch
from torch import Tensor, nn

from rlkit.gan.configuration import GANConfig

SLOPE = 0.2
"""Of leaky rectifiers below 0, on both sides, as in Radford et al. (2016)."""

LARGEST_START = 7
"""Pixels of the longer side of the grid that a convolutional generator starts from, at most."""

SMALLEST_IMAGE = 8
"""Pixels of the shorter side of pictures, at least."""


class DenseGenerator(nn.Module):
    """Two hidden layers, and a linear one to standardised numbers or, of pictures, to [-1, 1]."""

    def __init__(self, config: GANConfig, shape: tuple[int, ...], classes: int) -> None:
        """shape: of an example. classes: 0 for none."""
        super().__init__()
        self.shape = shape
        self.entry = LatentEntry(config.latents, classes)
        first, second = config.hidden_sizes
        self.hidden1 = nn.Linear(self.entry.size, first)
        self.hidden2 = nn.Linear(first, second)
        self.out = nn.Linear(second, math.prod(shape))
        self.activation = nn.LeakyReLU(SLOPE)
        self.scaling = nn.Tanh() if len(shape) == 3 else nn.Identity()
        initialise(self)

    def forward(self, noise: Tensor, labels: Tensor | None) -> Tensor:
        """(batch, latents), and (batch,) int64 labels or None -> (batch, *shape)."""
        hidden = self.activation(self.hidden1(self.entry(noise, labels)))
        hidden = self.activation(self.hidden2(hidden))
        return self.scaling(self.out(hidden)).unflatten(1, self.shape)


class ConvolutionalGenerator(nn.Module):
    """A dense layer to a small grid, then transposed convolutions that double it.

    Pictures of any size: the grid is ceil(size / 2^k) pixels high and wide, for the least k that
    makes it no larger than LARGEST_START, and what the doublings give too much is cut off below
    and on the right. 28 pixels start from 7, 42 from 6, 64 from 4, 84 from 6.
    """

    def __init__(self, config: GANConfig, shape: tuple[int, ...], classes: int) -> None:
        """shape: (channels, height, width). classes: 0 for none."""
        super().__init__()
        self.shape = shape
        self.entry = LatentEntry(config.latents, classes)
        doublings = halvings(shape)
        start = start_grid(shape)
        widths = widths_of(config.channels, config.most_channels, doublings)[::-1]
        self.start = nn.Linear(self.entry.size, widths[0] * math.prod(start))
        self.grid = (widths[0], *start)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for number, width in enumerate(widths):
            last = number == doublings - 1
            wider = shape[0] if last else widths[number + 1]
            layers[f"activation{number + 1}"] = nn.LeakyReLU(SLOPE)
            layers[f"double{number + 1}"] = nn.ConvTranspose2d(width, wider, 4, 2, 1)
        self.layers = nn.Sequential(layers)
        initialise(self)

    def forward(self, noise: Tensor, labels: Tensor | None) -> Tensor:
        """(batch, latents), and (batch,) int64 labels or None -> (batch, *shape) in [-1, 1]."""
        grid = self.start(self.entry(noise, labels)).unflatten(1, self.grid)
        grid = self.layers(grid.contiguous(memory_format=torch.channels_last))
        return torch.tanh(grid[:, :, : self.shape[1], : self.shape[2]])


class LatentEntry(nn.Module):
    """Noise, with an embedding of the label beside it (Mirza & Osindero 2014)."""

    def __init__(self, latents: int, classes: int) -> None:
        """classes: 0 for none."""
        super().__init__()
        self.size = latents * (2 if classes else 1)
        """Numbers that come out for a sample."""
        self.embedding = nn.Embedding(classes, latents) if classes else None

    def forward(self, noise: Tensor, labels: Tensor | None) -> Tensor:
        """(batch, latents), (batch,) int64 or None -> (batch, size)."""
        if self.embedding is None:
            return noise
        return torch.cat((noise, self.embedding(cast(Tensor, labels))), 1)


def build_generator(
    config: GANConfig, shape: tuple[int, ...], classes: int
) -> DenseGenerator | ConvolutionalGenerator:
    """The generator that `config` asks for. Raises ValueError for shapes that it cannot make."""
    kind = DenseGenerator if is_dense(config, shape) else ConvolutionalGenerator
    return kind(config, shape, classes)


def is_dense(config: GANConfig, shape: tuple[int, ...]) -> bool:
    """Whether the networks for examples of that shape are dense. Raises ValueError for shapes that
    they are not made for."""
    if len(shape) not in (1, 3) or min(shape) < 1:
        raise ValueError(f"examples are rows or (channels, height, width), got {shape}")
    if len(shape) == 1 and config.network == "convolutional":
        raise ValueError("network is convolutional, which needs pictures, but the data are rows")
    if len(shape) == 3:
        check_image_size(shape)
    return config.network == "dense" or len(shape) == 1


def check_image_size(shape: tuple[int, ...]) -> None:
    """Raises ValueError for pictures (channels, height, width) that are too small."""
    if min(shape[1:]) < SMALLEST_IMAGE:
        raise ValueError(
            f"pictures must be at least {SMALLEST_IMAGE} pixels high and wide, got {shape[1:]}"
        )


def halvings(shape: tuple[int, ...]) -> int:
    """How often (channels, height, width) is halved until it fits LARGEST_START."""
    return max(1, math.ceil(math.log2(max(shape[1:]) / LARGEST_START)))


def start_grid(shape: tuple[int, ...], halved: int | None = None) -> tuple[int, int]:
    """Height and width of (channels, height, width) after so many halvings, rounded up."""
    times = 2 ** (halvings(shape) if halved is None else halved)
    return math.ceil(shape[1] / times), math.ceil(shape[2] / times)


def widths_of(channels: int, most: int, count: int) -> list[int]:
    """Channels of `count` layers from the picture inwards."""
    return [min(channels * 2**number, most) for number in range(count)]


@torch.no_grad()
def initialise(network: nn.Module) -> None:
    """Draw weights for leaky rectifiers (He et al. 2015, eq. 15), with biases of 0.

    A transposed convolution of stride s adds up kernel^2 / s^2 numbers of each channel, not
    kernel^2. Embeddings stay as PyTorch draws them, normal with variance 1, as the noise is.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            inputs = layer.weight[0].numel()
            if isinstance(layer, nn.ConvTranspose2d):
                taps = math.prod(layer.kernel_size) // math.prod(layer.stride)
                inputs = layer.in_channels * taps
            layer.weight.normal_(0.0, math.sqrt(2.0 / (1.0 + SLOPE**2) / inputs))
            if layer.bias is not None:
                layer.bias.zero_()
