"""An autoencoder's encoder as an agent's torso: ours, or a feature extractor of Stable-Baselines3.

An agent sees observations as they come, an encoder standardises those that are no bytes. The
standardisation goes into the first layer's weights, which changes nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Self

import gymnasium as gym
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from rlkit.autoencoder.autoencoder import find_autoencoder, load_autoencoder
from rlkit.autoencoder.network import AutoencoderNetwork


def torso_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The weights of the encoder's torso, by their names in the torso.

    Raises AutoencoderFileError where the file cannot be used.
    """
    return _unscaled_torso(load_autoencoder(path).network)


def _unscaled_torso(network: AutoencoderNetwork) -> dict[str, Tensor]:
    """Weights that give, of observations as they come, what the torso gives of scaled ones."""
    weights = {name: w.clone() for name, w in network.encoder.torso.state_dict().items()}
    if network.takes_bytes:
        return weights
    first = next(name for name in weights if name.endswith(".weight")).removesuffix(".weight")
    weight, bias = weights[f"{first}.weight"], weights[f"{first}.bias"]
    scale, mean = network.scale.flatten(), network.mean.flatten()
    shape = (1, -1, *(1,) * (weight.ndim - 2))  # of features, or of a convolution's channels
    unscaled = weight / scale.reshape(shape)
    weights[f"{first}.weight"] = unscaled
    weights[f"{first}.bias"] = bias - (unscaled * mean.reshape(shape)).flatten(1).sum(1)
    return weights


class EncoderFeatures(BaseFeaturesExtractor):
    """Codes as features, for policies of Stable-Baselines3.

    `PPO("CnnPolicy", env, policy_kwargs={"features_extractor_class": EncoderFeatures,
    "features_extractor_kwargs": {"encoder": "boxing-stack.safetensors"}})`. Pictures arrive scaled
    to [0, 1] by the library (`normalize_images`, to be left at True), as an encoder of bytes has
    them; what is flat does not, and is scaled here.
    """

    def __init__(
        self, observation_space: gym.Space, encoder: str | os.PathLike[str], frozen: bool = True
    ) -> None:
        """encoder: the name of one that ships with rlkit, or its file. frozen: whether it stays as
        it is, or learns with the policy.

        Raises AutoencoderFileError where it cannot be used, ValueError where it codes something
        else.
        """
        network = find_autoencoder(os.fspath(encoder)).network
        super().__init__(observation_space, network.config.latents)
        if not network.codes(observation_space.shape, observation_space.dtype):
            raise ValueError(
                f"{encoder} codes observations in {network.space}, but these are in "
                f"{observation_space}"
            )
        self._network = network.requires_grad_(not frozen)
        self._latents = network.config.latents
        self._is_scaled = is_image_space(observation_space)

    def apply(self, fn: Callable[[nn.Module], None]) -> Self:
        """Nothing: actor-critic policies would fill all layers with new weights (`ortho_init`)."""
        return self

    def forward(self, observations: Tensor) -> Tensor:
        """(batch, *shape) float32 -> (batch, latents)."""
        network = self._network
        if not network.takes_bytes or not self._is_scaled:
            observations = network.scaled(observations)
        return network.encoder(observations)[:, : self._latents]
