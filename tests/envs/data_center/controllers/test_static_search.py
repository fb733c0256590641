"""Static search: the same as brute force, within its limit, and no worse for its refinement."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from rlkit_envs.data_center.configuration import DataCenterConfig
from rlkit_envs.data_center.controllers import static_search
from rlkit_envs.data_center.controllers.static_search import StaticSearchSettings, search_static
from rlkit_envs.data_center.environment import DataCenterEnvs
from rlkit_envs.data_center.plant_state import PlantActions

CONFIG = DataCenterConfig(
    site="small_room", weather=("hot_dry", "cold"), load=("diurnal", "step"), episode_days=200
)
TINY = StaticSearchSettings(
    supply_air_degc=(20.0, 22.0),
    air_flow_ratio=(0.5, 0.6, 0.75),
    stretches=2,
    stretch_days=1,
    refinements=0,
    finalists=0,
    most_outside_ratio=0.05,
)


@pytest.fixture(scope="module")
def brute_force():
    """(supply, flow) -> facility power and share of time outside, each by itself in all years."""
    settings = list(product(TINY.supply_air_degc, TINY.air_flow_ratio))
    supply, flow = np.repeat(np.array(settings), 4, axis=0).T  # two climates, two loads
    energy, outside = np.zeros(len(settings)), np.zeros(len(settings))
    for day in (90, 273):  # a day in the middle of each half of the year
        config = replace(CONFIG, start_day=float(day), episode_days=1, pairing="in_turn")
        envs = DataCenterEnvs(len(flow), config=config)
        _, info = envs.reset(seed=3)
        actions = envs.actions.from_plant(PlantActions(supply, flow, 0.0, 0.0, 0))
        for _ in range(288):
            *_, info = envs.step(actions)
        counts = info["episode_counts"]
        energy += counts["facility_energy"].reshape(-1, 4).sum(axis=1)
        outside += counts["hours_outside_recommended"].reshape(-1, 4).sum(axis=1)
    hours = 2 * 4 * 24.0
    both = zip(energy / hours * 1e3, outside / hours, strict=True)
    return dict(zip(settings, both, strict=True))


def test_it_finds_what_brute_force_finds(brute_force):
    result = search_static(CONFIG, TINY)
    table = result.table
    assert len(table["facility_power_w"]) == len(brute_force) == 6
    for row, setting in enumerate(
        zip(table["supply_air_degc"], table["air_flow_ratio"], strict=True)
    ):
        power_w, outside_ratio = brute_force[setting]
        assert table["facility_power_w"][row] == pytest.approx(power_w, rel=1e-9)
        assert table["outside_ratio"][row] == pytest.approx(outside_ratio, abs=1e-9)
    allowed = {s: power for s, (power, outside) in brute_force.items() if outside <= 0.05}
    assert 0 < len(allowed) < 6  # the limit matters
    best = min(allowed, key=allowed.__getitem__)
    assert min(brute_force, key=lambda s: brute_force[s][0]) != best
    assert (result.best.supply_air_degc, result.best.air_flow_ratio) == best
    assert result.allowed
    assert result.outside_ratio <= 0.05
    assert result.controller().settings == (result.best,)


def test_where_nothing_is_allowed_the_safest_is_told_as_such(brute_force):
    levels = replace(TINY, air_flow_ratio=(0.5, 0.55), most_outside_ratio=0.0)
    result = search_static(CONFIG, levels)
    assert not result.allowed
    assert result.outside_ratio == min(result.table["outside_ratio"]) > 0.0


def test_refinement_looks_between_and_beyond_and_is_no_worse():
    config = replace(CONFIG, weather="cold", load="step")
    levels = replace(TINY, supply_air_degc=(21.0,))
    coarse = search_static(config, levels)
    fine = search_static(config, replace(levels, refinements=2))
    assert fine.facility_power_w <= coarse.facility_power_w
    stages, flows = fine.table["stage"], fine.table["air_flow_ratio"]
    np.testing.assert_array_equal(np.unique(stages), [0, 1, 2])
    # Half of the gaps around the best of the first stage, of which the lower is 0.1.
    best = coarse.best.air_flow_ratio
    first = {0.5: [0.45, 0.5, 0.55], 0.6: [0.55, 0.6, 0.675], 0.75: [0.675, 0.75, 0.825]}[best]
    np.testing.assert_allclose(np.unique(flows[stages == 1]), first)


def test_levels_keep_to_the_ranges_of_the_actions():
    config = replace(CONFIG, ranges={"supply_air_degc": (21.0, 30.0)}, weather="cold")
    result = search_static(config, TINY)
    assert sorted(set(result.table["supply_air_degc"])) == [21.0, 22.0]


def test_finalists_are_judged_by_whole_years_and_some_have_room_to_spare(monkeypatch):
    calls = []

    def pretended(config, settings, starts, days):
        """Less air is cheaper; of a whole year's heat only 0.8 is a match."""
        assert config.engine == "plant"  # the only one that runs thousands of sites at once
        calls.append((list(starts), days, settings["air_flow_ratio"].tolist()))
        flow = settings["air_flow_ratio"]
        enough = 0.8 if len(starts) * days == 365 else 0.5
        return 1e3 * flow, np.where(flow >= enough, 0.0, 0.5), 32.0 - 8.0 * flow

    monkeypatch.setattr(static_search, "run_settings", pretended)
    flows = (0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.9)
    levels = replace(TINY, supply_air_degc=(21.0,), air_flow_ratio=flows, finalists=2)
    result = search_static(replace(CONFIG, engine="energyplus"), levels)
    assert result.allowed
    assert result.best.air_flow_ratio == 0.8
    # Two that are allowed at all; two at most 27 degC; 26.5; 26.
    assert calls[1][2] == [0.5, 0.6, 0.65, 0.7, 0.75, 0.8]
    starts, days, _ = calls[1]
    assert [start + day for start in starts for day in range(days)] == list(range(365))
    assert len(calls) == 2


def test_levels_that_cannot_be_are_named():
    with pytest.raises(ValueError, match=r"air_flow_ratio is \(\): one or more"):
        StaticSearchSettings(air_flow_ratio=())
    with pytest.raises(ValueError, match=r"air_flow_ratio is 1\.5"):
        StaticSearchSettings(air_flow_ratio=(0.5, 1.5))
    with pytest.raises(ValueError, match="economiser is 'on'"):
        StaticSearchSettings(economiser=("on",))
