"""What holds for every controller: limits, rows by themselves, and inlets that stay safe."""

import numpy as np
import pytest
from numpy.typing import ArrayLike

from rlkit_envs.data_center.controllers.controller import Observed
from rlkit_envs.data_center.controllers.economiser_rule import EconomiserRule
from rlkit_envs.data_center.controllers.fixed import FixedSetPoints, FixedSettings
from rlkit_envs.data_center.controllers.pid import PID, PIDSettings
from rlkit_envs.data_center.controllers.resets import Resets, ResetSettings
from rlkit_envs.data_center.controllers.trim_and_respond import (
    TrimAndRespond,
    TrimAndRespondSettings,
)
from rlkit_envs.data_center.environment import DataCenterEnvs, select_rows
from rlkit_envs.data_center.plant_state import PlantActions
from rlkit_envs.data_center.presets import PRESETS

MAKERS = {
    "fixed": lambda design: FixedSetPoints(FixedSettings(23.0)),
    "resets": lambda design: Resets(ResetSettings.for_design(design)),
    "trim and respond": lambda design: TrimAndRespond(TrimAndRespondSettings.for_design(design)),
    "PID": lambda design: PID(PIDSettings.for_design(design)),
}
"""Each also with the economiser rule around it: eight controllers."""


def every(design):
    alone = [make(design) for make in MAKERS.values()]
    return [*alone, *(EconomiserRule(make(design), design) for make in MAKERS.values())]


def columns(readings, rows):
    return {name: values[rows] for name, values in readings.items()}


def together(controllers, envs, steps, seed: ArrayLike | None = 0, resets=()):
    """Runs controllers side by side, each in its share of the rows; yields set points and infos.

    seed: as `DataCenterEnvs.reset`, or None to go on. resets: steps before which each controller's
    first row begins an episode by itself.
    """
    if seed is None:  # go on from a state that was set
        observations = envs.set_state(envs.state())
    else:
        observations, _ = envs.reset(seed=seed)
    share = envs.num_envs // len(controllers)
    slices = [slice(i * share, (i + 1) * share) for i in range(len(controllers))]
    for controller in controllers:
        controller.reset(np.ones(share, bool))
    for step in range(steps):
        if step in resets:
            first = np.arange(envs.num_envs) % share == 0
            observations, _ = envs.reset(options={"reset_mask": first})
            for controller in controllers:
                controller.reset(np.arange(share) == 0)
        readings = envs.readings(observations)
        parts = [
            controller.act(Observed(observations[rows], columns(readings, rows)))
            for controller, rows in zip(controllers, slices, strict=True)
        ]
        actions = PlantActions(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        observations, *_, info = envs.step(envs.actions.from_plant(actions))
        yield {name: np.asarray(value) for name, value in actions._asdict().items()}, info


@pytest.mark.parametrize("site", PRESETS)
def test_set_points_lie_within_reach_and_rows_do_not_touch_each_other(site):
    settings = {
        "site": site,
        "weather": ("hot_dry", "cold"),
        "load": ("step", "bursty"),
        "sensors": {"noise": 3.0, "delay_steps": 1},
    }
    batch, one = DataCenterEnvs(16, **settings), DataCenterEnvs(8, **settings)
    pair, single = np.tile([3, 4], 8), np.tile([3], 8)
    both = list(together(every(batch.design), batch, 60, pair, resets=(40,)))
    first = list(together(every(batch.design), one, 60, single, resets=(40,)))
    second = list(together(every(batch.design), one, 60, single + 1))
    for (actions, _), (of_first, _), (of_second, _) in zip(both, first, second, strict=True):
        for name, value in actions.items():
            assert value.shape == (16,)
            np.testing.assert_array_equal(value[::2], of_first[name])
            np.testing.assert_array_equal(value[1::2], of_second[name])
        assert actions["economiser"].dtype == np.int64
    moving = np.ptp([actions["air_flow_ratio"] for actions, _ in both], axis=0).reshape(8, 2)
    assert (moving[[1, 2, 3, 5, 6, 7], 0] > 0.0).all()
    assert not moving[[0, 4]].any()


def seven_days(climate, first_day, copies):
    """Environments for each day of a week, side by side, `copies` times one after the other."""
    days = []
    for day in range(7):
        start = DataCenterEnvs(1, weather=climate, start_day=first_day + day, episode_days=1)
        start.reset(seed=0)
        days.append(start.state())
    week = {
        name: value if name == "shared" else np.concatenate([day[name] for day in days], axis=-1)
        for name, value in days[0].items()
    }
    envs = DataCenterEnvs(7 * copies, weather=climate, episode_days=1)
    envs.set_state(select_rows(week, list(range(7)) * copies))
    return envs


def test_inlets_stay_within_the_recommended_range_in_a_hot_and_a_cold_week():
    for climate, first_day in (("hot_humid", 196.0), ("cold", 14.0)):
        envs = seven_days(climate, first_day, 8)
        steps = list(together(every(envs.design), envs, 288, seed=None))
        hottest = np.stack([info["quantities"]["hottest_inlet_degc"] for _, info in steps])
        assert hottest.min() >= 18.0
        assert hottest.max() <= 27.0
        counts = steps[-1][1]["episode_counts"]
        assert not counts["hours_outside_recommended"].any()
        # What a baseline is for: each that answers is cheaper than what is fixed.
        energy = counts["facility_energy"].reshape(8, 7).sum(axis=1)
        assert (energy[1:4] < 0.99 * energy[0]).all()
        assert (energy[5:8] < 0.99 * energy[4]).all()
