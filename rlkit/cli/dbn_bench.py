"""`rlkit dbn bench`: machines and stacks beside other libraries, settings and starts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.table import Table
from tyro.conf import FlagCreatePairsOff, Positional

from rlkit.cli.json_lines import append_line, read_lines
from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.cli.options import check_least, check_writable, parse

if TYPE_CHECKING:
    import numpy as np

Benchmark = Literal["speed", "likelihood", "labels", "initialisation"]


@dataclass(frozen=True)
class BenchOptions:
    """Measure on 5,000 handwritten digits (needs the extra digits) and print a table.

    speed: training beside scikit-learn's machine, in turns, and the likelihood that both reach in
    the same time. likelihood: of held-out digits after CD-1, CD-25 and persistent chains. labels:
    networks from a stack, and others, where few digits have labels. initialisation: a deep network
    from different first weights.
    """

    name: Positional[Benchmark]
    """Which benchmark."""
    seeds: int = 5
    """How many, counted from 0; of speed, rounds."""
    threads: int = 1
    """Of PyTorch, and of both libraries for speed."""
    output: Path | None = None
    """File of JSON lines, one for each measurement, written as they come (of speed, at the end).
    One that is there already is gone on with."""
    plot: Path | None = None
    """Only for initialisation: draw gradients there, and losses beside it, as SVG."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


def run(arguments: Sequence[str]) -> int:
    """Measure as `arguments` say."""
    options = parse(BenchOptions, arguments, "dbn bench")
    check_least(options, seeds=1, threads=1)
    check_writable("--output", options.output, ".jsonl")
    check_writable("--plot", options.plot, ".svg")
    if options.plot is not None and options.name != "initialisation":
        raise Mistake(f"--plot is only for initialisation, and this is {options.name}")
    from rlkit.torch_threads import torch_threads

    measure = {
        "speed": _speed,
        "likelihood": _likelihood,
        "labels": _labels,
        "initialisation": _initialisation,
    }[options.name]
    with blaming_user(ImportError), torch_threads(options.threads):
        result, table = measure(options)
    if options.json:
        print(json.dumps(result))
    else:
        Console().print(table)
    return 0


def _speed(options: BenchOptions) -> tuple[dict[str, Any], Table]:
    from rlkit.dbn.bench import bench_likelihood, bench_speed

    result = bench_speed(threads=options.threads, rounds=options.seeds)
    rows, _ = _digits(binary=True)
    result["equal_time"] = bench_likelihood(rows[1000:], rows[:1000], batch_size=10, epochs=5)
    append_line(options.output, result)
    threads = f"{options.threads} thread{'s' * (options.threads > 1)}"
    table = _table(f"one epoch of 5,000 x 784, 500 hidden units, {threads}", "batch")
    _columns(table, "rlkit, s", "in bfloat16, s", "scikit-learn, s", "times faster", "in bfloat16")
    for row in result["rows"]:
        names = ("rlkit", "rlkit_bfloat16", "sklearn")
        seconds = (f"{row[f'{name}_seconds']:.2f}" for name in names)
        ratios = (f"{row[f'{name}times_faster']:.2f}" for name in ("", "bfloat16_"))
        table.add_row(f"{row['batch_size']}", *seconds, *ratios)
    reached = (f"{name} {result['equal_time'][name]['nats']:.1f}" for name in ("rlkit", "sklearn"))
    table.caption = f"held-out nats in equal time: {', '.join(reached)}"
    return result, table


def _likelihood(options: BenchOptions) -> tuple[dict[str, Any], Table]:
    from rlkit.dbn.negative_phases import NegativePhasesConfig, compare, summarise

    rows, _ = _digits(binary=True)
    result = compare(
        NegativePhasesConfig(seeds=tuple(range(options.seeds))),
        rows,
        done=read_lines(options.output),
        on_row=_reporting(options.output, "phase", "nats"),
    )
    result["summary"] = summarise(result["rows"])
    table = _table("mean log-likelihood of 1,000 digits, 4,000 learnt from", "trained by")
    _columns(table, "held out, nats", "learnt, nats", "seconds")
    for row in result["summary"]:
        cells = (_cell(row[name]) for name in ("nats", "learnt_nats", "seconds"))
        table.add_row(row["phase"], *cells)
    return result, table


