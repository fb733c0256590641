"""DiffAugment: random changes to what the discriminator sees, that gradients pass through.

Zhao, Liu, Lin, Zhu & Han (2020), "Differentiable augmentation for data-efficient GAN training".
Real and generated pictures are changed alike, and the generator learns through the change, so that
it does not learn to make changed pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rlkit.gan.configuration import Augmentation

LARGEST_SHIFT = 1 / 8
"""Of a side, at most, in either direction (the authors' code)."""

HOLE = 1 / 2
"""Side of the square that is cut out, as a share of the picture's (the authors' code)."""


def augmented(
    pictures: Tensor, augmentations: Sequence[Augmentation], random: torch.Generator | None = None
) -> Tensor:
    """Pictures (batch, channels, height, width), usually in [-1, 1], each changed at random.

    colour: `shift_colours`; translation: `translated`; cutout: `cut_out`; in that order, whatever
    the order of `augmentations`. random: drawn from; PyTorch's own if None.
    """
    if "colour" in augmentations:
        pictures = shift_colours(pictures, random)
    if "translation" in augmentations:
        pictures = translated(pictures, random)
    if "cutout" in augmentations:
        pictures = cut_out(pictures, random)
    return pictures


def shift_colours(pictures: Tensor, random: torch.Generator | None = None) -> Tensor:
    """Another brightness, saturation and contrast for each picture.

    Brightness adds a number from [-0.5, 0.5); saturation multiplies what a channel differs from
    the pixel's mean by one from [0, 2); contrast what a pixel differs from the picture's mean by
    one from [0.5, 1.5).
    """
    brightness, saturation, contrast = (
        _uniform(pictures, random).reshape(-1, 1, 1, 1) for _ in range(3)
    )
    pictures = pictures + (brightness - 0.5)
    grey = pictures.mean(1, keepdim=True)
    pictures = grey + (pictures - grey) * (2.0 * saturation)
    mean = pictures.mean((1, 2, 3), keepdim=True)
    return mean + (pictures - mean) * (contrast + 0.5)


def translated(pictures: Tensor, random: torch.Generator | None = None) -> Tensor:
    """Each picture moved by up to LARGEST_SHIFT of its sides; what comes in is 0, mid-grey."""
    height, width = pictures.shape[2:]
    rows, down = _moved(pictures, height, random)
    columns, right = _moved(pictures, width, random)
    moved = pictures.gather(2, rows[:, None, :, None].expand_as(pictures))
    moved = moved.gather(3, columns[:, None, None, :].expand_as(pictures))
    return moved * (down[:, None, :, None] * right[:, None, None, :])


def cut_out(pictures: Tensor, random: torch.Generator | None = None) -> Tensor:
    """A rectangle of HOLE of the height and of the width of each picture is 0, mid-grey.

    Its centre is any pixel, so that part of it may lie outside.
    """
    inside = []
    for size in pictures.shape[2:]:
        centre = (_uniform(pictures, random) * size).floor()[:, None]
        hole = round(size * HOLE)
        offset = torch.arange(size, device=pictures.device)[None] - (centre - hole // 2)
        inside.append((offset >= 0) & (offset < hole))
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return pictures * ~hole


def _moved(pictures: Tensor, size: int, random: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """(batch, size): where each row or column comes from, and whether that lies inside."""
    most = int(size * LARGEST_SHIFT + 0.5)
    shift = (_uniform(pictures, random) * (2 * most + 1)).long() - most
    source = torch.arange(size, device=pictures.device)[None] - shift[:, None]
    return source.clamp(0, size - 1), (source >= 0) & (source < size)


def _uniform(pictures: Tensor, random: torch.Generator | None) -> Tensor:
    """(batch,) from [0, 1)."""
    return torch.rand(len(pictures), generator=random, device=pictures.device)
