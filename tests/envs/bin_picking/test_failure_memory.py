"""The memory of failures: what it marks, and when it forgets."""

import numpy as np
import pytest

from rlkit_envs.bin_picking.configuration import BinPickingConfig
from rlkit_envs.bin_picking.episode import PickingBin
from rlkit_envs.bin_picking.failure_memory import FailureMemory
from rlkit_envs.bin_picking.sensor import CameraConfig

POINTS = CameraConfig(pixels=20, field_m=0.04).points()  # 2 mm a pixel
MIDDLE = 10 * 20 + 7


def distances_m(pixel: int) -> np.ndarray:
    row, column = divmod(pixel, 20)
    rows, columns = np.indices((20, 20))
    return 0.002 * np.hypot(rows - row, columns - column)


@pytest.mark.parametrize("pixel", [MIDDLE, 0, 399])
def test_a_disc_around_the_failure_is_marked(pixel):
    memory = FailureMemory(POINTS, 0.005)
    memory.add(pixel, np.zeros((20, 20)))
    np.testing.assert_array_equal(memory.mask(), distances_m(pixel) <= 0.005)


def test_several_failures_add_up():
    memory = FailureMemory(POINTS, 0.003)
    for pixel in (0, 399):
        memory.add(pixel, np.zeros((20, 20)))
    expected = (distances_m(0) <= 0.003) | (distances_m(399) <= 0.003)
    np.testing.assert_array_equal(memory.mask(), expected)


@pytest.mark.parametrize(
    ("change_m", "forgotten"), [(0.0019, False), (0.0021, True), (-0.0021, True)]
)
def test_it_forgets_once_heights_have_changed_by_2_mm_on_average(change_m, forgotten):
    memory = FailureMemory(POINTS, 0.005)
    heights = np.full((20, 20), 0.03)
    memory.add(MIDDLE, heights)
    memory.look(heights + change_m * (distances_m(MIDDLE) <= 0.005))
    assert memory.mask().any() == (not forgotten)


def test_what_happens_elsewhere_is_no_reason_to_forget():
    memory = FailureMemory(POINTS, 0.005)
    heights = np.full((20, 20), 0.03)
    memory.add(MIDDLE, heights)
    memory.look(np.where(distances_m(MIDDLE) <= 0.005, heights, 0.0))
    assert memory.mask()[10, 7]


def test_it_compares_with_the_heights_at_the_failure_not_with_the_last_ones():
    memory = FailureMemory(POINTS, 0.005)
    heights = np.full((20, 20), 0.03)
    memory.add(MIDDLE, heights)
    heights[:] = 0.031  # the picture that was given is not kept
    memory.look(heights.copy())
    assert memory.mask().any()
    memory.look(np.full((20, 20), 0.0325))
    assert not memory.mask().any()


def test_a_radius_of_0_remembers_nothing():
    memory = FailureMemory(POINTS, 0.0)
    memory.add(MIDDLE, np.zeros((20, 20)))
    assert not memory.mask().any()


@pytest.fixture
def bin_() -> PickingBin:
    """With one aluminium disc or more; nothing is shaken."""
    config = BinPickingConfig(
        tier="mixed", parts=6, pixels=32, bin_side_m=0.15, shake_after=0, noise_m=0.0
    )
    bin_ = PickingBin(config, (3,))
    bin_.begin()
    return bin_


def bare_floor(bin_: PickingBin) -> int:
    """A pixel over the floor, as far from parts and walls as can be."""
    half = bin_.config.bin_side_m / 2
    inside = np.abs(bin_.points_m).max(-1) < half - 0.02
    parts = bin_.points_m[bin_.picture.height_m > 0.003]
    apart = np.linalg.norm(bin_.points_m[..., None, :] - parts, axis=-1).min(-1)
    return int(np.where(inside, apart, 0.0).argmax())


def test_the_last_channel_marks_a_failure_until_the_next_episode(bin_):
    beyond = np.abs(bin_.points_m).max(-1) >= bin_.config.bin_side_m / 2 - 0.010
    np.testing.assert_array_equal(bin_.observation[-1], beyond)  # where a wall is in the way
    pixel = bare_floor(bin_)
    result = bin_.attempt(pixel)
    assert result.reward == 0.0
    distance = np.linalg.norm(bin_.points_m - bin_.points_m.reshape(-1, 2)[pixel], axis=-1)
    np.testing.assert_array_equal(bin_.observation[-1], beyond | (distance <= 0.010))
    bin_.begin()
    np.testing.assert_array_equal(bin_.observation[-1], beyond)


def test_a_success_is_not_marked(bin_):
    for _ in range(8):
        open_ = np.where(bin_.observation[-1] > 0, 0.0, bin_.picture.height_m)
        inside = np.abs(bin_.points_m).max(-1) < bin_.config.bin_side_m / 2 - 0.012
        marks = len(bin_.memory.failures)
        result = bin_.attempt(int(np.where(inside, open_, -1.0).argmax()))
        if result.reward:
            assert len(bin_.memory.failures) <= marks
            return
    pytest.fail("nothing was picked")


def test_marking_can_be_switched_off():
    config = BinPickingConfig(tier="single", parts=2, pixels=32, failure_radius_m=0.0)
    bin_ = PickingBin(config, (0,))
    bin_.begin()
    before = bin_.observation[-1]
    assert bin_.attempt(0).reward == 0.0
    np.testing.assert_array_equal(bin_.observation[-1], before)


def test_a_tool_that_may_lean_reaches_up_to_the_walls():
    bin_ = PickingBin(BinPickingConfig(tier="single", parts=2, pixels=32, leans=4), (0,))
    bin_.begin()
    beyond = np.abs(bin_.points_m).max(-1) >= bin_.config.bin_side_m / 2
    np.testing.assert_array_equal(bin_.observation[-1], beyond)
