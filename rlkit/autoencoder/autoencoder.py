"""The autoencoder as users of scikit-learn know its kind: fit, transform, inverse_transform.

It also codes into bytes: each number of a code becomes one of 256 steps between the least and the
most that it was on the data learnt from.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlkit.autoencoder.configuration import AutoencoderConfig
from rlkit.autoencoder.fitting import Epoch, OnEpoch, fit
from rlkit.autoencoder.network import AutoencoderNetwork
from rlkit.divergence import DivergenceError
from rlkit.estimator import ConfiguredEstimator
from rlkit.policy_file import space_from_json, space_to_json
from rlkit.tensor_file import TensorFormat
from rlkit_agents.precision import Precision

_BATCH = 1024


class AutoencoderFileError(ValueError):
    """An autoencoder's file that cannot be used. The message is one line, and starts with the
    path."""


_FILE = TensorFormat(
    "autoencoder", "rlkit-autoencoder", 1, ("config", "space", "provenance"), AutoencoderFileError
)


class Autoencoder(ConfiguredEstimator[AutoencoderConfig]):
    """Codes observations into few numbers, and decodes them.

    Made of an `AutoencoderConfig`, or of its fields by name, as scikit-learn's estimators are:
    `Autoencoder(kind="sparse", latents=64)`. `get_params`, `set_params` and scikit-learn's `clone`
    work on it.
    """

    config_class = AutoencoderConfig

    def __init__(self, config: AutoencoderConfig | None = None, **changes: Any) -> None:
        """config: None stands for the defaults. changes: fields of it by name.

        Raises ValueError for a field that is not there or a number out of range.
        """
        super().__init__(config, **changes)
        self.epochs: list[Epoch] = []
        """How the last `fit` went."""
        self.sha256: str | None = None
        """Checksum of the file that it was read from; None where it was not."""
        self.provenance: dict[str, Any] = {}
        """Plain JSON data on what it was fitted to, for its file."""

    @property
    def network(self) -> AutoencoderNetwork:
        """The fitted network. Raises NotFittedError before `fit`."""
        return self._learned("_network")

    @property
    def space(self) -> gym.spaces.Box:
        """Of the observations that it codes."""
        return self.network.space

    def fit(
        self,
        observations: NDArray[Any],
        y: object = None,
        *,
        held_out: NDArray[Any] | None = None,
        space: gym.spaces.Box | None = None,
        on_epoch: Sequence[OnEpoch] = (),
        device: torch.device | str = "cpu",
    ) -> Autoencoder:
        """Learn to code observations (count, *shape), bytes or floats.

        y is ignored, as in scikit-learn. held_out: (any, *shape), which tell when to stop; by
        default a share of the observations, drawn at random. space: of one observation; by default
        a Box of their shape and dtype. on_epoch: called after each epoch.
        Raises ValueError for observations that are not finite, of another space, or too few, and
        DivergenceError where learning diverges, with the best weights from before.
        """
        observations = np.asarray(observations)
        if space is None:
            space = _space_of(observations)
        observations = _checked(observations, space)
        if held_out is None:
            observations, held_out = self._split(observations)
        held_out = _checked(np.asarray(held_out), space)
        if not len(observations) or not len(held_out):
            raise ValueError(
                f"an autoencoder needs observations to learn from and others to tell when to stop; "
                f"got {len(observations)} and {len(held_out)}"
            )
        with torch.random.fork_rng():
            torch.manual_seed(self.config.seed)
            network = AutoencoderNetwork(space, self.config)
        network = network.to(device)
        try:
            self.epochs = fit(network, observations, held_out, on_epoch)
        except DivergenceError:
            self._network: AutoencoderNetwork = network
            raise
        self._network = network
        self._learn_steps(observations)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return "_network" in self.__dict__

    def _split(self, observations: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        order = np.random.default_rng(self.config.seed).permutation(len(observations))
        count = round(self.config.held_out * len(observations))
        return observations[order[count:]], observations[order[:count]]

    def transform(
        self, observations: NDArray[Any], *, precision: Precision = "float32"
    ) -> NDArray[np.float32]:
        """Codes (count, latents) of observations (count, *shape); of a variational one the means.

        precision: of the arithmetic; "auto" is bfloat16 where the processor is fast at it.
        Raises NotFittedError, and ValueError for observations of another space.
        """
        return _joined(
            self.network.encode(part, precision) for part in self._batches(observations)
        ).numpy()

    def inverse_transform(self, codes: NDArray[np.floating[Any]]) -> NDArray[Any]:
        """Observations (count, *shape), in the dtype of the space, of codes (count, latents).

        Raises NotFittedError, and ValueError for codes of another length.
        """
        network = self.network
        codes = np.asarray(codes, np.float32)
        _check_codes(codes, network)
        decoded = _joined(
            network.unscaled(network.decode(part.to(network.mean.device)))
            for part in torch.from_numpy(codes).split(_BATCH)
        ).numpy()
        if network.takes_bytes:
            return np.clip(np.rint(decoded), 0, 255).astype(np.uint8)
        if np.dtype(network.space.dtype).kind != "f":
            decoded = np.clip(np.rint(decoded), network.space.low, network.space.high)
        return decoded.astype(network.space.dtype)

    def score_samples(self, observations: NDArray[Any]) -> NDArray[np.float64]:
        """How normal each observation is, (count,): higher is more normal.

        Its reconstruction error, negated: the mean over its numbers, bytes as [0, 1] and others
        standardised. Of a variational one, the evidence lower bound for each number, in nats.
        Raises as `transform` does.
        """
        parts = (-self.network.errors(part) for part in self._batches(observations))
        return _joined(parts).numpy().astype(np.float64)

    def score(self, observations: NDArray[Any], y: object = None) -> float:
        """The mean of `score_samples`."""
        return float(self.score_samples(observations).mean())

    def encode_bytes(
        self, observations: NDArray[Any], *, precision: Precision = "float32"
    ) -> NDArray[np.uint8]:
        """Codes in bytes, (count, latents): as `transform`, each number rounded to a step."""
        codes = torch.from_numpy(self.transform(observations, precision=precision))
        network = self.network
        return network.to_bytes(codes.to(network.least.device)).cpu().numpy()

    def decode_bytes(self, codes: NDArray[np.uint8]) -> NDArray[Any]:
        """Observations (count, *shape) of codes in bytes (count, latents).

        Raises as `inverse_transform` does.
        """
        network = self.network
        _check_codes(codes, network)
        low, high = network.least.cpu().numpy(), network.most.cpu().numpy()
        return self.inverse_transform(low + codes * ((high - low) / 255.0))

    def _learn_steps(self, observations: NDArray[Any]) -> None:
        network = self.network
        codes = torch.from_numpy(self.transform(observations))
        network.least.copy_(codes.amin(0))
        network.most.copy_(codes.amax(0))

    def _batches(self, observations: NDArray[Any]) -> Iterator[Tensor]:
        network = self.network
        observations = _checked(np.asarray(observations), network.space)
        for part in torch.from_numpy(observations).split(_BATCH):
            yield part.to(network.mean.device)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it into one safetensors file, which `load_autoencoder` reads.

        Raises NotFittedError, OSError where the file cannot be written.
        """
        header = {
            "config": asdict(self.network.config),
            "space": space_to_json(self.space),
            "provenance": self.provenance,
        }
        _FILE.write(path, header, self.network.state_dict())


