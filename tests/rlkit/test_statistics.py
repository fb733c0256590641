"""Statistics against numbers worked out by hand, SciPy, and the bootstrap's own definition."""

import itertools
import json

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from rlkit.statistics import (
    human_normalised,
    interquartile_mean,
    interquartile_mean_interval,
    mean_interval,
    summarise_returns,
)

finite = st.floats(-1e6, 1e6)


def test_interquartile_mean_by_hand() -> None:
    # Two of eight are cut at each end, which leaves (2 + 3 + 4 + 7) / 4.
    assert interquartile_mean([8, 1, 2, 7, 1000, -1000, 3, 4]) == 4.0
    # One of five is cut at each end.
    assert interquartile_mean([1, 2, 3, 4, 500]) == 3.0


@given(st.lists(finite, min_size=1, max_size=60))
def test_interquartile_mean_is_scipys_trimmed_mean(returns: list[float]) -> None:
    assert interquartile_mean(returns) == pytest.approx(scipy.stats.trim_mean(returns, 0.25))


def test_interval_is_the_exact_bootstrap_distribution_for_three_returns() -> None:
    returns = np.array([0.0, 10.0, 50.0])
    # All 27 equally likely resamples; nothing is trimmed from three values.
    exact = [np.mean(draw) for draw in itertools.product(returns, repeat=3)]
    interval = interquartile_mean_interval(returns, level=0.5, resamples=20_000)
    assert interval == pytest.approx(np.quantile(exact, [0.25, 0.75], method="inverted_cdf"))


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        interval = interquartile_mean_interval(random.normal(5.0, 2.0, 60), resamples=400)
        assert interval is not None
        covered += interval[0] <= 5.0 <= interval[1]
    assert 175 <= covered <= 199


def test_resampling_stays_within_each_run() -> None:
    # Each run alone has no spread, so neither has the stratified bootstrap; pooled, it would.
    low_run, high_run = [10.0] * 8, [90.0] * 8
    assert interquartile_mean_interval(low_run, high_run) == (50.0, 50.0)
    pooled = interquartile_mean_interval(low_run + high_run)
    assert pooled is not None
    assert pooled[1] - pooled[0] > 20.0


def test_same_seed_same_interval() -> None:
    returns = np.random.default_rng(0).normal(size=30)
    assert interquartile_mean_interval(returns) == interquartile_mean_interval(returns)
    assert interquartile_mean_interval(returns, seed=1) != interquartile_mean_interval(returns)


@pytest.mark.parametrize(
    ("environment", "score", "expected"),
    [
        ("ALE/Boxing-v5", 12.1, 1.0),
        ("boxing", 0.1, 0.0),
        ("BoxingNoFrameskip-v4", 100.0, 99.9 / 12.0),
        ("ALE/UpNDown-v5", 11693.2, 1.0),
        ("ms_pacman", 6951.6, 1.0),
    ],
)
def test_human_normalised(environment: str, score: float, expected: float) -> None:
    assert human_normalised(score, environment) == pytest.approx(expected)


def test_human_normalised_is_unknown_outside_the_57_games() -> None:
    assert human_normalised(1.0, "rlkit/BinPicking-v0") is None
    assert human_normalised(1.0, "ALE/Tetris-v5") is None


def test_summary_of_two_runs() -> None:
    summary = summarise_returns([100.0, 90.0, 98.0], [-20.0, 97.0], environment="ALE/Boxing-v5")
    assert summary.returns == (100.0, 90.0, 98.0, -20.0, 97.0)
    assert summary.mean == pytest.approx(73.0)
    assert summary.iqm == pytest.approx((90.0 + 97.0 + 98.0) / 3)
    assert (summary.minimum, summary.maximum) == (-20.0, 100.0)
    assert summary.human_normalised == pytest.approx(72.9 / 12.0)
    assert summary.iqm_ci95 is not None
    assert summary.iqm_ci95[0] < summary.iqm < summary.iqm_ci95[1]


def test_summary_is_json() -> None:
    data = summarise_returns(np.array([1, 2, 3], dtype=np.float32)).to_json()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert {"returns", "episodes", "mean", "iqm", "iqm_ci95", "min", "max"} <= set(data)
    assert data["returns"] == [1.0, 2.0, 3.0]
    assert data["episodes"] == 3
    assert data["human_normalised"] is None


def test_a_single_episode_has_no_interval() -> None:
    summary = summarise_returns([7.0])
    assert summary.iqm == summary.mean == 7.0
    assert summary.iqm_ci95 is None
    assert summary.to_json()["iqm_ci95"] is None


@pytest.mark.parametrize("runs", [(), ([],), ([1.0], []), ([1.0, float("nan")],)])
def test_bad_returns_are_refused(runs: tuple[list[float], ...]) -> None:
    with pytest.raises(ValueError, match=r"at least one|finite, got nan"):
        summarise_returns(*runs)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_bad_level_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match=f"got {level}"):
        interquartile_mean_interval([1.0, 2.0], level=level)


def test_mean_of_few_has_the_interval_of_students_t() -> None:
    mean, half = mean_interval([1.0, 2.0, 3.0, 6.0])
    assert mean == 3.0
    # Deviation sqrt(14 / 3), and 3.182446 is the 97.5th percentile of three degrees of freedom.
    assert half == pytest.approx(3.182446 * (14 / 3) ** 0.5 / 2, rel=1e-6)
    narrower = mean_interval([1.0, 2.0, 3.0, 6.0], level=0.5)[1]
    assert narrower == pytest.approx(0.764892 * (14 / 3) ** 0.5 / 2, rel=1e-5)
    assert mean_interval([4.0]) == (4.0, None)
