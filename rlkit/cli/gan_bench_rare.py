"""`rlkit gan bench rare`: a classifier of rare classes with and without a generator."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from tyro.conf import FlagCreatePairsOff, Positional

from rlkit.cli.json_lines import append_line, read_lines
from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.cli.options import check_writable, parse
from rlkit.cli.warning_lines import told_warnings
from rlkit.gan.configuration import GANConfig

_TITLES = {
    "balanced_accuracy": "balanced accuracy",
    "rare_recall": "recall of rare classes",
    "macro_f1": "macro F1",
}


@dataclass(frozen=True)
class BenchOptions:
    """Cut the rare classes of a file down to few examples, teach a classifier by each method, and
    measure on what nobody learnt from. Needs the extra gan.

    Methods: plain, class weights, oversampled, augmented (oversampled, then changed by classical
    augmentation), and the latter two with generated rows of the rare classes: where the gate lets
    them pass, and, to know what it prevents, whatever it says.
    """

    file: Positional[Path]
    """Labelled examples (.npz), such as `rlkit gan record` writes."""
    rare: tuple[str, ...] = ()
    """Names of the rare classes; by default all but the largest."""
    examples: tuple[int, ...] = (20, 50, 200)
    """Of each rare class that may be learnt from; the benchmark is run with each number."""
    seeds: int = 5
    """How many, counted from 0; each divides the file, chooses examples and draws weights anew."""
    classifier_steps: int = 600
    """Of the classifier, by whatever method."""
    augmentations: tuple[str, ...] = ("flip", "turn", "shift:1")
    """Classical changes of pictures, by their short names. The default suits what is seen from
    above: name others where left is not right."""
    row_noise: float = 0.3
    """Classical change of rows: standard deviation of noise, in standard deviations of the
    column."""
    row_scaling: float = 0.1
    """Classical change of rows: standard deviation of the factor that stretches a row."""
    generator_steps: int = 2_000
    """Of the generator."""
    gan: GANConfig = field(default_factory=GANConfig)
    """The generator. Its epochs follow from its steps; its seed is the benchmark's."""
    max_share: float = 0.25
    """Of generated rows among all that the classifier learns from, at most."""
    threads: int = 1
    """Of PyTorch."""
    output: Path | None = None
    """File of JSON lines, one for each measurement, written as they come. One that is there already
    is gone on with; what it has of other data or settings is left out."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


def run(arguments: Sequence[str]) -> int:
    """Measure as `arguments` say."""
    options = parse(BenchOptions, arguments, "gan bench rare")
    for name in ("seeds", "threads"):
        if getattr(options, name) < 1:
            raise Mistake(f"--{name} must be at least 1, got {getattr(options, name)}")
    check_writable("--output", options.output, ".jsonl")
    from rlkit.gan.labelled_rows import read_labelled_rows
    from rlkit.gan.rare_classes import compare, summarise
    from rlkit.torch_threads import torch_threads

    console = Console(stderr=True)
    done = read_lines(options.output)
    rows = read_labelled_rows(options.file)

    def report(row: Mapping[str, Any]) -> None:
        append_line(options.output, row)
        console.print(_line(row), highlight=False, markup=False, soft_wrap=True)

    with (
        blaming_user(ImportError, ValueError),
        told_warnings(console),
        torch_threads(options.threads),
    ):
        result = compare(_config(options), rows, done=done, on_row=report)
    result["summary"] = summarise(result["rows"])
    if options.json:
        print(json.dumps(result))
        return 0
    for table in _tables(result["summary"], options.file.name):
        Console().print(table)
    return 0


def _config(options: BenchOptions) -> Any:
    from rlkit.gan.balanced_classifier import BalancedClassifierConfig
    from rlkit.gan.rare_classes import RareClassesConfig
    from rlkit.gan.rare_generation import RareGenerationConfig

    return RareClassesConfig(
        rare=options.rare,
        examples=options.examples,
        seeds=tuple(range(options.seeds)),
        classifier=BalancedClassifierConfig(steps=options.classifier_steps),
        augmentations=options.augmentations,
        row_noise=options.row_noise,
        row_scaling=options.row_scaling,
        generation=RareGenerationConfig(gan=options.gan, steps=options.generator_steps),
        max_share=options.max_share,
    )


def _line(row: Mapping[str, Any]) -> str:
    """A measurement in words."""
    reached = ", ".join(f"{title} {100 * row[name]:.1f} %" for name, title in _TITLES.items())
    about = f"seed {row['seed']}, {row['examples']} examples, {row['method']}: {reached}"
    gate = f"; {'; '.join(row['reasons'])}" if row.get("reasons") else ""
    return f"{about}, {row['synthetic_share']:.0%} generated{gate}"


def _tables(summary: Sequence[Mapping[str, Any]], file: str) -> Iterator[Table]:
    """A table for each number of examples, with a line for each method."""
    for examples in dict.fromkeys(row["examples"] for row in summary):
        of_number = [row for row in summary if row["examples"] == examples]
        best = ", ".join(
            f"{title}: {of_number[0][name]['best_classical']}" for name, title in _TITLES.items()
        )
        table = Table(
            title=f"{file}, {examples:,} examples of each rare class: per cent over seeds, +- 95 %"
            " interval; in brackets, points beyond the best classical method",
            caption=f"best classical by {best}; admitted: seeds whose generator passed the gate",
        )
        table.add_column("method")
        for title in (*_TITLES.values(), "generated", "admitted"):
            table.add_column(title, justify="right")
        for row in of_number:
            cells = (_cell(row[name]) for name in _TITLES)
            admitted = "" if row["admitted"] is None else f"{row['admitted']} of {row['seeds']}"
            table.add_row(row["method"], *cells, f"{row['synthetic_share'][0]:.0%}", admitted)
        yield table


def _cell(told: Mapping[str, Any]) -> str:
    """A mean, half its interval, and the difference to the best classical method."""
    beyond = told["beyond_classical"]
    more = "" if beyond is None else f" ({_plus_minus(beyond, '+')})"
    return f"{_plus_minus(told['reached'])}{more}"


def _plus_minus(told: tuple[float, float | None], sign: str = "") -> str:
    mean, half = told
    return f"{100 * mean:{sign}.1f}" + ("" if half is None else f" +- {100 * half:.1f}")
