"""Pictures translated by a fitted `ImageToImage`, as an augmentation for learners.

Such as clean simulated heights into those that a sensor gives, or frames into others of the same
game in another look (RCAN, James et al. 2019, goes the other way).
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import Tensor

from rlkit.gan.gan import ImageToImage
from rlkit.gan.gan_file import GANFileError, load
from rlkit.gan.training_data import Scaling
from rlkit.gan.translation_judging import told_against


@dataclass(frozen=True)
class Translation:
    """Translates every picture, with random numbers where the estimator takes any."""

    estimator: ImageToImage
    """Fitted, to pictures with as many channels as it gives."""

    @torch.no_grad()
    def __call__(
        self, batch: Tensor, labels: Tensor | None = None, *, random: torch.Generator
    ) -> Tensor:
        """As `rlkit_agents.augmentation.Augmentation`: pictures (batch, channels, height, width).

        An estimator of fewer channels translates so many at a time, such as the frames of a stack
        one by one: what is random for a picture as a whole is alike in all of them, that of pixels
        is not.
        Numbers in floating point, such as heights in millimetres, are translated as whole ones from
        0 to 255, and keep what that leaves over. Raises ValueError for pictures of another shape.
        """
        shape = self.estimator.shape_
        fits = batch.ndim == 4 and batch.shape[2:] == shape[1:]
        if not fits or batch.shape[1] % shape[0]:
            raise ValueError(
                f"pictures of shape {shape} are translated, not {tuple(batch.shape[1:])}"
            )
        pictures = batch.reshape(-1, *shape)
        whole = pictures.round().clamp(0, 255) if pictures.is_floating_point() else pictures
        generator, scaling = self.estimator.generator_, Scaling()
        noise = self._noise(len(batch), len(pictures), random).to(batch.device)
        made = scaling.unscaled(generator(noise, scaling.scaled(whole.to(torch.uint8))))
        if pictures.is_floating_point():
            return (pictures + (made - whole)).to(batch.dtype).view(batch.shape)
        return made.view(batch.shape)

    def _noise(self, rows: int, pictures: int, random: torch.Generator) -> Tensor:
        """(pictures, numbers) of so many rows of a batch, pictures of one row together."""
        of_row = self.estimator.config_.picture_noise
        of_pixels = self.estimator.noise_size - of_row
        device = random.device
        whole = torch.randn(rows, of_row, generator=random, device=device)
        pixels = torch.randn(pictures, of_pixels, generator=random, device=device)
        each = pictures // rows if rows else 1
        return torch.cat((whole.repeat_interleave(each, 0), pixels), 1)


def augmentation(path: str | os.PathLike[str], device: torch.device | str) -> Translation:
    """What the file of a fitted `ImageToImage` does to pictures.

    Raises GANFileError for another file, for one that gives other channels than it takes, and for
    one that nobody judged or whose verdict is against it.
    """
    estimator = load(path, device)
    if not isinstance(estimator, ImageToImage):
        raise GANFileError(f"{path}: makes pictures from noise, and turns none into others")
    if estimator.outputs_ != estimator.shape_[0]:
        raise GANFileError(
            f"{path}: turns {estimator.shape_[0]} channels into {estimator.outputs_}, and an agent "
            "needs as many as it sees"
        )
    reasons = told_against(estimator.provenance)
    if reasons:
        raise GANFileError(
            f"{path}: does not pass the gate: {'; '.join(reasons)} (judge it by pairs: `rlkit gan"
            " evaluate FILE PAIRS.npz --store`)"
        )
    return Translation(estimator)
