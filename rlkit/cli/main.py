"""The command `rlkit`: finds the module of the command that the user names, and reports mistakes.

Imports nothing heavy, so that `rlkit --help` answers at once.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from rlkit.cli.mistakes import Mistake, explain

COMMANDS = {
    "train": "train a recipe from scratch, or repeat a run's configuration",
    "resume": "go on with a training from its last checkpoint",
    "evaluate": "play a policy for many episodes and report its returns",
    "watch": "record a policy's episodes as a video",
    "compare": "set the evaluations of runs side by side",
    "list": "show recipes, environments, algorithms and runs",
    "bench": "measure rlkit side by side with its peers on this machine",
    "autoencoder": "code observations in few numbers, and find anomalies in series",
    "dbn": "learn features without labels or rewards, and start agents from them",
    "edge": "put policies into files for small devices, which run without PyTorch",
    "gan": "make examples like those of a data set, and judge them before they are used",
}
"""Command -> what it does. Module `rlkit.cli.<command>` runs it (`listing` for `list`)."""

_MODULES = {"list": "listing"}

MISTAKE, INTERRUPTED = 2, 130
"""Exit codes; the second is the shell's for Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command in `arguments` (default: the process's own) and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0
    command, *rest = arguments
    try:
        if command == "--version":
            return _print_version()
        if command not in COMMANDS:
            raise Mistake(_unknown(command))
        return import_module(f"rlkit.cli.{_MODULES.get(command, command)}").run(rest)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone, as in `rlkit list | head`: nothing is left to say, and
        # Python must not try again when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        print(f"rlkit: {line}", file=sys.stderr)
        return MISTAKE


def _help() -> str:
    width = max(map(len, COMMANDS))
    return "\n".join(
        (
            "usage: rlkit COMMAND ...",
            "",
            "Trains, watches and evaluates reinforcement-learning agents.",
            "",
            *(f"  rlkit {name:<{width}}   {purpose}" for name, purpose in COMMANDS.items()),
            "",
            "`rlkit COMMAND --help` explains a command, `rlkit train RECIPE --help` every setting.",
            "`rlkit --version` prints the version.",
        )
    )


def _unknown(command: str) -> str:
    near = difflib.get_close_matches(command, COMMANDS, n=1)
    hint = f"did you mean rlkit {near[0]}?" if near else f"known: {', '.join(COMMANDS)}"
    return f"unknown command {command!r}; {hint}"


def _print_version() -> int:
    from importlib.metadata import version

    print(f"rlkit {version('rlkit')}")
    return 0
