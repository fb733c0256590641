"""Losses and penalties side by side over seeds: how good they become, and how often they collapse.

All else is one configuration, the learning rates too, so a loss that wants others than the default
is at a disadvantage. Every seed cuts the rows anew and has one judge for all.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.benchmark_rows import rows_that_count, settings_digest
from rlkit.divergence import DivergenceError, DivergenceWarning
from rlkit.gan.configuration import GANConfig
from rlkit.gan.features import FeatureConfig
from rlkit.gan.gan import GAN
from rlkit.gan.judging import JUDGE, Judge, SplitConfig, digest, parted
from rlkit.gan.monitoring import EpochRecord
from rlkit.run_folder import machine
from rlkit.statistics import mean_interval

DEFAULT = "relativistic + R1 + R2"
CONTESTANTS: Mapping[str, Mapping[str, Any]] = {
    DEFAULT: {"loss": "relativistic", "r1": 1.0, "r2": 1.0},
    "original + R1 + R2": {"loss": "original", "r1": 1.0, "r2": 1.0},
    "original": {"loss": "original", "r1": 0.0, "r2": 0.0},
    "hinge + spectral norm": {"loss": "hinge", "r1": 0.0, "r2": 0.0, "spectral_norm": True},
}
"""Name -> fields of the configuration."""

_SUMMARISED = (
    "fid",
    "kid",
    "precision",
    "recall",
    "density",
    "coverage",
    "two_sample_accuracy",
    "least_class_ratio",
    "conditional_accuracy",
)


@dataclass(frozen=True)
class LossComparisonConfig:
    """What is compared. Raises ValueError for values that make no sense."""

    gan: GANConfig = field(default_factory=GANConfig)
    """Of all contestants, but for the fields that tell them apart."""
    split: SplitConfig = field(default_factory=SplitConfig)
    """How each seed cuts the rows, but for its seed."""
    judge: FeatureConfig = field(default_factory=lambda: JUDGE)
    """How the judge of each seed learns, but for its seed."""
    truncations: tuple[float, ...] = (1.0, 0.8)
    """At which samples are judged, in (0, 1] each."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Each cuts the rows and draws first weights, batches and noise anew."""

    def __post_init__(self) -> None:
        if not self.seeds:
            raise ValueError("seeds names none")
        if not self.truncations or not all(0.0 < each <= 1.0 for each in self.truncations):
            raise ValueError(f"truncations must be in (0, 1], got {self.truncations}")


def compare(
    config: LossComparisonConfig,
    data: NDArray[Any],
    labels: NDArray[np.int64],
    *,
    done: Iterable[Mapping[str, Any]] = (),
    on_row: Callable[[Mapping[str, Any]], None] = lambda row: None,
    on_epoch: Callable[[str, int, EpochRecord], None] = lambda contestant, seed, record: None,
) -> dict[str, Any]:
    """Train every contestant with every seed.

    data: (count, channels, height, width) uint8 or (count, features) float32. labels: (count,).
    done: rows of an earlier result, which are not measured again; those of other data or settings
    are left out. on_row: given each new one. on_epoch: given contestant, seed and record.
    Returns plain JSON data: `machine`, and `rows`, each with `contestant`, `seed`, `truncation`,
    `epochs` (wanted), `settings` (a checksum of all else, and of the data), `trained_epochs`,
    `stopped` (why training stopped early, or None), `alarms` (epochs that had some), `seconds` (of
    training), and, None where there was nothing to judge, `passed`, `reasons` and `quality` as
    `Verdict.to_json` gives them.
    Raises ImportError without torchmetrics, ValueError for data that do not fit.
    """
    settings = settings_digest(
        asdict(replace(config, truncations=(1.0,), seeds=(0,))), digest(data, labels)
    )
    told = rows_that_count(done, settings, seed=config.seeds, truncation=config.truncations)
    measured = {(row["contestant"], row["seed"], row["truncation"]) for row in told}
    for seed in config.seeds:
        wanted = {
            contestant: [
                truncation
                for truncation in config.truncations
                if (contestant, seed, truncation) not in measured
            ]
            for contestant in CONTESTANTS
        }
        if not any(wanted.values()):
            continue
        parts = parted(len(data), labels, replace(config.split, seed=seed))
        judge = Judge(data, labels, parts, features=replace(config.judge, seed=seed))
        for contestant, truncations in wanted.items():
            if not truncations:
                continue
            gan = GAN(replace(config.gan, **CONTESTANTS[contestant], seed=seed))
            trained = _trained(
                gan,
                data[parts.learnt],
                labels[parts.learnt],
                lambda record, of=contestant, by=seed: on_epoch(of, by, record),
            )
            for truncation in truncations:
                row = {
                    "contestant": contestant,
                    "seed": seed,
                    "truncation": truncation,
                    "epochs": config.gan.epochs,
                    "settings": settings,
                    **trained,
                    **_judged(judge, gan, truncation, seed),
                }
                told.append(row)
                on_row(row)
    return {"machine": machine(), "rows": told}


