"""Files of tensors and a JSON header: one safetensors file, checked by a hash.

Reading one runs no code from it (https://github.com/huggingface/safetensors holds raw numbers and
text, no pickles). The file's metadata has one entry, whose JSON object holds the header's parts,
"format_version", and "sha256" over the rest of the header and all tensors. What the parts mean is
left to those who define a format.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rlkit.reasons import reason_of
from rlkit.whole_files import whole_file


@dataclass(frozen=True)
class TensorFormat:
    """One kind of such files."""

    noun: str
    """What one is called in messages, such as "policy"."""
    metadata_key: str
    """Name of the metadata's entry, by which the kinds are told apart."""
    version: int
    """Of the format; older ones can be read, newer ones cannot."""
    parts: tuple[str, ...]
    """What every header has, beside the version and the hash."""
    error: type[ValueError]
    """Raised for a file that cannot be used; the message is one line and starts with the path."""

    def write(
        self, path: str | os.PathLike[str], header: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> None:
        """Write a file so that a crash or a full disk never leaves a damaged one.

        header: JSON-able, with all `parts`; "format_version" and "sha256" are set here.
        tensors: by name, any device, layout and sharing; stored contiguous, in their own dtype.
        The data goes to a new file beside `path` which then takes its place; an error removes the
        new file and leaves the old one untouched.
        Raises ValueError for a header that lacks a part or holds NaN or infinity, TypeError for one
        that is not JSON-able, OSError with reason and path if the file cannot be written.
        """
        path = Path(path)
        missing = [part for part in self.parts if part not in header]
        if missing:
            raise ValueError(f"the header of a {self.noun} file needs {', '.join(missing)}")
        plain = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in tensors.items()
        }
        # The way through JSON makes the hash see what a reader will see: lists, and text as keys.
        stamped = json.loads(
            json.dumps({**header, "format_version": self.version}, allow_nan=False)
        )
        stamped["sha256"] = digest(stamped, plain)
        _replace_file(path, safetensors.torch.save(plain, {self.metadata_key: json.dumps(stamped)}))

    def read(self, path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The header, with "format_version" and "sha256" in it, and the tensors on the CPU.

        Raises `error` if the file cannot be read, is of another kind, is damaged, or was written by
        a newer version of rlkit.
        """
        path = Path(path)
        try:
            with safe_open(path, framework="pt", device="cpu") as file:
                header = self._parsed_header(path, file.metadata())
                mapped = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                found = digest(header, mapped)
                # The clones do not depend on the file, which may go away later.
                tensors = {name: tensor.clone() for name, tensor in mapped.items()}
        except OSError as error:
            raise self.error(f"{path}: cannot be read: {reason_of(error)}") from error
        except SafetensorError as error:
            raise self.error(f"{path}: damaged, or not a {self.noun} file ({error})") from error
        if header.get("sha256") != found:
            raise self.error(f"{path}: damaged: its content does not match its checksum")
        return header, tensors

    def _parsed_header(self, path: Path, metadata: Mapping[str, str] | None) -> dict[str, Any]:
        if metadata is None or self.metadata_key not in metadata:
            raise self.error(f"{path}: a safetensors file, but not an rlkit {self.noun}")
        try:
            header = json.loads(metadata[self.metadata_key])
        except (ValueError, RecursionError) as error:
            raise self.error(f"{path}: damaged: its header is not JSON") from error
        version = header.get("format_version") if isinstance(header, dict) else None
        if type(version) is not int or version < 1:
            raise self.error(f"{path}: damaged: its header has no format version")
        if version > self.version:
            raise self.error(
                f"{path}: written by a newer rlkit (format {version}, this one reads up to"
                f" {self.version}); upgrade rlkit to use it"
            )
        missing = [part for part in self.parts if part not in header]
        if missing:
            raise self.error(f"{path}: damaged: its header lacks {', '.join(missing)}")
        return header


def digest(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the header without "sha256" and over each tensor's name, dtype, shape, bytes."""
    rest = {key: value for key, value in header.items() if key != "sha256"}
    checksum = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        checksum.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        checksum.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return checksum.hexdigest()


def _replace_file(path: Path, data: bytes) -> None:
    try:
        with whole_file(path) as beside:
            beside.write_bytes(data)
    except OSError as error:
        # A full disk is noticed in write(), which does not know the name of the file.
        raise OSError(error.errno, error.strerror, str(path)) from error
