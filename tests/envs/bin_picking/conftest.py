"""What tests of bin picking share: parts made to measure, laid where a test wants them."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from rlkit_envs.bin_picking.parts import Part, Solid
from rlkit_envs.bin_picking.scene import BinConfig, Scene, ToolConfig


@pytest.fixture
def box() -> Callable[..., Part]:
    """Makes a box from its half sides in metres, with a mass in kg where it is not just steel."""

    def make(*half_sides_m: float, mass_kg: float | None = None, **properties) -> Part:
        if mass_kg is not None:
            properties["density_kg_per_m3"] = mass_kg / (8.0 * np.prod(half_sides_m))
        return Part("box", (Solid("box", half_sides_m),), **properties)

    return make


@pytest.fixture
def lay() -> Callable[..., Scene]:
    """Makes a scene whose parts have their frames at given positions (parts, 3) in metres.

    quaternions: (parts, 4), upright where there are none. The bin is a flat tray 120 mm wide.
    """

    def make(
        parts: Sequence[Part],
        positions_m,
        quaternions=None,
        *,
        bin_: BinConfig | None = None,
        tool: ToolConfig | None = None,
    ) -> Scene:
        scene = Scene(
            parts, bin_ or BinConfig(side_m=0.12, wall_height_m=0.02), tool or ToolConfig()
        )
        poses = np.zeros((len(parts), 7))
        poses[:, :3] = positions_m
        poses[:, 3:] = (1.0, 0.0, 0.0, 0.0) if quaternions is None else quaternions
        scene.place(poses, np.ones(len(parts), bool))
        return scene

    return make


@pytest.fixture
def broken_physics(tmp_path, monkeypatch) -> None:
    """For tests that break the simulation: MuJoCo logs that to a file in the working folder."""
    monkeypatch.chdir(tmp_path)
