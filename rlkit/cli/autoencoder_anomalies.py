"""`rlkit autoencoder anomalies`: what is outside the norm in series, where, why, and how sure."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import FlagCreatePairsOff, Positional

from rlkit.autoencoder.anomalies.alarm_map import MapKind
from rlkit.autoencoder.anomalies.autoencoder_windows import AutoencoderWindowsConfig
from rlkit.autoencoder.anomalies.cusum import CUSUMConfig
from rlkit.autoencoder.anomalies.pca_windows import PCAWindowsConfig
from rlkit.autoencoder.anomalies.windows import WindowConfig
from rlkit.cli.line_ups import progress_bar
from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.cli.options import check_writable, is_named, parse

if TYPE_CHECKING:
    from rlkit.autoencoder.anomalies.alarm_rule import AlarmRule
    from rlkit.autoencoder.anomalies.detector import Detector
    from rlkit.autoencoder.anomalies.findings import Findings
    from rlkit.autoencoder.anomalies.series import Series

DetectorName = Literal["autoencoder", "pca", "cusum", "isolation-forest", "matrix-profile"]

_SAVED = ("autoencoder", "pca")
_SETTINGS = ("autoencoder", "pca", "cusum")
"""Detectors that have settings under their name."""
_LISTED_ALARMS = 40
_FITTING = ("detector", "false-alarms-per-week", "merge-gap", "held-out", *_SETTINGS)
"""Flags, or groups of them, that decide what a loaded detector has already decided."""


@dataclass(frozen=True)
class AnomaliesOptions:
    """Learn what is normal, set a threshold by the false alarms that are accepted, and find what is
    outside of it. In a file of `rlkit autoencoder record` roles say which series are for what; in
    others, series without events are normal, and the rest is scored."""

    series: Positional[Path | None] = None
    """A file of series (.npz)."""
    detector: DetectorName = "autoencoder"
    """What finds anomalies: autoencoder, pca, cusum, isolation-forest or matrix-profile."""
    false_alarms_per_week: float = 1.0
    """How many are accepted on normal series that were held out; sets the threshold."""
    merge_gap: int = 12
    """Alarms with at most so many steps between them are one."""
    held_out: float = 0.3
    """Share of the normal series that are held out for the threshold, where no role says which:
    the last ones, or the end of a single one."""
    window: WindowConfig = field(default_factory=WindowConfig)
    """How series are cut into windows."""
    autoencoder: AutoencoderWindowsConfig = field(default_factory=AutoencoderWindowsConfig)
    """The autoencoder, where that is the detector."""
    pca: PCAWindowsConfig = field(default_factory=PCAWindowsConfig)
    """Principal components, where they are the detector."""
    cusum: CUSUMConfig = field(default_factory=CUSUMConfig)
    """Cumulative sums, where they are the detector."""
    alike: MapKind = "codes"
    """What clusters of alarms go by: codes, those of the autoencoder's bottleneck, or channels, the
    shares that these have in alarms, by which all others go."""
    report: Path | None = None
    """Write a report there, as one HTML file."""
    save: Path | None = None
    """Keep the fitted autoencoder or pca there, with its threshold; a name in .safetensors."""
    load: Path | None = None
    """Use a detector that was kept so, with its threshold, and fit none; all series are scored that
    have neither the role normal nor held_out."""
    online: Path | None = None
    """Score rows of a CSV file as they come, and print a line when an alarm begins and when it is
    over; - is standard input. The first row names the channels; a column "time" is told with
    alarms, and empty values are missing."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output; with --online one for each line.
    """


def run(arguments: Sequence[str]) -> int:
    """Find anomalies as `arguments` say."""
    options = parse(AnomaliesOptions, arguments, "autoencoder anomalies")
    _check(options, arguments)
    detector, rule, channels, scored, normal = _prepared(options)
    if options.save is not None:
        _save(options, detector, rule, normal)
    if options.online is not None:
        from rlkit.cli.anomalies_online import follow

        follow(detector, rule, channels, options.online, as_json=options.json)
        return 0
    if not scored and options.save is not None and options.report is None:
        told: dict[str, Any] = {"save": str(options.save), "threshold": rule.threshold}
        print(json.dumps(told) if options.json else _kept(options.save, rule))
        return 0
    if not scored:
        raise Mistake(
            f"{options.series}: every series is normal, so there is nothing to score; keep the "
            "detector with --save, to score others with --load"
        )
    findings = _find(options, detector, rule, scored, normal)
    if options.report is not None:
        from rlkit.autoencoder.anomalies.report import write_report

        with blaming_user(ImportError):
            write_report(options.report, findings)
    if options.json:
        files = {
            name: None if path is None else str(path)
            for name, path in (("report", options.report), ("save", options.save))
        }
        print(json.dumps({**findings.to_json(), **files}))
        return 0
    _print(findings)
    if options.save is not None:
        print(_kept(options.save, rule))
    if options.report is not None:
        print(f"{options.report}: the report, {options.report.stat().st_size:,} bytes")
    return 0


def _check(options: AnomaliesOptions, arguments: Sequence[str]) -> None:
    """Raise Mistake for options that do not go together, before the work that takes long."""
    check_writable("--report", options.report, ".html")
    check_writable("--save", options.save, ".safetensors")
    if options.save is not None and options.detector not in _SAVED:
        raise Mistake(f"--save keeps {' or '.join(_SAVED)}, not {options.detector}")
    if options.online is not None and options.report is not None:
        raise Mistake("--online prints alarms as they come; a --report needs a file of series")
    for flag, least in (
        ("--false-alarms-per-week", options.false_alarms_per_week),
        ("--merge-gap", options.merge_gap),
    ):
        if not 0 <= least < math.inf:
            raise Mistake(f"{flag} is {least}: a number from 0 on would fit")
    for group in _SETTINGS:
        given = [each for each in arguments if each.startswith(f"--{group}.")]
        if given and options.load is None and group != options.detector:
            raise Mistake(
                f"{given[0]}: the detector is {options.detector}, which has no such setting"
            )
    if options.detector == "cusum" and any(each.startswith("--window.") for each in arguments):
        raise Mistake("--window: the detector is cusum, which has no windows")
    if options.load is None and options.series is None:
        raise Mistake("name a file of series to learn from, or a detector: --load FILE")
    if options.load is None:
        return
    for argument in arguments:
        flag = argument.removeprefix("--").split("=")[0].replace("_", "-")
        if argument.startswith("--") and flag.split(".")[0] in (*_FITTING, "window"):
            raise Mistake(f"--{flag}: the detector of --load has its own, and learns no more")
    if is_named("--save", arguments):
        raise Mistake("--save would only copy the file of --load")
    if options.series is None and options.online is None:
        raise Mistake("name a file of series to score, or rows with --online FILE")
    if options.series is not None and options.online is not None:
        raise Mistake(f"--load and --online score rows; {options.series} would not be looked at")


Prepared = tuple["Detector", "AlarmRule", tuple[str, ...], "list[Series]", "list[Series]"]


def _prepared(options: AnomaliesOptions) -> Prepared:
    """A fitted detector, when it alarms, its channels, series to score, and normal ones to compare
    with."""
    from rlkit.autoencoder.anomalies.division import NORMAL_ROLES, divide, role_of, with_other_roles
    from rlkit.autoencoder.anomalies.series import read_series

    series = () if options.series is None else read_series(options.series)
    if options.load is not None:
        from rlkit.autoencoder.anomalies.detector_file import load_detector

        saved = load_detector(options.load)
        scored = with_other_roles(series, NORMAL_ROLES)
        normal = [each for each in series if role_of(each) in NORMAL_ROLES]
        channels = saved.detector.fitted.scaling.channels
        return saved.detector, saved.rule, channels, scored, normal
    from rlkit.autoencoder.anomalies.alarm_rule import learn_rule

    with blaming_user(ValueError):
        division = divide(series, options.held_out)
        detector = _make(options)
    first = division.normal[0]
    print(
        f"{options.detector}: learning from {len(division.normal)} normal series, setting the "
        f"threshold on {len(division.held_out)} others",
        file=sys.stderr,
    )
    with blaming_user(ValueError, ArithmeticError, ImportError):
        detector.fit(division.normal)
        rule = learn_rule(
            [detector.decision_function(each) for each in division.held_out],
            step_seconds=first.step_seconds,
            alarms_per_week=options.false_alarms_per_week,
            merge_gap=options.merge_gap,
        )
    return detector, rule, first.channels, list(division.scored), list(division.held_out)


def _make(options: AnomaliesOptions) -> Detector:
    """The detector, before it has learnt. Raises ValueError for windows that do not suit it."""
    from rlkit.autoencoder.anomalies.detector import WindowDetector

    if options.detector == "cusum":
        from rlkit.autoencoder.anomalies.cusum import CUSUM

        return CUSUM(options.cusum)
    if options.detector == "matrix-profile":
        from rlkit.autoencoder.anomalies.matrix_profile import MatrixProfile

        # A shift of a channel is an anomaly, which windows standardised by themselves hide.
        return MatrixProfile(windows=options.window, normalize=False)
    if options.detector == "autoencoder":
        from rlkit.autoencoder.anomalies.autoencoder_windows import AutoencoderWindows

        model = AutoencoderWindows(options.autoencoder)
    elif options.detector == "pca":
        from rlkit.autoencoder.anomalies.pca_windows import PCAWindows

        model = PCAWindows(options.pca)
    else:
        from rlkit.autoencoder.anomalies.isolation_forest import IsolationForestWindows

        model = IsolationForestWindows()
    return WindowDetector(model, windows=options.window)


def _save(
    options: AnomaliesOptions, detector: Detector, rule: AlarmRule, normal: Sequence[Series]
) -> None:
    from rlkit.autoencoder.anomalies.detector import WindowDetector
    from rlkit.autoencoder.anomalies.detector_file import SavedDetector, save_detector

    assert isinstance(detector, WindowDetector)
    assert options.save is not None
    assert options.series is not None
    about = {"series": options.series.name, "held_out": [each.name for each in normal]}
    with blaming_user(ValueError):
        save_detector(options.save, SavedDetector(detector, rule, about))


def _find(
    options: AnomaliesOptions,
    detector: Detector,
    rule: AlarmRule,
    scored: Sequence[Series],
    normal: Sequence[Series],
) -> Findings:
    from rlkit.autoencoder.anomalies.alarm_map import AlarmMapConfig
    from rlkit.autoencoder.anomalies.findings import find_anomalies

    name = options.detector if options.load is None else f"{options.load.name}"
    assert options.series is not None
    with progress_bar("series") as (move, _), blaming_user(ValueError, ImportError):
        return find_anomalies(
            detector,
            scored,
            rule,
            name=name,
            source=options.series.name,
            normal=normal,
            config=AlarmMapConfig(by=options.alike),
            on_series=move,
        )


def _kept(file: Path, rule: AlarmRule) -> str:
    return (
        f"{file}: the detector, {file.stat().st_size:,} bytes, threshold {rule.threshold:.4g}\n"
        f"  use: rlkit autoencoder anomalies SERIES --load {file}"
    )


def _print(findings: Findings) -> None:
    """Alarms, then how good they are."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from rlkit.autoencoder.anomalies.report_plots import cluster_name, time_unit

    def span(seconds: float) -> str:
        unit, name = time_unit(seconds)
        return f"{seconds / unit:.3g} {'min' if name == 'minutes' else name[0]}"

    alarms = [(each, one) for each in findings.series for one in each.alarms]
    clustered = findings.explanation.alarm_map is not None
    table = Table(title=f"{len(alarms)} alarms in {len(findings.series)} series")
    table.add_column("series", overflow="fold")
    for column in ("begins", "lasts"):
        table.add_column(column, justify="right", no_wrap=True)
    if clustered:
        table.add_column("like")
    table.add_column("channels", overflow="fold", min_width=20)
    if findings.quality is not None:
        table.add_column("event", overflow="fold")
    for each, one in alarms[:_LISTED_ALARMS]:
        step = each.series.step_seconds
        row = [
            each.series.name,
            span(one.alarm.start * step),
            span((one.alarm.stop - one.alarm.start) * step),
        ]
        if clustered:
            row.append("" if one.cluster is None else cluster_name(one.cluster))
        row.append("\n".join(f"{100 * of.share:.0f}% {of.channel}" for of in one.channels[:2]))
        if findings.quality is not None:
            row.append("" if one.event is None else f"{one.event.kind} {one.event.severity}")
        # Names come from a file, and may look like rich's markup.
        table.add_row(*map(Text, row))
    console = Console()
    console.print(table)
    if len(alarms) > _LISTED_ALARMS:
        print(f"{len(alarms) - _LISTED_ALARMS} more alarms: --json or --report tells of them")
    rule = findings.rule
    print(
        f"threshold {rule.threshold:.4g}, for at most {rule.alarms_per_week:g} false alarms a week "
        f"on {rule.normal_weeks:.3g} weeks of normal series"
    )
    quality = findings.quality
    if quality is None:
        return
    report = quality.alarms
    judged = Table(title="by severity")
    judged.add_column("severity")
    for column in ("events", "found", "median delay"):
        judged.add_column(column, justify="right")
    for severity, of in report.by_severity.items():
        delay = of.median_delay_seconds
        found = f"{of.events - of.missed}"
        judged.add_row(
            Text(severity or "unknown"), f"{of.events}", found, "" if delay is None else span(delay)
        )
    console.print(judged)
    print(
        f"events found {report.found} of {report.events}, false alarms {report.false_alarms} "
        f"({report.false_alarms_per_week:.3g} a week)\n"
        f"VUS-PR {quality.vus_pr:.3f}, AUROC {quality.auroc:.3f}, PR-AUC {quality.pr_auc:.3f}, "
        f"affiliation precision {quality.affiliation_precision:.3f}, recall "
        f"{quality.affiliation_recall:.3f} (means over {quality.series} series)"
    )
    for role, weekly in quality.elsewhere.items():
        print(f"{role.replace('_', ' ')}: {weekly:.3g} alarms a week, where nothing is wrong")
