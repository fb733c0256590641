import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rlkit_envs.data_center.chilled_water_coil import (
    CoilDesign,
    CoilOperation,
    cross_flow_effectiveness,
    operate_coil,
    size_coil,
)
from rlkit_envs.data_center.coil_condensation import WetSurface, condense
from rlkit_envs.data_center.psychrometrics import (
    dew_point_degc,
    enthalpy_j_kg,
    saturation_humidity_ratio,
)

PRESSURE_PA = 101_325.0
DESIGN = size_coil(
    air_kg_s=80.0, entering_degc=35.0, leaving_degc=20.0, water_kg_s=48.0, water_degc=14.0
)


def operate_with(design: CoilDesign, **changes: Any) -> CoilOperation:
    """A dry coil under control, unless changed."""
    conditions: dict[str, Any] = {
        "air_kg_s": 60.0,
        "air_degc": 32.0,
        "humidity_ratio": 0.006,
        "pressure_pa": PRESSURE_PA,
        "water_degc": 12.0,
        "target_degc": 20.0,
    }
    return operate_coil(design, **conditions | changes)


def operate(**changes: Any) -> CoilOperation:
    return operate_with(DESIGN, **changes)


def slow_effectiveness(
    design: CoilDesign, air_kg_s: float, capacity_w_k: float, water_ratio: float, wet: float = 1.0
) -> float:
    """Effectiveness on the air's side, as the papers write it."""
    air_side = design.rated_conductance_w_k / design.air_resistance_share
    water_side = design.rated_conductance_w_k / (1 - design.air_resistance_share)
    air_side *= wet * (air_kg_s / design.rated_air_kg_s) ** 0.8
    water_side *= water_ratio**0.85
    conductance = 1 / (1 / air_side + 1 / water_side)
    air = capacity_w_k * wet
    water = design.rated_water_kg_s * water_ratio * 4186.0
    ratio = min(air, water) / max(air, water)
    units = conductance / min(air, water)
    inner = math.exp(-ratio * units**0.78) - 1
    return (1 - math.exp(inner * units**0.22 / ratio)) * min(air, water) / air


def test_effectiveness_by_hand() -> None:
    # 2^0.22 = 1.164734; exp(-0.5 x 1.717130) = 0.423770; exp(-0.576230 x 2.329466) = 0.261242.
    assert cross_flow_effectiveness(2.0, 0.5) == pytest.approx(0.738758, abs=1e-6)
    # A stream of boundless capacity: 1 - exp(-NTU).
    assert cross_flow_effectiveness(1.5, 1e-9) == pytest.approx(1 - math.exp(-1.5), rel=1e-6)


def test_a_sized_coil_does_its_duty_with_its_valve_open() -> None:
    duty = {"air_kg_s": 80.0, "air_degc": 35.0, "humidity_ratio": 0.008, "water_degc": 14.0}
    coil = operate(**duty, target_degc=10.0)
    assert coil.air_degc == pytest.approx(20.0, abs=1e-9)
    assert coil.water_ratio == 1.0
    assert coil.saturated
    # 80 kg/s x 1019.7116 J/(kg K) x 15 K.
    assert coil.heat_w == pytest.approx(1_223_653.9, rel=1e-7)
    assert coil.water_return_degc == pytest.approx(14.0 + 1_223_653.9 / (48.0 * 4186.0), rel=1e-7)
    held = operate(**duty, target_degc=20.0 + 1e-6)
    assert held.water_ratio == pytest.approx(1.0, abs=1e-5)
    assert held.air_degc == 20.0 + 1e-6
    assert not held.saturated


def test_half_of_both_flows_leaves_more_transfer_units() -> None:
    coil = operate(air_kg_s=40.0, humidity_ratio=0.0, available_water_ratio=0.5, target_degc=0.0)
    # Of the resistance 1 / UA 3.3 / 4.3 lies with the air and grows by 2^0.8, and 1 / 4.3 lies with
    # the water and grows by 2^0.85: to 1.33619 + 0.41919 of itself.
    air = 40.0 * 1004.84
    units = DESIGN.rated_conductance_w_k / 1.75538015 / air
    effectiveness = cross_flow_effectiveness(units, air / (24.0 * 4186.0))
    assert coil.air_degc == pytest.approx(32.0 - 20.0 * effectiveness, rel=1e-7)
    assert coil.water_kg_s == pytest.approx(24.0)
    assert coil.air_slope == pytest.approx(1 - effectiveness, rel=1e-7)


