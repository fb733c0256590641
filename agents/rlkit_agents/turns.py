"""The eight turns and mirrors of a picture from above, and where its pixels come to lie."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

WAYS = 8
"""Turns by a right angle, each mirrored or not; way 0 leaves a picture as it is."""


def turned(pictures: Tensor, way: int) -> Tensor:
    """(..., side, side) turned by `way % 4` right angles, then mirrored from the fourth way on."""
    around = torch.rot90(pictures, way % 4, (-2, -1))
    return around.flip(-1) if way >= 4 else around


def turned_back(pictures: Tensor, way: int) -> Tensor:
    """What `turned` made of pictures (..., side, side) as they were before."""
    return torch.rot90(pictures.flip(-1) if way >= 4 else pictures, -(way % 4), (-2, -1))


def turned_places(places: Tensor, side: int, way: int) -> Tensor:
    """Where the pixels (any, 2), rows and columns, of a picture of that side are after `turned`."""
    rows, columns = places.unbind(-1)
    for _ in range(way % 4):
        rows, columns = side - 1 - columns, rows
    return torch.stack([rows, side - 1 - columns if way >= 4 else columns], -1)


def mean_over_turns(maps_of: Callable[[Tensor], Tensor], pictures: Tensor) -> Tensor:
    """The mean map of pictures (batch, channels, side, side) seen in all eight ways.

    maps_of: makes maps (batch, ..., side, side) of pictures; what it is given is eight times as
    many.
    """
    seen = torch.cat([turned(pictures, way) for way in range(WAYS)])
    maps = maps_of(seen).unflatten(0, (WAYS, -1))
    return torch.stack([turned_back(maps[way], way) for way in range(WAYS)]).mean(0)
