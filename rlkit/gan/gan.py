"""Generative adversarial networks as estimators in scikit-learn's manners.

Networks are in `generators.py`, `discriminators.py` and `image_to_image.py`, a gradient step is in
`alternation.py`, epochs in `training.py`, files in `gan_file.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from rlkit.estimator import ConfigT, ConfiguredEstimator
from rlkit.gan.alternation import Alternation
from rlkit.gan.configuration import GANConfig, ImageToImageConfig
from rlkit.gan.diff_augment import augmented
from rlkit.gan.discriminators import build_discriminator
from rlkit.gan.fingerprints import fingerprints
from rlkit.gan.generators import build_generator
from rlkit.gan.image_to_image import PatchDiscriminator, UNet, noise_size, size_of_changes
from rlkit.gan.monitoring import EpochRecord
from rlkit.gan.training import train
from rlkit.gan.training_data import (
    Examples,
    Scaling,
    check_discreteness,
    check_variety,
    checked_examples,
    checked_labels,
    checked_pictures,
    scaling_of,
)
from rlkit_agents.precision import Precision

_BATCH = 256

Examined = ArrayLike | Tensor
"""An array, a tensor, nested lists."""


class _Adversarial(ConfiguredEstimator[ConfigT]):
    """What both estimators have: an averaged generator, its history, and where it comes from."""

    config_: ConfigT
    generator_: nn.Module
    history_: list[EpochRecord]
    shape_: tuple[int, ...]

    def __init__(self, config: ConfigT | None = None, **changes: Any) -> None:
        """config: None stands for the defaults. changes: fields of it by name.

        Raises ValueError for a field that is not there or a number out of range.
        """
        super().__init__(config, **changes)
        self._forget_origin()

    def __sklearn_is_fitted__(self) -> bool:
        return "generator_" in self.__dict__

    def _take_over(self, generator: nn.Module, history: list[EpochRecord]) -> None:
        """A fitted generator and its history, which are of the present parameters."""
        self.config_, self.generator_, self.history_ = self.config, generator.eval(), history
        self._forget_origin()

    def _forget_origin(self) -> None:
        """Know nothing of the data of a fit, as what was said of an earlier one is no longer so."""
        self.provenance: dict[str, Any] = {}
        self.learnt_rows_: NDArray[np.int64] = np.zeros(0, np.int64)

    def _follower(
        self, on_epoch: Sequence[Callable[[EpochRecord, Self], None]]
    ) -> Callable[[EpochRecord, nn.Module], None]:
        """Takes over the averaged generator after each epoch, and shows it to `on_epoch`."""

        def follow(record: EpochRecord, average: nn.Module) -> None:
            self.generator_ = average
            self.history_ = [*self.history_, record]
            for watch in on_epoch:
                watch(record, self)

        return follow


class GAN(_Adversarial[GANConfig]):
    """Learns to make examples like those it is fitted to: pictures or rows, of a label if asked.

    Parameters are the fields of `GANConfig`. After `fit`:

    config_: the parameters that it was fitted with.
    generator_: the averaged generator, in evaluation mode.
    history_: an `EpochRecord` for each epoch.
    shape_: of an example, (channels, height, width) or (features,).
    classes_: (classes,) int64, in ascending order; None without labels.
    class_shares_: (classes,) float64, of the examples; None without labels.
    scaling_: between data and what networks see.
    learnt_rows_: (count,) int64, the `fingerprints` of what it was fitted to.
    provenance: plain JSON data on what it was fitted to, for its file.
    """

    config_class = GANConfig

    classes_: NDArray[np.int64] | None
    class_shares_: NDArray[np.float64] | None
    scaling_: Scaling

    def fit(
        self,
        images: Examined,
        labels: Examined | None = None,
        *,
        on_epoch: Sequence[Callable[[EpochRecord, GAN], None]] = (),
        device: torch.device | str = "cpu",
    ) -> Self:
        """Learn from scratch.

        images: (count, channels, height, width) or (count, height, width) uint8, or rows (count,
        features) of numbers for the dense network. labels: (count,) whole numbers from 0 on.
        on_epoch: called after each epoch with its record and a GAN to sample from, which has the
        weights of that moment.
        Warns (DivergenceWarning) where training diverges or collapses: it stops, and the generator
        is that of the last good epoch; and (DiscreteDataWarning) of columns with few values.
        Raises DivergenceError where there was no good epoch, ValueError for data that does not fit
        (see `training_data`), and leaves what was learned before where it raises.
        """
        data = checked_examples(images)
        classes, places = None, None
        if labels is not None:
            classes, places = checked_labels(labels, len(data))
            check_variety(data, classes, places)
        if data.ndim == 2:
            check_discreteness(data)
        shape, count = tuple(data.shape[1:]), 0 if classes is None else len(classes)
        scaling = scaling_of(data)
        config, device = self.config, torch.device(device)
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            generator = _placed(build_generator(config, shape, count), device)
            discriminator = _placed(build_discriminator(config, shape, count), device)
        fitted = GAN(config)
        shares = None if places is None else np.bincount(places.numpy()) / len(places)
        fitted.set_learned(generator, shape, scaling.to(device), classes, shares, [])

        def change(pictures: Tensor, random: torch.Generator) -> Tensor:
            return augmented(pictures, config.augmentations, random)

        alternation = Alternation(
            generator,
            discriminator,
            config,
            latents=config.latents,
            precision=_precision(config.precision, shape),
            change=change if config.augmentations and len(shape) == 3 else None,
        )
        examples = Examples(data, places, fitted.scaling_, device, classes)
        average, history = train(alternation, examples, fitted._follower(on_epoch))
        self.set_learned(average, shape, fitted.scaling_, classes, shares, history)
        self.learnt_rows_ = fingerprints(data.numpy())
        return self

    def set_learned(
        self,
        generator: nn.Module,
        shape: tuple[int, ...],
        scaling: Scaling,
        classes: NDArray[np.int64] | None,
        class_shares: NDArray[np.float64] | None,
        history: list[EpochRecord],
    ) -> Self:
        """Take over a fitted generator, such as from a file; see the class for what they are."""
        self._take_over(generator, history)
        self.shape_, self.scaling_ = shape, scaling
        self.classes_, self.class_shares_ = classes, class_shares
        self._sampling = np.random.default_rng((self.config.seed, 2))
        return self

    def sample(
        self,
        count: int,
        labels: Examined | None = None,
        seed: int | None = None,
        *,
        truncation: float = 1.0,
    ) -> NDArray[Any]:
        """Make examples: (count, *shape_), uint8 pictures or float32 rows.

        labels: (count,) or one for all, of `classes_`; None draws them as often as in the data.
        seed: None differs from call to call. truncation: in (0, 1], a factor on the latents: below
        1 examples are more typical and less varied. It does what the truncation trick of Brock et
        al. (2019) does by drawing anew what lies far out, and is psi of Karras et al. (2019),
        applied to the latents themselves.
        Raises NotFittedError, and ValueError for labels that were not learnt.
        """
        places = self._places(count, labels, seed)
        return self._made(_truncated(self.latents(count, seed), truncation), places)

    def sample_with_labels(
        self, count: int, seed: int | None = None, *, truncation: float = 1.0
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Examples (count, *shape_) and their labels (count,), as often each as in the data.

        truncation: as for `sample`.
        Raises NotFittedError, and ValueError for one that was fitted without labels.
        """
        places = self._places(count, None, seed)
        if places is None or self.classes_ is None:
            raise ValueError("this GAN was fitted without labels")
        latents = _truncated(self.latents(count, seed), truncation)
        return self._made(latents, places), self.classes_[places]

    def generate(self, latents: Examined, labels: Examined | None = None) -> NDArray[Any]:
        """The examples (count, *shape_) that latents (count, latents) stand for.

        labels: (count,) or one for all, of `classes_`; a GAN with labels needs them.
        Raises NotFittedError, and ValueError for latents of another size or labels not learnt.
        """
        noise = np.asarray(latents, np.float32)
        size = self._learned("config_").latents
        if noise.ndim != 2 or noise.shape[1] != size:
            raise ValueError(f"latents have {size} numbers each, got {noise.shape}")
        if labels is None and self._learned("classes_") is not None:
            raise ValueError("this GAN was fitted with labels, so say of which to make examples")
        return self._made(noise, self._places(len(noise), labels, 0))

    def latents(self, count: int, seed: int | None = None) -> NDArray[np.float32]:
        """What samples are made of, (count, latents), standard normal.

        Raises NotFittedError, and ValueError for a negative count.
        """
        stream = self._learned("_sampling") if seed is None else np.random.default_rng(seed)
        if count < 0:
            raise ValueError(f"count must be at least 0, got {count}")
        return stream.standard_normal((count, self.config_.latents), np.float32)

    def _places(
        self, count: int, labels: Examined | None, seed: int | None
    ) -> NDArray[np.int64] | None:
        """The place of each label among the classes."""
        classes: NDArray[np.int64] | None = self._learned("classes_")
        if classes is None:
            if labels is not None:
                raise ValueError("this GAN was fitted without labels and cannot be asked for any")
            return None
        if labels is None:
            stream = self._sampling if seed is None else np.random.default_rng((seed, 1))
            return stream.choice(len(classes), count, p=self.class_shares_)
        wanted = np.asarray(labels)
        if wanted.shape not in ((), (count,)):
            raise ValueError(f"labels must be {count} or one for all, got shape {wanted.shape}")
        unknown = ~np.isin(wanted, classes)
        if unknown.any():
            raise ValueError(
                f"label {wanted[unknown][0]} was not learnt; there are"
                f" {', '.join(str(kind) for kind in classes)}"
            )
        return np.broadcast_to(np.searchsorted(classes, wanted), (count,))

    @torch.no_grad()
    def _made(self, latents: NDArray[np.float32], places: NDArray[np.int64] | None) -> NDArray[Any]:
        generator, scaling = self._learned("generator_"), self.scaling_
        device = next(generator.parameters()).device
        made = []
        for rows in torch.arange(len(latents)).split(_BATCH):
            noise = torch.from_numpy(latents[rows.numpy()]).to(device)
            labels = None if places is None else torch.from_numpy(places[rows.numpy()]).to(device)
            made.append(scaling.unscaled(generator(noise, labels)).cpu().numpy())
        dtype = np.uint8 if scaling.mean is None else np.float32
        return np.concatenate(made) if made else np.empty((0, *self.shape_), dtype)


