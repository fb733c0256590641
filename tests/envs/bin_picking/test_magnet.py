"""The magnet's pull against its law, worked out by hand."""

import numpy as np
import pytest

from rlkit_envs.bin_picking.magnet import (
    Magnet,
    MagnetConfig,
    face_patches,
    heaviest_held_kg,
    patch_pull,
)
from rlkit_envs.bin_picking.parts import Part, Solid
from rlkit_envs.bin_picking.scene import BinConfig

CONFIG = MagnetConfig(force_n=9.0, gap_m=0.001)


def over(scene, height_m, x_m=0.0, config=CONFIG) -> Magnet:
    """A magnet whose face is that high above the floor."""
    scene.move_tool_to(np.array([x_m, 0.0, height_m]))
    return Magnet(scene, config)


def test_a_gap_of_g0_leaves_a_quarter_and_thrice_that_a_sixteenth():
    pulls = patch_pull(np.array([0.0, 0.001, 0.003, np.inf]), CONFIG, 4)
    np.testing.assert_allclose(pulls, [9 / 4, 9 / 16, 9 / 64, 0.0])


@pytest.mark.parametrize("gap_m", [0.0, 0.0005, 0.001, 0.002, 0.006, 0.019])
def test_a_plate_parallel_to_the_face_is_pulled_as_the_law_says(lay, box, gap_m):
    scene = lay([box(0.02, 0.02, 0.005)], [(0.0, 0.0, 0.005)])
    magnet = over(scene, 0.010 + gap_m)
    law = 9.0 * (0.001 / (0.001 + gap_m)) ** 2
    assert magnet.pull().by_part_n == pytest.approx([law], rel=1e-6)
    assert magnet.quality() == pytest.approx(law / 9.0, rel=1e-6)
    assert magnet.surface_tilt_deg() == pytest.approx(0.0, abs=1e-6)


def test_beyond_20_mm_there_is_no_pull(lay, box):
    scene = lay([box(0.02, 0.02, 0.005)], [(0.0, 0.0, 0.005)])
    magnet = over(scene, 0.0301)
    assert magnet.pull().by_part_n == [0.0]
    assert np.isinf(magnet.gaps()[0]).all()
    assert (magnet.gaps()[1] == -1).all()


def test_a_face_half_over_a_plate_pulls_with_the_half_that_covers_it(lay, box):
    scene = lay([box(0.02, 0.02, 0.005)], [(0.02 + 1e-4, 0.0, 0.005)])
    share = np.mean(face_patches(0.010)[:, 0] > 1e-4)
    assert 0.4 < share < 0.5
    assert over(scene, 0.010).pull().by_part_n == pytest.approx([9.0 * share], rel=1e-6)


def test_two_parts_share_the_face(lay, box):
    parts = [box(0.01, 0.02, 0.005)] * 2
    scene = lay(parts, [(-0.0105, 0.0, 0.005), (0.0105, 0.0, 0.005)])
    x = face_patches(0.010)[:, 0]
    pulls = over(scene, 0.010).pull().by_part_n
    shares = [np.mean(x < -5e-4), np.mean(x > 5e-4)]
    assert pulls == pytest.approx([9.0 * share for share in shares], rel=1e-6)


def test_what_is_not_ferrous_is_not_pulled_and_covers_what_lies_behind(lay, box):
    sheet = box(0.02, 0.02, 0.0005, ferrous=False)
    scene = lay([box(0.02, 0.02, 0.005), sheet], [(0, 0, 0.005), (0, 0, 0.0105)])
    magnet = over(scene, 0.011)
    pull = magnet.pull()
    assert (pull.by_part_n == 0.0).all()
    assert (pull.bin_n, magnet.quality()) == (0.0, 0.0)
    assert (magnet.gaps()[0] < 1e-6).all()


@pytest.mark.parametrize("ferrous", [True, False])
def test_only_a_ferrous_bin_pulls(lay, box, ferrous):
    bin_ = BinConfig(side_m=0.12, wall_height_m=0.02, ferrous=ferrous)
    scene = lay([box(0.01, 0.01, 0.005)], [(0.04, 0.0, 0.005)], bin_=bin_)
    pull = over(scene, 0.001).pull()
    assert pull.by_part_n == [0.0]
    assert pull.bin_n == pytest.approx(9.0 / 4 if ferrous else 0.0, rel=1e-6)


