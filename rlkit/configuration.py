"""Turns frozen configuration dataclasses into JSON and back, refusing what does not fit."""

from __future__ import annotations

from typing import Any, TypeVar

from cattrs import BaseValidationError, transform_error
from cattrs.preconf.json import make_converter
from cattrs.strategies import configure_tagged_union

from rlkit.environments import Environment

T = TypeVar("T")

_converter = make_converter(forbid_extra_keys=True)
configure_tagged_union(Environment, _converter, tag_name="kind")


class ConfigurationError(ValueError):
    """JSON data that is not a configuration of the wanted kind."""


def to_json(configuration: Any, kind: Any = None) -> Any:
    """Plain JSON data that holds every field; unions carry their member's name as `kind`."""
    return _converter.unstructure(configuration, kind)


def from_json(data: Any, kind: type[T]) -> T:
    """The configuration that `to_json` wrote. Raises ConfigurationError, naming each field at fault."""
    try:
        return _converter.structure(data, kind)
    except BaseValidationError as error:
        faults = "; ".join(transform_error(error, path="configuration"))
        raise ConfigurationError(faults) from error
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(f"not a {kind}: {error!r}") from error
