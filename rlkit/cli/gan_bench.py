"""`rlkit gan bench`: losses side by side, and what a generator is worth to rare classes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from rlkit.cli.mistakes import Mistake

_HELP = """usage: rlkit gan bench [losses] ...
       rlkit gan bench rare FILE ...

Measures generators.

  rlkit gan bench losses   losses and penalties over seeds, on handwritten digits (the default)
  rlkit gan bench rare     a classifier of rare classes with and without a generator

`rlkit gan bench NAME --help` explains a benchmark."""

_LOSSES, _RARE = "losses", "rare"


def run(arguments: Sequence[str]) -> int:
    """Measure as `arguments` say; options alone are those of losses."""
    name, *rest = arguments or (_LOSSES,)
    if name in ("-h", "--help"):
        print(_HELP)
        return 0
    if name.startswith("-"):
        name, rest = _LOSSES, list(arguments)
    if name not in (_LOSSES, _RARE):
        raise Mistake(f"rlkit gan bench has no {name!r}; there are {_LOSSES} and {_RARE}")
    return import_module(f"rlkit.cli.gan_bench_{name}").run(rest)
