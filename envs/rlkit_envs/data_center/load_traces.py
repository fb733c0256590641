"""A year of server utilisation in steps of five minutes, made up from a seed.

Four kinds: people's days and weeks, jobs of a batch queue, heavy-tailed bursts, and jumps between
levels for step responses. The parameters are assumed unless a source stands beside them. The year
is a ring, as in `weather`: jobs that pass its end go on at its beginning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.ranges import check_ranges
from rlkit_envs.data_center.ring_noise import ring_noise
from rlkit_envs.data_center.weather import STEPS_PER_DAY, STEPS_PER_HOUR, STEPS_PER_YEAR

Array = NDArray[np.float64]

_WEEKEND_HOURS = 6.0
"""Time over which a working day's level turns into a weekend's (assumed)."""
_LONGEST_JOB_HOURS = 720.0
"""Log-normal durations are cut here, well short of a year (assumed)."""


def _check_order(low_name: str, low: float, high_name: str, high: float) -> None:
    if not 0.0 <= low < high <= 1.0:
        raise ValueError(
            f"{low_name} is {low:g} and {high_name} {high:g}: "
            f"expected 0 <= {low_name} < {high_name} <= 1"
        )


@dataclass(frozen=True)
class DiurnalLoad:
    """Servers that answer people: busy in the afternoon, quiet before dawn and at weekends."""

    night: float = 0.30
    """Utilisation at the quietest hour of a working day, 0 to 1, below `peak`."""
    peak: float = 0.80
    """Utilisation at the busiest hour of a working day, 0 to 1."""
    peak_hour: float = 15.0
    """The busiest hour, local standard time, 0 to 24; the quietest is twelve hours away."""
    weekend: float = 0.80
    """Utilisation at weekends over that of working days, 0 to 1."""
    first_weekday: int = 0
    """Day of the week of 1 January, 0 (Monday) to 6 (Sunday)."""
    noise: float = 0.03
    """Standard deviation of what no calendar explains, 0 to 0.2."""
    noise_hours: float = 2.0
    """Its correlation time, 0.1 to 1000 hours."""

    def __post_init__(self) -> None:
        _check_order("night", self.night, "peak", self.peak)
        check_ranges(
            self,
            peak_hour=(0.0, 24.0),
            weekend=(0.0, 1.0),
            first_weekday=(0, 6),
            noise=(0.0, 0.2),
            noise_hours=(0.1, 1000.0),
        )


@dataclass(frozen=True)
class BatchLoad:
    """Jobs that come at random, hold a share of the servers for hours, and end: plateaus."""

    idle: float = 0.15
    """Utilisation without jobs, 0 to 1, below `mean`."""
    mean: float = 0.55
    """Mean utilisation, 0 to 1, but for what full servers turn away."""
    job_share: float = 0.06
    """Mean share of the servers that a job takes, 0.01 to 1; shares are exponential."""
    job_hours: float = 8.0
    """Median duration of a job, 0.5 to 200 hours; durations are log-normal."""
    job_hours_spread: float = 1.0
    """Standard deviation of the logarithm of the durations, 0 to 2."""

    def __post_init__(self) -> None:
        _check_order("idle", self.idle, "mean", self.mean)
        check_ranges(
            self,
            job_share=(0.01, 1.0),
            job_hours=(0.5, 200.0),
            job_hours_spread=(0.0, 2.0),
        )


@dataclass(frozen=True)
class BurstyLoad:
    """Bursts of heavy-tailed height and length.

    Independent sources that are on for Pareto-distributed times add up to self-similar traffic, as
    measured (Willinger et al. 1997, "Self-similarity through high-variability").
    """

    idle: float = 0.20
    """Utilisation between bursts, 0 to 1."""
    bursts_per_day: float = 48.0
    """Mean number of bursts that begin in a day, 0 to 1000."""
    smallest: float = 0.05
    """Height of the smallest burst, 0.001 to 1; the rest are Pareto, cut at 1."""
    height_tail: float = 1.2
    """Pareto exponent of the heights, 1 to 5: the smaller, the heavier the tail."""
    shortest_minutes: float = 10.0
    """Length of the shortest burst, 5 to 1440 minutes; the rest are Pareto, cut at one day."""
    length_tail: float = 1.4
    """Pareto exponent of the lengths, 1 to 5; between 1 and 2 the traffic is self-similar."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            idle=(0.0, 1.0),
            bursts_per_day=(0.0, 1000.0),
            smallest=(0.001, 1.0),
            height_tail=(1.0, 5.0),
            shortest_minutes=(5.0, 1440.0),
            length_tail=(1.0, 5.0),
        )


@dataclass(frozen=True)
class StepLoad:
    """Levels held for a fixed time, low and high by turns: for step responses."""

    low: float = 0.20
    """Lowest level, 0 to 1, below `high`."""
    high: float = 0.90
    """Highest level, 0 to 1."""
    smallest_step: float = 0.30
    """Least jump between levels, 0 to high - low."""
    hold_hours: float = 12.0
    """Time at each level, 1/12 to 4380 hours; shortened a little so that an even number of levels
    fills the year."""

    def __post_init__(self) -> None:
        _check_order("low", self.low, "high", self.high)
        check_ranges(
            self,
            smallest_step=(0.0, self.high - self.low),
            hold_hours=(1.0 / STEPS_PER_HOUR, 4380.0),
        )