class ImageToImage(_Adversarial[ImageToImageConfig]):
    """Learns to turn pictures of one kind into another, from pairs (pix2pix).

    Parameters are the fields of `ImageToImageConfig`. After `fit`:

    config_: the parameters that it was fitted with.
    generator_: the averaged U-Net, in evaluation mode.
    history_: an `EpochRecord` for each epoch.
    shape_: of an input, (channels, height, width).
    outputs_: channels of an output.
    learnt_rows_: (count,) int64, the `fingerprints` of the pairs that it was fitted to.
    provenance: plain JSON data on what it was fitted to, for its file.
    """

    config_class = ImageToImageConfig

    outputs_: int

    def fit(
        self,
        inputs: Examined,
        targets: Examined,
        *,
        on_epoch: Sequence[Callable[[EpochRecord, ImageToImage], None]] = (),
        device: torch.device | str = "cpu",
    ) -> Self:
        """Learn from scratch.

        inputs, targets: (count, channels, height, width) or (count, height, width) uint8, as many
        and of one size; channels may differ. on_epoch: called after each epoch with its record and
        an ImageToImage that has the weights of that moment.
        Warns (DivergenceWarning) where training diverges or collapses: it stops, and the generator
        is that of the last good epoch. Raises DivergenceError where there was none, and ValueError
        for pictures that do not fit; it leaves what was learned before where it raises.
        """
        sources, wanted = checked_pictures(inputs), checked_pictures(targets)
        if len(sources) != len(wanted) or sources.shape[2:] != wanted.shape[2:]:
            raise ValueError(
                "inputs and targets must be as many and of one height and width, got"
                f" {tuple(sources.shape)} and {tuple(wanted.shape)}"
            )
        scaling = scaling_of(wanted)
        config, device = self.config, torch.device(device)
        shape, outputs = tuple(sources.shape[1:]), wanted.shape[1]
        change = size_of_changes(sources, wanted)
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            generator = _placed(UNet(config, shape, outputs, change), device)
            discriminator = _placed(PatchDiscriminator(config, shape, outputs, change), device)
        alternation = Alternation(
            generator,
            discriminator,
            config,
            latents=noise_size(config, shape),
            precision=config.precision,
            reconstruction=config.reconstruction,
        )
        fitted = ImageToImage(config).set_learned(generator, shape, outputs, [])
        examples = Examples(wanted, sources, scaling, device)
        average, history = train(alternation, examples, fitted._follower(on_epoch))
        self.set_learned(average, shape, outputs, history)
        self.learnt_rows_ = fingerprints(sources.numpy(), wanted.numpy())
        return self

    def set_learned(
        self,
        generator: nn.Module,
        shape: tuple[int, ...],
        outputs: int,
        history: list[EpochRecord],
    ) -> Self:
        """Take over a fitted U-Net, such as from a file; see the class for what they are."""
        self._take_over(generator, history)
        self.shape_, self.outputs_ = shape, outputs
        return self

    @torch.no_grad()
    def transform(self, inputs: Examined, seed: int = 0) -> NDArray[np.uint8]:
        """Outputs (count, outputs_, height, width) uint8 of inputs, as `fit` takes them.

        seed: of what is random in them.
        Raises NotFittedError, and ValueError for pictures of another shape.
        """
        generator = self._learned("generator_")
        device = next(generator.parameters()).device
        random = torch.Generator().manual_seed(seed)
        pictures = checked_pictures(inputs, least=0)
        if tuple(pictures.shape[1:]) != self.shape_:
            raise ValueError(
                f"inputs have the shape {self.shape_} as in training, got"
                f" {tuple(pictures.shape[1:])}"
            )
        scaling = Scaling()
        made = [np.empty((0, self.outputs_, *self.shape_[1:]), np.uint8)]
        for part in pictures.split(_BATCH):
            if len(part):
                noise = torch.randn(len(part), self.noise_size, generator=random).to(device)
                outputs = generator(noise, scaling.scaled(part.to(device)))
                made.append(scaling.unscaled(outputs).cpu().numpy())
        return np.concatenate(made)

    @property
    def noise_size(self) -> int:
        """Random numbers that a picture is translated with; see `image_to_image.noise_size`."""
        return noise_size(self._learned("config_"), self.shape_)


def _truncated(latents: NDArray[np.float32], truncation: float) -> NDArray[np.float32]:
    if not 0.0 < truncation <= 1.0:
        raise ValueError(f"truncation must be in (0, 1], got {truncation}")
    return latents * np.float32(truncation)


def _placed(network: nn.Module, device: torch.device) -> nn.Module:
    return network.to(device=device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def _precision(precision: Precision, shape: tuple[int, ...]) -> Precision:
    """Rows are too few numbers to gain by bfloat16, and lose by it."""
    return "float32" if precision == "auto" and len(shape) == 1 else precision
