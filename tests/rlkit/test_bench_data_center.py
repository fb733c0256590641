"""The benchmark of the data centre beside EnergyPlus, on a single day."""

import io
import json
import xml.etree.ElementTree as ElementTree

import pytest
from rich.console import Console

from rlkit.bench import data_center
from rlkit.cli.main import main


@pytest.mark.parametrize(("span", "named"), [({"days": 0}, "days"), ({"first_day": 365}, "first")])
def test_spans_outside_the_year_are_refused(span, named):
    with pytest.raises(ValueError, match=f"{named}.* is .*: it must lie in"):
        data_center.run_benchmark(**span)


def test_a_day_is_compared_timed_drawn_and_shown(tmp_path):
    pytest.importorskip("pyenergyplus")
    plot = tmp_path / "day.svg"
    result = data_center.run_benchmark(
        first_day=190, days=1, speed_seconds=0.1, memory_steps=100_000, plot=plot
    )
    drawn = [element.text for element in ElementTree.parse(plot).iter()]
    assert "10 Jul" in drawn
    assert result["weather"] in next(text for text in drawn if text and "jump" in text)
    json.dumps(result, allow_nan=False)
    rows = {(row["set_points"], row["quantity"]): row for row in result["rows"]}
    total = rows["steady", "total_power"]
    assert 5e5 < total["theirs"] < 1.5e6
    assert abs(total["nmbe"]) < 0.01
    assert rows["steady", "exchanger_heat"]["nmbe"] is None  # too warm outdoors: 0 in both
    speed = result["speed"]
    ratio = speed["plant_1024"] / speed["energyplus"]
    assert result["ratios"]["plant_1024_to_energyplus"] == ratio
    assert speed["plant_1024"] > speed["environment_1024"] > 10 * speed["single_environment"] > 0
    assert result["memory"]["growth_bytes"] < 2**20  # a leaked array of each step takes 0.8 MB
    output = io.StringIO()
    data_center.print_table(result, Console(file=output, width=120))
    assert "hottest inlet temperature" in output.getvalue()


def test_the_command_passes_on_what_to_run(monkeypatch, tmp_path):
    pytest.importorskip("pyenergyplus")
    told = {}

    def measure(**settings):
        told.update(settings)
        return {}

    monkeypatch.setattr(data_center, "run_benchmark", measure)
    arguments = "bench data-center --days 7 --first-day 190 --weather miami --load bursty --json"
    assert main([*arguments.split(), "--plot", str(tmp_path / "week.svg")]) == 0
    del told["on_progress"]
    assert told == {
        "days": 7,
        "first_day": 190,
        "weather": "miami",
        "load": "bursty",
        "plot": tmp_path / "week.svg",
    }


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("data-center --days 0", "days is 0: it must lie in 1..365"),
        ("data-center --days week", "--days"),
        ("data-center --first-day 365", "first_day is 365: it must lie in 0..364"),
        ("data-center --weather Atlantis", "the weather 'Atlantis' fits no file"),
        ("data-center --weather tmy3:Atlantis", "the weather 'Atlantis' fits no file"),
        ("data-center --load nights", "no load 'nights'; there are diurnal"),
        ("data-center --plot missing/week.svg", "--plot: there is no folder missing"),
        ("data-center --plot week.png", "--plot writes SVG"),
        ("data-center --minutes 3", "trains nothing"),
        ("storage --days 7", "--days is only for data-center, and this is storage"),
        ("storage --first_day=7", "--first-day is only for data-center"),
        ("storage --plot week.svg", "--plot is only for data-center"),
    ],
)
def test_what_cannot_be_run_is_refused_in_a_line(
    monkeypatch, tmp_path, capsys, arguments, complaint
):
    pytest.importorskip("pyenergyplus")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data_center, "run_benchmark", lambda **_: pytest.fail("it ran"))
    monkeypatch.setattr("rlkit.bench.storage.run_benchmark", lambda **_: pytest.fail("it ran"))
    assert main(["bench", *arguments.split()]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert complaint in said.err
