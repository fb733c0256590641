"""An evaluation of a data centre's controllers as tables for a terminal, one line a controller."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from rlkit.data_center_savings import COMPARISONS

Cell = Callable[[Mapping[str, float]], str]
"""From the counts of a mean year."""

_UNCOUNTED = "*"


def _mwh(*names: str) -> Cell:
    return lambda counts: f"{sum(counts.get(name, 0.0) for name in names) / 1000.0:,.1f}"


def _number(name: str, digits: int) -> Cell:
    return lambda counts: f"{counts[name]:,.{digits}f}" if name in counts else ""


_COOLING: Mapping[str, Cell] = {
    "air fans": _mwh("air_handler_fan_energy"),
    "compressor": _mwh("compressor_energy"),
    "pumps": _mwh("chilled_pump_energy", "condenser_pump_energy"),
    "tower fan": _mwh("tower_fan_energy"),
    "moisture": _mwh("humidifier_energy", "evaporative_pump_energy"),
    "all": _mwh("cooling_energy"),
}
_SITE: Mapping[str, Cell] = {
    "cooling": _mwh("cooling_energy"),
    "power chain": _mwh("power_chain_loss"),
    "all IT": _mwh("it_energy"),
    "server fans": _mwh("server_fan_energy"),
    "total": _mwh("facility_energy"),
    "PUE": _number("pue", 4),
    "PUE, fans as cooling": _number("pue_without_server_fans", 4),
    "WUE kg/kWh": _number("wue", 3),
}
_VIOLATIONS: Mapping[str, Cell] = {
    "h outside recommended": _number("hours_outside_recommended", 2),
    "K h": _number("degree_hours_outside_recommended", 2),
    "h outside allowable": _number("hours_outside_allowable", 2),
    "K h ": _number("degree_hours_outside_allowable", 2),
    "99.9% below degC": _number("hottest_inlet_p999", 1),
}
_WEAR: Mapping[str, Cell] = {
    "highest degC": _number("hottest_inlet", 1),
    "h over 20 K/h": _number("ramp_hours", 1),
    "h over 5 K/h": _number("tape_ramp_hours", 1),
    "supply air K": _number("supply_air_degc_travel", 0),
    "air flow": _number("air_flow_ratio_travel", 0),
    "chilled water K": _number("chilled_water_degc_travel", 0),
    "tower fan": _number("tower_fan_ratio_travel", 0),
    "economiser": _number("economiser_travel", 0),
}


def print_tables(evaluation: Mapping[str, Any], policy: str | None) -> None:
    """Print what `DataCenterEvaluation.to_json` gave on standard output.

    policy: what the agent is, or None without one.
    """
    controllers, years = evaluation["controllers"], evaluation["protocol"]["years"]
    tables = [
        _table("Cooling, MWh, mean of the years", _COOLING, controllers),
        _table("Site, MWh, mean of the years", _SITE, controllers),
        _savings(controllers),
        _table("Hottest inlet, its ramps, and how far actuators moved", _WEAR, controllers),
        _by_year("Cooling, MWh, in each year", years, controllers),
        *_bills(controllers),
    ]
    console = Console()
    least = (sum((column.width or 0) + 3 for column in table.columns) for table in tables)
    console = Console(width=max(console.width, *least))  # a number must never be cut short
    for line in _heading(evaluation["protocol"], policy):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    for table in tables:
        console.print(table)
    for line in _notes(controllers):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _heading(protocol: Mapping[str, Any], policy: str | None) -> list[str]:
    days, first = protocol["days"], protocol["first_day"]
    span = "a year" if days == 365 else f"{days} days from day {first:g} of the year"
    lines = [
        f"{protocol['site']}, {span} in {len(protocol['years'])} climates: weather and load "
        f"of seed {protocol['weather_seed']}, engine {protocol['engine']}"
    ]
    seen = protocol.get("seen_in_training")
    if seen:
        lines.append(f"these are years that the agent was trained on: {', '.join(seen)}")
    return lines if policy is None else [f"agent: {policy}", *lines]


def _table(title: str, cells: Mapping[str, Cell], controllers: Mapping[str, Any]) -> Table:
    rows = [
        [name, *(cell(found["mean_year"]) for cell in cells.values())]
        for name, found in controllers.items()
    ]
    return _laid_out(title, list(cells), rows)


def _laid_out(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], first: str = "controller"
) -> Table:
    """A table whose headings break between words, and whose cells never break."""
    table = Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for number, column in enumerate([first, *columns]):
        longest = max(map(len, [*column.split(), *(row[number] for row in rows)]))
        table.add_column(column, justify="right" if number else "left", width=longest)
    for row in rows:
        table.add_row(*row)
    return table


def _savings(controllers: Mapping[str, Any]) -> Table:
    """Savings, those that do not count marked, beside the violations that decide it."""
    kinds = [(of, against) for of, against in COMPARISONS if against in controllers]
    heads = [f"{of.removesuffix('_energy')} less than {against}" for of, against in kinds]
    rows = []
    for name, found in controllers.items():
        savings = {(saving["of"], saving["against"]): saving for saving in found["savings"]}
        cells = [cell(found["mean_year"]) for cell in _VIOLATIONS.values()]
        rows.append([name, *cells, *(_share(savings.get(kind)) for kind in kinds)])
    title = "Violations at the hottest inlet, and what is saved"
    return _laid_out(title, [*_VIOLATIONS, *heads], rows)


def _share(saving: Mapping[str, Any] | None) -> str:
    if saving is None:
        return ""
    mark = "" if saving["counts"] or saving["ratio"] <= 0.0 else _UNCOUNTED
    return f"{100.0 * saving['ratio']:.1f} %{mark or ' '}"


def _by_year(
    title: str, years: Sequence[Mapping[str, str]], controllers: Mapping[str, Any]
) -> Table:
    rows = [
        [name, *(f"{energy / 1000.0:,.1f}" for energy in found["counts"]["cooling_energy"])]
        for name, found in controllers.items()
    ]
    return _laid_out(title, [year["climate"] for year in years], rows)


def _bills(controllers: Mapping[str, Any]) -> list[Table]:
    """Who was in control of those under supervision, and what it cost, in the mean of the years."""
    columns = ["hours", "MWh", "cost", "h outside recommended", "K h", "takeovers"]
    tables = []
    for name, found in controllers.items():
        years = found["supervision"]
        if years is None:
            continue
        rows = []
        for party in ("agent", "fallback"):
            bills = [year["bills"][party] for year in years]
            taken = [
                sum(i["party"] == party and i["first_step"] > 0 for i in year["intervals"])
                for year in years
            ]
            means = {count: sum(bill[count] for bill in bills) / len(bills) for count in bills[0]}
            rows.append(
                [
                    party,
                    f"{means['hours']:,.1f}",
                    f"{means['energy_kwh'] / 1000.0:,.1f}",
                    f"{means['cost']:,.0f}",
                    f"{means['hours_outside_recommended']:,.1f}",
                    f"{means['degree_hours_outside_recommended']:,.1f}",
                    f"{sum(taken) / len(years):,.1f}",
                ]
            )
        title = f"{name}: the bill of each, mean of the years"
        tables.append(_laid_out(title, columns, rows, first="in control"))
    return tables


def _notes(controllers: Mapping[str, Any]) -> list[str]:
    """Why marked savings do not count."""
    notes = []
    for name, found in controllers.items():
        for saving in found["savings"]:
            if not saving["counts"] and saving["ratio"] > 0.0:
                more = ", ".join(count.replace("_", " ") for count in saving["exceeds"])
                notes.append(f"{_UNCOUNTED} {name}: more than {saving['against']} in {more}")
    return notes
