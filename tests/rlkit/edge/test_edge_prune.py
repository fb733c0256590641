"""Pruning takes the weights that it says, from the layers that it says, and nothing else."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rlkit.edge.body import Body, body_of
from rlkit.edge.prune import (
    apply_masks,
    choose_masks,
    masks_of,
    mean_squares,
    output_losses,
    prunable,
    sparsity_of,
)
from rlkit.recording import Recording
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.pick_policy import PickNetworkConfig, PickPolicy
from rlkit_agents.q_policy import HeadConfig, QPolicy

PICTURES = gym.spaces.Box(0, 255, (2, 22, 22), np.uint8)
NUMBERS = gym.spaces.Box(-1, 1, (5,), np.float32)


def q_body(space: gym.Space, **network: Any) -> Body:
    torch.manual_seed(0)
    actions = gym.spaces.Discrete(3)
    return body_of(QPolicy(space, actions, NetworkConfig(**network), HeadConfig("expected")))


def two_layers(first: list[list[float]], second: list[list[float]]) -> Body:
    """torso.dense with these weights, then head.linear; without biases or non-linearities."""
    layers = []
    for rows in (first, second):
        layer = nn.Linear(len(rows[0]), len(rows), bias=False)
        layer.weight.data = torch.tensor(rows)
        layers.append(layer)
    torso, head = (
        nn.Sequential(OrderedDict([(name, layer)]))
        for name, layer in zip(("dense", "linear"), layers, strict=True)
    )
    return Body(torso, None, head).eval().requires_grad_(False)


def recording_of(observations: Any, *state: Any) -> Recording:
    return Recording(np.asarray(observations), tuple(np.asarray(part) for part in state), {})


def pictures(count: int) -> Recording:
    random = np.random.default_rng(0)
    return recording_of(random.integers(0, 256, (count, *PICTURES.shape), dtype=np.uint8))


def numbers(count: int) -> Recording:
    return recording_of(np.random.default_rng(0).normal(size=(count, 5)).astype(np.float32))


def kept(body: Body, sparsity: float, method: Any, **arguments: Any) -> list[list[list[bool]]]:
    return [mask.tolist() for mask in choose_masks(body, sparsity, method, **arguments).values()]


def share_gone(mask: Tensor) -> float:
    return 1.0 - mask.float().mean().item()


def test_every_convolution_and_dense_layer_can_be_pruned():
    body = q_body(PICTURES, torso="small", memory="gru", memory_size=4, layer_norm="dense")
    assert list(prunable(body)) == [
        "torso.conv1",
        "torso.conv2",
        "torso.dense",
        "cell.input",
        "cell.hidden",
        "head.linear",
    ]


def test_magnitudes_compare_in_units_of_their_layer():
    body = two_layers([[1.0, -7.0], [5.0, 5.0]], [[0.03, -0.04], [0.05, 0.0]])
    # Root mean squares: 5 and 0.0354. Relative: .2 1.4 1 1 and .85 1.13 1.41 0.
    by_hand = [[[False, True], [True, True]], [[True, True], [True, False]]]
    assert kept(body, 0.25, "magnitude") == by_hand
    by_hand = [[[False, True], [False, True]], [[False, True], [True, False]]]
    assert kept(body, 0.5, "magnitude") == by_hand


def test_energy_asks_what_a_weight_multiplies():
    body = two_layers([[3.0, 1.0]], [[1.0]])
    recording = recording_of(np.array([[1, 10], [-1, -10]], np.float32))
    energies = {"torso.dense": 1.0, "head.linear": 1.0}
    found = kept(body, 1 / 3, "energy", recording=recording, energy_per_weight=energies)
    assert found == [[[False, True]], [[True]]]  # 3 * 1 is less than 1 * 10
    assert kept(body, 1 / 3, "magnitude") == [[[True, False]], [[True]]]


def test_energy_ranks_the_loss_of_output_per_energy():
    body = two_layers([[1.0, 0.0], [0.0, 1.0]], [[2.0, 3.0]])
    recording = recording_of(np.array([[2, 0], [0, 2]], np.float32))
    # Outputs of the first: mean squares 2 and 2, in sum 4; each of its ones brings 2 / 4.
    # The second's only output: 4 and 6, mean square 26; its weights bring 4 * 2 and 9 * 2.
    losses = output_losses(body, recording)
    torch.testing.assert_close(losses["torso.dense"], torch.tensor([[0.5, 0.0], [0.0, 0.5]]))
    torch.testing.assert_close(losses["head.linear"], torch.tensor([[8 / 26, 18 / 26]]))

    def third(**energies: float) -> list[list[list[bool]]]:
        by_name = {name.replace("_", "."): energy for name, energy in energies.items()}
        return kept(body, 0.5, "energy", recording=recording, energy_per_weight=by_name)

    dead = [[True, False], [False, True]]
    assert third(torso_dense=1.0, head_linear=1.0) == [dead, [[False, True]]]
    # 0.5 / 2 is below 8 / 26 / 1.
    assert third(torso_dense=2.0, head_linear=1.0)[1] == [[True, True]]


def test_of_scores_only_their_differences_count():
    body = two_layers([[1.0, 0.0], [0.0, 1.0]], [[10.0, 1.0], [10.0, -1.0]])
    recording = recording_of(np.array([[2, 1], [2, -1]], np.float32))
    # Scores 20 +- 1, of which only the ones tell the actions apart: mean square 1 each, in sum 2.
    losses = output_losses(body, recording)["head.linear"]
    torch.testing.assert_close(losses, torch.tensor([[200.0, 0.5], [200.0, 0.5]]))


@pytest.mark.parametrize("dear", ["torso.conv1", "torso.conv2", "torso.dense"])
def test_more_goes_from_a_layer_the_dearer_it_is(dear: str):
    body = q_body(PICTURES, torso="small", dense_size=8)
    equal = dict.fromkeys(prunable(body), 2.0)
    shares = [
        share_gone(
            choose_masks(
                body, 0.6, "energy", recording=pictures(6), energy_per_weight=equal | {dear: energy}
            )[dear]
        )
        for energy in (1.0, 2.0, 8.0)
    ]
    assert shares == sorted(shares)
    assert shares[2] > shares[0] + 0.04


@pytest.mark.parametrize(
    ("convolution", "shape"),
    [
        (nn.Conv2d(2, 3, 3, stride=2, padding=1), (2, 7, 6)),
        (nn.Conv2d(4, 2, (2, 3), dilation=2, bias=False), (4, 6, 6)),
        (nn.Conv2d(4, 6, 2, groups=2, bias=False), (4, 5, 5)),
    ],
    ids=["padded", "dilated", "grouped"],
)
def test_the_loss_of_output_is_what_a_removal_takes(convolution: nn.Conv2d, shape: Any):
    flatten = nn.Flatten()
    torch.manual_seed(1)
    given = torch.randn(300, *shape)  # more than are measured at a time
    features = flatten(convolution(given)).shape[1]
    body = Body(nn.Sequential(convolution, flatten), None, nn.Linear(features, 2))
    losses = output_losses(body, recording_of(given.numpy()))
    with torch.no_grad():
        for name, layer in prunable(body).items():
            heard = given if name == "torso.0" else body.torso(given)
            whole = layer(heard)
            flat = layer.weight.view(-1)
            counted = whole - whole.mean(1, keepdim=True) if name == "head" else whole
            size = counted.square().sum()
            for index in (0, 3, len(flat) // 2, len(flat) - 1):
                weight = flat[index].item()
                flat[index] = 0.0
                missing = (layer(heard) - whole).square().sum() / size
                flat[index] = weight
                torch.testing.assert_close(losses[name].view(-1)[index], missing)


def test_a_memory_is_measured_with_its_state():
    body = q_body(NUMBERS, torso="mlp", hidden_sizes=(4,), memory="lstm", memory_size=2)
    state = np.array([[1, 2], [3, 4]], np.float32), np.zeros((2, 2), np.float32)
    inputs, _ = mean_squares(body, recording_of(np.zeros((2, 5), np.float32), *state))
    assert inputs["cell.hidden"].tolist() == [[5.0, 10.0]]


@pytest.mark.parametrize("method", ["random", "magnitude", "energy"])
@pytest.mark.parametrize("sparsity", [0.0, 0.37, 0.9])
def test_the_share_that_was_asked_for_goes(method: Any, sparsity: float):
    body = q_body(PICTURES, torso="small", dense_size=8)
    before = copy.deepcopy(body.state_dict())
    energies = dict.fromkeys(prunable(body), 3.0)
    masks = choose_masks(body, sparsity, method, recording=pictures(3), energy_per_weight=energies)
    pruned = apply_masks(body, masks)
    weights = sum(layer.weight.numel() for layer in prunable(body).values())
    assert sparsity_of(pruned) == pytest.approx(sparsity, abs=0.51 / weights)
    assert sparsity_of(body) == 0.0
    for name, value in body.state_dict().items():
        assert torch.equal(value, before[name]), name
        if not name.endswith("weight"):
            assert torch.equal(pruned.state_dict()[name], value)
    for name, mask in masks_of(pruned).items():
        assert torch.equal(mask, masks[name])
        layer = prunable(pruned)[name]
        assert torch.equal(layer.weight[mask], prunable(body)[name].weight[mask])


def test_random_pruning_is_spread_evenly_and_hangs_on_its_seed():
    body = q_body(PICTURES, torso="small")
    first, again, other = (choose_masks(body, 0.7, "random", seed=seed) for seed in (0, 0, 1))
    magnitude = choose_masks(body, 0.7, "magnitude")
    assert all(torch.equal(first[name], again[name]) for name in first)
    for name in ("torso.conv1", "torso.conv2", "torso.dense"):
        assert share_gone(first[name]) == pytest.approx(0.7, abs=0.03)
        for another in (other, magnitude):  # independent draws agree in .7 * .7 + .3 * .3
            same = (first[name] == another[name]).float().mean().item()
            assert same == pytest.approx(0.58, abs=0.05)


@pytest.mark.parametrize("method", ["random", "magnitude", "energy"])
def test_every_action_keeps_its_best_weight(method: Any):
    body = q_body(NUMBERS, torso="mlp", hidden_sizes=(30,))
    body.get_parameter("head.linear.weight").data[1] *= 1e-4
    energies = {"torso.dense1": 1.0, "head.linear": 1e6}
    masks = choose_masks(body, 0.999, method, recording=numbers(9), energy_per_weight=energies)
    assert masks["head.linear"].sum(1).tolist() == [1, 1, 1]
    assert not masks["torso.dense1"].any()  # so that less than was asked for went
    if method == "magnitude":
        best = prunable(body)["head.linear"].weight.abs().argmax(1)
        assert torch.equal(masks["head.linear"].float().argmax(1), best)


@pytest.mark.parametrize("method", ["random", "magnitude", "energy"])
def test_what_is_gone_stays_gone(method: Any):
    body = q_body(NUMBERS, torso="mlp", hidden_sizes=(30,))
    arguments: Any = dict(
        recording=numbers(9), energy_per_weight={"torso.dense1": 1.0, "head.linear": 2.0}
    )
    half = choose_masks(body, 0.5, method, **arguments)
    less = choose_masks(apply_masks(body, half), 0.8, method, **(arguments | {"seed": 5}))
    for name, mask in less.items():
        assert not (mask & ~half[name]).any()


def test_a_picking_map_can_be_pruned():
    space = gym.spaces.Box(0, 1, (3, 8, 8), np.float32)
    policy = PickPolicy(space, gym.spaces.Discrete(128), PickNetworkConfig((2, 3, 4), members=2))
    body = body_of(policy)
    recording = recording_of(np.random.default_rng(0).random((2, 3, 8, 8), np.float32))
    energies = dict.fromkeys(prunable(body), 1.0)
    masks = choose_masks(body, 0.99, "energy", recording=recording, energy_per_weight=energies)
    assert masks["torso.network.head"].flatten(1).sum(1).tolist() == [1, 1, 1, 1]
    assert sparsity_of(apply_masks(body, masks)) == pytest.approx(0.99, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, "magnitude"), "1.0"),
        ((-0.1, "random"), "-0.1"),
        ((float("nan"), "random"), "nan"),
        ((0.5, "lottery"), "lottery"),
        ((0.5, "energy", None, {"torso.dense1": 1.0, "head.linear": 1.0}), "needs a recording"),
        ((0.5, "energy", numbers(2), None), "energy of each weight"),
        ((0.5, "energy", numbers(2), {"torso.dense1": 1.0}), r"head\.linear.*None"),
        ((0.5, "energy", numbers(2), {"torso.dense1": 0.0, "head.linear": 1.0}), "dense1.*0.0"),
        ((0.5, "energy", numbers(0), {"torso.dense1": 1.0, "head.linear": 1.0}), "empty"),
    ],
)
def test_what_cannot_be_chosen_is_refused(arguments: Any, message: str):
    body = q_body(NUMBERS, torso="mlp", hidden_sizes=(4,))
    sparsity, method, *others = arguments
    named = dict(zip(("recording", "energy_per_weight"), others, strict=False))
    with pytest.raises(ValueError, match=message):
        choose_masks(body, sparsity, method, **named)


def test_masks_that_do_not_fit_are_refused():
    body = two_layers([[1.0, 2.0]], [[1.0]])
    with pytest.raises(ValueError, match=r"torso\.conv1.*torso\.dense, head\.linear"):
        apply_masks(body, {"torso.conv1": torch.ones(1, 2, dtype=torch.bool)})
    with pytest.raises(ValueError, match=r"\(1, 2\).*\(2, 1\)"):
        apply_masks(body, {"torso.dense": torch.ones(2, 1, dtype=torch.bool)})
    with pytest.raises(ValueError, match="float32"):
        apply_masks(body, {"torso.dense": torch.ones(1, 2)})