@given(
    st.floats(5, 90),
    st.floats(18, 45),
    st.floats(3, 20),
    st.floats(0.01, 1),
    st.floats(0.4, 3),
    st.floats(0.3, 3),
)
def test_the_valve_finds_the_flow_that_meets_the_target(
    air_kg_s: float,
    air_degc: float,
    water_degc: float,
    water_ratio: float,
    size: float,
    water_size: float,
) -> None:
    assume(air_degc > water_degc + 2)
    design = CoilDesign(80.0, 48.0 * water_size, DESIGN.rated_conductance_w_k * size)
    capacity = air_kg_s * 1004.84
    effectiveness = slow_effectiveness(design, air_kg_s, capacity, water_ratio)
    target = air_degc - effectiveness * (air_degc - water_degc)
    coil = operate_with(
        design,
        air_kg_s=air_kg_s,
        air_degc=air_degc,
        water_degc=water_degc,
        target_degc=target,
        humidity_ratio=0.0,
    )
    assert coil.air_degc == pytest.approx(target, abs=1e-9)
    found = slow_effectiveness(design, air_kg_s, capacity, float(coil.water_ratio))
    assert found == pytest.approx(effectiveness, abs=1e-6)
    # Where more water barely cools more, the flow itself is not sharply determined.
    if effectiveness < 0.95 * slow_effectiveness(design, air_kg_s, capacity, 1.0):
        assert coil.water_ratio == pytest.approx(water_ratio, rel=1e-3)


@given(
    st.floats(1, 90),
    st.floats(10, 45),
    st.floats(0, 0.025),
    st.floats(2, 25),
    st.floats(5, 40),
    st.sampled_from([math.nan, math.nan, 0.0, 0.3, 1.0]),
    st.floats(0, 1),
)
def test_air_water_and_condensate_balance(
    air_kg_s: float,
    air_degc: float,
    humidity: float,
    water_degc: float,
    target: float,
    stuck: float,
    fouling: float,
) -> None:
    assume(humidity < saturation_humidity_ratio(air_degc, PRESSURE_PA))
    coil = operate(
        air_kg_s=air_kg_s,
        air_degc=air_degc,
        humidity_ratio=humidity,
        water_degc=water_degc,
        target_degc=target,
        stuck_valve_ratio=stuck,
        fouling=fouling,
    )
    lost = enthalpy_j_kg(air_degc, humidity) - enthalpy_j_kg(coil.air_degc, coil.humidity_ratio)
    condensate = coil.condensate_kg_s * 4186.0 * coil.condensate_degc
    assert air_kg_s * lost == pytest.approx(coil.heat_w + condensate, rel=1e-10, abs=1e-4)
    gained = coil.water_kg_s * 4186.0 * (coil.water_return_degc - water_degc)
    assert gained == pytest.approx(float(coil.heat_w), rel=1e-9, abs=1e-4)
    dried = air_kg_s * (humidity - coil.humidity_ratio)
    assert dried == pytest.approx(coil.condensate_kg_s, rel=1e-9, abs=1e-12)
    assert coil.condensate_kg_s >= 0
    assert 0 <= coil.water_ratio <= 1
    if math.isnan(stuck):
        assert coil.air_degc <= air_degc
        assert coil.saturated == (coil.air_degc > target)
    # Heat flows downhill: no stream passes the other's entering temperature.
    low, high = min(air_degc, water_degc), max(air_degc, water_degc)
    assert low - 1e-9 <= coil.air_degc <= high + 1e-9
    if coil.condensate_kg_s == 0:
        assert low - 1e-9 <= coil.water_return_degc <= high + 1e-9


