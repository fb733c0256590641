"""Linear schedules at hand-worked points, and their bounds everywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlkit_agents.schedules import LinearSchedule


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (LinearSchedule(1.0, 0.2, 80), {0: 1.0, 20: 0.8, 40: 0.6, 79: 0.21, 80: 0.2, 10**9: 0.2}),
        (LinearSchedule(0.4, 1.0, 6), {0: 0.4, 1: 0.5, 3: 0.7, 6: 1.0, 7: 1.0}),
        (LinearSchedule(0.9, 0.1, 0), {0: 0.1, 1: 0.1}),
    ],
)
def test_values_lie_on_the_line_and_then_stay(schedule: LinearSchedule, values: dict[int, float]):
    assert {step: schedule.at(step) for step in values} == pytest.approx(values)


unit = st.floats(0, 1)


@given(unit, unit, st.integers(0, 10**8), st.integers(0, 2 * 10**8), st.integers(0, 10**8))
def test_it_moves_one_way_and_never_past_its_ends(start, end, steps, step, later):
    schedule = LinearSchedule(start, end, steps)
    first, second = schedule.at(step), schedule.at(step + later)
    low, high = min(start, end) - 1e-12, max(start, end) + 1e-12
    assert low <= first <= high
    assert (second - first) * (end - start) >= -1e-12


def test_a_negative_length_is_refused():
    with pytest.raises(ValueError, match="-5 steps"):
        LinearSchedule(1.0, 0.0, -5)
