"""`rlkit gan sample`: examples that a generator makes, in a file of numbers and as pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import FlagCreatePairsOff, Positional

from rlkit.cli.gan_rows import write_examples
from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.cli.options import check_least, check_writable, parse


@dataclass(frozen=True)
class SampleOptions:
    """Write examples as arrays (.npz) and, of pictures, as a sheet (.png) beside."""

    file: Positional[Path]
    """As `rlkit gan train` wrote it."""
    output: Path = Path("samples.npz")
    """The file; an older one is replaced. One that ends in .png is the sheet alone."""
    count: int = 64
    """Examples."""
    label: int | None = None
    """Of all of them; by default labels are drawn as often as in the data."""
    truncation: float = 1.0
    """In (0, 1]: a factor on the latents; below 1, examples are more typical and less varied."""
    seed: int = 0
    """Of the latents and labels."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


def run(arguments: Sequence[str]) -> int:
    """Make examples as `arguments` say."""
    options = parse(SampleOptions, arguments, "gan sample")
    check_least(options, count=1, seed=0)
    output = options.output
    sheet_only = output.suffix.lower() == ".png"
    check_writable("--output", output, None if sheet_only else ".npz")
    import numpy as np

    from rlkit.gan.board import shown
    from rlkit.gan.gan_file import load_gan
    from rlkit.picture_sheet import sheet, write_png

    gan = load_gan(options.file)
    if sheet_only and len(gan.shape_) != 3:
        raise Mistake(f"{options.file} makes rows of numbers: name an --output that ends in .npz")
    count, seed, truncation = options.count, options.seed, options.truncation
    with blaming_user(ValueError):
        if gan.classes_ is None or options.label is not None:
            labels = None if options.label is None else np.full(count, options.label)
            made = gan.sample(count, labels, seed, truncation=truncation)
        else:
            made, labels = gan.sample_with_labels(count, seed, truncation=truncation)
    if not sheet_only:
        write_examples(output, made, labels, synthetic=np.ones(count, bool))
    picture = None
    if len(gan.shape_) == 3:
        picture = output.with_suffix(".png")
        write_png(picture, sheet(shown(made)))
    told = {
        "file": None if sheet_only else str(output),
        "shape": list(made.shape),
        "labels": None if labels is None else labels.tolist(),
        "picture": None if picture is None else str(picture),
    }
    if options.json:
        print(json.dumps(told))
    else:
        beside = "" if sheet_only or picture is None else f", shown in {picture}"
        print(f"{output}: {count} examples{beside}")
    return 0
