"""Attempts to pick from bins, each a crop of the heightmap about the picked pixel, and its outcome.

Hand-made pickers take turns, so that attempts of all outcomes occur; which outcomes there are is
the environment's business (`rlkit_envs.bin_picking.controller.Outcome`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from rlkit.gan.labelled_rows import LabelledRows
from rlkit_envs.bin_picking.configuration import BinPickingConfig
from rlkit_envs.bin_picking.controller import Outcome
from rlkit_envs.bin_picking.environment import BinPickingEnvs
from rlkit_envs.bin_picking.episode import OUTCOMES
from rlkit_envs.bin_picking.heuristics import HEURISTICS, View, choose
from rlkit_envs.bin_picking.sensor import CameraConfig
from rlkit_envs.bin_picking.tiers import EVERY_TIER, SHARES, TIERS


@dataclass(frozen=True)
class OutcomeConfig:
    """What attempts are recorded. Raises ValueError for what does not fit."""

    attempts: int = 2_000
    """How many are kept, 1 or more."""
    tier: str = EVERY_TIER
    """Of the bins: single, mixed, heavy, entangled, walled, or all, one drawn anew for each
    episode."""
    pickers: tuple[str, ...] = ("random on part", "highest", "magnet quality")
    """Hand-made pickers, which take turns: of random, random on part, highest, flattest-high,
    segment centroid (also above discs), magnet quality and centred magnet quality."""
    force_n: float | None = None
    """The magnet's pull in newtons; None leaves it to the tier, which has about 9. Two parts at
    once come out as good as never with that, and the more often the stronger it is."""
    size: int = 24
    """Pixels of a crop's sides, even; 3.5 mm each. What is beyond the camera's field repeats its
    edge."""
    level_mm: float = 0.6
    """Millimetres that a byte counts: heights are bytes times this, cut off at 255 of them."""
    bins: int = 8
    """Bins that are picked from in turn, 1 or more; each is a stream of episodes."""
    processes: int = 0
    """That bins are spread over; 0 is one a core. What is recorded hangs on it in no way."""
    seed: int = 0
    """Determines everything, 0 or more."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "pickers", tuple(self.pickers))
        for name, least in (("attempts", 1), ("bins", 1), ("processes", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        unknown = [name for name in self.pickers if name not in HEURISTICS]
        if unknown or not self.pickers:
            told = f"no picker is called {unknown[0]!r}" if unknown else "pickers names none"
            raise ValueError(f"{told}; there are {', '.join(HEURISTICS)}")
        pixels = self.environment().pixels
        if self.size % 2 or not 8 <= self.size <= pixels:
            raise ValueError(f"size must be even and from 8 to {pixels}, got {self.size}")
        if not 0.0 < self.level_mm * 255.0 < 1e4:
            raise ValueError(f"level_mm must be positive and below 39, got {self.level_mm}")

    def environment(self) -> BinPickingConfig:
        """The bins. Raises ValueError for a tier or a pull that cannot be."""
        return BinPickingConfig(tier=self.tier, force_n=self.force_n)


def record_outcomes(
    config: OutcomeConfig, on_attempt: Callable[[int, int], None] = lambda done, total: None
) -> LabelledRows:
    """Pick, and keep a crop (1, size, size) of bytes of every attempt.

    Groups are episodes, so that what was picked from one bin stays together. Classes are the
    outcomes that occurred, in the environment's order. Attempts that broke the physics are left
    out. on_attempt: given attempts done and attempts in all. The same configuration gives the same
    examples, whatever the number of processes.
    """
    environment = config.environment()
    tier = next(iter(SHARES)) if config.tier == EVERY_TIER else config.tier
    camera = environment.camera(TIERS[tier])  # the same field and pixels in every tier
    inside = _inside(camera, environment)
    random = np.random.default_rng((config.seed, 1))
    crops: list[NDArray[np.uint8]] = []
    outcomes: list[int] = []
    groups: list[tuple[int, int]] = []
    envs = BinPickingEnvs(config.bins, config=environment, processes=config.processes)
    try:
        observations, _ = envs.reset(seed=config.seed)
        episodes = np.zeros(config.bins, np.int64)
        turn = 0
        while len(outcomes) < config.attempts:
            heights = observations[:, 0]
            actions = np.array(
                [
                    _choose(config.pickers[(turn + row) % len(config.pickers)], seen, view, random)
                    for row, (seen, view) in enumerate(
                        zip(observations, _views(heights, inside, camera, environment), strict=True)
                    )
                ]
            )
            turn += 1
            observations, _, terminated, truncated, info = envs.step(actions)
            for row in range(config.bins):
                outcome = int(info["outcome"][row])
                if outcome < 0 or OUTCOMES[outcome] is Outcome.UNSTABLE:
                    continue
                crops.append(crop(heights[row], int(actions[row]), config.size, config.level_mm))
                outcomes.append(outcome)
                groups.append((row, int(episodes[row])))
            episodes += terminated | truncated
            on_attempt(min(len(outcomes), config.attempts), config.attempts)
    finally:
        envs.close()
    kept = slice(config.attempts)
    occurred, labels = np.unique(np.array(outcomes[kept]), return_inverse=True)
    _, numbers = np.unique(np.array(groups[kept]), axis=0, return_inverse=True)
    about = {
        "world": "bin picking outcomes",
        "height_mm": f"bytes times {config.level_mm:g}",
        "pixel_mm": 1e3 * camera.pixel_m,
        **{name: value for name, value in asdict(config).items() if name != "processes"},
    }
    return LabelledRows(
        np.stack(crops[kept])[:, np.newaxis],
        labels.astype(np.int64),
        tuple(OUTCOMES[outcome].value for outcome in occurred),
        numbers.reshape(-1).astype(np.int64),
        about,
    )


def crop(
    height_mm: NDArray[np.floating], pixel: int, size: int, level_mm: float
) -> NDArray[np.uint8]:
    """(size, size) bytes of a heightmap about a pixel, which is at (size / 2, size / 2).

    height_mm: (rows, columns). pixel: counted row by row. A byte is a height over `level_mm`,
    rounded, and 255 for all that is higher. What is beyond the map repeats its edge.
    """
    row, column = divmod(pixel, height_mm.shape[1])
    padded = np.pad(height_mm, size // 2, mode="edge")
    cut = padded[row : row + size, column : column + size]
    return np.rint(cut / level_mm).clip(0, 255).astype(np.uint8)


def _views(
    heights_mm: NDArray[np.float32],
    inside: NDArray[np.bool_],
    camera: CameraConfig,
    environment: BinPickingConfig,
) -> list[View]:
    """What hand-made pickers see of each bin."""
    radius_m = environment.tool.face_radius_m
    return [View(each.astype(float), inside, camera.pixel_m, radius_m) for each in heights_mm]


def _inside(camera: CameraConfig, environment: BinPickingConfig) -> NDArray[np.bool_]:
    """(rows, columns) where an upright tool clears the walls."""
    reach_m = environment.bin_side_m / 2 - environment.tool.face_radius_m
    return np.abs(camera.points()).max(-1) < reach_m


def _choose(
    picker: str, observation: NDArray[np.float32], view: View, random: np.random.Generator
) -> int:
    return choose(HEURISTICS[picker](view, random), observation[-1] > 0, random)
