"""Networks: torsos that turn observations into features, and the Q-network built on one.

A torso is a `torch.nn.Module` with a `feature_size`; actor-critic agents use it as well. Between it
and the heads there may be a memory (`memory.py`). Sub-modules have stable, readable names
(`torso.conv1`, `torso.dense`, `head.linear`), by which gradient tools and saved policies know them.
The heads are in `heads.py`.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal, get_args

import gymnasium
import torch
from torch import Tensor, nn

from rlkit_agents.heads import QHead
from rlkit_agents.initialisation import Initialisation, initialise
from rlkit_agents.memory import Memory, MemoryKind, State
from rlkit_agents.noisy import NoisyLinear, reset_noise

TorsoName = Literal["seed", "small", "compact", "nature", "impala", "mlp"]
ActivationName = Literal["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


@dataclass(frozen=True)
class NetworkConfig:
    """What a network looks like; see the table of torsos in `ImageTorso`."""

    torso: TorsoName = "small"
    """Which layers turn an observation into features; "mlp" for flat observations."""

    activation: ActivationName = "relu"
    """Non-linearity after every convolution and dense layer of the torso."""

    initialisation: Initialisation = "default"
    """How weights start; see `initialisation.initialise`."""

    layer_norm: Literal["none", "dense", "all"] = "none"
    """Where LayerNorm stands before the activation: nowhere, in dense layers, or in convolutions
    as well (PQN, Gallici et al. 2024)."""

    dropout: float = 0.0
    """Probability, in [0, 1), that a feature after a dense layer is dropped; in training only."""

    hidden_sizes: tuple[int, ...] = (128, 128)
    """Units in each dense layer of the "mlp" torso."""

    dense_size: int | None = None
    """Units in the dense layer of an image torso; None takes the torso's own number."""

    dueling: bool = False
    """Split the head into state value and advantages (Wang et al. 2016); see `heads.QHead`."""

    noisy: bool = False
    """Noisy dense layers and head in place of linear ones (Fortunato et al. 2018)."""

    noisy_sigma0: float = 0.5
    """Initial noise of noisy layers; 0.5 in Fortunato et al. 2018."""

    memory: MemoryKind = "none"
    """A recurrent layer between torso and head, which remembers what was observed before."""

    memory_size: int = 256
    """Units of the recurrent layer; 512 in R2D2 (Kapturowski et al. 2019)."""

    def __post_init__(self) -> None:
        torsos = (*CONVOLUTIONS, "impala", "mlp")
        if self.torso not in torsos:
            raise ValueError(f"unknown torso {self.torso!r}; known: {', '.join(torsos)}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"unknown activation {self.activation!r}; known: {', '.join(ACTIVATIONS)}"
            )
        if self.initialisation not in get_args(Initialisation):
            raise ValueError(
                f"unknown initialisation {self.initialisation!r}; "
                f"known: {', '.join(get_args(Initialisation))}"
            )
        if self.layer_norm not in ("none", "dense", "all"):
            raise ValueError(
                f"layer_norm must be 'none', 'dense' or 'all', got {self.layer_norm!r}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if not self.hidden_sizes or min(self.hidden_sizes) < 1:
            raise ValueError(f"hidden_sizes must be positive, got {self.hidden_sizes}")
        if self.dense_size is not None and self.dense_size < 1:
            raise ValueError(f"dense_size must be positive, got {self.dense_size}")
        if self.memory not in get_args(MemoryKind):
            raise ValueError(
                f"unknown memory {self.memory!r}; known: {', '.join(get_args(MemoryKind))}"
            )
        if self.memory_size < 1:
            raise ValueError(f"memory_size must be positive, got {self.memory_size}")
        if not self.noisy_sigma0 >= 0:
            raise ValueError(f"noisy_sigma0 must be at least 0, got {self.noisy_sigma0}")


@dataclass(frozen=True)
class Convolution:
    """A square convolution without padding, and the max-pool (of stride `pool`) after it."""

    channels: int
    kernel: int
    stride: int
    pool: int = 1


CONVOLUTIONS: dict[str, tuple[Convolution, ...]] = {
    "seed": (Convolution(16, 8, 4, pool=2), Convolution(18, 4, 2, pool=2)),
    "small": (Convolution(16, 8, 4), Convolution(32, 4, 2)),
    "compact": (Convolution(32, 6, 3), Convolution(64, 4, 2)),
    "nature": (Convolution(32, 8, 4), Convolution(64, 4, 2), Convolution(64, 3, 1)),
}
IMPALA_CHANNELS = (16, 32, 32)
DENSE_SIZES = {"seed": 1000, "small": 256, "compact": 256, "nature": 512, "impala": 256}


class PixelConv2d(nn.Conv2d):
    """A first convolution that takes bytes or floats, laid out as the stack of frames is.

    Bytes are scaled by 1/255 through the weights: no pass over the input is spent on it,
    and pixels stay exact in bfloat16, which holds every whole number up to 256. Input in bfloat16
    is therefore taken for bytes that `read_ahead` has converted: no observation comes in it.
    """

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int, padding: int = 0):
        super().__init__(in_channels, channels, kernel, stride, padding)

    def forward(self, input: Tensor) -> Tensor:
        """(batch, in_channels, height, width) uint8 or float -> (batch, channels, h, w)."""
        are_bytes = not input.is_floating_point() or input.dtype == torch.bfloat16
        weight = self.weight * (1 / 255) if are_bytes else self.weight
        return self._conv_forward(self._read(input), weight, self.bias)

    def read_ahead(self, input: Tensor) -> Tensor:
        """Bytes as `forward` reads them, which then takes no time for it; other input as it is.

        It saves time under autocast to bfloat16 only, and does nothing else without that.
        """
        is_ahead = input.dtype == torch.uint8 and self._dtype(input) == torch.bfloat16
        return self._read(input) if is_ahead else input

    def _read(self, input: Tensor) -> Tensor:
        # Two passes, yet over twice as fast on a CPU as .to(dtype, memory_format=...).
        return input.to(self._dtype(input)).contiguous(memory_format=torch.channels_last)

    def _dtype(self, input: Tensor) -> torch.dtype:
        device = input.device.type
        autocast = torch.is_autocast_enabled(device)
        return torch.get_autocast_dtype(device) if autocast else self.weight.dtype


