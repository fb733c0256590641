"""`rlkit autoencoder bench`: detectors of anomalies side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from tyro.conf import FlagCreatePairsOff

from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.cli.options import check_writable, parse


@dataclass(frozen=True)
class BenchOptions:
    """Compare detectors on telemetry of a data centre with faults, recorded anew for each seed, and
    on series that come with other packages. It takes some ten minutes a seed on one core."""

    seeds: int = 5
    """How many, counted from 0."""
    detectors: tuple[str, ...] = ()
    """Names of some detectors; all by default."""
    output: Path | None = None
    """File of JSON lines, one for each detector and seed, written as they come. One that is there
    already is gone on with."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


def run(arguments: Sequence[str]) -> int:
    """Compare as `arguments` say."""
    options = parse(BenchOptions, arguments, "autoencoder bench")
    if options.seeds < 1:
        raise Mistake(f"--seeds must be at least 1, got {options.seeds}")
    check_writable("--output", options.output, ".jsonl")
    from rlkit.autoencoder.anomalies.bench import (
        DETECTORS,
        BenchConfig,
        comparison_table,
        run_benchmark,
        summarise,
    )

    with blaming_user(ValueError):
        config = BenchConfig(tuple(range(options.seeds)), options.detectors or tuple(DETECTORS))
    console = Console(stderr=True)
    with blaming_user(ImportError):
        result = run_benchmark(
            config,
            done=_rows_in(options.output),
            on_row=lambda row: _append(options.output, row),
            on_progress=lambda line: console.print(line, highlight=False, soft_wrap=True),
        )
    if options.json:
        print(json.dumps({**result, "summary": summarise(result)}))
    else:
        Console().print(comparison_table(result))
    return 0


def _rows_in(file: Path | None) -> list[dict[str, Any]]:
    if file is None or not file.exists():
        return []
    try:
        return [json.loads(line) for line in file.read_text().splitlines()]
    except ValueError as error:
        raise Mistake(f"{file} does not hold a comparison in JSON lines: {error}") from error


def _append(file: Path | None, row: Mapping[str, Any]) -> None:
    if file is not None:
        with file.open("a") as lines:
            lines.write(json.dumps(row) + "\n")
