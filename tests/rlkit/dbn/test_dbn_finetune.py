"""Fine-tuning by back-propagation, and what the estimators on top of it promise."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

from rlkit.dbn.dbn import DBN
from rlkit.dbn.finetune import DBNClassifier, DBNRegressor, finetune
from rlkit.dbn.finetune_config import FinetuneConfig
from rlkit.dbn.rbm_config import RBMConfig

LAYERS = (RBMConfig(hidden_units=40, epochs=5, batch_size=20),)
TUNING = FinetuneConfig(epochs=25, batch_size=20, learning_rate=0.01)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """500 images of handwritten digits, 8 x 8 pixels in [0, 1], and which they are, as text."""
    from sklearn.datasets import load_digits

    loaded: Any = load_digits()
    images, numbers = loaded.data[:500], loaded.target[:500]
    return (images / 16.0).astype(np.float32), numbers.astype(str)


@pytest.mark.parametrize(
    "tuning",
    [
        TUNING,
        replace(TUNING, optimizer="sgd", learning_rate=0.1),
        replace(TUNING, optimizer="lbfgs", learning_rate=1.0, l2=1e-4),
        replace(TUNING, dropout=0.2, drop_connect=0.1),
    ],
    ids=["adam", "sgd", "lbfgs", "dropout"],
)
def test_a_classifier_learns_digits_with_every_optimizer(tuning: FinetuneConfig):
    rows, labels = digits()
    classifier = DBNClassifier(layers=LAYERS, finetune=tuning).fit(rows[:400], labels[:400])
    assert classifier.score(rows[400:], labels[400:]) > 0.85
    assert classifier.classes_.tolist() == list("0123456789")
    chances = classifier.predict_proba(rows[:5])
    assert chances.sum(axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    best = classifier.decision_function(rows).argmax(axis=1)
    assert classifier.predict(rows).tolist() == [str(number) for number in best]


def test_two_classes_have_one_decision():
    rows, labels = digits()
    two = (labels == "0") | (labels == "1")
    classifier = DBNClassifier(layers=LAYERS, finetune=TUNING).fit(rows[two], labels[two])
    decisions = classifier.decision_function(rows[two])
    assert decisions.shape == (two.sum(),)
    assert ((decisions > 0) == (classifier.predict(rows[two]) == "1")).all()
    assert classifier.score(rows[two], labels[two]) > 0.95


def test_a_regressor_learns_in_the_units_of_its_targets():
    random = np.random.default_rng(0)
    rows = random.random((200, 3)).astype(np.float32)
    targets = 500.0 + 40.0 * rows[:, 0] * rows[:, 1]
    regressor = DBNRegressor(layers=LAYERS, finetune=replace(TUNING, epochs=100))
    regressor.fit(rows[:150], targets[:150])
    assert regressor.predict(rows).shape == (200,)
    assert regressor.score(rows[150:], targets[150:]) > 0.8
    both = np.stack([targets, -targets], axis=1)
    assert regressor.fit(rows, both).predict(rows).shape == (200, 2)
    assert regressor.score(rows, both) > 0.8


def test_r2_is_scikit_learns():
    from sklearn.metrics import r2_score

    rows = np.random.default_rng(0).random((30, 2))
    targets = rows @ [[1.0, 2.0], [0.5, -1.0]]
    tuning = FinetuneConfig(epochs=2)
    regressor = DBNRegressor(layers=LAYERS, finetune=tuning).fit(rows, targets)
    assert regressor.score(rows, targets) == pytest.approx(
        r2_score(targets, regressor.predict(rows))
    )


def line(weight: float) -> nn.Sequential:
    network = nn.Sequential(nn.Linear(1, 1, bias=False))
    nn.init.constant_(next(network.parameters()), weight)
    return network


def test_one_step_by_hand_with_both_penalties():
    network = line(2.0)
    config = FinetuneConfig("sgd", 0.1, momentum=0.0, epochs=1, l1=0.5, l2=0.25, held_out_share=0.0)
    records = finetune(network, torch.ones(4, 1), torch.zeros(4, 1), mse_loss, config)
    # loss (2 * 1 - 0)^2 + 0.5 * 2 + 0.5 * 0.25 * 4 = 5.5; slope 2 * 2 + 0.5 + 0.25 * 2 = 5
    assert records[0].loss == pytest.approx(5.5)
    assert records[0].held_out_loss is None
    assert next(network.parameters()).item() == pytest.approx(2.0 - 0.1 * 5.0)


def test_training_stops_early_and_returns_to_the_best_weights():
    """Held-out targets are against the trend, so that the first weights stay the best."""
    random = np.random.default_rng(0)
    rows = torch.from_numpy(random.random((100, 16)).astype(np.float32))
    targets = torch.from_numpy(random.standard_normal((100, 1)).astype(np.float32))
    network = nn.Sequential(nn.Linear(16, 300), nn.ReLU(), nn.Linear(300, 1))
    config = FinetuneConfig(epochs=400, learning_rate=0.01, held_out_share=0.3, patience=4)
    records = finetune(network, rows, targets, mse_loss, config)
    held_out = [record.held_out_loss for record in records]
    assert len(records) < 400
    assert int(np.argmin(held_out)) == len(records) - 1 - 4  # type: ignore[arg-type]
    order = torch.from_numpy(
        np.random.Generator(np.random.SFC64(np.random.SeedSequence((config.seed, 1)))).permutation(
            100
        )
    )
    with torch.no_grad():
        now = float(mse_loss(network(rows[order[:30]]), targets[order[:30]]))
    assert now == pytest.approx(min(held_out), rel=1e-5)  # type: ignore[type-var]


def test_frozen_epochs_train_the_head_alone():
    rows, labels = digits()
    dbn = DBN(layers=LAYERS).fit(rows)
    for frozen, moved in ((3, False), (2, True)):
        network = dbn.network(outputs=2)
        config = FinetuneConfig(epochs=3, frozen_epochs=frozen, held_out_share=0.0)
        targets = torch.from_numpy((labels == "3").astype(np.int64))
        finetune(network, torch.from_numpy(rows), targets, nn.functional.cross_entropy, config)
        same = torch.equal(network.state_dict()["layer0.weight"], dbn.layers_[0].machine_.weights)
        assert same != moved
        assert float(network.state_dict()["head.bias"].abs().sum()) > 0.0


def test_a_pretrained_stack_is_used_and_left_as_it_is():
    rows, labels = digits()
    dbn = DBN(layers=LAYERS).fit(rows)
    before = dbn.transform(rows)
    tuning = replace(TUNING, epochs=0)
    classifier = DBNClassifier(layers=LAYERS, finetune=tuning).fit(rows, labels, pretrained=dbn)
    body = nn.Sequential(*list(classifier.network_)[:-1])
    features = body(torch.from_numpy(rows)).detach().numpy()
    np.testing.assert_allclose(features, before, atol=1e-6)
    DBNClassifier(layers=LAYERS, finetune=TUNING).fit(rows, labels, pretrained=dbn)
    np.testing.assert_array_equal(dbn.transform(rows), before)
    with pytest.raises(ValueError, match="takes 64 columns, the data has 4"):
        classifier.fit(rows[:, :4], labels, pretrained=dbn)


def test_the_same_seed_gives_the_same_network():
    rows, labels = digits()
    tuning = replace(TUNING, epochs=3, dropout=0.3)
    one, two = (DBNClassifier(layers=LAYERS, finetune=tuning).fit(rows, labels) for _ in range(2))
    assert np.array_equal(one.predict_proba(rows), two.predict_proba(rows))


def test_scikit_learn_takes_them_for_what_they_are():
    from sklearn.base import clone, is_classifier, is_regressor
    from sklearn.model_selection import cross_val_score

    rows, labels = digits()
    classifier = DBNClassifier(layers=LAYERS, finetune=replace(TUNING, epochs=8))
    assert is_classifier(classifier)
    assert is_regressor(DBNRegressor())
    copy: Any = clone(classifier)
    assert copy.get_params() == classifier.get_params()
    assert cross_val_score(classifier, rows, labels, cv=2).mean() > 0.7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "rmsprop"}, "optimizer must be"),
        ({"learning_rate": -1.0}, "learning_rate must be positive, got -1.0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"l1": -0.1}, "l1 must be finite and not negative, got -0.1"),
        ({"patience": 0}, "patience must be at least 1, got 0"),
        ({"frozen_epochs": 51}, r"frozen_epochs must be from 0 to epochs \(50\), got 51"),
        ({"optimizer": "lbfgs", "dropout": 0.1}, "needs a loss that repeats"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        FinetuneConfig(**changes)


def test_targets_that_do_not_fit_are_refused():
    rows = np.zeros((3, 2))
    with pytest.raises(ValueError, match="there are 3 rows, but 2 targets"):
        DBNClassifier().fit(rows, [0, 1])
    with pytest.raises(ValueError, match=r"at least two classes, got \[1\]"):
        DBNClassifier().fit(rows, [1, 1, 1])
    with pytest.raises(ValueError, match="targets must be finite, row 1 is not"):
        DBNRegressor().fit(rows, [0.0, np.nan, 1.0])


def test_a_loss_that_is_no_number_says_what_to_change():
    rows = torch.full((20, 1), 1e20)
    config = FinetuneConfig("sgd", 1e10, epochs=5)
    with pytest.raises(ArithmeticError, match=r"diverged in epoch \d.*lower learning_rate"):
        finetune(line(1e20), rows, torch.zeros(20, 1), mse_loss, config)