class FlattenChannelsLast(nn.Module):
    """(batch, channels, height, width) -> (batch, height * width * channels).

    Without a copy where the memory is channels-last, as it is inside a torso.
    """

    def forward(self, input: Tensor) -> Tensor:
        return input.permute(0, 2, 3, 1).flatten(1)


class ImpalaStack(nn.Module):
    """Convolution, max-pool and two residual blocks (Espeholt et al. 2018, figure 3, right)."""

    def __init__(self, entry: nn.Conv2d, config: NetworkConfig) -> None:
        """entry: the stack's first convolution, 3x3 with padding 1."""
        super().__init__()
        channels = entry.out_channels
        self.conv = entry
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.residual1 = _residual_branch(channels, config)
        self.residual2 = _residual_branch(channels, config)

    def forward(self, input: Tensor) -> Tensor:
        """(batch, in_channels, h, w) -> (batch, channels, ceil(h/2), ceil(w/2))."""
        features = self.pool(self.conv(input))
        features = features + self.residual1(features)
        return features + self.residual2(features)


def _residual_branch(channels: int, config: NetworkConfig) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index in (1, 2):
        if config.layer_norm == "all":
            layers[f"norm{index}"] = nn.GroupNorm(1, channels)
        layers[f"activation{index}"] = ACTIVATIONS[config.activation]()
        layers[f"conv{index}"] = nn.Conv2d(channels, channels, 3, padding=1)
    return nn.Sequential(layers)


