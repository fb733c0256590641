"""Rows of actions: what bars, bands and marks look like for given numbers."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from rlkit.action_panels import ChoicePanel, LevelPanel, RangePanel
from rlkit.drawing import BAR, CHOSEN, TRACK, Area, Moment, Panel
from rlkit.outlook import Outlook

PICTURE = np.zeros((1, 1, 3), np.uint8)
TRACK_WIDTH = 320 - 118 - 56  # between names and numbers


def drawn(panel: Panel, action: np.ndarray | int | None, outlook: Outlook) -> np.ndarray:
    """(height, width, 3) uint8"""
    image = Image.new("RGB", (320, panel.height))
    panel.draw(ImageDraw.Draw(image), Area(0, 0, 320), Moment(PICTURE, 0.0, 0, action, outlook))
    return np.asarray(image)


def is_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (picture == colour).all(-1)


def bar_lengths(picture: np.ndarray, colour: tuple[int, int, int], rows: int) -> list[int]:
    """Pixels of `colour` along the middle of each row's track."""
    middles = 30 + 22 * np.arange(rows) + 11
    return is_colour(picture[middles, 118 : 320 - 56], colour).sum(1).tolist()


def test_bars_of_q_values_show_how_much_better_than_the_worst_an_action_is():
    panel = ChoicePanel(["NOOP", "UPFIRE", "DOWN"])
    picture = drawn(panel, 1, Outlook(q_values=np.array([10.0, 12.0, 11.0])))
    assert bar_lengths(picture, BAR, 3) == [0, 0, pytest.approx(TRACK_WIDTH / 2, abs=1)]
    assert bar_lengths(picture, CHOSEN, 3) == [0, pytest.approx(TRACK_WIDTH, abs=1), 0]


def test_the_scale_of_q_values_follows_the_largest_difference_of_late():
    panel = ChoicePanel(["a", "b"])
    drawn(panel, 0, Outlook(q_values=np.array([0.0, 4.0])))
    near = Outlook(q_values=np.array([0.0, 2.0]))
    (_, length) = bar_lengths(drawn(panel, 0, near), BAR, 2)
    assert length == pytest.approx(TRACK_WIDTH * 2 / 3.92, abs=1)
    for _ in range(100):
        drawn(panel, 0, near)
    assert bar_lengths(drawn(panel, 0, near), BAR, 2)[1] == pytest.approx(TRACK_WIDTH, abs=1)
    drawn(panel, 0, Outlook(q_values=np.array([0.0, 4.0])))
    panel.restart()
    assert bar_lengths(drawn(panel, 0, near), BAR, 2)[1] == pytest.approx(TRACK_WIDTH, abs=1)


def test_bars_of_probabilities_are_shares_of_their_tracks():
    panel = ChoicePanel(["a", "b", "c"])
    outlook = Outlook(value=3.0, probabilities=np.array([0.25, 0.0, 0.75]))
    picture = drawn(panel, 0, outlook)
    assert bar_lengths(picture, CHOSEN, 3) == [pytest.approx(0.25 * TRACK_WIDTH, abs=1), 0, 0]
    assert bar_lengths(picture, BAR, 3) == [0, 0, pytest.approx(0.75 * TRACK_WIDTH, abs=1)]


def test_without_numbers_the_action_taken_stands_out():
    picture = drawn(ChoicePanel(["a", "b"]), 1, Outlook())
    assert not is_colour(picture, TRACK).any()
    assert not is_colour(picture[:52], CHOSEN).any()
    assert is_colour(picture[52:], CHOSEN).any()


@pytest.mark.parametrize("told", [True, False])
def test_of_many_actions_the_one_taken_is_always_shown(told: bool):
    outlook = Outlook(probabilities=np.linspace(0, 1, 60)) if told else Outlook()
    panel = ChoicePanel([f"action {i}" for i in range(60)])
    assert panel._shown(outlook.preferences, 1)[0 if told else 1] == 1
    assert is_colour(drawn(panel, 1, outlook), CHOSEN).any()
    if told:
        assert panel._shown(outlook.preferences, 1)[1:] == list(range(37, 60))


SETTINGS = [
    {"air": air, "mode": mode}  # six actions
    for air in ("18 \u00b0C", "24 \u00b0C", "27 \u00b0C")
    for mode in ("off", "full")
]
LEVEL_ROWS = np.array([0, 1, 2, 4, 5]) * 22 + 30 + np.array([20, 20, 20, 18, 18]) + 11


def level_bars(picture: np.ndarray, colour: tuple[int, int, int]) -> list[float]:
    """Share of each level's track that has `colour`."""
    return (is_colour(picture[LEVEL_ROWS, 118 : 320 - 56], colour).mean(1)).round(2).tolist()


