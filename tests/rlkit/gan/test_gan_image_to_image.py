"""pix2pix: sizes, what reaches the output, and a small translation that is learnt."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlkit.estimator import NotFittedError
from rlkit.gan.alternation import Alternation
from rlkit.gan.configuration import ImageToImageConfig
from rlkit.gan.gan import ImageToImage
from rlkit.gan.image_to_image import (
    PatchDiscriminator,
    UNet,
    noise_size,
    size_of_changes,
    unet_halvings,
)

TINY = ImageToImageConfig(channels=2, most_channels=4, picture_noise=0, pixel_noise=0)
NONE = torch.empty(2, 0)


def squares(count: int, seed: int = 0) -> np.ndarray:
    """A bright square on black, (count, 1, 16, 16) bytes."""
    generator = np.random.default_rng(seed)
    pictures = np.zeros((count, 1, 16, 16), np.uint8)
    for picture, (row, column) in zip(pictures, generator.integers(0, 11, (count, 2)), strict=True):
        picture[0, row : row + 5, column : column + 5] = 220
    return pictures


@settings(max_examples=15, deadline=None)
@given(channels=st.integers(1, 3), height=st.integers(12, 96), width=st.integers(12, 96))
def test_pictures_of_any_size_are_translated_and_judged(
    channels: int, height: int, width: int
) -> None:
    shape = (channels, height, width)
    pictures = torch.rand(2, *shape) * 2 - 1
    made = UNet(TINY, shape, 2)(NONE, pictures)
    assert made.shape == (2, 2, height, width)
    assert float(made.detach().abs().max()) <= 1.0
    logits = PatchDiscriminator(TINY, shape, 2)(made, pictures)
    assert logits.shape[:2] == (2, 1)
    assert logits[0].numel() >= 1


@pytest.mark.parametrize(("side", "count"), [(16, 3), (28, 3), (42, 4), (64, 5), (96, 5), (300, 6)])
def test_pictures_are_halved_until_few_pixels_are_left(side: int, count: int) -> None:
    assert unet_halvings(TINY, (1, side, side)) == count


def test_skips_carry_the_outer_layer_past_the_bottleneck() -> None:
    torch.manual_seed(0)
    network = UNet(TINY, (1, 16, 16), 2).requires_grad_(False)
    pictures = torch.rand(2, 1, 16, 16)
    with torch.no_grad():
        network.fine.weight[:, 8:] = 0.0  # nor does the picture itself go round it
        made = network(NONE, pictures)
        network.halving[-1].weight.zero_()  # pyright: ignore[reportCallIssue]
        cut = network(NONE, pictures)
    assert not torch.allclose(made, cut)  # the bottleneck matters
    assert float((cut[0] - cut[1]).abs().max()) > 1e-3  # and what goes round it as well


def test_a_picture_stays_where_nothing_was_learnt_yet() -> None:
    network = UNet(TINY, (1, 16, 16), 1).requires_grad_(False)
    network.last.weight.zero_()
    pictures = torch.rand(2, 1, 16, 16) * 2 - 1
    assert torch.equal(network(NONE, pictures), pictures)


def test_changes_are_learnt_on_their_own_scale() -> None:
    inputs = torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
    targets = inputs.clone()
    targets[0, 0, 0] = 30  # two pixels of eight: a root mean square of 15
    assert size_of_changes(inputs, targets) == pytest.approx(15 / 127.5)
    assert size_of_changes(targets, inputs) == pytest.approx(15 / 127.5)
    assert size_of_changes(inputs, inputs) == 0.5 / 127.5
    assert size_of_changes(inputs, targets.expand(2, 3, 2, 2)) == 1.0
    # What is added is so much smaller, and what the other side sees of it so much larger.
    pictures = torch.rand(2, 1, 16, 16) * 0.2
    added, logits = [], []
    for change in (0.1, 0.01):
        torch.manual_seed(0)
        network = UNet(TINY, (1, 16, 16), 1, change).requires_grad_(False)
        added.append(network(NONE, pictures) - pictures)
        torch.manual_seed(0)
        judge = PatchDiscriminator(TINY, (1, 16, 16), 1, change).requires_grad_(False)
        logits.append(judge(pictures + change, pictures) - judge(pictures, pictures))
    torch.testing.assert_close(added[0], 10 * added[1], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(logits[0], logits[1], rtol=0.3, atol=0.05)
    assert float(logits[1].abs().max()) > 0.1


@pytest.mark.parametrize(("halvings", "patch"), [(1, 16), (2, 34), (3, 70)])
def test_a_logit_sees_a_patch_of_the_documented_size(halvings: int, patch: int) -> None:
    torch.manual_seed(0)
    config = ImageToImageConfig(channels=2, patch_halvings=halvings)
    judge = PatchDiscriminator(config, (1, 128, 128), 1)
    pictures = torch.rand(1, 1, 128, 128, requires_grad=True)
    logits = judge(torch.rand(1, 1, 128, 128), pictures)
    middle = logits.shape[2] // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], pictures)
    seen = gradient[0, 0].abs() > 0
    assert int(seen.any(0).sum()) == patch
    assert int(seen.any(1).sum()) == patch


def test_the_discriminator_sees_the_input_as_well() -> None:
    torch.manual_seed(0)
    judge = PatchDiscriminator(TINY, (1, 16, 16), 1)
    outputs = torch.rand(1, 1, 16, 16).expand(2, 1, 16, 16)
    logits = judge(outputs, torch.rand(2, 1, 16, 16))
    assert not torch.allclose(logits[0], logits[1])


@pytest.mark.parametrize("spectral_norm", [False, True])
def test_the_other_side_stays_bit_identical(spectral_norm: bool) -> None:
    config = ImageToImageConfig(
        channels=2,
        spectral_norm=spectral_norm,
        loss="relativistic",
        r1=1.0,
        r2=1.0,
        picture_noise=0,
        pixel_noise=0,
    )
    torch.manual_seed(0)
    shape = (1, 16, 16)
    taken = Alternation(
        UNet(config, shape, 1),
        PatchDiscriminator(config, shape, 1),
        config,
        latents=0,
        reconstruction=10.0,
    )
    real, inputs = torch.rand(4, *shape), torch.rand(4, *shape)
    for step, side in (
        (taken.step_discriminator, taken.generator),
        (taken.step_generator, taken.discriminator),
    ):
        before = {name: value.clone() for name, value in side.state_dict().items()}
        step(real, inputs)
        assert all(torch.equal(v, before[name]) for name, v in side.state_dict().items())


def test_noise_of_a_picture_and_of_its_pixels_reach_the_output() -> None:
    torch.manual_seed(0)
    config = ImageToImageConfig(channels=2, most_channels=4, picture_noise=2, pixel_noise=1)
    network = UNet(config, (1, 16, 12), 2).requires_grad_(False)
    assert noise_size(config, (1, 16, 12)) == 2 + 16 * 12
    picture = torch.rand(1, 1, 16, 12)
    noise = torch.randn(1, 2 + 16 * 12)

    def changed(place: int) -> torch.Tensor:
        other = noise.clone()
        other[0, place] += 1.0
        return (network(other, picture) - network(noise, picture))[0, 0].abs() > 1e-7

    # What stands for the whole picture changes it everywhere.
    assert changed(0).all()
    assert changed(1).all()
    # Without the halved pictures, which norms let depend on everything, two layers of 3 x 3 remain.
    network.doubling[0].weight.zero_()  # pyright: ignore[reportCallIssue]
    near = torch.zeros(16, 12, dtype=torch.bool)
    near[1:6, 2:7] = True
    assert torch.equal(changed(2 + 3 * 12 + 4), near)


def quick(**fields: Any) -> ImageToImage:
    settings = {"channels": 8, "batch_size": 8, "epochs": 12, "generator_learning_rate": 2e-3}
    return ImageToImage(**{**settings, "average_decay": 0.9, **fields})


def test_a_translation_is_learnt() -> None:
    """Black and white change places, and the picture is mirrored into a second channel."""

    def translated(pictures: np.ndarray) -> np.ndarray:
        return np.concatenate((255 - pictures, pictures), 1)

    learnt, others = squares(64), squares(16, seed=1)
    model = quick(reconstruction=100.0).fit(learnt, translated(learnt))
    made = model.transform(others)
    assert made.shape == (16, 2, 16, 16)
    assert made.dtype == np.uint8
    assert np.abs(made.astype(float) - translated(others)).mean() < 12.0
    assert np.array_equal(made, model.transform(others, seed=0))
    assert not np.array_equal(made, model.transform(others, seed=1))
    assert model.history_[-1].spread > 0.8


def test_pictures_that_do_not_fit_are_refused() -> None:
    pictures = squares(4)
    with pytest.raises(ValueError, match="as many and of one height"):
        quick().fit(pictures, pictures[:3])
    with pytest.raises(ValueError, match="as many and of one height"):
        quick().fit(pictures, pictures[:, :, :12])
    with pytest.raises(ValueError, match="bytes"):
        quick().fit(pictures, pictures / 255.0)
    with pytest.raises(ValueError, match="needs pictures of 24 pixels"):
        quick(patch_halvings=3).fit(pictures, pictures)
    with pytest.raises(ValueError, match="at most 4"):
        quick(halvings=5).fit(pictures, pictures)
    with pytest.raises(NotFittedError, match="fit"):
        quick().transform(pictures)
    model = quick(epochs=1).fit(pictures, pictures)
    assert model.transform(pictures[:0]).shape == (0, 1, 16, 16)
    with pytest.raises(ValueError, match=r"\(1, 16, 16\) as in training"):
        model.transform(pictures[:, :, :12])
    with pytest.raises(ValueError, match="reconstruction"):
        ImageToImageConfig(reconstruction=-1.0)
