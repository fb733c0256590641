"""Moist air against published tables, numbers worked out by hand, and its own energy balance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlkit_envs.data_center import psychrometrics as air

SEA_LEVEL_PA = 101_325.0


@pytest.mark.parametrize(
    ("temperature_degc", "published_pa"),
    [(-20.0, 103.24), (-5.0, 401.74), (5.0, 872.6), (25.0, 3169.7), (50.0, 12351.3)],
)
def test_saturation_pressure_is_that_of_the_handbook(temperature_degc, published_pa):
    # ASHRAE Fundamentals, chapter 1, table 3; the equations are good to 300 ppm.
    assert air.saturation_pressure_pa(temperature_degc) == pytest.approx(published_pa, rel=3e-4)


def test_saturation_pressure_takes_each_rows_own_branch():
    both = air.saturation_pressure_pa(np.array([-20.0, 25.0]))
    assert both == pytest.approx([103.24, 3169.7], rel=3e-4)


def test_saturated_air_worked_by_hand():
    # 0.621945 * 3169.7 / (101325 - 3169.7)
    assert air.saturation_humidity_ratio(25.0, SEA_LEVEL_PA) == pytest.approx(0.0200843, rel=4e-4)


def test_humidity_ratio_from_relative_worked_by_hand():
    # Half of 3169.7 Pa: 0.621945 * 1584.85 / (95461 - 1584.85)
    ratio = air.humidity_ratio_from_relative(25.0, 0.5, 95_461.0)
    assert ratio == pytest.approx(0.0104998, rel=4e-4)
    assert air.relative_humidity(25.0, ratio, 95_461.0) == pytest.approx(0.5, rel=1e-12)


def test_vapour_pressure_worked_by_hand():
    # 0.01 / 0.631945 of the pressure
    assert air.vapour_pressure_pa(0.01, 100_000.0) == pytest.approx(1582.416, rel=1e-6)


def test_enthalpy_worked_by_hand():
    # 1004.84 * 30 + 0.01 * (2500940 + 1858.95 * 30)
    assert air.enthalpy_j_kg(30.0, 0.01) == pytest.approx(55_712.285, abs=1e-6)
    assert air.specific_heat_j_kg_k(0.01) == pytest.approx(1023.4295, abs=1e-9)


@given(st.floats(-40.0, 80.0), st.floats(0.0, 0.05))
def test_dry_bulb_inverts_enthalpy(temperature_degc, ratio):
    enthalpy = air.enthalpy_j_kg(temperature_degc, ratio)
    assert air.dry_bulb_degc(enthalpy, ratio) == pytest.approx(temperature_degc, abs=1e-9)


def test_density_is_that_of_the_handbook():
    # Table 2: dry air at 25 degC has 0.8443 m3/kg. Moist: 0.287042 * 303.15 * 1.0321572 / 95.461.
    assert air.density_kg_m3(25.0, 0.0, SEA_LEVEL_PA) == pytest.approx(1 / 0.8443, rel=1e-3)
    assert air.density_kg_m3(30.0, 0.02, 95_461.0) == pytest.approx(1 / 0.940855, rel=1e-5)


@pytest.mark.parametrize(
    ("elevation_m", "published_pa"), [(0.0, 101_325), (500.0, 95_461), (1000.0, 89_875)]
)
def test_standard_pressure_is_that_of_the_handbook(elevation_m, published_pa):
    assert air.standard_pressure_pa(elevation_m) == pytest.approx(published_pa, abs=1.0)


@pytest.mark.parametrize("pressure_pa", [70_000.0, SEA_LEVEL_PA])
def test_dew_point_inverts_saturation_over_its_whole_range(pressure_pa):
    highest = 85.0 if pressure_pa < 100_000 else 95.0
    dew_point = np.linspace(-99.5, highest, 5000)
    ratio = air.humidity_ratio_from_dew_point(dew_point, pressure_pa)
    found = air.dew_point_degc(ratio, pressure_pa)
    near_freezing = np.abs(dew_point) < 0.01  # the equations over ice and water differ by 0.01 %
    assert np.abs(found - dew_point)[~near_freezing].max() < 3e-5
    assert np.abs(found - dew_point).max() < 2e-3


def test_dew_point_of_dry_air_is_finite():
    assert air.dew_point_degc(0.0, SEA_LEVEL_PA) == pytest.approx(-100.0, abs=0.01)


def ratio_by_handbook(dry_bulb, wet_bulb, pressure_pa):
    """ASHRAE Fundamentals, chapter 1, equations 33 and 35."""
    saturated = air.saturation_humidity_ratio(wet_bulb, pressure_pa)
    over_water = ((2501.0 - 2.326 * wet_bulb) * saturated - 1.006 * (dry_bulb - wet_bulb)) / (
        2501.0 + 1.86 * dry_bulb - 4.186 * wet_bulb
    )
    over_ice = ((2830.0 - 0.24 * wet_bulb) * saturated - 1.006 * (dry_bulb - wet_bulb)) / (
        2830.0 + 1.86 * dry_bulb - 2.1 * wet_bulb
    )
    return np.where(wet_bulb < 0.0, over_ice, over_water)


@pytest.mark.parametrize(
    ("dry_bulb", "wet_bulb", "ratio"),
    [(30.0, 25.0, 0.01922813), (-1.0, -5.0, 0.00120400)],
)
def test_wet_bulb_worked_from_the_handbooks_equations(dry_bulb, wet_bulb, ratio):
    found = air.wet_bulb_degc(dry_bulb, ratio, 95_461.0)
    assert found == pytest.approx(wet_bulb, abs=0.01)


def test_humidity_ratio_is_told_by_dry_and_wet_bulb():
    dry_bulb, relative = np.meshgrid(np.linspace(-25.0, 45.0, 36), [0.1, 0.5, 0.95])
    ratio = air.humidity_ratio_from_relative(dry_bulb, relative, 95_461.0)
    wet_bulb = air.wet_bulb_degc(dry_bulb, ratio, 95_461.0)
    found = air.humidity_ratio_from_wet_bulb(dry_bulb, wet_bulb, 95_461.0)
    np.testing.assert_allclose(found, ratio, rtol=1e-6, atol=1e-9)
    assert air.humidity_ratio_from_wet_bulb(40.0, 5.0, 95_461.0) == 0.0  # no air is as dry


def test_the_handbooks_example():
    # ASHRAE Fundamentals, chapter 1, example 1: 40 degC and a wet bulb of 20 degC, off the chart.
    ratio = 0.0065
    assert air.wet_bulb_degc(40.0, ratio, SEA_LEVEL_PA) == pytest.approx(20.0, abs=0.1)
    assert air.enthalpy_j_kg(40.0, ratio) == pytest.approx(56_700.0, abs=300.0)
    assert air.relative_humidity(40.0, ratio, SEA_LEVEL_PA) == pytest.approx(0.14, abs=0.005)
    assert air.dew_point_degc(ratio, SEA_LEVEL_PA) == pytest.approx(7.0, abs=0.7)
    assert air.density_kg_m3(40.0, ratio, SEA_LEVEL_PA) == pytest.approx(1 / 0.896, rel=2e-3)


def test_wet_bulb_agrees_with_the_handbooks_equations():
    dry_bulb, depression = np.meshgrid(np.linspace(-30.0, 50.0, 81), np.linspace(0.0, 25.0, 26))
    dry_bulb, wet_bulb = dry_bulb.ravel(), (dry_bulb - depression).ravel()
    ratio = ratio_by_handbook(dry_bulb, wet_bulb, 90_000.0)
    # At freezing a bulb reads differently wet and iced, and a hair decides which it is.
    kept = (ratio >= 0.0) & (wet_bulb != 0.0)
    found = air.wet_bulb_degc(dry_bulb[kept], ratio[kept], 90_000.0)
    assert kept.sum() > 800
    # The handbook's rounded constants differ from EnergyPlus's by a thousandth.
    assert np.abs(found - wet_bulb[kept]).max() < 0.02


@given(st.floats(-50.0, 60.0), st.floats(0.0, 1.0), st.sampled_from([60_000.0, SEA_LEVEL_PA]))
def test_air_saturated_at_its_wet_bulb_keeps_its_energy(dry_bulb, humidity, pressure_pa):
    ratio = air.humidity_ratio_from_relative(dry_bulb, humidity, pressure_pa)
    wet_bulb = air.wet_bulb_degc(dry_bulb, ratio, pressure_pa)
    saturated = air.saturation_humidity_ratio(wet_bulb, pressure_pa)
    water = 4186.0 * wet_bulb if wet_bulb >= 0.0 else 2100.0 * wet_bulb - 333_400.0
    before = air.enthalpy_j_kg(dry_bulb, ratio) + (saturated - ratio) * water
    assert air.enthalpy_j_kg(wet_bulb, saturated) == pytest.approx(before, abs=1e-3)
    # Over ice at 0 degC the vapour pressure is a ten-thousandth below that over water.
    assert wet_bulb <= dry_bulb + 2e-3
    assert wet_bulb >= air.dew_point_degc(ratio, pressure_pa) - 2e-3


@pytest.mark.parametrize(("pressure_pa", "within_k"), [(101_325.0, 0.08), (80_000.0, 0.7)])
def test_saturated_air_of_an_enthalpy(pressure_pa, within_k):
    degc = np.linspace(-25.0, 50.0, 301)
    ratio = air.saturation_humidity_ratio(degc, pressure_pa)
    enthalpy = air.enthalpy_j_kg(degc, ratio)
    found_degc, found_ratio = air.saturated_air(enthalpy, pressure_pa)
    np.testing.assert_allclose(found_degc, degc, atol=within_k)
    np.testing.assert_allclose(air.enthalpy_j_kg(found_degc, found_ratio), enthalpy, rtol=1e-12)
    assert (np.diff(found_ratio) > 0.0).all()


def test_a_batch_gives_the_bits_of_its_rows_taken_alone():
    generator = np.random.default_rng(0)
    temperature = generator.uniform(-30.0, 50.0, 33)
    pressure = generator.uniform(70_000.0, 103_000.0, 33)
    humidity = generator.uniform(0.05, 1.0, 33)
    ratio = air.humidity_ratio_from_relative(temperature, humidity, pressure)
    for function, arguments in (
        (air.saturation_pressure_pa, (temperature,)),
        (air.saturation_humidity_ratio, (temperature, pressure)),
        (air.humidity_ratio_from_relative, (temperature, humidity, pressure)),
        (air.relative_humidity, (temperature, ratio, pressure)),
        (air.dew_point_degc, (ratio, pressure)),
        (air.wet_bulb_degc, (temperature, ratio, pressure)),
        (air.enthalpy_j_kg, (temperature, ratio)),
        (air.density_kg_m3, (temperature, ratio, pressure)),
    ):
        batch = function(*arguments)
        for row in range(33):
            alone = function(*(argument[row : row + 1] for argument in arguments))
            assert alone[0] == batch[row], function.__name__


def test_arguments_are_left_alone():
    temperature, ratio, pressure = np.full(4, -5.0), np.full(4, 0.002), np.full(4, 1e5)
    air.wet_bulb_degc(temperature, ratio, pressure)
    air.dew_point_degc(ratio, pressure)
    assert (temperature == -5.0).all()
    assert (ratio == 0.002).all()
    assert (pressure == 1e5).all()
