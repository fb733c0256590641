"""Detectors side by side: on a data centre's telemetry, and on series from installed packages.

For each seed the telemetry is recorded anew, and whatever learns starts from other weights. All
detectors see the same: a normal set to learn from, another to set the threshold on, series with
faults to be judged on, and normal ones under weather and controllers that were not there before.
Settings of all detectors were chosen on the telemetry of `TUNING_SEED`, which none of the usual
seeds is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from rich.table import Table

from rlkit.autoencoder.anomalies.affiliation import affiliation
from rlkit.autoencoder.anomalies.alarms import (
    SECONDS_PER_WEEK,
    alarmed,
    alarms_of,
    judge_alarms,
    threshold_for,
)
from rlkit.autoencoder.anomalies.autoencoder_windows import (
    AutoencoderWindows,
    AutoencoderWindowsConfig,
)
from rlkit.autoencoder.anomalies.cusum import CUSUM, CUSUMConfig
from rlkit.autoencoder.anomalies.detector import Detector, WindowDetector, WindowModel
from rlkit.autoencoder.anomalies.division import UNLEARNT_ROLES
from rlkit.autoencoder.anomalies.isolation_forest import (
    IsolationForestConfig,
    IsolationForestWindows,
)
from rlkit.autoencoder.anomalies.matrix_profile import MatrixProfile
from rlkit.autoencoder.anomalies.metrics import auroc, pr_auc
from rlkit.autoencoder.anomalies.pca_windows import PCAWindows, PCAWindowsConfig
from rlkit.autoencoder.anomalies.plant_faults import SEVERITIES
from rlkit.autoencoder.anomalies.pooled_windows import PooledWindows
from rlkit.autoencoder.anomalies.pyod_autoencoder import PyODAutoencoder, PyODAutoencoderConfig
from rlkit.autoencoder.anomalies.real_series import REAL_SERIES, RealSeries, load_real_series
from rlkit.autoencoder.anomalies.series import Series
from rlkit.autoencoder.anomalies.telemetry import Telemetry, record_telemetry
from rlkit.autoencoder.anomalies.telemetry_config import TelemetryConfig
from rlkit.autoencoder.anomalies.vus import vus_pr
from rlkit.autoencoder.anomalies.windows import WindowConfig
from rlkit.benchmark_rows import rows_that_count, settings_digest
from rlkit.run_folder import machine
from rlkit.statistics import mean_interval
from rlkit.torch_threads import torch_threads

Report = Callable[[str], None]

WEEKLY_ALARMS = 1.0
"""False alarms a week for which thresholds are set."""
MERGE_GAP = 12
"""Steps between two alarms that are one; an hour of telemetry."""
TELEMETRY_WINDOW = 24
"""Steps; two hours."""
REAL_WINDOW = 64
"""Steps."""
TUNING_SEED = 0
"""Of the telemetry on which the detectors' settings were chosen."""
_ONLINE_SAMPLES = 300
_LONG = 1_000  # steps, from which on a real series counts among the long ones
# A matrix profile takes minutes for what others do in a second: it gets this much to learn from, to
# set its threshold on and to be judged on, one series of each kind and severity of fault.
_PROFILE_NORMAL, _PROFILE_OTHERS = 2, 4

Make = Callable[[WindowConfig, int], Detector]
"""A detector for windows, and a seed."""


def _windowed(model: Callable[[int], WindowModel]) -> Make:
    return lambda windows, seed: WindowDetector(model(seed), windows=windows)


def _pca_of_means(windows: WindowConfig, seed: int) -> Detector:
    model: WindowModel = PCAWindows(_MAHALANOBIS)
    if windows.length == TELEMETRY_WINDOW:
        model = PooledWindows(model, windows.length)
    return WindowDetector(model, windows=windows)


def _autoencoder(windows: WindowConfig, seed: int) -> Detector:
    """Of telemetry, the means of whole windows; of other series, every sample."""
    if windows.length != TELEMETRY_WINDOW:
        return _of_samples(windows, seed)
    return _coded(windows, latents=8, pool=windows.length, seed=seed)


def _of_samples(windows: WindowConfig, seed: int) -> Detector:
    return _coded(windows, latents=16, pool=1, seed=seed)


