"""What a detector found in series: alarms with their reasons, and where events are known, how good
it is by ranking, by place in time, and by the alarms that an operator would have seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.affiliation import affiliation
from rlkit.autoencoder.anomalies.alarm_map import AlarmMapConfig
from rlkit.autoencoder.anomalies.alarm_rule import AlarmRule
from rlkit.autoencoder.anomalies.alarms import AlarmReport, alarmed, judge_alarms
from rlkit.autoencoder.anomalies.detector import Detector
from rlkit.autoencoder.anomalies.division import UNLEARNT_ROLES, role_of
from rlkit.autoencoder.anomalies.explanation import (
    ExplainedAlarm,
    ExplainedSeries,
    Explanation,
    explain,
)
from rlkit.autoencoder.anomalies.metrics import auroc, pr_auc
from rlkit.autoencoder.anomalies.plant_faults import SEVERITIES
from rlkit.autoencoder.anomalies.series import Series
from rlkit.autoencoder.anomalies.vus import vus_pr

OnSeries = Callable[[int, int], None]
"""Takes series done and series in all."""


@dataclass(frozen=True)
class Quality:
    """How good scores and alarms are; rankings are means over the series with events."""

    series: int
    """With events, and with steps outside of them."""
    vus_pr: float
    """0 to 1; see `vus`."""
    auroc: float
    """0 to 1."""
    pr_auc: float
    """0 to 1."""
    affiliation_precision: float
    """0 to 1, over series with alarms; NaN without any."""
    affiliation_recall: float
    """0 to 1."""
    alarms: AlarmReport
    """Over all series but those of `elsewhere`, those without events included."""
    elsewhere: dict[str, float]
    """Alarms a week in series that are normal in another way than what was learnt, by their role
    (`division.UNLEARNT_ROLES`): no threshold was set for these."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data; None for what is not defined."""
        report = self.alarms
        told = {
            "series": self.series,
            "vus_pr": self.vus_pr,
            "auroc": self.auroc,
            "pr_auc": self.pr_auc,
            "affiliation_precision": self.affiliation_precision,
            "affiliation_recall": self.affiliation_recall,
            "events": report.events,
            "found": report.found,
            "event_recall": report.event_recall,
            "false_alarms": report.false_alarms,
            "false_alarms_per_week": report.false_alarms_per_week,
            "normal_weeks": report.normal_weeks,
            "false_alarms_per_week_elsewhere": self.elsewhere,
            "by_severity": {
                severity: {
                    "events": each.events,
                    "missed": each.missed,
                    "recall": each.recall,
                    "median_delay_seconds": each.median_delay_seconds,
                }
                for severity, each in report.by_severity.items()
            },
        }
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in told.items()
        }


@dataclass(frozen=True)
class Findings:
    """All that there is to tell."""

    detector: str
    """What it is called."""
    source: str
    """Where the series come from."""
    rule: AlarmRule
    explanation: Explanation
    quality: Quality | None
    """None where no event is known."""

    @property
    def series(self) -> tuple[ExplainedSeries, ...]:
        """In the order in which they were given."""
        return self.explanation.series

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        alarm_map = self.explanation.alarm_map
        return {
            "detector": self.detector,
            "source": self.source,
            "threshold": self.rule.threshold,
            "merge_gap": self.rule.merge_gap,
            "alarms_per_week": self.rule.alarms_per_week,
            "threshold_set_on_weeks": self.rule.normal_weeks,
            "quality": None if self.quality is None else self.quality.to_json(),
            "clusters": None
            if alarm_map is None
            else {
                "by": alarm_map.by,
                "count": alarm_map.cluster_count,
                "silhouette": alarm_map.silhouette,
            },
            "series": [
                {
                    "name": each.series.name,
                    "role": each.series.context.get("role"),
                    "steps": len(each.series),
                    "step_seconds": each.series.step_seconds,
                    "alarms": [_alarm_to_json(alarm) for alarm in each.alarms],
                }
                for each in self.series
            ],
        }


def find_anomalies(
    detector: Detector,
    series: Sequence[Series],
    rule: AlarmRule,
    *,
    name: str,
    source: str,
    normal: Sequence[Series] = (),
    config: AlarmMapConfig | None = None,
    on_series: OnSeries | None = None,
) -> Findings:
    """Score series with a fitted detector, explain its alarms, and judge them by known events.

    name, source: as in `Findings`. normal: series to compare with, as in `explain`. Raises as
    `Detector.decision_function` and `explain`.
    """
    scored: list[tuple[Series, NDArray[np.float64]]] = []
    for each in series:
        scored.append((each, detector.decision_function(each)))
        if on_series is not None:
            on_series(len(scored), len(series))
    explanation = explain(
        detector,
        scored,
        rule.threshold,
        merge_gap=rule.merge_gap,
        normal=normal,
        config=config,
    )
    return Findings(name, source, rule, explanation, judge(explanation, rule))


def judge(explanation: Explanation, rule: AlarmRule) -> Quality | None:
    """How good the scores and alarms of explained series are; None where no event is known.

    Series that are anomalous throughout count for alarms alone, as they cannot be ranked.
    Raises ImportError without scikit-learn, ValueError where times between samples differ.
    """
    if not any(each.series.events for each in explanation.series):
        return None
    rankings: list[tuple[float, float, float, float, float]] = []
    for each in explanation.series:
        labels, scores = each.series.labels, each.scores
        if labels.any() and not labels.all():
            near = affiliation(labels, alarmed(scores, rule.threshold, merge_gap=rule.merge_gap))
            rankings.append(
                (
                    vus_pr(labels, scores),
                    auroc(labels, scores),
                    pr_auc(labels, scores),
                    near.precision,
                    near.recall,
                )
            )
    means = [math.nan] * 5
    if rankings:
        columns = np.array(rankings).T
        means = [
            float(column[~np.isnan(column)].mean()) if not np.isnan(column).all() else math.nan
            for column in columns
        ]
    apart: dict[str, list[tuple[Series, NDArray[np.float64]]]] = {}
    scored: list[tuple[Series, NDArray[np.float64]]] = []
    for each in explanation.series:
        role = role_of(each.series)
        of_role = apart.setdefault(role, []) if role in UNLEARNT_ROLES else scored
        of_role.append((each.series, each.scores))
    report = judge_alarms(scored, rule.threshold, merge_gap=rule.merge_gap)
    ordered = sorted(report.by_severity.items(), key=lambda item: _rank(item[0]))
    elsewhere = {
        role: judge_alarms(others, rule.threshold, merge_gap=rule.merge_gap).false_alarms_per_week
        for role, others in apart.items()
    }
    return Quality(
        len(rankings),
        *means,
        alarms=replace(report, by_severity=dict(ordered)),
        elsewhere=elsewhere,
    )


def _rank(severity: str) -> int:
    """Known severities from mild to severe, others after them as they come."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


def _alarm_to_json(explained: ExplainedAlarm) -> dict[str, Any]:
    event = explained.event
    return {
        "start": explained.alarm.start,
        "stop": explained.alarm.stop,
        "peak": explained.peak,
        "peak_step": explained.peak_step,
        "cluster": explained.cluster,
        "channels": {each.channel: each.share for each in explained.channels},
        "event": None
        if event is None
        else {
            "kind": event.kind,
            "severity": event.severity,
            "delay": explained.alarm.start - event.start,
        },
    }