def summarise(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """To each contestant and truncation: `seeds`, how many `stopped` early and `passed` the gate,
    and of each metric a mean over the seeds that left something to judge, and half its 95 %
    interval: as `generated`, as `floor`, and as `beyond_default`, how far generated rows are above
    those of the default loss with the same seeds. None where nothing was measured.
    """
    found: dict[tuple[float, str], dict[int, Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["truncation"], row["contestant"]), {})[row["seed"]] = row
    places = {contestant: place for place, contestant in enumerate(CONTESTANTS)}
    told = []
    for truncation, contestant in sorted(found, key=lambda key: (-key[0], places[key[1]])):
        of_seeds = found[truncation, contestant]
        default = _qualities(found.get((truncation, DEFAULT), {}))
        qualities = _qualities(of_seeds)
        summary: dict[str, Any] = {
            "contestant": contestant,
            "truncation": truncation,
            "seeds": len(of_seeds),
            "stopped": sum(row["stopped"] is not None for row in of_seeds.values()),
            "passed": sum(bool(row["passed"]) for row in of_seeds.values()),
            "seconds": mean_interval([row["seconds"] for row in of_seeds.values()]),
        }
        for name in _SUMMARISED:
            value = {seed: each[name]["generated"]["mean"] for seed, each in qualities.items()}
            floor = [each[name]["floor"]["mean"] for each in qualities.values()]
            beyond = [
                value[seed] - default[seed][name]["generated"]["mean"]
                for seed in value
                if seed in default
            ]
            summary[name] = {
                "generated": _mean_interval(list(value.values())),
                "floor": _mean_interval(floor),
                "beyond_default": _mean_interval(beyond),
            }
        told.append(summary)
    return told


def _trained(
    gan: GAN,
    data: NDArray[Any],
    labels: NDArray[np.int64],
    on_epoch: Callable[[EpochRecord], None],
) -> dict[str, Any]:
    """Fit a GAN and tell how that went; it stays unfitted where there was no good epoch."""
    records: list[EpochRecord] = []

    def keep(record: EpochRecord, gan: GAN) -> None:
        records.append(record)
        on_epoch(record)

    stopped = None
    begun = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DivergenceWarning)
        try:
            gan.fit(data, labels, on_epoch=[keep])
        except DivergenceError as error:
            stopped = str(error)
    for warning in caught:
        if issubclass(warning.category, DivergenceWarning):
            stopped = str(warning.message)
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    return {
        "trained_epochs": len(records),
        "stopped": stopped,
        "alarms": sum(bool(record.alarms) for record in records),
        "seconds": time.perf_counter() - begun,
    }


def _judged(judge: Judge, gan: GAN, truncation: float, seed: int) -> dict[str, Any]:
    if not gan.__sklearn_is_fitted__():
        return {"passed": None, "reasons": None, "quality": None}
    told = judge.verdict(gan, truncation=truncation, seed=seed).to_json()
    return {name: told[name] for name in ("passed", "reasons", "quality")}


def _qualities(of_seeds: Mapping[int, Mapping[str, Any]]) -> dict[int, Any]:
    return {seed: row["quality"] for seed, row in of_seeds.items() if row["quality"] is not None}


def _mean_interval(values: Sequence[float]) -> tuple[float, float | None] | None:
    return mean_interval(values) if values else None
