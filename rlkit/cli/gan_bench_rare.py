"""`rlkit gan bench rare`: a classifier of rare classes with and without a generator."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from tyro.conf import FlagCreatePairsOff, Positional

from rlkit.cli.json_lines import append_line, read_lines
from rlkit.cli.mistakes import blaming_user
from rlkit.cli.options import check_least, check_writable, parse
from rlkit.cli.warning_lines import told_warnings
from rlkit.gan.configuration import GANConfig
from rlkit.gan.rare_generation import FEW_ROWS

_TITLES = {
    "balanced_accuracy": "balanced accuracy",
    "rare_recall": "recall of rare classes",
    "macro_f1": "macro F1",
}


@dataclass(frozen=True)
class BenchOptions:
    """Cut the rare classes of a file down to few examples, teach a classifier by each method, and
    measure on what nobody learnt from. Needs the extra gan.

    Methods: plain, class weights, oversampled, augmented (class weights, and classical changes of
    every batch), and class weights with generated rows of the rare classes, augmented too or not:
    where the gate lets them pass, and, to know what it prevents, whatever it says.
    """

    file: Positional[Path]
    """Labelled examples (.npz), such as `rlkit gan record` writes."""
    rare: tuple[str, ...] = ()
    """Names of the rare classes; by default all but the largest."""
    leave_out: tuple[str, ...] = ()
    """Names of classes that are left out, such as those of a handful of examples in all."""
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
    generator_steps: int = 3_000
    """Of the generator."""
    gan: GANConfig = FEW_ROWS
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
    check_least(options, seeds=1, threads=1)
    check_writable("--output", options.output, ".jsonl")
    from rlkit.gan.labelled_rows import read_labelled_rows
    from rlkit.gan.rare_classes import GENERATED, compare, summarise
    from rlkit.torch_threads import torch_threads

    console = Console(stderr=True)
    done = read_lines(options.output)
    rows = read_labelled_rows(options.file)

    def report(row: Mapping[str, Any]) -> None:
        append_line(options.output, row)
        console.print(
            _line(row, row["method"] == next(iter(GENERATED))),
            highlight=False,
            markup=False,
            soft_wrap=True,
        )

    with (
        blaming_user(ImportError, ValueError),
        told_warnings(console),
        torch_threads(options.threads),
    ):
        rows = rows.without(options.leave_out)
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


def _line(row: Mapping[str, Any], tell_gate: bool) -> str:
    """A measurement in words, with what the gate says where that is asked for."""
    reached = ", ".join(f"{title} {100 * row[name]:.1f} %" for name, title in _TITLES.items())
    about = f"seed {row['seed']}, {row['examples']} examples, {row['method']}: {reached}"
    gate = f"; {'; '.join(row['reasons'])}" if tell_gate and row["reasons"] else ""
    return f"{about}, {row['synthetic_share']:.0%} generated{gate}"


def _tables(summary: Sequence[Mapping[str, Any]], file: str) -> Iterator[Table]:
    """A table for each metric, with a line for each method."""
    numbers = list(dict.fromkeys(row["examples"] for row in summary))
    methods = list(dict.fromkeys(row["method"] for row in summary))
    of = {(row["method"], row["examples"]): row for row in summary}
    for metric, title in _TITLES.items():
        table = Table(
            title=f"{file}: {title}, %",
            caption="means over seeds +- 95 % interval; below, points beyond the best of class"
            " weights, oversampling and augmentation",
        )
        table.add_column("method, examples of each rare class", no_wrap=False)
        for number in numbers:
            table.add_column(f"{number:,}", justify="right", no_wrap=True)
        for method in methods:
            rows = [of.get((method, number)) for number in numbers]
            table.add_row(method, *("" if row is None else _cell(row[metric]) for row in rows))
        yield table
    gate = Table(title="generators", caption="rows learnt from that were generated, of all")
    gate.add_column("examples of each rare class")
    for number in numbers:
        gate.add_column(f"{number:,}", justify="right", no_wrap=True)
    for method in methods:
        rows = [of.get((method, number)) for number in numbers]
        if any(row is not None and row["admitted"] is not None for row in rows):
            gate.add_row(f"{method}: passed", *(_passed(row) for row in rows))
            gate.add_row(f"{method}: share", *(_share(row) for row in rows))
    if gate.row_count:
        yield gate


def _cell(told: Mapping[str, Any]) -> str:
    """A mean, half its interval, and below it the difference to the best classical method."""
    beyond = told["beyond_classical"]
    return _plus_minus(told["reached"]) + (
        "" if beyond is None else f"\n{_plus_minus(beyond, '+')}"
    )


def _passed(row: Mapping[str, Any] | None) -> str:
    return "" if row is None else f"{row['admitted']} of {row['seeds']} seeds"


def _share(row: Mapping[str, Any] | None) -> str:
    return "" if row is None else f"{row['synthetic_share'][0]:.0%}"


def _plus_minus(told: tuple[float, float | None], sign: str = "") -> str:
    mean, half = told
    return f"{100 * mean:{sign}.1f}" + ("" if half is None else f" +- {100 * half:.1f}")
