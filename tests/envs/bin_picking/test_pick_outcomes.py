"""Every outcome of an attempt, reached on purpose."""

import numpy as np
import pytest

from rlkit_envs.bin_picking.configuration import BinPickingConfig
from rlkit_envs.bin_picking.controller import Attempt, Controller, MotionConfig, Outcome
from rlkit_envs.bin_picking.episode import PickingBin
from rlkit_envs.bin_picking.magnet import Magnet, MagnetConfig
from rlkit_envs.bin_picking.oracle import find_pick
from rlkit_envs.bin_picking.parts import Part, Solid
from rlkit_envs.bin_picking.scene import BinConfig, Scene

UPRIGHT = np.array([1.0, 0.0, 0.0, 0.0])


def attempt(scene: Scene, x=0.0, y=0.0, force_n=9.0, lean=UPRIGHT, on_moment=lambda: None):
    controller = Controller(scene, Magnet(scene, MagnetConfig(force_n)), MotionConfig())
    return controller.attempt(np.array([x, y]), lean, on_moment)


def assert_nothing_moved_out(done: Attempt) -> None:
    assert not done.out.any()


def test_ok_a_part_of_its_own(lay, box):
    scene = lay(
        [box(0.014, 0.014, 0.003), box(0.01, 0.01, 0.005)], [(0.03, 0, 0.003), (-0.03, 0, 0.005)]
    )
    done = attempt(scene, 0.032, 0.001)
    assert done.outcome is Outcome.OK
    assert done.out.tolist() == [True, False]
    assert (done.part, done.lifted) == (0, 1)
    assert done.weight_n == pytest.approx(0.028**2 * 0.006 * 7850 * 9.81, rel=1e-6)
    assert done.offset_m == pytest.approx(np.hypot(0.002, 0.001), abs=4e-4)
    assert done.tilt_deg == pytest.approx(0.0, abs=0.5)
    assert done.quality == pytest.approx(1.0, abs=0.02)
    assert done.hold_force_n == pytest.approx(9.0, rel=0.02)


def test_miss_aluminium(lay):
    coin = Part("coin", (Solid("cylinder", (0.015, 0.0025)),), ferrous=False)
    done = attempt(lay([coin], [(0, 0, 0.0025)]))
    assert done.outcome is Outcome.MISS
    assert (done.quality, done.lifted, done.part, done.hold_force_n) == (0.0, 0, -1, 0.0)
    assert_nothing_moved_out(done)


def test_miss_the_bare_floor(lay, box):
    done = attempt(lay([box(0.01, 0.01, 0.005)], [(0.04, 0.04, 0.005)]), -0.03, -0.03)
    assert done.outcome is Outcome.MISS
    assert_nothing_moved_out(done)


def test_miss_a_part_that_falls_out_by_itself(lay, box):
    """It is out, and no success of the magnet; nor are two of them a double pick."""
    ball = Part("ball", (Solid("sphere", (0.010,)),), ferrous=False)
    beside = [(-0.068, 0.0, 0.03), (0.0, -0.068, 0.03)]
    for balls in (1, 2):
        parts = [box(0.01, 0.01, 0.005), *[ball] * balls]
        scene = lay(parts, [(0.04, 0.04, 0.005), *beside[:balls]])
        done = attempt(scene, -0.02, -0.03)
        assert done.outcome is Outcome.MISS
        assert scene.outside().tolist() == [False, *[True] * balls]
        assert_nothing_moved_out(done)
        assert done.lifted == 0


def test_the_tool_begins_above_a_thin_part_that_stands(lay, box):
    """It is thinner than the rings between which heights are looked at."""
    scene = lay([box(0.0035, 0.0035, 0.015)], [(0.0, 0.0, 0.015)])
    heights: list[float] = []
    attempt(scene, on_moment=lambda: heights.append(float(scene.tool_position[2])))
    assert heights[0] == pytest.approx(0.030 + 0.008, abs=0.001)


def test_miss_a_part_heavier_than_the_magnet_holds(lay, box):
    scene = lay([box(0.03, 0.03, 0.01, mass_kg=2.0)], [(0, 0, 0.01)])
    done = attempt(scene, force_n=10.0)
    assert done.outcome is Outcome.MISS
    assert done.part == 0
    assert done.weight_n == pytest.approx(19.62)
    assert done.hold_force_n == pytest.approx(10.0, rel=0.02)
    assert_nothing_moved_out(done)


