"""How fast bins are picked from: attempts in full bins, and whole episodes of the environment."""

from __future__ import annotations

import statistics
import time

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.bin_picking.configuration import BinPickingConfig
from rlkit_envs.bin_picking.environment import BinPickingEnvs
from rlkit_envs.bin_picking.episode import PickingBin
from rlkit_envs.bin_picking.heuristics import View, choose, random_on_part
from rlkit_envs.bin_picking.oracle import inside_of, view_of
from rlkit_envs.bin_picking.scene import Array, Scene
from rlkit_envs.bin_picking.sensor import Camera, CameraConfig, Picture
from rlkit_envs.bin_picking.tiers import find_tier

BATCH = 4
"""Bins of the environment."""
_PER_BIN = 40  # attempts before another bin is drawn


def random_pick(view: View, observation: NDArray[np.float32], random: np.random.Generator) -> int:
    """A pixel on a part, at random, where no failure is marked."""
    return choose(random_on_part(view, random), observation[-1] > 0, random)


class FullBin:
    """Contestant: random picks on parts in one bin that is full whenever one is made.

    Only the attempts count, from the choice to the next observation; the bin is put back where a
    part came out, and every so often another is drawn.
    """

    def __init__(self, config: BinPickingConfig, seed: int) -> None:
        self._bin = PickingBin(config, (seed,))
        self._camera = _TimedCamera(config.camera(self._bin.tier))
        self._random = np.random.default_rng(seed)
        self._made = 0
        self._attempt_s = self._sensing_s = 0.0
        self._fill_s: list[float] = []

    def warm_up(self) -> None:
        """Fill the first bin, and pick once."""
        self._fill()
        self.window(0.0)
        self._fill_s.clear()
        self._camera.picture_s.clear()
        self._attempt_s = self._sensing_s = 0.0

    def window(self, seconds: float) -> float:
        """Attempts a second, at least one of them."""
        made, spent = 0, 0.0
        while not made or spent < seconds:
            if self._made and self._made % _PER_BIN == 0:
                self._fill()
            action = random_pick(view_of(self._bin), self._bin.observation, self._random)
            sensed, started = self._camera.seconds, time.perf_counter()
            result = self._bin.attempt(action)
            spent += time.perf_counter() - started
            self._sensing_s += self._camera.seconds - sensed
            made += 1
            self._made += 1
            if result.attempt.out.any() or result.terminated or result.truncated:
                self._bin.set_state(self._full)
        self._attempt_s += spent
        return made / spent

    def seconds(self) -> dict[str, float]:
        """Medians, of filling a bin and of a picture."""
        return {
            "fill": statistics.median(self._fill_s or [self._first_fill_s]),
            "picture": statistics.median(self._camera.picture_s),
        }

    def shares(self) -> dict[str, float]:
        """Of an attempt's time: that of looking, and all else, nearly all of it simulation."""
        sensing = self._sensing_s / self._attempt_s
        return {"sensing": sensing, "physics": 1.0 - sensing}

    def _fill(self) -> None:
        started = time.perf_counter()
        self._bin.begin()
        self._fill_s.append(time.perf_counter() - started)
        self._first_fill_s = self._fill_s[-1]
        self._bin.camera = self._camera  # an episode brings its own
        self._full = self._bin.state()


class WholeEpisodes:
    """Contestant: the vector environment in one process, random picks on parts.

    Bins empty and are filled again, which takes time but is no attempt.
    """

    def __init__(self, config: BinPickingConfig, seed: int) -> None:
        self._envs = BinPickingEnvs(BATCH, config=config, processes=1)
        camera = config.camera(find_tier(config.tier))
        inside = inside_of(PickingBin(config, (seed,)))
        self._blind = View(np.zeros(inside.shape), inside, camera.pixel_m, 0.0)
        self._random = np.random.default_rng(seed)
        self._seed = seed

    def warm_up(self) -> None:
        """Fill the first bins."""
        self._observations, _ = self._envs.reset(seed=self._seed)

    def window(self, seconds: float) -> float:
        """Attempts a second, over all bins."""
        made, started = 0, time.perf_counter()
        while not made or time.perf_counter() - started < seconds:
            actions = np.array([self._pick(observation) for observation in self._observations])
            self._observations, *_, info = self._envs.step(actions)
            made += int((info["outcome"] >= 0).sum())
        return made / (time.perf_counter() - started)

    def close(self) -> None:
        """End the process."""
        self._envs.close()

    def _pick(self, observation: NDArray[np.float32]) -> int:
        blind = self._blind
        view = View(observation[0].astype(float), blind.inside, blind.pixel_m, blind.radius_m)
        return random_pick(view, observation, self._random)


class _TimedCamera(Camera):
    """Adds up the seconds that it takes."""

    def __init__(self, config: CameraConfig) -> None:
        super().__init__(config)
        self.seconds = 0.0
        self.picture_s: list[float] = []

    def look(self, scene: Scene, offset_m: tuple[float, float] = (0.0, 0.0)) -> Picture:
        started = time.perf_counter()
        picture = super().look(scene, offset_m)
        self.picture_s.append(time.perf_counter() - started)
        self.seconds += self.picture_s[-1]
        return picture

    def look_badly(self, heights_m: Array, random: np.random.Generator) -> Array:
        started = time.perf_counter()
        seen = super().look_badly(heights_m, random)
        self.seconds += time.perf_counter() - started
        return seen
