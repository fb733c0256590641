"""Which series are learnt from, set the threshold, and are scored."""

from __future__ import annotations

import numpy as np
import pytest

from rlkit.autoencoder.anomalies.division import divide, with_other_roles
from rlkit.autoencoder.anomalies.series import Event, Series


def series(name: str, role: str | None = None, *, event: bool = False, steps: int = 10) -> Series:
    values = np.arange(steps, dtype=float)[:, None]
    context = {} if role is None else {"role": role}
    return Series(values, ("a",), 1.0, name, (Event(2, 5),) if event else (), context)


def names(some: tuple[Series, ...]) -> list[str]:
    return [each.name for each in some]


def test_roles_say_it_all() -> None:
    division = divide(
        [
            series("t", "test", event=True),
            series("n", "normal"),
            series("w", "unseen_weather"),
            series("h", "held_out"),
            series("p", "changed_policy"),
        ],
        0.3,
    )
    assert names(division.normal) == ["n"]
    assert names(division.held_out) == ["h"]
    assert names(division.scored) == ["t", "w", "p"]


def test_without_roles_the_last_series_without_events_are_held_out() -> None:
    given = [series(str(number), event=number in (1, 4)) for number in range(7)]
    division = divide(given, 0.4)
    assert names(division.normal) == ["0", "2", "3"]
    assert names(division.held_out) == ["5", "6"]
    assert names(division.scored) == ["1", "4"]
    assert names(divide(given, 0.01).held_out) == ["6"]
    assert names(divide(given, 0.99).normal) == ["0"]


def test_roles_without_any_held_out_take_some_of_the_normal() -> None:
    given = [series("a", "normal"), series("b", "normal"), series("c", "test", event=True)]
    division = divide(given, 0.3)
    assert (names(division.normal), names(division.held_out)) == (["a"], ["b"])


def test_the_end_of_a_single_series_is_held_out() -> None:
    division = divide([series("a"), series("b", event=True)], 0.3)
    assert names(division.normal) == ["a (start)"]
    np.testing.assert_array_equal(division.normal[0].values[:, 0], np.arange(7))
    np.testing.assert_array_equal(division.held_out[0].values[:, 0], np.arange(7, 10))


def test_another_role_counts_as_none() -> None:
    assert names(divide([series("a", "mine"), series("b")], 0.5).normal) == ["a"]
    assert with_other_roles([series("a", "normal"), series("b", "mine")], ("normal",))


@pytest.mark.parametrize(
    ("given", "share", "message"),
    [
        ([series("a")], 1.0, "held_out is a share above 0 and below 1, got 1.0"),
        ([series("a", "normal"), series("b")], 0.3, "series 'b' has no role, but others have"),
        ([series("a", event=True)], 0.3, "there is no normal series"),
        ([], 0.3, "there is no normal series"),
        ([series("a", steps=1)], 0.3, "too short to hold out its end"),
    ],
)
def test_what_cannot_be_divided_is_told(given: list[Series], share: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        divide(given, share)
