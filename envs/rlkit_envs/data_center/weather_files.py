"""Weather out of EPW files (EnergyPlus Auxiliary Programs, "EnergyPlus Weather File Data
Dictionary"), and the typical meteorological years that come with EnergyPlus.

Nothing is repaired on reading: a gap, a code for a missing value or an impossible value is an error
that names the line.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.weather import (
    DAYS_PER_MONTH,
    DRY_BULB_RANGE_DEGC,
    HOURS_PER_YEAR,
    PRESSURE_RANGE_PA,
    Weather,
    check_site,
)

_HEADER_LINES = 8
_HOUR_COLUMNS = slice(1, 4)


class WeatherFileError(ValueError):
    """A weather file that cannot be used; the message names file, line, value and the fix."""


@dataclass(frozen=True)
class _Column:
    """A column of an EPW record that is read."""

    name: str
    index: int
    lowest: float
    highest: float
    unit: str
    missing: tuple[float, ...]
    """The format's code for a missing value, and codes seen in its place."""


_DRY_BULB = _Column("dry bulb", 6, *DRY_BULB_RANGE_DEGC, "degC", (99.9, 999.0, 9999.0))
_DEW_POINT = _Column("dew point", 7, -90.0, 60.0, "degC", (99.9, 999.0, 9999.0))
_HUMIDITY = _Column("relative humidity", 8, 0.0, 110.0, "%", (999.0, 9999.0))
_PRESSURE = _Column("pressure", 9, *PRESSURE_RANGE_PA, "Pa", (999999.0, 9999.0))
_DEW_POINT_TOLERANCE_K = 0.5


def read_epw(path: str | Path) -> Weather:
    """The weather of an EPW file with one record an hour for a whole year.

    A record stamped hour h holds at h o'clock, local standard time, as in EnergyPlus; so that of
    24:00 on 31 December also begins the year. A leap year loses its 29 February. Humidity follows
    from the relative humidity, below 0 degC over ice, as EnergyPlus has it; above 100 % (the format
    allows 110) it counts as 100 %. A dew point must not lie above the dry bulb, and may be missing.

    Raises FileNotFoundError, or WeatherFileError naming the line, the value and what would fit.
    """
    path = Path(path)
    content = path.read_bytes()
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:  # the format fixes no encoding, and older files use this one
        lines = content.decode("latin-1").splitlines()
    name, latitude, longitude, elevation = _read_location(path, lines)
    _check_data_periods(path, lines)
    records = [(number, line.split(",")) for number, line in enumerate(lines, 1) if line.strip()]
    records = _check_hours(path, [record for record in records if record[0] > _HEADER_LINES])
    dry_bulb, dew_point, humidity, pressure = (
        _read_column(path, records, column)
        for column in (_DRY_BULB, _DEW_POINT, _HUMIDITY, _PRESSURE)
    )
    above = np.flatnonzero(dew_point > dry_bulb + _DEW_POINT_TOLERANCE_K)
    if above.size:
        at = int(above[0])
        raise WeatherFileError(
            f"{path}, line {records[at][0]}: the dew point {dew_point[at]:g} degC is above the dry "
            f"bulb {dry_bulb[at]:g} degC, which air cannot have: correct the record"
        )
    return Weather.from_hourly(
        name,
        latitude,
        longitude,
        elevation,
        dry_bulb_degc=np.roll(dry_bulb, 1),
        relative_humidity=np.roll(np.minimum(humidity / 100.0, 1.0), 1),
        pressure_pa=np.roll(pressure, 1),
    )


def tmy3(name: str) -> Weather:
    """A typical meteorological year of the United States (TMY3, NREL/TP-581-43156) by place.

    name: part of one of `tmy3_names`, such as "Chicago" or "san francisco"; case, dots, dashes and
    spaces do not matter. Raises ValueError where not exactly one file fits, and ImportError where
    the package that carries the files is not installed.
    """
    files = _tmy3_files()
    wanted = _letters(name)
    fitting = [file for file in files if wanted and wanted in _letters(file.stem)]
    if len(fitting) != 1:
        found = ", ".join(file.stem for file in fitting or files)
        problem = "fits several files" if fitting else "fits no file"
        raise ValueError(f"the weather {name!r} {problem}; name one of: {found}")
    return read_epw(fitting[0])


def tmy3_names() -> tuple[str, ...]:
    """The names of all typical years at hand. Raises ImportError as `tmy3` does."""
    return tuple(file.stem for file in _tmy3_files())


