"""Which episode each environment of a batch is in: its weather, load, faults, and time.

What an episode draws follows from its environment's key and its number alone, so that rows never
touch each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlkit_envs.data_center.configuration import DataCenterConfig, all_pairs
from rlkit_envs.data_center.faults import draw_faults, severities
from rlkit_envs.data_center.psychrometrics import Array
from rlkit_envs.data_center.weather import STEPS_PER_DAY, STEPS_PER_YEAR

STATE_ARRAYS = ("time", "age", "episode", "keys", "noise_keys", "weather", "load", "drawn")
"""All that decides how the episodes go on."""


class Episodes:
    """The running episodes of `num_envs` environments; arrays end with the environments' axis."""

    def __init__(
        self, config: DataCenterConfig, num_envs: int, *, weathers: int, loads: int
    ) -> None:
        """weathers, loads: how many years there are of each."""
        self.steps = config.episode_days * STEPS_PER_DAY
        """Length of an episode."""
        self._config, self._pairs = config, all_pairs(config.pairing, weathers, loads)
        self.seeded = False
        """Whether there are keys."""
        self.keys = np.zeros(num_envs, np.uint64)
        """What all episodes of an environment are drawn from."""
        self.episode = np.zeros(num_envs, np.int64)
        """Number of the episode since the keys were given, from 0."""
        self.noise_keys = np.zeros(num_envs, np.uint64)
        """What the sensors' noise is made of."""
        self.time = np.zeros(num_envs, np.int64)
        """Of the year, of the step to come."""
        self.age = np.zeros(num_envs, np.int64)
        """Steps that are done."""
        self.weather = np.zeros(num_envs, np.int64)
        """Index of the year of weather."""
        self.load = np.zeros(num_envs, np.int64)
        """Index of the year of load."""
        self.drawn = np.zeros((4, len(config.faults), num_envs))
        """Of `faults.draw_faults`."""
        self.find_years()

    def start_over(self, keys: NDArray[np.uint64]) -> None:
        """The episode that is drawn next is the first of these keys (num_envs,)."""
        self.keys = keys
        self.episode[:] = -1
        self.seeded = True

    def draw(self, rows: NDArray[np.intp]) -> None:
        """Begin the next episode of these environments."""
        self.episode[rows] += 1
        for row in rows.tolist():
            self._draw(row)
        self.age[rows] = 0
        self.find_years()

    def _draw(self, row: int) -> None:
        sequence = np.random.SeedSequence(int(self.keys[row]), spawn_key=(int(self.episode[row]),))
        generator = np.random.default_rng(sequence)
        self.noise_keys[row] = generator.integers(2**64 - 1, dtype=np.uint64)
        pair = int(generator.integers(len(self._pairs)))
        if self._config.pairing != "random":
            pair = row % len(self._pairs)
        self.weather[row], self.load[row] = self._pairs[pair]
        time = generator.integers(STEPS_PER_YEAR)
        if self._config.start_day is not None:
            time = round(self._config.start_day * STEPS_PER_DAY) % STEPS_PER_YEAR
        elif self.steps == STEPS_PER_YEAR:
            time = 0
        self.time[row] = time
        self.drawn[:, :, row] = draw_faults(self._config.faults, generator)

    def find_years(self) -> None:
        """Bring where the years lie in `Outdoors` up to date with their indices."""
        self.weather_start = self.weather * STEPS_PER_YEAR
        self.load_start = self.load * STEPS_PER_YEAR

    def advance(self) -> NDArray[np.bool_]:
        """A step is done everywhere; (num_envs,) whether it was the episode's last."""
        self.time = (self.time + 1) % STEPS_PER_YEAR
        self.age += 1
        return self.age >= self.steps

    def severities(self) -> Array | None:
        """(faults, num_envs) of `faults.severities` in the step to come, None without faults."""
        if not self._config.faults:
            return None
        return severities(self._config.faults, self.drawn, self.age)


def keys_of_seeds(seed: ArrayLike, num_envs: int) -> NDArray[np.uint64]:
    """(num_envs,) keys: from a number, one for each environment; from several, of each by itself.

    Row i of several is the only row of the number that stands there. Raises ValueError for what is
    neither an integer of 0 or more nor num_envs of them.
    """
    own: NDArray[Any] = np.asarray(seed)
    wanted = () if own.ndim == 0 else (num_envs,)
    if own.dtype.kind not in "iu" or own.shape != wanted or (own < 0).any():
        raise ValueError(f"seed must be an int of 0 or more, or {num_envs} of them, not {seed!r}")
    pairs = [(int(s), 0) for s in own] if own.ndim else [(int(own), i) for i in range(num_envs)]
    sequences = [np.random.SeedSequence(s, spawn_key=(i,)) for s, i in pairs]
    return np.array([s.generate_state(1, np.uint64)[0] for s in sequences])
