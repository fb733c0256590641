"""The whole plant: conservation, rows of a batch, what physics demands, steady states, a year."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import root_scalar

from rlkit_envs.data_center import psychrometrics
from rlkit_envs.data_center.airflow import distribute_air
from rlkit_envs.data_center.chilled_water_coil import operate_coil
from rlkit_envs.data_center.chiller import chiller, chiller_state
from rlkit_envs.data_center.cooling_tower import tower_leaving_degc, tower_state
from rlkit_envs.data_center.design import ChilledWaterPlantDesign, DataCenterDesign
from rlkit_envs.data_center.plant import (
    SOUND,
    OutdoorAir,
    PlantActions,
    PlantFaults,
    PlantState,
    PlantStep,
    initial_state,
    step,
)
from rlkit_envs.data_center.power_chain import operate_critical_power
from rlkit_envs.data_center.presets import PRESETS
from rlkit_envs.data_center.psychrometrics import Quantity
from rlkit_envs.data_center.pumps import pump
from rlkit_envs.data_center.servers import operate_servers
from rlkit_envs.data_center.synthetic_weather import synthetic

DESIGNS = {name: make() for name, make in PRESETS.items()}
HALL = DESIGNS["chilled_water_hall"]
STEP_S = 300.0


def outdoor_air(
    dry_bulb: ArrayLike, relative_humidity: Quantity, pressure: Quantity = 101_325.0
) -> OutdoorAir:
    dry_bulb = np.asarray(dry_bulb, dtype=float)
    pressure = np.broadcast_to(np.asarray(pressure, dtype=float), dry_bulb.shape)
    ratio = psychrometrics.humidity_ratio_from_relative(dry_bulb, relative_humidity, pressure)
    wet_bulb = psychrometrics.wet_bulb_degc(dry_bulb, ratio, pressure)
    return OutdoorAir(dry_bulb, ratio, wet_bulb, pressure)


def actions(rows, supply=20.0, flow=0.8, chilled=10.0, fan=0.6, mode=0) -> PlantActions:
    full = [np.full(rows, value, dtype=float) for value in (supply, flow, chilled, fan)]
    return PlantActions(*full, economiser=np.full(rows, mode, dtype=np.int64))


def advance(design, state, acts, outdoor, utilisation, faults=SOUND, steps=1):
    state, result = step(design, state, acts, outdoor, utilisation, faults)
    for _ in range(steps - 1):
        state, result = step(design, state, acts, outdoor, utilisation, faults)
    return state, result


def settle(design, acts, outdoor, utilisation, steps=400, faults=SOUND, **start):
    """Steps until nothing changes any more."""
    state = initial_state(design, np.size(acts.supply_air_degc), **start)
    return advance(design, state, acts, outdoor, utilisation, faults, steps)


def find_root(function, low: float, high: float) -> float:
    return float(root_scalar(function, bracket=(low, high), xtol=1e-12).root)


def entry(values: Quantity, row: int = 0) -> float:
    return float(np.atleast_1d(values)[row])


def cut(values: Iterable[ArrayLike], at: slice) -> list[NDArray]:
    return [np.asarray(value)[at] for value in values]


# --- Conservation -----------------------------------------------------------------------------


def moist_specific_heat(humidity_ratio):
    return 1004.84 + 1858.95 * humidity_ratio


def dry_air_density(degc, humidity_ratio, pressure):
    return pressure / (287.042 * (degc + 273.15) * (1.0 + humidity_ratio / 0.621945))


def check_balances(
    design: DataCenterDesign,
    before: PlantState,
    after: PlantState,
    result: PlantStep,
    outdoor: OutdoorAir,
) -> None:
    """Heat and water of every store against what crossed its boundary, written from first laws."""
    mean = result.temperatures.mean_air_degc
    supply = result.handler.supply_kg_s
    share, handler = np.asarray(result.intake.outdoor_ratio), result.handler
    cooling, moisture = result.cooling, result.moisture
    scale = STEP_S * (result.facility.power_w + 1e3)

    def closes(imbalance, scale: Quantity = scale):
        np.testing.assert_array_less(np.abs(imbalance) / scale, 1e-9)

    # Humidity ratio of what entered the air handlers at the step's start, and specific heats.
    wetted = np.where(share > 0.0, result.intake.outdoor_humidity_ratio, 0.0)
    wetted_degc = np.where(share > 0.0, result.intake.outdoor_degc, 0.0)
    entering_humidity = share * wetted + (1.0 - share) * before.hall_humidity_ratio
    supply_w_k = supply * moist_specific_heat(entering_humidity)
    hall_specific_heat = moist_specific_heat(before.hall_humidity_ratio)
    density = dry_air_density(before.hall_degc, before.hall_humidity_ratio, outdoor.pressure_pa)
    air_kg = density * design.hall.air_volume_m3
    leaked = design.humidity.outdoor_air_m3_s * dry_air_density(
        outdoor.dry_bulb_degc, outdoor.humidity_ratio, outdoor.pressure_pa
    )

    # The hall's heat.
    losses = result.critical.distribution_loss_w * design.power_chain.distribution_hall_share
    losses = losses + result.critical.ups_loss_w * design.power_chain.ups_hall_share
    came = result.servers.compute_power_w + result.servers.fan_power_w + losses
    came = came + result.humidifier.sensible_heat_w
    through_walls = design.hall.envelope_conductance_w_k
    through_walls = through_walls + leaked * moist_specific_heat(outdoor.humidity_ratio)
    came = came + through_walls * (outdoor.dry_bulb_degc - mean)
    came = came + supply_w_k * (handler.supply_degc - mean)
    stored = air_kg * hall_specific_heat * (after.hall_degc - before.hall_degc)
    stored = stored + design.hall.metal_heat_capacity_j_k * (after.metal_degc - before.metal_degc)
    closes(STEP_S * came - stored)

    # Air handlers: return and outdoor air in, supply and heat to the coil out.
    outdoor_w_k = supply * share * moist_specific_heat(wetted)
    return_w_k = supply * (1.0 - share) * hall_specific_heat
    brought = outdoor_w_k * wetted_degc + return_w_k * mean
    sensible = brought - supply_w_k * handler.supply_degc + handler.fan_power_w
    closes(STEP_S * (sensible - handler.sensible_heat_w))
    leaving = brought / np.maximum(supply_w_k, 1e-9) - sensible / np.maximum(supply_w_k, 1e-9)
    vapour = 2_500_940.0 + 1858.95 * leaving - 4186.0 * handler.condensate_degc
    closes(STEP_S * (sensible + moisture.condensate_kg_s * vapour - handler.coil_heat_w))

    # The hall's water, in kilograms.
    came = moisture.steam_kg_s - moisture.condensate_kg_s
    came = came + leaked * (outdoor.humidity_ratio - moisture.mean_humidity_ratio)
    came = came + supply * share * (wetted - moisture.mean_humidity_ratio)
    kept = air_kg * (after.hall_humidity_ratio - before.hall_humidity_ratio)
    closes(STEP_S * came - kept, scale=STEP_S * supply * 0.01 + air_kg * 0.01)
    drier = (
        share * wetted
        + (1.0 - share) * moisture.mean_humidity_ratio
        - handler.supply_humidity_ratio
    )
    closes(supply * drier - moisture.condensate_kg_s, scale=supply + 1.0)

    if isinstance(design.cooling, ChilledWaterPlantDesign):
        plant = design.cooling
        pump_w = 0.9 * cooling.chilled_pump_power_w
        taken = handler.coil_heat_w + pump_w - cooling.exchanger_heat_w - cooling.mechanical_heat_w
        stored = plant.chilled_water.volume_m3 * 998.0 * 4186.0
        stored = stored * (after.chilled_degc - before.chilled_degc)
        closes(STEP_S * taken - stored)
        pump_w = 0.9 * cooling.condenser_pump_power_w
        taken = cooling.exchanger_heat_w + cooling.mechanical_heat_w + cooling.compressor_power_w
        stored = plant.condenser_water.volume_m3 * 998.0 * 4186.0
        stored = stored * (after.condenser_degc - before.condenser_degc)
        closes(STEP_S * (taken + pump_w - cooling.rejected_w) - stored)
        # Water in the coils: flow times rise is the heat.
        rise = handler.water_return_degc - before.chilled_degc
        closes(STEP_S * (handler.water_kg_s * 4186.0 * rise - handler.coil_heat_w))
        assert (cooling.chilled_kg_s >= handler.water_kg_s * (1.0 - 1e-9)).all()
    else:
        closes(STEP_S * (handler.coil_heat_w - cooling.mechanical_heat_w))
        rejected = cooling.mechanical_heat_w + cooling.compressor_power_w
        closes(STEP_S * (rejected - cooling.rejected_w))

    # Evaporation takes its heat from the air that it cools.
    if design.evaporative_cooler is not None:
        gained = np.where(share > 0.0, wetted - outdoor.humidity_ratio, 0.0)
        enthalpy = moist_specific_heat(wetted) * wetted_degc + 2_500_940.0 * wetted
        enthalpy = enthalpy - moist_specific_heat(outdoor.humidity_ratio) * outdoor.dry_bulb_degc
        enthalpy = enthalpy - 2_500_940.0 * outdoor.humidity_ratio
        liquid = gained * 4186.0 * outdoor.wet_bulb_degc
        closes(np.where(share > 0.0, enthalpy - liquid, 0.0), scale=1e4)
        cycles = design.evaporative_cooler.cycles_of_concentration
        make_up = supply * share * gained * cycles / (cycles - 1.0)
        closes(make_up - result.intake.water_kg_s, scale=1.0)

    # The bill.
    parts = result.servers.power_w + result.critical.distribution_loss_w
    parts = parts + result.critical.ups_loss_w + result.facility.transformer_loss_w
    parts = parts + handler.fan_power_w + cooling.compressor_power_w + cooling.tower_fan_power_w
    parts = parts + cooling.chilled_pump_power_w + cooling.condenser_pump_power_w
    parts = parts + result.humidifier.power_w + result.intake.pump_power_w
    closes(parts - result.facility_power_w)
    for power in (cooling.compressor_power_w, handler.fan_power_w, result.humidifier.power_w):
        assert (power >= 0.0).all()
    for values in (*after, result.hottest_inlet_degc, result.water_kg_s, result.facility_power_w):
        assert np.isfinite(values).all()


def random_design(name: str, rng: np.random.Generator) -> DataCenterDesign:
    """A preset with other masses, leaks, losses and water; may not fit together."""
    design = DESIGNS[name]
    scale = lambda: float(rng.uniform(0.4, 2.5))  # noqa: E731
    hall = replace(
        design.hall,
        air_volume_m3=design.hall.air_volume_m3 * scale(),
        metal_heat_capacity_j_k=design.hall.metal_heat_capacity_j_k * scale(),
        metal_conductance_w_k=design.hall.metal_conductance_w_k
        * float(rng.choice([0.0, 1.0, 3.0])),
        envelope_conductance_w_k=design.hall.envelope_conductance_w_k * scale(),
    )
    humidity = replace(
        design.humidity,
        outdoor_air_m3_s=design.humidity.outdoor_air_m3_s * float(rng.choice([0.0, 1.0, 10.0])),
        minimum_dew_point_degc=float(rng.uniform(-12.0, 10.0)),
        humidifier_kg_s=design.humidity.humidifier_kg_s * float(rng.choice([0.0, 1.0, 10.0])),
    )
    cooling = design.cooling
    if isinstance(cooling, ChilledWaterPlantDesign):
        cooling = replace(
            cooling,
            chilled_water=replace(cooling.chilled_water, volume_m3=float(rng.uniform(3.0, 40.0))),
            condenser_water=replace(
                cooling.condenser_water, volume_m3=float(rng.uniform(9.1, 40.0))
            ),
        )
    return replace(
        design,
        hall=hall,
        humidity=humidity,
        cooling=cooling,
        airflow=replace(
            design.airflow,
            recirculation_ratio=float(rng.uniform(0.0, 0.2)),
            leakage_ratio=float(rng.uniform(0.0, 0.3)),
        ),
        power_chain=replace(design.power_chain, ups_hall_share=float(rng.uniform(0.0, 1.0))),
    )


def random_actions(rng: np.random.Generator, rows: int) -> PlantActions:
    return PlantActions(
        rng.uniform(12.0, 32.0, rows),
        rng.choice([0.0, 0.05, *np.linspace(0.2, 1.0, 17)], rows),
        rng.uniform(3.0, 22.0, rows),
        rng.choice([0.0, 0.1, *np.linspace(0.2, 1.0, 9)], rows),
        rng.integers(0, 3, rows),
    )


def random_faults(rng: np.random.Generator, rows: int) -> PlantFaults:
    def some(values):
        return np.where(rng.random(rows) < 0.2, values, 0.0)

    severities = [some(rng.random(rows)) for _ in PlantFaults._fields]
    faults = PlantFaults(*severities)
    valve = np.where(rng.random(rows) < 0.1, rng.random(rows), np.nan)
    damper = np.where(rng.random(rows) < 0.1, rng.random(rows), np.nan)
    trip = (rng.random(rows) < 0.2).astype(float)
    return faults._replace(stuck_valve_ratio=valve, stuck_damper_ratio=damper, cooling_trip=trip)


def random_state(design: DataCenterDesign, rng: np.random.Generator, rows: int) -> PlantState:
    state = initial_state(
        design,
        rows,
        supply_air_degc=rng.uniform(12.0, 40.0, rows),
        hall_degc=rng.uniform(12.0, 50.0, rows),
        hall_humidity_ratio=rng.uniform(0.001, 0.016, rows),
        chilled_water_degc=rng.uniform(5.0, 35.0, rows),
        condenser_water_degc=rng.uniform(5.0, 45.0, rows),
    )
    return state._replace(metal_degc=rng.uniform(12.0, 50.0, rows))


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(DESIGNS)), st.integers(0, 2**32 - 1))
def test_heat_and_water_close_for_random_plants(name, seed):
    rng, rows = np.random.default_rng(seed), 48
    try:
        design = random_design(name, rng)
    except ValueError:
        assume(False)
        raise
    state = random_state(design, rng, rows)
    for _ in range(6):
        outdoor = outdoor_air(
            rng.uniform(-35.0, 45.0, rows),
            rng.uniform(0.05, 1.0, rows),
            rng.uniform(80e3, 103e3, rows),
        )
        # An action for a step or two, so that both changes and continuations are seen.
        acts, faults = random_actions(rng, rows), random_faults(rng, rows)
        for _ in range(2):
            load = rng.random(rows)
            after, result = step(design, state, acts, outdoor, load, faults)
            check_balances(design, state, after, result, outdoor)
            state = after


@pytest.mark.parametrize("name", sorted(DESIGNS))
def test_a_row_alone_equals_the_row_of_a_batch(name):
    rng, rows, design = np.random.default_rng(5), 19, DESIGNS[name]
    state = random_state(design, rng, rows)
    acts, faults = random_actions(rng, rows), random_faults(rng, rows)
    outdoor = outdoor_air(rng.uniform(-20.0, 40.0, rows), rng.uniform(0.1, 1.0, rows))
    load = rng.random(rows)
    batch, result = advance(design, state, acts, outdoor, load, faults, steps=3)
    for row in range(rows):
        at = slice(row, row + 1)
        alone, single = advance(
            design,
            PlantState(*cut(state, at)),
            PlantActions(*cut(acts, at)),
            OutdoorAir(*cut(outdoor, at)),
            load[at],
            PlantFaults(*cut(faults, at)),
            steps=3,
        )
        for mine, theirs in zip(alone, batch, strict=True):
            np.testing.assert_allclose(mine, theirs[at], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(single.facility_power_w, result.facility_power_w[at], rtol=1e-12)


def test_numbers_do_for_what_all_environments_share():
    state = initial_state(HALL, 3)
    outdoor = outdoor_air(np.full(3, 15.0), 0.5)
    plain = PlantActions(20.0, 0.8, 10.0, 0.6, 1)
    after, result = step(HALL, state, plain, outdoor, 0.5)
    expected, wanted = step(HALL, state, actions(3, mode=1), outdoor, np.full(3, 0.5))
    np.testing.assert_allclose(after, expected, rtol=1e-14)
    np.testing.assert_allclose(result.facility_power_w, wanted.facility_power_w, rtol=1e-14)


# --- Steady states ----------------------------------------------------------------------------


def test_steady_mechanical_cooling_agrees_with_root_finders():
    """Hall, coil, pump, chiller and tower solved one after the other, each by bisection."""
    supply, flow, chilled, load, dry_bulb = 21.0, 0.75, 9.0, 0.7, 24.0
    plant = HALL.cooling
    assert isinstance(plant, ChilledWaterPlantDesign)
    outdoor = outdoor_air([dry_bulb], 0.4)
    acts = actions(1, supply, flow, chilled, fan=0.7)
    state, result = settle(HALL, acts, outdoor, load, steps=1500, hall_humidity_ratio=0.007)
    # Without sources of water the hall's air is as humid as the outdoor air that leaks in.
    assert state.hall_humidity_ratio == pytest.approx(outdoor.humidity_ratio, rel=1e-6)
    humidity = entry(outdoor.humidity_ratio)
    c_p = moist_specific_heat(humidity)
    air_kg_s = flow * 90.0 * dry_air_density(20.0, 0.0, 101_325.0)
    fan_w = result.handler.fan_power_w[0]
    leaked = 0.1 * dry_air_density(dry_bulb, humidity, 101_325.0) * c_p + 500.0

    def servers_at(inlet):
        return operate_servers(HALL.servers, load, inlet, humidity, 101_325.0)

    def hall_at(inlet):
        power = servers_at(inlet).power_w
        heat = power + operate_critical_power(HALL.power_chain, power).hall_heat_w
        known = heat + air_kg_s * c_p * supply + leaked * dry_bulb
        return known / (air_kg_s * c_p + leaked)

    def missing_inlet(inlet):
        flows = distribute_air(HALL.airflow, air_kg_s, servers_at(inlet).flow_kg_s)
        return supply + flows.recirculation_ratio * (hall_at(inlet) - supply) - inlet

    inlet = find_root(missing_inlet, supply, 45.0)
    hall = hall_at(inlet)
    assert result.inlet_degc == pytest.approx(inlet, abs=1e-6)
    assert state.hall_degc == pytest.approx(hall, abs=1e-6)
    assert state.metal_degc == pytest.approx(hall, abs=1e-6)

    coil_w = air_kg_s * c_p * (hall - supply) + fan_w
    assert result.handler.coil_heat_w == pytest.approx(coil_w, rel=1e-8)

    def missing_heat(ratio):
        coil = operate_coil(
            plant.coil,
            air_kg_s=air_kg_s,
            air_degc=np.array([hall]),
            humidity_ratio=np.array([humidity]),
            pressure_pa=101_325.0,
            water_degc=chilled,
            target_degc=0.0,
            stuck_valve_ratio=ratio,
        )
        return float(coil.heat_w[0]) - coil_w

    valve = find_root(missing_heat, 0.05, 1.0)
    assert result.handler.water_ratio == pytest.approx(valve, rel=1e-6)
    chilled_pump = pump(plant.chilled_pump, valve * 45.0 / plant.chilled_pump.flow_kg_s)
    load_w = coil_w + chilled_pump.heat_w
    assert result.cooling.mechanical_heat_w == pytest.approx(load_w, rel=1e-7)

    tower = tower_state(plant.tower, outdoor.wet_bulb_degc, 0.7, np.array([45.0]))

    def missing_condenser(degc):
        work = chiller(plant.chiller, chiller_state(plant.chiller, chilled, degc), load_w)
        heat = work.condenser_heat_w + 0.9 * result.cooling.condenser_pump_power_w
        return float(tower_leaving_degc(plant.tower, tower, heat)[0]) - degc

    condenser = find_root(missing_condenser, 5.0, 60.0)
    assert state.condenser_degc == pytest.approx(condenser, abs=1e-6)
    work = chiller(plant.chiller, chiller_state(plant.chiller, chilled, condenser), load_w)
    assert result.cooling.compressor_power_w == pytest.approx(work.power_w, rel=1e-6)


def test_steady_free_cooling_divides_the_load():
    """Exchanger alone and with the chiller; effectiveness by hand, for equal flows."""
    plant = HALL.cooling
    assert isinstance(plant, ChilledWaterPlantDesign)
    outdoor = outdoor_air(np.array([16.0, 2.0]), 0.6)
    acts = PlantActions(
        np.full(2, 24.0), np.full(2, 0.8), np.full(2, 12.0), np.full(2, 0.8), np.array([1, 2])
    )
    state, result = settle(HALL, acts, outdoor, 0.7, steps=1500)
    cooling, handler = result.cooling, result.handler
    returned = state.chilled_degc + (handler.coil_heat_w + 0.9 * cooling.chilled_pump_power_w) / (
        cooling.chilled_kg_s * 4186.0
    )
    np.testing.assert_allclose(cooling.chilled_return_degc, returned, atol=1e-6)
    smaller, larger = entry(cooling.chilled_kg_s) * 4186.0, 45.0 * 4186.0
    units = 0.8 / 0.2 * 45.0 * 4186.0 / smaller  # UA of 0.8 at equal flows of 45 kg/s
    ratio = smaller / larger
    decay = np.exp(-units * (1.0 - ratio))
    reached = (1.0 - decay) / (1.0 - ratio * decay)
    expected = reached * smaller * (returned[0] - state.condenser_degc[0])
    assert entry(cooling.exchanger_heat_w) == pytest.approx(expected, rel=1e-6)
    assert cooling.compressor_power_w[0] > 0.0
    # Alone and modulated, it carries all, and the water stays at its set point.
    assert cooling.compressor_power_w[1] == 0.0
    assert state.chilled_degc[1] == pytest.approx(12.0, abs=1e-6)
    load = handler.coil_heat_w[1] + 0.9 * entry(cooling.chilled_pump_power_w, 1)
    assert entry(cooling.exchanger_heat_w, 1) == pytest.approx(load, rel=1e-8)


def test_condenser_water_goes_where_it_works():
    """Of 45 kg/s each: none through an exchanger that would warm, none through an idle chiller."""
    # Warm, PRECOOL: chiller alone. Cool, PRECOOL: both. Cold, PRECOOL: exchanger alone. FULL: the
    # same however warm. Last, a set point above what the water is: nothing has work.
    outdoor = outdoor_air(np.array([32.0, 13.0, 0.0, 32.0]), 0.6)
    acts = actions(4, chilled=10.0)._replace(economiser=np.array([1, 1, 1, 2]))
    _, result = settle(HALL, acts, outdoor, 0.7)
    np.testing.assert_allclose(result.cooling.condenser_kg_s, [45.0, 90.0, 45.0, 45.0])
    exchanger_w, chiller_w = result.cooling.exchanger_heat_w, result.cooling.mechanical_heat_w
    assert (np.asarray(exchanger_w) > 0.0).tolist() == [False, True, True, True]
    assert (chiller_w > 0.0).tolist() == [True, True, False, False]
    state = initial_state(HALL, 1, chilled_water_degc=8.0)
    _, idle = step(HALL, state, actions(1, chilled=14.0), outdoor_air([20.0], 0.5), 0.3)
    assert idle.cooling.mechanical_heat_w == idle.cooling.condenser_kg_s == 0.0
    assert idle.cooling.condenser_pump_power_w == idle.cooling.tower_fan_power_w == 0.0


def test_the_towers_fan_slows_where_the_water_cannot_get_colder():
    outdoor = outdoor_air(np.full(4, -15.0), 0.6)
    acts = actions(4, chilled=14.0, mode=2)._replace(
        tower_fan_ratio=np.array([1.0, 0.8, 0.6, 0.05])
    )
    state, result = settle(HALL, acts, outdoor, 0.5)
    np.testing.assert_allclose(state.condenser_degc[:3], 5.0, atol=1e-6)
    # However fast it was told to turn, and whatever water that leaves to evaporate.
    power, water = np.asarray(result.cooling.tower_fan_power_w), result.cooling.tower_water_kg_s
    np.testing.assert_allclose(power[:3], power[2], rtol=1e-6)
    np.testing.assert_allclose(np.asarray(water)[:3], np.asarray(water)[2], rtol=1e-6)
    assert 0.0 < power[2] < 0.25 * 0.6**3 * 22_000.0
    assert state.condenser_degc[3] > 10.0


# --- What physics demands ---------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(DESIGNS))
def test_power_rises_with_load(name):
    rows = 21
    load = np.linspace(0.0, 1.0, rows)
    _, result = settle(DESIGNS[name], actions(rows), outdoor_air(np.full(rows, 28.0), 0.3), load)
    assert (np.diff(result.facility_power_w) > 0.0).all()
    assert (np.diff(result.cooling.compressor_power_w) > 0.0).all()
    assert not result.limits.supply_missed.any()


@pytest.mark.parametrize("name", ["chilled_water_hall", "air_economised_hall"])
@pytest.mark.parametrize("mode", [0, 1])
def test_chiller_power_falls_with_colder_weather(name, mode):
    rows = 26
    outdoor = outdoor_air(np.linspace(35.0, -15.0, rows), 0.4)
    _, result = settle(DESIGNS[name], actions(rows, mode=mode), outdoor, 0.7)
    # Below some 10 degC condenser water the chiller's lift is cut off, and gains end.
    assert (np.diff(result.cooling.compressor_power_w) < 20.0).all()
    assert result.cooling.compressor_power_w[-1] < 0.85 * result.cooling.compressor_power_w[0]


def test_direct_expansion_saves_in_colder_weather():
    outdoor = outdoor_air(np.linspace(42.0, 18.0, 13), 0.2)
    _, result = settle(DESIGNS["small_room"], actions(13), outdoor, 0.7)
    assert (np.diff(result.cooling.compressor_power_w) < 0.0).all()


def test_fan_power_goes_nearly_with_the_cube_of_the_flow():
    flow = np.array([0.5, 1.0])
    outdoor = outdoor_air(np.full(2, 20.0), 0.4)
    acts = actions(2)._replace(air_flow_ratio=flow)
    _, result = settle(HALL, acts, outdoor, 0.3)
    half, whole = result.handler.fan_power_w
    assert whole == pytest.approx(90.0 * 300.0 / 0.7, rel=0.01)
    assert 0.125 < half / whole < 0.30  # a cube would give 0.125; the drive has losses
    np.testing.assert_allclose(result.handler.supply_kg_s[0], 0.5 * result.handler.supply_kg_s[1])


def test_warm_inlets_cost_what_was_measured():
    """0.35 to 0.5 % of the servers' power per kelvin, in the whole plant too."""
    supply = np.array([22.0, 29.0])
    outdoor = outdoor_air(np.full(2, 20.0), 0.4)
    acts = actions(2, flow=1.0)._replace(supply_air_degc=supply)
    _, result = settle(HALL, acts, outdoor, 0.7)
    rise = np.log(result.it_power_w[1] / result.it_power_w[0])
    rise /= result.inlet_degc[1] - result.inlet_degc[0]
    assert 0.0035 < rise < 0.005


