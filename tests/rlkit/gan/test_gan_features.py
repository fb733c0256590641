"""Features that are learnt from rows: repeatable, scaled, and telling what they were learnt for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchmetrics.image.fid import FrechetInceptionDistance

from rlkit.gan.distances import frechet_distance
from rlkit.gan.features import FeatureConfig, learn_features


def bars(count: int, seed: int = 0, width: int = 12) -> tuple[NDArray[Any], NDArray[Any]]:
    """Noisy pictures (count, 1, 12, width) bytes of a bright bar, and whether it stands."""
    random = np.random.default_rng(seed)
    pictures = random.integers(0, 60, (count, 1, 12, width), dtype=np.uint8)
    stands = random.integers(0, 2, count)
    for picture, place, standing in zip(
        pictures, random.integers(1, 10, count), stands, strict=True
    ):
        if standing:
            picture[0, 2:, place : place + 2] = 220
        else:
            picture[0, place : place + 2, 2:] = 220
    return pictures, stands


def quick(**fields: Any) -> FeatureConfig:
    return FeatureConfig(**{"features": 8, "epochs": 6, "batch_size": 32, **fields})


def test_labels_of_pictures_are_learnt() -> None:
    pictures, stands = bars(200)
    extractor = learn_features(pictures, stands + 5, quick())
    others, told = bars(100, seed=1)
    assert extractor.classes == (5, 6)
    assert (extractor.classify(others) == told + 5).mean() > 0.95


def test_labels_of_rows_are_learnt() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(400, 2)).astype(np.float32)
    inside = (np.square(rows).sum(1) < 1.2).astype(int)  # no line tells them
    extractor = learn_features(rows[:300], inside[:300], quick(epochs=20, learning_rate=5e-3))
    assert (extractor.classify(rows[300:]) == inside[300:]).mean() > 0.85


@pytest.mark.parametrize("width", [12, 15])
def test_turns_are_told_without_labels(width: int) -> None:
    pictures, _ = bars(300, width=width)
    pictures[:, :, :, :2] = 255  # so that turned pictures differ
    pictures[:, :, :2, :6] = 255
    extractor = learn_features(pictures, config=quick(epochs=10))
    assert extractor.pretext == "turns"
    as_they_are = extractor.logits(torch.from_numpy(pictures)).argmax(1)
    mirrored = extractor.logits(torch.from_numpy(pictures[..., ::-1, ::-1].copy())).argmax(1)
    assert float((as_they_are == 0).float().mean()) > 0.95
    assert float((mirrored == 0).float().mean()) < 0.05


def test_rows_without_labels_get_principal_components() -> None:
    random = np.random.default_rng(1)
    plane = random.normal(size=(200, 2)) @ random.normal(size=(2, 6))
    rows = (plane * np.array([1, 10, 100, 1, 1, 0.1]) + 7).astype(np.float32)
    extractor = learn_features(rows, config=quick())
    assert extractor.num_features == 2  # as many as there are
    features = extractor.transform(rows)
    assert np.cov(features.T, ddof=0) == pytest.approx(np.eye(2), abs=1e-4)
    # Every direction of equal variance: distances are Mahalanobis's, whatever the units.
    centred = (rows - rows.mean(0))[:5] / rows.std(0)
    inverse = np.linalg.pinv(np.cov((rows / rows.std(0)).T, ddof=0), rcond=1e-6)
    mahalanobis = np.einsum("ij,jk,ik->i", centred, inverse, centred)
    assert np.square(features[:5]).sum(1) == pytest.approx(mahalanobis, rel=1e-3)


@pytest.mark.parametrize("labelled", [True, False])
def test_features_are_scaled_and_repeat_by_seed(labelled: bool) -> None:
    pictures, stands = bars(64)
    labels = stands if labelled else None
    before = torch.get_rng_state()
    first, second, other = (
        learn_features(pictures, labels, quick(epochs=1, seed=seed)).transform(pictures)
        for seed in (3, 3, 4)
    )
    assert torch.equal(before, torch.get_rng_state())
    assert first.shape == (64, 8)
    assert np.array_equal(first, second)
    assert not np.allclose(first, other)
    assert first.mean(0) == pytest.approx(np.zeros(8), abs=1e-5)
    assert first.std(0) == pytest.approx(np.ones(8), abs=1e-4)


def test_torchmetrics_takes_the_extractor() -> None:
    pictures, stands = bars(80)
    extractor = learn_features(pictures, stands, quick(epochs=1))
    metric = FrechetInceptionDistance(feature=extractor)
    metric.update(torch.from_numpy(pictures[:40]), real=True)
    metric.update(torch.from_numpy(pictures[40:]), real=False)
    features = extractor.transform(pictures)
    assert float(metric.compute()) == pytest.approx(
        frechet_distance(features[:40], features[40:]), rel=1e-4
    )


def test_arrays_that_cannot_be_written_to_are_taken() -> None:
    pictures, _ = bars(40)
    pictures.flags.writeable = False
    extractor = learn_features(pictures, config=quick(epochs=1))
    assert extractor.transform(pictures[::2]).shape == (20, 8)


def test_other_rows_than_those_learnt_from_are_refused() -> None:
    pictures, _ = bars(40)
    extractor = learn_features(pictures, config=quick(epochs=1))
    with pytest.raises(ValueError, match=r"\(1, 12, 12\), not \(1, 12, 11\)"):
        extractor.transform(pictures[..., :11])
    with pytest.raises(ValueError, match=r"from integers, and these are torch.float32"):
        extractor.transform(pictures.astype(np.float32) / 255)
    with pytest.raises(ValueError, match="without labels"):
        extractor.classify(pictures)


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        (np.zeros((5, 2, 2)), None, r"\(5, 2, 2\)"),
        (np.zeros((1, 2)), None, r"\(1, 2\)"),
        (np.full((5, 2), np.inf), None, "not"),
        (np.zeros((5, 2)), None, "all the same"),
        (np.eye(5), np.zeros(4, int), r"each of 5 rows.*\(4,\)"),
        (np.eye(5), np.zeros(5), "float64"),
        (np.eye(5), np.full(5, 3), "all are 3"),
    ],
)
def test_rows_that_teach_nothing_are_refused(
    rows: NDArray[Any], labels: NDArray[Any] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        learn_features(rows, labels)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="features must be at least 1, got 0"):
        FeatureConfig(features=0)
    for rate in (0, float("inf"), float("nan")):
        with pytest.raises(
            ValueError, match=f"learning_rate must be positive and finite, got {rate}"
        ):
            FeatureConfig(learning_rate=rate)
