"""`rlkit autoencoder bench`: detectors of anomalies side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from tyro.conf import FlagCreatePairsOff

from rlkit.cli.json_lines import append_line, read_lines
from rlkit.cli.mistakes import blaming_user
from rlkit.cli.options import check_least, check_writable, parse


@dataclass(frozen=True)
class BenchOptions:
    """Compare detectors on telemetry of a data centre with faults, recorded anew for each seed, and
    on series that come with other packages. It takes some ten minutes a seed on one core."""

    seeds: int = 5
    """How many, counted from 1: on seed 0 the detectors' settings were chosen."""
    detectors: tuple[str, ...] = ()
    """Names of some detectors; all by default."""
    output: Path | None = None
    """File of JSON lines, one for each detector and seed, written as they come. One that is there
    already is gone on with; its rows of other settings do not count."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


def run(arguments: Sequence[str]) -> int:
    """Compare as `arguments` say."""
    options = parse(BenchOptions, arguments, "autoencoder bench")
    check_least(options, seeds=1)
    check_writable("--output", options.output, ".jsonl")
    from rlkit.autoencoder.anomalies.bench import (
        DETECTORS,
        BenchConfig,
        comparison_table,
        run_benchmark,
        summarise,
    )

    with blaming_user(ValueError):
        config = BenchConfig(
            tuple(range(1, options.seeds + 1)), options.detectors or tuple(DETECTORS)
        )
    console = Console(stderr=True)
    with blaming_user(ImportError):
        result = run_benchmark(
            config,
            done=read_lines(options.output),
            on_row=lambda row: append_line(options.output, row),
            on_progress=lambda line: console.print(line, highlight=False, soft_wrap=True),
        )
    if options.json:
        print(json.dumps({**result, "summary": summarise(result)}))
    else:
        Console().print(comparison_table(result))
    return 0
