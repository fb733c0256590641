"""The reward: energy's cost and unsafe inlets, by hand and in the environment."""

import numpy as np
import pytest

from rlkit_envs.data_center.environment import DataCenterEnvs
from rlkit_envs.data_center.reward import (
    RewardSettings,
    cost_per_kwh,
    excursions,
    inlet_penalty,
    reward,
)


def test_excursions_count_both_sides_of_both_ranges():
    degc = np.array([14.0, 16.0, 18.0, 27.0, 29.5, 33.0])
    outside = excursions(degc, RewardSettings().allowable_degc)
    np.testing.assert_allclose(outside.recommended_k, [4.0, 2.0, 0.0, 0.0, 2.5, 6.0])
    np.testing.assert_allclose(outside.allowable_k, [1.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    sturdy = excursions(degc, RewardSettings(inlet_class="A2").allowable_degc)
    np.testing.assert_allclose(sturdy.allowable_k, 0.0)


def test_energy_and_penalties_add_up():
    settings = RewardSettings(
        recommended_penalty=0.0, recommended_penalty_per_k=0.1, allowable_penalty_per_k=2.0
    )
    outside = excursions(np.array([25.0, 28.0, 33.0]), settings.allowable_degc)
    penalty = inlet_penalty(settings, outside)
    rewards = reward(settings, np.array([1.2, 1.2, 1.0]), penalty)
    np.testing.assert_allclose(rewards, [-1.2, -1.3, -1.0 - 0.6 - 2.0])
    off = reward(settings, np.array([1.2, 1.2, 1.0]), penalty, np.array([0.5, 0.0, 1.0]))
    np.testing.assert_allclose(off, [-6.2, -1.3, -13.6])


def test_being_outside_costs_at_once_and_with_a_margin_before():
    inlets = np.array([18.2, 25.0, 26.8, 27.0, 27.5])
    outside = excursions(inlets, RewardSettings().allowable_degc)
    strict = RewardSettings(recommended_penalty=0.3, recommended_penalty_per_k=0.1)
    np.testing.assert_allclose(
        reward(strict, np.zeros(5), inlet_penalty(strict, outside)),
        [0.0, 0.0, 0.0, 0.0, -0.3 - 0.05],
    )
    careful = RewardSettings(
        recommended_penalty=0.3, recommended_penalty_per_k=0.1, margin_k=0.5, scale=2.0
    )
    paid = [0.3 + 0.03, 0.0, 0.3 + 0.03, 0.3 + 0.05, 0.3 + 0.1]
    rewards = reward(careful, np.ones(5), inlet_penalty(careful, outside))
    np.testing.assert_allclose(rewards, -2.0 * (1.0 + np.array(paid)))


def test_prices_follow_the_clock_and_carbon_is_added():
    assert cost_per_kwh(RewardSettings(price_per_kwh=0.2)).tolist() == [0.2]
    by_hour = tuple(float(hour) for hour in range(24))
    costs = cost_per_kwh(
        RewardSettings(price_per_kwh=by_hour, carbon_price_per_kg=0.5, carbon_kg_per_kwh=0.4)
    )
    assert len(costs) == 105_120
    # 13:00 and 13:55 on the first day, 0:00 on the second.
    np.testing.assert_allclose(costs[[13 * 12, 13 * 12 + 11, 288]], [13.2, 13.2, 0.2])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"price_per_kwh": -0.1}, r"price_per_kwh\[0\] is -0.1"),
        ({"price_per_kwh": (0.1, 0.2)}, "has 2 values: one number, 24"),
        ({"price_per_kwh": 0.0}, "energy must cost"),
        ({"inlet_class": "B"}, "'B': there are A1, A2, A3, A4"),
        ({"recommended_penalty_per_k": -1.0}, "recommended_penalty_per_k is -1.0"),
        ({"margin_k": 5.0}, "margin_k is 5.0"),
        ({"scale": 0.0}, "scale is 0.0"),
        ({"withstood_rise": 2.5}, "withstood_rise is 2.5"),
        ({"economiser_change_penalty": -0.1}, "economiser_change_penalty is -0.1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        RewardSettings(**settings)


def step_info(actions, **settings):
    envs = DataCenterEnvs(2, site="small_room", start_day=100.5, **settings)
    envs.reset(seed=0)
    step = envs.step(np.array(actions))
    return step[1], step[4]


def test_the_environment_pays_for_the_whole_facility():
    rewards, info = step_info([[0.0, 0.5], [0.6, -0.9]])
    quantities = info["quantities"]
    outside = excursions(quantities["hottest_inlet_degc"], (15.0, 32.0))
    assert outside.recommended_k[1] > 0.0
    # 50 kW are rated; the price cancels where it is constant.
    paid = quantities["facility_power_w"] / 50e3
    paid = paid + 0.1 * (outside.recommended_k > 0.0)
    paid = paid + 0.1 * outside.recommended_k + 1.0 * outside.allowable_k
    np.testing.assert_allclose(rewards, -paid, rtol=1e-12)
    cost = quantities["facility_power_w"] * (300.0 / 3.6e6) * 0.10
    np.testing.assert_allclose(info["cost"], cost, rtol=1e-12)


def test_servers_that_heat_has_stopped_never_pay():
    fault = {"kind": "cooling_trip", "onset_day": 0.02, "duration_days": 0.02}
    envs = DataCenterEnvs(1, site="small_room", start_day=200.5, faults=[fault])
    envs.reset(seed=0)
    steps = [envs.step(np.array([[-0.6, 1.0]])) for _ in range(30)]
    before = [reward[0] for _, reward, *_, info in steps if info["faults"]["cooling_trip"] == 0]
    stopped = [reward[0] for _, reward, *_, info in steps if info["limits"]["servers_off"][0]]
    assert len(stopped) > 6
    assert max(stopped) < before[0]


def test_a_dear_hour_costs_in_proportion_to_its_price():
    prices = [0.1] * 12 + [0.3] * 12  # half a day each; episodes begin at noon
    flat, _ = step_info([[0.0, 0.5]] * 2)
    dear, info = step_info([[0.0, 0.5]] * 2, reward={"price_per_kwh": prices})
    np.testing.assert_allclose(dear, flat * 1.5, rtol=1e-12)  # the mean price is 0.2
    kwh = info["quantities"]["facility_power_w"] * (300.0 / 3.6e6)
    np.testing.assert_allclose(info["cost"], 0.3 * kwh, rtol=1e-12)


def test_leaving_the_load_out_shifts_every_action_alike():
    actions = [[0.0, 0.5], [0.6, 0.2]]
    whole, info = step_info(actions)
    relative, _ = step_info(actions, reward={"relative_to_load": True})
    shift = relative - whole
    assert shift[0] == pytest.approx(shift[1], rel=1e-9)
    # The load's own power at cool inlets, a little below what warm ones draw.
    drawn = info["quantities"]["it_power_w"] / 50e3
    assert 0.9 * drawn[0] < shift[0] < 1.02 * drawn[0]


def bursting_site(**settings):
    """Loads of 0.3 that rise to 0.8 for one step, and by less an hour before; a step at each."""
    load = np.full(105_120, 0.3)
    load[28_800 - 13] = 0.5
    load[28_800] = 0.8
    return DataCenterEnvs(
        2, site="chilled_water_hall", load=load, weather="marine", start_day=100.0, **settings
    )


def test_inlets_must_withstand_the_rise_that_the_week_has_seen():
    little_air = np.array([[-0.2, -0.5, 0.0, 0.0, -1.0], [-0.2, 1.0, 0.0, 0.0, -1.0]])
    charged = {"recommended_penalty": 0.5, "recommended_penalty_per_k": 0.0}
    plain = bursting_site(reward=charged)
    plain.reset(seed=0)
    strict = bursting_site(reward=charged | {"withstood_rise": 1.0})
    strict.reset(seed=0)
    rewards, asked, info = np.zeros(2), np.zeros(2), {}
    for _ in range(3):
        _, rewards, *_ = plain.step(little_air)
        _, asked, *_, info = strict.step(little_air)
    # Settled, both are within the range; a rise by 0.5 would leave the one with little air outside.
    assert (info["quantities"]["hottest_inlet_degc"] < 27.0).all()
    np.testing.assert_allclose(rewards - asked, [0.5, 0.0], atol=1e-12)
    # What was only asked has not happened.
    here, there = plain.state(), strict.state()
    np.testing.assert_array_equal(here["plant_hall_degc"], there["plant_hall_degc"])


def test_changes_of_the_economiser_are_charged_once():
    charged = {"economiser_change_penalty": 0.25, "scale": 2.0}
    modes = [-1.0, 0.0, 0.0, 1.0, -1.0]  # episodes begin with it off
    site = {"site": "chilled_water_hall", "weather": "cold", "start_day": 20.0}
    free = DataCenterEnvs(1, reward={"scale": 2.0}, **site)
    dear = DataCenterEnvs(1, reward=charged, **site)
    free.reset(seed=0)
    dear.reset(seed=0)
    paid = []
    for mode in modes:
        action = np.array([[-0.4, 0.5, 0.0, 0.0, mode]])
        paid.append(free.step(action)[1][0] - dear.step(action)[1][0])
    np.testing.assert_allclose(paid, [0.0, 0.5, 0.0, 0.5, 0.5], atol=1e-12)
