"""Autocorrelated noise over a year that runs on into its beginning."""

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.weather import STEP_S, STEPS_PER_YEAR


def ring_noise(
    generator: np.random.Generator, hours: float, lag_hours: float = 0.0
) -> NDArray[np.float64]:
    """(STEPS_PER_YEAR,) Gaussian noise of expected mean 0 and variance 1.

    First-order autoregressive noise of a correlation time of `hours`; with `lag_hours` it has
    passed through a first-order lag of that time constant, and is smooth (together an AR(2)
    process). It is filtered in the frequency domain, where the year is a ring by nature.
    """
    frequency = np.exp(-2j * np.pi * np.arange(STEPS_PER_YEAR // 2 + 1) / STEPS_PER_YEAR)
    response = 1.0 / (1.0 - np.exp(-STEP_S / (3600.0 * hours)) * frequency)
    if lag_hours > 0.0:
        response /= 1.0 - np.exp(-STEP_S / (3600.0 * lag_hours)) * frequency
    power = np.abs(response) ** 2
    # Of a real signal's spectrum all but the first and the last frequency stand for two.
    variance = (2.0 * power.sum() - power[0] - power[-1]) / STEPS_PER_YEAR
    white = np.fft.rfft(generator.standard_normal(STEPS_PER_YEAR))
    return np.fft.irfft(white * (response / np.sqrt(variance)), STEPS_PER_YEAR)
