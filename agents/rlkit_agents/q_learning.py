"""What every algorithm that learns action values does with a batch, whatever the batch is.

Transitions in `dqn`, time steps of sequences in `r2d2`: the loss of its head, and a gradient step.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn

from rlkit_agents import losses
from rlkit_agents.algorithm import check_finite
from rlkit_agents.losses import SampleLoss
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.q_policy import HeadConfig


def q_learning_loss(
    head: HeadConfig,
    q_tm1: Tensor,
    a_tm1: Tensor,
    r_t: Tensor,
    discount_t: Tensor,
    q_t_value: Tensor,
    q_t_selector: Tensor,
    *,
    value_rescaling: bool = False,
) -> SampleLoss:
    """Double Q-learning by the loss that belongs to `head`; see `losses` for the names.

    q_tm1, q_t_value, q_t_selector: outputs (batch, actions, atoms) of networks with that head.
    a_tm1: (batch,) int64. r_t, discount_t: (batch,). value_rescaling: for other heads than the
    categorical one.
    """
    scalar = head.kind == "expected"
    if scalar:
        q_tm1, q_t_value, q_t_selector = (
            outputs.squeeze(-1) for outputs in (q_tm1, q_t_value, q_t_selector)
        )
    arguments = (q_tm1, a_tm1, r_t, discount_t, q_t_value, q_t_selector)
    if head.kind != "categorical":
        regression = losses.double_q_learning if scalar else losses.double_quantile_q_learning
        return regression(
            *arguments, huber_kappa=head.huber_threshold, value_rescaling=value_rescaling
        )
    return losses.double_categorical_q_learning(*arguments, head.support(q_tm1.device))


def gradient_step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    objective: Tensor,
    *,
    l1: float,
    l2: float,
    learning_rate: float,
    max_gradient_norm: float,
    updates: int,
    steps: int,
) -> tuple[Tensor, Tensor]:
    """Move the weights of `network` against the gradient of an objective (without dimension).

    l1, l2: weights of the penalties that are added to it. updates, steps: gradient steps taken
    before and environment steps observed, for an error's message.
    Returns the whole objective, and the norm of its gradient before it was clipped. Raises
    NonFiniteGradientError, before the weights change, where either is not finite.
    """
    parameters = list(network.parameters())
    if l1 or l2:
        objective = objective + l1 * losses.l1_penalty(parameters)
        objective = objective + l2 * losses.l2_penalty(parameters)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.zero_grad()
    objective.backward()
    gradients = [weights.grad for weights in parameters if weights.grad is not None]
    gradient_norm = nn.utils.get_total_norm(gradients)
    check_finite(network, objective, gradient_norm, updates, steps)
    nn.utils.clip_grads_with_norm_(parameters, max_gradient_norm, gradient_norm)
    optimizer.step()
    return objective.detach(), gradient_norm


class InTurn:
    """Stands in for a thread where one would not help: what is submitted is done at once."""

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*arguments))
        return future


def thread_beside(
    name: str, device: torch.device, network: NetworkConfig
) -> ThreadPoolExecutor | InTurn:
    """Where passes without gradient are computed beside the one with gradient.

    On a processor that is another thread. But dropout draws from one global stream, whose order
    two threads would leave to chance.
    """
    overlaps = device.type == "cpu" and network.dropout == 0
    return ThreadPoolExecutor(1, name) if overlaps else InTurn()
