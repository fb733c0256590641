"""Files of fitted detectors that score windows, with the rule by which they alarm.

One safetensors file whose header says what the detector is, so that it scores as before, bit for
bit. Detectors that are quickly fitted again, and are there to compare with, have no file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from rlkit.autoencoder.anomalies.alarm_rule import AlarmRule
from rlkit.autoencoder.anomalies.autoencoder_windows import (
    AutoencoderWindows,
    AutoencoderWindowsConfig,
)
from rlkit.autoencoder.anomalies.detector import FittedWindows, WindowDetector
from rlkit.autoencoder.anomalies.pca_windows import PCAWindows, PCAWindowsConfig
from rlkit.autoencoder.anomalies.scaling import ChannelScaling, ScalingConfig
from rlkit.autoencoder.anomalies.windows import WindowConfig
from rlkit.configuration import from_json, to_json
from rlkit.tensor_file import TensorFormat

_MODELS = {
    "autoencoder": (AutoencoderWindows, AutoencoderWindowsConfig),
    "pca": (PCAWindows, PCAWindowsConfig),
}
"""Name in files -> the model and its configuration."""


class DetectorFileError(ValueError):
    """A detector's file that cannot be used. The message is one line, and starts with the path."""


_FILE = TensorFormat(
    "detector",
    "rlkit-anomaly-detector",
    1,
    (
        *("model", "config", "windows", "scaling", "channels", "step_seconds", "baseline"),
        *("rule", "provenance"),
    ),
    DetectorFileError,
)


@dataclass(frozen=True)
class SavedDetector:
    """What a file holds."""

    detector: WindowDetector
    """Fitted."""
    rule: AlarmRule
    provenance: dict[str, Any] = field(default_factory=dict)
    """Plain JSON data on what it was fitted to."""

    @property
    def model_name(self) -> str:
        """autoencoder or pca. Raises ValueError for another model."""
        for name, (kind, _) in _MODELS.items():
            if isinstance(self.detector.model, kind):
                return name
        raise ValueError(
            f"a detector with {type(self.detector.model).__name__} cannot be saved; those with "
            f"{' or '.join(kind.__name__ for kind, _ in _MODELS.values())} can"
        )


def save_detector(path: str | os.PathLike[str], saved: SavedDetector) -> None:
    """Write a fitted detector and its rule into one file, which `load_detector` reads.

    Raises ValueError for a model that has no file or a number that is not finite, RuntimeError
    before `fit`, OSError where the file cannot be written.
    """
    detector = saved.detector
    model = cast("AutoencoderWindows | PCAWindows", detector.model)
    fitted, name = detector.fitted, saved.model_name
    scaling = fitted.scaling
    header = {
        "model": name,
        "config": to_json(model.config),
        "windows": to_json(detector.windows),
        "scaling": to_json(scaling.config),
        "channels": list(scaling.channels),
        "step_seconds": float(scaling.step_seconds),
        "baseline": float(fitted.baseline),
        "rule": to_json(saved.rule),
        "provenance": saved.provenance,
    }
    tensors = {f"model.{key}": tensor for key, tensor in model.state().items()}
    for key in ("center", "scale", "constant"):
        tensors[f"scaling.{key}"] = torch.from_numpy(np.ascontiguousarray(getattr(scaling, key)))
    _FILE.write(path, header, tensors)


def load_detector(path: str | os.PathLike[str]) -> SavedDetector:
    """The detector in a file that `save_detector` wrote; it scores as it did, bit for bit.

    Raises DetectorFileError where the file cannot be read, is damaged, or something else.
    """
    header, tensors = _FILE.read(path)
    try:
        return _read(header, tensors)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        # PyTorch lists what does not fit over several lines.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DetectorFileError(f"{path}: describes no detector: {reason}") from error


def _read(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> SavedDetector:
    name = header["model"]
    if name not in _MODELS:
        raise ValueError(f"model {name!r} is none of {', '.join(_MODELS)}")
    kind, config_kind = _MODELS[name]
    windows = from_json(header["windows"], WindowConfig)
    scaling = _scaling(header, tensors)
    model = kind(from_json(header["config"], config_kind))  # pyright: ignore[reportArgumentType]
    prefix = "model."
    state = {key.removeprefix(prefix): tensors[key] for key in tensors if key.startswith(prefix)}
    model.load_state(state, (windows.length, len(scaling.channels)))
    detector = WindowDetector(
        model,
        windows=windows,
        scaling=scaling.config,
        fitted=FittedWindows(scaling, from_json(header["baseline"], float)),
    )
    provenance = from_json(header["provenance"], dict[str, Any])
    return SavedDetector(detector, from_json(header["rule"], AlarmRule), provenance)


def _scaling(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> ChannelScaling:
    channels = from_json(header["channels"], tuple[str, ...])
    if not channels or len(set(channels)) < len(channels):
        raise ValueError(f"channels are none, or repeat: {channels}")
    arrays = {key: tensors[f"scaling.{key}"] for key in ("center", "scale", "constant")}
    for key, tensor in arrays.items():
        dtype = torch.bool if key == "constant" else torch.float64
        if tensor.shape != (len(channels),) or tensor.dtype != dtype:
            raise ValueError(
                f"scaling.{key} is {tensor.dtype} of shape {tuple(tensor.shape)}, not {dtype} of "
                f"{len(channels)} channels"
            )
    return ChannelScaling(
        channels,
        from_json(header["step_seconds"], float),
        arrays["center"].numpy(),
        arrays["scale"].numpy(),
        arrays["constant"].numpy(),
        from_json(header["scaling"], ScalingConfig),
    )
