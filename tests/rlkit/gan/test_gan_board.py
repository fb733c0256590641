"""What TensorBoard is shown of a GAN, read back from its events."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rlkit.divergence import DivergenceWarning
from rlkit.gan.board import (
    GANBoard,
    ImageToImageBoard,
    between,
    label_sweep,
    latent_walk,
    sample_sheet,
    shown,
)
from rlkit.gan.gan import GAN, ImageToImage

PICTURES = np.random.default_rng(0).integers(0, 256, (16, 1, 10, 8)).astype(np.uint8)
LABELS = np.array([1, 4] * 8)


def quick(**fields: Any) -> GAN:
    settings = {"latents": 4, "channels": 2, "hidden_sizes": (6, 5), "batch_size": 8, "epochs": 2}
    return GAN(**{**settings, **fields})


def read(folder: Path) -> Any:
    events: Any = EventAccumulator(str(folder), {"images": 0, "tensors": 0})
    return events.Reload()


def test_epochs_show_what_they_came_to(tmp_path: Path) -> None:
    with GANBoard(tmp_path) as board:
        gan = quick().fit(PICTURES, LABELS, on_epoch=[board])
        board.show_end(gan)
        board(replace(gan.history_[1], epoch=3, alarms=("It stands.", "It falls.")), gan)
    events = read(tmp_path)
    tags = events.Tags()
    assert set(tags["scalars"]) == {
        "loss/discriminator",
        "loss/generator",
        "accuracy/real",
        "accuracy/generated",
        "gradient/real",
        "gradient/generated",
        "samples/spread",
    }
    losses = [event.value for event in events.Scalars("loss/generator")[:2]]
    assert losses == pytest.approx([record.generator_loss for record in gan.history_])
    assert set(tags["images"]) == {"samples", "latent_walk", "label_sweep"}
    assert [event.step for event in events.Images("samples")] == [1, 2, 3]
    (walk,) = events.Images("latent_walk")
    assert (walk.height, walk.width) == (80, 64)
    (sweep,) = events.Images("label_sweep")
    assert (sweep.height, sweep.width) == (80, 16)
    text = events.Tensors("alarms/text_summary")[-1]
    assert text.step == 3
    assert b"It falls." in text.tensor_proto.string_val[0]


def test_rows_have_scalars_alone(tmp_path: Path) -> None:
    rows = np.random.default_rng(1).normal(size=(16, 3))
    with GANBoard(tmp_path) as board:
        with pytest.warns(DivergenceWarning, match="took no step"):
            gan = quick(r1=0.0, r2=0.0, head_start=9).fit(rows, on_epoch=[board])
        board.show_end(gan)
    tags = read(tmp_path).Tags()
    assert tags["images"] == []
    # Nothing is shown of what there was none of.
    assert not {"gradient/real", "loss/generator"} & set(tags["scalars"])
    for picture in (sample_sheet, latent_walk, label_sweep):
        with pytest.raises(ValueError, match="no pictures"):
            picture(gan)


def test_translations_are_shown_beside_what_was_wanted(tmp_path: Path) -> None:
    coloured = np.repeat(PICTURES, 3, 1)
    model = ImageToImage(channels=2, epochs=1, patch_halvings=1)
    with ImageToImageBoard(tmp_path, PICTURES, coloured) as board:
        model.fit(PICTURES, coloured, on_epoch=[board])
    events = read(tmp_path)
    (image,) = events.Images("outputs")
    assert (image.height, image.width) == (30, 64)
    assert "loss/discriminator" in events.Tags()["scalars"]


def test_sheets_lay_out_what_they_say() -> None:
    gan = quick(epochs=1).fit(PICTURES, LABELS)
    rows = sample_sheet(gan)
    assert rows.shape == (1, 20, 64)
    latents = gan.latents(16, 0)
    assert np.array_equal(rows[:, 10:, 8:16], gan.generate(latents[9:10], 4)[0])
    sweep = label_sweep(gan)
    assert sweep.shape == (1, 80, 16)
    assert np.array_equal(sweep[:, 70:, 8:], gan.generate(gan.latents(8, 0)[7:], 4)[0])
    assert not np.array_equal(sweep[:, :, :8], sweep[:, :, 8:])
    walk = latent_walk(gan, label=4)
    ends = gan.generate(gan.latents(16, 0), 4).astype(int)
    for row in range(8):
        strip = walk[0, 10 * row : 10 * row + 10].astype(int)
        assert np.abs(strip[:, :8] - ends[row, 0]).max() <= 1
        assert np.abs(strip[:, 56:] - ends[8 + row, 0]).max() <= 1
    with pytest.raises(ValueError, match="without labels"):
        label_sweep(quick(epochs=1).fit(PICTURES))


def test_latents_between_two_lie_on_the_circle() -> None:
    right, up = np.array([2.0, 0.0, 0.0]), np.array([0.0, 4.0, 0.0])
    shares = np.array([[0.0], [1 / 3], [0.5], [1.0]])
    half = 3.0 * math.sqrt(0.5)
    third = 8 / 3
    assert between(right, up, shares) == pytest.approx(
        np.array(
            [
                [2.0, 0.0, 0.0],
                [third * math.cos(math.pi / 6), third * math.sin(math.pi / 6), 0.0],
                [half, half, 0.0],
                [0.0, 4.0, 0.0],
            ]
        ),
        abs=1e-6,
    )


def test_of_stacked_frames_the_last_is_shown() -> None:
    stacked = np.arange(2 * 4 * 3 * 3, dtype=np.uint8).reshape(2, 4, 3, 3)
    assert np.array_equal(shown(stacked), stacked[:, 3:])
    assert shown(stacked[:, :3]) is not None
    assert shown(stacked[:, :3]).shape == (2, 3, 3, 3)


def test_latents_in_line_have_a_straight_line_between_them() -> None:
    share = np.array([[0.0], [0.5], [1.0]])
    begin, end = np.array([[2.0]]), np.array([[-1.0]])
    np.testing.assert_allclose(between(begin, end, share), [[2.0], [0.5], [-1.0]])
    np.testing.assert_allclose(between(begin, 2 * begin, share), [[2.0], [3.0], [4.0]])
