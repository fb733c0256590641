"""Alarms while rows of a CSV file or of standard input come: a line as each begins and ends."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.reasons import reason_of

if TYPE_CHECKING:
    from rlkit.autoencoder.anomalies.alarm_rule import AlarmRule
    from rlkit.autoencoder.anomalies.detector import Detector

TIME = "time"
"""A column that is told with alarms, unless a channel is called so."""
_MISSING = ("", "nan", "na", "null")


def follow(
    detector: Detector, rule: AlarmRule, channels: Sequence[str], source: Path, *, as_json: bool
) -> None:
    """Print a line when an alarm begins and when it is over, as JSON where wanted.

    channels: in the order in which the fitted detector takes them. source: a CSV file whose first
    row names the columns, in any order; "-" is standard input. Raises Mistake for what does not
    fit.
    """
    from rlkit.autoencoder.anomalies.detector import WindowDetector
    from rlkit.autoencoder.anomalies.online_alarms import AlarmEnded, OnlineAlarms, OnlineReasons

    with blaming_user(ValueError):
        scorer = detector.online()
    alarms = OnlineAlarms(rule)
    reasons = OnlineReasons(detector) if isinstance(detector, WindowDetector) else None
    steps = 0
    with _lines_of(source) as lines:
        for time, sample in _samples(lines, channels, source):
            with blaming_user(ValueError):
                score = scorer.update(sample)
            if reasons is not None:
                reasons.update(sample)
            change = alarms.update(score)
            told: dict[str, Any] = {} if time is None else {"time": time}
            if isinstance(change, AlarmEnded):
                _tell_end(change, told, as_json)
            elif change is not None:
                shares = () if reasons is None else reasons.channels()
                told |= {"alarm": "began", "step": change.step, "score": change.score}
                told |= {"threshold": rule.threshold}
                told |= {"channels": {each.channel: each.share for each in shares}}
                _tell(told, _words(told), as_json)
            steps += 1
    last = alarms.finish()
    if last is not None:
        _tell_end(last, {}, as_json)
    print(f"{steps:,} samples", file=sys.stderr)


@contextmanager
def _lines_of(source: Path) -> Iterator[Iterable[str]]:
    if str(source) == "-":
        yield sys.stdin
        return
    try:
        file = source.open(newline="", encoding="utf-8-sig")
    except OSError as error:
        raise Mistake(f"--online: {source}: cannot be read: {reason_of(error)}") from error
    with file:
        yield file


def _rows(lines: Iterable[str], source: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows, each after the number of its last line."""
    rows = csv.reader(lines)
    try:
        for row in rows:
            yield rows.line_num, row
    except OSError as error:
        raise Mistake(f"--online: {source}: cannot be read: {reason_of(error)}") from error
    except UnicodeDecodeError as error:
        raise Mistake(f"--online: {source}: is no text in UTF-8") from error
    except csv.Error as error:
        raise Mistake(f"--online: line {rows.line_num} of {source}: {error}") from error


def _samples(
    lines: Iterable[str], channels: Sequence[str], source: Path
) -> Iterator[tuple[str | None, NDArray[np.float64]]]:
    """The time of each row, where there is one, and its sample (channels,), NaN where missing."""
    rows = _rows(lines, source)
    _, header = next(rows, (0, []))
    columns = [name.strip() for name in header]
    tells_time = TIME in columns and TIME not in channels
    names = [name for name in columns if name != TIME or not tells_time]
    absent = [name for name in channels if name not in names]
    unknown = [name for name in names if name not in channels]
    if absent or unknown or len(set(columns)) < len(columns):
        raise Mistake(
            f"--online: the first row of {source} does not name the detector's {len(channels)} "
            f"channels, each once: absent {absent or 'none'}, unknown {unknown or 'none'}"
        )
    order = [columns.index(name) for name in channels]
    time = columns.index(TIME) if tells_time else None
    for line, row in rows:
        if not row:
            continue
        if len(row) != len(columns):
            raise Mistake(
                f"--online: line {line} of {source} has {len(row)} values for "
                f"{len(columns)} columns"
            )
        values = [_value(row[place], channels[i], line) for i, place in enumerate(order)]
        yield None if time is None else row[time], np.array(values)


def _value(text: str, channel: str, line: int) -> float:
    text = text.strip()
    if text.lower() in _MISSING:
        return float("nan")
    try:
        return float(text)
    except ValueError as error:
        raise Mistake(
            f"--online: line {line}: {channel} is {text!r}, which is no number"
        ) from error


def _tell_end(ended: Any, told: dict[str, Any], as_json: bool) -> None:
    """ended: an `AlarmEnded`. told: what is known beside it."""
    told |= {"alarm": "ended", "start": ended.start, "stop": ended.stop, "peak": ended.peak}
    words = f"alarm over: steps {ended.start} to {ended.stop - 1}, highest score {ended.peak:.4g}"
    _tell(told, words, as_json)


def _words(told: dict[str, Any]) -> str:
    named = ", ".join(f"{name} {100 * share:.0f} %" for name, share in told["channels"].items())
    return (
        f"ALARM at step {told['step']}: score {told['score']:.4g}, threshold "
        f"{told['threshold']:.4g}{f'; {named}' if named else ''}"
    )


def _tell(told: dict[str, Any], words: str, as_json: bool) -> None:
    # At once, as whoever reads this through a pipe waits for it.
    time = f"{told['time']}  " if "time" in told else ""
    print(json.dumps(told) if as_json else f"{time}{words}", flush=True)
