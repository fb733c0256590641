"""Sliding-window PCA: the baseline that any learnt detector has to beat.

In TSB-AD (Liu and Paparrizos 2024) PCA over windows leads the univariate track and is second in the
multivariate one. A window is a point of length x channels numbers; principal components of normal
windows span what is normal, and what they leave over is the anomaly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class PCAWindowsConfig:
    """How many components, and which distance. Raises ValueError for what cannot be."""

    explained: float = 0.9
    """Share of the normal windows' variance that the kept components explain, above 0, below 1."""
    score: Literal["reconstruction", "mahalanobis"] = "reconstruction"
    """`reconstruction`: mean squared error of a window rebuilt from the kept components, the
    Q statistic of Jackson and Mudholkar 1979 over its size. `mahalanobis`: squared Mahalanobis
    distance over the window's size under probabilistic PCA (Tipping and Bishop 1999), which counts
    unusual combinations of the kept components as well."""

    def __post_init__(self) -> None:
        if not 0 < self.explained < 1:
            raise ValueError(f"explained is a share above 0 and below 1, got {self.explained}")
        if self.score not in ("reconstruction", "mahalanobis"):
            raise ValueError(f"score must be 'reconstruction' or 'mahalanobis', got {self.score!r}")


class PCAWindows:
    """A `WindowModel` whose residuals are a linear map of the window.

    With `reconstruction` they are what the components leave over. With `mahalanobis` they are the
    window whitened by the inverse square root of its covariance, whose squares share the distance
    out among the window's numbers (Garthwaite and Koch 2016, "Evaluating the contributions of
    individual variables to a quadratic form").
    """

    def __init__(self, config: PCAWindowsConfig | None = None) -> None:
        self.config = config or PCAWindowsConfig()
        self._mean = np.empty(0)
        self._components = np.empty((0, 0))
        self._gains = np.empty(0)
        self._identity_gain = 1.0

    @property
    def components(self) -> NDArray[np.float64]:
        """(kept, length x channels), orthonormal, by falling variance; empty before `fit`."""
        return self._components

    def fit(self, windows: NDArray[np.float64]) -> Self:
        """Find the components of (count, length, channels) windows."""
        flat = windows.reshape(len(windows), -1)
        self._mean = flat.mean(axis=0)
        centred = flat - self._mean
        # The smaller of the two products has the same spectrum.
        if len(flat) >= flat.shape[1]:
            variances, vectors = np.linalg.eigh(centred.T @ centred / len(flat))
        else:
            variances, left = np.linalg.eigh(centred @ centred.T / len(flat))
            vectors = centred.T @ left / np.sqrt(len(flat) * np.maximum(variances, 1e-300))
        variances = np.maximum(variances[::-1], 0.0)
        total = variances.sum()
        kept = int(np.searchsorted(np.cumsum(variances), self.config.explained * total) + 1)
        kept = min(kept, int(np.count_nonzero(variances > 1e-12 * total)))
        self._components = np.ascontiguousarray(vectors[:, ::-1][:, :kept].T)
        if self.config.score == "reconstruction":
            self._identity_gain = 1.0
            self._gains = np.full(kept, -1.0)
        else:
            rest = flat.shape[1] - kept
            noise = variances[kept:].sum() / rest if rest else variances[kept - 1]
            # Normal windows without any noise would make the slightest noise an anomaly.
            noise = max(noise, 1e-6 * total / flat.shape[1], 1e-12)
            self._identity_gain = float(1 / np.sqrt(noise))
            scales = np.sqrt(np.maximum(variances[:kept], noise))
            self._gains = 1 / scales - self._identity_gain
        return self

    def score_windows(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
        """(count,), mean of the squared residuals."""
        residuals = self._residuals(windows)
        return np.einsum("ij,ij->i", residuals, residuals) / residuals.shape[1]

    def residuals(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
        """(count, length, channels), in standard deviations of the normal set."""
        return self._residuals(windows).reshape(windows.shape)

    def _residuals(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
        centred = windows.reshape(len(windows), -1) - self._mean
        weights = centred @ self._components.T
        weights *= self._gains
        return self._identity_gain * centred + weights @ self._components

    def state(self) -> dict[str, Tensor]:
        """What was learnt, for a file: mean (numbers of a window,), components (kept, numbers),
        gains (kept,) and identity_gain (), all float64. Raises RuntimeError before `fit`."""
        if not self._mean.size:
            raise RuntimeError("these components have learnt nothing yet: call fit first")
        return {
            "mean": torch.from_numpy(self._mean),
            "components": torch.from_numpy(self._components),
            "gains": torch.from_numpy(self._gains),
            "identity_gain": torch.tensor(self._identity_gain, dtype=torch.float64),
        }

    def load_state(self, state: Mapping[str, Tensor], window: tuple[int, int]) -> Self:
        """Take up what `state` gave, for windows of (length, channels).

        Raises ValueError where it does not fit them.
        """
        size = window[0] * window[1]
        kept = len(state["components"]) if "components" in state else 0
        shapes = {
            "mean": (size,),
            "components": (kept, size),
            "gains": (kept,),
            "identity_gain": (),
        }
        found = {name: tuple(tensor.shape) for name, tensor in state.items()}
        if found != shapes or any(tensor.dtype != torch.float64 for tensor in state.values()):
            raise ValueError(f"components of windows {window} are float64 {shapes}, not {found}")
        self._mean = state["mean"].numpy()
        self._components = state["components"].numpy()
        self._gains = state["gains"].numpy()
        self._identity_gain = float(state["identity_gain"])
        return self
