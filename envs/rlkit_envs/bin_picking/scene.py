"""The scene in MuJoCo: a bin, its parts, and a tool on a carriage that moves as it is told.

Between attempts all that changes is where the parts lie and which are still there, so an attempt
can be repeated exactly from `Scene.poses`. What moves the tool is in `controller.py`, what it
attracts in `magnet.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.bin_picking.mujoco_import import mujoco
from rlkit_envs.bin_picking.parts import Part, Solid

Array = NDArray[np.float64]

PART_GROUP, BIN_GROUP, TOOL_GROUP, GROUND_GROUP, GONE_GROUP = 0, 1, 2, 3, 4
"""MuJoCo's groups of geoms, by which rays see the ones and not the others."""

GRAVITY_M_PER_S2 = 9.81

_TIMESTEP_S = 0.004
_POUR_TIMESTEP_S = 0.002  # at 4 ms, bars that fall with 2 m/s pass through each other
# Stiffness of contacts, and friction against turning (m) and rolling (m): at these, steel parts
# come to rest within a second; pyramidal cones creep, and without rolling friction nothing rests.
_CONTACT_TIME_S = 0.006
_CONTACT_IMPEDANCE = [0.95, 0.99, 0.0005, 0.5, 2.0]
_TORSIONAL_M, _ROLLING_M = 0.005, 0.0005
_WALL_THICKNESS_M = 0.01
_FLOOR_THICKNESS_M = 0.04
_FACE_BALLS = 8
_BALL_RADIUS_M = 0.0015
_CARRIAGE_KG = 500.0  # so heavy that nothing in a bin changes its speed
_TIP_KG = 0.15
_PARKED_M = 10.0  # above all that is poured in
_GONE_M = 5.0  # parts that are out are kept this far away, where nothing touches them
_FASTEST_M_PER_S = 20.0
_SHAKE_HZ, _SHAKE_M_PER_S2 = 3.0, 10.0  # 28 mm to and fro: what lies upon another slides off

_SHAPES = {
    "box": mujoco.mjtGeom.mjGEOM_BOX,
    "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
    "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE,
    "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
}


# MuJoCo would write a file MUJOCO_LOG.TXT into the current folder; `Scene.step` finds the same out.
mujoco.set_mju_user_warning(lambda message: None)


class UnstablePhysicsError(ArithmeticError):
    """The simulation left what is physical: a number that is not finite, or an absurd speed."""


@dataclass(frozen=True)
class BinConfig:
    """The bin; its inside is a square whose middle is the origin, its floor lies at z = 0."""

    side_m: float = 0.3
    """Inside, along x and along y."""
    wall_height_m: float = 0.14
    """Above the floor."""
    friction: float = 0.35
    """Coulomb's coefficient of sliding of floor and walls."""
    ferrous: bool = False
    """Whether floor and walls attract the magnet."""
    tilt_deg: tuple[float, float] = (0.0, 0.0)
    """How far the bin leans, about x and about y; gravity turns with it, the tool leans along."""

    def __post_init__(self) -> None:
        if not (self.side_m > 0 and self.wall_height_m > 0):
            raise ValueError(
                f"a bin needs a side and walls above 0, got {self.side_m} and {self.wall_height_m}"
            )


