"""What all detectors have in common, each of them behind the one interface."""

from __future__ import annotations

import pickle
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies import detector as detector_module
from rlkit.autoencoder.anomalies.autoencoder_windows import (
    AutoencoderWindows,
    AutoencoderWindowsConfig,
)
from rlkit.autoencoder.anomalies.cusum import CUSUM, CUSUMConfig
from rlkit.autoencoder.anomalies.detector import Detector, WindowDetector
from rlkit.autoencoder.anomalies.isolation_forest import (
    IsolationForestConfig,
    IsolationForestWindows,
)
from rlkit.autoencoder.anomalies.pca_windows import PCAWindows, PCAWindowsConfig
from rlkit.autoencoder.anomalies.series import Series
from rlkit.autoencoder.anomalies.windows import WindowConfig
from rlkit.autoencoder.configuration import AutoencoderConfig

CHANNELS = ("flow", "power", "temperature", "valve")
Make = Callable[[WindowConfig], Detector]


def plant(seed: int, steps: int = 300, channels: Sequence[str] = CHANNELS) -> Series:
    """Three channels that swing together, each with noise, and a valve that never moves."""
    random = np.random.default_rng(seed)
    swing = np.sin(np.arange(steps) / 7 + random.uniform(0, 6))[:, None]
    values = swing * [5.0, -2.0, 100.0, 0.0] + random.normal(size=(steps, 4)) * [0.5, 0.2, 10, 0]
    return Series(values + np.array([20.0, 7.0, 1000.0, 3.0]), tuple(channels), 60.0)


def with_fault(seed: int = 9) -> Series:
    """Power is off by twice its swing for steps 150 to 179, and samples are missing."""
    values = plant(seed).values.copy()
    values[150:180, 1] += 4
    values[20:23, 0] = np.nan
    values[60:110] = np.nan
    values[220:290, 2] = np.nan
    return Series(values, CHANNELS, 60.0)


def forest() -> IsolationForestWindows:
    return IsolationForestWindows(IsolationForestConfig(trees=20))


def coded() -> AutoencoderWindows:
    config = AutoencoderConfig(latents=6, hidden_sizes=(32,), activation="silu", epochs=15)
    return AutoencoderWindows(AutoencoderWindowsConfig(config))


DETECTORS: dict[str, Make] = {
    "pca": lambda windows: WindowDetector(PCAWindows(), windows=windows),
    "mahalanobis": lambda windows: WindowDetector(
        PCAWindows(PCAWindowsConfig(score="mahalanobis")), windows=windows
    ),
    "forest": lambda windows: WindowDetector(forest(), windows=windows),
    "cusum": lambda windows: CUSUM(CUSUMConfig(lags=1)),
    "autoencoder": lambda windows: WindowDetector(coded(), windows=windows),
}
RECONSTRUCTING = ("pca", "mahalanobis", "autoencoder")
every_detector = pytest.mark.parametrize("make", DETECTORS.values(), ids=DETECTORS)
reconstructing = pytest.mark.parametrize(
    "make", [DETECTORS[name] for name in RECONSTRUCTING], ids=RECONSTRUCTING
)


@every_detector
def test_a_fault_scores_higher_than_all_that_is_normal(make: Make) -> None:
    detector = make(WindowConfig(10)).fit([plant(1), plant(2)])
    scores = detector.decision_function(with_fault())
    assert scores.shape == (300,)
    assert scores.dtype == np.float64
    normal = detector.decision_function(plant(3))
    if make is DETECTORS["forest"]:  # which looks at one number of a window at a time
        assert scores[160:180].mean() > np.quantile(normal, 0.99)
    else:
        assert scores[160:180].min() > normal.max()


@every_detector
@pytest.mark.parametrize("stride", [1, 3, 10])
def test_sample_by_sample_is_the_same_as_the_whole(make: Make, stride: int) -> None:
    series = with_fault()
    detector = make(WindowConfig(10, stride)).fit([plant(1), plant(2)])
    online = detector.online()
    streamed = [online.update(sample) for sample in series.values]
    in_float32 = make is DETECTORS["autoencoder"]
    np.testing.assert_allclose(
        streamed, detector.decision_function(series), rtol=1e-6 if in_float32 else 1e-10
    )