def test_a_wet_coil_finds_its_valve_and_its_condensate() -> None:
    coil = operate(humidity_ratio=0.014, water_degc=6.0, target_degc=16.0)
    assert coil.air_degc == 16.0
    # The valve passes what carries off latent heat too.
    wet = float(coil.heat_w / coil.sensible_heat_w)
    assert wet > 1.2
    specific_heat = 1004.84 + 1858.95 * 0.014
    water_ratio = float(coil.water_ratio)
    effectiveness = slow_effectiveness(DESIGN, 60.0, 60.0 * specific_heat, water_ratio, wet)
    assert effectiveness == pytest.approx(16 / 26, abs=1e-5)
    # The air condenses what it does on a surface between these temperatures of air and water.
    air_resistance = (3.3 / 4.3) * (60 / 80) ** -0.8
    water_resistance = (1.0 / 4.3) * water_ratio**-0.85
    ratio, pressure = np.array([0.014]), np.array([PRESSURE_PA])
    units = DESIGN.rated_conductance_w_k / air_resistance / (60.0 * specific_heat)

    def condensing(outlet_degc: NDArray[np.float64]) -> WetSurface:
        return condense(
            ratio,
            dew_point_degc(ratio, pressure),
            pressure,
            water_share=np.array([water_resistance / (water_resistance + air_resistance)]),
            transfer_units=np.array([units]),
            entering_degc=np.array([32.0]),
            leaving_degc=np.array([16.0]),
            water_degc=np.array([6.0]),
            returning_degc=np.array([float(coil.water_return_degc)]),
            outlet_degc=outlet_degc,
        )

    found = condensing(np.array([10.0]))
    for _ in range(9):
        found = condensing(found.outlet_degc)
    assert coil.condensate_kg_s == pytest.approx(60.0 * found.condensed[0], rel=1e-3)
    assert coil.condensate_degc == pytest.approx(found.condensate_degc[0], abs=0.01)
    assert coil.humidity_slope == pytest.approx(found.bypass[0], rel=1e-3)


def test_a_coil_is_wet_at_its_cold_end_alone() -> None:
    """Water of 10 degC dries air of a dew point far below the mean surface's temperature."""
    coil = operate(humidity_ratio=np.array([0.0085, 0.0115]), water_degc=10.0, target_degc=20.5)
    # The air's side, mean: 32 less (32 - 20.5) over what touches it is 18 degC or so.
    assert coil.condensate_kg_s[0] == 0.0
    assert 0.0 < coil.condensate_kg_s[1] < 0.05
    assert 0.5 < coil.humidity_slope[1] < 1.0
    assert coil.condensate_degc[1] < dew_point_degc(0.0115, PRESSURE_PA) < 16.2


@pytest.mark.parametrize("humidity", [0.0105, 0.012, 0.016, 0.024])
@pytest.mark.parametrize("air_kg_s", [15.0, 60.0, 90.0])
def test_a_wet_coil_at_its_limit_agrees_with_itself(humidity: float, air_kg_s: float) -> None:
    coil = operate(humidity_ratio=humidity, air_kg_s=air_kg_s, water_degc=5.0, target_degc=-5.0)
    assert coil.condensate_kg_s > 0
    wet = float(coil.heat_w / coil.sensible_heat_w)
    capacity = air_kg_s * (1004.84 + 1858.95 * humidity)
    effectiveness = slow_effectiveness(DESIGN, air_kg_s, capacity, 1.0, wet)
    assert (32.0 - coil.air_degc) / 27.0 == pytest.approx(effectiveness, abs=2e-5)
    dry = operate(humidity_ratio=0.0, air_kg_s=air_kg_s, water_degc=5.0, target_degc=-5.0)
    assert coil.air_degc > dry.air_degc


def test_dry_wet_and_limited_meet_without_a_jump() -> None:
    targets = np.linspace(8.0, 24.0, 4001)
    coil = operate(humidity_ratio=0.0115, water_degc=6.0, target_degc=targets)
    assert coil.saturated[0]
    assert coil.condensate_kg_s[0] > 0
    assert not coil.saturated[-1]
    assert coil.condensate_kg_s[-1] == 0
    span = coil.heat_w.max() - coil.heat_w.min()
    assert np.abs(np.diff(coil.heat_w)).max() < 2e-3 * span
    assert (np.diff(coil.heat_w) <= 1e-6 * span).all()
    assert (np.diff(coil.water_ratio) <= 1e-9).all()


def test_harder_conditions_take_more_water() -> None:
    def rising(**changes: Any) -> bool:
        return bool((np.diff(operate(**changes).water_ratio) > 0).all())

    assert rising(air_degc=np.linspace(24, 34, 21))
    assert rising(water_degc=np.linspace(5, 13, 21))
    assert rising(air_kg_s=np.linspace(10, 65, 21))
    assert rising(fouling=np.linspace(0, 0.95, 20))
    assert rising(target_degc=np.linspace(25, 19, 21))


