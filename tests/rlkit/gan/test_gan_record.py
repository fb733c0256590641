"""`rlkit gan record`: labelled examples of bins and of a plant, and one line for each mistake."""

import json
from pathlib import Path

import numpy as np
import pytest

from rlkit.cli import gan_record
from rlkit.cli.mistakes import Mistake
from rlkit.gan.labelled_rows import read_labelled_rows
from rlkit.observations import read_array

OUTCOMES = ["outcomes", "--attempts", "3", "--tier", "single", "--bins", "1", "--size", "16"]
FAULTS = [
    *("faults", "--faults-of-each", "1", "--normal", "1", "--learnt", "1", "--days", "0.1"),
    *("--windows.samples", "2", "--windows.steps", "2"),
]


def test_attempts_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "outcomes.npz"
    assert gan_record.run([*OUTCOMES, "--output", str(file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    rows = read_labelled_rows(file)
    assert told["examples"] == rows.counts
    assert sum(rows.counts.values()) == 3
    assert told["shape"] == [1, 16, 16]
    assert told["bytes"] == file.stat().st_size
    assert rows.about["height_mm"] == "bytes times 0.6"
    assert rows.about["pixel_mm"] == pytest.approx(3.5)
    # `rlkit gan train` finds pictures and labels by these names.
    assert np.array_equal(read_array(file, "images"), rows.data)


def test_windows_are_written_with_all_kinds_of_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "faults.npz"
    assert gan_record.run([*FAULTS, "--output", str(file)]) == 0
    printed = capsys.readouterr().out
    rows = read_labelled_rows(file)
    assert rows.names == (
        *("normal", "fan_bearing", "fouling"),
        *("refrigerant_leak", "sensor_error", "stuck_valve"),
    )
    assert min(rows.counts.values()) >= 3  # one series of each severity
    assert rows.data.shape[1] == 2 * len(rows.about["channels"])
    assert np.isfinite(rows.data).all()
    assert len(np.unique(rows.groups)) == 1 + 15
    for name, count in rows.counts.items():
        assert any(name in line and f" {count} " in line for line in printed.splitlines())
    assert "16 groups" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["crashes"], "rlkit gan record has no 'crashes'; there are outcomes and faults"),
        ([*OUTCOMES, "--output", "o.csv"], "--output writes NPZ; name a file that ends in .npz"),
        (["outcomes", "--tier", "lunar"], "no tier is called 'lunar'"),
        (["faults", "--learnt", "0"], "learnt must be at least 1, got 0"),
        (["faults", "--normal", "-1"], "normal must be at least 0, got -1"),
        (["faults", "--output", "/nowhere/f.npz"], "--output: there is no folder /nowhere"),
        (["faults", "--days", "0"], "days is 0.0: 0.01 to 364 would fit"),
    ],
)
def test_a_mistake_ends_in_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises(Mistake) as mistake:
        gan_record.run(arguments)
    assert message in str(mistake.value)
    assert "\n" not in str(mistake.value)


def test_help_names_what_can_be_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    assert gan_record.run([]) == gan_record.run(["--help"]) == 0
    printed = capsys.readouterr().out
    assert "rlkit gan record outcomes" in printed
    assert "rlkit gan record faults" in printed
