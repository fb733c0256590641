"""The estimator: learning on tiny data, scikit-learn's manners, and what it says to bad input."""

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch

from rlkit.dbn.machine import GaussianMachine
from rlkit.dbn.rbm import RBM
from rlkit.dbn.rbm_config import RBMConfig
from rlkit.divergence import DivergenceError, DivergenceWarning
from rlkit.estimator import NotFittedError


def bars_and_stripes(side: int = 3) -> np.ndarray:
    """All images of whole rows or whole columns, float32, (2 * 2**side - 2, side**2)."""
    images = set()
    for code in range(2**side):
        line = np.array([code >> bit & 1 for bit in range(side)], np.float32)
        images.add(tuple(np.repeat(line, side)))
        images.add(tuple(np.tile(line, side)))
    return np.array(sorted(images), np.float32)


@pytest.fixture(scope="module")
def learned() -> RBM:
    rbm = RBM(
        hidden_units=16,
        batch_size=14,
        chains=100,
        epochs=600,
        gibbs_steps=2,
        learning_rate=1.0,
        final_learning_rate=0.0,
        held_out_share=0.0,
        seed=1,
    )
    return rbm.fit(bars_and_stripes())


def test_bars_and_stripes_are_learned_close_to_the_best_likelihood(learned: RBM):
    # 14 images of equal chances: no density gives more than -log 14 = -2.64 nats on average;
    # independent units give -6.2.
    assert -math.log(14) - 0.6 < learned.score(bars_and_stripes()) < -math.log(14)
    first, last = learned.history_[0], learned.history_[-1]
    assert last.reconstruction_error < 0.5 * first.reconstruction_error


def test_samples_are_bars_and_stripes(learned: RBM):
    known = {tuple(image) for image in bars_and_stripes()}
    sampled = learned.sample(300, steps=200, seed=0)
    share = np.mean([tuple(row) in known for row in sampled])
    assert share > 0.6  # 14 of 512 images: 0.03 by chance
    assert np.array_equal(learned.sample(5, steps=3, seed=4), learned.sample(5, steps=3, seed=4))
    assert not np.array_equal(learned.sample(50, steps=3), learned.sample(50, steps=3))


def test_scores_sum_to_one_over_all_images(learned: RBM):
    every = np.array([[n >> bit & 1 for bit in range(9)] for n in range(512)], np.float32)
    assert np.exp(learned.score_samples(every)).sum() == pytest.approx(1.0, rel=1e-4)
    assert learned.log_partition().exact


def test_features_are_chances_of_hidden_units(learned: RBM):
    rows = bars_and_stripes()
    by_hand = 1 / (1 + np.exp(-(rows @ learned.components_.T + learned.intercept_hidden_)))
    features = learned.transform(rows)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, by_hand, rtol=1e-4, atol=1e-6)
    back = 1 / (1 + np.exp(-(features @ learned.components_ + learned.intercept_visible_)))
    np.testing.assert_allclose(learned.inverse_transform(features), back, rtol=1e-4, atol=1e-6)


def test_free_energy_is_scikit_learns():
    from sklearn.neural_network import BernoulliRBM

    ours = RBM(hidden_units=5, epochs=3, batch_size=4).fit(bars_and_stripes())
    theirs = BernoulliRBM(n_components=5, n_iter=1).fit(bars_and_stripes())
    theirs.components_ = ours.components_
    theirs.intercept_hidden_ = ours.intercept_hidden_
    theirs.intercept_visible_ = ours.intercept_visible_
    rows = bars_and_stripes()
    np.testing.assert_allclose(ours.free_energy(rows), theirs._free_energy(rows), rtol=1e-4)
    np.testing.assert_allclose(ours.transform(rows), theirs.transform(rows), rtol=1e-4)


def test_gaussian_units_learn_a_mixture_in_its_own_units():
    """Two clusters 40 apart around 1,000, with a spread of 3, in two columns of unlike scale."""
    random = np.random.default_rng(0)
    side = np.where(random.random((600, 1)) < 0.5, -1.0, 1.0)
    z = side * [1.0, -1.0] + 0.15 * random.standard_normal((600, 2))
    rows = 1000.0 + z * [20.0, 0.2]
    config = RBMConfig.gaussian(hidden_units=4, epochs=15, batch_size=20, held_out_share=0.0)
    rbm = RBM(config).fit(rows)
    assert isinstance(rbm.machine_, GaussianMachine)
    deviations = rbm.machine_.variance.sqrt().numpy() / [20.0, 0.2]
    assert np.all(deviations < 0.35)  # 1.0 as a whole, 0.15 within a cluster
    # the best there is has -1.13 nats, one Gaussian with all correlations -2.65
    assert rbm.score(rows) > -1.9
    sampled = rbm.sample(400, steps=100, seed=0)
    assert np.abs(np.abs(sampled[:, 0] - 1000.0) - 20.0).mean() < 6.0
    assert np.corrcoef(sampled.T)[0, 1] < -0.85


