"""Moves the tool through one attempt to pick a part, and says what came of it.

The controller knows a point and a lean, nothing else; where to pick is up to the policy. It goes
down until its tip gives way, switches the magnet on, lifts, carries what it holds beyond the bin's
wall and lets go.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.bin_picking.magnet import Magnet, Pull
from rlkit_envs.bin_picking.mujoco_import import mujoco
from rlkit_envs.bin_picking.rays import look_down
from rlkit_envs.bin_picking.scene import BIN_GROUP, GRAVITY_M_PER_S2, Array, Scene


class Outcome(Enum):
    """What came of an attempt."""

    OK = "ok"
    """Exactly one part is out."""
    MISS = "miss"
    """Nothing was lifted."""
    COLLISION = "collision"
    """The tool hit a wall, or something beside its face."""
    DROPPED = "dropped"
    """A part was lifted and came off."""
    DOUBLE = "double"
    """More than one part is out."""
    WALL = "wall"
    """The magnet stuck to the bin."""
    UNSTABLE = "unstable"
    """The physics broke down; nothing that it says counts."""


@dataclass(frozen=True)
class MotionConfig:
    """How the tool moves."""

    approach_m: float = 0.008
    """Above the highest thing under the tool, where the slow way down begins."""
    descent_m_per_s: float = 0.15
    """Down to contact."""
    press_m: float = 0.003
    """How far the tip gives way before the magnet is switched on."""
    dwell_s: float = 0.04
    """From switching on to lifting."""
    relax_m_per_s: float = 0.03
    """Up, until the tip's spring is relaxed."""
    lift_m_per_s: float = 0.3
    """Up, and to the side."""
    lift_m_per_s2: float = 3.0
    """Acceleration of that."""
    carry_m_per_s: float = 0.8
    """Over the wall."""
    carry_m_per_s2: float = 3.0
    """Acceleration of that."""
    clearance_m: float = 0.06
    """Between the wall's top and the face, while carrying."""
    side_force_n: float = 3.0
    """With which the tool may touch something beside its face."""
    settle_s: float = 1.5
    """At most, for the pile to come to rest afterwards."""
    fixed_s: float = 4.3
    """Of every cycle: picture, decision, letting go. With it a pick takes 5.8 s, as it took the
    robot that made some 5,000 tries in eight hours (Fanuc and Preferred Networks 2015)."""
    travel_m_per_s: float = 1.0
    """Through free air, in the cycle's time."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            moves = "_per_s" in name  # a speed or an acceleration, without which nothing arrives
            if not (value > 0 if moves else value >= 0) or not math.isfinite(value):
                least = "above 0" if moves else "at least 0"
                raise ValueError(f"{name} must be {least} and finite, got {value}")


@dataclass(frozen=True)
class Attempt:
    """What came of one attempt.

    out: (parts,) bool, which it brought out: they rose with the tool and are no longer in the bin.
    lifted: parts that hung on the magnet. quality: share of the magnet's force that it had when it
    was switched on. part: the one that it then held most, or -1; of that part hold_force_n,
    weight_n, offset_m (from the face's middle to its centre of mass, along the face) and tilt_deg
    (between the face and the surface under it), 0 where there is none.
    simulated_s: of physics. cycle_s: what a robot would have taken.
    """

    outcome: Outcome
    out: np.ndarray
    lifted: int
    quality: float
    hold_force_n: float
    weight_n: float
    offset_m: float
    tilt_deg: float
    part: int
    simulated_s: float
    cycle_s: float

    @staticmethod
    def nothing(parts: int) -> Attempt:
        """One that the physics broke down in, and that moved none of so many parts."""
        return Attempt(
            Outcome.UNSTABLE, np.zeros(parts, bool), 0, 0.0, 0.0, 0.0, 0.0, 0.0, -1, 0.0, 0.0
        )


OnMoment = Callable[[], None]

_HELD, _STUCK = 0.02, 0.1  # shares of the magnet's force from which on something counts as held
_RIM_M = 0.01  # what the tool touches of the bin above this is a wall
_LIFTED_M = 0.02  # what rose with the tool this far was lifted
_RELAXED_M, _THERE_M, _SLOWEST_M_PER_S = 0.0002, 0.0005, 0.01
_BESIDE_M = 0.08  # beyond the wall's inside, where parts are let go


@dataclass(frozen=True)
class _Grip:
    """What the magnet holds as it begins to lift; see `Attempt`."""

    quality: float = 0.0
    force_n: float = 0.0
    weight_n: float = 0.0
    offset_m: float = 0.0
    tilt_deg: float = 0.0
    part: int = -1


_NO_GRIP = _Grip()


class Controller:
    """Carries out attempts in one scene."""

    def __init__(self, scene: Scene, magnet: Magnet, config: MotionConfig) -> None:
        self.scene = scene
        self.magnet = magnet
        self.config = config
        self._shaft = scene.model.geom("shaft").id

    def attempt(self, point: Array, lean: Array, on_moment: OnMoment = lambda: None) -> Attempt:
        """Try to pick at a point (2,), x and y in metres, with the tool leaning by a quaternion.

        on_moment is called after every time step, for whoever films it. Afterwards the parts rest,
        those that left the bin among them. Raises UnstablePhysicsError.
        """
        scene, config, magnet = self.scene, self.config, self.magnet
        started = scene.data.time
        scene.lean_tool(lean)
        top = self._highest_under_tool(point)
        begin = np.array([*point, top + config.approach_m])
        scene.move_tool_to(begin)
        axis = scene.tool_axis.copy()
        hit = self._descend(axis, on_moment)
        grip = _NO_GRIP
        outcome, lifted, risen = Outcome.COLLISION, 0, np.zeros(len(scene.parts), bool)
        lowest = float(scene.tool_position[2])
        if not hit:
            grip, pull = self._grip(axis, on_moment)
            stuck = pull.bin_n > _STUCK * magnet.config.force_n
            outcome = Outcome.WALL if stuck else Outcome.MISS
            if grip.part >= 0:
                lifted, risen = self._lift_and_carry(on_moment)
                outcome = Outcome.DROPPED if lifted else outcome
        magnet.release()
        scene.park_tool()
        scene.settle(self.config.settle_s)
        out = scene.outside() & risen  # what left by itself is nothing that it brought
        if out.any():
            outcome = Outcome.DOUBLE if out.sum() > 1 else Outcome.OK
        return Attempt(
            outcome,
            out,
            lifted,
            grip.quality,
            grip.force_n,
            grip.weight_n,
            grip.offset_m,
            grip.tilt_deg,
            grip.part,
            scene.data.time - started,
            self._cycle_s(point, float(begin[2]), lowest, grip.part >= 0, lifted > 0),
        )

    def _highest_under_tool(self, point: Array) -> float:
        """The height in metres of the highest thing within the tool's radius of a point."""
        scene = self.scene
        radius = scene.tool.face_radius_m + 0.002
        turns = 2.0 * np.pi * np.arange(16) / 16
        ring = radius * np.column_stack([np.cos(turns), np.sin(turns)])
        offsets = np.concatenate([np.zeros((1, 2)), 0.25 * ring, 0.5 * ring, ring])
        heights, _ = look_down(scene, point + offsets)
        return float(heights.max())

    def _descend(self, axis: Array, on_moment: OnMoment) -> bool:
        """Go down along the tool until its tip gives way; whether it hit something instead."""
        scene, config = self.scene, self.config
        velocity = -config.descent_m_per_s * axis
        while scene.compression_m < config.press_m and scene.tool_position[2] > -config.press_m:
            scene.set_tool_velocity(velocity)
            scene.step()
            on_moment()
            if self._hits_something():
                return True
        return False

    def _hits_something(self) -> bool:
        """Whether the tool stands on a wall, or pushes anything beside its face.

        To a bin that attracts it the magnet sticks, which is told apart.
        """
        scene = self.scene
        contact = scene.data.contact
        if not len(contact.dist):
            return False
        geoms = contact.geom
        if not scene.bin.ferrous:
            bodies, groups = scene.model.geom_bodyid[geoms], scene.model.geom_group[geoms]
            by_tool = (bodies == scene.tip_body).any(1) & (groups == BIN_GROUP).any(1)
            if (contact.pos[by_tool, 2] > _RIM_M).any():
                return True
        shaft = (geoms == self._shaft).any(1)
        for index in np.flatnonzero(shaft):
            force = np.zeros(6)
            mujoco.mj_contactForce(scene.model, scene.data, index, force)
            if force[0] > self.config.side_force_n:
                return True
        return False

    def _grip(self, axis: Array, on_moment: OnMoment) -> tuple[_Grip, Pull]:
        """Switch the magnet on and wait; what it then holds."""
        scene, magnet = self.scene, self.magnet
        quality = magnet.quality()
        pull = magnet.pull()
        for _ in range(round(self.config.dwell_s / scene.timestep_s)):
            scene.set_tool_velocity(np.zeros(3))
            scene.step()
            pull = magnet.pull()
            on_moment()
        if not self._held(pull).any():
            return replace(_NO_GRIP, quality=quality), pull
        part = int(np.argmax(pull.by_part_n))
        body = scene.part_bodies[part]
        to_centre = scene.data.xipos[body] - scene.data.xpos[scene.tip_body]
        offset = float(np.linalg.norm(to_centre - (to_centre @ axis) * axis))
        return (
            _Grip(
                quality,
                float(pull.by_part_n[part]),
                float(scene.model.body_mass[body]) * GRAVITY_M_PER_S2,
                offset,
                magnet.surface_tilt_deg(),
                part,
            ),
            pull,
        )

    def _held(self, pull: Pull) -> np.ndarray:
        """(parts,) bool, what hangs on the magnet."""
        return pull.by_part_n > _HELD * self.magnet.config.force_n

    def _lift_and_carry(self, on_moment: OnMoment) -> tuple[int, NDArray[np.bool_]]:
        """Lift and carry for as long as something hangs on.

        Returns how many parts were lifted, and (parts,) those that had risen when it was over: what
        hangs on to a lifted part rises too.
        The tip is let out gently first: at full speed the end of its spring would jerk parts off.
        """
        scene, config, dt = self.scene, self.config, self.scene.timestep_s
        start_m = scene.tool_position[2]
        high = scene.bin.wall_height_m + config.clearance_m
        beyond = scene.bin.side_m / 2 + _BESIDE_M
        heights_m = scene.positions()[:, 2]
        lifted = 0

        def over() -> tuple[int, NDArray[np.bool_]]:
            return lifted, (scene.positions()[:, 2] - heights_m > _LIFTED_M) & (lifted > 0)

        def move(axis: int, speed: float) -> bool:
            """Move for a time step; whether something still hangs on."""
            nonlocal lifted
            velocity = np.zeros(3)
            velocity[axis] = speed
            scene.set_tool_velocity(velocity)
            scene.step()
            held = int(self._held(self.magnet.pull()).sum())
            on_moment()
            if held and scene.tool_position[2] - start_m > _LIFTED_M:
                lifted = max(lifted, held)
            return held > 0

        while scene.compression_m > _RELAXED_M and scene.tool_position[2] < high:
            if not move(2, config.relax_m_per_s):
                return over()
        for axis, goal, fastest, acceleration in (
            (2, high, config.lift_m_per_s, config.lift_m_per_s2),
            (0, beyond, config.carry_m_per_s, config.carry_m_per_s2),
        ):
            speed = 0.0
            while (left := goal - scene.tool_position[axis]) > _THERE_M:
                speed = min(fastest, speed + acceleration * dt, np.sqrt(2 * acceleration * left))
                speed = max(speed, _SLOWEST_M_PER_S)
                if not move(axis, min(speed, left / dt)):
                    return over()
        return over()

    def _cycle_s(
        self, point: Array, begin_m: float, deepest_m: float, gripped: bool, carried: bool
    ) -> float:
        """The time a robot needs: from above the tote to the point, down, up and back."""
        config, bin_ = self.config, self.scene.bin
        high = bin_.wall_height_m + config.clearance_m
        across = bin_.side_m / 2 + _BESIDE_M - point[0]
        free = max(0.0, high - begin_m)
        down = max(0.0, begin_m - deepest_m)
        relaxing = config.press_m if gripped else 0.0
        up = max(0.0, high - deepest_m - relaxing)
        seconds = config.fixed_s + (across + free) / config.travel_m_per_s
        seconds += down / config.descent_m_per_s + config.dwell_s
        seconds += relaxing / config.relax_m_per_s
        if carried:
            seconds += up / config.lift_m_per_s + config.lift_m_per_s / config.lift_m_per_s2
            seconds += across / config.carry_m_per_s + config.carry_m_per_s / config.carry_m_per_s2
        else:
            seconds += up / config.travel_m_per_s
        return seconds
