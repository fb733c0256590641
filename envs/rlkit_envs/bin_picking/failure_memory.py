"""Remembers where picking failed, so that nobody, agent or baseline, tries the same thing again.

Without it, whoever always takes the best pixel of a picture fails for ever once the best is bad.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.bin_picking.scene import Array

_MOVED_M = 0.002


class FailureMemory:
    """Marks the pixels around each failure until what it left there has moved.

    radius_m: around a failure. A failure is forgotten once the heights within that radius have
    changed by 2 mm on average.
    """

    def __init__(self, points_m: Array, radius_m: float) -> None:
        """points_m: (rows, columns, 2) x and y of each pixel. radius_m: 0 remembers nothing."""
        self._points = points_m
        self.radius_m = radius_m
        self.failures: list[tuple[int, Array]] = []
        """Pixel, and the heights (near,) around it as they were."""

    def add(self, pixel: int, heights_m: Array) -> None:
        """An attempt at this pixel, counted row by row, failed; the picture shows what is left."""
        if self.radius_m > 0:
            self.failures.append((pixel, heights_m[self.near(pixel)].copy()))

    def look(self, heights_m: Array) -> None:
        """Forget failures where the picture (rows, columns) shows that things have moved."""
        self.failures = [
            (pixel, before)
            for pixel, before in self.failures
            if np.abs(heights_m[self.near(pixel)] - before).mean() < _MOVED_M
        ]

    def mask(self) -> NDArray[np.bool_]:
        """(rows, columns) where not to pick."""
        marked = np.zeros(self._points.shape[:2], bool)
        for pixel, _ in self.failures:
            marked |= self.near(pixel)
        return marked

    def clear(self) -> None:
        """Forget everything."""
        self.failures = []

    def near(self, pixel: int) -> NDArray[np.bool_]:
        """(rows, columns) which pixels a failure at `pixel` marks."""
        middle = self._points.reshape(-1, 2)[pixel]
        return ((self._points - middle) ** 2).sum(-1) <= self.radius_m**2
