"""`rlkit edge`: puts policies into files for small devices."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from rlkit.cli.mistakes import Mistake

_COMMANDS = {
    "export": "write a policy as ONNX, in 8 bits or in 32",
    "compress": "search for the smallest copy that loses no more than is allowed",
    "bench": "time copies of a policy beside PyTorch, and say what they need",
}
"""Command -> what it does. Module `rlkit.cli.edge_<command>` runs it."""


def run(arguments: Sequence[str]) -> int:
    """Do as `arguments` say."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0
    command, *rest = arguments
    if command not in _COMMANDS:
        raise Mistake(
            f"rlkit edge has no command {command!r}; there are {', '.join(sorted(_COMMANDS))}"
        )
    return import_module(f"rlkit.cli.edge_{command}").run(rest)


def _help() -> str:
    return "\n".join(
        (
            "usage: rlkit edge COMMAND ...",
            "",
            "Puts policies into files that run on small devices, without PyTorch.",
            "",
            *(f"  rlkit edge {name:<10} {purpose}" for name, purpose in _COMMANDS.items()),
            "",
            "`rlkit edge COMMAND --help` explains a command.",
        )
    )