def test_starved_aisles_have_hot_racks():
    flow = np.linspace(1.0, 0.3, 15)
    outdoor = outdoor_air(np.full(15, 20.0), 0.4)
    acts = actions(15)._replace(air_flow_ratio=flow)
    _, result = settle(HALL, acts, outdoor, 0.8)
    assert (np.diff(result.hottest_inlet_degc) > 0.0).all()
    assert result.hottest_inlet_degc[0] < 22.5
    assert result.hottest_inlet_degc[-1] > 30.0
    assert (result.hottest_inlet_degc > result.inlet_degc).all()


def test_a_tripped_chiller_heats_hall_and_water_as_their_masses_allow():
    """900 kW or so against air, 60 t of metal and 12 m3 of water: about 3 K in five minutes."""
    outdoor = outdoor_air([25.0], 0.4)
    state, sound = settle(HALL, actions(1), outdoor, 0.7)
    tripped = PlantFaults(cooling_trip=np.ones(1))
    capacity = 2000.0 * 1.17 * 1013.0 + 30e6 + 12.0 * 998.0 * 4186.0
    before, _ = advance(HALL, state, actions(1), outdoor, 0.7, tripped, steps=5)
    state, result = step(HALL, before, actions(1), outdoor, 0.7, tripped)
    assert result.cooling.compressor_power_w == 0.0
    heat = result.it_power_w + result.critical.hall_heat_w + result.handler.fan_power_w
    heat = heat + 0.9 * result.cooling.chilled_pump_power_w
    warmed = [now - then for now, then in zip(state, before, strict=True)]
    change = PlantState(*warmed)
    mean = 2000.0 * 1.17 * 1013.0 * change.hall_degc + 30e6 * change.metal_degc
    mean = (mean + 12.0 * 998.0 * 4186.0 * change.chilled_degc) / capacity
    assert mean[0] == pytest.approx(STEP_S * heat[0] / capacity, rel=0.02)
    assert mean[0] == pytest.approx(3.2, abs=0.4)
    assert (np.array([change.hall_degc, change.metal_degc, change.chilled_degc]) > 2.0).all()
    assert result.limits.chilled_water_missed[0]
    assert result.limits.supply_missed[0]
    assert not sound.limits.supply_missed[0]
    # All comes back when the chiller does.
    _, result = advance(HALL, state, actions(1), outdoor, 0.7, steps=200)
    assert result.hottest_inlet_degc == pytest.approx(sound.hottest_inlet_degc, abs=0.01)


