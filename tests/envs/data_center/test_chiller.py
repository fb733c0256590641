"""The electric chiller against curve points worked out by hand, and what physics demands of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlkit_envs.data_center.chiller import (
    FOULED_CONDENSER_K,
    ChillerDesign,
    chiller,
    chiller_lift_k,
    chiller_state,
)

DESIGN = ChillerDesign()
CHILLED = st.floats(5.0, 25.0)
CONDENSER = st.floats(3.0, 50.0)
LOAD = st.floats(0.0, 1.5e6)


def work(chilled, condenser, load, **faults):
    state = chiller_state(DESIGN, np.array([chilled]), np.array([condenser]), **faults)
    return chiller(DESIGN, state, np.array([load]))


@pytest.mark.parametrize(
    ("condenser", "chilled", "lift", "capacity_ratio", "power_ratio"),
    [
        # 0 - 0; 0.944836; 1.907846 - 1.1385151 + 0.2351968
        (29.44, 6.667, 0.0, 0.944836, 1.0045277),
        # -3.5187656 - 5.333; 0.944836 + 0.5046286 - 0.1453353; 1.907846 - 1.5714588 + 0.4480843
        (20.0, 12.0, -8.8517656, 1.3041293, 0.7844715),
        # 2.0724933 - 0.333; 0.944836 - 0.0991664 - 0.0056125; 1.907846 - 1.0122579 + 0.1859243
        (35.0, 7.0, 1.7394933, 0.8400571, 1.0815124),
    ],
)
def test_curves_at_points_worked_out_by_hand(condenser, chilled, lift, capacity_ratio, power_ratio):
    assert chiller_lift_k(DESIGN, chilled, condenser) == pytest.approx(lift, abs=2e-6)
    state = chiller_state(DESIGN, chilled, condenser)
    assert state.capacity_w == pytest.approx(1e6 * capacity_ratio, rel=1e-6)
    assert state.full_load_power_w == pytest.approx(
        1e6 * capacity_ratio * power_ratio / 5.0, rel=1e-6
    )


def test_half_load_costs_what_the_part_load_curve_says():
    state = chiller_state(DESIGN, np.array([6.667]), np.array([29.44]))
    half = chiller(DESIGN, state, 0.5 * state.capacity_w)
    # 0.03303 + 0.3426 + 0.07045
    assert half.power_w == pytest.approx(0.44608 * state.full_load_power_w)
    assert half.part_load_ratio == pytest.approx(0.5)
    assert half.running_ratio == 1.0


def test_under_its_least_load_it_cycles_without_loss():
    state = chiller_state(DESIGN, np.array([10.0]), np.array([25.0]))
    least = chiller(DESIGN, state, 0.15 * state.capacity_w)
    third = chiller(DESIGN, state, 0.05 * state.capacity_w)
    # At the least load 0.03303 + 0.10278 + 0.0063405 of full power, and a third of it for a third.
    assert least.power_w == pytest.approx(0.1421505 * state.full_load_power_w)
    assert third.power_w == pytest.approx(least.power_w / 3.0)
    assert third.running_ratio == pytest.approx(1.0 / 3.0)
    idle = chiller(DESIGN, state, np.array([0.0]))
    assert (idle.power_w, idle.heat_w, idle.condenser_heat_w) == (0.0, 0.0, 0.0)


@given(CHILLED, CONDENSER, LOAD, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_heat_closes_and_stays_within_capacity(chilled, condenser, load, leak, fouling):
    state = chiller_state(
        DESIGN, chilled, condenser, refrigerant_loss=leak, condenser_fouling=fouling
    )
    result = chiller(DESIGN, state, np.array([load]))
    assert result.condenser_heat_w == result.heat_w + result.power_w
    assert result.heat_w == np.minimum(load, state.capacity_w)
    assert 0.0 <= result.power_w <= 1.001 * state.full_load_power_w


@given(CHILLED, CONDENSER, st.floats(0.0, 20.0), st.floats(0.0, 20.0), st.floats(0.0, 1.0))
def test_a_load_never_costs_more_at_a_smaller_lift(chilled, condenser, warmer, colder, share):
    high = chiller_state(DESIGN, chilled, condenser)
    low = chiller_state(DESIGN, chilled + warmer, condenser - colder)
    assert low.capacity_w >= high.capacity_w * (1.0 - 1e-12)
    load = share * high.capacity_w
    power = chiller(DESIGN, high, load).power_w, chiller(DESIGN, low, load).power_w
    assert power[1] <= power[0] * (1.0 + 1e-9) + 1e-6
    # A chiller at its limit delivers more per watt, too.
    full = high.capacity_w / high.full_load_power_w, low.capacity_w / low.full_load_power_w
    assert full[1] >= full[0] * (1.0 - 1e-12)


def test_power_falls_strictly_over_the_temperatures_of_a_plant():
    condenser = np.linspace(40.0, 14.0, 60)
    colder = chiller(DESIGN, chiller_state(DESIGN, 9.0, condenser), 0.5e6)
    assert (np.diff(colder.power_w) < 0.0).all()
    chilled = np.linspace(6.0, 18.0, 60)
    warmer = chiller(DESIGN, chiller_state(DESIGN, chilled, 24.0), 0.5e6)
    assert (np.diff(warmer.power_w) < 0.0).all()
    # By hand at 26.5 degC: capacity ratio 1.0225 falls by 0.01928 per kelvin, and the logarithm of
    # power by 0.666 / 0.951 + 0.099 / 0.648 = 0.853 per unit of it.
    near = chiller(DESIGN, chiller_state(DESIGN, 7.0, np.array([26.0, 27.0])), 0.7e6).power_w
    assert near[1] / near[0] - 1.0 == pytest.approx(0.01928 * 0.853, rel=0.02)


@given(CHILLED, CONDENSER, LOAD, st.floats(0.0, 1e5))
def test_more_load_never_costs_less(chilled, condenser, load, more):
    assert work(chilled, condenser, load + more).power_w >= work(chilled, condenser, load).power_w


def test_lift_stops_where_the_capacity_curve_turns_over():
    # d/dx (-0.0570088 x - 0.00185486 x2) = 0 at x = -15.3674
    assert DESIGN.smallest_lift_k == pytest.approx(-15.36741, abs=1e-5)
    frozen = chiller_state(DESIGN, np.array([20.0, 24.0]), np.array([20.0, 5.0]))
    assert frozen.capacity_w[0] == frozen.capacity_w[1] == pytest.approx(1.382875e6, rel=1e-6)
    hot = chiller_state(DESIGN, 5.0, np.array([60.0, 90.0]))
    np.testing.assert_allclose(hot.capacity_w, 0.3e6)


def test_a_tripped_chiller_does_nothing_and_its_neighbour_is_untouched():
    running = np.array([True, False])
    state = chiller_state(DESIGN, np.full(2, 8.0), np.full(2, 27.0), running=running)
    result = chiller(DESIGN, state, np.full(2, 5e5))
    assert result.heat_w[0] == 5e5
    assert result.heat_w[1] == result.power_w[1] == result.condenser_heat_w[1] == 0.0


def test_refrigerant_loss_and_fouling_cost_capacity_and_power():
    sound, part, leaked = (work(8.0, 27.0, 5e5, refrigerant_loss=leak) for leak in (0.0, 0.5, 1.0))
    assert sound.power_w < part.power_w < leaked.power_w
    limits = [
        chiller_state(DESIGN, 8.0, 27.0, refrigerant_loss=leak).capacity_w for leak in (0.0, 1.0)
    ]
    assert limits[1] / limits[0] == pytest.approx(0.7)
    fouled = work(8.0, 27.0, 5e5, condenser_fouling=1.0)
    assert fouled.power_w == work(8.0, 27.0 + FOULED_CONDENSER_K, 5e5).power_w > sound.power_w


def test_a_row_alone_equals_the_row_of_a_batch():
    rng = np.random.default_rng(0)
    chilled, condenser = rng.uniform(5, 20, 37), rng.uniform(5, 45, 37)
    load = rng.uniform(0, 1.3e6, 37)
    batch = chiller(DESIGN, chiller_state(DESIGN, chilled, condenser), load)
    for row in range(37):
        alone = work(chilled[row], condenser[row], load[row])
        assert all(one[0] == many[row] for one, many in zip(alone, batch, strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"capacity_w": -1.0}, "capacity_w is -1.0"),
        ({"cop": 20.0}, "cop is 20.0"),
        ({"minimum_part_load_ratio": 0.0}, "minimum_part_load_ratio is 0.0"),
        ({"minimum_chilled_degc": 0.0}, "minimum_chilled_degc is 0.0"),
        ({"condenser_per_chilled_kelvin": 0.0}, "condenser_per_chilled_kelvin is 0.0"),
        ({"capacity_coefficients": (0.9, 0.05, -0.001)}, "fall with lift"),
        ({"power_coefficients": (0.5, 0.5, 0.0)}, "positive and fall"),
        ({"part_load_coefficients": (0.9, 0.1, 0.0)}, "smaller lift"),
    ],
)
def test_bad_designs_name_the_value(change, message):
    with pytest.raises(ValueError, match=message):
        ChillerDesign(**change)