def _tmy3_files() -> list[Path]:
    package = importlib.util.find_spec("pyenergyplus")  # does not load EnergyPlus
    folders = package.submodule_search_locations if package else None
    files = sorted(Path(folders[0]).glob("data/weather/*_TMY3.epw")) if folders else []
    if not files:
        raise ImportError(
            "typical years need the package pyenergyplus-lbnl: pip install -e '.[energyplus]' in"
            " rlkit's folder"
        )
    return files


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _read_location(path: Path, lines: list[str]) -> tuple[str, float, float, float]:
    """Name, latitude, longitude and elevation from the first line."""
    cells = [cell.strip() for cell in lines[0].split(",")] if lines else []
    if len(cells) < 10 or cells[0].upper() != "LOCATION":
        raise WeatherFileError(
            f"{path}, line 1: expected LOCATION with city, state, country, source, station, "
            f"latitude, longitude, time zone and elevation, as in an EPW file, "
            f"but found {_shown(lines[0] if lines else '')}"
        )
    try:
        latitude, longitude, elevation = float(cells[6]), float(cells[7]), float(cells[9])
        check_site(latitude, longitude, elevation)
    except ValueError as error:
        raise WeatherFileError(f"{path}, line 1: {error}") from None
    place = ", ".join(cell for cell in cells[1:4] if cell and cell != "-")
    return f"{place} ({cells[4]})", latitude, longitude, elevation


def _check_data_periods(path: Path, lines: list[str]) -> None:
    """One record an hour is what `read_epw` understands; the eighth line says so."""
    line = lines[_HEADER_LINES - 1] if len(lines) >= _HEADER_LINES else ""
    cells = [cell.strip() for cell in line.split(",")]
    if cells[0].upper() != "DATA PERIODS" or cells[1:3] != ["1", "1"]:
        raise WeatherFileError(
            f"{path}, line {_HEADER_LINES}: expected 'DATA PERIODS,1,1,...', that is, one period "
            f"with one record an hour, but found {_shown(line)}"
        )


def _check_hours(path: Path, records: list[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    """The records of 365 days, in order, without 29 February where there is one."""
    leap = any(_hour_of(path, record)[:2] == (2, 29) for record in records[1416:1417])
    calendar = [
        (month, day, hour)
        for month, days in enumerate(DAYS_PER_MONTH, 1)
        for day in range(1, days + 1 + (leap and month == 2))
        for hour in range(1, 25)
    ]
    for record, expected in zip(records, calendar, strict=False):
        found = _hour_of(path, record)
        if found != expected:
            raise WeatherFileError(
                f"{path}, line {record[0]}: expected {_hour_name(expected)}, but found "
                f"{_hour_name(found)}: an hour is missing, repeated or out of order"
            )
    if len(records) < len(calendar):
        raise WeatherFileError(
            f"{path}: holds {len(records)} hours, up to line {records[-1][0] if records else 0}; "
            f"a year has {HOURS_PER_YEAR}, or {HOURS_PER_YEAR + 24} with 29 February, and the next "
            f"would be {_hour_name(calendar[len(records)])}"
        )
    if len(records) > len(calendar):
        raise WeatherFileError(
            f"{path}, line {records[len(calendar)][0]}: a record after the end of the year: "
            f"keep the {len(calendar)} hours of one year"
        )
    return [
        record
        for record, hour in zip(records, calendar, strict=True)
        if not leap or hour[:2] != (2, 29)
    ]


def _hour_of(path: Path, record: tuple[int, list[str]]) -> tuple[int, int, int]:
    """Month, day and hour (1 to 24) of a record."""
    number, cells = record
    try:
        month, day, hour = (int(cell) for cell in cells[_HOUR_COLUMNS])
    except ValueError:
        raise WeatherFileError(
            f"{path}, line {number}: expected year, month, day and hour as integers, "
            f"but found {_shown(','.join(cells))}"
        ) from None
    return month, day, hour


def _hour_name(hour: tuple[int, int, int]) -> str:
    return f"hour {hour[2]} of month {hour[0]}, day {hour[1]}"


def _read_column(
    path: Path, records: list[tuple[int, list[str]]], column: _Column
) -> NDArray[np.float64]:
    """(records,) of a column; NaN only for a dew point that is missing."""
    return np.array([_read_cell(path, number, cells, column) for number, cells in records])


def _read_cell(path: Path, number: int, cells: list[str], column: _Column) -> float:
    where = f"{path}, line {number}: the {column.name} (column {column.index + 1})"
    cell = cells[column.index].strip() if len(cells) > column.index else ""
    try:
        value = float(cell) if cell else column.missing[0]
    except ValueError:
        raise WeatherFileError(f"{where} is {_shown(cell)}: expected a number") from None
    if value in column.missing:
        if column is _DEW_POINT:
            return np.nan
        raise WeatherFileError(
            f"{where} is missing ({cell or 'empty'}): fill it in, for example from the hours "
            "around it, or take a year without gaps"
        )
    if not column.lowest <= value <= column.highest:
        raise WeatherFileError(
            f"{where} is {cell}: expected {column.lowest:g} to {column.highest:g} {column.unit}"
        )
    return value


def _shown(text: str) -> str:
    """A piece of a file, short enough for a line."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
