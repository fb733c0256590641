"""What the commands of `rlkit dbn` learn from and judge by, as the user names it, and what they
write about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from rlkit.cli.epoch_bar import EpochBar
from rlkit.cli.mistakes import Mistake
from rlkit.cli.sources import DIGITS, read_digits

if TYPE_CHECKING:
    import numpy as np

    from rlkit.dbn.rbm import RBM
    from rlkit.dbn.rbm_watch import EpochRecord


def is_file_or_digits(source: str) -> bool:
    """Whether a source is no environment."""
    return source == DIGITS or source.endswith(".npz")


def read_rows(source: str) -> np.ndarray:
    """Observations (count, *shape) of a file (.npz) or, by the word, of handwritten digits.

    Raises Mistake for another source and without the extra that digits need, ObservationsFileError
    for a file that cannot be used.
    """
    if source == DIGITS:
        return read_digits()[0]
    if not source.endswith(".npz"):
        raise Mistake(f"{source}: name a file of rows (.npz), or {DIGITS} for handwritten digits")
    from rlkit.observations import ObservationsFileError, read_real_rows

    observations = read_real_rows(Path(source), "observations", or_only=True)
    if observations.ndim < 2 or not observations.size:
        raise ObservationsFileError(f"{source}: holds no rows, but {observations.shape}")
    return observations


def binarised(observations: np.ndarray) -> np.ndarray:
    """1 where numbers, bytes as parts of 255, are at least 0.5, 0 elsewhere; int8."""
    import numpy as np

    half = 127.5 if observations.dtype == np.uint8 else 0.5
    return (observations >= half).astype(np.int8)


class StackBar(EpochBar):
    """Shows epochs of a stack's layers, one after the other."""

    def __init__(self, console: Console, epochs: int) -> None:
        """epochs: of all layers together."""
        super().__init__(console, epochs)
        self._done = 0

    def __enter__(self) -> StackBar:
        super().__enter__()
        return self

    def __call__(self, record: EpochRecord, rbm: RBM, below: Sequence[RBM]) -> None:
        """Show an epoch of a layer."""
        self._done += 1
        parts = [f"layer {len(below)}", f"error {record.reconstruction_error:.4g}"]
        if record.held_out_reconstruction_error is not None:
            parts.append(f"held out {record.held_out_reconstruction_error:.4g}")
        if record.free_energy_gap is not None:
            parts.append(f"gap {record.free_energy_gap:.3g}")
        self.show(self._done, ", ".join(parts))


def print_quality(quality: Any) -> None:
    """The table of a stack's layers (`rlkit.dbn.quality.StackQuality`)."""
    print(f"  unexplained by the stack: {quality.unexplained:.3f} of the variance")
    for number, layer in enumerate(quality.layers):
        gap = "" if layer.free_energy_gap is None else f", gap {layer.free_energy_gap:.3g} nats"
        print(
            f"  layer {number}: {layer.hidden_units} units, error {layer.reconstruction_error:.4g}"
            f" (independent units {layer.independent_error:.4g}){gap},"
            f" {layer.constant_features:.0%} of the features constant"
        )
