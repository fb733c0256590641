"""Discriminators: how real an example looks, as a logit, given its label where there is one.

The label enters by projection (Miyato & Koyama 2018): its embedding times the features adds to the
logit. None has batch normalisation: the gradient penalties are about one example at a time.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from rlkit.gan.configuration import GANConfig
from rlkit.gan.generators import SLOPE, halvings, initialise, is_dense, widths_of


class DenseDiscriminator(nn.Module):
    """Two hidden layers, of the generator's sizes in reverse."""

    def __init__(self, config: GANConfig, shape: tuple[int, ...], classes: int) -> None:
        """shape: of an example. classes: 0 for none."""
        super().__init__()
        second, first = config.hidden_sizes
        self.hidden1 = nn.Linear(math.prod(shape), first)
        self.hidden2 = nn.Linear(first, second)
        self.activation = nn.LeakyReLU(SLOPE)
        self.head = ProjectionHead(second, classes)
        initialise(self)

    def forward(self, examples: Tensor, labels: Tensor | None) -> Tensor:
        """(batch, *shape), and (batch,) int64 labels or None -> (batch,) logits."""
        hidden = self.activation(self.hidden1(examples.flatten(1)))
        return self.head(self.activation(self.hidden2(hidden)), labels)


class ConvolutionalDiscriminator(nn.Module):
    """Convolutions that halve the picture, as often as the generator doubles it (DCGAN)."""

    def __init__(self, config: GANConfig, shape: tuple[int, ...], classes: int) -> None:
        """shape: (channels, height, width). classes: 0 for none."""
        super().__init__()
        # A picture much wider than high, or the reverse, is halved while a pixel is left.
        count = min(halvings(shape), int(math.log2(min(shape[1:]))))
        widths = widths_of(config.channels, config.most_channels, count)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        height, width = shape[1:]
        for number, channels in enumerate(widths):
            before = widths[number - 1] if number else shape[0]
            layers[f"halve{number + 1}"] = nn.Conv2d(before, channels, 4, 2, 1)
            layers[f"activation{number + 1}"] = nn.LeakyReLU(SLOPE)
            height, width = height // 2, width // 2
        self.layers = nn.Sequential(layers)
        self.head = ProjectionHead(widths[-1] * height * width, classes)
        initialise(self)

    def forward(self, examples: Tensor, labels: Tensor | None) -> Tensor:
        """(batch, *shape) in [-1, 1], (batch,) int64 labels or None -> (batch,) logits."""
        grid = self.layers(examples.contiguous(memory_format=torch.channels_last))
        return self.head(grid.flatten(1), labels)


class ProjectionHead(nn.Module):
    """A linear layer to one logit, to which the label's embedding times the features is added."""

    def __init__(self, features: int, classes: int) -> None:
        """classes: 0 for none."""
        super().__init__()
        self.linear = nn.Linear(features, 1)
        self.embedding = nn.Embedding(classes, features) if classes else None
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, 0.0, 1.0 / math.sqrt(features))

    def forward(self, features: Tensor, labels: Tensor | None) -> Tensor:
        """(batch, features), (batch,) int64 or None -> (batch,)."""
        logits = self.linear(features)[:, 0]
        if self.embedding is None:
            return logits
        return logits + (self.embedding(cast(Tensor, labels)) * features).sum(1)


def build_discriminator(
    config: GANConfig, shape: tuple[int, ...], classes: int
) -> DenseDiscriminator | ConvolutionalDiscriminator:
    """The discriminator that `config` asks for. Raises ValueError as `build_generator` does."""
    kind = DenseDiscriminator if is_dense(config, shape) else ConvolutionalDiscriminator
    discriminator = kind(config, shape, classes)
    if config.spectral_norm:
        normalise_spectrally(discriminator)
    return discriminator


def normalise_spectrally(network: nn.Module) -> None:
    """Divide each weight by an estimate of its largest singular value (Miyato et al. 2018).

    A convolution's weight counts as the matrix (out, in * height * width), as there. The estimate
    goes on by one power iteration with each forward pass in training mode, none in evaluation.
    """
    for layer in list(network.modules()):
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.Embedding):
            spectral_norm(layer)
