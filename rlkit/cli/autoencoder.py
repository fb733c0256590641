"""`rlkit autoencoder`: codes observations in few numbers, and tells what is outside the norm."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from rlkit.cli.mistakes import Mistake

_COMMANDS = {
    "train": "learn to code the observations of an environment, or of a file",
    "evaluate": "say what a code leaves out, how small it is and how fast",
    "encode": "write the codes of observations into a file, or decode codes",
    "record": "record a data centre's telemetry, normal and with faults",
    "anomalies": "find anomalies in series, and report them with their reasons",
    "bench": "compare detectors of anomalies on telemetry and on real series",
}
"""Command -> what it does. Module `rlkit.cli.autoencoder_<command>` runs it."""


def run(arguments: Sequence[str]) -> int:
    """Do as `arguments` say."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0
    command, *rest = arguments
    if command not in _COMMANDS:
        raise Mistake(
            f"rlkit autoencoder has no command {command!r}; there are {', '.join(_COMMANDS)}"
        )
    return import_module(f"rlkit.cli.autoencoder_{command}").run(rest)


def _help() -> str:
    return "\n".join(
        (
            "usage: rlkit autoencoder COMMAND ...",
            "",
            "Codes observations in few numbers, and tells what is outside the norm.",
            "",
            *(f"  rlkit autoencoder {name:<10} {purpose}" for name, purpose in _COMMANDS.items()),
            "",
            "`rlkit autoencoder COMMAND --help` explains a command.",
        )
    )
