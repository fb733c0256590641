"""Measures training of restricted Boltzmann machines beside scikit-learn's `BernoulliRBM`.

Both take the same float32 rows, the same sizes and persistent contrastive divergence with one Gibbs
step, and run in turns in one process, so that other work on the machine slows both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from rlkit.dbn.likelihood import annealed_log_partition, log_likelihood
from rlkit.dbn.machine import BernoulliMachine, base_rates
from rlkit.dbn.rbm import RBM
from rlkit.dbn.rbm_config import RBMConfig
from rlkit.run_folder import machine
from rlkit.torch_threads import torch_threads

LEARNING_RATE = 0.05


def bench_speed(
    *,
    rows: int = 5000,
    visible: int = 784,
    hidden: int = 500,
    batch_sizes: Sequence[int] = (10, 100),
    threads: int = 1,
    rounds: int = 3,
    epochs: int = 3,
) -> dict[str, Any]:
    """Seconds an epoch takes, to each batch size the median of rounds, in turns.

    The rows are random, an eighth of them ones (about as many as in MNIST's images). epochs: of
    each fit, whose time they share.
    Returns plain JSON data: `machine`, `threads`, `epochs`, and `rows` with `batch_size`,
    `rlkit_seconds`, `rlkit_bfloat16_seconds` (products in bfloat16), `sklearn_seconds`,
    `sklearn_float64_seconds` (what it does with rows that are not float32), and `times_faster` and
    `bfloat16_times_faster` than `sklearn_seconds`, medians of the rounds' ratios.
    Raises ImportError where scikit-learn is missing.
    """
    random = np.random.default_rng(0)
    data = (random.random((rows, visible)) < 0.125).astype(np.float32)
    told = []
    with _threads(threads):
        for batch_size in batch_sizes:
            ours = _config(hidden, batch_size, epochs)
            half = replace(ours, precision="bfloat16")
            contestants: dict[str, tuple[Callable[[], Any], np.ndarray]] = {
                "rlkit": (lambda config=ours: RBM(config), data),
                "rlkit_bfloat16": (lambda config=half: RBM(config), data),
                "sklearn": (partial(_sklearn_rbm, hidden, batch_size, epochs), data),
                "sklearn_float64": (
                    partial(_sklearn_rbm, hidden, batch_size, epochs),
                    data.astype(float),
                ),
            }
            taken: dict[str, list[float]] = {name: [] for name in contestants}
            for _ in range(rounds):
                for name, (make, given) in contestants.items():
                    taken[name].append(_seconds(partial(make().fit, given)) / epochs)
            row = {f"{name}_seconds": float(np.median(each)) for name, each in taken.items()}
            for name, rival in (("", "rlkit"), ("bfloat16_", "rlkit_bfloat16")):
                ratios = np.divide(taken["sklearn"], taken[rival])
                row[f"{name}times_faster"] = float(np.median(ratios))
            told.append({"batch_size": batch_size, **row})
    return {"machine": machine(), "threads": threads, "epochs": epochs, "rows": told}


def bench_likelihood(
    train: np.ndarray,
    test: np.ndarray,
    *,
    hidden: int = 500,
    batch_size: int = 10,
    epochs: int = 10,
    seconds_used: float = 1.0,
    ours: RBMConfig | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Mean log-likelihood of held-out rows after training for the same processor time.

    train, test: (rows, visible), in [0, 1]. epochs: of scikit-learn's machine, whose time is the
    budget. ours: the configuration that is given as many epochs as fit in the budget (times
    `seconds_used`), measured by a first epoch; None takes the same settings with a learning rate
    that falls to 0. Both are judged by the same annealed importance sampling.
    Returns plain JSON data with `nats`, `standard_error` of log Z, `seconds` and `epochs` of both.
    """
    train, test = train.astype(np.float32), test.astype(np.float32)
    config = ours or RBMConfig(
        hidden_units=hidden,
        batch_size=batch_size,
        learning_rate=LEARNING_RATE,
        final_learning_rate=0.0,
        held_out_share=0.0,
        seed=seed,
    )
    with _threads(1):
        theirs = _sklearn_rbm(hidden, batch_size, epochs, seed)
        budget = _seconds(lambda: theirs.fit(train), time.process_time)
        one = RBM(config, epochs=1)
        epoch_seconds = _seconds(lambda: one.fit(train), time.process_time)
        affordable = max(1, int(seconds_used * budget / epoch_seconds))
        rbm = RBM(config, epochs=affordable)
        taken = _seconds(lambda: rbm.fit(train), time.process_time)
        learned = BernoulliMachine(
            *(
                torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
                for array in (
                    theirs.components_,
                    theirs.intercept_visible_,
                    theirs.intercept_hidden_,
                )
            )
        )
        told = {}
        rows = torch.from_numpy(test)
        for name, judged, seconds, passes in (
            ("rlkit", rbm.machine_, taken, affordable),
            ("sklearn", learned, budget, epochs),
        ):
            base = base_rates(torch.from_numpy(train), "bernoulli", judged.hidden_units)
            partition = annealed_log_partition(judged, base, seed=seed)
            told[name] = {
                "nats": float(log_likelihood(judged, rows, partition).mean()),
                "standard_error": partition.standard_error,
                "effective_chains": partition.effective_chains,
                "seconds": seconds,
                "epochs": passes,
            }
    return {"machine": machine(), "batch_size": batch_size, **told}


def _config(hidden: int, batch_size: int, epochs: int) -> RBMConfig:
    return RBMConfig(
        hidden_units=hidden,
        batch_size=batch_size,
        learning_rate=LEARNING_RATE,
        final_learning_rate=None,
        epochs=epochs,
        held_out_share=0.0,
    )


def _sklearn_rbm(hidden: int, batch_size: int, epochs: int, seed: int = 0) -> Any:
    try:
        from sklearn.neural_network import BernoulliRBM
    except ImportError as error:
        raise ImportError("this benchmark needs scikit-learn: pip install scikit-learn") from error
    return BernoulliRBM(
        n_components=hidden,
        learning_rate=LEARNING_RATE,
        batch_size=batch_size,
        n_iter=epochs,
        random_state=seed,
    )


def _seconds(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    started = clock()
    call()
    return clock() - started


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    """So many in PyTorch and in NumPy's matrix products, as many as before afterwards."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise ImportError("this benchmark needs scikit-learn: pip install scikit-learn") from error
    with threadpool_limits(threads), torch_threads(threads):
        yield
