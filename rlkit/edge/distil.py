"""Fine-tuning of a compressed body by distillation: it learns to score as its teacher does.

What it learns from are recorded observations, not rewards (Hinton et al. 2015; policy distillation,
Rusu et al. 2016). Departures: beside the softened choice it regresses the scores themselves, the
differences between actions more than their mean, which decides nothing. Pruning in stages follows
Zhu & Gupta 2017, "To prune, or not to prune", equation 1.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn import functional

from rlkit.edge.body import Body, outputs_of
from rlkit.edge.compress_config import Method
from rlkit.edge.prune import Masks, apply_masks, check_masks, choose_masks, zero_masked
from rlkit.recording import Recording


@dataclass(frozen=True)
class DistilConfig:
    """How a student is fitted to its teacher."""

    steps: int = 1_000
    """Gradient steps."""
    batch_size: int = 128
    """Observations in each, or the whole recording where it has fewer."""
    learning_rate: float = 1e-3
    """Adam's at the first step; it falls to 0 by half a cosine (Loshchilov & Hutter 2017)."""
    temperature: float = 0.2
    """Of both choices that the cross-entropy compares, above 0; 1 is the teacher's typical
    difference between actions. The smaller, the more only the best actions count."""
    cross_entropy_weight: float = 3.0
    """Of the cross-entropy between the teacher's choice and the student's."""
    mean_weight: float = 0.01
    """Of the error in the mean over actions, where the error in their differences has weight 1.
    What a state is worth varies far more than what its actions differ by: with more weight, its
    errors take the student's capacity from the choice."""
    state_weight: float = 1.0
    """Of the error in the next recurrent state, in units of the teacher's typical one."""
    continuous: bool = False
    """Scores are the components of a continuous action: only their plain square error counts,
    beside the state's."""
    seed: int = 0
    """Of the order in which observations are drawn."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "temperature"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in (each.name for each in fields(self) if each.name.endswith("_weight")):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")


def distil(
    student: Body,
    teacher: Body,
    recording: Recording,
    config: DistilConfig,
    masks: Masks | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> Body:
    """A copy of `student`, fitted to what `teacher` says of the recorded observations.

    masks: what they do not keep is exactly 0 after every step; without them weights that are 0 may
    grow. on_step: is told the number of steps done, and the loss of the last of them.
    Raises ValueError for an empty recording, bodies whose scores or states differ in number, and
    masks that do not fit; FloatingPointError where the loss is not finite.
    """
    if len(recording) == 0:
        raise ValueError("nothing can be learnt from an empty recording")
    masks = masks or {}
    check_masks(student, masks)
    targets = outputs_of(teacher, recording)
    _check_same_outputs(outputs_of(student, recording[:1]), targets)
    scales = [score_scale(targets[0], config.continuous), *map(_root_mean_square, targets[1:])]
    # Convolutions learn twice as fast with channels last.
    student = copy.deepcopy(student).requires_grad_(True)
    student.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    zero_masked(student, masks)
    optimizer = torch.optim.Adam(student.parameters(), lr=config.learning_rate)
    with torch.enable_grad():
        for step, which in enumerate(_batches(len(recording), config), start=1):
            scores, *state = student(*recording[which.numpy()].inputs())
            wanted_scores, *wanted_state = (target[which] for target in targets)
            loss = distillation_loss(scores, wanted_scores, scales[0], config)
            for part, wanted, scale in zip(state, wanted_state, scales[1:], strict=True):
                error = ((part - wanted) / scale).square().mean()
                loss = loss + config.state_weight * error
            if not loss.isfinite():
                raise FloatingPointError(f"the loss of distillation is {loss.item()} at {step}")
            for group in optimizer.param_groups:
                group["lr"] = falling(config.learning_rate, step - 1, config.steps)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            zero_masked(student, masks)  # Adam's momentum moves them without any gradient
            if on_step is not None:
                on_step(step, loss.item())
    student.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
    return student.requires_grad_(False)


def distillation_loss(
    scores: Tensor, teacher_scores: Tensor, scale: float, config: DistilConfig
) -> Tensor:
    """How far a student's scores are from its teacher's, both (batch, outputs), without dimension.

    scale: see `score_scale`; both are divided by it. Advantages are scores less their mean over
    actions. The mean square error of advantages, plus the weighted square error of the means, plus
    the weighted cross-entropy from softmax(teacher's advantages / temperature) to the student's.
    """
    scores, teacher_scores = scores / scale, teacher_scores / scale
    if config.continuous:
        return functional.mse_loss(scores, teacher_scores)
    means, teacher_means = scores.mean(1, keepdim=True), teacher_scores.mean(1, keepdim=True)
    advantages, teacher_advantages = scores - means, teacher_scores - teacher_means
    choice = torch.softmax(teacher_advantages / config.temperature, 1)
    return (
        functional.mse_loss(advantages, teacher_advantages)
        + config.mean_weight * functional.mse_loss(means, teacher_means)
        + config.cross_entropy_weight
        * functional.cross_entropy(advantages / config.temperature, choice)
    )


def score_scale(scores: Tensor, continuous: bool = False) -> float:
    """The unit in which errors of scores (count, outputs) are told; 1 where nothing differs.

    The root mean square of the differences from the mean over actions, so that neither the scale
    of rewards nor a value that all actions share counts; of the scores themselves if `continuous`.
    """
    return _root_mean_square(scores if continuous else scores - scores.mean(1, keepdim=True))


def falling(start: float, step: int, steps: int) -> float:
    """From `start` at step 0 to 0 at `steps`, by half a cosine."""
    return start * 0.5 * (1.0 + math.cos(math.pi * step / steps))


def gradual_sparsity(sparsity: float, stage: int, stages: int) -> float:
    """Sparsity after a stage, counted from 1 (Zhu & Gupta 2017, equation 1, from none)."""
    return sparsity * (1.0 - (1.0 - stage / stages) ** 3)


def prune_gradually(
    body: Body,
    teacher: Body,
    recording: Recording,
    sparsity: float,
    method: Method,
    config: DistilConfig,
    *,
    stages: int,
    energy_per_weight: Mapping[str, float] | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> Body:
    """Prune a body to `sparsity` in stages, many weights at first, with fine-tuning after each.

    config: of the fine-tuning after each stage, `config.steps` times `stages` in all; its seed is
    also that of random pruning. What is gone in one stage stays gone in the next.
    on_step: is told the number of steps done in all, and the loss.
    Raises ValueError as `rlkit.edge.prune.choose_masks` and `distil` do, and for stages below 1.
    """
    if stages < 1:
        raise ValueError(f"stages must be at least 1, got {stages}")
    for stage in range(1, stages + 1):
        masks = choose_masks(
            body,
            gradual_sparsity(sparsity, stage, stages),
            method,
            recording=recording,
            energy_per_weight=energy_per_weight,
            seed=config.seed,
        )
        done = (stage - 1) * config.steps

        def tell(step: int, loss: float, done: int = done) -> None:
            if on_step is not None:
                on_step(done + step, loss)

        tuning = replace(config, seed=config.seed + stage - 1)
        body = distil(apply_masks(body, masks), teacher, recording, tuning, masks, tell)
    return body


def _check_same_outputs(of_student: list[Tensor], of_teacher: list[Tensor]) -> None:
    shapes = [[tuple(part.shape[1:]) for part in each] for each in (of_student, of_teacher)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"a student whose scores and states have the shapes {shapes[0]} cannot learn from a "
            f"teacher's, {shapes[1]}"
        )


def _batches(count: int, config: DistilConfig) -> Iterator[Tensor]:
    """Numbers of the observations of each step; all are drawn before any comes again."""
    generator = torch.Generator().manual_seed(config.seed)
    size = min(config.batch_size, count)
    queue = torch.empty(0, dtype=torch.int64)
    for _ in range(config.steps):
        if len(queue) < size:
            queue = torch.cat([queue, torch.randperm(count, generator=generator)])
        yield queue[:size]
        queue = queue[size:]


def _root_mean_square(values: Tensor) -> float:
    return values.square().mean().sqrt().item() or 1.0
