"""Fréchet and kernel distance between the features of real and of generated rows, by torchmetrics.

Its Inception network is never used: the features, of whichever domain, come ready made.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rlkit.extras import installing


class _AsTheyAre(nn.Module):
    """Hands features through, in the place where torchmetrics expects a network."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet_distance(real: NDArray[np.floating], fake: NDArray[np.floating]) -> float:
    """Squared Fréchet distance between normal distributions with the moments of both sets.

    The "FID" of Heusel et al. 2017, eq. 6, in the features' own squared units. real: (rows,
    features). fake: (rows, features). Its bias falls with the number of rows, so compare only
    values of equal numbers.
    Raises ValueError for other shapes and for no more rows than features, whose covariance has no
    full rank; ImportError without torchmetrics.
    """
    check_features(real, fake)
    features, fewest = real.shape[1], min(len(real), len(fake))
    if fewest <= features:
        raise ValueError(
            f"a covariance of {features} features needs more than {fewest} rows;"
            " give more rows, or learn fewer features"
        )
    metric: Any = _torchmetrics().fid.FrechetInceptionDistance(feature=_AsTheyAre(features))
    metric.update(torch.from_numpy(real.astype(np.float64)), real=True)
    metric.update(torch.from_numpy(fake.astype(np.float64)), real=False)
    return float(metric.compute())


def kernel_distance(real: NDArray[np.floating], fake: NDArray[np.floating], seed: int = 0) -> float:
    """Unbiased estimate of the squared maximum mean discrepancy under a cubic polynomial kernel.

    The "KID" of Bińkowski et al. 2018, k(x, y) = (x·y / features + 1)³; over all pairs at once
    rather than small subsets. real, fake: (rows, features); where one has more rows, as many as the
    other has are drawn from it by `seed`. Around 0 for equal distributions, also below.
    Raises ValueError for other shapes or a single row, ImportError without torchmetrics.
    """
    check_features(real, fake)
    rows = min(len(real), len(fake))
    if rows < 2:
        raise ValueError(f"an unbiased kernel distance needs at least two rows, got {rows}")
    kid = _torchmetrics().kid
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.filterwarnings("ignore", "Metric `Kernel Inception Distance` will save all")
        torch.manual_seed(seed)
        metric: Any = kid.KernelInceptionDistance(
            feature=_AsTheyAre(real.shape[1]), subsets=1, subset_size=rows
        )
        metric.update(torch.from_numpy(real.astype(np.float64)), real=True)
        metric.update(torch.from_numpy(fake.astype(np.float64)), real=False)
        value, _ = metric.compute()
    return float(value)


def check_features(real: NDArray[np.floating], fake: NDArray[np.floating]) -> None:
    """Raise ValueError unless both are (rows, features), as many features, all finite."""
    if real.ndim != 2 or fake.ndim != 2 or real.shape[1] != fake.shape[1]:
        raise ValueError(
            "real and generated features must be (rows, features) with as many features,"
            f" got {real.shape} and {fake.shape}"
        )
    for name, features in (("real", real), ("generated", fake)):
        if not len(features):
            raise ValueError(f"there are no {name} rows")
        finite = np.isfinite(features).all(1)
        if not finite.all():
            raise ValueError(f"{name} row {int(np.argmin(finite))} is not finite")


def _torchmetrics() -> Any:
    try:
        import torchmetrics.image.fid
        import torchmetrics.image.kid
    except ImportError as error:
        raise ImportError(
            f"judging generated rows needs torchmetrics: {installing('gan')}"
        ) from error
    return torchmetrics.image