def test_servers_that_lose_their_cooling_switch_off_before_the_hall_burns():
    outdoor = outdoor_air([30.0], 0.4)
    tripped = PlantFaults(cooling_trip=np.ones(1))
    for name, design in DESIGNS.items():
        state, result = settle(design, actions(1), outdoor, 0.9, faults=tripped, steps=500)
        assert result.limits.servers_off[0], name
        assert result.it_power_w[0] < 0.3 * design.servers.rated_power_w
        assert state.hall_degc[0] < 90.0


def test_set_points_below_what_the_chiller_makes_are_raised_and_told():
    state, result = settle(HALL, actions(1, chilled=3.0), outdoor_air([20.0], 0.4), 0.5)
    assert state.chilled_degc == pytest.approx(5.0, abs=1e-3)
    assert np.all(result.limits.chilled_water_raised)


def test_little_demand_bypasses_the_coils():
    """The pump holds a tenth of its flow; what the coils do not take returns unwarmed."""
    acts = actions(1, supply=28.0, flow=0.3, chilled=6.0)
    state, result = settle(HALL, acts, outdoor_air([20.0], 0.4), 0.0)
    assert result.handler.water_kg_s[0] < 4.5
    assert result.cooling.chilled_kg_s == pytest.approx(4.5)
    load = result.handler.coil_heat_w + 0.9 * result.cooling.chilled_pump_power_w
    expected = state.chilled_degc + load / (4.5 * 4186.0)
    assert result.cooling.chilled_return_degc == pytest.approx(expected, abs=1e-3)


