"""`rlkit autoencoder`: codes observations in few numbers, and tells what is outside the norm."""

from __future__ import annotations

from collections.abc import Sequence

from rlkit.cli.command_group import run_command

_COMMANDS = {
    "train": "learn to code the observations of an environment, or of a file",
    "evaluate": "say what a code leaves out, how small it is and how fast",
    "encode": "write the codes of observations into a file, or decode codes",
    "record": "record a data centre's telemetry, normal and with faults",
    "anomalies": "find anomalies in series, and report them with their reasons",
    "bench": "compare detectors of anomalies on telemetry and on real series",
}


def run(arguments: Sequence[str]) -> int:
    """Do as `arguments` say."""
    purpose = "Codes observations in few numbers, and tells what is outside the norm."
    return run_command("autoencoder", purpose, _COMMANDS, arguments)
