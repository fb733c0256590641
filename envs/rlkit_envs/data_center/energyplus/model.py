"""The data-centre model for EnergyPlus, as epJSON (EnergyPlus 25.2 input schema).

One hall zone with servers, one air loop, a chilled-water and a condenser loop. Everything has its
size from the design, so that EnergyPlus sizes nothing. Five-minute steps, never divided.
"""

from collections.abc import Mapping
from typing import Any

from rlkit_envs.data_center.design import DataCenterDesign
from rlkit_envs.data_center.energyplus.hall_model import add_air_handlers, add_hall, add_servers
from rlkit_envs.data_center.energyplus.objects import Model, add, schedule
from rlkit_envs.data_center.energyplus.water_model import add_chilled_water, add_condenser_water
from rlkit_envs.data_center.weather import DAYS_PER_MONTH, STEPS_PER_HOUR

ENERGYPLUS_VERSION = "25.2"
"""Release whose input schema and variable names this is written for."""

SCHEDULES = (
    "utilisation",
    "supply air setpoint",
    "chilled water setpoint",
    "chiller setpoint",
    "condenser water setpoint",
    "economiser",
    "servers running",
    "minimum humidity ratio",
)
"""Schedules of one constant value each, which the engine overrides at every step."""

_FILES = (
    "csv mtr eso eio tabular sqlite json audit space_sizing zone_sizing system_sizing dxf bnd rdd "
    "mdd mtd shd screen perflog dbg"
)
_DAYS_PER_YEAR = 365


def build_model(
    design: DataCenterDesign,
    *,
    elevation_m: float,
    first_day: int,
    days: int,
    initial: Mapping[str, float],
) -> Model:
    """The whole model: objects by type, then by name.

    elevation_m: of the site, which decides the density that turns air volumes into masses.
    first_day: 0 for 1 January; days: 1 to 366 of them, over the year's end if need be.
    initial: first value of each of `SCHEDULES`, at which EnergyPlus warms up.
    """
    model: Model = {}
    _add_simulation(model, first_day, days)
    schedule(model, "always", 1.0)
    for name in SCHEDULES:
        schedule(model, name, initial[name])
    add_hall(model, design)
    add_servers(model, design)
    add_air_handlers(model, design, elevation_m)
    add_chilled_water(model, design)
    add_condenser_water(model, design)
    return model


def _add_simulation(model: Model, first_day: int, days: int) -> None:
    if not 0 <= first_day < _DAYS_PER_YEAR:
        raise ValueError(f"first_day is {first_day}: it must lie in 0..364, 0 being 1 January")
    if not 1 <= days <= _DAYS_PER_YEAR + 1:
        raise ValueError(f"days is {days}: it must lie in 1..366")
    add(model, "Version", "version", version_identifier=ENERGYPLUS_VERSION)
    add(
        model,
        "SimulationControl",
        "simulation",
        do_zone_sizing_calculation="No",
        do_system_sizing_calculation="No",
        do_plant_sizing_calculation="No",
        run_simulation_for_sizing_periods="No",
        run_simulation_for_weather_file_run_periods="Yes",
    )
    add(
        model,
        "Building",
        "data centre",
        solar_distribution="MinimalShadowing",
        minimum_number_of_warmup_days=1,
    )
    add(
        model,
        "GlobalGeometryRules",
        "geometry",
        starting_vertex_position="UpperLeftCorner",
        vertex_entry_direction="Counterclockwise",
        coordinate_system="Relative",
    )
    add(model, "Timestep", "step", number_of_timesteps_per_hour=STEPS_PER_HOUR)
    # A system step as long as the zone's: EnergyPlus would otherwise cut steps where it likes. With
    # the usual least number of plant iterations, 2, the chiller behind a busy exchanger reports up
    # to a fifth more heat than the water gives.
    add(
        model,
        "ConvergenceLimits",
        "limits",
        minimum_system_timestep=60 // STEPS_PER_HOUR,
        maximum_hvac_iterations=25,
        minimum_plant_iterations=5,
        maximum_plant_iterations=20,
    )
    add(model, "ZoneAirHeatBalanceAlgorithm", "air", algorithm="AnalyticalSolution")
    add(model, "HeatBalanceAlgorithm", "walls", algorithm="ConductionTransferFunction")
    begin_year, (begin_month, begin_day) = 2017, _date(first_day)
    last_day = first_day + days - 1
    end_year, (end_month, end_day) = 2017 + last_day // _DAYS_PER_YEAR, _date(last_day)
    add(
        model,
        "RunPeriod",
        "episode",
        begin_year=begin_year,
        begin_month=begin_month,
        begin_day_of_month=begin_day,
        end_year=end_year,
        end_month=end_month,
        end_day_of_month=end_day,
        use_weather_file_daylight_saving_period="No",
        use_weather_file_holidays_and_special_days="No",
    )
    switched_off: dict[str, Any] = {f"output_{name}": "No" for name in _FILES.split()}
    add(model, "OutputControl:Files", "files", **switched_off)


def _date(day: int) -> tuple[int, int]:
    """Month and day of the month, from 1, of a day of any ordinary year, from 0."""
    day %= _DAYS_PER_YEAR
    for month, length in enumerate(DAYS_PER_MONTH, 1):
        if day < length:
            return month, day + 1
        day -= length
    raise AssertionError("a year has 365 days")
