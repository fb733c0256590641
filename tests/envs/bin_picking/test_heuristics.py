"""Hand-made ways to choose, on heightmaps made by hand."""

import numpy as np
import pytest

from rlkit_envs.bin_picking.heuristics import HEURISTICS, View, choose

MM = 0.001
SIZE = 60
PIXEL_M = 0.002
RADIUS_M = 0.010
ROWS, COLUMNS = np.indices((SIZE, SIZE))
INSIDE = (np.abs(ROWS - 29.5) < 24) & (np.abs(COLUMNS - 29.5) < 24)


def view(height_mm, inside=INSIDE) -> View:
    return View(np.asarray(height_mm, float), inside, PIXEL_M, RADIUS_M)


def slab(row, column, half, height_mm):
    """A square of that height, else 0."""
    on = (np.abs(ROWS - row) <= half) & (np.abs(COLUMNS - column) <= half)
    return np.where(on, height_mm, 0.0)


def pick(name, height_mm, inside=INSIDE, marked=None, seed=0) -> tuple[int, int]:
    """Row and column."""
    random = np.random.default_rng(seed)
    scores = HEURISTICS[name](view(height_mm, inside), random)
    marks = np.zeros((SIZE, SIZE), bool) if marked is None else marked
    return divmod(choose(scores, marks, random), SIZE)


SCENE = slab(15, 15, 7, 10.0) + slab(15, 42, 7, 20.0) + slab(42, 30, 7, 15.0)


def test_highest_takes_the_top_but_not_the_wall():
    peak = SCENE.copy()
    peak[40, 33] = 24.0
    peak[2, 30] = 100.0  # where the tool cannot go
    assert pick("highest", peak) == (40, 33)


def test_random_pixels_are_anywhere_inside_and_those_on_parts_only_there():
    anywhere = {pick("random", SCENE, seed=seed) for seed in range(40)}
    on_part = {pick("random on part", SCENE, seed=seed) for seed in range(40)}
    assert all(INSIDE[at] for at in anywhere)
    assert len(anywhere) > 30
    assert any(SCENE[at] == 0.0 for at in anywhere)
    assert all(SCENE[at] > 0.0 for at in on_part)
    assert {SCENE[at] for at in on_part} == {10.0, 15.0, 20.0}


def test_a_pixel_on_a_part_is_one_higher_than_4_mm():
    flat = slab(15, 15, 7, 3.9) + slab(42, 42, 7, 4.1)
    assert view(flat).on_part.sum() == 15**2
    row, column = pick("random on part", flat)
    assert row > 30
    assert column > 30


def test_flattest_high_takes_a_lower_flat_place_rather_than_a_high_rough_one():
    rough = np.where((ROWS + COLUMNS) % 2, 3.0, 0.0) * (slab(15, 42, 7, 1.0))
    row, column = pick("flattest-high", SCENE + rough)
    assert SCENE[row, column] == 15.0
    assert abs(row - 42) <= 3  # the face, 5 pixels wide to either side, fits with room to spare
    assert abs(column - 30) <= 3


def test_flattest_high_takes_the_higher_of_two_flat_places():
    row, column = pick("flattest-high", SCENE)
    assert SCENE[row, column] == 20.0
    assert max(abs(row - 15), abs(column - 42)) <= 3


def test_a_leaning_plane_is_as_flat_as_a_level_one():
    """Flatness is the distance from the best plane, so 11 degrees are no fault."""
    leaning = slab(15, 42, 7, 1.0) * (20.0 + 0.4 * (COLUMNS - 42))
    row, column = pick("flattest-high", slab(42, 30, 7, 15.0) + leaning)
    assert max(abs(row - 15), abs(column - 42)) <= 3


def test_segment_centroid_takes_the_middle_of_the_highest_thing():
    assert pick("segment centroid", SCENE) == (15, 42)


def test_whoever_knows_discs_tells_parts_from_them():
    """Of 6 mm beside a part of 9 mm: without a step of 6 mm in between, they are one thing."""
    disc_and_part = slab(30, 20, 7, 6.0) + slab(30, 35, 7, 9.0)
    row, column = pick("segment centroid above discs", disc_and_part)
    assert row == 30
    assert abs(column - 35) <= 1  # the outer edge is a step, and cut off
    assert pick("segment centroid", disc_and_part)[1] <= 30
    # discs alone are tried all the same
    assert slab(30, 20, 7, 6.0)[pick("segment centroid above discs", slab(30, 20, 7, 6.0))] == 6.0


def test_segment_centroid_tells_things_apart_by_steps_in_height():
    """Two slabs that touch, one 8 mm above the other: not the middle of both together."""
    row, column = pick("segment centroid", slab(30, 20, 7, 12.0) + slab(30, 35, 7, 20.0))
    assert abs(row - 30) <= 1
    assert 34 <= column <= 37


