"""Settled bins, gravity and friction, the solver, and what a scene refuses."""

from dataclasses import replace
from itertools import combinations

import mujoco
import numpy as np
import pytest

from rlkit_envs.bin_picking import episode
from rlkit_envs.bin_picking.configuration import BinPickingConfig
from rlkit_envs.bin_picking.episode import PickingBin
from rlkit_envs.bin_picking.parts import Part, Solid, draw_part
from rlkit_envs.bin_picking.scene import BinConfig, Scene, ToolConfig, UnstablePhysicsError
from rlkit_envs.bin_picking.tiers import TIERS

BALL = Part("ball", (Solid("sphere", (0.01,)),))


def filled(tier: str, seed: int = 0, **settings) -> PickingBin:
    bin_ = PickingBin(BinPickingConfig(tier=tier, pixels=16, **settings), (seed,))
    bin_.begin()
    return bin_


@pytest.mark.parametrize(
    ("tier", "settings"),
    [
        *((tier, {}) for tier in TIERS),
        ("mixed", {"shapes": "held_out"}),
    ],
)
def test_a_filled_bin_holds_its_parts_at_rest_and_apart(tier, settings):
    scene = filled(tier, **settings).scene
    assert scene.present.all()
    assert not scene.outside().any()
    assert scene.deepest_penetration_m() < 0.0005
    before = scene.poses()[:, :3]
    for _ in range(50):
        scene.step()
    assert scene.deepest_penetration_m() < 0.0005
    assert np.abs(scene.poses()[:, :3] - before).max() < 0.002


def test_no_bar_passes_through_another_while_parts_are_poured_in(monkeypatch):
    """Closed rings cannot hang in each other; in time steps of 4 ms some came to do so."""
    rings = replace(TIERS["entangled"], kinds={"ring": 1.0}, parts=(32, 32))
    monkeypatch.setattr(episode, "draw_tier", lambda name, random: rings)
    bin_ = PickingBin(BinPickingConfig(tier="entangled", pixels=16), (5,))
    for _ in range(4):
        bin_.begin()
        circles = [centre_line_of_ring(bin_, part) for part in range(32)]
        linked = [hang_together(*pair) for pair in combinations(circles, 2)]
        assert not any(linked)


