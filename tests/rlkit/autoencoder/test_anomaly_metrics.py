"""AUROC and PR-AUC, and what all metrics refuse."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.metrics import auroc, pr_auc
from rlkit.autoencoder.anomalies.runs import runs_of
from rlkit.autoencoder.anomalies.vus import vus_pr

Metric = Callable[[NDArray[np.bool_], NDArray[np.float64]], float]
LABELS = np.array([0, 0, 1, 1], bool)


def test_both_areas_worked_out_by_hand() -> None:
    scores = np.array([1.0, 3, 2, 4])
    # Of 4 pairs of a normal and an anomalous step, 3 are in order.
    assert auroc(LABELS, scores) == 0.75
    # Thresholds fall past 4 (precision 1, recall 1/2), 3 (1/2, 1/2) and 2 (2/3, 1).
    assert pr_auc(LABELS, scores) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_scores_that_know_nothing_get_a_half_and_the_share_of_anomalies() -> None:
    labels = np.arange(100) < 7
    assert auroc(labels, np.zeros(100)) == 0.5
    assert pr_auc(labels, np.zeros(100)) == pytest.approx(0.07)


@pytest.mark.parametrize("metric", [auroc, pr_auc, vus_pr])
def test_what_cannot_be_judged_is_refused(metric: Metric) -> None:
    scores = np.arange(4.0)
    with pytest.raises(ValueError, match="that of step 2 is nan"):
        metric(LABELS, np.array([0, 1, np.nan, 2]))
    with pytest.raises(ValueError, match="that of step 0 is inf"):
        metric(LABELS, np.array([np.inf, 1, 0, 2]))
    with pytest.raises(ValueError, match="all 4 steps are normal"):
        metric(np.zeros(4, bool), scores)
    with pytest.raises(ValueError, match="all 4 steps are anomalous"):
        metric(np.ones(4, bool), scores)
    with pytest.raises(ValueError, match=r"labels \(4,\) and scores \(3,\)"):
        metric(LABELS, scores[:3])
    with pytest.raises(ValueError, match="labels must be 0"):
        metric(np.array([0, 1, 2, 1]), scores)  # pyright: ignore[reportArgumentType]


def test_without_scikit_learn_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    with pytest.raises(ImportError, match=r"AUROC needs scikit-learn .*'.\[anomalies\]'"):
        auroc(LABELS, np.arange(4.0))


@pytest.mark.parametrize(
    ("flags", "runs"),
    [("", []), ("000", []), ("111", [(0, 3)]), ("0110101", [(1, 3), (4, 5), (6, 7)])],
)
def test_runs_are_maximal(flags: str, runs: list[tuple[int, int]]) -> None:
    starts, stops = runs_of(np.array([flag == "1" for flag in flags], bool))
    assert list(zip(starts.tolist(), stops.tolist(), strict=True)) == runs
