"""Augmentations that change how a picture looks, and leave everything where it is.

Each is an `Augmentation` (see `augmentation`). Those of shades and light, and random convolutions,
take bytes, from black to white; noise, lost numbers, cutouts and blur take floats too. What is
drawn holds for all channels of a picture, as for a stack of frames of one moment, but noise, lost
numbers and specks, which differ in each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from rlkit_agents.augmentation_moves import Drawn, check_bytes, check_pictures, weighted_as

_SHADES = 256
_WIDEST_BLUR = 100  # pixels, beyond which nothing is left of any picture
_KNOTS = 9  # of a palette's curve, 32 shades apart


@dataclass(frozen=True)
class GaussianNoise:
    """Adds independent normal noise to every number, of pictures or of flat rows."""

    deviation: float = 8.0
    """Of the noise, in the units of the numbers: of 255 for bytes."""
    low: float | None = None
    """Floats are cut off below it; None leaves them. Bytes stay within 0 and 255 in any case."""
    high: float | None = None
    """Floats are cut off above it; None leaves them."""

    def __post_init__(self) -> None:
        if not 0 < self.deviation < math.inf:
            raise ValueError(f"deviation must be positive and finite, got {self.deviation}")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")

    def __call__(
        self, batch: Tensor, labels: Tensor | None = None, *, random: torch.Generator
    ) -> Tensor:
        """As `Augmentation`, for rows of any shape."""
        noise = torch.randn(batch.shape, generator=random, device=random.device)
        noisy = batch + self.deviation * noise.to(batch.device)
        if not batch.is_floating_point():
            check_bytes(batch)
            return noisy.round().clamp(0, 255).to(batch.dtype)
        if self.low is not None or self.high is not None:
            noisy = noisy.clamp(self.low, self.high)
        return noisy.to(batch.dtype)


@dataclass(frozen=True)
class DropOut:
    """Loses numbers at random, which read 0 then, as pixels do that a depth camera cannot see."""

    share: float = 0.05
    """Of the numbers, on average, in (0, 1)."""

    def __post_init__(self) -> None:
        _check_share(self.share)

    def __call__(
        self, batch: Tensor, labels: Tensor | None = None, *, random: torch.Generator
    ) -> Tensor:
        """As `Augmentation`, for rows of any shape."""
        drawn = torch.rand(batch.shape, generator=random, device=random.device)
        return batch.masked_fill((drawn < self.share).to(batch.device), 0)


@dataclass(frozen=True)
class Specks:
    """Turns pixels black or white at random ("salt and pepper")."""

    share: float = 0.05
    """Of the pixels, on average, in (0, 1); half of these turn white."""

    def __post_init__(self) -> None:
        _check_share(self.share)

    def __call__(
        self, batch: Tensor, labels: Tensor | None = None, *, random: torch.Generator
    ) -> Tensor:
        """As `Augmentation`, for rows of bytes of any shape."""
        _check_shades(batch)
        drawn = torch.rand(batch.shape, generator=random, device=random.device).to(batch.device)
        white = batch.masked_fill(drawn < self.share, _SHADES - 1)
        return white.masked_fill(drawn < self.share / 2, 0)


@dataclass(frozen=True)
class Shades:
    """Replaces each shade of a picture by another, as a curve says that is drawn for it."""

    curves: Callable[[int, torch.Generator], Tensor]
    """Gives what each shade becomes in so many pictures, (count, 256) floats, also below 0 and
    above 255: these become black and white."""

    def __call__(
        self, batch: Tensor, labels: Tensor | None = None, *, random: torch.Generator
    ) -> Tensor:
        """As `Augmentation`, for rows of bytes of any shape."""
        return self.apply(batch, self.draw(len(batch), random))

    def draw(self, count: int, random: torch.Generator) -> Tensor:
        """What each shade becomes, (count, 256) uint8."""
        return self.curves(count, random).round().clamp(0, _SHADES - 1).to(torch.uint8)

    def apply(self, batch: Tensor, curves: Tensor) -> Tensor:
        """The rows with their shades replaced."""
        _check_shades(batch)
        flat = batch.reshape(len(batch), -1).long()
        return curves.to(batch.device).gather(1, flat).view(batch.shape)


def random_brightness(levels: float = 40.0) -> Shades:
    """Makes each picture brighter or darker, all its pixels alike.

    levels: at most, either way, in (0, 256). Raises ValueError for others.
    """
    _check_levels(levels)

    def curves(count: int, random: torch.Generator) -> Tensor:
        drawn = torch.rand((count, 1), generator=random, device=random.device)
        return _shades(random.device) + (2 * drawn - 1) * levels

    return Shades(curves)


def random_contrast(change: float = 0.4) -> Shades:
    """Draws the shades of each picture away from middle grey, or towards it.

    change: of the factor 1, at most, either way, in (0, 1]. Raises ValueError for others.
    """
    if not 0 < change <= 1:
        raise ValueError(f"change must be in (0, 1], got {change}")

    def curves(count: int, random: torch.Generator) -> Tensor:
        drawn = torch.rand((count, 1), generator=random, device=random.device)
        middle = (_SHADES - 1) / 2
        return middle + (1 + (2 * drawn - 1) * change) * (_shades(random.device) - middle)

    return Shades(curves)


def random_palette(levels: float = 60.0) -> Shades:
    """Gives each shade another, near ones alike: the same things in other paints.

    levels: by which a shade changes, at most, in (0, 256). Raises ValueError for others.
    """
    _check_levels(levels)

    def curves(count: int, random: torch.Generator) -> Tensor:
        drawn = torch.rand((count, 1, _KNOTS), generator=random, device=random.device)
        changes = functional.interpolate(
            (2 * drawn - 1) * levels, size=_SHADES, mode="linear", align_corners=True
        )
        return _shades(random.device) + changes[:, 0]

    return Shades(curves)


def random_inversion(chance: float = 0.5) -> Shades:
    """Lets black become white and white black, or not. Where shades say who is who, so do they.

    chance: in (0, 1]. Raises ValueError for others.
    """
    _check_chance(chance)

    def curves(count: int, random: torch.Generator) -> Tensor:
        inverts = torch.rand((count, 1), generator=random, device=random.device) < chance
        shades = _shades(random.device)
        return torch.where(inverts, _SHADES - 1 - shades, shades)

    return Shades(curves)


@dataclass(frozen=True)
class Cutout(Drawn):
    """Hides a square at random, all of it within the picture (DeVries & Taylor 2017).

    In bytes it has one random shade, in floats it is 0.
    """

    pixels: int = 12
    """Of its side."""

    def __post_init__(self) -> None:
        if self.pixels < 1:
            raise ValueError(f"pixels must be at least 1, got {self.pixels}")

    def draw(self, count: int, random: torch.Generator) -> Tensor:
        """Where the squares are, from 0 at the top or left to 1, and their shades: (count, 3)."""
        return torch.rand((count, 3), generator=random, device=random.device)

    def apply(self, batch: Tensor, drawn: Tensor) -> Tensor:
        """Pictures with those squares; raises ValueError where these do not fit in."""
        check_pictures(batch)
        height, width = batch.shape[-2:]
        if self.pixels > min(height, width):
            raise ValueError(f"a square of {self.pixels} pixels is larger than {(height, width)}")
        drawn = drawn.to(batch.device)
        inside = []
        for axis, side in enumerate((height, width)):
            first = (drawn[:, axis, None] * (side - self.pixels)).round()
            along = torch.arange(side, device=batch.device)
            inside.append((along >= first) & (along < first + self.pixels))
        hidden = (inside[0][:, :, None] & inside[1][:, None, :])[:, None]
        if batch.is_floating_point():
            return batch.masked_fill(hidden, 0)
        check_bytes(batch)
        shades = (drawn[:, 2] * (_SHADES - 1)).round().to(batch.dtype)
        return torch.where(hidden, shades[:, None, None, None], batch)


@dataclass(frozen=True)
class Blur:
    """Blurs each picture by a normal distribution's bell, with the edge repeated outside."""

    pixels: float = 1.0
    """Standard deviation of the bell."""

    def __post_init__(self) -> None:
        if not 0 < self.pixels <= _WIDEST_BLUR:
            raise ValueError(f"pixels must be in (0, {_WIDEST_BLUR}], got {self.pixels}")

    def __call__(
        self, batch: Tensor, labels: Tensor | None = None, *, random: torch.Generator
    ) -> Tensor:
        """As `Augmentation`, for pictures (batch, channels, height, width); nothing is random."""
        check_pictures(batch)
        pictures = batch.float()
        height, width = batch.shape[-2:]
        # Small matrices take a tenth of the time of convolutions with a single channel.
        down, right = (self._along(side).to(batch.device) for side in (height, width))
        blurred = down @ pictures @ right.mT
        return weighted_as(blurred, batch)

    def _along(self, side: int) -> Tensor:
        """What each pixel of a line becomes of all, (side, side), by rows."""
        reach = max(1, math.ceil(3 * self.pixels))
        offsets = torch.arange(-reach, reach + 1)
        bell = torch.exp(-0.5 * (offsets / self.pixels) ** 2)
        sources = (torch.arange(side)[:, None] + offsets).clamp(0, side - 1)
        weights = (bell / bell.sum()).expand(side, -1)
        return torch.zeros(side, side).scatter_add_(1, sources, weights)


