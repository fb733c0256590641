"""The camera against shapes whose height anyone can work out."""

import numpy as np
import pytest

from rlkit_envs.bin_picking.parts import Part, Solid
from rlkit_envs.bin_picking.scene import BinConfig
from rlkit_envs.bin_picking.sensor import Camera, CameraConfig

ROD = Part("cylinder", (Solid("cylinder", (0.010, 0.020)),))
BALL = Part("sphere", (Solid("sphere", (0.015,)),))
ALONG_X = (np.sqrt(0.5), 0.0, np.sqrt(0.5), 0.0)
CAMERA = CameraConfig(pixels=48, field_m=0.144)
X, Y = np.moveaxis(CAMERA.points(), -1, 0)
INSIDE = (np.abs(X) < 0.06) & (np.abs(Y) < 0.06)
NEAR_M = 1e-5
"""Rays from a kilometre above are parallel to within 5 micrometres on the way down."""


def expected(height, where):
    """A map of floor, walls of 20 mm, and a surface of that height there."""
    walls = np.maximum(np.abs(X), np.abs(Y))
    around = np.where((walls > 0.06) & (walls < 0.07), 0.02, 0.0)
    return np.where(where, height, around)


def test_a_box_is_as_high_as_it_is_and_lies_where_it_lies(lay, box):
    scene = lay([box(0.010, 0.020, 0.005)], [(0.031, -0.021, 0.005)])
    picture = Camera(CAMERA).look(scene)
    on_box = (np.abs(X - 0.031) < 0.010) & (np.abs(Y + 0.021) < 0.020)
    np.testing.assert_allclose(picture.height_m, expected(0.010, on_box), atol=NEAR_M)
    np.testing.assert_array_equal(picture.part, np.where(on_box, 0, -1))
    on_something = INSIDE | on_box
    np.testing.assert_allclose(picture.normals[on_something] - (0, 0, 1), 0.0, atol=1e-9)


def test_a_ball_is_a_dome_with_its_normals(lay):
    scene = lay([BALL], [(-0.02, 0.03, 0.015)])
    picture = Camera(CAMERA).look(scene)
    across = (X + 0.02) ** 2 + (Y - 0.03) ** 2
    on_ball = across < 0.015**2
    dome = 0.015 + np.sqrt(np.maximum(0.0, 0.015**2 - across))
    # at its equator a dome is so steep that 5 micrometres sideways count
    flat = ~on_ball | (across < 0.014**2)
    np.testing.assert_allclose(
        picture.height_m[flat], expected(dome, on_ball)[flat], atol=2 * NEAR_M
    )
    normals = np.stack([X + 0.02, Y - 0.03, dome - 0.015], -1) / 0.015
    top = across < 0.014**2
    np.testing.assert_allclose(picture.normals[top], normals[top], atol=2e-3)


@pytest.mark.parametrize("standing", [True, False])
def test_a_cylinder_stands_or_lies(lay, standing):
    turn = (1.0, 0.0, 0.0, 0.0) if standing else ALONG_X
    rest = 0.020 if standing else 0.010
    scene = lay([ROD], [(0.0101, 0.0007, rest)], [turn])
    height = Camera(CAMERA).look(scene).height_m
    x, y = X - 0.0101, Y - 0.0007
    if standing:
        where, top = x**2 + y**2 < 0.010**2, 0.040
    else:
        where = (np.abs(x) < 0.020) & (np.abs(y) < 0.010)
        top = 0.010 + np.sqrt(np.maximum(0.0, 0.010**2 - y**2))
    np.testing.assert_allclose(height, expected(top, where), atol=2 * NEAR_M)


def test_what_lies_on_top_is_what_is_seen(lay, box):
    scene = lay([box(0.02, 0.02, 0.005), BALL], [(0, 0, 0.005), (0, 0, 0.025)])
    picture = Camera(CAMERA).look(scene)
    assert set(picture.part[np.hypot(X, Y) < 0.014].tolist()) == {1}
    assert picture.part[(np.abs(X) < 0.02) & (np.abs(Y) < 0.02)].min() == 0


