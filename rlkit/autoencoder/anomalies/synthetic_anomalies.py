"""Anomalies put into series that have none, where no labelled ones are to be had.

What is put in is artificial, and easier to describe than what machines and hearts do: results on
such series say less than results on labelled ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.series import Event, Series

Array = NDArray[np.float64]


def _held(part: Array, deviation: Array, generator: np.random.Generator) -> Array:
    return np.repeat(part[:1], len(part), axis=0)


def _reversed(part: Array, deviation: Array, generator: np.random.Generator) -> Array:
    return part[::-1]


def _noisy(part: Array, deviation: Array, generator: np.random.Generator) -> Array:
    return part + 0.5 * deviation * generator.standard_normal(part.shape)


def _stretched(part: Array, deviation: Array, generator: np.random.Generator) -> Array:
    mean = part.mean(axis=0)
    return mean + 1.5 * (part - mean)


SYNTHETIC_ANOMALIES: Mapping[str, Callable[[Array, Array, np.random.Generator], Array]] = (
    MappingProxyType(
        {"held": _held, "reversed": _reversed, "noisy": _noisy, "stretched": _stretched}
    )
)
"""Kind -> what it makes of a stretch (time, channels): its first value for all of it; the stretch
backwards; with noise of half the series' standard deviation; 1.5 times as far from its mean."""


def with_synthetic_anomalies(series: Series, length: int, seed: int) -> Series:
    """The series with one anomaly of each kind in `SYNTHETIC_ANOMALIES`, one in each of as many
    equal parts of it, at random within the part, in all channels, `length` steps each.

    The same seed gives the same series. Raises ValueError for a series that has events already, has
    missing values, or is too short: each part needs twice the length.
    """
    if series.events:
        raise ValueError(f"series {series.name!r} has {len(series.events)} events already")
    if np.isnan(series.values).any():
        raise ValueError(f"series {series.name!r} has missing values")
    kinds = list(SYNTHETIC_ANOMALIES)
    part = len(series) // len(kinds)
    if length < 2 or part < 2 * length:
        raise ValueError(
            f"anomalies of {length} steps do not fit into {len(series)} steps of "
            f"{series.name!r}: 2 to {part // 2} would"
        )
    generator = np.random.default_rng(seed)
    values = series.values.copy()
    deviation = values.std(axis=0)
    events: list[Event] = []
    for number, which in enumerate(generator.permutation(len(kinds))):
        # Half a length from the part's ends, so that no two anomalies touch.
        start = number * part + length // 2 + int(generator.integers(part - 2 * length + 1))
        stretch = slice(start, start + length)
        change = SYNTHETIC_ANOMALIES[kinds[which]]
        values[stretch] = change(series.values[stretch], deviation, generator)
        events.append(Event(start, start + length, f"synthetic {kinds[which]}"))
    return replace(series, values=values, events=tuple(events))
