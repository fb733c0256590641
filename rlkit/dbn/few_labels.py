"""Networks that start from a deep belief network, beside others, where few rows have labels.

The stack learns from all training rows, which need no labels; everything else learns from those
that have them. scikit-learn's machine with a logistic regression on top, and one without, are in
the same table.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from rlkit.dbn.dbn import DBN
from rlkit.dbn.finetune import finetune
from rlkit.dbn.finetune_config import FinetuneConfig
from rlkit.dbn.initialisation_tour import accuracy
from rlkit.dbn.rbm_config import RBMConfig
from rlkit.dbn.starts import PRETRAINED, started_network
from rlkit.label_mixtures import evenly
from rlkit.run_folder import machine
from rlkit.statistics import mean_interval

OF_LABELLED = "sigmoid, DBN of labelled rows"
SKLEARN = "scikit-learn RBM, logistic regression"
REGRESSION = "logistic regression"
CONTESTANTS = (
    PRETRAINED,
    OF_LABELLED,
    "sigmoid, small",
    "sigmoid, Xavier",
    "ReLU, He",
    SKLEARN,
    REGRESSION,
)


def _layer() -> RBMConfig:
    return RBMConfig(
        hidden_units=500, batch_size=20, learning_rate=0.05, epochs=30, held_out_share=0.05
    )


@dataclass(frozen=True)
class FewLabelsConfig:
    """What is compared. Raises ValueError for values that make no sense."""

    layers: tuple[RBMConfig, ...] = field(default_factory=lambda: (_layer(), _layer()))
    """Of the stack; all networks have its sizes."""
    labels: Mapping[int, int] = field(default_factory=lambda: {500: 60, 4000: 40})
    """Number of labelled rows -> passes over them by Adam at 0.001."""
    test_rows: int = 1000
    """Held out from everything."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Each splits the rows, pretrains and draws weights anew."""

    def __post_init__(self) -> None:
        if not self.seeds:
            raise ValueError("seeds names none")
        if not self.labels or min(self.labels) < 2:
            raise ValueError(f"labels must name numbers of rows, at least 2; got {self.labels}")


def compare(
    config: FewLabelsConfig,
    rows: np.ndarray,
    labels: np.ndarray,
    *,
    done: Iterable[Mapping[str, Any]] = (),
    on_row: Callable[[Mapping[str, Any]], None] = lambda row: None,
) -> dict[str, Any]:
    """Train every contestant with every number of labels and every seed.

    rows: (count, columns) float32 in [0, 1]. labels: (count,), from 0.
    done: rows of an earlier result, whose seeds are not measured again. on_row: given each new one.
    Returns plain JSON data: `machine`, and `rows`, each with `contestant`, `labels`, `seed` and the
    `accuracy` on held-out rows, in [0, 1].
    Raises ImportError where scikit-learn is missing, ValueError for too few rows.
    """
    if config.test_rows + max(config.labels) > len(rows):
        raise ValueError(
            f"{len(rows)} rows are too few to test on {config.test_rows} and learn from "
            f"{max(config.labels)}"
        )
    told = list(done)
    measured = {(row["contestant"], row["labels"], row["seed"]) for row in told}
    for seed in config.seeds:
        learnt, test = _split(labels, config.test_rows, seed)
        wanted = [
            (contestant, count)
            for count in config.labels
            for contestant in CONTESTANTS
            if (contestant, count, seed) not in measured
        ]
        if not wanted:
            continue
        dbn = DBN(layers=config.layers, seed=seed).fit(rows[learnt])
        for contestant, count in wanted:
            labelled = learnt[_balanced(labels[learnt], count, seed)]
            given = (rows[labelled], labels[labelled])
            judged = (rows[test], labels[test])
            reached = _reached(contestant, dbn, given, judged, config.labels[count], seed)
            row = {"contestant": contestant, "labels": count, "seed": seed, "accuracy": reached}
            told.append(row)
            on_row(row)
    return {"machine": machine(), "rows": told}


def summarise(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """To each contestant and number of labels: `accuracy`, and `behind`, how far it is behind the
    pretrained one with the same seeds, each a mean over seeds and half its 95 % interval."""
    found: dict[tuple[int, str], dict[int, float]] = {}
    for row in rows:
        found.setdefault((row["labels"], row["contestant"]), {})[row["seed"]] = row["accuracy"]
    told = []
    for (labels, contestant), by_seed in sorted(found.items(), key=lambda each: each[0][0]):
        best = found.get((labels, PRETRAINED), {})
        behind = [best[seed] - value for seed, value in by_seed.items() if seed in best]
        told.append(
            {
                "contestant": contestant,
                "labels": labels,
                "seeds": len(by_seed),
                "accuracy": mean_interval(list(by_seed.values())),
                "behind": mean_interval(behind) if behind else (None, None),
            }
        )
    return told


def _reached(
    contestant: str,
    dbn: DBN,
    given: tuple[np.ndarray, np.ndarray],
    judged: tuple[np.ndarray, np.ndarray],
    epochs: int,
    seed: int,
) -> float:
    if contestant in (SKLEARN, REGRESSION):
        return _sklearn_accuracy(contestant, dbn, given, judged, seed)
    start = contestant
    if contestant == OF_LABELLED:
        start, dbn = PRETRAINED, DBN(layers=dbn.config.layers, seed=seed).fit(given[0])
    network = started_network(start, dbn, int(max(given[1].max(), judged[1].max())) + 1, seed)
    tuning = FinetuneConfig(epochs=epochs, held_out_share=0.0, seed=seed)
    finetune(network, torch.from_numpy(given[0]), torch.from_numpy(given[1]), cross_entropy, tuning)
    return accuracy(network, *judged)


def _sklearn_accuracy(
    contestant: str,
    dbn: DBN,
    given: tuple[np.ndarray, np.ndarray],
    judged: tuple[np.ndarray, np.ndarray],
    seed: int,
) -> float:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import BernoulliRBM
    from sklearn.pipeline import make_pipeline

    layer = dbn.config.layers[0]
    regression = LogisticRegression(max_iter=500)
    model: Any = regression
    if contestant == SKLEARN:
        rbm = BernoulliRBM(
            layer.hidden_units,
            learning_rate=layer.learning_rate,
            batch_size=layer.batch_size,
            n_iter=layer.epochs,
            random_state=seed,
        )
        model = make_pipeline(rbm, regression)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(*given)
    return float(model.score(*judged))


def _split(labels: np.ndarray, test_rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of rows to learn from, and of as many to test on, with equal shares of classes."""
    random = np.random.default_rng(np.random.SeedSequence((seed, 0)))
    order = random.permutation(len(labels))
    test = order[evenly(labels[order])[:test_rows]]
    return np.setdiff1d(order, test), test


def _balanced(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Numbers of `count` rows, with equal shares of classes."""
    random = np.random.default_rng(np.random.SeedSequence((seed, 1)))
    order = random.permutation(len(labels))
    return order[evenly(labels[order])[:count]]
