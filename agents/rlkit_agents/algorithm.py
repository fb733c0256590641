"""What every algorithm offers: it learns a policy from steps, and knows no files, clock, world."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from rlkit_agents.policy import Policy
from rlkit_agents.step import Step


class NonFiniteGradientError(ArithmeticError):
    """A loss or gradient became NaN or infinite; the weights are those from before that update."""


class RowHistory(Protocol):
    """A long record in rows that never change once written, such as a replay.

    Checkpoints save it row by row, apart from an algorithm's `state_dict`.
    """

    @property
    def rows_written(self) -> int:
        """Rows ever added; the next row gets this number."""
        ...

    @property
    def first_row(self) -> int:
        """Number of the oldest row that is still there."""
        ...

    @property
    def rows_capacity(self) -> int:
        """Rows that fit in; then each new row overwrites the oldest one."""
        ...

    def export_rows(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """Copies of the rows `start` (included) to `stop` (excluded), first axis the row."""
        ...

    def import_rows(self, start: int, arrays: dict[str, np.ndarray]) -> None:
        """Put back what `export_rows` gave, from row `start` on."""
        ...


class Algorithm(Protocol):
    """Learns `policy` from a stream of batched steps, in turns of act, update and observe.

    Constructed as `Algorithm(config, observation_space, action_space, num_envs, *,
    exploration_seed, replay_seed, initialisation_seed, device)`, where the spaces are those of a
    single environment and the seeds are independent `numpy.random.SeedSequence`s.
    """

    @property
    def policy(self) -> Policy:
        """What is learnt; its `network` holds the weights."""
        ...

    @property
    def evaluated_policy(self) -> Policy:
        """What is evaluated, filmed and saved: `policy`, or one with an average of its weights."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        ...

    @property
    def updates(self) -> int:
        """Gradient steps taken."""
        ...

    @property
    def replay(self) -> RowHistory | None:
        """What a checkpoint saves row by row; None where `state_dict` holds everything."""
        ...

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Explore: actions (num_envs, ...) for observations (num_envs, *observation_shape).

        The observations are left unchanged until `observe`.
        """
        ...

    def update(self) -> dict[str, Tensor | float]:
        """Take the gradient steps that are due, often none, while the environments step.

        Returns scalars that describe the last of them, or nothing. Raises NonFiniteGradientError,
        before the weights change, where a loss or gradient is not finite.
        """
        ...

    def observe(self, step: Step) -> None:
        """Take in what came of the last actions."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything but the rows of `replay`: nested plain data, arrays and tensors.

        Taken between two steps: after `observe`, before the next `act`.
        """
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on, bit for bit, where `state` was taken."""
        ...


def check_finite(
    network: nn.Module, objective: Tensor, gradient_norm: Tensor, updates: int, steps: int
) -> None:
    """Raise NonFiniteGradientError, naming the layer, where a loss or gradient is not finite.

    Called after the backward pass and before clipping, which would spread a NaN from one layer's
    gradient to all. objective, gradient_norm: without dimension. updates: gradient steps taken
    before. steps: environment steps observed.
    """
    if torch.isfinite(gradient_norm + objective.detach()):
        return
    named = list(network.named_parameters())
    weights = [name for name, parameter in named if not torch.isfinite(parameter).all()]
    gradients = [
        name
        for name, parameter in named
        if parameter.grad is not None and not torch.isfinite(parameter.grad).all()
    ]
    if weights:  # these spoil every gradient
        where = f"in the weights of {', '.join(weights)}"
    elif gradients:
        where = f"in the gradient of {', '.join(gradients)}"
    else:
        where = "in the loss or in the gradient norm"
    raise NonFiniteGradientError(
        f"not a finite number {where} (loss {float(objective.detach()):g}) "
        f"at update {updates + 1}, environment step {steps}"
    )
