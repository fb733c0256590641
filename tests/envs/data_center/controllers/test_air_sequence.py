"""Split range: worked points, and the way back from set points to demand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlkit_envs.data_center.controllers.air_sequence import AirSequence

SEQUENCE = AirSequence(2.0, 4.0, least_flow_ratio=0.25, most_flow_ratio=1.0, flow_span_k=8.0)


@pytest.mark.parametrize(
    ("demand", "supply_k", "flow"),
    [
        (-1.0, 2.0, 0.25),
        (0.0, 2.0, 0.25),
        (0.5, 1.5, 0.25),
        (2.0, 0.0, 0.25),
        (6.0, 0.0, 0.5),  # half the flow's part: the geometric mean of 1/4 and 1
        (10.0, 0.0, 1.0),
        (11.0, -1.0, 1.0),
        (14.0, -4.0, 1.0),
        (99.0, -4.0, 1.0),
    ],
)
def test_air_flow_comes_before_colder_supply(demand, supply_k, flow):
    assert SEQUENCE.supply_air_k(demand) == pytest.approx(supply_k)
    assert SEQUENCE.air_flow_ratio(demand) == pytest.approx(flow)
    assert SEQUENCE.most_k == 14.0


@given(st.floats(0.0, 14.0))
def test_set_points_tell_their_demand(demand):
    found = SEQUENCE.demand_k(SEQUENCE.supply_air_k(demand), SEQUENCE.air_flow_ratio(demand))
    assert found == pytest.approx(demand, abs=1e-9)


def test_foreign_set_points_count_by_their_flow():
    found = SEQUENCE.demand_k(np.array([5.0, -9.0, 3.0, 1.0]), np.array([0.5, 0.5, 0.1, 1.2]))
    np.testing.assert_allclose(found, [6.0, 6.0, 0.0, 10.0])


def test_a_sequence_without_room_for_the_flow_is_refused():
    with pytest.raises(ValueError, match=r"least_flow_ratio is 0\.8.*below.*0\.8"):
        AirSequence(least_flow_ratio=0.8, most_flow_ratio=0.8)
