"""`rlkit edge compress`: searches for the smallest copy of a policy within stated limits."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes

from rlkit.cli.edge_policies import PolicyOptions, load_for_deployment, name_of
from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.cli.options import check_writable, parse
from rlkit.edge.compress_config import CompressConfig

_UNITS = {"": 1, "b": 1, "kb": 1_000, "mb": 1_000_000, "kib": 1_024, "mib": 1_048_576}


@dataclass(frozen=True)
class CompressOptions(PolicyOptions):
    """Prune, quantize and compress a policy in several ways, judge the copies by their actions and
    their returns, print those that no smaller one beats, and keep the smallest within the limits.
    """

    size_at_most: str | None = None
    """Bytes of the file, such as 100kB."""
    return_loss_at_most: float | None = None
    """Mean return of the policy less that of the copy."""
    output: Path | None = None
    """Where the smallest goes, ending in .onnx.xz; by default in the current folder and named as
    the policy."""
    plot: Path | None = None
    """Draw loss against size there, as PNG."""
    results: Path | None = None
    """Also write the raw results there, as JSON."""
    play_all: FlagCreatePairsOff[bool] = False
    """Play whole episodes with every copy, and list them all."""
    search: OmitArgPrefixes[CompressConfig] = field(default_factory=CompressConfig)
    """What is tried; each sparsity takes some minutes."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


def run(arguments: Sequence[str]) -> int:
    """Compress as `arguments` say."""
    options = parse(CompressOptions, arguments, "edge compress")
    size = None if options.size_at_most is None else bytes_of(options.size_at_most)
    for flag, path, suffix in (
        ("--output", options.output, ".onnx.xz"),
        ("--plot", options.plot, ".png"),
        ("--results", options.results, ".json"),
    ):
        _check_file(flag, path, suffix)
    loaded = load_for_deployment(options)
    name = name_of(options.policy, loaded)
    output = options.output or Path(f"{name}.onnx.xz")
    _check_file("--output", output, ".onnx.xz")
    from rlkit.edge.compress import LimitError, compress

    with tempfile.TemporaryDirectory(prefix="rlkit-edge-") as folder:
        with blaming_user(ValueError):
            found = compress(
                loaded,
                Path(folder),
                options.search,
                play_all=options.play_all,
                on_progress=lambda line: print(line, file=sys.stderr, flush=True),
            )
        result = {**found.to_json(), "policy": loaded.describe() | {"path": loaded.path.name}}
        result["search"] = asdict(options.search)
        missed, best = None, None
        try:
            best = found.smallest(size, options.return_loss_at_most)
            shutil.copyfile(best.file, output)
        except LimitError as error:
            missed = str(error)
    result["chosen"] = None if best is None else best.file.name
    if options.results is not None:
        options.results.write_text(json.dumps(result, indent=1) + "\n")
    if options.plot is not None:
        from rlkit.edge.pareto_plot import draw_pareto

        draw_pareto(result, options.plot, name, result["chosen"])
    if options.json:
        print(json.dumps(result))
    else:
        _print(result, name)
    if missed is not None:
        raise Mistake(missed)
    assert best is not None
    if not options.json:
        share = result["original"]["bytes"] / best.bytes
        print(f"{output}: {best.setting.name}, {best.bytes:,} bytes, {share:.1f} times smaller")
        print(f"  evaluate: rlkit evaluate {output}")
    return 0


def bytes_of(size: str) -> int:
    """A size as people write it, such as 100kB or 1.5 MB, in bytes; raises Mistake for another."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", size)
    if found is None or found[2].lower() not in _UNITS:
        raise Mistake(f"--size-at-most: a size such as 100kB or 1.5MB, not {size!r}")
    return round(float(found[1]) * _UNITS[found[2].lower()])


def _check_file(flag: str, path: Path | None, suffix: str) -> None:
    if path is None:
        return
    if not path.name.endswith(suffix):
        raise Mistake(f"{flag}: name a file that ends in {suffix}, not {path.name}")
    check_writable(flag, path)


def _print(result: dict[str, Any], name: str) -> None:
    """What copies do, then what they need; of those that were played, largest first."""
    from rich.console import Console
    from rich.table import Table

    original = result["original"]
    played = [copy for copy in result["copies"] if copy["loss"] is not None]
    does = Table(title=f"{name}: what copies do")
    needs = Table(title=f"{name}: what they need")
    for table, columns in (
        (does, ("bytes", "smaller", "return", "loss (95 %)", "agree", "regret")),
        (needs, ("p50 µs", "p99 µs", "MACs", "µJ", "less energy")),
    ):
        table.add_column("copy", no_wrap=True)
        for column in columns:
            table.add_column(column, justify="right", no_wrap=column == "bytes")
    does.add_row("the policy", f"{original['bytes']:,}", "", f"{original['mean']:.2f}", "", "", "")
    energy = original["cost"]["energy_microjoules"]
    macs = original["cost"]["multiply_accumulates"]
    needs.add_row("the policy", "", "", f"{macs:,}", f"{energy:.1f}", "")
    for copy in played:
        fidelity, cost, latency = copy["fidelity"], copy["cost"], copy["latency"]
        setting = Path(copy["file"]).name.removesuffix(".onnx.xz")
        low, high = copy["loss_ci95"]
        alike = fidelity["agreement"], fidelity["regret"]
        does.add_row(
            setting,
            f"{copy['bytes']:,}",
            f"{original['bytes'] / copy['bytes']:.1f}",
            f"{copy['mean_return']:.2f}",
            f"{copy['loss']:.1f} ({low:.1f} to {high:.1f})",
            *("" if value is None else f"{value:.4f}" for value in alike),
        )
        needs.add_row(
            setting,
            f"{latency['p50_us']:.1f}",
            f"{latency['p99_us']:.1f}",
            f"{cost['kept_multiply_accumulates']:,}",
            f"{cost['energy_microjoules']:.2f}",
            f"{energy / cost['energy_microjoules']:.1f}",
        )
    console = Console()
    console.print(does)
    console.print(needs)