def test_a_level_has_the_value_of_the_best_action_with_it():
    panel = LevelPanel(SETTINGS)
    assert panel.height == 30 + 2 * 20 + 5 * 22
    picture = drawn(panel, 3, Outlook(q_values=np.array([0.0, 1.0, 2.0, 5.0, 4.0, 3.0])))
    # Best with 18, 24, 27 degC: 1, 5, 4; off and full: 4, 5; bars from 1 to 5.
    assert level_bars(picture, CHOSEN) == pytest.approx([0, 1, 0, 0, 1], abs=0.02)
    assert level_bars(picture, BAR) == pytest.approx([0, 0, 0.75, 0.75, 0], abs=0.02)


def test_a_level_is_as_likely_as_all_actions_with_it_together():
    panel = LevelPanel(SETTINGS)
    outlook = Outlook(value=1.0, probabilities=np.array([0.1, 0.2, 0.0, 0.3, 0.15, 0.25]))
    picture = drawn(panel, None, outlook)
    assert level_bars(picture, BAR) == pytest.approx([0.3, 0.3, 0.4, 0.25, 0.75], abs=0.02)
    assert not is_colour(picture, CHOSEN).any()


def test_levels_that_were_taken_stand_out_without_numbers():
    picture = drawn(LevelPanel(SETTINGS), 4, Outlook())
    assert not is_colour(picture, TRACK).any()
    taken = [is_colour(picture[y - 8 : y + 8], CHOSEN).any() for y in LEVEL_ROWS]
    assert taken == [False, False, True, True, False]


def test_moments_that_are_only_followed_count_for_the_scale():
    far, near = (Outlook(q_values=np.array([0.0, height])) for height in (4.0, 2.0))
    for panel, rows in (
        (ChoicePanel(["a", "b"]), 2),
        (LevelPanel([{"x": "a"}, {"x": "b"}]), 0),
    ):
        panel.follow(Moment(None, 0.0, 0, 0, far))
        picture = drawn(panel, 0, near)
        bars = bar_lengths(picture, BAR, 2) if rows else is_colour(picture[83], BAR).sum()
        assert np.max(bars) == pytest.approx(TRACK_WIDTH * 2 / 3.92, abs=1)
    force = RangePanel(["force"], np.array([-np.inf]), np.array([np.inf]))
    force.follow(Moment(None, 0.0, 0, np.array([4.0]), Outlook()))
    line = drawn(force, np.array([2.0]), Outlook())[30 + 11 - 8, 100:270]
    mark = float(np.flatnonzero(is_colour(line, CHOSEN)).mean()) + 100 - 118
    assert mark == pytest.approx(0.75 * TRACK_WIDTH, abs=1)


def test_a_range_shows_where_the_action_lies_and_the_spread_it_was_drawn_with():
    low, high = np.array([-2.0, 0.0]), np.array([2.0, 10.0])
    panel = RangePanel(["torque", "flow"], low, high)
    outlook = Outlook(gaussian=(np.array([-1.0, 9.0]), np.array([0.5, 4.0])))
    picture = drawn(panel, np.array([1.0, 10.0]), outlook)
    for row, (band_start, band_stop, mark) in enumerate(
        [(0.125, 0.375, 0.75), (0.5, 1.0, 1.0)]  # shares of the track; the band ends with it
    ):
        line = picture[30 + 40 * row + 11 - 6]  # the upper edge of the track
        band = np.flatnonzero(is_colour(line, BAR)) - 118
        marked = np.flatnonzero(is_colour(line, CHOSEN)) - 118
        assert band[0] == pytest.approx(band_start * TRACK_WIDTH, abs=1)
        assert band[-1] == pytest.approx(min(band_stop, 1) * TRACK_WIDTH, abs=4)  # under the mark
        marked = marked[np.abs(marked - mark * TRACK_WIDTH) <= 3]  # the rest is the number
        assert len(marked) == 5


def test_a_range_without_bounds_grows_with_what_is_drawn_on_it():
    panel = RangePanel(["force"], np.array([-np.inf]), np.array([np.inf]))

    def mark(value: float) -> float:
        line = drawn(panel, np.array([value]), Outlook())[30 + 11 - 8, 100:270]
        return float(np.flatnonzero(is_colour(line, CHOSEN)).mean()) + 100 - 118

    assert mark(4.0) == pytest.approx(TRACK_WIDTH, abs=1)
    assert mark(2.0) == pytest.approx(0.75 * TRACK_WIDTH, abs=1)
    assert mark(-8.0) == pytest.approx(0, abs=1)
    assert mark(4.0) == pytest.approx(0.75 * TRACK_WIDTH, abs=1)
    panel.restart()
    assert mark(4.0) == pytest.approx(TRACK_WIDTH, abs=1)


def test_many_components_have_no_room_for_all():
    few, many = (
        RangePanel([f"action {i}" for i in range(n)], np.zeros(n), np.ones(n)) for n in (12, 60)
    )
    assert few.height < 520
    assert many.height < 560
    drawn(many, np.ones(60), Outlook(gaussian=(np.zeros(60), np.ones(60))))
