"""A small classifier that can make up for rare classes, in scikit-learn's manners.

Convolutions for pictures, a perceptron for rows. Classes can be weighed by how rare they are, drawn
as often as each other, and changed by any `Augmentation`; its number of steps is the same however
many examples there are, so that what is compared has one budget.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional

from rlkit.estimator import ConfiguredEstimator
from rlkit.gan.configuration import require
from rlkit.gan.features import FeatureExtractor
from rlkit.gan.training_data import checked_examples, checked_pictures
from rlkit_agents.augmentation import Augmentation

_BATCH = 256


@dataclass(frozen=True)
class BalancedClassifierConfig:
    """Parameters of a `BalancedClassifier`. Raises ValueError for numbers out of range."""

    class_weight: Literal["balanced"] | None = "balanced"
    """balanced weighs each example by count / (classes * count of its class), as scikit-learn
    does; None weighs all alike."""
    oversample: bool = False
    """Draw all classes equally often, whatever their shares; weights are all alike then."""
    augmentation: Augmentation | None = None
    """Changes the examples of every batch, with their labels kept; None for none."""
    steps: int = 600
    """Of gradient descent."""
    batch_size: int = 64
    """Examples in a step."""
    learning_rate: float = 1e-3
    """AdamW's first step size, which falls to 0 as half a cosine (Loshchilov & Hutter 2017)."""
    weight_decay: float = 0.01
    """AdamW's."""
    hidden: int = 128
    """Units of the layer before the classes."""
    seed: int = 0
    """Of first weights, draws and changes. The same seed gives the same classifier on the same
    machine and number of threads."""

    def __post_init__(self) -> None:
        if self.class_weight not in (None, "balanced"):
            raise ValueError(f"class_weight is {self.class_weight!r}; there are balanced and None")
        for name in ("steps", "batch_size", "hidden"):
            require(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        require("seed", self.seed, self.seed >= 0, "at least 0")
        rate, decay = self.learning_rate, self.weight_decay
        require("learning_rate", rate, 0.0 < rate < math.inf, "positive and finite")
        require("weight_decay", decay, 0.0 <= decay < math.inf, "finite and not negative")


class BalancedClassifier(ConfiguredEstimator[BalancedClassifierConfig]):
    """Tells classes of pictures or rows, rare ones too.

    Parameters are the fields of `BalancedClassifierConfig`. After `fit`:

    network_: scores of classes, with the scaling of what it was fitted to.
    classes_: (classes,) int64, in ascending order.
    """

    config_class = BalancedClassifierConfig
    estimator_type = "classifier"

    network_: FeatureExtractor
    classes_: NDArray[np.int64]

    def fit(self, examples: ArrayLike | Tensor, labels: ArrayLike | Tensor) -> Self:
        """Learn from scratch.

        examples: pictures (count, channels, height, width) or (count, height, width) uint8, or rows
        (count, columns) of numbers. labels: (count,) integers of two classes or more.
        Raises ValueError for data that do not fit (see `training_data.checked_examples`), and where
        the augmentation does not take them.
        """
        config, data = self.config, checked_examples(examples)
        given = np.asarray(labels)
        if given.shape != (len(data),) or given.dtype.kind not in "iu":
            raise ValueError(
                f"{len(data)} examples need as many labels, integers, got {given.dtype} of shape"
                f" {given.shape}"
            )
        classes, places = np.unique(given, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"labels must tell at least two classes, and all are {classes[0]}")
        targets = torch.from_numpy(places)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            network = _network(data, config.hidden, tuple(int(label) for label in classes))
        _learn(network, config, data, targets)
        self.network_, self.classes_ = network.eval().requires_grad_(False), classes
        return self

    def predict(self, examples: ArrayLike | Tensor) -> NDArray[np.int64]:
        """The most likely class (count,) of each example.

        Raises NotFittedError, and ValueError for examples of another shape or kind of number than
        those it was fitted to.
        """
        chances = self.predict_proba(examples)
        return self.classes_[chances.argmax(1)]

    def predict_proba(self, examples: ArrayLike | Tensor) -> NDArray[np.float64]:
        """The chance (count, classes) of each class, in the order of `classes_`. Raises as
        `predict` does."""
        network: FeatureExtractor = self._learned("network_")
        data = _as_learnt(examples)
        with torch.inference_mode():
            chances = [functional.softmax(network.logits(rows), 1) for rows in data.split(_BATCH)]
        return torch.cat(chances).double().numpy()

    def score(self, examples: ArrayLike | Tensor, labels: ArrayLike) -> float:
        """Balanced accuracy, in [0, 1]: the mean over classes of the share that is told right."""
        return balanced_accuracy(np.asarray(labels), self.predict(examples))

    def __sklearn_is_fitted__(self) -> bool:
        return "network_" in self.__dict__


def recalls(labels: NDArray[Any], told: NDArray[Any]) -> dict[int, float]:
    """To each class among `labels` (count,) the share of its rows that `told` (count,) has."""
    return {int(each): float((told[labels == each] == each).mean()) for each in np.unique(labels)}


def balanced_accuracy(labels: NDArray[Any], told: NDArray[Any]) -> float:
    """Mean recall of the classes among `labels` (count,), in [0, 1]."""
    return float(np.mean(list(recalls(labels, told).values())))


def macro_f1(labels: NDArray[Any], told: NDArray[Any]) -> float:
    """Mean over the classes among `labels` or `told` (count,) of 2 * hits / (real + told ones)."""
    both = np.unique(np.concatenate([labels, told]))
    hits = [2 * int(((labels == each) & (told == each)).sum()) for each in both]
    sizes = [int((labels == each).sum() + (told == each).sum()) for each in both]
    return float(np.mean([hit / size for hit, size in zip(hits, sizes, strict=True)]))


def weighted_error(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Mean over a batch of each row's cross-entropy, in nats, times the weight of its class.

    scores: (batch, classes), before the softmax. labels: (batch,) int64. weights: (classes,). As in
    scikit-learn, rows weigh the same in every batch; with PyTorch's own `weight`, which is divided
    by the sum of the batch's weights, a common row weighs more where no rare one is beside it.
    """
    errors = functional.cross_entropy(scores, labels, reduction="none")
    return (weights[labels] * errors).mean()


def _as_learnt(examples: ArrayLike | Tensor) -> Tensor:
    """Examples as `checked_examples` gives them, but also a single one, or none."""
    array = examples if isinstance(examples, Tensor) else np.asarray(examples)
    if array.ndim in (3, 4):
        return checked_pictures(array, least=0)
    return torch.as_tensor(array, dtype=torch.float32)


def _network(data: Tensor, hidden: int, classes: tuple[int, ...]) -> FeatureExtractor:
    """Before any learning. Pictures are halved three times and not pooled to less: where something
    is may be what tells the classes."""
    if data.ndim == 4:
        layers: list[nn.Module] = []
        height, width = data.shape[2:]
        for before, after in ((data.shape[1], 16), (16, 32), (32, 64)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU()]
            height, width = -(-height // 2), -(-width // 2)
        body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * height * width, hidden))
    else:
        body = nn.Sequential(nn.Linear(data.shape[1], hidden), nn.ReLU(), nn.Linear(hidden, hidden))
    head = nn.Linear(hidden, len(classes))
    return FeatureExtractor("classes", body, hidden, data, head=head, classes=classes)


def _learn(
    network: FeatureExtractor, config: BalancedClassifierConfig, data: Tensor, targets: Tensor
) -> None:
    counts = torch.bincount(targets)
    rarity = len(targets) / (len(counts) * counts)
    weighted = config.class_weight == "balanced" and not config.oversample
    weights = rarity if weighted else torch.ones(len(counts))
    random = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.AdamW(
        network.parameters(),
        config.learning_rate,
        weight_decay=config.weight_decay,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    order = torch.zeros(0, dtype=torch.long)
    for _ in range(config.steps):
        if config.oversample:
            chosen = torch.multinomial(
                rarity[targets], config.batch_size, replacement=True, generator=random
            )
        else:
            while len(order) < config.batch_size:
                order = torch.cat([order, torch.randperm(len(data), generator=random)])
            chosen, order = order.split([config.batch_size, len(order) - config.batch_size])
        rows, wanted = data[chosen], targets[chosen]
        if config.augmentation is not None:
            rows = config.augmentation(rows, wanted, random=random)
        loss = weighted_error(network.logits(rows), wanted, weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
