"""Checks data before anything learns from it, and says what to change."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from rlkit.dbn.machine import VisibleUnits
from rlkit.dbn.noise import Noise

Rows = ArrayLike | Tensor
"""(rows, columns) of numbers: an array, a tensor, nested lists, a data frame."""


def flat_rows(observations: np.ndarray) -> np.ndarray:
    """Observations (count, *shape) as rows (count, columns) float32, bytes (uint8) as [0, 1].

    That is how a network for flat observations sees them. Raises ValueError for what is no array of
    numbers with an axis for rows.
    """
    array = np.asarray(observations)
    if array.ndim < 1 or array.dtype.kind not in "biuf":
        raise ValueError(
            f"observations must be numbers with an axis for rows, got {array.dtype} of the shape"
            f" {array.shape}"
        )
    rows = array.reshape(len(array), -1) if len(array) else array.reshape(0, 0)
    scale = 255.0 if rows.dtype == np.uint8 else 1.0
    return rows.astype(np.float32) / np.float32(scale)


def checked_rows(rows: Rows, visible: VisibleUnits, columns: int | None = None) -> Tensor:
    """The data as float32 on the CPU, (rows, columns), sharing memory where it can.

    columns: how many there must be; None takes any.
    Raises ValueError for data that is empty, of another shape, not numbers or not finite, and for
    values outside [0, 1] where visible units are Bernoulli.
    """
    tensor = _as_tensor(rows)
    if tensor.ndim != 2:
        raise ValueError(
            f"data must have two dimensions, (rows, columns), got {tuple(tensor.shape)};"
            " flatten images by reshape(len(data), -1)"
        )
    if 0 in tensor.shape:
        raise ValueError(f"data of the shape {tuple(tensor.shape)} holds nothing")
    if columns is not None and tensor.shape[1] != columns:
        raise ValueError(f"data must have {columns} columns as in training, got {tensor.shape[1]}")
    low, high = torch.aminmax(tensor)
    # NaN passes into both, so two numbers tell all of the usual case.
    if not bool(torch.isfinite(low) & torch.isfinite(high)):
        row, column = (~torch.isfinite(tensor)).nonzero()[0].tolist()
        raise ValueError(
            f"column {column} holds {tensor[row, column].item()} in row {row};"
            " leave such rows out or fill them"
        )
    if visible == "bernoulli" and (float(low) < 0.0 or float(high) > 1.0):
        row, column = ((tensor < 0.0) | (tensor > 1.0)).nonzero()[0].tolist()
        raise ValueError(
            f"column {column} holds {tensor[row, column].item():g} in row {row}, but Bernoulli"
            " units need values in [0, 1]; divide bytes by 255, scale columns to [0, 1], or use"
            ' visible="gaussian"'
        )
    return tensor


def refuse_constant_columns(rows: Tensor) -> None:
    """Raises ValueError where a column holds one value, to which no variance can be fitted."""
    low, high = rows.amin(dim=0), rows.amax(dim=0)
    deviation = rows.std(dim=0, correction=0)
    constant = ((low == high) | (deviation == 0.0)).nonzero()[:, 0].tolist()
    if constant:
        named = ", ".join(str(column) for column in constant[:5])
        more = f" and {len(constant) - 5} more" if len(constant) > 5 else ""
        raise ValueError(
            f"columns without variation cannot be fitted by Gaussian units: {named}{more};"
            " leave them out"
        )


def split_rows(rows: Tensor, share: float, noise: Noise) -> tuple[Tensor, Tensor | None]:
    """Rows to learn from, and a random share of them to hold out; None where that is no row."""
    held_out = int(len(rows) * share)
    if held_out == 0:
        return rows, None
    order = noise.permutation(len(rows))
    return rows[order[held_out:]], rows[order[:held_out]]


def _as_tensor(rows: Rows) -> Tensor:
    if isinstance(rows, Tensor):
        return rows.detach().to("cpu", torch.float32).contiguous()
    try:
        array = np.ascontiguousarray(rows, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"data must be numbers in rows of equal length: {error}") from error
    # PyTorch warns of arrays that cannot be written to.
    return torch.from_numpy(array if array.flags.writeable else array.copy())