def centre_line_of_ring(bin_: PickingBin, part: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(240, 3) points along the middle of a ring's bar, its middle (3,), its axes (3, 3)."""
    data, body = bin_.scene.data, bin_.scene.part_bodies[part]
    radius = np.hypot(*bin_.parts[part].solids[0].position[:2])
    turns = np.linspace(0.0, 2.0 * np.pi, 240, endpoint=False)
    circle = radius * np.column_stack([np.cos(turns), np.sin(turns), np.zeros(240)])
    axes = data.xmat[body].reshape(3, 3)
    return data.xpos[body] + circle @ axes.T, data.xpos[body], axes


def hang_together(one, other) -> bool:
    """Whether one ring passes through the other's opening an odd number of times."""
    circle, middle, axes = other
    line = (one[0] - middle) @ axes
    radius = np.linalg.norm(circle[0] - middle)
    crosses = np.sign(line[:, 2]) != np.sign(np.roll(line[:, 2], -1))
    return bool((crosses & (np.hypot(line[:, 0], line[:, 1]) < radius)).sum() % 2)


def test_parts_lie_as_high_as_their_shape_makes_them(lay, box):
    scene = lay([box(0.01, 0.02, 0.005), BALL], [(-0.03, 0, 0.006), (0.03, 0, 0.012)])
    scene.settle(2.0)
    np.testing.assert_allclose(scene.positions()[:, 2], [0.005, 0.010], atol=1e-4)


@pytest.mark.parametrize(("degrees", "friction", "slides"), [(15, 0.35, False), (15, 0.2, True)])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_box_slides_down_a_leaning_bin_where_friction_is_too_small(
    lay, box, degrees, friction, slides, axis
):
    """tan(15 degrees) is 0.27; leaning about x lets things slide along y, and about y along x."""
    tilt = (degrees, 0.0) if axis == 1 else (0.0, degrees)
    bin_ = BinConfig(side_m=0.12, wall_height_m=0.02, friction=friction, tilt_deg=tilt)
    scene = lay([box(0.01, 0.01, 0.004, friction=friction)], [(0, 0, 0.004)], bin_=bin_)
    for _ in range(50):
        scene.step()
    # after 0.2 s: g (sin a - mu cos a) t^2 / 2; friction is softened a little
    expected = 9.81 * (np.sin(np.deg2rad(15)) - 0.2 * np.cos(np.deg2rad(15))) * 0.02
    moved = np.abs(scene.positions()[0, axis])
    assert moved == pytest.approx(expected if slides else 0.0, abs=0.003 if slides else 0.001)
    assert np.abs(scene.positions()[0, 1 - axis]) < 1e-4


def test_gravity_is_9_81_however_the_bin_leans(lay):
    scene = lay([BALL], [(0, 0, 0.01)], bin_=BinConfig(side_m=0.12, tilt_deg=(7.0, -12.0)))
    assert np.linalg.norm(scene.model.opt.gravity) == pytest.approx(9.81)


def test_sparse_and_dense_solvers_agree():
    """MuJoCo 4.0.0 has a bug in its sparse Cholesky factor (#3767); such bins do not meet it."""
    for tier, parts in (("mixed", None), ("entangled", 16)):
        scene = filled(tier, parts=parts).scene
        scene.place(scene.poses(), scene.present)
        random = np.random.default_rng(0)
        for _ in range(5):
            scene.data.qvel[:] = random.normal(size=scene.model.nv) * 0.005
            scene.step()
            accelerations = []
            for jacobian in (mujoco.mjtJacobian.mjJAC_SPARSE, mujoco.mjtJacobian.mjJAC_DENSE):
                scene.model.opt.jacobian = jacobian
                # from the same start, so that both take the same steps
                scene.data.qacc_warmstart[:] = 0.0
                mujoco.mj_forward(scene.model, scene.data)
                accelerations.append(scene.data.qacc.copy())
            assert len(scene.data.contact.dist) > 60
            assert np.abs(accelerations[0]).max() > 1.0
            scale = np.abs(accelerations[0]).max()
            np.testing.assert_allclose(*accelerations, rtol=0, atol=1e-11 * scale)


def test_the_same_poses_have_the_same_future_bit_for_bit():
    scene = filled("mixed", parts=12).scene
    poses, present = scene.poses(), scene.present.copy()
    present[3] = False
    futures = []
    for _ in range(2):
        scene.place(poses, present)
        scene.shake(0.3)
        scene.settle(1.0)
        futures.append(scene.poses())
    np.testing.assert_array_equal(*futures)
    assert np.abs(futures[0] - poses).max() > 1e-3


def test_shaking_moves_parts_and_leaves_gravity_as_it_was(lay):
    scene = lay([BALL], [(0, 0, 0.01)])
    gravity = scene.model.opt.gravity.copy()
    scene.shake(0.5)
    assert np.abs(scene.positions()[0, :2]).max() > 0.002
    np.testing.assert_array_equal(scene.model.opt.gravity, gravity)


@pytest.mark.usefixtures("broken_physics")
def test_a_shake_that_breaks_down_leaves_gravity_as_it_was_too(lay):
    scene = lay([BALL], [(0, 0, 0.01)])
    gravity = scene.model.opt.gravity.copy()
    scene.data.qvel[scene.model.body_dofadr[scene.part_bodies[0]]] = np.nan
    with pytest.raises(UnstablePhysicsError):
        scene.shake(0.5)
    np.testing.assert_array_equal(scene.model.opt.gravity, gravity)


def test_parts_that_are_gone_are_in_nobodys_way(lay, box):
    parts = [box(0.02, 0.02, 0.01), BALL]
    scene = lay(parts, [(0, 0, 0.01), (0, 0, 0.03)])
    scene.place(scene.poses(), np.array([False, True]))
    scene.settle(2.0)
    assert scene.positions()[1, 2] == pytest.approx(0.01, abs=2e-4)  # fell to the floor
    assert not scene.outside().any()  # one that is gone is not counted out again
    assert np.isfinite(scene.poses()).all()


@pytest.mark.parametrize(
    ("position", "outside"),
    [
        ((0.059, 0.0, 0.01), False),
        ((0.061, 0.0, 0.01), True),
        ((0.0, -0.061, 0.01), True),
        ((0.0, 0.0, 0.039), False),
        ((0.0, 0.0, 0.041), True),
        ((0.0, 0.0, -0.01), True),
    ],
)
def test_what_counts_as_outside(lay, position, outside):
    assert lay([BALL], [position]).outside().tolist() == [outside]


@pytest.mark.usefixtures("broken_physics")
def test_speeds_that_are_not_finite_or_absurd_are_noticed(lay):
    scene = lay([BALL], [(0, 0, 0.01)])
    dof = scene.model.body_dofadr[scene.part_bodies[0]]
    for bad in (np.nan, np.inf, 1e12):
        scene.place(np.array([[0, 0, 0.01, 1, 0, 0, 0.0]]), np.array([True]))
        scene.data.qvel[dof] = bad
        with pytest.raises(UnstablePhysicsError, match="broke down at"):
            scene.step()
    scene.place(np.array([[0, 0, 0.01, 1, 0, 0, 0.0]]), np.array([True]))
    scene.data.qvel[dof + 2] = 50.0
    with pytest.raises(UnstablePhysicsError, match=r"a part moves at \d\d m/s"):
        scene.settle(1.0)
    scene.place(np.array([[0, 0, 0.01, 1, 0, 0, 0.0]]), np.array([True]))
    scene.settle(1.0)  # recovers


def test_the_tool_moves_as_it_is_told_whatever_is_in_the_way(lay, box):
    """Nothing in a bin slows the carriage down; the tip gives way instead."""
    scene = lay([box(0.02, 0.02, 0.01)], [(0, 0, 0.01)])
    scene.move_tool_to(np.array([0.0, 0.0, 0.022]))
    for _ in range(25):
        scene.set_tool_velocity(np.array([0.0, 0.0, -0.1]))
        scene.step()
    assert scene.tool_position[2] == pytest.approx(0.022 - 0.1 * 0.1, abs=2e-4)
    assert scene.compression_m == pytest.approx(0.008, abs=5e-4)
    assert scene.deepest_penetration_m() < 0.0005


@pytest.mark.parametrize("kind", ["box", "hook"])
def test_a_part_larger_than_the_bin_is_refused(kind):
    part = draw_part(kind, np.random.default_rng(0))
    with pytest.raises(ValueError, match=f"a {kind} that reaches .* a bin of 20 mm"):
        Scene([part], BinConfig(side_m=0.02), ToolConfig())


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (BinConfig, {"side_m": 0.0}, "a side and walls above 0, got 0.0"),
        (BinConfig, {"wall_height_m": -1.0}, "a side and walls above 0, got 0.3 and -1.0"),
        (ToolConfig, {"face_radius_m": 0.0}, "face_radius_m must be above 0 and finite, got 0.0"),
        (ToolConfig, {"stroke_m": float("nan")}, "stroke_m must be above 0 and finite, got nan"),
    ],
)
def test_impossible_bins_and_tools_are_refused(make, settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)
