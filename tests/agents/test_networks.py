"""Networks: their shapes, their arithmetic against plain PyTorch layers, and what they refuse."""

import copy
from itertools import pairwise

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch import nn
from torch.nn import functional

from rlkit_agents.heads import categorical_values, quantile_values
from rlkit_agents.networks import (
    ImageTorso,
    ImpalaStack,
    NetworkConfig,
    QNetwork,
    TorsoName,
    make_torso,
    smallest_frame,
)

IMAGE_TORSOS = ("seed", "small", "compact", "nature", "impala")


def frames(*shape: int) -> Box:
    return Box(0, 255, shape, np.uint8)


def pixels(space: Box, batch: int = 2) -> torch.Tensor:
    random = np.random.default_rng(0)
    return torch.from_numpy(random.integers(0, 256, (batch, *space.shape), dtype=np.uint8))


def q_network(space: gymnasium.Space, actions=3, atoms=1, seed=0, **config) -> QNetwork:
    generator = torch.Generator().manual_seed(seed)
    return QNetwork(space, actions, atoms, NetworkConfig(**config), generator=generator)


def parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("torso", "size", "features", "parameters"),
    [
        # convolutions, dense layer and a head of 18 actions, each weights + biases
        ("seed", 84, 1000, (4096 + 16) + (4608 + 18) + (72_000 + 1000) + 18_018),
        ("small", 84, 256, (4096 + 16) + (8192 + 32) + (2592 * 256 + 256) + 18 * 257),
        ("compact", 42, 256, (4608 + 32) + (32_768 + 64) + (1600 * 256 + 256) + 18 * 257),
        # Mnih et al. 2015, 18 actions: 1,693,362
        ("nature", 84, 512, 1_693_362),
        # Espeholt et al. 2018, large network without its LSTM
        (
            "impala",
            84,
            256,
            (36 * 16 + 16 + 4 * (144 * 16 + 16))
            + (144 * 32 + 32 + 4 * (288 * 32 + 32))
            + (288 * 32 + 32 + 4 * (288 * 32 + 32))
            + (32 * 11 * 11 * 256 + 256)
            + 18 * 257,
        ),
    ],
)
def test_sizes_are_those_of_the_papers(torso, size, features, parameters):
    network = q_network(frames(4, size, size), actions=18, torso=torso)
    assert network.torso.feature_size == features
    assert parameter_count(network) == parameters


def test_seed_has_about_a_hundred_thousand_parameters():
    network = q_network(frames(4, 84, 84), actions=18, torso="seed")
    assert parameter_count(network) == 99_756


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("atoms", [1, 5])
@pytest.mark.parametrize("torso", [*IMAGE_TORSOS, "mlp"])
def test_output_is_float32_for_each_action_and_atom(torso, atoms, dueling, dtype):
    space = frames(4, 52, 60)
    network = q_network(space, atoms=atoms, torso=torso, dueling=dueling)
    with torch.autocast("cpu", dtype=dtype, enabled=dtype == torch.bfloat16):
        output = network(pixels(space))
    assert output.shape == (2, 3, atoms)
    assert output.dtype == torch.float32
    assert torch.isfinite(output).all()


def test_nature_network_equals_plain_pytorch_layers():
    space = frames(4, 84, 84)
    network = q_network(space, torso="nature", activation="elu")
    state = network.state_dict()
    # The dense layer reads height, width, channel; a plain one reads channel, height, width.
    dense = state["torso.dense.weight"].unflatten(1, (7, 7, 64)).permute(0, 3, 1, 2).flatten(1)
    observations = pixels(space)
    x = observations.float() / 255
    for index, stride in enumerate((4, 2, 1), start=1):
        weight, bias = state[f"torso.conv{index}.weight"], state[f"torso.conv{index}.bias"]
        x = functional.elu(functional.conv2d(x, weight.contiguous(), bias, stride))
    x = functional.elu(functional.linear(x.flatten(1), dense, state["torso.dense.bias"]))
    expected = functional.linear(x, state["head.linear.weight"], state["head.linear.bias"])
    torch.testing.assert_close(network(observations)[:, :, 0], expected, atol=1e-5, rtol=1e-4)


