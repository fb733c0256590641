"""One HTML file that tells an operator what was found, where, why, and how far to trust it.

It holds its pictures, and needs nothing from elsewhere: no scripts, fonts or links. Series and
alarms beyond what fits are listed, not drawn, and the report says so.
"""

from __future__ import annotations

import base64
import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from rlkit.autoencoder.anomalies.explanation import ExplainedAlarm, ExplainedSeries
from rlkit.autoencoder.anomalies.findings import Findings, Quality
from rlkit.autoencoder.anomalies.report_plots import (
    cluster_colour,
    cluster_name,
    draw_alarm,
    draw_map,
    draw_timeline,
    svg,
    time_unit,
)
from rlkit.whole_files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LISTED_SERIES = 300
"""Rows of the table of series at most."""
_STYLE = """
:root { color-scheme: light }
body { font: 15px/1.5 system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif;
  color: #1d2730; background: #f4f6f8; margin: 0 }
main { max-width: 64rem; margin: 0 auto; padding: 1.5rem 1rem 4rem }
h1 { font-size: 1.7rem; margin: 0 } h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem }
h3 { font-size: 1rem; margin: 1.3rem 0 .3rem }
section, .figures > div { background: #fff; border: 1px solid #dde3e8; border-radius: 10px }
section { padding: .9rem 1.1rem; margin: .8rem 0; overflow-x: auto }
section > h2:first-child { margin-top: 0 }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .7rem;
  margin: 1rem 0 }
.figures > div { padding: .7rem 1rem } .figures b { display: block; font-size: 1.5rem }
.faint, figcaption { color: #51606d; font-size: .88rem } p { margin: .4rem 0 }
table { border-collapse: collapse; font-size: .92rem }
table + table { margin-top: 1.2rem }
caption { text-align: left; color: #51606d; padding-bottom: .3rem }
th, td { text-align: left; padding: .22rem .9rem .22rem 0; border-bottom: 1px solid #e3e7ec;
  vertical-align: top } .n { text-align: right; font-variant-numeric: tabular-nums }
figure { margin: .5rem 0 } img { width: 100%; height: auto; display: block }
.flag { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .35em }
"""


@dataclass(frozen=True)
class ReportConfig:
    """How much is drawn, which decides on the file's size. Raises ValueError for what cannot be."""

    max_series: int = 12
    """Series with alarms that are drawn at most, those with the highest scores; at least 0."""
    max_alarms: int = 3
    """Alarms of each of them that are drawn with their channels, the highest; at least 0."""

    def __post_init__(self) -> None:
        for name in ("max_series", "max_alarms"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")


def write_report(
    path: str | os.PathLike[str], findings: Findings, config: ReportConfig | None = None
) -> None:
    """Write the report into one HTML file; see `report_html`.

    Raises ImportError without matplotlib, OSError where the file cannot be written.
    """
    text = report_html(findings, config)
    with whole_file(Path(path)) as beside:
        beside.write_text(text, encoding="utf-8")


def report_html(findings: Findings, config: ReportConfig | None = None) -> str:
    """The report as text: the same findings give the same one.

    Raises ImportError without matplotlib where there is something to draw.
    """
    config = config or ReportConfig()
    alarmed = [each for each in findings.series if each.alarms]
    worst_first = sorted(alarmed, key=lambda each: -max(one.peak for one in each.alarms))
    shown = worst_first[: config.max_series]
    title = f"Anomalies in {findings.source}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        _summary(findings, len(alarmed)),
        _quality(findings.quality) if findings.quality is not None else "",
        _clusters(findings),
        _listed(findings.series, {id(each): number for number, each in enumerate(shown, 1)}),
        f"<h2>{_count(len(shown), 'series', 'series')} with the highest scores</h2>"
        if len(shown) < len(alarmed)
        else "<h2>Series with alarms</h2>",
        f"<p>Drawn are {len(shown)} of {_count(len(alarmed), 'series', 'series')} with alarms.</p>",
        *(_series(findings, each, number, config) for number, each in enumerate(shown, 1)),
    ]
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            # Nothing is loaded and nothing runs, whatever the names of channels say.
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            "style-src 'unsafe-inline'; img-src data:\">",
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>",
            *parts,
            "</main></body></html>\n",
        )
    )