def _coded(windows: WindowConfig, *, latents: int, pool: int, seed: int) -> Detector:
    config = AutoencoderWindowsConfig(pool=pool)
    settings = replace(config.autoencoder, latents=latents, seed=seed)
    model = AutoencoderWindows(replace(config, autoencoder=settings))
    return WindowDetector(model, windows=windows)


def _cusum_of_plant(windows: WindowConfig, seed: int) -> Detector:
    """Of telemetry, what weather, load and commands do not explain; of other series, as `CUSUM`."""
    return CUSUM(_OF_PLANT if windows.length == TELEMETRY_WINDOW else _CUSUM)


_CUSUM = CUSUMConfig(slack=1.0)
_OF_PLANT = CUSUMConfig(
    exogenous=(
        "utilisation",
        "economiser_mode",
        "outdoor_dry_bulb_degc",
        "outdoor_wet_bulb_degc",
        "set_supply_air_degc",
        "set_air_flow_ratio",
        "set_chilled_water_degc",
        "set_tower_fan_ratio",
    ),
    lags=12,
)
_MAHALANOBIS = PCAWindowsConfig(score="mahalanobis", explained=0.9999)

DETECTORS: Mapping[str, Make] = {
    "autoencoder": _autoencoder,
    "autoencoder, every sample": _of_samples,
    "PCA": _windowed(lambda _: PCAWindows()),
    "PCA, Mahalanobis": _windowed(lambda _: PCAWindows(_MAHALANOBIS)),
    "PCA, Mahalanobis, of means": _pca_of_means,
    "CUSUM": lambda windows, seed: CUSUM(_CUSUM),
    "CUSUM, of the plant": _cusum_of_plant,
    "PyOD autoencoder": _windowed(lambda seed: PyODAutoencoder(PyODAutoencoderConfig(seed=seed))),
    "isolation forest": _windowed(
        lambda seed: IsolationForestWindows(IsolationForestConfig(seed=seed))
    ),
    "matrix profile": lambda windows, seed: MatrixProfile(windows=windows, normalize=False),
}
"""What is compared. The autoencoder and PCA `of means` see the means of telemetry windows, of real
series every sample."""


