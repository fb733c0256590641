"""Files of fitted GANs: safetensors with a JSON header and a checksum.

The format is that of `rlkit.tensor_file`; the header holds "kind", "config", "shape", "history",
"provenance", and "classes" or "outputs". What samples need is stored, the averaged generator and
the scaling, not the discriminator; and fingerprints of the rows that it learnt from, by which
nobody is to judge it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rlkit.configuration import from_json, to_json
from rlkit.gan.configuration import GANConfig, ImageToImageConfig
from rlkit.gan.gan import GAN, ImageToImage
from rlkit.gan.generators import build_generator
from rlkit.gan.image_to_image import UNet
from rlkit.gan.monitoring import EpochRecord
from rlkit.gan.training_data import Scaling
from rlkit.plain_json import finite
from rlkit.reasons import reason_of
from rlkit.tensor_file import TensorFormat

_GENERATOR, _SCALING, _LEARNT_ROWS = "generator.", "scaling.", "learnt_rows"
_ALWAYS = ("discriminator_loss", "accuracy_real", "accuracy_fake", "spread")


class GANFileError(ValueError):
    """A file that cannot be used. The message is one line and starts with the path."""


FILE = TensorFormat(
    "GAN", "rlkit-gan", 1, ("kind", "config", "shape", "history", "provenance"), GANFileError
)


def save(path: str | os.PathLike[str], estimator: GAN | ImageToImage) -> None:
    """Write a fitted estimator so that a crash or a full disk never leaves a damaged file.

    Raises NotFittedError for one that is not fitted, OSError where the file cannot be written.
    """
    generator: nn.Module = estimator._learned("generator_")
    tensors = {_GENERATOR + name: value for name, value in generator.state_dict().items()}
    tensors[_LEARNT_ROWS] = torch.from_numpy(estimator.learnt_rows_)
    header: dict[str, Any] = {
        "config": to_json(estimator.config_),
        "shape": list(estimator.shape_),
        "history": [finite(asdict(record)) for record in estimator.history_],
        "provenance": estimator.provenance,
    }
    if isinstance(estimator, GAN):
        header["kind"] = "gan"
        if estimator.classes_ is not None and estimator.class_shares_ is not None:
            header["classes"] = estimator.classes_.tolist()
            header["class_shares"] = estimator.class_shares_.tolist()
        for name in ("mean", "deviation"):
            value: Tensor | None = getattr(estimator.scaling_, name)
            if value is not None:
                tensors[_SCALING + name] = value
    else:
        header |= {"kind": "image_to_image", "outputs": estimator.outputs_}
    FILE.write(path, header, tensors)


def load(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> GAN | ImageToImage:
    """The fitted estimator in a file that `save` wrote.

    Nothing is taken on trust: memory is taken for networks only once the tensors in the file have
    proved to be theirs. Raises GANFileError where the file cannot be read, is damaged, is another
    kind of file, or was written by a newer version of rlkit.
    """
    header, tensors = FILE.read(path)
    try:
        if header["kind"] == "gan":
            estimator = _built_gan(header, tensors, device)
        elif header["kind"] == "image_to_image":
            estimator = _built_image_to_image(header, tensors, device)
        else:
            raise ValueError(f"unknown kind {header['kind']!r}")
        if not isinstance(header["provenance"], dict):
            raise ValueError("its provenance is no object")
        learnt_rows = tensors[_LEARNT_ROWS]
        if learnt_rows.ndim != 1 or learnt_rows.dtype != torch.int64:
            raise ValueError("its learnt rows are no list of whole numbers")
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise GANFileError(
            f"{path}: damaged: its header and tensors make no GAN ({reason_of(error)})"
        ) from error
    estimator.provenance = header["provenance"]
    estimator.learnt_rows_ = learnt_rows.numpy()
    return estimator


def load_gan(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> GAN:
    """`load` for a file that must hold a GAN. Raises GANFileError for an image-to-image one."""
    estimator = load(path, device)
    if not isinstance(estimator, GAN):
        raise GANFileError(f"{path}: turns pictures into pictures, and makes none from noise")
    return estimator


def _built_gan(
    header: Mapping[str, Any], tensors: Mapping[str, Tensor], device: torch.device | str
) -> GAN:
    config, shape = from_json(header["config"], GANConfig), _shape(header["shape"])
    classes, shares = None, None
    if "classes" in header:
        classes, shares = _classes(header["classes"], header["class_shares"])
    with torch.device("meta"):
        generator = build_generator(config, shape, 0 if classes is None else len(classes))
    _take_weights(generator, tensors)
    scaling = Scaling()
    if len(shape) == 1:
        mean, deviation = (tensors[_SCALING + name] for name in ("mean", "deviation"))
        for part in (mean, deviation):
            if part.shape != shape or part.dtype != torch.float32 or not part.isfinite().all():
                raise ValueError("its scaling is not that of its rows")
        scaling = Scaling(mean, deviation).to(device)
    history = [_record(record) for record in header["history"]]
    placed = generator.to(device=device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return GAN(config).set_learned(placed, shape, scaling, classes, shares, history)


def _built_image_to_image(
    header: Mapping[str, Any], tensors: Mapping[str, Tensor], device: torch.device | str
) -> ImageToImage:
    config, shape = from_json(header["config"], ImageToImageConfig), _shape(header["shape"])
    outputs = header["outputs"]
    if type(outputs) is not int or outputs < 1 or len(shape) != 3:
        raise ValueError("its shapes are not those of pictures")
    with torch.device("meta"):
        generator = UNet(config, shape, outputs)
    _take_weights(generator, tensors)
    history = [_record(record) for record in header["history"]]
    placed = generator.to(device=device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return ImageToImage(config).set_learned(placed, shape, outputs, history)


def _take_weights(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a network without memory the weights. Raises ValueError where they are not its own."""
    weights = {
        name.removeprefix(_GENERATOR): value
        for name, value in tensors.items()
        if name.startswith(_GENERATOR)
    }
    if any(v.dtype != torch.float32 or not v.isfinite().all() for v in weights.values()):
        raise ValueError("its weights are not finite float32 numbers")
    network.load_state_dict(weights, assign=True)


def _shape(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, list) or any(type(size) is not int or size < 1 for size in shape):
        raise ValueError(f"{shape!r} is no shape")
    return tuple(shape)


def _classes(classes: Any, shares: Any) -> tuple[np.ndarray, np.ndarray]:
    if any(type(kind) is not int or not 0 <= kind < 2**63 for kind in classes):
        raise ValueError("its classes are no whole numbers")
    kinds, parts = np.array(classes, np.int64), np.array(shares, np.float64)
    sound = len(kinds) and (np.diff(kinds) > 0).all() and parts.shape == kinds.shape
    if not (sound and (parts >= 0.0).all() and math.isclose(parts.sum(), 1.0, rel_tol=1e-9)):
        raise ValueError("its classes and their shares do not belong together")
    return kinds, parts


def _record(data: dict[str, Any]) -> EpochRecord:
    """What `finite` wrote, NaN where a number is missing that every epoch has."""
    lost = {name: math.nan for name in _ALWAYS if name in data and data[name] is None}
    return from_json({**data, **lost}, EpochRecord)
