"""Networks of pix2pix: pictures become pictures of another kind.

Isola, Zhu, Zhou & Efros (2017), "Image-to-image translation with conditional adversarial networks":
a U-Net whose skips carry what need not be made anew, and a discriminator that judges patches.
Other than there the generator has no dropout, the only noise of theirs, which changed its results
little (section 3.1): the same picture gives the same result. And the discriminator has no
normalisation, for penalties are about one example at a time.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, pad, relu

from rlkit.gan.configuration import ImageToImageConfig
from rlkit.gan.discriminators import normalise_spectrally
from rlkit.gan.generators import SLOPE, check_image_size, initialise, start_grid, widths_of

_MOST_HALVINGS = 6


class UNet(nn.Module):
    """Convolutions that halve the picture, and transposed ones that double it again.

    Each doubling is given what the halving of its size made. Pictures of any size: theirs is
    rounded up, by repeating the last row and column, to one that halves without remainder, and the
    result is cut back.
    """

    def __init__(self, config: ImageToImageConfig, shape: tuple[int, ...], outputs: int) -> None:
        """shape: of the input, (channels, height, width). outputs: channels of the output.

        Raises ValueError for pictures that cannot be halved so often.
        """
        super().__init__()
        count = unet_halvings(config, shape)
        grid = start_grid(shape, count)
        self.padded = (grid[0] * 2**count, grid[1] * 2**count)
        widths = widths_of(config.channels, config.most_channels, count)
        self.halving = nn.ModuleList()
        self.doubling = nn.ModuleList()
        self.halving_norm = nn.ModuleList()
        self.doubling_norm = nn.ModuleList()
        for number, width in enumerate(widths):
            before = widths[number - 1] if number else shape[0]
            inner = number == count - 1
            self.halving.append(nn.Conv2d(before, width, 4, 2, 1))
            # Neither the picture's own layer nor the innermost, of few pixels, is normalised.
            plain = number == 0 or inner
            self.halving_norm.append(nn.Identity() if plain else _normalised(width))
            above = widths[number - 1] if number else outputs
            self.doubling.append(nn.ConvTranspose2d(width * (1 if inner else 2), above, 4, 2, 1))
            self.doubling_norm.append(_normalised(above) if number else nn.Identity())
        initialise(self)

    def forward(self, noise: Tensor, pictures: Tensor) -> Tensor:
        """(batch, 0), and (batch, *shape) in [-1, 1] -> (batch, outputs, height, width) in [-1, 1].

        There is no noise; it is an argument as all generators have it.
        """
        height, width = pictures.shape[2:]
        margin = (0, self.padded[1] - width, 0, self.padded[0] - height)
        grid = pad(pictures, margin, mode="replicate")
        grid = grid.contiguous(memory_format=torch.channels_last)
        skips: list[Tensor] = []
        for number, (halve, norm) in enumerate(zip(self.halving, self.halving_norm, strict=True)):
            grid = norm(halve(leaky_relu(grid, SLOPE) if number else grid))
            skips.append(grid)
        grid = skips.pop()
        for number in reversed(range(len(self.doubling))):
            grid = self.doubling_norm[number](self.doubling[number](relu(grid)))
            if skips:
                grid = torch.cat((grid, skips.pop()), 1)
        return torch.tanh(grid[:, :, :height, :width])


class PatchDiscriminator(nn.Module):
    """Judges patches: a logit for each place of a grid, of the input and the output together."""

    def __init__(self, config: ImageToImageConfig, shape: tuple[int, ...], outputs: int) -> None:
        """shape: of the input, (channels, height, width). outputs: channels of the output.

        Raises ValueError for pictures too small to have patches.
        """
        super().__init__()
        count = config.patch_halvings
        least = 3 * 2**count
        if min(shape[1:]) < least:
            raise ValueError(
                f"patch_halvings of {count} needs pictures of {least} pixels or more, got"
                f" {shape[1:]}; lower it"
            )
        widths = widths_of(config.channels, config.most_channels, count + 1)
        layers: list[nn.Module] = []
        before = shape[0] + outputs
        for width in widths[:-1]:
            layers += [nn.Conv2d(before, width, 4, 2, 1), nn.LeakyReLU(SLOPE)]
            before = width
        layers += [nn.Conv2d(before, widths[-1], 4, 1, 1), nn.LeakyReLU(SLOPE)]
        layers.append(nn.Conv2d(widths[-1], 1, 4, 1, 1))
        self.layers = nn.Sequential(*layers)
        initialise(self)
        if config.spectral_norm:
            normalise_spectrally(self)

    def forward(self, outputs: Tensor, pictures: Tensor) -> Tensor:
        """Outputs, real or generated, and inputs, (batch, channels, height, width) in [-1, 1]
        -> (batch, 1, rows, columns) logits."""
        both = torch.cat((pictures, outputs), 1)
        return self.layers(both.contiguous(memory_format=torch.channels_last))


def unet_halvings(config: ImageToImageConfig, shape: tuple[int, ...]) -> int:
    """How often (channels, height, width) is halved; at least 2 pixels are left where the
    configuration does not say.

    Raises ValueError for pictures that are too small.
    """
    check_image_size(shape)
    most = int(math.log2(min(shape[1:])))
    if config.halvings is None:
        return min(most - 1, _MOST_HALVINGS)
    if config.halvings > most:
        raise ValueError(
            f"halvings of {config.halvings} are too many for pictures of {shape[1:]}: at most"
            f" {most}"
        )
    return config.halvings


def _normalised(channels: int) -> nn.InstanceNorm2d:
    """Each channel of each picture for itself: batch normalisation of a batch of 1, as pix2pix."""
    return nn.InstanceNorm2d(channels, affine=True)
