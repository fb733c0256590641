"""The supervisor: who controls when, without jumps, and who pays for what."""

import json

import numpy as np
import pytest

from rlkit_envs.data_center.controllers.controller import Observed, TrackingController
from rlkit_envs.data_center.controllers.linear_mpc import LinearMPC
from rlkit_envs.data_center.controllers.pid import PID
from rlkit_envs.data_center.controllers.supervisor import (
    HoursInEvery,
    HoursOfDay,
    Supervisor,
    SupervisorSettings,
)
from rlkit_envs.data_center.environment import DataCenterEnvs
from rlkit_envs.data_center.plant_state import PlantActions

SAFE = (22.0, 0.8, 12.0, 0.7, 1)
HOT = (29.0, 0.9, 14.0, 0.7, 1)
"""Nothing is wrong with these set points, but for the inlets."""


class Scripted:
    """Asks for what a script says, by row and step of the episode."""

    name = "script"

    def __init__(self, script):
        self.script = script
        self.step = np.zeros(0, int)

    def reset(self, rows):
        if len(rows) != len(self.step):
            self.step = np.zeros(len(rows), int)
        self.step[rows] = 0

    def act(self, observed):
        del observed
        asked = [self.script(row, int(step)) for row, step in enumerate(self.step)]
        self.step += 1
        columns = [np.array(column, float) for column in zip(*asked, strict=True)]
        return PlantActions(*columns[:4], economiser=columns[4])


class Noted(PID):
    """A PID that notes what it is told, and what it would do."""

    def __init__(self):
        super().__init__()
        self.tracked, self.wanted = [], []

    def track(self, actions, rows=None):
        self.tracked.append((actions, rows))
        super().track(actions, rows)

    def act(self, observed):
        self.wanted.append(super().act(observed))
        return self.wanted[-1]


def run(envs, supervisor, steps, seed=0):
    """Told set points by name, and hottest inlets as they come out, (steps, rows); last info."""
    observations, _ = envs.reset(seed=seed)
    supervisor.reset(np.ones(envs.num_envs, bool))
    told, hottest, info = [], [], {}
    observed = Observed(observations, envs.readings(observations))
    for _ in range(steps):
        actions = supervisor.act(observed)
        told.append(actions)
        observations, *_, info = envs.step(envs.actions.from_plant(actions))
        observed = Observed(observations, envs.readings(observations))
        hottest.append(observed.readings["hottest_inlet_degc"])
    supervisor.settle(observed)
    columns = (np.array(values) for values in zip(*told, strict=True))
    return dict(zip(PlantActions._fields, columns, strict=True)), np.array(hottest), info


def parties(supervisor, row=0):
    return [(i.party, i.reason, i.first_step) for i in supervisor.log.intervals() if i.row == row]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ((np.nan, 0.8, 12.0, 0.7, 1), "not_finite"),
        ((22.0, np.inf, 12.0, 0.7, 1), "not_finite"),
        ((22.0, 0.8, 12.0, 0.7, np.nan), "not_finite"),
        ((22.0, 0.8, 21.0, 0.7, 1), "out_of_range"),
        ((22.0, 0.2, 12.0, 0.7, 1), "out_of_range"),
        ((22.0, 0.8, 12.0, 0.7, 3), "out_of_range"),
    ],
)
def test_an_action_that_is_none_is_never_sent(wrong, reason):
    """The PID acts in the very step, in that row alone, and for the stated time after it."""
    agent = Scripted(lambda row, step: wrong if row == 1 and step in (3, 4) else SAFE)
    envs = DataCenterEnvs(2, start_day=100.0)
    supervisor = Supervisor(agent, PID(), envs.design, settings=SupervisorSettings(hold_steps=5))
    told, *_ = run(envs, supervisor, 20)
    assert all(np.isfinite(values).all() for values in told.values())
    assert parties(supervisor, 0) == [("agent", "its_period", 0)]
    assert parties(supervisor, 1) == [
        ("agent", "its_period", 0),
        ("fallback", reason, 3),
        ("agent", "well_again", 10),  # 5 and 6 to 9 are the hold
    ]
    assert (told["supply_air_degc"][:, 0] == 22.0).all()
    assert told["economiser"].dtype == np.int64
    np.testing.assert_array_equal(told["economiser"][:, 1], [1] * 3 + [0] * 7 + [1] * 10)


