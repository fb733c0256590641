"""Features of a domain, learnt from its own real rows, in which real and generated are compared.

Distances between pixels say little about pictures, and the network that the literature takes for
photographs (Inception) knows nothing of simulators and would have to be downloaded. So a small
network learns from real rows: to tell their classes where there are labels, else which way pictures
were turned (Gidaris et al. 2018, "Unsupervised Representation Learning by Predicting Image
Rotations"); rows without labels get principal components. Few features keep covariances well
conditioned at about a thousand rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

Pretext = Literal["classes", "turns", "components"]
"""What features were learnt for: telling classes, telling turned pictures, keeping variance."""

_BATCH = 256
_WAYS = 4
_POOLED = 4


@dataclass(frozen=True)
class FeatureConfig:
    """How features are learnt."""

    features: int = 64
    """How many at most; rows of fewer columns have as many principal components as columns. A
    comparison needs many more rows than features."""
    epochs: int = 10
    """Passes over the rows; principal components need none."""
    batch_size: int = 64
    """Rows in a gradient step."""
    learning_rate: float = 1e-3
    """Adam's step size."""
    seed: int = 0
    """Of initial weights, order of rows and turns."""

    def __post_init__(self) -> None:
        for name in ("features", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive and finite, got {self.learning_rate}")


class FeatureExtractor(nn.Module):
    """Real or generated rows to features with mean 0 and variance 1 over the rows learnt from.

    Made by `learn_features`. As it has `num_features`, torchmetrics takes it as a `feature`.
    """

    def __init__(
        self,
        pretext: Pretext,
        body: nn.Module,
        num_features: int,
        rows: Tensor,
        *,
        head: nn.Linear | None = None,
        classes: tuple[int, ...] = (),
    ) -> None:
        """body: scaled rows to (batch, num_features). head: these, rectified, to class scores.

        rows: (count, *shape), whose columns or channels are scaled to mean 0 and variance 1.
        """
        super().__init__()
        self.pretext: Pretext = pretext
        """What the features were learnt for."""
        self.num_features = num_features
        """How many there are."""
        self.classes = classes
        """The labels that it can tell, in rising order; empty without labels."""
        self.shape = tuple(rows.shape[1:])
        """Of a row: (columns,) or (channels, height, width)."""
        self.body, self.head = body, head
        self._takes_floats = rows.is_floating_point()
        mean, deviation = _scale(rows)
        self.mean, self.deviation = nn.Buffer(mean), nn.Buffer(deviation)
        self.feature_mean = nn.Buffer(torch.zeros(num_features))
        self.feature_deviation = nn.Buffer(torch.ones(num_features))

    def forward(self, rows: Tensor) -> Tensor:
        """Features (batch, num_features) float32 of rows (batch, *shape).

        Raises ValueError for rows of another shape or kind of number than those learnt from.
        """
        self._check(rows)
        return (self.body(self._scaled(rows)) - self.feature_mean) / self.feature_deviation

    def transform(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Features (count, num_features) of rows (count, *shape), as `forward`."""
        return self._batched(rows, self.forward).astype(np.float64)

    def classify(self, rows: NDArray[Any]) -> NDArray[np.int64]:
        """The most likely class (count,) of each row (count, *shape).

        Raises ValueError as `forward`, and where the features were learnt without labels.
        """
        if not self.classes:
            raise ValueError("features that were learnt without labels cannot tell classes")
        chosen = self._batched(rows, lambda batch: self.logits(batch).argmax(1))
        return np.asarray(self.classes, np.int64)[chosen]

    def logits(self, rows: Tensor) -> Tensor:
        """Scores (batch, classes) of what the features were learnt to tell."""
        assert self.head is not None, "principal components tell nothing apart"
        self._check(rows)
        return self.head(functional.relu(self.body(self._scaled(rows))))

    def learn_feature_scale(self, rows: NDArray[Any]) -> None:
        """Scale features to mean 0 and variance 1 over rows (count, *shape)."""
        self.feature_mean.zero_()
        self.feature_deviation.fill_(1.0)
        mean, deviation = _scale(torch.from_numpy(self.transform(rows)))
        self.feature_mean.copy_(mean)
        self.feature_deviation.copy_(deviation)

    def _scaled(self, rows: Tensor) -> Tensor:
        return (rows.float() - self.mean) / self.deviation

    def _check(self, rows: Tensor) -> None:
        if tuple(rows.shape[1:]) != self.shape:
            raise ValueError(
                f"features were learnt from rows of shape {self.shape}, not {tuple(rows.shape[1:])}"
            )
        if rows.is_floating_point() != self._takes_floats:
            wanted = "floats" if self._takes_floats else "integers"
            raise ValueError(f"features were learnt from {wanted}, and these are {rows.dtype}")

    def _batched(self, rows: NDArray[Any], of: Callable[[Tensor], Tensor]) -> NDArray[Any]:
        device = self.mean.device
        with torch.inference_mode():
            parts = [of(part.to(device)).cpu() for part in _tensor(rows).split(_BATCH)]
        return torch.cat(parts).numpy()


def learn_features(
    rows: NDArray[Any],
    labels: NDArray[Any] | None = None,
    config: FeatureConfig | None = None,
) -> FeatureExtractor:
    """Learn features of a domain from real rows, which nobody else is to see.

    rows: (count, columns) of floats, or pictures (count, channels, height, width), bytes or floats.
    labels: (count,) integers, or None.
    The same rows, labels and configuration give the same features on the same machine.
    Raises ValueError for other shapes, fewer than two rows, numbers that are not finite, and labels
    that are not one integer a row or all the same.
    """
    config = FeatureConfig() if config is None else config
    data = _tensor(rows)
    if data.ndim not in (2, 4) or len(data) < 2 or 0 in data.shape:
        raise ValueError(
            "features are learnt from at least two rows (count, columns) or pictures"
            f" (count, channels, height, width), got the shape {tuple(data.shape)}"
        )
    if data.is_floating_point() and not bool(torch.isfinite(data).all()):
        raise ValueError("features are learnt from finite numbers, and some rows are not")
    with torch.random.fork_rng(), torch.device("cpu"):
        torch.manual_seed(config.seed)
        if labels is not None:
            classes, targets = _classes(labels, len(data))
            extractor = _network(data, config, "classes", len(classes), classes)
            _learn(extractor, config, data, targets)
        elif data.ndim == 4:
            extractor = _network(data, config, "turns", _WAYS, ())
            _learn(extractor, config, data, None)
        else:
            extractor = _principal_components(data, config)
    extractor.eval().requires_grad_(False)
    extractor.learn_feature_scale(rows)
    return extractor


def _network(
    data: Tensor, config: FeatureConfig, pretext: Pretext, outputs: int, classes: tuple[int, ...]
) -> FeatureExtractor:
    """A convolutional network for pictures, a perceptron for rows, before any learning."""
    if data.ndim == 4:
        layers: list[nn.Module] = []
        for before, after in ((data.shape[1], 16), (16, 32), (32, 64)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU()]
        body = nn.Sequential(
            *layers,
            nn.AdaptiveAvgPool2d(_POOLED),
            nn.Flatten(),
            nn.Linear(64 * _POOLED**2, config.features),
        )
    else:
        body = nn.Sequential(
            nn.Linear(data.shape[1], 128),
            nn.ReLU(),
            nn.Linear(128, 128),
            nn.ReLU(),
            nn.Linear(128, config.features),
        )
    return FeatureExtractor(
        pretext,
        body,
        config.features,
        data,
        head=nn.Linear(config.features, outputs),
        classes=classes,
    )


def _learn(
    extractor: FeatureExtractor, config: FeatureConfig, data: Tensor, targets: Tensor | None
) -> None:
    """Teach the network to tell the targets or, where these are None, ways of turning pictures."""
    optimizer = torch.optim.Adam(extractor.parameters(), lr=config.learning_rate, fused=True)
    for _ in range(config.epochs):
        for chosen in torch.randperm(len(data)).split(config.batch_size):
            rows = data[chosen]
            if targets is None:
                wanted = torch.randint(_WAYS, (len(rows),))
                rows = _turned(rows, wanted)
            else:
                wanted = targets[chosen]
            loss = functional.cross_entropy(extractor.logits(rows), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def _turned(pictures: Tensor, ways: Tensor) -> Tensor:
    """Pictures turned by right angles; those that are not square mirrored instead.

    Mirroring rows, columns or both keeps the shape of any picture.
    """
    turned = pictures.clone()
    square = pictures.shape[-1] == pictures.shape[-2]
    mirrored: tuple[list[int], ...] = ([-1], [-2], [-2, -1])
    for way in range(1, _WAYS):
        share = ways == way
        turned[share] = (
            torch.rot90(pictures[share], way, (-2, -1))
            if square
            else pictures[share].flip(mirrored[way - 1])
        )
    return turned


def _principal_components(data: Tensor, config: FeatureConfig) -> FeatureExtractor:
    """Directions of most variance among columns of equal variance."""
    mean, deviation = _scale(data)
    scaled = ((data - mean) / deviation).double()
    values, vectors = torch.linalg.eigh(scaled.T @ scaled)
    # Directions without variance would be scaled up to nothing but rounding errors.
    varying = int((values > values[-1] * 1e-9).sum())
    kept = min(config.features, len(data) - 1, varying)
    if kept == 0:
        raise ValueError("features are learnt from rows that differ, and these are all the same")
    body = nn.Linear(data.shape[1], kept, bias=False)
    body.weight.data.copy_(vectors.flip(1)[:, :kept].T)
    return FeatureExtractor("components", body, kept, data)


def _classes(labels: NDArray[Any], count: int) -> tuple[tuple[int, ...], Tensor]:
    """The classes in rising order, and the place of each row's among them."""
    labels = np.asarray(labels)
    if labels.shape != (count,) or labels.dtype.kind not in "iub":
        raise ValueError(
            f"labels must be one integer for each of {count} rows,"
            f" got {labels.dtype} of shape {labels.shape}"
        )
    classes, places = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"labels must tell at least two classes, and all are {classes[0]}")
    return tuple(int(label) for label in classes), torch.from_numpy(places)


def _scale(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel or column of rows (count, *shape), to broadcast over them.

    The deviation of what never varies is 1, as it is divided by.
    """
    axes = [0, *range(2, rows.ndim)]
    deviation, mean = torch.std_mean(rows.float(), dim=axes, correction=0)
    shape = (-1, *(1,) * (rows.ndim - 2))
    return mean.view(shape), torch.where(deviation > 0, deviation, 1.0).view(shape)


def _tensor(rows: NDArray[Any]) -> Tensor:
    """Rows as a tensor; PyTorch warns of arrays that cannot be written to."""
    rows = np.ascontiguousarray(rows)
    return torch.from_numpy(rows if rows.flags.writeable else rows.copy())
