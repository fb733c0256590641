"""How long single calls take, when several ways to compute the same take turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Latency:
    """Of single calls, in microseconds."""

    p50_us: float
    """Half of the calls took no longer."""
    p99_us: float
    """99 of 100 calls took no longer."""
    calls: int
    """Counted, in all rounds."""
    medians_us: tuple[float, ...]
    """Of each round."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return asdict(self)


def take_turns(
    calls: Mapping[str, Callable[[], object]], *, seconds: float = 0.3, rounds: int = 10
) -> dict[str, Latency]:
    """Time each of `calls` for about `seconds` in every round, after a round that does not count.

    Only timings that take turns compare, as a machine's speed drifts. Raises ValueError for no
    seconds or rounds.
    """
    if not seconds > 0 or rounds < 1:
        raise ValueError(f"timing needs seconds and rounds, got {seconds} and {rounds}")
    times: dict[str, list[np.ndarray]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            times[name].append(_timed(call, seconds))
    return {name: _summary(windows[1:]) for name, windows in times.items()}


def _timed(call: Callable[[], object], seconds: float) -> np.ndarray:
    """Microseconds of each call in a window."""
    clock = time.perf_counter_ns
    taken: list[int] = []
    end = clock() + round(1e9 * seconds)
    started = clock()
    while started < end:
        call()
        done = clock()
        taken.append(done - started)
        started = done
    return np.array(taken) / 1e3


def _summary(windows: list[np.ndarray]) -> Latency:
    every = np.concatenate(windows)
    return Latency(
        p50_us=float(np.percentile(every, 50)),
        p99_us=float(np.percentile(every, 99)),
        calls=len(every),
        medians_us=tuple(float(np.median(window)) for window in windows),
    )
