"""`rlkit gan bench losses`: losses and penalties side by side on handwritten digits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from tyro.conf import FlagCreatePairsOff

from rlkit.cli.epoch_bar import EpochBar
from rlkit.cli.gan_rows import read_material
from rlkit.cli.json_lines import append_line, read_lines
from rlkit.cli.mistakes import blaming_user
from rlkit.cli.options import check_least, check_writable, parse
from rlkit.cli.sources import DIGITS
from rlkit.observations import PlayConfig
from rlkit.plain_json import finite

if TYPE_CHECKING:
    from rlkit.gan.monitoring import EpochRecord

_ROWS = {
    "fid": "Fréchet",
    "kid": "kernel",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "two_sample_accuracy": "told apart",
    "least_class_ratio": "rarest class",
    "conditional_accuracy": "labels right",
}


@dataclass(frozen=True)
class BenchOptions:
    """Train on 2,500 of 5,000 handwritten digits, judge by the others, and print tables. Needs the
    extras digits and gan.

    The relativistic loss with R1 and R2, the original one with and without them, and hinge with
    spectral norm. Collapses are counted; samples are judged with and without truncation.
    """

    seeds: int = 5
    """How many, counted from 0; each cuts the digits and draws first weights anew."""
    epochs: int = 100
    """Passes over the digits for each contestant and seed."""
    threads: int = 1
    """Of PyTorch."""
    output: Path | None = None
    """File of JSON lines, one for each measurement, written as they come. One that is there already
    is gone on with; what it has of another number of epochs is left out."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


def run(arguments: Sequence[str]) -> int:
    """Measure as `arguments` say."""
    options = parse(BenchOptions, arguments, "gan bench losses")
    check_least(options, seeds=1, epochs=1, threads=1)
    check_writable("--output", options.output, ".jsonl")
    from rlkit.gan.configuration import GANConfig
    from rlkit.gan.loss_comparison import LossComparisonConfig, compare, summarise
    from rlkit.torch_threads import torch_threads

    console = Console(stderr=True)
    config = LossComparisonConfig(
        GANConfig(epochs=options.epochs), seeds=tuple(range(options.seeds))
    )
    done = read_lines(options.output)
    digits = read_material(DIGITS, PlayConfig(), console)
    assert digits.labels is not None

    def report(row: Mapping[str, Any]) -> None:
        append_line(options.output, finite(row))
        console.print(_line(row), highlight=False, soft_wrap=True)

    bar = EpochBar(console, options.epochs)

    def show(contestant: str, seed: int, record: EpochRecord) -> None:
        if console.is_terminal:  # elsewhere thousands of lines would tell little
            bar.show(record.epoch, f"seed {seed}: {contestant}")

    with blaming_user(ImportError), torch_threads(options.threads), bar:
        result = compare(
            config, digits.data, digits.labels, done=done, on_row=report, on_epoch=show
        )
    result["summary"] = summarise(result["rows"])
    if options.json:
        print(json.dumps(finite(result)))
    else:
        for table in _tables(result["summary"], options.epochs):
            Console().print(table)
    return 0


def _line(row: Mapping[str, Any]) -> str:
    """A measurement in words."""
    about = f"seed {row['seed']}: {row['contestant']}, truncation {row['truncation']:g}"
    stopped = "" if row["stopped"] is None else f", {row['stopped']}"
    if row["quality"] is None:
        return f"{about}: nothing to judge{stopped}"
    fid, gate = row["quality"]["fid"], "passes" if row["passed"] else "does not pass"
    return (
        f"{about}: Fréchet {fid['generated']['mean']:.3g} (real {fid['floor']['mean']:.3g}),"
        f" {gate}, {row['seconds']:.0f} s{stopped}"
    )


def _tables(summary: Sequence[Mapping[str, Any]], epochs: int) -> Iterator[Table]:
    """A table for each truncation, with a column for each loss."""
    for truncation in dict.fromkeys(row["truncation"] for row in summary):
        losses = [row for row in summary if row["truncation"] == truncation]
        table = Table(
            title=f"digits after {epochs:,} epochs, truncation {truncation:g}",
            caption="means over seeds +- 95 % interval; stopped: collapsed or diverged",
        )
        table.add_column("")
        for title in (*(row["contestant"] for row in losses), "real digits"):
            table.add_column(title, justify="right")
        for name in ("stopped", "passed"):
            title = {"stopped": "stopped early", "passed": "passed the gate"}[name]
            table.add_row(title, *(f"{row[name]} of {row['seeds']}" for row in losses))
        for name, title in _ROWS.items():
            floor = next((row[name]["floor"] for row in losses if row[name]["floor"]), None)
            table.add_row(
                title, *(_cell(row[name]["generated"], 2) for row in losses), _cell(floor, 2)
            )
        table.add_row("seconds", *(_cell(row["seconds"], 0) for row in losses))
        yield table


def _cell(told: tuple[float, float | None] | None, digits: int) -> str:
    """A mean and half its interval."""
    if told is None:
        return ""
    mean, half = told
    return f"{mean:.{digits}f}" + ("" if half is None else f" +- {half:.{digits}f}")