def test_fouling_by_hand() -> None:
    # Severity 1 is 45 % off the conductance.
    fouled = operate(fouling=1.0)
    small = CoilDesign(80.0, 48.0, 0.55 * DESIGN.rated_conductance_w_k)
    assert fouled.water_ratio == pytest.approx(operate_with(small).water_ratio, rel=1e-12)


def test_a_stuck_valve_ignores_its_target() -> None:
    opening = np.array([0.0, 0.5, 1.0])
    coil = operate(stuck_valve_ratio=opening)
    np.testing.assert_array_equal(coil.water_ratio, opening)
    assert coil.air_degc[0] == 32.0
    assert coil.air_degc[1] > coil.air_degc[2]
    assert coil.air_degc[2] < 20.0  # open, it cools below the target
    free = operate(stuck_valve_ratio=math.nan, available_water_ratio=0.5, target_degc=0.0)
    assert coil.air_degc[1] == pytest.approx(free.air_degc, rel=1e-14)
    # Stuck open, it passes no more than the pumps deliver.
    starved = operate(stuck_valve_ratio=1.0, available_water_ratio=0.5)
    assert starved.water_ratio == 0.5
    assert starved.air_degc == coil.air_degc[1]
    # Stuck open with water warmer than the air, it warms it.
    assert operate(stuck_valve_ratio=0.7, water_degc=40.0).air_degc > 32.0
    assert operate(water_degc=40.0).air_degc == 32.0


def test_slopes_are_those_of_a_coil_at_its_limit() -> None:
    limited = {"target_degc": 5.0, "humidity_ratio": 0.002}
    base, warmer = operate(**limited), operate(**limited, air_degc=33.0)
    assert warmer.air_degc - base.air_degc == pytest.approx(base.air_slope, rel=1e-9)
    water = operate(**limited, water_degc=13.0)
    assert base.heat_w - water.heat_w == pytest.approx(base.water_slope_w_k, rel=1e-9)
    held = operate()
    assert held.air_slope == held.water_slope_w_k == 0.0
    idle = operate(target_degc=40.0)
    assert idle.air_slope == 1.0
    assert idle.water_ratio == idle.heat_w == idle.water_slope_w_k == 0.0
    assert idle.air_degc == 32.0
    assert idle.water_return_degc == 12.0


def test_nothing_flows_without_air_or_water() -> None:
    coil = operate(
        air_kg_s=np.array([0.0, 60.0, 0.0]),
        available_water_ratio=np.array([1.0, 0.0, 0.0]),
        stuck_valve_ratio=np.array([math.nan, math.nan, 0.5]),
        humidity_ratio=np.full(3, 0.014),
    )
    for values in (coil.heat_w, coil.condensate_kg_s, coil.water_ratio):
        np.testing.assert_array_equal(values, np.zeros(3))
    np.testing.assert_array_equal(coil.air_degc, np.full(3, 32.0))
    np.testing.assert_array_equal(coil.air_slope, np.ones(3))


def test_rows_do_not_depend_on_the_batch() -> None:
    rng = np.random.default_rng(3)
    rows = 300
    conditions = {
        "air_kg_s": np.where(rng.random(rows) < 0.1, 0.0, rng.uniform(5, 90, rows)),
        "air_degc": rng.uniform(20, 40, rows),
        "humidity_ratio": rng.uniform(0.003, 0.014, rows),
        "water_degc": rng.uniform(4, 22, rows),
        "target_degc": rng.uniform(8, 30, rows),
        "stuck_valve_ratio": np.where(rng.random(rows) < 0.2, rng.random(rows), math.nan),
        "fouling": rng.random(rows),
    }
    batch = operate(**conditions)
    assert 0 < (batch.condensate_kg_s > 0).sum() < rows
    for row in range(0, rows, 3):
        alone = operate(**{name: values[row : row + 1] for name, values in conditions.items()})
        for together, single in zip(batch, alone, strict=True):
            assert together[row] == single[0]


def test_a_duty_that_no_coil_can_do_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no coil cools 80 kg/s of air from 35 to 13 degC"):
        size_coil(
            air_kg_s=80.0, entering_degc=35.0, leaving_degc=13.0, water_kg_s=48.0, water_degc=14.0
        )
    with pytest.raises(ValueError, match=r"CoilDesign.rated_air_kg_s is 0.0"):
        CoilDesign(0.0, 48.0, 1e5)
