from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import expm

from rlkit_envs.data_center.thermal_mass import HallDesign, HallTemperatures, advance_hall

STEP_S = 300.0


def reference(
    design: HallDesign, air: float, metal: float, step_s: float, **flows: float
) -> tuple[float, ...]:
    """End values and means by the matrix exponential of the system with its own integral."""
    supply, slope = flows["supply_conductance_w_k"], flows["supply_slope"]
    outdoor, exchange = flows["outdoor_conductance_w_k"], design.metal_conductance_w_k
    capacity = flows["air_heat_capacity_j_k"]
    forcing = flows["heat_w"] + supply * flows["supply_intercept_degc"]
    forcing += outdoor * flows["outdoor_degc"]
    # States: air, metal, their integrals, and a constant one.
    system = np.zeros((5, 5))
    system[0, 0] = -(supply * (1 - slope) + outdoor + exchange) / capacity
    system[0, 1] = exchange / capacity
    system[0, 4] = forcing / capacity
    system[1, 0] = exchange / design.metal_heat_capacity_j_k
    system[1, 1] = -system[1, 0]
    system[2, 0] = system[3, 1] = 1 / step_s
    end = expm(system * step_s) @ np.array([air, metal, 0.0, 0.0, 1.0])
    return tuple(end[:4])


def advance(design: HallDesign, air: float, metal: float, **flows: float) -> HallTemperatures:
    step_s = flows.pop("step_s", STEP_S)
    arrays: dict[str, Any] = {name: np.array([value]) for name, value in flows.items()}
    return advance_hall(design, np.array([air]), np.array([metal]), step_s=step_s, **arrays)


TYPICAL = {
    "air_heat_capacity_j_k": 2.4e6,
    "heat_w": 900e3,
    "supply_conductance_w_k": 70e3,
    "supply_intercept_degc": 18.0,
    "supply_slope": 0.0,
    "outdoor_conductance_w_k": 600.0,
    "outdoor_degc": 5.0,
}


@given(
    air=st.floats(5, 60),
    metal=st.floats(5, 60),
    capacity=st.floats(1e4, 1e8),
    metal_capacity=st.floats(1e4, 1e9),
    exchange=st.sampled_from([0.0, 1e-6, 1.0, 1e3, 3e4, 1e6]),
    heat=st.floats(-1e6, 3e6),
    supply=st.sampled_from([0.0, 1e-3, 10.0, 1e3, 7e4, 2e5]),
    slope=st.sampled_from([0.0, 0.3, 1.0]),
    outdoor=st.sampled_from([0.0, 1e-4, 600.0, 5e4]),
    step_s=st.sampled_from([1.0, 60.0, 300.0, 3600.0]),
)
def test_every_step_is_the_matrix_exponential(
    air: float,
    metal: float,
    capacity: float,
    metal_capacity: float,
    exchange: float,
    heat: float,
    supply: float,
    slope: float,
    outdoor: float,
    step_s: float,
) -> None:
    design = HallDesign(metal_heat_capacity_j_k=metal_capacity, metal_conductance_w_k=exchange)
    flows = {
        "air_heat_capacity_j_k": capacity,
        "heat_w": heat,
        "supply_conductance_w_k": supply,
        "supply_intercept_degc": 18.0,
        "supply_slope": slope,
        "outdoor_conductance_w_k": outdoor,
        "outdoor_degc": 2.0,
    }
    hall = advance(design, air, metal, step_s=step_s, **flows)
    expected = reference(design, air, metal, step_s, **flows)
    scale = max(60.0, abs(heat) * step_s / capacity)
    for value, wanted in zip(hall, expected, strict=True):
        assert value[0] == pytest.approx(wanted, rel=1e-9, abs=1e-10 * scale)


@given(
    st.floats(5, 60),
    st.floats(5, 60),
    st.floats(0, 2e6),
    st.floats(0, 1e5),
    st.floats(0, 1),
    st.floats(-20, 45),
)
def test_stored_heat_is_what_flowed_in(
    air: float, metal: float, heat: float, supply: float, slope: float, outdoor: float
) -> None:
    design = HallDesign()
    flows = TYPICAL | {
        "heat_w": heat,
        "supply_conductance_w_k": supply,
        "supply_slope": slope,
        "outdoor_degc": outdoor,
    }
    hall = advance(design, air, metal, **flows)
    supplied = 18.0 + slope * hall.mean_air_degc
    inflow = heat + supply * (supplied - hall.mean_air_degc)
    inflow += 600.0 * (outdoor - hall.mean_air_degc)
    stored = 2.4e6 * (hall.air_degc - air) + 30e6 * (hall.metal_degc - metal)
    moved = STEP_S * (abs(heat) + supply * 60.0 + 1e5)
    assert stored[0] == pytest.approx(STEP_S * inflow[0], abs=1e-12 * moved)
    into_metal = 30e3 * (hall.mean_air_degc - hall.mean_metal_degc) * STEP_S
    assert 30e6 * (hall.metal_degc - metal) == pytest.approx(into_metal[0], rel=1e-9, abs=1e-3)