def test_an_actuator_that_the_site_lacks_may_be_anything():
    agent = Scripted(lambda row, step: (20.0, 0.8, np.nan, 99.0, 7))
    envs = DataCenterEnvs(1, site="small_room")
    supervisor = Supervisor(agent, PID(), envs.design)
    run(envs, supervisor, 5)
    assert parties(supervisor) == [("agent", "its_period", 0)]


def test_a_hot_inlet_ends_the_agents_control_until_it_has_been_well_for_the_stated_time():
    agent = Scripted(lambda row, step: HOT if row == 1 else SAFE)
    envs = DataCenterEnvs(2, start_day=100.0)
    settings = SupervisorSettings(hysteresis_k=0.8, hold_steps=4)
    supervisor = Supervisor(agent, PID(), envs.design, settings=settings)
    _, hottest, _ = run(envs, supervisor, 60)
    assert parties(supervisor, 0) == [("agent", "its_period", 0)]
    first, fallback, again, *more = parties(supervisor, 1)
    assert first == ("agent", "its_period", 0)
    assert fallback[:2] == ("fallback", "too_hot")
    assert again[:2] == ("agent", "well_again")
    assert [interval[:2] for interval in more[:1]] == [("fallback", "too_hot")]
    seen = np.concatenate([[20.0], hottest[:, 1]])  # what was read before each step
    taken, back = fallback[2], again[2]
    assert (seen[:taken] <= 27.0).all()
    assert seen[taken] > 27.0
    well = taken + int(np.argmax(seen[taken:] <= 26.2))  # 0.8 K inside
    assert well > taken + 1  # or the hysteresis would not show
    assert back == well + 4


def test_a_cold_inlet_is_a_violation_too():
    agent = Scripted(lambda row, step: (15.0, 1.0, 6.0, 0.8, 0))
    envs = DataCenterEnvs(1, start_day=100.0)
    supervisor = Supervisor(agent, PID(), envs.design)
    run(envs, supervisor, 20)
    assert parties(supervisor)[1][:2] == ("fallback", "too_cold")


def test_no_set_point_jumps_when_control_changes():
    """Far from what the PID would choose, for a bad action, a period's end and its beginning."""
    far = (30.0, 0.35, 19.0, 0.05, 0)
    wrong = (np.nan, *far[1:])
    agent = Scripted(lambda row, step: wrong if row == 1 and 10 <= step < 14 else far)
    envs = DataCenterEnvs(2, start_day=100.0)
    settings = SupervisorSettings(
        schedule=HoursInEvery(2.0, 4.0),
        high_degc=50.0,
        hold_steps=3,
        air_flow_rate=0.05,  # less than the PID's own first move
        tower_fan_rate=0.1,
    )
    rates = dict(zip(PlantActions._fields, settings.rates.ravel(), strict=False))
    supervisor = Supervisor(agent, PID(), envs.design, settings=settings)
    told, *_ = run(envs, supervisor, 76)
    for row, changes in ((0, (24, 48, 72)), (1, (10, 17, 24, 48, 72))):
        assert [first for _, _, first in parties(supervisor, row)][1:] == list(changes)
        for change in changes:
            # The agent then waits for what it asked for; the PID may soon move on as it does.
            steps = 8 if change in (17, 48) else 2
            for name, rate in rates.items():
                around = told[name][change - 1 : change + steps, row]
                assert np.abs(np.diff(around)).max() <= rate + 1e-9, (name, change)
        # Both get where they want to be.
        assert told["supply_air_degc"][23, row] == 30.0
        assert told["supply_air_degc"][71, row] == 30.0
        assert told["supply_air_degc"][47, row] < 26.0


