"""Trains a GAN: epochs of alternating steps, the generator's average, and a stop where it fails."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from rlkit.divergence import DivergenceWarning
from rlkit.gan.alternation import Alternation
from rlkit.gan.monitoring import WATCHED, EpochRecord, Monitor, Tally, advice
from rlkit.gan.training_data import Examples
from rlkit_agents.averaging import WeightAverage


def train(
    alternation: Alternation,
    examples: Examples,
    on_epoch: Callable[[EpochRecord, nn.Module], None],
) -> tuple[nn.Module, list[EpochRecord]]:
    """The averaged generator after all epochs, in evaluation mode, and a record of each.

    on_epoch: called after each epoch with the averaged generator of that moment.
    A discriminator's head start counts batches from the first on, and a pass leaves out what does
    not fill a batch, another remainder each time. Where training diverges or collapses it stops,
    returns the generator of the last good epoch and warns (DivergenceWarning); so it does where
    samples are all but alike after the last epoch, having been apart before. Raises
    DivergenceError where there was no good one.
    """
    config = alternation.config
    watched = watched_rows(examples, config.seed)
    real, condition = examples.batch(watched)
    classes = None if examples.classes is None else examples.classes.tolist()
    monitor = Monitor(config, real, condition, alternation.noise(len(watched)), classes)
    # It averages any module's weights, not only a policy's.
    average: WeightAverage[Any] = WeightAverage(
        cast(Any, alternation.generator), config.average_decay
    )
    shuffler = np.random.default_rng(config.seed)
    history: list[EpochRecord] = []
    batches = steps = 0
    for epoch in range(1, config.epochs + 1):
        begun = time.perf_counter()
        tally = Tally()
        for rows in _batches(len(examples), config.batch_size, shuffler):
            real, condition = examples.batch(rows)
            finite = tally.add_discriminator_step(alternation.step_discriminator(real, condition))
            batches += 1
            since = batches - config.head_start
            if finite and since > 0 and since % config.discriminator_steps == 0:
                finite = tally.add_generator_step(alternation.step_generator(real, condition))
                steps += 1
                average.follow(cast(Any, alternation.generator), steps)
            if not finite:
                break
        seconds = time.perf_counter() - begun
        record, trouble = monitor.judge(epoch, seconds, steps, tally, average.policy)
        history.append(record)
        on_epoch(record, average.policy)
        if trouble is None and epoch == config.epochs:
            trouble = monitor.collapsed_at_last(record)
        if trouble is not None:
            kept = monitor.good_or_raise(trouble)
            warnings.warn(
                f"{trouble}; kept the generator of epoch {monitor.good_epoch};{advice(config)}",
                DivergenceWarning,
                stacklevel=3,
            )
            return kept, history
    if not steps:
        warnings.warn(
            f"the generator took no step: the training had {batches} batches, of which head_start"
            f" takes {config.head_start} and discriminator_steps {config.discriminator_steps} for"
            " each of the generator",
            DivergenceWarning,
            stacklevel=3,
        )
    return average.policy, history


def watched_rows(examples: Examples, seed: int) -> Tensor:
    """Rows of at most WATCHED examples, as many of each label as there are, or two at least."""
    order = torch.from_numpy(np.random.default_rng((seed, 1)).permutation(len(examples)))
    labels = examples.condition
    if labels is None or labels.ndim != 1:
        return order[:WATCHED]
    classes = int(labels.max()) + 1
    share = max(2, WATCHED // classes)
    return torch.cat([order[labels[order] == label][:share] for label in range(classes)])


def _batches(count: int, size: int, shuffler: np.random.Generator) -> list[Tensor]:
    order = torch.from_numpy(shuffler.permutation(count))
    size = min(size, count)
    return list(order[: count - count % size].split(size))
