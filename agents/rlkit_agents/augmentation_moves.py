"""Augmentations that move what a picture shows: shifts, crops, flips, turns and rotations.

Each is an `Augmentation` (see `augmentation`) of pictures (batch, channels, height, width), all
channels alike, whether they are frames or heights. Where something in a picture has a place, such
as the pixel that was tried, take `draw` and `apply` apart: `moved_places` says where it is then.
Random shifts alone close most of the gap between learning from pictures and from states (Kostrikov,
Yarats & Fergus 2021, "Image Augmentation Is All You Need", called DrQ).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


class Drawn(ABC):
    """An augmentation of pictures that first draws what changes in each."""

    def __call__(
        self, batch: Tensor, labels: Tensor | None = None, *, random: torch.Generator
    ) -> Tensor:
        """As `Augmentation`, for pictures (batch, channels, height, width)."""
        check_pictures(batch)
        return self.apply(batch, self.draw(len(batch), random))

    @abstractmethod
    def draw(self, count: int, random: torch.Generator) -> Tensor:
        """What changes in so many pictures, (count, ...)."""

    @abstractmethod
    def apply(self, batch: Tensor, drawn: Tensor, /) -> Tensor:
        """The pictures changed as drawn."""


class Move(Drawn):
    """Draws how each picture moves, and can tell where its pixels go."""

    @abstractmethod
    def moved_places(self, places: Tensor, drawn: Tensor, /, size: tuple[int, int]) -> Tensor:
        """Where pixels are after `apply`, to the nearest one, (count, 2) int64 rows and columns.

        places: (count, 2) int64, one in each picture. size: of the pictures, (height, width).
        Those that the move takes out of the picture are outside 0 and its size.
        """


@dataclass(frozen=True)
class RandomShift(Move):
    """Moves each picture, all its channels alike; what comes in repeats the edge (DrQ)."""

    pixels: int = 4
    """At most, in each direction; 4 for pictures of 84 pixels as in DrQ."""

    def __post_init__(self) -> None:
        if self.pixels < 1:
            raise ValueError(f"pixels must be at least 1, got {self.pixels}")

    def draw(self, count: int, random: torch.Generator) -> Tensor:
        """Moves (count, 2) down and to the right, in pixels."""
        return torch.randint(
            -self.pixels, self.pixels + 1, (count, 2), generator=random, device=random.device
        )

    def apply(self, batch: Tensor, moves: Tensor) -> Tensor:
        """Pictures moved by so many pixels."""
        count, channels, height, width = batch.shape
        moves = moves.to(batch.device)
        rows = torch.arange(height, device=batch.device) - moves[:, :1]
        columns = torch.arange(width, device=batch.device) - moves[:, 1:]
        pixels = (rows.clamp(0, height - 1) * width)[:, :, None] + columns.clamp(0, width - 1)[
            :, None, :
        ]
        # One gather over flat pictures takes a tenth of the time of indexing rows and columns.
        places = pixels.view(count, 1, height * width).expand(count, channels, height * width)
        return batch.reshape(count, channels, -1).gather(2, places).view(batch.shape)

    def moved_places(self, places: Tensor, moves: Tensor, size: tuple[int, int]) -> Tensor:
        """As `Move`."""
        return places + moves.to(places.device)


@dataclass(frozen=True)
class RandomCrop(Move):
    """Cuts a window out of each picture at random and enlarges it to the picture's size."""

    share: float = 0.85
    """Of the sides that the window keeps, in (0, 1)."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"share must be between 0 and 1, got {self.share}")

    def draw(self, count: int, random: torch.Generator) -> Tensor:
        """Where the windows lie, (count, 2) in [0, 1]: 0 at the top or left, 1 at the bottom or
        right."""
        return torch.rand((count, 2), generator=random, device=random.device)

    def apply(self, batch: Tensor, places: Tensor) -> Tensor:
        """The windows at those places, enlarged."""
        centres = ((2 * places - 1) * (1 - self.share)).to(batch.device)
        mappings = torch.zeros((len(batch), 2, 3), device=batch.device)
        mappings[:, 0, 0] = mappings[:, 1, 1] = self.share
        mappings[:, :, 2] = centres.flip(1)  # the mapping's first axis runs to the right
        return _resampled(batch, mappings)

    def moved_places(self, places: Tensor, drawn: Tensor, size: tuple[int, int]) -> Tensor:
        """As `Move`."""
        sides = torch.tensor(size, device=places.device)
        corners = drawn.to(places.device) * (1 - self.share) * sides
        return (((places + 0.5 - corners) / self.share) - 0.5).round().long()


@dataclass(frozen=True)
class RandomFlip(Move):
    """Mirrors each picture or not, by equal chances."""

    rows: bool = False
    """Whether up and down may change places."""
    columns: bool = True
    """Whether left and right may change places."""

    def __post_init__(self) -> None:
        if not (self.rows or self.columns):
            raise ValueError("a flip changes rows or columns, and both are False")

    def draw(self, count: int, random: torch.Generator) -> Tensor:
        """Whether rows and whether columns are flipped, (count, 2) bool."""
        flips = torch.randint(0, 2, (count, 2), generator=random, device=random.device).bool()
        return flips & torch.tensor([self.rows, self.columns], device=random.device)

    def apply(self, batch: Tensor, flips: Tensor) -> Tensor:
        """Pictures with rows and columns flipped where it says so."""
        flips = flips.to(batch.device)[:, :, None, None, None]
        upright = torch.where(flips[:, 0], batch.flip(-2), batch) if self.rows else batch
        return torch.where(flips[:, 1], upright.flip(-1), upright) if self.columns else upright

    def moved_places(self, places: Tensor, flips: Tensor, size: tuple[int, int]) -> Tensor:
        """As `Move`."""
        last = torch.tensor(size, device=places.device) - 1
        return torch.where(flips.to(places.device), last - places, places)


@dataclass(frozen=True)
class RandomTurn(Move):
    """Turns each square picture by one of four right angles, by equal chances."""

    def draw(self, count: int, random: torch.Generator) -> Tensor:
        """Right angles (count,) from 0 to 3, anticlockwise."""
        return torch.randint(0, 4, (count,), generator=random, device=random.device)

    def apply(self, batch: Tensor, turns: Tensor) -> Tensor:
        """Pictures turned by so many right angles; raises ValueError where they are not square."""
        if batch.shape[-1] != batch.shape[-2]:
            raise ValueError(
                f"only square pictures keep their shape when turned, got {tuple(batch.shape)}"
            )
        turned = batch.clone()
        turns = turns.to(batch.device)
        for angle in range(1, 4):
            share = turns == angle
            turned[share] = torch.rot90(batch[share], angle, (-2, -1))
        return turned

    def moved_places(self, places: Tensor, turns: Tensor, size: tuple[int, int]) -> Tensor:
        """As `Move`."""
        turns = turns.to(places.device)[:, None]
        last = size[0] - 1
        for angle in range(1, 4):
            once = torch.stack([last - places[:, 1], places[:, 0]], 1)
            places = torch.where(turns >= angle, once, places)
        return places


@dataclass(frozen=True)
class RandomRotation(Move):
    """Rotates each picture about its middle by a small angle; what comes in repeats the edge."""

    max_degrees: float = 10.0
    """Largest angle either way."""

    def __post_init__(self) -> None:
        if not 0 < self.max_degrees <= 180:
            raise ValueError(f"max_degrees must be in (0, 180], got {self.max_degrees}")

    def draw(self, count: int, random: torch.Generator) -> Tensor:
        """Angles (count,) in radians, anticlockwise."""
        drawn = 2 * torch.rand(count, generator=random, device=random.device) - 1
        return drawn * math.radians(self.max_degrees)

    def apply(self, batch: Tensor, angles: Tensor) -> Tensor:
        """Pictures rotated by those angles."""
        height, width = batch.shape[-2:]
        cosine, sine = torch.cos(angles).to(batch.device), torch.sin(angles).to(batch.device)
        mappings = torch.zeros((len(batch), 2, 3), device=batch.device)
        # From a rotated pixel back to where it came from, both axes running from -1 to 1.
        mappings[:, 0, 0] = mappings[:, 1, 1] = cosine
        mappings[:, 0, 1] = -sine * height / width
        mappings[:, 1, 0] = sine * width / height
        return _resampled(batch, mappings)

    def moved_places(self, places: Tensor, angles: Tensor, size: tuple[int, int]) -> Tensor:
        """As `Move`."""
        middle = (torch.tensor(size, device=places.device) - 1) / 2
        down, right = (places - middle).unbind(1)
        cosine, sine = torch.cos(angles).to(places.device), torch.sin(angles).to(places.device)
        moved = torch.stack([cosine * down - sine * right, sine * down + cosine * right], 1)
        return (moved + middle).round().long()


def _resampled(batch: Tensor, mappings: Tensor) -> Tensor:
    """Pictures read, bilinearly, where the mappings (batch, 2, 3) of their pixels point to.

    Both axes run from -1 at the outer edge of the first pixel to 1 at that of the last; what lies
    outside repeats the edge.
    """
    pictures = batch.float()
    grid = functional.affine_grid(mappings, list(batch.shape), align_corners=False)
    read = functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    return weighted_as(read, batch)


def weighted_as(means: Tensor, batch: Tensor) -> Tensor:
    """Weighted means of the numbers of `batch`, in its dtype.

    Raises ValueError for a batch that holds neither floats nor bytes.
    """
    if not batch.is_floating_point():
        check_bytes(batch)
        return means.round().to(batch.dtype)
    # Weights that add up to 1 but for rounding must not leave the range that the numbers have.
    return means.clamp(batch.amin(), batch.amax()).to(batch.dtype)


def check_pictures(batch: Tensor) -> None:
    """Raise ValueError unless `batch` is (batch, channels, height, width)."""
    if batch.ndim != 4:
        raise ValueError(
            f"pictures must be (batch, channels, height, width), got {tuple(batch.shape)}"
        )


def check_bytes(batch: Tensor) -> None:
    """Raise ValueError unless `batch` is uint8, for what is no float."""
    if batch.dtype != torch.uint8:
        raise ValueError(f"augmented rows must be floats or bytes, got {batch.dtype}")
