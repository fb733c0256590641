"""The NumPy plant beside EnergyPlus: the same design, weather, load and set points, step by step.

Differences are stated hourly, as ASHRAE Guideline 14-2014 does: normalised mean bias error (NMBE)
and coefficient of variation of the root mean square error, CV(RMSE). It asks of an hourly model at
most 10 % and 30 %.
Two of them are EnergyPlus's own. The hall's moisture: its air loop supplies the humidity of the
step before, so that a hall that changes its air ten times a step follows the outdoor air about six
times slower than its volume lets it. The tower's fan, where both condenser flows meet a fast fan:
at the least fan speed it finds no range, takes the largest of the correlation (with a warning), and
lets the fan nearly stand.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.design import DataCenterDesign
from rlkit_envs.data_center.economisers import EconomiserMode
from rlkit_envs.data_center.energyplus.engine import EnergyPlusEngine
from rlkit_envs.data_center.energyplus.signals import EnergyPlusActions, EnergyPlusReadings
from rlkit_envs.data_center.plant import PlantStep, initial_state, step
from rlkit_envs.data_center.plant_state import OutdoorAir, PlantActions, PlantState
from rlkit_envs.data_center.weather import STEPS_PER_DAY, STEPS_PER_HOUR, STEPS_PER_YEAR, Weather

Array = NDArray[np.float64]

_CHANGE_STEPS = 4 * STEPS_PER_HOUR
"""Varied set points hold this long."""
_LEAD_DAYS = 2
_APPROACH_K = 6.0
"""Of tower and exchanger together, allowed for when an economiser is switched on."""


class Quantity(NamedTuple):
    """Something that both engines know."""

    unit: str
    """W, kg/s or degC."""
    ours: Callable[[PlantState, PlantStep], Array | float]
    """From the state before a step and the step."""
    theirs: Callable[[EnergyPlusReadings], float]


QUANTITIES: Mapping[str, Quantity] = {
    "total_power": Quantity(
        "W", lambda _, step: step.facility_power_w, lambda read: read.facility_power_w
    ),
    "server_power": Quantity(
        "W", lambda _, step: step.servers.power_w, lambda read: read.server_power_w
    ),
    "server_fan_power": Quantity(
        "W", lambda _, step: step.servers.fan_power_w, lambda read: read.server_fan_power_w
    ),
    "power_chain_loss": Quantity(
        "W",
        lambda _, step: step.critical.distribution_loss_w + step.critical.ups_loss_w,
        lambda read: read.power_chain_loss_w,
    ),
    "cooling_power": Quantity(
        "W",
        lambda _, step: step.handler.fan_power_w + step.cooling.power_w,
        lambda read: read.cooling_power_w,
    ),
    "air_handler_fan_power": Quantity(
        "W", lambda _, step: step.handler.fan_power_w, lambda read: read.fan_power_w
    ),
    "chiller_power": Quantity(
        "W", lambda _, step: step.cooling.compressor_power_w, lambda read: read.chiller_power_w
    ),
    "chilled_pump_power": Quantity(
        "W", lambda _, step: step.cooling.chilled_pump_power_w, lambda r: r.chilled_pump_power_w
    ),
    "condenser_pump_power": Quantity(
        "W",
        lambda _, step: step.cooling.condenser_pump_power_w,
        lambda read: read.condenser_pump_power_w,
    ),
    "tower_fan_power": Quantity(
        "W", lambda _, step: step.cooling.tower_fan_power_w, lambda read: read.tower_fan_power_w
    ),
    "coil_heat": Quantity(
        "W", lambda _, step: step.handler.coil_heat_w, lambda read: read.coil_heat_w
    ),
    "chiller_heat": Quantity(
        "W", lambda _, step: step.cooling.mechanical_heat_w, lambda read: read.chiller_heat_w
    ),
    "exchanger_heat": Quantity(
        "W", lambda _, step: step.cooling.exchanger_heat_w, lambda read: read.exchanger_heat_w
    ),
    "tower_water": Quantity(
        "kg/s", lambda _, step: step.cooling.tower_water_kg_s, lambda read: read.water_use_kg_s
    ),
    "supply_temperature": Quantity(
        "degC", lambda _, step: step.handler.supply_degc, lambda read: read.supply_degc
    ),
    "inlet_temperature": Quantity(
        "degC", lambda before, _: before.inlet_degc, lambda read: read.server_inlet_degc
    ),
    "hottest_inlet_temperature": Quantity(
        "degC", lambda _, step: step.hottest_inlet_degc, lambda read: read.hottest_inlet_degc
    ),
    "hall_temperature": Quantity(
        "degC", lambda _, step: step.temperatures.air_degc, lambda read: read.hall_degc
    ),
    "metal_temperature": Quantity(
        "degC", lambda _, step: step.temperatures.metal_degc, lambda read: read.metal_degc
    ),
    "chilled_water_temperature": Quantity(
        "degC", lambda _, step: step.cooling.chilled_degc, lambda read: read.coil_entering_degc
    ),
    "chilled_water_return_temperature": Quantity(
        "degC",
        lambda _, step: step.cooling.chilled_return_degc,
        lambda read: read.chilled_return_degc,
    ),
    "condenser_water_temperature": Quantity(
        "degC", lambda _, step: step.cooling.condenser_degc, lambda r: r.tower_leaving_degc
    ),
    "hall_humidity_ratio": Quantity(
        "kg/kg", lambda _, step: step.moisture.humidity_ratio, lambda read: read.hall_humidity_ratio
    ),
}
"""What is compared, by name. The inlet is what the servers felt: that of the step before."""


@dataclass(frozen=True)
class Run:
    """What one engine gave, and how long it took."""

    values: dict[str, Array]
    """(steps,) each, by the names of `QUANTITIES`."""
    seconds: float
    """Wall-clock, without start and warm-up."""


@dataclass(frozen=True)
class Difference:
    """One quantity of both engines, hour by hour."""

    unit: str
    ours: float
    """Mean."""
    theirs: float
    """Mean in EnergyPlus."""
    nmbe: float
    """Sum of ours less theirs, over that of theirs."""
    cv_rmse: float
    """Root of the mean squared difference over their mean."""
    rmse: float
    """Root of the mean squared difference."""


def steady_set_points(weather: Weather, utilisation: Array) -> PlantActions:
    """What a plain controller would set, (STEPS_PER_YEAR,) each.

    Air flow follows the load; chilled water is colder where the exchanger cannot help, which the
    wet bulb decides.
    """
    wet_bulb = weather.wet_bulb_degc
    chilled = np.where(wet_bulb + _APPROACH_K <= 14.0, 14.0, 10.0)
    mode = np.where(wet_bulb + _APPROACH_K <= 16.0, EconomiserMode.PRECOOL, EconomiserMode.OFF)
    mode = np.where(wet_bulb + _APPROACH_K + 1.0 <= chilled, EconomiserMode.FULL, mode)
    return PlantActions(
        supply_air_degc=np.full(STEPS_PER_YEAR, 21.0),
        air_flow_ratio=0.40 + 0.45 * utilisation,
        chilled_water_degc=chilled,
        tower_fan_ratio=np.full(STEPS_PER_YEAR, 0.6),
        economiser=mode.astype(np.int64),
    )


def varied_set_points(weather: Weather, seed: int) -> PlantActions:
    """Every four hours others, drawn over what a controller might try, (STEPS_PER_YEAR,) each.

    The exchanger works alone only where the wet bulb lets it.
    """
    random = np.random.default_rng(seed)
    spans = -(-STEPS_PER_YEAR // _CHANGE_STEPS)

    def drawn(low: float, high: float) -> Array:
        return np.repeat(random.uniform(low, high, spans), _CHANGE_STEPS)[:STEPS_PER_YEAR]

    supply = drawn(18.0, 26.0)
    chilled = supply - drawn(6.0, 12.0)
    mode = np.floor(drawn(0.0, 3.0)).astype(np.int64)
    warm = weather.wet_bulb_degc + _APPROACH_K > chilled
    mode = np.where(warm & (mode == EconomiserMode.FULL), EconomiserMode.PRECOOL, mode)
    return PlantActions(
        supply_air_degc=supply,
        air_flow_ratio=drawn(0.5, 1.0),
        chilled_water_degc=np.maximum(chilled, 6.0),
        tower_fan_ratio=drawn(0.2, 1.0),
        economiser=mode,
    )


def run_plant(
    design: DataCenterDesign,
    weather: Weather,
    utilisation: Array,
    actions: PlantActions,
    *,
    first_day: int,
    days: int,
) -> Run:
    """The NumPy plant, all days side by side, each begun two days earlier, which are left out.

    In two days it forgets how it began: its slowest store, the hall's moisture, takes hours.
    utilisation, actions: (STEPS_PER_YEAR,) each, indexed as the weather is.
    """
    values = {name: np.empty((days, STEPS_PER_DAY)) for name in QUANTITIES}
    midnights = (first_day + np.arange(days)) * STEPS_PER_DAY
    state = initial_state(design, days)
    started = time.perf_counter()
    for number in range(-_LEAD_DAYS * STEPS_PER_DAY, STEPS_PER_DAY):
        at = (midnights + number) % STEPS_PER_YEAR
        now = PlantActions(*(np.take(values, at) for values in actions))
        outdoor = OutdoorAir(
            dry_bulb_degc=weather.dry_bulb_degc[at],
            humidity_ratio=weather.humidity_ratio[at],
            wet_bulb_degc=weather.wet_bulb_degc[at],
            pressure_pa=weather.pressure_pa[at],
        )
        before = state
        state, done = step(design, state, now, outdoor, utilisation[at])
        if number >= 0:
            for name, quantity in QUANTITIES.items():
                values[name][:, number] = quantity.ours(before, done)
    seconds = time.perf_counter() - started
    return Run({name: of_days.ravel() for name, of_days in values.items()}, seconds)


def run_energyplus(
    design: DataCenterDesign,
    weather: Weather,
    utilisation: Array,
    actions: PlantActions,
    *,
    first_day: int,
    days: int,
) -> Run:
    """The same in EnergyPlus; errors are those of `EnergyPlusEngine`."""
    values = {name: np.empty(days * STEPS_PER_DAY) for name in QUANTITIES}
    begin = first_day * STEPS_PER_DAY
    engine = EnergyPlusEngine(design, weather)
    try:
        engine.reset(
            first_day=first_day,
            days=days,
            actions=EnergyPlusActions.of_plant(actions, begin % STEPS_PER_YEAR, 20.0),
            utilisation=float(utilisation[begin]),
        )
        started = time.perf_counter()
        for number in range(days * STEPS_PER_DAY):
            at = (begin + number) % STEPS_PER_YEAR
            water_degc = engine.condenser_water_for_fan(float(np.take(actions.tower_fan_ratio, at)))
            readings = engine.step(
                EnergyPlusActions.of_plant(actions, at, water_degc), float(utilisation[at])
            )
            for name, quantity in QUANTITIES.items():
                values[name][number] = quantity.theirs(readings)
        return Run(values, time.perf_counter() - started)
    finally:
        engine.close()


def hourly_means(values: Array) -> Array:
    """(hours,) from (steps,) of whole hours."""
    return values.reshape(-1, STEPS_PER_HOUR).mean(axis=1)


def difference(unit: str, ours: Array, theirs: Array) -> Difference:
    """Hourly difference of two (steps,) arrays of whole hours.

    As Guideline 14 with no adjusted parameters: n, not n - 1, in the denominators.
    """
    hourly, reference = hourly_means(ours), hourly_means(theirs)
    mean, missed = float(reference.mean()), hourly - reference
    rmse = float(np.sqrt(np.mean(missed * missed)))
    normal = mean if mean != 0.0 else np.nan
    return Difference(
        unit, float(hourly.mean()), mean, float(missed.mean()) / normal, rmse / normal, rmse
    )


def differences(ours: Run, theirs: Run) -> dict[str, Difference]:
    """Every quantity's difference, by name."""
    return {
        name: difference(quantity.unit, ours.values[name], theirs.values[name])
        for name, quantity in QUANTITIES.items()
    }
