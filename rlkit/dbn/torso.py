"""A stack of machines as an agent's torso: ours, or a feature extractor of Stable-Baselines3.

Where the torso's activation is "sigmoid", its features of observations as they come are the stack's
mean-field pass, chances h of the top hidden units. What Gaussian visible units see of the data, its
offsets and variances, goes into the first layer's weights. "tanh" is as exact: as 2 h - 1 is
tanh(x / 2) where h is sigmoid(x), such features only stand for chances stretched to [-1, 1]. Any
other activation gets the weights of "sigmoid", and its features differ: of "relu" they are the sums
of many copies of each unit with biases that fall by one (Nair & Hinton 2010), rounded off.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn
from torch.nn.functional import linear

from rlkit.dbn.dbn import DBN
from rlkit.dbn.network import Seen, feed_forward
from rlkit.dbn.rbm import RBM
from rlkit.dbn.rbm_file import Saved, load, read_provenance

EXACT_ACTIVATIONS = ("sigmoid", "tanh")
"""Those of a torso whose features tell what the stack's do."""

Layer = tuple[Tensor, Tensor]
"""Weights (outputs, inputs) and biases (outputs,)."""


def torso_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The weights of a stack's layers, by their names in a torso "mlp".

    They suit the activation that the file's provenance names, else "sigmoid". Of a classifier or
    regressor they are the fine-tuned ones, without the head.
    Raises RBMFileError where the file cannot be used.
    """
    activation = read_provenance(path).get("activation", "sigmoid")
    weights: dict[str, Tensor] = {}
    for number, (weight, bias) in enumerate(dense_layers(load(path), activation), start=1):
        weights[f"dense{number}.weight"], weights[f"dense{number}.bias"] = weight, bias
    return weights


def dense_layers(estimator: Saved, activation: str = "sigmoid") -> list[Layer]:
    """Layers that give features of rows as they come, from the bottom up, float32.

    activation: that follows each of them; see the module. Raises NotFittedError.
    """
    network = _network(estimator)
    layers: list[Layer] = []
    for module in network:
        if isinstance(module, nn.Linear):
            layers.append((module.weight.detach().double(), module.bias.detach().double()))
    seen = network[0]
    if isinstance(seen, Seen):
        weight, bias = layers[0]
        weight = weight / seen.variance.double()
        layers[0] = weight, bias - weight @ seen.offset.double()
    if activation == "tanh":
        layers = _for_tanh(layers)
    return [(weight.float(), bias.float()) for weight, bias in layers]


def policy_kwargs(stack: str | os.PathLike[str], *, frozen: bool = True) -> dict[str, Any]:
    """What a policy of Stable-Baselines3 takes to see the features of a stack: `StackFeatures`.

    `PPO("MlpPolicy", env, policy_kwargs=policy_kwargs("stack.safetensors"))`.
    """
    return {
        "features_extractor_class": StackFeatures,
        "features_extractor_kwargs": {"stack": os.fspath(stack), "frozen": frozen},
    }


class StackFeatures(BaseFeaturesExtractor):
    """Chances of a stack's top hidden units as features, for policies of Stable-Baselines3.

    Pictures arrive scaled to [0, 1] by the library (`normalize_images`), other bytes are scaled
    here.
    """

    def __init__(
        self, observation_space: gym.Space, stack: str | os.PathLike[str], frozen: bool = True
    ) -> None:
        """stack: a file. frozen: whether it stays as it is, or learns with the policy; a frozen one
        learns from `requires_grad_(True)` on.

        Raises RBMFileError where it cannot be used, ValueError where it takes other observations.
        """
        layers = dense_layers(load(stack))
        if not isinstance(observation_space, gym.spaces.Box):
            raise ValueError(f"a stack takes observations in a Box, got {observation_space}")
        columns, taken = math.prod(observation_space.shape), layers[0][0].shape[1]
        if columns != taken:
            raise ValueError(
                f"{stack} takes observations of {taken} numbers, but {observation_space} has"
                f" {columns}"
            )
        super().__init__(observation_space, len(layers[-1][1]))
        are_bytes = observation_space.dtype == np.uint8
        self._scale = 1.0 / 255.0 if are_bytes and not is_image_space(observation_space) else 1.0
        # Not as nn.Linear, which actor-critic policies fill with new weights (`ortho_init`).
        self.weights = nn.ParameterList([weight for weight, _ in layers])
        self.biases = nn.ParameterList([bias for _, bias in layers])
        self.requires_grad_(not frozen)

    def forward(self, observations: Tensor) -> Tensor:
        """(batch, *shape) float32 -> (batch, hidden units of the top)."""
        features = observations.flatten(1) * self._scale
        for weight, bias in zip(self.weights, self.biases, strict=True):
            features = linear(features, weight, bias).sigmoid()
        return features


def _network(estimator: Saved) -> nn.Sequential:
    """From rows to features, and, of fine-tuned estimators, to a head that is no layer of it."""
    if isinstance(estimator, RBM):
        return feed_forward([estimator._learned("machine_")])
    if isinstance(estimator, DBN):
        return estimator.network()
    network = estimator._learned("network_")
    return nn.Sequential(*(module for name, module in network.named_children() if name != "head"))


def _for_tanh(layers: Sequence[Layer]) -> list[Layer]:
    """Layers before tanh whose features are 2 h - 1, of those before sigmoid whose are h."""
    halved = []
    for number, (weight, bias) in enumerate(layers):
        if number > 0:  # it sees 2 h - 1 as well
            weight = 0.5 * weight
            bias = bias + weight.sum(dim=1)
        halved.append((0.5 * weight, 0.5 * bias))
    return halved
