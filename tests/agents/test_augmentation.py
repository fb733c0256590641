"""Augmentations against slow references, and what none of them may change."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rlkit_agents.augmentation import Augmentation, Chain
from rlkit_agents.augmentation_looks import GaussianNoise
from rlkit_agents.augmentation_moves import (
    RandomCrop,
    RandomFlip,
    RandomRotation,
    RandomShift,
    RandomTurn,
)

GEOMETRIC: list[Augmentation] = [
    RandomShift(3),
    RandomCrop(0.8),
    RandomFlip(rows=True),
    RandomTurn(),
    RandomRotation(20.0),
    Chain((RandomFlip(), RandomShift(1))),
]
EVERY = [*GEOMETRIC, GaussianNoise(30.0, low=0.0, high=255.0)]
FLOATS = (torch.float32, torch.float64, torch.float16)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, generator=seeded(seed), dtype=torch.uint8)


def slow_sample(picture: Tensor, row: float, column: float) -> float:
    """A picture (height, width) at a point between pixels, the edge going on outside."""
    height, width = picture.shape
    top, left = math.floor(row), math.floor(column)
    value = 0.0
    for r, row_weight in ((top, 1 - (row - top)), (top + 1, row - top)):
        for c, column_weight in ((left, 1 - (column - left)), (left + 1, column - left)):
            pixel = picture[min(max(r, 0), height - 1), min(max(c, 0), width - 1)]
            value += row_weight * column_weight * float(pixel)
    return value


@pytest.mark.parametrize("augmentation", EVERY, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("dtype", [torch.uint8, *FLOATS], ids=str)
def test_shape_dtype_range_and_the_batch_itself_are_kept(
    augmentation: Augmentation, dtype: torch.dtype
) -> None:
    batch = pictures(8, 2, 9, 9).to(dtype)
    before = batch.clone()
    got = augmentation(batch, random=seeded())
    assert got.shape == batch.shape
    assert got.dtype == dtype
    assert torch.equal(batch, before)
    assert not torch.equal(got, batch)
    assert float(got.amin()) >= 0
    assert float(got.amax()) <= 255


@pytest.mark.parametrize("augmentation", EVERY, ids=lambda each: type(each).__name__)
def test_the_generator_alone_decides(augmentation: Augmentation) -> None:
    batch = pictures(16, 1, 8, 8)
    labels = torch.arange(16)
    before = torch.get_rng_state()
    first = augmentation(batch, labels, random=seeded(1))
    assert torch.equal(first, augmentation(batch, random=seeded(1)))
    assert not torch.equal(first, augmentation(batch, random=seeded(2)))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("augmentation", GEOMETRIC, ids=lambda each: type(each).__name__)
def test_rows_are_augmented_apart_and_channels_together(augmentation: Augmentation) -> None:
    one = pictures(1, 1, 10, 10)
    got = augmentation(one.expand(24, 3, 10, 10), random=seeded())
    assert len({tuple(row.flatten().tolist()) for row in got}) > 1
    assert torch.equal(got[:, 0], got[:, 1])
    assert torch.equal(got[:, 0], got[:, 2])


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_shifts_agree_with_moving_pixel_by_pixel(data: st.DataObject) -> None:
    count, channels, height, width = (data.draw(st.integers(1, 6)) for _ in range(4))
    batch = pictures(count, channels, height, width, seed=data.draw(st.integers(0, 99)))
    shift = RandomShift(data.draw(st.integers(1, 8)))
    moves = shift.draw(count, seeded(data.draw(st.integers(0, 99))))
    got = shift.apply(batch, moves)
    assert int(moves.abs().max()) <= shift.pixels
    for i, (down, right) in enumerate(moves.tolist()):
        for row in range(height):
            for column in range(width):
                source = (
                    min(max(row - down, 0), height - 1),
                    min(max(column - right, 0), width - 1),
                )
                assert torch.equal(got[i, :, row, column], batch[i, :, source[0], source[1]])


def test_every_shift_comes_up_about_equally_often() -> None:
    moves = RandomShift(2).draw(5000, seeded())
    values, counts = torch.unique(moves, dim=0, return_counts=True)
    assert len(values) == 25
    assert counts.min() > 140  # 200 expected, standard deviation 14


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_rotations_agree_with_reading_pixel_by_pixel(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(2, 8)), data.draw(st.integers(2, 8))
    picture = pictures(1, 1, height, width, seed=data.draw(st.integers(0, 99))).float()
    angle = math.radians(data.draw(st.floats(-60, 60)))
    got = RandomRotation(60.0).apply(picture, torch.tensor([angle]))
    middle_row, middle_column = (height - 1) / 2, (width - 1) / 2
    for row in range(height):
        for column in range(width):
            up, right = middle_row - row, column - middle_column
            # Turning back, clockwise, says where a pixel came from.
            from_right = math.cos(angle) * right + math.sin(angle) * up
            from_up = -math.sin(angle) * right + math.cos(angle) * up
            expected = slow_sample(picture[0, 0], middle_row - from_up, middle_column + from_right)
            assert float(got[0, 0, row, column]) == pytest.approx(expected, abs=0.05)


def test_a_quarter_rotation_is_a_turn() -> None:
    batch = pictures(2, 1, 7, 7)
    rotated = RandomRotation(180.0).apply(batch, torch.tensor([math.pi / 2, -math.pi / 2]))
    assert torch.equal(rotated, RandomTurn().apply(batch, torch.tensor([1, 3])))


def test_angles_reach_both_limits_and_go_no_further() -> None:
    angles = RandomRotation(15.0).draw(2000, seeded()).rad2deg()
    assert 14.5 < float(angles.max()) <= 15
    assert -15 <= float(angles.min()) < -14.5


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_crops_agree_with_reading_pixel_by_pixel(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(2, 8)), data.draw(st.integers(2, 8))
    picture = pictures(1, 1, height, width, seed=data.draw(st.integers(0, 99))).float()
    share = data.draw(st.floats(0.3, 0.95))
    down, right = data.draw(st.floats(0, 1)), data.draw(st.floats(0, 1))
    got = RandomCrop(share).apply(picture, torch.tensor([[down, right]]))
    top, left = down * (1 - share) * height, right * (1 - share) * width
    for row in range(height):
        for column in range(width):
            expected = slow_sample(
                picture[0, 0], top + share * (row + 0.5) - 0.5, left + share * (column + 0.5) - 0.5
            )
            assert float(got[0, 0, row, column]) == pytest.approx(expected, abs=0.05)


def test_flips_mirror_what_they_say() -> None:
    batch = pictures(4, 2, 3, 5)
    flips = torch.tensor([[False, False], [True, False], [False, True], [True, True]])
    got = RandomFlip(rows=True, columns=True).apply(batch, flips)
    for i, axes in enumerate([[], [-2], [-1], [-2, -1]]):
        assert torch.equal(got[i], batch[i].flip(axes))


@pytest.mark.parametrize(("rows", "columns"), [(True, False), (False, True), (True, True)])
def test_flips_come_up_half_of_the_time(rows: bool, columns: bool) -> None:
    flips = RandomFlip(rows, columns).draw(2000, seeded()).double().mean(0)
    assert flips.tolist() == pytest.approx([0.5 * rows, 0.5 * columns], abs=0.05)


def test_turns_are_right_angles_of_equal_chance() -> None:
    turn = RandomTurn()
    batch = pictures(4, 1, 5, 5)
    got = turn.apply(batch, torch.arange(4))
    for angle in range(4):
        assert torch.equal(got[angle], torch.rot90(batch[angle], angle, (-2, -1)))
    counts = torch.bincount(turn.draw(4000, seeded()))
    assert counts.tolist() == pytest.approx([1000] * 4, abs=120)


def test_noise_has_its_deviation() -> None:
    batch = torch.full((50, 200), 100, dtype=torch.uint8)
    noise = GaussianNoise(10.0)(batch, random=seeded()).double() - 100
    assert float(noise.mean()) == pytest.approx(0, abs=0.4)
    # Rounding to whole bytes adds a twelfth to the variance.
    assert float(noise.var()) == pytest.approx(100 + 1 / 12, rel=0.05)
    rows = torch.zeros(50, 200)
    assert float(GaussianNoise(2.0)(rows, random=seeded()).std()) == pytest.approx(2, rel=0.05)
    assert float(GaussianNoise(2.0, low=-0.5)(rows, random=seeded()).amin()) == -0.5


def test_a_chain_does_one_after_the_other() -> None:
    batch = pictures(6, 1, 6, 6)
    random = seeded(3)
    step_by_step = RandomShift(1)(RandomTurn()(batch, random=random), random=random)
    chained = Chain((RandomTurn(), RandomShift(1)))(batch, random=seeded(3))
    assert torch.equal(chained, step_by_step)
    assert Chain(())(batch, random=random) is batch


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomShift(0), "at least 1, got 0"),
        (lambda: RandomCrop(1.0), "between 0 and 1, got 1.0"),
        (lambda: RandomFlip(False, False), "both are False"),
        (lambda: RandomRotation(0.0), r"\(0, 180\], got 0.0"),
        (lambda: GaussianNoise(0.0), "deviation must be positive and finite, got 0.0"),
        (lambda: GaussianNoise(1.0, low=1, high=0), "below high, got 1 and 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_rows_that_cannot_be_augmented_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(4, 3, 3\)"):
        RandomShift()(pictures(4, 3, 3), random=seeded())
    with pytest.raises(ValueError, match=r"square.*\(2, 1, 3, 4\)"):
        RandomTurn()(pictures(2, 1, 3, 4), random=seeded())
    with pytest.raises(ValueError, match="floats or bytes, got"):
        GaussianNoise(1.0)(torch.zeros(3, 2, dtype=torch.int64), random=seeded())