def test_seed_torso_pools_after_each_activation():
    space = frames(4, 84, 84)
    torso = q_network(space, torso="seed").torso
    assert [name for name, _ in torso.named_children()] == [
        *("conv1", "activation1", "pool1", "conv2", "activation2", "pool2"),
        *("flatten", "dense", "dense_activation"),
    ]
    maps = nn.Sequential(*list(torso)[:6])(pixels(space).float())
    assert maps.shape == (2, 18, 2, 2)


def test_impala_stack_adds_its_residuals():
    torch.manual_seed(0)
    stack = ImpalaStack(nn.Conv2d(3, 8, 3, padding=1), NetworkConfig(torso="impala"))
    x = torch.randn(2, 3, 11, 10)
    pooled = functional.max_pool2d(stack.conv(x), 3, 2, 1)

    def branch(number: int, maps: torch.Tensor) -> torch.Tensor:
        conv1 = stack.get_submodule(f"residual{number}.conv1")
        conv2 = stack.get_submodule(f"residual{number}.conv2")
        return conv2(functional.relu(conv1(functional.relu(maps))))

    first = pooled + branch(1, pooled)
    expected = first + branch(2, first)
    assert stack(x).shape == (2, 8, 6, 5)
    torch.testing.assert_close(stack(x), expected)


def test_bytes_are_scaled_and_floats_are_not():
    space = frames(4, 84, 84)
    network, observations = q_network(space, torso="small"), pixels(frames(4, 84, 84))
    torch.testing.assert_close(network(observations), network(observations / 255.0))
    flat = q_network(frames(128), torso="mlp")
    ram = pixels(frames(128))
    torch.testing.assert_close(flat(ram), flat(ram / 255.0))


def test_bits_reach_the_network_as_zero_and_one():
    network = q_network(Box(0, 1, (2, 12), np.int8), torso="mlp")
    bits = torch.randint(2, (5, 2, 12), dtype=torch.int8)
    assert torch.equal(network(bits), network(bits.float()))


def test_activations_are_what_they_are_called():
    for activation, at_two in [
        ("relu", 2.0),
        ("leaky_relu", 2.0),
        ("elu", 2.0),
        ("gelu", 1.9545),
        ("silu", 1.7616),
        ("tanh", 0.9640),
        ("sigmoid", 0.8808),  # 1 / (1 + e^-2)
    ]:
        network = q_network(
            Box(-4, 4, (1,)), actions=1, torso="mlp", hidden_sizes=(1,), activation=activation
        )
        with torch.no_grad():
            for layer in (network.torso.get_submodule("dense1"), network.head.linear):
                layer.weight.fill_(1.0)  # pyright: ignore[reportCallIssue]
                layer.bias.fill_(0.0)  # pyright: ignore[reportCallIssue]
        assert network(torch.tensor([[2.0]])).item() == pytest.approx(at_two, abs=1e-4), activation


