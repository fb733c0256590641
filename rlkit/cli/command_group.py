"""Commands that have commands of their own, such as `rlkit edge export`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module

from rlkit.cli.mistakes import Mistake


def run_command(
    group: str, purpose: str, commands: Mapping[str, str], arguments: Sequence[str]
) -> int:
    """Run the command that comes first in `arguments`, or print what there is.

    group: what the user typed before it, such as "edge". purpose: what the group is for. commands:
    command -> what it does; the module `rlkit.cli.<group>_<command>` runs it. Raises Mistake for
    another command.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help(group, purpose, commands))
        return 0
    command, *rest = arguments
    if command not in commands:
        raise Mistake(f"rlkit {group} has no command {command!r}; there are {', '.join(commands)}")
    return import_module(f"rlkit.cli.{group}_{command}").run(rest)


def _help(group: str, purpose: str, commands: Mapping[str, str]) -> str:
    width = max(map(len, commands))
    return "\n".join(
        (
            f"usage: rlkit {group} COMMAND ...",
            "",
            purpose,
            "",
            *(f"  rlkit {group} {name:<{width}}   {does}" for name, does in commands.items()),
            "",
            f"`rlkit {group} COMMAND --help` explains a command.",
        )
    )
