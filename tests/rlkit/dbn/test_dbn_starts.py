"""What stacks are compared with: other starts, other negative phases, few labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch import nn

from rlkit.dbn import few_labels, negative_phases
from rlkit.dbn.dbn import DBN
from rlkit.dbn.few_labels import CONTESTANTS, FewLabelsConfig
from rlkit.dbn.initialisation_tour import (
    STARTS,
    TourConfig,
    draw_gradients,
    draw_losses,
    gradient_norms,
    summarise,
    tour,
)
from rlkit.dbn.likelihood import LogPartition, exact_log_partition, log_likelihood
from rlkit.dbn.machine import BernoulliMachine
from rlkit.dbn.negative_phases import PHASES, NegativePhasesConfig
from rlkit.dbn.rbm_config import RBMConfig
from rlkit.dbn.starts import DRAWN, PRETRAINED, drawn_network, started_network

LAYER = RBMConfig(hidden_units=6, epochs=2, batch_size=10, held_out_share=0.1)


def bars(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of 4 x 4 with one bright column, and which it is."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    random.shuffle(labels)
    pictures = random.random((count, 4, 4)) < 0.05
    pictures[np.arange(count), :, labels] = True
    return pictures.reshape(count, 16).astype(np.float32), labels


@pytest.mark.parametrize("name", DRAWN)
def test_drawn_networks_have_weights_of_their_kind(name: str):
    network = drawn_network(name, (400, 300, 200), 10, seed=0)
    units, scheme = DRAWN[name]
    assert sum(isinstance(layer, units) for layer in network) == 2
    again = drawn_network(name, (400, 300, 200), 10, seed=0)
    assert all(map(torch.equal, network.parameters(), again.parameters()))
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    for (inputs, size), layer in zip(pairwise((400, 300, 200, 10)), linear, strict=True):
        assert not layer.bias.any()
        deviation = {
            None: 0.01,
            "xavier_uniform": (2 / (inputs + size)) ** 0.5,
            "he": (2 / inputs) ** 0.5,
        }.get(scheme)
        if deviation is not None:
            assert float(layer.weight.detach().std()) == pytest.approx(deviation, rel=0.05)
        else:  # rows of unit length that are at right angles
            product = layer.weight @ layer.weight.T
            torch.testing.assert_close(product, torch.eye(size), atol=1e-4, rtol=0)


def test_a_pretrained_network_is_the_stacks_own():
    rows, _ = bars(60)
    dbn = DBN(layers=(LAYER, LAYER)).fit(rows)
    network = started_network(PRETRAINED, dbn, 4, seed=0)
    np.testing.assert_allclose(
        network[:-1](torch.from_numpy(rows)).detach().numpy(), dbn.transform(rows), atol=1e-6
    )
    drawn = started_network("ReLU, He", dbn, 4, seed=0)
    assert [layer.weight.shape for layer in drawn if isinstance(layer, nn.Linear)] == [
        (6, 16),
        (6, 6),
        (4, 6),
    ]


def test_gradients_of_a_network_of_one_layer_are_those_worked_out_by_hand():
    layer = nn.Linear(2, 2)
    network = nn.Sequential(layer)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
    # Both classes have a chance of one half, so the gradient of the weights is -+ x / 2.
    rows, labels = torch.tensor([[3.0, 4.0]]), torch.tensor([1])
    assert gradient_norms(network, rows, labels) == pytest.approx([(2 * 2.5**2) ** 0.5])
    assert layer.weight.grad is None


def test_the_tour_tells_of_every_start_and_goes_on_where_it_was_broken_off():
    config = TourConfig(hidden_layers=2, layer=LAYER, epochs=3, seeds=(0, 1))
    learnt, test = bars(80), bars(40, seed=1)
    result = tour(config, learnt, test)
    assert [(row["start"], row["seed"]) for row in result["rows"]] == [
        (start, seed) for seed in (0, 1) for start in STARTS
    ]
    first = result["rows"][0]
    assert len(first["gradient_norms"]) == 3
    assert len(first["adam"]["losses"]) == 3
    assert 0.0 <= first["sgd"]["accuracy"] <= 1.0
    seen: list[Mapping[str, Any]] = []
    again = tour(config, learnt, test, done=result["rows"][:8], on_row=seen.append)
    assert again["rows"] == result["rows"]
    assert seen == result["rows"][8:]
    told = summarise(result["rows"], config)
    assert told[0]["head_gradient"] == pytest.approx(
        np.mean([row["gradient_norms"][-1] for row in result["rows"] if row["start"] == PRETRAINED])
    )
    json.dumps(result)
    for drawn in (draw_gradients(result), draw_losses(result, "adam")):
        words = [each.text for each in ElementTree.fromstring(drawn).iter() if each.text]
        assert all(any(start in word for word in words) for start in STARTS)


def test_gradients_fade_on_the_way_down_through_sigmoids_but_not_through_rectified_units():
    rows, labels = bars(100)
    of_sigmoids, of_relus = (
        gradient_norms(
            drawn_network(name, (16, *[64] * 6), 4, seed=0),
            torch.from_numpy(rows),
            torch.from_numpy(labels),
        )
        for name in ("sigmoid, Xavier", "ReLU, He")
    )
    assert of_sigmoids[0] < 1e-3 * of_sigmoids[-1]
    assert of_relus[0] > 0.1 * of_relus[-1]


def test_few_labels_are_balanced_and_apart_from_those_that_judge(monkeypatch: pytest.MonkeyPatch):
    rows, labels = bars(200)
    rows = np.unique(rows + np.arange(200)[:, None] * 1e-6, axis=0)  # so that rows can be told
    given: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def reached(contestant, dbn, learnt, judged, epochs, seed):
        given.append((learnt[0], learnt[1], judged[0]))
        return 0.5

    monkeypatch.setattr(few_labels, "_reached", reached)
    config = FewLabelsConfig(layers=(LAYER,), labels={20: 1, 100: 1}, test_rows=40, seeds=(0, 1))
    result = few_labels.compare(config, np.clip(rows, 0, 1), labels)
    assert len(result["rows"]) == 2 * 2 * len(CONTESTANTS)
    for learnt, learnt_labels, judged in given:
        assert len(judged) == 40
        assert not {row.tobytes() for row in learnt} & {row.tobytes() for row in judged}
        assert np.ptp(np.bincount(learnt_labels)) <= 1
    assert {len(learnt) for learnt, *_ in given} == {20, 100}


def test_a_stack_helps_where_few_rows_have_labels():
    rows, labels = bars(400)
    layer = replace(LAYER, hidden_units=16, epochs=30, learning_rate=0.2)
    config = FewLabelsConfig(layers=(layer,), labels={8: 40}, test_rows=100, seeds=(0,))
    result = few_labels.compare(config, rows, labels)
    reached = {row["contestant"]: row["accuracy"] for row in result["rows"]}
    assert set(reached) == set(CONTESTANTS)
    assert reached[PRETRAINED] > 0.9
    assert reached[PRETRAINED] > reached["sigmoid, small"]


def test_how_far_others_are_behind_is_a_mean_over_the_same_seeds():
    rows = [
        {"contestant": contestant, "labels": 8, "seed": seed, "accuracy": accuracy}
        for contestant, found in ((PRETRAINED, (0.8, 0.9)), ("ReLU, He", (0.7, 0.6)))
        for seed, accuracy in enumerate(found)
    ]
    told = {row["contestant"]: row for row in few_labels.summarise(rows)}
    assert told[PRETRAINED]["behind"][0] == 0.0
    assert told["ReLU, He"]["behind"][0] == pytest.approx(0.2)
    assert told["ReLU, He"]["accuracy"][0] == pytest.approx(0.65)


def test_too_few_rows_are_refused():
    rows, labels = bars(50)
    with pytest.raises(ValueError, match="50 rows are too few to test on 40 and learn from 20"):
        few_labels.compare(FewLabelsConfig(labels={20: 1}, test_rows=40), rows, labels)
    with pytest.raises(ValueError, match="50 rows are too few to hold out 50"):
        negative_phases.compare(NegativePhasesConfig(test_rows=50), rows)
    with pytest.raises(ValueError, match="labels must name numbers of rows"):
        FewLabelsConfig(labels={1: 5})
    for config in (FewLabelsConfig, NegativePhasesConfig, TourConfig):
        with pytest.raises(ValueError, match="seeds names none"):
            config(seeds=())


def test_negative_phases_are_judged_by_the_likelihood_of_held_out_rows(
    monkeypatch: pytest.MonkeyPatch,
):
    rows, _ = bars(120)
    made: list[RBMConfig] = []
    fit = negative_phases.RBM.fit

    def noted(self, learnt, *args, **kwargs):
        made.append(self.config)
        return fit(self, learnt, *args, **kwargs)

    monkeypatch.setattr(negative_phases.RBM, "fit", noted)
    config = NegativePhasesConfig(rbm=replace(LAYER, held_out_share=0.0), test_rows=20, seeds=(3,))
    result = negative_phases.compare(config, rows)
    assert [row["phase"] for row in result["rows"]] == list(PHASES)
    assert [(each.negative_chains, each.gibbs_steps, each.epochs) for each in made] == [
        ("data", 1, 2),
        ("persistent", 1, 2),
        ("data", 25, 2),
    ]
    test = rows[np.random.default_rng(3).permutation(120)[:20]]
    rbm = negative_phases.RBM(made[0]).fit(rows[np.random.default_rng(3).permutation(120)[20:]])
    exact = exact_log_partition(rbm.machine_)
    assert isinstance(rbm.machine_, BernoulliMachine)
    nats = float(log_likelihood(rbm.machine_, torch.from_numpy(test), exact).mean())
    assert result["rows"][0]["nats"] == pytest.approx(nats, abs=1e-4)
    again = negative_phases.compare(config, rows, done=result["rows"])
    assert again["rows"] == result["rows"]
    told = negative_phases.summarise(result["rows"])
    assert told[0]["nats"] == (pytest.approx(nats, abs=1e-4), None)


def test_the_error_of_the_partition_function_is_brought_down(monkeypatch: pytest.MonkeyPatch):
    rows, _ = bars(60)
    tried: list[int] = []

    def log_partition(self, *, temperatures: int, seed: int) -> LogPartition:
        tried.append(temperatures)
        return LogPartition(1.0, 400.0 / temperatures, 10.0)

    monkeypatch.setattr(negative_phases.RBM, "log_partition", log_partition)
    config = NegativePhasesConfig(rbm=LAYER, test_rows=20, seeds=(0,), temperatures=100)
    result = negative_phases.compare(config, rows)
    assert tried == [100, 400, 1_600] * 3
    assert result["rows"][0]["temperatures"] == 1_600
    assert result["rows"][0]["standard_error"] == 0.25
    tried.clear()
    negative_phases.compare(replace(config, largest_error=0.0), rows)
    assert tried == [100 * 4**power for power in range(6)] * 3  # and no more
