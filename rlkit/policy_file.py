"""Policy files: tensors and a JSON header in one safetensors file, checked by a hash.

Reading one runs no code from it (https://github.com/huggingface/safetensors holds raw numbers and
text, no pickles). What the header's parts mean, and building a policy from them, is left to others.

The file's metadata has one entry, "rlkit", whose JSON object holds the five parts in HEADER_PARTS,
"format_version", and "sha256" over the rest of the header and all tensors.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from gymnasium import spaces
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rlkit.reasons import reason_of
from rlkit.whole_files import whole_file

FORMAT_VERSION = 1
METADATA_KEY = "rlkit"
HEADER_PARTS = ("architecture", "spaces", "preprocessing", "protocol", "provenance")


class PolicyFileError(ValueError):
    """A policy file that cannot be used. The message is one line and starts with the path."""


def write_policy_file(
    path: str | os.PathLike[str], header: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Writes a policy file so that a crash or a full disk never leaves a damaged one.

    header: JSON-able, with all of HEADER_PARTS; "format_version" and "sha256" are set here.
    tensors: by name, any device, layout and sharing; stored contiguous, in their own dtype.
    The data goes to a new file beside `path` which then takes its place; an error removes the new
    file and leaves the old one untouched.
    Raises ValueError for a header that lacks a part or holds NaN or infinity, TypeError for one
    that is not JSON-able, OSError with reason and path if the file cannot be written.
    """
    path = Path(path)
    missing = [part for part in HEADER_PARTS if part not in header]
    if missing:
        raise ValueError(f"the header of a policy file needs {', '.join(missing)}")
    plain = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    # The way through JSON makes the hash see what a reader will see: lists, and text as keys.
    stamped = json.loads(json.dumps({**header, "format_version": FORMAT_VERSION}, allow_nan=False))
    stamped["sha256"] = _digest(stamped, plain)
    _replace_file(path, safetensors.torch.save(plain, {METADATA_KEY: json.dumps(stamped)}))


def read_policy_file(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Reads the header, with "format_version" and "sha256" in it, and the tensors on the CPU.

    Raises PolicyFileError if the file cannot be read, is not a policy file, is damaged, or was
    written by a newer version of rlkit.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = _parsed_header(path, file.metadata())
            mapped = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            digest = _digest(header, mapped)
            # The clones do not depend on the file, which may go away later.
            tensors = {name: tensor.clone() for name, tensor in mapped.items()}
    except OSError as error:
        raise PolicyFileError(f"{path}: cannot be read: {reason_of(error)}") from error
    except SafetensorError as error:
        raise PolicyFileError(f"{path}: damaged, or not a policy file ({error})") from error
    if header.get("sha256") != digest:
        raise PolicyFileError(f"{path}: damaged: its content does not match its checksum")
    return header, tensors


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


def _parsed_header(path: Path, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    if metadata is None or METADATA_KEY not in metadata:
        raise PolicyFileError(f"{path}: a safetensors file, but not an rlkit policy")
    try:
        header = json.loads(metadata[METADATA_KEY])
    except (ValueError, RecursionError) as error:
        raise PolicyFileError(f"{path}: damaged: its header is not JSON") from error
    version = header.get("format_version") if isinstance(header, dict) else None
    if type(version) is not int or version < 1:
        raise PolicyFileError(f"{path}: damaged: its header has no format version")
    if version > FORMAT_VERSION:
        raise PolicyFileError(
            f"{path}: written by a newer rlkit (format {version}, this one reads up to"
            f" {FORMAT_VERSION}); upgrade rlkit to use it"
        )
    missing = [part for part in HEADER_PARTS if part not in header]
    if missing:
        raise PolicyFileError(f"{path}: damaged: its header lacks {', '.join(missing)}")
    return header


def _digest(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the header without "sha256" and over each tensor's name, dtype, shape, bytes."""
    rest = {key: value for key, value in header.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _replace_file(path: Path, data: bytes) -> None:
    try:
        with whole_file(path) as beside:
            beside.write_bytes(data)
    except OSError as error:
        # A full disk is noticed in write(), which does not know the name of the file.
        raise OSError(error.errno, error.strerror, str(path)) from error


def _bound_to_json(bound: np.ndarray) -> Any:
    """Nested lists, or one number where all are equal; JSON has no infinities, text stands in."""
    if bound.size and (bound == bound.flat[0]).all():
        bound = bound.flat[0]
    values = np.asarray(bound).astype(object)
    infinite = np.isinf(np.asarray(bound, dtype=np.float64))
    values[infinite] = [str(value) for value in values[infinite]]
    return values.tolist()
