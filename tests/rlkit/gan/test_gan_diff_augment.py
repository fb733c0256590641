"""DiffAugment against slow references: gradients, distributions, what stays in place."""

import numpy as np
import pytest
import torch
from torch import Tensor

from rlkit.gan.configuration import Augmentation
from rlkit.gan.diff_augment import augmented, cut_out, shift_colours, translated

ALL: tuple[Augmentation, ...] = ("colour", "translation", "cutout")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kinds", [("colour",), ("translation",), ("cutout",), ALL])
def test_gradients_pass_through(kinds: tuple[Augmentation, ...]) -> None:
    pictures = torch.randn(2, 2, 8, 9, dtype=torch.float64, requires_grad=True)

    def change(pictures: Tensor) -> Tensor:
        return augmented(pictures, kinds, seeded(3))

    assert torch.autograd.gradcheck(change, (pictures,))


def test_no_augmentation_changes_nothing() -> None:
    pictures = torch.randn(3, 1, 8, 8)
    assert augmented(pictures, ()) is pictures


def test_every_picture_is_moved_for_itself_by_up_to_an_eighth() -> None:
    """Against a copy, pixel by pixel, of a picture in a field of zeros."""
    height, width = 16, 24
    pictures = torch.rand(400, 1, height, width) + 1.0
    seen = []
    for before, after in zip(pictures[:, 0], translated(pictures, seeded())[:, 0], strict=True):
        rows = after.any(1).nonzero()[:, 0]
        columns = after.any(0).nonzero()[:, 0]
        down = int(rows[0]) if rows[0] > 0 else int(rows[-1]) - height + 1
        right = int(columns[0]) if columns[0] > 0 else int(columns[-1]) - width + 1
        expected = torch.zeros(height, width)
        for row in range(height):
            for column in range(width):
                if 0 <= row - down < height and 0 <= column - right < width:
                    expected[row, column] = before[row - down, column - right]
        assert torch.equal(after, expected)
        seen.append((down, right))
        if len(seen) == 60:
            break
    moves = np.array(seen)
    assert set(moves[:, 0]) == set(range(-2, 3))
    assert set(moves[:, 1]) <= set(range(-3, 4))
    assert abs(np.corrcoef(moves.T)[0, 1]) < 0.4


def test_moves_are_evenly_likely() -> None:
    pictures = torch.zeros(7000, 1, 8, 24)
    pictures[:, :, :, 12] = 1.0
    at = translated(pictures, seeded())[:, 0].amax(1).argmax(1)
    counts = torch.bincount(at, minlength=24)
    assert counts[:9].sum() == 0
    assert counts[16:].sum() == 0
    assert counts[9:16].tolist() == pytest.approx([1000] * 7, abs=130)  # four deviations


def test_a_hole_is_half_as_high_and_wide_about_any_pixel() -> None:
    holes = cut_out(torch.ones(4000, 3, 12, 20), seeded()) == 0
    assert torch.equal(holes.any(1), holes.all(1))  # alike in all channels
    rows, columns = holes[:, 0].any(2).sum(1), holes[:, 0].any(1).sum(1)
    assert torch.equal(rows * columns, holes[:, 0].sum((1, 2)))  # a rectangle
    assert int(rows.max()) == 6
    assert int(columns.max()) == 10
    # Cut off by 3 at one side for the first centre, by 2 for the next, by none in the middle:
    # 3, 4, 5, then 6 seven times, then 5 and 4.
    assert float(rows.float().mean()) == pytest.approx((3 + 4 + 5 + 6 * 7 + 5 + 4) / 12, rel=0.02)


def test_colours_shift_by_the_published_ranges() -> None:
    pictures = torch.rand(3000, 3, 4, 4, generator=seeded(1))
    after = shift_colours(pictures, seeded(2))
    # Of a picture only its mean shows the brightness, and only grey's deviation the contrast.
    brightness = (after - pictures).mean((1, 2, 3))
    assert float(brightness.min()) == pytest.approx(-0.5, abs=0.01)
    assert float(brightness.max()) == pytest.approx(0.5, abs=0.01)
    assert float(brightness.mean()) == pytest.approx(0.0, abs=0.03)
    contrast = after.mean(1).flatten(1).std(1) / pictures.mean(1).flatten(1).std(1)
    assert float(contrast.min()) == pytest.approx(0.5, abs=0.01)
    assert float(contrast.max()) == pytest.approx(1.5, abs=0.01)
    channels = [(p - p.mean(1, keepdim=True)).flatten(1).norm(dim=1) for p in (after, pictures)]
    saturation = channels[0] / channels[1] / contrast
    assert float(saturation.min()) == pytest.approx(0.0, abs=0.01)
    assert float(saturation.max()) == pytest.approx(2.0, abs=0.01)
    assert abs(float(torch.corrcoef(torch.stack((brightness, contrast)))[0, 1])) < 0.08


def test_a_seed_draws_the_same_changes() -> None:
    pictures = torch.rand(4, 1, 16, 16)
    changed = [augmented(pictures, ALL, seeded(seed)) for seed in (0, 0, 1)]
    assert torch.equal(changed[0], changed[1])
    assert not torch.equal(changed[0], changed[2])
