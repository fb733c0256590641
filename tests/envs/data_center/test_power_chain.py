import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlkit_envs.data_center.power_chain import (
    DISTRIBUTION_UNIT,
    DOUBLE_CONVERSION_UPS,
    LossCurve,
    PowerChainDesign,
    efficiency,
    loss_w,
    operate_critical_power,
    operate_transformer,
)

DESIGN = PowerChainDesign(
    ups_rated_w=2e6,
    distribution_rated_w=1.2e6,
    transformer_rated_w=2e6,
    ups_hall_share=0.25,
)


@pytest.mark.parametrize(
    ("load", "percent"), [(0.25, 93.63), (0.5, 95.60), (0.75, 96.03), (1.0, 96.06)]
)
def test_efficiency_of_a_ups(load: float, percent: float) -> None:
    # For instance at half load: 0.5 / (0.5 + 0.013 + 0.006 + 0.004).
    assert 100 * efficiency(DOUBLE_CONVERSION_UPS, load) == pytest.approx(percent, abs=0.005)


def test_losses_by_hand() -> None:
    # At half load: 0.5 % + 1 % / 4 of 1.2 MW.
    assert loss_w(DISTRIBUTION_UNIT, 1.2e6, 0.6e6) == pytest.approx(9_000.0)
    critical = operate_critical_power(DESIGN, 0.6e6)
    assert critical.distribution_loss_w == pytest.approx(9_000.0)
    # 609 kW of 2 MW is 0.3045: 0.013 + 0.012 x 0.3045 + 0.016 x 0.09272025.
    assert critical.ups_loss_w == pytest.approx(36_275.048)
    assert critical.input_w == pytest.approx(645_275.048)
    assert critical.hall_heat_w == pytest.approx(9_000.0 + 9_068.762)
    facility = operate_transformer(DESIGN, critical.input_w, 154_724.952)
    # 800 kW of 2 MW: 0.002 + 0.008 x 0.16.
    assert facility.transformer_loss_w == pytest.approx(6_560.0)
    assert facility.power_w == pytest.approx(806_560.0)


@given(st.floats(0, 1.2e6), st.floats(0, 1.2e6))
def test_what_goes_in_is_what_comes_out_and_the_losses(power: float, other: float) -> None:
    critical = operate_critical_power(DESIGN, power)
    losses = critical.distribution_loss_w + critical.ups_loss_w
    assert critical.input_w == pytest.approx(power + losses, rel=1e-14)
    assert 0 < critical.hall_heat_w <= losses
    least, most = sorted((power, other))
    low, high = operate_critical_power(DESIGN, np.array([least, most])).input_w
    # Losses grow, so that a watt saved behind them saves more than a watt before them.
    assert high - low >= (most - least) * (1 - 1e-12) - 1e-6


def test_fixed_losses_make_a_light_load_inefficient() -> None:
    loads = np.linspace(0.05, 0.6, 30)
    assert (np.diff(efficiency(DOUBLE_CONVERSION_UPS, loads)) > 0).all()


def test_impossible_ratings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"LossCurve.square is -0.1, but must be from 0 to 0.2"):
        LossCurve(0.0, 0.0, -0.1)
    with pytest.raises(ValueError, match=r"PowerChainDesign.ups_rated_w is 0, but must be above 0"):
        PowerChainDesign(0, 1e6, 1e6)
