"""Returns over a stretch of time, as pure functions: what actor-critics and Q(lambda) learn from.

Arrays are (time, batch). Row t holds what came of the action at time t: reward r_t, and whether the
episode terminated or was truncated there. The value after row t is that of the observation it led
to, which after an end is the episode's last. A row after an end is a reset step: nothing is carried
over into the row before it, and what it gets itself is to be left out by the caller.
"""

from __future__ import annotations

import torch
from torch import Tensor


def generalised_advantages(
    values: Tensor,
    rewards: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    *,
    discount: float,
    trace_decay: float,
) -> Tensor:
    """Generalised advantage estimates (Schulman et al. 2016, eq. 16), cut at the last row.

    With delta_t = r_t + discount * V_{t+1} - V_t, where V_{t+1} counts as 0 after a termination:
    A_t = delta_t + discount * trace_decay * A_{t+1}, where A_{t+1} counts as 0 after any end.

    values: (time + 1, batch), the last row being the value after the last reward. rewards: (time,
    batch). terminated, truncated: (time, batch) bool. trace_decay: the paper's lambda; 1 gives
    returns less values, 0 one-step errors. Returns (time, batch) without gradient.
    Raises ValueError for shapes that do not fit.
    """
    _check_shapes(rewards, terminated, truncated)
    if values.shape != (len(rewards) + 1, *rewards.shape[1:]):
        raise ValueError(
            f"values must have a row more than rewards {tuple(rewards.shape)}, "
            f"got {tuple(values.shape)}"
        )
    with torch.no_grad():
        bootstrap = torch.where(terminated, 0.0, values[1:])
        errors = rewards + discount * bootstrap - values[:-1]
        carried = torch.where(terminated | truncated, 0.0, discount * trace_decay)
        return _accumulated(errors, carried, torch.zeros_like(values[-1]))


def lambda_returns(
    next_values: Tensor,
    rewards: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    *,
    discount: float,
    trace_decay: float,
) -> Tensor:
    """Lambda-returns, cut at the last row (Sutton & Barto 2018, eq. 12.18, for state values).

    G_t = r_t + discount * ((1 - trace_decay) * V_{t+1} + trace_decay * G_{t+1}), with V_{t+1} in
    place of G_{t+1} after a truncation and after the last row, and r_t alone after a termination.
    With V the largest action value, these are the targets of Peng & Williams's Q(lambda) (1996), as
    PQN takes them (Gallici et al. 2024): traces are not cut where an action was not greedy.

    next_values: (time, batch), value of the observation that each row led to. rewards: (time,
    batch). terminated, truncated: (time, batch) bool. trace_decay: lambda; 0 gives one-step
    targets. Returns (time, batch) without gradient. Raises ValueError for shapes that do not fit.
    """
    _check_shapes(rewards, terminated, truncated, next_values=next_values)
    with torch.no_grad():
        carried = torch.where(terminated | truncated, 0.0, discount * trace_decay)
        weight = torch.where(terminated, 0.0, discount) - carried
        return _accumulated(rewards + weight * next_values, carried, next_values[-1])


def _accumulated(terms: Tensor, carried: Tensor, last: Tensor) -> Tensor:
    """x_t = terms_t + carried_t * x_{t+1}, from `last` backwards; all (time, batch)."""
    sums = torch.empty_like(terms)
    for t in range(len(terms) - 1, -1, -1):
        last = torch.addcmul(terms[t], carried[t], last, out=sums[t])
    return sums


def _check_shapes(rewards: Tensor, *ends: Tensor, **values: Tensor) -> None:
    if rewards.ndim != 2 or len(rewards) == 0:
        raise ValueError(f"rewards must be (time, batch), got shape {tuple(rewards.shape)}")
    others = {"terminated": ends[0], "truncated": ends[1], **values}
    for name, tensor in others.items():
        if tensor.shape != rewards.shape:
            raise ValueError(
                f"{name} of shape {tuple(tensor.shape)} does not fit rewards of shape "
                f"{tuple(rewards.shape)}"
            )
    for name in ("terminated", "truncated"):
        if others[name].dtype != torch.bool:
            raise ValueError(f"{name} must be bool, got {others[name].dtype}")