@every_detector
def test_a_sample_takes_under_a_millisecond_and_no_more_memory(make: Make) -> None:
    online = make(WindowConfig(32)).fit([plant(1)]).online()
    samples = plant(4, steps=400).values
    for sample in samples[:100]:
        online.update(sample)
    size = len(pickle.dumps(online))
    taken: list[float] = []
    for sample in samples[100:]:
        start = time.perf_counter()
        online.update(sample)
        taken.append(time.perf_counter() - start)
    assert statistics.median(taken) < 1e-3
    assert abs(len(pickle.dumps(online)) - size) < 64  # integers take a byte more


@every_detector
def test_a_departure_from_a_constant_counts(make: Make) -> None:
    detector = make(WindowConfig(10)).fit([plant(1), plant(2)])
    values = plant(3).values.copy()
    values[100:130, 3] += 1e-3
    scores = detector.decision_function(Series(values, CHANNELS, 60.0))
    normal = detector.decision_function(plant(3))
    if make is DETECTORS["forest"]:
        # A forest cannot cut where the normal set has but one value.
        assert np.isfinite(scores).all()
    else:
        assert scores[115:130].min() > normal.max()


@every_detector
def test_the_order_of_channels_does_not_matter(make: Make) -> None:
    detector = make(WindowConfig(10)).fit([plant(1)])
    series = with_fault()
    order = [2, 0, 3, 1]
    shuffled = Series(series.values[:, order], tuple(CHANNELS[i] for i in order), 60.0)
    np.testing.assert_array_equal(
        detector.decision_function(shuffled), detector.decision_function(series)
    )
    contributions = detector.contributions(series)
    if contributions is not None:
        np.testing.assert_array_equal(detector.contributions(shuffled), contributions[:, order])


@every_detector
def test_bad_input_is_refused(make: Make) -> None:
    with pytest.raises(RuntimeError, match="call fit first"):
        make(WindowConfig(10)).decision_function(plant(1))
    with pytest.raises(RuntimeError, match="call fit first"):
        make(WindowConfig(10)).online()
    with pytest.raises(ValueError, match="the normal set is empty"):
        make(WindowConfig(10)).fit([])
    with pytest.raises(ValueError, match=r"absent \['valve'\], unknown \['x'\]"):
        make(WindowConfig(10)).fit([plant(1), plant(1, channels=(*CHANNELS[:3], "x"))])
    detector = make(WindowConfig(10)).fit([plant(1)])
    with pytest.raises(ValueError, match=r"absent \['valve'\], unknown \['x'\]"):
        detector.decision_function(plant(1, channels=(*CHANNELS[:3], "x")))
    with pytest.raises(ValueError, match="4 channels"):
        detector.online().update(np.zeros(5))


@every_detector
def test_a_second_fit_forgets_the_first(make: Make) -> None:
    once = make(WindowConfig(10)).fit([plant(1)])
    twice = make(WindowConfig(10)).fit([plant(2)]).fit([plant(1)])
    np.testing.assert_array_equal(
        once.decision_function(plant(3)), twice.decision_function(plant(3))
    )


def test_a_window_longer_than_a_series_is_refused() -> None:
    short = plant(1, steps=9)
    with pytest.raises(ValueError, match=r"series 'series': a window of 10 .* of 9 steps"):
        DETECTORS["pca"](WindowConfig(10)).fit([plant(2), short])
    detector = DETECTORS["pca"](WindowConfig(10)).fit([plant(2)])
    with pytest.raises(
        ValueError, match=r"series 'series': a window of 10 steps is longer than .* of 9 steps"
    ):
        detector.decision_function(short)


@reconstructing
@pytest.mark.parametrize("alignment", ["end", "mean"])
def test_contributions_add_up_to_the_score_and_name_the_channel(make: Make, alignment: str) -> None:
    detector = make(WindowConfig(10, 2, alignment)).fit(  # pyright: ignore[reportArgumentType]
        [plant(1), plant(2)]
    )
    series = plant(3)
    contributions = detector.contributions(series)
    assert contributions is not None
    judged = slice(9 if alignment == "end" else 0, None)
    np.testing.assert_allclose(
        contributions.sum(axis=1)[judged], detector.decision_function(series)[judged], rtol=1e-9
    )
    faulty = detector.contributions(with_fault())
    assert faulty is not None
    assert set(faulty[160:180].argmax(axis=1)) == {1}


def test_a_forest_does_not_tell_channels_apart() -> None:
    assert DETECTORS["forest"](WindowConfig(10)).fit([plant(1)]).contributions(plant(2)) is None


