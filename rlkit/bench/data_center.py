"""The data centre's NumPy plant beside EnergyPlus: how far they differ, and how fast they are.

Both run the same design through the same weather, load and set points, once as a plain controller
would set them and once jumping every four hours. Needs the extra `energyplus`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from rlkit.bench.data_center_plot import ComparedSpan, draw_comparison
from rlkit.bench.data_center_speed import memory_growth_bytes, steps_per_second
from rlkit.run_folder import provenance
from rlkit_envs.data_center.energyplus import comparison
from rlkit_envs.data_center.load_traces import make_load
from rlkit_envs.data_center.presets import chilled_water_hall
from rlkit_envs.data_center.weather import STEPS_PER_DAY, STEPS_PER_YEAR, Weather
from rlkit_envs.data_center.weather_files import tmy3

Report = Callable[[str], None]


def year_of(
    weather: str = "Chicago",
    load: str = "diurnal",
    seed: int = 1,
    first_day: int = 0,
    days: int = 365,
) -> tuple[Weather, NDArray[np.float64]]:
    """Weather and (STEPS_PER_YEAR,) load that `run_benchmark` runs, which takes the same arguments.

    Raises ImportError without the extra `energyplus`, ValueError for an unknown weather or load, or
    a number out of range.
    """
    if not 1 <= days <= 365:
        raise ValueError(f"days is {days}: it must lie in 1..365")
    if not 0 <= first_day <= 364:
        raise ValueError(f"first_day is {first_day}: it must lie in 0..364")
    return tmy3(weather.removeprefix("tmy3:")), make_load(load, seed)


def run_benchmark(
    *,
    weather: str = "Chicago",
    load: str = "diurnal",
    seed: int = 1,
    first_day: int = 0,
    days: int = 365,
    speed_seconds: float = 5.0,
    memory_steps: int = 1_000_000,
    plot: Path | None = None,
    on_progress: Report | None = None,
) -> dict[str, Any]:
    """Compare and time both engines.

    weather: a typical year that the EnergyPlus package carries (`weather_files.tmy3`), with or
    without `tmy3:` before it. load, seed: of `load_traces.make_load`; the seed also draws the set
    points that jump. first_day, days: span of the comparison, from 0 for 1 January.
    speed_seconds: for each speed of ours. memory_steps: after which memory is looked at.
    plot: an SVG file to draw the set points that jump into (`data_center_plot`).

    Returns plain JSON data: where it ran, `rows` with one entry for each quantity and kind of set
    points (means, NMBE and CV(RMSE) of hourly values, root of the mean squared difference), `speed`
    in steps a second (`data_center_speed`), `ratios` of the speeds to EnergyPlus's, and the
    `memory` that `memory_steps` leave behind.
    Raises as `year_of`.
    """
    report = on_progress or (lambda line: None)
    design = chilled_water_hall()
    year, utilisation = year_of(weather, load, seed, first_day, days)
    kinds = {
        "steady": comparison.steady_set_points(year, utilisation),
        "varied": comparison.varied_set_points(year, seed),
    }
    rows: list[dict[str, Any]] = []
    seconds = 0.0
    span = {"first_day": first_day, "days": days}
    for kind, actions in kinds.items():
        report(f"{kind} set points: EnergyPlus, {days} days")
        theirs = comparison.run_energyplus(design, year, utilisation, actions, **span)
        seconds += theirs.seconds
        report(f"{kind} set points: the NumPy plant")
        ours = comparison.run_plant(design, year, utilisation, actions, **span)
        for name, found in comparison.differences(ours, theirs).items():
            row = {"set_points": kind, "quantity": name, **asdict(found)}
            # JSON has no NaN, which shares of a mean of 0 are.
            rows.append({key: None if value != value else value for key, value in row.items()})
        if plot is not None and kind == "varied":
            at = (first_day * STEPS_PER_DAY + np.arange(days * STEPS_PER_DAY)) % STEPS_PER_YEAR
            heading = f"{design.name}, {year.name}, {load} load; set points jump every four hours"
            outdoors = year.dry_bulb_degc[at]
            span_run = ComparedSpan(heading, first_day, outdoors, ours.values, theirs.values)
            plot.write_text(draw_comparison(span_run), encoding="utf-8")
    steps = days * STEPS_PER_DAY * len(kinds)
    report("speed of the plant and of its environments")
    speed = {"energyplus": steps / seconds, **steps_per_second(design, speed_seconds)}
    return {
        **provenance(),
        "design": design.name,
        "weather": year.name,
        "load": load,
        "seed": seed,
        **span,
        "rows": rows,
        "speed": speed,
        "ratios": {
            f"{name}_to_energyplus": rate / speed["energyplus"]
            for name, rate in speed.items()
            if name != "energyplus"
        },
        "memory": {
            "steps": memory_steps,
            "growth_bytes": memory_growth_bytes(design, memory_steps),
        },
    }


def print_table(result: dict[str, Any], console: Console) -> None:
    """Show what `run_benchmark` gave."""
    for kind in dict.fromkeys(row["set_points"] for row in result["rows"]):
        table = Table(
            title=f"{result['design']}, {result['weather']}, {result['days']} days from day "
            f"{result['first_day']}, {kind} set points, hourly"
        )
        table.add_column("quantity")
        for column in ("unit", "ours", "EnergyPlus", "NMBE", "CV(RMSE)", "RMS"):
            table.add_column(column, justify="right")
        for row in result["rows"]:
            if row["set_points"] == kind:
                table.add_row(row["quantity"].replace("_", " "), *_cells(row))
        console.print(table)
    for name, rate in result["speed"].items():
        console.print(f"{name.replace('_', ' ')}: {rate:,.0f} steps/s")
    for name, ratio in result["ratios"].items():
        console.print(f"{name.replace('_', ' ')}: {ratio:.1f}")
    grown = result["memory"]["growth_bytes"]
    if grown is not None:
        steps = result["memory"]["steps"]
        console.print(f"memory grown by in {steps:,} steps: {grown / 2**20:.1f} MiB")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    """Shares of a mean say nothing about degrees Celsius, whose zero is arbitrary."""
    shares = ("", "")
    if row["unit"] != "degC" and row["nmbe"] is not None:
        shares = (f"{100.0 * row['nmbe']:+.2f} %", f"{100.0 * row['cv_rmse']:.2f} %")
    values = (f"{row[name]:,.4g}" for name in ("ours", "theirs"))
    return (row["unit"], *values, *shares, f"{row['rmse']:,.3g}")
