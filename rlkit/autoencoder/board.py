"""What TensorBoard shows of an autoencoder: losses, reconstructions beside originals, codes."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from rlkit.autoencoder.fitting import Epoch
from rlkit.autoencoder.network import AutoencoderNetwork
from rlkit.picture_sheet import sheet, stretched

if TYPE_CHECKING:
    from rlkit.autoencoder.autoencoder import Autoencoder

_PICTURES = 8
_PROJECTED = 1_000


class Board:
    """Writes TensorBoard events about a fit into `folder`; pass it to `fit` as `on_epoch`.

    ================  =============================================================================
    loss/...          of learning, and of held-out data, each epoch
    learning/...      the step size
    reconstructions   held-out pictures above what is decoded of their codes, each epoch
    code/...          a histogram of each number of the code, at the end
    codes             up to a thousand codes in the embedding projector, at the end, with their
                      pictures; `kinds` (count,) names what they are coloured by
    ================  =============================================================================

    held_out: (count, *shape) observations that are shown. Use as a context manager.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        held_out: NDArray[Any],
        kinds: NDArray[np.str_] | None = None,
    ) -> None:
        """Raises OSError where the folder cannot be written."""
        self._writer = SummaryWriter(os.fspath(folder))
        self._held_out = held_out
        self._kinds = kinds

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.close()

    def __call__(self, epoch: Epoch, network: AutoencoderNetwork) -> None:
        """Show an epoch."""
        writer, number = self._writer, epoch.number
        writer.add_scalar("loss/learning", epoch.loss, number)
        writer.add_scalar("loss/held_out", epoch.held_out, number)
        writer.add_scalar("learning/learning_rate", epoch.learning_rate, number)
        if len(network.space.shape) == 3:
            writer.add_image("reconstructions", _sheet(network, self._held_out), number)
        writer.flush()

    def show_codes(self, autoencoder: Autoencoder) -> None:
        """Show what the finished autoencoder makes of the held-out observations."""
        shown = self._held_out[:_PROJECTED]
        codes = autoencoder.transform(shown)
        for index, numbers in enumerate(codes.T):
            self._writer.add_histogram(f"code/{index}", numbers, 0)
        pictures = None
        if len(autoencoder.space.shape) == 3:
            network = autoencoder.network
            newest = network.scaled(torch.from_numpy(shown).to(network.mean.device))[:, -1:]
            pictures = torch.from_numpy(stretched(newest.cpu().numpy(), alike=True))
        kinds = None if self._kinds is None else list(self._kinds[:_PROJECTED])
        with warnings.catch_warnings():
            # It writes beside the events, and warns where that was done before.
            warnings.simplefilter("ignore")
            self._writer.add_embedding(codes, kinds, pictures, 0, "codes")
        self._writer.flush()


def _sheet(network: AutoencoderNetwork, observations: NDArray[Any]) -> NDArray[np.float32]:
    """(1, 2 * height, pictures * width) in [0, 1]: newest frames above their reconstructions."""
    shown = torch.from_numpy(observations[:_PICTURES]).to(network.mean.device)
    with torch.inference_mode():
        decoded = network.unscaled(network.decode(network.encode(shown)))
    newest = torch.cat((shown.float(), decoded))[:, -1:].cpu()
    if network.takes_bytes:
        in_range = (newest / 255.0).clamp(0.0, 1.0).numpy()
    else:
        in_range = stretched(newest.numpy(), alike=True)
    return sheet(in_range, across=len(shown))
