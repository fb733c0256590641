"""The benchmark of the data centre beside EnergyPlus, on a single day."""

import io
import json

import pytest
from rich.console import Console

from rlkit.bench import data_center


@pytest.mark.parametrize(("span", "named"), [({"days": 0}, "days"), ({"first_day": 365}, "first")])
def test_spans_outside_the_year_are_refused(span, named):
    with pytest.raises(ValueError, match=f"{named}.* is .*: it must lie in"):
        data_center.run_benchmark(**span)


def test_a_day_is_compared_timed_and_shown():
    pytest.importorskip("pyenergyplus")
    result = data_center.run_benchmark(first_day=190, days=1, speed_seconds=0.1)
    json.dumps(result, allow_nan=False)
    rows = {(row["set_points"], row["quantity"]): row for row in result["rows"]}
    total = rows["steady", "total_power"]
    assert 5e5 < total["theirs"] < 1.5e6
    assert abs(total["nmbe"]) < 0.01
    assert rows["steady", "exchanger_heat"]["nmbe"] is None  # too warm outdoors: 0 in both
    speed = result["speed"]
    ratio = speed["plant_1024"] / speed["energyplus"]
    assert result["ratios"]["plant_1024_to_energyplus"] == ratio
    output = io.StringIO()
    data_center.print_table(result, Console(file=output, width=120))
    assert "hottest inlet temperature" in output.getvalue()
