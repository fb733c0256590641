"""`rlkit dbn evaluate`: how likely rows are to a machine, and how well it reconstructs them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import FlagCreatePairsOff, Positional

from rlkit.cli.dbn_rows import binarised, print_quality, read_rows
from rlkit.cli.mistakes import blaming_user
from rlkit.cli.options import parse

if TYPE_CHECKING:
    import numpy as np

    from rlkit.dbn.quality import Likelihood


@dataclass(frozen=True)
class EvaluateOptions:
    """Measure a machine or a stack on rows, best on such that it has not learned from."""

    file: Positional[Path]
    """As `rlkit dbn train` or `pretrain` wrote it."""
    data: Positional[str]
    """A file of rows (.npz), or mnist for handwritten digits."""
    learnt: str | None = None
    """Rows that it has learned from, named likewise, to tell the gap in free energy."""
    binarise: FlagCreatePairsOff[bool] = False
    """Take 1 for numbers of at least 0.5 (bytes: 127.5) and 0 for others."""
    chains: int = 100
    """Of annealed importance sampling, where the machine is too large to go through."""
    temperatures: int = 1_000
    """Of annealed importance sampling; ten times as many take ten times as long."""
    seed: int = 0
    """Of what is drawn."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


def run(arguments: Sequence[str]) -> int:
    """Measure as `arguments` say."""
    options = parse(EvaluateOptions, arguments, "dbn evaluate")
    from rlkit.dbn.quality import likelihood, measure, stack_of
    from rlkit.dbn.rbm_file import load

    stack = stack_of(load(options.file))
    rows = _rows(options.data, options.binarise)
    learnt = None if options.learnt is None else _rows(options.learnt, options.binarise)
    with blaming_user(ValueError):
        quality = measure(stack, rows, learnt)
        likely = likelihood(
            stack,
            rows,
            chains=options.chains,
            temperatures=options.temperatures,
            seed=options.seed,
        )
    if options.json:
        told = {"likelihood": likely.to_json(), "quality": quality.to_json()}
        print(json.dumps({"file": str(options.file), "data": options.data, **told}))
        return 0
    print(f"{options.file}, on {quality.rows:,} rows")
    print(_likelihood_line(likely))
    print_quality(quality)
    return 0


def _rows(source: str, binarise: bool) -> np.ndarray:
    from rlkit.dbn.rows import flat_rows

    observations = read_rows(source)
    with blaming_user(ValueError):
        return flat_rows(binarised(observations) if binarise else observations)


def _likelihood_line(likely: Likelihood) -> str:
    kind = "at least " if likely.is_bound else ""
    partition = likely.partition
    how = "partition function exact"
    if not partition.exact:
        how = (
            f"partition function within {partition.standard_error:.2g} nats by"
            f" {partition.effective_chains:.0f} effective chains"
        )
    line = (
        f"  log-likelihood: {kind}{likely.nats:.2f} nats a row +- {likely.standard_error:.2g}"
        f" ({how}; independent units {likely.independent_nats:.2f})"
    )
    if not likely.states:
        line += "\n  the rows hold numbers between 0 and 1, which are chances: see --binarise"
    return line
