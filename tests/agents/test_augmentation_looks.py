"""Changed looks against slow references, and what none of them may change."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import correlate, gaussian_filter
from torch import Tensor

from rlkit_agents.augmentation import Augmentation
from rlkit_agents.augmentation_looks import (
    Blur,
    Cutout,
    DropOut,
    RandomConvolution,
    RandomShadow,
    Shades,
    Specks,
    random_brightness,
    random_contrast,
    random_inversion,
    random_palette,
)

OF_BYTES: dict[str, Augmentation] = {
    "specks": Specks(0.3),
    "brightness": random_brightness(60.0),
    "contrast": random_contrast(0.7),
    "palette": random_palette(90.0),
    "inversion": random_inversion(0.7),
    "shadow": RandomShadow(0.8),
    "convolution": RandomConvolution(0.7),
}
OF_ANY: dict[str, Augmentation] = {"dropout": DropOut(0.3), "cutout": Cutout(4), "blur": Blur(1.0)}
EVERY = {**OF_BYTES, **OF_ANY}
ALIKE_IN_CHANNELS = [name for name in EVERY if name not in ("specks", "dropout")]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, generator=seeded(seed), dtype=torch.uint8)


@pytest.mark.parametrize("name", EVERY)
def test_shape_dtype_and_the_batch_itself_are_kept(name: str) -> None:
    kinds = [torch.uint8, *([torch.float32] if name in OF_ANY else [])]
    for dtype in kinds:
        batch = pictures(8, 2, 9, 11).to(dtype)
        before = batch.clone()
        got = EVERY[name](batch, random=seeded())
        assert (got.shape, got.dtype) == (batch.shape, dtype)
        assert torch.equal(batch, before)
        assert not torch.equal(got, batch)
        assert 0 <= float(got.amin()) <= float(got.amax()) <= 255


@pytest.mark.parametrize("name", EVERY)
def test_the_generator_alone_decides(name: str) -> None:
    batch = pictures(16, 1, 8, 8)
    before = torch.get_rng_state()
    first = EVERY[name](batch, random=seeded(1))
    assert torch.equal(first, EVERY[name](batch, torch.arange(16), random=seeded(1)))
    assert torch.equal(first, EVERY[name](batch, random=seeded(2))) == (name == "blur")
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", ALIKE_IN_CHANNELS)
def test_frames_of_a_stack_look_alike(name: str) -> None:
    one = pictures(1, 1, 10, 10)
    got = EVERY[name](one.expand(24, 3, 10, 10), random=seeded())
    assert torch.equal(got[:, 0], got[:, 1])
    assert torch.equal(got[:, 0], got[:, 2])
    assert (len({tuple(row.flatten().tolist()) for row in got}) > 1) == (name != "blur")


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["brightness", "contrast", "palette", "inversion"]), st.integers(0, 99))
def test_shades_are_replaced_pixel_by_pixel(name: str, seed: int) -> None:
    shades = EVERY[name]
    assert isinstance(shades, Shades)
    batch = pictures(3, 2, 4, 5, seed=seed)
    curves = shades.draw(3, seeded(seed))
    got = shades.apply(batch, curves)
    for i, channel, row, column in torch.cartesian_prod(*(torch.arange(n) for n in batch.shape)):
        shade = int(batch[i, channel, row, column])
        assert int(got[i, channel, row, column]) == int(curves[i, shade])


def test_curves_are_what_they_say() -> None:
    shades = torch.arange(256).float()
    moved = random_brightness(50.0).curves(2000, seeded()) - shades
    assert torch.allclose(moved, moved[:, :1].expand_as(moved), atol=1e-3)
    assert -50 <= float(moved.min()) < -49
    assert 49 < float(moved.max()) <= 50.001
    stretched = (random_contrast(0.4).curves(2000, seeded()) - 127.5) / (shades - 127.5)
    assert torch.allclose(stretched, stretched[:, :1].expand_as(stretched), atol=1e-3)
    assert 0.6 <= float(stretched.min()) + 1e-3 < 0.61
    assert 1.39 < float(stretched.max()) <= 1.401
    painted = random_palette(60.0).curves(500, seeded()) - shades
    assert 59 < float(painted.abs().max()) <= 60.001
    assert float(painted.diff(dim=1).abs().max()) <= 120 / (255 / 8) + 1e-3  # near ones alike
    assert float(painted.std(1).min()) > 5  # but far ones not
    inverted = random_inversion(0.25).draw(4000, seeded())
    share = float((inverted[:, 0] == 255).float().mean())
    assert share == pytest.approx(0.25, abs=0.03)
    assert torch.equal(random_inversion(1.0).draw(1, seeded())[0].float(), 255 - shades)


def test_shares_of_lost_numbers_and_specks() -> None:
    batch = torch.full((40, 1, 50, 50), 100, dtype=torch.uint8)
    lost = DropOut(0.2)(batch, random=seeded())
    assert set(lost.unique().tolist()) == {0, 100}
    assert float((lost == 0).float().mean()) == pytest.approx(0.2, abs=0.01)
    specked = Specks(0.2)(batch, random=seeded())
    assert set(specked.unique().tolist()) == {0, 100, 255}
    for shade in (0, 255):
        assert float((specked == shade).float().mean()) == pytest.approx(0.1, abs=0.01)


def test_convolutions_mix_neighbours_and_fit_between_black_and_white() -> None:
    batch = pictures(30, 2, 7, 9)
    convolution = RandomConvolution(0.6)
    weights = convolution.draw(30, seeded())
    got = convolution.apply(batch, weights)
    for before, after, weight in zip(batch, got, weights, strict=True):
        darkest = 255 * float(weight.clamp(max=0).sum())
        for frame, convolved in zip(before, after, strict=True):
            wanted = correlate(frame.double().numpy(), weight.double().numpy(), mode="nearest")
            assert abs(convolved.double().numpy() - (wanted - darkest)).max() < 0.501
    assert torch.equal(got[weights[:, 1, 1] == 1], batch[weights[:, 1, 1] == 1])
    # The picture that is white where weights are positive comes out white there, and nowhere more.
    weight = convolution.draw(40, seeded(1))
    white = (weight > 0)[:, None] * 255
    outcome = convolution.apply(white.to(torch.uint8), weight)[:, 0, 1, 1]
    assert torch.equal(outcome, torch.full((40,), 255, dtype=torch.uint8))


def test_so_many_pictures_are_convolved() -> None:
    weights = RandomConvolution(0.3).draw(4000, seeded())
    assert weights.abs().sum((1, 2)).allclose(torch.ones(4000))
    assert float((weights[:, 0, 0] != 0).float().mean()) == pytest.approx(0.3, abs=0.03)
    assert float((weights.sum((1, 2)) < 0).float().mean()) == pytest.approx(0.15, abs=0.03)
    unchanged = pictures(50, 1, 5, 5)
    assert RandomConvolution(1e-9)(unchanged, random=seeded()).equal(unchanged)


def test_a_square_is_hidden_and_nothing_else() -> None:
    batch = pictures(200, 1, 9, 13)
    cutout = Cutout(4)
    drawn = cutout.draw(200, seeded())
    got = cutout.apply(batch.float(), drawn)
    corners = set()
    for before, after in zip(batch.float(), got, strict=True):
        rows, columns = (after[0] != before[0]).nonzero().unbind(1)
        top, left = int(rows.min()), int(columns.min())
        # A pixel that was black before does not show; rows that were all black are too rare.
        assert int(rows.max()) - top == int(columns.max()) - left == 3
        assert not after[0, top : top + 4, left : left + 4].any()
        corners.add((top, left))
    assert {top for top, _ in corners} == set(range(6))
    assert {left for _, left in corners} == set(range(10))
    shades = cutout.apply(torch.zeros(200, 1, 4, 4, dtype=torch.uint8), drawn)[:, 0]
    assert torch.equal(shades, shades[:, :1, :1].expand_as(shades))
    assert len(shades[:, 0, 0].unique()) > 80


@pytest.mark.parametrize("deviation", [0.6, 1.0, 2.0])
def test_blur_agrees_with_scipy(deviation: float) -> None:
    batch = pictures(2, 2, 12, 15).double()
    got = Blur(deviation)(batch, random=seeded())
    reach = max(1, math.ceil(3 * deviation))
    for picture, blurred in zip(batch.flatten(0, 1), got.flatten(0, 1), strict=True):
        expected = gaussian_filter(picture.numpy(), deviation, mode="nearest", radius=reach)
        assert blurred.numpy() == pytest.approx(expected, abs=1e-3)


def test_a_shadow_darkens_one_side_of_a_line() -> None:
    batch = torch.full((300, 1, 21, 21), 200, dtype=torch.uint8)
    shaded = RandomShadow(0.6)(batch, random=seeded())
    assert {len(picture.unique()) for picture in shaded} == {2}
    darkest = shaded.flatten(1).amin(1)
    assert torch.equal(shaded.flatten(1).amax(1), torch.full_like(darkest, 200))
    assert 80 <= int(darkest.min()) < 85  # 60 % lost at most, 30 % at least
    assert 135 < int(darkest.max()) <= 140
    share = (shaded < 200).float().mean((1, 2, 3))
    assert 0.1 < float(share.min()) < 0.4
    assert 0.6 < float(share.max()) < 0.9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Specks(0.0), "between 0 and 1, got 0.0"),
        (lambda: DropOut(1.0), "between 0 and 1, got 1.0"),
        (lambda: random_brightness(0.0), "between 0 and 256, got 0.0"),
        (lambda: random_palette(256.0), "between 0 and 256, got 256.0"),
        (lambda: random_contrast(1.5), r"\(0, 1\], got 1.5"),
        (lambda: random_inversion(0.0), r"\(0, 1\], got 0.0"),
        (lambda: RandomConvolution(1.5), r"\(0, 1\], got 1.5"),
        (lambda: RandomShadow(0.0), r"\(0, 1\], got 0.0"),
        (lambda: Cutout(0), "at least 1, got 0"),
        (lambda: Blur(0.0), r"pixels must be in \(0, 100\], got 0.0"),
        (lambda: Cutout(5)(pictures(1, 1, 4, 9), random=seeded()), r"5 pixels .* \(4, 9\)"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", OF_BYTES)
def test_only_bytes_have_shades(name: str) -> None:
    with pytest.raises(ValueError, match=r"only bytes have shades.*float32"):
        EVERY[name](torch.zeros(2, 1, 6, 6), random=seeded())