def test_what_cannot_be_judged_gets_the_median_of_normal_windows() -> None:
    detector = WindowDetector(PCAWindows(), windows=WindowConfig(10, max_missing=0.5))
    detector.fit([plant(1)])
    windows_scores = detector.decision_function(plant(1))[9:]
    assert detector.fitted.baseline == pytest.approx(np.median(windows_scores))
    scores = detector.decision_function(with_fault())
    assert (scores[:9] == detector.fitted.baseline).all()
    # All samples of steps 60 to 109 are missing: from step 65 on, six of ten are.
    unjudged = np.flatnonzero(scores == detector.fitted.baseline)
    np.testing.assert_array_equal(unjudged[9:], np.arange(65, 114))
    contributions = detector.contributions(with_fault())
    assert contributions is not None
    assert not contributions[65:114].any()


def test_a_normal_set_without_samples_enough_is_refused() -> None:
    values = plant(1).values.copy()
    values[::3] = np.nan
    gappy = Series(values, CHANNELS, 60.0)
    detector = WindowDetector(PCAWindows(), windows=WindowConfig(10, max_missing=0.2))
    with pytest.raises(ValueError, match="at most 20% of its samples missing"):
        detector.fit([gappy])


def test_the_mean_over_windows_needs_what_comes_after() -> None:
    detector = DETECTORS["pca"](WindowConfig(10, alignment="mean")).fit([plant(1)])
    # Steps before the first whole window are judged, too.
    assert len(np.unique(detector.decision_function(plant(2)))) == 300
    with pytest.raises(ValueError, match="only the alignment 'end'"):
        detector.online()


def test_long_series_are_scored_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = DETECTORS["pca"](WindowConfig(10)).fit([plant(1)])
    whole = detector.decision_function(plant(2)), detector.contributions(plant(2))
    monkeypatch.setattr(detector_module, "NUMBERS_AT_ONCE", 7 * 40)
    pieces = detector.decision_function(plant(2)), detector.contributions(plant(2))
    np.testing.assert_allclose(pieces[0], whole[0], rtol=1e-12)
    np.testing.assert_allclose(pieces[1], whole[1], rtol=1e-9, atol=1e-12)  # pyright: ignore


class Seen:
    """A model that keeps what it learns from."""

    def fit(self, windows: NDArray[np.float64]) -> None:
        self.windows = windows

    def score_windows(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
        return windows[:, -1, 0]

    def residuals(self, windows: NDArray[np.float64]) -> None:
        return None


@pytest.mark.parametrize(("most", "every"), [(1000, 1), (200, 3), (7, 84)])
def test_a_model_learns_from_evenly_spaced_windows_of_all_series(most: int, every: int) -> None:
    model = Seen()
    detector = WindowDetector(model, windows=WindowConfig(10, max_fit_windows=most))
    series = [plant(1), plant(2)]
    detector.fit(series)
    windows = [
        detector.fitted.scaling.prepare(each).values[start : start + 10]
        for each in series
        for start in range(291)
    ]
    np.testing.assert_array_equal(model.windows, windows[::every])
    assert len(model.windows) <= most


def test_windows_with_too_little_are_not_learnt_from() -> None:
    model = Seen()
    windows = WindowConfig(10, max_missing=0.5, max_fit_windows=120)
    detector = WindowDetector(model, windows=windows).fit([plant(1), with_fault()])
    prepared = [detector.fitted.scaling.prepare(each) for each in (plant(1), with_fault())]
    # Of the windows that begin at steps 56 to 104 more than half of the samples are missing.
    kept = [
        each.values[start : start + 10]
        for part, each in enumerate(prepared)
        for start in range(291)
        if part == 0 or not 56 <= start <= 104
    ]
    assert len(kept) == 533
    np.testing.assert_array_equal(model.windows, kept[::5])


def test_what_was_learnt_can_be_put_together_again() -> None:
    first = WindowDetector(PCAWindows(), windows=WindowConfig(10)).fit([plant(1)])
    again = WindowDetector(first.model, windows=WindowConfig(10), fitted=first.fitted)
    np.testing.assert_array_equal(
        again.decision_function(plant(2)), first.decision_function(plant(2))
    )


def test_without_an_optional_package_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(ImportError, match=r"needs scikit-learn .*pip install -e '.\[anomalies\]'"):
        DETECTORS["forest"](WindowConfig(10)).fit([plant(1)])
