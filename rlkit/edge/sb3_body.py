"""Bodies of Stable-Baselines3's and sb3-contrib's policies: what acts, without critics.

A value-based network, an actor of any algorithm, or a recurrent one, in plain layers. Squashed
actions are scaled to their bounds in the body, as the library does outside its network.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import FlattenExtractor, NatureCNN
from torch import Tensor, nn

from rlkit.edge.body import Body, ChannelsFirst, ColoursToChannels, ExportError, LSTMCell, dense
from rlkit.sb3.observations import is_channels_last, is_colour_stack, seen_space
from rlkit.sb3.policy import StableBaselinesPolicy


def body_of_stable_baselines(policy: StableBaselinesPolicy) -> Body:
    """The body of a policy of one of the libraries, with weights of its own.

    Raises ExportError for observations other than arrays, actions other than one choice or a box,
    an LSTM of several layers, and layers that are not the library's own.
    """
    for space, kinds in (
        (policy.observation_space, (spaces.Box,)),
        (policy.action_space, (spaces.Box, spaces.Discrete)),
    ):
        if not isinstance(space, kinds):
            raise ExportError(f"a policy of {type(space).__name__} spaces cannot be deployed")
    network: Any = policy.network
    cell = _cell(network.lstm_actor) if hasattr(network, "lstm_actor") else None
    extractor, layers = _acting(network)
    front = [*_layout(policy.observation_space), *_layers_of(_features(extractor, network))]
    _read_whole_bytes([*front, *layers], network)
    last = max(place for place, layer in enumerate(layers) if isinstance(layer, nn.Linear))
    if cell is None:
        front, layers = [*front, *layers[:last]], layers[last:]
    tail = _squash(network, policy.action_space)
    return Body(nn.Sequential(*front), cell, nn.Sequential(*layers, *tail))


def _acting(network: Any) -> tuple[nn.Module, list[nn.Module]]:
    """The features' extractor, and the layers behind it, or behind the LSTM."""
    if hasattr(network, "q_net"):
        return network.q_net.features_extractor, list(_layers_of(network.q_net.q_net))
    if hasattr(network, "quantile_net"):
        net = network.quantile_net
        *hidden, last = _layers_of(net.quantile_net)
        assert isinstance(last, nn.Linear)
        weight, bias = (  # the mean over quantiles is linear too
            each.data.unflatten(0, (net.n_quantiles, -1)).mean(0)
            for each in (last.weight, last.bias)
        )
        return net.features_extractor, [*hidden, dense(weight, bias)]
    if hasattr(network, "mlp_extractor"):
        layers = [*_layers_of(network.mlp_extractor.policy_net), *_layers_of(network.action_net)]
        return network.pi_features_extractor, layers
    actor = getattr(network, "actor", network)
    if hasattr(actor, "latent_pi"):
        layers = [*_layers_of(actor.latent_pi), *_layers_of(actor.mu)]
    else:
        layers = list(_layers_of(actor.mu if hasattr(actor, "mu") else actor.action_net))
    if isinstance(layers[-1], nn.Tanh):
        layers.pop()  # it comes with the bounds
    return actor.features_extractor, layers


def _features(extractor: nn.Module, network: BasePolicy) -> nn.Module:
    if not isinstance(extractor, FlattenExtractor | NatureCNN):
        raise ExportError(
            f"a policy of {type(network).__name__} with {type(extractor).__name__} cannot be "
            "deployed; what can is FlattenExtractor or NatureCNN"
        )
    return extractor


def _layers_of(module: nn.Module) -> Iterator[nn.Module]:
    """Copies of the layers of a sequence, however deep they are in others."""
    if isinstance(module, nn.Sequential | FlattenExtractor | NatureCNN):
        for child in module.children():
            yield from _layers_of(child)
    elif not isinstance(module, nn.Identity):
        yield copy.deepcopy(module)


def _layout(space: spaces.Space) -> Iterable[nn.Module]:
    """What brings the environment's pictures into the library's order."""
    if is_colour_stack(space):
        return (ColoursToChannels(),)
    return (ChannelsFirst(),) if is_channels_last(space) else ()


def _read_whole_bytes(layers: list[nn.Module], network: BasePolicy) -> None:
    """Make the first layer take bytes scaled to [0, 1] where the library gives it whole numbers."""
    space = seen_space(network.observation_space)
    if space.dtype != np.uint8 or (network.normalize_images and is_image_space(space)):
        return
    first = next(each for each in layers if isinstance(each, nn.Conv2d | nn.Linear))
    first.weight.data *= 255.0


def _cell(lstm: nn.LSTM) -> LSTMCell:
    if lstm.num_layers > 1:
        raise ExportError(f"an LSTM of {lstm.num_layers} layers cannot be deployed; one layer can")
    weights = {name: each.data for name, each in lstm.named_parameters()}
    input, hidden = (
        dense(weights[f"weight_{which}_l0"], weights[f"bias_{which}_l0"]) for which in ("ih", "hh")
    )
    return LSTMCell(lstm.hidden_size, input, hidden)


def _squash(network: BasePolicy, space: spaces.Space) -> Iterable[nn.Module]:
    if not isinstance(space, spaces.Box) or not network.squash_output:
        return ()
    return (Squashed(torch.from_numpy(space.low), torch.from_numpy(space.high)),)


class Squashed(nn.Module):
    """Components of an action between its bounds, by tanh."""

    low: Tensor
    range: Tensor

    def __init__(self, low: Tensor, high: Tensor) -> None:
        """low, high: of the action space, of any one shape."""
        super().__init__()
        self.register_buffer("low", low.flatten().float())
        self.register_buffer("range", (high - low).flatten().float())

    def forward(self, outputs: Tensor) -> Tensor:
        """(batch, components) -> the same."""
        return self.low + 0.5 * (torch.tanh(outputs) + 1.0) * self.range
