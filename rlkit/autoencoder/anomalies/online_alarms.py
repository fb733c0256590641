"""Alarms while scores come one by one, in constant time and memory, with their channels.

They are those that `alarms_of` finds in the whole row of scores. That an alarm is over is known
only when the gap that the rule bridges has passed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlkit.autoencoder.anomalies.alarm_rule import AlarmRule
from rlkit.autoencoder.anomalies.detector import WindowDetector
from rlkit.autoencoder.anomalies.explanation import ChannelShare, name_channels
from rlkit.autoencoder.anomalies.series import Series


@dataclass(frozen=True)
class AlarmBegan:
    """A score above the threshold, with no alarm on."""

    step: int
    score: float


@dataclass(frozen=True)
class AlarmEnded:
    """An alarm that was on from step start (included) to stop (excluded)."""

    start: int
    stop: int
    peak: float
    """Highest score."""


class OnlineAlarms:
    """Tells when alarms begin and end."""

    def __init__(self, rule: AlarmRule) -> None:
        self._rule = rule
        self._step = -1
        self._start: int | None = None
        self._last_above = -1
        self._peak = 0.0

    def update(self, score: float) -> AlarmBegan | AlarmEnded | None:
        """Take the score of the next step; say what it changes, if anything.

        Raises ValueError for NaN.
        """
        if np.isnan(score):
            raise ValueError(f"the score of step {self._step + 1} is NaN")
        self._step += 1
        if score > self._rule.threshold:
            self._last_above = self._step
            if self._start is not None:
                self._peak = max(self._peak, score)
                return None
            self._start, self._peak = self._step, score
            return AlarmBegan(self._step, score)
        if self._step - self._last_above > self._rule.merge_gap:
            return self.finish()
        return None

    def finish(self) -> AlarmEnded | None:
        """The alarm that is on, now over: also at the end of all samples. None where none is on."""
        if self._start is None:
            return None
        ended = AlarmEnded(self._start, self._last_above + 1, self._peak)
        self._start = None
        return ended


class OnlineReasons:
    """Keeps the last samples, to tell which channels made the newest score.

    Contributions of the newest window need no more than its samples and those that may stand in for
    missing ones at its beginning.
    """

    def __init__(self, detector: WindowDetector) -> None:
        """detector: fitted, with the alignment `end`."""
        self._detector = detector
        windows, hold = detector.windows, detector.fitted.scaling.config.max_hold
        # A multiple of the stride before the window, so that windows end where they did online.
        before = -(-hold // windows.stride) * windows.stride
        self._samples: deque[NDArray[np.float64]] = deque(maxlen=windows.length + before)

    def update(self, sample: NDArray[np.float64]) -> None:
        """Keep one sample, (channels,) in the order of the normal set."""
        self._samples.append(np.array(sample, np.float64))

    def channels(self) -> tuple[ChannelShare, ...]:
        """The channels that did most for the newest score, of a step at which a window ended.

        Empty before the first window, and where the detector cannot tell.
        """
        if len(self._samples) < self._detector.windows.length:
            return ()
        scaling = self._detector.fitted.scaling
        series = Series(np.stack(self._samples), scaling.channels, scaling.step_seconds)
        contributions = self._detector.contributions(series)
        return () if contributions is None else name_channels(contributions[-1], scaling.channels)