def _summary(findings: Findings, alarmed: int) -> str:
    rule = findings.rule
    seconds = sum(len(each.series) * each.series.step_seconds for each in findings.series)
    alarms = len(findings.explanation.alarms)
    cards = [
        (str(alarms), "alarms" if alarms != 1 else "alarm"),
        (f"{alarmed} of {len(findings.series)}", "series with alarms"),
        (_duration(seconds), "looked at"),
        (_number(rule.threshold), "threshold of the score"),
    ]
    words = (
        f"Detector: {findings.detector}. The threshold was set so that at most "
        f"{_number(rule.alarms_per_week)} a week are false alarms, on "
        f"{_number(rule.normal_weeks)} weeks of normal operation that the detector had not learnt "
        f"from. Stretches above it with at most {_count(rule.merge_gap, 'step')} between them are "
        "one alarm. Scores are higher where a series is less like normal operation."
    )
    boxes = "".join(f"<div><b>{escape(value)}</b>{escape(name)}</div>" for value, name in cards)
    return f'<div class="figures">{boxes}</div><p>{escape(words)}</p>'


def _quality(quality: Quality) -> str:
    report = quality.alarms
    ranking = _table(
        "How well scores rank what is known to be anomalous above the rest, mean over "
        f"{_count(quality.series, 'series', 'series')}; 1 is best",
        ("measure", "value", "knows nothing at"),
        [
            ("VUS-PR (buffers of 0 to 100 steps)", _number(quality.vus_pr), ""),
            ("AUROC", _number(quality.auroc), "0.5"),
            ("PR-AUC", _number(quality.pr_auc), "the share of anomalous steps"),
            ("affiliation precision of alarms", _number(quality.affiliation_precision), "0.5"),
            ("affiliation recall of alarms", _number(quality.affiliation_recall), "0"),
        ],
        {1},
    )
    severity = _table(
        "Events by severity; delays are of those found",
        ("severity", "events", "found", "median delay"),
        [
            (
                name or "unknown",
                str(each.events),
                f"{each.events - each.missed} ({100 * each.recall:.0f} %)",
                "" if each.median_delay_seconds is None else _duration(each.median_delay_seconds),
            )
            for name, each in report.by_severity.items()
        ],
        {1, 2, 3},
    )
    words = (
        f"Found were {report.found} of {_count(report.events, 'known event')}. Outside of events "
        f"there were {_count(report.false_alarms, 'alarm')} in {_number(report.normal_weeks)} "
        f"weeks, {_number(report.false_alarms_per_week)} a week. An alarm speaks of the event in "
        "which it starts, and of no other."
    )
    words += "".join(
        f" In series of the role {role}, where nothing is wrong and all is new, there were "
        f"{_number(weekly)} a week."
        for role, weekly in quality.elsewhere.items()
    )
    return (
        f"<h2>How far to trust it</h2><section><p>{escape(words)}</p>{severity}{ranking}</section>"
    )


