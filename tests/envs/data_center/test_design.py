"""Designs that do not fit are refused, each with what would; presets fit."""

from dataclasses import replace
from typing import cast

import pytest

from rlkit_envs.data_center.chilled_water_coil import size_coil
from rlkit_envs.data_center.condenser_loop import CondenserWaterDesign
from rlkit_envs.data_center.design import ChilledWaterPlantDesign, DataCenterDesign
from rlkit_envs.data_center.design_check import DesignPoint
from rlkit_envs.data_center.direct_expansion import DirectExpansionDesign
from rlkit_envs.data_center.economisers import AirEconomiserDesign, EvaporativeCoolerDesign
from rlkit_envs.data_center.fan import FanDesign
from rlkit_envs.data_center.presets import PRESETS, chilled_water_hall, small_room

HALL, ROOM = chilled_water_hall(), small_room()
PLANT = cast(ChilledWaterPlantDesign, HALL.cooling)
UNIT = cast(DirectExpansionDesign, ROOM.cooling)


def with_plant(**changes: object) -> DataCenterDesign:
    return replace(HALL, cooling=replace(PLANT, **changes))  # type: ignore[arg-type]


def fitting(message: str) -> float:
    """What an error says would be enough: its last number."""
    words = message.replace(",", " ").split()
    return float([word for word in words if word[0].isdigit()][-1])


def test_presets_are_what_they_say():
    assert set(PRESETS) == {"small_room", "chilled_water_hall", "air_economised_hall"}
    for name, make in PRESETS.items():
        assert make().name == name
    assert not ROOM.has_economiser
    assert HALL.has_water_economiser
    outdoors = PRESETS["air_economised_hall"]()
    assert outdoors.has_economiser
    assert not outdoors.has_water_economiser


def test_a_chiller_too_small_names_one_that_fits():
    small = replace(PLANT.chiller, capacity_w=9e5)
    with pytest.raises(ValueError, match=r"chiller.capacity_w is 9e\+05 W, of which") as error:
        with_plant(chiller=small)
    enough = fitting(str(error.value))
    assert 9e5 < enough < 1.3e6
    with_plant(chiller=replace(small, capacity_w=enough))


def test_direct_expansion_too_small_names_one_that_fits():
    small = replace(UNIT, capacity_w=45e3)
    with pytest.raises(ValueError, match=r"capacity_w is 4.5e\+04 W, of which") as error:
        replace(ROOM, cooling=small)
    enough = fitting(str(error.value))
    assert 45e3 < enough < 60e3
    replace(ROOM, cooling=replace(UNIT, capacity_w=enough))


def test_hotter_design_weather_needs_more():
    hot = replace(ROOM.design_point, dry_bulb_degc=50.0)
    tight = replace(UNIT, capacity_w=54e3)
    replace(ROOM, cooling=tight)
    with pytest.raises(ValueError, match="remain at 50 degC outdoors"):
        replace(ROOM, cooling=tight, design_point=hot)


def test_a_tower_too_small_is_refused():
    tower = replace(PLANT.tower, heat_w=1.1e6, range_k=2.9, approach_k=2.8)
    with pytest.raises(ValueError, match=r"tower.heat_w is 1.1e\+06 W, but .* at least that"):
        with_plant(tower=tower)


def test_a_tower_that_cannot_take_both_flows_is_refused():
    with pytest.raises(ValueError, match=r"tower's design water flow is 60 kg/s.* 89.9"):
        with_plant(tower=replace(PLANT.tower, heat_w=60.0 * 4186.0 * 5.5556))


def test_a_coil_too_small_says_what_it_reaches():
    coil = size_coil(
        air_kg_s=108.0, entering_degc=31.0, leaving_degc=24.0, water_kg_s=45.0, water_degc=13.0
    )
    with pytest.raises(ValueError, match=r"supplies 2\d\.\d\d degC at the design point, where 20"):
        with_plant(coil=coil)


def test_fans_that_starve_the_servers_are_refused():
    with pytest.raises(
        ValueError, match=r"fan.rated_flow_m3_s is 50 m3/s, but servers draw 5"
    ) as e:
        replace(HALL, fan=FanDesign(rated_flow_m3_s=50.0))
    assert e.value.args[0].startswith("chilled_water_hall: ")


@pytest.mark.parametrize(
    ("part", "rated_w", "told"),
    [
        ("ups_rated_w", 9e5, r"ups_rated_w is 9e\+05 W, but servers and distribution draw 1.04"),
        ("distribution_rated_w", 1e6, r"distribution_rated_w is 1e\+06 W, but servers draw 1.02"),
        ("transformer_rated_w", 1.2e6, r"transformer_rated_w is 1.2e\+06 W, but servers, losses"),
    ],
)
def test_a_power_chain_too_small_is_refused(part, rated_w, told):
    with pytest.raises(ValueError, match=told):
        replace(HALL, power_chain=replace(HALL.power_chain, **{part: rated_w}))


def test_pumps_too_small_are_refused():
    pump = replace(PLANT.chilled_pump, flow_kg_s=30.0)
    with pytest.raises(ValueError, match=r"chilled_pump.flow_kg_s is 30 kg/s, but the coils take"):
        with_plant(chilled_pump=pump)
    pump = replace(PLANT.condenser_pump, flow_kg_s=60.0)
    with pytest.raises(ValueError, match=r"condenser_pump.flow_kg_s is 60 .* together take 89.9"):
        with_plant(condenser_pump=pump)


def test_an_exchanger_needs_water_around_it():
    with pytest.raises(ValueError, match=r"volume_m3 is 5, but an exchanger .* at least 9.02 m3"):
        with_plant(condenser_water=CondenserWaterDesign(volume_m3=5.0))


def test_chilled_water_colder_than_the_chiller_makes_is_refused():
    with pytest.raises(ValueError, match="no colder water than 5 degC"):
        replace(HALL, design_point=DesignPoint(chilled_water_degc=4.0))


def test_economisers_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="no air_economiser to let it in"):
        replace(ROOM, evaporative_cooler=EvaporativeCoolerDesign())
    with pytest.raises(ValueError, match="leave one of them out"):
        replace(HALL, air_economiser=AirEconomiserDesign())


def test_a_design_point_is_weather():
    with pytest.raises(ValueError, match=r"wet_bulb_degc is 30.0, but must be from -5 to 28"):
        DesignPoint(dry_bulb_degc=28.0, wet_bulb_degc=30.0)
