"""Reset lines at worked points, and the commissioning of air flow against the plant."""

import numpy as np
import pytest

from rlkit_envs.data_center import plant
from rlkit_envs.data_center.controllers.controller import Observed
from rlkit_envs.data_center.controllers.resets import (
    ResetLine,
    Resets,
    ResetSettings,
    flow_line,
)
from rlkit_envs.data_center.plant_state import OutdoorAir, PlantActions
from rlkit_envs.data_center.presets import PRESETS


def act(controller, observed) -> dict[str, np.ndarray]:
    """Set points by name."""
    return {name: np.asarray(v) for name, v in controller.act(observed)._asdict().items()}


def test_set_points_lie_on_their_lines():
    settings = ResetSettings(
        supply_air=ResetLine(10.0, 20.0, 24.0, 20.0),
        chilled_water=ResetLine(10.0, 20.0, 16.0, 8.0),
        air_flow=ResetLine(0.2, 1.0, 0.4, 0.8),
    )
    controller = Resets(settings)
    controller.reset(np.ones(4, bool))
    actions = act(
        controller,
        Observed(
            np.empty((4, 0), np.float32),
            {
                "outdoor_wet_bulb_degc": np.array([-5.0, 10.0, 12.5, 30.0]),
                "utilisation": np.array([0.0, 0.2, 0.4, 1.0]),
            },
        ),
    )
    np.testing.assert_allclose(actions["supply_air_degc"], [24.0, 24.0, 23.0, 20.0])
    np.testing.assert_allclose(actions["chilled_water_degc"], [16.0, 16.0, 14.0, 8.0])
    np.testing.assert_allclose(actions["air_flow_ratio"], [0.4, 0.4, 0.5, 0.8])
    assert actions["economiser"].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("site", PRESETS)
@pytest.mark.parametrize("utilisation", [0.2, 1.0])
def test_the_commissioned_flow_holds_the_hottest_inlet_in_the_plant(site, utilisation):
    design = PRESETS[site]()
    line = flow_line(design, 22.0, 26.0)
    flow = line.at_low if utilisation == 0.2 else line.at_high
    state = plant.initial_state(design, 1, supply_air_degc=22.0)
    told = PlantActions(22.0, flow, 10.0, 0.8, np.zeros(1, np.int64))
    air = OutdoorAir(*(np.array([value]) for value in (25.0, 0.006, 14.0, 101_325.0)))
    step = None
    for _ in range(72):
        state, step = plant.step(design, state, told, air, np.array([utilisation]))
    assert step is not None
    assert 25.5 < step.hottest_inlet_degc[0] < 26.2


def test_sites_have_lines_of_their_own():
    room, hall = (
        ResetSettings.for_design(PRESETS[site]()) for site in ("small_room", "chilled_water_hall")
    )
    assert hall.supply_air.at_low > room.supply_air.at_low
    # Contained aisles need less air.
    contained = ResetSettings.for_design(PRESETS["air_economised_hall"]())
    assert contained.air_flow.at_high < 0.8 * room.air_flow.at_high
    assert flow_line(PRESETS["small_room"](), 27.0, 26.0).at_low == 1.0


def test_lines_that_cannot_be_are_named():
    with pytest.raises(ValueError, match=r"low 20\.0 to high 20\.0 must rise"):
        ResetLine(20.0, 20.0, 1.0, 2.0)
    with pytest.raises(ValueError, match=r"air_flow reaches 1\.5: 0 to 1 would fit"):
        ResetSettings(air_flow=ResetLine(0.0, 1.0, 0.5, 1.5))
