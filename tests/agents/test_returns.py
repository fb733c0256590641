"""Advantages and lambda-returns, by hand and against definitions that sum forwards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rlkit_agents.returns import generalised_advantages, lambda_returns


def column(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float32).unsqueeze(1)


def flags(*numbers: int) -> Tensor:
    return torch.tensor(numbers, dtype=torch.bool).unsqueeze(1)


NEVER = flags(0, 0, 0)


@pytest.mark.parametrize(
    ("terminated", "truncated", "expected"),
    [
        # Errors: 1 + 0.5 * 4 - 2 = 1, 2 + 0.5 * 6 - 4 = 1, 3 + 0.5 * 8 - 6 = 1; carried on by 0.2.
        (NEVER, NEVER, (1.24, 1.2, 1.0)),
        # The second error is then 2 - 4 = -2, and nothing is carried over into it.
        (flags(0, 1, 0), NEVER, (0.6, -2.0, 1.0)),
        (NEVER, flags(0, 1, 0), (1.2, 1.0, 1.0)),
        (flags(0, 0, 1), NEVER, (1.08, 0.4, -3.0)),
        (NEVER, flags(0, 0, 1), (1.24, 1.2, 1.0)),
    ],
)
def test_advantages_by_hand(terminated: Tensor, truncated: Tensor, expected: tuple[float, ...]):
    advantages = generalised_advantages(
        column(2, 4, 6, 8),
        column(1, 2, 3),
        terminated,
        truncated,
        discount=0.5,
        trace_decay=0.4,
    )
    torch.testing.assert_close(advantages, column(*expected))


@pytest.mark.parametrize(
    ("terminated", "truncated", "expected"),
    [
        # 3 + 0.5 * 8 = 7, 2 + 0.5 * (0.6 * 6 + 0.4 * 7) = 5.2, 1 + 0.5 * (0.6 * 4 + 0.4 * 5.2)
        (NEVER, NEVER, (3.24, 5.2, 7.0)),
        (flags(0, 1, 0), NEVER, (2.6, 2.0, 7.0)),
        (NEVER, flags(0, 1, 0), (3.2, 5.0, 7.0)),
        (flags(0, 0, 1), NEVER, (3.08, 4.4, 3.0)),
    ],
)
def test_lambda_returns_by_hand(terminated: Tensor, truncated: Tensor, expected):
    returns = lambda_returns(
        column(4, 6, 8), column(1, 2, 3), terminated, truncated, discount=0.5, trace_decay=0.4
    )
    torch.testing.assert_close(returns, column(*expected))


@st.composite
def stretches(draw: Any) -> dict[str, Any]:
    """Random values (time + 1, batch), rewards, ends, discount and trace decay."""
    time, batch = draw(st.integers(1, 9)), draw(st.integers(1, 3))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    terminated = random.random((time, batch)) < 0.2
    return {
        "values": random.normal(size=(time + 1, batch)),
        "rewards": random.normal(size=(time, batch)),
        "terminated": terminated,
        "truncated": ~terminated & (random.random((time, batch)) < 0.2),
        "discount": draw(st.floats(0, 1)),
        "trace_decay": draw(st.floats(0, 1)),
    }


def n_step_returns(case: dict[str, Any], t: int, env: int) -> list[float]:
    """The 1-step, 2-step, ... returns from time t up to the end of the episode or stretch."""
    returns, total, weight = [], 0.0, 1.0
    for now in range(t, len(case["rewards"])):
        total += weight * case["rewards"][now, env]
        weight *= case["discount"]
        ends = case["terminated"][now, env]
        returns.append(total + weight * (0 if ends else case["values"][now + 1, env]))
        if ends or case["truncated"][now, env]:
            break
    return returns


def lambda_return(case: dict[str, Any], t: int, env: int) -> float:
    """Sutton & Barto 2018, eq. 12.9: the longest n-step return has all the weight that is left."""
    *others, longest = n_step_returns(case, t, env)
    decay = case["trace_decay"]
    shorter = sum((1 - decay) * decay**n * value for n, value in enumerate(others))
    return shorter + decay ** len(others) * longest


def computed(case: dict[str, Any], function: Any, *names: str) -> np.ndarray:
    tensors = [torch.from_numpy(case[name].astype(np.float32)) for name in names]
    ends = [torch.from_numpy(case[name]) for name in ("terminated", "truncated")]
    return function(
        *tensors, *ends, discount=case["discount"], trace_decay=case["trace_decay"]
    ).numpy()


@given(stretches())
def test_lambda_returns_are_mixtures_of_n_step_returns(case: dict[str, Any]):
    case["next_values"] = case["values"][1:]
    expected = [
        [lambda_return(case, t, env) for env in range(case["rewards"].shape[1])]
        for t in range(len(case["rewards"]))
    ]
    found = computed(case, lambda_returns, "next_values", "rewards")
    np.testing.assert_allclose(found, expected, atol=1e-4)


@given(stretches())
def test_advantages_are_such_mixtures_less_the_value(case: dict[str, Any]):
    expected = [
        [
            lambda_return(case, t, env) - case["values"][t, env]
            for env in range(case["rewards"].shape[1])
        ]
        for t in range(len(case["rewards"]))
    ]
    found = computed(case, generalised_advantages, "values", "rewards")
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("function", [generalised_advantages, lambda_returns])
def test_what_follows_a_termination_counts_for_nothing(function):
    values = column(2, 1e30, 6, 8)
    found = function(
        values if function is generalised_advantages else values[1:],
        column(1, 2, 3),
        flags(1, 0, 0),
        NEVER,
        discount=1.0,
        trace_decay=0.5,
    )
    assert found[0] == (-1 if function is generalised_advantages else 1)


def test_returns_pass_no_gradient_on():
    values = column(1, 2, 3, 4).requires_grad_()
    settings: dict[str, Any] = dict(discount=0.9, trace_decay=0.9)
    advantages = generalised_advantages(values, column(1, 2, 3), NEVER, NEVER, **settings)
    returns = lambda_returns(values[1:], column(1, 2, 3), NEVER, NEVER, **settings)
    assert not advantages.requires_grad
    assert not returns.requires_grad


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"rewards": torch.zeros(3)}, r"rewards must be \(time, batch\), got shape \(3,\)"),
        ({"rewards": torch.zeros(0, 1)}, r"rewards must be \(time, batch\), got shape \(0, 1\)"),
        ({"terminated": flags(0, 0)}, r"terminated of shape \(2, 1\) does not fit .* \(3, 1\)"),
        ({"truncated": column(0, 0, 0)}, "truncated must be bool, got torch.float32"),
        ({"values": column(1, 2)}, r"\(2, 1\)"),
    ],
)
@pytest.mark.parametrize("function", [generalised_advantages, lambda_returns])
def test_shapes_that_do_not_fit_are_refused(function, changes: dict[str, Tensor], complaint: str):
    extra = function is generalised_advantages
    arguments = {
        "values": torch.zeros(3 + extra, 1),
        "rewards": column(1, 2, 3),
        "terminated": NEVER,
        "truncated": NEVER,
    } | changes
    with pytest.raises(ValueError, match=complaint):
        function(*arguments.values(), discount=0.9, trace_decay=0.9)