def test_segment_centroid_passes_over_slivers():
    """A pin of 5 by 5 pixels has an edge all around, and 1 pixel (4 mm2) of inside."""
    assert pick("segment centroid", SCENE + slab(50, 50, 2, 40.0)) == (15, 42)


def test_segment_centroid_is_content_with_a_sliver_where_nothing_else_is():
    row, column = pick("segment centroid", slab(30, 30, 2, 20.0))
    assert max(abs(row - 30), abs(column - 30)) <= 2


def quality_by_hand(height_mm, row, column) -> float:
    """Of a face over a pixel, with one patch a pixel and a g0 of 1 mm."""
    under = height_mm[np.hypot(ROWS - row, COLUMNS - column) * PIXEL_M <= RADIUS_M]
    return float(((1.0 / (1.0 + under.max() - under)) ** 2).mean())


@pytest.mark.parametrize("at", [(15, 15), (15, 9), (22, 42), (30, 30), (42, 36)])
def test_magnet_quality_is_the_magnets_law_on_the_map(at):
    scores = HEURISTICS["magnet quality"](view(SCENE), np.random.default_rng(0))
    if SCENE[at] == 0.0:
        assert np.isneginf(scores[at])
    else:
        assert scores[at] == pytest.approx(quality_by_hand(SCENE, *at), abs=0.08)


def test_magnet_quality_takes_a_place_that_covers_the_face():
    small_and_high = slab(15, 42, 2, 30.0) + slab(42, 30, 6, 10.0)
    row, column = pick("magnet quality", small_and_high)
    assert max(abs(row - 42), abs(column - 30)) <= 2


def test_centred_magnet_quality_prefers_the_middle():
    """Magnet quality sees no difference on a slab of 46 mm; how far from its edge counts here."""
    slab_of_46_mm = slab(30, 30, 11, 10.0)
    at = (ROWS == 30) & (COLUMNS == 30)
    random = np.random.default_rng(0)
    plain = HEURISTICS["magnet quality"](view(slab_of_46_mm), random)
    centred = HEURISTICS["centred magnet quality"](view(slab_of_46_mm), random)
    near_edge = (ROWS == 30) & (COLUMNS == 35)
    assert plain[at] == plain[near_edge] == 1.0
    assert centred[at] == 1.0
    # 5 pixels from the edge of what is inside the step: 10 mm, the radius, is enough; 2 are not
    assert centred[(ROWS == 30) & (COLUMNS == 38)] < 0.9


@pytest.mark.parametrize("name", HEURISTICS)
def test_nothing_is_picked_outside_or_where_it_is_marked(name):
    marked = np.zeros((SIZE, SIZE), bool)
    random = np.random.default_rng(1)
    for _ in range(60):
        row, column = pick(name, SCENE, marked=marked, seed=int(random.integers(1000)))
        assert INSIDE[row, column]
        assert not marked[row, column]
        marked |= np.hypot(ROWS - row, COLUMNS - column) * PIXEL_M <= 0.004
    assert len(HEURISTICS) == 8


@pytest.mark.parametrize("name", HEURISTICS)
def test_an_empty_bin_is_no_error(name):
    row, column = pick(name, np.zeros((SIZE, SIZE)))
    assert 0 <= row < SIZE
    assert 0 <= column < SIZE


def test_choosing_takes_the_best_of_what_is_open():
    scores = np.array([[1.0, 5.0], [3.0, -np.inf]])
    marked = np.array([[False, True], [False, False]])
    assert choose(scores, marked, np.random.default_rng(0)) == 2


def test_choosing_never_takes_a_marked_pixel_while_another_is_open():
    """Where all that has a score is marked, any other pixel will do."""
    scores = np.array([[1.0, 5.0], [-np.inf, -np.inf]])
    marked = np.array([[True, True], [False, True]])
    chosen = {choose(scores, marked, np.random.default_rng(seed)) for seed in range(20)}
    assert chosen == {2}


def test_choosing_goes_on_where_everything_is_marked():
    marked = np.ones((2, 2), bool)
    chosen = {choose(np.zeros((2, 2)), marked, np.random.default_rng(seed)) for seed in range(40)}
    assert chosen == {0, 1, 2, 3}


def test_ties_are_broken_at_random():
    scores = np.array([[2.0, 2.0], [1.0, 2.0]])
    open_ = np.zeros((2, 2), bool)
    chosen = {choose(scores, open_, np.random.default_rng(seed)) for seed in range(40)}
    assert chosen == {0, 1, 3}
