"""Augmentation behind one interface: rows in, as many rows out, for whatever learns from them.

Replays, picking agents, autoencoders and classifiers can call any of these on a batch, or anything
else of the same signature, such as rows that were generated. Here are the interface, what puts
augmentations together, and their short names; `augmentation_moves` and `augmentation_looks` hold
the classical kinds, the bar for anything learnt.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from rlkit_agents.augmentation_looks import (
    Blur,
    Cutout,
    DropOut,
    GaussianNoise,
    RandomConvolution,
    RandomShadow,
    Specks,
    random_brightness,
    random_contrast,
    random_inversion,
    random_palette,
)
from rlkit_agents.augmentation_moves import (
    Move,
    RandomCrop,
    RandomFlip,
    RandomRotation,
    RandomShift,
    RandomTurn,
)


class Augmentation(Protocol):
    """Gives rows that a learner may take in place of those it is given."""

    def __call__(
        self, batch: Tensor, labels: Tensor | None = None, *, random: torch.Generator
    ) -> Tensor:
        """Rows (batch, *shape) of the same dtype, on the same device, for which the same labels
        hold; a new tensor, or `batch` itself where nothing changes.

        batch: (batch, *shape), left as it is. labels: (batch,) integers, or None. random: decides
        all that is random; the same state gives the same rows.
        """
        ...


@dataclass(frozen=True)
class Chain:
    """Several augmentations, one after the other."""

    augmentations: tuple[Augmentation, ...]
    """In their order."""

    def __call__(
        self, batch: Tensor, labels: Tensor | None = None, *, random: torch.Generator
    ) -> Tensor:
        """As `Augmentation`."""
        for augmentation in self.augmentations:
            batch = augmentation(batch, labels, random=random)
        return batch


class CappedShare:
    """An augmentation of some rows only: at most a share of every batch, chosen at random."""

    def __init__(self, augmentation: Augmentation, share: float) -> None:
        """share: of the rows, in (0, 1]. Raises ValueError for another."""
        if not 0 < share <= 1:
            raise ValueError(f"share must be in (0, 1], got {share}")
        self.augmentation = augmentation
        self.share = share
        self.last_share = 0.0
        """Of the rows of the last batch, what was augmented."""

    def __call__(
        self, batch: Tensor, labels: Tensor | None = None, *, random: torch.Generator
    ) -> Tensor:
        """As `Augmentation`."""
        allowed = math.floor(self.share * len(batch))
        self.last_share = allowed / len(batch) if len(batch) else 0.0
        if not allowed:
            return batch
        order = torch.randperm(len(batch), generator=random, device=random.device)
        chosen = order[:allowed].to(batch.device)
        mixed = batch.clone()
        chosen_labels = None if labels is None else labels[chosen.to(labels.device)]
        mixed[chosen] = self.augmentation(batch[chosen], chosen_labels, random=random)
        return mixed


class Augmenter:
    """What an algorithm's batches go through, with random numbers of its own.

    Each call draws anew, so that observations and next observations differ in their changes, as in
    DrQ. Without augmentations it returns what it is given, and draws nothing.
    """

    def __init__(
        self,
        names: Sequence[str],
        seed: np.random.SeedSequence,
        device: torch.device | str = "cpu",
        share: float = 1.0,
    ) -> None:
        """names: as `augmentation_named` takes them, in their order.

        seed: left as it is, and no random number is drawn that others would get from it. share: of
        the rows of a call that they change, in (0, 1], chosen at random, but in `with_places` and
        `with_clean`, which change all. Raises ValueError for another.
        """
        self._augmentations = [augmentation_named(name) for name in names]
        self._named: tuple[Augmentation, ...] = tuple(self._augmentations)
        if share != 1:
            self._named = (CappedShare(Chain(self._named), share),)
        self._learnt: CappedShare | None = None
        self._whole: tuple[tuple[int, ...], np.dtype] | None = None
        own = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, _SPAWNED))
        self._random = torch.Generator(device)
        self._random.manual_seed(int(own.generate_state(1, np.uint64)[0] >> np.uint64(1)))

    def put_first(self, augmentation: Augmentation, share: float) -> None:
        """Let `augmentation`, such as one that was learnt, change a share of every batch first.

        Raises ValueError for a share outside (0, 1], and where it does not fit what `check_fits`
        was told of.
        """
        if self._whole is not None:
            augmentation(self._blank(*self._whole), random=torch.Generator(self._random.device))
        self._learnt = CappedShare(augmentation, share)

    def check_fits(
        self, shape: tuple[int, ...], dtype: np.dtype, whole: tuple[int, ...] | None = None
    ) -> None:
        """Raise ValueError where observations of that shape and dtype cannot be augmented.

        whole: shape of what a learnt augmentation is given, where that is another.
        """
        random = torch.Generator(self._random.device)
        for augmentation in self._augmentations:
            augmentation(self._blank(shape, dtype), random=random)
        self._whole = whole or shape, dtype

    def _blank(self, shape: tuple[int, ...], dtype: np.dtype) -> Tensor:
        return torch.from_numpy(np.zeros((2, *shape), dtype)).to(self._random.device)

    def __call__(self, batch: Tensor) -> Tensor:
        """The rows (batch, *shape), augmented."""
        return Chain(self._all())(batch, random=self._random)

    def over_time(self, sequences: Tensor) -> Tensor:
        """Sequences (time, batch, *shape), augmented: what is drawn holds from a sequence's first
        row to its last, as for a stack of frames, but for noise, lost numbers and specks."""
        if not self._all():
            return sequences
        rows = sequences.transpose(0, 1)
        if rows.ndim < 5:  # no pictures, whose channels could be laid on top of each other
            return self(rows).transpose(0, 1)
        return self(rows.flatten(1, 2)).view(rows.shape).transpose(0, 1)

    def learnt(self, batch: Tensor) -> Tensor:
        """The rows (batch, *shape) after the learnt augmentation alone, if there is one."""
        return batch if self._learnt is None else self._learnt(batch, random=self._random)

    def with_places(self, batch: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures (batch, channels, height, width) after all that is not learnt, and where pixels
        in them, (batch, 2) int64 rows and columns, are then."""
        for augmentation in self._augmentations:
            if isinstance(augmentation, Move):
                drawn = augmentation.draw(len(batch), self._random)
                size = batch.shape[-2], batch.shape[-1]
                places = augmentation.moved_places(places, drawn, size)
                batch = augmentation.apply(batch, drawn)
            else:
                batch = augmentation(batch, random=self._random)
        return batch, places

    def with_clean(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """The rows (batch, *shape) after all that is not learnt, and after its moves alone: what a
        model that undoes everything else is shown, and what it should give."""
        clean = batch
        for augmentation in self._augmentations:
            if isinstance(augmentation, Move):
                drawn = augmentation.draw(len(batch), self._random)
                batch, clean = augmentation.apply(batch, drawn), augmentation.apply(clean, drawn)
            else:
                batch = augmentation(batch, random=self._random)
        return batch, clean

    def metrics(self) -> dict[str, Tensor | float]:
        """For the log: the share of the last batch that a learnt augmentation changed, if any."""
        return {} if self._learnt is None else {"augmented_share": self._learnt.last_share}

    def state(self) -> Tensor:
        """Where its random numbers are, to go on from."""
        return self._random.get_state()

    def go_on(self, state: Tensor | None) -> None:
        """Go on where `state` was taken; None, from before there were any, changes nothing."""
        if state is not None:
            self._random.set_state(state)

    def _all(self) -> tuple[Augmentation, ...]:
        learnt = () if self._learnt is None else (self._learnt,)
        return (*learnt, *self._named)


_SPAWNED = 2**31
"""A number that no child of a seed has by counting."""


@dataclass(frozen=True)
class Kind:
    """A family of augmentations that has a short name."""

    make: Callable[..., Augmentation]
    """Its class, or a function that makes one; what follows the colon is its one argument."""
    number: type[int] | type[float] | None
    """Of what follows the colon; None where nothing does."""
    meaning: str
    """What the number says; without one, what the kind does."""


KINDS = MappingProxyType(
    {
        "shift": Kind(RandomShift, int, "pixels, at most"),
        "crop": Kind(RandomCrop, float, "share of the sides that is kept"),
        "flip": Kind(RandomFlip, None, "left and right change places, or not"),
        "turn": Kind(RandomTurn, None, "right angles"),
        "rotation": Kind(RandomRotation, float, "degrees, at most"),
        "noise": Kind(GaussianNoise, float, "deviation, in the observation's units"),
        "dropout": Kind(DropOut, float, "share of the numbers that are lost, and read 0"),
        "specks": Kind(Specks, float, "share of the pixels that turn black or white"),
        "brightness": Kind(random_brightness, float, "levels, at most"),
        "contrast": Kind(random_contrast, float, "change of the contrast, at most, of 1"),
        "palette": Kind(random_palette, float, "levels by which each shade changes, at most"),
        "inversion": Kind(random_inversion, float, "chance that black and white change places"),
        "cutout": Kind(Cutout, int, "pixels of a square's side"),
        "convolution": Kind(RandomConvolution, float, "chance that random weights mix near pixels"),
        "blur": Kind(Blur, float, "deviation, in pixels"),
        "shadow": Kind(RandomShadow, float, "share of the light that is lost, at most"),
    }
)
"""Families by name, moves first."""


def augmentation_named(name: str) -> Augmentation:
    """The augmentation with a name such as `shift:4` or `flip`: its kind, a colon, its number.

    Without a number, kinds that have a usual one take that. Raises ValueError for an unknown kind,
    with the nearest, and for a number that is missing, none, or out of range.
    """
    word, colon, number = name.partition(":")
    if word not in KINDS:
        near = difflib.get_close_matches(word, KINDS, n=1, cutoff=0.5) or list(KINDS)
        raise ValueError(f"no augmentation is called {word!r}; did you mean {' or '.join(near)}?")
    kind = KINDS[word]
    if not colon:
        return kind.make()
    if kind.number is None:
        raise ValueError(f"{word} takes no number, got {name!r}")
    try:
        value = kind.number(number)
    except ValueError:
        sort = "a whole number" if kind.number is int else "a number"
        raise ValueError(f"{word} takes {sort}, {kind.meaning}; got {name!r}") from None
    try:
        return kind.make(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def check_keeps_actions(names: Sequence[str]) -> None:
    """Raise ValueError for names of which no augmentation is made, and for mirrors and turns.

    Those change what an action does: left is right then.
    """
    for name in names:
        if isinstance(augmentation_named(name), RandomFlip | RandomTurn):
            raise ValueError(f"augmentation {name!r} changes what actions do: name symmetries")


def check_moves_pixels(names: Sequence[str], away: float, reach: float, upright: bool) -> None:
    """Raise ValueError for names of which no augmentation is made that keeps a tried pixel's worth.

    away: how far in rows or columns the pixel is from the middle of what is seen, at most. reach:
    how far the middle of an outermost pixel is. upright: whether nothing has a direction in the
    plane; else turned pictures would show other attempts.
    """
    rotates = False
    for name in names:
        match augmentation_named(name):
            case RandomCrop():
                raise ValueError(f"augmentation {name!r} enlarges parts, but not their heights")
            case RandomFlip() | RandomTurn() | RandomRotation() if not upright:
                raise ValueError(f"augmentation {name!r} changes the direction of a tilted tool")
            case RandomShift(pixels):
                away += pixels
            case RandomRotation():
                rotates = True
            case _:
                pass
    if away * (math.sqrt(2) if rotates else 1.0) > reach:
        raise ValueError(
            f"augmentation {' '.join(names)!r} can move the tried pixel out of the window: shift "
            "by fewer pixels, or see a larger window"
        )