def test_outdoor_air_replaces_the_chiller_in_the_cold():
    design = DESIGNS["air_economised_hall"]
    outdoor = outdoor_air(np.full(3, 5.0), 0.6)
    acts = actions(3)._replace(economiser=np.array([0, 1, 2]))
    _, result = settle(design, acts, outdoor, 0.7)
    np.testing.assert_allclose(result.handler.supply_degc, 20.0, atol=0.05)
    power = result.cooling.power_w
    assert power[0] > 1e5
    assert power[1] < 0.2 * power[0]
    assert power[2] == 0.0
    # Mixed to the set point: (31 - 20) of (31 - 5) kelvins, or about 0.36 to 0.4 outdoor air.
    share = np.asarray(result.intake.outdoor_ratio)[2]
    hall = result.temperatures.mean_air_degc[2]
    wanted = 20.0 - result.handler.fan_power_w[2] / (result.handler.supply_kg_s[2] * 1014.0)
    assert share == pytest.approx((hall - wanted) / (hall - 5.0), rel=0.01)


def test_economiser_modes_mean_nothing_where_there_is_none():
    outdoor = outdoor_air(np.full(3, 5.0), 0.6)
    acts = actions(3)._replace(economiser=np.array([0, 1, 2]))
    _, result = settle(DESIGNS["small_room"], acts, outdoor, 0.7, steps=20)
    assert np.ptp(result.facility_power_w) == 0.0
    assert result.cooling.compressor_power_w[2] > 0.0


