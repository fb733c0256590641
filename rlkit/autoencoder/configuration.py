"""What an autoencoder is, and how it learns: the parameters of `rlkit.autoencoder.Autoencoder`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import gymnasium as gym

from rlkit.autoencoder.bodies import LatentActivation
from rlkit_agents.augmentation import augmentation_named
from rlkit_agents.networks import ActivationName, NetworkConfig, TorsoName, smallest_frame
from rlkit_agents.precision import Precision

Kind = Literal["plain", "denoising", "sparse", "contractive", "variational"]
"""What keeps an autoencoder from copying: a narrow code alone; inputs spoilt at random (Vincent
2010); few units active at a time (Ng 2011); a code that moves little when the input does (Rifai
2011); a code that is nearly a standard normal variable (Kingma & Welling 2014)."""

Reconstruction = Literal["squared_error", "cross_entropy"]


@dataclass(frozen=True)
class AutoencoderConfig:
    """Parameters of an autoencoder. Raises ValueError for numbers out of range."""

    kind: Kind = "plain"
    """plain, denoising, sparse, contractive or variational."""
    latents: int = 32
    """Numbers in a code."""
    torso: TorsoName | None = None
    """The encoder's layers before the last; None is "mlp" for flat observations, "small" for
    pictures, or "compact" for those too small for it."""
    hidden_sizes: tuple[int, ...] = (256, 128)
    """Units in the layers of the torso "mlp", and in reverse in its decoder."""
    dense_size: int | None = None
    """Units in the dense layer of an image torso and its decoder; None takes the torso's number."""
    activation: ActivationName = "relu"
    """Non-linearity between layers."""
    latent_activation: LatentActivation = "linear"
    """Of the code; a sparse one is "sigmoid" whatever stands here."""
    halvings: int = 0
    """How often convolutions halve a picture's sides, for a code that is a small map, `latents`
    numbers in all, each of which tells of what is around one place; it has no torso. 0 takes a
    torso and a dense layer: each number may then tell of the whole picture."""
    mirrored: bool = False
    """Code pictures so that the code of a mirrored picture is the code backwards."""
    reconstruction: Reconstruction = "squared_error"
    """How wrong a decoded number is; "cross_entropy" for bytes alone."""
    penalty: float = 1.0
    """Weight of the divergence or norm that a sparse, contractive or variational one minimises
    beside the reconstruction error; of a variational one it is beta (Higgins 2017)."""
    target_activation: float = 0.05
    """Mean activation of a unit that a sparse one aims at, in (0, 1)."""
    masked: float = 0.25
    """Share of numbers that a denoising one sees as 0, in [0, 1)."""
    noise: float = 0.0
    """Standard deviation of noise that a denoising one sees as well, in units of the scaled input
    (bytes as [0, 1], other numbers standardised)."""
    augmentation: tuple[str, ...] = ()
    """Random changes of what is coded while learning, in this order, such as `shift:2 noise:8`
    (`rlkit_agents.augmentation.KINDS`). What they move is to be decoded where it is then; all else
    is to be undone: the target has no noise, square or shadow, and its own shades."""
    decoder_variance: float = 0.1
    """Of the normal distribution that a variational one decodes to, in the same units squared."""
    weight_decay: float = 1e-5
    """Of AdamW (Loshchilov & Hutter 2019)."""
    learning_rate: float = 1e-3
    """Step size of AdamW; halved after each epoch without progress."""
    batch_size: int = 256
    """Samples in a gradient step."""
    epochs: int = 50
    """Passes over the data at most."""
    patience: int = 4
    """Epochs without progress on held-out data, one after another, after which it stops."""
    held_out: float = 0.1
    """Share of the data that it does not learn from, in (0, 1), where no other is given."""
    precision: Precision = "auto"
    """Number format of the heavy arithmetic while learning: "auto" is bfloat16 for pictures where
    the processor is fast at it, else float32."""
    seed: int = 0
    """Of first weights, batches, noise and what is held out."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden_sizes", tuple(self.hidden_sizes))
        object.__setattr__(self, "augmentation", tuple(self.augmentation))
        for name in self.augmentation:
            augmentation_named(name)
        for name, kinds in (
            ("kind", Kind),
            ("reconstruction", Reconstruction),
            ("latent_activation", LatentActivation),
            ("precision", Precision),
        ):
            if getattr(self, name) not in get_args(kinds):
                known = ", ".join(get_args(kinds))
                raise ValueError(f"{name} is {getattr(self, name)!r}; there are {known}")
        for name in ("latents", "batch_size", "epochs", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("halvings", "penalty", "noise", "weight_decay", "seed"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("learning_rate", "decoder_variance"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("target_activation", "held_out"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"{name} must lie between 0 and 1, got {getattr(self, name)}")
        if self.kind == "variational" and self.latent_activation != "linear":
            raise ValueError(
                "a variational one's code is a mean and a variance of any size: latent_activation "
                f"must be linear, not {self.latent_activation}"
            )
        if self.mirrored and self.halvings:
            raise ValueError("a code that is a map (halvings) cannot be mirrored as well")
        if self.torso is not None and self.halvings:
            raise ValueError(f"a code that is a map (halvings) has no torso, not {self.torso!r}")
        if not 0.0 <= self.masked < 1.0:
            raise ValueError(f"masked must be in [0, 1), got {self.masked}")

    @property
    def code_activation(self) -> LatentActivation:
        """Of the code, after what its kind demands."""
        return "sigmoid" if self.kind == "sparse" else self.latent_activation

    def network(self, space: gym.spaces.Box) -> NetworkConfig:
        """The torso for observations in `space`. Raises ValueError for unknown names."""
        torso = self.torso
        if torso is None and len(space.shape) < 3:
            torso = "mlp"
        elif torso is None:
            torso = "small" if min(space.shape[1:3]) >= 2 * smallest_frame("small") else "compact"
        return NetworkConfig(
            torso=torso,
            activation=self.activation,
            hidden_sizes=self.hidden_sizes,
            dense_size=self.dense_size,
        )
