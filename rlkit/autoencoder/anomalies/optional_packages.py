"""One line that says what to install where an optional package is absent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rlkit.extras import installing


@contextmanager
def needs(what: str, package: str) -> Iterator[None]:
    """Around the import of an optional package.

    what: the thing that needs it. Raises ImportError with one line that names the extra.
    """
    try:
        yield
    except ImportError as error:
        raise ImportError(f"{what} needs {package} ({error}): {installing('anomalies')}") from error
