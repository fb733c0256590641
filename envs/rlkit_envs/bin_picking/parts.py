"""The catalogue of parts: shapes made of MuJoCo's primitives, with sizes drawn at random.

A part is drawn by `draw_part`; which kinds lie together in a bin is up to `tiers.py`. Lengths are
in metres, masses in kilograms. Steel has 7,850 kg/m³, aluminium 2,700.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import cos, pi, sin, sqrt
from types import MappingProxyType
from typing import Literal

import numpy as np

Shape = Literal["box", "cylinder", "capsule", "sphere"]

STEEL_KG_PER_M3 = 7_850.0
ALUMINIUM_KG_PER_M3 = 2_700.0


@dataclass(frozen=True)
class Solid:
    """One primitive of a part, as MuJoCo takes it."""

    shape: Shape
    size: tuple[float, ...]
    """Half sides of a box; radius and half length of a cylinder or capsule; radius of a sphere, in
    metres."""
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Of its centre in the part's frame, in metres."""
    quaternion: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    """Its turn in the part's frame, w first."""


@dataclass(frozen=True)
class Part:
    """A rigid part of one material."""

    kind: str
    """Its name in `KINDS`."""
    solids: tuple[Solid, ...]
    ferrous: bool = True
    """Whether a magnet attracts it."""
    density_kg_per_m3: float = STEEL_KG_PER_M3
    """Of its material; times the solids' volumes, overlaps counted twice, that is its mass."""
    friction: float = 0.35
    """Coulomb's coefficient of sliding."""
    mass_offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """How far its centre of mass lies from where the solids would have it, in its own frame and in
    shares of the half sides of the box around it."""


def draw_part(kind: str, random: np.random.Generator, *, scale: float = 1.0) -> Part:
    """A part of that kind with sizes drawn from `random`, all of them times `scale`.

    Raises ValueError for a kind that is not in `KINDS`.
    """
    if kind not in KINDS:
        raise ValueError(f"no kind of part is called {kind!r}; known: {', '.join(KINDS)}")
    part = KINDS[kind](random)
    if scale == 1.0:
        return part
    return replace(part, solids=tuple(_scaled(solid, scale) for solid in part.solids))


def _scaled(solid: Solid, scale: float) -> Solid:
    x, y, z = solid.position
    return replace(
        solid,
        size=tuple(scale * length for length in solid.size),
        position=(scale * x, scale * y, scale * z),
    )


def _box(random: np.random.Generator) -> Part:
    half_sides = random.uniform(0.006, 0.018, 3)
    half_sides *= min(1.0, 3.2e-6 / half_sides.prod()) ** (1 / 3)  # 0.2 kg of steel at most
    return Part("box", (Solid("box", tuple(half_sides.tolist())),))


def _cylinder(random: np.random.Generator) -> Part:
    radius, half_length = random.uniform(0.009, 0.013), random.uniform(0.005, 0.016)
    return Part("cylinder", (Solid("cylinder", (radius, half_length)),))


def _capsule(random: np.random.Generator) -> Part:
    radius, half_length = random.uniform(0.008, 0.010), random.uniform(0.008, 0.014)
    return Part("capsule", (Solid("capsule", (radius, half_length)),))


def _flange(random: np.random.Generator) -> Part:
    """A plate with a block on its middle."""
    length, width = random.uniform(0.012, 0.016), random.uniform(0.010, 0.014)
    thick, high = random.uniform(0.003, 0.0045), random.uniform(0.004, 0.007)
    block = random.uniform(0.006, 0.009)
    return Part(
        "flange",
        (
            Solid("box", (length, width, thick)),
            Solid("box", (block, block, high), (0.0, 0.0, thick + high)),
        ),
    )


def _l_bracket(random: np.random.Generator) -> Part:
    """Two plates that meet in a right angle along an edge."""
    thick, width = random.uniform(0.0025, 0.004), random.uniform(0.009, 0.013)
    arm = random.uniform(0.013, 0.018)
    return Part(
        "l_bracket",
        (
            Solid("box", (arm, width, thick)),
            Solid("box", (thick, width, arm - thick), (thick - arm, 0.0, arm)),
        ),
    )


def _ring(random: np.random.Generator) -> Part:
    """A round bar bent to a ring, as twelve capsules; a hook's bar goes through it."""
    radius, bar = random.uniform(0.010, 0.013), random.uniform(0.004, 0.005)
    count = 12
    half = radius * sin(pi / count)
    return Part(
        "ring",
        tuple(
            Solid(
                "capsule",
                (bar, half),
                (radius * cos(turn), radius * sin(turn), 0.0),
                _along(-sin(turn), cos(turn), 0.0),
            )
            for turn in (2.0 * pi * i / count for i in range(count))
        ),
    )


