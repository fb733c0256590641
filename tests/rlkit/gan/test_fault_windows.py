"""Residuals leave out what other channels foretell, and windows lie where nothing changes."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from rlkit.gan.fault_windows import NORMAL, ChannelResiduals, WindowConfig, fault_windows


@dataclass(frozen=True)
class Stretch:
    start: int
    stop: int
    kind: str


@dataclass(frozen=True)
class Plant:
    values: np.ndarray
    events: tuple[Stretch, ...] = field(default=())


def plant(seed: int, steps: int = 400, *events: Stretch) -> Plant:
    """A load that drives power and heat, each with a noise of 0.1, and a set point."""
    random = np.random.default_rng(seed)
    load = 50.0 + 10.0 * np.sin(np.arange(steps) / 9.0) + random.normal(0.0, 3.0, steps)
    power = 2.0 * load + random.normal(0.0, 0.1, steps)
    heat = 5.0 - load + random.normal(0.0, 0.1, steps)
    return Plant(np.column_stack([load, power, heat, np.full(steps, 27.0)]), events)


def test_residuals_are_what_a_regression_on_the_other_channels_leaves() -> None:
    """Least squares, channel by channel, as an independent reference."""
    random = np.random.default_rng(0)
    values = random.normal(size=(3000, 4)) @ random.normal(size=(4, 4)) + 7.0
    kept = ChannelResiduals.learn([Plant(values)])(values)
    for channel in range(4):
        others = np.column_stack([np.delete(values, channel, axis=1), np.ones(len(values))])
        solution, *_ = np.linalg.lstsq(others, values[:, channel], rcond=None)
        left = values[:, channel] - others @ solution
        # The ridge makes residuals a little smaller and mixes them a little.
        assert np.corrcoef(kept[:, channel], left)[0, 1] > 0.98
        assert 0.85 < kept[:, channel].std() <= 1.02


def test_a_small_fault_shows_where_the_load_would_hide_it() -> None:
    residuals = ChannelResiduals.learn([plant(0, 2000), plant(1, 2000)])
    sound, broken = plant(2).values, plant(2).values.copy()
    broken[:, 1] += 1.0
    deviations = 1.0 / sound[:, 1].std()
    shift = residuals(broken)[:, 1].mean() - residuals(sound)[:, 1].mean()
    assert deviations < 0.1
    assert shift > 1.5
    assert np.abs(residuals(sound)).max() < 10.0
    assert (residuals(broken)[:, 3] == 0.0).all()  # a channel that never moved says nothing


def test_windows_hold_means_of_spans_and_stay_within_their_stretch() -> None:
    fault = Stretch(200, 280, "leak")
    series = [plant(2, 400), plant(3, 400, fault), plant(4, 400, Stretch(40, 100, "drift"))]
    config = WindowConfig(samples=2, steps=5, grown=0.5, most_of_series=3)
    normal = [plant(0), plant(1)]
    rows = fault_windows(normal, series, config, {"world": "toy"})
    assert rows.names == (NORMAL, "drift", "leak")
    # 400, 200 and 40 steps of normal operation hold three windows or more; the second half of
    # the leak holds four and of the drift three, of which three are kept.
    assert rows.counts == {NORMAL: 9, "drift": 3, "leak": 3}
    assert rows.groups.tolist() == [0] * 3 + [1] * 6 + [2] * 6
    assert rows.about == {"world": "toy"}
    assert rows.data.shape == (15, 2 * 4)
    assert rows.data.dtype == np.float32
    residuals = ChannelResiduals.learn(normal)(series[1].values)
    leaks = rows.data[rows.labels == 2]
    for row, begin in zip(leaks, (240, 255, 270), strict=True):
        spans = residuals[begin : begin + 10].reshape(2, 5, 4).mean(1)
        assert np.allclose(row, np.arcsinh(spans).ravel(), atol=1e-5)


def test_nothing_to_learn_from_or_to_cut_is_refused() -> None:
    with pytest.raises(ValueError, match="learnt from normal operation, and there is none"):
        fault_windows([], [plant(0)], WindowConfig())
    with pytest.raises(ValueError, match="no stretch of the series lasts 24 steps"):
        fault_windows([plant(0)], [plant(1, 23)], WindowConfig())
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        WindowConfig(samples=0)
    with pytest.raises(ValueError, match=r"grown must be in \[0, 1\), got 1.0"):
        WindowConfig(grown=1.0)
