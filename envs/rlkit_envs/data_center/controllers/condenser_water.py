"""The tower's fan, run to hold the condenser water at a set point: local control of a plant.

An integrating loop with its output held within limits, as a building's automation has it. The set
point follows the wet bulb, which is as cold as a tower can make water (approach control; ASHRAE
Handbook: HVAC Applications 2019, chapter 43, condenser water).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.psychrometrics import Array, Quantity
from rlkit_envs.data_center.ranges import check_ranges


@dataclass(frozen=True)
class CondenserWaterSettings:
    """A tower's fan loop."""

    approach_k: float = 6.0
    """Set point over the outdoor wet bulb, 1 to 20 K; more saves fan, less saves compressor."""
    least_degc: float = 10.0
    """Lowest set point, 2 to 30 degC: a colder condenser helps a chiller little."""
    gain_per_k: float = 0.02
    """Change of the fan's ratio a step for each kelvin above the set point, 0.001 to 0.2. Water
    cools by 20 K for the ratio at low speed, and by 4 K at high speed."""
    least_fan_ratio: float = 0.2
    """0 to 1; a slower fan would cycle."""
    most_fan_ratio: float = 1.0
    """0 to 1."""
    start_fan_ratio: float = 0.5
    """At the beginning of an episode, and for ever where the water's temperature is not read."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            approach_k=(1.0, 20.0),
            least_degc=(2.0, 30.0),
            gain_per_k=(0.001, 0.2),
            least_fan_ratio=(0.0, 1.0),
            most_fan_ratio=(self.least_fan_ratio, 1.0),
            start_fan_ratio=(self.least_fan_ratio, self.most_fan_ratio),
        )


class CondenserWaterLoop:
    """Fan ratio of each row; nothing happens at a site that has no tower."""

    def __init__(self, settings: CondenserWaterSettings) -> None:
        self.settings = settings
        self._fan_ratio = np.empty(0)

    def reset(self, rows: NDArray[np.bool_]) -> None:
        """As `Controller.reset`."""
        if len(rows) != len(self._fan_ratio):
            self._fan_ratio = np.empty(len(rows))
        self._fan_ratio[rows] = self.settings.start_fan_ratio

    def track(self, fan_ratio: Quantity, rows: NDArray[np.bool_] | None = None) -> None:
        """Go on from `fan_ratio` (rows,), in all rows or where `rows` says so."""
        settings = self.settings
        held = np.clip(fan_ratio, settings.least_fan_ratio, settings.most_fan_ratio)
        self._fan_ratio = np.where(True if rows is None else rows, held, self._fan_ratio)

    def act(self, readings: Mapping[str, Array], setpoint_degc: Quantity | None = None) -> Array:
        """(rows,) fan ratio. setpoint_degc: in place of that which follows the wet bulb."""
        settings = self.settings
        if "condenser_water_degc" not in readings:
            return self._fan_ratio.copy()
        if setpoint_degc is None:
            setpoint_degc = np.maximum(
                readings["outdoor_wet_bulb_degc"] + settings.approach_k, settings.least_degc
            )
        excess_k = readings["condenser_water_degc"] - setpoint_degc
        self._fan_ratio = np.clip(
            self._fan_ratio + settings.gain_per_k * excess_k,
            settings.least_fan_ratio,
            settings.most_fan_ratio,
        )
        return self._fan_ratio.copy()
