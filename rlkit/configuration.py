"""Turns frozen configuration dataclasses into JSON and back, refusing what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from cattrs import BaseValidationError, transform_error
from cattrs.preconf.json import make_converter
from cattrs.strategies import configure_tagged_union
from cattrs.v import format_exception

from rlkit.algorithms import AlgorithmConfig
from rlkit.environments import Environment

T = TypeVar("T")


def _only(kind: type, *accepted: type) -> Callable[[Any, Any], Any]:
    def structure(value: Any, _: Any) -> Any:
        if type(value) not in accepted:
            raise ValueError(f"expected {kind.__name__}, got {value!r}")
        return kind(value)

    return structure


_converter = make_converter(forbid_extra_keys=True)
# cattrs itself would make 3 of 3.7 and True of "no".
_converter.register_structure_hook(bool, _only(bool, bool))
_converter.register_structure_hook(int, _only(int, int))
_converter.register_structure_hook(float, _only(float, int, float))
_converter.register_structure_hook(str, _only(str, str))
configure_tagged_union(Environment, _converter, tag_name="kind")
configure_tagged_union(AlgorithmConfig, _converter, tag_name="kind")
_tagged_algorithm = _converter.get_structure_hook(AlgorithmConfig)
# Runs from the time when DQN was the only algorithm do not say which theirs is.
_converter.register_structure_hook(
    AlgorithmConfig, lambda data, kind: _tagged_algorithm({"kind": "DQNConfig", **data}, kind)
)


class ConfigurationError(ValueError):
    """JSON data that is not a configuration of the wanted kind."""


def to_json(configuration: Any, kind: Any = None) -> Any:
    """Plain JSON data that holds every field; unions carry their member's name as `kind`."""
    return _converter.unstructure(configuration, kind)


def from_json(data: Any, kind: type[T]) -> T:
    """What `to_json` wrote. Raises ConfigurationError that names each field at fault."""
    try:
        return _converter.structure(data, kind)
    except BaseValidationError as error:
        faults = transform_error(error, path="configuration", format_exception=_fault)
        raise ConfigurationError("; ".join(faults)) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(f"not a configuration: {error!r}") from error


def _fault(error: BaseException, kind: type | None) -> str:
    """What is wrong, in the words of the check that failed where it has any."""
    if type(error) is KeyError:
        return f"{error} is missing or unknown"
    return str(error) if type(error) in (Exception, ValueError) else format_exception(error, kind)
