"""Cuts a nested state dictionary into tensors and plain JSON data, and puts it together again, without pickle."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

_TENSOR, _ARRAY, _TUPLE, _KEYED = "__tensor__", "__array__", "__tuple__", "__keyed__"


def split_state(state: Any) -> tuple[Any, dict[str, Tensor]]:
    """Plain JSON data with references, and what they refer to.

    state: dicts (keys of str or int), lists and tuples of tensors, arrays, numbers, strings, None.
    Tensors are copied to main memory, so that the result does not change with the original.
    Raises TypeError, naming the place, for anything else.
    """
    tensors: dict[str, Tensor] = {}
    return _split(state, "state", tensors), tensors


def join_state(plain: Any, tensors: dict[str, Tensor]) -> Any:
    """The state that `split_state` cut up. Raises KeyError where a tensor is missing."""
    if isinstance(plain, list):
        return [join_state(value, tensors) for value in plain]
    if not isinstance(plain, dict):
        return plain
    if _TENSOR in plain:
        return tensors[plain[_TENSOR]]
    if _ARRAY in plain:
        return tensors[plain[_ARRAY]].numpy()
    if _TUPLE in plain:
        return tuple(join_state(value, tensors) for value in plain[_TUPLE])
    if _KEYED in plain:
        return {key: join_state(value, tensors) for key, value in plain[_KEYED]}
    return {key: join_state(value, tensors) for key, value in plain.items()}


def _split(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[place] = value.detach().to("cpu", copy=True).contiguous()
        return {_TENSOR: place}
    if isinstance(value, np.ndarray):
        tensors[place] = torch.from_numpy(value.copy())
        return {_ARRAY: place}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {k: _split(v, f"{place}.{k}", tensors) for k, v in value.items()}
        return {_KEYED: [[k, _split(v, f"{place}.{k}", tensors)] for k, v in value.items()]}
    if isinstance(value, tuple):
        return {_TUPLE: [_split(v, f"{place}.{i}", tensors) for i, v in enumerate(value)]}
    if isinstance(value, list):
        return [_split(v, f"{place}.{i}", tensors) for i, v in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{place} is a {type(value).__name__}, which a checkpoint cannot hold")
