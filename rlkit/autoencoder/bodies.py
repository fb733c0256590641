"""Encoders and decoders: the networks between observations and latents.

An encoder is an agent's torso (`rlkit_agents.networks`) and one linear layer, so that what it has
learnt can start an agent. A decoder is the torso turned round: dense layers, then transposed
convolutions that undo the torso's strides. Codes that are maps are made by convolutions alone;
their decoder, which picking policies have as well, is `rlkit_agents.coded_pictures.MapDecoder`.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Literal

import gymnasium as gym
import torch
from torch import Tensor, nn

from rlkit_agents.coded_pictures import MapDecoder, map_channels, map_shape
from rlkit_agents.networks import (
    ACTIVATIONS,
    CONVOLUTIONS,
    DENSE_SIZES,
    NetworkConfig,
    make_torso,
)

LatentActivation = Literal["linear", "sigmoid", "tanh"]

_LATENT_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "linear": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}


class Encoder(nn.Module):
    """Observations (batch, *shape) -> (batch, outputs): a torso and a linear layer."""

    def __init__(
        self,
        space: gym.spaces.Box,
        outputs: int,
        network: NetworkConfig,
        activation: LatentActivation = "linear",
    ) -> None:
        """Raises ValueError where the torso does not fit the space."""
        super().__init__()
        self.torso = make_torso(network, space)
        self.latent = nn.Linear(self.torso.feature_size, outputs)
        self.activation = _LATENT_ACTIVATIONS[activation]()

    def forward(self, observations: Tensor) -> Tensor:
        """(batch, *shape), bytes or floats -> (batch, outputs) float32."""
        return self.activation(self.latent(self.torso(observations)).float())


class MirroredEncoder(nn.Module):
    """An encoder whose code is mirrored when the picture is: halves of it change places.

    The code of a picture x is [g(x), g(mirrored x) backwards]: of the mirrored picture it is the
    same code, read from its end. So `rlkit_agents.symmetry.Symmetry` mirrors codes as it mirrors
    pictures, by turning round the last axis, and agents can learn from both.
    """

    def __init__(self, one_side: Encoder) -> None:
        super().__init__()
        self.one_side = one_side

    @property
    def torso(self) -> nn.Module:
        return self.one_side.torso

    def forward(self, observations: Tensor) -> Tensor:
        """(batch, *shape), the columns last -> (batch, twice one side's outputs) float32."""
        both = torch.cat((observations, observations.flip(-1)))
        left, right = self.one_side(both).chunk(2)
        return torch.cat((left, right.flip(-1)), 1)


class MapEncoder(nn.Sequential):
    """Pictures (batch, channels, height, width) -> (batch, outputs), a small map laid out flat.

    Convolutions alone halve the sides, so that each number tells of what is around one place. The
    map's channels come first: of twice as many outputs the first half are the first of each place.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        outputs: int,
        halvings: int,
        activation: LatentActivation = "linear",
    ) -> None:
        """Raises ValueError where the pictures and the outputs give no map."""
        coded = map_shape(shape, outputs, halvings)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        size = shape[0]
        for index, width in enumerate(map_channels(halvings), start=1):
            layers[f"halving{index}"] = nn.Conv2d(size, width, 4, 2, 1)
            layers[f"halving{index}_activation"] = nn.ReLU()
            size = width
        layers["conv"] = nn.Conv2d(size, size, 3, padding=1)
        layers["conv_activation"] = nn.ReLU()
        layers["latent"] = nn.Conv2d(size, coded[0], 1)
        layers["flatten"] = nn.Flatten()
        layers["activation"] = _LATENT_ACTIVATIONS[activation]()
        super().__init__(layers)

    @property
    def torso(self) -> nn.Module:
        raise ValueError("a code that is a map (halvings) has no torso that an agent could have")

    def forward(self, input: Tensor) -> Tensor:
        """(batch, channels, height, width), bytes as [0, 1] -> (batch, outputs) float32."""
        scale = 1 / 255 if input.dtype == torch.uint8 else 1
        return super().forward(input.float() * scale).float()


class DenseDecoder(nn.Sequential):
    """Latents to flat observations, through the torso's hidden layers in reverse."""

    def __init__(self, latents: int, shape: tuple[int, ...], network: NetworkConfig) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        size = latents
        for index, hidden in enumerate(reversed(network.hidden_sizes), start=1):
            layers[f"dense{index}"] = nn.Linear(size, hidden)
            layers[f"activation{index}"] = ACTIVATIONS[network.activation]()
            size = hidden
        layers["out"] = nn.Linear(size, math.prod(shape))
        layers["unflatten"] = nn.Unflatten(1, shape)
        super().__init__(layers)


class ImageDecoder(nn.Sequential):
    """Latents to pictures (channels, height, width): a dense layer, then transposed convolutions.

    Of a torso without pooling: pooled pixels have no place that they came from.
    """

    def __init__(self, latents: int, shape: tuple[int, ...], network: NetworkConfig) -> None:
        """Raises ValueError for a torso that cannot be turned round."""
        convolutions = CONVOLUTIONS.get(network.torso)
        if convolutions is None or any(layer.pool > 1 for layer in convolutions):
            turned = [
                name
                for name, layers in CONVOLUTIONS.items()
                if all(layer.pool == 1 for layer in layers)
            ]
            raise ValueError(
                f"torso {network.torso!r} cannot be turned round into a decoder; "
                f"there are {', '.join(turned)}"
            )
        channels, height, width = shape
        sizes = [(channels, height, width)]
        for layer in convolutions:
            height = (height - layer.kernel) // layer.stride + 1
            width = (width - layer.kernel) // layer.stride + 1
            sizes.append((layer.channels, height, width))
        dense = network.dense_size or DENSE_SIZES[network.torso]
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["dense1"] = nn.Linear(latents, dense)
        layers["activation1"] = ACTIVATIONS[network.activation]()
        layers["dense2"] = nn.Linear(dense, math.prod(sizes[-1]))
        layers["unflatten"] = nn.Unflatten(1, sizes[-1])
        for index in reversed(range(len(convolutions))):
            layer = convolutions[index]
            (inside, *small), (outside, *large) = sizes[index + 1], sizes[index]
            left_over = [
                big - ((little - 1) * layer.stride + layer.kernel)
                for big, little in zip(large, small, strict=True)
            ]
            layers[f"activation_{index + 2}"] = ACTIVATIONS[network.activation]()
            layers[f"conv{index + 1}"] = nn.ConvTranspose2d(
                inside,
                outside,
                layer.kernel,
                layer.stride,
                output_padding=(left_over[0], left_over[1]),
            )
        super().__init__(layers)


def make_encoder(
    space: gym.spaces.Box,
    outputs: int,
    network: NetworkConfig,
    activation: LatentActivation,
    *,
    mirrored: bool,
    halvings: int = 0,
) -> Encoder | MirroredEncoder | MapEncoder:
    """The encoder of observations in `space`.

    Raises ValueError where the torso does not fit the space, or the code of a mirrored encoder has
    an odd length or the space no columns; with `halvings` where that gives no map.
    """
    if halvings:
        return MapEncoder(space.shape, outputs, halvings, activation)
    if not mirrored:
        return Encoder(space, outputs, network, activation)
    if outputs % 2:
        raise ValueError(f"the code of a mirrored encoder has two halves: {outputs} is odd")
    if len(space.shape) != 3:
        raise ValueError(f"only pictures can be mirrored, not observations of shape {space.shape}")
    return MirroredEncoder(Encoder(space, outputs // 2, network, activation))


def make_decoder(
    space: gym.spaces.Box, latents: int, network: NetworkConfig, *, halvings: int = 0
) -> DenseDecoder | ImageDecoder | MapDecoder:
    """The decoder to observations in `space`, before any scaling to their range.

    Raises ValueError for pictures with another axis for colours, and torsos that cannot be turned
    round; with `halvings` where that gives no map.
    """
    if halvings:
        return MapDecoder(space.shape, latents, halvings)
    if network.torso == "mlp":
        return DenseDecoder(latents, space.shape, network)
    if len(space.shape) != 3:
        raise ValueError(
            f"pictures are decoded as (channels, height, width), not {space.shape}; flat "
            "observations take torso 'mlp'"
        )
    return ImageDecoder(latents, space.shape, network)
