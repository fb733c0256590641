"""Every controller of the line-up runs every site, and what is tuned is tuned row by row."""

from functools import partial

import numpy as np
import pytest

from rlkit_envs.data_center.configuration import DataCenterConfig
from rlkit_envs.data_center.controllers.controller import Observed
from rlkit_envs.data_center.controllers.line_up import LINE_UP, NEEDS_PLANT, Assignment, best_static
from rlkit_envs.data_center.controllers.static_search import StaticSearchSettings
from rlkit_envs.data_center.environment import DataCenterEnvs
from rlkit_envs.data_center.presets import PRESETS

SMALL = StaticSearchSettings(
    supply_air_degc=(20.0,),
    air_flow_ratio=(0.7,),
    chilled_water_degc=(14.0,),
    tower_fan_ratio=(0.6,),
    economiser=("off", "full"),
    stretches=2,
    stretch_days=1,
    refinements=0,
    finalists=0,
)


def assigned(config: DataCenterConfig, climates: tuple[str, ...]) -> tuple[Assignment, list[str]]:
    said: list[str] = []
    tuning = tuple(DataCenterConfig(site=config.site, weather=climate) for climate in climates)
    envs = DataCenterEnvs(1 + len(climates), config=config)
    return Assignment(envs, slice(1, 1 + len(climates)), tuning, said.append), said


@pytest.mark.parametrize("site", PRESETS)
@pytest.mark.parametrize("name", LINE_UP)
def test_every_controller_runs_every_site(name: str, site: str):
    build = partial(best_static, settings=SMALL) if name == "best static" else LINE_UP[name]
    assignment, _ = assigned(DataCenterConfig(site=site), ("marine",))
    envs, rows = assignment.envs, assignment.rows
    controller = build(assignment)
    observations, _ = envs.reset(seed=0)
    controller.reset(np.ones(1, bool))
    for _ in range(3):
        readings = {n: values[rows] for n, values in envs.readings(observations).items()}
        told = controller.act(Observed(observations[rows], readings))
        assert all(np.shape(values) == (1,) for values in told)
        both = [np.repeat(np.asarray(values), 2) for values in told]
        observations, *_ = envs.step(envs.actions.from_plant(type(told)(*both)))


def test_the_best_static_setting_is_that_of_each_rows_own_climate():
    assignment, said = assigned(DataCenterConfig(), ("very_cold", "hot_humid", "very_cold"))
    controller = best_static(assignment, SMALL)
    modes = [settings.economiser for settings in controller.settings]
    assert modes == ["full", "off", "full"]
    assert len(said) == 2, "each climate is searched once, and said to be"
    assert "very_cold" in said[0]


def test_names_are_those_of_what_is_built():
    assignment, _ = assigned(DataCenterConfig(), ("marine",))
    for degc in (20, 23, 27):
        controller = LINE_UP[f"fixed {degc}"](assignment)
        controller.reset(np.ones(1, bool))
        seen = Observed(np.zeros((1, 1), np.float32), {})
        assert np.asarray(controller.act(seen).supply_air_degc).tolist() == [degc]
    assert NEEDS_PLANT.issubset(LINE_UP)
