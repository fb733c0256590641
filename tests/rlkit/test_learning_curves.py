"""Learning curves: which evaluations make one, how seeds are pooled, and what is drawn."""

import re
from collections.abc import Sequence
from xml.etree import ElementTree

import numpy as np
import pytest

from rlkit.comparison import ComparisonError, RunResult
from rlkit.learning_curves import draw_learning_curves, learning_curves

SVG = "{http://www.w3.org/2000/svg}"
BINS = {"id": "rlkit/BinPicking-v0", "episodes": 8}


def run(seed: int, values: Sequence[float], *, name: str = "bin-picking", last: float = 0.0):
    """A run with one evaluation each 1,000 steps, then one of another kind at the end."""
    history = [
        {
            "step": 1_000 * (place + 1),
            "final": place == len(values),
            "protocol": BINS,
            "returns": [10.0 * value, 20.0 * value],
            "counts": {},
            "metrics": {"success": {"mean": value, "unit": "share"}},
        }
        for place, value in enumerate([*values, last])
    ]
    return RunResult(f"run{seed}", {"name": name, "seed": seed}, history[-1], tuple(history))


def test_seeds_share_a_curve_up_to_where_all_of_them_are():
    (curve,) = learning_curves([run(1, [0.2, 0.6, 0.8]), run(2, [0.4, 0.7])], "success")
    assert curve.x.tolist() == [1_000, 2_000]
    assert curve.values.tolist() == [[0.2, 0.6], [0.4, 0.7]]
    assert curve.label == "bin-picking"


def test_the_return_is_the_mean_over_episodes():
    (curve,) = learning_curves([run(1, [0.2, 0.6])])
    np.testing.assert_allclose(curve.values, [[3.0, 9.0]])


@pytest.mark.parametrize(
    ("results", "metric", "message"),
    [
        ([run(1, [0.2, 0.6])], "knock_outs", "no metric 'knock_outs'; there are return, success"),
        (
            [RunResult("file.json", {"name": "a", "seed": 0}, run(1, []).evaluation)],
            "return",
            "two",
        ),
        ([], "return", "at least one run"),
    ],
)
def test_what_cannot_be_drawn_is_refused(results, metric, message):
    with pytest.raises(ComparisonError, match=message):
        learning_curves(results, metric)


def test_the_line_is_the_mean_and_the_band_reaches_from_worst_to_best():
    curves = learning_curves([run(1, [0.2, 0.6]), run(2, [0.4, 0.8])], "success")
    drawn = ElementTree.fromstring(draw_learning_curves(curves, "success", "share", BINS))
    paths = {found.get("class"): found.get("d", "") for found in drawn.iter(f"{SVG}path")}
    line, band = (points(paths[kind]) for kind in ("line line-0", "band band-0"))
    # the panel's scale, from the line across at 90 %, which is what people programmed
    words = [found.text for found in drawn.iter(f"{SVG}text")]
    assert "programmed by people" in words
    (upper_left, upper_right, lower_right, lower_left) = band
    assert line[0][1] == pytest.approx((upper_left[1] + lower_left[1]) / 2, abs=0.11)
    assert line[1][1] == pytest.approx((upper_right[1] + lower_right[1]) / 2, abs=0.11)
    assert upper_left[1] < line[0][1] < lower_left[1]  # y grows downwards
    rise = line[0][1] - line[1][1]
    assert lower_left[1] - upper_left[1] == pytest.approx(rise / 2, abs=0.21)  # 0.2 of 0.4


def test_one_seed_has_no_band_and_unknown_goals_are_not_drawn():
    curves = learning_curves([run(1, [0.2, 0.6])], "success")
    other = {**BINS, "id": "CartPole-v1"}
    drawn = draw_learning_curves(curves, "success", "share", other)
    assert 'class="band' not in drawn
    assert 'class="goal"' not in drawn
    assert "one seed" in drawn


def points(commands: str) -> list[tuple[float, float]]:
    numbers = [float(found) for found in re.findall(r"-?[\d.]+", commands)]
    return list(zip(numbers[::2], numbers[1::2], strict=True))
