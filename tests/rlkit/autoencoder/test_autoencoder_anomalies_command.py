"""`rlkit autoencoder anomalies`: from a file of series to alarms, a report and a kept detector."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlkit.autoencoder.anomalies.series import Event, Series, write_series
from rlkit.cli import autoencoder_anomalies
from rlkit.cli.main import main
from rlkit.cli.mistakes import Mistake

CHANNELS = ("flow", "power", "heat")
PCA = ["--detector", "pca", "--window.length", "8", "--merge-gap", "5"]
SMALL = [
    *("--window.length", "8", "--window.max-fit-windows", "300", "--merge-gap", "5"),
    *("--autoencoder.autoencoder.latents", "2", "--autoencoder.autoencoder.hidden-sizes", "8"),
    *("--autoencoder.autoencoder.epochs", "2"),
]


def plant(seed: int, role: str | None, fault: bool = False) -> Series:
    """Three channels that swing together; a fault takes the power away from them for a while."""
    random = np.random.default_rng(seed)
    swing = np.sin(np.arange(300) / 9 + random.uniform(0, 6))[:, None]
    values = swing * [5.0, -2.0, 30.0] + random.normal(size=(300, 3)) * [0.5, 0.2, 3.0] + 50.0
    events: tuple[Event, ...] = ()
    if fault:
        values[150:200, 1] += 8.0
        events = (Event(150, 200, "leak", "severe"),)
    context = {} if role is None else {"role": role}
    # An hour: four series are a week and more.
    return Series(values, CHANNELS, 3600.0, f"{role}-{seed}", events, context)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("series") / "plant.npz"
    roles = ("normal", "normal", "held_out", "held_out", "test", "changed_policy")
    write_series(path, [plant(i, role, fault=role == "test") for i, role in enumerate(roles)])
    return path


def told(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert autoencoder_anomalies.run([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1
    return json.loads(captured.out)


def test_a_fault_is_found_and_reported(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.html"
    found = told([str(file), *PCA, "--report", str(report)], capsys)
    assert [each["name"] for each in found["series"]] == ["test-4", "changed_policy-5"]
    (alarm,) = (one for one in found["series"][0]["alarms"] if one["event"] is not None)
    assert 150 <= alarm["start"] <= 152
    assert next(iter(alarm["channels"])) == "power"
    assert alarm["event"]["delay"] == alarm["start"] - 150
    assert found["quality"]["event_recall"] == 1.0
    assert list(found["quality"]["false_alarms_per_week_elsewhere"]) == ["changed_policy"]
    assert found["quality"]["normal_weeks"] == pytest.approx(250 / 168)  # of the test series alone
    assert found["quality"]["auroc"] > 0.9
    assert found["alarms_per_week"] == 1.0
    assert found["threshold_set_on_weeks"] == pytest.approx(600 / 168)
    assert found["report"] == str(report)
    text = report.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "test-4" in text
    assert "plant.npz" in text


def test_a_table_tells_of_alarms_and_how_good_they_are(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert autoencoder_anomalies.run([str(file), *PCA]) == 0
    captured = capsys.readouterr()
    rows = [line for line in captured.out.splitlines() if "│ test-4" in line]
    assert any("leak" in row and "power" in row and "6.2" in row for row in rows)  # days
    assert "events found 1 of 1" in captured.out
    assert "VUS-PR" in captured.out
    assert "learning from 2 normal series, setting the threshold on 2 others" in captured.err


def test_a_kept_autoencoder_finds_the_same_as_before(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "detector.safetensors"
    before = told([str(file), *SMALL, "--save", str(kept)], capsys)
    after = told([str(file), "--load", str(kept), "--alike", "channels"], capsys)
    assert before["save"] == str(kept)
    assert [each["clusters"]["by"] for each in (before, after)] == ["codes", "channels"]
    assert after["detector"] == "detector.safetensors"
    assert after["threshold"] == before["threshold"]
    for each, other in zip(before["series"], after["series"], strict=True):
        without_clusters = [
            [{**alarm, "cluster": None} for alarm in some["alarms"]] for some in (each, other)
        ]
        assert without_clusters[0] == without_clusters[1]


@pytest.mark.parametrize("detector", ["cusum", "isolation-forest"])
def test_other_detectors_find_it_as_well(
    detector: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    windows = [] if detector == "cusum" else ["--window.length", "8"]
    found = told([str(file), "--detector", detector, *windows], capsys)
    assert found["detector"] == detector
    assert found["quality"]["auroc"] > 0.7


def test_normal_series_alone_make_a_detector(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, kept = tmp_path / "normal.npz", tmp_path / "detector.safetensors"
    write_series(file, [plant(1, None), plant(2, None)])
    with pytest.raises(Mistake, match=r"every series is normal, .* keep the detector with --save"):
        autoencoder_anomalies.run([str(file), *PCA])
    assert autoencoder_anomalies.run([str(file), *PCA, "--save", str(kept)]) == 0
    assert f"use: rlkit autoencoder anomalies SERIES --load {kept}" in capsys.readouterr().out
    others = tmp_path / "others.npz"
    write_series(others, [plant(3, None), replace(plant(4, None, fault=True), events=())])
    found = told([str(others), "--load", str(kept)], capsys)
    assert found["quality"] is None
    starts = [[alarm["start"] for alarm in each["alarms"]] for each in found["series"]]
    at_the_fault = [any(150 <= start <= 152 for start in some) for some in starts]
    assert at_the_fault == [False, True]


def rows_of(series: Series, order: Sequence[int], *, time: bool) -> str:
    lines = [",".join([*(["time"] if time else []), *(series.channels[i] for i in order)])]
    for step, sample in enumerate(series.values):
        cells = ["" if step == 20 else f"{sample[i]}" for i in order]
        lines.append(",".join([*([f"hour {step}"] if time else []), *cells]))
    return "\n".join(lines) + "\n"


def test_rows_that_come_in_raise_the_alarms_of_the_whole(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "detector.safetensors"
    whole = told([str(file), *PCA, "--save", str(kept)], capsys)
    alarms = whole["series"][0]["alarms"]
    series = plant(4, "test", fault=True)
    monkeypatch.setattr("sys.stdin", io.StringIO(rows_of(series, (2, 0, 1), time=True)))
    arguments = ["--load", str(kept), "--online", "-"]
    assert autoencoder_anomalies.run([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert captured.err == "300 samples\n"
    began = [line for line in lines if line["alarm"] == "began"]
    ended = [line for line in lines if line["alarm"] == "ended"]
    assert [line["step"] for line in began] == [alarm["start"] for alarm in alarms]
    assert [line["stop"] for line in ended] == [alarm["stop"] for alarm in alarms]
    np.testing.assert_allclose(
        [line["peak"] for line in ended], [alarm["peak"] for alarm in alarms], rtol=1e-5
    )
    leak = next(line for line in began if line["step"] >= 150)
    assert leak["time"] == f"hour {leak['step']}"
    assert next(iter(leak["channels"])) == "power"


def test_a_fitted_detector_watches_a_file_in_plain_words(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data.csv"
    data.write_text(rows_of(plant(4, "test", fault=True), (0, 1, 2), time=False))
    arguments = [str(file), "--detector", "cusum", "--merge-gap", "5", "--online", str(data)]
    assert autoencoder_anomalies.run(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("ALARM at step 15") for line in lines)
    assert any(line.startswith("alarm over: steps 15") for line in lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flow,power\n1,2\n", "absent ['heat'], unknown none"),
        ("flow,power,heat,speed\n", "absent none, unknown ['speed']"),
        ("flow,power,heat,heat\n", "does not name the detector's 3 channels, each once"),
        ("", "absent ['flow', 'power', 'heat']"),
        ("flow,power,heat\n1,2,3\n1,2\n", "line 3 of"),
        ("flow,power,heat\n1,2,warm\n", "line 2: heat is 'warm', which is no number"),
        ("flow,power,heat\n1,inf,3\n", "infinite value in channel 'power'"),
        (f"flow,power,heat\n1,2,{'3' * 140_000}\n", "line 2 of"),
    ],
)
def test_rows_that_do_not_fit_are_told(file: Path, tmp_path: Path, text: str, message: str) -> None:
    data = tmp_path / "data.csv"
    data.write_text(text)
    with pytest.raises(Mistake) as mistake:
        autoencoder_anomalies.run([str(file), *PCA, "--online", str(data)])
    assert message in str(mistake.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a file of series to learn from, or a detector: --load FILE"),
        (["FILE", "--report", "report.pdf"], "--report writes HTML"),
        (["FILE", "--save", "/nowhere/d.safetensors"], "--save: there is no folder /nowhere"),
        (["FILE", "--detector", "cusum", "--save", "d.safetensors"], "--save keeps autoencoder or"),
        (["FILE", "--online", "-", "--report", "r.html"], "--online prints alarms as they come"),
        (["FILE", "--load", "d.safetensors", "--window.length", "9"], "--window.length: the dete"),
        (["FILE", "--load", "d.safetensors", "--detector=pca"], "--detector: the detector of"),
        (["FILE", "--load", "d.safetensors", "--save", "e.safetensors"], "--save would only copy"),
        (["--load", "d.safetensors"], "name a file of series to score, or rows with --online"),
        (["FILE", "--load", "d.safetensors", "--online", "-"], "would not be looked at"),
        (["FILE", "--false-alarms-per-week", "-1"], "--false-alarms-per-week is -1.0"),
        (["FILE", *PCA, "--held-out", "2"], "held_out is a share above 0 and below 1, got 2.0"),
        (
            ["FILE", *PCA, "--window.length", "900"],
            "series 'normal-0': a window of 900 steps is longer than",
        ),
        (["FILE", *PCA, "--autoencoder.pool", "2"], "--autoencoder.pool: the detector is pca"),
        (["FILE", "--cusum.slack", "2"], "--cusum.slack: the detector is autoencoder"),
        (["FILE", "--detector", "cusum", "--window.length", "9"], "cusum, which has no windows"),
        (["FILE", "--window.length", "0"], "a window needs at least one step, got 0"),
        (["FILE", "--autoencoder.pool", "7"], "windows of 64 steps cannot be pooled by 7"),
        (["FILE", *PCA, "--window.alignment", "mean", "--online", "-"], "only the alignment 'end'"),
        (["FILE", "--load", "FILE"], "damaged, or not a detector file"),
        (["nowhere.npz"], "nowhere.npz: cannot be read"),
        (["FILE", *PCA, "--online", "nowhere.csv"], "nowhere.csv: cannot be read: No such file"),
    ],
)
def test_a_mistake_ends_in_one_line(
    arguments: list[str], message: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(file) if argument == "FILE" else argument for argument in arguments]
    assert main(["autoencoder", "anomalies", *given]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    line = captured.err.splitlines()[-1]
    assert line.startswith("rlkit: ")
    assert message in line
