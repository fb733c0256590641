"""Features learnt from turned frames of Boxing let real frames pass, and stop others."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from rlkit.environments import AtariProtocol
from rlkit.gan.features import FeatureConfig, FeatureExtractor, learn_features
from rlkit.gan.metrics import measure
from rlkit.gan.quality_gate import Verdict
from rlkit.observations import PlayConfig, gather, single_frames

SIDE = 400
"""Frames that are compared with as many others."""


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """(4 * SIDE, 1, 42, 42) uint8, of random play, in a random order."""
    ring = single_frames(AtariProtocol(game="boxing"), 42)
    return gather(ring, PlayConfig(count=4 * SIDE))


@pytest.fixture(scope="module")
def extractor(frames: np.ndarray) -> FeatureExtractor:
    return learn_features(frames[:SIDE], None, FeatureConfig(epochs=20))


def _verdict(frames: np.ndarray, fake: np.ndarray, extractor: FeatureExtractor) -> Verdict:
    real, learnt = frames[SIDE : 2 * SIDE], frames[3 * SIDE :]
    return Verdict(measure(real, fake, extractor, training=learnt, splits=2, seed=0))


def test_real_frames_pass(frames: np.ndarray, extractor: FeatureExtractor) -> None:
    assert extractor.pretext == "turns"
    verdict = _verdict(frames, frames[2 * SIDE : 3 * SIDE], extractor)
    assert verdict.passed, verdict.reasons


def _blurred(frames: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(frames, (0, 0, 0.7, 0.7))


def _empty_ring(frames: np.ndarray) -> np.ndarray:
    """The usual value of each pixel, (1, 42, 42): boxers are seldom in one place."""
    return np.median(frames, axis=0).astype(np.uint8)


def _without_the_black_boxer(frames: np.ndarray) -> np.ndarray:
    return np.maximum(frames, _empty_ring(frames))


def _empty(frames: np.ndarray) -> np.ndarray:
    return np.broadcast_to(_empty_ring(frames), frames.shape).copy()


def _ghosts(frames: np.ndarray) -> np.ndarray:
    return ((frames.astype(np.int64) + frames[::-1]) // 2).astype(np.uint8)


def _few(frames: np.ndarray) -> np.ndarray:
    return np.resize(frames[:20], frames.shape)


def _mirrored(frames: np.ndarray) -> np.ndarray:
    return frames[..., ::-1].copy()


def _upside_down(frames: np.ndarray) -> np.ndarray:
    return frames[..., ::-1, :].copy()


@pytest.mark.parametrize(
    "spoilt",
    [_blurred, _without_the_black_boxer, _empty, _ghosts, _few, _mirrored, _upside_down],
)
def test_spoilt_frames_are_stopped(
    spoilt: Callable[[np.ndarray], np.ndarray], frames: np.ndarray, extractor: FeatureExtractor
) -> None:
    verdict = _verdict(frames, spoilt(frames[2 * SIDE : 3 * SIDE]), extractor)
    assert not verdict.passed
