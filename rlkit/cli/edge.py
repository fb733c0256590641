"""`rlkit edge`: puts policies into files for small devices."""

from __future__ import annotations

from collections.abc import Sequence

from rlkit.cli.command_group import run_command

_COMMANDS = {
    "export": "write a policy as ONNX, in 8 bits or in 32",
    "compress": "search for the smallest copy that loses no more than is allowed",
    "bench": "time copies of a policy beside PyTorch, and say what they need",
}


def run(arguments: Sequence[str]) -> int:
    """Do as `arguments` say."""
    purpose = "Puts policies into files that run on small devices, without PyTorch."
    return run_command("edge", purpose, _COMMANDS, arguments)
