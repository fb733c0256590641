"""What a user may set about bins and their pictures; the rest is up to the tier."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral
from typing import Literal

from rlkit_envs.bin_picking.controller import MotionConfig
from rlkit_envs.bin_picking.parts import LARGEST_REACH_M
from rlkit_envs.bin_picking.scene import ToolConfig
from rlkit_envs.bin_picking.sensor import CameraConfig
from rlkit_envs.bin_picking.tiers import EVERY_TIER, TIERS, Tier, find_tier


@dataclass(frozen=True)
class BinPickingConfig:
    """Everything about the environment; None leaves a number to the tier."""

    tier: str = "mixed"
    """Which of `tiers.TIERS`, or "all" for one drawn anew for each episode."""
    shapes: Literal["training", "held_out"] = "training"
    """The tier's own kinds of parts, or kinds that no training sees."""
    parts: int | None = None
    """In a full bin."""
    bin_side_m: float = 0.2
    """Inside of the square bin."""
    force_n: float | None = None
    """The magnet's pull on a thick plate."""
    pixels: int = 64
    """Rows and columns of the picture."""
    normals: bool = False
    """Three more channels: the surface's normal, exact: without noise and drop-out."""
    colour: bool = False
    """Three more channels: the surface's colour, from 0 to 1, exact as well."""
    noise_m: float | None = None
    """Standard deviation of a height in the picture; None is the tier's."""
    drop_out: float | None = None
    """Share of pixels whose height reads 0; None is the tier's."""
    leans: int = 0
    """Directions in which the tool may lean besides standing upright."""
    lean_deg: float = 15.0
    """How far it then leans, above 0 and below 45."""
    failure_radius_m: float = 0.010
    """Around a failure, what the last channel marks; 0 marks no failures."""
    shake_after: int = 2
    """Failures in a row after which the bin is shaken, as cells do that cannot go on; 0 never."""
    failures_in_a_row: int = 5
    """After which an episode is truncated."""
    tool: ToolConfig = field(default_factory=ToolConfig)
    """The magnet's mechanics."""
    motion: MotionConfig = field(default_factory=MotionConfig)
    """How the tool moves."""

    def __post_init__(self) -> None:
        for name, made in (("tool", ToolConfig), ("motion", MotionConfig)):
            given = getattr(self, name)
            if isinstance(given, Mapping):  # as a run's folder tells of it
                object.__setattr__(self, name, made(**given))
        for name in ("parts", "pixels", "leans", "shake_after", "failures_in_a_row"):
            number = getattr(self, name)
            if number is not None and not isinstance(number, Integral):
                raise ValueError(f"{name} must be a whole number, got {number!r}")
        if not isinstance(self.tier, str):
            raise ValueError(f"tier is a name, such as 'mixed', not {self.tier!r}")
        if not 0 < self.bin_side_m < math.inf:
            raise ValueError(f"bin_side_m must be above 0 and finite, got {self.bin_side_m}")
        if self.bin_side_m <= 2 * self.tool.face_radius_m:
            raise ValueError(
                f"a bin of {1e3 * self.bin_side_m:g} mm is too small for a tool of "
                f"{2e3 * self.tool.face_radius_m:g} mm"
            )
        if not self.motion.press_m < self.tool.stroke_m:
            raise ValueError(
                f"press_m of the motion must be below the stroke_m of the tool, "
                f"{self.tool.stroke_m:g}, got {self.motion.press_m:g}"
            )
        for tier in self._tiers().values():
            self.camera(tier)
        if self.shapes not in ("training", "held_out"):
            raise ValueError(f"shapes must be 'training' or 'held_out', not {self.shapes!r}")
        if self.parts is not None and self.parts < 1:
            raise ValueError(f"a bin needs at least one part, got parts={self.parts}")
        if self.force_n is not None and not 0 < self.force_n < math.inf:
            raise ValueError(f"force_n must be above 0 and finite, got {self.force_n}")
        self._check_parts_fit()
        if self.leans < 0:
            raise ValueError(f"leans must not be negative, got {self.leans}")
        if not 0 < self.lean_deg < 45:
            raise ValueError(f"lean_deg must be above 0 and below 45, got {self.lean_deg}")
        if not self.failure_radius_m >= 0:
            raise ValueError(f"failure_radius_m must be at least 0, got {self.failure_radius_m}")
        if self.shake_after < 0:
            raise ValueError(f"shake_after must not be negative, got {self.shake_after}")
        if self.failures_in_a_row < 1:
            raise ValueError(f"failures_in_a_row must be at least 1, got {self.failures_in_a_row}")

    def _tiers(self) -> Mapping[str, Tier]:
        """Those that an episode may be of, by name."""
        return TIERS if self.tier == EVERY_TIER else {self.tier: find_tier(self.tier)}

    def _check_parts_fit(self) -> None:
        """Raise ValueError where a part may be drawn that does not fit into the bin."""
        for name, tier in self._tiers().items():
            kinds = tier.kinds if self.shapes == "training" else tier.held_out()
            kind = max(kinds, key=LARGEST_REACH_M.__getitem__)
            widest_m = 2.0 * tier.scale[1] * LARGEST_REACH_M[kind]
            if widest_m > self.bin_side_m:
                raise ValueError(
                    f"a {kind} of tier {name!r} may be {1e3 * widest_m:.0f} mm wide, which does "
                    f"not fit into a bin of {1e3 * self.bin_side_m:g} mm"
                )

    def camera(self, tier: Tier) -> CameraConfig:
        """The camera, which sees the bin and 12 mm around it."""
        return CameraConfig(
            pixels=self.pixels,
            field_m=self.bin_side_m + 0.024,
            normals=self.normals,
            colour=self.colour,
            noise_m=tier.noise_m if self.noise_m is None else self.noise_m,
            drop_out=tier.drop_out if self.drop_out is None else self.drop_out,
        )

    @property
    def channels(self) -> int:
        """Of an observation: height, what is asked for, and marks where not to pick."""
        return 2 + 3 * self.normals + 3 * self.colour

    @property
    def actions(self) -> int:
        """Pixels, times the ways in which the tool may stand."""
        return (1 + self.leans) * self.pixels**2
