"""Five tiers of difficulty: what lies in the bin, how strong the magnet is, how well it is seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from rlkit_envs.bin_picking.parts import DISTRACTORS, HELD_OUT_KINDS, KINDS

Range = tuple[float, float]
"""Least and most of what is drawn uniformly, once an episode."""


@dataclass(frozen=True)
class Tier:
    """What bins of a tier are drawn from."""

    summary: str
    """What is difficult about it."""
    kinds: Mapping[str, float]
    """Kind of part -> how often, as a share."""
    parts: tuple[int, int] = (24, 32)
    """In a full bin."""
    scale: Range = (0.9, 1.1)
    """Size of a part against the catalogue's, drawn for each part."""
    density: Range = (0.9, 1.1)
    """Of a part against its material's, drawn for each part: hollows and inclusions."""
    mass_offset: float = 0.0
    """How far the centre of mass may lie off the middle, as a share of the part's reach."""
    friction: Range = (0.2, 0.3)
    """Coulomb's coefficient of parts and bin."""
    force_n: Range = (8.5, 9.5)
    """The magnet's pull on a thick plate."""
    gap_m: Range = (0.0009, 0.0011)
    """The air gap at which a quarter of that is left."""
    wall_height_m: float = 0.10
    """Of the bin."""
    ferrous_bin: bool = False
    """Whether floor and walls attract the magnet, along the tool: nothing pulls it sideways."""
    bin_tilt_deg: float = 1.0
    """How far the bin may lean about either axis."""
    camera_offset_m: float = 0.0005
    """How far off the camera may hang, along x and y."""
    noise_m: float = 0.0003
    """Standard deviation of a height in the picture."""
    drop_out: float = 0.0
    """Share of pixels without a height."""

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown:
            raise ValueError(f"no kind of part is called {', '.join(unknown)}")

    def held_out(self) -> Mapping[str, float]:
        """Shares of kinds with the shapes that are trained on replaced by those held out."""
        kept = {kind: share for kind, share in self.kinds.items() if kind in DISTRACTORS}
        share = (1.0 - sum(kept.values())) / len(HELD_OUT_KINDS)
        return {**dict.fromkeys(HELD_OUT_KINDS, share), **kept}


TIERS: Mapping[str, Tier] = MappingProxyType(
    {
        "single": Tier("one kind of part: plates with a block on them", {"flange": 1.0}),
        "mixed": Tier(
            "boxes, cylinders and capsules, and aluminium discs that no magnet lifts",
            {"box": 0.3, "cylinder": 0.29, "capsule": 0.29, "coin": 0.12},
        ),
        "heavy": Tier(
            "masses off the middle, heavier and smaller parts, and aluminium discs and balls",
            {
                "box": 0.24,
                "cylinder": 0.22,
                "capsule": 0.21,
                "flange": 0.13,
                "coin": 0.1,
                "marble": 0.1,
            },
            scale=(0.7, 1.15),
            density=(0.85, 1.3),
            mass_offset=0.25,
        ),
        "entangled": Tier(
            "hooks, rings and brackets that hang on to each other, and a stronger magnet",
            {"hook": 0.28, "ring": 0.23, "l_bracket": 0.23, "box": 0.18, "coin": 0.08},
            force_n=(11.0, 12.0),
        ),
        "walled": Tier(
            "a tall ferrous bin, and a noisy picture with holes",
            {"box": 0.3, "cylinder": 0.29, "capsule": 0.29, "coin": 0.12},
            wall_height_m=0.14,
            ferrous_bin=True,
            camera_offset_m=0.0015,
            noise_m=0.001,
            drop_out=0.02,
        ),
    }
)
"""Name -> tier, from easy to hard."""


EVERY_TIER = "all"
"""Stands for a tier drawn anew for each episode, by these shares."""
SHARES: Mapping[str, float] = MappingProxyType(
    {"single": 0.1, "mixed": 0.3, "heavy": 0.2, "entangled": 0.25, "walled": 0.15}
)


def draw_tier(name: str, random: np.random.Generator) -> Tier:
    """The tier of that name, or one drawn by `SHARES` for "all"; raises as `find_tier`."""
    if name == EVERY_TIER:
        name = str(random.choice(list(SHARES), p=list(SHARES.values())))
    return find_tier(name)


def find_tier(name: str) -> Tier:
    """The tier of that name. Raises ValueError, naming them all, where there is none."""
    if name not in TIERS:
        raise ValueError(f"no tier is called {name!r}; there are {', '.join(TIERS)}, and all")
    return TIERS[name]