@dataclass(frozen=True)
class RandomConvolution(Drawn):
    """Convolves pictures of bytes with random weights: what has a form keeps it, in another look.

    Some pictures come out blurred, some with edges drawn, some negative (Lee et al. 2020, "Network
    Randomization", with a fresh convolution for each picture and a look that lasts through a
    stack). Weights are normal and scaled so that every picture fits between black and white:
    nothing is cut off.
    """

    chance: float = 0.5
    """That a picture is changed, in (0, 1]."""

    def __post_init__(self) -> None:
        _check_chance(self.chance)

    def draw(self, count: int, random: torch.Generator) -> Tensor:
        """Weights (count, 3, 3), whose sizes sum to 1; those that change nothing where a picture is
        left as it is."""
        weights = torch.randn((count, 3, 3), generator=random, device=random.device)
        weights /= weights.abs().sum((1, 2), keepdim=True)
        changed = torch.rand(count, generator=random, device=random.device) < self.chance
        nothing = torch.zeros((3, 3), device=random.device)
        nothing[1, 1] = 1.0
        return torch.where(changed[:, None, None], weights, nothing)

    def apply(self, batch: Tensor, weights: Tensor) -> Tensor:
        """Pictures after those convolutions, with the edge repeated outside."""
        check_pictures(batch)
        _check_shades(batch)
        weights = weights.to(batch.device)
        changed = weights.count_nonzero((1, 2)) > 1
        weights = weights[changed]
        padded = functional.pad(batch[changed].float(), (1, 1, 1, 1), mode="replicate")
        width = padded.shape[-1]
        flat = padded.flatten(2)
        # Along flat rows each pixel's neighbours are so many places away: adding these up takes a
        # third of the time of a convolution with a single channel.
        places = [width * down + right for down in range(3) for right in range(3)]
        count = flat.shape[-1] - places[-1]
        mixed = torch.zeros_like(flat)
        mixed -= (_SHADES - 1) * weights.clamp(max=0).sum((1, 2))[:, None, None]
        for place, weight in zip(places, weights.flatten(1).unbind(1), strict=True):
            mixed[..., :count].addcmul_(flat[..., place : place + count], weight[:, None, None])
        convolved = batch.clone()
        convolved[changed] = mixed.view(padded.shape)[..., :-2, :-2].round().to(batch.dtype)
        return convolved


