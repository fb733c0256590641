"""`rlkit autoencoder encode`: codes of observations as a file, and observations of codes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import FlagCreatePairsOff, Positional

from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.cli.options import check_writable, parse


@dataclass(frozen=True)
class EncodeOptions:
    """Write the codes of a file's observations, as the array "codes" of another one; or the other
    way round."""

    autoencoder: Positional[str]
    """The name of one that ships with rlkit, or its file."""
    input: Path
    """A NumPy archive (.npz) with an array "observations" (count, *shape), or with --decode an
    array "codes" (count, latents)."""
    output: Path
    """The archive to write."""
    floats: FlagCreatePairsOff[bool] = False
    """Codes in floats, not in bytes."""
    decode: FlagCreatePairsOff[bool] = False
    """Write the observations that codes stand for."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


def run(arguments: Sequence[str]) -> int:
    """Encode or decode as `arguments` say."""
    options = parse(EncodeOptions, arguments, "autoencoder encode")
    check_writable("--output", options.output, ".npz")
    from rlkit.autoencoder.autoencoder import find_autoencoder
    from rlkit.observations import read_array, write_array

    autoencoder = find_autoencoder(options.autoencoder)
    given, made = ("codes", "observations") if options.decode else ("observations", "codes")
    array = read_array(options.input, given)
    if options.decode and options.floats == (array.dtype == "uint8"):
        wanted = "without" if options.floats else "with"
        raise Mistake(f"{options.input} holds codes in {array.dtype}: decode it {wanted} --floats")
    with blaming_user(ValueError):
        if options.decode:
            decode = autoencoder.inverse_transform if options.floats else autoencoder.decode_bytes
            result = decode(array)
        else:
            encode = autoencoder.transform if options.floats else autoencoder.encode_bytes
            result = encode(array)
    write_array(options.output, made, result)
    told = {
        "file": str(options.output),
        "array": made,
        "count": len(result),
        "bytes_each": {given: array[:1].nbytes, made: result[:1].nbytes},
    }
    if options.json:
        print(json.dumps(told))
        return 0
    print(
        f"{options.output}: {len(result):,} {made} of {result[:1].nbytes:,} bytes each, from "
        f"{array[:1].nbytes:,}"
    )
    return 0
