"""`rlkit autoencoder record`: telemetry of a data centre with known faults, in one file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import FlagCreatePairsOff

from rlkit.autoencoder.anomalies.plant_faults import KINDS, SEVERITIES
from rlkit.autoencoder.anomalies.telemetry_config import TelemetryConfig
from rlkit.cli.line_ups import progress_bar
from rlkit.cli.mistakes import Mistake
from rlkit.cli.options import check_writable, parse

if TYPE_CHECKING:
    from rlkit.autoencoder.anomalies.telemetry import Telemetry


@dataclass(frozen=True)
class RecordOptions(TelemetryConfig):
    """Record telemetry from the simulated data centre into one file of series: normal operation to
    fit on and for thresholds, faults of five kinds in three severities, and hard negatives. Each
    series carries its role. `rlkit.autoencoder.anomalies.series.read_series` reads the file."""

    output: Path = Path("telemetry.npz")
    """The file, ending in .npz; an older one is replaced. Some 35 MB by default."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


def run(arguments: Sequence[str]) -> int:
    """Record as `arguments` say."""
    options = parse(RecordOptions, arguments, "autoencoder record")
    check_writable("--output", options.output, ".npz")
    config = TelemetryConfig(
        **{field.name: getattr(options, field.name) for field in fields(TelemetryConfig)}
    )
    if not any(config.counts.values()):
        raise Mistake("there is nothing to record: every role has 0 series")
    from rlkit.autoencoder.anomalies.series import write_series
    from rlkit.autoencoder.anomalies.telemetry import record_telemetry

    with progress_bar("steps") as (move, _):
        telemetry = record_telemetry(config, move)
    write_series(options.output, telemetry.series)
    told = _told(telemetry, options.output, config)
    if options.json:
        print(json.dumps(told))
    else:
        _print(told)
    return 0


def _told(telemetry: Telemetry, file: Path, config: TelemetryConfig) -> dict[str, Any]:
    """What the file holds, as plain JSON data."""
    from rlkit.autoencoder.anomalies.telemetry import ROLES

    one = telemetry.series[0]
    roles: dict[str, dict[str, Any]] = {}
    for role in ROLES:
        series = getattr(telemetry, role)
        roles[role] = {
            "series": len(series),
            "days": sum(len(each) for each in series) * one.step_seconds / 86_400.0,
            "faults": sum(len(each.events) for each in series),
        }
    events = [event for each in telemetry.series for event in each.events]
    counted = Counter((event.kind, event.severity) for event in events)
    faults = {
        kind: {severity: counted[kind, severity] for severity in SEVERITIES}
        for kind in KINDS
        if events
    }
    return {
        "file": str(file),
        "bytes": file.stat().st_size,
        "channels": list(one.channels),
        "step_seconds": one.step_seconds,
        "roles": roles,
        "faults": faults,
        "config": asdict(config),
    }


def _print(told: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from rlkit.autoencoder.anomalies.telemetry import ROLES

    minutes = told["step_seconds"] / 60.0
    holds = Table(title=f"{len(told['channels'])} channels every {minutes:g} minutes")
    holds.add_column("role", no_wrap=True)
    for column in ("series", "days", "faults"):
        holds.add_column(column, justify="right", no_wrap=True)
    holds.add_column("what")
    for role, counts in told["roles"].items():
        if counts["series"]:
            days = f"{counts['days']:g}"
            holds.add_row(role, f"{counts['series']}", days, f"{counts['faults']}", ROLES[role])
    console = Console()
    console.print(holds)
    if told["faults"]:
        broken = Table(title="faults, one a series")
        broken.add_column("kind", no_wrap=True)
        for severity in SEVERITIES:
            broken.add_column(severity, justify="right", no_wrap=True)
        for kind, counts in told["faults"].items():
            broken.add_row(kind, *(str(counts[severity]) for severity in SEVERITIES))
        console.print(broken)
    print(f"{told['file']}: {told['bytes']:,} bytes")
