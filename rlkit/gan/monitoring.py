"""Watches a GAN train: what an epoch came to, and in plain words what goes wrong.

Collapse is noticed by the spread of samples: how far they lie from their mean, of the same label
where there are labels, as a share of the same distance of real examples. Modes that are missing
while others are made well show in the metrics alone, not here.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rlkit.divergence import DivergenceError
from rlkit.gan.alternation import DiscriminatorStep
from rlkit.gan.configuration import AdversarialConfig

WATCHED = 512
"""Examples, at most, whose spread is compared; as many samples are made each epoch."""

COLLAPSED = 0.1
"""Spread of samples, as a share of that of real examples, below which they are all but alike."""

HEALTHY = 0.5
"""Spread, likewise, from which a generator is kept in place of an earlier one that spreads more."""

SATURATED = 0.99
"""Accuracy on real and on generated examples alike from which a discriminator is saturated."""


@dataclass(frozen=True)
class EpochRecord:
    """What one pass over the data came to. Means are over its steps."""

    epoch: int
    """From 1."""
    seconds: float
    """Of the steps alone."""
    generator_steps: int
    """Since the beginning."""
    discriminator_loss: float
    """Mean, without penalties."""
    generator_loss: float | None
    """Mean, without the reconstruction error; None while the discriminator had its head start."""
    accuracy_real: float
    """Mean share of real examples that the discriminator took for real (`losses.accuracies`)."""
    accuracy_fake: float
    """Mean share of generated examples that it took for generated."""
    gradient_real: float | None
    """Mean squared norm of its gradient at real examples, what R1 weighs; None without R1 and
    R2."""
    gradient_fake: float | None
    """The same at generated examples, what R2 weighs."""
    spread: float
    """Of samples of the averaged generator, as a share of that of real examples."""
    alarms: tuple[str, ...]
    """What goes wrong, a sentence each; mostly none."""


class Tally:
    """Adds up the steps of an epoch."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add_discriminator_step(self, step: DiscriminatorStep) -> bool:
        """Returns whether its loss is finite."""
        self._add("accuracy_real", step.accuracy_real)
        self._add("accuracy_fake", step.accuracy_fake)
        self._add("gradient_real", step.gradient_real)
        self._add("gradient_fake", step.gradient_fake)
        return self._add("discriminator_loss", step.loss)

    def add_generator_step(self, loss: Tensor) -> bool:
        """Returns whether it is finite."""
        return self._add("generator_loss", loss)

    def mean(self, name: str) -> float | None:
        """Of what was added by that name; None for nothing."""
        return self._sums[name] / self._counts[name] if name in self._sums else None

    def _add(self, name: str, value: Tensor | None) -> bool:
        if value is None:
            return True
        number = float(value)
        self._sums[name] = self._sums.get(name, 0.0) + number
        self._counts[name] = self._counts.get(name, 0) + 1
        return math.isfinite(number)


def deviations(examples: Tensor, groups: Tensor | None) -> Tensor:
    """Root mean squared distance of examples from the mean of their group.

    examples: (count, ...). groups: (count,) int64 from 0 on, or None for one group.
    Returns (groups + 1,) float64: of each group, NaN for those with fewer than two examples, and of
    all groups together.
    """
    rows = examples.flatten(1).double()
    if groups is None:
        groups = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
    counts = torch.bincount(groups).double()
    sums = rows.new_zeros(len(counts), rows.shape[1]).index_add_(0, groups, rows)
    squares = (rows - (sums / counts[:, None])[groups]).square().sum(1)
    totals = rows.new_zeros(len(counts)).index_add_(0, groups, squares)
    degrees = counts - 1.0
    of_each = torch.where(degrees > 0.0, totals / degrees, math.nan)
    of_all = totals.sum() / degrees.clamp(min=0.0).sum()
    return torch.cat((of_each, of_all[None])).sqrt()