@pytest.mark.parametrize(("toward_the_wall", "expected"), [(1, "collision"), (-1, "ok")])
def test_collision_of_a_leaning_shaft_with_a_wall(lay, box, toward_the_wall, expected):
    half = toward_the_wall * np.deg2rad(15.0) / 2
    lean = np.array([np.cos(half), 0.0, np.sin(half), 0.0])
    bin_ = BinConfig(side_m=0.12, wall_height_m=0.08)
    ball = Part("ball", (Solid("sphere", (0.010,)),))
    scene = lay([ball], [(0.045, 0, 0.010)], bin_=bin_)
    x = 0.045 + 0.010 * np.sin(2 * half)
    done = attempt(scene, x, force_n=20.0, lean=lean)
    assert done.outcome is Outcome(expected)


@pytest.mark.parametrize(("x", "y"), [(0.06, 0.0), (-0.055, 0.0), (0.0, 0.0649), (0.0, -0.08)])
def test_nothing_is_picked_from_the_rim_of_a_wall(lay, box, x, y):
    bin_ = BinConfig(side_m=0.12, wall_height_m=0.05)
    scene = lay([box(0.01, 0.01, 0.005)], [(0, 0, 0.005)], bin_=bin_)
    poses = scene.poses()
    done = attempt(scene, x, y)
    assert done.outcome is Outcome.COLLISION
    assert (done.quality, done.part) == (0.0, -1)
    assert_nothing_moved_out(done)
    np.testing.assert_allclose(scene.poses(), poses, atol=2e-4)


def test_no_collision_where_the_tool_clears_the_wall(lay, box):
    bin_ = BinConfig(side_m=0.12, wall_height_m=0.05)
    scene = lay([box(0.01, 0.01, 0.005)], [(0.0485, 0, 0.005)], bin_=bin_)
    assert attempt(scene, 0.0485).outcome is Outcome.OK


def test_dropped_a_heavy_plate_far_off_its_centre(lay, box):
    scene = lay([box(0.03, 0.03, 0.004, mass_kg=0.3)], [(0, 0, 0.004)])
    done = attempt(scene, 0.02, force_n=13.0)
    assert done.outcome is Outcome.DROPPED
    assert done.lifted == 1
    assert done.offset_m == pytest.approx(0.02, abs=5e-4)
    assert_nothing_moved_out(done)
    # it is not the force alone: through its centre the same plate is lifted
    scene.place(np.array([[0, 0, 0.004, 1, 0, 0, 0.0]]), np.array([True]))
    assert attempt(scene, force_n=13.0).outcome is Outcome.OK


@pytest.mark.parametrize(
    ("plate", "x", "force_n", "expected"),
    [
        ((0.01, 0.01, 0.005, 0.03), 0.0, 9.0, "ok"),
        ((0.03, 0.03, 0.004, 0.3), 0.02, 13.0, "dropped"),
    ],
)
def test_a_part_that_falls_out_meanwhile_is_nothing_that_the_magnet_brought(
    lay, box, plate, x, force_n, expected
):
    """It makes no double of one part, and no success of one that is dropped."""
    *halves, mass = plate
    ball = Part("ball", (Solid("sphere", (0.010,)),), ferrous=False)
    bin_ = BinConfig(side_m=0.12, wall_height_m=0.02)
    on_the_rim = (0.0, -0.068, 0.03)
    parts = [box(*halves, mass_kg=mass), ball]
    scene = lay(parts, [(0, 0, halves[2]), on_the_rim], bin_=bin_)
    done = attempt(scene, x, force_n=force_n)
    assert done.outcome is Outcome(expected)
    assert done.out.tolist() == [expected == "ok", False]
    assert scene.outside()[1]


def test_double_a_part_that_hangs_on_to_the_one_that_the_magnet_holds(lay):
    """An aluminium fork round the waist of a spool comes along, though no magnet lifts it."""
    spool = Part(
        "spool",
        (
            Solid("box", (0.011, 0.011, 0.002)),
            Solid("box", (0.003, 0.003, 0.005), (0.0, 0.0, 0.007)),
            Solid("box", (0.011, 0.011, 0.002), (0.0, 0.0, 0.014)),
        ),
        density_kg_per_m3=3000.0,
    )
    fork = Part(
        "fork",
        (
            Solid("box", (0.012, 0.002, 0.002), (0.0, 0.006, 0.0)),
            Solid("box", (0.012, 0.002, 0.002), (0.0, -0.006, 0.0)),
            Solid("box", (0.002, 0.008, 0.002), (0.014, 0.0, 0.0)),
        ),
        ferrous=False,
        density_kg_per_m3=2700.0,
    )
    done = attempt(lay([spool, fork], [(0, 0, 0.002), (0, 0, 0.0065)]))
    assert done.outcome is Outcome.DOUBLE
    assert done.out.tolist() == [True, True]
    assert done.lifted == 1


