"""What a generative adversarial network is, and how its two sides learn.

Parameters of `rlkit.gan.gan.GAN` and `rlkit.gan.gan.ImageToImage`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal, get_args

from rlkit_agents.precision import Precision

Loss = Literal["original", "hinge", "relativistic"]
"""What the sides want; see `rlkit.gan.losses`."""

NetworkKind = Literal["dense", "convolutional"]
"""Two hidden layers on each side, or (transposed) convolutions."""

Augmentation = Literal["colour", "translation", "cutout"]
"""A kind of differentiable change to pictures; see `rlkit.gan.diff_augment`."""


_WHOLE = (
    *("penalty_every", "head_start", "discriminator_steps", "batch_size", "epochs", "patience"),
    *("seed", "latents", "channels", "most_channels", "picture_noise", "pixel_noise"),
)


@dataclass(frozen=True)
class AdversarialConfig:
    """How two sides learn against each other. Raises ValueError for numbers out of range."""

    loss: Loss = "relativistic"
    """original (non-saturating, Goodfellow 2014), hinge (Lim & Ye 2017), or relativistic (the
    pairing of R3GAN, Huang 2024, which wants `r1` and `r2` above 0)."""
    r1: float = 1.0
    """Gamma of the penalty on the discriminator's gradient at real examples (Mescheder 2018, eq.
    9): gamma / 2 times its mean squared norm; 0 for none."""
    r2: float = 1.0
    """The same at generated examples (Mescheder 2018, eq. 10)."""
    penalty_every: int = 4
    """Discriminator steps from one with these penalties to the next; they then weigh so much more
    (lazy regularisation, StyleGAN2, Karras 2020, section 3.1)."""
    spectral_norm: bool = False
    """Divide each weight of the discriminator by its largest singular value (Miyato 2018)."""
    generator_learning_rate: float = 1e-3
    """Step size of the generator's Adam."""
    discriminator_learning_rate: float = 1e-3
    """Of the discriminator's; the two-time-scale rule (Heusel 2017) makes it the larger one."""
    beta1: float = 0.0
    """Adam's decay of mean gradients, in [0, 1), on both sides."""
    beta2: float = 0.99
    """Adam's decay of squared gradients, in [0, 1), on both sides."""
    head_start: int = 0
    """Steps of the discriminator before the generator's first. Many saturate it: watch its
    accuracy."""
    discriminator_steps: int = 1
    """Of the discriminator for each step of the generator."""
    average_decay: float = 0.999
    """Of the average of the generator's weights, in (0, 1), for each of its steps; samples come
    from the average."""
    batch_size: int = 64
    """Real examples in a step, and as many generated ones."""
    epochs: int = 100
    """Passes over the data."""
    patience: int = 1000
    """Steps of the generator that its samples may stay nearly alike; then training stops."""
    precision: Precision = "auto"
    """Number format of the heavy arithmetic while learning: "auto" is bfloat16 for pictures where
    the processor is fast at it, else float32."""
    seed: int = 0
    """Non-negative; of first weights, batches and noise. The same seed gives the same weights on
    the same machine and number of threads."""

    def __post_init__(self) -> None:
        check_known("loss", self.loss, Loss)
        check_known("precision", self.precision, Precision)
        for name in ("penalty_every", "discriminator_steps", "batch_size", "epochs", "patience"):
            require(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        require("batch_size", self.batch_size, self.batch_size >= 2, "at least 2")
        for name in ("head_start", "seed"):
            require(name, getattr(self, name), 0 <= getattr(self, name) < 2**63, "at least 0")
        for name in _WHOLE:
            number = getattr(self, name, 0)
            require(name, number, isinstance(number, Integral), "a whole number")
        for name in ("r1", "r2"):
            value = getattr(self, name)
            require(name, value, 0.0 <= value < math.inf, "finite and not negative")
        for name in ("generator_learning_rate", "discriminator_learning_rate"):
            value = getattr(self, name)
            require(name, value, 0.0 < value < math.inf, "positive and finite")
        for name in ("beta1", "beta2"):
            require(name, getattr(self, name), 0.0 <= getattr(self, name) < 1.0, "in [0, 1)")
        require("average_decay", self.average_decay, 0.0 < self.average_decay < 1.0, "in (0, 1)")


@dataclass(frozen=True)
class GANConfig(AdversarialConfig):
    """Parameters of a `GAN`. Raises ValueError for numbers out of range."""

    network: NetworkKind | None = None
    """dense or convolutional; None is dense for rows and convolutional for pictures."""
    latents: int = 64
    """Numbers that a sample is made of, normally distributed."""
    hidden_sizes: tuple[int, int] = (128, 128)
    """Units in the two hidden layers of each dense side; the generator's first to last, the
    discriminator's in reverse."""
    channels: int = 32
    """Of the convolutional layers next to the picture; they double with each halving of the
    picture, up to `most_channels`."""
    most_channels: int = 256
    """Of any convolutional layer."""
    augmentations: tuple[Augmentation, ...] = ()
    """What is done at random to pictures, real and generated alike, before the discriminator sees
    them (DiffAugment, Zhao 2020): of help below some thousands of pictures."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "hidden_sizes", tuple(self.hidden_sizes))
        object.__setattr__(self, "augmentations", tuple(self.augmentations))
        for kind in self.augmentations:
            check_known("augmentations", kind, Augmentation)
        if self.network is not None:
            check_known("network", self.network, NetworkKind)
        for name in ("latents", "channels", "most_channels"):
            require(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        two = len(self.hidden_sizes) == 2 and min(self.hidden_sizes) >= 1
        require("hidden_sizes", self.hidden_sizes, two, "two numbers of at least 1")


@dataclass(frozen=True)
class ImageToImageConfig(AdversarialConfig):
    """Parameters of an `ImageToImage`, beside those of pix2pix (Isola et al. 2017).

    Raises ValueError for numbers out of range.
    """

    loss: Loss = "original"
    """As in pix2pix."""
    r1: float = 0.0
    """As in pix2pix, which has no such penalty."""
    r2: float = 0.0
    """As `r1`."""
    generator_learning_rate: float = 5e-4
    """Step size of the generator's Adam; 2e-4 in pix2pix."""
    discriminator_learning_rate: float = 1e-3
    """Of the discriminator's; 2e-4 in pix2pix."""
    beta1: float = 0.0
    """Adam's decay of mean gradients; 0.5 in pix2pix."""
    beta2: float = 0.999
    """As in pix2pix."""
    batch_size: int = 8
    """Pairs in a step; 1 in pix2pix."""
    reconstruction: float = 0.3
    """Weight of the mean absolute error, lambda in pix2pix (eq. 4), where it is 100: so large a
    weight suits changes with one result, and keeps out what is random."""
    channels: int = 32
    """Of the outer layers, 64 in pix2pix; they double with each halving of the picture, up to
    `most_channels`."""
    most_channels: int = 256
    """Of any layer, 512 in pix2pix."""
    halvings: int | None = None
    """How often the U-Net halves the picture; None as often as leaves at least two pixels, up to
    six times."""
    patch_halvings: int = 2
    """How often the discriminator does: 2 judge patches 34 pixels wide, 3 of 70 as in pix2pix."""
    picture_noise: int = 4
    """Random numbers for each picture, for what changes all over it, such as light; none in
    pix2pix. Without either noise, the same picture always gives the same."""
    pixel_noise: int = 1
    """Random numbers for each pixel, such as for what a camera adds; none in pix2pix."""

    def __post_init__(self) -> None:
        super().__post_init__()
        weight = self.reconstruction
        require("reconstruction", weight, 0.0 <= weight < math.inf, "finite and not negative")
        for name in ("channels", "most_channels", "patch_halvings"):
            require(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("picture_noise", "pixel_noise"):
            require(name, getattr(self, name), getattr(self, name) >= 0, "at least 0")
        halvings = self.halvings
        require("halvings", halvings, halvings is None or halvings >= 1, "at least 1")


def check_known(name: str, value: object, kinds: Any) -> None:
    """Raises ValueError where `value` is not one of a Literal."""
    if value not in get_args(kinds):
        raise ValueError(f"{name} is {value!r}; there are {', '.join(get_args(kinds))}")


def require(name: str, value: object, holds: bool, what: str) -> None:
    """Raises ValueError that says what `name` must be, where it does not hold."""
    if not holds:
        raise ValueError(f"{name} must be {what}, got {value}")
