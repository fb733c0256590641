"""The drawing of an evaluation of bin picking: who stands where, and what is named."""

import re
from xml.etree import ElementTree

import pytest

from rlkit.picker_plot import draw_pickers

SVG = "{http://www.w3.org/2000/svg}"


def row(success: float, calibration=None) -> dict:
    interval = [max(0.0, success - 0.1), min(1.0, success + 0.1)]
    return {"success": success, "success_ci95": interval, "calibration": calibration}


def evaluation(**pickers) -> dict:
    protocol = {"episodes": 12, "episodes_of": {"oracle": 3}}
    return {"protocol": protocol, "tiers": {"mixed": pickers}}


KEPT = {
    "chosen": {
        "reliability": [
            {"low": 0.5, "count": 10, "mean_chance": 0.6, "share": 0.4},
            {"low": 0.9, "count": 30, "mean_chance": 0.94, "share": 1.0},
            {"low": 0.7, "count": 0, "mean_chance": None, "share": None},
        ]
    },
    "random_pixels": None,
}


def paths(drawn: str, kind: str) -> list[str]:
    found = ElementTree.fromstring(drawn).iter(f"{SVG}path")
    return [each.get("d", "") for each in found if each.get("class") == kind]


def across(commands: str) -> float:
    return float(re.findall(r"-?[\d.]+", commands)[0])


def test_pickers_stand_where_their_success_is():
    others = {"highest": row(0.5), "segment centroid": row(0.75)}
    drawn = draw_pickers(evaluation(agent=row(0.9, KEPT), oracle=row(1.0), **others))
    assert "12 bins in each tier, 3 of them for the oracle" in drawn
    agent, oracle = across(paths(drawn, "agent dot")[1]), across(paths(drawn, "oracle ring")[1])
    highest, centroid = (across(found) for found in paths(drawn, "other small-dot")[1:])
    assert centroid - highest == pytest.approx(0.25 / 0.1 * (oracle - agent), abs=0.5)
    low, _, high = map(float, re.findall(r"-?[\d.]+", paths(drawn, "agent interval")[0]))
    assert (low + high) / 2 == pytest.approx(agent, abs=0.2)
    assert high == pytest.approx(oracle, abs=0.2)


def test_the_best_heuristic_alone_is_named():
    drawn = draw_pickers(evaluation(highest=row(0.5), **{"segment centroid": row(0.75)}))
    words = [found.text for found in ElementTree.fromstring(drawn).iter(f"{SVG}text")]
    assert "segment centroid" in words
    assert "highest" not in words
    assert "agent" not in words  # nor is there a diagram of chances that nobody gave
    assert not any("ECE" in word for word in words if word)


def test_bins_of_all_tiers_are_put_together_before_their_error_is_taken():
    """0.25 * |0.6 - 0.4| + 0.75 * |0.94 - 1|, whatever the number of tiers."""
    one = evaluation(agent=row(0.9, KEPT))
    two = {**one, "tiers": {"mixed": one["tiers"]["mixed"], "heavy": one["tiers"]["mixed"]}}
    assert "chosen: ECE 0.095" in draw_pickers(one)
    assert "chosen: ECE 0.095" in draw_pickers(two)
