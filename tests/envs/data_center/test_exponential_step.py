from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlkit_envs.data_center.exponential_step import (
    mean_weight,
    mean_weight_difference,
)

exponents = st.one_of(
    st.sampled_from([0.0, -1e-300, -1e-9, -0.0299, -0.03, -0.0301, -1.0]), st.floats(-12, 0)
)


def series(terms: list[Fraction]) -> float:
    return float(sum(terms, Fraction(0)))


@given(exponents)
def test_weight_is_its_series(exponent: float) -> None:
    z, term, terms = Fraction(exponent), Fraction(1, 2), []
    for k in range(70):
        terms.append(term)
        term = term * z / (k + 3)
    assert mean_weight(np.array([exponent]))[0] == pytest.approx(series(terms), rel=1e-13)


@given(exponents, exponents)
def test_difference_is_its_series(one: float, other: float) -> None:
    fast, slow = sorted((one, other))
    # Divided differences of z^k are the sums of z1^i z2^j with i + j = k - 1.
    z1, z2 = Fraction(slow), Fraction(fast)
    power, last, factorial, terms = Fraction(1), Fraction(1), Fraction(1, 6), []
    for k in range(70):
        terms.append(factorial * power)
        last = last * z2
        power = power * z1 + last
        factorial = factorial / (k + 4)
    difference = mean_weight_difference(np.array([slow]), np.array([fast]))[0]
    # It weighs changes that are `fast` times as large.
    assert difference == pytest.approx(series(terms), rel=1e-11)


def test_far_decay_keeps_only_the_steady_state() -> None:
    assert mean_weight(np.array([-1e9]))[0] == pytest.approx(1e-9, rel=1e-8)
    assert mean_weight_difference(np.zeros(1), np.array([-1e9]))[0] == pytest.approx(5e-10)
