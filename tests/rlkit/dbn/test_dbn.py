"""Stacks of machines: greedy learning, dreams, bounds, and the networks that they become."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rlkit.dbn.dbn import DBN, DBNConfig
from rlkit.dbn.machine import BernoulliMachine
from rlkit.dbn.network import DropConnectLinear, feed_forward
from rlkit.dbn.rbm import RBM
from rlkit.dbn.rbm_config import RBMConfig
from rlkit.dbn.rbm_watch import EpochRecord
from rlkit.estimator import NotFittedError

LAYER = RBMConfig(hidden_units=6, batch_size=8, epochs=40, learning_rate=0.3)


def two_patterns() -> np.ndarray:
    return np.repeat(np.kron(np.eye(2, dtype=np.float32), np.ones(4, np.float32)), 20, axis=0)


@pytest.fixture(scope="module")
def stack() -> DBN:
    top = RBMConfig(hidden_units=5, batch_size=8, epochs=60, learning_rate=0.3, chains=50)
    return DBN(layers=(LAYER, LAYER, top)).fit(two_patterns())


def real_stack() -> tuple[DBN, np.ndarray]:
    rows = 300.0 + 2.0 * np.random.default_rng(0).standard_normal((60, 3))
    bottom = RBMConfig.gaussian(hidden_units=5, epochs=3)
    return DBN(layers=(bottom, RBMConfig(hidden_units=4, epochs=2))).fit(rows), rows


def test_each_layer_learns_from_the_features_of_the_one_below(stack: DBN):
    rows = two_patterns()
    features = rows
    for layer in stack.layers_:
        assert layer.n_features_in_ == features.shape[1]
        features = layer.transform(features)
    np.testing.assert_array_equal(stack.transform(rows), features)
    assert stack.n_features_out_ == 5
    base = stack.layers_[1].base_.visible_bias.sigmoid().numpy()
    below = stack.layers_[0].transform(rows)
    assert np.abs(base - below.mean(axis=0)).max() < 0.1  # but for held-out rows


def test_reconstructions_through_the_whole_stack_tell_the_patterns_apart(stack: DBN):
    rows = two_patterns()
    back = stack.inverse_transform(stack.transform(rows))
    assert np.abs(back - rows).mean() < 0.3
    assert ((back > 0.5) == (rows > 0.5)).mean() > 0.9


def test_the_stack_dreams_of_what_it_has_seen(stack: DBN):
    dreams = stack.sample(200, steps=100, seed=0)
    assert dreams.shape == (200, 8)
    assert ((dreams > 0.0) & (dreams < 1.0)).all()
    halves = np.stack([dreams[:, :4].mean(axis=1), dreams[:, 4:].mean(axis=1)], axis=1)
    assert (halves.max(axis=1) - halves.min(axis=1)).mean() > 0.5
    drawn = stack.sample(200, steps=100, means=False, seed=0)
    assert set(np.unique(drawn)) == {0.0, 1.0}
    np.testing.assert_array_equal(
        stack.sample(5, steps=3, seed=2), stack.sample(5, steps=3, seed=2)
    )
    assert not np.array_equal(stack.sample(50, steps=3), stack.sample(50, steps=3))


def test_a_single_layer_dreams_as_well():
    one = DBN(layers=(LAYER,)).fit(two_patterns())
    assert one.sample(3, steps=5, seed=0).shape == (3, 8)


def test_the_network_computes_the_mean_field_pass(stack: DBN):
    rows = torch.rand(20, 8)
    network = stack.network(dropout=0.5, drop_connect=0.3).eval()
    with torch.no_grad():
        np.testing.assert_allclose(network(rows).numpy(), stack.transform(rows), atol=1e-6)


def test_the_network_of_real_values_far_from_zero_computes_it_too():
    dbn, rows = real_stack()
    network = dbn.network()
    with torch.no_grad():
        features = network(torch.from_numpy(rows.astype(np.float32)))
    np.testing.assert_allclose(features.numpy(), dbn.transform(rows), atol=1e-6)


def test_training_the_network_leaves_the_stack_as_it_is(stack: DBN):
    before = stack.transform(two_patterns())
    network = stack.network()
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    np.testing.assert_array_equal(stack.transform(two_patterns()), before)


def test_a_head_adds_outputs_that_are_small_at_first(stack: DBN):
    network = stack.network(outputs=3, seed=1)
    with torch.no_grad():
        outputs = network(torch.rand(10, 8))
    assert outputs.shape == (10, 3)
    assert float(outputs.abs().max()) < 0.2
    same, other = (stack.network(outputs=3, seed=seed) for seed in (1, 2))
    name = "head.weight"
    assert torch.equal(network.state_dict()[name], same.state_dict()[name])
    assert not torch.equal(network.state_dict()[name], other.state_dict()[name])


def test_building_a_network_leaves_pytorch_random_numbers_alone(stack: DBN):
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    stack.network(outputs=2, drop_connect=0.5)
    assert torch.equal(torch.rand(1), expected)


def test_drop_connect_keeps_the_mean_and_evaluates_with_all_weights():
    layer = DropConnectLinear(400, 3, 0.25)
    row = torch.ones(1, 400)
    with torch.no_grad(), torch.random.fork_rng():
        nn.init.constant_(layer.weight, 0.01)
        nn.init.zeros_(layer.bias)
        torch.manual_seed(0)
        drawn = torch.stack([layer(row) for _ in range(300)])
        layer.eval()
        assert layer(row).tolist()[0] == pytest.approx([4.0, 4.0, 4.0], rel=1e-5)
    assert float(drawn.mean()) == pytest.approx(4.0, rel=0.02)
    # variance of a sum of 400 weights of 0.01 / 0.75, each there with chance 0.75
    expected = 400 * (0.01 / 0.75) ** 2 * 0.75 * 0.25
    assert float(drawn.var()) == pytest.approx(expected, rel=0.25)


def tied_stack(seed: int = 0) -> tuple[DBN, RBM]:
    """Two layers of which the upper is the lower turned over: together they are the lower one."""
    rng = torch.Generator().manual_seed(seed)
    weights = torch.randn(3, 4, generator=rng)
    b, c = torch.randn(4, generator=rng), torch.randn(3, generator=rng)
    lower, upper = BernoulliMachine(weights, b, c), BernoulliMachine(weights.T, c, b)
    layers = [
        RBM(hidden_units=machine.hidden_units).set_learned(machine, machine.base(), [])
        for machine in (lower, upper)
    ]
    config = DBNConfig((RBMConfig(hidden_units=3), RBMConfig(hidden_units=4)))
    return DBN(config).set_learned(layers), layers[0]


def test_the_lower_bound_is_exact_where_the_upward_pass_is():
    dbn, rbm = tied_stack()
    rows = np.array([[0, 0, 0, 0], [1, 0, 1, 1], [1, 1, 1, 1]], np.float32)
    exact = rbm.score_samples(rows)
    bound = dbn.lower_bound(rows, samples=4000)
    np.testing.assert_allclose(bound, exact, atol=0.06)


def test_the_lower_bound_lies_below_the_exact_likelihood():
    dbn, rbm = tied_stack()
    top = dbn.layers_[1].machine_
    other = BernoulliMachine(top.weights * 0.3, top.visible_bias + 0.5, top.hidden_bias - 1.0)
    dbn.layers_[1].set_learned(other, other.base(), [])
    hidden = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    chances = np.exp(dbn.layers_[1].score_samples(hidden))
    assert chances.sum() == pytest.approx(1.0, rel=1e-4)
    for row in ([0.0, 0, 0, 0], [1, 0, 1, 0], [0, 1, 1, 1]):
        v = torch.tensor([row])
        given = rbm.machine_.log_conditional(v.expand(8, 4), hidden).exp().numpy()
        exact = math.log(float((chances * given).sum()))
        bound = float(dbn.lower_bound(v, samples=3000)[0])
        assert exact - 4.0 < bound < exact + 0.02


def test_the_same_seed_gives_the_same_stack():
    layers = (RBMConfig(hidden_units=4, epochs=2), RBMConfig(hidden_units=3, epochs=2))
    one, two = (DBN(layers=layers, seed=5).fit(two_patterns()) for _ in range(2))
    other = DBN(layers=layers, seed=6).fit(two_patterns())
    for first, second, third in zip(one.layers_, two.layers_, other.layers_, strict=True):
        assert np.array_equal(first.components_, second.components_)
        assert not np.array_equal(first.components_, third.components_)


def test_held_out_rows_are_watched_in_every_layer():
    random = np.random.default_rng(0)
    rows, other = (random.random((30, 8)).round() for _ in range(2))
    layers = (RBMConfig(hidden_units=4, epochs=2), RBMConfig(hidden_units=3, epochs=2))
    for dbn in (DBN(layers=layers).fit(rows, held_out=other), DBN(layers=layers).fit(rows)):
        for layer in dbn.layers_:
            assert all(math.isfinite(r.free_energy_gap or math.nan) for r in layer.history_)


def test_scikit_learn_clones_a_stack():
    from sklearn.base import clone

    dbn = DBN(layers=(LAYER, LAYER), seed=3)
    copy: Any = clone(dbn)
    assert copy.get_params() == dbn.get_params()
    assert "layers_" not in copy.__dict__


def test_layers_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="layers must name at least one"):
        DBN(layers=())
    with pytest.raises(ValueError, match="layer 1 has gaussian visible units"):
        DBN(layers=(LAYER, RBMConfig(visible="gaussian")))
    small = BernoulliMachine(torch.zeros(3, 2), torch.zeros(2), torch.zeros(3))
    with pytest.raises(ValueError, match="layer 1 has 2 visible units, but layer 0 has 3 hidden"):
        feed_forward([small, small])
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\), got 1.0"):
        feed_forward([small], dropout_share=1.0)
    with pytest.raises(ValueError, match="column 0 holds 300"):
        DBN(layers=(LAYER,)).fit([[300.0]])


def test_what_was_not_fitted_says_so():
    with pytest.raises(NotFittedError, match="this DBN is not fitted yet"):
        DBN().transform(two_patterns())


def test_each_epoch_of_each_layer_is_told():
    told: list[tuple[int, int, np.ndarray]] = []

    def watch(record: EpochRecord, rbm: RBM, below: Sequence[RBM]) -> None:
        told.append((len(below), record.epoch, rbm.components_.copy()))
        assert rbm.history_[-1] == record
        assert [layer.config.hidden_units for layer in below] == [6] * len(below)

    layers = (replace(LAYER, epochs=2), replace(LAYER, epochs=3))
    watched = DBN(layers=layers).fit(two_patterns(), on_epoch=[watch])
    plain = DBN(layers=layers).fit(two_patterns())
    assert [(layer, epoch) for layer, epoch, _ in told] == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]
    assert not np.array_equal(told[0][2], told[1][2])
    for layer, last in ((0, 1), (1, -1)):
        np.testing.assert_array_equal(told[last][2], watched.layers_[layer].components_)
        np.testing.assert_array_equal(told[last][2], plain.layers_[layer].components_)
