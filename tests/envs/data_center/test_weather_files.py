"""EPW files: what is read from them, and that every fault in one is named with its line."""

import re
import sys

import numpy as np
import pytest

from rlkit_envs.data_center import psychrometrics
from rlkit_envs.data_center.weather import DAYS_PER_MONTH
from rlkit_envs.data_center.weather_files import WeatherFileError, read_epw, tmy3, tmy3_names

HEADER = [
    "LOCATION,Testville,TS,XYZ,Made,000000,12.50,-34.25,-2.0,250.0",
    "DESIGN CONDITIONS,0",
    "TYPICAL/EXTREME PERIODS,0",
    "GROUND TEMPERATURES,0",
    "HOLIDAYS/DAYLIGHT SAVINGS,No,0,0,0",
    "COMMENTS 1,made for a test",
    "COMMENTS 2,",
    "DATA PERIODS,1,1,Data,Sunday, 1/ 1,12/31",
]


def records(leap=False):
    """A year whose values tell the hour: a dry bulb of month + hour / 100, for example."""
    return [
        f"1999,{month},{day},{hour},0,?9?9,{month + hour / 100},{month - 2.0},"
        f"{40 + hour},{98000 + hour}"
        for month, days in enumerate(DAYS_PER_MONTH, 1)
        for day in range(1, days + 1 + (leap and month == 2))
        for hour in range(1, 25)
    ]


@pytest.fixture
def write(tmp_path):
    def write(lines):
        path = tmp_path / "made.epw"
        path.write_text("\n".join(lines) + "\n", encoding="latin-1")
        return path

    return write


def test_a_record_holds_at_its_hour(write):
    weather = read_epw(write(HEADER + records()))
    assert weather.name == "Testville, TS, XYZ (Made)"
    assert (weather.latitude_deg, weather.longitude_deg, weather.elevation_m) == (
        12.5,
        -34.25,
        250.0,
    )
    hourly = weather.dry_bulb_degc[::12]
    assert hourly[[1, 2, 23, 24]] == pytest.approx([1.01, 1.02, 1.23, 1.24])
    assert hourly[0] == pytest.approx(12.24)  # 24:00 on 31 December
    assert hourly[59 * 24 + 1] == pytest.approx(3.01)
    assert (weather.pressure_pa[[0, 12, 18, 24]] == [98_024.0, 98_001.0, 98_001.5, 98_002.0]).all()
    humidity = psychrometrics.relative_humidity(
        weather.dry_bulb_degc, weather.humidity_ratio, weather.pressure_pa
    )
    np.testing.assert_allclose(humidity[[0, 12, 18, 24]], [0.64, 0.41, 0.415, 0.42], rtol=1e-12)


def test_a_leap_year_loses_its_29_february(write):
    common = read_epw(write(HEADER + records())).dry_bulb_degc
    lines = records(leap=True)
    lines[1416:1440] = [line.replace(",2.", ",40.") for line in lines[1416:1440]]
    np.testing.assert_array_equal(read_epw(write(HEADER + lines)).dry_bulb_degc, common)


def test_fog_of_more_than_100_percent_counts_as_saturated(write):
    lines = [re.sub(r",\d+,(98\d+)$", r",110,\1", line) for line in records()]
    weather = read_epw(write(HEADER + lines))
    saturated = psychrometrics.saturation_humidity_ratio(weather.dry_bulb_degc, weather.pressure_pa)
    np.testing.assert_allclose(weather.humidity_ratio, saturated, rtol=1e-12)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-8-sig"])
def test_names_are_read_in_the_encodings_that_files_use(tmp_path, encoding):
    path = tmp_path / "accents.epw"
    lines = [HEADER[0].replace("Testville", "São Made-up"), *HEADER[1:], *records()]
    path.write_text("\n".join(lines), encoding=encoding)
    assert read_epw(path).name == "São Made-up, TS, XYZ (Made)"


def test_a_missing_dew_point_is_no_fault(write):
    lines = records()
    lines[5] = lines[5].replace(",-1.0,", ",99.9,")
    assert lines[5] != records()[5]
    read_epw(write(HEADER + lines))


def column(index, value):
    """Changes a cell of the third record, that is, of line 11."""

    def change(lines):
        cells = lines[10].split(",")
        cells[index] = value
        lines[10] = ",".join(cells)

    return change


def cut(start, stop):
    def change(lines):
        del lines[start:stop]

    return change