@pytest.mark.parametrize(
    ("fault", "costs"),
    [
        ("air_handler_fan", "handler.fan_power_w"),
        ("coil_fouling", "cooling.chilled_pump_power_w"),
        ("refrigerant_loss", "cooling.compressor_power_w"),
        ("condenser_fouling", "cooling.compressor_power_w"),
        ("tower_fan", "cooling.tower_fan_power_w"),
        ("tower_fouling", "cooling.compressor_power_w"),
        ("chilled_pump", "cooling.chilled_pump_power_w"),
        ("condenser_pump", "cooling.condenser_pump_power_w"),
        ("exchanger_fouling", "cooling.compressor_power_w"),
    ],
)
def test_faults_cost_power_where_they_sit(fault, costs):
    outdoor = outdoor_air(np.full(3, 10.0), 0.6)
    severity = PlantFaults(**{fault: np.array([0.0, 0.4, 0.8])})
    _, result = settle(HALL, actions(3, fan=0.5, mode=1), outdoor, 0.7, faults=severity)
    part, power = costs.split(".")
    values = getattr(getattr(result, part), power)
    assert (np.diff(values) > 0.0).all()


def test_stuck_parts_stay_where_they_are():
    outdoor = outdoor_air(np.full(2, 10.0), 0.6)
    valve = PlantFaults(stuck_valve_ratio=np.array([0.2, np.nan]))
    _, result = settle(HALL, actions(2), outdoor, 0.7, faults=valve)
    assert result.handler.water_ratio[0] == pytest.approx(0.2)
    assert result.limits.supply_missed.tolist() == [True, False]
    damper = PlantFaults(stuck_damper_ratio=np.array([0.3, np.nan]))
    _, result = settle(DESIGNS["air_economised_hall"], actions(2), outdoor, 0.7, faults=damper)
    np.testing.assert_allclose(result.intake.outdoor_ratio, [0.3, 0.0])