def test_part_and_tool_pull_at_each_other_where_the_patches_are(lay, box):
    """Force and moment on a plate that is off the middle and heavier on one side."""
    plate = box(0.02, 0.02, 0.005, mass_offset=(0.0, 0.2, 0.0))
    scene = lay([plate], [(0.006, 0.0, 0.005)])
    magnet = over(scene, 0.011)
    force = magnet.pull().by_part_n[0]
    on_part = scene.data.xfrc_applied[scene.part_bodies[0]]
    on_tool = scene.data.xfrc_applied[scene.tip_body]
    np.testing.assert_allclose(on_part[:3], [0.0, 0.0, force], atol=1e-9)
    np.testing.assert_allclose(on_tool[:3], -on_part[:3], atol=1e-9)
    # The pull is through the face's middle; the centre of mass lies 6 mm and 4 mm beside it.
    np.testing.assert_allclose(on_part[3:], [-0.004 * force, 0.006 * force, 0.0], atol=1e-6)
    magnet.release()
    assert not scene.data.xfrc_applied.any()


def test_what_is_no_longer_under_the_face_is_no_longer_pulled(lay, box):
    parts = [box(0.015, 0.015, 0.005)] * 2
    scene = lay(parts, [(-0.03, 0.0, 0.005), (0.03, 0.0, 0.005)])
    magnet = over(scene, 0.010, -0.03)
    magnet.pull()
    scene.move_tool_to(np.array([0.03, 0.0, 0.010]))
    magnet.pull()
    assert not scene.data.xfrc_applied[scene.part_bodies[0]].any()
    assert scene.data.xfrc_applied[scene.part_bodies[1], 2] == pytest.approx(9.0)


def test_a_leaning_surface_is_pulled_less_and_its_lean_is_told(lay, box):
    half = np.deg2rad(10.0) / 2
    turn = (np.cos(half), 0.0, np.sin(half), 0.0)
    scene = lay([box(0.02, 0.02, 0.005)], [(0.0, 0.0, 0.02)], [turn])
    height = 0.02 + 0.005 / np.cos(2 * half) + np.tan(2 * half) * 0.010
    magnet = over(scene, height)
    gaps = (0.010 + face_patches(0.010)[:, 0]) * np.tan(2 * half)
    law = np.mean((0.001 / (0.001 + gaps)) ** 2)
    assert magnet.quality() == pytest.approx(law, rel=1e-3)
    assert magnet.surface_tilt_deg() == pytest.approx(10.0, abs=0.02)


def test_a_ball_is_pulled_where_it_curves_towards_the_face(lay):
    radius = 0.015
    scene = lay([Part("ball", (Solid("sphere", (radius,)),))], [(0.0, 0.0, radius)])
    across = (face_patches(0.010) ** 2).sum(1)
    gaps = radius - np.sqrt(radius**2 - across)
    law = np.mean((0.001 / (0.001 + gaps)) ** 2)
    assert over(scene, 2 * radius).quality() == pytest.approx(law, rel=1e-3)


def test_patches_cover_a_disc_evenly():
    patches = face_patches(0.010)
    assert patches.shape == (37, 2)
    np.testing.assert_allclose(patches.mean(0), 0.0, atol=1e-12)
    # Of a disc's points half lie beyond R / sqrt(2), and the mean square is R^2 / 2.
    squares = (patches**2).sum(1)
    assert squares.max() < 0.010**2
    assert squares.mean() == pytest.approx(0.010**2 / 2, rel=0.1)


def test_the_heaviest_part_by_hand():
    assert heaviest_held_kg(9.81, 0.0, 0.010) == pytest.approx(1.0)
    assert heaviest_held_kg(9.81, 0.010, 0.010) == pytest.approx(0.5)
    assert heaviest_held_kg(12.0, 0.005, 0.010, 2.19) == pytest.approx(12.0 / 18.0)


@pytest.mark.parametrize("name", ["force_n", "gap_m"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_magnets_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be above 0 and finite, got {value}"):
        MagnetConfig(**{name: value})
