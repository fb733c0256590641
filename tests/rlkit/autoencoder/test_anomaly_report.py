"""Findings worked out by hand, and the report: one file that stands alone, whatever names hold."""

from __future__ import annotations

import base64
import json
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Self

import numpy as np
import pytest
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.affiliation import affiliation
from rlkit.autoencoder.anomalies.alarm_map import AlarmMapConfig
from rlkit.autoencoder.anomalies.alarm_rule import AlarmRule
from rlkit.autoencoder.anomalies.detector import WindowDetector, WindowModel
from rlkit.autoencoder.anomalies.findings import Findings, find_anomalies
from rlkit.autoencoder.anomalies.metrics import auroc, pr_auc
from rlkit.autoencoder.anomalies.report import ReportConfig, report_html, write_report
from rlkit.autoencoder.anomalies.report_plots import (
    CLUSTER_COLOURS,
    cluster_name,
    draw_timeline,
    svg,
    time_unit,
)
from rlkit.autoencoder.anomalies.series import Event, Series
from rlkit.autoencoder.anomalies.vus import vus_pr
from rlkit.autoencoder.anomalies.windows import WindowConfig

RULE = AlarmRule(threshold=8.0, merge_gap=5, alarms_per_week=1.0, normal_weeks=2.0)
HOSTILE = "<script>alert('&\"')</script>$\\frac{$ \x07 <img src=x onerror=1>"
CHANNELS = (HOSTILE, "power_w", "ünïcode 中")
IMAGE = re.compile(r'src="data:image/svg\+xml;base64,([^"]+)"')


