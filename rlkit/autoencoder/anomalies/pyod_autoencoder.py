"""PyOD's autoencoder over sliding windows, to compare with. Dense layers, as PyOD sets them up."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.optional_packages import needs


@dataclass(frozen=True)
class PyODAutoencoderConfig:
    """What PyOD is told; the values are its own defaults."""

    epochs: int = 10
    """Passes over the normal windows, at least 1."""
    hidden: tuple[int, ...] = (64, 32)
    """Units of the encoder's layers; the decoder mirrors them."""
    batch_size: int = 32
    """Windows of a step, at least 2; all where there are fewer."""
    learning_rate: float = 1e-3
    """Of Adam, above 0."""
    seed: int = 0
    """Of weights, order and dropout."""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2 or not self.hidden:
            raise ValueError(
                f"training needs an epoch, batches of two and a layer, got {self.epochs}, "
                f"{self.batch_size} and {self.hidden}"
            )
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0, got {self.learning_rate}")


class PyODAutoencoder:
    """A `WindowModel` that ranks windows as PyOD does.

    PyOD's score is the distance d of a window to its reconstruction; here it is d squared over the
    window's size, so that channels' contributions add up. PyOD's own standardisation is off, as
    windows come standardised, and its network is called without its data loader, which would take
    most of the time of a single window.
    """

    def __init__(self, config: PyODAutoencoderConfig | None = None) -> None:
        self.config = config or PyODAutoencoderConfig()
        self.detector: Any = None
        """PyOD's `AutoEncoder`, None before `fit`."""

    def fit(self, windows: NDArray[np.float64]) -> Self:
        """Train on the CPU; random generators of the process stay as they were.

        Raises ValueError for a single window, ImportError without PyOD.
        """
        if len(windows) < 2:
            raise ValueError(f"PyOD's autoencoder needs at least two windows, got {len(windows)}")
        with needs("PyODAutoencoder", "pyod and tqdm"):
            from pyod.models.auto_encoder import AutoEncoder
        with _random_state_kept():
            self.detector = AutoEncoder(
                preprocessing=False,
                lr=self.config.learning_rate,
                epoch_num=self.config.epochs,
                batch_size=min(self.config.batch_size, len(windows)),
                device="cpu",
                random_state=self.config.seed,
                verbose=0,
                hidden_neuron_list=list(self.config.hidden),
            )
            self.detector.fit(windows.reshape(len(windows), -1).astype(np.float32))
        self.detector.model.eval()
        return self

    def score_windows(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
        """(count,), mean squared error of the reconstruction."""
        return np.square(self.residuals(windows)).mean(axis=(1, 2))

    def residuals(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
        """(count, length, channels), windows less their reconstructions."""
        flat = torch.from_numpy(windows.reshape(len(windows), -1).astype(np.float32))
        with torch.inference_mode():
            rebuilt = self.detector.model(flat)
        return (flat - rebuilt).double().numpy().reshape(windows.shape)


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """PyOD seeds every generator of the process, and says so in the environment."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    hash_seed = os.environ.get("PYTHONHASHSEED")
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        if hash_seed is None:
            os.environ.pop("PYTHONHASHSEED", None)
        else:
            os.environ["PYTHONHASHSEED"] = hash_seed
