"""Pretraining of torsos: units that fit, columns that never change, features that agents start
with, and quality on what was held out."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from rlkit.callbacks.callback import Callback
from rlkit.dbn.dbn import DBN
from rlkit.dbn.likelihood import exact_log_partition
from rlkit.dbn.pretrain import (
    PretrainConfig,
    fitting_units,
    learn,
    material,
    pretrain,
    torso_network,
    torso_notes,
)
from rlkit.dbn.quality import likelihood, measure, stack_of
from rlkit.dbn.rbm import RBM
from rlkit.dbn.rbm_config import RBMConfig
from rlkit.dbn.rbm_file import load, save
from rlkit.dbn.rbm_watch import EpochRecord
from rlkit.dbn.torso import dense_layers
from rlkit.observations import PlayConfig, write_array
from rlkit.recipe import EvaluationSchedule, Recipe
from rlkit.recipes import find_recipe, with_algorithm
from rlkit.training import Training, train
from rlkit_agents.dqn import DQNConfig
from rlkit_agents.networks import NetworkConfig

SIZES = (6, 4)
QUICK = PretrainConfig(play=PlayConfig(count=300), epochs=3, batch_size=20)


def recipe(**network: Any) -> Recipe:
    start = find_recipe("cartpole")
    assert isinstance(start.algorithm, DQNConfig)
    chosen = NetworkConfig(**{"torso": "mlp", "hidden_sizes": SIZES, **network})
    return replace(
        start,
        algorithm=replace(start.algorithm, network=chosen),
        steps=500,
        minutes=None,
        checkpoint_every=1_000,
        evaluation=EvaluationSchedule(every=0, final_episodes=0),
    )


class First(Callback):
    """Keeps what the torso makes of observations before anything is learned."""

    def __init__(self, observations: np.ndarray) -> None:
        self.observations = torch.from_numpy(observations)
        self.features = np.empty(0)

    def on_start(self, training: Training) -> None:
        torso: Any = training.algorithm.policy.network.torso
        with torch.no_grad():
            self.features = torso(self.observations).numpy()


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_an_agent_starts_with_the_stacks_features(tmp_path: Path, activation: str):
    wanted = recipe(activation=activation)
    made = pretrain(wanted, QUICK)
    assert not any("differ" in note for note in made.notes)
    assert made.observations.shape == (300, 4)
    assert made.dbn.config.layers[0].visible == "gaussian"
    assert [layer.config.hidden_units for layer in made.dbn.layers_] == list(SIZES)
    assert made.quality.rows == 30
    assert made.spread.rows == 300
    assert made.coverage is None
    file = tmp_path / "stack.safetensors"
    save(file, made.dbn, provenance=made.provenance)
    first = First(made.observations)
    train(replace(wanted, pretrained_torso=str(file)), runs=str(tmp_path), callbacks=[first])
    chances = made.dbn.transform(made.observations)
    expected = chances if activation == "sigmoid" else 2.0 * chances - 1.0
    np.testing.assert_allclose(first.features, expected, atol=1e-5)


def test_the_same_seed_gives_the_same_stack_and_provenance_says_how():
    one, two = (pretrain(recipe(activation="sigmoid"), QUICK) for _ in range(2))
    for a, b in zip(dense_layers(one.dbn), dense_layers(two.dbn), strict=True):
        assert torch.equal(a[0], b[0])
    told = json.loads(json.dumps(one.provenance))
    assert told["environment"]["id"] == "CartPole-v1"
    assert told["activation"] == "sigmoid"
    assert told["hidden_sizes"] == list(SIZES)
    assert told["pretraining"]["play"]["count"] == 300


def test_features_that_differ_are_told():
    notes = torso_notes(NetworkConfig(activation="sigmoid", layer_norm="dense"))
    assert len(notes) == 1
    assert "normalises" in notes[0]
    (note,) = torso_notes(NetworkConfig(activation="relu"))
    assert "its features differ" in note
    unlearned = replace(QUICK, epochs=0)
    told = pretrain(recipe(activation="relu"), unlearned).notes
    assert told[0] == note
    assert told[1].startswith("100% of the top layer's features hardly change")
    taught = replace(QUICK, epochs=60, learning_rate=0.3, gaussian_learning_rate=0.05)
    assert pretrain(recipe(activation="sigmoid"), taught).notes == ()


def test_torsos_that_are_no_stacks_are_refused():
    with pytest.raises(ValueError, match='torso "small", whose convolutions'):
        torso_network(recipe(torso="small"))
    with pytest.raises(ValueError, match="noisy layers"):
        torso_network(recipe(noisy=True))
    with pytest.raises(ValueError, match="policy_kwargs"):
        torso_network(with_algorithm(find_recipe("cartpole"), "sb3:DQN"))


@pytest.mark.parametrize(
    ("space", "units"),
    [
        (gym.spaces.Box(0, 255, (3,), np.uint8), "bernoulli"),
        (gym.spaces.Box(0, 1, (3,), np.int8), "bernoulli"),
        (gym.spaces.Box(0, 1, (3,), np.float32), "bernoulli"),
        (gym.spaces.Box(-1, 1, (3,), np.float32), "gaussian"),
        (gym.spaces.Box(0, np.inf, (3,), np.float32), "gaussian"),
        (gym.spaces.Box(0, 3, (3,), np.int32), "gaussian"),
    ],
)
def test_units_fit_the_observations(space: gym.Space, units: str):
    assert fitting_units(space) == units


def sensors() -> np.ndarray:
    """Two that move together, between three that stand still."""
    rows = np.full((200, 5), 7.0, np.float32)
    rows[:, 2] = 1e5
    rows[:, 4] = -0.1
    shared = np.random.default_rng(0).standard_normal((200, 1))
    noise = 0.3 * np.random.default_rng(1).standard_normal((200, 2))
    rows[:, [1, 3]] = 300.0 + 10.0 * (shared + noise)
    return rows


def test_columns_that_never_change_have_no_weight(tmp_path: Path):
    rows = sensors()
    given = material(rows, "gaussian")
    assert given.learnt.shape == (180, 2)
    assert given.shape == (2,)
    np.testing.assert_array_equal(given.varying, [False, True, False, True, False])
    widths = []

    def watch(record: EpochRecord, rbm: RBM, below: Sequence[RBM]) -> None:
        widths.append(rbm.n_features_in_)

    taught = replace(QUICK, epochs=60, learning_rate=0.3, gaussian_learning_rate=0.05)
    dbn = learn(given, taught.stack(SIZES, given.visible), [watch])
    assert set(widths) == {2, 6}
    assert dbn.n_features_in_ == 5
    save(tmp_path / "stack.safetensors", dbn)
    again = load(tmp_path / "stack.safetensors")
    assert isinstance(again, DBN)
    other = rows.copy()
    other[:, [0, 2, 4]] = 0.0
    features = again.transform(rows)
    np.testing.assert_array_equal(again.transform(other), features)
    assert features.std(axis=0).max() > 0.01
    back = again.inverse_transform(features)
    np.testing.assert_array_equal(back[:, [0, 2, 4]], rows[:, [0, 2, 4]])
    (weight, _), _ = dense_layers(again)
    assert not weight[:, [0, 2, 4]].any()
    assert weight[:, [1, 3]].all()
    quality = measure(dbn, rows[:20], rows[20:])
    assert 0.0 < quality.unexplained < 1.0
    assert quality.layers[0].reconstruction_error < quality.layers[0].independent_error


def test_bits_that_never_change_stay():
    rows = np.random.default_rng(0).integers(0, 2, (50, 3)).astype(np.int8)
    rows[:, 1] = 1
    given = material(rows, "bernoulli")
    assert given.varying.all()
    assert learn(given, QUICK.stack((2,), given.visible)).n_features_in_ == 3


def test_what_cannot_be_learned_from_is_refused():
    with pytest.raises(ValueError, match="no observation differs"):
        material(np.ones((20, 3)), "gaussian")
    with pytest.raises(ValueError, match="4 observations are too few"):
        material(sensors()[:4], "gaussian")
    with pytest.raises(ValueError, match="Bernoulli units need"):
        material(sensors(), "bernoulli")
    with pytest.raises(ValueError, match="in a Box, got Discrete"):
        fitting_units(gym.spaces.Discrete(3))
    wrong: dict[str, Any] = {"held_out_share": 0.0, "epochs": -1, "seed": -1, "learning_rate": 0.0}
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=name):
            PretrainConfig(**{name: value})


def test_pixels_are_scaled_and_keep_their_shape():
    pictures = np.random.default_rng(0).integers(0, 256, (40, 2, 5, 4), np.uint8)
    given = material(pictures, "bernoulli", held_out_share=0.25)
    assert given.shape == (2, 5, 4)
    np.testing.assert_array_equal(given.held_out, pictures[:10].reshape(10, -1) / np.float32(255))


def test_coverage_of_a_reference_is_told(tmp_path: Path):
    play = replace(QUICK, play=PlayConfig(count=200))
    seen = pretrain(recipe(activation="sigmoid"), play).observations
    for name, rows in (("same", seen), ("elsewhere", seen + np.float32(50.0))):
        write_array(tmp_path / f"{name}.npz", "observations", rows)
    same, elsewhere = (
        pretrain(
            recipe(activation="sigmoid"), replace(play, reference=(str(tmp_path / f"{name}.npz"),))
        ).coverage
        for name in ("same", "elsewhere")
    )
    assert same is not None
    assert elsewhere is not None
    assert same.neighbours > 0.9
    assert elsewhere.neighbours == 0.0


def two_patterns() -> np.ndarray:
    return np.repeat(np.kron(np.eye(2, dtype=np.float32), np.ones(3, np.float32)), 20, axis=0)


def test_quality_of_a_machine_that_knows_its_rows_is_told_from_one_that_does_not():
    config = RBMConfig(hidden_units=4, batch_size=8, epochs=80, learning_rate=0.3)
    rows = two_patterns()
    known = measure(stack_of(RBM(config).fit(rows)), rows, rows)
    new = measure(stack_of(RBM(replace(config, epochs=0)).fit(rows)), rows)
    assert known.unexplained < 0.2 < 0.9 < new.unexplained
    (layer,), (blank,) = known.layers, new.layers
    assert layer.reconstruction_error < 0.5 * layer.independent_error
    assert layer.independent_error == pytest.approx(6 * np.log(2.0), rel=0.02)
    assert layer.free_energy_gap == 0.0
    assert blank.free_energy_gap is None
    assert (layer.constant_features, blank.constant_features) == (
        0.0,
        0.0,
    ) or blank.constant_features
    assert blank.constant_features > layer.constant_features


def test_likelihoods_are_those_of_all_states():
    config = RBMConfig(hidden_units=4, batch_size=8, epochs=80, learning_rate=0.3)
    rows = two_patterns()
    rbm = RBM(config).fit(rows)
    told = likelihood(stack_of(rbm), rows)
    machine = rbm.machine_
    states = ((np.arange(64)[:, None] >> np.arange(6)) & 1).astype(np.float32)
    everything = np.logaddexp.reduce(-rbm.free_energy(states).astype(np.float64))
    assert told.nats == pytest.approx(float((-rbm.free_energy(rows) - everything).mean()), abs=1e-4)
    assert told.partition == exact_log_partition(machine)
    assert told.partition.exact
    assert not told.is_bound
    assert told.states
    assert told.to_json()["partition"]["effective_chains"] is None
    assert told.independent_nats == pytest.approx(-6 * np.log(2.0), rel=0.02)
    assert told.independent_nats < told.nats < -np.log(2.0) + 1e-6  # two patterns at best
    between = likelihood(stack_of(rbm), rows * 0.5)
    assert not between.states


def test_the_likelihood_of_a_stack_is_a_bound():
    config = RBMConfig(hidden_units=4, batch_size=8, epochs=60, learning_rate=0.3)
    rows = two_patterns()
    dbn = DBN(layers=(config, config)).fit(rows)
    told = likelihood(dbn, rows)
    assert told.is_bound
    assert told.nats < -np.log(2.0) + 0.05
    assert told.nats > told.independent_nats
