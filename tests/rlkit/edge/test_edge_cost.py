"""The cost of an inference, against numbers worked out by hand."""

import json
import pickle
from collections import OrderedDict
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from rlkit.edge.body import Body, GRUCell, LSTMCell, body_of
from rlkit.edge.cost import HOROWITZ_45_NM, Layer, Technology, cost_of, layers_of
from rlkit.policies import find_policy, load_policy
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.pick_policy import PickNetworkConfig, PickPolicy
from rlkit_agents.q_policy import HeadConfig, QPolicy

SHAPE = (2, 4, 6)


def tiny() -> Body:
    """A convolution from (2, 4, 6) to (3, 2, 3), then a dense layer from 18 numbers to 5."""
    torch.manual_seed(0)
    layers = [("conv", nn.Conv2d(2, 3, 2, 2)), ("relu", nn.ReLU()), ("flatten", nn.Flatten())]
    return Body(nn.Sequential(OrderedDict(layers)), None, nn.Linear(18, 5)).requires_grad_(False)


def keep(layer: nn.Module, count: int) -> None:
    """Set all but `count` weights of a layer to zero."""
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    layer.weight.fill_(1.0).flatten()[count:] = 0.0


def test_layers_are_counted_as_by_hand() -> None:
    # 3 filters of 2 * 2 * 2 weights, each used at the 2 * 3 pixels of the output: 24 * 6 = 144.
    convolution = Layer("torso.conv", "convolution", 24, 24, 3, 144, 144, 2 * 4 * 6, 3 * 2 * 3)
    dense = Layer("head", "dense", 90, 90, 5, 90, 90, 18, 5)
    assert layers_of(tiny(), SHAPE) == [convolution, dense]


@pytest.mark.parametrize(
    ("bits", "memory", "weight_pj", "activation_pj", "arithmetic_pj"),
    [
        # Weights (24 + 90) * 4 bytes, biases 8 * 4: 488 bytes. A DRAM's byte takes 640 / 4 pJ, one
        # of the large cache 100 / 8. Activations 48 + 18 and 18 + 5: 89 * 4 bytes at 20 / 8 pJ.
        # 144 + 90 = 234 multiply-accumulates at 3.7 + 0.9 pJ.
        ((32, 32), "dram", 488 * 160, 356 * 2.5, 234 * 4.6),
        ((32, 32), "sram-1MB", 488 * 12.5, 356 * 2.5, 234 * 4.6),
        # Weights 24 + 90 bytes, biases still 8 * 4: 146 bytes. 0.2 + 0.1 pJ each.
        ((8, 8), "dram", 146 * 160, 89 * 2.5, 234 * 0.3),
        # Weights alone have 8 bits: moved as such, computed with as floats.
        ((8, 32), "dram", 146 * 160, 356 * 2.5, 234 * 4.6),
    ],
)
def test_energy_is_that_worked_out_by_hand(
    bits: tuple[int, int],
    memory: str,
    weight_pj: float,
    activation_pj: float,
    arithmetic_pj: float,
) -> None:
    cost = cost_of(
        layers_of(tiny(), SHAPE), weight_bits=bits[0], activation_bits=bits[1], weights_in=memory
    )
    assert cost.parameters == 24 + 3 + 90 + 5
    assert cost.multiply_accumulates == 234
    assert cost.weight_bytes == (488 if bits[0] == 32 else 146)
    assert cost.activation_bytes == (356 if bits[1] == 32 else 89)
    assert cost.weight_microjoules == pytest.approx(weight_pj * 1e-6)
    assert cost.activation_microjoules == pytest.approx(activation_pj * 1e-6)
    assert cost.memory_microjoules == pytest.approx((weight_pj + activation_pj) * 1e-6)
    assert cost.arithmetic_microjoules == pytest.approx(arithmetic_pj * 1e-6)
    total = weight_pj + activation_pj + arithmetic_pj
    assert cost.energy_microjoules == pytest.approx(total * 1e-6)


