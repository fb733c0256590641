"""The comparison of detectors: what its rows hold, its intervals, and going on from a part."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlkit.autoencoder.anomalies import bench
from rlkit.autoencoder.anomalies.bench import (
    BenchConfig,
    comparison_table,
    run_benchmark,
    summarise,
)
from rlkit.autoencoder.anomalies.real_series import RealSeries
from rlkit.autoencoder.anomalies.series import Event, Series
from rlkit.autoencoder.anomalies.telemetry import record_telemetry
from rlkit.autoencoder.anomalies.telemetry_config import TelemetryConfig
from rlkit.cli.main import main

SMALL = TelemetryConfig(
    normal=3,
    held_out=2,
    faults_of_each=1,
    unseen_weather=1,
    changed_policy=1,
    days=2.0,
    test_days=3.0,
    onset_days=(1.0, 1.2),
    duration_days=(1.0, 1.2),
    years=1,
)


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    config = BenchConfig((0,), ("PCA", "CUSUM"), telemetry=SMALL, real=())
    return run_benchmark(config)


def test_rows_hold_what_tables_need(result: dict[str, Any]) -> None:
    assert json.loads(json.dumps(result)) == result
    assert [row["detector"] for row in result["rows"]] == ["PCA", "CUSUM"]
    for row in result["rows"]:
        told = row["telemetry"]
        assert told["series"] == 15
        assert set(told["by_severity"]) == {"mild", "medium", "severe"}
        for name in ("vus_pr", "auroc", "pr_auc"):
            assert 0 < told[name] <= 1
        recalls = [severity["recall"] for severity in told["by_severity"].values()]
        assert told["event_recall"] == pytest.approx(np.mean(recalls))
        assert told["vus_pr"] == pytest.approx(
            np.mean([list(kind.values()) for kind in told["vus_pr_by_kind"].values()])
        )
        assert told["online_microseconds"] > 0
        assert row["real"]["vus_pr"] is None


def test_what_is_done_is_not_done_again(result: dict[str, Any], monkeypatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(bench, "record_telemetry", never)
    config = BenchConfig((0,), ("PCA", "CUSUM"), telemetry=SMALL, real=())
    of_other_settings = {**result["rows"][0], "settings": "another"}
    without = {name: value for name, value in result["rows"][0].items() if name != "settings"}
    of_another_seed = {**result["rows"][0], "seed": 7}
    done = [of_other_settings, without, of_another_seed, *result["rows"]]
    again = run_benchmark(config, done=done)
    assert again["rows"] == result["rows"]


def test_other_settings_are_measured_anew(result: dict[str, Any]) -> None:
    shorter = replace(SMALL, test_days=2.5)
    config = BenchConfig((0,), ("PCA",), telemetry=shorter, real=())
    (row,) = run_benchmark(config, done=result["rows"])["rows"]
    assert row["settings"] != result["rows"][0]["settings"]
    assert row["telemetry"]["vus_pr"] != result["rows"][0]["telemetry"]["vus_pr"]


def test_alarms_are_what_an_operator_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector that never alarms has an affiliation of 0, and is not left out of the mean."""
    monkeypatch.setattr(bench, "threshold_for", lambda *_, **__: math.inf)
    telemetry = record_telemetry(SMALL)
    assert bench.judge_on_telemetry("PCA", telemetry, 0)["affiliation_f1"] == 0


def test_a_matrix_profile_is_judged_by_one_fault_of_each_kind_and_severity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quick = {**bench.DETECTORS, "matrix profile": bench.DETECTORS["PCA"]}
    monkeypatch.setattr(bench, "DETECTORS", quick)
    telemetry = record_telemetry(replace(SMALL, faults_of_each=2))
    told = bench.judge_on_telemetry("matrix profile", telemetry, 0)
    assert told["series"] == 15
    by_kind = told["vus_pr_by_kind"].values()
    assert [sorted(kind) for kind in by_kind] == 5 * [["medium", "mild", "severe"]]


def test_short_series_do_not_count_among_the_long() -> None:
    random = np.random.default_rng(0)

    def made(steps: int) -> RealSeries:
        test = Series(random.normal(size=(steps, 1)), ("x",), events=(Event(300, 340),))
        return RealSeries(Series(random.normal(size=(400, 1)), ("x",)), test)

    found = bench.judge_on_real_series("PCA", {"long": made(1_000), "short": made(999)}, 0)
    assert found["vus_pr_of_long"] == found["series"]["long"]
    assert found["vus_pr"] == pytest.approx(np.mean(list(found["series"].values())))


def test_series_that_are_not_there_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> RealSeries:
        raise {"a": ImportError, "b": FileNotFoundError}[name](f"no {name}")

    monkeypatch.setattr(bench, "load_real_series", load)
    lines: list[str] = []
    config = BenchConfig((0,), ("PCA",), telemetry=SMALL, real=("a", "b"))
    (row,) = run_benchmark(config, on_progress=lines.append)["rows"]
    assert lines[:2] == ["left out a: no a", "left out b: no b"]
    assert row["real"]["vus_pr"] is None


def test_settings_were_chosen_on_a_seed_that_is_not_reported() -> None:
    assert bench.TUNING_SEED not in BenchConfig().seeds


def test_intervals_are_students(result: dict[str, Any]) -> None:
    rows = []
    for seed, value in enumerate((0.5, 0.6, 0.7)):
        telemetry = {**result["rows"][0]["telemetry"], "vus_pr": value}
        rows.append({**result["rows"][0], "seed": seed, "telemetry": telemetry})
    (summary,) = summarise({"rows": rows})
    mean, half = summary["vus_pr"]
    assert mean == pytest.approx(0.6)
    # t of 2 degrees of freedom at 97.5 % is 4.303; the standard error is 0.1 / sqrt(3).
    assert half == pytest.approx(4.303 * 0.1 / math.sqrt(3), rel=1e-3)
    assert comparison_table({"rows": rows}).row_count == 1


def test_unknown_detectors_are_refused(tmp_path: Path, capsys) -> None:
    with pytest.raises(ValueError, match="no detector magic; there are autoencoder"):
        BenchConfig(detectors=("magic",))
    with pytest.raises(ValueError, match="seeds"):
        BenchConfig(seeds=())
    assert main(["autoencoder", "bench", "--detectors", "magic"]) == 2
    assert "no detector magic" in capsys.readouterr().err
    assert main(["autoencoder", "bench", "--seeds", "0"]) == 2
    assert "at least 1" in capsys.readouterr().err
    file = tmp_path / "rows.jsonl"
    file.write_text("not JSON\n")
    assert main(["autoencoder", "bench", "--output", str(file)]) == 2
    assert "does not hold measurements" in capsys.readouterr().err