def test_the_steady_state_by_hand_stays() -> None:
    # 900 kW = 70 kW/K (T - 18) + 0.6 kW/K (T - 5) gives T = (900 + 1260 + 3) / 70.6.
    steady = 2163.0 / 70.6
    hall = advance(HallDesign(), steady, steady, **TYPICAL)
    for value in hall:
        assert value[0] == pytest.approx(steady, rel=1e-13)
    far = advance(HallDesign(), 15.0, 40.0, step_s=1e5, **TYPICAL)
    assert far.air_degc[0] == pytest.approx(steady, rel=1e-10)
    assert far.metal_degc[0] == pytest.approx(steady, rel=1e-10)


def test_without_flow_the_hall_heats_up_at_the_rate_of_its_mass() -> None:
    # Insulated, fans off: 900 kW over 32.4 MJ/K are 8.33 K in five minutes, in the end.
    flows = TYPICAL | {"supply_conductance_w_k": 0.0, "outdoor_conductance_w_k": 0.0}
    first = advance(HallDesign(), 25.0, 25.0, **flows)
    mean_rise = (2.4 * (first.air_degc - 25) + 30 * (first.metal_degc - 25)) / 32.4
    assert mean_rise[0] == pytest.approx(900e3 * 300 / 32.4e6, rel=1e-12)
    # Air without metal: 900 kW over 2.4 MJ/K, linearly, so that the mean is half way.
    bare = advance(HallDesign(metal_conductance_w_k=0.0), 25.0, 20.0, **flows)
    assert bare.air_degc[0] == pytest.approx(25.0 + 112.5, rel=1e-13)
    assert bare.mean_air_degc[0] == pytest.approx(25.0 + 56.25, rel=1e-13)
    assert bare.metal_degc[0] == bare.mean_metal_degc[0] == 20.0


def test_two_half_steps_are_one_step() -> None:
    whole = advance(HallDesign(), 30.0, 22.0, **TYPICAL)
    half = advance(HallDesign(), 30.0, 22.0, step_s=150.0, **TYPICAL)
    second = advance(HallDesign(), half.air_degc[0], half.metal_degc[0], step_s=150.0, **TYPICAL)
    assert second.air_degc[0] == pytest.approx(whole.air_degc[0], rel=1e-13)
    assert second.metal_degc[0] == pytest.approx(whole.metal_degc[0], rel=1e-13)
    mean = 0.5 * (half.mean_metal_degc + second.mean_metal_degc)
    assert mean[0] == pytest.approx(whole.mean_metal_degc[0], rel=1e-13)


def test_rows_do_not_depend_on_the_batch() -> None:
    rng = np.random.default_rng(0)
    air, metal = rng.uniform(15, 45, 40), rng.uniform(15, 45, 40)
    supply = np.where(rng.random(40) < 0.3, 0.0, rng.uniform(0, 1e5, 40))
    outdoor = np.where(rng.random(40) < 0.5, 0.0, 600.0)
    design = HallDesign(metal_conductance_w_k=0.05)

    def step(rows: slice) -> HallTemperatures:
        flows: dict[str, Any] = TYPICAL | {
            "supply_conductance_w_k": supply[rows],
            "outdoor_conductance_w_k": outdoor[rows],
        }
        return advance_hall(design, air[rows], metal[rows], step_s=STEP_S, **flows)

    batch = step(slice(None))
    for row in range(40):
        for together, alone in zip(batch, step(slice(row, row + 1)), strict=True):
            assert together[row] == alone[0]


def test_designs_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"HallDesign.air_volume_m3 is 0.0, but must be above 0"):
        HallDesign(air_volume_m3=0.0)
    with pytest.raises(ValueError, match=r"metal_conductance_w_k is -1.0, but must be 0 or more"):
        HallDesign(metal_conductance_w_k=-1.0)
