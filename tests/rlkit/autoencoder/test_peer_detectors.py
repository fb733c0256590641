"""PyOD's autoencoder and stumpy's matrix profile behind the interface."""

from __future__ import annotations

import os
import random as python_random
import sys

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.detector import WindowDetector
from rlkit.autoencoder.anomalies.matrix_profile import MatrixProfile
from rlkit.autoencoder.anomalies.pyod_autoencoder import PyODAutoencoder, PyODAutoencoderConfig
from rlkit.autoencoder.anomalies.series import Series
from rlkit.autoencoder.anomalies.windows import WindowConfig

# Compiling stumpy's kernels takes a minute; on tiny series they need no compiling. Nothing above
# imports numba, which reads this once.
os.environ.setdefault("NUMBA_DISABLE_JIT", "1")
WINDOWS = WindowConfig(8, 2)


def waves(seed: int, steps: int = 60) -> Series:
    random = np.random.default_rng(seed)
    swing = np.sin(np.arange(steps) / 3 + random.uniform(0, 6))[:, None]
    return Series(swing * [1, -2] + 0.1 * random.normal(size=(steps, 2)), ("a", "b"))


class TestPyODAutoencoder:
    @pytest.fixture(autouse=True)
    def needs_pyod(self) -> None:
        pytest.importorskip("pyod")
        pytest.importorskip("tqdm")

    def test_it_ranks_as_pyod_does(self) -> None:
        model = PyODAutoencoder(PyODAutoencoderConfig(epochs=1))
        windows = np.random.default_rng(0).normal(size=(40, 4, 3))
        model.fit(windows)
        distances = model.detector.decision_function(windows.reshape(40, 12))
        np.testing.assert_allclose(model.score_windows(windows), distances**2 / 12, rtol=1e-4)

    def test_training_leaves_random_generators_alone(self) -> None:
        def draws() -> tuple[float, float, float]:
            return python_random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002

        states = python_random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
        hash_seed = os.environ.get("PYTHONHASHSEED")
        expected = draws()
        python_random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])
        PyODAutoencoder(PyODAutoencoderConfig(epochs=1)).fit(np.zeros((5, 4, 3)))
        assert draws() == expected
        assert os.environ.get("PYTHONHASHSEED") == hash_seed

    def test_streaming_equals_batch_and_contributions_add_up(self) -> None:
        model = PyODAutoencoder(PyODAutoencoderConfig(epochs=1))
        detector = WindowDetector(model, windows=WINDOWS).fit([waves(1)])
        scores = detector.decision_function(waves(2))
        online = detector.online()
        streamed = [online.update(sample) for sample in waves(2).values]
        np.testing.assert_allclose(streamed, scores, rtol=1e-4)
        contributions = detector.contributions(waves(2))
        assert contributions is not None
        np.testing.assert_allclose(contributions.sum(axis=1)[7:], scores[7:], rtol=1e-9)

    def test_the_same_seed_gives_the_same_scores(self) -> None:
        windows = np.random.default_rng(0).normal(size=(40, 4, 3))
        first, again = (
            PyODAutoencoder(PyODAutoencoderConfig(epochs=1, seed=4)).fit(windows) for _ in range(2)
        )
        np.testing.assert_array_equal(first.score_windows(windows), again.score_windows(windows))

    def test_bad_input_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(ValueError, match="at least two windows, got 1"):
            PyODAutoencoder().fit(np.zeros((1, 4, 3)))
        with pytest.raises(ValueError, match="learning_rate must be above 0, got 0"):
            PyODAutoencoderConfig(learning_rate=0)
        with pytest.raises(ValueError, match="got 0, 32"):
            PyODAutoencoderConfig(epochs=0)
        monkeypatch.setitem(sys.modules, "pyod.models.auto_encoder", None)
        with pytest.raises(ImportError, match=r"needs pyod and tqdm .*'.\[anomalies\]'"):
            PyODAutoencoder().fit(np.zeros((5, 4, 3)))


