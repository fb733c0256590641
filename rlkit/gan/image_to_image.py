"""Networks of pix2pix: pictures become pictures of another kind.

Isola, Zhu, Zhou & Efros (2017), "Image-to-image translation with conditional adversarial networks":
a U-Net whose skips carry what need not be made anew, and a discriminator that judges patches.
Other than there, noise comes in beside the picture, not by dropout, which changed their results
little (section 3.1): what a camera adds to a picture at random has to come from somewhere. The
generator ends with a layer of the picture's own size that is given picture and noise again, so that
single pixels can change, and where the output has as many channels as the picture, what it gives is
the change, on the scale of those learnt from: all else stays from the start, and faint changes are
no fainter to either side than others. And the discriminator has no normalisation, for penalties
are about one example at a time.
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
_PART = 256
_LEAST_FINE = 16
"""Channels of the layer of the picture's own size, at least."""


class UNet(nn.Module):
    """Convolutions that halve the picture, and transposed ones that double it again.

    Each doubling is given what the halving of its size made, and a last layer the picture itself.
    Pictures of any size: theirs is rounded up, by repeating the last row and column, to one that
    halves without remainder, and the result is cut back.
    """

    def __init__(
        self,
        config: ImageToImageConfig,
        shape: tuple[int, ...],
        outputs: int,
        change: float = 1.0,
    ) -> None:
        """shape: of the input, (channels, height, width). outputs: channels of the output. change:
        how large changes are, about, where it is these that are learnt; of pictures in [-1, 1].

        Raises ValueError for pictures that cannot be halved so often.
        """
        super().__init__()
        count = unet_halvings(config, shape)
        grid = start_grid(shape, count)
        self.padded = (grid[0] * 2**count, grid[1] * 2**count)
        self.picture_noise, self.pixel_noise = config.picture_noise, config.pixel_noise
        self.adds = outputs == shape[0]
        self.change: Tensor
        self.register_buffer("change", torch.tensor(change))
        inputs = shape[0] + self.picture_noise + self.pixel_noise
        fine = max(_LEAST_FINE, config.channels // 2)
        widths = widths_of(config.channels, config.most_channels, count)
        self.halving = nn.ModuleList()
        self.doubling = nn.ModuleList()
        self.halving_norm = nn.ModuleList()
        self.doubling_norm = nn.ModuleList()
        for number, width in enumerate(widths):
            before = widths[number - 1] if number else inputs
            inner = number == count - 1
            self.halving.append(nn.Conv2d(before, width, 4, 2, 1))
            # Neither the picture's own layer nor the innermost, of few pixels, is normalised.
            plain = number == 0 or inner
            self.halving_norm.append(nn.Identity() if plain else _normalised(width))
            above = widths[number - 1] if number else fine
            self.doubling.append(nn.ConvTranspose2d(width * (1 if inner else 2), above, 4, 2, 1))
            self.doubling_norm.append(_normalised(above) if number else nn.Identity())
        self.fine = nn.Conv2d(fine + inputs, fine, 3, 1, 1)
        self.last = nn.Conv2d(fine, outputs, 3, 1, 1)
        initialise(self)

    def forward(self, noise: Tensor, pictures: Tensor) -> Tensor:
        """(batch, numbers) as `noise_size` says, and (batch, *shape) in [-1, 1] -> (batch, outputs,
        height, width) in [-1, 1]."""
        height, width = pictures.shape[2:]
        beside = _planes(noise, self.picture_noise, (height, width))
        margin = (0, self.padded[1] - width, 0, self.padded[0] - height)
        given = pad(torch.cat((pictures, beside), 1), margin, mode="replicate")
        given = given.contiguous(memory_format=torch.channels_last)
        grid = given
        skips: list[Tensor] = []
        for number, (halve, norm) in enumerate(zip(self.halving, self.halving_norm, strict=True)):
            grid = norm(halve(leaky_relu(grid, SLOPE) if number else grid))
            skips.append(grid)
        grid = skips.pop()
        for number in reversed(range(len(self.doubling))):
            grid = self.doubling_norm[number](self.doubling[number](relu(grid)))
            if skips:
                grid = torch.cat((grid, skips.pop()), 1)
        grid = leaky_relu(self.fine(torch.cat((grid, given), 1)), SLOPE)
        made = self.last(grid)[:, :, :height, :width].float()
        if self.adds:
            return (pictures + self.change * made).clamp(-1.0, 1.0)
        return torch.tanh(made)


class PatchDiscriminator(nn.Module):
    """Judges patches: a logit for each place of a grid, of the input and the output together, and
    of what changed, on its own scale, where they have as many channels."""

    def __init__(
        self,
        config: ImageToImageConfig,
        shape: tuple[int, ...],
        outputs: int,
        change: float = 1.0,
    ) -> None:
        """Arguments as for `UNet`. Raises ValueError for pictures too small to have patches."""
        super().__init__()
        self._change = change if outputs == shape[0] else None
        count = config.patch_halvings
        least = 3 * 2**count
        if min(shape[1:]) < least:
            raise ValueError(
                f"patch_halvings of {count} needs pictures of {least} pixels or more, got"
                f" {shape[1:]}; lower it"
            )
        widths = widths_of(config.channels, config.most_channels, count + 1)
        layers: list[nn.Module] = []
        before = shape[0] + outputs + (0 if self._change is None else outputs)
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
        seen = [pictures, outputs]
        if self._change is not None:
            seen.append((outputs - pictures) / self._change)
        return self.layers(torch.cat(seen, 1).contiguous(memory_format=torch.channels_last))


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


def size_of_changes(inputs: Tensor, targets: Tensor) -> float:
    """Root mean square of what changes, of bytes as [-1, 1]; at least half a level.

    inputs, targets: (count, channels, height, width) uint8. 1 where they differ in channels.
    """
    if inputs.shape != targets.shape:
        return 1.0
    squares = sum(
        float((target.float() - picture.float()).square().sum())
        for picture, target in zip(inputs.split(_PART), targets.split(_PART), strict=True)
    )
    return max(math.sqrt(squares / inputs.numel()), 0.5) / 127.5


def noise_size(config: ImageToImageConfig, shape: tuple[int, ...]) -> int:
    """Random numbers that a picture (channels, height, width) is translated with: those of the
    picture first, then those of its pixels, plane by plane."""
    return config.picture_noise + config.pixel_noise * shape[1] * shape[2]


def _planes(noise: Tensor, picture_noise: int, size: tuple[int, int]) -> Tensor:
    """(batch, numbers) -> (batch, planes, height, width), a picture's numbers all over a plane."""
    whole, pixels = noise[:, :picture_noise], noise[:, picture_noise:]
    whole = whole[:, :, None, None].expand(-1, -1, *size)
    return torch.cat((whole, pixels.reshape(len(noise), -1, *size)), 1)


def _normalised(channels: int) -> nn.InstanceNorm2d:
    """Each channel of each picture for itself: batch normalisation of a batch of 1, as pix2pix."""
    return nn.InstanceNorm2d(channels, affine=True)
