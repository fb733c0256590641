"""Encoder, decoder and what lies between input and network: one module that learns as a whole."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from rlkit.autoencoder import losses
from rlkit.autoencoder.bodies import make_decoder, make_encoder
from rlkit.autoencoder.configuration import AutoencoderConfig
from rlkit_agents.precision import Precision, autocast

_PART = 4096


class AutoencoderNetwork(nn.Module):
    """Codes observations of `space`, and decodes them.

    Bytes, which go from 0 to 255, are scaled to [0, 1]. Other numbers are standardised with `mean`
    and `scale`, one for each feature of a flat observation, one for each channel of a picture;
    `learn_scaling` sets them, and the `average` scaled observation (*shape), to which a decoder of
    pictures adds what the code tells. `least` and `most` (latents,) bound the codes that bytes can
    tell.
    Raises ValueError for a space that is no Box, one without a number, bytes that end elsewhere, a
    torso that does not fit it, and cross-entropy of numbers that are no bytes.
    """

    def __init__(self, space: gym.Space, config: AutoencoderConfig) -> None:
        super().__init__()
        if not isinstance(space, gym.spaces.Box) or not space.shape:
            raise ValueError(f"autoencoders take observations in a Box with axes, not {space}")
        self.space = space
        self.config = config
        self.takes_bytes = space.dtype == np.uint8
        if self.takes_bytes and (space.high != 255).any():
            raise ValueError(
                f"bytes are taken for shades from 0 to 255, but these end at {space.high.max()}: "
                "give them as floats"
            )
        if config.reconstruction == "cross_entropy" and not self.takes_bytes:
            raise ValueError(f"cross_entropy needs bytes, not observations of {space.dtype}")
        variational = config.kind == "variational"
        network = config.network(space)
        outputs = config.latents * (2 if variational else 1)
        # The mean and the variance of a mirrored code have to be mirrored each by itself.
        if variational and config.mirrored:
            raise ValueError("a variational autoencoder cannot be mirrored")
        self.encoder = make_encoder(
            space,
            outputs,
            network,
            config.code_activation,
            mirrored=config.mirrored,
            halvings=config.halvings,
        )
        self.decoder = make_decoder(space, config.latents, network, halvings=config.halvings)
        shape = space.shape if network.torso == "mlp" else (space.shape[0], 1, 1)
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))
        self.average: Tensor
        self.register_buffer("average", torch.zeros(space.shape))
        self.least: Tensor
        self.most: Tensor
        self.register_buffer("least", torch.zeros(config.latents))
        self.register_buffer("most", torch.ones(config.latents))

    @torch.no_grad()
    def learn_scaling(self, observations: Tensor) -> None:
        """Standardise as `observations` (count, *shape) need it; those of bytes need nothing.

        What never changes is only centred: any departure from it counts in its own unit.
        """
        if not self.takes_bytes:
            self._standardise(observations)
        if len(self.space.shape) == 3:
            parts = observations.split(_PART)
            sums = torch.stack([self.scaled(part).sum(0) for part in parts])
            self.average.copy_(sums.sum(0) / len(observations))

    def _standardise(self, observations: Tensor) -> None:
        others = [0] if self.mean.shape == self.space.shape else [0, 2, 3]
        deviation, mean = torch.std_mean(observations.float(), others, correction=0, keepdim=True)
        self.mean.copy_(mean[0])
        constant = deviation <= 1e-6 * mean.abs().clamp(min=1.0)
        self.scale.copy_(torch.where(constant, torch.ones_like(deviation), deviation)[0])

    def codes(self, shape: tuple[int, ...] | None, dtype: np.dtype | None) -> bool:
        """Whether it takes observations like these: of its shape, and bytes or others as its own.

        What bounds a space has does not matter, nor the type of numbers that are no bytes.
        """
        if dtype is None or shape != self.space.shape:
            return False
        is_bytes = dtype == np.uint8
        return is_bytes if self.takes_bytes else not is_bytes and np.dtype(dtype).kind in "fiub"

    def scaled(self, observations: Tensor) -> Tensor:
        """What is reconstructed, float32: bytes in [0, 1], other numbers standardised."""
        if self.takes_bytes:
            return observations.float() * (1 / 255)
        return (observations.float() - self.mean) / self.scale

    def unscaled(self, decoded: Tensor) -> Tensor:
        """Observations as floats, from what the decoder gives."""
        if self.config.reconstruction == "cross_entropy":
            decoded = torch.sigmoid(decoded)
        return decoded * 255.0 if self.takes_bytes else decoded * self.scale + self.mean

    def encode(self, observations: Tensor, precision: Precision = "float32") -> Tensor:
        """Codes (batch, latents) float32 of observations (batch, *shape) as they come."""
        with autocast(precision, observations.device):
            # Convolutions scale bytes through their weights; what is flat is scaled by the torso.
            inputs = observations if self.takes_bytes else self.scaled(observations)
            return self._code(self.encoder(inputs))

    def to_bytes(self, codes: Tensor) -> Tensor:
        """Codes (batch, latents) in 256 steps from `least` to `most`, uint8; beyond is cut off.

        A number that never changed stays at step 0.
        """
        width = self.most - self.least
        steps = (codes - self.least) * 255.0 / width
        return torch.where(width > 0, steps, 0.0).round().clamp(0, 255).to(torch.uint8)

    def decode(self, codes: Tensor) -> Tensor:
        """(batch, latents) -> (batch, *shape) float32: scaled observations, or logits of them."""
        average = self.average
        if self.config.reconstruction == "cross_entropy":
            average = torch.logit(average, eps=1e-3) * (len(self.space.shape) == 3)
        return self.decoder(codes).float() + average

    def _code(self, outputs: Tensor) -> Tensor:
        return outputs[:, : self.config.latents]

    def loss(
        self,
        observations: Tensor,
        generator: torch.Generator | None = None,
        *,
        target: Tensor | None = None,
    ) -> Tensor:
        """What learning minimises, a scalar: reconstruction error and the penalty of its kind.

        generator: of the noise of a denoising or variational one; None uses PyTorch's. target:
        (batch, *shape), what the decoder should give; None is what is coded.
        """
        precision = self.config.precision
        if precision == "auto" and len(self.space.shape) < 3:
            precision = "float32"
        with autocast(precision, observations.device):
            coded = self.scaled(observations)
            if target is None or target is observations:
                return self._objective(coded, coded, generator)
            return self._objective(coded, self.scaled(target), generator)

    def _objective(
        self, coded: Tensor, target: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        """Of scaled observations and what should be decoded."""
        config = self.config
        inputs = self._spoilt(coded, generator) if config.kind == "denoising" else coded
        outputs = self.encoder(inputs)
        if config.kind == "variational":
            return -self._evidence(outputs, target, generator).mean()
        objective = self._errors(self.decode(self._code(outputs)), target).mean()
        if config.kind == "sparse":
            penalty = losses.activation_divergence(outputs, config.target_activation)
            objective = objective + config.penalty * penalty
        elif config.kind == "contractive":
            with torch.autocast(coded.device.type, enabled=False):  # exact, whatever the precision
                norms = losses.jacobian_norm(self.encoder, coded)
            objective = objective + config.penalty * norms.mean()
        return objective

    @torch.no_grad()
    def errors(self, observations: Tensor) -> Tensor:
        """(batch,): how badly each is reconstructed, the penalties of its kind left out.

        Of a variational one, the evidence lower bound with the code's mean, negated, for each
        number of the observation, in nats.
        """
        target = self.scaled(observations)
        outputs = self.encoder(target)
        if self.config.kind == "variational":
            return -self._evidence(outputs, target, None, draw=False)
        return self._errors(self.decode(self._code(outputs)), target)

    def _errors(self, decoded: Tensor, target: Tensor) -> Tensor:
        if self.config.reconstruction == "cross_entropy":
            return losses.cross_entropy(decoded, target)
        return losses.squared_error(decoded, target)

    def _evidence(
        self,
        outputs: Tensor,
        target: Tensor,
        generator: torch.Generator | None,
        *,
        draw: bool = True,
    ) -> Tensor:
        """(batch,) lower bound of the log-likelihood, for each number of the observation."""
        config = self.config
        mean, log_variance = outputs.chunk(2, 1)
        codes = mean
        if draw:
            noise = torch.randn(mean.shape, generator=generator, device=mean.device)
            codes = mean + (0.5 * log_variance).exp() * noise
        decoded = self.decode(codes)
        size = target[0].numel()
        if config.reconstruction == "cross_entropy":
            likelihood = -losses.cross_entropy(decoded, target)
        else:
            variance = config.decoder_variance
            likelihood = losses.gaussian_log_likelihood(decoded, target, variance) / size
        return likelihood - config.penalty * losses.gaussian_divergence(mean, log_variance) / size

    def _spoilt(self, coded: Tensor, generator: torch.Generator | None) -> Tensor:
        config, device = self.config, coded.device
        kept = torch.rand(coded.shape, generator=generator, device=device) >= config.masked
        spoilt = coded * kept
        if config.noise:
            noise = torch.randn(coded.shape, generator=generator, device=device)
            spoilt = spoilt + config.noise * noise
        return spoilt