def test_the_same_seed_gives_the_same_weights_and_another_one_others():
    rows = bars_and_stripes()
    settings = {"hidden_units": 6, "batch_size": 5, "epochs": 3, "momentum": 0.9}
    one, two, other = (RBM(**settings, seed=seed).fit(rows) for seed in (3, 3, 4))
    assert np.array_equal(one.components_, two.components_)
    assert not np.array_equal(one.components_, other.components_)
    assert np.array_equal(one.fit(rows).components_, two.components_)  # fit starts from scratch


def two_patterns() -> np.ndarray:
    """Two images of six pixels, fifteen times each: independent pixels give -4.16 nats a row, and
    the best there is -0.69."""
    return np.repeat(np.kron(np.eye(2, dtype=np.float32), np.ones(3, np.float32)), 15, axis=0)


SMALL = RBMConfig(
    hidden_units=4,
    batch_size=8,  # so that the last batch is smaller
    gibbs_steps=3,
    temperatures=4,
    epochs=50,
    learning_rate=0.3,
    final_learning_rate=0.0,
    held_out_share=0.0,
)


@pytest.mark.parametrize("chains", ["data", "noise", "persistent", "tempered"])
def test_every_kind_of_chains_learns(chains: str):
    assert RBM(SMALL, negative_chains=chains).fit(two_patterns()).score(two_patterns()) > -2.7


@pytest.mark.parametrize("chains", ["data", "noise", "tempered"])
def test_every_kind_of_chains_learns_real_values(chains: str):
    rows = two_patterns() + 0.2 * np.random.default_rng(0).standard_normal((30, 6))
    rbm = RBM(SMALL, visible="gaussian", negative_chains=chains, learning_rate=0.03)
    # Independent columns of a standard deviation of 0.54: 6 * (-1.42 - log 0.54) = -4.8 nats.
    assert rbm.fit(rows).score(rows) > -2.0


def test_partial_fit_goes_on_where_it_stopped():
    rows = two_patterns()
    rbm = RBM(SMALL).partial_fit(rows)
    early = rbm.score(rows)
    for _ in range(40):
        rbm.partial_fit(rows)
    assert rbm.score(rows) > early + 1.0
    with pytest.raises(ValueError, match="6 columns as in training, got 4"):
        rbm.partial_fit(rows[:, :4])
    rbm.set_params(batch_size=30, momentum=0.5).partial_fit(rows)  # other buffers
    with pytest.raises(ValueError, match="5 hidden ones, the machine has bernoulli and 4"):
        rbm.set_params(hidden_units=5).partial_fit(rows)


def test_partial_fit_that_diverges_keeps_the_weights_before():
    rbm = RBM(SMALL).fit(two_patterns())
    before = rbm.components_.copy()
    rbm._trainer.machine.weights.fill_(math.inf)
    with pytest.raises(DivergenceError, match="no longer finite; lower learning_rate"):
        rbm.partial_fit(two_patterns())
    np.testing.assert_array_equal(rbm.components_, before)


def test_partial_fit_after_fit_keeps_the_units_of_the_data():
    random = np.random.default_rng(0)
    rows = 50.0 + 5.0 * random.standard_normal((80, 3))
    rbm = RBM(RBMConfig.gaussian(hidden_units=4, epochs=5)).fit(rows)
    before = rbm.machine_.visible_bias.clone()
    rbm.partial_fit(rows)
    assert float((rbm.machine_.visible_bias - before).abs().max()) < 2.0
    assert rbm.score(rows) > -20.0


def test_scikit_learn_clones_searches_and_pipes():
    from sklearn.base import clone
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline

    rbm = RBM(hidden_units=4, epochs=2, batch_size=5)
    copy: Any = clone(rbm)
    assert copy.get_params() == rbm.get_params()
    assert copy is not rbm
    assert "machine_" not in copy.__dict__
    rows = bars_and_stripes()
    search = GridSearchCV(rbm, {"learning_rate": [1e-6, 0.3]}, cv=2).fit(rows)
    assert set(search.best_params_) == {"learning_rate"}
    labels = (rows.sum(axis=1) > 4).astype(int)
    pipe = make_pipeline(RBM(hidden_units=16, epochs=50, batch_size=5), LogisticRegression())
    assert pipe.fit(rows, labels).score(rows, labels) > 0.6


def test_parameters_are_named_and_refused_where_unknown():
    rbm = RBM().set_params(hidden_units=7, seed=2)
    assert rbm.get_params()["hidden_units"] == 7
    assert repr(rbm) == "RBM(hidden_units=7, seed=2)"
    with pytest.raises(ValueError, match="RBM has no parameter n_components; it has hidden_units"):
        RBM(n_components=3)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        rbm.set_params(batch_size=0)
    assert rbm.config.batch_size == 100
    with pytest.raises(ValueError, match="one of auto, float32, bfloat16, got 'half'"):
        rbm.set_params(precision="half")
    with pytest.raises(ValueError, match="bfloat16 is for Bernoulli"):
        rbm.set_params(precision="bfloat16", visible="gaussian")
    assert not rbm.set_params(precision="auto", visible="gaussian").config.multiplies_bfloat16


