"""`rlkit gan record`: labelled examples of rlkit's own worlds, some of whose classes are rare."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from tyro.conf import FlagCreatePairsOff

from rlkit.autoencoder.anomalies.telemetry_config import TelemetryConfig
from rlkit.cli.line_ups import progress_bar
from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.cli.options import check_writable, parse
from rlkit.gan.fault_windows import WindowConfig
from rlkit.gan.outcome_recording import OutcomeConfig

if TYPE_CHECKING:
    from rlkit.gan.labelled_rows import LabelledRows

_HELP = """usage: rlkit gan record outcomes --output FILE.npz ...
       rlkit gan record faults --output FILE.npz ...

Records labelled examples, for `rlkit gan bench rare` and `rlkit gan train`.

  rlkit gan record outcomes   attempts to pick from bins: heightmap about the pixel, and outcome
  rlkit gan record faults     windows of a data centre's telemetry: normal, or what is broken

`rlkit gan record NAME --help` explains one."""


@dataclass(frozen=True)
class OutcomeOptions(OutcomeConfig):
    """Let hand-made pickers pick from bins, and write each attempt: a crop of the heightmap about
    the picked pixel, and its outcome. A core makes some five attempts a second."""

    output: Path = Path("outcomes.npz")
    """The file, ending in .npz; an older one is replaced."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


@dataclass(frozen=True)
class FaultOptions:
    """Run a data centre's plant, well and broken, and write windows of its telemetry: how far each
    channel is from what the others foretell, and what is broken. Residuals are learnt from series
    of their own, from which no window is cut."""

    faults_of_each: int = 8
    """Series for each kind and each of three severities of fault, one fault a series."""
    normal: int = 24
    """Series without a fault that windows are cut from; those with one give some too, from before
    it."""
    learnt: int = 12
    """Series without a fault that residuals are learnt from."""
    days: float = 7.0
    """Length of each series without a fault; one with a fault lasts twice as long."""
    windows: WindowConfig = field(default_factory=WindowConfig)
    """How windows are cut; a step is five minutes."""
    seed: int = 0
    """Determines everything, 0 or more."""
    output: Path = Path("faults.npz")
    """The file, ending in .npz; an older one is replaced."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


def run(arguments: Sequence[str]) -> int:
    """Record as `arguments` say."""
    name, *rest = arguments or ("--help",)
    if name in ("-h", "--help"):
        print(_HELP)
        return 0
    if name == "outcomes":
        return _record_outcomes(parse(OutcomeOptions, rest, "gan record outcomes"))
    if name == "faults":
        return _record_faults(parse(FaultOptions, rest, "gan record faults"))
    raise Mistake(f"rlkit gan record has no {name!r}; there are outcomes and faults")


def _record_outcomes(options: OutcomeOptions) -> int:
    check_writable("--output", options.output, ".npz")
    from rlkit.gan.outcome_recording import record_outcomes

    config = OutcomeConfig(
        **{field.name: getattr(options, field.name) for field in fields(OutcomeConfig)}
    )
    with progress_bar("attempts") as (move, _):
        rows = record_outcomes(config, move)
    return _tell(rows, options.output, options.json)


def _record_faults(options: FaultOptions) -> int:
    check_writable("--output", options.output, ".npz")
    from rlkit.autoencoder.anomalies.telemetry import record_telemetry
    from rlkit.gan.fault_windows import fault_windows

    with blaming_user(ValueError):
        config = _telemetry(options)
    with progress_bar("steps") as (move, _):
        telemetry = record_telemetry(config, move)
    about = {
        "world": "data centre faults",
        "channels": list(telemetry.series[0].channels) if telemetry.series else [],
        "step_seconds": 300.0,
        "samples": options.windows.samples,
        "steps_of_sample": options.windows.steps,
        "seed": options.seed,
    }
    with blaming_user(ValueError):
        rows = fault_windows(
            telemetry.normal, (*telemetry.held_out, *telemetry.test), options.windows, about
        )
    return _tell(rows, options.output, options.json)


def _telemetry(options: FaultOptions) -> TelemetryConfig:
    """What is recorded, with faults that begin and last as long as by default, or as much shorter
    or longer as the series are. Raises ValueError for what does not fit."""
    for name in ("normal", "faults_of_each"):
        if getattr(options, name) < 0:
            raise ValueError(f"{name} must be at least 0, got {getattr(options, name)}")
    if options.learnt < 1:
        raise ValueError(f"learnt must be at least 1, got {options.learnt}")
    usual = TelemetryConfig()
    scale = options.days / usual.days
    onset, duration = (
        (scale * least, scale * most) for least, most in (usual.onset_days, usual.duration_days)
    )
    return TelemetryConfig(
        normal=options.learnt,
        held_out=options.normal,
        faults_of_each=options.faults_of_each,
        unseen_weather=0,
        changed_policy=0,
        days=options.days,
        test_days=scale * usual.test_days,
        onset_days=onset,
        duration_days=duration,
        seed=options.seed,
    )


def _tell(rows: LabelledRows, file: Path, as_json: bool) -> int:
    """Write the file, and say what is in it."""
    from rlkit.gan.labelled_rows import write_labelled_rows

    write_labelled_rows(file, rows)
    told: dict[str, Any] = {
        "file": str(file),
        "bytes": file.stat().st_size,
        "shape": list(rows.data.shape[1:]),
        "examples": rows.counts,
        "groups": len(set(rows.groups.tolist())),
        "about": rows.about,
    }
    if as_json:
        print(json.dumps(told))
        return 0
    table = Table(title=file.name)
    table.add_column("class")
    table.add_column("examples", justify="right")
    for name, count in rows.counts.items():
        table.add_row(name, f"{count:,}")
    Console().print(table)
    shape = " x ".join(str(size) for size in told["shape"])
    print(
        f"{file}: examples of {shape} numbers in {told['groups']:,} groups, {told['bytes']:,} bytes"
    )
    return 0
