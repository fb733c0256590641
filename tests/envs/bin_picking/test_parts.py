"""The catalogue of parts against sums by hand, and against MuJoCo's own masses."""

from itertools import pairwise

import numpy as np
import pytest

from rlkit_envs.bin_picking.parts import (
    DISTRACTORS,
    HELD_OUT_KINDS,
    KINDS,
    LARGEST_REACH_M,
    Part,
    Solid,
    draw_part,
)
from rlkit_envs.bin_picking.scene import BinConfig, Scene, ToolConfig, half_extents_m

BIN = BinConfig(side_m=0.2)


def volume_m3(solid: Solid) -> float:
    """From a book of formulas."""
    size = solid.size
    match solid.shape:
        case "box":
            return 8.0 * size[0] * size[1] * size[2]
        case "cylinder":
            return np.pi * size[0] ** 2 * 2.0 * size[1]
        case "capsule":
            return np.pi * size[0] ** 2 * 2.0 * size[1] + 4.0 / 3.0 * np.pi * size[0] ** 3
        case "sphere":
            return 4.0 / 3.0 * np.pi * size[0] ** 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_weighs_its_density_times_its_volume(kind):
    part = draw_part(kind, np.random.default_rng(1))
    scene = Scene([part], BIN, ToolConfig())
    expected = part.density_kg_per_m3 * sum(volume_m3(solid) for solid in part.solids)
    assert scene.model.body_mass[scene.part_bodies[0]] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_scaling_a_part_scales_all_its_lengths(kind):
    plain = draw_part(kind, np.random.default_rng(2))
    scaled = draw_part(kind, np.random.default_rng(2), scale=1.1)
    for before, after in zip(plain.solids, scaled.solids, strict=True):
        assert after.size == pytest.approx([1.1 * length for length in before.size])
        assert after.position == pytest.approx([1.1 * length for length in before.position])
        assert after.quaternion == before.quaternion


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_part_looks_like_follows_from_the_random_numbers(kind):
    first, same, other = (draw_part(kind, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert first == same
    assert first != other


@pytest.mark.parametrize("kind", KINDS)
def test_no_part_reaches_further_than_its_kind_may(kind):
    random = np.random.default_rng(8)
    reach = [np.linalg.norm(half_extents_m(draw_part(kind, random))) for _ in range(300)]
    assert 0.9 * LARGEST_REACH_M[kind] < max(reach) <= LARGEST_REACH_M[kind]


def test_magnets_lift_all_but_the_distractors():
    random = np.random.default_rng(0)
    not_ferrous = {kind for kind in KINDS if not draw_part(kind, random).ferrous}
    assert not_ferrous == set(DISTRACTORS)
    assert not set(HELD_OUT_KINDS) & set(DISTRACTORS)


def test_no_box_weighs_more_than_200_g():
    random = np.random.default_rng(0)
    boxes = [draw_part("box", random) for _ in range(300)]
    masses = [box.density_kg_per_m3 * volume_m3(box.solids[0]) for box in boxes]
    assert 0.19 < max(masses) < 0.2011  # some would be heavier: the cap is at work


def ends(solid: Solid) -> np.ndarray:
    """(2, 3) ends of a capsule's axis: the z axis turned by its quaternion, by hand."""
    w, x, y, z = solid.quaternion
    axis = np.array([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)])
    return np.array(solid.position) + np.outer([-1.0, 1.0], solid.size[1] * axis)


@pytest.mark.parametrize(("kind", "closed"), [("ring", True), ("hook", False)])
def test_the_bars_of_rings_and_hooks_hang_together(kind, closed):
    solids = draw_part(kind, np.random.default_rng(5)).solids
    pairs = list(pairwise(solids))
    pairs += [(solids[-1], solids[0])] if closed else []
    for one, next_ in pairs:
        apart = np.linalg.norm(ends(one)[:, None] - ends(next_)[None], axis=-1).min()
        assert apart < one.size[0] / 2  # the ends' balls reach well into each other


def test_the_arms_of_an_l_bracket_meet_flush_along_an_edge():
    foot, arm = draw_part("l_bracket", np.random.default_rng(6)).solids
    assert arm.position[0] - arm.size[0] == pytest.approx(foot.position[0] - foot.size[0])
    assert arm.position[2] - arm.size[2] == pytest.approx(foot.position[2] + foot.size[2])


def test_the_block_of_a_flange_stands_on_the_middle_of_its_plate():
    random = np.random.default_rng(7)
    for _ in range(50):
        plate, block = draw_part("flange", random).solids
        assert block.position[:2] == (0.0, 0.0)
        assert block.position[2] - block.size[2] == pytest.approx(plate.size[2])
        assert (np.array(block.size[:2]) < plate.size[:2]).all()


def test_the_centre_of_mass_is_offset_by_shares_of_the_half_sides():
    half = (0.02, 0.01, 0.005)
    part = Part("box", (Solid("box", half),), mass_offset=(0.5, -0.25, 0.0))
    scene = Scene([part], BIN, ToolConfig())
    centre = scene.model.body_ipos[scene.part_bodies[0]]
    np.testing.assert_allclose(centre, [0.01, -0.0025, 0.0], atol=1e-12)


def test_the_box_around_a_part_holds_turned_and_moved_solids():
    along_x = (np.sqrt(0.5), 0.0, np.sqrt(0.5), 0.0)
    part = Part(
        "rod with a ball",
        (
            Solid("capsule", (0.002, 0.010), quaternion=along_x),
            Solid("sphere", (0.003,), (0.0, -0.006, 0.0)),
        ),
    )
    np.testing.assert_allclose(half_extents_m(part), [0.012, 0.009, 0.003], atol=1e-12)


def test_a_kind_that_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="no kind of part is called 'widget'"):
        draw_part("widget", np.random.default_rng(0))