@dataclass(frozen=True)
class ToolConfig:
    """The magnet's mechanics: a flat round face on a spring, under a shaft of the same width."""

    face_radius_m: float = 0.010
    """20 mm across; magnetic grippers for small parts have 12 to 30."""
    spring_n_per_m: float = 300.0
    """Of the compliant tip."""
    stroke_m: float = 0.020
    """How far the tip gives way; with the spring, it pushes with at most 6 N."""
    shaft_length_m: float = 0.25
    """Above the face."""
    friction: float = 0.5
    """Coulomb's coefficient of sliding of the face, which is coated."""

    def __post_init__(self) -> None:
        for name in ("face_radius_m", "spring_n_per_m", "stroke_m", "shaft_length_m"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0 and finite, got {getattr(self, name)}")
        if not 0 <= self.friction < math.inf:
            raise ValueError(f"friction must be at least 0 and finite, got {self.friction}")


class Scene:
    """One bin with its parts and the tool.

    `model` and `data` are MuJoCo's. part_bodies: (parts,) ids. part_of_geom: (geoms,) the part that
    a geom belongs to, or -1. ferrous: (geoms,) bool.
    Raises ValueError for a part that is larger than the bin.
    """

    def __init__(self, parts: Sequence[Part], bin_: BinConfig, tool: ToolConfig) -> None:
        self.parts = tuple(parts)
        self.bin = bin_
        self.tool = tool
        specification = _specification(parts, bin_, tool)
        self.model: mujoco.MjModel = specification.compile()
        self.data = mujoco.MjData(self.model)
        model = self.model
        self.part_bodies = np.array([model.body(f"part{i}").id for i in range(len(parts))], int)
        half_extents = np.array([half_extents_m(part) for part in parts])
        self.reach_m: Array = np.linalg.norm(half_extents, axis=1)
        for part, reach in zip(parts, self.reach_m, strict=True):
            if 2.0 * reach > bin_.side_m:
                raise ValueError(
                    f"a {part.kind} that reaches {1e3 * reach:.0f} mm does not fit into a bin of "
                    f"{1e3 * bin_.side_m:.0f} mm"
                )
        part_of_body = np.full(model.nbody, -1)
        part_of_body[self.part_bodies] = np.arange(len(parts))
        self.part_of_geom: NDArray[np.int64] = part_of_body[model.geom_bodyid]
        ferrous = np.array([part.ferrous for part in parts] + [bin_.ferrous])  # -1 is the bin's
        self.ferrous: NDArray[np.bool_] = ferrous[self.part_of_geom]
        self.tip_body = model.body("tip").id
        self.wrist_body = model.body("wrist").id
        self.ferrous[model.geom_bodyid == self.tip_body] = False
        first = model.jnt_dofadr[model.joint("x").id]
        self._carriage = slice(first, first + 3)
        self._tip_dof = model.jnt_dofadr[model.joint("compression").id]
        self._carriage_q = model.jnt_qposadr[model.joint("x").id]
        self._tip_q = model.jnt_qposadr[model.joint("compression").id]
        self._part_q = model.jnt_qposadr[model.body_jntadr[self.part_bodies]]
        self._part_dof = model.jnt_dofadr[model.body_jntadr[self.part_bodies]]
        self._contacts = (model.geom_contype.copy(), model.geom_conaffinity.copy())
        self._groups = model.geom_group.copy()
        offsets = np.array([part.mass_offset for part in parts])
        model.body_ipos[self.part_bodies] += offsets * half_extents
        mujoco.mj_setConst(model, self.data)
        self.present = np.ones(len(parts), bool)
        self.park_tool()

    @property
    def timestep_s(self) -> float:
        """Simulated seconds of a step."""
        return _TIMESTEP_S

    # Parts

    def poses(self) -> Array:
        """(parts, 7) of each part: position of its frame in metres, quaternion with w first."""
        return self.data.qpos[self._part_q[:, None] + np.arange(7)].copy()

    def place(self, poses: Array, present: NDArray[np.bool_]) -> None:
        """Lay the parts there, at rest; those that are not `present` (parts,) are out of the way.

        poses: as `poses` gives them. The tool is parked above. All else is as in a fresh scene, so
        the same poses have the same future, bit for bit.
        """
        model, data = self.model, self.data
        self.present = np.array(present, bool)
        gone = ~self.present
        mujoco.mj_resetData(model, data)
        data.qpos[self._part_q[:, None] + np.arange(7)] = poses
        for part in np.flatnonzero(gone):
            data.qpos[self._part_q[part] : self._part_q[part] + 7] = (
                _GONE_M + part,
                *(0.0, 0.0, 1.0, 0.0, 0.0, 0.0),
            )
        model.body_gravcomp[self.part_bodies] = gone
        out = np.append(gone, False)[self.part_of_geom]
        model.geom_contype[:] = np.where(out, 0, self._contacts[0])
        model.geom_conaffinity[:] = np.where(out, 0, self._contacts[1])
        model.geom_group[:] = np.where(out, GONE_GROUP, self._groups)
        self.park_tool()

    def positions(self) -> Array:
        """(parts, 3) centres of mass in metres."""
        return self.data.xipos[self.part_bodies]

    def outside(self) -> NDArray[np.bool_]:
        """(parts,) which present parts are not over the bin's inside, or above its walls."""
        x, y, z = self.positions().T
        half = self.bin.side_m / 2
        beyond = (np.abs(x) > half) | (np.abs(y) > half)
        return self.present & (beyond | (z > self.bin.wall_height_m + 0.02) | (z < -0.005))

    def part_speeds(self) -> Array:
        """(parts,) of each part the largest component of velocity, in m/s."""
        return np.abs(self.data.qvel[self._part_dof[:, None] + np.arange(3)]).max(1)

    def deepest_penetration_m(self) -> float:
        """How far the two bodies of the worst contact have sunk into each other."""
        distances = self.data.contact.dist
        return max(0.0, -float(distances.min())) if len(distances) else 0.0

    def sunk(self, depth_m: float) -> NDArray[np.bool_]:
        """(parts,) which parts have sunk further than that into another, one of each two."""
        contact = self.data.contact
        deep = contact.dist < -depth_m
        first, second = self.part_of_geom[contact.geom[deep]].T.reshape(2, -1)
        sunk = np.zeros(len(self.parts), bool)
        sunk[np.maximum(first, second)[np.maximum(first, second) >= 0]] = True
        return sunk

    # Tool

    def park_tool(self) -> None:
        """Put the tool at rest above the bin, upright."""
        self.model.body_quat[self.wrist_body] = (1.0, 0.0, 0.0, 0.0)
        self.move_tool_to(np.array([0.0, 0.0, _PARKED_M]))

    def move_tool_to(self, position: Array) -> None:
        """Put the tool's face there (3,) at once, at rest and its spring relaxed."""
        self.data.qpos[self._carriage_q : self._carriage_q + 3] = position
        self.data.qpos[self._tip_q] = 0.0
        self.set_tool_velocity(np.zeros(3))
        self.data.qvel[self._tip_dof] = 0.0
        mujoco.mj_forward(self.model, self.data)

    def lean_tool(self, quaternion: Array) -> None:
        """Turn the tool about the middle of its face; the identity is upright."""
        self.model.body_quat[self.wrist_body] = quaternion

    def set_tool_velocity(self, velocity: Array) -> None:
        """Make the carriage move so (3,), in m/s, in the steps to come."""
        self.data.qvel[self._carriage] = velocity

    @property
    def tool_position(self) -> Array:
        """(3,) where the face would be with the spring relaxed."""
        return self.data.qpos[self._carriage_q : self._carriage_q + 3].copy()

    @property
    def compression_m(self) -> float:
        """How far the tip has given way."""
        return float(self.data.qpos[self._tip_q])

    @property
    def tool_axis(self) -> Array:
        """(3,) unit vector from the face up the shaft."""
        return self.data.xmat[self.tip_body].reshape(3, 3)[:, 2]

    # Time

    def step(self) -> None:
        """Simulate one time step. Raises UnstablePhysicsError where that fails."""
        mujoco.mj_step(self.model, self.data)
        if self.data.warning.number[_BAD].any():
            raise UnstablePhysicsError(
                f"the simulation broke down at {self.data.time:.3f} s: not a finite number"
            )

    def shake(self, seconds: float) -> None:
        """Rock the bin to and fro, as who puts it down does. Raises UnstablePhysicsError."""
        gravity = self.model.opt.gravity.copy()
        steps = round(seconds / self.timestep_s)
        try:
            for step in range(steps):
                turn = 2.0 * np.pi * _SHAKE_HZ * step * self.timestep_s
                to_and_fro = np.array([np.cos(turn), np.sin(0.7 * turn), 0.0])
                dies = 1.0 - step / steps
                self.model.opt.gravity[:] = gravity + _SHAKE_M_PER_S2 * dies * to_and_fro
                self.step()
        finally:
            self.model.opt.gravity[:] = gravity

    def pour(self, most_s: float) -> None:
        """Settle what falls from above, in time steps so short that bars stop each other."""
        self.model.opt.timestep = _POUR_TIMESTEP_S
        try:
            self.settle(most_s)
        finally:
            self.model.opt.timestep = _TIMESTEP_S

    def settle(self, most_s: float) -> float:
        """Simulate until all parts rest, for at most `most_s` seconds; returns how long it took.

        Raises UnstablePhysicsError where parts are absurdly fast.
        """
        started = self.data.time
        while self.data.time - started < most_s:
            for _ in range(5):
                self.step()
            speeds = self.part_speeds()[self.present]
            if not speeds.size or self._all_asleep():
                break
            if speeds.max() > _FASTEST_M_PER_S:
                raise UnstablePhysicsError(
                    f"a part moves at {speeds.max():.0f} m/s after {self.data.time:.3f} s"
                )
        return self.data.time - started

    def _all_asleep(self) -> bool:
        awake = self.data.body_awake[self.part_bodies][self.present]
        return not (awake == mujoco.mjtSleepState.mjS_AWAKE).any()


_BAD = np.array(
    [
        mujoco.mjtWarning.mjWARN_BADQPOS,
        mujoco.mjtWarning.mjWARN_BADQVEL,
        mujoco.mjtWarning.mjWARN_BADQACC,
    ],
    int,
)


def half_extents_m(part: Part) -> Array:
    """(3,) halves of a box around the part's origin, along its own axes, that holds it."""
    extents = np.zeros(3)
    turn = np.zeros(9)
    for solid in part.solids:
        mujoco.mju_quat2Mat(turn, np.array(solid.quaternion))
        half = np.abs(turn.reshape(3, 3)) @ _half_sides(solid)
        extents = np.maximum(extents, np.abs(solid.position) + half)
    return extents


def _half_sides(solid: Solid) -> Array:
    match solid.shape:
        case "cylinder":
            return np.array([solid.size[0], solid.size[0], solid.size[1]])
        case "capsule":
            return np.array([solid.size[0], solid.size[0], sum(solid.size)])
        case "sphere":
            return np.full(3, solid.size[0])
        case _:
            return np.array(solid.size)


def _specification(parts: Sequence[Part], bin_: BinConfig, tool: ToolConfig) -> mujoco.MjSpec:
    spec = mujoco.MjSpec()
    option = spec.option
    option.timestep = _TIMESTEP_S
    option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    option.impratio = 5.0
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    option.solver = mujoco.mjtSolver.mjSOL_NEWTON
    option.enableflags |= mujoco.mjtEnableBit.mjENBL_SLEEP
    option.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
    about_x, about_y = np.deg2rad(bin_.tilt_deg)
    option.gravity = GRAVITY_M_PER_S2 * np.array(
        [np.sin(about_y), -np.sin(about_x) * np.cos(about_y), -np.cos(about_x) * np.cos(about_y)]
    )
    _add_bin(spec, bin_)
    _add_tool(spec, tool)
    for number, part in enumerate(parts):
        _add_part(spec, part, number)
    return spec


def _surface(friction: float) -> dict[str, Any]:
    return {
        "friction": [friction, _TORSIONAL_M, _ROLLING_M],
        "condim": 6,
        "solref": [_CONTACT_TIME_S, 1.0],
        "solimp": _CONTACT_IMPEDANCE,
    }


def _add_bin(spec: mujoco.MjSpec, bin_: BinConfig) -> None:
    half, thick, height = bin_.side_m / 2, _WALL_THICKNESS_M, bin_.wall_height_m
    deep = _FLOOR_THICKNESS_M / 2
    walls = [((0.0, 0.0, -deep), (half + thick, half + thick, deep))]
    for sign in (-1.0, 1.0):
        middle = sign * (half + thick / 2)
        walls.append(((middle, 0.0, height / 2), (thick / 2, half + thick, height / 2)))
        walls.append(((0.0, middle, height / 2), (half, thick / 2, height / 2)))
    for position, size in walls:
        spec.worldbody.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=position,
            size=size,
            group=BIN_GROUP,
            rgba=[0.55, 0.58, 0.62, 1.0],
            **_surface(bin_.friction),
        )
    spec.worldbody.add_geom(  # what leaves the bin comes to lie here
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        pos=[0.0, 0.0, -_FLOOR_THICKNESS_M],
        size=[0.0, 0.0, 1.0],
        group=GROUND_GROUP,
        rgba=[0.3, 0.32, 0.35, 1.0],
        **_surface(1.0),
    )


