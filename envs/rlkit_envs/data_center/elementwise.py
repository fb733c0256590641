"""Choices that the plant makes for each site: NumPy's for arrays, to the bit the same for numbers.

A site alone is computed in numbers (`np.float64`, `np.bool_`), whose arithmetic takes a fifth of
the time of arrays of one. Only functions like these would take longer than with arrays.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Condition = NDArray[np.bool_] | np.bool_ | bool
"""Of each site, or of all."""


def numbers_if_alone(values: Any) -> Any:
    """A tuple of arrays or numbers with the number of each array that holds only one."""
    return type(values)(
        *[v[0] if isinstance(v, np.ndarray) and v.shape == (1,) else v for v in values]
    )


def arrays_of(values: Any, size: int) -> Any:
    """A tuple of arrays, numbers and such tuples with arrays (size,) for the numbers."""
    if isinstance(values, tuple):
        return type(values)(*(arrays_of(value, size) for value in values))
    return values if isinstance(values, np.ndarray) else np.full(size, values)


def larger_of(first: Any, second: Any) -> Any:
    """`np.maximum`: NaN where either is, and the second of two zeros."""
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return np.maximum(first, second)
    return first if first > second or math.isnan(first) else second


def smaller_of(first: Any, second: Any) -> Any:
    """`np.minimum`: NaN where either is, and the second of two zeros."""
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return np.minimum(first, second)
    return first if first < second or math.isnan(first) else second


def limited(values: Any, least: Any, most: Any) -> Any:
    """No less than `least`, and then no more than `most`: `np.clip`, but for signs of zeros."""
    return smaller_of(larger_of(values, least), most)


def is_nan(values: Any) -> Any:
    """`np.isnan`."""
    return np.isnan(values) if isinstance(values, np.ndarray) else math.isnan(values)


def choose(where: Condition, chosen: Any, others: Any) -> Any:
    """`np.where`: `chosen` where the condition holds, `others` elsewhere."""
    if isinstance(where, np.ndarray):
        return np.where(where, chosen, others)
    return chosen if where else others


def anywhere(where: Condition) -> bool:
    """Whether the condition holds at any site."""
    return bool(np.count_nonzero(where) if isinstance(where, np.ndarray) else where)


def everywhere(where: Condition) -> bool:
    """Whether the condition holds at all sites."""
    if isinstance(where, np.ndarray):
        return int(np.count_nonzero(where)) == where.size
    return bool(where)


def filled(value: Any, like: Any) -> Any:
    """The same `value` at each site of `like`."""
    return np.full(like.shape, value) if isinstance(like, np.ndarray) else value
