"""Cuts a nested state into tensors and plain JSON data, and joins them again, without pickle."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

_TENSOR, _ARRAY, _TUPLE, _KEYED = "__tensor__", "__array__", "__tuple__", "__keyed__"
_RESERVED = frozenset((_TENSOR, _ARRAY, _TUPLE, _KEYED))
_ORDER = "order"


def split_state(state: Any) -> tuple[Any, dict[str, Tensor]]:
    """Plain JSON data with references, and what they refer to.

    state: dicts (keys of str or int), lists and tuples of tensors, arrays, numbers, strings, None.
    Tensors are copied to main memory, so that the result does not change with the original.
    Their layout is kept: the fused Adam takes weights and moments for flat memory, so moments that
    came back in another layout than the weights' would belong to other weights.
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
        tensor = tensors[plain[_TENSOR]]
        return tensor.permute(np.argsort(plain[_ORDER]).tolist()) if _ORDER in plain else tensor
    if _ARRAY in plain:
        return tensors[plain[_ARRAY]].numpy()
    if _TUPLE in plain:
        return tuple(join_state(value, tensors) for value in plain[_TUPLE])
    if _KEYED in plain:
        return {key: join_state(value, tensors) for key, value in plain[_KEYED]}
    return {key: join_state(value, tensors) for key, value in plain.items()}


def _split(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        place = _unused(place, tensors)
        copy = value.detach().to("cpu", copy=True)
        if copy.is_contiguous():
            tensors[place] = copy
            return {_TENSOR: place}
        order = copy.dim_order()
        tensors[place] = copy.permute(order).contiguous()
        return {_TENSOR: place, _ORDER: list(order)}
    if isinstance(value, np.ndarray):
        place = _unused(place, tensors)
        try:
            tensors[place] = torch.from_numpy(value.copy())
        except TypeError as error:
            raise TypeError(f"{place} is an array of {value.dtype}: {error}") from error
        return {_ARRAY: place}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value) and _RESERVED.isdisjoint(value):
            return {k: _split(v, f"{place}.{k}", tensors) for k, v in value.items()}
        return {_KEYED: [[k, _split(v, f"{place}.{k}", tensors)] for k, v in value.items()]}
    if isinstance(value, tuple):
        return {_TUPLE: [_split(v, f"{place}.{i}", tensors) for i, v in enumerate(value)]}
    if isinstance(value, list):
        return [_split(v, f"{place}.{i}", tensors) for i, v in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{place} is a {type(value).__name__}, which a checkpoint cannot hold")


def _unused(place: str, tensors: dict[str, Tensor]) -> str:
    """The place, marked where keys with dots or of other types give the same one twice."""
    while place in tensors:
        place += "'"
    return place
