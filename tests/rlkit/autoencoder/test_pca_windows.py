"""PCA windows and the isolation forest against scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest

from rlkit.autoencoder.anomalies.isolation_forest import (
    IsolationForestConfig,
    IsolationForestWindows,
)
from rlkit.autoencoder.anomalies.pca_windows import PCAWindows, PCAWindowsConfig


def windows(count: int, seed: int) -> NDArray[np.float64]:
    """Of 4 steps of 3 channels, of which few directions have most of the variance."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).normal(size=(12, 12)) * 0.6 ** np.arange(12)
    return (random.normal(size=(count, 12)) @ mixing.T + 3).reshape(count, 4, 3)


@pytest.mark.parametrize("count", [200, 9])
def test_reconstruction_error_agrees_with_scikit_learn(count: int) -> None:
    model = PCAWindows(PCAWindowsConfig(explained=0.8)).fit(windows(count, 1))
    flat = windows(count, 1).reshape(count, 12)
    reference = PCA(n_components=0.8, svd_solver="full").fit(flat)
    assert len(model.components) == reference.n_components_
    other = windows(50, 2)
    rebuilt = reference.inverse_transform(reference.transform(other.reshape(50, 12)))
    expected = np.mean((other.reshape(50, 12) - rebuilt) ** 2, axis=1)
    np.testing.assert_allclose(model.score_windows(other), expected, rtol=1e-9)


def test_mahalanobis_distance_agrees_with_scikit_learn() -> None:
    count = 5000  # of which scikit-learn divides by one less
    model = PCAWindows(PCAWindowsConfig(explained=0.8, score="mahalanobis")).fit(windows(count, 1))
    reference = PCA(n_components=len(model.components)).fit(windows(count, 1).reshape(count, 12))
    other = windows(50, 2)
    centred = other.reshape(50, 12) - reference.mean_
    precision = reference.get_precision() * count / (count - 1)
    expected = np.einsum("ij,jk,ik->i", centred, precision, centred) / 12
    np.testing.assert_allclose(model.score_windows(other), expected, rtol=1e-9)


def test_two_components_worked_out_by_hand() -> None:
    # Variance 4 along the first number of a window, 1 along the second: 80 % is in the first.
    normal = np.array([[2.0, 1], [2, -1], [-2, 1], [-2, -1]])[:, :, None]
    window = np.array([[[6.0], [3.0]]])
    model = PCAWindows(PCAWindowsConfig(explained=0.75)).fit(normal)
    assert np.abs(model.components).round(12).tolist() == [[1, 0]]
    assert model.score_windows(window)[0] == pytest.approx(3**2 / 2)
    np.testing.assert_allclose(model.residuals(window), [[[0], [3]]], atol=1e-12)
    model = PCAWindows(PCAWindowsConfig(explained=0.75, score="mahalanobis")).fit(normal)
    assert model.score_windows(window)[0] == pytest.approx((6**2 / 4 + 3**2 / 1) / 2)
    np.testing.assert_allclose(model.residuals(window), [[[3], [3]]], atol=1e-12)


@pytest.mark.parametrize("score", ["reconstruction", "mahalanobis"])
def test_normal_windows_that_are_all_alike(score: str) -> None:
    config = PCAWindowsConfig(score=score)  # pyright: ignore[reportArgumentType]
    model = PCAWindows(config).fit(np.zeros((5, 4, 3)))
    scores = model.score_windows(np.stack((np.zeros((4, 3)), np.full((4, 3), 0.1))))
    assert scores[0] == 0
    assert 0 < scores[1] < np.inf


def test_impossible_settings_are_refused() -> None:
    for explained in (0, 1, 1.5):
        with pytest.raises(ValueError, match=f"got {explained}"):
            PCAWindowsConfig(explained=explained)
    with pytest.raises(ValueError, match="'euclidean'"):
        PCAWindowsConfig(score="euclidean")  # pyright: ignore[reportArgumentType]
    for arguments in ({"trees": 0}, {"samples": 1}):
        with pytest.raises(ValueError, match="at least 1 tree and 2 samples"):
            IsolationForestConfig(**arguments)


@pytest.mark.parametrize("count", [400, 2, 1])
def test_a_forest_agrees_with_scikit_learn(count: int) -> None:
    normal, other = windows(count, 1), windows(60, 2)
    model = IsolationForestWindows(IsolationForestConfig(trees=15, samples=64, seed=3)).fit(normal)
    samples: Any = min(64, count)
    reference = IsolationForest(n_estimators=15, max_samples=samples, random_state=3)
    reference.fit(normal.reshape(count, 12))
    expected = -reference.score_samples(other.reshape(60, 12))
    np.testing.assert_allclose(model.score_windows(other), expected, rtol=1e-12)