class ImageTorso(nn.Sequential):
    """Convolutions and one dense layer, from stacked frames to features.

    ========  ======================================================  =====  =================
    torso     convolutions: channels kernel/stride                    dense  source
    ========  ======================================================  =====  =================
    seed      16 8x8/4, max-pool 2, 18 4x4/2, max-pool 2              1000   see below
    small     16 8x8/4, 32 4x4/2                                      256    Mnih et al. 2013
    compact   32 6x6/3, 64 4x4/2 (for 42x42 frames)                   256
    nature    32 8x8/4, 64 4x4/2, 64 3x3/1                            512    Mnih et al. 2015
    impala    3 stacks of 16, 32, 32: 3x3, max-pool, 2 residuals      256    Espeholt et al. 2018
    ========  ======================================================  =====  =================

    seed has about 100,000 parameters in all on 84x84 frames stacked by 4, of which the dense layer
    holds most: 4*16*8*8 + 16 = 4,112, then 16*18*4*4 + 18 = 4,626, then 2*2*18 = 72 features into
    1,000 units = 73,000, and a head of 18 actions, 18,018: 99,756.

    Frames are (batch, stack, height, width), or (batch, stack, height, width, 3) in colour; bytes
    are scaled to [0, 1], floats are taken as they are. Features are (batch, feature_size), in the
    compute type of autocast where that is on, else in the type of the weights.

    Departures: features are flattened in the order height, width, channel, which needs no copy.
    LayerNorm over a convolution's channels, height and width has one scale and offset a channel.
    """

    def __init__(self, config: NetworkConfig, observation_space: gymnasium.spaces.Box) -> None:
        shape = observation_space.shape
        if len(shape) not in (3, 4):
            raise ValueError(
                f"torso {config.torso!r} needs frames of shape (stack, height, width) or "
                f"(stack, height, width, colours), got {shape}; flat observations take torso 'mlp'"
            )
        channels = shape[0] if len(shape) == 3 else shape[0] * shape[3]
        height, width = shape[1:3]
        needed = smallest_frame(config.torso)
        if min(height, width) < needed:
            raise ValueError(
                f"frames of {height}x{width} are too small for torso {config.torso!r}, which needs "
                f"at least {needed}x{needed}: use larger frames or another torso"
            )
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if config.torso == "impala":
            for index, out in enumerate(IMPALA_CHANNELS, start=1):
                convolution = PixelConv2d if index == 1 else nn.Conv2d
                entry = convolution(channels, out, 3, 1, 1)
                layers[f"stack{index}"] = ImpalaStack(entry, config)
                channels, height, width = out, math.ceil(height / 2), math.ceil(width / 2)
            layers["activation"] = ACTIVATIONS[config.activation]()
        else:
            for index, layer in enumerate(CONVOLUTIONS[config.torso], start=1):
                convolution = PixelConv2d if index == 1 else nn.Conv2d
                layers[f"conv{index}"] = convolution(
                    channels, layer.channels, layer.kernel, layer.stride
                )
                if config.layer_norm == "all":
                    layers[f"norm{index}"] = nn.GroupNorm(1, layer.channels)
                layers[f"activation{index}"] = ACTIVATIONS[config.activation]()
                if layer.pool > 1:
                    layers[f"pool{index}"] = nn.MaxPool2d(layer.pool)
                channels = layer.channels
                height = ((height - layer.kernel) // layer.stride + 1) // layer.pool
                width = ((width - layer.kernel) // layer.stride + 1) // layer.pool
        layers["flatten"] = FlattenChannelsLast()
        size = config.dense_size or DENSE_SIZES[config.torso]
        layers.update(_dense_layers("dense", channels * height * width, size, config))
        super().__init__(layers)
        self.feature_size = size
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(self, input: Tensor) -> Tensor:
        """(batch, stack, height, width[, colours]) -> (batch, feature_size)."""
        if input.ndim == 5:  # the channels are stack * colours, and are last in memory already
            batch, _, height, width, _ = input.shape
            input = input.permute(0, 2, 3, 1, 4).reshape(batch, height, width, -1)
            input = input.permute(0, 3, 1, 2)
        return super().forward(input)

    def read_ahead(self, input: Tensor) -> Tensor:
        """Input (batch, stack, height, width) for `forward`; see `PixelConv2d.read_ahead`."""
        first = next(module for module in self.modules() if isinstance(module, PixelConv2d))
        return first.read_ahead(input) if input.ndim == 4 else input


def smallest_frame(torso: str) -> int:
    """The smallest height and width, in pixels, that leaves a torso one pixel to flatten."""
    size = 1
    for layer in reversed(CONVOLUTIONS.get(torso, ())):  # impala halves, rounded up: 1 will do
        size = (size * layer.pool - 1) * layer.stride + layer.kernel
    return size


class DenseTorso(nn.Sequential):
    """Dense layers (dense1, dense2, ...) from flat observations to features; the "mlp" torso."""

    def __init__(self, config: NetworkConfig, observation_space: gymnasium.spaces.Box) -> None:
        size = math.prod(observation_space.shape)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for index, hidden in enumerate(config.hidden_sizes, start=1):
            layers.update(_dense_layers(f"dense{index}", size, hidden, config))
            size = hidden
        super().__init__(layers)
        self.feature_size = size

    def forward(self, input: Tensor) -> Tensor:
        """(batch, *observation shape) -> (batch, feature_size); bytes are scaled to [0, 1]."""
        scale = 1 / 255 if input.dtype == torch.uint8 else 1
        return super().forward(input.flatten(1).float() * scale)


def _dense_layers(
    name: str, in_features: int, out_features: int, config: NetworkConfig
) -> OrderedDict[str, nn.Module]:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers[name] = (
        NoisyLinear(in_features, out_features, config.noisy_sigma0)
        if config.noisy
        else nn.Linear(in_features, out_features)
    )
    if config.layer_norm != "none":
        layers[f"{name}_norm"] = nn.LayerNorm(out_features)
    layers[f"{name}_activation"] = ACTIVATIONS[config.activation]()
    if config.dropout > 0:
        layers[f"{name}_dropout"] = nn.Dropout(config.dropout)
    return layers


def make_torso(
    config: NetworkConfig,
    observation_space: gymnasium.Space,
    *,
    generator: torch.Generator | None = None,
) -> ImageTorso | DenseTorso:
    """Build and initialise a torso for one observation of a space (not a batch of them).

    generator: source of the initial weights; PyTorch's global one if None.
    Raises ValueError if the space is no Box, or the torso does not fit its shape.
    """
    if not isinstance(observation_space, gymnasium.spaces.Box):
        raise ValueError(f"networks observe a Box space, got {observation_space}")
    torso = (DenseTorso if config.torso == "mlp" else ImageTorso)(config, observation_space)
    initialise(torso, config.initialisation, gain=math.sqrt(2), generator=generator)
    return torso


def make_memory(
    config: NetworkConfig, in_features: int, *, generator: torch.Generator | None = None
) -> Memory | None:
    """Build and initialise the memory over `in_features` of a torso; None where there is none."""
    if config.memory == "none":
        return None
    memory = Memory(config.memory, in_features, config.memory_size)
    initialise(memory, config.initialisation, generator=generator)
    return memory


class QNetwork(nn.Module):
    """Action values, or atoms of their distributions, from observations: torso, memory and head."""

    def __init__(
        self,
        observation_space: gymnasium.Space,
        num_actions: int,
        atoms: int,
        config: NetworkConfig,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        """atoms: numbers for each action; 1 for expected values, else quantiles or logits.

        observation_space: of one observation. generator: source of the initial weights.
        Raises ValueError if the torso does not fit the space, or a count is below 1.
        """
        super().__init__()
        self.num_actions = num_actions
        self.atoms = atoms
        self.torso = make_torso(config, observation_space, generator=generator)
        self.memory = make_memory(config, self.torso.feature_size, generator=generator)
        self.head = QHead(
            self.torso.feature_size if self.memory is None else self.memory.size,
            num_actions,
            atoms,
            dueling=config.dueling,
            noisy_sigma0=config.noisy_sigma0 if config.noisy else None,
        )
        initialise(self.head, config.initialisation, generator=generator)

    def forward(self, observations: Tensor) -> Tensor:
        """(batch, *observation shape) -> (batch, actions, atoms) float32, under autocast too.

        For a network without memory.
        """
        return self.head(self.torso(observations))

    def unroll(
        self, observations: Tensor, state: State = None, starts: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Run over time, with or without memory.

        observations: (time, batch, *observation shape). state, starts: see `Memory.forward`.
        Returns outputs (time, batch, actions, atoms) float32, and the state after the last.
        """
        features = unrolled_features(self.torso, self.memory, observations, state, starts)
        outputs = self.head(features[0].flatten(0, 1))
        return outputs.unflatten(0, observations.shape[:2]), features[1]

    def reset_noise(self, generator: torch.Generator | None = None) -> None:
        """Draw new noise in every noisy layer; does nothing in a network without them."""
        reset_noise(self, generator)


def unrolled_features(
    torso: nn.Module,
    memory: Memory | None,
    observations: Tensor,
    state: State,
    starts: Tensor | None,
) -> tuple[Tensor, State]:
    """What a head is given over time: features (time, batch, any), and the state after the last.

    observations: (time, batch, *observation shape). state, starts: see `Memory.forward`.
    """
    features = torso(observations.flatten(0, 1)).unflatten(0, observations.shape[:2])
    return (features, None) if memory is None else memory(features, state, starts)
