"""Shrinking takes whole channels, the least useful ones, and all that belongs to them."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rlkit.edge.body import Body, ExportError, body_of
from rlkit.edge.shrink import shrink, shrinkable
from rlkit.recording import Recording
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.pick_policy import PickNetworkConfig, PickPolicy
from rlkit_agents.q_policy import HeadConfig, QPolicy

PICTURES = gym.spaces.Box(0, 255, (2, 36, 36), np.uint8)
COLOURS = gym.spaces.Box(0, 255, (2, 36, 36, 3), np.uint8)
NUMBERS = gym.spaces.Box(-1, 1, (5,), np.float32)


def q_body(space: gym.Space, head: str = "expected", **network: Any) -> Body:
    torch.manual_seed(0)
    settings: Any = HeadConfig(head, atoms=5)  # pyright: ignore[reportArgumentType]
    body = body_of(QPolicy(space, gym.spaces.Discrete(3), NetworkConfig(**network), settings))
    for layer in body.modules():  # fresh norms are all ones and zeros, which would hide mistakes
        if isinstance(layer, nn.GroupNorm | nn.LayerNorm):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias)
    return body


def recording(space: gym.Space, count: int = 4, *state_sizes: int) -> Recording:
    space.seed(0)
    random = np.random.default_rng(0)
    state = tuple(random.normal(size=(count, size)).astype(np.float32) for size in state_sizes)
    shape = (0, *(space.shape or ()))
    observations = np.array([space.sample() for _ in range(count)], space.dtype)
    return Recording(observations if count else np.empty(shape, np.float32), state, {})


def outputs(body: Body, seen: Recording) -> tuple[Tensor, ...]:
    with torch.no_grad():
        return body(*seen.inputs())


def weights(body: Body) -> dict[str, tuple[int, ...]]:
    return {
        name.removesuffix(".weight"): tuple(value.shape)
        for name, value in body.named_parameters()
        if name.endswith("weight")
    }


def silence(body: Body, name: str, channels: list[int], pixels: int = 1) -> None:
    """Zero the weights, in the layer of this name, that meet these channels."""
    weight = body.get_parameter(f"{name}.weight").data
    weight.unflatten(1, (-1, pixels))[:, channels] = 0.0


@pytest.mark.parametrize("space", [PICTURES, COLOURS], ids=["grey", "colour"])
def test_without_its_dead_channels_a_body_does_the_same(space: gym.Space):
    body = q_body(space, torso="small", dense_size=10)
    for name in ("conv1", "conv2", "dense"):
        body.get_parameter(f"torso.{name}.bias").data += 1.0  # no channel is dead by itself
    before = copy.deepcopy(body.state_dict())
    silence(body, "torso.conv2", [0, 1, 5, 15])
    silence(body, "torso.dense", [3, 30], pixels=9)
    silence(body, "head.linear", [0, 1, 2, 3, 9])
    seen = recording(space)
    keep = {"torso.conv1": 12 / 16, "torso.conv2": 30 / 32, "torso.dense": 0.5}
    small = shrink(body, keep, seen)
    assert weights(small) == {
        "torso.conv1": (12, 2 if space is PICTURES else 6, 8, 8),
        "torso.conv2": (30, 12, 4, 4),
        "torso.dense": (5, 270),
        "head.linear": (3, 5),
    }
    torch.testing.assert_close(outputs(small, seen), outputs(body, seen))
    kept = [channel for channel in range(16) if channel not in (0, 1, 5, 15)]
    conv1 = body.get_submodule("torso.conv1")
    assert isinstance(conv1, nn.Conv2d)
    assert torch.equal(small.state_dict()["torso.conv1.weight"], conv1.weight[kept])
    assert torch.equal(body.state_dict()["torso.conv1.weight"], before["torso.conv1.weight"])


def test_the_whole_is_the_same_body():
    body = q_body(PICTURES, torso="compact", layer_norm="all", dense_size=8)
    seen = recording(PICTURES)
    for keep in (1.0, {}):
        small = shrink(body, keep, seen)
        assert weights(small) == weights(body)
        torch.testing.assert_close(outputs(small, seen), outputs(body, seen))


def test_norms_lose_what_their_layers_lose():
    body = q_body(PICTURES, torso="compact", layer_norm="all", dense_size=8)
    seen = recording(PICTURES)
    assert shrinkable(body) == ("torso.conv1", "torso.conv2", "torso.dense")
    small = shrink(body, 0.5, seen)
    assert weights(small) == {
        "torso.conv1": (16, 2, 6, 6),
        "torso.norm1": (16,),
        "torso.conv2": (32, 16, 4, 4),
        "torso.norm2": (32,),
        "torso.dense": (4, 32 * 16),
        "torso.dense_norm": (4,),
        "head.linear": (3, 4),
    }
    for layer, norm in (("conv1", "norm1"), ("conv2", "norm2"), ("dense", "dense_norm")):
        whole, fewer = (
            torch.stack([each.state_dict()[f"torso.{name}"] for name in entries], 1)
            for each in (body, small)
            for entries in [(f"{layer}.bias", f"{norm}.weight", f"{norm}.bias")]
        )
        rows = {tuple(row) for row in whole.tolist()}  # a channel's bias, scale and offset
        assert all(tuple(row) in rows for row in fewer.tolist())
    assert outputs(small, seen)[0].shape == (4, 3)


def test_the_layers_say_how_large_they_are():
    body = q_body(PICTURES, torso="compact", layer_norm="all", dense_size=8)
    small = shrink(body, 0.5, recording(PICTURES))
    built = (
        (small.get_submodule("torso.conv2"), nn.Conv2d(16, 32, 4, 2)),
        (small.get_submodule("torso.norm2"), nn.GroupNorm(1, 32)),
        (small.get_submodule("torso.dense"), nn.Linear(512, 4)),
        (small.get_submodule("torso.dense_norm"), nn.LayerNorm(4)),
    )
    for found, wanted in built:
        assert repr(found) == repr(wanted)


def test_what_contributes_least_goes_first():
    first, second = nn.Linear(3, 3, bias=False), nn.Linear(3, 2, bias=False)
    first.weight.data = torch.diag(torch.tensor([1.0, 2.0, 10.0]))
    second.weight.data = torch.tensor([[4.0, 0.0, 0.5], [0.0, 2.0, 0.5]])
    torso = nn.Sequential(OrderedDict([("dense", first), ("activation", nn.ReLU())]))
    body = Body(torso, None, second).eval().requires_grad_(False)
    seen = Recording(np.array([[1, 1, 1], [1, 1, -9]], np.float32), (), {})
    # Mean squares behind the ReLU 1, 4, 50, times squared weights 16, 4, .5: 16, 16, 25.
    second.weight.data[0, 0] = 3.9
    small = shrink(body, 2 / 3, seen)
    assert small.state_dict()["torso.dense.weight"].tolist() == [[0, 2, 0], [0, 0, 10]]
    assert small.state_dict()["head.weight"].tolist() == [[0, 0.5], [2, 0.5]]
    second.weight.data[0, 0], second.weight.data[0, 2] = 10.0, 0.1
    small = shrink(body, 2 / 3, seen)  # 100, 16, 13
    assert small.state_dict()["torso.dense.weight"].tolist() == [[1, 0, 0], [0, 2, 0]]
    small = shrink(body, 0.01, seen)
    assert small.state_dict()["torso.dense.weight"].tolist() == [[1, 0, 0]]


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_a_memory_takes_fewer_features_and_keeps_its_size(kind: Any):
    body = q_body(NUMBERS, torso="mlp", hidden_sizes=(8, 6), memory=kind, memory_size=4)
    silence(body, "cell.input", [1, 4, 5])
    seen = recording(NUMBERS, 3, *body.state_sizes)
    small = shrink(body, {"torso.dense2": 0.5}, seen)
    assert small.state_sizes == body.state_sizes
    gates = {"lstm": 16, "gru": 12}[kind]
    assert weights(small)["cell.input"] == (gates, 3)
    assert weights(small)["cell.hidden"] == (gates, 4)
    torch.testing.assert_close(outputs(small, seen), outputs(body, seen))


def test_pooled_pictures_and_histograms_can_be_shrunk():
    space = gym.spaces.Box(0, 255, (1, 68, 68), np.uint8)
    body = q_body(space, "categorical", torso="seed", dense_size=10)
    seen = recording(space)
    small = shrink(body, 0.5, seen)
    assert weights(small)["torso.dense"] == (5, 9 * 1 * 1)
    assert weights(small)["head.linear"] == (15, 5)
    assert outputs(small, seen)[0].shape == (4, 3)


def test_what_cannot_be_shrunk_says_what_can():
    seen = recording(PICTURES)
    space = gym.spaces.Box(0, 1, (3, 8, 8), np.float32)
    policy = PickPolicy(space, gym.spaces.Discrete(64), PickNetworkConfig((2, 3, 4)))
    with pytest.raises(ExportError, match=r"PickMap.*sequence of convolutions"):
        shrink(body_of(policy), 0.5, seen)
    with pytest.raises(ExportError, match=r"torso.stack1.*sequence of convolutions"):
        shrink(q_body(PICTURES, torso="impala"), 0.5, seen)
    grouped = q_body(PICTURES, torso="small")
    grouped.torso.conv2 = nn.Conv2d(16, 32, 4, 2, groups=2)
    with pytest.raises(ExportError, match=r"torso.conv2.*groups=2"):
        shrinkable(grouped)
    normed = q_body(PICTURES, torso="small", layer_norm="all")
    normed.torso.norm2 = nn.GroupNorm(4, 32)
    with pytest.raises(ExportError, match=r"torso.norm2.*GroupNorm"):
        shrinkable(normed)


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (0.0, "torso.dense1.*0.0"),
        (1.5, "1.5"),
        ({"torso.dense1": float("nan")}, "nan"),
        ({"head.linear": 0.5}, "head.linear.*torso.dense1, torso.dense2"),
    ],
)
def test_shares_that_mean_nothing_are_refused(keep: Any, message: str):
    body = q_body(NUMBERS, torso="mlp", hidden_sizes=(4, 4))
    with pytest.raises(ValueError, match=message):
        shrink(body, keep, recording(NUMBERS))


def test_an_empty_recording_is_refused():
    body = q_body(NUMBERS, torso="mlp", hidden_sizes=(4, 4))
    with pytest.raises(ValueError, match="empty"):
        shrink(body, 0.5, recording(NUMBERS, 0))