def test_double_two_small_boxes_under_the_face(lay, box):
    small = box(0.004, 0.008, 0.005)
    scene = lay([small, small], [(-0.0045, 0, 0.005), (0.0045, 0, 0.005)])
    done = attempt(scene)
    assert done.outcome is Outcome.DOUBLE
    assert done.out.tolist() == [True, True]
    assert done.lifted == 2


def test_wall_the_magnet_sticks_to_a_ferrous_floor(lay, box):
    for ferrous, expected in ((True, Outcome.WALL), (False, Outcome.MISS)):
        bin_ = BinConfig(side_m=0.12, wall_height_m=0.02, ferrous=ferrous)
        scene = lay([box(0.01, 0.01, 0.005)], [(0.04, 0.04, 0.005)], bin_=bin_)
        done = attempt(scene)
        assert done.outcome is expected
        assert_nothing_moved_out(done)


@pytest.mark.usefixtures("broken_physics")
@pytest.mark.parametrize("speed", [np.nan, np.inf, 1e4])
@pytest.mark.parametrize("moment", [0, 30, 120])
def test_unstable_physics_ends_the_episode_and_nothing_of_it_is_seen(speed, moment):
    bin_ = PickingBin(BinPickingConfig(tier="single", parts=3, pixels=32, force_n=40.0), (0,))
    bin_.begin()
    before, poses = bin_.observation, bin_.scene.poses()
    works = find_pick(bin_, 100, np.random.default_rng(0))
    assert works.succeeds
    dofs = bin_.scene.model.body_dofadr[bin_.scene.part_bodies]
    moments = 0

    def break_down() -> None:
        nonlocal moments
        if moments == moment:
            bin_.scene.data.qvel[dofs] = speed
        moments += 1

    result = bin_.attempt(works.action, break_down)
    assert moments > moment
    assert result.attempt.outcome is Outcome.UNSTABLE
    assert (result.reward, result.terminated, result.truncated) == (0.0, False, True)
    assert not result.attempt.out.any()
    np.testing.assert_array_equal(bin_.observation, before)
    np.testing.assert_array_equal(bin_.scene.poses(), poses)
    assert np.isfinite(bin_.observation).all()
    assert bin_.episode_counts()["unstable"] == 1.0
    bin_.begin()  # goes on as if nothing had been
    assert np.isfinite(bin_.observation).all()
    assert bin_.scene.present.all()


@pytest.mark.parametrize("degrees", [0.0, 10.0])
def test_a_leaning_tool_holds_a_leaning_surface_better(lay, box, degrees):
    """A plate on a wedge of 10 degrees, which falls towards x."""
    turn = np.array([np.cos(np.deg2rad(5.0)), 0.0, np.sin(np.deg2rad(5.0)), 0.0])
    wedge = np.cos(np.deg2rad(10.0))
    scene = lay(
        [box(0.015, 0.015, 0.004)],
        [(0, 0, 0.004 * wedge + 0.015 * np.sin(np.deg2rad(10.0)))],
        [turn],
    )
    scene.model.opt.gravity[:] = 0.0  # instead of a wedge
    lean = turn if degrees else UPRIGHT
    controller = Controller(scene, Magnet(scene, MagnetConfig(9.0)), MotionConfig(press_m=1e-5))
    done = controller.attempt(np.array([0.0, 0.0]), lean)
    assert (done.quality > 0.9) == (degrees == 10.0)


def test_the_cycle_takes_as_long_as_the_model_says(lay, box):
    """A part in the middle: across 140 mm, from 8 mm above the part 3 mm deep into it."""
    scene = lay([box(0.015, 0.015, 0.010)], [(0, 0, 0.010)])
    done = attempt(scene)
    high, top, across = 0.08, 0.020, 0.06 + 0.08
    down = 0.008 + 0.003
    approach = 4.3 + across + (high - top - 0.008) + down / 0.15 + 0.04
    carried = 0.003 / 0.03 + (high - top) / 0.3 + 0.1 + across / 0.8 + 0.8 / 3.0
    assert done.outcome is Outcome.OK
    assert done.cycle_s == pytest.approx(approach + carried, abs=0.02)
    missed = attempt(lay([box(0.015, 0.015, 0.010, ferrous=False)], [(0, 0, 0.010)]))
    assert missed.outcome is Outcome.MISS
    assert missed.cycle_s == pytest.approx(approach + (high - top + 0.003), abs=0.02)
