"""`rlkit dbn sample`: what a machine or a stack dreams of, in a file of numbers and as pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import FlagCreatePairsOff, Positional

from rlkit.cli.options import check_least, check_writable, parse

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class SampleOptions:
    """Write dreams as an array "observations" (.npz) and, of pictures, as a sheet (.png) beside."""

    file: Positional[Path]
    """As `rlkit dbn train` or `pretrain` wrote it."""
    output: Path = Path("dreams.npz")
    """The file, ending in .npz; an older one is replaced."""
    count: int = 64
    """Dreams, each from a chain of its own."""
    steps: int = 1_000
    """Gibbs steps of the top machine for each."""
    states: FlagCreatePairsOff[bool] = False
    """Draw the lowest units' states, which are noisy, instead of giving their means."""
    seed: int = 0
    """Of the chains."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


def run(arguments: Sequence[str]) -> int:
    """Dream as `arguments` say."""
    options = parse(SampleOptions, arguments, "dbn sample")
    check_least(options, count=1, steps=0, seed=0)
    check_writable("--output", options.output, ".npz")
    from rlkit.dbn.pictures import picture_shape
    from rlkit.dbn.quality import stack_of
    from rlkit.dbn.rbm_file import load, read_provenance
    from rlkit.observations import write_array
    from rlkit.picture_sheet import sheet, stretched, write_png

    stack = stack_of(load(options.file))
    dreams = stack.sample(
        options.count, steps=options.steps, means=not options.states, seed=options.seed
    )
    dreams = _shaped(dreams, read_provenance(options.file).get("shape"))
    write_array(options.output, "observations", dreams)
    told = {"file": str(options.output), "shape": list(dreams.shape), "picture": None}
    shape = picture_shape(dreams.shape[1:])
    if shape is not None:
        pictures = dreams.reshape(-1, 1, *shape)
        if stack.config.layers[0].visible == "gaussian":
            pictures = stretched(pictures)
        picture = options.output.with_suffix(".png")
        write_png(picture, sheet(pictures, gap=1))
        told["picture"] = str(picture)
    if options.json:
        print(json.dumps(told))
    else:
        beside = "" if told["picture"] is None else f", shown in {told['picture']}"
        print(f"{options.output}: {len(dreams)} dreams{beside}")
    return 0


def _shaped(dreams: np.ndarray, shape: object) -> np.ndarray:
    """Dreams (count, *shape) where the file says a shape that fits them."""
    if not isinstance(shape, list) or not all(type(axis) is int and axis > 0 for axis in shape):
        return dreams
    fits = math.prod(shape) == dreams.shape[1]
    return dreams.reshape(-1, *shape) if fits else dreams
