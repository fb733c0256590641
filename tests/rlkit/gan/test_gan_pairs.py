"""Pairs of pictures: shadows by a slow reference, the simulator's noise, looks, files, command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rlkit.cli.main import main
from rlkit.corruptions import HELD_OUT
from rlkit.gan.pair_making import (
    DepthSensorConfig,
    check_looks,
    depth_pairs,
    in_shadow,
    look_pairs,
    looks,
)
from rlkit.gan.pairs import mean_error, read_pairs, write_pairs
from rlkit.observations import ObservationsFileError
from rlkit.recipes import RECIPES


@pytest.fixture(scope="module", autouse=True)
def one_process() -> Iterator[None]:
    """Others take seconds to start."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("os.cpu_count", lambda: 1)
        yield


def test_a_wall_throws_a_shadow_as_long_as_the_light_is_slanted() -> None:
    # 40 mm high on pixels of 5 mm, light that falls 2 mm a mm: dark for 20 mm, four pixels; a box
    # of 20 mm in it is dark for its first two.
    heights = np.zeros((1, 1, 12))
    heights[0, 0, 2] = 40.0
    dark = in_shadow(heights, 5.0, 0.5)
    assert np.flatnonzero(dark[0, 0]).tolist() == [3, 4, 5]  # the light grazes the sixth
    heights[0, 0, 3:6] = 25.0
    assert np.flatnonzero(in_shadow(heights, 5.0, 0.5)[0, 0]).tolist() == [3, 6, 7]
    assert not in_shadow(heights, 5.0, 0.0).any()


@settings(max_examples=25, deadline=None)
@given(
    heights=arrays(np.float64, (2, 3, 9), elements=st.integers(0, 60).map(float)),
    pixel=st.sampled_from([2.0, 3.5]),
    shadow=st.sampled_from([0.1, 0.4, 1.3]),
)
def test_shadows_are_those_of_rays_one_by_one(
    heights: np.ndarray, pixel: float, shadow: float
) -> None:
    dark = in_shadow(heights, pixel, shadow)
    for place in np.ndindex(heights.shape):
        count, row, column = place
        hidden = any(
            heights[count, row, left] > heights[place] + (column - left) * (pixel / shadow)
            for left in range(column)
        )
        assert bool(dark[place]) == hidden


def test_a_depth_camera_is_the_simulators_with_shadows() -> None:
    heights = np.full((3, 1, 40, 40), 100.0)
    heights[:, :, :, :5] = 140.0
    clean, seen = depth_pairs(heights, DepthSensorConfig(2.0, 0.1, 0.35), pixel_mm=3.5, seed=0)
    assert clean.dtype == seen.dtype == np.uint8
    assert np.array_equal(clean, heights)
    dark = np.zeros((40, 40), bool)
    dark[:, 5:8] = True  # 40 mm over a fall of 10 mm a pixel: the fourth is just lit
    assert (seen[:, 0, dark] == 0).all()
    lit = seen[:, 0, ~dark].astype(float)
    lost = lit == 0
    assert lost.mean() == pytest.approx(0.1, abs=0.02)
    noise = (lit - heights[:, 0, ~dark])[~lost]
    assert noise.std() == pytest.approx(2.0, abs=0.15)
    assert abs(noise.mean()) < 0.15
    again = depth_pairs(heights, DepthSensorConfig(2.0, 0.1, 0.35), pixel_mm=3.5, seed=0)[1]
    assert np.array_equal(seen, again)
    assert not np.array_equal(seen[0], seen[1])


def test_heights_that_are_none_are_refused() -> None:
    config = DepthSensorConfig()
    with pytest.raises(ValueError, match=r"\(count, 1, height, width\), got \(2, 2, 8, 8\)"):
        depth_pairs(np.zeros((2, 2, 8, 8)), config, pixel_mm=1.0, seed=0)
    for wrong in (-1.0, np.nan):
        with pytest.raises(ValueError, match="finite numbers of at least 0"):
            depth_pairs(np.full((2, 1, 8, 8), wrong), config, pixel_mm=1.0, seed=0)
    for settings_of, message in (
        ({"drop_out": 1.0}, "drop_out must be in"),
        ({"noise_mm": -1.0}, "noise_mm must be at least 0"),
        ({"shadow": float("inf")}, "shadow must be at least 0"),
        ({"noise_mm": 0.0, "drop_out": 0.0, "shadow": 0.0}, "nothing would change"),
    ):
        with pytest.raises(ValueError, match=message):
            DepthSensorConfig(**settings_of)


def test_looks_are_drawn_for_each_frame() -> None:
    frames = np.full((300, 1, 8, 8), 100, np.uint8)
    images, targets = look_pairs(frames, ("brightness:40",), seed=1)
    assert images is frames
    changes = targets[:, 0, 0, 0].astype(int) - 100
    assert (targets == targets[:, :1, :1, :1]).all()
    assert changes.min() < -30
    assert changes.max() > 30
    assert abs(changes).max() <= 40
    assert np.array_equal(targets, look_pairs(frames, ("brightness:40",), seed=1)[1])
    assert not np.array_equal(targets, look_pairs(frames, ("brightness:40",), seed=2)[1])


