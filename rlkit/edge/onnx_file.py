"""Files of deployed policies: an ONNX model with a JSON header inside, checked by a hash.

The header is an entry "rlkit" of the model's metadata, the last field of the file; so any runtime
reads the file as it is. Its "sha256" is over the rest of the header and all bytes before it. A name
that ends in .xz means the same file compressed (LZMA). Needs Python alone, and runs nothing.
"""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlkit.reasons import reason_of
from rlkit.whole_files import whole_file

FORMAT_VERSION = 1
SUFFIXES = (".onnx", ".onnx.xz")
"""Of files, the second for compressed ones."""
EXECUTORCH_SUFFIX = ".pte"
"""Of programs for ExecuTorch, which are another format and have no header."""
OBSERVATIONS, SCORES = "observations", "scores"
"""Names of the model's input and output."""
SCORES_OF_VALUES, SCORES_OF_CHANCES, SCORES_OF_ACTIONS = "values", "chances", "actions"
"""What scores are: expected returns of actions, chances of success less one where it is marked, or
logits of actions or components of a continuous one."""
METADATA_KEY = "rlkit"
HEADER_PARTS = (
    *("architecture", "spaces", "environment", "preprocessing", "protocol", "provenance"),
    "deployment",
)
MOST_BYTES = 2**31
"""Of a model; larger ones are no ONNX in one file (protobuf's own limit)."""

_XZ = b"\xfd7zXZ\x00"
_METADATA_FIELD = 14  # metadata_props of ModelProto, a list of pairs of strings
_KEY_FIELD, _VALUE_FIELD = 1, 2
_NUMBER, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5  # protobuf's wire types


def state_names(parts: int, prefix: str = "") -> list[str]:
    """Names of the inputs that are parts of a state, or with "next_" before them of outputs."""
    return [f"{prefix}state{part}" for part in range(parts)]


class OnnxFileError(ValueError):
    """A file that holds no deployed policy. The message is one line and starts with the path."""


def write_onnx_file(path: Path, model: bytes, header: Mapping[str, Any]) -> None:
    """Write a model with its header, so that a crash never leaves a damaged file.

    header: JSON-able, with all of HEADER_PARTS; "format_version" and "sha256" are set here.
    Raises ValueError for a header that lacks a part or holds NaN or infinity, OSError where the
    file cannot be written.
    """
    missing = [part for part in HEADER_PARTS if part not in header]
    if missing:
        raise ValueError(f"the header of a deployed policy needs {', '.join(missing)}")
    plain = b"".join(
        model[start:end] for start, end, entry in _fields(model) if not _is_ours(entry)
    )
    stamped = json.loads(json.dumps({**header, "format_version": FORMAT_VERSION}, allow_nan=False))
    stamped["sha256"] = _digest(plain, stamped)
    content = plain + _metadata(json.dumps(stamped, sort_keys=True))
    if path.suffix == ".xz":
        content = lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)
    with whole_file(path) as beside:
        beside.write_bytes(content)


def read_onnx_file(path: Path) -> tuple[dict[str, Any], bytes]:
    """The header and the whole model, as a runtime takes it.

    Raises OnnxFileError where the file cannot be read, is damaged, is no ONNX model of ours, or was
    written by a newer version.
    """
    try:
        content = path.read_bytes()
        if content.startswith(_XZ):
            content = _decompressed(content)
        fields = list(_fields(content))
    except OSError as error:
        raise OnnxFileError(f"{path}: cannot be read: {reason_of(error)}") from error
    except (IndexError, ValueError, lzma.LZMAError, EOFError) as error:
        raise OnnxFileError(f"{path}: damaged, or no ONNX model") from error
    ours = [entry for _, _, entry in fields if entry is not None and _is_ours(entry)]
    if len(ours) != 1:
        raise OnnxFileError(
            f"{path}: an ONNX model without rlkit's header; write it by `rlkit edge export`"
            if fields
            else f"{path}: empty"
        )
    try:
        header = json.loads(ours[0][1])
        version, digest = header["format_version"], header["sha256"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise OnnxFileError(f"{path}: damaged: its header is not JSON of ours") from error
    if type(version) is not int or version < 1:
        raise OnnxFileError(f"{path}: damaged: its header has no format version")
    if version > FORMAT_VERSION:
        raise OnnxFileError(
            f"{path}: written by a newer rlkit (format {version}, this one reads up to "
            f"{FORMAT_VERSION}); upgrade rlkit to use it"
        )
    plain = b"".join(content[start:end] for start, end, entry in fields if not _is_ours(entry))
    if digest != _digest(plain, header):
        raise OnnxFileError(f"{path}: damaged: its content does not match its checksum")
    missing = [part for part in HEADER_PARTS if part not in header]
    if missing:
        raise OnnxFileError(f"{path}: damaged: its header lacks {', '.join(missing)}")
    return header, content


def _digest(plain: bytes, header: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in header.items() if name != "sha256"}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    digest.update(plain)
    return digest.hexdigest()


def _decompressed(content: bytes) -> bytes:
    """Raises ValueError for what is cut off or would fill the memory."""
    decompressor = lzma.LZMADecompressor()
    plain = decompressor.decompress(content, MOST_BYTES)
    if not decompressor.eof:
        raise ValueError("cut off, or too large")
    return plain


_Entry = tuple[bytes, bytes] | None
"""Key and value of an entry of the metadata; None for other fields."""


def _is_ours(entry: _Entry) -> bool:
    return entry is not None and entry[0] == METADATA_KEY.encode()


def _fields(message: bytes) -> Iterator[tuple[int, int, _Entry]]:
    """Where each of a model's fields begins and ends, and what it says where that is metadata.

    Raises IndexError or ValueError where the bytes are no protobuf message.
    """
    for start, content, end, field, kind in _walk(message):
        entry = None
        if field == _METADATA_FIELD and kind == _BYTES:
            pair = {number: message_part for number, message_part in _strings(message[content:end])}
            entry = pair.get(_KEY_FIELD, b""), pair.get(_VALUE_FIELD, b"")
        yield start, end, entry


def _strings(message: bytes) -> Iterator[tuple[int, bytes]]:
    for _, content, end, field, kind in _walk(message):
        if kind == _BYTES:
            yield field, message[content:end]


def _walk(message: bytes) -> Iterator[tuple[int, int, int, int, int]]:
    """Start, start of the content, end, number and wire type of each field."""
    at = 0
    while at < len(message):
        start = at
        tag, at = _number(message, at)
        field, kind = tag >> 3, tag & 7
        if kind == _NUMBER:
            content, at = at, _number(message, at)[1]
        elif kind == _BYTES:
            length, content = _number(message, at)
            at = content + length
        elif kind in (_FIXED_32, _FIXED_64):
            content, at = at, at + (4 if kind == _FIXED_32 else 8)
        else:
            raise ValueError(f"no wire type {kind}")
        if field == 0 or at > len(message):
            raise ValueError("not a protobuf message")
        yield start, content, at, field, kind


def _number(message: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, least first, and where it ends."""
    value, shift = 0, 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number that never ends")


def _metadata(value: str) -> bytes:
    """The field of a model's metadata with our header."""
    entry = _string(_KEY_FIELD, METADATA_KEY.encode()) + _string(_VALUE_FIELD, value.encode())
    return _string(_METADATA_FIELD, entry)


def _string(field: int, content: bytes) -> bytes:
    return _written(field << 3 | _BYTES) + _written(len(content)) + content


def _written(value: int) -> bytes:
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