@dataclass(frozen=True)
class RandomShadow(Drawn):
    """Darkens one side of a random line through the middle half of a picture of bytes."""

    strength: float = 0.6
    """Share of the light that is lost there, at most, in (0, 1]; at least half of this is."""

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 1:
            raise ValueError(f"strength must be in (0, 1], got {self.strength}")

    def draw(self, count: int, random: torch.Generator) -> Tensor:
        """Angles, offsets and strengths of the shadows, (count, 3) in [0, 1)."""
        return torch.rand((count, 3), generator=random, device=random.device)

    def apply(self, batch: Tensor, drawn: Tensor) -> Tensor:
        """Pictures with those shadows."""
        check_pictures(batch)
        _check_shades(batch)
        height, width = batch.shape[-2:]
        angle, offset, strength = drawn.to(batch.device)[:, :, None, None].unbind(1)
        down = torch.linspace(-1, 1, height, device=batch.device)[None, :, None]
        right = torch.linspace(-1, 1, width, device=batch.device)[None, None, :]
        angle = 2 * math.pi * angle
        shaded = torch.cos(angle) * right + torch.sin(angle) * down > offset - 0.5
        left = torch.where(shaded, 1 - self.strength * (1 + strength) / 2, 1.0)
        return (batch * left[:, None]).round().to(batch.dtype)


def _shades(device: torch.device) -> Tensor:
    return torch.arange(_SHADES, device=device, dtype=torch.float32)


def _check_shades(batch: Tensor) -> None:
    if batch.dtype != torch.uint8:
        raise ValueError(f"only bytes have shades between black and white, got {batch.dtype}")


def _check_chance(chance: float) -> None:
    if not 0 < chance <= 1:
        raise ValueError(f"chance must be in (0, 1], got {chance}")


def _check_share(share: float) -> None:
    if not 0 < share < 1:
        raise ValueError(f"share must be between 0 and 1, got {share}")


def _check_levels(levels: float) -> None:
    if not 0 < levels < _SHADES:
        raise ValueError(f"levels must be between 0 and {_SHADES}, got {levels}")
