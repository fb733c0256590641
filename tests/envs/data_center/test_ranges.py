import math
from dataclasses import dataclass

import pytest

from rlkit_envs.data_center.ranges import check_positive, check_ranges


@dataclass(frozen=True)
class Pipe:
    length_m: float = 1.0
    share: float = 0.5

    def __post_init__(self) -> None:
        check_positive(self, "length_m")
        check_ranges(self, share=(0.0, 1.0))


def test_values_at_the_bounds_pass() -> None:
    for share in (0, 0.0, 1, 1.0):
        assert Pipe(share=share).share == share
    assert Pipe(length_m=1e-300).length_m > 0


@pytest.mark.parametrize(
    ("value", "message"),
    [(1.5, "Pipe.share is 1.5, but must be from 0 to 1"), (math.nan, "Pipe.share is nan")],
)
def test_a_value_outside_is_named_with_what_fits(value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Pipe(share=value)


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_what_must_be_positive_is_finite_and_above_zero(value: float) -> None:
    with pytest.raises(ValueError, match=r"Pipe.length_m is .*, but must be above 0"):
        Pipe(length_m=value)


@pytest.mark.parametrize("value", ["1", None, True])
def test_what_is_no_number_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError, match=r"Pipe.length_m must be a number"):
        Pipe(length_m=value)  # pyright: ignore[reportArgumentType]
