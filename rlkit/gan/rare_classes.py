"""What a generator is worth to a classifier whose rare classes have few examples.

Beside it: nothing, class weights, oversampling, and classical augmentation under class weights. All
have the same network, steps and rows; the generator learns from the rows that the classifier
has, and is judged by some of them. What is measured on is of other groups, such as episodes, and
nobody learns from it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlkit.benchmark_rows import rows_that_count, settings_digest
from rlkit.gan.balanced_classifier import (
    BalancedClassifier,
    BalancedClassifierConfig,
    balanced_accuracy,
    macro_f1,
    recalls,
)
from rlkit.gan.judging import digest
from rlkit.gan.labelled_rows import LabelledRows
from rlkit.gan.rare_generation import RareGenerationConfig, RareGenerator, learn_rare
from rlkit.gan.row_jitter import RowJitter
from rlkit.gan.synthetic_share import SyntheticShare
from rlkit.plain_json import finite
from rlkit.run_folder import machine
from rlkit.statistics import mean_interval
from rlkit_agents.augmentation import Augmentation, Chain, augmentation_named

PLAIN, WEIGHTS, OVERSAMPLED, AUGMENTED = "plain", "class weights", "oversampled", "augmented"
CLASSICAL = (WEIGHTS, OVERSAMPLED, AUGMENTED)
"""What a generator has to beat."""

GENERATED: Mapping[str, str] = {"generated": WEIGHTS, "generated, augmented": AUGMENTED}
"""Method -> what it is without generated rows, and where the gate lets none pass."""

UNGATED = ", no gate"
"""At the end of the name of a method that takes generated rows whatever the gate says: to know what
it prevents. Nobody should."""

METHODS = (
    PLAIN,
    *CLASSICAL,
    *GENERATED,
    *(method + UNGATED for method in GENERATED),
)

METRICS = ("balanced_accuracy", "rare_recall", "macro_f1")
"""Of a classifier: mean recall of all classes and of the rare ones, and mean F1, in [0, 1]."""


@dataclass(frozen=True)
class RareClassesConfig:
    """What is compared. Raises ValueError for values that make no sense."""

    rare: tuple[str, ...] = ()
    """Names of the classes that are cut down; by default all but the largest."""
    examples: tuple[int, ...] = (20, 50, 200)
    """Of each rare class that may be learnt from; the smaller numbers are parts of the larger."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Each divides the groups, chooses the examples and draws first weights anew."""
    test_share: float = 0.3
    """Share of the groups that is measured on, in (0, 1)."""
    classifier: BalancedClassifierConfig = field(default_factory=BalancedClassifierConfig)
    """Of all methods, but for balance, augmentation and seed."""
    augmentations: tuple[str, ...] = ("flip", "turn", "shift:1")
    """How pictures are changed where they are augmented, by the short names of
    `rlkit_agents.augmentation`. The default has the symmetries of a bin that is seen from above:
    name others where left is not right."""
    row_noise: float = 0.3
    """How rows are changed where they are augmented; see `RowJitter`."""
    row_scaling: float = 0.1
    """The same."""
    generation: RareGenerationConfig = field(default_factory=RareGenerationConfig)
    """Of the generator and its judge."""
    max_share: float = 0.25
    """Of generated rows among all that the classifier learns from, at most, in [0, 1)."""

    def __post_init__(self) -> None:
        for name in ("rare", "examples", "seeds", "augmentations"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.seeds or min(self.seeds) < 0:
            raise ValueError(f"seeds must be numbers of at least 0, got {self.seeds}")
        if not self.examples or min(self.examples) < 2:
            raise ValueError(f"examples must be numbers of at least 2, got {self.examples}")
        if not 0.0 < self.test_share < 1.0:
            raise ValueError(f"test_share must be in (0, 1), got {self.test_share}")
        for name in self.augmentations:
            augmentation_named(name)
        nothing = torch.zeros(1)
        RowJitter(nothing, nothing, self.row_noise, self.row_scaling)  # raises for what is no size
        SyntheticShare(self.max_share)


def compare(
    config: RareClassesConfig,
    rows: LabelledRows,
    *,
    done: Iterable[Mapping[str, Any]] = (),
    on_row: Callable[[Mapping[str, Any]], None] = lambda row: None,
) -> dict[str, Any]:
    """Teach a classifier by every method, with every number of examples and every seed.

    done: rows of an earlier result, which are not measured again; those of other data or settings
    are left out. on_row: given each new one.
    Returns plain JSON data: `machine`, and `rows`, each with `method`, `examples`, `seed`, those of
    `METRICS`, `recall` and `tested_rows` by class, `real_rows` and `synthetic_rows` that were
    learnt from, their `synthetic_share`, `seconds` (of the classifier), `settings` (a checksum of
    data and settings), and of methods with a generator `generator_seconds`, `admitted` (names of
    the classes that passed the gate) and `reasons` (what speaks against others).
    Raises ValueError for classes that are not there or have too few rows, and data that do not fit;
    ImportError without torchmetrics.
    """
    rare = rare_labels(config, rows)
    settings = _settings(config, rows, rare)
    divisions = {seed: divided(rows, config.test_share, seed) for seed in config.seeds}
    for seed, (training, test) in divisions.items():
        _check_counts(config, rows, rare, seed, training, test)
    told = rows_that_count(done, settings, seed=config.seeds, examples=config.examples)
    measured = {(row["method"], row["examples"], row["seed"]) for row in told}
    for seed, (training, test) in divisions.items():
        for examples in config.examples:
            wanted = [each for each in METHODS if (each, examples, seed) not in measured]
            if not wanted:
                continue
            kept = training[cut_down(rows.labels[training], rare, examples, seed)]
            contest = _Contest(config, rows, rare, kept, test, seed)
            for method in wanted:
                row = {"method": method, "examples": examples, "seed": seed}
                row = finite({**row, **contest.reached(method), "settings": settings})
                told.append(row)
                on_row(row)
    return {"machine": machine(), "rows": told}


def summarise(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """To each number of examples and method: `seeds`, `admitted` (with how many of them the gate
    let rows of a class pass; None without a generator), `synthetic_share`, and of each of
    `METRICS` a mean over seeds and half its 95 % interval, as `reached`, and as `beyond_classical`,
    how far it is above `best_classical` with the same seeds: that of `CLASSICAL` which is best by
    this metric and number of examples. None where nothing was measured.
    """
    found: dict[tuple[int, str], dict[int, Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["examples"], row["method"]), {})[row["seed"]] = row
    told = []
    for examples, method in sorted(found, key=lambda each: (each[0], METHODS.index(each[1]))):
        of_seeds = found[examples, method]
        gated = method in GENERATED
        summary: dict[str, Any] = {
            "examples": examples,
            "method": method,
            "seeds": len(of_seeds),
            "admitted": sum(bool(row["admitted"]) for row in of_seeds.values()) if gated else None,
            "synthetic_share": mean_interval([row["synthetic_share"] for row in of_seeds.values()]),
        }
        for metric in METRICS:
            classical = {
                name: {seed: row[metric] for seed, row in found.get((examples, name), {}).items()}
                for name in CLASSICAL
            }
            best = max(
                (name for name in CLASSICAL if classical[name]),
                key=lambda name: float(np.mean(list(classical[name].values()))),
                default=None,
            )
            beside = {} if best is None else classical[best]
            beyond = [
                row[metric] - beside[seed] for seed, row in of_seeds.items() if seed in beside
            ]
            summary[metric] = {
                "reached": mean_interval([row[metric] for row in of_seeds.values()]),
                "best_classical": best,
                "beyond_classical": mean_interval(beyond) if beyond else None,
            }
        told.append(summary)
    return told


def rare_labels(config: RareClassesConfig, rows: LabelledRows) -> dict[int, str]:
    """Label -> name of the classes that are cut down.

    Raises ValueError for names that are not there, and where no class is left that is not rare.
    """
    counts = rows.counts
    present = [name for name in rows.names if counts[name]]
    named = config.rare or tuple(
        name for name in present if name != max(present, key=counts.__getitem__)
    )
    unknown = [name for name in named if name not in present]
    if unknown:
        raise ValueError(f"no class is called {unknown[0]!r}; there are {', '.join(present)}")
    if len(set(named)) == len(present):
        raise ValueError(f"all classes are named rare: {', '.join(present)}; leave one out")
    return {rows.names.index(name): name for name in named}


def divided(
    rows: LabelledRows, share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of rows to learn from and to test on, (any,) each, no group being in both.

    share: of the groups to test on. A group counts as of the rarest class in it, and of each class
    the same share is drawn, at least one group where there are two.
    """
    random = np.random.default_rng((seed, 0))
    rarity = np.argsort(np.argsort(-np.bincount(rows.labels), kind="stable"))
    groups, of_group = np.unique(rows.groups, return_inverse=True)
    rarest = np.zeros(len(groups), np.int64)
    np.maximum.at(rarest, of_group, rarity[rows.labels])
    test = np.zeros(len(groups), bool)
    for kind in np.unique(rarest):
        members = random.permutation(np.flatnonzero(rarest == kind))
        count = round(share * len(members))
        if len(members) > 1:
            count = min(max(1, count), len(members) - 1)
        test[members[:count]] = True
    return np.flatnonzero(~test[of_group]), np.flatnonzero(test[of_group])


def cut_down(
    labels: NDArray[np.int64], rare: Mapping[int, str], examples: int, seed: int
) -> NDArray[np.int64]:
    """Places (any,), in order, of all labels (count,) but of the rare ones only so many each.

    Those of fewer examples are among those of more, with the same seed.
    """
    kept = ~np.isin(labels, list(rare))
    for label in rare:
        random = np.random.default_rng((seed, 1, label))
        kept[random.permutation(np.flatnonzero(labels == label))[:examples]] = True
    return np.flatnonzero(kept)


class _Contest:
    """All methods with one division of the rows; what several need is done once."""

    def __init__(
        self,
        config: RareClassesConfig,
        rows: LabelledRows,
        rare: Mapping[int, str],
        kept: NDArray[np.int64],
        test: NDArray[np.int64],
        seed: int,
    ) -> None:
        self._config, self._rare, self._seed = config, rare, seed
        self._data, self._labels = rows.data[kept], rows.labels[kept]
        self._test = rows.data[test], rows.labels[test]
        self._names = rows.names
        self._generator: tuple[RareGenerator, float] | None = None
        self._known: dict[tuple[str, tuple[int, ...]], dict[str, Any]] = {}

    def reached(self, method: str) -> dict[str, Any]:
        """What a method comes to; see `compare`."""
        ungated = method.endswith(UNGATED)
        within = GENERATED.get(method.removesuffix(UNGATED))
        if within is None:
            return self._taught(method, ())
        generator, seconds = self._learnt()
        labels = generator.usable
        if ungated:
            labels = () if generator.gan is None else tuple(self._rare)
        return {
            **self._taught(within, labels),
            "generator_seconds": seconds,
            "admitted": [self._rare[label] for label in generator.usable],
            "reasons": list(generator.reasons),
        }

    def _learnt(self) -> tuple[RareGenerator, float]:
        """The generator of this division, and how long it and its judge took."""
        if self._generator is None:
            begun = time.perf_counter()
            generation = self._config.generation
            generator = learn_rare(
                self._data, self._labels, self._rare, generation, seed=self._seed
            )
            self._generator = generator, time.perf_counter() - begun
        return self._generator

    def _share(self, generated: tuple[int, ...]) -> SyntheticShare:
        """Holds generated rows of these classes, through the gate where it lets them pass."""
        share = _Ungated(self._config.max_share)
        if not generated:
            return share
        generator, _ = self._learnt()
        most = int(np.bincount(self._labels).max())  # what a class can lack at most
        if generated == generator.usable:
            generator.admit_to(share, most, self._seed)
        else:
            made, labels = generator.sample(generated, most, self._seed + 1)
            share.take(torch.from_numpy(made), torch.from_numpy(labels))
        return share

    def _taught(self, method: str, generated: tuple[int, ...]) -> dict[str, Any]:
        """What a classical method comes to with generated rows of these labels.

        The same rows and seeds give the same classifier, so that it is taught once.
        """
        if (method, generated) in self._known:
            return self._known[method, generated]
        random = torch.Generator().manual_seed(self._seed)
        data, labels = torch.from_numpy(self._data), torch.from_numpy(self._labels)
        share = self._share(generated)
        filled = share.oversampled(data, labels, random=random)
        classifier = BalancedClassifier(
            replace(
                self._config.classifier,
                class_weight="balanced" if method in (WEIGHTS, AUGMENTED) else None,
                oversample=method == OVERSAMPLED,
                augmentation=_classical(self._config, data) if method == AUGMENTED else None,
                seed=self._seed,
            )
        )
        begun = time.perf_counter()
        classifier.fit(filled.rows, filled.labels)
        seconds = time.perf_counter() - begun
        test, real = self._test
        told = classifier.predict(test)
        of_class = recalls(real, told)
        counted = share.metrics()
        reached = {
            "balanced_accuracy": balanced_accuracy(real, told),
            "rare_recall": float(np.mean([of_class[label] for label in self._rare])),
            "macro_f1": macro_f1(real, told),
            "recall": {self._names[label]: value for label, value in of_class.items()},
            "tested_rows": {self._names[each]: int((real == each).sum()) for each in of_class},
            "real_rows": int(counted["synthetic/real_rows"]),
            "synthetic_rows": int(counted["synthetic/rows"]),
            "synthetic_share": counted["synthetic/share"],
            "seconds": seconds,
        }
        self._known[method, generated] = reached
        return reached


class _Ungated(SyntheticShare):
    """Can also take rows that nobody vouches for, to measure what the gate prevents."""

    def take(self, rows: Tensor, labels: Tensor) -> None:
        """Use these rows (count, *shape) with labels (count,), whatever they are worth."""
        self._labels, order = torch.sort(labels, stable=True)
        self._rows = rows[order]


def _classical(config: RareClassesConfig, data: Tensor) -> Augmentation:
    if data.ndim == 2:
        return RowJitter.of(data, noise=config.row_noise, scaling=config.row_scaling)
    return Chain(tuple(augmentation_named(name) for name in config.augmentations))


def _settings(config: RareClassesConfig, rows: LabelledRows, rare: Mapping[int, str]) -> str:
    """A checksum of all that a row hangs on but for its method, number of examples and seed."""
    told = asdict(replace(config, rare=tuple(sorted(rare.values())), examples=(2,), seeds=(0,)))
    return settings_digest(told, digest(rows.data, rows.labels), digest(rows.groups, None))


def _check_counts(
    config: RareClassesConfig,
    rows: LabelledRows,
    rare: Mapping[int, str],
    seed: int,
    training: NDArray[np.int64],
    test: NDArray[np.int64],
) -> None:
    """Raise ValueError where a class has too few rows to learn from or to test on."""
    for label in np.unique(rows.labels).tolist():
        wanted = max(config.examples) if label in rare else 2
        left, tested = ((rows.labels[part] == label).sum() for part in (training, test))
        if left < wanted or not tested:
            raise ValueError(
                f"seed {seed} leaves {left} rows of {rows.names[label]!r} to learn from and"
                f" {tested} to test on, where {wanted} are to be learnt from: ask for fewer"
                " examples, leave the class out, or record more"
            )
