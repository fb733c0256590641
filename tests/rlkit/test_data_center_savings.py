"""Savings of controllers, on numbers worked out by hand."""

import numpy as np
import pytest

from rlkit.data_center_savings import VIOLATIONS, mean_year, saving, savings

SAFE = dict.fromkeys(VIOLATIONS, 0.0)


def counts(cooling: float, facility: float, overhead: float = 1.0, **violations: float):
    return {
        **SAFE,
        "cooling_energy": cooling,
        "facility_energy": facility,
        "overhead_energy": overhead,
        **violations,
    }


def test_a_year_in_the_mean_of_two():
    found = mean_year(
        {
            "facility_energy": np.array([130.0, 240.0]),
            "it_energy": np.array([100.0, 200.0]),
            "server_fan_energy": np.array([10.0, 90.0]),
            "water": np.array([50.0, 400.0]),
            "pue": np.array([1.3, 1.2]),
            "pue_without_server_fans": np.array([13 / 9, 24 / 11]),
            "wue": np.array([0.5, 2.0]),
            "hours_outside_recommended": np.array([0.0, 3.0]),
            "hottest_inlet": np.array([29.0, 27.0]),
            "hottest_inlet_p999": np.array([26.0, 26.5]),
        }
    )
    assert found["facility_energy"] == 185.0
    assert found["hours_outside_recommended"] == 1.5
    assert found["pue"] == pytest.approx(370 / 300)
    assert found["pue_without_server_fans"] == pytest.approx(370 / 200)
    assert found["wue"] == pytest.approx(450 / 300)
    assert (found["hottest_inlet"], found["hottest_inlet_p999"]) == (29.0, 26.5)


def test_a_saving_is_a_share_of_the_others():
    found = saving(counts(75.0, 900.0), counts(100.0, 1000.0), "cooling_energy", "fixed 20")
    assert (found.of, found.against) == ("cooling_energy", "fixed 20")
    assert found.ratio == 0.25
    assert found.exceeds == ()
    assert found.counts
    assert found.to_json()["counts"] is True


@pytest.mark.parametrize("violation", VIOLATIONS)
def test_a_saving_with_more_violations_does_not_count(violation: str):
    theirs = counts(100.0, 1000.0, **{violation: 2.0})
    for amount, exceeds in ((2.0, ()), (2.1, (violation,))):
        mine = counts(75.0, 900.0, **{violation: amount})
        found = saving(mine, theirs, "cooling_energy", "fixed 20")
        assert found.exceeds == exceeds
        assert found.counts is (not exceeds)


def test_less_cooling_at_a_higher_bill_does_not_count():
    found = saving(counts(75.0, 1001.0), counts(100.0, 1000.0), "cooling_energy", "fixed 20")
    assert found.exceeds == ("facility_energy",)
    assert not found.counts


def test_each_controller_is_compared_with_the_baselines_that_are_there():
    found = savings(
        {
            "fixed 20": counts(100.0, 1000.0, 200.0),
            "best static": counts(90.0, 980.0, 180.0),
            "agent": counts(60.0, 950.0, 153.0),
        }
    )
    assert [(s.of, s.against) for s in found["fixed 20"]] == [("overhead_energy", "best static")]
    assert [(s.of, s.against) for s in found["best static"]] == [("cooling_energy", "fixed 20")]
    cooling, overhead = found["agent"]
    assert cooling.ratio == pytest.approx(0.4)
    assert overhead.ratio == pytest.approx(0.15)