def test_bfloat16_stays_close_to_float32():
    space = frames(4, 42, 42)
    network = q_network(space, atoms=32, torso="compact", dueling=True)
    observations = pixels(space, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = network(observations)
    exact = network(observations)
    assert (rounded - exact).abs().max() < 0.05 * exact.std()


def test_expected_values_keep_small_differences_under_bfloat16():
    # At a value of 100, bfloat16 cannot tell apart what differs by less than 0.5.
    network = q_network(Box(-1, 1, (4,)), torso="mlp")
    with torch.no_grad():
        network.head.linear.weight.zero_()
        network.head.linear.bias.copy_(torch.tensor([100.0, 100.01, 100.02]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values = network(torch.zeros(1, 4))
    assert values[0, :, 0].tolist() == pytest.approx([100, 100.01, 100.02], abs=1e-4)


def test_colour_frames_are_stacked_channels():
    space = frames(2, 42, 50, 3)
    network = q_network(space, torso="compact")
    observations = pixels(space)
    assert network.state_dict()["torso.conv1.weight"].shape[1] == 6
    # Channel stack * 3 + colour, by a network on grey frames with the same weights.
    grey = q_network(frames(6, 42, 50), torso="compact")
    grey.load_state_dict(network.state_dict())
    planes = observations.permute(0, 1, 4, 2, 3).reshape(2, 6, 42, 50)
    torch.testing.assert_close(network(observations), grey(planes))


def test_dueling_head_by_hand():
    # A value of 1 and advantages 2, 3, 7, of mean 4, make 1 + (2, 3, 7) - 4 = -1, 0, 4.
    network = q_network(Box(-1, 1, (4,)), atoms=2, torso="mlp", dueling=True)
    head = network.head.linear
    assert head.out_features == 8
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.tensor([1.0, 10, 2, 20, 3, 30, 7, 70]))
    values = network(torch.zeros(1, 4))
    assert values[0].tolist() == [[-1, -10], [0, 0], [4, 40]]


def test_values_of_distributions():
    assert quantile_values(torch.tensor([[[1.0, 3], [4, 8]]])).tolist() == [[2, 6]]
    logits = torch.tensor([[[1.0, 3.0]]]).log()  # probabilities 1/4 and 3/4
    values = categorical_values(logits, torch.tensor([-2.0, 2.0]))
    assert values.tolist() == [[pytest.approx(1)]]


@pytest.mark.parametrize(("layer_norm", "norms"), [("none", 0), ("dense", 1), ("all", 3)])
def test_layer_norm_stands_before_the_activation(layer_norm, norms):
    torso = q_network(frames(4, 84, 84), torso="small", layer_norm=layer_norm).torso
    names = [name for name, _ in torso.named_children()]
    assert sum("norm" in name for name in names) == norms
    for before, after in pairwise(names):
        if "norm" in before:
            assert "activation" in after


def test_layer_norm_normalises_each_sample_over_all_its_units():
    space = frames(4, 84, 84)
    torso = q_network(space, torso="small", layer_norm="all").torso
    for end in (2, 5):  # after norm1, after norm2
        maps = nn.Sequential(*list(torso)[:end])(pixels(space).float())
        assert maps.mean((1, 2, 3)).tolist() == pytest.approx([0, 0], abs=1e-4)
        assert maps.var((1, 2, 3)).tolist() == pytest.approx([1, 1], rel=0.01)


def test_dropout_acts_in_training_alone():
    space = frames(4, 84, 84)
    network = q_network(space, torso="small", dropout=0.5)
    observations = pixels(space)
    assert not torch.equal(network(observations), network(observations))
    network.eval()
    assert torch.equal(network(observations), network(observations))
    plain = q_network(space, torso="small")
    plain.load_state_dict(network.state_dict())
    assert torch.equal(network(observations), plain(observations))


def test_noisy_network_explores_in_training_alone():
    space = frames(4, 84, 84)
    network = q_network(space, torso="small", noisy=True, dueling=True)
    observations = pixels(space)

    def outputs(seed: int) -> torch.Tensor:
        network.reset_noise(torch.Generator().manual_seed(seed))
        return network(observations)

    assert torch.equal(outputs(1), outputs(1))
    assert not torch.allclose(outputs(1), outputs(2))
    network.eval()
    assert torch.equal(outputs(1), outputs(2))
    assert parameter_count(network) == parameter_count(q_network(space, dueling=True)) + (
        2592 * 256 + 256 + 4 * 257
    )


def test_sub_modules_have_stable_names():
    names = [name for name, _ in q_network(frames(4, 84, 84), torso="small").named_parameters()]
    assert names == [
        *("torso.conv1.weight", "torso.conv1.bias", "torso.conv2.weight", "torso.conv2.bias"),
        *("torso.dense.weight", "torso.dense.bias", "head.linear.weight", "head.linear.bias"),
    ]
    flat = q_network(Box(-1, 1, (4,)), torso="mlp", hidden_sizes=(8, 9))
    names = [name for name, _ in flat.torso.named_children()]
    assert names == ["dense1", "dense1_activation", "dense2", "dense2_activation"]


@pytest.mark.parametrize("torso", IMAGE_TORSOS)
def test_every_parameter_learns_and_the_input_needs_no_gradient(torso):
    space = frames(4, 84, 84)
    network = q_network(space, torso=torso, dueling=True, layer_norm="all")
    network(pixels(space)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_convolutions_are_channels_last_and_stay_so_in_copies():
    network = q_network(frames(4, 84, 84), torso="nature")
    for version in (network, copy.deepcopy(network)):
        for layer in version.modules():
            if isinstance(layer, nn.Conv2d):
                assert layer.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_seed_decides_the_weights_whatever_the_global_generator():
    space = frames(4, 42, 42)
    torch.manual_seed(1)
    first = q_network(space, torso="compact", seed=5).state_dict()
    torch.manual_seed(2)
    same = q_network(space, torso="compact", seed=5).state_dict()
    other = q_network(space, torso="compact", seed=6).state_dict()
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["head.linear.weight"], other["head.linear.weight"])
    torch.manual_seed(1)
    config = NetworkConfig(torso="compact")
    unseeded = QNetwork(space, 3, 1, config).state_dict()
    torch.manual_seed(1)
    again = QNetwork(space, 3, 1, config).state_dict()
    assert all(torch.equal(unseeded[name], again[name]) for name in unseeded)


def test_orthogonal_head_has_gain_one_and_torso_gain_for_relu():
    network = q_network(frames(4, 84, 84), torso="small", initialisation="orthogonal")
    dense, head = network.get_parameter("torso.dense.weight"), network.head.linear.weight
    torch.testing.assert_close(dense @ dense.T, 2 * torch.eye(256), atol=1e-4, rtol=0)
    torch.testing.assert_close(head @ head.T, torch.eye(3), atol=1e-4, rtol=0)


def test_flat_network_learns_a_simple_function():
    torch.manual_seed(0)
    network = q_network(Box(-1, 1, (2,)), actions=2, torso="mlp", hidden_sizes=(32,))
    x = torch.rand(256, 2) * 2 - 1
    y = torch.stack([x[:, 0] * x[:, 1], x[:, 0] - x[:, 1]], 1)
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(400):
        optimiser.zero_grad()
        (network(x).squeeze(2) - y).square().mean().backward()
        optimiser.step()
    assert (network(x).squeeze(2) - y).square().mean().item() < 0.005


@pytest.mark.parametrize("torso", IMAGE_TORSOS)
def test_the_smallest_frame_fits_and_a_smaller_one_is_refused(torso):
    size = smallest_frame(torso)
    space = frames(1, size, size)
    assert q_network(space, torso=torso)(pixels(space)).shape == (2, 3, 1)
    if size > 1:
        with pytest.raises(ValueError, match=f"needs at least {size}x{size}"):
            q_network(frames(1, size, size - 1), torso=torso)


@pytest.mark.parametrize(
    ("space", "config", "message"),
    [
        (Box(-1, 1, (4,)), {"torso": "nature"}, r"got \(4,\); flat observations take torso 'mlp'"),
        (gymnasium.spaces.Discrete(4), {"torso": "mlp"}, "observe a Box space, got Discrete"),
    ],
)
def test_spaces_that_do_not_fit_are_refused(space, config, message):
    with pytest.raises(ValueError, match=message):
        make_torso(NetworkConfig(**config), space)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"torso": "resnet"}, "unknown torso 'resnet'; known: seed, small"),
        ({"activation": "cube"}, "unknown activation 'cube'"),
        ({"initialisation": "zeros"}, "unknown initialisation 'zeros'"),
        ({"layer_norm": True}, "layer_norm must be"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"hidden_sizes": ()}, "hidden_sizes must be positive"),
        ({"dense_size": 0}, "dense_size must be positive"),
        ({"noisy_sigma0": -1.0}, "noisy_sigma0 must be at least 0"),
    ],
)
def test_wrong_configurations_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        NetworkConfig(**config)