@dataclass(frozen=True)
class BenchConfig:
    """What is measured."""

    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    """One telemetry and one start of what learns for each; not `TUNING_SEED`."""
    detectors: tuple[str, ...] = tuple(DETECTORS)
    """Names in `DETECTORS`."""
    telemetry: TelemetryConfig = field(default_factory=TelemetryConfig)
    """What is recorded; its seed is replaced."""
    real: tuple[str, ...] = tuple(REAL_SERIES)
    """Names in `REAL_SERIES`; those whose package is missing are left out."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.detectors if name not in DETECTORS]
        if unknown:
            raise ValueError(f"no detector {', '.join(unknown)}; there are {', '.join(DETECTORS)}")
        if not self.seeds:
            raise ValueError("seeds names none")


def run_benchmark(
    config: BenchConfig,
    *,
    done: Sequence[Mapping[str, Any]] = (),
    on_row: Callable[[Mapping[str, Any]], None] | None = None,
    on_progress: Report | None = None,
) -> dict[str, Any]:
    """Measure every detector with every seed, on one thread.

    done: rows of an earlier, broken-off run, which are not measured again; those of other settings
    do not count. on_row: given each new row as soon as it is there.

    Returns plain JSON data: `machine`, and `rows`, each with `detector`, `seed`, `settings`, a
    digest of what they have in common, and `telemetry` and `real` as `judge_on_telemetry` and
    `judge_on_real_series` give them.
    """
    report = on_progress or (lambda line: None)
    with torch_threads(1):
        real = _real_series(config.real, report)
        common = {
            "windows": (TELEMETRY_WINDOW, REAL_WINDOW),
            "alarms": (WEEKLY_ALARMS, MERGE_GAP),
            "telemetry": asdict(replace(config.telemetry, seed=0)),
            "real": sorted(real),
        }
        settings = settings_digest(common)
        rows = rows_that_count(done, settings, seed=config.seeds, detector=config.detectors)
        measured = {(row["detector"], row["seed"]) for row in rows}
        for seed in config.seeds:
            left = [name for name in config.detectors if (name, seed) not in measured]
            if not left:
                continue
            report(f"seed {seed}: recording telemetry")
            telemetry = record_telemetry(replace(config.telemetry, seed=seed))
            for name in left:
                told = judge_on_telemetry(name, telemetry, seed)
                on_real = judge_on_real_series(name, real, seed)
                row = {
                    "detector": name,
                    "seed": seed,
                    "settings": settings,
                    "telemetry": told,
                    "real": on_real,
                }
                rows.append(row)
                if on_row is not None:
                    on_row(row)
                areas = (_cell(each["vus_pr"], None) for each in (told, on_real))
                report(
                    f"seed {seed}, {name}: VUS-PR on telemetry and real series {', '.join(areas)}"
                )
    return {"machine": machine(), "weekly_alarms": WEEKLY_ALARMS, "rows": rows}


def judge_on_telemetry(name: str, telemetry: Telemetry, seed: int) -> dict[str, Any]:
    """How one detector does on telemetry, scoring as samples come (windows by their end).

    Areas are means over the series with faults, and so is affiliation F1, of alarms as an operator
    sees them: 0 for a series without one. The threshold is that of held-out normal weeks.
    """
    normal, test, most = telemetry.normal, telemetry.test, None
    if name == "matrix profile":
        normal, most = normal[:_PROFILE_NORMAL], _PROFILE_OTHERS
        first = {(each.events[0].kind, each.events[0].severity): each for each in reversed(test)}
        test = tuple(first.values())
    detector = DETECTORS[name](WindowConfig(TELEMETRY_WINDOW), seed)
    begun = time.perf_counter()
    detector.fit(normal)
    fit_seconds = time.perf_counter() - begun
    scored = [(series, detector.decision_function(series)) for series in test]
    step_seconds = test[0].step_seconds
    held_out = [detector.decision_function(each) for each in telemetry.held_out[:most]]
    threshold = threshold_for(
        held_out,
        step_seconds=step_seconds,
        alarms_per_week=WEEKLY_ALARMS,
        merge_gap=MERGE_GAP,
    )
    alarms = judge_alarms(scored, threshold, merge_gap=MERGE_GAP)
    told = {
        **_areas(scored),
        "affiliation_f1": _mean(
            affiliation(series.labels, alarmed(scores, threshold, merge_gap=MERGE_GAP)).f1
            for series, scores in scored
        ),
        "event_recall": alarms.event_recall,
        "false_alarms_per_week": alarms.false_alarms_per_week,
        "by_severity": {
            severity: {
                "recall": summary.recall,
                "median_delay_hours": None
                if summary.median_delay_seconds is None
                else summary.median_delay_seconds / 3600,
            }
            for severity, summary in alarms.by_severity.items()
        },
        "vus_pr_by_kind": _by_kind(scored),
        "fit_seconds": fit_seconds,
        "online_microseconds": _online_microseconds(name, detector, test[0]),
        "series": len(test),
    }
    for role in UNLEARNT_ROLES:
        others = getattr(telemetry, role)[:most]
        told[role] = _hard_negatives(detector, others, threshold)
    return told


def judge_on_real_series(name: str, real: Mapping[str, RealSeries], seed: int) -> dict[str, Any]:
    """VUS-PR of one detector on each real series, looking back (windows by their mean).

    `vus_pr` is the mean over all of them, `vus_pr_of_long` over those of a thousand steps or more:
    in a shorter one, with buffers around its events, noise has almost as much as any detector.
    """
    by_name = {}
    for series_name, series in real.items():
        windows = WindowConfig(REAL_WINDOW, alignment="mean")
        detector = DETECTORS[name](windows, seed).fit([series.normal])
        scores = detector.decision_function(series.test)
        by_name[series_name] = vus_pr(series.test.labels, scores, max_buffer=REAL_WINDOW)
    of_long = [area for name, area in by_name.items() if len(real[name].test) >= _LONG]
    return {
        "vus_pr": _mean(by_name.values()),
        "vus_pr_of_long": _mean(of_long),
        "series": by_name,
    }


def summarise(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Means over seeds, with 95 % intervals by Student's t, a row for each detector."""
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for row in result["rows"]:
        rows.setdefault(row["detector"], []).append(row)
    return [{"detector": name, **_over_seeds(each)} for name, each in rows.items()]


