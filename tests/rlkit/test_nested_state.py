"""States come back as they were, through JSON and safetensors, whatever they are made of."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.torch import load, save

from rlkit.nested_state import join_state, split_state

ARRAYS = st.sampled_from([np.uint8, np.int64, np.uint32, np.float32, np.float64, np.bool_]).flatmap(
    lambda dtype: arrays(dtype, array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3))
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**130), 2**130)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | ARRAYS
    | ARRAYS.map(lambda array: torch.from_numpy(array.copy()))
)
KEYS = st.text(max_size=3) | st.sampled_from(["a", "a.b", "0", "__tensor__", "__tuple__"])
STATES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.dictionaries(st.integers(-2, 9), inner, max_size=3)
    ),
    max_leaves=8,
)


def stored_and_loaded(state: Any) -> Any:
    plain, tensors = split_state(state)
    return join_state(json.loads(json.dumps(plain)), load(save(tensors)))


def assert_same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, torch.Tensor):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert found.numpy().tobytes() == expected.numpy().tobytes()
    elif isinstance(expected, np.ndarray):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert found.tobytes() == expected.tobytes()
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected


@given(STATES)
def test_any_state_comes_back(state: Any):
    assert_same(stored_and_loaded(state), state)


def test_states_whose_keys_spell_the_same_path_are_kept_apart():
    state = {
        "a": {"b": torch.ones(1)},
        "a.b": torch.zeros(1),
        "c": {1: np.ones(2), "1": np.zeros(3)},
    }
    assert_same(stored_and_loaded(state), state)


def test_random_generators_go_on_as_if_never_stored():
    generator = np.random.default_rng(4)
    generator.random(3)
    state = stored_and_loaded(generator.bit_generator.state)
    other = np.random.default_rng()
    other.bit_generator.state = state
    assert other.random() == generator.random()


def test_numpy_scalars_become_plain_numbers():
    assert stored_and_loaded([np.float64(0.5), np.int8(3), np.bool_(True)]) == [0.5, 3, True]


def test_tensors_are_copies():
    weights, array = torch.zeros(3), np.zeros(3)
    plain, tensors = split_state({"weights": weights, "array": array})
    weights += 1
    array += 1
    state = join_state(plain, tensors)
    assert not state["weights"].any()
    assert not state["array"].any()


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(4, 3, 5, 2).to(memory_format=torch.channels_last),
        torch.randn(4, 3).T,
        torch.randn(2, 3, 4).permute(1, 2, 0),
        torch.randn(6, 4)[::2, 1],
        torch.randn(3).expand(2, 3),
        torch.tensor(1.5, dtype=torch.bfloat16),
    ],
)
def test_values_come_back_from_any_layout_and_dense_layouts_too(tensor: torch.Tensor):
    found = stored_and_loaded(tensor)
    assert torch.equal(found, tensor)
    kept = tensor.clone(memory_format=torch.preserve_format)
    assert found.stride() == kept.stride()


def test_adam_goes_on_exactly_with_weights_that_lie_channels_last():
    def make() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        network = torch.nn.Conv2d(4, 8, 3).to(memory_format=torch.channels_last)  # pyright: ignore
        return network, torch.optim.Adam(network.parameters(), lr=0.1, fused=True)

    def learn(network: torch.nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
        observations = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        network(observations).square().mean().backward()
        optimizer.step()

    network, optimizer = make()
    for seed in range(3):
        learn(network, optimizer, seed)
    state = stored_and_loaded([network.state_dict(), optimizer.state_dict()])
    other, other_optimizer = make()
    other.load_state_dict(state[0])
    other_optimizer.load_state_dict(state[1])
    for seed in range(3, 6):
        learn(network, optimizer, seed)
        learn(other, other_optimizer, seed)
    for one, two in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize(
    ("state", "place"),
    [
        ({"a": [1, {"b": object()}]}, r"state\.a\.1\.b is a object"),
        ({"a": (lambda: 0,)}, r"state\.a\.0 is a function"),
        ({"a": np.array(["text"])}, r"state\.a is an array of <U4"),
        ({1: {2, 3}}, r"state\.1 is a set"),
    ],
)
def test_what_cannot_be_held_is_named_with_its_place(state: Any, place: str):
    with pytest.raises(TypeError, match=place):
        split_state(state)


def test_a_missing_tensor_is_an_error():
    plain, tensors = split_state({"a": torch.ones(1)})
    tensors.clear()
    with pytest.raises(KeyError):
        join_state(plain, tensors)