Load: TypeAlias = DiurnalLoad | BatchLoad | BurstyLoad | StepLoad

LOADS: Mapping[str, Load] = MappingProxyType(
    {
        "diurnal": DiurnalLoad(),
        "batch": BatchLoad(),
        "bursty": BurstyLoad(),
        "step": StepLoad(),
    }
)
"""Each kind by name, with its default parameters."""


def make_load(load: str | Load, seed: int | np.random.SeedSequence) -> Array:
    """(STEPS_PER_YEAR,) utilisation of the servers, 0 to 1, read-only.

    load: a name in `LOADS`, or parameters of your own. The same load and seed give the same year.
    Raises ValueError for unknown names.
    """
    if isinstance(load, str):
        if load not in LOADS:
            raise ValueError(f"no load {load!r}; there are {', '.join(LOADS)}")
        load = LOADS[load]
    generator = np.random.default_rng(seed)
    if isinstance(load, DiurnalLoad):
        utilisation = _diurnal(load, generator)
    elif isinstance(load, BatchLoad):
        utilisation = _batch(load, generator)
    elif isinstance(load, BurstyLoad):
        utilisation = _bursty(load, generator)
    else:
        utilisation = _steps(load, generator)
    utilisation = np.clip(utilisation, 0.0, 1.0)
    utilisation.setflags(write=False)
    return utilisation


def _diurnal(load: DiurnalLoad, generator: np.random.Generator) -> Array:
    hour = np.arange(STEPS_PER_YEAR) % STEPS_PER_DAY / STEPS_PER_HOUR
    day = np.cos(2.0 * np.pi * (hour - load.peak_hour) / 24.0)
    level = 0.5 * (load.night + load.peak) + 0.5 * (load.peak - load.night) * day
    weekday = (load.first_weekday + np.arange(STEPS_PER_YEAR // STEPS_PER_DAY)) % 7
    factor = np.repeat(np.where(weekday < 5, 1.0, load.weekend), STEPS_PER_DAY)
    width = int(_WEEKEND_HOURS * STEPS_PER_HOUR) + 1
    padded = np.pad(factor, width // 2, mode="wrap")
    factor = np.convolve(padded, np.full(width, 1.0 / width), mode="valid")
    return level * factor + load.noise * ring_noise(generator, load.noise_hours)


def _batch(load: BatchLoad, generator: np.random.Generator) -> Array:
    mean_hours = load.job_hours * np.exp(0.5 * load.job_hours_spread**2)
    jobs_per_hour = (load.mean - load.idle) / (load.job_share * mean_hours)
    count = generator.poisson(jobs_per_hour * STEPS_PER_YEAR / STEPS_PER_HOUR)
    starts = generator.integers(STEPS_PER_YEAR, size=count)
    hours = load.job_hours * generator.lognormal(0.0, load.job_hours_spread, count)
    shares = generator.exponential(load.job_share, count)
    return load.idle + _stacked(starts, np.minimum(hours, _LONGEST_JOB_HOURS), shares)


def _bursty(load: BurstyLoad, generator: np.random.Generator) -> Array:
    count = generator.poisson(load.bursts_per_day * STEPS_PER_YEAR / STEPS_PER_DAY)
    starts = generator.integers(STEPS_PER_YEAR, size=count)
    hours = load.shortest_minutes / 60.0 * (1.0 + generator.pareto(load.length_tail, count))
    heights = load.smallest * (1.0 + generator.pareto(load.height_tail, count))
    # Heights above 1 fill the servers all the same, but would blur the sums.
    return load.idle + _stacked(starts, np.minimum(hours, 24.0), np.minimum(heights, 1.0))


def _steps(load: StepLoad, generator: np.random.Generator) -> Array:
    holds = STEPS_PER_YEAR / (load.hold_hours * STEPS_PER_HOUR)
    count = 2 * int(np.ceil(holds / 2.0))
    spread = 0.5 * (load.high - load.low - load.smallest_step)
    levels = load.low + generator.uniform(0.0, 1.0, count) * spread
    levels[1::2] += spread + load.smallest_step
    return levels[np.arange(STEPS_PER_YEAR) * count // STEPS_PER_YEAR]


def _stacked(starts: NDArray[np.int64], hours: Array, heights: Array) -> Array:
    """(STEPS_PER_YEAR,) sum of rectangles on the ring, each at least a step and under a year long.

    starts, hours, heights: (count,), first step, duration and height of each.
    """
    ends = starts + np.maximum(np.rint(hours * STEPS_PER_HOUR), 1.0).astype(np.int64)
    change = np.bincount(starts, heights, STEPS_PER_YEAR)
    change -= np.bincount(ends % STEPS_PER_YEAR, heights, STEPS_PER_YEAR)
    running_at_midnight = heights[ends >= STEPS_PER_YEAR].sum()  # begun in the year before
    return running_at_midnight + np.cumsum(change)
