"""Turns a command's arguments into a dataclass by tyro, and tyro's complaints into one line."""

from __future__ import annotations

import difflib
import io
import re
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any, TypeVar

from rlkit.cli.mistakes import Mistake, one_line

T = TypeVar("T")

_BORDERS = "│╭╮╰╯─ "


def parse(kind: type[T], arguments: Sequence[str], command: str, default: T | None = None) -> T:
    """The dataclass `kind` as `arguments` fill it, starting from `default`.

    command: what the user typed before the arguments, such as "evaluate". Raises Mistake for
    arguments that do not fit, SystemExit(0) after printing help.
    """
    import tyro

    program = f"rlkit {command}"
    settings: dict[str, Any] = {} if default is None else {"default": default}
    complaint = io.StringIO()
    try:
        with redirect_stderr(complaint):
            return tyro.cli(
                kind,
                prog=program,
                args=list(arguments),
                config=(tyro.conf.AvoidSubcommands,),
                **settings,
            )
    except SystemExit as exit:
        if exit.code in (0, None):
            raise
        raise Mistake(_condensed(complaint.getvalue(), program, arguments)) from None
    except ValueError as error:
        # What the checks of a dataclass say; tyro reports only those of nested ones itself.
        raise Mistake(f"{error} (see {program} --help)") from error


def is_named(flag: str, arguments: Sequence[str]) -> bool:
    """Whether the user gave `flag`, such as "--steps"."""
    return any(argument.split("=", 1)[0] == flag for argument in arguments)


def check_least(options: object, **least: int) -> None:
    """Raise Mistake where one of the numbers that `least` names is lower among `options`."""
    for name, lowest in least.items():
        value = getattr(options, name)
        if value < lowest:
            raise Mistake(f"--{name.replace('_', '-')} must be at least {lowest}, got {value}")


def check_writable(flag: str, file: Path | None, suffix: str | None = None) -> None:
    """Raise Mistake where nothing can be written into a file, before the work that takes long.

    suffix: such as ".svg", which its name has to end in. Nothing is wrong with None.
    """
    if file is None:
        return
    if suffix is not None and file.suffix.lower() != suffix:
        kind = suffix.removeprefix(".").upper()
        raise Mistake(f"{flag} writes {kind}; name a file that ends in {suffix}, not {file.name}")
    if not file.parent.is_dir():
        raise Mistake(f"{flag}: there is no folder {file.parent}")


def _condensed(box: str, program: str, arguments: Sequence[str]) -> str:
    """What tyro says in a box, in one line: the complaint, the nearest flag, where to look."""
    # A title and parts between rules; where only ASCII can be printed, the title is a part itself.
    lines = "\n".join(line.strip(_BORDERS) for line in box.splitlines())
    parts = [part.strip() for part in re.split(r"\n(?:-*\n)+", lines) if part.strip()]
    if parts and "\n" in parts[0]:
        parts[:1] = parts[0].split("\n", 1)
    _title, complaint, *others = [*parts, "", ""]
    message = one_line(complaint).split(" Got errors:")[0].rstrip(".")
    message = re.sub(r"^Error parsing (?!-)[\w.]+: ", "", message)
    listed = re.findall(r"^(--[\w.-]+)", "\n".join(others), re.MULTILINE)
    wrong = [flag for flag in arguments if flag.startswith("--") and flag.split("=")[0] in message]
    near = difflib.get_close_matches(wrong[0], listed, n=1, cutoff=0.0) if wrong and listed else []
    hint = f"; did you mean {near[0]}?" if near and message.startswith("Unrec") else ""
    return f"{message[:1].lower()}{message[1:]}{hint} (see {program} --help)"
