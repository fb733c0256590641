"""Checks what a GAN is to learn from, says what to change, and brings it to a network's scale.

Pictures are bytes and become [-1, 1]; rows of numbers are standardised.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

FEW_VALUES = 8
"""Distinct values of a column, at most, that make it look discrete; see `check_discreteness`."""

_NAMED = 5


class DiscreteDataWarning(UserWarning):
    """Columns look discrete, but a generator's outputs are continuous."""


@dataclass(frozen=True)
class Scaling:
    """Between data and what networks see: bytes and [-1, 1], or columns and standardised ones."""

    mean: Tensor | None = None
    """Of each column, (features,) float32; None for pictures."""
    deviation: Tensor | None = None
    """Standard deviation of each column, (features,) float32, 0 of a constant one."""

    def scaled(self, examples: Tensor) -> Tensor:
        """(batch, ...) bytes or numbers -> float32."""
        if self.mean is None or self.deviation is None:
            return examples.float() / 127.5 - 1.0
        divisor = torch.where(self.deviation > 0.0, self.deviation, 1.0)
        return (examples.float() - self.mean) / divisor

    def unscaled(self, outputs: Tensor) -> Tensor:
        """(batch, ...) float32 of a generator -> uint8 pictures or float32 rows."""
        if self.mean is None or self.deviation is None:
            return ((outputs + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return self.mean + outputs * self.deviation

    def to(self, device: torch.device | str) -> Scaling:
        """The same on another device."""
        if self.mean is None or self.deviation is None:
            return self
        return Scaling(self.mean.to(device), self.deviation.to(device))


def scaling_of(examples: Tensor) -> Scaling:
    """The scaling for checked examples. Raises ValueError where all of them are alike."""
    if bool((examples == examples[0]).all()):
        raise ValueError("all examples are alike: there is nothing to learn from")
    if examples.ndim > 2:
        return Scaling()
    wide = examples.double()
    return Scaling(wide.mean(0).float(), wide.std(0, correction=0).float())


@dataclass(frozen=True)
class Examples:
    """What is learnt from, drawn in batches."""

    data: Tensor
    """(count, ...) uint8 pictures or float32 rows, on the CPU."""
    condition: Tensor | None
    """(count,) int64 labels, (count, ...) uint8 pictures, or None."""
    scaling: Scaling
    """Of the data, on `device`."""
    device: torch.device
    """Where batches go."""
    classes: NDArray[np.int64] | None = None
    """What the labels in `condition` are called, (classes,); None where they are no labels."""

    def __len__(self) -> int:
        return len(self.data)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scaled examples and their condition, as networks see them."""
        real = self.scaling.scaled(self.data[rows].to(self.device))
        if self.condition is None:
            return real, None
        condition = self.condition[rows].to(self.device)
        return real, condition if condition.ndim == 1 else Scaling().scaled(condition)


def checked_examples(examples: ArrayLike | Tensor) -> Tensor:
    """Pictures (count, channels, height, width) uint8, or rows (count, features) float32.

    examples: such pictures, also (count, height, width), or rows of any numbers.
    Raises ValueError for fewer than two, for pictures of mixed sizes or that are no bytes, and for
    rows with NaN or infinity.
    """
    array = _as_array(examples)
    if array.ndim in (3, 4):
        return checked_pictures(array)
    if array.ndim != 2:
        raise ValueError(
            "examples are pictures (count, channels, height, width) or (count, height, width), or"
            f" rows (count, features), but these have the shape {array.shape}"
        )
    if array.dtype.kind not in "biuf":
        raise ValueError(f"rows must hold numbers, but these are {array.dtype}")
    with np.errstate(over="ignore"):
        rows = array.astype(np.float32)
    if len(rows) < 2 or not rows.shape[1]:
        raise ValueError(f"a GAN learns from two examples at least, got the shape {array.shape}")
    if not np.isfinite(rows).all():
        row, column = np.argwhere(~np.isfinite(rows))[0]
        raise ValueError(
            f"column {column} holds {array[row, column]} in row {row}; leave such rows out or fill"
            " them"
        )
    return torch.from_numpy(rows)


def checked_pictures(pictures: ArrayLike | Tensor, least: int = 2) -> Tensor:
    """(count, channels, height, width) uint8 of such pictures or (count, height, width).

    Raises ValueError for fewer than `least`, and for pictures of mixed sizes or that are no bytes.
    """
    array = _as_array(pictures)
    if array.ndim not in (3, 4) or 0 in array.shape[1:]:
        raise ValueError(
            "pictures are (count, channels, height, width) or (count, height, width), but these"
            f" have the shape {array.shape}"
        )
    if array.dtype != np.uint8:
        raise ValueError(
            f"pictures are bytes (uint8, 0 to 255), but these are {array.dtype}; scale them, such"
            " as heights, to that range and round"
        )
    if len(array) < least:
        raise ValueError(f"at least {least} pictures are needed, got {len(array)}")
    return torch.from_numpy(array.copy() if array.ndim == 4 else array[:, None].copy())


def checked_labels(
    labels: ArrayLike | Tensor, count: int, *, least: int = 2
) -> tuple[NDArray[np.int64], Tensor]:
    """The classes in ascending order, and the place of each label among them, (count,) int64.

    Raises ValueError for labels that are no whole numbers from 0 on, or not one an example, and for
    classes with fewer than `least` examples.
    """
    array = _as_array(labels)
    if array.shape != (count,):
        raise ValueError(f"there must be {count} labels, one an example, got shape {array.shape}")
    with np.errstate(invalid="ignore"):
        whole = array.dtype.kind in "iu" or (array.dtype.kind == "f" and (array % 1 == 0).all())
    if not whole:
        raise ValueError(f"labels must be whole numbers, got {array.dtype}")
    if array.min() < 0:
        raise ValueError(f"labels count from 0, got {array.min()}; leave unlabelled examples out")
    if array.max() >= 2**63:
        raise ValueError(f"labels must be below 2**63, got {array.max()}")
    classes, places, counts = np.unique(
        array.astype(np.int64), return_inverse=True, return_counts=True
    )
    if counts.min() < least:
        named = ", ".join(str(kind) for kind in classes[counts < least][:_NAMED])
        raise ValueError(
            f"classes with one example cannot be learnt: {named}; leave them out, merge them with"
            " others, or repeat their example with changes"
        )
    return classes, torch.from_numpy(places.astype(np.int64))


def check_variety(examples: Tensor, classes: NDArray[np.int64], places: Tensor) -> None:
    """Raise ValueError for a class whose examples are all alike: it has nothing to learn.

    examples: (count, ...). classes: their labels. places: (count,) of each among them.
    """
    for place, kind in enumerate(classes.tolist()):
        of_class = examples[places == place]
        if bool((of_class == of_class[0]).all()):
            raise ValueError(
                f"all {len(of_class)} examples of class {kind} are alike, so there is nothing to"
                " learn; leave it out, or merge it with others"
            )


def check_discreteness(rows: Tensor) -> None:
    """Refuse bits, and warn of columns with at most FEW_VALUES distinct values.

    A generator's outputs are continuous: of bits it makes numbers between 0 and 1, and the
    discriminator needs no more than that to tell them apart. Constant columns are no matter.
    rows: (count, features).
    Raises ValueError where every column that varies has two values, as bits and one-hot codes have;
    warns (DiscreteDataWarning) of others, if there are four rows for each value or more.
    """
    if len(rows) < 3:
        return  # no column could hold more than two values
    ordered = rows.sort(0).values
    distinct = 1 + (ordered[1:] != ordered[:-1]).sum(0)
    if bool((distinct <= 2).all()):
        raise ValueError(
            "no column holds more than two values, as bits and one-hot codes do, but a generator's"
            " outputs are continuous: resample the rows instead, or learn them by a DBN with"
            " Bernoulli units"
        )
    few = ((distinct > 1) & (distinct <= FEW_VALUES)).nonzero()[:, 0].tolist()
    if few and len(rows) >= 4 * FEW_VALUES:
        named = ", ".join(str(column) for column in few[:_NAMED])
        more = f" and {len(few) - _NAMED} more" if len(few) > _NAMED else ""
        warnings.warn(
            f"columns look discrete, with at most {FEW_VALUES} values: {named}{more}; a generator's"
            " outputs are continuous, so round them afterwards, leave those columns out, make one"
            " of them the label, or resample rows instead",
            DiscreteDataWarning,
            stacklevel=3,
        )


def _as_array(values: ArrayLike | Tensor) -> NDArray[Any]:
    if isinstance(values, Tensor):
        return values.detach().cpu().numpy()
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"examples must all have one size: {error}") from error
    if array.dtype == object:
        raise ValueError("examples must be numbers, and all of one size")
    return array