def counted_coins() -> np.ndarray:
    """Rows of 30 coins that are alike within a row and not between rows."""
    random = np.random.default_rng(0)
    return (random.random((300, 30)) < random.random((300, 1))).astype(np.float32)


def test_divergence_is_noticed_and_the_best_weights_are_kept():
    rbm = RBM(
        hidden_units=40,
        batch_size=20,
        learning_rate=0.5,
        momentum=0.99,
        initial_momentum=0.0,
        momentum_epochs=3,
        epochs=20,
    )
    with pytest.warns(
        DivergenceWarning,
        match=r"diverged in epoch \d+.*kept the weights of epoch.*lower learning_rate \(now 0.5\)",
    ):
        rbm.fit(counted_coins())
    assert len(rbm.history_) < 20
    assert np.isfinite(rbm.components_).all()
    kept = min(r.held_out_reconstruction_error or 0.0 for r in rbm.history_)
    held_out = rbm.inverse_transform(rbm.transform(counted_coins()))
    assert np.isfinite(held_out).all()
    assert kept < (rbm.history_[-1].held_out_reconstruction_error or 0.0)


def test_divergence_at_once_is_an_error():
    rbm = RBM(hidden_units=40, learning_rate=1e30)
    with pytest.raises(DivergenceError, match=r"diverged in epoch 0.*lower learning_rate"):
        rbm.fit(counted_coins())
    with pytest.raises(NotFittedError):
        rbm.transform(counted_coins())


def test_held_out_rows_are_watched():
    random = np.random.default_rng(0)
    rows = (random.random((40, 30)) < 0.5).astype(np.float32)
    other = (random.random((40, 30)) < 0.5).astype(np.float32)
    rbm = RBM(hidden_units=60, batch_size=5, epochs=150, final_learning_rate=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DivergenceWarning)
        rbm.fit(rows, held_out=other)
    gaps = [record.free_energy_gap for record in rbm.history_]
    assert all(gap is not None for gap in gaps)
    # Pure chance is learned by heart: held-out rows become ever less likely.
    assert gaps[-1] > gaps[0] + 1.0  # type: ignore[operator]
    unwatched = RBM(hidden_units=2, epochs=1, held_out_share=0.0).fit(rows)
    assert unwatched.history_[0].free_energy_gap is None


@pytest.mark.parametrize(
    ("rows", "visible", "message"),
    [
        ([[0.0, 255.0]], "bernoulli", r"column 1 holds 255 in row 0.*divide bytes by 255"),
        ([[0.0], [-0.1]], "bernoulli", r"column 0 holds -0.1 in row 1"),
        ([[0.0, math.nan]], "bernoulli", r"column 1 holds nan in row 0"),
        ([[0.0], [math.inf]], "gaussian", r"column 0 holds inf in row 1"),
        ([[1.0, 2.0], [1.0, 3.0]], "gaussian", r"without variation.*: 0; leave them out"),
        ([0.0, 1.0], "bernoulli", r"two dimensions.*reshape"),
        (np.zeros((0, 3)), "bernoulli", r"\(0, 3\) holds nothing"),
        ([["a"]], "bernoulli", "must be numbers"),
    ],
)
def test_bad_data_is_refused_with_what_to_change(rows, visible: str, message: str):
    with pytest.raises(ValueError, match=message):
        RBM(visible=visible, hidden_units=2).fit(rows)


def test_a_column_that_varies_in_held_out_rows_alone_is_refused_as_well():
    refused = 0
    for row in range(10):
        rows = np.ones((10, 1))
        rows[row] = 0.0
        try:
            RBM(visible="gaussian", hidden_units=2, epochs=1).fit(rows)
        except ValueError as error:
            assert "without variation" in str(error)  # noqa: PT017
            refused += 1
        except DivergenceError:
            pass
    assert refused == 1


def test_what_was_not_fitted_says_so():
    with pytest.raises(NotFittedError, match="this RBM is not fitted yet; call fit first"):
        RBM().transform([[0.0]])


def test_tensors_bytes_and_read_only_arrays_are_data_as_well():
    rows = bars_and_stripes()
    rbm = RBM(hidden_units=4, epochs=1, batch_size=5).fit(rows.astype(np.uint8))
    frozen = rows.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(rbm.transform(frozen), rbm.transform(torch.tensor(rows)))
    assert rbm.gibbs(rows, steps=2, seed=0).shape == rows.shape
    np.testing.assert_array_equal(rbm.gibbs(rows, steps=0), rows)


@pytest.mark.parametrize("columns", [1, 2, 6])
def test_ordinary_training_of_few_real_values_is_no_divergence(columns: int):
    """Few held-out rows scatter; a warning would be an error here."""
    for seed in range(5):
        rows = np.random.default_rng(seed).standard_normal((40, columns))
        rbm = RBM(RBMConfig.gaussian(hidden_units=3, epochs=4, batch_size=10, seed=seed)).fit(rows)
        assert len(rbm.history_) == 4