class LastSample:
    """A window model that codes a window as its last sample, and scores by its square."""

    def fit(self, windows: NDArray[np.float64]) -> Self:
        return self

    def score_windows(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.square(windows[:, -1]).mean(axis=1)

    def residuals(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
        residuals = np.zeros(windows.shape)
        residuals[:, -1] = windows[:, -1] * np.sqrt(windows.shape[1])
        return residuals

    def codes(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
        return windows[:, -1]


class Unexplained:
    """One that cannot tell channels, and has no bottleneck."""

    def fit(self, windows: NDArray[np.float64]) -> Self:
        return self

    def score_windows(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.square(windows[:, -1]).mean(axis=1)

    def residuals(self, windows: NDArray[np.float64]) -> None:
        return None


def plant(seed: int, *faults: tuple[int, int, int], known: bool = True) -> Series:
    """Noise, an hour and a half of it; faults: start, stop and channel of large departures."""
    values = np.random.default_rng(seed).normal(size=(160, 3))
    for start, stop, channel in faults:
        values[start:stop, channel] += 12.0
    events = tuple(
        Event(start, stop, f"fault <{channel}>", ("severe", "mild", "")[channel])
        for start, stop, channel in faults
        if known
    )
    return Series(values, CHANNELS, 33.75, f"plant <{seed}>", events, {"role": "<b>test</b>"})


def findings(
    *series: Series,
    model: Callable[[], WindowModel] = LastSample,
    config: AlarmMapConfig | None = None,
) -> Findings:
    detector = WindowDetector(model(), windows=WindowConfig(4)).fit([plant(0)])
    return find_anomalies(
        *(detector, series, RULE),
        name="detector & co",
        source="<plant>.npz",
        normal=[plant(100)],
        config=config or AlarmMapConfig(references=2),
    )


@pytest.fixture(scope="module")
def found() -> Findings:
    return findings(
        plant(1, (30, 40, 0), (70, 80, 0), (120, 130, 0)),
        plant(2),
        plant(3, (30, 40, 2), (70, 80, 2)),
        plant(4, (50, 60, 2), known=False),
    )


@pytest.fixture(scope="module")
def page(found: Findings) -> str:
    return report_html(found)


class Page(HTMLParser):
    """Elements and words; every element that needs one has its end."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def words_of(page: str) -> str:
    return " ".join(Page(page).words)


def test_quality_is_the_mean_of_what_series_have(found: Findings) -> None:
    quality = found.quality
    assert quality is not None
    with_events = [each for each in found.series if each.series.events]
    assert quality.series == len(with_events) == 2
    for name, metric in (("vus_pr", vus_pr), ("auroc", auroc), ("pr_auc", pr_auc)):
        values = [metric(each.series.labels, each.scores) for each in with_events]
        assert getattr(quality, name) == pytest.approx(np.mean(values))
    near = [affiliation(each.series.labels, each.scores > 8.0) for each in with_events]
    assert quality.affiliation_recall == pytest.approx(
        np.mean([each.recall for each in near]), abs=0.02
    )
    assert (quality.alarms.events, quality.alarms.found) == (5, 5)
    assert quality.alarms.false_alarms == 1
    assert list(quality.alarms.by_severity) == ["severe", ""]


def test_severities_come_from_mild_to_severe() -> None:
    both = findings(plant(1, (30, 40, 0)), plant(2, (30, 40, 2)), plant(3, (60, 70, 1)))
    assert both.quality is not None
    assert list(both.quality.alarms.by_severity) == ["mild", "severe", ""]


def test_findings_become_plain_json(found: Findings) -> None:
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert (told["threshold"], told["merge_gap"], told["alarms_per_week"]) == (8.0, 5, 1.0)
    assert [len(each["alarms"]) for each in told["series"]] == [3, 0, 2, 1]
    first = told["series"][0]["alarms"][0]
    assert 30 <= first["start"] < 32
    assert first["event"] == {
        "kind": "fault <0>",
        "severity": "severe",
        "delay": first["start"] - 30,
    }
    assert next(iter(first["channels"])) == HOSTILE
    assert told["series"][3]["alarms"][0]["event"] is None
    assert told["clusters"]["count"] == 2
    silent = findings(plant(5))
    assert silent.quality is None
    assert silent.to_json()["clusters"] is None


def test_what_is_not_defined_is_none() -> None:
    series = plant(7)
    quiet = findings(replace(series, events=(Event(100, 110),)))
    assert quiet.quality is not None
    assert math.isnan(quiet.quality.affiliation_precision)
    told = quiet.to_json()["quality"]
    assert told["affiliation_precision"] is None
    assert told["by_severity"][""]["median_delay_seconds"] is None
    throughout = findings(replace(series, events=(Event(0, 160),)))
    assert throughout.quality is not None
    assert throughout.quality.series == 0
    assert throughout.to_json()["quality"]["vus_pr"] is None
    assert report_html(throughout)


def test_the_page_stands_alone_and_runs_nothing(page: str) -> None:
    parsed = Page(page)
    tags = {tag for tag, _ in parsed.elements}
    assert not tags & {"script", "link", "iframe", "object", "embed", "a", "base", "form"}
    for tag, attributes in parsed.elements:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href"):
                assert tag == "img"
                assert str(value).startswith("data:image/svg+xml;base64,")
    assert "url(" not in page
    assert "@import" not in page
    policy = [each["content"] for _, each in parsed.elements if "http-equiv" in each]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_names_from_a_file_are_words_and_no_elements(page: str) -> None:
    parsed = Page(page)
    tags = {tag for tag, _ in parsed.elements}
    assert not tags & {"plant", "b2", "0", "2"}
    words = " ".join(parsed.words)
    for name in ("plant <1>", "<plant>.npz", "detector & co", "fault <0>", "<b>test</b>"):
        assert name in words


def test_pictures_are_sound_and_hold_names_as_they_are(page: str) -> None:
    pictures = [base64.b64decode(found).decode() for found in IMAGE.findall(page)]
    assert len(pictures) == 1 + 3 + 3 + 2 + 1  # codes, timelines, alarms of each series
    texts = ""
    for picture in pictures:
        root = ElementTree.fromstring(picture)
        for element in root.iter():
            assert not element.tag.endswith("script")
            for name, value in element.attrib.items():
                if name.endswith("href"):
                    assert value.startswith(("#", "data:image/png;base64,"))
        texts += " ".join(root.itertext())
    assert HOSTILE.replace("\x07", "\N{REPLACEMENT CHARACTER}") in texts
    assert "ünïcode 中" in texts
    assert "<script>aler…x onerror=1>" in texts  # beside its bar, where room is short


def test_flags_have_the_colour_of_their_cluster(found: Findings) -> None:
    clusters = [[one.cluster for one in each.alarms] for each in found.series]
    assert clusters == [[0, 0, 0], [], [1, 1], [1]] or clusters == [[1, 1, 1], [], [0, 0], [0]]
    for each in found.series:
        picture = svg(draw_timeline(each, 8.0))
        shown = {colour for colour in CLUSTER_COLOURS if colour in picture}
        assert shown == {CLUSTER_COLOURS[one.cluster or 0] for one in each.alarms}
        labels = re.findall(r">(\d+[AB])</text>", picture)
        assert labels == [
            f"{number}{cluster_name(one.cluster or 0)}"
            for number, one in enumerate(each.alarms, start=1)
        ]


def test_the_same_findings_give_the_same_file(found: Findings, page: str, tmp_path: Path) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    write_report(tmp_path / "report.html", found)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page
    assert dict(matplotlib.rcParams) == before  # of whoever draws beside


def test_the_summary_counts(page: str) -> None:
    words = words_of(page)
    assert "6 alarms" in words
    assert "3 of 4 series with alarms" in words
    assert "Found were 5 of 5 known events. Outside of events there were 1 alarm in" in words
    assert "at most 1 a week are false alarms, on 2 weeks of normal operation" in words
    assert "Starts outside of known events." in words


def test_what_is_not_drawn_is_told(found: Findings) -> None:
    page = report_html(found, ReportConfig(max_series=1, max_alarms=0))
    words = words_of(page)
    assert "Drawn are 1 of 3 series with alarms." in words
    assert "The highest 0 of 1 alarm are drawn with their channels." in words
    assert len(IMAGE.findall(page)) == 1 + 1
    worst = max(found.series, key=lambda each: max((one.peak for one in each.alarms), default=0))
    assert f"Series 1: {worst.series.name}" in words


def test_many_and_long_series_stay_a_few_megabytes() -> None:
    random = np.random.default_rng(0)
    long = []
    for number in range(14):
        values = random.normal(size=(6_000, 3))
        for start in range(100, 6_000, 400):
            values[start : start + 60, number % 3] += 12.0
        long.append(Series(values, ("a", "b", "c"), 300.0, f"long {number}"))
    detector = WindowDetector(LastSample(), windows=WindowConfig(4)).fit([long[0]])
    found = find_anomalies(
        *(detector, long, replace(RULE, threshold=20.0)),
        name="d",
        source="s",
        config=AlarmMapConfig(references=0, max_clusters=3, windows_per_alarm=20),
    )
    page = report_html(found, ReportConfig(max_series=3, max_alarms=1))
    alarms, others = len(IMAGE.findall(page)), len(page)
    assert alarms == 1 + 3 + 3
    # Twelve series with three alarms each, as by default, are at most six times as much.
    assert others * 6 < 6_000_000


def test_without_channels_or_events_the_page_says_so() -> None:
    page = report_html(findings(plant(1, (30, 40, 0), known=False), model=Unexplained))
    words = words_of(page)
    assert "This detector cannot tell which channels made it." in words
    assert "known event" not in words.replace("known events", "")
    assert "How far to trust it" not in words


def test_nothing_found_is_a_page_too() -> None:
    page = report_html(findings(plant(5)))
    assert IMAGE.findall(page) == []
    assert "0 of 1 series with alarms" in words_of(page)


def test_high_scores_are_drawn_on_a_logarithmic_axis(found: Findings) -> None:
    each = found.series[0]
    assert draw_timeline(each, 8.0).axes[0].get_yscale() == "linear"
    positive = replace(each, scores=each.scores + 1e-3)
    assert draw_timeline(positive, 0.5).axes[0].get_yscale() == "log"


def test_spans_are_told_in_the_unit_that_fits() -> None:
    assert [time_unit(seconds)[1] for seconds in (90, 120, 7_199, 7_200, 172_800)] == [
        "seconds",
        "minutes",
        "minutes",
        "hours",
        "days",
    ]


def test_clusters_have_letters() -> None:
    assert [cluster_name(number) for number in (0, 25, 26)] == ["A", "Z", "A1"]


@pytest.mark.parametrize("name", ["max_series", "max_alarms"])
def test_a_negative_number_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 0, got -1"):
        ReportConfig(**{name: -1})


def test_without_matplotlib_one_line_tells_what_to_install(
    found: Findings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"a report needs matplotlib .*'.\[anomalies\]'"):
        write_report(tmp_path / "report.html", found)
    assert not (tmp_path / "report.html").exists()
