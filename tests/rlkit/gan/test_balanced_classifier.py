"""A classifier that makes up for rare classes, as scikit-learn would do it, and its metrics."""

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.model_selection import cross_val_score
from torch import Tensor

from rlkit.estimator import NotFittedError
from rlkit.gan.balanced_classifier import (
    BalancedClassifier,
    balanced_accuracy,
    macro_f1,
    recalls,
    weighted_error,
)


def clouds(common: int, rare: int, seed: int = 0) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Rows of two clouds that overlap: of class 4 many, of class 9 few."""
    random = np.random.default_rng(seed)
    labels = np.repeat([4, 9], [common, rare])
    rows = random.normal(np.where(labels == 9, 1.0, 0.0)[:, None], 1.0, (len(labels), 2))
    return rows.astype(np.float32), labels


def quick(**changes: Any) -> BalancedClassifier:
    return BalancedClassifier(**{"steps": 60, "hidden": 16, "learning_rate": 0.01, **changes})


@pytest.mark.parametrize("balance", [{"class_weight": "balanced"}, {"oversample": True}])
def test_a_rare_class_is_found_where_balance_is_kept(balance: dict[str, Any]) -> None:
    test, kinds = clouds(400, 400, seed=1)
    plain = quick(class_weight=None).fit(*clouds(380, 20)).predict(test)
    balanced = quick(**{"class_weight": None, **balance}).fit(*clouds(380, 20)).predict(test)
    # The clouds are sqrt(2) apart, so that half of that, 76 % of both, is what balance can reach.
    assert recalls(kinds, plain)[9] < 0.35
    assert recalls(kinds, balanced)[9] > 0.55
    assert recalls(kinds, balanced)[4] > 0.55
    assert balanced_accuracy(kinds, balanced) > balanced_accuracy(kinds, plain) + 0.03


def test_weights_do_not_hang_on_who_else_is_in_the_batch() -> None:
    scores = torch.tensor([[0.0, 0.0], [0.0, math.log(3.0)]])  # chances 1/2 and 1/2, 1/4 and 3/4
    labels, weights = torch.tensor([0, 1]), torch.tensor([0.6, 3.0])
    apart = [0.6 * math.log(2.0), 3.0 * math.log(4 / 3)]
    both = weighted_error(scores, labels, weights)
    assert float(both) == pytest.approx(sum(apart) / 2)
    for row, expected in enumerate(apart):
        alone = weighted_error(scores[row : row + 1], labels[row : row + 1], weights)
        assert float(alone) == pytest.approx(expected)


def test_pictures_are_told_by_where_something_is() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], 40)
    pictures = random.integers(0, 60, (80, 1, 12, 10)).astype(np.uint8)
    pictures[labels == 0, :, 1:4, 1:4] = 250
    pictures[labels == 1, :, 8:11, 6:9] = 250
    classifier = quick().fit(pictures[::2], labels[::2])
    assert (classifier.predict(pictures[1::2]) == labels[1::2]).mean() > 0.9
    assert classifier.predict(pictures[:1]).tolist() == [0]
    assert classifier.predict(pictures[:, 0]).tolist() == classifier.predict(pictures).tolist()
    chances = classifier.predict_proba(pictures[:3])
    assert chances.shape == (3, 2)
    assert np.allclose(chances.sum(1), 1.0)


def test_the_same_seed_gives_the_same_classifier() -> None:
    data = clouds(50, 10)
    first, again = (quick(seed=3, oversample=True).fit(*data) for _ in range(2))
    other = quick(seed=4, oversample=True).fit(*data)
    chances = first.predict_proba(data[0])
    assert np.array_equal(chances, again.predict_proba(data[0]))
    assert not np.array_equal(chances, other.predict_proba(data[0]))


class Counting:
    """Notes the batches that it is given, and gives them back without their first column."""

    def __init__(self) -> None:
        self.labels: list[Tensor] = []

    def __call__(
        self, batch: Tensor, labels: Tensor | None = None, *, random: torch.Generator
    ) -> Tensor:
        assert labels is not None
        self.labels.append(labels)
        return batch.masked_fill(torch.tensor([True, False]), 0.0)


def test_every_batch_goes_through_the_augmentation() -> None:
    changes = Counting()
    data, labels = clouds(90, 10)
    classifier = quick(augmentation=changes, steps=5, batch_size=20).fit(data, labels)
    # What is left out of every batch is not learnt from: five batches are one pass.
    assert torch.cat(changes.labels).bincount().tolist() == [90, 10]
    assert [len(batch) for batch in changes.labels] == [20] * 5
    assert classifier.classes_.tolist() == [4, 9]
    drawn = Counting()
    quick(augmentation=drawn, oversample=True, steps=50, batch_size=20).fit(data, labels)
    assert abs(torch.cat(drawn.labels).float().mean() - 0.5) < 0.06


def test_scikit_learn_can_drive_it() -> None:
    data = clouds(40, 20)
    estimator = clone(quick(seed=2, weight_decay=0.1))
    assert isinstance(estimator, BalancedClassifier)
    assert estimator.get_params()["weight_decay"] == 0.1
    assert (cross_val_score(estimator, *data, cv=2) > 0.4).all()
    with pytest.raises(NotFittedError, match="not fitted"):
        estimator.predict(data[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_weight": "uneven"}, "class_weight is 'uneven'; there are balanced and None"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"weight_decay": -1.0}, "weight_decay must be finite and not negative"),
        ({"depth": 3}, "has no parameter depth"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BalancedClassifier(**changes)


def test_data_that_do_not_fit_are_refused() -> None:
    data, labels = clouds(10, 5)
    with pytest.raises(ValueError, match="all are 4"):
        quick().fit(data[:10], labels[:10])
    with pytest.raises(ValueError, match="15 examples need as many labels"):
        quick().fit(data, labels[:3])
    with pytest.raises(ValueError, match="need as many labels, integers, got float64"):
        quick().fit(data, labels.astype(float))
    fitted = quick(steps=1).fit(data, labels)
    with pytest.raises(ValueError, match=r"rows of shape \(2,\), not \(1,\)"):
        fitted.predict(data[:, :1])


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_metrics_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    labels, told = np.array(pairs).T
    assert macro_f1(labels, told) == pytest.approx(f1_score(labels, told, average="macro"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that are told and not there
        expected = balanced_accuracy_score(labels, told)
    assert balanced_accuracy(labels, told) == pytest.approx(expected)
