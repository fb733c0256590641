"""How good a code is: what it leaves out, how small it is, and how fast it is made."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.autoencoder.autoencoder import Autoencoder

_REPEATS = 5
_BATCH = 1024


@dataclass(frozen=True)
class Quality:
    """Measured on observations that the autoencoder has not learnt from.

    `error` and `error_of_bytes` are means of squares, over the variance of each number of the
    observations: 0 is perfect, 1 no better than their mean.
    """

    observations: int
    """How many it was measured on."""
    error: float
    """Of what is decoded of a code in floats."""
    error_of_bytes: float
    """Of what is decoded of a code in bytes."""
    absolute_error: float
    """Of what is decoded of a code in bytes: the mean distance, in the observations' own unit."""
    observation_bytes: int
    """Of one observation."""
    code_bytes: int
    """Of its code in bytes."""
    ratio: float
    """Between the two."""
    encoded_per_second: float
    """Observations coded a second, in batches; the median of some."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return asdict(self)


def measure(autoencoder: Autoencoder, observations: NDArray[Any]) -> Quality:
    """The quality of an autoencoder on `observations` (count, *shape).

    Raises ValueError for none, those that are all alike, or of another space.
    """
    if not len(observations):
        raise ValueError("quality is measured on observations, and there are none")
    originals = np.asarray(observations, np.float64)
    variance = originals.var(0).mean()
    if variance == 0:
        raise ValueError("the observations are all alike: there is no variance to tell errors by")
    floats = autoencoder.inverse_transform(autoencoder.transform(observations))
    codes = autoencoder.encode_bytes(observations)
    decoded = autoencoder.decode_bytes(codes)
    batch = observations[:_BATCH]
    seconds = []
    for _ in range(_REPEATS + 1):  # the first one warms up
        begun = time.perf_counter()
        autoencoder.encode_bytes(batch, precision="auto")
        seconds.append(time.perf_counter() - begun)
    return Quality(
        observations=len(observations),
        error=float(np.square(floats - originals).mean() / variance),
        error_of_bytes=float(np.square(decoded - originals).mean() / variance),
        absolute_error=float(np.abs(decoded - originals).mean()),
        observation_bytes=observations[0].nbytes,
        code_bytes=codes[0].nbytes,
        ratio=observations[0].nbytes / codes[0].nbytes,
        encoded_per_second=len(batch) / median(seconds[1:]),
    )