def comparison_table(result: Mapping[str, Any]) -> Table:
    """A table of `summarise`."""
    table = Table(title="Detectors of anomalies: means over seeds, with 95 % intervals")
    table.add_column("detector")
    columns = (
        ("VUS-PR", "vus_pr"),
        ("AUROC", "auroc"),
        ("PR-AUC", "pr_auc"),
        ("faults found", "event_recall"),
        ("medium", "medium_recall"),
        ("false/week", "false_alarms_per_week"),
        ("VUS-PR, real", "real_vus_pr"),
        ("of long", "real_vus_pr_of_long"),
    )
    for title, _ in columns:
        table.add_column(title, justify="right")
    for row in summarise(result):
        cells = (_cell(*row[key]) for _, key in columns)
        table.add_row(row["detector"], *cells)
    return table


def _over_seeds(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    def interval(told: Sequence[float | None]) -> tuple[float | None, float | None]:
        values = [value for value in told if value is not None]
        return mean_interval(values) if values else (None, None)

    on_telemetry = [row["telemetry"] for row in rows]
    told = {
        key: interval([each[key] for each in on_telemetry])
        for key in (
            "vus_pr",
            "auroc",
            "pr_auc",
            "affiliation_f1",
            "event_recall",
            "false_alarms_per_week",
            "fit_seconds",
            "online_microseconds",
        )
    }
    for severity in SEVERITIES:
        told[f"{severity}_recall"] = interval(
            [each["by_severity"][severity]["recall"] for each in on_telemetry]
        )
    for key in ("vus_pr", "vus_pr_of_long"):
        told[f"real_{key}"] = interval([row["real"][key] for row in rows])
    return told


def _vus_pr(labels: np.ndarray, scores: np.ndarray) -> float:
    """With buffers as long as a window of telemetry."""
    return vus_pr(labels, scores, max_buffer=TELEMETRY_WINDOW)


def _areas(scored: Sequence[tuple[Series, np.ndarray]]) -> dict[str, float | None]:
    measures = {"vus_pr": _vus_pr, "auroc": auroc, "pr_auc": pr_auc}
    return {
        name: _mean(measure(series.labels, scores) for series, scores in scored)
        for name, measure in measures.items()
    }


def _by_kind(
    scored: Sequence[tuple[Series, np.ndarray]],
) -> dict[str, dict[str, float | None]]:
    areas: dict[str, dict[str, list[float]]] = {}
    for series, scores in scored:
        event = series.events[0]
        of_kind = areas.setdefault(event.kind, {})
        of_kind.setdefault(event.severity, []).append(_vus_pr(series.labels, scores))
    return {
        kind: {severity: _mean(values) for severity, values in of_kind.items()}
        for kind, of_kind in areas.items()
    }


def _hard_negatives(
    detector: Detector, series: Sequence[Series], threshold: float
) -> dict[str, float | None]:
    """Alarms a week, and the share of the time that scores are above the threshold, where all is
    well."""
    scores = [detector.decision_function(each) for each in series]
    weeks = sum(len(each) * each.step_seconds for each in series) / SECONDS_PER_WEEK
    alarms = sum(len(alarms_of(each, threshold, merge_gap=MERGE_GAP)) for each in scores)
    return {
        "alarms_per_week": alarms / weeks if weeks else None,
        "share_of_time": _mean((each > threshold).mean() for each in scores),
    }


def _online_microseconds(name: str, detector: Detector, series: Series) -> float:
    """Median time of scoring one sample, once a window is full."""
    scorer = detector.online()
    count = TELEMETRY_WINDOW + (9 if name == "matrix profile" else _ONLINE_SAMPLES)
    seconds = []
    for sample in series.values[:count]:
        begun = time.perf_counter()
        scorer.update(sample)
        seconds.append(time.perf_counter() - begun)
    return float(np.median(seconds[TELEMETRY_WINDOW:])) * 1e6


def _real_series(names: Sequence[str], report: Report) -> dict[str, RealSeries]:
    found = {}
    for name in names:
        try:
            found[name] = load_real_series(name)
        except (ImportError, FileNotFoundError) as error:
            report(f"left out {name}: {error}")
    return found


def _mean(values: Any) -> float | None:
    """None of nothing, which JSON can say."""
    listed = [float(value) for value in values]
    return float(np.mean(listed)) if listed else None


def _cell(mean: float | None, half: float | None) -> str:
    if mean is None:
        return "-"
    return f"{mean:.3f}" if half is None else f"{mean:.3f} ± {half:.3f}"