def put(index, line):
    def change(lines):
        lines[index] = line

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (column(6, "99.9"), r"line 11: the dry bulb \(column 7\) is missing \(99.9\): fill"),
        (column(6, ""), r"line 11: the dry bulb .* is missing \(empty\)"),
        (column(6, "75"), "line 11: the dry bulb .* is 75: expected -70 to 60 degC"),
        (column(6, "warm"), "line 11: the dry bulb .* is 'warm': expected a number"),
        (column(6, "nan"), "line 11: the dry bulb .* is nan: expected"),
        (column(7, "1.6"), "line 11: the dew point 1.6 degC is above the dry bulb 1.03"),
        (column(8, "999"), r"line 11: the relative humidity .* is missing \(999\)"),
        (column(8, "-1"), "line 11: the relative humidity .* is -1: expected 0 to 110 %"),
        (column(9, "999999"), "line 11: the pressure .* is missing"),
        (column(9, "9999"), "line 11: the pressure .* is missing"),
        (column(9, "980"), "line 11: the pressure .* is 980: expected 31000 to 120000 Pa"),
        (column(3, "4"), "line 11: expected hour 3 of month 1, day 1, but found hour 4"),
        (column(3, "x"), "line 11: expected year, month, day and hour as integers"),
        (cut(20, 21), "line 21: expected hour 13 of month 1, day 1, but found hour 14.*missing"),
        (cut(9, 10), "line 10: expected hour 2 of month 1, day 1, but found hour 3"),
        (cut(8000, None), "holds 7992 hours, up to line 8000; a year has 8760, or 8784 with"),
        (cut(8, None), "holds 0 hours"),
        (lambda lines: lines.append(lines[-1]), "line 8769: a record after the end of the year"),
        (cut(7, 8), "line 8: expected 'DATA PERIODS,1,1,...'"),
        (put(7, "DATA PERIODS,1,4,Data,Sunday,1/1,12/31"), "line 8: .*one record an hour"),
        (put(0, "date,temperature"), "line 1: expected LOCATION .* found 'date,temperature'"),
        (put(0, HEADER[0].replace("12.50", "112.5")), "line 1: latitude_deg is 112.5: expected"),
        (put(0, HEADER[0].replace("250.0", "high")), "line 1: .*high"),
        (cut(0, None), "line 1: expected LOCATION"),
    ],
)
def test_a_fault_is_named_with_its_line(write, change, message):
    lines = HEADER + records()
    change(lines)
    with pytest.raises(WeatherFileError, match=r"made\.epw.*" + message) as error:
        read_epw(write(lines))
    assert "\n" not in str(error.value)


def test_a_29_february_that_breaks_off_is_a_gap(write):
    lines = records(leap=True)
    del lines[1430:1440]
    with pytest.raises(WeatherFileError, match="line 1439: expected hour 15 of month 2, day 29"):
        read_epw(write(HEADER + lines))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_epw(tmp_path / "nowhere.epw")


@pytest.fixture
def package(tmp_path, monkeypatch, write):
    """A package that carries two typical years, in place of the real one."""
    folder = tmp_path / "site" / "pyenergyplus" / "data" / "weather"
    folder.mkdir(parents=True)
    (tmp_path / "site" / "pyenergyplus" / "__init__.py").write_text("raise RuntimeError")
    text = write(HEADER + records()).read_text()
    for place in ("Test.Ville.AP.000001", "Test.City-South.000002"):
        (folder / f"USA_TS_{place}_TMY3.epw").write_text(text)
    monkeypatch.delitem(sys.modules, "pyenergyplus", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))


@pytest.mark.usefixtures("package")
def test_typical_years_are_found_by_part_of_their_name():
    assert tmy3_names() == (
        "USA_TS_Test.City-South.000002_TMY3",
        "USA_TS_Test.Ville.AP.000001_TMY3",
    )
    assert tmy3("test city south").latitude_deg == 12.5
    with pytest.raises(ValueError, match=r"'test' fits several files.*City.*Ville"):
        tmy3("test")
    for unknown in ("paris", "", "--"):
        with pytest.raises(ValueError, match=r"fits no file; name one of: .*City.*Ville"):
            tmy3(unknown)


def test_a_missing_package_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyenergyplus", None)
    for call in (tmy3_names, lambda: tmy3("chicago")):
        with pytest.raises(
            ImportError, match=r"^.*pip install -e '.\[energyplus\]' in rlkit's folder$"
        ):
            call()


def test_the_typical_year_of_chicago():
    pytest.importorskip("pyenergyplus")
    weather = tmy3("chicago")
    assert weather.elevation_m == 201.0
    # The file's first record: -12.2 degC, 73 %, 99500 Pa at 1:00.
    assert weather.dry_bulb_degc[12] == -12.2
    assert weather.pressure_pa[12] == 99_500.0
    assert weather.dry_bulb_degc.max() == 35.0
    humidity = psychrometrics.relative_humidity(-12.2, weather.humidity_ratio[12], 99_500.0)
    assert humidity == pytest.approx(0.73, rel=1e-9)
    # The mean of the file's column, by another reader.
    assert weather.dry_bulb_degc.mean() == pytest.approx(9.988, abs=1e-3)
    assert len(tmy3_names()) == 16