@pytest.mark.parametrize(
    ("kept", "bits", "stored"),
    [
        (9, 32, (9 * 32 + 9 * 8) // 8 + 20),  # 9 positions of 8 bits are less than a map of 90
        (60, 32, 252 + 20),  # 60 * 32 + 90 of the map are 2,010 bits: 251.25 bytes
        (9, 8, (9 * 8 + 9 * 8) // 8 + 20),
        (60, 8, 72 + 20),  # 60 * 8 + 90 are 570 bits: 71.25 bytes
        (85, 8, 90 + 20),  # 85 * 8 + 90 are 770 bits: all 90 weights take but 720
        (90, 32, 360 + 20),
        (0, 32, 20),
    ],
)
def test_pruned_layers_store_what_is_kept_and_where(kept: int, bits: int, stored: int) -> None:
    body = tiny()
    keep(body.head, kept)
    assert layers_of(body, SHAPE)[1].stored_bytes(bits) == stored


def test_pruning_takes_away_the_energy_of_what_is_pruned() -> None:
    body = tiny()
    keep(body.torso.get_submodule("conv"), 4)
    keep(body.head, 9)
    cost = cost_of(layers_of(body, SHAPE), weight_bits=8, activation_bits=8)
    assert (cost.parameters, cost.kept_weights) == (122, 13)
    # 4 weights at 6 pixels, and 9; in whole there are 234.
    assert (cost.kept_multiply_accumulates, cost.multiply_accumulates) == (4 * 6 + 9, 234)
    # Convolution: 4 * 8 bits, and a map of 24, less than 4 * 8, are 7 bytes; biases 12.
    # Dense: 9 * 8 bits, and as many of positions, less than a map of 90, are 18 bytes; biases 20.
    assert [each.weight_bytes for each in cost.layers] == [7 + 12, 18 + 20]
    assert cost.weight_microjoules == pytest.approx(57 * 160e-6)
    assert cost.arithmetic_microjoules == pytest.approx(33 * 0.3e-6)
    assert cost.activation_microjoules == pytest.approx(89 * 2.5e-6)  # as before


@given(
    kept=st.integers(0, 90),
    fewer=st.integers(0, 90),
    bits=st.sampled_from([(32, 32), (8, 32), (8, 8)]),
)
def test_pruning_more_never_costs_more(kept: int, fewer: int, bits: tuple[int, int]) -> None:
    def energy(count: int) -> float:
        layer = Layer("head", "dense", 90, count, 5, 90, count, 18, 5)
        return cost_of([layer], weight_bits=bits[0], activation_bits=bits[1]).energy_microjoules

    assert energy(min(kept, fewer)) <= energy(max(kept, fewer))


def test_recurrent_cells_are_counted() -> None:
    flat = nn.Flatten()
    lstm = LSTMCell(4, nn.Linear(5, 16), nn.Linear(4, 16))
    gru = GRUCell(4, nn.Linear(5, 12), nn.Linear(4, 12, bias=False))
    assert layers_of(Body(flat, lstm, nn.Linear(4, 2)), (5,)) == [
        Layer("cell.input", "dense", 80, 80, 16, 80, 80, 5, 16),
        Layer("cell.hidden", "dense", 64, 64, 16, 64, 64, 4, 16),
        Layer("head", "dense", 8, 8, 2, 8, 8, 4, 2),
    ]
    assert layers_of(Body(flat, gru, nn.Identity()), (5,)) == [
        Layer("cell.input", "dense", 60, 60, 12, 60, 60, 5, 12),
        Layer("cell.hidden", "dense", 48, 48, 0, 48, 48, 4, 12),
    ]


def test_the_shipped_boxing_policy_has_the_layers_of_its_torso() -> None:
    policy = load_policy(find_policy("boxing")).policy
    assert policy.observation_space.shape == (4, 42, 42)
    layers = layers_of(body_of(policy), (4, 42, 42))
    # compact: 32 6x6/3, then 64 4x4/2, then 256 units; 18 actions.
    first = (42 - 6) // 3 + 1
    second = (first - 4) // 2 + 1
    assert {each.name: each.multiply_accumulates for each in layers} == {
        "torso.conv1": 32 * 4 * 6 * 6 * first**2,
        "torso.conv2": 64 * 32 * 4 * 4 * second**2,
        "torso.dense": second**2 * 64 * 256,
        "head.linear": 256 * 18,
    }


def test_a_picture_that_is_seen_in_eight_ways_costs_eight_times_as_much() -> None:
    space, actions = gym.spaces.Box(0, 1, (2, 8, 8), np.float32), gym.spaces.Discrete(64)
    network = PickNetworkConfig((2, 3, 4), members=2)
    once, in_all_ways = (
        layers_of(body_of(PickPolicy(space, actions, network, symmetric=symmetric)), (2, 8, 8))
        for symmetric in (False, True)
    )
    for one, all_ways in zip(once, in_all_ways, strict=True):
        assert all_ways.weights == one.weights
        assert all_ways.multiply_accumulates == 8 * one.multiply_accumulates
        assert all_ways.inputs == 8 * one.inputs


def test_a_network_that_was_worked_out_elsewhere_agrees() -> None:
    # 680,770 parameters: 436 uJ of weights and 13.7 of arithmetic as floats, 109 and 0.9 as bytes.
    frames = gym.spaces.Box(0, 255, (4, 84, 84), np.uint8)
    policy = QPolicy(frames, gym.spaces.Discrete(18), NetworkConfig(), HeadConfig("expected"))
    layers = layers_of(body_of(policy), (4, 84, 84))
    floats, integers = cost_of(layers), cost_of(layers, weight_bits=8, activation_bits=8)
    assert floats.parameters == 680_770
    assert floats.weight_microjoules == pytest.approx(680_770 * 640e-6)
    assert floats.weight_microjoules == pytest.approx(436, abs=0.5)
    assert floats.arithmetic_microjoules == pytest.approx(13.7, abs=0.05)
    assert integers.weight_microjoules == pytest.approx(109, abs=0.5)
    assert integers.arithmetic_microjoules == pytest.approx(0.9, abs=0.05)


def test_another_technology_gives_other_energies() -> None:
    layers = layers_of(tiny(), SHAPE)
    usual = cost_of(layers)
    cheap = cost_of(layers, technology=replace(HOROWITZ_45_NM, dram_pj_per_32_bits=64.0))
    assert cheap.weight_microjoules == pytest.approx(usual.weight_microjoules / 10)
    assert cheap.activation_microjoules == usual.activation_microjoules
    assert cheap.to_json()["technology"]["dram_pj_per_32_bits"] == 64.0


def test_memories_have_the_published_energies() -> None:
    # pJ a byte: 640 for 4 in DRAM; 100, 20 and 10 for 8 in caches.
    assert HOROWITZ_45_NM.memories == {
        "dram": 160.0,
        "sram-1MB": 12.5,
        "sram-32KB": 2.5,
        "sram-8KB": 1.25,
    }


def test_as_json_it_is_plain_and_its_layers_sum_up() -> None:
    body = tiny()
    keep(body.head, 9)
    cost = cost_of(layers_of(body, SHAPE), weight_bits=8, weights_in="sram-1MB")
    data = cost.to_json()
    assert json.loads(json.dumps(data)) == data
    assert (data["weight_bits"], data["activation_bits"]) == (8, 32)
    assert (data["weights_in"], data["activations_in"]) == ("sram-1MB", "sram-32KB")
    first, last = data["layers"]
    assert (first["name"], first["kind"]) == ("torso.conv", "convolution")
    assert (last["weights"], last["kept"], last["weight_bytes"]) == (90, 9, 38)
    for name in (
        "multiply_accumulates",
        "kept_multiply_accumulates",
        "weight_bytes",
        "activation_bytes",
        "weight_microjoules",
        "activation_microjoules",
        "memory_microjoules",
        "arithmetic_microjoules",
        "energy_microjoules",
    ):
        assert data[name] == pytest.approx(first[name] + last[name]), name
    assert (data["parameters"], data["kept_weights"]) == (122, 24 + 9)


def test_counting_leaves_the_body_as_it_was() -> None:
    body = tiny()
    layers_of(body, SHAPE)
    pickle.dumps(body)  # a hook that stayed behind could not be saved
    with pytest.raises(RuntimeError):
        layers_of(body, (2, 1, 1))
    pickle.dumps(body)


@pytest.mark.parametrize("bits", [(16, 16), (4, 8), (8, 16), (32, 8)])
def test_other_bits_are_refused(bits: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"got {bits[0]} and {bits[1]}"):
        cost_of([], weight_bits=bits[0], activation_bits=bits[1])


def test_unknown_memories_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'flash'; known: dram, sram-1MB, sram-32KB, sram-8KB"):
        cost_of([], weights_in="flash")


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_impossible_energies_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=f"int8_add_pj .* got {value}"):
        Technology(int8_add_pj=value)
