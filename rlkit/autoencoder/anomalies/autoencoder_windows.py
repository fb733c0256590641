"""An autoencoder as a detector of anomalies: what it cannot rebuild of a window is unusual.

Its residuals on normal windows are not alike in all directions: some mixtures of channels are hard
to rebuild at the best of times, others never err. So residuals are whitened by their own covariance
before they are squared, and a small error counts where errors are rare.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.pooled_windows import means_of
from rlkit.autoencoder.autoencoder import Autoencoder
from rlkit.autoencoder.configuration import AutoencoderConfig
from rlkit.autoencoder.network import AutoencoderNetwork


@dataclass(frozen=True)
class AutoencoderWindowsConfig:
    """How windows are coded and judged. Raises ValueError for what cannot be."""

    autoencoder: AutoencoderConfig = field(
        default_factory=lambda: AutoencoderConfig(
            latents=16, hidden_sizes=(256, 128), activation="silu", epochs=60
        )
    )
    """The autoencoder of flattened windows."""
    pool: int = 1
    """Steps in a row of which a window keeps the mean alone, at least 1; its length is a multiple
    of it."""
    whiten: bool = True
    """Whether residuals are whitened."""
    judged: float = 0.25
    """Share of the normal windows, the last ones, that the autoencoder does not learn from: they
    tell when it has learnt enough. In (0, 1)."""
    shrinkage: float = 0.02
    """Share of the residuals' mean variance that is mixed into each direction's, in (0, 1]: what
    hardly ever erred shall not drown all else (Ledoit & Wolf 2004 mix alike)."""

    def __post_init__(self) -> None:
        if self.pool < 1:
            raise ValueError(f"pool must be at least 1 step, got {self.pool}")
        if not 0.0 < self.judged < 1.0:
            raise ValueError(f"judged must lie between 0 and 1, got {self.judged}")
        if not 0.0 < self.shrinkage <= 1.0:
            raise ValueError(f"shrinkage must be in (0, 1], got {self.shrinkage}")


class AutoencoderWindows:
    """A `WindowModel` that scores windows by what an autoencoder leaves over of them.

    With `whiten` the squares of a window's residuals add up to their Mahalanobis distance, shared
    out among its numbers (Garthwaite & Koch 2016).
    """

    def __init__(self, config: AutoencoderWindowsConfig | None = None) -> None:
        self.config = config or AutoencoderWindowsConfig()
        self.autoencoder = Autoencoder(self.config.autoencoder)
        self._usual = np.empty(0)
        self._whitening = np.empty((0, 0))

    def fit(self, windows: NDArray[np.float64]) -> Self:
        """Learn from (count, length, channels) windows in the order of time.

        Raises ValueError for too few of them, or a length that is no multiple of `pool`.
        """
        flat = self._flat(windows)
        learnt = round((1.0 - self.config.judged) * len(flat))
        if not 0 < learnt < len(flat):
            raise ValueError(f"{len(flat)} windows are too few to learn from and judge by")
        self.autoencoder.fit(flat[:learnt], held_out=flat[learnt:])
        # Of all windows: they are usual too, and the few of a short series do not tell directions.
        residuals = self._left_over(flat).astype(np.float64)
        self._usual = residuals.mean(0)
        size = residuals.shape[1]
        self._whitening = np.eye(size)
        if self.config.whiten:
            centred = residuals - self._usual
            variances, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
            mixed = self.config.shrinkage
            variances = np.maximum(variances, 0.0)
            variances = (1.0 - mixed) * variances + mixed * max(variances.mean(), 1e-12)
            self._whitening = (vectors / np.sqrt(variances)) @ vectors.T
        return self

    def codes(self, windows: NDArray[np.float64]) -> NDArray[np.float32]:
        """What the bottleneck says of windows: (count, length, channels) -> (count, latents)."""
        return self.autoencoder.transform(self._flat(windows))

    def score_windows(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
        """(count,), mean of the squared residuals."""
        return np.square(self._residuals(windows)).mean(1)

    def residuals(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
        """(count, length, channels), in standard deviations of usual residuals where whitened."""
        count, length, channels = windows.shape
        pooled = self._residuals(windows).reshape(count, length // self.config.pool, channels)
        return np.repeat(pooled, self.config.pool, axis=1)

    def _residuals(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
        left_over = self._left_over(self._flat(windows)).astype(np.float64)
        return (left_over - self._usual) @ self._whitening

    def _left_over(self, flat: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is not rebuilt, in the units of the autoencoder's own standardisation."""
        network = self.autoencoder.network
        parts = []
        with torch.inference_mode():
            for part in torch.from_numpy(flat).split(4096):
                scaled = network.scaled(part)
                parts.append((scaled - network.decode(network.encode(part))).numpy())
        return np.concatenate(parts)

    def _flat(self, windows: NDArray[np.float64]) -> NDArray[np.float32]:
        means = means_of(windows, self.config.pool)
        return np.ascontiguousarray(means.reshape(len(means), -1), np.float32)

    def state(self) -> dict[str, torch.Tensor]:
        """What was learnt, for a file: usual (size,) and whitening (size, size) float64, size being
        the numbers of a pooled window, and the autoencoder's weights as `network.*`. Raises
        NotFittedError before `fit`."""
        weights = self.autoencoder.network.state_dict()
        return {
            "usual": torch.from_numpy(self._usual),
            "whitening": torch.from_numpy(self._whitening),
            **{f"network.{name}": tensor for name, tensor in weights.items()},
        }

    def load_state(self, state: Mapping[str, torch.Tensor], window: tuple[int, int]) -> Self:
        """Take up what `state` gave, for windows of (length, channels).

        Raises ValueError or RuntimeError where it does not fit them.
        """
        length, channels = window
        if length % self.config.pool:
            raise ValueError(f"windows of {length} steps cannot be pooled by {self.config.pool}")
        size = length // self.config.pool * channels
        weights = {key.removeprefix("network."): tensor for key, tensor in state.items()}
        usual, whitening = weights.pop("usual", None), weights.pop("whitening", None)
        for name, tensor, shape in (
            ("usual", usual, (size,)),
            ("whitening", whitening, (size, size)),
        ):
            if tensor is None or tensor.shape != shape or tensor.dtype != torch.float64:
                found = None if tensor is None else (tensor.dtype, tuple(tensor.shape))
                raise ValueError(f"{name} of windows {window} is float64 {shape}, not {found}")
        assert usual is not None
        assert whitening is not None
        with torch.random.fork_rng():
            space = gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)
            network = AutoencoderNetwork(space, self.config.autoencoder)
        network.load_state_dict(weights)
        self.autoencoder._network = network.eval()
        self._usual, self._whitening = usual.numpy(), whitening.numpy()
        return self
