"""Policy files: tensors and a JSON header in one file (`rlkit.tensor_file`), and spaces as JSON.

What the header's parts mean, and building a policy from them, is left to others.
"""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from torch import Tensor

from rlkit.tensor_file import TensorFormat

FORMAT_VERSION = 1
METADATA_KEY = "rlkit"
HEADER_PARTS = ("architecture", "spaces", "preprocessing", "protocol", "provenance")


class PolicyFileError(ValueError):
    """A policy file that cannot be used. The message is one line and starts with the path."""


_FORMAT = TensorFormat("policy", METADATA_KEY, FORMAT_VERSION, HEADER_PARTS, PolicyFileError)


def write_policy_file(
    path: str | os.PathLike[str], header: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Writes a policy file as `TensorFormat.write` does; the header has all of HEADER_PARTS."""
    _FORMAT.write(path, header, tensors)


def read_policy_file(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a policy file, as `TensorFormat.read` gives them.

    Raises PolicyFileError if the file cannot be read, is not a policy file, is damaged, or was
    written by a newer version of rlkit.
    """
    return _FORMAT.read(path)


def space_to_json(space: spaces.Space[Any]) -> dict[str, Any]:
    """A Box, Discrete or MultiDiscrete space as plain JSON, infinite bounds as "inf" and "-inf".

    Bounds that are the same everywhere are stored once. Raises ValueError for any other space.
    """
    if isinstance(space, spaces.Box):
        return {
            "type": "Box",
            "low": _bound_to_json(space.low),
            "high": _bound_to_json(space.high),
            "shape": list(space.shape),
            "dtype": str(space.dtype),
        }
    if isinstance(space, spaces.Discrete):
        return {
            "type": "Discrete",
            "n": int(space.n),
            "start": int(space.start),
            "dtype": str(space.dtype),
        }
    if isinstance(space, spaces.MultiDiscrete):
        return {
            "type": "MultiDiscrete",
            "nvec": space.nvec.tolist(),
            "start": space.start.tolist(),
            "dtype": str(space.dtype),
        }
    raise ValueError(f"a policy file holds Box, Discrete and MultiDiscrete spaces, not {space}")


def space_from_json(data: Mapping[str, Any]) -> spaces.Space[Any]:
    """The space that `space_to_json` described; ValueError if the description makes no sense."""
    try:
        dtype = np.dtype(str(data["dtype"]))
        if dtype.kind not in "iuf":
            raise ValueError(f"dtype {dtype} is not a number's")
        match data["type"]:
            case "Box":
                shape = tuple(int(length) for length in data["shape"])
                low, high = (
                    np.broadcast_to(np.asarray(data[name], dtype=dtype), shape)
                    for name in ("low", "high")
                )
                return spaces.Box(low, high, shape, dtype.type)
            case "Discrete":
                return spaces.Discrete(int(data["n"]), start=int(data["start"]), dtype=dtype.type)
            case "MultiDiscrete":
                start = np.asarray(data["start"], dtype=dtype)
                nvec = np.asarray(data["nvec"], dtype=dtype)
                return spaces.MultiDiscrete(nvec, dtype=dtype.type, start=start)
            case other:
                raise ValueError(f"unknown type {other!r}")
    except (KeyError, TypeError, ValueError, OverflowError, AssertionError) as error:
        raise ValueError(f"not the description of a space: {dict(data)} ({error})") from error


def _bound_to_json(bound: np.ndarray) -> Any:
    """Nested lists, or one number where all are equal; JSON has no infinities, text stands in."""
    if bound.size and (bound == bound.flat[0]).all():
        bound = bound.flat[0]
    values = np.asarray(bound).astype(object)
    infinite = np.isinf(np.asarray(bound, dtype=np.float64))
    values[infinite] = [str(value) for value in values[infinite]]
    return values.tolist()
