"""How well machines model held-out rows that were trained with different negative phases.

One Gibbs step from the data (CD-1) leaves far modes alone that no chain reaches; more steps (CD-25)
and chains that go on (PCD) do better (Salakhutdinov & Murray 2008, table 1; Tieleman 2008).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from rlkit.dbn.likelihood import LogPartition, log_likelihood
from rlkit.dbn.rbm import RBM
from rlkit.dbn.rbm_config import RBMConfig
from rlkit.run_folder import machine
from rlkit.statistics import mean_interval

PHASES: Mapping[str, Mapping[str, Any]] = {
    "CD-1": {"negative_chains": "data", "gibbs_steps": 1},
    "PCD": {"negative_chains": "persistent", "gibbs_steps": 1},
    "CD-25": {"negative_chains": "data", "gibbs_steps": 25},
}
"""Name -> what differs."""

MOST_TEMPERATURES = 320_000


@dataclass(frozen=True)
class NegativePhasesConfig:
    """What is compared. Raises ValueError where no seed is named."""

    rbm: RBMConfig = field(
        default_factory=lambda: RBMConfig(
            hidden_units=500, batch_size=20, learning_rate=0.05, epochs=20, held_out_share=0.0
        )
    )
    """All but the negative phase, which is replaced."""
    test_rows: int = 1000
    """Held out."""
    temperatures: int = 5000
    """Of annealed importance sampling; four times as many, up to MOST_TEMPERATURES, as long as the
    error is too large."""
    largest_error: float = 0.5
    """Of log Z, in nats, one standard error."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Each splits the rows and trains anew."""

    def __post_init__(self) -> None:
        if not self.seeds:
            raise ValueError("seeds names none")


def compare(
    config: NegativePhasesConfig,
    rows: np.ndarray,
    *,
    done: Iterable[Mapping[str, Any]] = (),
    on_row: Callable[[Mapping[str, Any]], None] = lambda row: None,
) -> dict[str, Any]:
    """Train with every phase in `PHASES` and every seed.

    rows: (count, columns), zeros and ones, float32. done: rows of an earlier result, which are not
    measured again. on_row: given each new one.
    Returns plain JSON data: `machine`, and `rows`, each with `phase`, `seed`, `nats` (mean
    log-likelihood of held-out rows), `learnt_nats` (of training rows), `standard_error` of log Z,
    `temperatures` that it took, and `seconds` of the training.
    Raises ValueError where there are too few rows to hold some out.
    """
    if config.test_rows >= len(rows):
        raise ValueError(f"{len(rows)} rows are too few to hold out {config.test_rows}")
    told = list(done)
    measured = {(row["phase"], row["seed"]) for row in told}
    for seed in config.seeds:
        order = np.random.default_rng(seed).permutation(len(rows))
        test, learnt = rows[order[: config.test_rows]], rows[order[config.test_rows :]]
        for phase, changes in PHASES.items():
            if (phase, seed) in measured:
                continue
            rbm = RBM(replace(config.rbm, seed=seed, **changes))
            begun = time.perf_counter()
            rbm.fit(learnt)
            seconds = time.perf_counter() - begun
            temperatures, partition = _partition(rbm, config, seed)
            row = {
                "phase": phase,
                "seed": seed,
                "nats": _nats(rbm, test, partition),
                "learnt_nats": _nats(rbm, learnt, partition),
                "standard_error": partition.standard_error,
                "temperatures": temperatures,
                "seconds": seconds,
            }
            told.append(row)
            on_row(row)
    return {"machine": machine(), "rows": told}


def summarise(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """To each phase: `nats`, `learnt_nats` and `seconds`, a mean over seeds and half its 95 %
    interval."""
    told = []
    for phase in PHASES:
        of_phase = [row for row in rows if row["phase"] == phase]
        if of_phase:
            measures = {
                name: mean_interval([row[name] for row in of_phase])
                for name in ("nats", "learnt_nats", "seconds")
            }
            told.append({"phase": phase, "seeds": len(of_phase), **measures})
    return told


def _partition(rbm: RBM, config: NegativePhasesConfig, seed: int) -> tuple[int, LogPartition]:
    temperatures = config.temperatures
    while True:
        partition = rbm.log_partition(temperatures=temperatures, seed=seed)
        more = 4 * temperatures
        if partition.standard_error <= config.largest_error or more > MOST_TEMPERATURES:
            return temperatures, partition
        temperatures = more


def _nats(rbm: RBM, rows: np.ndarray, partition: LogPartition) -> float:
    return float(log_likelihood(rbm.machine_, torch.from_numpy(rows), partition).mean())