def test_the_fallback_goes_on_from_what_was_set():
    """At a take-over with modest set points the PID's own first move is all that changes."""
    agent = Scripted(lambda row, step: SAFE if step < 12 else (np.nan, *SAFE[1:]))
    envs = DataCenterEnvs(1, start_day=100.0)
    fallback = Noted()
    assert isinstance(fallback, TrackingController)
    supervisor = Supervisor(agent, fallback, envs.design)
    told, *_ = run(envs, supervisor, 16)
    assert told["supply_air_degc"][12, 0] == pytest.approx(22.0, abs=0.4)
    assert told["air_flow_ratio"][12, 0] == pytest.approx(0.8, abs=0.05)
    assert told["chilled_water_degc"][12, 0] == pytest.approx(12.0, abs=1e-6)
    # In its own hands it is left alone.
    assert len(fallback.tracked) == 12
    for step, (actions, rows) in enumerate(fallback.tracked):
        assert np.asarray(actions.supply_air_degc)[0] == told["supply_air_degc"][step, 0]
        assert rows.all()


@pytest.mark.parametrize("price", [0.12, (0.1,) * 12 + (0.3,) * 12])
def test_the_bills_add_up_to_the_environments_own_counts(price):
    agent = Scripted(
        lambda row, step: (HOT, SAFE, (np.nan, *SAFE[1:]))[0 if step % 40 < 20 else 1 + row]
    )
    envs = DataCenterEnvs(
        2, start_day=0.4, weather="hot_dry", reward={"price_per_kwh": price}, episode_days=2
    )
    settings = SupervisorSettings(hold_steps=3, cost_per_kwh=0.12)
    supervisor = Supervisor(agent, PID(), envs.design, settings=settings)
    _, _, info = run(envs, supervisor, 100)
    counts = info["episode_counts"]
    names = {
        "energy_kwh": "facility_energy",
        "cost": "cost",
        "hours_outside_recommended": "hours_outside_recommended",
        "degree_hours_outside_recommended": "degree_hours_outside_recommended",
    }
    for row in range(2):
        bills = supervisor.log.totals(row)
        for mine, theirs in names.items():
            each = [getattr(bills[party], mine) for party in ("agent", "fallback")]
            assert min(each) > 0.0
            assert sum(each) == pytest.approx(counts[theirs][row], rel=1e-5)
            assert getattr(bills["both"], mine) == pytest.approx(counts[theirs][row], rel=1e-5)
        assert bills["both"].hours == pytest.approx(100 / 12)
    both = supervisor.log.totals()["both"]
    assert both.cost == pytest.approx(counts["cost"].sum(), rel=1e-5)


def test_a_change_of_hands_splits_the_bill_between_the_steps():
    agent = Scripted(lambda row, step: SAFE)
    envs = DataCenterEnvs(1, start_day=0.0)
    settings = SupervisorSettings(schedule=HoursInEvery(0.5, 1.0))
    supervisor = Supervisor(agent, PID(), envs.design, settings=settings)
    observations, _ = envs.reset(seed=0)
    supervisor.reset(np.ones(1, bool))
    energies = []
    for _ in range(13):
        actions = supervisor.act(Observed(observations, envs.readings(observations)))
        observations, *_, info = envs.step(envs.actions.from_plant(actions))
        energies.append(info["quantities"]["facility_power_w"][0] / 12e3)
    observed = Observed(observations, envs.readings(observations))
    supervisor.settle(observed)
    supervisor.settle(observed)  # no step is billed twice
    intervals = supervisor.log.intervals()
    assert [i.bill.hours for i in intervals] == pytest.approx([0.5, 0.5, 1 / 12])
    expected = [sum(energies[:6]), sum(energies[6:12]), energies[12]]
    assert [i.bill.energy_kwh for i in intervals] == pytest.approx(expected, rel=1e-6)