def _hook(random: np.random.Generator) -> Part:
    """A round bar with a straight shank and a half circle at its end, as seven capsules."""
    bar, bend = random.uniform(0.0035, 0.005), random.uniform(0.010, 0.014)
    shank = random.uniform(0.010, 0.016)
    solids = [Solid("capsule", (bar, shank), (bend, 0.0, shank), _along(0.0, 0.0, 1.0))]
    count = 6
    half = bend * sin(pi / (2 * count))
    for i in range(count):
        turn = pi * (i + 0.5) / count
        solids.append(
            Solid(
                "capsule",
                (bar, half),
                (bend * cos(turn), 0.0, -bend * sin(turn)),
                _along(-sin(turn), 0.0, -cos(turn)),
            )
        )
    return Part("hook", tuple(solids))


def _marble(random: np.random.Generator) -> Part:
    """An aluminium ball, which no magnet lifts."""
    radius = random.uniform(0.010, 0.015)
    return Part(
        "marble",
        (Solid("sphere", (radius,)),),
        ferrous=False,
        density_kg_per_m3=ALUMINIUM_KG_PER_M3,
    )


def _coin(random: np.random.Generator) -> Part:
    """A flat aluminium disc: a magnet that could lift it would like nothing better."""
    radius, half_length = random.uniform(0.0165, 0.019), random.uniform(0.002, 0.003)
    return Part(
        "coin",
        (Solid("cylinder", (radius, half_length)),),
        ferrous=False,
        density_kg_per_m3=ALUMINIUM_KG_PER_M3,
    )


def _hexagon(random: np.random.Generator) -> Part:
    """A six-sided bar's end, as three boxes one in the other."""
    inner, thick = random.uniform(0.009, 0.013), random.uniform(0.005, 0.010)
    half_side = inner / sqrt(3.0)
    return Part(
        "hexagon",
        tuple(
            Solid("box", (inner, half_side, thick), quaternion=(cos(t / 2), 0.0, 0.0, sin(t / 2)))
            for t in (0.0, pi / 3, 2.0 * pi / 3)
        ),
        density_kg_per_m3=STEEL_KG_PER_M3 / 2.0,  # together the boxes have twice its volume
    )


def _cross(random: np.random.Generator) -> Part:
    """Two flat bars across each other."""
    arm, width = random.uniform(0.012, 0.015), random.uniform(0.0055, 0.0075)
    thick = random.uniform(0.004, 0.006)
    return Part("cross", (Solid("box", (arm, width, thick)), Solid("box", (width, arm, thick))))


def _stud(random: np.random.Generator) -> Part:
    """A disc with a thinner cylinder on it."""
    disc, half_disc = random.uniform(0.011, 0.013), random.uniform(0.004, 0.005)
    shank, half_shank = random.uniform(0.008, 0.010), random.uniform(0.004, 0.007)
    return Part(
        "stud",
        (
            Solid("cylinder", (disc, half_disc)),
            Solid("cylinder", (shank, half_shank), (0.0, 0.0, half_disc + half_shank)),
        ),
    )


KINDS: MappingProxyType[str, Callable[[np.random.Generator], Part]] = MappingProxyType(
    {
        "box": _box,
        "cylinder": _cylinder,
        "capsule": _capsule,
        "flange": _flange,
        "l_bracket": _l_bracket,
        "ring": _ring,
        "hook": _hook,
        "marble": _marble,
        "coin": _coin,
        "hexagon": _hexagon,
        "cross": _cross,
        "stud": _stud,
    }
)
"""Name of a kind -> what draws a part of it."""

LARGEST_REACH_M: MappingProxyType[str, float] = MappingProxyType(
    {
        "box": 0.0274,
        "cylinder": 0.0245,
        "capsule": 0.0279,
        "flange": 0.0283,
        "l_bracket": 0.0403,
        "ring": 0.0309,
        "hook": 0.0426,
        "marble": 0.0260,
        "coin": 0.0271,
        "hexagon": 0.0223,
        "cross": 0.0222,
        "stud": 0.0262,
    }
)
"""Name of a kind -> how far a part of it may reach from its origin, to a corner of the box around
it, at a scale of 1."""

HELD_OUT_KINDS = ("hexagon", "cross", "stud")
"""Kinds that no tier trains on."""

DISTRACTORS = ("marble", "coin")
"""Kinds that no magnet lifts."""


def _along(x: float, y: float, z: float) -> tuple[float, float, float, float]:
    """The quaternion that turns the z axis, along which capsules lie, into a unit vector."""
    if z < -1.0 + 1e-12:
        return (0.0, 1.0, 0.0, 0.0)
    turn = np.array([1.0 + z, -y, x, 0.0])
    w, i, j, k = (turn / np.linalg.norm(turn)).tolist()
    return (w, i, j, k)
