"""Pictures of a report: scores with red flags, channels around an alarm, a map of clusters.

Colours are those of Okabe & Ito (2008), which colour-blind people tell apart; clusters differ in
their markers and letters as well.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.alarm_map import AlarmMap
from rlkit.autoencoder.anomalies.explanation import ExplainedAlarm, ExplainedSeries
from rlkit.autoencoder.anomalies.optional_packages import needs
from rlkit.autoencoder.anomalies.series import Event

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLUSTER_COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""In the order of clusters; more clusters begin anew."""
_MARKERS = ("o", "s", "^", "D", "v", "P")
_INK, _FAINT, _GRID = "#1d2730", "#8a96a1", "#e3e7ec"
_EVENT = "#f0e442"
_POINTS_PER_INCH = 120
"""Of a curve at most, about two for each column of pixels."""
_WIDTH = 10.0
"""Inches of a picture."""
_SHOWN_CHANNELS = 3
_NUMBERED = 15
"""Flags of a series that are numbered; more would lie on one another."""
_NEAR = 0.035
"""Of a timeline's length, within which labels would touch."""
_LOGARITHMIC = 30.0
"""Times the threshold, above which scores need a logarithmic axis."""
_SETTINGS: Any = {
    "font.size": 9,
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "text.color": _INK,
    "text.parse_math": False,  # a dollar in a channel's name is a dollar
    "xtick.color": "#51606d",
    "ytick.color": "#51606d",
    "svg.fonttype": "none",  # a third of the size that outlines take
    "svg.hashsalt": "rlkit",  # the same report is the same file
}


def cluster_name(cluster: int) -> str:
    """A, B, C and so on; after Z come A1, B1."""
    letter, round_ = chr(ord("A") + cluster % 26), cluster // 26
    return f"{letter}{round_}" if round_ else letter


def cluster_colour(cluster: int | None) -> str:
    """Of a cluster's flags; None is for alarms without clusters."""
    return CLUSTER_COLOURS[(cluster or 0) % len(CLUSTER_COLOURS)]