def test_periods_follow_the_sites_clock():
    """From 22:00 to 1:30, in an episode that begins at 21:00."""
    envs = DataCenterEnvs(1, start_day=10.875)
    settings = SupervisorSettings(schedule=HoursOfDay(22.0, 1.5))
    agent = Scripted(lambda row, step: SAFE)
    supervisor = Supervisor(agent, PID(), envs.design, settings=settings)
    run(envs, supervisor, 70)
    assert parties(supervisor) == [
        ("fallback", "not_its_period", 0),
        ("agent", "its_period", 12),
        ("fallback", "not_its_period", 54),
    ]


def test_an_episodes_end_closes_the_books_and_its_reset_step_is_nobodys():
    envs = DataCenterEnvs(2, site="small_room", episode_days=1, start_day=3.0)
    agent = Scripted(lambda row, step: (28.0, 0.4, 10.0, 1.0, 0))
    supervisor = Supervisor(agent, PID(), envs.design, settings=SupervisorSettings(hold_steps=1))
    observations, _ = envs.reset(seed=0)
    supervisor.reset(np.ones(2, bool))
    ended = np.zeros(2, bool)
    first_kwh = np.zeros(2)
    for step in range(300):
        actions = supervisor.act(Observed(observations, envs.readings(observations)))
        observations, _, _, truncated, info = envs.step(envs.actions.from_plant(actions))
        if step == 287:
            assert truncated.all()
            first_kwh = info["episode_counts"]["facility_energy"]
        if ended.any():
            supervisor.reset(ended)
        ended = truncated
    supervisor.settle(Observed(observations, envs.readings(observations)))
    intervals = supervisor.log.intervals()
    for row in range(2):
        first = [i.bill for i in intervals if (i.row, i.episode) == (row, 0)]
        assert sum(bill.energy_kwh for bill in first) == pytest.approx(first_kwh[row], rel=1e-5)
        assert sum(bill.hours for bill in first) == pytest.approx(24.0)
        second = [i for i in intervals if (i.row, i.episode) == (row, 1)]
        assert second[0].first_step == 0
        assert second[0].party == "agent"
        assert sum(i.bill.hours for i in second) == pytest.approx(11 / 12)


def test_an_agent_that_plans_is_told_what_the_fallback_did():
    """Back in control it goes on from there, not from where it once was."""
    envs = DataCenterEnvs(1, start_day=105.0)
    agent = LinearMPC(envs.design)
    settings = SupervisorSettings(schedule=HoursInEvery(4.0, 8.0), supply_air_rate_k=10.0)
    supervisor = Supervisor(agent, PID(), envs.design, settings=settings)
    told, *_ = run(envs, supervisor, 97)
    supply = told["supply_air_degc"][:, 0]
    assert abs(supply[95] - supply[47]) > 2.0
    assert abs(supply[96] - supply[95]) <= 1.5 + 1e-9


def test_the_log_is_plain_json():
    agent = Scripted(lambda row, step: HOT)
    envs = DataCenterEnvs(2, start_day=100.0)
    supervisor = Supervisor(agent, PID(), envs.design)
    run(envs, supervisor, 20)
    told = json.loads(json.dumps(supervisor.log.to_json()))
    assert told["names"] == {"agent": "script", "fallback": "PID"}
    assert told["intervals"][0]["party"] == "agent"
    hours = sum(interval["bill"]["hours"] for interval in told["intervals"])
    assert hours == pytest.approx(40 / 12)
    of_rows = sum(row["both"]["energy_kwh"] for row in told["totals_by_row"])
    assert told["totals"]["both"]["energy_kwh"] == pytest.approx(of_rows)


def test_settings_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="supply_air_rate_k is 0"):
        SupervisorSettings(supply_air_rate_k=0)
    with pytest.raises(ValueError, match="no inlet would ever be well"):
        SupervisorSettings(low_degc=20.0, high_degc=22.0, hysteresis_k=1.0)
    with pytest.raises(ValueError, match="6 of every 6 hours"):
        HoursInEvery(6.0, 6.0)
    with pytest.raises(ValueError, match="from 0 to 24 is no time or all day"):
        HoursOfDay(0.0, 24.0)
