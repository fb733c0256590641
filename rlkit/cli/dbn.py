"""`rlkit dbn`: learns features without labels or rewards, dreams, and starts agents from them."""

from __future__ import annotations

from collections.abc import Sequence

from rlkit.cli.command_group import run_command

_COMMANDS = {
    "train": "learn a Boltzmann machine, or a stack of them, from rows or recorded play",
    "evaluate": "say how likely rows are, and how well they are reconstructed",
    "sample": "write what a machine dreams of, as numbers and as pictures",
    "pretrain": "learn what a recipe's agent starts with from recorded play",
    "bench": "compare machines and stacks with other libraries, settings and starts",
}


def run(arguments: Sequence[str]) -> int:
    """Do as `arguments` say."""
    purpose = "Learns features without labels or rewards, and starts agents from them."
    return run_command("dbn", purpose, _COMMANDS, arguments)