def test_row_0_is_the_far_side_and_column_0_the_left_one(lay):
    scene = lay([BALL], [(-0.03, 0.04, 0.015)])  # left, far
    row, column = np.unravel_index(Camera(CAMERA).look(scene).height_m.argmax(), X.shape)
    assert row < 24
    assert column < 24
    points = CAMERA.points()
    np.testing.assert_allclose(points[row, column], (-0.03, 0.04), atol=CAMERA.pixel_m)
    np.testing.assert_allclose(points[0, 0], (-0.0705, 0.0705))
    np.testing.assert_allclose(points[-1, -1], (0.0705, -0.0705))


def test_a_camera_off_the_middle_sees_things_shifted_the_other_way(lay):
    scene = lay([BALL], [(0.0, 0.0, 0.015)])
    camera = Camera(CAMERA)
    straight = camera.look(scene).height_m
    shifted = camera.look(scene, (2 * CAMERA.pixel_m, -CAMERA.pixel_m)).height_m
    np.testing.assert_allclose(shifted[:-1, :-2], straight[1:, 2:], atol=1e-4)


def test_neither_the_tool_nor_parts_that_are_gone_are_seen(lay, box):
    scene = lay([box(0.01, 0.01, 0.005), BALL], [(0.03, 0, 0.005), (-0.03, 0, 0.015)])
    scene.move_tool_to(np.array([0.0, 0.0, 0.03]))
    camera = Camera(CAMERA)
    before = camera.look(scene)
    assert set(np.unique(before.part)) == {-1, 0, 1}
    assert before.height_m[INSIDE].max() == pytest.approx(0.030, abs=2e-4)
    scene.place(scene.poses(), np.array([True, False]))
    after = camera.look(scene)
    assert set(np.unique(after.part)) == {-1, 0}
    np.testing.assert_allclose(after.height_m[X < 0][INSIDE[X < 0]], 0.0, atol=NEAR_M)


def test_beyond_the_walls_there_is_nothing(lay):
    scene = lay([BALL], [(0, 0, 0.015)], bin_=BinConfig(side_m=0.10, wall_height_m=0.03))
    height = Camera(CAMERA).look(scene).height_m
    beyond = np.maximum(np.abs(X), np.abs(Y)) > 0.06
    assert (height[beyond] == 0.0).all()
    wall = (np.abs(X) > 0.05) & (np.abs(X) < 0.06) & (np.abs(Y) < 0.05)
    np.testing.assert_allclose(height[wall], 0.03, atol=NEAR_M)


def test_noise_and_drop_out_have_the_size_that_is_asked_for():
    camera = Camera(CameraConfig(pixels=200, noise_m=0.001, drop_out=0.05))
    true = np.full((200, 200), 0.05)
    seen = camera.look_badly(true, np.random.default_rng(0))
    holes = seen == 0.0
    assert holes.mean() == pytest.approx(0.05, abs=0.005)
    assert (seen - true)[~holes].std() == pytest.approx(0.001, rel=0.02)
    perfect = Camera(CameraConfig(pixels=200))
    np.testing.assert_array_equal(perfect.look_badly(true, np.random.default_rng(0)), true)
    floor = camera.look_badly(np.zeros((200, 200)), np.random.default_rng(0))
    assert floor.min() == 0.0  # a height is never below the floor


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pixels": 4}, "at least 8 pixels a side, got 4"),
        ({"field_m": 0.0}, "field_m must be above 0, got 0.0"),
        ({"noise_m": -0.1}, "noise_m must be at least 0 and finite, got -0.1"),
        ({"noise_m": float("nan")}, "noise_m must be at least 0 and finite, got nan"),
        ({"drop_out": 1.0}, r"drop_out must be in \[0, 1\), got 1.0"),
    ],
)
def test_impossible_cameras_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        CameraConfig(**settings)
