"""Actuators: what numbers and levels mean, what a site lacks, what is refused."""

import numpy as np
import pytest

from rlkit_envs.data_center.actions import (
    ActuatorRanges,
    ContinuousActions,
    DiscreteActions,
    actuators,
)
from rlkit_envs.data_center.presets import air_economised_hall, chilled_water_hall, small_room

HALL, ROOM, AIR = chilled_water_hall(), small_room(), air_economised_hall()
NAMES = ("supply_air_degc", "air_flow_ratio", "chilled_water_degc", "tower_fan_ratio", "economiser")


def test_sites_have_the_actuators_that_their_designs_have():
    assert actuators(HALL) == NAMES
    assert actuators(AIR) == NAMES
    assert actuators(ROOM) == ("supply_air_degc", "air_flow_ratio")


def test_numbers_are_mapped_on_ranges_and_modes():
    actions = ContinuousActions(HALL, ActuatorRanges(supply_air_degc=(16.0, 30.0)))
    rows = np.array([[-1, -1, -1, -1, -1], [1, 1, 1, 1, 1], [0, 0.5, -0.5, 0, 0]])
    told = actions.to_plant(rows)
    np.testing.assert_allclose(told.supply_air_degc, [16.0, 30.0, 23.0])
    np.testing.assert_allclose(told.air_flow_ratio, [0.3, 1.0, 0.825])
    np.testing.assert_allclose(told.chilled_water_degc, [6.0, 20.0, 9.5])
    np.testing.assert_allclose(told.tower_fan_ratio, [0.0, 1.0, 0.5])
    np.testing.assert_array_equal(told.economiser, [0, 2, 1])
    edges = np.zeros((4, 5))
    edges[:, 4] = [-0.34, -0.33, 0.33, 0.34]
    np.testing.assert_array_equal(actions.to_plant(edges).economiser, [0, 1, 1, 2])


@pytest.mark.parametrize("design", [HALL, ROOM, AIR])
def test_what_the_plant_is_told_leads_back_to_the_action(design):
    actions = ContinuousActions(design, ActuatorRanges())
    rows = np.random.default_rng(0).uniform(-1, 1, (20, len(actions.names)))
    told = actions.to_plant(rows)
    again = actions.to_plant(actions.from_plant(told))
    for first, second in zip(told, again, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-6)
    with pytest.raises(ValueError, match="supply_air_degc is 50, but"):
        actions.from_plant(told._replace(supply_air_degc=50.0))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.001, -2.0])
def test_an_action_out_of_range_is_named_with_its_place(value):
    actions = ContinuousActions(HALL, ActuatorRanges())
    rows = np.zeros((3, 5), np.float32)
    rows[1, 2] = value
    with pytest.raises(ValueError, match=r"environment 1 for chilled_water_degc is (nan|inf|1|-2)"):
        actions.to_plant(rows)
    valid = np.array([True, False, True])
    np.testing.assert_allclose(actions.to_plant(rows, valid).chilled_water_degc, 13.0)


@pytest.mark.parametrize("rows", [np.zeros((2, 4)), np.zeros(5), np.array([["a"] * 5])])
def test_actions_of_another_shape_are_refused(rows):
    with pytest.raises(ValueError, match="must be numbers of shape"):
        ContinuousActions(HALL, ActuatorRanges()).to_plant(rows)


def test_the_grid_numbers_every_combination_once():
    actions = DiscreteActions(HALL)
    assert actions.space.n == 4 * 3 * 3 * 2 * 3 == len(actions.meanings)
    assert len({tuple(meaning.items()) for meaning in actions.meanings}) == 216
    told = actions.to_plant(np.arange(216))
    modes = {"off": 0, "precool": 1, "full": 2}
    supply, fan, mode = (np.asarray(told[field]) for field in (0, 3, 4))
    for number, meaning in enumerate(actions.meanings):
        assert meaning["supply_air_degc"] == supply[number]
        assert meaning["tower_fan_ratio"] == fan[number]
        assert modes[str(meaning["economiser"])] == mode[number]
    np.testing.assert_array_equal(actions.from_plant(told), np.arange(216))
    assert actions.meanings[1]["economiser"] == "precool"  # the last is the fastest
    assert DiscreteActions(ROOM).space.n == 12


def test_levels_of_ones_own_replace_the_usual_ones():
    actions = DiscreteActions(ROOM, {"supply_air_degc": [20, 22]})
    assert actions.space.n == 6
    np.testing.assert_allclose(actions.to_plant(np.array([0, 5])).supply_air_degc, [20.0, 22.0])
    near = actions.to_plant(np.array([4]))._replace(supply_air_degc=21.2)
    assert actions.from_plant(near).tolist() == [4]


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ({"tower_fan_ratio": [1.0]}, "small_room has supply_air_degc, air_flow_ratio"),
        ({"supply_air_degc": []}, "one or more"),
        ({"supply_air_degc": [20, 20]}, "each once"),
        ({"supply_air_degc": [60]}, "level 60 of supply_air_degc"),
        ({"air_flow_ratio": ["fast"]}, "'fast'"),
    ],
)
def test_levels_that_do_not_fit_are_refused(levels, message):
    with pytest.raises(ValueError, match=message):
        DiscreteActions(ROOM, levels)
    with pytest.raises(ValueError, match="none of off, precool, full"):
        DiscreteActions(HALL, {"economiser": ["half"]})


@pytest.mark.parametrize("rows", [np.array([0, 216]), np.array([0, -1])])
def test_numbers_of_no_action_are_refused(rows):
    actions = DiscreteActions(HALL)
    with pytest.raises(ValueError, match=f"environment 1 is {rows[1]}: it must be from 0 to 215"):
        actions.to_plant(rows)
    supply = actions.to_plant(rows, np.array([True, False])).supply_air_degc
    np.testing.assert_array_equal(supply, 18.0)
    with pytest.raises(ValueError, match="must be integers"):
        actions.to_plant(np.zeros(2))  # pyright: ignore[reportArgumentType]


def test_ranges_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"air_flow_ratio is \(0.5, 1.5\)"):
        ActuatorRanges(air_flow_ratio=(0.5, 1.5))
    with pytest.raises(ValueError, match="two numbers that rise"):
        ActuatorRanges(supply_air_degc=(25.0, 20.0))
