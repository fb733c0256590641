"""What is measured of a code, against hand-worked numbers."""

import numpy as np
import pytest

from rlkit.autoencoder.autoencoder import Autoencoder
from rlkit.autoencoder.quality import measure


class Rounding(Autoencoder):
    """Codes two numbers as they are, and in bytes as multiples of four."""

    def transform(self, observations: np.ndarray, **_: object) -> np.ndarray:
        return np.asarray(observations, np.float32)

    def inverse_transform(self, codes: np.ndarray) -> np.ndarray:
        return codes

    def encode_bytes(self, observations: np.ndarray, **_: object) -> np.ndarray:
        return (observations // 4).astype(np.uint8)

    def decode_bytes(self, codes: np.ndarray) -> np.ndarray:
        return 4.0 * codes


def test_errors_are_of_what_is_decoded() -> None:
    observations = np.array([[0, 9], [6, 1], [0, 9], [6, 1]], np.float32)  # variances 9 and 16
    quality = measure(Rounding(), observations)
    assert quality.error == 0.0
    # Bytes give 0 and 8, 4 and 0: off by 0 and 1, 2 and 1.
    assert quality.error_of_bytes == pytest.approx((0 + 1 + 4 + 1) / 4 / 12.5)
    assert quality.absolute_error == pytest.approx(1.0)
    assert (quality.observations, quality.observation_bytes, quality.code_bytes) == (4, 8, 2)
    assert quality.ratio == 4.0
    assert quality.encoded_per_second > 0


def test_nothing_cannot_be_measured() -> None:
    with pytest.raises(ValueError, match="there are none"):
        measure(Rounding(), np.zeros((0, 2), np.float32))
    with pytest.raises(ValueError, match="all alike"):
        measure(Rounding(), np.ones((3, 2), np.float32))