def load_autoencoder(
    path: str | os.PathLike[str], device: torch.device | str = "cpu"
) -> Autoencoder:
    """The autoencoder in a file that `Autoencoder.save` wrote.

    Raises AutoencoderFileError where it cannot be read, is damaged, or something else.
    """
    header, tensors = _FILE.read(path)
    try:
        autoencoder = Autoencoder(AutoencoderConfig(**header["config"]))
        space = space_from_json(header["space"])
        with torch.random.fork_rng():
            network = AutoencoderNetwork(space, autoencoder.config)
        network.load_state_dict(tensors)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise AutoencoderFileError(f"{path}: describes no autoencoder: {reason}") from error
    autoencoder._network = network.to(device).eval()
    autoencoder.provenance = header["provenance"]
    autoencoder.sha256 = header["sha256"]
    return autoencoder


def find_autoencoder(name: str, device: torch.device | str = "cpu") -> Autoencoder:
    """The autoencoder that ships with rlkit under `name`, or the one in the file of that name.

    Raises AutoencoderFileError where there is none, or the file cannot be used.
    """
    shipped = Path(str(resources.files("rlkit.autoencoder"))) / "encoders" / f"{name}.safetensors"
    path = shipped if shipped.is_file() else Path(name)
    if not path.is_file():
        raise AutoencoderFileError(f"{name}: no such file, and no autoencoder ships by that name")
    return load_autoencoder(path, device)


def _check_codes(codes: NDArray[Any], network: AutoencoderNetwork) -> None:
    if codes.ndim != 2 or codes.shape[1] != network.config.latents:
        raise ValueError(
            f"codes have {network.config.latents} numbers each, but these are {codes.shape}"
        )


def _space_of(observations: NDArray[Any]) -> gym.spaces.Box:
    if observations.ndim < 2:
        raise ValueError(
            f"observations have a first axis that counts them, but these are {observations.shape}"
        )
    shape = observations.shape[1:]
    if observations.dtype == np.uint8:
        return gym.spaces.Box(0, 255, shape, np.uint8)
    return gym.spaces.Box(-np.inf, np.inf, shape, np.float32)


def _checked(observations: NDArray[Any], space: gym.spaces.Box) -> NDArray[Any]:
    """As they are coded: bytes, or float32. Raises ValueError for those of another space.

    Numbers of any kind but bytes are taken for each other: of a space, the floats as well.
    """
    bytes_wanted = space.dtype == np.uint8
    if observations.shape[1:] != space.shape or (bytes_wanted != (observations.dtype == np.uint8)):
        raise ValueError(
            f"this autoencoder codes observations of shape {space.shape} and dtype {space.dtype}, "
            f"but these are {observations.shape[1:]} of {observations.dtype}"
        )
    if bytes_wanted:
        return np.ascontiguousarray(observations)
    observations = np.ascontiguousarray(observations, np.float32)
    if not np.isfinite(observations).all():
        raise ValueError("observations hold NaN or infinity: leave those out, or fill them first")
    return observations


def _joined(parts: Iterator[Tensor]) -> Tensor:
    with torch.inference_mode():
        return torch.cat([part.cpu() for part in parts])
