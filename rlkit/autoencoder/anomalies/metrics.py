"""How well scores of time stamps rank anomalies above what is normal, threshold apart.

Here are the two areas that take every time stamp by itself; `vus` and `affiliation` forgive small
shifts in time, `alarms` counts what an operator sees. Point-adjusted F1 is left out on purpose: it
counts a whole event as found for one stamp, so that random scores beat detectors (Kim et al. 2022).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.optional_packages import needs


def check_labels_and_scores(
    labels: NDArray[np.bool_], scores: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Both as arrays, (time,) bool and (time,) float64.

    Raises ValueError where they differ in length or have another shape, a label is neither 0 nor 1,
    a score is not finite, or all labels are alike: no ranking can be judged then.
    """
    labels, scores = np.asarray(labels), np.asarray(scores, np.float64)
    if labels.ndim != 1 or labels.shape != scores.shape:
        raise ValueError(f"labels {labels.shape} and scores {scores.shape} are not both (time,)")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("labels must be 0 (normal) or 1 (anomalous)")
    labels = labels.astype(bool)
    if not np.isfinite(scores).all():
        step = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise ValueError(f"scores must be finite, but that of step {step} is {scores[step]}")
    if labels.all() or not labels.any():
        every = "anomalous" if len(labels) and labels.all() else "normal"
        raise ValueError(f"all {len(labels)} steps are {every}; a ranking needs both kinds")
    return labels, scores


def auroc(labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Area under the receiver operating characteristic, 0 to 1; .5 for scores that know nothing.

    labels: (time,), True within events. scores: (time,), higher is more anomalous. Raises as
    `check_labels_and_scores`, ImportError without scikit-learn.
    """
    labels, scores = check_labels_and_scores(labels, scores)
    with needs("AUROC", "scikit-learn"):
        from sklearn.metrics import roc_auc_score
    return float(roc_auc_score(labels, scores))


def pr_auc(labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Area under precision over recall as average precision, 0 to 1; the share of anomalous steps
    for scores that know nothing.

    Steps of the curve are not interpolated (Davis and Goadrich 2006). Arguments and errors as
    `auroc`.
    """
    labels, scores = check_labels_and_scores(labels, scores)
    with needs("PR-AUC", "scikit-learn"):
        from sklearn.metrics import average_precision_score
    return float(average_precision_score(labels, scores))
