"""What TensorBoard shows of a GAN: losses, accuracies, penalties, alarms and sheets of samples."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from rlkit.gan.gan import GAN, ImageToImage
from rlkit.gan.monitoring import EpochRecord
from rlkit.picture_sheet import sheet

_SIDE = 8
"""Pictures in a row and rows of a sheet."""
_IN_LINE = 1e-6  # sine of the angle between two latents, below which they point alike or apart


class GANBoard:
    """Writes TensorBoard events about a fit into `folder`; pass it to `GAN.fit` as `on_epoch`.

    =====================  ========================================================================
    loss/...               of discriminator and generator, each epoch
    accuracy/...           of the discriminator, on real and on generated examples
    gradient/...           mean squared norms of its gradient there, what R1 and R2 weigh
    samples/spread         of samples, as a share of that of real examples
    alarms                 what goes wrong, in words, in the epochs that have something
    samples                pictures of the same latents each epoch; a row a label where there are
                           labels
    latent_walk            at the end, by `show_end`: a row leads from one latent to another
    label_sweep            at the end: a row is one latent, a column a label
    =====================  ========================================================================

    Use as a context manager. Rows of numbers have no pictures.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Raises OSError where the folder cannot be written."""
        self._writer = SummaryWriter(os.fspath(folder))

    def __enter__(self) -> GANBoard:
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.close()

    def __call__(self, record: EpochRecord, gan: GAN) -> None:
        """Show an epoch."""
        show_record(self._writer, record)
        if len(gan.shape_) == 3:
            self._writer.add_image("samples", sample_sheet(gan), record.epoch)
        self._writer.flush()

    def show_end(self, gan: GAN) -> None:
        """Show what the finished GAN makes between latents, and of one latent by labels."""
        if len(gan.shape_) == 3:
            self._writer.add_image("latent_walk", latent_walk(gan), len(gan.history_))
            if gan.classes_ is not None:
                self._writer.add_image("label_sweep", label_sweep(gan), len(gan.history_))
        self._writer.flush()


class ImageToImageBoard:
    """The same for `ImageToImage.fit`: scalars and alarms as `GANBoard`, and "outputs", rows of
    inputs, what is made of them, and what was wanted, each epoch."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        inputs: NDArray[np.uint8],
        targets: NDArray[np.uint8],
    ) -> None:
        """inputs, targets: (count, channels, height, width) that are shown, at best held out.

        Raises OSError where the folder cannot be written.
        """
        self._writer = SummaryWriter(os.fspath(folder))
        self._inputs, self._targets = inputs[:_SIDE], targets[:_SIDE]

    def __enter__(self) -> ImageToImageBoard:
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.close()

    def __call__(self, record: EpochRecord, translator: ImageToImage) -> None:
        """Show an epoch."""
        show_record(self._writer, record)
        made = translator.transform(self._inputs)
        rows = [shown(pictures) for pictures in (self._inputs, made, self._targets)]
        channels = max(row.shape[1] for row in rows)
        rows = [np.broadcast_to(row, (len(row), channels, *row.shape[2:])) for row in rows]
        laid = sheet(np.concatenate(rows), across=len(made))
        self._writer.add_image("outputs", laid, record.epoch)
        self._writer.flush()


def show_record(writer: SummaryWriter, record: EpochRecord) -> None:
    """Write an epoch's scalars, and its alarms as text."""
    scalars = {
        "loss/discriminator": record.discriminator_loss,
        "loss/generator": record.generator_loss,
        "accuracy/real": record.accuracy_real,
        "accuracy/generated": record.accuracy_fake,
        "gradient/real": record.gradient_real,
        "gradient/generated": record.gradient_fake,
        "samples/spread": record.spread,
    }
    for name, value in scalars.items():
        if value is not None:
            writer.add_scalar(name, value, record.epoch)
    if record.alarms:
        writer.add_text("alarms", "\n\n".join(record.alarms), record.epoch)


def sample_sheet(gan: GAN, seed: int = 0) -> NDArray[np.uint8]:
    """Samples of fixed latents, (1 or 3, rows * height, columns * width).

    A row is a label where there are labels, the first ten of them. Raises ValueError for a GAN
    of rows.
    """
    _check_pictures(gan)
    rows = _SIDE if gan.classes_ is None else min(10, len(gan.classes_))
    labels = None if gan.classes_ is None else np.repeat(gan.classes_[:rows], _SIDE)
    made = gan.generate(gan.latents(rows * _SIDE, seed), labels)
    return sheet(shown(made), across=_SIDE)


def latent_walk(gan: GAN, seed: int = 0, label: int | None = None) -> NDArray[np.uint8]:
    """Each row leads from one latent to another on a great circle, as `sample_sheet` lays it out.

    label: of all of them; None is the first of the classes where there are any.
    Raises ValueError for a GAN of rows.
    """
    _check_pictures(gan)
    if label is None and gan.classes_ is not None:
        label = int(gan.classes_[0])
    begin, end = gan.latents(2 * _SIDE, seed).reshape(2, _SIDE, 1, -1)
    latents = between(begin, end, np.linspace(0.0, 1.0, _SIDE)[:, None])
    made = gan.generate(latents.reshape(_SIDE * _SIDE, -1), label)
    return sheet(shown(made), across=_SIDE)


def label_sweep(gan: GAN, seed: int = 0) -> NDArray[np.uint8]:
    """Each row is one latent, each column a class, as `sample_sheet` lays it out.

    Raises ValueError for a GAN of rows or without labels.
    """
    _check_pictures(gan)
    if gan.classes_ is None:
        raise ValueError("this GAN was fitted without labels")
    classes = len(gan.classes_)
    latents = np.repeat(gan.latents(_SIDE, seed), classes, 0)
    made = gan.generate(latents, np.tile(gan.classes_, _SIDE))
    return sheet(shown(made), across=classes)


def between(
    begin: NDArray[np.floating], end: NDArray[np.floating], share: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Spherical interpolation (Shoemake 1985), the length going evenly from one to the other's.

    A straight line would pass closer to the origin than normal latents ever lie (White 2016).
    begin, end: (..., latents). share: (..., 1) in [0, 1]. Returns their broadcast shape.
    """
    first, second = (np.linalg.norm(v, axis=-1, keepdims=True) for v in (begin, end))
    cosine = (begin / first * (end / second)).sum(-1, keepdims=True)
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))
    weights = np.sin((1.0 - share) * angle), np.sin(share * angle)
    if (np.sin(angle) < _IN_LINE).any():  # no arc leads from one to the other, or it has no length
        return (begin + share * (end - begin)).astype(np.float32)
    direction = (weights[0] * begin / first + weights[1] * end / second) / np.sin(angle)
    return (direction * (first + share * (second - first))).astype(np.float32)


def shown(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(count, 1 or 3, height, width): pictures of three channels as they are, of others, such as
    stacked frames, the last."""
    return pictures if pictures.shape[1] == 3 else pictures[:, -1:]


def _check_pictures(gan: GAN) -> None:
    if len(gan.shape_) != 3:
        raise ValueError("this GAN makes rows of numbers, of which there are no pictures")
