"""`rlkit bench`: measures rlkit on this machine, side by side with its peers."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field, fields
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional

from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.cli.options import check_least, check_writable, is_named, parse

Benchmark = Literal["boxing", "agents", "storage", "data-center", "bin-picking", "robustness"]
"""Each is a module of `rlkit.bench`, with _ for -."""


@dataclass(frozen=True)
class DataCenterBenchOptions:
    """Only for data-center."""

    days: int = 365
    """Length of the comparison, 1 to 365."""
    first_day: int = 0
    """Where it begins, 0 for 1 January to 364."""
    weather: str = "Chicago"
    """Place whose typical year the extra energyplus carries, such as Miami."""
    load: str = "diurnal"
    """What the servers do: diurnal, batch, bursty or step."""
    plot: Path | None = None
    """Draw there, as SVG, the comparison whose set points jump."""


@dataclass(frozen=True)
class BinPickingBenchOptions:
    """Only for bin-picking."""

    attempts: int = 1_000
    """Picks after each of which it is looked how deep parts sink into each other, at least 1."""
    tier: str = "mixed"
    """Of the bins for this, or all for one drawn anew for each."""


@dataclass(frozen=True)
class RobustnessBenchOptions:
    """Only for robustness."""

    policies: tuple[str, ...] = ()
    """What is compared, as `rlkit evaluate` takes it: policies of Atari games. The first is what
    others are held against."""
    corruptions: tuple[str, ...] = ()
    """Of what is seen, as `rlkit evaluate --corruption` takes one; by default all that no recipe
    trains on."""
    episodes: int = 100
    """Of each policy under each corruption, at least 1."""


@dataclass(frozen=True)
class BenchOptions:
    """Run a benchmark, all contestants in turn in one process, and print a table.

    boxing: training speed beside Stable-Baselines3 and the emulator's own limit. agents: that of
    all algorithms, with and without memory. storage: memory of a replay, time of a checkpoint and
    of an import. data-center: the NumPy plant's year beside EnergyPlus's; minutes.
    bin-picking: attempts a second on one core, and how well the physics holds. robustness: what
    a corrupted camera costs policies.
    """

    name: Positional[Benchmark]
    """Which benchmark."""
    minutes: float | None = None
    """Also train from scratch: each contestant of boxing this long, with an evaluation; bin-picking
    until nine in ten attempts succeed, but no longer."""
    output: Path | None = None
    """Write the raw numbers there too, as JSON."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""
    data_center: OmitArgPrefixes[DataCenterBenchOptions] = field(
        default_factory=DataCenterBenchOptions
    )
    """For that benchmark alone."""
    bin_picking: OmitArgPrefixes[BinPickingBenchOptions] = field(
        default_factory=BinPickingBenchOptions
    )
    """For that benchmark alone."""
    robustness: OmitArgPrefixes[RobustnessBenchOptions] = field(
        default_factory=RobustnessBenchOptions
    )
    """For that benchmark alone."""


_OWN = {
    "data-center": DataCenterBenchOptions,
    "bin-picking": BinPickingBenchOptions,
    "robustness": RobustnessBenchOptions,
}
"""Benchmark -> the options that only it has."""


def run(arguments: Sequence[str]) -> int:
    """Measure as `arguments` say."""
    options = parse(BenchOptions, arguments, "bench")
    check_writable("--output", options.output)
    check_writable("--plot", options.data_center.plot, ".svg")
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
    settings |= _own_settings(options, arguments)
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


def _own_settings(options: BenchOptions, arguments: Sequence[str]) -> dict[str, Any]:
    """The settings that only the benchmark has, checked; those of others are a mistake."""
    for benchmark, kind in _OWN.items():
        for option in fields(kind):
            flag = f"--{option.name.replace('_', '-')}"
            named = is_named(flag, arguments) or is_named(f"--{option.name}", arguments)
            if named and options.name != benchmark:  # tyro takes either spelling
                raise Mistake(f"{flag} is only for {benchmark}, and this is {options.name}")
    if options.name == "data-center":
        return _of_data_center(options.data_center)
    if options.name == "bin-picking":
        return _of_bin_picking(options.bin_picking)
    if options.name == "robustness":
        return _of_robustness(options.robustness)
    return {}


def _of_data_center(options: DataCenterBenchOptions) -> dict[str, Any]:
    settings = asdict(options)
    plot = settings.pop("plot")
    from rlkit.bench.data_center import year_of

    with blaming_user(ImportError, ValueError):
        year_of(**settings)
    return {**settings, "plot": plot}


def _of_bin_picking(options: BinPickingBenchOptions) -> dict[str, Any]:
    check_least(options, attempts=1)
    from rlkit_envs.bin_picking.configuration import BinPickingConfig

    with blaming_user(ValueError):
        BinPickingConfig(tier=options.tier)
    return asdict(options)


def _of_robustness(options: RobustnessBenchOptions) -> dict[str, Any]:
    check_least(options, episodes=1)
    if not options.policies:
        raise Mistake("name the policies to compare by --policies")
    if len(set(options.policies)) < len(options.policies):
        raise Mistake("--policies names one twice")
    from rlkit.policies import find_policy

    with blaming_user(ValueError):
        for name in options.policies:
            find_policy(name)
    return asdict(options)