def time_unit(seconds: float) -> tuple[float, str]:
    """Seconds in the unit that fits a span, and the unit's name."""
    for unit, name in ((86_400.0, "days"), (3_600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2.0 * unit:
            return unit, name
    return 1.0, "seconds"


@contextmanager
def _styled() -> Iterator[None]:
    """What is drawn within looks alike. Raises ImportError without matplotlib."""
    with needs("a report", "matplotlib"):
        import matplotlib
    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        # Who reads the report has other fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


@_styled()
def svg(figure: Figure) -> str:
    """A figure as the text of an SVG file, the same for the same figure."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    # A hundredth of a point is finer than any screen.
    return re.sub(r"\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}", text.getvalue())


@_styled()
def draw_timeline(each: ExplainedSeries, threshold: float) -> Figure:
    """Scores of a series over time, the threshold, a flag for each alarm, known events shaded."""
    series = each.series
    unit, name = time_unit(len(series) * series.step_seconds)
    scale = series.step_seconds / unit
    figure = _figure(2.7)
    axes = figure.add_subplot()
    _shade_events(axes, series.events, scale)
    steps = _thinned(each.scores, 0, len(each.scores), _WIDTH)
    axes.plot(steps * scale, each.scores[steps], color=_INK, linewidth=0.9, label="score")
    axes.axhline(threshold, color=_INK, linewidth=1.0, linestyle=(0, (5, 3)), label="threshold")
    highest = float(each.scores.max())
    if threshold > 0 and each.scores.min() > 0 and highest > _LOGARITHMIC * threshold:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:,g}")
    raised, previous = False, -len(each.scores)
    for number, one in enumerate(each.alarms, start=1):
        # Labels that would lie on one another take turns in two rows.
        near = one.alarm.start - previous < _NEAR * len(each.scores)
        raised, previous = near and not raised, one.alarm.start
        letter = "" if one.cluster is None else cluster_name(one.cluster)
        label = f"{number}{letter}" if len(each.alarms) <= _NUMBERED else ""
        _flag(axes, one, scale, label, raised=raised)
    axes.set_xlim(0, max(len(series), 1) * scale)
    axes.set_xlabel(f"time since the series' beginning ({name})")
    axes.set_ylabel("anomaly score")
    axes.grid(axis="y", color=_GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    _legend(figure, axes)
    return figure


@_styled()
def draw_alarm(
    each: ExplainedSeries, number: int, usual: Mapping[str, tuple[float, float]]
) -> Figure | None:
    """Shares of the channels that made the alarm of that number, from 0, and those that did most
    around it; None where the detector could not tell channels.

    usual: range of channels in normal series, shaded where it is known.
    """
    explained, series = each.alarms[number], each.series
    if not explained.channels:
        return None
    shown = explained.channels[:_SHOWN_CHANNELS]
    alarm = explained.alarm
    around = max(round(0.6 * (alarm.stop - alarm.start)), 24)
    first, last = max(alarm.start - around, 0), min(alarm.stop + around, len(series))
    unit, name = time_unit((last - first) * series.step_seconds)
    scale = series.step_seconds / unit
    figure = _figure(0.75 + 1.05 * len(shown))
    panels: Any = figure.subfigures(1, 2, width_ratios=(1, 1.75))
    _bars(panels[0].add_subplot(), explained)
    rows = panels[1].subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for axes, one in zip(rows, shown, strict=True):
        values = series.values[:, series.channels.index(one.channel)]
        _shade_events(axes, series.events, scale, -alarm.start)
        axes.axvspan(
            *(0.0, (alarm.stop - alarm.start) * scale),
            color=cluster_colour(explained.cluster),
            alpha=0.22,
            linewidth=0,
        )
        if one.channel in usual:
            axes.axhspan(*usual[one.channel], color=_FAINT, alpha=0.2, linewidth=0)
        steps = _thinned(values, first, last, _WIDTH / 2)
        axes.plot((steps - alarm.start) * scale, values[steps], color=_INK, linewidth=0.9)
        axes.set_title(_shown(one.channel, 70), loc="left", fontsize=9, pad=3)
        axes.set_xlim((first - alarm.start) * scale, (last - alarm.start) * scale)
        axes.margins(y=0.12)
        axes.locator_params(axis="y", nbins=4)
        axes.yaxis.set_major_formatter("{x:,.6g}")
    rows[-1].set_xlabel(f"time since the alarm began ({name})")
    return figure


@_styled()
def draw_map(alarm_map: AlarmMap) -> Figure:
    """Alarms by cluster, with the windows that are mapped beside them."""
    dimensions = alarm_map.normal.shape[1]
    figure = _figure(4.4)
    panels = figure.subplots(1, dimensions - 1, squeeze=False)[0]
    cluster_of = alarm_map.clusters[alarm_map.alarm_of]
    for down, axes in enumerate(panels, start=1):
        if len(alarm_map.normal):
            axes.scatter(
                *alarm_map.normal[:, [0, down]].T,
                s=6,
                color=_FAINT,
                alpha=0.45,
                linewidths=0,
                label="normal windows",
                rasterized=True,
            )
        for cluster in range(alarm_map.cluster_count):
            colour, marker = cluster_colour(cluster), _MARKERS[cluster % len(_MARKERS)]
            axes.scatter(
                *alarm_map.alarmed[cluster_of == cluster][:, [0, down]].T,
                s=7,
                color=colour,
                alpha=0.3,
                linewidths=0,
                rasterized=True,
            )
            centres = alarm_map.centres[alarm_map.clusters == cluster]
            axes.scatter(
                *centres[:, [0, down]].T,
                s=60,
                color=colour,
                marker=marker,
                edgecolors="white",
                linewidths=0.9,
                zorder=3,
                label=f"cluster {cluster_name(cluster)}: "
                f"{len(centres)} alarm{'s' if len(centres) > 1 else ''}",
            )
        for place, setter in ((0, axes.set_xlabel), (down, axes.set_ylabel)):
            share = alarm_map.explained[place]
            setter(f"component {place + 1} ({100 * share:.0f} % of the {alarm_map.by}' variance)")
        axes.grid(color=_GRID, linewidth=0.7)
        axes.set_axisbelow(True)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=4, frameon=False)
    return figure


def _figure(height: float) -> Figure:
    """As wide as a page, and so many inches high."""
    from matplotlib.figure import Figure

    return Figure(figsize=(_WIDTH, height), layout="constrained")


def _bars(axes: Axes, explained: ExplainedAlarm) -> None:
    """Shares of channels, the largest on top."""
    shares = explained.channels
    places = np.arange(len(shares))
    percent = [100 * each.share for each in shares]
    axes.barh(places, percent, color=cluster_colour(explained.cluster), height=0.62)
    for place, value in zip(places, percent, strict=True):
        axes.annotate(
            f"{value:.0f} %",
            (value, place),
            textcoords="offset points",
            xytext=(4, 0),
            va="center",
            fontsize=8,
        )
    axes.set_yticks(places, [_shown(each.channel, 25) for each in shares])
    axes.set_ylim(max(len(shares), 3) - 0.4, -0.6)
    axes.set_xlim(0, max(percent) * 1.25)
    axes.set_xlabel("share of the alarm (%)")
    axes.tick_params(axis="y", length=0)


def _shown(name: str, most: int) -> str:
    """A name without what SVG files cannot hold, and of at most so many letters."""
    printable = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name
    )
    if len(printable) <= most:
        return printable
    half = (most - 1) // 2
    return f"{printable[:half]}…{printable[-half:]}"


def _shade_events(axes: Axes, events: Sequence[Event], scale: float, shift: int = 0) -> None:
    """scale: of a step. shift: in steps."""
    for number, event in enumerate(events):
        axes.axvspan(
            *((event.start + shift) * scale, (event.stop + shift) * scale),
            color=_EVENT,
            alpha=0.35,
            linewidth=0,
            label="known event" if number == 0 else None,
        )


def _flag(axes: Axes, one: ExplainedAlarm, scale: float, label: str, *, raised: bool) -> None:
    """A flag on a pole where an alarm begins, and a bar as long as the alarm, above the axes."""
    colour = cluster_colour(one.cluster)
    start, stop = one.alarm.start * scale, one.alarm.stop * scale
    pens: list[tuple[list[float], list[float], dict[str, Any]]] = [
        ([start, start], [0.0, 1.1], {"linewidth": 1.0}),
        ([start, stop], [1.02, 1.02], {"linewidth": 3.5, "solid_capstyle": "butt"}),
        ([start], [1.09], {"marker": ((0, -0.5), (1, 0), (0, 0.5)), "markersize": 9}),
    ]
    across = axes.get_xaxis_transform()
    for x, y, pen in pens:
        axes.plot(x, y, color=colour, transform=across, clip_on=False, **pen)
    axes.annotate(
        label,
        (start, 1.12),
        xycoords=across,
        textcoords="offset points",
        xytext=(0, 12 if raised else 2),
        ha="center",
        fontsize=8,
        color=colour,
        annotation_clip=False,
    )


def _legend(figure: Figure, axes: Axes) -> None:
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper right", ncols=3, frameon=False)


def _thinned(
    values: NDArray[np.float64], first: int, last: int, inches: float
) -> NDArray[np.int64]:
    """Steps of first to last, of many the lowest and highest of each stretch, so that no peak gets
    lost."""
    steps = np.arange(first, last)
    most = round(_POINTS_PER_INCH * inches)
    if len(steps) <= most:
        return steps
    stretches = np.array_split(steps, most // 2)
    missing = np.isnan(values)
    low, high = np.where(missing, np.inf, values), np.where(missing, -np.inf, values)
    extremes = [
        (stretch[0] + low[stretch].argmin(), stretch[0] + high[stretch].argmax())
        for stretch in stretches
    ]
    return np.unique(extremes)
