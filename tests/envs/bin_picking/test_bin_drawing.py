"""Maps show the numbers that they are given, the chosen pixel and what came of it."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import ImageDraw

from rlkit_envs.bin_picking.controller import Outcome
from rlkit_envs.bin_picking.drawing import (
    CHANCE_COLOURS,
    CHOSEN,
    HEIGHT_COLOURS,
    OUTCOME_WORDS,
    UNKNOWN,
    attempt_picture,
    greatest_mm,
    map_picture,
)
from rlkit_envs.bin_picking.sheet import Standing, draw_sheet

LEFT, RIGHT, TOP, SIDE = 14, 14 + 256 + 14, 14 + 22, 256
"""Where the maps of an attempt lie."""


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written."""
    written: list[str] = []
    write = ImageDraw.ImageDraw.text

    def note(draw, xy, text, *rest, **settings) -> None:
        written.append(text)
        write(draw, xy, text, *rest, **settings)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", note)
    return written


def middle_of(picture: np.ndarray, left: int, row: int, column: int, pixels: int) -> list[int]:
    """The colour in the middle of a map's pixel."""
    scale = SIDE // pixels
    return picture[TOP + row * scale + scale // 2, left + column * scale + scale // 2].tolist()


def test_an_attempt_shows_heights_chances_and_the_pixel_in_their_places(texts: list[str]):
    heights = np.zeros((8, 8))
    heights[1, 5] = 20.0
    chances = np.full((8, 8), np.nan)
    chances[6, 2], chances[3, 3] = 1.0, 0.25
    picture = attempt_picture(heights, chances, 3 * 8 + 3, "dropped")
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert middle_of(picture, LEFT, 1, 5, 8) == HEIGHT_COLOURS[255].tolist()
    assert middle_of(picture, LEFT, 6, 2, 8) == HEIGHT_COLOURS[0].tolist()
    assert middle_of(picture, RIGHT, 6, 2, 8) == CHANCE_COLOURS[255].tolist()
    assert middle_of(picture, RIGHT, 1, 5, 8) == list(UNKNOWN)
    for left in (LEFT, RIGHT):
        assert middle_of(picture, left, 3, 3, 8) == list(CHOSEN)
        assert middle_of(picture, left, 4, 4, 8) != list(CHOSEN)
    assert {"dropped", "a part was lifted and fell", "chance 25%", "20 mm"} <= set(texts)


def test_the_map_is_that_of_the_way_in_which_the_tool_stood(texts: list[str]):
    chances = np.stack([np.zeros((8, 8)), np.full((8, 8), 0.5), np.ones((8, 8))])
    picture = attempt_picture(np.zeros((8, 8)), chances, 1 * 64 + 7 * 8 + 1, "ok")
    assert middle_of(picture, RIGHT, 0, 0, 8) == CHANCE_COLOURS[128].tolist()
    assert middle_of(picture, RIGHT, 7, 1, 8) == list(CHOSEN)
    assert "chance 50%" in texts


def test_remembered_failures_are_hatched():
    marked = np.zeros((8, 8), bool)
    marked[2, 6] = True
    pictures = [
        attempt_picture(np.zeros((8, 8)), np.zeros((8, 8)), 0, "miss", marked=m)
        for m in (None, marked)
    ]
    differs = (pictures[0] != pictures[1]).any(-1)
    rows, columns = np.nonzero(differs)
    for left in (LEFT, RIGHT):
        area = np.s_[TOP + 64 : TOP + 96, left + 192 : left + 224]
        assert differs[area].all()
        assert len(np.unique(pictures[1][area].reshape(-1, 3), axis=0)) == 2, "stripes on grey"
        differs[area] = False
    assert not differs.any()
    assert len(rows) == len(columns) == 2 * 32 * 32


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_has_words(outcome: Outcome, texts: list[str]):
    attempt_picture(np.zeros((8, 8)), np.zeros((8, 8)), 0, outcome.value)
    assert {outcome.value, OUTCOME_WORDS[outcome.value]} <= set(texts)


@pytest.mark.parametrize(
    ("heights", "chances", "pixel", "outcome", "said"),
    [
        (np.zeros(8), np.zeros(8), 0, "ok", r"rows and columns, got the shape \(8,\)"),
        (np.zeros((8, 8)), np.zeros((8, 4)), 0, "ok", r"\(1, 8, 4\) do not fit .* \(8, 8\)"),
        (np.zeros((8, 8)), np.zeros((8, 8)), 64, "ok", "pixel 64 is off the grid: there are 64"),
        (np.zeros((8, 8)), np.zeros((8, 8)), -1, "ok", "pixel -1 is off the grid"),
        (np.zeros((8, 8)), np.zeros((8, 8)), 0, "great", "no outcome is called 'great'"),
    ],
)
def test_what_does_not_fit_is_refused(heights, chances, pixel, outcome, said):
    with pytest.raises(ValueError, match=said):
        attempt_picture(heights, chances, pixel, outcome)


def test_walls_do_not_stretch_the_scale_of_heights():
    heights = np.zeros((64, 64))
    heights[:4] = heights[-4:] = heights[:, :4] = heights[:, -4:] = 140.0
    assert greatest_mm(heights) == 20.0
    heights[30:40, 30:40] = 41.0
    assert greatest_mm(heights) == 50.0


def test_numbers_beyond_the_scale_have_the_colours_of_its_ends():
    shares = np.array([[-3.0, 0.0], [1.0, 7.0]])
    picture = map_picture(shares, CHANCE_COLOURS, (2, 2))
    np.testing.assert_array_equal(picture[0], CHANCE_COLOURS[[0, 0]])
    np.testing.assert_array_equal(picture[1], CHANCE_COLOURS[[255, 255]])


def test_a_sheet_says_how_the_episode_stands(texts: list[str]):
    standing = Standing(
        attempt=7,
        most_attempts=40,
        outcome=None,
        shaken=False,
        counts={"ok": 3, "miss": 2, "dropped": 1},
        ferrous_left=12,
        others_left=0,
    )
    photograph = np.full((480, 640, 3), 7, np.uint8)
    nothing = np.zeros((64, 64), bool)
    sheet = draw_sheet(photograph, np.zeros((64, 64)), nothing, 30.0, None, standing)
    assert sheet.shape == (576, 1000, 3)
    np.testing.assert_array_equal(sheet[10:490, 10:650], photograph)
    assert {"attempt 7", "of at most 40", "50%", "12", "3", "2", "1", "30 mm"} <= set(texts)
    assert not {"aluminium", "hatched: not to pick"} & set(texts)
    texts.clear()
    over = Standing(7, 40, "miss", True, standing.counts, 12, 4)
    draw_sheet(photograph, np.zeros((64, 64)), ~nothing, 30.0, 5, over)
    assert {"miss", "nothing was lifted; the bin is shaken", "aluminium", "4"} <= set(texts)
    assert "hatched: not to pick" in texts


def test_drawing_maps_needs_neither_torch_nor_mujoco():
    code = (
        "import sys, rlkit_envs.bin_picking.drawing; "
        "sys.exit(bool({'torch', 'mujoco', 'OpenGL'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("opengl", ["disabled", "osmesa", "no such"])
def test_a_bin_is_filmed_without_opengl(opengl):
    """Also where the one that is asked for is missing, as software OpenGL mostly is."""
    code = (
        "import os, sys\n"
        "from rlkit_envs.bin_picking.single_environment import BinPickingEnv\n"
        "env = BinPickingEnv(render_mode='rgb_array', tier='mixed', parts=3, pixels=24)\n"
        "env.reset(seed=0)\n"
        "frame = env.render()\n"
        "assert frame.ndim == 3 and frame.std() > 0\n"
        "loaded = [name for name in sys.modules if name.split('.')[0] in ('OpenGL', 'glfw')]\n"
        "assert not loaded or os.environ['MUJOCO_GL'] == 'osmesa', loaded\n"
        "print(os.environ['MUJOCO_GL'], frame.shape)\n"
    )
    environment = {**os.environ, "MUJOCO_GL": opengl}
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith(f"{opengl} (")
    assert told.stdout.strip().endswith(", 3)")
