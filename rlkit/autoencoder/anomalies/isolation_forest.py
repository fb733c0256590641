"""Isolation forest over sliding windows, to compare with. Liu, Ting and Zhou 2008.

scikit-learn grows the trees. They are walked here all at once, as one call of scikit-learn takes
several milliseconds for a single window, longer than a sample may take.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.optional_packages import needs


@dataclass(frozen=True)
class IsolationForestConfig:
    """How the forest grows; the values are those of the paper."""

    trees: int = 100
    """At least 1."""
    samples: int = 256
    """Windows that each tree sees, at least 2; all where there are fewer."""
    seed: int = 0
    """Of the trees' random cuts."""

    def __post_init__(self) -> None:
        if self.trees < 1 or self.samples < 2:
            raise ValueError(
                f"a forest needs at least 1 tree and 2 samples a tree, got {self.trees} and "
                f"{self.samples}"
            )


class IsolationForestWindows:
    """A `WindowModel`: the score is that of the paper, 0 to 1, and above a half for windows that
    few random cuts set apart. It does not tell channels apart.
    """

    def __init__(self, config: IsolationForestConfig | None = None) -> None:
        self.config = config or IsolationForestConfig()
        self._feature = np.zeros((0, 1), np.int64)
        self._cut = np.zeros((0, 1))
        self._children = np.zeros((0, 1, 2), np.int64)
        self._path = np.zeros((0, 1))
        self._depth = 0
        self._usual_path = 1.0

    def fit(self, windows: NDArray[np.float64]) -> Self:
        """Grow the trees. Raises ImportError without scikit-learn."""
        with needs("IsolationForestWindows", "scikit-learn"):
            from sklearn.ensemble import IsolationForest
        samples: Any = min(self.config.samples, len(windows))  # its annotation lacks integers
        forest = IsolationForest(
            n_estimators=self.config.trees,
            max_samples=samples,
            random_state=self.config.seed,
        ).fit(windows.reshape(len(windows), -1))
        self._take([each.tree_ for each in forest.estimators_])
        self._usual_path = float(_average_path(np.array([samples]))[0])
        return self

    def score_windows(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
        """(count,), 0 to 1."""
        # As scikit-learn does: the cuts were made in float32.
        flat = windows.reshape(len(windows), -1).astype(np.float32)
        trees = np.arange(len(self._feature))
        rows = np.arange(len(flat))[:, None]
        node = np.zeros((len(flat), len(trees)), np.int64)
        for _ in range(self._depth):
            right = flat[rows, self._feature[trees, node]] > self._cut[trees, node]
            node = self._children[trees, node, right.astype(np.int64)]
        paths = self._path[trees, node].mean(axis=1)
        if not self._usual_path:  # of a single normal window, from which no cut sets apart
            return np.full(len(flat), 0.5)
        return np.exp2(-paths / self._usual_path)

    def residuals(self, windows: NDArray[np.float64]) -> None:
        """None: a forest's paths do not belong to channels."""
        return None

    def _take(self, trees: list[Any]) -> None:
        """The trees as arrays, (trees, nodes); a leaf is its own child."""
        nodes = max(tree.node_count for tree in trees)
        shape = (len(trees), nodes)
        self._feature, self._cut = np.zeros(shape, np.int64), np.zeros(shape)
        self._children = np.zeros((*shape, 2), np.int64)
        self._path = np.zeros(shape)
        self._depth = max(tree.max_depth for tree in trees)
        for i, tree in enumerate(trees):
            leaf = tree.children_left < 0
            here = np.arange(tree.node_count)
            self._feature[i, here] = np.where(leaf, 0, tree.feature)
            self._cut[i, here] = tree.threshold
            self._children[i, here, 0] = np.where(leaf, here, tree.children_left)
            self._children[i, here, 1] = np.where(leaf, here, tree.children_right)
            depth = np.zeros(tree.node_count)
            for parent in here[~leaf]:  # children come after their parents
                depth[self._children[i, parent]] = depth[parent] + 1
            self._path[i, here] = depth + _average_path(tree.n_node_samples)


def _average_path(samples: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean length of an unsuccessful search in a binary tree of so many (equation 1)."""
    several = np.maximum(samples, 3).astype(np.float64)
    harmonic = np.log(several - 1) + np.euler_gamma
    average = 2 * harmonic - 2 * (several - 1) / several
    return np.where(samples > 2, average, np.where(samples == 2, 1.0, 0.0))