def _add_tool(spec: mujoco.MjSpec, tool: ToolConfig) -> None:
    """The carriage's slides, the wrist that leans the tool, and the tip with its spring.

    The face is a circle of small balls around one in the middle, which touch anything in a well
    conditioned way; the shaft begins just above them.
    """
    never = mujoco.mjtSleepPolicy.mjSLEEP_NEVER
    carriage = spec.worldbody.add_body(name="carriage", gravcomp=1.0, sleep=never)
    carriage.mass, carriage.inertia = _CARRIAGE_KG, [_CARRIAGE_KG] * 3
    carriage.explicitinertial = True
    for axis, name in zip(np.eye(3), "xyz", strict=True):
        carriage.add_joint(name=name, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=axis)
    wrist = carriage.add_body(name="wrist")
    tip = wrist.add_body(name="tip", gravcomp=1.0)
    tip.mass, tip.inertia = _TIP_KG, [1e-4] * 3
    tip.explicitinertial = True
    tip.add_joint(
        name="compression",
        type=mujoco.mjtJoint.mjJNT_SLIDE,
        axis=[0.0, 0.0, 1.0],
        stiffness=[tool.spring_n_per_m, 0.0, 0.0],
        damping=[2.0 * np.sqrt(tool.spring_n_per_m * _TIP_KG), 0.0, 0.0],
        limited=True,
        range=[0.0, tool.stroke_m],
        solref_limit=[_CONTACT_TIME_S, 1.0],
    )
    common = {"group": TOOL_GROUP, "rgba": [0.85, 0.35, 0.2, 1.0], **_surface(tool.friction)}
    around = tool.face_radius_m - _BALL_RADIUS_M
    turns = 2.0 * np.pi * np.arange(_FACE_BALLS) / _FACE_BALLS
    for x, y in [(0.0, 0.0), *zip(around * np.cos(turns), around * np.sin(turns), strict=True)]:
        tip.add_geom(
            name=None,
            type=mujoco.mjtGeom.mjGEOM_SPHERE,
            pos=[x, y, _BALL_RADIUS_M],
            size=[_BALL_RADIUS_M, 0.0, 0.0],
            **common,
        )
    start = 0.75 * _BALL_RADIUS_M
    half_length = (tool.shaft_length_m - start) / 2
    tip.add_geom(
        name="shaft",
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        pos=[0.0, 0.0, start + half_length],
        size=[tool.face_radius_m, half_length, 0.0],
        **common,
    )


def _add_part(spec: mujoco.MjSpec, part: Part, number: int) -> None:
    # All in one place, a fresh scene's parts would have more contacts than MuJoCo has room for.
    body = spec.worldbody.add_body(name=f"part{number}", pos=[_GONE_M + number, 0.0, 1.0])
    if any(part.mass_offset):
        body.simple = False  # its centre of mass is moved once the scene is compiled
    body.add_freejoint()
    for solid in part.solids:
        body.add_geom(
            type=_SHAPES[solid.shape],
            size=_three(solid),
            pos=solid.position,
            quat=solid.quaternion,
            density=part.density_kg_per_m3,
            group=PART_GROUP,
            **_surface(part.friction),
        )


def _three(solid: Solid) -> list[float]:
    return [*solid.size, 0.0, 0.0][:3]
