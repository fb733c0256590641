"""Actions that are places: the map's colours, the chosen place, and where failures are hatched."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from rlkit.drawing import CHOSEN, Area, Moment, Panel
from rlkit.map_panel import MapPanel
from rlkit.outlook import Outlook
from rlkit_envs.bin_picking.drawing import CHANCE_COLOURS

TOP = 30


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


def drawn(panel: Panel, action: int | None, outlook: Outlook) -> np.ndarray:
    """(height, 320, 3) uint8"""
    image = Image.new("RGB", (320, panel.height))
    picture = np.zeros((1, 1, 3), np.uint8)
    panel.draw(ImageDraw.Draw(image), Area(0, 0, 320), Moment(picture, 0.0, 0, action, outlook))
    return np.asarray(image)


def middle_of(picture: np.ndarray, row: int, column: int, side: int) -> list[int]:
    """The colour in the middle of a place that is drawn with that side."""
    return picture[TOP + row * side + side // 2, column * side + side // 2].tolist()


def test_chances_are_drawn_in_their_places_from_0_to_100_percent(texts: list[str]):
    chances = np.full((1, 8, 8), 0.5, np.float32)
    chances[0, 1, 6], chances[0, 7, 0], chances[0, 2, 2] = 1.0, 0.0, 0.8
    outlook = Outlook(q_values=chances.ravel(), chances=chances)
    picture = drawn(MapPanel((1, 8, 8)), 2 * 8 + 2, outlook)
    assert middle_of(picture, 1, 6, 40) == CHANCE_COLOURS[255].tolist()
    assert middle_of(picture, 7, 0, 40) == CHANCE_COLOURS[0].tolist()
    assert middle_of(picture, 5, 5, 40) == CHANCE_COLOURS[128].tolist()
    assert middle_of(picture, 2, 2, 40) == list(CHOSEN)
    assert {"chance of success", "80%", "0", "100 %"} <= set(texts)
    assert "hatched: not to pick" not in texts


def test_where_failures_are_remembered_is_hatched(texts: list[str]):
    chances = np.full((1, 8, 8), 0.9, np.float32)
    values = chances.copy()
    values[0, 3, 4] -= 1.0
    panel = MapPanel((1, 8, 8))
    plain = drawn(panel, 0, Outlook(q_values=chances.ravel(), chances=chances))
    hatched = drawn(panel, 0, Outlook(q_values=values.ravel(), chances=chances))
    rows, columns = np.nonzero((plain != hatched).any(-1)[: TOP + 320])
    assert (rows.min(), rows.max()) == (TOP + 120, TOP + 159)
    assert (columns.min(), columns.max()) == (160, 199)
    assert "hatched: not to pick" in texts


def test_of_a_policy_without_chances_the_scale_goes_from_least_to_greatest(texts: list[str]):
    values = np.linspace(-2.0, 6.0, 64)
    picture = drawn(MapPanel((1, 8, 8)), 9, Outlook(q_values=values))
    assert middle_of(picture, 0, 0, 40) == CHANCE_COLOURS[0].tolist()
    assert middle_of(picture, 7, 7, 40) == CHANCE_COLOURS[255].tolist()
    assert {"Q-value of each place", "-2.00", "6.00", f"{values[9]:.2f}"} <= set(texts)
    drawn(MapPanel((1, 8, 8)), 9, Outlook(value=0.0, probabilities=np.full(64, 1 / 64)))
    assert "probability of each place" in texts


def test_the_map_is_that_of_the_stance_taken(texts: list[str]):
    chances = np.stack([np.zeros((8, 8)), np.ones((8, 8))])
    outlook = Outlook(q_values=chances.ravel(), chances=chances)
    panel = MapPanel((2, 8, 8))
    upright, leaning = drawn(panel, 63, outlook), drawn(panel, 64, outlook)
    assert middle_of(upright, 4, 4, 40) == CHANCE_COLOURS[0].tolist()
    assert middle_of(upright, 7, 7, 40) == list(CHOSEN)
    assert middle_of(leaning, 4, 4, 40) == CHANCE_COLOURS[255].tolist()
    assert middle_of(leaning, 0, 0, 40) == list(CHOSEN)
    assert {"chance of success, tool upright", "chance of success, tool leaning (1)"} <= set(texts)


def test_a_policy_that_tells_nothing_has_its_choice_marked(texts: list[str]):
    picture = drawn(MapPanel((1, 8, 8)), 12, Outlook())
    assert middle_of(picture, 1, 4, 40) == list(CHOSEN)
    assert texts == ["place chosen"]
    assert not drawn(MapPanel((1, 8, 8)), None, Outlook())[TOP:].any(), "after the last action"


@pytest.mark.parametrize("grid", [(1, 30, 50), (1, 50, 30), (1, 64, 64)])
def test_any_grid_fills_its_area_without_gaps(grid: tuple[int, int, int]):
    values = np.zeros(grid)
    values[0, :, :] = 0.5
    picture = drawn(MapPanel(grid), None, Outlook(q_values=values.ravel(), chances=values))
    coloured = (picture == CHANCE_COLOURS[128]).all(-1)[TOP:-40]
    rows, columns = np.nonzero(coloured)
    assert max(np.ptp(rows), np.ptp(columns)) == 319
    assert coloured[: rows.max() + 1, : columns.max() + 1].all()
