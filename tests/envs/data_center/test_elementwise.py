"""Choices in numbers are NumPy's in arrays, to the bit: NaN, infinities and signs of zeros too."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlkit_envs.data_center.elementwise import (
    anywhere,
    arrays_of,
    choose,
    everywhere,
    filled,
    is_nan,
    larger_of,
    limited,
    numbers_if_alone,
    smaller_of,
)

ODD = (0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan)
numbers = st.one_of(st.sampled_from(ODD), st.floats())


def bits(value):
    value = np.float64(value)
    return "nan" if np.isnan(value) else value.tobytes()


@given(numbers, numbers)
def test_bounds_of_numbers_are_those_of_arrays(first, second):
    for ours, numpys in ((larger_of, np.maximum), (smaller_of, np.minimum)):
        expected = numpys(np.array([first]), np.array([second]))[0]
        assert bits(ours(np.float64(first), np.float64(second))) == bits(expected)
        assert bits(ours(np.array([first]), second)[0]) == bits(expected)
    least, most = sorted((first, second))
    for value in ODD:
        expected = np.minimum(np.maximum(np.array([value]), least), most)[0]
        assert bits(limited(np.float64(value), least, most)) == bits(expected)


@pytest.mark.parametrize("condition", [True, False])
def test_conditions_on_a_number_are_those_on_an_array(condition):
    one, several = np.bool_(condition), np.array([condition, condition])
    for where in (one, condition):
        assert choose(where, 1.0, 2.0) == choose(several, 1.0, 2.0)[1]
        assert anywhere(where) is anywhere(several) is condition
        assert everywhere(where) is everywhere(several) is condition
    mixed = np.array([True, False])
    assert anywhere(mixed)
    assert not everywhere(mixed)
    np.testing.assert_array_equal(choose(mixed, 1.0, np.array([2.0, 3.0])), [1.0, 3.0])
    assert is_nan(np.nan)
    assert not is_nan(0.0)
    np.testing.assert_array_equal(is_nan(np.array([np.nan, 0.0])), mixed)


class _Pair(NamedTuple):
    first: object
    second: object


def test_what_is_alone_becomes_a_number_and_comes_back() -> None:
    alone = numbers_if_alone(_Pair(np.array([3.0]), 4.0))
    assert alone == (3.0, 4.0)
    assert isinstance(alone.first, np.float64)
    two = np.array([3.0, 5.0])
    assert numbers_if_alone(_Pair(two, 4.0)).first is two
    back = arrays_of(_Pair(alone, two), 2)
    np.testing.assert_array_equal(back.first.second, [4.0, 4.0])
    assert back.second is two
    assert filled(1.0, np.float64(7.0)) == 1.0
    np.testing.assert_array_equal(filled(False, two), [False, False])