def _clusters(findings: Findings) -> str:
    """The map of alarms, and what alarms of a cluster have in common."""
    alarm_map = findings.explanation.alarm_map
    if alarm_map is None:
        return ""
    rows: list[tuple[str, ...]] = []
    for cluster in range(alarm_map.cluster_count):
        alarms = [one for one in findings.explanation.alarms if one.cluster == cluster]
        found = Counter(_event_name(one, findings.quality is not None) for one in alarms)
        rows.append(
            (
                f"{cluster_name(cluster)}",
                str(len(alarms)),
                ", ".join(f"{name} {100 * share:.0f} %" for name, share in _mean_shares(alarms)),
                ", ".join(f"{name} {count}" for name, count in found.most_common()),
            )
        )
    about = (
        "All alarms are one cluster: they are few, or no division into clusters is clearer than "
        "that of points drawn at random."
        if alarm_map.silhouette is None
        else f"Alarms fall into {alarm_map.cluster_count} clusters by k-means, mean silhouette "
        f"{_number(alarm_map.silhouette)} (1 is best, 0 is none)."
    )
    words = (
        "Each point is a window as the detector's bottleneck codes it, reduced by principal "
        "components; larger marks are the means of alarms. What lies near each other looked alike "
        "to the detector, in the state of the plant more than in what was wrong. "
        if alarm_map.by == "codes"
        else "Each mark is an alarm: the shares that channels have in it, as square roots, reduced "
        "by principal components. What lies near each other was made by the same channels. "
    ) + about
    known = ("starts in",) if findings.quality is not None else ()
    table = _table(
        "Alarms of a cluster, and the channels that made most of them on average",
        ("cluster", "alarms", "channels", *known),
        [row[: 3 + len(known)] for row in rows],
        {1},
        swatches=range(alarm_map.cluster_count),
    )
    picture = _picture(draw_map(alarm_map), "Map of alarms by cluster")
    return (
        f"<h2>Which alarms are alike</h2><section><p>{escape(words)}</p>{picture}{table}</section>"
    )


def _listed(series: Sequence[ExplainedSeries], drawn: dict[int, int]) -> str:
    """All series in a table; drawn: by identity of the series, its number."""
    rows = [
        (
            each.series.name,
            each.series.context.get("role", "").replace("_", " "),
            _duration(len(each.series) * each.series.step_seconds),
            str(len(each.alarms)),
            _number(max((one.peak for one in each.alarms), default=math.nan)),
            ", ".join(_event_words(event.kind, event.severity) for event in each.series.events),
            str(len({one.event for one in each.alarms} - {None})) if each.series.events else "",
            f"series {drawn[id(each)]}" if id(each) in drawn else "",
        )
        for each in sorted(series, key=lambda each: -len(each.alarms))[:_LISTED_SERIES]
    ]
    left = len(series) - len(rows)
    more = f"<p>{left} more series, with fewer alarms, are not listed.</p>" if left else ""
    table = _table(
        "Series, those with most alarms first",
        ("series", "role", "length", "alarms", "peak", "known events", "found", "drawn below"),
        rows,
        {2, 3, 4, 6},
    )
    return f"<h2>All series</h2><section>{table}{more}</section>"


def _series(findings: Findings, each: ExplainedSeries, number: int, config: ReportConfig) -> str:
    known = findings.quality is not None
    timeline = _picture(
        draw_timeline(each, findings.rule.threshold),
        f"Scores of {each.series.name} over time with alarms",
    )
    highest = sorted(range(len(each.alarms)), key=lambda place: -each.alarms[place].peak)
    drawn = sorted(highest[: config.max_alarms])
    context = ", ".join(
        f"{name.replace('_', ' ')}: {value}" for name, value in each.series.context.items()
    )
    flags = (
        "Flags are numbered, with the letter of their cluster; bars at the top are as long as "
        "alarms."
        if findings.explanation.alarm_map is not None
        else "Flags are numbered; bars at the top are as long as alarms."
    )
    parts = [
        f"<section><h2>Series {number}: {escape(each.series.name)}</h2>",
        f'<p class="faint">{escape(context)}</p>' if context else "",
        timeline,
        f'<p class="faint">{escape(flags)}</p>',
    ]
    if len(drawn) < len(each.alarms):
        words = (
            f"The highest {len(drawn)} of {_count(len(each.alarms), 'alarm')} are drawn with their "
            "channels."
        )
        parts.append(f"<p>{escape(words)}</p>")
    for place in drawn:
        parts.append(_alarm(findings, each, place, known))
    return "".join((*parts, "</section>"))