class Monitor:
    """Judges epochs by the samples of the averaged generator, and keeps the last good one."""

    def __init__(
        self,
        config: AdversarialConfig,
        real: Tensor,
        condition: Tensor | None,
        noise: Tensor,
        classes: Sequence[int] | None = None,
    ) -> None:
        """real: (count, ...) scaled examples, for whose conditions samples are made of `noise`,
        (count, latents); labels among the conditions, (count,) int64, make groups. classes: what
        these are called; by default by their numbers."""
        self._config = config
        self._condition, self._noise = condition, noise
        labels = condition is not None and condition.ndim == 1
        self._groups = condition if labels else None
        self._classes = classes
        self._real = deviations(real, self._groups)
        self._last_apart = 0  # step of the generator
        self.good_epoch = 0
        """The last whose generator was worth keeping; 0 for none."""
        self._good: nn.Module | None = None
        self._widest = 0.0

    def judge(
        self, epoch: int, seconds: float, steps: int, tally: Tally, generator: nn.Module
    ) -> tuple[EpochRecord, str | None]:
        """The record, and what is wrong where training must stop.

        steps: of the generator so far. generator: the averaged one, which is copied if it is good.
        """
        with torch.no_grad():
            samples = generator(self._noise, self._condition)
        shares = (deviations(samples, self._groups) / self._real).tolist()
        spread = shares.pop()
        apart = spread >= COLLAPSED
        finite = math.isfinite(spread)
        alarms = self._alarms(tally, shares, apart)
        record = EpochRecord(
            epoch=epoch,
            seconds=seconds,
            generator_steps=steps,
            discriminator_loss=tally.mean("discriminator_loss") or 0.0,
            generator_loss=tally.mean("generator_loss"),
            accuracy_real=tally.mean("accuracy_real") or 0.0,
            accuracy_fake=tally.mean("accuracy_fake") or 0.0,
            gradient_real=tally.mean("gradient_real"),
            gradient_fake=tally.mean("gradient_fake"),
            spread=spread,
            alarms=tuple(alarms),
        )
        losses = (record.discriminator_loss, record.generator_loss or 0.0)
        if not (finite and all(math.isfinite(loss) for loss in losses)):
            return record, f"training diverged in epoch {epoch}: losses are no longer finite"
        if apart:
            self._last_apart = steps
            if spread >= min(HEALTHY, self._widest):
                # Not the last before a collapse, which has all but collapsed itself.
                self._good, self.good_epoch = copy.deepcopy(generator), epoch
                self._widest = max(self._widest, spread)
        elif steps - self._last_apart >= self._config.patience:
            return record, (
                f"training collapsed by epoch {epoch}: samples have been all but alike for"
                f" {steps - self._last_apart} steps of the generator (they spread {spread:.1%} as"
                " far as real examples)"
            )
        return record, None

    def collapsed_at_last(self, record: EpochRecord) -> str | None:
        """What is wrong where training ends with samples that are all but alike, though once they
        were not: too late for the patience that stops a training. record: of the last epoch."""
        if self._good is None or record.spread >= COLLAPSED:
            return None
        return f"training collapsed by its last epoch, {record.epoch}: samples are all but alike"

    def good_or_raise(self, trouble: str) -> nn.Module:
        """The last good generator. Raises DivergenceError where there is none."""
        if self._good is None:
            raise DivergenceError(f"{trouble};{advice(self._config)}")
        return self._good

    def _alarms(self, tally: Tally, shares: list[float], apart: bool) -> list[str]:
        alarms = []
        real, fake = (tally.mean(f"accuracy_{side}") or 0.0 for side in ("real", "fake"))
        if min(real, fake) >= SATURATED:
            alarms.append(
                f"the discriminator is saturated: it tells {real:.1%} of real and {fake:.1%} of"
                " generated examples for what they are, and leaves the generator little to learn"
                f" from;{advice(self._config)}"
            )
        if not apart:
            alarms.append("samples are all but alike: the generator has collapsed or not begun yet")
        elif self._groups is not None:
            alike = [number for number, share in enumerate(shares) if share < COLLAPSED]
            if alike:
                called = range(len(shares)) if self._classes is None else self._classes
                named = ", ".join(str(called[number]) for number in alike)
                alarms.append(f"samples of one class are all but alike, in classes {named}")
        return alarms


def advice(config: AdversarialConfig) -> str:
    """What to change where the discriminator wins or training diverged."""
    told = f" lower discriminator_learning_rate (now {config.discriminator_learning_rate:g})"
    if config.head_start:
        told += f" or head_start (now {config.head_start})"
    if config.r1 == 0.0 or config.r2 == 0.0:
        return f"{told}, or set r1 and r2"
    return f"{told}, or raise r1 and r2 (now {config.r1:g} and {config.r2:g})"
