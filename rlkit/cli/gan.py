"""`rlkit gan`: makes examples like those that it learnt from, and judges them before use."""

from __future__ import annotations

from collections.abc import Sequence

from rlkit.cli.command_group import run_command

_COMMANDS = {
    "record": "write labelled examples of rlkit's worlds, some of whose classes are rare",
    "pairs": "write pictures and the same pictures changed, to learn the change from",
    "train": "learn to make examples like those of a file, or like recorded play",
    "sample": "make examples, as numbers and as pictures",
    "evaluate": "judge a generator beside real examples, and say whether they may be used",
    "augment": "write a file's examples with generated ones among them, if these may be used",
    "bench": "compare losses, or a classifier of rare classes with and without a generator",
}


def run(arguments: Sequence[str]) -> int:
    """Do as `arguments` say."""
    purpose = "Makes examples like those that it learnt from, and judges them before they are used."
    return run_command("gan", purpose, _COMMANDS, arguments)
