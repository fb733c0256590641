"""What every controller of a site is: batched over rows, from readings to set points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.plant_state import PlantActions
from rlkit_envs.data_center.psychrometrics import Array


class Observed(NamedTuple):
    """What an agent sees, twice; noise, delay and broken sensors included."""

    scaled: NDArray[np.float32]
    """(rows, sensors), the environment's observation."""
    readings: Mapping[str, Array]
    """Name of each sensor -> (rows,) in its unit, as `DataCenterEnvs.readings` gives it."""


class Controller(Protocol):
    """Runs a batch of sites, row by row by itself, without any random numbers.

    Settings that a site has no actuator for are given all the same, and ignored by the plant.
    """

    @property
    def name(self) -> str:
        """For tables; short, and different for different settings."""
        ...

    def reset(self, rows: NDArray[np.bool_]) -> None:
        """Episodes begin where `rows` (rows,) says so: what was learned of them is forgotten.

        Called with all True before the first act; the length is that of the batch.
        """
        ...

    def act(self, observed: Observed) -> PlantActions:
        """Set points of the step to come; every entry (rows,), the economiser's int64."""
        ...


@runtime_checkable
class TrackingController(Controller, Protocol):
    """One that takes over from others without a jump."""

    def track(self, actions: PlantActions, rows: NDArray[np.bool_] | None = None) -> None:
        """Someone else set `actions` in the last step, in all rows or where `rows` says so.

        The next `act` there begins at these set points and moves on from them.
        """
        ...