# --- A year -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "climate", "least", "most"),
    [
        ("small_room", "hot_humid", 1.25, 1.6),
        ("small_room", "very_cold", 1.2, 1.5),
        ("chilled_water_hall", "hot_dry", 1.15, 1.4),
        ("chilled_water_hall", "cold", 1.12, 1.35),
        ("air_economised_hall", "hot_humid", 1.15, 1.4),
        ("air_economised_hall", "marine", 1.1, 1.25),
    ],
)
def test_a_year_runs_and_its_energy_is_plausible(name, climate, least, most):
    """All days side by side, each after an hour from the start."""
    design, weather = DESIGNS[name], synthetic(climate, seed=3)
    midnights = np.arange(365) * 288
    hour = np.arange(288) / 12.0
    load = 0.55 + 0.25 * np.cos(2.0 * np.pi * (hour - 15.0) / 24.0)
    state = initial_state(design, 365)
    facility, servers, hottest = np.zeros(365), np.zeros(365), 0.0
    for minute in range(-12, 288):
        at = (midnights + minute) % 105_120
        outdoor = OutdoorAir(
            weather.dry_bulb_degc[at],
            weather.humidity_ratio[at],
            weather.wet_bulb_degc[at],
            weather.pressure_pa[at],
        )
        if design.air_economiser is None:
            mode = np.where(outdoor.wet_bulb_degc < 3.0, 2, outdoor.wet_bulb_degc < 11.0)
        else:
            mode = np.ones(365, dtype=np.int64)
        acts = actions(365, supply=22.0, chilled=12.0)._replace(economiser=mode)
        state, result = step(design, state, acts, outdoor, load[minute % 288])
        for values in (*state, result.facility_power_w, result.hottest_inlet_degc):
            assert np.isfinite(values).all()
        if minute >= 0:
            facility += result.facility_power_w
            servers += result.it_power_w
        hottest = max(hottest, float(result.hottest_inlet_degc.max()))
    assert least < facility.sum() / servers.sum() < most
    assert hottest < 32.0
