"""Set points that never move: what most halls are run at, and what a static search returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.controllers.controller import Observed
from rlkit_envs.data_center.economisers import EconomiserMode
from rlkit_envs.data_center.plant_state import PlantActions
from rlkit_envs.data_center.ranges import check_ranges


@dataclass(frozen=True)
class FixedSettings:
    """One setting of every actuator; the defaults are those of `StartingActions`."""

    supply_air_degc: float = 20.0
    """5 to 40 degC."""
    air_flow_ratio: float = 0.8
    """0 to 1."""
    chilled_water_degc: float = 10.0
    """3 to 25 degC."""
    tower_fan_ratio: float = 0.8
    """0 to 1."""
    economiser: str = "off"
    """off, precool or full."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            supply_air_degc=(5.0, 40.0),
            air_flow_ratio=(0.0, 1.0),
            chilled_water_degc=(3.0, 25.0),
            tower_fan_ratio=(0.0, 1.0),
        )
        modes = [mode.name.lower() for mode in EconomiserMode]
        if self.economiser not in modes:
            raise ValueError(
                f"FixedSettings.economiser is {self.economiser!r}: there are {', '.join(modes)}"
            )


class FixedSetPoints:
    """Holds its settings."""

    def __init__(
        self,
        settings: FixedSettings | Sequence[FixedSettings] = FixedSettings(),
        name: str | None = None,
    ) -> None:
        """settings: one for all rows, or one for each. name: by default the supply temperature's.

        Raises ValueError for no settings at all.
        """
        self.settings = (settings,) if isinstance(settings, FixedSettings) else tuple(settings)
        if not self.settings:
            raise ValueError("there are no settings: give one, or one for each row")
        self.name = name or f"fixed {self.settings[0].supply_air_degc:g} degC"
        self._rows = 0

    def reset(self, rows: NDArray[np.bool_]) -> None:
        """Raises ValueError where there are neither one setting nor as many as rows."""
        self._rows = len(rows)
        if len(self.settings) not in (1, self._rows):
            raise ValueError(
                f"there are {len(self.settings)} settings for {self._rows} rows: give one, or one "
                "for each row"
            )

    def act(self, observed: Observed) -> PlantActions:
        """The same at any time."""
        modes = [EconomiserMode[setting.economiser.upper()] for setting in self.settings]
        return PlantActions(
            supply_air_degc=self._column([s.supply_air_degc for s in self.settings]),
            air_flow_ratio=self._column([s.air_flow_ratio for s in self.settings]),
            chilled_water_degc=self._column([s.chilled_water_degc for s in self.settings]),
            tower_fan_ratio=self._column([s.tower_fan_ratio for s in self.settings]),
            economiser=self._column(modes).astype(np.int64),
        )

    def _column(self, values: Sequence[float]) -> NDArray[np.float64]:
        return np.array(np.broadcast_to(np.array(values, dtype=np.float64), self._rows))
