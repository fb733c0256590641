"""What TensorBoard shows of machines that learn: errors, weights, features, filters and dreams."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from rlkit.dbn.dbn import DBN, DBNConfig
from rlkit.dbn.machine import GaussianMachine
from rlkit.dbn.pictures import picture_shape
from rlkit.dbn.rbm import RBM
from rlkit.dbn.rbm_watch import WATCHED_ROWS, EpochRecord
from rlkit.dbn.rows import Rows, checked_rows
from rlkit.picture_sheet import sheet, stretched

DREAMS = 16
"""On a sheet."""
DREAM_STEPS = 200
"""Gibbs steps of the top machine for each; few, as it is done each epoch."""
FILTERS = 64
"""On a sheet."""


class Board:
    """Writes TensorBoard events about a fit into `folder`; give it to `fit` as `on_epoch`.

    Each epoch of each layer, counted from 0 at the bottom, becomes a step of these:

    =============================  ================================================================
    reconstruction_error/layer0    of training rows; `.../layer0_held_out` of others
    free_energy_gap/layer0         of held-out less training rows, in nats; growing tells of
                                   overfitting
    learning_rate/layer0           at the epoch's end
    features/layer0                histogram of chances of hidden units, for held-out rows
    usage/layer0                   histogram of each hidden unit's mean chance: 0 or 1 is a dead one
    weights/layer0                 histogram; `hidden_bias`, `visible_bias` and, of Gaussian units,
                                   `deviation` likewise
    filters                        weights of the lowest layer's units, where rows are pictures
    reconstructions                held-out rows above what all layers so far make of them
    dreams                         what the layers so far dream of, where rows are pictures
    =============================  ================================================================

    Filters, reconstructions and dreams go on counting from layer to layer. Use as a context
    manager.
    """

    def __init__(
        self, folder: str | os.PathLike[str], held_out: Rows, shape: Sequence[int] | None = None
    ) -> None:
        """held_out: (rows, visible), of which WATCHED_ROWS are shown. shape: of what one row is,
        where it is more than (visible,).

        Raises OSError where the folder cannot be written, ValueError for rows of another shape.
        """
        self._held_out = checked_rows(held_out, "gaussian")[:WATCHED_ROWS]
        columns = self._held_out.shape[1]
        if shape is not None and int(np.prod(shape)) != columns:
            raise ValueError(f"rows of {columns} numbers are none of the shape {tuple(shape)}")
        self._shape = picture_shape((columns,) if shape is None else shape)
        self._writer = SummaryWriter(os.fspath(folder))
        self._step = 0

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.close()

    def __call__(self, record: EpochRecord, rbm: RBM, below: Sequence[RBM]) -> None:
        """Show an epoch."""
        writer, layer, epoch = self._writer, f"layer{len(below)}", record.epoch
        error = "reconstruction_error"
        writer.add_scalar(f"{error}/{layer}", record.reconstruction_error, epoch)
        if record.held_out_reconstruction_error is not None:
            held_out = record.held_out_reconstruction_error
            writer.add_scalar(f"{error}/{layer}_held_out", held_out, epoch)
        if record.free_energy_gap is not None:
            writer.add_scalar(f"free_energy_gap/{layer}", record.free_energy_gap, epoch)
        writer.add_scalar(f"learning_rate/{layer}", record.learning_rate, epoch)
        for name, numbers in _tensors(rbm).items():
            writer.add_histogram(f"{name}/{layer}", numbers, epoch)
        stack = DBN(DBNConfig(tuple(each.config for each in (*below, rbm))))
        stack.set_learned([*below, rbm])
        features = stack.transform(self._held_out)
        writer.add_histogram(f"features/{layer}", features, epoch)
        writer.add_histogram(f"usage/{layer}", features.mean(axis=0), epoch)
        if self._shape is not None:
            self._show_pictures(stack, self._shape)
        self._step += 1
        writer.flush()

    def _show_pictures(self, stack: DBN, shape: tuple[int, int]) -> None:
        lowest = stack.layers_[0]
        filters = lowest.components_[:FILTERS].reshape(-1, 1, *shape)
        shown = self._held_out[:DREAMS]
        both = np.concatenate((shown.numpy(), stack.inverse_transform(stack.transform(shown))))
        dreams = stack.sample(DREAMS, steps=DREAM_STEPS, seed=0).reshape(-1, 1, *shape)
        pictures = both.reshape(-1, 1, *shape)
        if isinstance(lowest.machine_, GaussianMachine):
            # Both halves by the same scale, so that what differs shows.
            pictures, dreams = stretched(pictures, alike=True), stretched(dreams)
        for name, picture in (
            ("filters", sheet(stretched(filters, symmetric=True), gap=1)),
            ("reconstructions", sheet(pictures, across=len(shown), gap=1)),
            ("dreams", sheet(dreams, gap=1)),
        ):
            self._writer.add_image(name, picture, self._step)


def _tensors(rbm: RBM) -> dict[str, np.ndarray]:
    """The machine's parameters as numbers that mean something by themselves."""
    machine = rbm.machine_
    told = {
        "weights": machine.weights.numpy(),
        "hidden_bias": machine.hidden_bias.numpy(),
        "visible_bias": machine.visible_bias.numpy(),
    }
    if isinstance(machine, GaussianMachine):
        told["deviation"] = machine.variance.sqrt().numpy()
    return told
