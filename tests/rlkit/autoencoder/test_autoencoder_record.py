"""`rlkit autoencoder record`: a file of series by role, and one line for each mistake."""

import json
from pathlib import Path

import pytest

from rlkit.autoencoder.anomalies.series import read_series
from rlkit.autoencoder.anomalies.telemetry import Telemetry
from rlkit.cli import autoencoder_record
from rlkit.cli.mistakes import Mistake

TINY = [
    *("--years", "1", "--normal", "2", "--held-out", "0", "--faults-of-each", "0"),
    *("--unseen-weather", "1", "--changed-policy", "0", "--days", "0.05"),
]
FAULTY = [
    *("--years", "1", "--normal", "0", "--held-out", "0", "--faults-of-each", "1"),
    *("--unseen-weather", "0", "--changed-policy", "0", "--test-days", "0.1"),
    *("--onset-days", "0.02", "0.03", "--duration-days", "0.05", "0.06"),
]


def test_a_file_holds_what_was_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "plant.npz"
    assert autoencoder_record.run(["--output", str(file), *TINY, "--json"]) == 0
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert told["file"] == str(file)
    assert told["bytes"] == file.stat().st_size
    assert told["roles"]["normal"] == {"series": 2, "days": 28 / 288, "faults": 0}
    assert told["roles"]["unseen_weather"]["series"] == 1
    assert told["roles"]["test"]["series"] == 0
    assert told["faults"] == {}
    assert (told["config"]["seed"], told["config"]["years"]) == (0, 1)
    telemetry = Telemetry.from_series(read_series(file))
    assert [len(telemetry.normal), len(telemetry.unseen_weather)] == [2, 1]
    assert list(telemetry.normal[0].channels) == told["channels"]
    assert told["step_seconds"] == telemetry.normal[0].step_seconds == 300.0


def test_a_table_tells_of_roles_and_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "plant.npz"
    assert autoencoder_record.run(["--output", str(file), *FAULTY]) == 0
    printed = capsys.readouterr().out
    rows = {line.split()[1]: line.split()[3::2] for line in printed.splitlines() if "│" in line}
    assert rows["test"][:3] == ["15", "1.51042", "15"]
    assert rows["fan_bearing"] == rows["refrigerant_leak"] == ["1", "1", "1"]
    assert "normal" not in rows
    assert len(read_series(file)) == 15


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "plant.csv"], "--output writes NPZ; name a file that ends in .npz"),
        (["--output", "/nowhere/plant.npz"], "--output: there is no folder /nowhere"),
        (["--climate", "lunar"], "climate holds 'lunar': there are hot_dry"),
        (["--duration-days", "5", "12"], "until day 18, beyond test_days 14"),
        (["--seeds", "1"], "did you mean --seed?"),
        (
            [*TINY, "--normal", "0", "--unseen-weather", "0"],
            "there is nothing to record: every role has 0 series",
        ),
    ],
)
def test_a_mistake_ends_in_one_line(arguments: list[str], message: str):
    with pytest.raises(Mistake) as mistake:
        autoencoder_record.run(arguments)
    assert message in str(mistake.value)
    assert "\n" not in str(mistake.value)