class TestMatrixProfile:
    @pytest.fixture(autouse=True)
    def needs_stumpy(self) -> None:
        pytest.importorskip("stumpy")

    @staticmethod
    def nearest(
        window: NDArray[np.float64], normal: list[NDArray[np.float64]], normalize: bool
    ) -> float:
        """Mean over channels of the distance to the nearest normal window."""

        def shape(column: NDArray[np.float64]) -> NDArray[np.float64]:
            return (column - column.mean()) / column.std() if normalize else column

        distances = [
            min(
                float(
                    np.linalg.norm(
                        shape(window[:, channel]) - shape(each[start : start + 8, channel])
                    )
                )
                for each in normal
                for start in range(len(each) - 7)
                if not np.isnan(each[start : start + 8, channel]).any()
            )
            for channel in range(window.shape[1])
        ]
        return float(np.mean(distances))

    @pytest.mark.parametrize("normalize", [True, False])
    def test_it_agrees_with_a_slow_reference(self, normalize: bool) -> None:
        gappy = waves(2, 30).values.copy()
        gappy[12, 0] = np.nan
        normal = [waves(1, 40), Series(gappy, ("a", "b"))]
        detector = MatrixProfile(windows=WINDOWS, normalize=normalize).fit(normal)
        scaling = detector._learnt().scaling
        known = [scaling.standardise(each.values) for each in normal]
        tested = waves(3, 25)
        values = scaling.standardise(tested.values)
        scores = detector.decision_function(tested)
        for start in range(0, 18, 2):
            expected = self.nearest(values[start : start + 8], known, normalize)
            assert scores[start + 7] == pytest.approx(expected, abs=1e-6)
        assert (scores[:7] == scores[0]).all()

    def test_a_fault_stands_out_and_streaming_equals_batch(self) -> None:
        detector = MatrixProfile(windows=WINDOWS).fit([waves(1)])
        values = waves(3, 50).values.copy()
        values[24:32, 1] = 0
        values[24:28, 1] = 3
        values[38:46] = np.nan
        series = Series(values, ("a", "b"))
        scores = detector.decision_function(series)
        assert 27 <= scores.argmax() <= 38
        online = detector.online()
        streamed = [online.update(sample) for sample in values]
        np.testing.assert_allclose(streamed, scores, atol=1e-6)
        contributions = detector.contributions(series)
        assert contributions[scores.argmax()].argmax() == 1
        judged = contributions.any(axis=1)
        np.testing.assert_allclose(contributions.sum(axis=1)[judged], scores[judged])
        # Steps before the first window and those that missed most samples have the baseline.
        np.testing.assert_array_equal(np.flatnonzero(~judged), [*range(7), *range(43, 49)])
        assert len(set(scores[~judged])) == 1

    def test_the_normal_set_itself_is_no_anomaly(self) -> None:
        detector = MatrixProfile(windows=WINDOWS).fit([waves(1, 30)])
        np.testing.assert_allclose(detector.decision_function(waves(1, 30))[7:], 0, atol=1e-6)

    def test_bad_input_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(ValueError, match="at least 3 steps, got 2"):
            MatrixProfile(windows=WindowConfig(2))
        detector = MatrixProfile(windows=WINDOWS)
        with pytest.raises(RuntimeError, match="call fit first"):
            detector.decision_function(waves(1))
        with pytest.raises(ValueError, match="series 'series': a window of 8"):
            detector.fit([waves(1, 5)])
        gappy = waves(1, 12).values.copy()
        gappy[::5, 1] = np.nan
        with pytest.raises(ValueError, match="channel 'b' has no window of 8 steps without"):
            detector.fit([Series(gappy, ("a", "b"))])
        looking_on = MatrixProfile(windows=WindowConfig(8, alignment="mean")).fit([waves(1)])
        with pytest.raises(ValueError, match="only the alignment 'end'"):
            looking_on.online()
        monkeypatch.setitem(sys.modules, "stumpy", None)
        with pytest.raises(ImportError, match=r"needs stumpy .*'.\[anomalies\]'"):
            detector.fit([waves(1)])
