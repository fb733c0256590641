"""Saved detectors score as before, bit for bit; whatever else a file holds is one clear line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlkit.autoencoder.anomalies.alarm_rule import AlarmRule
from rlkit.autoencoder.anomalies.autoencoder_windows import (
    AutoencoderWindows,
    AutoencoderWindowsConfig,
)
from rlkit.autoencoder.anomalies.detector import WindowDetector, WindowModel
from rlkit.autoencoder.anomalies.detector_file import (
    _FILE,
    DetectorFileError,
    SavedDetector,
    load_detector,
    save_detector,
)
from rlkit.autoencoder.anomalies.isolation_forest import (
    IsolationForestConfig,
    IsolationForestWindows,
)
from rlkit.autoencoder.anomalies.pca_windows import PCAWindows, PCAWindowsConfig
from rlkit.autoencoder.anomalies.scaling import ScalingConfig
from rlkit.autoencoder.anomalies.series import Series
from rlkit.autoencoder.anomalies.windows import WindowConfig
from rlkit.autoencoder.configuration import AutoencoderConfig
from rlkit.estimator import NotFittedError

CHANNELS = ("flow", "power", "valve")
RULE = AlarmRule(threshold=1.2345678901234567, merge_gap=3, alarms_per_week=0.5, normal_weeks=2.1)


def plant(seed: int, steps: int = 120) -> Series:
    """Two channels that swing together, and a valve that never moves; some samples are missing."""
    random = np.random.default_rng(seed)
    swing = np.sin(np.arange(steps) / 5 + random.uniform(0, 6))[:, None]
    values = swing * [5.0, -2.0, 0.0] + random.normal(size=(steps, 3)) * [0.5, 0.2, 0.0]
    values[10:20, 0] = np.nan
    return Series(values + np.array([20.0, 7.0, 3.0]), CHANNELS, 60.0)


def small_autoencoder(**changed: Any) -> AutoencoderWindows:
    coder = AutoencoderConfig(latents=3, hidden_sizes=(12,), epochs=3, batch_size=32)
    return AutoencoderWindows(AutoencoderWindowsConfig(coder, **changed))


def fitted(model: WindowModel) -> SavedDetector:
    detector = WindowDetector(
        model,
        windows=WindowConfig(8, stride=2, max_missing=0.3),
        scaling=ScalingConfig(max_hold=2, clip=50.0),
    )
    return SavedDetector(detector.fit([plant(1), plant(2)]), RULE, {"normal": ["plant"]})


@pytest.mark.parametrize(
    "model",
    [
        small_autoencoder(pool=2),
        small_autoencoder(whiten=False),
        PCAWindows(),
        PCAWindows(PCAWindowsConfig(explained=0.7, score="mahalanobis")),
    ],
    ids=["pooled autoencoder", "plain autoencoder", "pca", "mahalanobis"],
)
def test_a_loaded_detector_scores_bit_for_bit_as_before(model: WindowModel, tmp_path: Path) -> None:
    saved = fitted(model)
    save_detector(tmp_path / "detector.safetensors", saved)
    state = torch.random.get_rng_state()
    loaded = load_detector(tmp_path / "detector.safetensors")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert loaded.rule == RULE
    assert loaded.provenance == {"normal": ["plant"]}
    assert loaded.detector.windows == saved.detector.windows
    assert loaded.detector.fitted.scaling.channels == CHANNELS
    before, after = saved.detector, loaded.detector
    series = plant(5)
    other_order = replace(
        series, values=series.values[:, ::-1], channels=CHANNELS[::-1]
    )  # channels are told by name
    for each in (series, other_order):
        np.testing.assert_array_equal(
            after.decision_function(each), before.decision_function(each), strict=True
        )
    contributions = before.contributions(series)
    assert contributions is not None
    np.testing.assert_array_equal(after.contributions(series), contributions)
    streams = before.online(), after.online()
    for sample in series.values:
        scores = [stream.update(sample) for stream in streams]
        assert scores[0] == scores[1]


def test_the_bottleneck_is_saved_as_well(tmp_path: Path) -> None:
    saved = fitted(small_autoencoder())
    save_detector(tmp_path / "detector.safetensors", saved)
    windows = np.random.default_rng(0).normal(size=(5, 8, 3))
    codes: list[np.ndarray] = []
    for each in (saved, load_detector(tmp_path / "detector.safetensors")):
        assert isinstance(each.detector.model, AutoencoderWindows)
        codes.append(each.detector.model.codes(windows))
    np.testing.assert_array_equal(codes[0], codes[1])


def test_what_cannot_be_saved_is_told(tmp_path: Path) -> None:
    path = tmp_path / "detector.safetensors"
    forest = fitted(IsolationForestWindows(IsolationForestConfig(trees=2)))
    with pytest.raises(ValueError, match="IsolationForestWindows cannot be saved; those with Auto"):
        save_detector(path, forest)
    with pytest.raises(RuntimeError, match="learnt nothing yet"):
        save_detector(path, SavedDetector(WindowDetector(PCAWindows()), RULE))
    with pytest.raises(RuntimeError, match="learnt nothing yet"):
        PCAWindows().state()
    with pytest.raises(NotFittedError):
        small_autoencoder().state()
    assert not path.exists()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("detector") / "good.safetensors"
    save_detector(path, fitted(small_autoencoder()))
    return path


def one_line(path: Path) -> str:
    with pytest.raises(DetectorFileError) as error:
        load_detector(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_a_missing_or_foreign_file_is_told(tmp_path: Path) -> None:
    assert "No such file" in one_line(tmp_path / "nowhere.safetensors")
    text = tmp_path / "notes.txt"
    text.write_text("nothing of the kind, and long enough to have a length")
    assert "damaged, or not a detector file" in one_line(text)
    foreign = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"weight": torch.zeros(2)}, foreign, {"format": "pt"})
    assert "not an rlkit detector" in one_line(foreign)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed(good: Path, tmp_path: Path, place: float, bit: int) -> None:
    data = bytearray(good.read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    path = tmp_path / "flipped.safetensors"
    path.write_bytes(data)
    one_line(path)
    path.write_bytes(good.read_bytes()[: int(place * len(data))])
    one_line(path)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("model", "forest", "model 'forest' is none of autoencoder, pca"),
        ("model", ["pca"], "describes no detector"),
        ("model", "pca", "describes no detector"),
        ("config", {"pool": 0}, "pool must be at least 1 step, got 0"),
        ("config", {"pool": 3}, "windows of 8 steps cannot be pooled by 3"),
        ("config", {"autoencoder": {"latents": 4}}, "describes no detector"),
        ("windows", {"length": 9}, "usual of windows (9, 3) is float64 (27,)"),
        ("windows", {"width": 9}, "extra fields found (width)"),
        ("scaling", {"clip": -1}, "clip must be above 0"),
        ("channels", ["flow", "flow", "valve"], "channels are none, or repeat"),
        ("channels", ["flow", "power"], "not torch.float64 of 2 channels"),
        ("baseline", "low", "expected float, got 'low'"),
        ("rule", {"threshold": 1.0}, "merge_gap"),
        ("provenance", 3, "describes no detector"),
    ],
)
def test_a_sound_file_that_describes_nonsense_is_told(
    good: Path, tmp_path: Path, part: str, value: Any, message: str
) -> None:
    header, tensors = _FILE.read(good)
    path = tmp_path / "nonsense.safetensors"
    _FILE.write(path, {**header, part: value}, tensors)
    assert message in one_line(path)


def test_tensors_that_are_missing_or_too_many_are_told(good: Path, tmp_path: Path) -> None:
    header, tensors = _FILE.read(good)
    path = tmp_path / "tensors.safetensors"
    for name in tensors:
        _FILE.write(path, header, {key: tensors[key] for key in tensors if key != name})
        one_line(path)
    _FILE.write(path, header, {**tensors, "model.network.extra": torch.zeros(1)})
    assert "extra" in one_line(path)
    assert json.dumps(header["rule"]) == json.dumps(
        {
            "threshold": 1.2345678901234567,
            "merge_gap": 3,
            "alarms_per_week": 0.5,
            "normal_weeks": 2.1,
        }
    )
