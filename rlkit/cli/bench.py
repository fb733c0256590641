"""`rlkit bench`: measures rlkit on this machine, side by side with its peers."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from tyro.conf import FlagCreatePairsOff, Positional

from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.cli.options import parse

Benchmark = Literal["boxing", "agents", "storage", "data-center"]
"""Each is a module of `rlkit.bench`, with _ for -."""


@dataclass(frozen=True)
class BenchOptions:
    """Run a benchmark, all contestants in turn in one process, and print a table.

    boxing: training speed beside Stable-Baselines3 and the emulator's own limit. agents: that of
    all algorithms, with and without memory. storage: memory of a replay, time of a checkpoint and
    of an import. data-center: the NumPy plant's year beside EnergyPlus's; minutes.
    """

    name: Positional[Benchmark]
    """Which benchmark."""
    minutes: float | None = None
    """Also train each contestant this long from scratch and evaluate it; boxing only."""
    output: Path | None = None
    """Write the raw numbers there too, as JSON."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


def run(arguments: Sequence[str]) -> int:
    """Measure as `arguments` say."""
    options = parse(BenchOptions, arguments, "bench")
    if options.output is not None and not options.output.parent.is_dir():
        # Found out before the measuring, which takes minutes.
        raise Mistake(f"--output: there is no folder {options.output.parent}")
    if options.minutes is not None and not options.minutes > 0:
        raise Mistake(f"--minutes must be more than 0, got {options.minutes}")
    module = import_module(f"rlkit.bench.{options.name.replace('-', '_')}")
    settings: dict[str, Any] = {
        "on_progress": lambda line: print(line, file=sys.stderr, flush=True)
    }
    if options.minutes is not None:
        if "minutes" not in inspect.signature(module.run_benchmark).parameters:
            raise Mistake(f"benchmark {options.name} trains nothing; leave out --minutes")
        settings["minutes"] = options.minutes
    with redirect_stdout(sys.stderr), blaming_user(ImportError):
        result = module.run_benchmark(**settings)
    if options.output is not None:
        options.output.write_text(json.dumps(result, indent=2) + "\n")
    if options.json:
        print(json.dumps(result))
    else:
        from rich.console import Console

        module.print_table(result, Console())
    return 0
