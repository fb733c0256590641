"""One bin through its episodes: filled, looked at, picked from until it is empty.

Everything that is drawn at random in an episode follows from the bin's seed and the episode's
number, and what happens in an attempt from where the parts lie. So a bin's state is small, and
whoever has it can go on from there, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.bin_picking.configuration import BinPickingConfig
from rlkit_envs.bin_picking.controller import Attempt, Controller, OnMoment, Outcome
from rlkit_envs.bin_picking.failure_memory import FailureMemory
from rlkit_envs.bin_picking.magnet import Magnet, MagnetConfig
from rlkit_envs.bin_picking.parts import DISTRACTORS, Part, draw_part
from rlkit_envs.bin_picking.scene import Array, BinConfig, Scene, UnstablePhysicsError
from rlkit_envs.bin_picking.sensor import Camera, Picture
from rlkit_envs.bin_picking.tiers import Range, draw_tier

OUTCOMES = tuple(Outcome)
"""In the order of the numbers that stand for them."""
STEEL_COLOUR, MARBLE_COLOUR, BIN_COLOUR = (0.45, 0.47, 0.5), (0.85, 0.87, 0.9), (0.2, 0.3, 0.45)

_POUR_S, _SHAKE_S, _FILL_S = 0.5, 1.0, 4.0
_RESHAKE_S, _SHAKE_CYCLE_S = 0.7, 2.0
_REFILLS = 8
_SUNK_M = 0.0005  # thin bars that fall fast can pass into each other within a time step


@dataclass(frozen=True)
class Result:
    """What came of an attempt in an episode.

    escaped: parts that had left the bin without the magnet. deepest_m: how far the worst contact
    of two bodies had sunk in. put_back: parts thrown in again for either.
    """

    attempt: Attempt
    reward: float
    terminated: bool
    truncated: bool
    escaped: int = 0
    deepest_m: float = 0.0
    put_back: int = 0


class PickingBin:
    """A bin whose episodes follow from `seed` (any number of integers)."""

    def __init__(self, config: BinPickingConfig, seed: tuple[int, ...]) -> None:
        self.config = config
        self.seed = seed
        self.episode = -1
        """Number of the present one."""
        self._choose_tier()
        self.points_m = self.camera.config.points()
        self.memory = FailureMemory(self.points_m, config.failure_radius_m)
        # A tool that may lean reaches up to the walls.
        margin_m = config.tool.face_radius_m if config.leans == 0 else 0.0
        self.beyond_reach = ~self.inside(margin_m)
        """(pixels, pixels) bool, where the tool cannot go down for the walls."""
        self.leans = _leans(config)
        self.attempts = 0
        """Made in the present episode."""
        self.failures_in_a_row = 0
        self.counts: dict[str, float] = {}

    # Episodes

    def begin(self) -> None:
        """Start the next episode with a full bin: the first of the next ones that can be filled."""
        self.attempts = self.failures_in_a_row = 0
        self.counts = dict.fromkeys((outcome.value for outcome in OUTCOMES), 0.0)
        self.counts["cycle_s"] = 0.0
        for left in reversed(range(_REFILLS)):
            self.episode += 1
            try:
                self._build()
                self._fill()
                break
            except UnstablePhysicsError:
                if not left:
                    raise
        self.memory.clear()
        self._look()

    def _random(self, purpose: int, number: int = 0) -> np.random.Generator:
        return np.random.default_rng([*self.seed, max(0, self.episode), purpose, number])

    def _choose_tier(self) -> None:
        self.tier = draw_tier(self.config.tier, self._random(3))
        self.camera = Camera(self.config.camera(self.tier))

    def _build(self) -> None:
        """Draw the parts and the physics of the present episode."""
        self._choose_tier()
        config, tier, random = self.config, self.tier, self._random(0)

        def within(limits: Range) -> float:
            return float(random.uniform(*limits))

        count = int(random.integers(tier.parts[0], tier.parts[1], endpoint=True))
        if config.parts is not None:
            count = config.parts
        shares = tier.kinds if config.shapes == "training" else tier.held_out()
        friction = within(tier.friction)
        kinds = random.choice(list(shares), count, p=np.array(list(shares.values())))
        if all(kind in DISTRACTORS for kind in kinds):
            kinds[0] = next(kind for kind in shares if kind not in DISTRACTORS)
        self.parts: list[Part] = []
        for kind in kinds:
            part = draw_part(str(kind), random, scale=within(tier.scale))
            x, y, z = random.uniform(-1.0, 1.0, 3) * tier.mass_offset
            self.parts.append(
                replace(
                    part,
                    density_kg_per_m3=part.density_kg_per_m3 * within(tier.density),
                    friction=friction,
                    mass_offset=(float(x), float(y), float(z)),
                )
            )
        leaning = random.uniform(-1.0, 1.0, 2) * tier.bin_tilt_deg
        bin_ = BinConfig(
            side_m=config.bin_side_m,
            wall_height_m=tier.wall_height_m,
            friction=friction,
            ferrous=tier.ferrous_bin,
            tilt_deg=(float(leaning[0]), float(leaning[1])),
        )
        force = within(tier.force_n) if config.force_n is None else config.force_n
        magnet = MagnetConfig(force_n=force, gap_m=within(tier.gap_m))
        offset = random.uniform(-1.0, 1.0, 2) * tier.camera_offset_m
        self.camera_offset_m = (float(offset[0]), float(offset[1]))
        self.scene = Scene(self.parts, bin_, config.tool)
        self.controller = Controller(self.scene, Magnet(self.scene, magnet), config.motion)
        self.ferrous = np.array([part.ferrous for part in self.parts])

    def _fill(self) -> None:
        """Pour the parts in and let them settle; what cannot lie in so small a bin stays out."""
        random, count = self._random(1), len(self.parts)
        every = np.ones(count, bool)
        badly = self._throw_in(np.zeros((count, 7)), every, every, random, _SHAKE_S)
        self.scene.place(self.scene.poses(), ~badly)

    def _throw_in(
        self,
        poses: Array,
        thrown: NDArray[np.bool_],
        present: NDArray[np.bool_],
        random: np.random.Generator,
        shake_s: float,
    ) -> NDArray[np.bool_]:
        """Let parts fall into the bin until none bounced out, or burst into another.

        poses: (parts, 7) of those that lie there. thrown: (parts,) which fall from above, and again
        where the physics breaks down. Returns (parts,) those that still lie badly after some tries.
        Raises UnstablePhysicsError where it broke down in the last of them.
        """
        scene = self.scene
        poses = poses.copy()
        falling, badly = thrown, thrown
        for left in reversed(range(_REFILLS)):
            poses[falling] = self._above(int(falling.sum()), random)
            try:
                scene.place(poses, present)
                scene.pour(_POUR_S)
                scene.shake(shake_s)
                scene.settle(_FILL_S)
            except UnstablePhysicsError:  # thin bars that fall into each other can burst apart
                if not left:
                    raise
                badly = falling = thrown
                continue
            poses = scene.poses()
            scene.place(poses, present)
            badly = falling = self._lie_badly()
            if not badly.any():
                break
        return badly

    def _lie_badly(self) -> NDArray[np.bool_]:
        """(parts,) which left the bin without the magnet, or sank into another part."""
        return self.scene.outside() | self.scene.sunk(_SUNK_M)

    def _above(self, count: int, random: np.random.Generator) -> Array:
        """(count, 7) poses above the bin, turned at random, in layers where no two parts touch."""
        room = 2.05 * float(self.scene.reach_m.max())
        a_row = max(1, int(self.config.bin_side_m / room))
        layers = -(-count // a_row**2)
        cells = random.permutation(layers * a_row**2)[:count]
        layer, cell = np.divmod(cells, a_row**2)
        poses = np.zeros((count, 7))
        poses[:, :2] = (np.column_stack(np.divmod(cell, a_row)) - (a_row - 1) / 2) * room
        poses[:, 2] = self.tier.wall_height_m / 2 + (layer + 1) * room
        turns = random.normal(size=(count, 4))
        poses[:, 3:] = turns / np.linalg.norm(turns, axis=1, keepdims=True)
        return poses

    # Looking

    def _look(self, failed_pixel: int | None = None) -> None:
        """Take a picture, after an attempt that failed at a pixel, if one did."""
        self.picture: Picture = self.camera.look(self.scene, self.camera_offset_m)
        if failed_pixel is not None:
            self.memory.add(failed_pixel, self.picture.height_m)
        self.memory.look(self.picture.height_m)
        seen = self.camera.look_badly(self.picture.height_m, self._random(2, self.attempts))
        channels: list[NDArray[Any]] = [1e3 * seen[None]]
        if self.config.normals:
            channels.append(np.moveaxis(self.picture.normals, -1, 0))
        if self.config.colour:
            channels.append(np.moveaxis(self._colours(), -1, 0))
        channels.append(self.marks()[None])
        self.observation: NDArray[np.float32] = np.concatenate(channels).astype(np.float32)
        """(channels, pixels, pixels): heights in mm, what was asked for, where not to pick."""

    def inside(self, margin_m: float) -> NDArray[np.bool_]:
        """(pixels, pixels) the pixels over the bin's floor, further than that from its walls."""
        return np.abs(self.points_m).max(-1) < self.config.bin_side_m / 2 - margin_m

    def marks(self) -> NDArray[np.bool_]:
        """(pixels, pixels) where not to pick: near recent failures, and beyond the tool's reach."""
        return self.memory.mask() | self.beyond_reach

    def _colours(self) -> Array:
        colours = np.array(
            [STEEL_COLOUR if part.ferrous else MARBLE_COLOUR for part in self.parts] + [BIN_COLOUR]
        )
        return colours[self.picture.part]

    # Picking

    def attempt(self, action: int, on_moment: OnMoment = lambda: None) -> Result:
        """Try to pick; see `BinPickingEnvs` for what actions mean."""
        scene, config = self.scene, self.config
        lean, pixel = divmod(action, config.pixels**2)
        before = (scene.poses(), scene.present)
        self.attempts += 1
        try:
            done = self.controller.attempt(
                self.points_m.reshape(-1, 2)[pixel], self.leans[lean], on_moment
            )
            success = done.outcome is Outcome.OK
            self.failures_in_a_row = 0 if success else self.failures_in_a_row + 1
            scene.place(scene.poses(), scene.present & ~done.out)
            if (
                config.shake_after
                and self.failures_in_a_row % config.shake_after == 0
                and not success
            ):
                done = self._shake(done)
            escaped, deepest_m = int(scene.outside().sum()), scene.deepest_penetration_m()
            put_back, gone = self._put_back()
            done = replace(done, out=done.out | gone)
        except UnstablePhysicsError:
            scene.place(*before)
            self.counts[Outcome.UNSTABLE.value] += 1
            return Result(Attempt.nothing(len(self.parts)), 0.0, False, True)
        self.counts[done.outcome.value] += 1
        self.counts["cycle_s"] += done.cycle_s
        self._look(None if success else pixel)
        cleared = not (scene.present & self.ferrous).any()
        tired = self.failures_in_a_row >= config.failures_in_a_row or self.attempts >= 2 * len(
            self.parts
        )
        truncated = tired and not cleared
        return Result(done, float(success), cleared, truncated, escaped, deepest_m, put_back)

    def _put_back(self) -> tuple[int, NDArray[np.bool_]]:
        """Throw in again what left the bin without the magnet, or sank into another part, as
        whoever minds the cell would.

        Returns how many parts that were, and (parts,) those that the bin does not hold, which are
        gone then.
        """
        scene, badly = self.scene, self._lie_badly()
        gone = np.zeros(len(self.parts), bool)
        if badly.any():
            random = self._random(4, self.attempts)
            left = self._throw_in(scene.poses(), badly, scene.present, random, 0.0)
            gone = left & scene.outside()
            scene.place(scene.poses(), scene.present & ~gone)
        return int(badly.sum()), gone

    def _shake(self, done: Attempt) -> Attempt:
        """Shake the bin after an attempt, which then took longer."""
        scene = self.scene
        scene.shake(_RESHAKE_S)
        scene.settle(_FILL_S)
        seconds = scene.data.time
        scene.place(scene.poses(), scene.present)
        return replace(
            done,
            simulated_s=done.simulated_s + seconds,
            cycle_s=done.cycle_s + _SHAKE_CYCLE_S,
        )

    def try_out(self, action: int) -> Attempt:
        """What would come of an attempt; the bin stays as it is."""
        state = self.state()
        result = self.attempt(action)
        self.set_state(state)
        return result.attempt

    def episode_counts(self) -> dict[str, float]:
        """What the environment counts, up to now in this episode."""
        ok, hours = self.counts[Outcome.OK.value], self.counts["cycle_s"] / 3600.0
        left = self.scene.present
        return {
            "success": ok / max(1, self.attempts),
            "cleared": float(not (left & self.ferrous).any()),
            "parts_left": float(left.sum()),
            "picks_per_hour": ok / hours if hours > 0 else 0.0,
            **{outcome.value: self.counts[outcome.value] for outcome in OUTCOMES},
        }

    # State

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything that the future depends on, for `set_state`."""
        pixels = [pixel for pixel, _ in self.memory.failures]
        return {
            "seed": np.array(self.seed, np.int64),
            "episode": np.array(self.episode),
            "attempts": np.array(self.attempts),
            "failures_in_a_row": np.array(self.failures_in_a_row),
            "counts": np.array(list(self.counts.values())),
            "poses": self.scene.poses(),
            "present": self.scene.present.copy(),
            "failed_pixels": np.array(pixels, np.int64),
            "failed_heights_m": np.concatenate(
                [np.zeros(0), *(heights for _, heights in self.memory.failures)]
            ),
            "observation": self.observation,
        }

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from where `state` was taken, in a bin of the same configuration.

        Raises ValueError for a state of another configuration, as far as its pictures and parts
        tell; the bin is then to be begun anew.
        """
        wanted = (self.config.channels, self.config.pixels, self.config.pixels)
        if (seen := np.shape(state["observation"])) != wanted:
            raise ValueError(f"a state with pictures of {seen} does not fit a bin of {wanted}")
        seed, episode = tuple(int(part) for part in state["seed"]), int(state["episode"])
        if (seed, episode) != (self.seed, self.episode):
            self.seed, self.episode = seed, episode
            self._build()
            names = (*(outcome.value for outcome in OUTCOMES), "cycle_s")
            self.counts = dict.fromkeys(names, 0.0)
        if len(state["poses"]) != len(self.parts):
            raise ValueError(
                f"a state of {len(state['poses'])} parts does not fit a bin of {len(self.parts)}"
            )
        self.counts = dict(zip(self.counts, state["counts"].tolist(), strict=True))
        self.attempts = int(state["attempts"])
        self.failures_in_a_row = int(state["failures_in_a_row"])
        self.scene.place(state["poses"], state["present"])
        self.memory.clear()
        heights, start = state["failed_heights_m"], 0
        for pixel in state["failed_pixels"]:
            near = self.memory.near(int(pixel))
            self.memory.failures.append((int(pixel), heights[start : start + near.sum()]))
            start += int(near.sum())
        self._look()
        # After physics that broke down, the last picture is older than the number of attempts.
        self.observation = np.array(state["observation"])


def _leans(config: BinPickingConfig) -> list[Array]:
    """Quaternions of the ways in which the tool may stand: upright, then leaning round about."""
    half = np.deg2rad(config.lean_deg) / 2
    turns = 2.0 * np.pi * np.arange(config.leans) / max(1, config.leans)
    return [
        np.array([1.0, 0.0, 0.0, 0.0]),
        *(
            np.array([np.cos(half), *(np.sin(half) * np.array([-np.sin(t), np.cos(t), 0.0]))])
            for t in turns
        ),
    ]
