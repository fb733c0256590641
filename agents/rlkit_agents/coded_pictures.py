"""Pictures from codes: what a policy sees whose observations an autoencoder has made small.

A code in bytes, and marks of one bit a pixel, stand for a picture. The decoder was learnt before,
together with the encoder, and stays as it is; what the code has lost is lost to the policy as well.
Who learns encoder and decoder is left to others.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

MAP_CHANNELS = (16, 32, 64)
"""Of convolutions between pictures and codes that are maps, after each halving of the sides; the
last number also stands for all further ones."""


def map_shape(shape: tuple[int, ...], latents: int, halvings: int) -> tuple[int, int, int]:
    """Channels, rows and columns of a code of `latents` numbers that is a map.

    shape: of pictures, (channels, height, width), whose sides are halved so often.
    Raises ValueError where sides cannot be halved so often, and where the numbers cannot be shared
    out evenly among the map's places.
    """
    if len(shape) != 3:
        raise ValueError(f"a code is a map of pictures alone, not of observations {shape}")
    if any(side % 2**halvings for side in shape[1:]):
        raise ValueError(f"the sides of pictures {shape[1:]} cannot be halved {halvings} times")
    rows, columns = (side >> halvings for side in shape[1:])
    channels, left = divmod(latents, rows * columns)
    if left or not channels:
        raise ValueError(
            f"a code of {latents} numbers cannot be shared out evenly among {rows}x{columns} places"
        )
    return channels, rows, columns


def map_channels(halvings: int) -> list[int]:
    """Of the convolutions after each halving."""
    return [MAP_CHANNELS[min(index, len(MAP_CHANNELS) - 1)] for index in range(halvings)]


class MapDecoder(nn.Sequential):
    """Codes (batch, latents) that are maps -> pictures (batch, channels, height, width).

    Two convolutions among the map's places, then one transposed convolution a doubling of sides.
    """

    def __init__(self, shape: tuple[int, ...], latents: int, halvings: int) -> None:
        """shape: of pictures. Raises ValueError as `map_shape` does."""
        coded = map_shape(shape, latents, halvings)
        widths = map_channels(halvings)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["unflatten"] = nn.Unflatten(1, coded)
        size = coded[0]
        for index in (1, 2):
            layers[f"conv{index}"] = nn.Conv2d(size, widths[-1], 3, padding=1)
            layers[f"activation{index}"] = nn.ReLU()
            size = widths[-1]
        for index in reversed(range(halvings)):
            size, below = (widths[index - 1], size) if index else (shape[0], size)
            layers[f"doubling{index + 1}"] = nn.ConvTranspose2d(below, size, 4, 2, 1)
            if index:
                layers[f"doubling{index + 1}_activation"] = nn.ReLU()
        super().__init__(layers)


@dataclass(frozen=True)
class CodedPictureConfig:
    """What the pictures are, and how they are coded."""

    shape: tuple[int, int, int]
    """Channels, height and width of what the code tells; marks are one channel more."""
    latents: int
    """Bytes in a code."""
    halvings: int
    """How often the code's map halves the picture's sides."""

    @property
    def picture_shape(self) -> tuple[int, int, int]:
        """Channels, marks among them, height and width."""
        channels, height, width = self.shape
        return channels + 1, height, width

    @property
    def bytes(self) -> int:
        """Of an observation: its code, and a bit a pixel."""
        return self.latents + -(-self.shape[1] * self.shape[2] // 8)


class CodedPictures(nn.Module):
    """Makes pictures of observations in bytes: a code, then marks.

    Each byte of a code is a step of 256 between `least` and `most` (latents,). What the decoder
    gives is added to the `average` (*shape) picture, times `scale`, plus `mean` (channels, 1, 1).
    Marks are bits, eight in a byte and the first pixel highest, as `numpy.packbits` packs them.
    Nothing here learns.
    Raises ValueError for a code that is no map of such pictures.
    """

    def __init__(self, config: CodedPictureConfig) -> None:
        super().__init__()
        self.config = config
        self.decoder = MapDecoder(config.shape, config.latents, config.halvings)
        self.least: Tensor
        self.most: Tensor
        self.mean: Tensor
        self.scale: Tensor
        self.average: Tensor
        self.register_buffer("least", torch.zeros(config.latents))
        self.register_buffer("most", torch.ones(config.latents))
        self.register_buffer("mean", torch.zeros(config.shape[0], 1, 1))
        self.register_buffer("scale", torch.ones(config.shape[0], 1, 1))
        self.register_buffer("average", torch.zeros(config.shape))
        self.requires_grad_(False)

    def forward(self, observations: Tensor) -> Tensor:
        """(batch, config.bytes) uint8 -> (batch, *config.picture_shape) float32, marks last."""
        latents = self.config.latents
        steps = observations[:, :latents].float()
        codes = self.least + steps * ((self.most - self.least) / 255.0)
        told = (self.decoder(codes) + self.average) * self.scale + self.mean
        bits = torch.arange(7, -1, -1, device=observations.device, dtype=torch.uint8)
        marks = (observations[:, latents:, None] >> bits) & 1
        marks = marks.flatten(1)[:, : told[0, 0].numel()]
        return torch.cat((told, marks.view(len(told), 1, *told.shape[-2:]).float()), 1)
