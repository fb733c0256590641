from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlkit_envs.data_center.servers import (
    ServerDesign,
    air_flow_ratio,
    energyplus_curves,
    operate_servers,
)

PRESSURE_PA = 101_325.0


def test_half_load_at_a_cool_inlet_by_hand() -> None:
    servers = operate_servers(ServerDesign(), 0.5, 20.0, 0.0, PRESSURE_PA)
    # Half way between idle 0.35 and 1, no leakage at 20 degC.
    assert servers.compute_power_w == pytest.approx(675_000.0, rel=1e-12)
    # Flow 0.40 + 0.15 / 2; its cube is 0.107171875, of 170 kW.
    assert servers.flow_ratio == pytest.approx(0.475, rel=1e-12)
    assert servers.fan_power_w == pytest.approx(18_219.21875, rel=1e-12)
    # 110 m3/s x 0.475 at 101325 / (287.042 x 293.15) = 1.204152 kg/m3.
    assert servers.flow_kg_s == pytest.approx(52.25 * 1.204152, rel=1e-6)
    assert servers.exhaust_degc == pytest.approx(20.0 + 693_219.22 / (62.91694 * 1004.84), rel=1e-6)
    assert servers.power_w == pytest.approx(693_219.21875, rel=1e-12)


def test_full_load_at_a_warm_inlet_by_hand() -> None:
    servers = operate_servers(ServerDesign(), 1.0, 32.0, 0.01, PRESSURE_PA)
    # Twelve kelvins of leakage; ten of them above the threshold: 0.55 + 10 (0.014 + 0.007).
    assert servers.compute_power_w == pytest.approx(1_006_000.0, rel=1e-12)
    assert servers.flow_ratio == pytest.approx(0.76, rel=1e-12)
    assert servers.fan_power_w == pytest.approx(170_000.0 * 0.438976, rel=1e-12)


@pytest.mark.parametrize("utilisation", [0.0, 0.2, 0.5, 0.8, 1.0])
@pytest.mark.parametrize(("cool", "warm"), [(20.0, 32.0), (23.0, 30.0)])
def test_power_rises_with_the_inlet_as_measured_servers_do(
    utilisation: float, cool: float, warm: float
) -> None:
    design = ServerDesign()
    before, after = (
        operate_servers(design, utilisation, degc, 0.008, PRESSURE_PA).power_w
        for degc in (cool, warm)
    )
    assert 0.0035 <= (after / before - 1.0) / (warm - cool) <= 0.005


def test_fans_are_constant_below_the_threshold_and_above_the_ceiling() -> None:
    design = ServerDesign()
    ratios = air_flow_ratio(design, 0.3, np.array([5.0, 15.0, 22.0, 22.5, 45.0, 55.0]))
    assert ratios[0] == ratios[1] == ratios[2] < ratios[3]
    assert ratios[4] == ratios[5]
    # Without the limit at full speed, 0.445 + 23 (0.0322 + 0.0021) would be 1.23.
    assert ratios[4] == 1.0


@given(
    st.floats(0, 1), st.floats(0, 1), st.floats(5, 50), st.floats(5, 50), st.floats(0.001, 0.015)
)
def test_power_and_flow_never_fall_with_load_or_inlet(
    load: float, other_load: float, inlet: float, other_inlet: float, humidity: float
) -> None:
    design = ServerDesign()
    low = operate_servers(
        design, min(load, other_load), min(inlet, other_inlet), humidity, PRESSURE_PA
    )
    high = operate_servers(
        design, max(load, other_load), max(inlet, other_inlet), humidity, PRESSURE_PA
    )
    assert high.power_w >= low.power_w
    assert high.fan_power_w >= low.fan_power_w
    assert high.flow_ratio >= low.flow_ratio


def test_air_carries_off_exactly_the_power() -> None:
    design = ServerDesign(rated_power_w=123e3)
    rng = np.random.default_rng(1)
    inlet, humidity = rng.uniform(10, 40, 50), rng.uniform(0.002, 0.02, 50)
    servers = operate_servers(design, rng.uniform(0, 1, 50), inlet, humidity, 83_000.0)
    carried = servers.flow_kg_s * (1004.84 + 1858.95 * humidity) * (servers.exhaust_degc - inlet)
    np.testing.assert_allclose(carried, servers.power_w, rtol=1e-12)
    # Fans move volume: thin air carries less mass.
    dense = operate_servers(design, 0.5, 20.0, 0.008, 101_325.0)
    thin = operate_servers(design, 0.5, 20.0, 0.008, 83_000.0)
    assert thin.flow_kg_s / dense.flow_kg_s == pytest.approx(83_000 / 101_325, rel=1e-12)


@given(st.floats(0, 1), st.floats(0, 60))
def test_the_curves_for_energyplus_are_the_same_servers(load: float, inlet: float) -> None:
    design = ServerDesign(idle_share=0.4, flow_rise_busy_per_k=0.004)
    curves = energyplus_curves(design)

    def biquadratic(c: tuple[float, ...], x: float, y: float) -> float:
        return c[0] + c[1] * x + c[2] * x * x + c[3] * y + c[4] * y * y + c[5] * x * y

    servers = operate_servers(design, load, inlet, 0.008, PRESSURE_PA)
    compute = biquadratic(curves.compute_power, load, inlet)
    held = min(max(inlet, curves.flow_degc[0]), curves.flow_degc[1])
    flow = min(biquadratic(curves.flow, load, held), 1.0)
    fan = np.polynomial.Polynomial(curves.fan_power)(flow)
    assert servers.compute_power_w == pytest.approx(compute * 1e6, rel=1e-12)
    assert servers.flow_ratio == pytest.approx(flow, rel=1e-12)
    assert servers.fan_power_w == pytest.approx(fan * 170e3, rel=1e-11)


def test_rows_do_not_depend_on_the_batch() -> None:
    rng = np.random.default_rng(2)
    load, inlet = rng.uniform(0, 1, 33), rng.uniform(10, 50, 33)
    batch = operate_servers(ServerDesign(), load, inlet, np.full(33, 0.008), PRESSURE_PA)
    for row in (0, 7, 32):
        alone = operate_servers(
            ServerDesign(),
            load[row : row + 1],
            inlet[row : row + 1],
            np.array([0.008]),
            PRESSURE_PA,
        )
        for together, single in zip(batch, alone, strict=True):
            assert together[row] == single[0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rated_power_w", 0.0),
        ("idle_share", 1.2),
        ("flow_idle_ratio", 0.0),
        ("flow_busy_ratio", 0.2),
        ("fan_ceiling_degc", 10.0),
    ],
)
def test_designs_that_cannot_be_are_refused(field: str, value: float) -> None:
    changes: dict[str, Any] = {field: value}
    with pytest.raises(ValueError, match=f"ServerDesign.{field} is {value}"):
        ServerDesign(**changes)