def _alarm(findings: Findings, each: ExplainedSeries, place: int, known: bool) -> str:
    one, seconds = each.alarms[place], each.series.step_seconds
    start, stop = one.alarm.start, one.alarm.stop
    group = "" if one.cluster is None else f", cluster {cluster_name(one.cluster)}"
    words = (
        f"Begins after {_duration(start * seconds)} (step {start}), lasts "
        f"{_duration((stop - start) * seconds)}, highest score {_number(one.peak)} at step "
        f"{one.peak_step}."
    )
    if one.event is not None:
        delay = _duration((start - one.event.start) * seconds)
        words += f" Starts {delay} into a known event: {_event_name(one, known)}."
    elif known:
        words += " Starts outside of known events."
    figure = draw_alarm(each, place, findings.explanation.usual)
    if figure is None:
        drawing = '<p class="faint">This detector cannot tell which channels made it.</p>'
    else:
        shading = "Coloured: the alarm."
        if findings.explanation.usual:
            shading += " Grey: where 98 % of normal samples lie."
        if each.series.events:
            shading += " Yellow: a known event."
        drawing = _picture(figure, f"Channels that made alarm {place + 1}", shading)
    flag = f'<span class="flag" style="background:{cluster_colour(one.cluster)}"></span>'
    return f"<h3>{flag}Alarm {place + 1}{escape(group)}</h3><p>{escape(words)}</p>{drawing}"


def _event_name(one: ExplainedAlarm, known: bool) -> str:
    if one.event is None:
        return "no known event" if known else ""
    return _event_words(one.event.kind, one.event.severity)


def _event_words(kind: str, severity: str) -> str:
    words = kind.replace("_", " ")
    return f"{words} ({severity})" if severity else words


def _mean_shares(alarms: Sequence[ExplainedAlarm]) -> list[tuple[str, float]]:
    """The three channels with most of the mean over alarms, of those that alarms name."""
    sums: dict[str, float] = {}
    for one in alarms:
        for each in one.channels:
            sums[each.channel] = sums.get(each.channel, 0.0) + each.share
    most = sorted(sums, key=lambda name: -sums[name])[:3]
    return [(name, sums[name] / len(alarms)) for name in most]


def _picture(figure: Figure, description: str, caption: str = "") -> str:
    """A figure within the page, apart from other figures' names."""
    data = base64.b64encode(svg(figure).encode()).decode()
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return (
        f'<figure><img alt="{escape(description)}" src="data:image/svg+xml;base64,{data}">{below}'
        "</figure>"
    )


def _table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    numbers: set[int],
    swatches: Sequence[int] = (),
) -> str:
    """numbers: places of columns that hold numbers. swatches: the cluster of each row."""

    def cell(tag: str, place: int, content: str, before: str = "") -> str:
        kind = ' class="n"' if place in numbers else ""
        return f"<{tag}{kind}>{before}{escape(content)}</{tag}>"

    head = "".join(cell("th", place, name) for place, name in enumerate(columns))
    body: list[str] = []
    for number, row in enumerate(rows):
        flag = ""
        if swatches:
            colour = cluster_colour(swatches[number])
            flag = f'<span class="flag" style="background:{colour}"></span>'
        cells = (
            cell("td", place, content, "" if place else flag) for place, content in enumerate(row)
        )
        body.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>"
        f"{''.join(body)}</tbody></table>"
    )


def _duration(seconds: float) -> str:
    """A span in the unit that fits, such as 3.2 hours."""
    unit, name = time_unit(seconds)
    return f"{_number(seconds / unit)} {name}"


def _count(number: int, noun: str, plural: str | None = None) -> str:
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def _number(value: float) -> str:
    """Three digits that count; nothing for what is not defined."""
    if math.isnan(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"