def test_no_look_moves_anything_or_is_kept_for_measuring() -> None:
    assert set(looks()) == {
        *("noise", "dropout", "brightness", "contrast", "cutout"),
        "convolution",
    }
    for name in HELD_OUT:
        with pytest.raises(ValueError, match="kept for measuring robustness; there are noise"):
            check_looks(("noise:4", name))
    with pytest.raises(ValueError, match="shift:2 moves what pictures show"):
        check_looks(("shift:2",))
    with pytest.raises(ValueError, match="no augmentation is called 'shine'"):
        check_looks(("shine:2",))
    with pytest.raises(ValueError, match="name looks"):
        check_looks(())


def test_pairs_come_back_from_their_file(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (4, 1, 9, 8), np.uint8)
    targets = random.integers(0, 256, (4, 2, 9, 8), np.uint8)
    path = tmp_path / "pairs.npz"
    write_pairs(path, images, targets)
    for got, wanted in zip(read_pairs(path), (images, targets), strict=True):
        assert np.array_equal(got, wanted)
    flat = tmp_path / "flat.npz"
    write_pairs(flat, images[:, 0], targets)
    assert np.array_equal(read_pairs(flat)[0], images)
    for wrong, message in (
        ({"images": images}, 'with an array "targets"'),
        ({"images": images, "targets": targets[:3]}, r"as many and of one height"),
        ({"images": images, "targets": targets[:, :, :8]}, r"as many and of one height"),
        ({"images": images / 255.0, "targets": targets}, "pictures are bytes"),
    ):
        np.savez(path, **wrong)  # pyright: ignore[reportArgumentType]
        with pytest.raises(ObservationsFileError, match=message):
            read_pairs(path)


def test_an_error_is_a_mean_over_levels() -> None:
    low, high = np.zeros((2, 1, 2, 2), np.uint8), np.full((2, 1, 2, 2), 255, np.uint8)
    assert mean_error(low, high) == mean_error(high, low) == 255.0
    high[0] = 1
    assert mean_error(low, high) == 128.0


def test_boxing_is_written_in_another_look(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "looks.npz"
    command = ["gan", "pairs", "boxing", "--output", str(path), "--play.count", "20"]
    assert main([*command, "--looks", "brightness:40", "noise:3", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    images, targets = read_pairs(path)
    size = RECIPES["boxing"].environment.height  # pyright: ignore[reportAttributeAccessIssue]
    assert images.shape == targets.shape == (20, 1, size, size)
    assert told["shape"] == [20, 1, size, size]
    assert told["changed_by"] == mean_error(images, targets) > 1.0
    assert np.array_equal(look_pairs(images, ("brightness:40", "noise:3"), 0)[1], targets)
    with np.load(path) as archive:
        assert sorted(archive.files) == ["images", "targets"]


def test_bins_are_written_as_a_camera_sees_them(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("rlkit.environments.gym.make_vec", partial(gym.make_vec, parts=1))
    path = tmp_path / "bins.npz"
    command = ["gan", "pairs", "heightmaps", "--output", str(path), "--tier", "single"]
    sensor = ["--sensor.noise-mm", "3", "--sensor.drop-out", "0.2", "--sensor.shadow", "0"]
    assert main([*command, *sensor, "--play.count", "16"]) == 0
    assert "16 pairs, changed by" in capsys.readouterr().out
    images, targets = read_pairs(path)
    assert images.shape == (16, 1, 64, 64)
    floor = images == 0
    assert floor.mean() > 0.5  # the floor is clean
    walls = images == 100
    assert walls.any()
    assert (targets[walls] == 0).mean() == pytest.approx(0.2, abs=0.02)
    kept = targets[walls].astype(float)
    assert kept[kept > 0].std() == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["moon"], "knows no 'moon'; there are heightmaps, boxing"),
        (["boxing", "--looks", "blur:1"], "blur:1 is kept for measuring robustness"),
        (["boxing", "--output", "pairs.png"], "ends in .npz"),
        (["boxing", "--seed", "-1"], "--seed must be at least 0"),
        (["heightmaps", "--tier", "moon"], "no tier is called 'moon'"),
        (["heightmaps", "--sensor.drop-out", "2"], "drop_out must be in [0, 1)"),
        (["heightmaps", "--play.channels", "1"], "--play.channels is 0 here"),
    ],
)
def test_mistakes_are_told_in_a_line(arguments: list[str], message: str, capsys) -> None:
    assert main(["gan", "pairs", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_help_names_both_worlds(capsys) -> None:
    assert main(["gan", "pairs", "--help"]) == 0
    listed = capsys.readouterr().out
    assert "rlkit gan pairs heightmaps" in listed
    assert "rlkit gan pairs boxing" in listed
    assert main(["gan", "--help"]) == 0
    listed = capsys.readouterr().out
    for command in ("pairs", "train", "evaluate", "augment"):
        assert f"rlkit gan {command}" in listed