@pytest.mark.parametrize(("actions", "atoms"), [(0, 1), (3, 0)])
def test_empty_heads_are_refused(actions, atoms):
    with pytest.raises(ValueError, match="must be positive"):
        q_network(Box(-1, 1, (4,)), actions=actions, atoms=atoms, torso="mlp")


@pytest.mark.parametrize("torso", ["small", "impala"])
def test_pixels_read_ahead_give_the_same_features_and_gradients(torso: TorsoName):
    space = frames(4, 42, 42)
    network = make_torso(NetworkConfig(torso=torso), space)
    assert isinstance(network, ImageTorso)
    shown = pixels(space)

    def features_and_gradient(input: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            features = network(input)
        features.float().square().sum().backward()
        gradient = next(network.parameters()).grad
        assert gradient is not None
        return features, gradient.clone()

    with torch.autocast("cpu", torch.bfloat16):
        ahead = network.read_ahead(shown)
    assert ahead.dtype == torch.bfloat16
    for found, expected in zip(
        features_and_gradient(ahead), features_and_gradient(shown), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    # Where it would save nothing, or floats are to be taken as they are, nothing happens.
    assert network.read_ahead(shown) is shown
    with torch.autocast("cpu", torch.bfloat16):
        floats = shown.float() / 255
        assert network.read_ahead(floats) is floats
