"""The autoencoder as a detector of anomalies, and windows of means before any model."""

import numpy as np
import pytest
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.autoencoder_windows import (
    AutoencoderWindows,
    AutoencoderWindowsConfig,
)
from rlkit.autoencoder.anomalies.detector import WindowDetector
from rlkit.autoencoder.anomalies.pca_windows import PCAWindows
from rlkit.autoencoder.anomalies.pooled_windows import PooledWindows
from rlkit.autoencoder.anomalies.series import Event, Series
from rlkit.autoencoder.anomalies.windows import WindowConfig
from rlkit.autoencoder.configuration import AutoencoderConfig

SMALL = AutoencoderWindowsConfig(
    AutoencoderConfig(latents=2, hidden_sizes=(24,), activation="silu", epochs=25, seed=0)
)


def plant(steps: int, seed: int, shift: float = 0.0, start: int = 0) -> Series:
    """Three sensors of one hidden quantity, the third bent; the second drifts away from `start`."""
    generator = np.random.default_rng(seed)
    hidden = np.sin(np.arange(steps) / 9.0 + seed) + 0.3 * generator.normal(size=steps)
    values = np.stack([hidden, 2 * hidden, hidden**2], 1)
    values += 0.05 * generator.normal(size=values.shape)
    values[start:, 1] += shift
    events = (Event(start, steps),) if shift else ()
    return Series(values, ("a", "b", "c"), events=events)


def test_it_sees_what_the_normal_set_cannot_explain() -> None:
    detector = WindowDetector(AutoencoderWindows(SMALL), windows=WindowConfig(4))
    detector.fit([plant(800, 0), plant(800, 1)])
    sick = plant(400, 2, shift=0.5, start=200)
    scores = detector.decision_function(sick)
    assert np.median(scores[220:]) > 2 * np.median(scores[:200])
    shares = detector.contributions(sick)
    assert shares is not None
    assert np.allclose(shares.sum(1)[3:], scores[3:], rtol=1e-4, atol=1e-6)
    assert shares[220:].mean(0).argmax() == 1
    online = detector.online()
    streamed = [online.update(sample) for sample in sick.values]
    assert np.allclose(streamed, scores, rtol=1e-4, atol=1e-6)


def test_whitened_residuals_of_the_normal_set_are_alike_in_all_directions() -> None:
    model = AutoencoderWindows(SMALL)
    windows = plant(1200, 0).values.reshape(-1, 4, 3)
    model.fit(windows)
    residuals = model.residuals(windows).reshape(len(windows), -1)
    covariance = np.cov(residuals.T)
    variances = np.linalg.eigvalsh(covariance)
    assert variances.max() < 1.3
    assert np.median(variances) > 0.5
    plain = AutoencoderWindows(AutoencoderWindowsConfig(SMALL.autoencoder, whiten=False)).fit(
        windows
    )
    unlike = np.linalg.eigvalsh(np.cov(plain.residuals(windows).reshape(len(windows), -1).T))
    assert unlike.max() > 10 * np.median(unlike)
    assert np.allclose(model.score_windows(windows), (residuals**2).mean(1))


def test_codes_are_the_bottleneck() -> None:
    model = AutoencoderWindows(SMALL).fit(plant(400, 0).values.reshape(-1, 4, 3))
    assert model.codes(plant(40, 1).values.reshape(-1, 4, 3)).shape == (10, 2)


def test_too_few_windows_are_refused() -> None:
    with pytest.raises(ValueError, match="1 windows are too few"):
        AutoencoderWindows(SMALL).fit(np.zeros((1, 4, 3)))
    with pytest.raises(ValueError, match="judged"):
        AutoencoderWindowsConfig(judged=0.0)
    with pytest.raises(ValueError, match="shrinkage"):
        AutoencoderWindowsConfig(shrinkage=0.0)


def pooled_slowly(windows: NDArray[np.float64], pool: int) -> NDArray[np.float64]:
    count, length, channels = windows.shape
    means = np.zeros((count, length // pool, channels))
    for window in range(count):
        for step in range(length):
            means[window, step // pool] += windows[window, step] / pool
    return means


def test_means_are_what_the_model_sees() -> None:
    windows = np.random.default_rng(0).normal(size=(60, 6, 2))
    pooled = PooledWindows(PCAWindows(), 3).fit(windows)
    alone = PCAWindows().fit(pooled_slowly(windows, 3))
    assert np.allclose(pooled.pooled(windows), pooled_slowly(windows, 3))
    assert np.allclose(pooled.score_windows(windows), alone.score_windows(pooled.pooled(windows)))
    residuals = pooled.residuals(windows)
    assert residuals is not None
    assert np.allclose((residuals**2).mean((1, 2)), pooled.score_windows(windows))
    assert np.array_equal(residuals[:, 0], residuals[:, 2])


def test_means_of_windows_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be pooled by 4"):
        PooledWindows(PCAWindows(), 4).fit(np.zeros((5, 6, 2)))
    with pytest.raises(ValueError, match="at least 1"):
        PooledWindows(PCAWindows(), 0)


def test_means_show_a_small_lasting_shift() -> None:
    def contrast(model: PooledWindows | PCAWindows) -> float:
        detector = WindowDetector(model, windows=WindowConfig(12)).fit([plant(1500, 0)])
        scores = detector.decision_function(plant(800, 1, shift=0.12, start=400))
        return float(np.median(scores[420:]) / np.median(scores[12:400]))

    assert contrast(PooledWindows(PCAWindows(), 12)) > contrast(PCAWindows()) * 1.1
