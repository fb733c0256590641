import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlkit_envs.data_center.airflow import AirflowDesign, distribute_air, inlet, supply_heat_index

flows = st.floats(0.01, 200)


def test_ample_air_leaves_the_gaps_and_bypasses_the_rest() -> None:
    air = distribute_air(AirflowDesign(), 300.0, 100.0)
    # 95 % of what servers draw is supply: 95 of 300 kg/s, and the rest bypasses.
    assert air.recirculation_ratio == pytest.approx(0.05, abs=1e-4)
    assert air.bypass_ratio == pytest.approx(1 - 95 / 300, abs=1e-4)
    # Hottest rack: 3 x 0.05 / (1 + 2 x 0.05).
    assert air.hottest_recirculation_ratio == pytest.approx(0.15 / 1.1, abs=1e-4)


def test_scarce_air_recirculates_what_is_missing() -> None:
    air = distribute_air(AirflowDesign(), 40.0, 100.0)
    # All but the leakage of 5 % reaches servers: 38 of the 100 kg/s that they draw.
    assert air.recirculation_ratio == pytest.approx(0.62, abs=1e-3)
    assert air.bypass_ratio == pytest.approx(0.05, abs=1e-3)


def test_exactly_enough_air_is_smoothed() -> None:
    design = AirflowDesign(recirculation_ratio=0.0, leakage_ratio=0.0)
    air = distribute_air(design, 100.0, 100.0)
    assert air.recirculation_ratio == pytest.approx(1 - 2 ** (-1 / 8), rel=1e-12)
    assert air.bypass_ratio == pytest.approx(1 - 2 ** (-1 / 8), rel=1e-12)


@given(
    flows,
    flows,
    st.floats(0, 0.5),
    st.floats(0, 0.5),
    st.floats(0, 5),
)
def test_the_cold_aisle_balances(
    supply: float, servers: float, gaps: float, leakage: float, spread: float
) -> None:
    design = AirflowDesign(gaps, leakage, spread)
    air = distribute_air(design, supply, servers)
    through = supply * (1 - air.bypass_ratio)
    assert through == pytest.approx(servers * (1 - air.recirculation_ratio), rel=1e-9)
    assert gaps - 1e-12 <= air.recirculation_ratio <= 1
    assert leakage - 1e-12 <= air.bypass_ratio <= 1
    assert air.recirculation_ratio <= air.hottest_recirculation_ratio + 1e-12
    assert air.hottest_recirculation_ratio <= 1
    assert air.provisioning_ratio == pytest.approx(supply / servers)
    more = distribute_air(design, supply * 1.01, servers)
    assert more.recirculation_ratio <= air.recirculation_ratio + 1e-12
    assert more.bypass_ratio >= air.bypass_ratio - 1e-12


def test_still_fans_and_still_servers_are_limits() -> None:
    air = distribute_air(AirflowDesign(), np.array([0.0, 50.0]), np.array([80.0, 0.0]))
    assert air.recirculation_ratio[0] == 1.0
    assert air.bypass_ratio[1] == pytest.approx(1.0)
    assert np.isfinite(np.stack(air[1:])).all()


def test_inlet_mixes_and_the_index_finds_the_share() -> None:
    drawn = inlet(0.2, 18.0, 33.0)
    assert drawn == pytest.approx(21.0)
    # Servers that warm their air to 33 degC: SHI = (21 - 18) / (33 - 18).
    assert supply_heat_index(drawn, 18.0, 33.0) == pytest.approx(0.2)
    assert supply_heat_index(18.0, 18.0, 18.0) == 0.0


def test_shares_outside_their_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"AirflowDesign.leakage_ratio is 1.0.* from 0 to 0.9"):
        AirflowDesign(leakage_ratio=1.0)
