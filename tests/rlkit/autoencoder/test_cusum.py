"""Cumulative sums of residuals, worked out by hand and by a slow reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from rlkit.autoencoder.anomalies.cusum import CUSUM, CUSUMConfig
from rlkit.autoencoder.anomalies.series import Series


def one(*values: float) -> Series:
    return Series(np.array(values, np.float64)[:, None], ("a",))


def test_sums_worked_out_by_hand() -> None:
    # Mean 0 and standard deviation 1; nothing explains a single channel. Its own sums stay under
    # the usual limit of 5, so scores are fifths.
    detector = CUSUM().fit([one(*[-1, 1] * 50)])
    scores = detector.decision_function(one(1.5, 1.5, -0.5, np.nan, 4, 100, 0))
    # Up: 1, 2, 1, 1 (missing), 4.5, stopped at 2 x 5, 9.5.
    np.testing.assert_allclose(5 * scores, [1, 2, 1, 1, 4.5, 10, 9.5])
    down = detector.decision_function(one(-1.5, -1.5, 0.5))
    np.testing.assert_allclose(5 * down, [1, 2, 1])


def test_sums_without_a_ceiling_grow() -> None:
    detector = CUSUM(CUSUMConfig(ceiling=math.inf, slack=1)).fit([one(*[-1, 1] * 50)])
    np.testing.assert_allclose(5 * detector.decision_function(one(*[3.0] * 9))[-1], 18)


def test_scores_are_measured_against_the_normal_set() -> None:
    # Thirty steps up in a row reach 30 x (1 - .5) there.
    normal = one(*[1.0] * 30, *[-1.0] * 30)
    detector = CUSUM().fit([normal])
    assert detector.decision_function(normal).max() == pytest.approx(1)


def plant(seed: int, steps: int = 400) -> Series:
    """A load that acts on two channels, one with a delay of a step."""
    random = np.random.default_rng(seed)
    load = np.cumsum(random.normal(size=steps + 1)) / 5
    power = 3 * load[1:] + 0.1 * random.normal(size=steps)
    temperature = -2 * load[:-1] + 0.1 * random.normal(size=steps)
    return Series(np.stack((load[1:], power, temperature), axis=1), ("load", "power", "temp"))


@pytest.mark.parametrize("exogenous", [(), ("load",)])
@pytest.mark.parametrize("lags", [0, 2])
def test_sums_agree_with_a_slow_reference(exogenous: tuple[str, ...], lags: int) -> None:
    config = CUSUMConfig(exogenous=exogenous, lags=lags, slack=0.3, ridge=0.05)
    detector = CUSUM(config).fit([plant(1)])
    normal, other = plant(1), plant(2)
    mean, deviation = normal.values.mean(axis=0), normal.values.std(axis=0)
    expected = np.zeros((400, 3))
    for channel in range(3):
        if normal.channels[channel] in exogenous:
            continue
        others = [i for i in range(3) if i != channel and (not exogenous or i == 0)]

        def inputs(series: Series, others: list[int] = others) -> np.ndarray:
            standard = np.vstack((np.zeros((lags, 3)), (series.values - mean) / deviation))
            back = [standard[lags - lag : len(standard) - lag, others] for lag in range(lags + 1)]
            return np.hstack(back)

        own = [
            (each.values[:, channel] - mean[channel]) / deviation[channel]
            for each in (normal, other)
        ]
        ridge = Ridge(alpha=0.05 * 400, fit_intercept=False).fit(inputs(normal), own[0])
        residuals = own[0] - ridge.predict(inputs(normal))
        shifts = [
            (mine - ridge.predict(inputs(each)) - residuals.mean()) / residuals.std()
            for mine, each in zip(own, (normal, other), strict=True)
        ]

        def sums(shift: np.ndarray, ceiling: float) -> list[float]:
            up = down = 0.0
            highest: list[float] = []
            for value in shift:
                up = min(max(0.0, up + value - 0.3), ceiling)
                down = min(max(0.0, down - value - 0.3), ceiling)
                highest.append(max(up, down))
            return highest

        peak = max(5.0, *sums(shifts[0], math.inf))
        expected[:, channel] = np.array(sums(shifts[1], 2 * peak)) / peak
    np.testing.assert_allclose(detector.contributions(other), expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(detector.decision_function(other), expected.max(axis=1), rtol=1e-6)


def test_what_the_load_explains_is_no_anomaly_but_what_it_does_not_is() -> None:
    detector = CUSUM(CUSUMConfig(exogenous=("load",), lags=1)).fit([plant(1), plant(2)])
    surge = plant(3).values.copy()
    surge[200:] += [2, 6, -4]  # as the load bids
    surge[200, 2] += 4  # a step late
    normal = detector.decision_function(Series(surge, plant(1).channels))
    assert normal.max() < 2 * detector.decision_function(plant(3)).max()
    broken = plant(3).values.copy()
    broken[200:, 2] += 0.15  # a twentieth of its standard deviation or less
    series = Series(broken, plant(1).channels)
    scores = detector.decision_function(series)
    assert scores[:200].max() < 1.5
    assert scores[-1] == 2
    assert detector.contributions(series)[-1].argmax() == 2


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"lacks: \['wind'\]"):
        CUSUM(CUSUMConfig(exogenous=("wind",))).fit([plant(1)])
    with pytest.raises(ValueError, match="none is left to watch"):
        CUSUM(CUSUMConfig(exogenous=("a",))).fit([one(1, 2)])
    for arguments in ({"lags": -1}, {"slack": -0.1}, {"ceiling": 1}, {"ridge": 0}):
        name, value = next(iter(arguments.items()))
        with pytest.raises(ValueError, match=f"{name} must be .*got {value}"):
            CUSUMConfig(**arguments)  # pyright: ignore[reportArgumentType]