def _labels(options: BenchOptions) -> tuple[dict[str, Any], Table]:
    from rlkit.dbn.few_labels import FewLabelsConfig, compare, summarise

    result = compare(
        FewLabelsConfig(seeds=tuple(range(options.seeds))),
        *_digits(binary=False),
        done=read_lines(options.output),
        on_row=_reporting(options.output, "contestant", "labels", "accuracy"),
    )
    result["summary"] = summarise(result["rows"])
    table = _table("held-out digits told right", "start")
    _columns(table, "labels", "right, %", "behind the DBN, points")
    for row in result["summary"]:
        cells = (_cell(row[name], 100.0) for name in ("accuracy", "behind"))
        table.add_row(row["contestant"], f"{row['labels']:,}", *cells)
    return result, table


def _initialisation(options: BenchOptions) -> tuple[dict[str, Any], Table]:
    from rlkit.dbn.initialisation_tour import (
        TourConfig,
        draw_gradients,
        draw_losses,
        summarise,
        tour,
    )

    rows, labels = _digits(binary=False)
    config = TourConfig(seeds=tuple(range(options.seeds)))
    result = tour(
        config,
        (rows[1000:], labels[1000:]),
        (rows[:1000], labels[:1000]),
        done=read_lines(options.output),
        on_row=_reporting(options.output, "start", *config.learning_rates),
    )
    result["summary"] = summarise(result["rows"], config)
    if options.plot is not None:
        options.plot.write_text(draw_gradients(result))
        for optimizer in config.learning_rates:
            beside = options.plot.with_stem(f"{options.plot.stem}-{optimizer}")
            beside.write_text(draw_losses(result, optimizer))
    table = _table(f"networks of {config.hidden_layers} hidden layers", "start")
    _columns(table, "gradient, lowest layer", "head")
    _columns(table, *(f"{optimizer}, right, %" for optimizer in config.learning_rates))
    for row in result["summary"]:
        norms = (f"{row[name]:.1e}" for name in ("lowest_gradient", "head_gradient"))
        cells = (_cell(row[optimizer], 100.0) for optimizer in config.learning_rates)
        table.add_row(row["start"], *norms, *cells)
    return result, table


def _digits(binary: bool) -> tuple[np.ndarray, np.ndarray]:
    """Rows (5000, 784) float32 in [0, 1], or zeros and ones, and labels, in a random order."""
    import numpy as np

    from rlkit.digits import load_digits

    images, labels = load_digits()
    order = np.random.default_rng(0).permutation(len(images))
    rows = images[order].reshape(len(images), -1).astype(np.float32) / np.float32(255.0)
    return (rows > 0.5).astype(np.float32) if binary else rows, labels[order]


def _reporting(file: Path | None, *names: str) -> Callable[[Mapping[str, Any]], None]:
    """What keeps a row in `file`, and prints its entries of these names."""
    console = Console(stderr=True)

    def report(row: Mapping[str, Any]) -> None:
        append_line(file, row)
        told = ", ".join(f"{name} {_short(row[name])}" for name in names)
        console.print(f"seed {row['seed']}: {told}", highlight=False, soft_wrap=True)

    return report


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return _short(value["accuracy"])
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(title: str, first: str) -> Table:
    table = Table(title=title)
    table.add_column(first)
    return table


def _columns(table: Table, *titles: str) -> None:
    for title in titles:
        table.add_column(title, justify="right")


def _cell(told: tuple[float | None, float | None], scale: float = 1.0) -> str:
    """A mean and half its interval."""
    mean, half = told
    if mean is None:
        return ""
    return f"{scale * mean:.1f}" + ("" if half is None else f" +- {scale * half:.1f}")
