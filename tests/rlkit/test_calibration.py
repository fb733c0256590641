"""Calibration against hand-worked numbers, scikit-learn and SciPy."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from rlkit.calibration import (
    brier_score,
    expected_calibration_error,
    reliability_table,
    wilson_interval,
)

PREDICTIONS = st.lists(
    st.tuples(st.floats(0.0, 1.0) | st.sampled_from([k / 15 for k in range(16)]), st.booleans()),
    min_size=1,
    max_size=60,
)


def test_four_predictions_worked_by_hand():
    chances, successes = [0.9, 0.8, 0.3, 0.25], [1, 0, 0, 1]
    assert brier_score(chances, successes) == pytest.approx(
        (0.01 + 0.64 + 0.09 + 0.5625) / 4, rel=1e-12
    )
    # Two bins: 0.275 against a half, and 0.85 against a half, of two predictions each.
    assert expected_calibration_error(chances, successes, bins=2) == pytest.approx(
        0.5 * 0.225 + 0.5 * 0.35
    )
    low, high = reliability_table(chances, successes, bins=2)
    assert (low.low, low.high, low.count) == (0.0, 0.5, 2)
    assert (low.mean_chance, low.share) == (pytest.approx(0.275), 0.5)
    assert (high.mean_chance, high.share) == (pytest.approx(0.85), 0.5)
    assert high.share_ci95 == wilson_interval(1, 2)


def test_bins_hold_their_upper_edge_and_empty_ones_say_nothing():
    table = reliability_table([0.0, 0.2, 0.2001, 1.0], [0, 1, 1, 1], bins=5)
    assert [row.count for row in table] == [2, 1, 0, 0, 1]
    assert (table[2].mean_chance, table[2].share, table[2].share_ci95) == (None, None, None)
    told = json.loads(json.dumps([row.to_json() for row in table], allow_nan=False))
    assert told[4] == {
        "low": pytest.approx(0.8),
        "high": 1.0,
        "count": 1,
        "mean_chance": 1.0,
        "share": 1.0,
        "share_ci95": [pytest.approx(0.2065, abs=1e-4), 1.0],
    }
    assert len(reliability_table([0.5], [1])) == 15


@given(PREDICTIONS)
def test_it_agrees_with_scikit_learn(predictions: list[tuple[float, bool]]):
    chances = np.array([chance for chance, _ in predictions])
    successes = np.array([success for _, success in predictions])
    assert brier_score(chances, successes) == pytest.approx(
        brier_score_loss(successes, chances, labels=[False, True]), abs=1e-12
    )
    shares, means = calibration_curve(successes, chances, n_bins=15)
    table = [row for row in reliability_table(chances, successes) if row.count]
    assert [row.share for row in table] == pytest.approx(list(shares))
    assert [row.mean_chance for row in table] == pytest.approx(list(means))
    counts = np.array([row.count for row in table])
    assert expected_calibration_error(chances, successes) == pytest.approx(
        (counts * np.abs(shares - means)).sum() / len(chances)
    )


def test_kept_chances_have_no_error_and_broken_ones_the_greatest():
    assert expected_calibration_error([1.0, 0.0], [1, 0]) == 0.0
    assert expected_calibration_error([1.0, 0.0], [0, 1]) == 1.0
    # Half of what is given a half comes true: perfectly calibrated, and yet no skill.
    assert expected_calibration_error([0.5, 0.5], [1, 0]) == 0.0
    assert brier_score([0.5, 0.5], [1, 0]) == 0.25


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (3, 7), (0, 40), (199, 200)])
@pytest.mark.parametrize("level", [0.95, 0.8])
def test_wilsons_interval_agrees_with_scipy(successes: int, trials: int, level: float):
    theirs = binomtest(successes, trials).proportion_ci(level, method="wilson")
    assert wilson_interval(successes, trials, level) == pytest.approx(
        (theirs.low, theirs.high), abs=1e-12
    )


@pytest.mark.parametrize(
    ("chances", "successes", "message"),
    [
        ([], [], "at least one prediction"),
        ([0.5], [1, 0], r"shapes \(1,\) and \(2,\)"),
        ([0.5, 1.5], [1, 0], "from 0 to 1, got 1.5"),
        ([float("nan")], [1], "from 0 to 1, got nan"),
        ([0.5], [0.5], "must be 0 or 1, got 0.5"),
    ],
)
def test_what_is_no_prediction_is_refused(
    chances: list[float], successes: list[float], message: str
):
    for function in (brier_score, expected_calibration_error, reliability_table):
        with pytest.raises(ValueError, match=message):
            function(chances, successes)


def test_what_is_no_share_is_refused():
    for successes, trials in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match=f"got {successes} of {trials}"):
            wilson_interval(successes, trials)
    with pytest.raises(ValueError, match="between 0 and 1, got 1"):
        wilson_interval(1, 2, 1.0)
    with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
        reliability_table([0.5], [1], bins=0)
