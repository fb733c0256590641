"""Whether charts of picking show numbers where their axes say."""

import numpy as np
from PIL import Image

from rlkit.calibration import reliability_table
from rlkit.drawing import CHOSEN
from rlkit.picking_charts import SIZE, reliability_diagram, success_chart

AXES = (58, 68, 534, 330)
"""Left, top, right and bottom, in pixels."""


def is_chosen(image: Image.Image, x: float, y: float) -> bool:
    colour = np.array(image.getpixel((round(x), round(y))), float)
    return bool(np.abs(colour - CHOSEN).max() < 30)


def test_the_success_chart_has_a_logarithmic_axis_with_marks() -> None:
    left, top, right, bottom = AXES
    flat = success_chart([(100, 0.5), (1_000, 0.5), (10_000, 0.5)], 200)
    assert flat.size == SIZE
    assert is_chosen(flat, (left + right) / 2, (top + bottom) / 2)
    bent = success_chart([(100, 0.2), (1_000, 0.6), (1_100, 0.4)], 200)
    assert is_chosen(bent, (left + right) / 2, bottom - 0.6 * (bottom - top)), "1,000 is half way"

    pixels = np.asarray(flat.convert("L"), float)
    empty = pixels[top + 20 : bottom - 50]  # away from labels
    for attempts in (2_880, 4_800):
        x = round(left + (right - left) * np.log(attempts / 100) / np.log(100))
        column, beside = empty[:, x - 1 : x + 2].max(1), empty[:, x - 8 : x - 4].max(1)
        assert (column > beside + 40).mean() > 0.3, f"dashes at {attempts}"
    row = round(bottom - 0.9 * (bottom - top))
    level = np.asarray(flat, float)[row - 1 : row + 2, left + 200 : right]
    assert (level.max(0)[:, 1] > 100).mean() > 0.3, "dashes at 90 %"


def test_the_reliability_diagram_shows_shares_over_chances() -> None:
    chances = np.repeat([0.25, 0.75], 40)
    successes = np.arange(80) % 40 < np.repeat([10, 34], 40)  # shares 0.25 and 0.85
    image = reliability_diagram(reliability_table(chances, successes), 0.1, 0.05)
    left, top, right, bottom = AXES
    for chance, share in ((0.25, 0.25), (0.75, 0.85)):
        x, y = left + chance * (right - left), bottom - share * (bottom - top)
        assert is_chosen(image, x, y)
        assert is_chosen(image, x + 3, y), "a dot, wider than its interval"
        assert not is_chosen(image, x + 9, y)
